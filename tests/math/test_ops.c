/* test_ops.c - every operation of ops.h against its definition in double, at every level that this machine has; and
 * that a row's bits depend on neither the rows beside it nor the threads. The kernels' own bounds are proved in their
 * tests: what shows here is a row, a column, a table or an order taken for another. */
#include "../base/faults.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "math/cpu/kernels_level.h"
#include "math/ops.h"

#define U 0x1p-24 /* unit roundoff of fp32 */

enum { THREADS = 3 };

typedef struct world {
    pool *threads;
    ops *o;
    rng r;
} world;

static const char *limit; /* PGENRM_CPU as it was */

/* Runs the test at each level, on the same data. */
static void at_every_level(void (*test)(world *w)) {
    static const char *const levels[] = {"ref", "avx2", "avx512", "amx"};
    for (size_t i = 0; i < 4; i++) {
        world w = {.r = {.seed = 5}};
        setenv("PGENRM_CPU", levels[i], 1);
        assert_int_equal(pool_create(THREADS, &w.threads, NULL), PGR_OK);
        assert_int_equal(ops_create_cpu(w.threads, &w.o, NULL), PGR_OK);
        if (strcmp(ops_cpu_name(), levels[i]) == 0)
            test(&w);
        else
            print_message("SKIP: level %s is not on this CPU\n", levels[i]);
        ops_free(w.o);
        pool_free(w.threads);
        if (limit && strcmp(limit, levels[i]) == 0) break;
    }
    if (limit)
        setenv("PGENRM_CPU", limit, 1);
    else
        unsetenv("PGENRM_CPU");
}

static float *floats(world *w, size_t n) {
    float *x = malloc(n * sizeof *x);
    for (size_t i = 0; i < n; i++) x[i] = (float)rng_normal(&w->r);
    return x;
}

static void near(const char *what, size_t row, size_t column, float got, double want, double bound) {
    if (!(fabs((double)got - want) <= bound))
        fail_msg("%s at %s: row %zu, column %zu: %.9g, want %.9g, bound %g", what, ops_cpu_name(), row, column,
                 (double)got, want, bound);
}

/* ---- embedding ---- */

enum { D = 64, N_ROW = 9, TABLE = 12, RANK = 3 };

static const int32_t which[N_ROW] = {3, 0, 11, 3, 7, 1, 2, 10, 3}, places[N_ROW] = {0, 1, 2, 3, 0, 1, 2, 0, 1};

static void embed(world *w) {
    float *words = floats(w, TABLE * D), *first = floats(w, TABLE * D), *second = floats(w, 4 * D),
          *x = floats(w, N_ROW * D);
    float *a = floats(w, RANK * D), *b = floats(w, TABLE * RANK), *value = malloc(TABLE * D * sizeof *value);
    size_t bytes = quant_row_bytes(QUANT_Q8_0, TABLE * D);
    uint8_t *packed = malloc(bytes);
    assert_true(quant_quantise(QUANT_Q8_0, packed, words, TABLE * D));
    quant_dequant(QUANT_Q8_0, value, packed, TABLE * D);
    lowrank term = {.N = TABLE, .K = D, .r = RANK, .a = a, .b = b, .scale = 0.5f};
    const lookup tables[] = {
        {QUANT_Q8_0, packed, which, &term, 1}, {QUANT_F32, first, NULL, NULL, 0}, {QUANT_F32, second, places, NULL, 0}};

    op_embed(w->o, x, tables, 1, N_ROW, D);
    op_embed(w->o, x, tables, 3, N_ROW, D);
    for (size_t m = 0; m < N_ROW; m++)
        for (size_t i = 0; i < D; i++) {
            double want = 0, size = 0;
            const double parts[] = {(double)value[(size_t)which[m] * D + i], (double)first[i],
                                    (double)second[(size_t)places[m] * D + i]};
            for (size_t p = 0; p < 3; p++) want += parts[p], size += fabs(parts[p]);
            for (size_t k = 0; k < RANK; k++) {
                double t = 0.5 * (double)b[(size_t)which[m] * RANK + k] * (double)a[k * D + i];
                want += t, size += fabs(t);
            }
            near("embed", m, i, x[m * D + i], want,
                 8 * U * size); /* 2 products and 6 sums, each off by U of at most size */
        }
    free(words), free(first), free(second), free(x), free(a), free(b), free(value), free(packed);
}

