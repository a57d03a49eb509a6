/* test_backward.c - the training pass on tiny models: logits are those of forward_run, gradients those of PyTorch in
 * fp64 (tools/tiny_back.py) and of central differences; and nothing but the values changes them: not the packing, the
 * threads, what is kept, nor the lowest layer that is trained. */
#include "../format/folder_make.h"
#include "forward_golden.h"

#include "base/rng.h"
#include "model/backward.h"
#include "model/backward_parts.h"

#define GOLDEN(name) PGR_SOURCE_DIR "/tests/golden/" name
#define BACK(name)   GOLDEN("back/" name)

enum { MAX_ROW = 8, N_TOKEN = 200, MAX_SEQ = 6 };

typedef struct batch {
    train_seq seqs[MAX_SEQ];
    size_t n_seq; /* 2 as they are in the file */
    int32_t tokens[2][128];
    train_row rows[MAX_ROW];
    int32_t targets[MAX_ROW];
    size_t n_row;
    double loss; /* golden */
} batch;

typedef struct bench {
    pgr_model *m;
    trainable *t;
    backward *b;
    batch x;
    size_t V;
    float *logits, *dlogits; /* (n_row, V) */
} bench;

static const struct {
    const char *base, *name;
} models[] = {{GOLDEN("hf-tiny-llama/f32"), BACK("llama")},
              {GOLDEN("tiny-llama.gguf"), BACK("llama")},
              {GOLDEN("hf-tiny-qwen2"), BACK("qwen2")},
              {GOLDEN("hf-tiny-qwen3"), BACK("qwen3")}};
enum { N_MODEL = sizeof models / sizeof *models };

static void read_batch(const char *path, batch *x) {
    json_t *g = golden(path), *v;
    size_t i, k;
    *x = (batch){.n_seq = 2, .loss = json_real_value(json_object_get(g, "loss"))};
    json_array_foreach(json_object_get(g, "seqs"), i, v) {
        json_t *token;
        json_array_foreach(v, k, token) x->tokens[i][k] = (int32_t)json_integer_value(token);
        x->seqs[i].n = json_array_size(v);
    }
    json_array_foreach(json_object_get(g, "rows"), i, v) {
        x->rows[i] = (train_row){(uint32_t)json_integer_value(json_array_get(v, 0)),
                                 (uint32_t)json_integer_value(json_array_get(v, 1))};
        x->targets[i] = (int32_t)json_integer_value(json_array_get(json_object_get(g, "targets"), i));
    }
    x->n_row = json_array_size(json_object_get(g, "rows"));
    json_decref(g);
}

static trainable *open_trainable(const pgr_model *m, const char *path) {
    trainable *t = NULL;
    pgr_error err = {0};
    if (trainable_open(m, path, &t, &err) != PGR_OK) fail_msg("%s", err.message);
    return t;
}

static void make_pass(bench *x) {
    pgr_error err = {0};
    if (backward_create(x->m, x->t, N_TOKEN, &x->b, &err) != PGR_OK) fail_msg("%s", err.message);
}

static bool open_bench(bench *x, size_t model, pgr_dtype dtype, int threads) {
    char path[256];
    *x = (bench){.m = model_of(models[model].base, dtype, threads)};
    if (!x->m) return false;
    x->V = x->m->config.n_vocab;
    x->t = open_trainable(x->m, models[model].name);
    snprintf(path, sizeof path, "%s.json", models[model].name);
    read_batch(path, &x->x);
    for (size_t i = 0; i < 2; i++) x->x.seqs[i].tokens = x->x.tokens[i];
    make_pass(x);
    x->logits = malloc(MAX_ROW * x->V * sizeof *x->logits);
    x->dlogits = malloc(MAX_ROW * x->V * sizeof *x->dlogits);
    return true;
}

/* The same sequences and the same loss, as two trees: the first cut within a page and at one's end, with a branch that
 * nothing is wanted of and that leaves within its mother's first cut; the second cut once. */
static void make_tree(batch *x) {
    const int32_t *a = x->tokens[0], *b = x->tokens[1];
    const train_seq seqs[] = {{a, 45, 0},  {a, 64, 45}, {a, x->seqs[0].n, 64},
                              {a, 60, 50}, {b, 21, 0},  {b, x->seqs[1].n, 21}};
    static const uint32_t seq_of_row[] = {0, 0, 2, 2, 4, 4, 5};
    assert_int_equal(x->n_row, 7);
    memcpy(x->seqs, seqs, sizeof seqs);
    x->n_seq = MAX_SEQ;
    for (size_t i = 0; i < x->n_row; i++) x->rows[i].seq = seq_of_row[i];
}

