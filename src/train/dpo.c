/* dpo.c - direct preference optimisation: the model without its adapter is the reference, in the same passes. */
#include <math.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "train/choice_steps.h"
#include "train/logps.h"
#include "train/loss.h"

/* clang-format off */
static const pgr_option ROWS[] = {
    TRAIN_NUMBER(pgr_dpo_options, DOUBLE, "beta", "B", beta, 0.1, 1e-6, 1e6,
                 "how far the policy may go from the reference: less is farther", NULL),
    TRAIN_ROWS(pgr_dpo_options, 0, 8, 1e-4, 1, "learning rate", "pairs of a step"),
    CHOICE_ROWS(pgr_dpo_options),
    {0},
};
/* clang-format on */

const pgr_option *pgr_dpo_option_rows(void) {
    return ROWS;
}

pgr_dpo_options pgr_dpo_options_default(void) {
    pgr_dpo_options o;
    memset(&o, 0, sizeof o);
    options_default(ROWS, &o);
    o.train.beta1 = 0.9;
    o.train.beta2 = 0.999;
    return o;
}

enum { TOLD = 2 * CHOICE_SIDES }; /* of a pair: the sides' log-probabilities, then those of the reference */

typedef struct dpo {
    double beta;
    const choices *data;
    double *reference; /* (data.n, 2) log-probabilities of the sides; NaN: not computed yet */
    /* the step's sums */
    double loss, right, margin, reward[CHOICE_SIDES], logp[CHOICE_SIDES];
    /* between a pass's forward and its back */
    const chat_row **rows; /* (n, 2) of its pairs */
    double *own, *slope;   /* (n, 2) log-probabilities, and the loss's slope by them */
    logps_pass policy;
} dpo;

static double *reference_of(const dpo *s, size_t pair) {
    return s->reference + CHOICE_SIDES * pair;
}

static pgr_status begin(void *ctx, const choice_steps *steps, pgr_error *err) {
    dpo *s = ctx;
    s->data = &steps->data;
    s->reference = mem_array(s->data->n, CHOICE_SIDES * sizeof *s->reference);
    if (!s->reference) return fail_mem(err);
    for (size_t i = 0; i < CHOICE_SIDES * s->data->n; i++) s->reference[i] = NAN;
    return PGR_OK;
}

static void drop(void *ctx) {
    dpo *s = ctx;
    mem_free(s->rows);
    mem_free(s->own);
    mem_free(s->slope);
    logps_free(&s->policy);
    s->rows = NULL;
    s->own = NULL;
    s->slope = NULL;
    s->policy = (logps_pass){0};
}

static pgr_status pass_begin(dpo *s, const size_t *at, size_t n_pair, pgr_error *err) {
    size_t n = CHOICE_SIDES * n_pair;
    s->rows = mem_array(n, sizeof *s->rows);
    s->own = mem_array(n, sizeof *s->own);
    s->slope = mem_array(n, sizeof *s->slope);
    if (!s->rows || !s->own || !s->slope) return fail_mem(err);
    for (size_t i = 0; i < n; i++) s->rows[i] = &s->data->list[at[i / CHOICE_SIDES]].side[i % CHOICE_SIDES];
    return PGR_OK;
}

/* A row's bits do not depend on what it is computed with: once is enough. */
static pgr_status read_reference(dpo *s, train_run *r, const size_t *at, size_t n, pgr_error *err) {
    bool known = true;
    for (size_t i = 0; i < n; i++) known = known && !isnan(reference_of(s, at[i])[0]);
    if (known) return PGR_OK;
    backward_without(r->b, true);
    logps_pass l = {0};
    pgr_status status = logps_forward(&l, r, s->rows, CHOICE_SIDES * n, s->own, err);
    logps_free(&l);
    backward_without(r->b, false);
    for (size_t i = 0; status == PGR_OK && i < n; i++)
        memcpy(reference_of(s, at[i]), s->own + CHOICE_SIDES * i, CHOICE_SIDES * sizeof *s->own);
    return status;
}