static void angles(world *w) {
    const uint32_t pos[] = {0, 1, 77, 8191};
    const float freq[] = {1.0f, 0.3f, 0.0007f};
    float cs[4 * 3 * 2];
    static const float scales[] = {1.0f, 1.25f};
    for (size_t k = 0; k < 2; k++) {
        op_angles(w->o, cs, pos, freq, 3, scales[k], 4);
        for (size_t m = 0; m < 4; m++)
            for (size_t i = 0; i < 3; i++) {
                float angle = (float)pos[m] * freq[i];
                near("cos", m, i, cs[(m * 3 + i) * 2], (double)scales[k] * cos((double)angle), 4 * U);
                near("sin", m, i, cs[(m * 3 + i) * 2 + 1], (double)scales[k] * sin((double)angle), 4 * U);
            }
    }
}

/* ---- rows ---- */

enum { LD = 2 * D + 5 };

/* One row of a step by its definition. x: what `from` and `add` give, twice as long for SwiGLU */
static void define_step(const row_step *s, const double *x, size_t n, double *out) {
    double mean = 0, var = 0, square = 0;
    for (size_t i = 0; i < n; i++) mean += x[i] / (double)n, square += x[i] * x[i] / (double)n;
    for (size_t i = 0; i < n; i++) var += (x[i] - mean) * (x[i] - mean) / (double)n;
    for (size_t i = 0; i < n; i++) {
        double u = sqrt(2 / M_PI) * (x[i] + 0.044715 * x[i] * x[i] * x[i]);
        switch (s->kind) {
        case STEP_COPY:
            out[i] = x[i];
            break;
        case STEP_RMSNORM:
            out[i] = (double)s->w[i] * x[i] / sqrt(square + (double)s->eps);
            break;
        case STEP_LAYERNORM:
            out[i] = (double)s->w[i] * (x[i] - mean) / sqrt(var + (double)s->eps) + (double)s->b[i];
            break;
        case STEP_SWIGLU:
            out[i] = x[i] / (1 + exp(-x[i])) * x[n + i];
            break;
        case STEP_GELU:
            out[i] = x[i] * (1 + erf(x[i] / sqrt(2))) / 2;
            break;
        case STEP_GELU_TANH:
            out[i] = x[i] / (1 + exp(-2 * u));
            break;
        case STEP_RELU:
            out[i] = x[i] < 0 ? 0 : x[i];
            break;
        }
    }
}

static void row_of(const row_step *s, size_t m, size_t n, double *x) {
    const float *from = s->from + (s->pick ? s->pick[m] : m) * s->ldf;
    for (size_t i = 0; i < (s->kind == STEP_SWIGLU ? 2 * n : n); i++) x[i] = (double)from[i];
    for (size_t i = 0; s->add && i < n; i++) x[i] += (double)s->add[m * n + i];
}

static void check_step(world *w, const row_step *s) {
    float *out = floats(w, N_ROW * LD), *again = malloc(N_ROW * LD * sizeof *again);
    memcpy(again, out, N_ROW * LD * sizeof *again);
    op_rows(w->o, out, LD, D, s, N_ROW);
    for (size_t m = 0; m < N_ROW; m++) {
        double x[2 * D], want[D];
        row_of(s, m, D, x);
        define_step(s, x, D, want);
        for (size_t i = 0; i < D; i++) near("step", m, i, out[m * LD + i], want[i], 2e-6 * (1 + fabs(want[i])));
        assert_memory_equal(out + m * LD + D, again + m * LD + D, (LD - D) * sizeof *out);
    }
    if (s->kind != STEP_RMSNORM && !s->pick) { /* the same in place */
        row_step place = *s;
        for (size_t m = 0; m < N_ROW; m++) memcpy(again + m * LD, s->from + m * s->ldf, 2 * D * sizeof *again);
        place.from = again, place.ldf = LD;
        op_rows(w->o, again, LD, D, &place, N_ROW);
        for (size_t m = 0; m < N_ROW; m++) assert_memory_equal(again + m * LD, out + m * LD, D * sizeof *out);
    }
    free(out), free(again);
}