static void close_bench(bench *x) {
    backward_free(x->b);
    trainable_free(x->t);
    pgr_model_close(x->m);
    free(x->logits), free(x->dlogits);
}

static void zero_grads(bench *x) {
    memset(trainable_grads(x->t), 0, trainable_count(x->t) * sizeof(float));
}

static void run_forward(bench *x) {
    pgr_error err = {0};
    if (backward_forward(x->b, x->x.seqs, x->x.n_seq, x->x.rows, x->x.n_row, x->logits, &err) != PGR_OK)
        fail_msg("%s", err.message);
}

/* The batch's mean cross-entropy, in double; dlogits: its gradient. */
static double loss_of(bench *x) {
    double loss = 0, n = (double)x->x.n_row;
    for (size_t i = 0; i < x->x.n_row; i++) {
        const float *l = x->logits + i * x->V;
        double max = -INFINITY, sum = 0;
        for (size_t v = 0; v < x->V; v++) max = fmax(max, (double)l[v]);
        for (size_t v = 0; v < x->V; v++) sum += exp((double)l[v] - max);
        for (size_t v = 0; v < x->V; v++) {
            double p = exp((double)l[v] - max) / sum;
            x->dlogits[i * x->V + v] = (float)((p - (v == (size_t)x->x.targets[i])) / n);
        }
        loss += (max + log(sum) - (double)l[x->x.targets[i]]) / n;
    }
    return loss;
}

static void run_back(bench *x) {
    pgr_error err = {0};
    zero_grads(x);
    run_forward(x);
    loss_of(x);
    if (backward_run(x->b, x->dlogits, &err) != PGR_OK) fail_msg("%s", err.message);
}

static float *grads_of(bench *x) {
    size_t bytes = trainable_count(x->t) * sizeof(float);
    return memcpy(malloc(bytes), trainable_grads(x->t), bytes);
}

/* ---- forward ---- */

/* The bits of forward_run with the same adapter, in every kind of arithmetic. */
static void logits_of_forward_run(void **state) {
    (void)state;
    static const pgr_dtype dtypes[] = {PGR_DTYPE_EXACT, PGR_DTYPE_F32, PGR_DTYPE_BF16, PGR_DTYPE_INT8};
    for (size_t i = 0; i < N_MODEL * 4; i++) {
        bench x;
        if (!open_bench(&x, i / 4, dtypes[i % 4], 2)) {
            print_message("skipped: this CPU has no kernels for dtype %d\n", dtypes[i % 4]);
            continue;
        }
        pgr_lora *adapter = trainable_adapter(x.t);
        forward_state *f;
        kv_cache kv;
        assert_int_equal(forward_create(x.m, N_TOKEN, &f, NULL), PGR_OK);
        assert_int_equal(forward_set_loras(f, &adapter, &(float){1}, 1, NULL), PGR_OK);
        assert_int_equal(kv_init(&kv, &x.m->config, model_kv(x.m), 4096, NULL), PGR_OK);
        run_forward(&x);
        for (size_t s = 0, row = 0; s < 2; s++) {
            kv_seq seq = {0}, *list = &seq;
            forward_row rows[128];
            size_t n = x.x.seqs[s].n, n_want = 0, first = row;
            for (size_t t = 0; t < n; t++) {
                bool want = row < x.x.n_row && x.x.rows[row].seq == s && x.x.rows[row].pos == t;
                rows[t] = (forward_row){x.x.tokens[s][t], 0, (uint32_t)t, want};
                if (want) row++, n_want++;
            }
            float *logits = malloc(n_want * x.V * sizeof *logits);
            assert_int_equal(kv_reserve(&kv, &seq, n, NULL), PGR_OK);
            assert_int_equal(forward_run(f, &kv, &list, rows, n, logits, NULL), PGR_OK);
            assert_memory_equal(logits, x.logits + first * x.V, n_want * x.V * sizeof *logits);
            kv_release(&kv, &seq);
            free(logits);
        }
        forward_free(f);
        kv_close(&kv);
        close_bench(&x);
    }
}

/* ---- against PyTorch ---- */

