/* bt.c - a reward model: a row on top of the decoder, whose product with the last token's state is a response's score,
 * trained so that of each pair the chosen one has more (Bradley and Terry). */
#include <math.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "model/score_head.h"
#include "train/choices.h"
#include "train/loss.h"
#include "train/options.h"
#include "train/order.h"
#include "train/run.h"

/* clang-format off */
static const pgr_option ROWS[] = {
    TRAIN_ROWS(pgr_bt_options, 0, 8, 2e-4, 1, "learning rate", "pairs of a step"),
    TRAIN_NUMBER(pgr_bt_options, DOUBLE, "epochs", "E", train.epochs, 1, 0, 1e6,
                 "passes over the pairs, where no steps are given", NULL),
    TRAIN_NUMBER(pgr_bt_options, SIZE, "max-tokens", "N", max_tokens, 1024, 2, 1 << 20,
                 "of a conversation; pairs with a longer one are left out", NULL),
    TRAIN_FLAG(pgr_bt_options, "no-shuffle", no_shuffle, 0, "pairs in the file's order"),
    TRAIN_FULL(pgr_bt_options),
    {0},
};
/* clang-format on */

const pgr_option *pgr_bt_option_rows(void) {
    return ROWS;
}

pgr_bt_options pgr_bt_options_default(void) {
    pgr_bt_options o;
    memset(&o, 0, sizeof o);
    options_default(ROWS, &o);
    o.train.beta1 = 0.9;
    o.train.beta2 = 0.999;
    return o;
}

pgr_status pgr_train_model_open(const char *path, const pgr_model_options *options, pgr_model **out, pgr_error *err) {
    return model_open_any(path, options, out, err);
}

typedef struct bt {
    const pgr_bt_options *o;
    const pgr_model *m;
    choices data;
    train_order order;
} bt;

typedef struct bt_sums { /* of a step's pairs */
    double loss, right, margin, reward, least, most;
} bt_sums;

/* Both sides of some pairs, side by side. */
typedef struct bt_pass {
    const choice **list; /* (n) */
    size_t n;
    train_seq *seqs; /* (n, 2) */
    train_row *rows; /* (n, 2) the last token that is read */
    float *states;   /* (n, 2, d), then their gradients */
    double *slope;   /* (n) of the loss, by a pair's margin */
} bt_pass;

typedef struct bt_passes { /* a step's pairs, cut into passes */
    train_run *r;
    const bt *s;
    const choice **list; /* (n) */
    size_t n;
    pass_cut cut;
    bt_sums sums;
    bt_pass own; /* between its forward and its back */
} bt_passes;

static void pass_free(bt_pass *p) {
    mem_free(p->seqs);
    mem_free(p->rows);
    mem_free(p->states);
    mem_free(p->slope);
    *p = (bt_pass){0};
}

static pgr_status pass_begin(const bt *s, bt_pass *p, pgr_error *err) {
    size_t n = CHOICE_SIDES * p->n;
    p->seqs = mem_array(n, sizeof *p->seqs);
    p->rows = mem_array(n, sizeof *p->rows);
    p->states = mem_array(n * s->m->config.n_embd, sizeof *p->states);
    p->slope = mem_array(p->n, sizeof *p->slope);
    if (!p->seqs || !p->rows || !p->states || !p->slope) return fail_mem(err);
    for (size_t i = 0; i < n; i++) {
        const chat_row *row = &p->list[i / CHOICE_SIDES]->side[i % CHOICE_SIDES];
        size_t end = score_end(row->tokens, row->n, s->m->from.pad);
        p->seqs[i] = (train_seq){.tokens = row->tokens, .n = end};
        p->rows[i] = (train_row){(uint32_t)i, (uint32_t)(end - 1)};
    }
    return PGR_OK;
}

static double score_of(const float *row, const float *state, size_t d) {
    double sum = 0;
    for (size_t k = 0; k < d; k++) sum += (double)row[k] * (double)state[k];
    return sum;
}

/* Both scores of every pair of a pass. */
static size_t told_by(void *ctx, size_t k) {
    const bt_passes *s = ctx;
    return CHOICE_SIDES * (s->cut.first[k + 1] - s->cut.first[k]);
}

static pgr_status pairs_forward(void *ctx, size_t k, double *told, pgr_error *err) {
    bt_passes *s = ctx;
    bt_pass *p = &s->own;
    *p = (bt_pass){.list = s->list + s->cut.first[k], .n = s->cut.first[k + 1] - s->cut.first[k]};
    size_t d = s->s->m->config.n_embd, n = CHOICE_SIDES * p->n;
    PGR_TRY(pass_begin(s->s, p, err));
    backward_share(p->seqs, n, p->rows, n); /* both sides of a pair: the conversation */
    PGR_TRY(backward_forward_states(s->r->b, p->seqs, n, p->rows, n, p->states, err));
    for (size_t i = 0; i < n; i++) told[i] = score_of(trainable_score(s->r->t), p->states + i * d, d);
    return PGR_OK;
}

/* One pair by its two scores; returns the slope of its part of the loss. scale: one over the step's pairs. */
static double take_pair(bt_sums *sums, const double scores[CHOICE_SIDES], double scale) {
    double margin = scores[CHOSEN] - scores[REJECTED], slope;
    sums->loss += scale * bradley_terry(margin, 1, &slope);
    sums->right += scale * (margin > 0 ? 1 : margin < 0 ? 0 : 0.5);
    sums->margin += scale * margin;
    sums->reward += scale * (scores[CHOSEN] + scores[REJECTED]) / 2;
    for (size_t k = 0; k < CHOICE_SIDES; k++) {
        sums->least = fmin(sums->least, scores[k]);
        sums->most = fmax(sums->most, scores[k]);
    }
    return scale * slope;
}

