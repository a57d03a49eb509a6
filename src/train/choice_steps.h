/* choice_steps.h - training on preference pairs, for Bradley-Terry and DPO alike: the pairs, their order, a step's
 * pairs cut into passes that the ranks share, the run around them. What is computed of a pair, and what that teaches,
 * is the stage's. */
#ifndef PGR_TRAIN_CHOICE_STEPS_H
#define PGR_TRAIN_CHOICE_STEPS_H

#include "train/choices.h"
#include "train/options.h"
#include "train/order.h"
#include "train/run.h"

typedef struct choice_steps choice_steps;

/* clang-format off */
/* The rows of what both take beside TRAIN_ROWS. */
#define CHOICE_ROWS(S)                                                                                                 \
    TRAIN_NUMBER(S, DOUBLE, "epochs", "E", train.epochs, 1, 0, 1e6,                                                    \
                 "passes over the pairs, where no steps are given", NULL),                                             \
    TRAIN_NUMBER(S, SIZE, "max-tokens", "N", max_tokens, 1024, 2, 1 << 20,                                             \
                 "of a conversation; pairs with a longer one are left out", NULL),                                     \
    TRAIN_FLAG(S, "no-shuffle", no_shuffle, 0, "pairs in the file's order")
/* clang-format on */

typedef struct choice_stage {
    const char *name; /* "dpo" */
    size_t n_told;    /* numbers of a pair, which all ranks hear */
    /* Once the pairs are there; NULL: nothing is needed. */
    pgr_status (*begin)(void *ctx, const choice_steps *s, pgr_error *err);
    /* The pairs at[0 .. n - 1] of the data: told (n, n_told). What back needs of them is kept. */
    pgr_status (*forward)(void *ctx, train_run *r, const size_t *at, size_t n, double *told, pgr_error *err);
    void (*forget)(void *ctx); /* the sums of the step before */
    /* One pair of the step's, whose loss is times scale. own: its index in the last forward; SIZE_MAX: another rank
     * computed it. */
    void (*take)(void *ctx, size_t pair, const double *told, double scale, size_t own);
    pgr_status (*back)(void *ctx, train_run *r, pgr_error *err);
    void (*drop)(void *ctx); /* what forward kept, if anything is */
    void (*tell)(void *ctx, metrics *m); /* loss and more of the step's sums */
} choice_stage;

typedef struct choice_options { /* of both commands */
    const pgr_option *rows; /* what `of` is checked by */
    const void *of;         /* the stage's options, of which these are parts: */
    const pgr_train_options *train;
    const char *data;
    size_t max_tokens;
    bool no_shuffle;
} choice_options;

/* Of a stage's options, with its rows. */
#define CHOICE_OPTIONS(ROWS, o)                                                                                        \
    (&(const choice_options){ROWS, o, &(o)->train, (o)->data, (o)->max_tokens, (o)->no_shuffle})

pgr_status choice_options_check(const choice_options *o, pgr_error *err);

struct choice_steps {
    const choice_stage *stage;
    void *ctx;
    choices data;
    train_order order;
    /* of the step that is on: */
    train_run *r;
    const size_t *at; /* (n) which pairs */
    size_t n;
    pass_cut cut;
};

typedef pgr_status (*choice_open_fn)(train_run *r, pgr_model *m, const pgr_train_options *o, const char *stage,
                                     json_t *settings, pgr_error *err);
/* The whole run. open: run_open or run_open_score. settings: the stage's own, taken over (NULL: no memory); those of o
 * are added. *out is filled in any case, where it is not NULL. */
pgr_status choice_steps_train(pgr_model *m, const choice_options *o, const choice_stage *stage, void *ctx,
                              choice_open_fn open, json_t *settings, pgr_train_report *out, pgr_error *err);

#endif
