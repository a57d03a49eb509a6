/* test_text_golden.c - the losses on text chains. Ten steps on tiny models against PyTorch in fp64
 * (tools/golden_text_losses.py), loss and norm of the gradient of each: cross-entropy of chains with Bradley-Terry
 * through the expected numbers at their places, and GRPO with clipped ratios and k3. Their gradients against
 * differences of the losses themselves. */
#include "train_fixture.h"

#include "base/mem.h"
#include "train/text.h"
#include "train/text_grpo.h"

#define GOLDEN PGR_SOURCE_DIR "/tests/golden/"
enum { SEQS = 3, TOKENS_MAX = 64, PLACES_MAX = 3, STEPS = 10 };
static const double BT = 0.7, TAU = 1.3; /* as the script has them */
static const grpo_terms TERMS = {.low = 0.2, .high = 0.28, .dual = 3, .kl = 0.1};

typedef struct golden {
    json_t *v;
    int32_t tokens[SEQS][TOKENS_MAX], allowed[CHAIN_NUMBERS];
    chain_at at[SEQS][PLACES_MAX];
    double value[PLACES_MAX][CHAIN_NUMBERS], weight[SEQS][PLACES_MAX], loss;
    chain_seq seqs[SEQS];
    double old[SEQS][TOKENS_MAX], ref[SEQS][TOKENS_MAX];
    size_t n_token;
    bool grpo;
} golden;

/* ---- the files ---- */

static const json_t *get(const golden *g, const char *name, size_t i) {
    const json_t *v = json_array_get(json_object_get(g->v, name), i);
    assert_non_null(v);
    return v;
}

static double number(const golden *g, const char *name, size_t i, size_t k) {
    const json_t *v = json_array_get(get(g, name, i), k);
    assert_true(json_is_number(v));
    return json_number_value(v);
}

static void read_seq(golden *g, size_t i) {
    chain_seq *s = &g->seqs[i];
    *s = (chain_seq){.tokens = g->tokens[i],
                     .n = json_array_size(get(g, "seqs", i)),
                     .from = (size_t)json_integer_value(get(g, "from", i)),
                     .places = g->at[i]};
    assert_true(s->n <= TOKENS_MAX);
    for (size_t k = 0; k < s->n; k++) g->tokens[i][k] = (int32_t)number(g, "seqs", i, k);
    for (size_t k = 0; k < s->n - s->from; k++) g->old[i][k] = number(g, "old", i, k);
    g->n_token += s->n - s->from;
    if (g->grpo) return;
    s->n_place = json_array_size(get(g, "places", i));
    for (size_t k = 0; k < s->n_place; k++) {
        g->at[i][k] = (chain_at){(size_t)number(g, "places", i, k), g->allowed};
        g->weight[i][k] = number(g, "weights", i, k);
    }
}

static void golden_open(golden *g, const char *name, bool grpo) {
    char path[300];
    buf text = {0};
    memset(g, 0, sizeof *g);
    g->grpo = grpo;
    snprintf(path, sizeof path, GOLDEN "train/%s-text.json", name);
    assert_int_equal(file_read(path, &text, NULL), PGR_OK);
    assert_int_equal(json_parse(text.data, text.n, path, 1, &g->v, NULL), PGR_OK);
    buf_free(&text);
    for (size_t j = 0; j < CHAIN_NUMBERS; j++) {
        g->allowed[j] = (int32_t)json_integer_value(get(g, "allowed", j));
        for (size_t k = 0; k < PLACES_MAX; k++) g->value[k][j] = (double)(j + 1);
    }
    for (size_t i = 0; i < SEQS; i++) read_seq(g, i);
}

/* ---- the losses ---- */

static void psi_loss(void *ctx, size_t i, const chain_reading *r, chain_grads *d) {
    golden *g = ctx;
    const chain_seq *s = &g->seqs[i];
    double each = 1 / (double)g->n_token, margin;
    for (size_t k = 0; k < s->n - s->from; k++) {
        g->loss -= each * r->log_p[k];
        d->log_p[k] = -each;
    }
    text_places p = {.at = g->at[i], .value = g->value, .weight = g->weight[i], .n = s->n_place};
    g->loss += BT / SEQS * text_margin_loss(&p, r->z, TAU, BT / SEQS, d->z, &margin);
}

/* The reference is the model without an adapter: values of 0. */
static pgr_status add_loss(golden *g, train_run *r, pgr_error *err) {
    text_drawn list[SEQS];
    text_grpo_sums sums;
    g->loss = 0;
    if (!g->grpo) return run_chains(r, g->seqs, SEQS, psi_loss, g, true, err);
    float *reference = mem_zero(r->state.n, sizeof *reference);
    if (!reference) return fail_mem(err);
    for (size_t i = 0; i < SEQS; i++)
        list[i] = (text_drawn){g->seqs[i], g->old[i], g->ref[i], json_number_value(get(g, "advantages", i))};
    pgr_status s = text_grpo_learn(r, list, SEQS, &TERMS, GRPO_TOKEN_MEAN, reference, &sums, err);
    mem_free(reference);
    g->loss = sums.loss;
    assert_int_equal(sums.n_token, g->n_token);
    assert_true(sums.low > 0 && sums.high > 0 && sums.kl > 0); /* every branch has tokens */
    return s;
}

/* ---- ten steps ---- */