static void steps(world *w) {
    static const uint32_t pick[N_ROW] = {8, 0, 2, 2, 5, 7, 1, 3, 4};
    float *from = floats(w, N_ROW * (2 * D + 2)), *add = floats(w, N_ROW * D), *weights = floats(w, D),
          *b = floats(w, D);
    for (step_kind kind = STEP_COPY; kind <= STEP_RELU; kind++)
        for (size_t k = 0; k < 4; k++) {
            if (kind == STEP_RMSNORM && (k & 2)) continue;
            row_step s = {.kind = kind, .from = from, .ldf = 2 * D + 2, .w = weights, .b = b, .eps = 1e-5f};
            if (k & 1) s.pick = pick;
            if (k & 2) s.add = add;
            check_step(w, &s);
        }
    free(from), free(add), free(weights), free(b);
}

/* ---- products ---- */

enum { K_IN = 96, N_PART = 3, N_OUT = 70 + 33 + 40, M_MAX = 30 };
static const size_t part_rows[N_PART] = {70, 33, 40};

typedef struct product {
    float *w;    /* (N_OUT, K_IN) */
    float *from; /* (M_MAX, 2 K_IN) */
    float *out0; /* (M_MAX, N_OUT) what out holds before */
    float *norm, *bias;
    lowrank terms[2];
    uint32_t pick[M_MAX];
} product;

static product make_product(world *w) {
    product p = {floats(w, N_OUT * K_IN),
                 floats(w, M_MAX * 2 * K_IN),
                 floats(w, M_MAX * N_OUT),
                 floats(w, K_IN),
                 floats(w, N_OUT),
                 {{0}},
                 {0}};
    for (size_t i = 0; i < M_MAX; i++) p.pick[i] = (uint32_t)(M_MAX - 1 - i);
    p.terms[0] = (lowrank){33, K_IN, RANK, floats(w, RANK * K_IN), floats(w, 33 * RANK), 0.7f, 70};
    p.terms[1] = (lowrank){40, K_IN, RANK + 1, floats(w, (RANK + 1) * K_IN), floats(w, 40 * (RANK + 1)), -1.1f, 103};
    return p;
}

static void drop_product(product *p) {
    for (size_t i = 0; i < 2; i++) free(p->terms[i].a), free(p->terms[i].b);
    free(p->w), free(p->from), free(p->out0), free(p->norm), free(p->bias);
}

static matrix *matrix_of(world *w, const product *p, gemm_form form) {
    gemm_part parts[N_PART];
    size_t row = 0;
    for (size_t i = 0; i < N_PART; row += part_rows[i++])
        parts[i] = (gemm_part){QUANT_F32, p->w + row * K_IN, part_rows[i]};
    matrix *m = NULL;
    pgr_error err;
    pgr_status s = matrix_create(w->o, form, parts, N_PART, K_IN, NULL, &m, &err);
    if (s != PGR_OK && s != PGR_E_UNSUPPORTED) fail_msg("%s", err.message);
    if (s == PGR_E_UNSUPPORTED) print_message("SKIP: %s\n", err.message);
    return m;
}

/* What a product in the form may be off by: sums in fp32; bf16 rounds both factors by 2^-8 of themselves at most;
 * int8 by half a step of their block, 1/254 of its largest value (of weights rounded up by 2^-7 of it), here of the
 * row's. */
static double form_bound(gemm_form form, const double *x, const float *w) {
    double size = 0, x_sum = 0, w_sum = 0, x_top = 0, w_top = 0;
    for (size_t k = 0; k < K_IN; k++) {
        double a = fabs(x[k]), b = fabs((double)w[k]);
        size += a * b, x_sum += a, w_sum += b;
        x_top = fmax(x_top, a), w_top = fmax(w_top, b);
    }
    double fp32 = 2 * (K_IN + 1) * U * size;
    if (form == GEMM_BF16) return fp32 + (2 * 0x1p-8 + 0x1p-16) * size;
    if (form == GEMM_INT8) return fp32 + 1.02 / 254 * (x_sum * w_top + w_sum * x_top + K_IN * x_top * w_top / 254);
    return fp32;
}

