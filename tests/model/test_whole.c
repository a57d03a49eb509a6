/* test_whole.c - training of all weights on tiny models: the model that reads the arrays gives the bits of the model as
 * opened; every gradient is that of PyTorch in fp64 (tools/tiny_train.py) and of central differences, tied head, own
 * head, biases and norms of heads among them; threads change no bit; losses on states; what is refused. */
#include "../format/folder_make.h"
#include "forward_golden.h"

#include "base/rng.h"
#include "model/backward.h"

#define GOLDEN(name) PGR_SOURCE_DIR "/tests/golden/" name

enum { MAX_ROW = 8, N_TOKEN = 200 };

typedef struct bench {
    pgr_model *m;
    trainable *t;
    backward *b;
    train_seq seqs[2];
    int32_t tokens[2][128], targets[MAX_ROW];
    train_row rows[MAX_ROW];
    size_t n_row, V;
    float *logits, *dlogits; /* (n_row, V) */
} bench;

static const struct {
    const char *base, *batch, *want; /* want NULL: no golden gradients */
} models[] = {{GOLDEN("hf-tiny-llama/f32"), GOLDEN("back/llama.json"), GOLDEN("back/llama-whole")},
              {GOLDEN("hf-tiny-qwen3"), GOLDEN("back/qwen3.json"), GOLDEN("back/qwen3-whole")},
              {GOLDEN("hf-tiny-qwen2"), GOLDEN("back/qwen2.json"), NULL}}; /* its own head, and biases */
enum { N_MODEL = sizeof models / sizeof *models };

static void read_batch(bench *x, const char *path) {
    json_t *g = golden(path), *v;
    size_t i, k;
    json_array_foreach(json_object_get(g, "seqs"), i, v) {
        json_t *token;
        json_array_foreach(v, k, token) x->tokens[i][k] = (int32_t)json_integer_value(token);
        x->seqs[i] = (train_seq){.tokens = x->tokens[i], .n = json_array_size(v)};
    }
    json_array_foreach(json_object_get(g, "rows"), i, v) {
        x->rows[i] = (train_row){(uint32_t)json_integer_value(json_array_get(v, 0)),
                                 (uint32_t)json_integer_value(json_array_get(v, 1))};
        x->targets[i] = (int32_t)json_integer_value(json_array_get(json_object_get(g, "targets"), i));
    }
    x->n_row = json_array_size(json_object_get(g, "rows"));
    json_decref(g);
}

static void make_pass(bench *x) {
    pgr_error err = {0};
    if (backward_create(x->m, x->t, N_TOKEN, &x->b, &err) != PGR_OK) fail_msg("%s", err.message);
}

static bool open_bench(bench *x, size_t model, pgr_dtype dtype, int threads) {
    pgr_error err = {0};
    *x = (bench){.m = model_of(models[model].base, dtype, threads)};
    if (!x->m) return false;
    x->V = x->m->config.n_vocab;
    if (trainable_create_whole(x->m, false, 0, &x->t, &err) != PGR_OK) fail_msg("%s", err.message);
    read_batch(x, models[model].batch);
    make_pass(x);
    x->logits = malloc(MAX_ROW * x->V * sizeof *x->logits);
    x->dlogits = malloc(MAX_ROW * x->V * sizeof *x->dlogits);
    return true;
}

static void close_bench(bench *x) {
    backward_free(x->b);
    trainable_free(x->t);
    pgr_model_close(x->m);
    free(x->logits), free(x->dlogits);
}

static void run_forward(bench *x) {
    pgr_error err = {0};
    if (backward_forward(x->b, x->seqs, 2, x->rows, x->n_row, x->logits, &err) != PGR_OK) fail_msg("%s", err.message);
}

