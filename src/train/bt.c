/* bt.c - a reward model: a row on top of the decoder, whose product with the last token's state is a response's score,
 * trained so that of each pair the chosen one has more (Bradley and Terry). */
#include <math.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/watch.h"
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
} bt_pass;

static void pass_free(bt_pass *p) {
    mem_free(p->seqs);
    mem_free(p->rows);
    mem_free(p->states);
}

static pgr_status pass_begin(const bt *s, bt_pass *p, pgr_error *err) {
    size_t n = CHOICE_SIDES * p->n;
    p->seqs = mem_array(n, sizeof *p->seqs);
    p->rows = mem_array(n, sizeof *p->rows);
    p->states = mem_array(n * s->m->config.n_embd, sizeof *p->states);
    if (!p->seqs || !p->rows || !p->states) return fail_mem(err);
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

/* One pair: its loss, and gradients of the row and, in place, of the two states. scale: one over the step's pairs. */
static void learn_pair(trainable *t, float *states, size_t d, double scale, bt_sums *sums) {
    const float *row = trainable_score(t);
    float *drow = trainable_grad_of(t, row), *a = states + CHOSEN * d, *b = states + REJECTED * d;
    double scores[CHOICE_SIDES] = {score_of(row, a, d), score_of(row, b, d)}, dm;
    double margin = scores[CHOSEN] - scores[REJECTED];
    sums->loss += scale * bradley_terry(margin, 1, &dm);
    sums->right += scale * (margin > 0 ? 1 : margin < 0 ? 0 : 0.5);
    sums->margin += scale * margin;
    sums->reward += scale * (scores[CHOSEN] + scores[REJECTED]) / 2;
    for (size_t k = 0; k < CHOICE_SIDES; k++) {
        sums->least = fmin(sums->least, scores[k]);
        sums->most = fmax(sums->most, scores[k]);
    }
    for (size_t k = 0; k < d; k++) {
        double slope = scale * dm * (double)row[k];
        drow[k] += (float)(scale * dm * ((double)a[k] - (double)b[k]));
        a[k] = (float)slope;
        b[k] = (float)-slope;
    }
}

static pgr_status run_pass(const bt *s, train_run *r, bt_pass *p, double scale, bt_sums *sums, pgr_error *err) {
    size_t d = s->m->config.n_embd, n = CHOICE_SIDES * p->n;
    PGR_TRY(pass_begin(s, p, err));
    backward_share(p->seqs, n, p->rows, n); /* both sides of a pair: the conversation */
    PGR_TRY(backward_forward_states(r->b, p->seqs, n, p->rows, n, p->states, err));
    for (size_t i = 0; i < p->n; i++) learn_pair(r->t, p->states + i * CHOICE_SIDES * d, d, scale, sums);
    return backward_run_states(r->b, p->states, err);
}

static size_t tokens_of(const choice *c) {
    return c->side[CHOSEN].n + c->side[REJECTED].n;
}

static pgr_status run_pairs(const bt *s, train_run *r, const choice **list, size_t n, bt_sums *sums, pgr_error *err) {
    for (size_t i = 0; i < n;) {
        size_t count = 0, tokens = 0;
        while (i + count < n && (count == 0 || tokens + tokens_of(list[i + count]) <= r->o->pass_tokens))
            tokens += tokens_of(list[i + count++]);
        PGR_TRY(watch_check(&r->o->watch, err));
        bt_pass p = {.list = list + i, .n = count};
        pgr_status status = run_pass(s, r, &p, 1 / (double)n, sums, err);
        pass_free(&p);
        if (status != PGR_OK) return status;
        i += count;
    }
    return PGR_OK;
}

static pgr_status bt_step(void *ctx, train_run *r, metrics *m, pgr_error *err) {
    bt *s = ctx;
    size_t n;
    const size_t *at = order_at(&s->order, r->state.step, &n);
    const choice **list = mem_array(n, sizeof *list);
    bt_sums sums = {.least = INFINITY, .most = -INFINITY};
    if (!list) return fail_mem(err);
    for (size_t i = 0; i < n; i++) {
        list[i] = &s->data.list[at[i]];
        m->tokens += tokens_of(list[i]);
    }
    pgr_status status = run_pairs(s, r, list, n, &sums, err);
    mem_free(list);
    m->loss = sums.loss;
    m->epoch = (double)(r->state.step + 1) / (double)order_steps(&s->order);
    metrics_put(m, "accuracy", sums.right);
    metrics_put(m, "margin", sums.margin);
    metrics_put(m, "mean_reward", sums.reward);
    metrics_put(m, "min_reward", sums.least);
    metrics_put(m, "max_reward", sums.most);
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
    pgr_status status = bt_open(&s, model, options, err);
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