static void check_product(const product *p, const project_call *call, gemm_form form) {
    for (size_t m = 0; m < call->n; m++) {
        double x[2 * K_IN], made[K_IN];
        row_of(call->before, m, K_IN, x);
        define_step(call->before, x, K_IN, made);
        for (size_t k = 0; k < K_IN; k++)
            near("input", m, k, call->x[m * call->ldx + k], made[k], 2e-6 * (1 + fabs(made[k])));
        for (size_t k = 0; k < K_IN; k++) made[k] = (double)call->x[m * call->ldx + k];
        for (size_t n = 0; n < N_OUT; n++) {
            double want = (double)p->bias[n] + (call->add ? (double)p->out0[m * N_OUT + n] : 0), size = fabs(want);
            for (size_t k = 0; k < K_IN; k++) want += made[k] * (double)p->w[n * K_IN + k];
            for (const lowrank *t = p->terms; t < p->terms + 2; t++)
                for (size_t i = 0; n >= t->column && n < t->column + t->N && i < t->r; i++) {
                    double sum = 0, abs_sum = 0;
                    for (size_t k = 0; k < K_IN; k++) {
                        sum += made[k] * (double)t->a[i * K_IN + k];
                        abs_sum += fabs(made[k] * (double)t->a[i * K_IN + k]);
                    }
                    want += (double)t->scale * (double)t->b[(n - t->column) * t->r + i] * sum;
                    size += fabs((double)t->scale * (double)t->b[(n - t->column) * t->r + i]) * abs_sum;
                }
            double bound = form_bound(form, made, p->w + n * K_IN) + (K_IN + 10) * U * (size + fabs(want));
            near("product", m, n, call->out[m * N_OUT + n], want, bound);
        }
    }
}

/* All that a product can have, and each of its rows alone. */
static void run_product(world *w, const product *p, const matrix *g, gemm_form form, const row_step *before, bool add,
                        size_t M) {
    enum { LDX = K_IN + 7 };
    float *x = floats(w, M_MAX * LDX), *out = malloc(M_MAX * N_OUT * sizeof *out), alone[N_OUT], x1[LDX];
    project_call call = {g, out, x, LDX, M, before, p->terms, 2, p->bias, add};
    memcpy(out, p->out0, M_MAX * N_OUT * sizeof *out);
    assert_int_equal(op_project(w->o, &call, NULL), PGR_OK);
    check_product(p, &call, form);
    assert_memory_equal(out + M * N_OUT, p->out0 + M * N_OUT, (M_MAX - M) * N_OUT * sizeof *out);
    for (size_t m = 0; m < M; m += 7) {
        row_step one = *before;
        one.from = before->from + (before->pick ? before->pick[m] : m) * before->ldf;
        one.pick = NULL;
        memcpy(alone, p->out0 + m * N_OUT, sizeof alone);
        project_call single = {g, alone, x1, 0, 1, &one, p->terms, 2, p->bias, add};
        assert_int_equal(op_project(w->o, &single, NULL), PGR_OK);
        assert_memory_equal(alone, out + m * N_OUT, sizeof alone);
    }
    free(x), free(out);
}

static void products(world *w) {
    product p = make_product(w);
    row_step norm = {.kind = STEP_RMSNORM, .from = p.from, .ldf = 2 * K_IN, .pick = p.pick, .w = p.norm, .eps = 1e-5f};
    row_step gate = {.kind = STEP_SWIGLU, .from = p.from, .ldf = 2 * K_IN};
    for (gemm_form form = GEMM_FILE; form <= GEMM_INT8; form++) {
        matrix *g = matrix_of(w, &p, form);
        const size_t Ms[] = {1, 5, M_MAX};
        for (size_t i = 0; g && i < 3; i++) {
            run_product(w, &p, g, form, &norm, false, Ms[i]);
            run_product(w, &p, g, form, &gate, true, Ms[i]);
        }
        matrix_free(g);
    }
    drop_product(&p);
}

/* The factors are read at every use. */
static void factors_may_change(world *w) {
    product p = make_product(w);
    matrix *g = matrix_of(w, &p, GEMM_F32);
    float x[K_IN] = {1}, before[N_OUT], after[N_OUT];
    project_call call = {.w = g, .out = before, .x = x, .n = 1, .terms = p.terms, .n_term = 1};
    assert_int_equal(op_project(w->o, &call, NULL), PGR_OK);
    p.terms[0].a[0] += 1.0f;
    call.out = after;
    assert_int_equal(op_project(w->o, &call, NULL), PGR_OK);
    for (size_t n = 0; n < N_OUT; n++) {
        bool inside = n >= 70 && n < 103;
        double change = inside ? (double)p.terms[0].scale * (double)p.terms[0].b[(n - 70) * RANK] : 0;
        near("change", 0, n, after[n], (double)before[n] + change, inside ? 1e-5 : 0);
    }
    matrix_free(g);
    drop_product(&p);
}

/* ---- attention ---- */