/* Largest difference to the golden gradients, relative to the largest of the same factor. */
static double golden_difference(bench *x, size_t model) {
    char path[256];
    snprintf(path, sizeof path, "%s-grads", models[model].name);
    trainable *want = open_trainable(x->m, path);
    assert_int_equal(trainable_count(want), trainable_count(x->t));
    double worst = 0;
    for (size_t i = 0; i < x->m->config.n_layer; i++) {
        const lora_layer *l = &trainable_adapter(want)->file.layers[i];
        const lora_factors *list[] = {&l->attn_q,   &l->attn_k, &l->attn_v,  &l->attn_output,
                                      &l->ffn_gate, &l->ffn_up, &l->ffn_down};
        for (size_t k = 0; k < 14; k++) {
            const lora_factors *f = list[k / 2];
            const float *w = k % 2 ? f->b : f->a;
            const float *got = trainable_grads(x->t) + (w - trainable_values(want));
            double top = 0, diff = 0;
            for (size_t j = 0; j < f->r * (k % 2 ? f->N : f->K); j++) {
                top = fmax(top, fabs((double)w[j]));
                double d = fabs((double)got[j] - (double)w[j]);
                if (!(d <= diff)) diff = d;
            }
            assert_true(top > 0);
            if (!(diff / top <= worst)) worst = diff / top;
        }
    }
    trainable_free(want);
    return worst;
}

/* fp32: a gradient has come through some 30 products, each a sum of up to 96 terms that round by 2^-24 of themselves; a
 * random walk of these is about 30 * sqrt(96) * 2^-24 = 2e-5 of the terms' size, which cancellation makes a few times
 * as much of the result. bf16 rounds by 2^-9: the same 30 roundings, sqrt(30) * 2^-9 = 1e-2, and as much again for the
 * cancellation, twice that for keys and values in bf16. int8 rounds by half a step of a 127th of the block's largest,
 * so by max / 440 in the mean of squares: weights and rows, whose largest is some 2.5 times a usual value, to 6e-3 of
 * themselves, gradients, which have few large values, 6 times, to 1.4e-2. 15 products forward and 15 back are sqrt(15
 * (2 * 6e-3^2 + 6e-3^2 + 1.4e-2^2)) = 6.7e-2, and as for bf16 four times that; the loss, which only the way forward and
 * one cancellation make: 2 * sqrt(30) * 6e-3 = 6.6e-2. */
static void gradients_of_pytorch(void **state) {
    (void)state;
    static const struct {
        pgr_dtype dtype;
        double loss, bound;
    } forms[] = {{PGR_DTYPE_EXACT, 2e-6, 1e-4},
                 {PGR_DTYPE_F32, 2e-6, 1e-4},
                 {PGR_DTYPE_BF16, 2e-2, 1e-1},
                 {PGR_DTYPE_INT8, 6.6e-2, 2.7e-1}};
    double worst[4] = {0};
    for (size_t n = 0; n < N_MODEL * 4 * 2; n++) {
        bench x;
        size_t i = n / 2;
        if (!open_bench(&x, i / 4, forms[i % 4].dtype, 2)) {
            print_message("skipped: this CPU has no kernels for dtype %d\n", forms[i % 4].dtype);
            continue;
        }
        if (n % 2) make_tree(&x.x);
        run_back(&x);
        double loss = loss_of(&x), d = golden_difference(&x, i / 4);
        if (!(fabs(loss - x.x.loss) <= forms[i % 4].loss * x.x.loss))
            fail_msg("model %zu, dtype %d, tree %zu: loss %.9g, want %.9g", i / 4, forms[i % 4].dtype, n % 2, loss,
                     x.x.loss);
        if (!(d <= forms[i % 4].bound))
            fail_msg("model %zu, dtype %d, tree %zu: gradients off by %g of their largest", i / 4, forms[i % 4].dtype,
                     n % 2, d);
        worst[i % 4] = fmax(worst[i % 4], d);
        close_bench(&x);
    }
    print_message(
        "largest difference of a gradient, of its factor's largest: exact %.2g, f32 %.2g, bf16 %.2g, int8 %.2g\n",
        worst[0], worst[1], worst[2], worst[3]);
}

/* ---- int8 against fp32 ---- */

/* All gradients of a pass in int8 against those in fp32, as vectors: errors are .27 of them at most (above), so the
 * cosine is 1 - .27^2 / 2 or more. And not a bit depends on the threads. */