static pgr_status forward(void *ctx, train_run *r, const size_t *at, size_t n, double *told, pgr_error *err) {
    dpo *s = ctx;
    PGR_TRY(pass_begin(s, at, n, err));
    PGR_TRY(read_reference(s, r, at, n, err));
    PGR_TRY(logps_forward(&s->policy, r, s->rows, CHOICE_SIDES * n, s->own, err));
    for (size_t i = 0; i < n; i++) {
        memcpy(told + TOLD * i, s->own + CHOICE_SIDES * i, CHOICE_SIDES * sizeof *told);
        memcpy(told + TOLD * i + CHOICE_SIDES, reference_of(s, at[i]), CHOICE_SIDES * sizeof *told);
    }
    return PGR_OK;
}

static void forget(void *ctx) {
    dpo *s = ctx;
    s->loss = s->right = s->margin = 0;
    for (size_t k = 0; k < CHOICE_SIDES; k++) s->reward[k] = s->logp[k] = 0;
}

/* The mean over the pairs of -log sigmoid(beta (policy's margin - reference's)): a pair's part of it, and its slope by
 * the log-probabilities. Every rank keeps the references of all. */
static void take(void *ctx, size_t pair, const double *logp, double scale, size_t own) {
    dpo *s = ctx;
    const double *ref = logp + CHOICE_SIDES;
    double reward[CHOICE_SIDES], d;
    memcpy(reference_of(s, pair), ref, CHOICE_SIDES * sizeof *ref);
    for (size_t k = 0; k < CHOICE_SIDES; k++) {
        reward[k] = s->beta * (logp[k] - ref[k]);
        s->reward[k] += scale * reward[k];
        s->logp[k] += scale * logp[k];
    }
    double margin = reward[CHOSEN] - reward[REJECTED];
    s->loss += scale * bradley_terry(margin, 1, &d);
    s->margin += scale * margin;
    s->right += scale * (margin > 0 ? 1 : margin < 0 ? 0 : 0.5);
    if (own == SIZE_MAX) return;
    s->slope[CHOICE_SIDES * own + CHOSEN] = scale * s->beta * d;
    s->slope[CHOICE_SIDES * own + REJECTED] = -(scale * s->beta * d);
}

static pgr_status back(void *ctx, train_run *r, pgr_error *err) {
    dpo *s = ctx;
    return logps_backward(&s->policy, r, s->slope, err);
}

static void tell(void *ctx, metrics *m) {
    const dpo *s = ctx;
    m->loss = s->loss;
    metrics_put(m, "rewards/chosen", s->reward[CHOSEN]);
    metrics_put(m, "rewards/rejected", s->reward[REJECTED]);
    metrics_put(m, "rewards/accuracies", s->right);
    metrics_put(m, "rewards/margins", s->margin);
    metrics_put(m, "logps/chosen", s->logp[CHOSEN]);
    metrics_put(m, "logps/rejected", s->logp[REJECTED]);
}

pgr_status pgr_dpo_check(const pgr_dpo_options *o, pgr_error *err) {
    return choice_options_check(CHOICE_OPTIONS(ROWS, o), err);
}

pgr_status pgr_train_dpo(pgr_model *model, const pgr_dpo_options *options, pgr_train_report *out, pgr_error *err) {
    static const choice_stage stage = {.name = "dpo",
                                       .n_told = TOLD,
                                       .begin = begin,
                                       .forward = forward,
                                       .forget = forget,
                                       .take = take,
                                       .back = back,
                                       .drop = drop,
                                       .tell = tell};
    dpo s = {.beta = options->beta};
    json_setup();
    pgr_status status = choice_steps_train(model, CHOICE_OPTIONS(ROWS, options), &stage, &s, run_open,
                                           json_pack("{s:f}", "beta", options->beta), out, err);
    mem_free(s.reference);
    return status;
}
