/* bt.c - a reward model: a row on top of the decoder, whose product with the last token's state is a response's score,
 * trained so that of each pair the chosen one has more (Bradley and Terry). */
#include <math.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "model/score_head.h"
#include "train/choice_steps.h"
#include "train/loss.h"

/* clang-format off */
static const pgr_option ROWS[] = {
    TRAIN_ROWS(pgr_bt_options, 0, 8, 2e-4, 1, "learning rate", "pairs of a step"),
    CHOICE_ROWS(pgr_bt_options),
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
    const pgr_model *m;
    const choices *data;
    /* the step's sums */
    double loss, right, margin, reward, least, most;
    /* between a pass's forward and its back: both sides of some pairs, side by side */
    size_t n;
    train_seq *seqs; /* (n, 2) */
    train_row *rows; /* (n, 2) the last token that is read */
    float *states;   /* (n, 2, d), then their gradients */
    double *slope;   /* (n) of the loss, by a pair's margin */
} bt;

static void drop(void *ctx) {
    bt *s = ctx;
    mem_free(s->seqs);
    mem_free(s->rows);
    mem_free(s->states);
    mem_free(s->slope);
    s->seqs = NULL;
    s->rows = NULL;
    s->states = NULL;
    s->slope = NULL;
}

static pgr_status begin(void *ctx, const choice_steps *steps, pgr_error *err) {
    (void)err;
    ((bt *)ctx)->data = &steps->data;
    return PGR_OK;
}

static pgr_status pass_begin(bt *s, const size_t *at, pgr_error *err) {
    size_t n = CHOICE_SIDES * s->n;
    s->seqs = mem_array(n, sizeof *s->seqs);
    s->rows = mem_array(n, sizeof *s->rows);
    s->states = mem_array(n * s->m->config.n_embd, sizeof *s->states);
    s->slope = mem_array(s->n, sizeof *s->slope);
    if (!s->seqs || !s->rows || !s->states || !s->slope) return fail_mem(err);
    for (size_t i = 0; i < n; i++) {
        const chat_row *row = &s->data->list[at[i / CHOICE_SIDES]].side[i % CHOICE_SIDES];
        size_t end = score_end(row->tokens, row->n, s->m->from.pad);
        s->seqs[i] = (train_seq){.tokens = row->tokens, .n = end};
        s->rows[i] = (train_row){(uint32_t)i, (uint32_t)(end - 1)};
    }
    return PGR_OK;
}

static double score_of(const float *row, const float *state, size_t d) {
    double sum = 0;
    for (size_t k = 0; k < d; k++) sum += (double)row[k] * (double)state[k];
    return sum;
}

/* Both scores of every pair. */
static pgr_status forward(void *ctx, train_run *r, const size_t *at, size_t n_pair, double *told, pgr_error *err) {
    bt *s = ctx;
    s->n = n_pair;
    size_t d = s->m->config.n_embd, n = CHOICE_SIDES * n_pair;
    PGR_TRY(pass_begin(s, at, err));
    backward_share(s->seqs, n, s->rows, n); /* both sides of a pair: the conversation */
    PGR_TRY(backward_forward_states(r->b, s->seqs, n, s->rows, n, s->states, err));
    for (size_t i = 0; i < n; i++) told[i] = score_of(trainable_score(r->t), s->states + i * d, d);
    return PGR_OK;
}

static void forget(void *ctx) {
    bt *s = ctx;
    s->loss = s->right = s->margin = s->reward = 0;
    s->least = INFINITY;
    s->most = -INFINITY;
}

static void take(void *ctx, size_t pair, const double *scores, double scale, size_t own) {
    bt *s = ctx;
    (void)pair;
    double margin = scores[CHOSEN] - scores[REJECTED], slope;
    s->loss += scale * bradley_terry(margin, 1, &slope);
    s->right += scale * (margin > 0 ? 1 : margin < 0 ? 0 : 0.5);
    s->margin += scale * margin;
    s->reward += scale * (scores[CHOSEN] + scores[REJECTED]) / 2;
    for (size_t k = 0; k < CHOICE_SIDES; k++) {
        s->least = fmin(s->least, scores[k]);
        s->most = fmax(s->most, scores[k]);
    }
    if (own != SIZE_MAX) s->slope[own] = scale * slope;
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

static pgr_status back(void *ctx, train_run *r, pgr_error *err) {
    bt *s = ctx;
    size_t d = s->m->config.n_embd;
    for (size_t i = 0; i < s->n; i++) learn_pair(r->t, s->states + i * CHOICE_SIDES * d, d, s->slope[i]);
    return backward_run_states(r->b, s->states, err);
}

static void tell(void *ctx, metrics *m) {
    const bt *s = ctx;
    m->loss = s->loss;
    metrics_put(m, "accuracy", s->right);
    metrics_put(m, "margin", s->margin);
    metrics_put(m, "mean_reward", s->reward);
    metrics_put(m, "min_reward", s->least);
    metrics_put(m, "max_reward", s->most);
}

pgr_status pgr_bt_check(const pgr_bt_options *o, pgr_error *err) {
    return choice_options_check(CHOICE_OPTIONS(ROWS, o), err);
}

pgr_status pgr_train_bt(pgr_model *model, const pgr_bt_options *options, pgr_train_report *out, pgr_error *err) {
    static const choice_stage stage = {.name = "bt",
                                       .n_told = CHOICE_SIDES,
                                       .begin = begin,
                                       .forward = forward,
                                       .forget = forget,
                                       .take = take,
                                       .back = back,
                                       .drop = drop,
                                       .tell = tell};
    bt s = {.m = model};
    json_setup();
    return choice_steps_train(model, CHOICE_OPTIONS(ROWS, options), &stage, &s, run_open_score, json_object(), out,
                              err);
}