/* The batch's mean cross-entropy, in double; dlogits: its gradient. */
static double loss_of(bench *x) {
    double loss = 0, n = (double)x->n_row;
    for (size_t i = 0; i < x->n_row; i++) {
        const float *l = x->logits + i * x->V;
        double max = -INFINITY, sum = 0;
        for (size_t v = 0; v < x->V; v++) max = fmax(max, (double)l[v]);
        for (size_t v = 0; v < x->V; v++) sum += exp((double)l[v] - max);
        for (size_t v = 0; v < x->V; v++) {
            double p = exp((double)l[v] - max) / sum;
            x->dlogits[i * x->V + v] = (float)((p - (v == (size_t)x->targets[i])) / n);
        }
        loss += (max + log(sum) - (double)l[x->targets[i]]) / n;
    }
    return loss;
}

static double run_back(bench *x) {
    pgr_error err = {0};
    memset(trainable_grads(x->t), 0, trainable_count(x->t) * sizeof(float));
    run_forward(x);
    double loss = loss_of(x);
    if (backward_run(x->b, x->dlogits, &err) != PGR_OK) fail_msg("%s", err.message);
    return loss;
}

/* ---- forward ---- */

/* The bits of a model whose adapter changes nothing (b = 0), in every kind of arithmetic; and again after the values
 * were packed once more. The embedding of files in half precision is as exact in fp32. */
static void reads_the_arrays(void **state) {
    (void)state;
    static const pgr_dtype dtypes[] = {PGR_DTYPE_EXACT, PGR_DTYPE_F32, PGR_DTYPE_BF16};
    for (size_t i = 0; i < N_MODEL * 3; i++) {
        bench x;
        trainable *t;
        backward *b;
        trainable_options o = trainable_options_default();
        pgr_model *m = model_of(models[i / 3].base, dtypes[i % 3], 2);
        if (!m || !open_bench(&x, i / 3, dtypes[i % 3], 2)) {
            print_message("skipped: this CPU has no kernels for dtype %d\n", dtypes[i % 3]);
            continue;
        }
        float *logits = malloc(MAX_ROW * x.V * sizeof *logits);
        assert_int_equal(trainable_create(m, &o, &t, NULL), PGR_OK);
        assert_int_equal(backward_create(m, t, N_TOKEN, &b, NULL), PGR_OK);
        assert_int_equal(backward_forward(b, x.seqs, 2, x.rows, x.n_row, logits, NULL), PGR_OK);
        run_forward(&x);
        assert_memory_equal(logits, x.logits, x.n_row * x.V * sizeof *logits);
        assert_int_equal(backward_changed(x.b, NULL), PGR_OK);
        run_forward(&x);
        assert_memory_equal(logits, x.logits, x.n_row * x.V * sizeof *logits);
        backward_free(b);
        trainable_free(t);
        pgr_model_close(m);
        free(logits);
        close_bench(&x);
    }
}

/* ---- against PyTorch ---- */

/* Largest difference to the golden gradients, relative to the largest of the same tensor. */
static double golden_difference(const bench *x, const char *folder) {
    safetensors want;
    double worst = 0;
    assert_int_equal(safetensors_open(folder, &want, NULL), PGR_OK);
    const tensor_source *live = &trainable_whole(x->t)->source;
    assert_int_equal(want.source.n_tensor, live->n_tensor);
    for (size_t i = 0; i < live->n_tensor; i++) {
        const source_tensor *w = source_find(&want.source, live->tensors[i].name);
        if (!w) fail_msg("no golden gradient of %s", live->tensors[i].name);
        assert_int_equal(w->bytes, live->tensors[i].bytes);
        const float *got = trainable_grad_of(x->t, live->tensors[i].data);
        double top = 0, diff = 0;
        for (size_t j = 0; j < w->bytes / sizeof(float); j++) {
            float v;
            memcpy(&v, (const char *)w->data + j * sizeof v, sizeof v);
            top = fmax(top, fabs((double)v));
            double d = fabs((double)got[j] - (double)v);
            if (!(d <= diff)) diff = d;
        }
        assert_true(top > 0);
        if (!(diff / top <= worst)) worst = diff / top;
    }
    safetensors_close(&want);
    return worst;
}

/* The bounds of test_backward.c, for the same reasons. In bf16 an entry is off by 2e-2 of the largest one (there), here
 * by both factors of its own product, too (sqrt(2) times); the worst of a tensor's 42,000 entries is sqrt(2 ln 42000) =
 * 4.6 such errors away where they are normal: .13, and a seventh more for what is not. */