static void int8_points_where_fp32_does(void **state) {
    (void)state;
    for (size_t i = 0; i < N_MODEL; i++) {
        bench f32, int8, alone;
        if (!open_bench(&int8, i, PGR_DTYPE_INT8, 2)) continue;
        assert_true(open_bench(&alone, i, PGR_DTYPE_INT8, 1) && open_bench(&f32, i, PGR_DTYPE_F32, 2));
        run_back(&f32), run_back(&int8), run_back(&alone);
        size_t n = trainable_count(f32.t);
        const float *a = trainable_grads(f32.t), *b = trainable_grads(int8.t);
        assert_memory_equal(b, trainable_grads(alone.t), n * sizeof *b);
        assert_memory_not_equal(a, b, n * sizeof *b);
        double aa = 0, ab = 0, bb = 0;
        for (size_t k = 0; k < n; k++) {
            aa += (double)a[k] * (double)a[k], ab += (double)a[k] * (double)b[k], bb += (double)b[k] * (double)b[k];
        }
        double cosine = ab / sqrt(aa * bb), length = sqrt(bb / aa);
        print_message("%s: cosine %.5f, length %.4f\n", models[i].base, cosine, length);
        assert_true(cosine >= 0.963 && fabs(length - 1) <= 0.27);
        close_bench(&f32), close_bench(&int8), close_bench(&alone);
    }
}

/* ---- against differences ---- */

/* Each factor along a random direction u of signs: (L(v + h u) - L(v - h u)) / 2h is g u, up to the loss's rounding
 * (logits in fp32: 1e-6 of it) over h, and h^2 / 6 times the third derivative along u, which at h = 3e-4 is a hundredth
 * of sqrt(n) |g|: at h = 2e-3 it was a tenth. */
static void central_differences(void **state) {
    (void)state;
    const double h = 3e-4;
    for (size_t model = 0; model < N_MODEL; model++) {
        bench x;
        rng r = {.seed = 11, .stream = (uint32_t)model};
        assert_true(open_bench(&x, model, PGR_DTYPE_EXACT, 2));
        if (model % 2) make_tree(&x.x);
        run_back(&x);
        float *g = grads_of(&x), *v = trainable_values(x.t);
        size_t n = trainable_count(x.t), at = 0;
        float *was = memcpy(malloc(n * sizeof *was), v, n * sizeof *was);
        while (at < n) {
            const lora_layer *l = trainable_adapter(x.t)->file.layers;
            size_t end = n; /* the next factor's beginning */
            for (size_t i = 0; i < x.m->config.n_layer; i++) {
                const lora_factors *list[] = {&l[i].attn_q,   &l[i].attn_k, &l[i].attn_v,  &l[i].attn_output,
                                              &l[i].ffn_gate, &l[i].ffn_up, &l[i].ffn_down};
                for (size_t k = 0; k < 14; k++) {
                    size_t first = (size_t)((k % 2 ? list[k / 2]->b : list[k / 2]->a) - v);
                    if (first > at && first < end) end = first;
                }
            }
            double want = 0, losses[2], size = 0;
            float *u = malloc((end - at) * sizeof *u);
            for (size_t i = at; i < end; i++) {
                u[i - at] = rng_next(&r) < 0.5 ? -1.0f : 1.0f;
                want += (double)u[i - at] * (double)g[i], size += (double)g[i] * (double)g[i];
            }
            for (size_t k = 0; k < 2; k++) {
                for (size_t i = at; i < end; i++) v[i] = was[i] + (k ? -1.0f : 1.0f) * (float)h * u[i - at];
                run_forward(&x);
                losses[k] = loss_of(&x);
            }
            memcpy(v, was, n * sizeof *v);
            double got = (losses[0] - losses[1]) / (2 * h), bound = 1e-6 * losses[0] / h + 1e-2 * sqrt(size);
            if (!(fabs(got - want) <= bound))
                fail_msg("model %zu, values %zu to %zu: %g by differences, %g by gradient, bound %g", model, at, end,
                         got, want, bound);
            free(u);
            at = end;
        }
        free(g), free(was);
        close_bench(&x);
    }
}

/* ---- what changes nothing ---- */

