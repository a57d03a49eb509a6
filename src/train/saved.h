/* saved.h - checkpoints of a run: OUT/checkpoint-N with the adapter in PEFT form, state.json (step, positions in the
 * data, settings) and state.bin (fp32 values and the optimiser's moments). A checkpoint's folder gets its name when all
 * of it is on the disk. */
#ifndef PGR_TRAIN_SAVED_H
#define PGR_TRAIN_SAVED_H

#include "base/json.h"
#include "model/trainable.h"

enum { SAVED_POSITIONS = 4, SAVED_PATH = 512 };

/* All that the next step depends on besides the settings and the data. */
typedef struct train_state {
    float *values, *first, *second; /* (n) of the adapter; moments */
    size_t n;
    uint64_t step, tokens;
    uint64_t position[SAVED_POSITIONS]; /* examples of each kind that were drawn */
    uint64_t metrics_bytes;             /* of metrics.jsonl, those up to this step */
    bool due;                           /* an evaluation of this step was begun and not finished */
} train_state;

/* Writes OUT/checkpoint-STEP, unless it is there, and removes all but the last two. path (SAVED_PATH): the folder. */
pgr_status saved_write(const char *out, const train_state *s, const json_t *settings, const trainable *t, char *path,
                       pgr_error *err);

/* The newest whole checkpoint of OUT; *step 0 and path "": there is none. Removes what a kill left unfinished. */
pgr_status saved_find(const char *out, uint64_t *step, char *path, pgr_error *err);

/* The dtype of the run whose newest checkpoint is in OUT; false: there is none that tells it. */
bool saved_dtype(const char *out, pgr_dtype *dtype);

/* Fills s, whose arrays have s->n values each. PGR_E_ARG where the settings differ, naming the first that does. */
pgr_status saved_read(const char *path, const json_t *settings, train_state *s, pgr_error *err);

#endif