static void gradients_of_pytorch(void **state) {
    (void)state;
    static const struct {
        pgr_dtype dtype;
        double loss, bound;
    } forms[] = {{PGR_DTYPE_EXACT, 2e-6, 1e-4}, {PGR_DTYPE_F32, 2e-6, 1e-4}, {PGR_DTYPE_BF16, 2e-2, 1.5e-1}};
    for (size_t i = 0; i < N_MODEL * 3; i++) {
        bench x;
        char path[256];
        if (!models[i / 3].want || !open_bench(&x, i / 3, forms[i % 3].dtype, 2)) continue;
        snprintf(path, sizeof path, "%s/loss.json", models[i / 3].want);
        json_t *g = golden(path);
        double want = json_real_value(json_object_get(g, "loss")), loss = run_back(&x);
        double d = golden_difference(&x, models[i / 3].want);
        json_decref(g);
        if (!(fabs(loss - want) <= forms[i % 3].loss * want))
            fail_msg("model %zu, dtype %d: loss %.9g, want %.9g", i / 3, forms[i % 3].dtype, loss, want);
        if (!(d <= forms[i % 3].bound))
            fail_msg("model %zu, dtype %d: gradients off by %g of their largest", i / 3, forms[i % 3].dtype, d);
        close_bench(&x);
    }
}

/* ---- against differences ---- */

/* Each tensor along a random direction of signs, as in test_backward.c. */
static void central_differences(void **state) {
    (void)state;
    const double h = 3e-4;
    for (size_t model = 0; model < N_MODEL; model++) {
        bench x;
        size_t n_piece;
        rng r = {.seed = 12, .stream = (uint32_t)model};
        assert_true(open_bench(&x, model, PGR_DTYPE_EXACT, 2));
        run_back(&x);
        size_t n = trainable_count(x.t);
        float *v = trainable_values(x.t), *was = memcpy(malloc(n * sizeof *v), v, n * sizeof *v);
        float *g = memcpy(malloc(n * sizeof *v), trainable_grads(x.t), n * sizeof *v), *u = malloc(n * sizeof *u);
        const train_piece *p = trainable_pieces(x.t, &n_piece);
        for (size_t i = 0; i < n_piece; i++) {
            double want = 0, losses[2], size = 0;
            for (size_t j = p[i].first; j < p[i].first + p[i].n; j++) {
                u[j] = rng_next(&r) < 0.5 ? -1.0f : 1.0f;
                want += (double)u[j] * (double)g[j], size += (double)g[j] * (double)g[j];
            }
            for (size_t k = 0; k < 2; k++) {
                for (size_t j = p[i].first; j < p[i].first + p[i].n; j++)
                    v[j] = was[j] + (k ? -1.0f : 1.0f) * (float)h * u[j];
                run_forward(&x); /* matrices are read where they are: nothing is packed in this arithmetic */
                losses[k] = loss_of(&x);
            }
            memcpy(v, was, n * sizeof *v);
            double got = (losses[0] - losses[1]) / (2 * h), bound = 1e-6 * losses[0] / h + 1e-2 * sqrt(size);
            if (!(fabs(got - want) <= bound) || size == 0)
                fail_msg("%s, %s: %g by differences, %g by gradient, bound %g", models[model].base,
                         trainable_whole(x.t)->source.tensors[i].name, got, want, bound);
        }
        free(g), free(was), free(u);
        close_bench(&x);
    }
}

/* ---- what changes nothing ---- */

static void threads_change_no_bit(void **state) {
    (void)state;
    static const pgr_dtype dtypes[] = {PGR_DTYPE_EXACT, PGR_DTYPE_BF16};
    for (size_t i = 0; i < N_MODEL * 2; i++) {
        bench two, one;
        if (!open_bench(&two, i / 2, dtypes[i % 2], 2)) continue;
        assert_true(open_bench(&one, i / 2, dtypes[i % 2], 1));
        run_back(&two), run_back(&one);
        assert_memory_equal(trainable_grads(two.t), trainable_grads(one.t), trainable_count(two.t) * sizeof(float));
        close_bench(&two), close_bench(&one);
    }
}