/* Largest difference of two arrays of gradients, of the largest value. */
static double difference(const float *a, const float *b, size_t n) {
    double top = 0, worst = 0;
    for (size_t i = 0; i < n; i++) {
        double d = fabs((double)a[i] - (double)b[i]);
        top = fmax(top, fabs((double)b[i]));
        if (!(d <= worst)) worst = d;
    }
    return worst / top;
}

/* Sequences one after the other have the packed batch's logits to the bit, and add up to its gradients but for the
 * order of sums in fp32. */
static void packing(void **state) {
    (void)state;
    static const pgr_dtype dtypes[] = {PGR_DTYPE_EXACT, PGR_DTYPE_F32, PGR_DTYPE_BF16, PGR_DTYPE_INT8};
    for (size_t i = 0; i < N_MODEL * 4; i++) {
        bench x;
        if (!open_bench(&x, i / 4, dtypes[i % 4], 2)) continue;
        run_back(&x);
        float *packed = grads_of(&x), *logits = malloc(MAX_ROW * x.V * sizeof *logits);
        zero_grads(&x);
        size_t of_first = 0;
        while (x.x.rows[of_first].seq == 0) of_first++;
        for (size_t s = 0; s < 2; s++) {
            train_row rows[MAX_ROW];
            size_t first = s ? of_first : 0, n = (s ? x.x.n_row : of_first) - first;
            for (size_t k = 0; k < n; k++) rows[k] = (train_row){0, x.x.rows[first + k].pos};
            assert_int_equal(backward_forward(x.b, &x.x.seqs[s], 1, rows, n, logits, NULL), PGR_OK);
            assert_memory_equal(logits, x.logits + first * x.V, n * x.V * sizeof *logits);
            assert_int_equal(backward_run(x.b, x.dlogits + first * x.V, NULL), PGR_OK);
        }
        assert_true(difference(trainable_grads(x.t), packed, trainable_count(x.t)) < 1e-5);
        free(packed), free(logits);
        close_bench(&x);
    }
}

enum { PROMPT = 41, K = 4, CHAIN = 19, N_FLAT = K * (PROMPT + CHAIN) };

/* K rollouts on one prompt, of which the second leaves the first within its chain, wanted from the prompt's end on. */
static void make_rollouts(const bench *x, int32_t tokens[K][PROMPT + CHAIN], train_seq *seqs, train_row *rows) {
    for (size_t k = 0; k < K; k++) {
        for (size_t t = 0; t < PROMPT + CHAIN; t++)
            tokens[k][t] = (int32_t)((t * 31 + (t < PROMPT ? 0 : t < PROMPT + 6 && k == 1 ? 0 : k) * 17) % x->V);
        seqs[k] = (train_seq){tokens[k], PROMPT + CHAIN, 0};
        for (size_t t = 0; t < 2; t++) rows[2 * k + t] = (train_row){(uint32_t)k, (uint32_t)(PROMPT - 1 + t * 11)};
    }
}

/* A tree has the flat sequences' logits to the bit. Its gradients are sums in another order: fp32 as packed batches
 * (below 1e-5). In bf16 what is rounded on the way down is the branches' sum instead of its parts: some 15 of the 30
 * roundings above, sqrt(15) 2^-9 = 8e-3, twice for cancellation; in int8 sqrt(15) * 1.4e-2 = 5.4e-2, twice. */
