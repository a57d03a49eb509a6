/* written.h - what a run writes of what it trains: the adapter, or the model as a Hugging Face folder where all weights
 * are trained or a score head is. */
#ifndef PGR_TRAIN_WRITTEN_H
#define PGR_TRAIN_WRITTEN_H

#include "model/trainable.h"

/* All weights, or the adapter merged in, with the score head where there is one; the types of the model's own files.
 * The folder appears at once; one that was there is replaced. */
pgr_status written_model(const trainable *t, const char *folder, pgr_error *err);

/* Into a checkpoint: all weights, or the adapter (a score head's row is the checkpoint's alone). Appears at once. */
pgr_status written_part(const trainable *t, const char *folder, pgr_error *err);

/* A model that written_model cannot write: its config and tokenizer are no files of a folder. */
pgr_status written_check(const pgr_model *m, const char *what, pgr_error *err);

#endif