enum { H = 4, H_KV = 2, HD = 32, LAYERS = 2, LAYER = 1, ROPE = 16, N_CTX = 640, WIDTH = (H + 2 * H_KV) * HD };
enum {
    N_SEQ = 2,
    LEN = 300
}; /* tokens: LEN of the first sequence, half of it of the second, whose beginning is shared */

typedef struct attn_world {
    kv_pages kv;
    uint8_t *pages[64];
    uint32_t list[N_SEQ][LEN / KV_PAGE + 1];
    float *qkv[N_SEQ];   /* (LEN, WIDTH) as the products give it */
    double *made[N_SEQ]; /* the same after biases, norms, rotation; keys, values and queries rounded as kept */
    float *bias, *q_norm, *k_norm;
} attn_world;

static const float freq_of[ROPE / 2] = {1.0f, 0.5f, 0.25f, 0.125f, 0.06f, 0.03f, 0.01f, 0.004f};

/* The definition of op_attn_input for one head in place. norm NULL: a value. */
static void define_head(double *x, const float *norm, uint32_t pos, kv_type type) {
    double square = 0;
    float rounded[HD];
    int8_t bytes[HD];
    for (size_t i = 0; i < HD; i++) square += x[i] * x[i] / HD;
    for (size_t i = 0; norm && i < HD; i++) x[i] *= (double)norm[i] / sqrt(square + 1e-6);
    for (size_t i = 0; norm && i < ROPE / 2; i++) {
        double angle = (double)((float)pos * freq_of[i]), a = x[i], b = x[i + ROPE / 2];
        x[i] = a * cos(angle) - b * sin(angle);
        x[i + ROPE / 2] = a * sin(angle) + b * cos(angle);
    }
    for (size_t i = 0; i < HD; i++) rounded[i] = (float)x[i];
    float scale = kernel_to_int8_ref(bytes, rounded, HD);
    for (size_t i = 0; i < HD; i++) {
        if (type == KV_BF16) x[i] = (double)bf16_to_f32(f32_to_bf16(rounded[i]));
        if (type == KV_INT8) x[i] = (double)bytes[i] * (double)scale;
    }
}

static void define_row(const attn_world *a, size_t seq, uint32_t pos) {
    double *x = a->made[seq] + (size_t)pos * WIDTH;
    for (size_t i = 0; i < WIDTH; i++) x[i] = (double)a->qkv[seq][(size_t)pos * WIDTH + i] + (double)a->bias[i];
    for (size_t h = 0; h < H + 2 * H_KV; h++)
        define_head(x + h * HD, h < H ? a->q_norm : h < H + H_KV ? a->k_norm : NULL, pos, a->kv.type);
}

static attn_world *make_attn(world *w, kv_type type) {
    attn_world *a = calloc(1, sizeof *a);
    a->bias = floats(w, WIDTH), a->q_norm = floats(w, HD), a->k_norm = floats(w, HD);
    size_t n_page = 0, bytes = kv_block_bytes(type, HD) * H_KV * LAYERS;
    for (size_t s = 0; s < N_SEQ; s++) {
        for (size_t p = 0; p <= LEN / KV_PAGE; p++) {
            a->list[s][p] = s == 1 && p < 2 ? a->list[0][p] : (uint32_t)n_page++; /* two pages are both's */
            if (!a->pages[a->list[s][p]]) a->pages[a->list[s][p]] = memset(mem_aligned(bytes, 64), 0, bytes);
        }
        a->qkv[s] = floats(w, (size_t)LEN * WIDTH);
        if (s == 1) memcpy(a->qkv[1], a->qkv[0], 2 * KV_PAGE * WIDTH * sizeof(float));
        a->made[s] = malloc((size_t)LEN * WIDTH * sizeof(double));
    }
    a->kv = (kv_pages){type, H_KV, kv_block_bytes(type, HD), a->pages};
    for (size_t s = 0; s < N_SEQ; s++)
        for (uint32_t p = 0; p < LEN; p++) define_row(a, s, p);
    return a;
}

static void drop_attn(attn_world *a) {
    for (size_t i = 0; i < 64; i++) mem_free(a->pages[i]);
    for (size_t s = 0; s < N_SEQ; s++) free(a->qkv[s]), free(a->made[s]);
    free(a->bias), free(a->q_norm), free(a->k_norm), free(a);
}

