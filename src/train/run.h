/* run.h - the loop that all stages share: an adapter, its optimiser, steps, checkpoints, metrics. What a step computes
 * is the stage's. */
#ifndef PGR_TRAIN_RUN_H
#define PGR_TRAIN_RUN_H

#include "model/backward.h"
#include "pgenrm_train.h"
#include "train/adamw.h"
#include "train/saved.h"

enum { METRICS_MAX = 48 };

typedef struct metric {
    const char *name; /* static, or of who evaluates */
    double value;     /* NaN: null */
} metric;

typedef struct metrics { /* of one step or evaluation */
    const char *kind;    /* of the step: "taste"; NULL: there are no kinds */
    double loss, lr, epoch;
    uint64_t tokens;     /* that this step computed */
    metric more[METRICS_MAX];
    size_t n_more;
} metrics;

void metrics_put(metrics *m, const char *name, double value);

typedef struct train_run train_run;

typedef struct train_stage {
    const char *name; /* "psi" */
    void *ctx;
    /* Adds the gradients of update r->state.step (from 0); fills loss, lr before the schedule, tokens and more. */
    pgr_status (*step)(void *ctx, train_run *r, metrics *m, pgr_error *err);
    /* Measures; NULL: there is nothing to. */
    pgr_status (*evaluate)(void *ctx, train_run *r, metrics *m, pgr_error *err);
    size_t eval_every; /* steps; 0: at the end only */
    /* What takes long at the end, before OUT/adapter is replaced; NULL: nothing does. */
    pgr_status (*conclude)(void *ctx, train_run *r, pgr_error *err);
    /* Adds to the folder of an adapter what belongs beside it; NULL: nothing. Called for OUT/adapter, at once after it
     * was written. */
    pgr_status (*finish)(void *ctx, train_run *r, const char *folder, pgr_error *err);
} train_stage;

struct train_run {
    pgr_model *m;
    const pgr_train_options *o;
    trainable *t;
    backward *b;
    train_state state; /* values are t's */
    uint64_t steps;    /* of the whole run */
    json_t *settings;  /* that decide the numbers */
    buf metrics_path;
    double start, saved; /* times */
    uint64_t first;      /* step at which this call began */
    pgr_train_report report;
};

/* The options' ranges, the folder, the adapter, its state (that of the last checkpoint with o->resume). settings: an
 * object with the stage's own settings, taken over; those of o are added. run_close in any case. */
pgr_status run_open(train_run *r, pgr_model *m, const pgr_train_options *o, const char *stage, json_t *settings,
                    pgr_error *err);
/* The same with a score head that is trained along: the result is a model (written.h). */
pgr_status run_open_score(train_run *r, pgr_model *m, const pgr_train_options *o, const char *stage, json_t *settings,
                          pgr_error *err);
void run_close(train_run *r);

/* All steps up to r->steps, then OUT/adapter, or OUT/model. */
pgr_status run_loop(train_run *r, const train_stage *s, pgr_error *err);

/* ---- passes of a step (pass.c) ---- */

enum { SLOT_ROWS = 2 };

typedef struct slot_seq {  /* a prompt with slots */
    const int32_t *tokens; /* (n) */
    size_t n;
    uint32_t rows[SLOT_ROWS]; /* (n_row) positions whose logits are the slots', rising */
    size_t n_row;
    const int32_t *allowed; /* (n_allowed) tokens of every slot */
    size_t n_allowed;
} slot_seq;

/* z: (n_row, n_allowed) logits of prompt i; dz: the loss's gradient with respect to them, zero at first; NULL: not
 * wanted. */
typedef void (*slot_fn)(void *ctx, size_t i, const double *z, double *dz);

/* Computes the prompts in as few passes as pass_tokens allows and calls fn for each, in order; with `learn` the
 * gradients are added to the adapter's. PGR_E_LIMIT: a prompt is longer than a pass. */
pgr_status run_slots(train_run *r, const slot_seq *list, size_t n, slot_fn fn, void *ctx, bool learn, pgr_error *err);

#endif
