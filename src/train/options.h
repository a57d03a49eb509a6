/* options.h - the rows of pgr_train_options, for the tables of the stages, whose structs have it as `train`. Paths and
 * betas have none: they are the command's. */
#ifndef PGR_TRAIN_OPTIONS_H
#define PGR_TRAIN_OPTIONS_H

#include "base/options.h"
#include "pgenrm_train.h"

extern const char *const TRAIN_SCHEDULES[]; /* in the order of pgr_schedule */

#define TRAIN_AT(S, member) offsetof(S, member)
#define TRAIN_NUMBER(S, kind, name, value, member, standard, lo, hi, help, unset)                                      \
    { name, value, help, unset, PGR_OPTION_##kind, 0, TRAIN_AT(S, member), standard, lo, hi, NULL }
#define TRAIN_FLAG(S, name, member, standard, help)                                                                    \
    { name, NULL, help, NULL, PGR_OPTION_FLAG, 0, TRAIN_AT(S, member), standard, 0, 1, NULL }

/* Of the stages that can train all weights. */
#define TRAIN_FULL(S)                                                                                                  \
    TRAIN_FLAG(S, "full", train.full, 0, "train all weights instead of an adapter; the model is a folder")

/* Of the stages that show what the model reads. */
#define TRAIN_SAMPLES(S)                                                                                               \
    TRAIN_NUMBER(S, SIZE, "sample-every", "N", train.sample_every, 100, 0, 1e9,                                        \
                 "steps between samples of what the model reads and learns from; 0: none", NULL)

/* clang-format off */
#define TRAIN_ROWS(S, R_STEPS, R_BATCH, R_LR, R_LAYERS, LR_HELP, BATCH_HELP)                                           \
    TRAIN_ROWS_PASS(S, R_STEPS, R_BATCH, R_LR, R_LAYERS, 2048, LR_HELP, BATCH_HELP)
#define TRAIN_ROWS_PASS(S, R_STEPS, R_BATCH, R_LR, R_LAYERS, R_PASS, LR_HELP, BATCH_HELP)                              \
    TRAIN_FLAG(S, "resume", train.resume, 0, "go on with the run in the folder, from its last checkpoint"),            \
    TRAIN_NUMBER(S, SIZE, "lora-rank", "R", train.rank, 16, 1, 1024, "of a new adapter", NULL),                        \
    TRAIN_NUMBER(S, DOUBLE, "lora-alpha", "A", train.alpha, 32, 1e-6, 1e6, "its scale is A / R", NULL),                \
    TRAIN_NUMBER(S, DOUBLE, "layers", "SHARE", train.layers, R_LAYERS, 1e-6, 1,                                        \
                 "of the layers, from the top, that are adapted: fewer are faster", NULL),                             \
    TRAIN_NUMBER(S, SIZE, "steps", "N", train.steps, R_STEPS, 0, 1e9, "updates; 0: as the epochs say", NULL),          \
    TRAIN_NUMBER(S, SIZE, "batch", "B", train.batch, R_BATCH, 1, 1e6, BATCH_HELP, NULL),                               \
    TRAIN_NUMBER(S, DOUBLE, "lr", "L", train.lr, R_LR, 0, 10, LR_HELP, NULL),                                          \
    { "schedule", "HOW", "of the learning rate behind the warm-up: constant, linear or cosine", NULL,                  \
      PGR_OPTION_CHOICE, 0, TRAIN_AT(S, train.schedule), 0, 0, 0, TRAIN_SCHEDULES },                                   \
    TRAIN_NUMBER(S, SIZE, "warmup", "N", train.warmup, 0, 0, 1e9, "steps over which the learning rate rises", NULL),   \
    TRAIN_NUMBER(S, DOUBLE, "weight-decay", "W", train.weight_decay, 0, 0, 10, "AdamW's, times the learning rate",     \
                 NULL),                                                                                                \
    TRAIN_NUMBER(S, DOUBLE, "clip", "C", train.clip, 1, 0, 1e9, "the gradient's norm is at most this; 0: as it is",    \
                 NULL),                                                                                                \
    TRAIN_NUMBER(S, SIZE, "pass-tokens", "N", train.pass_tokens, R_PASS, 16, 1 << 20,                                  \
                 "tokens computed at once; a step is as many passes as it takes", NULL),                               \
    TRAIN_NUMBER(S, DOUBLE, "save-minutes", "M", train.save_minutes, 5, 0, 1e6, "between checkpoints", NULL)
/* clang-format on */

#endif