/* Few tokens of a row: the same gradients, but for the order of sums in fp32. */
static void sparse(void **state) {
    (void)state;
    for (size_t i = 0; i < N_MODEL; i++) {
        bench x;
        size_t start[MAX_ROW + 1] = {0}, n = 0;
        int32_t token[MAX_ROW * 3];
        float dlogit[MAX_ROW * 3];
        assert_true(open_bench(&x, i, PGR_DTYPE_EXACT, 2));
        run_forward(&x);
        memset(x.dlogits, 0, x.n_row * x.V * sizeof *x.dlogits);
        for (size_t m = 0; m < x.n_row; m++) {
            for (size_t k = 0; k < m % 4; k++, n++) {
                token[n] = (int32_t)((m * 37 + k * 101) % x.V);
                dlogit[n] = 0.1f * (float)(1 + k) - 0.15f;
                x.dlogits[m * x.V + (size_t)token[n]] += dlogit[n];
            }
            start[m + 1] = n;
        }
        size_t bytes = trainable_count(x.t) * sizeof(float);
        assert_int_equal(backward_run(x.b, x.dlogits, NULL), PGR_OK);
        float *dense = memcpy(malloc(bytes), trainable_grads(x.t), bytes);
        double top = 0;
        for (size_t k = 0; k < trainable_count(x.t); k++) top = fmax(top, fabs((double)dense[k]));
        memset(trainable_grads(x.t), 0, bytes);
        assert_int_equal(backward_run_sparse(x.b, &(sparse_grads){start, token, dlogit}, NULL), PGR_OK);
        for (size_t k = 0; k < trainable_count(x.t); k++)
            assert_true(fabs((double)trainable_grads(x.t)[k] - (double)dense[k]) <= 1e-5 * top);
        free(dense);
        close_bench(&x);
    }
}

/* A loss on logits and the same on states, whose gradients are dlogits times the head: all but the head's gradient is
 * equal, up to fp32's sums. The tied embedding is both: it is left out. */
static void states(void **state) {
    (void)state;
    bench x;
    assert_true(open_bench(&x, 2, PGR_DTYPE_EXACT, 2)); /* a head of its own */
    size_t d = x.m->config.n_embd, n = trainable_count(x.t), bytes = n * sizeof(float), n_piece;
    const float *head = x.m->weights.head->data;
    float *h = malloc(MAX_ROW * d * sizeof *h), *dh = calloc(MAX_ROW * d, sizeof *dh);
    run_back(&x);
    float *want = memcpy(malloc(bytes), trainable_grads(x.t), bytes);
    memset(trainable_grads(x.t), 0, bytes);
    assert_int_equal(backward_forward_states(x.b, x.seqs, 2, x.rows, x.n_row, h, NULL), PGR_OK);
    for (size_t i = 0; i < x.n_row; i++)
        for (size_t v = 0; v < x.V; v++) {
            double z = 0;
            for (size_t k = 0; k < d; k++) z += (double)head[v * d + k] * (double)h[i * d + k];
            assert_true(fabs(z - (double)x.logits[i * x.V + v]) <= 1e-5 * (1 + fabs(z)));
            for (size_t k = 0; k < d; k++) dh[i * d + k] += x.dlogits[i * x.V + v] * head[v * d + k];
        }
    assert_int_equal(backward_run_states(x.b, dh, NULL), PGR_OK);
    const train_piece *p = trainable_pieces(x.t, &n_piece);
    for (size_t i = 0; i < n_piece; i++) {
        double top = 0;
        if (trainable_values(x.t) + p[i].first == head) continue;
        for (size_t j = p[i].first; j < p[i].first + p[i].n; j++) top = fmax(top, fabs((double)want[j]));
        for (size_t j = p[i].first; j < p[i].first + p[i].n; j++)
            assert_true(fabs((double)trainable_grads(x.t)[j] - (double)want[j]) <= 1e-4 * top);
    }
    free(h), free(dh), free(want);
    close_bench(&x);
}