static void tree_like_flat(void **state) {
    (void)state;
    static const struct {
        pgr_dtype dtype;
        double bound;
    } forms[] = {{PGR_DTYPE_EXACT, 1e-5}, {PGR_DTYPE_F32, 1e-5}, {PGR_DTYPE_BF16, 1.6e-2}, {PGR_DTYPE_INT8, 1.1e-1}};
    double worst[4] = {0};
    for (size_t i = 0; i < N_MODEL * 4; i++) {
        bench x;
        int32_t tokens[K][PROMPT + CHAIN];
        train_seq seqs[K];
        train_row rows[2 * K];
        if (!open_bench(&x, i / 4, forms[i % 4].dtype, 2)) continue;
        make_rollouts(&x, tokens, seqs, rows);
        backward *flat = NULL;
        assert_int_equal(backward_create(x.m, x.t, N_FLAT, &flat, NULL), PGR_OK);
        assert_int_equal(backward_forward(flat, seqs, K, rows, 2 * K, x.logits, NULL), PGR_OK);
        for (size_t j = 0; j < 2 * K * x.V; j++) x.dlogits[j] = 1e-2f * x.logits[j];
        zero_grads(&x);
        assert_int_equal(backward_run(flat, x.dlogits, NULL), PGR_OK);
        float *want = grads_of(&x),
              *logits = memcpy(malloc(2 * K * x.V * sizeof *logits), x.logits, 2 * K * x.V * sizeof *logits);
        backward_free(flat);

        assert_int_equal(backward_share(seqs, K, rows, 2 * K), N_FLAT - (K - 1) * (PROMPT - 1));
        zero_grads(&x);
        assert_int_equal(backward_forward(x.b, seqs, K, rows, 2 * K, x.logits, NULL), PGR_OK);
        assert_memory_equal(x.logits, logits, 2 * K * x.V * sizeof *logits);
        assert_int_equal(backward_run(x.b, x.dlogits, NULL), PGR_OK);
        double d = difference(trainable_grads(x.t), want, trainable_count(x.t));
        if (!(d <= forms[i % 4].bound)) fail_msg("model %zu, dtype %d: tree off by %g", i / 4, forms[i % 4].dtype, d);
        worst[i % 4] = fmax(worst[i % 4], d);
        free(want), free(logits);
        close_bench(&x);
    }
    print_message("tree against flat, of the largest gradient: exact %.2g, f32 %.2g, bf16 %.2g, int8 %.2g\n", worst[0],
                  worst[1], worst[2], worst[3]);
}

/* Room for nothing, for what the attention of some or all layers leaves, and for one layer's gate and up, too: what is
 * not kept is computed again, with the same bits. */
static void narrow_room(size_t model, const bench *want) {
    const config *c = &want->m->config;
    size_t L = c->n_layer, n_q = c->n_head * c->head_dim, n_qkv = n_q + 2 * c->n_head_kv * c->head_dim;
    size_t inputs = L * c->n_embd, ffn = 2 * c->n_ff;
    size_t attn = (c->qk_norm ? 2 : 1) * n_qkv + n_q + 2 * c->n_head + c->n_embd;
    const struct {
        size_t floats, n_attn, n_ffn; /* room for a token; layers that keep all of these */
    } rooms[] = {{0, 0, 0}, {inputs + attn, 1, 0}, {inputs + L * attn, L, 0}, {inputs + L * attn + ffn, L, 1}};
    for (size_t k = 0; k < sizeof rooms / sizeof *rooms; k++) {
        bench narrow;
        size_t before = backward_set_room(rooms[k].floats * N_TOKEN * sizeof(float)), n_attn = 0, n_ffn = 0;
        assert_true(open_bench(&narrow, model, PGR_DTYPE_EXACT, 3));
        backward_set_room(before);
        for (size_t i = 0; i < L; i++) n_attn += narrow.b->acts[i].kept, n_ffn += narrow.b->acts[i].gate_up != NULL;
        assert_int_equal(n_attn, rooms[k].n_attn);
        assert_int_equal(n_ffn, rooms[k].n_ffn);
        assert_true(k > 0 || backward_bytes(narrow.b) < backward_bytes(want->b));
        if (model % 2) make_tree(&narrow.x);
        run_back(&narrow);
        assert_memory_equal(trainable_grads(want->t), trainable_grads(narrow.t),
                            trainable_count(want->t) * sizeof(float));
        close_bench(&narrow);
    }
}

static void threads_and_room_change_no_bit(void **state) {
    (void)state;
    for (size_t i = 0; i < N_MODEL; i++) {
        bench two, one;
        assert_true(open_bench(&two, i, PGR_DTYPE_EXACT, 2));
        assert_true(open_bench(&one, i, PGR_DTYPE_EXACT, 1));
        if (i % 2) make_tree(&two.x), make_tree(&one.x);
        run_back(&two), run_back(&one);
        size_t bytes = trainable_count(two.t) * sizeof(float);
        assert_memory_equal(trainable_grads(two.t), trainable_grads(one.t), bytes);
        narrow_room(i, &two);
        /* once more adds the same */
        float *once = grads_of(&two);
        assert_int_equal(backward_run(two.b, two.dlogits, NULL), PGR_OK);
        for (size_t k = 0; k < bytes / sizeof(float); k++) {
            double want = 2 * (double)once[k];
            assert_true(fabs((double)trainable_grads(two.t)[k] - want) <= 1e-4 + 1e-4 * fabs(want));
        }
        free(once);
        close_bench(&two), close_bench(&one);
    }
}

