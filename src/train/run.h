/* run.h - the loop that all stages share: an adapter, its optimiser, steps, checkpoints, metrics. What a step computes
 * is the stage's. */
#ifndef PGR_TRAIN_RUN_H
#define PGR_TRAIN_RUN_H

#include "model/backward.h"
#include "pgenrm_train.h"
#include "train/adamw.h"
#include "train/ranks.h"
#include "train/saved.h"
#include "train/trackio.h"

enum { METRICS_MAX = 48 };

typedef struct metric {
    const char *name; /* static, or of who evaluates */
    double value;     /* NaN: null */
} metric;

typedef struct metrics { /* of one step or evaluation */
    const char *kind;    /* of the step: "taste"; NULL: there are no kinds */
    double loss, lr, epoch;
    uint64_t tokens; /* that this step computed */
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
    /* Appends what the model reads now, for people: lines, the last without its end. NULL: nothing. */
    pgr_status (*sample)(void *ctx, train_run *r, buf *text, pgr_error *err);
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
    trackio *board; /* NULL: none */
    double start, saved; /* times */
    uint64_t first;      /* step at which this call began */
    pgr_train_report report;
    ranks *ranks;       /* NULL: one; all see the same steps, the first alone writes files */
    float *sum, *inbox; /* of gradients (passes.c) */
    size_t n_pass;      /* of this step so far */
};

/* What is wrong with the options by themselves: no steps and, of a stage that counts epochs, none of these either; an
 * adapter to begin with where all weights are trained. */
pgr_status run_check(const pgr_train_options *o, bool epochs, pgr_error *err);

/* The options' ranges, the folder, the adapter, its state (that of the last checkpoint with o->resume). settings: an
 * object with the stage's own settings, taken over; those of o are added. run_close in any case. */
pgr_status run_open(train_run *r, pgr_model *m, const pgr_train_options *o, const char *stage, json_t *settings,
                    pgr_error *err);
/* The same with a score head that is trained along: the result is a model (written.h). */
pgr_status run_open_score(train_run *r, pgr_model *m, const pgr_train_options *o, const char *stage, json_t *settings,
                          pgr_error *err);
void run_close(train_run *r);

static inline bool run_writes(const train_run *r) {
    return pgr_ranks_at(r->ranks) == 0;
}

/* All steps up to r->steps, then OUT/adapter, or OUT/model. */
pgr_status run_loop(train_run *r, const train_stage *s, pgr_error *err);

/* A line of the metrics, without its last brace and line end, and the same for people. */
pgr_status run_tell(train_run *r, buf *json, buf *text, pgr_error *err);

/* ---- what a step learns from (shown.c) ---- */

enum { SHOWN_MOST = 16 };

typedef struct shown_sample {
    const char *user;    /* NULL: nobody's */
    const char *prompt, *completion;
    double reward, advantage;
} shown_sample;

/* The step at hand is one whose samples are shown: every sample_every, and the last. */
bool run_shows(const train_run *r);
/* For the page's table: the first SHOWN_MOST of n, texts shortened. */
pgr_status run_show(train_run *r, const shown_sample *list, size_t n, pgr_error *err);

/* ---- passes, by all ranks together (passes.c) ---- */

typedef struct pass_fns {
    size_t (*size)(void *ctx, size_t pass); /* how many numbers the pass tells; every rank says the same */
    /* One rank: computes, fills told (size). */
    pgr_status (*forward)(void *ctx, size_t pass, double *told, pgr_error *err);
    /* All ranks, pass after pass in order: what was told. mine: forward was called here. */
    void (*take)(void *ctx, size_t pass, const double *told, bool mine);
    /* The rank of forward: gradients. NULL: none are wanted. */
    pgr_status (*back)(void *ctx, size_t pass, pgr_error *err);
} pass_fns;

/* Several passes may be between forward and back on several ranks, never on one. The gradients of a step are made by
 * calls of this alone; a stage that goes backward by itself does so on every rank alike. On an error (of any rank)
 * back may not have been called behind forward. */
pgr_status run_passes(train_run *r, size_t n_pass, const pass_fns *f, void *ctx, pgr_error *err);

/* Items 0 .. n - 1 in passes: in order, as many to one as have pass_tokens tokens together at most, one at least; pass
 * k has those from first[k] on. On every rank alike. */
typedef struct pass_cut {
    size_t *first; /* (n_pass + 1) */
    size_t n_pass;
} pass_cut;

pgr_status run_cut(train_run *r, size_t n, size_t (*tokens)(const void *ctx, size_t item), const void *ctx,
                   pass_cut *out, pgr_error *err);
void run_cut_free(pass_cut *c);

/* Around a step: trainable_grads are zero before, those of the whole step afterwards. */
void run_gradients_begin(train_run *r);
void run_gradients_end(train_run *r);

/* ---- passes of slots (pass.c) ---- */

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

/* Computes the prompts in as few passes as pass_tokens allows and calls fn for each, in order, on every rank; with
 * `learn` the gradients are added to the adapter's. PGR_E_LIMIT: a prompt is longer than a pass. */
pgr_status run_slots(train_run *r, const slot_seq *list, size_t n, slot_fn fn, void *ctx, bool learn, pgr_error *err);

#endif