/* Without the adapter: the bits of the model as it is, and with it again those of before. */
static void without_the_adapter(void **state) {
    (void)state;
    bench whole;
    trainable *t;
    backward *b;
    assert_true(open_bench(&whole, 1, PGR_DTYPE_EXACT, 2));
    run_forward(&whole);
    pgr_model *m = model_of(models[1].base, PGR_DTYPE_EXACT, 2);
    size_t bytes = whole.n_row * whole.V * sizeof(float);
    float *off = malloc(bytes), *on = malloc(bytes), *again = malloc(bytes);
    assert_int_equal(trainable_open(m, GOLDEN("back/qwen3"), &t, NULL), PGR_OK);
    assert_int_equal(backward_create(m, t, N_TOKEN, &b, NULL), PGR_OK);
    assert_int_equal(backward_forward(b, whole.seqs, 2, whole.rows, whole.n_row, on, NULL), PGR_OK);
    backward_without(b, true);
    assert_int_equal(backward_forward(b, whole.seqs, 2, whole.rows, whole.n_row, off, NULL), PGR_OK);
    backward_without(b, false);
    assert_int_equal(backward_forward(b, whole.seqs, 2, whole.rows, whole.n_row, again, NULL), PGR_OK);
    assert_memory_equal(off, whole.logits, bytes);
    assert_memory_equal(on, again, bytes);
    assert_memory_not_equal(on, off, bytes);
    free(off), free(on), free(again);
    backward_free(b);
    trainable_free(t);
    pgr_model_close(m);
    close_bench(&whole);
}

static void refusals(void **state) {
    (void)state;
    pgr_model *m = model_of(GOLDEN("tiny-llama.gguf"), PGR_DTYPE_EXACT, 1);
    trainable *t = NULL;
    pgr_error err = {0};
    assert_int_equal(trainable_create_whole(m, false, 0, &t, &err), PGR_E_UNSUPPORTED);
    assert_non_null(strstr(err.message, "found a GGUF file"));
    pgr_model_close(m);
}

/* ---- memory ---- */

static bool whole_step(void) {
    trainable *t = NULL;
    backward *b = NULL;
    pgr_model *m = NULL;
    static float logits[MAX_ROW * 320], dlogits[MAX_ROW * 320];
    static const int32_t tokens[] = {5, 6, 7};
    pgr_model_options o = pgr_model_options_default();
    o.dtype = PGR_DTYPE_F32, o.n_thread = 1;
    train_seq seq = {.tokens = tokens, .n = 3};
    train_row row = {0, 2};
    bool worked = pgr_model_open(models[1].base, &o, &m, NULL) == PGR_OK
                  && trainable_create_whole(m, false, 0, &t, NULL) == PGR_OK
                  && backward_create(m, t, 16, &b, NULL) == PGR_OK
                  && backward_forward(b, &seq, 1, &row, 1, logits, NULL) == PGR_OK
                  && backward_run(b, dlogits, NULL) == PGR_OK && backward_changed(b, NULL) == PGR_OK;
    backward_free(b);
    trainable_free(t);
    pgr_model_close(m);
    return worked;
}

static void without_memory(void **state) {
    (void)state;
    whole_step(); /* what is kept once per process */
    long live = mem_live(), count = mem_count();
    assert_true(whole_step());
    long n = mem_count() - count;
    for (long i = 1; i <= n; i++) {
        mem_fail_nth(i);
        bool worked = whole_step();
        mem_fail_nth(0);
        if (worked || mem_live() != live)
            fail_msg("allocation %ld of %ld failed: worked %d, %ld more live", i, n, worked, mem_live() - live);
    }
    print_message("%ld allocations\n", n);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_the_arrays),
        cmocka_unit_test(gradients_of_pytorch),
        cmocka_unit_test(central_differences),
        cmocka_unit_test(threads_change_no_bit),
        cmocka_unit_test(sparse),
        cmocka_unit_test(states),
        cmocka_unit_test(without_the_adapter),
        cmocka_unit_test(refusals),
        cmocka_unit_test(without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