/* Without factors in the lower layer the upper one's gradients have the same bits (the lower's b is 0 here). */
static void upper_layers_alone(void **state) {
    (void)state;
    for (size_t i = 0; i < N_MODEL; i++) {
        bench all, upper;
        assert_true(open_bench(&all, i, PGR_DTYPE_EXACT, 2));
        const lora_layer *low = trainable_adapter(all.t)->file.layers;
        size_t below = (size_t)(low[1].attn_q.a - trainable_values(all.t));
        const lora_factors *list[] = {&low->attn_q,   &low->attn_k, &low->attn_v,  &low->attn_output,
                                      &low->ffn_gate, &low->ffn_up, &low->ffn_down};
        for (size_t k = 0; k < 7; k++) memset(list[k]->b, 0, list[k]->N * list[k]->r * sizeof(float));
        run_back(&all);

        assert_true(open_bench(&upper, i, PGR_DTYPE_EXACT, 2));
        float *values = trainable_values(all.t) + below;
        trainable_options o = trainable_options_default();
        o.rank = 3, o.alpha = 4.5f, o.first_layer = 1;
        backward_free(upper.b);
        trainable_free(upper.t);
        assert_int_equal(trainable_create(upper.m, &o, &upper.t, NULL), PGR_OK);
        assert_int_equal(trainable_count(upper.t), trainable_count(all.t) - below);
        memcpy(trainable_values(upper.t), values, trainable_count(upper.t) * sizeof(float));
        make_pass(&upper);
        run_back(&upper);
        assert_memory_equal(upper.logits, all.logits, all.x.n_row * all.V * sizeof(float));
        assert_memory_equal(trainable_grads(upper.t), trainable_grads(all.t) + below,
                            trainable_count(upper.t) * sizeof(float));
        close_bench(&all), close_bench(&upper);
    }
}

/* Few tokens of a row: the same gradients by another sum over the head's rows, so within fp32's bound (see above). */
static void sparse(void **state) {
    (void)state;
    for (size_t i = 0; i < N_MODEL; i++) {
        bench x;
        size_t start[MAX_ROW + 1] = {0}, n = 0;
        int32_t token[MAX_ROW * 3];
        float dlogit[MAX_ROW * 3];
        assert_true(open_bench(&x, i, PGR_DTYPE_EXACT, 2));
        run_forward(&x);
        memset(x.dlogits, 0, x.x.n_row * x.V * sizeof *x.dlogits);
        for (size_t m = 0; m < x.x.n_row; m++) {
            for (size_t k = 0; k < m % 4; k++, n++) {
                token[n] = (int32_t)((m * 37 + k * 101) % x.V);
                dlogit[n] = 0.1f * (float)(1 + k) - 0.15f;
                x.dlogits[m * x.V + (size_t)token[n]] += dlogit[n];
            }
            start[m + 1] = n;
        }
        zero_grads(&x);
        assert_int_equal(backward_run(x.b, x.dlogits, NULL), PGR_OK);
        float *dense = grads_of(&x);
        double top = 0;
        for (size_t k = 0; k < trainable_count(x.t); k++) top = fmax(top, fabs((double)dense[k]));
        zero_grads(&x);
        sparse_grads g = {start, token, dlogit};
        assert_int_equal(backward_run_sparse(x.b, &g, NULL), PGR_OK);
        for (size_t k = 0; k < trainable_count(x.t); k++)
            assert_true(fabs((double)trainable_grads(x.t)[k] - (double)dense[k]) <= 1e-5 * top);
        free(dense);
        token[0] = (int32_t)x.V;
        assert_int_equal(backward_run_sparse(x.b, &g, NULL), PGR_E_ARG);
        close_bench(&x);
    }
}

/* ---- refused ---- */

static void want_refusal(pgr_status s, pgr_status want, const pgr_error *err, const char *part) {
    if (s != want || !strstr(err->message, part)) fail_msg("status %d, \"%s\"; want \"%s\"", s, err->message, part);
}