/* fp32 against fp64: see test_peers.c, whose bound this is. */
static void check(const golden *g, const char *what, size_t step, double have) {
    double want = json_number_value(get(g, what, step));
    if (!(fabs(have - want) <= 2e-4 * fabs(want)))
        fail_msg("%s of step %zu: %.9g, PyTorch has %.9g", what, step + 1, have, want);
}

static pgr_status golden_step(void *ctx, train_run *r, metrics *m, pgr_error *err) {
    golden *g = ctx;
    size_t step = (size_t)r->state.step;
    PGR_TRY(add_loss(g, r, err));
    m->loss = g->loss;
    check(g, g->grpo ? "grpo" : "psi", step, g->loss);
    check(g, g->grpo ? "grpo_norms" : "psi_norms", step, gradient_norm(trainable_grads(r->t), r->state.n));
    return PGR_OK;
}

typedef struct opened {
    pgr_model *m;
    train_run r;
    pgr_train_options o;
    char out[40], init[300];
} opened;

static void open_run(opened *x, const char *name, const char *folder, const char *out) {
    char model[300];
    pgr_error err = {0};
    snprintf(x->init, sizeof x->init, GOLDEN "train/%s", name);
    snprintf(model, sizeof model, GOLDEN "%s", folder);
    x->m = open_tiny(model, 2);
    x->o = pgr_sft_options_default().train;
    x->o.out = out;
    x->o.init = x->init;
    x->o.steps = STEPS;
    x->o.lr = 1e-3;
    x->o.schedule = PGR_SCHEDULE_CONSTANT;
    x->o.warmup = 0;
    x->o.weight_decay = 0;
    x->o.clip = 1;
    x->o.beta1 = 0.9;
    x->o.beta2 = 0.999;
    x->o.pass_tokens = 110; /* two passes a step */
    if (run_open(&x->r, x->m, &x->o, "golden", json_object(), &err) != PGR_OK) fail_msg("%s", err.message);
}

static void ten_steps(const char *name, const char *folder, bool grpo) {
    golden g;
    opened x;
    pgr_error err = {0};
    char out[40];
    golden_open(&g, name, grpo);
    snprintf(out, sizeof out, "%s-%d", name, grpo);
    open_run(&x, name, folder, path_of(out));
    train_stage stage = {.name = "golden", .ctx = &g, .step = golden_step};
    if (run_loop(&x.r, &stage, &err) != PGR_OK) fail_msg("%s", err.message);
    assert_int_equal(x.r.report.steps, STEPS);
    run_close(&x.r);
    pgr_model_close(x.m);
    json_decref(g.v);
}

static void test_psi(void **state) {
    (void)state;
    ten_steps("llama", "hf-tiny-llama/f32", false);
    ten_steps("qwen3", "hf-tiny-qwen3", false);
}

static void test_grpo(void **state) {
    (void)state;
    ten_steps("llama", "hf-tiny-llama/f32", true);
    ten_steps("qwen3", "hf-tiny-qwen3", true);
}

/* ---- differences ---- */

enum { PARTS = 10 };

static double loss_at(golden *g, train_run *r, const float *from, const float *direction, double h) {
    pgr_error err = {0};
    for (size_t i = 0; i < r->state.n; i++) r->state.values[i] = from[i] + (float)h * direction[i];
    trainable_changed(r->t);
    if (add_loss(g, r, &err) != PGR_OK) fail_msg("%s", err.message);
    return g->loss;
}

/* Along the gradient of a tenth of the values, and of all: the loss must rise by the gradient's length times the way.
 * Over 2 H it rises by some 1e-4, known to some 1e-7 of fp32's log-probabilities; from H = 1e-3 on tokens cross the
 * bounds at which their ratios are clipped. Seen: 1e-3. */
static void differences(bool grpo) {
    const double H = 3e-4;
    golden g;
    opened x;
    pgr_error err = {0};
    golden_open(&g, "qwen3", grpo);
    open_run(&x, "qwen3", "hf-tiny-qwen3", path_of(grpo ? "differences-grpo" : "differences-psi"));
    size_t n = x.r.state.n;
    float *values = mem_array(n, sizeof *values), *grads = mem_array(n, sizeof *grads),
          *way = mem_array(n, sizeof *way);
    memset(trainable_grads(x.r.t), 0, n * sizeof *grads);
    if (add_loss(&g, &x.r, &err) != PGR_OK) fail_msg("%s", err.message);
    memcpy(grads, trainable_grads(x.r.t), n * sizeof *grads);
    memcpy(values, x.r.state.values, n * sizeof *values);
    for (size_t part = 0; part <= PARTS; part++) {
        size_t from = part < PARTS ? part * n / PARTS : 0, to = part < PARTS ? (part + 1) * n / PARTS : n;
        double length = gradient_norm(grads + from, to - from);
        for (size_t i = 0; i < n; i++) way[i] = i >= from && i < to ? (float)((double)grads[i] / length) : 0;
        double rise = (loss_at(&g, &x.r, values, way, H) - loss_at(&g, &x.r, values, way, -H)) / (2 * H);
        if (!(fabs(rise - length) <= 0.01 * length))
            fail_msg("%s, part %zu: the loss rises by %.6g, its gradient says %.6g", grpo ? "grpo" : "psi", part, rise,
                     length);
    }
    mem_free(values);
    mem_free(grads);
    mem_free(way);
    run_close(&x.r);
    pgr_model_close(x.m);
    json_decref(g.v);
}

static void test_differences(void **state) {
    (void)state;
    differences(false);
    differences(true);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_psi), cmocka_unit_test(test_grpo),
                                       cmocka_unit_test(test_differences)};
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