static void check_attn_row(const attn_world *a, size_t seq, uint32_t pos, const float *out, const attn_state *softmax) {
    double p[LEN];
    for (size_t h = 0; h < H; h++) {
        size_t kv = H + h / (H / H_KV);
        const double *q = a->made[seq] + (size_t)pos * WIDTH + h * HD;
        double max = -INFINITY, sum = 0;
        for (size_t t = 0; t <= pos; t++) {
            const double *k = a->made[seq] + t * WIDTH + kv * HD;
            p[t] = 0;
            for (size_t i = 0; i < HD; i++) p[t] += q[i] * k[i] / sqrt(HD);
            max = fmax(max, p[t]);
        }
        for (size_t t = 0; t <= pos; t++) sum += p[t] = exp(p[t] - max);
        /* Scores of some 10 and sums of 300 terms in fp32, and values that the float rounds to the other side: a step
         * of bf16 is 2^-8, one of int8 1/127 of a head's largest value, and it rounds the weights to 1/255 of the
         * largest besides. */
        const double bounds[] = {1e-4, 3e-2, 6e-2}, log_bounds[] = {1e-4, 1e-2, 5e-2};
        near("log of the sum", pos, h, softmax[h].max + logf(softmax[h].sum), max + log(sum), log_bounds[a->kv.type]);
        for (size_t i = 0; i < HD; i++) {
            double v = 0;
            for (size_t t = 0; t <= pos; t++) v += p[t] / sum * a->made[seq][t * WIDTH + (kv + H_KV) * HD + i];
            near("attention", pos, h * HD + i, out[h * HD + i], v, bounds[a->kv.type]);
        }
    }
}

/* Rows [from, to) of the first sequence and [from2, to2) of the second as one pass. */
static void run_attn(world *w, attn *at, const attn_world *a, const uint32_t from[N_SEQ], const uint32_t to[N_SEQ],
                     float *out, attn_state *softmax) {
    static uint32_t pos[N_SEQ * LEN];
    static const uint32_t *lists[N_SEQ * LEN];
    float *qkv = malloc((size_t)N_SEQ * LEN * WIDTH * sizeof *qkv),
          *cs = malloc((size_t)N_SEQ * LEN * ROPE * sizeof *cs);
    size_t n = 0;
    for (size_t s = 0; s < N_SEQ; s++)
        for (uint32_t p = from[s]; p < to[s]; p++, n++) {
            pos[n] = p, lists[n] = a->list[s];
            memcpy(qkv + n * WIDTH, a->qkv[s] + (size_t)p * WIDTH, WIDTH * sizeof *qkv);
        }
    row_table rows = {.n = n, .pos = pos, .pages = lists};
    op_angles(w->o, cs, pos, freq_of, ROPE / 2, 1.0f, n);
    attn_input in = {qkv,  a->bias, a->bias + H * HD, a->bias + (H + H_KV) * HD, a->q_norm, a->k_norm, 1e-6f, cs,
                     ROPE, false};
    op_attn_plan(at, &a->kv, &rows);
    op_attn_input(at, LAYER, &in);
    op_attn(at, LAYER, out, softmax);
    free(qkv), free(cs);
}

static void attention_of_type(world *w, kv_type type) {
    attn_world *a = make_attn(w, type);
    attn *at;
    const attn_shape shape = {H, H_KV, HD, N_SEQ * LEN, N_CTX, type};
    float *out = malloc((size_t)N_SEQ * LEN * H * HD * sizeof *out), alone[H * HD];
    attn_state *softmax = malloc((size_t)N_SEQ * LEN * H * sizeof *softmax), alone_softmax[H];
    assert_int_equal(attn_create(w->o, &shape, &at, NULL), PGR_OK);
    run_attn(w, at, a, (uint32_t[]){0, 2 * KV_PAGE}, (uint32_t[]){200, LEN / 2 - 3}, out, softmax); /* two long runs */
    for (uint32_t p = 0; p < 200; p += 37) check_attn_row(a, 0, p, out + p * H * HD, softmax + p * H);
    const uint32_t from[] = {200, LEN / 2 - 3}, to[] = {LEN, LEN / 2}; /* a long and a short one */
    run_attn(w, at, a, from, to, out, softmax);
    for (size_t i = 0; i < LEN - 200 + 3; i++) {
        size_t s = i >= LEN - 200;
        uint32_t p = (uint32_t)(s ? LEN / 2 - 3 + i - (LEN - 200) : 200 + i);
        if (i % 9 == 0 || s) check_attn_row(a, s, p, out + i * H * HD, softmax + i * H);
    }
    const uint32_t last[] = {LEN - 1, 0}, end[] = {LEN, 0};
    run_attn(w, at, a, last, end, alone, alone_softmax);
    assert_memory_equal(alone, out + (LEN - 201) * H * HD, sizeof alone);
    assert_memory_equal(alone_softmax, softmax + (LEN - 201) * H, sizeof alone_softmax);
    run_attn(w, at, a, last, end, alone, NULL);
    assert_memory_equal(alone, out + (LEN - 201) * H * HD, sizeof alone);
    attn_free(at);
    drop_attn(a);
    free(out), free(softmax);
}