static void refusals(void **state) {
    (void)state;
    bench x;
    pgr_error err = {0};
    assert_true(open_bench(&x, 0, PGR_DTYPE_EXACT, 1));
    int32_t many[N_TOKEN + 1] = {0}, bad[] = {1, 2, (int32_t)x.V};
    train_seq seqs[] = {{many, N_TOKEN, 0}, {many, 1, 0}, {bad, 3, 0}, {bad, 0, 0}};
    train_seq trees[] = {{many, 5, 0}, {bad, 3, 1}, {many, 5, 5}, {many, 9, 6}, {many, 9, 5}};
    train_row rows[] = {{0, 5}, {0, 5}, {1, 0}, {0, N_TOKEN}};
    want_refusal(backward_forward(x.b, seqs, 2, rows, 1, x.logits, &err), PGR_E_LIMIT, &err,
                 "a batch of 201 tokens and more, there is room for 200");
    want_refusal(backward_forward(x.b, seqs + 2, 1, rows, 0, x.logits, &err), PGR_E_ARG, &err, "not in the vocabulary");
    want_refusal(backward_forward(x.b, seqs + 3, 1, rows, 0, x.logits, &err), PGR_E_ARG, &err, "has no tokens");
    want_refusal(backward_forward(x.b, seqs, 1, rows, 2, x.logits, &err), PGR_E_ARG, &err, "not behind");
    want_refusal(backward_forward(x.b, seqs, 1, rows + 2, 1, x.logits, &err), PGR_E_ARG, &err,
                 "which the batch has not");
    want_refusal(backward_forward(x.b, seqs, 1, rows + 3, 1, x.logits, &err), PGR_E_ARG, &err,
                 "which the batch has not");
    train_seq pairs[][2] = {{trees[0], trees[1]}, {trees[0], trees[2]}, {trees[0], trees[3]}, {trees[0], trees[4]}};
    bad[2] = 3;
    want_refusal(backward_forward(x.b, trees + 1, 1, rows, 0, x.logits, &err), PGR_E_ARG, &err, "with none before it");
    want_refusal(backward_forward(x.b, pairs[0], 2, rows, 0, x.logits, &err), PGR_E_ARG, &err, "shares 1 of its 3");
    want_refusal(backward_forward(x.b, pairs[1], 2, rows, 0, x.logits, &err), PGR_E_ARG, &err, "shares 5 of its 5");
    want_refusal(backward_forward(x.b, pairs[2], 2, rows, 0, x.logits, &err), PGR_E_ARG, &err, "shares 6 of its 9");
    want_refusal(backward_forward(x.b, pairs[3], 2, &(train_row){1, 4}, 1, x.logits, &err), PGR_E_ARG, &err,
                 "which shares its first 5 tokens");
    run_back(&x); /* all is well afterwards */
    assert_true(golden_difference(&x, 0) < 1e-4);
    pgr_model *other = model_of(models[3].base, PGR_DTYPE_EXACT, 1);
    backward *b = NULL;
    want_refusal(backward_create(other, x.t, 10, &b, &err), PGR_E_ARG, &err, "made for another model");
    want_refusal(backward_create(x.m, x.t, 0, &b, &err), PGR_E_ARG, &err, "no tokens");
    pgr_model_close(other);
    close_bench(&x);
}

/* ---- memory ---- */

static bench memory_bench;

static bool whole_step(void) {
    bench *x = &memory_bench;
    backward *b = NULL;
    bool worked = backward_create(x->m, x->t, N_TOKEN, &b, NULL) == PGR_OK
                  && backward_forward(b, x->x.seqs, x->x.n_seq, x->x.rows, x->x.n_row, x->logits, NULL) == PGR_OK
                  && backward_run(b, x->dlogits, NULL) == PGR_OK;
    backward_free(b);
    return worked;
}

static void without_memory(void **state) {
    (void)state;
    assert_true(open_bench(&memory_bench, 3, PGR_DTYPE_EXACT, 1));
    make_tree(&memory_bench.x);
    run_back(&memory_bench);
    long n = fail_allocations(whole_step, 16);
    print_message("%ld allocations\n", n);
    close_bench(&memory_bench);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(logits_of_forward_run),
        cmocka_unit_test(gradients_of_pytorch),
        cmocka_unit_test(int8_points_where_fp32_does),
        cmocka_unit_test(central_differences),
        cmocka_unit_test(packing),
        cmocka_unit_test(tree_like_flat),
        cmocka_unit_test(threads_and_room_change_no_bit),
        cmocka_unit_test(upper_layers_alone),
        cmocka_unit_test(sparse),
        cmocka_unit_test(refusals),
        cmocka_unit_test(without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
