/* dpo.c - direct preference optimisation: the model without its adapter is the reference, in the same passes. */
#include <math.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "train/choices.h"
#include "train/logps.h"
#include "train/loss.h"
#include "train/options.h"
#include "train/order.h"
#include "train/run.h"

/* clang-format off */
static const pgr_option ROWS[] = {
    TRAIN_NUMBER(pgr_dpo_options, DOUBLE, "beta", "B", beta, 0.1, 1e-6, 1e6,
                 "how far the policy may go from the reference: less is farther", NULL),
    TRAIN_ROWS(pgr_dpo_options, 0, 8, 1e-4, 1, "learning rate", "pairs of a step"),
    TRAIN_NUMBER(pgr_dpo_options, DOUBLE, "epochs", "E", train.epochs, 1, 0, 1e6,
                 "passes over the pairs, where no steps are given", NULL),
    TRAIN_NUMBER(pgr_dpo_options, SIZE, "max-tokens", "N", max_tokens, 1024, 2, 1 << 20,
                 "of a conversation; pairs with a longer one are left out", NULL),
    TRAIN_FLAG(pgr_dpo_options, "no-shuffle", no_shuffle, 0, "pairs in the file's order"),
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

typedef struct dpo {
    const pgr_dpo_options *o;
    const pgr_model *m;
    choices data;
    double *reference; /* (data.n, 2) log-probabilities of the sides; NaN: not computed yet */
    train_order order;
} dpo;

typedef struct dpo_sums {
    double loss, right, margin, reward[CHOICE_SIDES], logp[CHOICE_SIDES];
} dpo_sums;

typedef struct dpo_pass { /* some pairs of a step */
    dpo *s;
    const size_t *at; /* (n) which pairs */
    size_t n;
    const chat_row **rows; /* (n, 2) */
    double *logp, *slope;  /* (n, 2) */
    logps_pass policy;
} dpo_pass;

typedef struct dpo_passes { /* a step's pairs, cut into passes */
    train_run *r;
    dpo *s;
    const size_t *at; /* (n) which pairs */
    size_t n;
    pass_cut cut;
    dpo_sums sums;
    dpo_pass own; /* between its forward and its back */
} dpo_passes;

static pgr_status pass_begin(dpo_pass *p, pgr_error *err) {
    size_t n = CHOICE_SIDES * p->n;
    p->rows = mem_array(n, sizeof *p->rows);
    p->logp = mem_array(n, sizeof *p->logp);
    p->slope = mem_array(n, sizeof *p->slope);
    if (!p->rows || !p->logp || !p->slope) return fail_mem(err);
    for (size_t i = 0; i < n; i++) p->rows[i] = &p->s->data.list[p->at[i / CHOICE_SIDES]].side[i % CHOICE_SIDES];
    return PGR_OK;
}

static void pass_free(dpo_pass *p) {
    mem_free(p->rows);
    mem_free(p->logp);
    mem_free(p->slope);
    logps_free(&p->policy);
    *p = (dpo_pass){0};
}

static double *reference_of(const dpo *s, size_t pair) {
    return s->reference + CHOICE_SIDES * pair;
}

/* A row's bits do not depend on what it is computed with: once is enough. */
static pgr_status read_reference(train_run *r, const dpo_pass *p, pgr_error *err) {
    bool known = true;
    for (size_t i = 0; i < p->n; i++) known = known && !isnan(reference_of(p->s, p->at[i])[0]);
    if (known) return PGR_OK;
    backward_without(r->b, true);
    logps_pass l = {0};
    pgr_status s = logps_forward(&l, r, p->rows, CHOICE_SIDES * p->n, p->logp, err);
    logps_free(&l);
    backward_without(r->b, false);
    for (size_t i = 0; s == PGR_OK && i < p->n; i++)
        for (size_t k = 0; k < CHOICE_SIDES; k++) reference_of(p->s, p->at[i])[k] = p->logp[CHOICE_SIDES * i + k];
    return s;
}

enum { TOLD = 2 * CHOICE_SIDES }; /* of a pair: the sides' log-probabilities, then those of the reference */

static size_t told_by(void *ctx, size_t k) {
    const dpo_passes *s = ctx;
    return TOLD * (s->cut.first[k + 1] - s->cut.first[k]);
}

static pgr_status pairs_forward(void *ctx, size_t k, double *told, pgr_error *err) {
    dpo_passes *s = ctx;
    dpo_pass *p = &s->own;
    *p = (dpo_pass){.s = s->s, .at = s->at + s->cut.first[k], .n = s->cut.first[k + 1] - s->cut.first[k]};
    PGR_TRY(pass_begin(p, err));
    PGR_TRY(read_reference(s->r, p, err));
    PGR_TRY(logps_forward(&p->policy, s->r, p->rows, CHOICE_SIDES * p->n, p->logp, err));
    for (size_t i = 0; i < p->n; i++)
        for (size_t side = 0; side < CHOICE_SIDES; side++) {
            told[TOLD * i + side] = p->logp[CHOICE_SIDES * i + side];
            told[TOLD * i + CHOICE_SIDES + side] = reference_of(s->s, p->at[i])[side];
        }
    return PGR_OK;
}

/* The mean over the pairs of -log sigmoid(beta (policy's margin - reference's)): a pair's part of it, whose slope by
 * the margin of the log-probabilities is returned. scale: one over the step's pairs. */
static double take_pair(dpo_sums *sums, const double *logp, const double *ref, double beta, double scale) {
    double reward[CHOICE_SIDES], d;
    for (size_t k = 0; k < CHOICE_SIDES; k++) {
        reward[k] = beta * (logp[k] - ref[k]);
        sums->reward[k] += scale * reward[k];
        sums->logp[k] += scale * logp[k];
    }
    double margin = reward[CHOSEN] - reward[REJECTED];
    sums->loss += scale * bradley_terry(margin, 1, &d);
    sums->margin += scale * margin;
    sums->right += scale * (margin > 0 ? 1 : margin < 0 ? 0 : 0.5);
    return scale * beta * d;
}

/* Every rank keeps the references of all. */
static void pairs_take(void *ctx, size_t k, const double *told, bool mine) {
    dpo_passes *s = ctx;
    for (size_t i = 0, n = s->cut.first[k + 1] - s->cut.first[k]; i < n; i++) {
        const double *logp = told + TOLD * i, *ref = logp + CHOICE_SIDES;
        double *kept = reference_of(s->s, s->at[s->cut.first[k] + i]);
        for (size_t side = 0; side < CHOICE_SIDES; side++) kept[side] = ref[side];
        double slope = take_pair(&s->sums, logp, ref, s->s->o->beta, 1 / (double)s->n);
        if (!mine) continue;
        s->own.slope[CHOICE_SIDES * i + CHOSEN] = slope;
        s->own.slope[CHOICE_SIDES * i + REJECTED] = -slope;
    }
}

static pgr_status pairs_back(void *ctx, size_t k, pgr_error *err) {
    dpo_passes *s = ctx;
    (void)k;
    pgr_status status = logps_backward(&s->own.policy, s->r, s->own.slope, err);
    pass_free(&s->own);
    return status;
}

static size_t tokens_of(const void *ctx, size_t i) {
    const dpo_passes *s = ctx;
    const choice *c = &s->s->data.list[s->at[i]];
    return c->side[CHOSEN].n + c->side[REJECTED].n;
}

static pgr_status run_pairs(dpo_passes *s, pgr_error *err) {
    static const pass_fns fns = {told_by, pairs_forward, pairs_take, pairs_back};
    pgr_status status = run_cut(s->r, s->n, tokens_of, s, &s->cut, err);
    if (status == PGR_OK) status = run_passes(s->r, s->cut.n_pass, &fns, s, err);
    pass_free(&s->own);
    run_cut_free(&s->cut);
    return status;
}

static pgr_status dpo_step(void *ctx, train_run *r, metrics *m, pgr_error *err) {
    dpo *s = ctx;
    size_t n;
    const size_t *at = order_at(&s->order, r->state.step, &n);
    dpo_passes p = {.r = r, .s = s, .at = at, .n = n};
    const dpo_sums *sums = &p.sums;
    for (size_t i = 0; i < n; i++) m->tokens += tokens_of(&p, i);
    PGR_TRY(run_pairs(&p, err));
    m->loss = sums->loss;
    m->epoch = (double)(r->state.step + 1) / (double)order_steps(&s->order);
    metrics_put(m, "rewards/chosen", sums->reward[CHOSEN]);
    metrics_put(m, "rewards/rejected", sums->reward[REJECTED]);
    metrics_put(m, "rewards/accuracies", sums->right);
    metrics_put(m, "rewards/margins", sums->margin);
    metrics_put(m, "logps/chosen", sums->logp[CHOSEN]);
    metrics_put(m, "logps/rejected", sums->logp[REJECTED]);
    return PGR_OK;
}

static pgr_status dpo_open(dpo *s, const pgr_model *m, const pgr_dpo_options *o, pgr_error *err) {
    *s = (dpo){.o = o, .m = m};
    PGR_TRY(options_check(ROWS, o, err));
    if (!o->data) return fail(err, PGR_E_ARG, "data: found none, expected a file of preference pairs");
    if (2 * o->max_tokens > o->train.pass_tokens)
        return fail(err, PGR_E_ARG, "max-tokens %zu: expected at most half of pass-tokens, %zu", o->max_tokens,
                    o->train.pass_tokens);
    PGR_TRY(choices_load(m, o->data, o->max_tokens, &s->data, err));
    s->reference = mem_array(s->data.n, CHOICE_SIDES * sizeof *s->reference);
    if (!s->reference) return fail_mem(err);
    for (size_t i = 0; i < CHOICE_SIDES * s->data.n; i++) s->reference[i] = NAN;
    return order_init(&s->order, s->data.n, o->train.batch, o->train.seed, o->no_shuffle, err);
}

pgr_status pgr_train_dpo(pgr_model *model, const pgr_dpo_options *options, pgr_train_report *out, pgr_error *err) {
    dpo s;
    train_run r = {0};
    pgr_train_options o = options->train;
    json_setup();
    pgr_status status = ranks_agree(o.ranks, dpo_open(&s, model, options, err), err);
    if (status == PGR_OK && o.steps == 0) o.steps = (size_t)ceil(o.epochs * (double)order_steps(&s.order));
    if (status == PGR_OK && o.steps == 0) status = fail(err, PGR_E_ARG, "steps and epochs are 0: expected one above 0");
    if (status == PGR_OK)
        status = run_open(&r, model, &o, "dpo",
                          json_pack("{s:s,s:f,s:b,s:I}", "data", options->data, "beta", options->beta, "no_shuffle",
                                    options->no_shuffle, "max_tokens", (json_int_t)options->max_tokens),
                          err);
    train_stage stage = {.name = "dpo", .ctx = &s, .step = dpo_step};
    if (status == PGR_OK) status = run_loop(&r, &stage, err);
    if (out) *out = r.report;
    run_close(&r);
    mem_free(s.reference);
    order_free(&s.order);
    choices_free(&s.data);
    return status;
}