static void pairs_take(void *ctx, size_t k, const double *told, bool mine) {
    bt_passes *s = ctx;
    for (size_t i = 0, n = s->cut.first[k + 1] - s->cut.first[k]; i < n; i++) {
        double slope = take_pair(&s->sums, told + CHOICE_SIDES * i, 1 / (double)s->n);
        if (mine) s->own.slope[i] = slope;
    }
}

/* Gradients of the row and, in place, of the two states. */
static void learn_pair(trainable *t, float *states, size_t d, double slope) {
    const float *row = trainable_score(t);
    float *drow = trainable_grad_of(t, row), *a = states + CHOSEN * d, *b = states + REJECTED * d;
    for (size_t k = 0; k < d; k++) {
        double down = slope * (double)row[k];
        drow[k] += (float)(slope * ((double)a[k] - (double)b[k]));
        a[k] = (float)down;
        b[k] = (float)-down;
    }
}

static pgr_status pairs_back(void *ctx, size_t k, pgr_error *err) {
    bt_passes *s = ctx;
    bt_pass *p = &s->own;
    size_t d = s->s->m->config.n_embd;
    (void)k;
    for (size_t i = 0; i < p->n; i++) learn_pair(s->r->t, p->states + i * CHOICE_SIDES * d, d, p->slope[i]);
    pgr_status status = backward_run_states(s->r->b, p->states, err);
    pass_free(p);
    return status;
}

static size_t tokens_of(const void *ctx, size_t i) {
    const choice *c = ((const bt_passes *)ctx)->list[i];
    return c->side[CHOSEN].n + c->side[REJECTED].n;
}

static pgr_status run_pairs(bt_passes *s, pgr_error *err) {
    static const pass_fns fns = {told_by, pairs_forward, pairs_take, pairs_back};
    pgr_status status = run_cut(s->r, s->n, tokens_of, s, &s->cut, err);
    if (status == PGR_OK) status = run_passes(s->r, s->cut.n_pass, &fns, s, err);
    pass_free(&s->own);
    run_cut_free(&s->cut);
    return status;
}

static pgr_status bt_step(void *ctx, train_run *r, metrics *m, pgr_error *err) {
    bt *s = ctx;
    size_t n;
    const size_t *at = order_at(&s->order, r->state.step, &n);
    const choice **list = mem_array(n, sizeof *list);
    bt_passes p = {.r = r, .s = s, .list = list, .n = n, .sums = {.least = INFINITY, .most = -INFINITY}};
    const bt_sums *sums = &p.sums;
    if (!list) return fail_mem(err);
    for (size_t i = 0; i < n; i++) {
        list[i] = &s->data.list[at[i]];
        m->tokens += tokens_of(&p, i);
    }
    pgr_status status = run_pairs(&p, err);
    mem_free(list);
    m->loss = sums->loss;
    m->epoch = (double)(r->state.step + 1) / (double)order_steps(&s->order);
    metrics_put(m, "accuracy", sums->right);
    metrics_put(m, "margin", sums->margin);
    metrics_put(m, "mean_reward", sums->reward);
    metrics_put(m, "min_reward", sums->least);
    metrics_put(m, "max_reward", sums->most);
    return status;
}

static pgr_status bt_open(bt *s, const pgr_model *m, const pgr_bt_options *o, pgr_error *err) {
    *s = (bt){.o = o, .m = m};
    PGR_TRY(options_check(ROWS, o, err));
    if (!o->data) return fail(err, PGR_E_ARG, "data: found none, expected a file of preference pairs");
    if (2 * o->max_tokens > o->train.pass_tokens)
        return fail(err, PGR_E_ARG, "max-tokens %zu: expected at most half of pass-tokens, %zu", o->max_tokens,
                    o->train.pass_tokens);
    PGR_TRY(choices_load(m, o->data, o->max_tokens, &s->data, err));
    return order_init(&s->order, s->data.n, o->train.batch, o->train.seed, o->no_shuffle, err);
}

pgr_status pgr_train_bt(pgr_model *model, const pgr_bt_options *options, pgr_train_report *out, pgr_error *err) {
    bt s;
    train_run r = {0};
    pgr_train_options o = options->train;
    json_setup();
    pgr_status status = ranks_agree(o.ranks, bt_open(&s, model, options, err), err);
    if (status == PGR_OK && o.steps == 0) o.steps = (size_t)ceil(o.epochs * (double)order_steps(&s.order));
    if (status == PGR_OK && o.steps == 0) status = fail(err, PGR_E_ARG, "steps and epochs are 0: expected one above 0");
    if (status == PGR_OK)
        status = run_open_score(&r, model, &o, "bt",
                                json_pack("{s:s,s:b,s:I}", "data", options->data, "no_shuffle", options->no_shuffle,
                                          "max_tokens", (json_int_t)options->max_tokens),
                                err);
    train_stage stage = {.name = "bt", .ctx = &s, .step = bt_step};
    if (status == PGR_OK) status = run_loop(&r, &stage, err);
    if (out) *out = r.report;
    run_close(&r);
    order_free(&s.order);
    choices_free(&s.data);
    return status;
}