static void attention(world *w) {
    for (kv_type type = KV_F32; type <= KV_INT8; type++) attention_of_type(w, type);
}

static void full_attention(world *w) {
    static const size_t start[] = {0, 1, 34, 39, 339};
    enum { FULL = 339, W3 = 3 * H * HD };
    float *qkv = floats(w, (size_t)FULL * W3), *out = malloc((size_t)FULL * H * HD * sizeof *out);
    full_attn call = {out, qkv, start, 4, H, HD};
    assert_int_equal(op_attn_full(w->o, &call, NULL), PGR_OK);
    for (size_t s = 0; s < 4; s++)
        for (size_t m = start[s]; m < start[s + 1]; m += 11)
            for (size_t h = 0; h < H; h++) {
                double p[FULL], sum = 0, v[HD] = {0};
                for (size_t t = start[s]; t < start[s + 1]; t++) {
                    p[t] = 0;
                    for (size_t i = 0; i < HD; i++)
                        p[t] += (double)qkv[m * W3 + h * HD + i] * (double)qkv[t * W3 + (H + h) * HD + i] / sqrt(HD);
                    sum += p[t] = exp(p[t]);
                    for (size_t i = 0; i < HD; i++) v[i] += p[t] * (double)qkv[t * W3 + (2 * H + h) * HD + i];
                }
                for (size_t i = 0; i < HD; i++)
                    near("full", m, h * HD + i, out[m * H * HD + h * HD + i], v[i] / sum, 1e-5);
            }
    free(qkv), free(out);
}

/* ---- memory ---- */

static bool create_all(void) {
    ops *o = NULL;
    matrix *m = NULL;
    attn *a = NULL;
    float w[8] = {1}, x[4] = {1}, out[2], qkv[6] = {1};
    const attn_shape shape = {2, 1, 8, 4, 600, KV_BF16};
    const size_t start[] = {0, 1};
    bool worked = ops_create_cpu(NULL, &o, NULL) == PGR_OK
                  && matrix_create(o, GEMM_FILE, &(gemm_part){QUANT_F32, w, 2}, 1, 4, NULL, &m, NULL) == PGR_OK
                  && attn_create(o, &shape, &a, NULL) == PGR_OK
                  && op_project(o, &(project_call){.w = m, .out = out, .x = x, .n = 1}, NULL) == PGR_OK
                  && op_attn_full(o, &(full_attn){out, qkv, start, 1, 1, 2}, NULL) == PGR_OK;
    float *rows = worked ? ops_alloc(o, 100) : NULL;
    worked = worked && rows;
    if (rows) ops_copy(o, rows, w, 8);
    if (rows) assert_memory_equal(rows, w, sizeof w);
    if (o) ops_drop(o, rows);
    attn_free(a);
    matrix_free(m);
    ops_free(o);
    return worked;
}

static void survives_failed_allocations(void **state) {
    (void)state;
    assert_true(fail_each_allocation(create_all) >= 15);
}

#define TEST(name)                                                                                                     \
    static void test_##name(void **state) {                                                                            \
        (void)state;                                                                                                   \
        at_every_level(name);                                                                                          \
    }
TEST(embed)
TEST(angles)
TEST(steps)
TEST(products)
TEST(factors_may_change)
TEST(attention)
TEST(full_attention)

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_embed),
        cmocka_unit_test(test_angles),
        cmocka_unit_test(test_steps),
        cmocka_unit_test(test_products),
        cmocka_unit_test(test_factors_may_change),
        cmocka_unit_test(test_attention),
        cmocka_unit_test(test_full_attention),
        cmocka_unit_test(survives_failed_allocations),
    };
    limit = getenv("PGENRM_CPU") ? strdup(getenv("PGENRM_CPU")) : NULL;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
