/* test_backward.c - the backward of every operation against central differences of its definition in double, at every
 * level that this machine has; that gradients add up, and that neither the threads nor other sequences change a bit.
 *
 * Differences: (f(v + h) - f(v - h)) / 2h of a loss sum(dout * out) of size about 10 with h = 1e-5: what they leave out
 * is of order h^2 = 1e-10 of it, and doubles round it by 1e-16 / h = 1e-11. Bounds are those of fp32 sums: U times the
 * number of terms and roundings on the way, of their size. */
#include "../base/faults.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "math/cpu/kernels.h"
#include "math/cpu/kernels_level.h"
#include "math/ops.h"

#define U    0x1p-24 /* unit roundoff of fp32 */
#define STEP 1e-5

enum { THREADS = 3 };

typedef struct world {
    pool *threads, *one;
    ops *o, *alone; /* on THREADS threads, on one */
    rng r;
} world;

static const char *limit; /* PGENRM_CPU as it was */

/* Runs the test at each level, on the same data. */
static void at_every_level(void (*test)(world *w)) {
    static const char *const levels[] = {"ref", "avx2", "avx512", "amx"};
    for (size_t i = 0; i < 4; i++) {
        world w = {.r = {.seed = 7}};
        setenv("PGENRM_CPU", levels[i], 1);
        assert_int_equal(pool_create(THREADS, &w.threads, NULL), PGR_OK);
        assert_int_equal(pool_create(1, &w.one, NULL), PGR_OK);
        assert_int_equal(ops_create_cpu(w.threads, &w.o, NULL), PGR_OK);
        assert_int_equal(ops_create_cpu(w.one, &w.alone, NULL), PGR_OK);
        if (strcmp(ops_cpu_name(), levels[i]) == 0)
            test(&w);
        else
            print_message("SKIP: level %s is not on this CPU\n", levels[i]);
        ops_free(w.o), ops_free(w.alone);
        pool_free(w.threads), pool_free(w.one);
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

static double *doubles(const float *x, size_t n) {
    double *y = malloc(n * sizeof *y);
    for (size_t i = 0; i < n; i++) y[i] = (double)x[i];
    return y;
}

static float *copy(const float *x, size_t n) {
    return memcpy(malloc(n * sizeof *x), x, n * sizeof *x);
}

static void near(const char *what, size_t at, float got, double want, double bound) {
    if (!(fabs((double)got - want) <= bound))
        fail_msg("%s at %s: value %zu: %.9g, want %.9g, bound %g", what, ops_cpu_name(), at, (double)got, want, bound);
}

/* The loss, or the part of it that a value is in, as a function of a test's own values: the other parts are the same on
 * both sides of a difference. */
typedef double (*loss_fn)(const void *test);

static double difference(loss_fn loss, const void *test, double *value) {
    double was = *value, up, down;
    *value = was + STEP, up = loss(test);
    *value = was - STEP, down = loss(test);
    *value = was;
    return (up - down) / (2 * STEP);
}

/* ---- steps ---- */

enum { D = 77, N_ROW = 9, LDF = 2 * D + 3 };

typedef struct step_test {
    step_kind kind;
    size_t n; /* rows */
    const uint32_t *pick;
    double *from, *w, *dout; /* (N_ROW, LDF), (D), (n, D) */
    size_t row;
} step_test;

static double step_row_loss(const void *test) { /* of t->row */
    const step_test *t = test;
    const double *x = t->from + (t->pick ? t->pick[t->row] : t->row) * LDF;
    double square = 0, loss = 0;
    for (size_t i = 0; i < D; i++) square += x[i] * x[i] / D;
    for (size_t i = 0; i < D; i++) {
        double y =
            t->kind == STEP_SWIGLU ? x[i] / (1 + exp(-x[i])) * x[D + i] : t->w[i] * x[i] / sqrt(square + (double)1e-5f);
        loss += t->dout[t->row * D + i] * y;
    }
    return loss;
}

static double step_loss(const void *test) {
    step_test t = *(const step_test *)test;
    double loss = 0;
    for (t.row = 0; t.row < t.n; t.row++) loss += step_row_loss(&t);
    return loss;
}

/* RMSNorm: a sum of D products and some 10 operations after it, all of size at most 8 here (dout, w, x / rms are
 * normal); SwiGLU: exp and 8 operations. */
static void check_step(world *w, step_kind kind, const uint32_t *pick, size_t n) {
    float *from = floats(w, N_ROW * LDF), *norm = floats(w, D), *dout = floats(w, N_ROW * D);
    float *start = floats(w, N_ROW * LDF), *got = copy(start, N_ROW * LDF), *again = copy(start, N_ROW * LDF);
    step_test t = {kind, n, pick, doubles(from, N_ROW * LDF), doubles(norm, D), doubles(dout, N_ROW * D), 0};
    row_step step = {.kind = kind, .from = from, .ldf = LDF, .pick = pick, .w = norm, .eps = 1e-5f};
    row_grad g = {&step, dout, got, LDF};
    op_rows_back(w->o, D, &g, n);
    for (t.row = 0; t.row < n; t.row++)
        for (size_t i = 0; i < (kind == STEP_SWIGLU ? 2 * D : D); i++) {
            size_t at = (pick ? pick[t.row] : t.row) * LDF + i;
            double want = difference(step_row_loss, &t, t.from + at) + (kind == STEP_RMSNORM ? (double)start[at] : 0);
            near("step", at, got[at], want, 8 * 20 * U + 1e-9);
        }
    g.dfrom = again;
    op_rows_back(w->alone, D, &g, n);
    assert_memory_equal(got, again, N_ROW * LDF * sizeof *got);
    free(from), free(norm), free(dout), free(start), free(got), free(again);
    free(t.from), free(t.w), free(t.dout);
}

static void steps(world *w) {
    static const uint32_t pick[] = {8, 0, 2, 5};
    check_step(w, STEP_RMSNORM, NULL, N_ROW);
    check_step(w, STEP_RMSNORM, pick, 4);
    check_step(w, STEP_SWIGLU, NULL, N_ROW);
}

/* ---- products ---- */

enum { K_IN = 70, N_OUT = 100, M_ROWS = 150, N_TERM = 2 };

typedef struct product_test {
    double *x, *w, *dy, *a[N_TERM], *b[N_TERM];
    const lowrank *terms;
    size_t row, term, rank;
} product_test;

/* dy (a row of the term's A x, times its B's column) in row m */
static double rank_loss(const product_test *t, size_t m, size_t i, size_t r) {
    const lowrank *l = &t->terms[i];
    double ax = 0, dyb = 0;
    for (size_t k = 0; k < K_IN; k++) ax += t->a[i][r * K_IN + k] * t->x[m * K_IN + k];
    for (size_t n = 0; n < l->N; n++) dyb += t->dy[m * N_OUT + l->column + n] * t->b[i][n * l->r + r];
    return (double)l->scale * ax * dyb;
}

/* dy (W x + terms) in t->row: what a value of x is in */
static double product_row_loss(const void *test) {
    const product_test *t = test;
    const double *x = t->x + t->row * K_IN, *dy = t->dy + t->row * N_OUT;
    double loss = 0;
    for (size_t n = 0; n < N_OUT; n++)
        for (size_t k = 0; k < K_IN; k++) loss += dy[n] * t->w[n * K_IN + k] * x[k];
    for (size_t i = 0; i < N_TERM; i++)
        for (size_t r = 0; r < t->terms[i].r; r++) loss += rank_loss(t, t->row, i, r);
    return loss;
}

/* What a value of A's row, or of B's column, t->rank of t->term is in: all rows. */
static double product_rank_loss(const void *test) {
    const product_test *t = test;
    double loss = 0;
    for (size_t m = 0; m < M_ROWS; m++) loss += rank_loss(t, m, t->term, t->rank);
    return loss;
}

/* The loss is linear in each value: a step of 1 is exact, and sums of up to M_ROWS K_IN N_OUT terms of size 1 are good
 * to 1e-16 * 1e6 * 1e3. */
static double slope(loss_fn loss, const product_test *t, double *value) {
    double was = *value, up, down;
    *value = was + 1, up = loss(t);
    *value = was - 1, down = loss(t);
    *value = was;
    return (up - down) / 2;
}

/* In bf16 (unit roundoff 2^-8) each of `terms` independent products of normal values has four rounded factors: 24 is
 * six standard deviations of the sum's error. Nothing where all is fp32. */
static double half_bound(const project_grad *g, float scale, size_t terms) {
    return g->form == GEMM_BF16 ? 24 * 0x1p-8 * fabs((double)scale) * sqrt((double)terms) : 0;
}

static void check_product(const project_grad *g, product_test *t) {
    /* Sums of M_ROWS products with sums of up to N_OUT, of normal values: their size is about the root of the numbers,
     * 6 times that here at most; each sum rounds by its number of terms times U of it, in fact far less. */
    double x_bound = (N_OUT + 20) * U * 6 * sqrt(N_OUT) * 6, f_bound = (M_ROWS + N_OUT) * U * 6 * sqrt(M_ROWS * N_OUT);
    for (size_t i = 0; i < N_TERM; i++) x_bound += half_bound(g, t->terms[i].scale, t->terms[i].N * t->terms[i].r);
    for (size_t at = 0; at < M_ROWS * K_IN; at += 397) {
        t->row = at / K_IN;
        near("dx", at, g->dx[at], slope(product_row_loss, t, t->x + at), x_bound);
    }
    for (t->term = 0; t->term < N_TERM; t->term++) {
        size_t i = t->term, r = t->terms[i].r;
        double a_bound = f_bound + half_bound(g, t->terms[i].scale, M_ROWS * t->terms[i].N);
        double b_bound = f_bound + half_bound(g, t->terms[i].scale, M_ROWS * K_IN);
        for (size_t at = 0; at < r * K_IN; at += 97) {
            t->rank = at / K_IN;
            near("da", at, g->terms[i].da[at], 1 + slope(product_rank_loss, t, t->a[i] + at), a_bound);
        }
        for (size_t at = 0; at < t->terms[i].N * r; at += 61) {
            t->rank = at % r;
            near("db", at, g->terms[i].db[at], 1 + slope(product_rank_loss, t, t->b[i] + at), b_bound);
        }
    }
}

static float *ones(size_t n) {
    float *x = malloc(n * sizeof *x);
    for (size_t i = 0; i < n; i++) x[i] = 1.0f;
    return x;
}

static void products_in(world *w, gemm_form form) {
    enum { LDX = K_IN + 5 };
    float *wt = floats(w, K_IN * N_OUT), *x = floats(w, M_ROWS * LDX), *dy = floats(w, M_ROWS * N_OUT);
    const lowrank terms[N_TERM] = {{33, K_IN, 3, floats(w, 3 * K_IN), floats(w, 33 * 3), 0.7f, 10},
                                   {40, K_IN, 70, floats(w, 70 * K_IN), floats(w, 40 * 70), -0.1f, 60}};
    product_test t = {.x = malloc(M_ROWS * K_IN * sizeof(double)),
                      .w = malloc(N_OUT * K_IN * sizeof(double)),
                      .dy = doubles(dy, M_ROWS * N_OUT),
                      .terms = terms};
    for (size_t i = 0; i < M_ROWS * K_IN; i++) t.x[i] = (double)x[i / K_IN * LDX + i % K_IN];
    for (size_t i = 0; i < N_OUT * K_IN; i++) t.w[i] = (double)wt[i % K_IN * N_OUT + i / K_IN];
    for (size_t i = 0; i < N_TERM; i++)
        t.a[i] = doubles(terms[i].a, terms[i].r * K_IN), t.b[i] = doubles(terms[i].b, terms[i].N * terms[i].r);

    float *dx[2], *da[2][N_TERM], *db[2][N_TERM];
    for (size_t k = 0; k < 2; k++) {
        ops *o = k == 0 ? w->o : w->alone;
        gemm_part part = {QUANT_F32, wt, K_IN};
        matrix *back;
        lowrank_grad grads[N_TERM];
        assert_int_equal(matrix_create(o, GEMM_FILE, &part, 1, N_OUT, NULL, &back, NULL), PGR_OK);
        dx[k] = malloc(M_ROWS * K_IN * sizeof(float));
        for (size_t i = 0; i < N_TERM; i++) {
            da[k][i] = ones(terms[i].r * K_IN), db[k][i] = ones(terms[i].N * terms[i].r);
            grads[i] = (lowrank_grad){&terms[i], da[k][i], db[k][i]};
        }
        float *scratch = ops_alloc(o, op_project_scratch(o, form, M_ROWS, K_IN, N_OUT, 2, 70));
        project_grad g = {back, dy, dx[k], x, LDX, M_ROWS, K_IN, N_OUT, grads, N_TERM, scratch, form};
        assert_int_equal(op_project_back(o, &g, NULL), PGR_OK);
        if (k == 0) check_product(&g, &t);
        ops_drop(o, scratch);
        matrix_free(back);
    }
    assert_memory_equal(dx[0], dx[1], M_ROWS * K_IN * sizeof(float));
    for (size_t i = 0; i < N_TERM; i++) {
        assert_memory_equal(da[0][i], da[1][i], terms[i].r * K_IN * sizeof(float));
        assert_memory_equal(db[0][i], db[1][i], terms[i].N * terms[i].r * sizeof(float));
        for (size_t k = 0; k < 2; k++) free(da[k][i]), free(db[k][i]);
        free(terms[i].a), free(terms[i].b), free(t.a[i]), free(t.b[i]);
    }
    free(wt), free(x), free(dy), free(dx[0]), free(dx[1]), free(t.x), free(t.w), free(t.dy);
}

/* Without tiles the terms are computed in fp32 in both forms. */
static void products(world *w) {
    products_in(w, GEMM_FILE);
    if (strcmp(ops_cpu_name(), "amx") == 0) products_in(w, GEMM_BF16);
}

/* -1, 0 or 1. */
static float *signs(world *w, size_t n) {
    float *x = floats(w, n);
    for (size_t i = 0; i < n; i++) x[i] = x[i] > 0.5f ? 1.0f : x[i] < -0.5f ? -1.0f : 0.0f;
    return x;
}

/* Of signs every sum on the way is a whole number below 256, which bf16 has exactly: both forms give the same bits. */
static void whole_numbers(world *w) {
    enum { ROWS = 203, K = 65, N = 97, RANK = 17 };
    float *x = signs(w, ROWS * K), *dy = signs(w, ROWS * N), *dx[2], *da[2], *db[2];
    const lowrank term = {61, K, RANK, signs(w, RANK * K), signs(w, 61 * RANK), -2.0f, 31};
    float *wt = signs(w, K * N);
    gemm_part part = {QUANT_F32, wt, K};
    matrix *back;
    assert_int_equal(matrix_create(w->o, GEMM_FILE, &part, 1, N, NULL, &back, NULL), PGR_OK);
    for (size_t k = 0; k < 2; k++) {
        gemm_form form = k ? GEMM_BF16 : GEMM_FILE;
        dx[k] = malloc(ROWS * K * sizeof(float)), da[k] = ones(RANK * K), db[k] = ones(61 * RANK);
        lowrank_grad grad = {&term, da[k], db[k]};
        float *scratch = ops_alloc(w->o, op_project_scratch(w->o, form, ROWS, K, N, 1, RANK));
        project_grad g = {back, dy, dx[k], x, 0, ROWS, K, N, &grad, 1, scratch, form};
        assert_int_equal(op_project_back(w->o, &g, NULL), PGR_OK);
        ops_drop(w->o, scratch);
    }
    assert_memory_equal(dx[0], dx[1], ROWS * K * sizeof(float));
    assert_memory_equal(da[0], da[1], RANK * K * sizeof(float));
    assert_memory_equal(db[0], db[1], 61 * RANK * sizeof(float));
    for (size_t k = 0; k < 2; k++) free(dx[k]), free(da[k]), free(db[k]);
    matrix_free(back);
    free(x), free(dy), free(wt), free(term.a), free(term.b);
}

/* A batch in two halves adds up to the batch, but for the order of sums of M_ROWS terms of size 10. */
static void halves(world *w) {
    const size_t first = 53;
    float *x = floats(w, M_ROWS * K_IN), *dy = floats(w, M_ROWS * N_OUT);
    const lowrank term = {33, K_IN, 5, floats(w, 5 * K_IN), floats(w, 33 * 5), 0.7f, 10};
    float *da[2], *db[2];
    for (size_t k = 0; k < 2; k++) {
        da[k] = ones(5 * K_IN), db[k] = ones(33 * 5);
        lowrank_grad grad = {&term, da[k], db[k]};
        float *scratch = ops_alloc(w->o, op_project_scratch(w->o, GEMM_FILE, M_ROWS, K_IN, N_OUT, 1, 5));
        project_grad g = {.dy = dy, .x = x, .n = k ? first : M_ROWS, .size_x = K_IN, .size_y = N_OUT};
        g.terms = &grad, g.n_term = 1, g.scratch = scratch;
        assert_int_equal(op_project_back(w->o, &g, NULL), PGR_OK);
        g.dy += first * N_OUT, g.x += first * K_IN, g.n = M_ROWS - first;
        if (k) assert_int_equal(op_project_back(w->o, &g, NULL), PGR_OK);
        ops_drop(w->o, scratch);
    }
    for (size_t i = 0; i < 5 * K_IN; i++) near("da in halves", i, da[1][i], (double)da[0][i], M_ROWS * U * 1e3);
    for (size_t i = 0; i < 33 * 5; i++) near("db in halves", i, db[1][i], (double)db[0][i], M_ROWS * U * 1e3);
    free(x), free(dy), free(term.a), free(term.b), free(da[0]), free(da[1]), free(db[0]), free(db[1]);
}

/* Scratch for a batch is enough for every smaller one, whatever number of chunks its rows are cut into. */
static void test_scratch(void **state) {
    (void)state;
    static const gemm_form forms[] = {GEMM_FILE, GEMM_BF16};
    ops *o;
    assert_int_equal(ops_create_cpu(NULL, &o, NULL), PGR_OK);
    for (size_t k = 0; k < 2; k++)
        for (size_t n = 1, before = 0; n <= 20000; n++) {
            size_t floats = op_project_scratch(o, forms[k], n, K_IN, N_OUT, 2, 5);
            if (floats < before) fail_msg("%zu rows have %zu floats, %zu have %zu", n - 1, before, n, floats);
            before = floats;
        }
    ops_free(o);
}

/* ---- rows of a table ---- */

static void mixes(world *w) {
    enum { WIDTH = 300, TABLE = 7 };
    static const size_t start[] = {0, 2, 2, 5};
    static const int32_t row[] = {3, 6, 0, 3, 3};
    float *table = floats(w, TABLE * WIDTH), *factor = floats(w, 5), *out = floats(w, 3 * WIDTH);
    row_mix mix = {QUANT_F32, table, start, row, factor};
    op_mix(w->o, out, &mix, 3, WIDTH);
    for (size_t m = 0; m < 3; m++)
        for (size_t i = 0; i < WIDTH; i++) {
            double want = 0, size = 0;
            for (size_t j = start[m]; j < start[m + 1]; j++) {
                double x = (double)factor[j] * (double)table[(size_t)row[j] * WIDTH + i];
                want += x, size += fabs(x);
            }
            near("mix", m * WIDTH + i, out[m * WIDTH + i], want, 3 * U * size);
        }
    free(table), free(factor), free(out);
}

/* ---- attention's input ---- */

enum { H = 4, H_KV = 2, MOST_HD = 64 };

typedef struct input_test {
    size_t n, hd, rope;
    bool interleaved, norms, biases;
    double *qkv, *dout, *cs, *bias, *q_norm, *k_norm;
    size_t head; /* of all rows' (n, H + 2 H_KV) */
} input_test;

static double input_head_loss(const void *test) { /* of t->head */
    const input_test *t = test;
    size_t m = t->head / (H + 2 * H_KV), h = t->head % (H + 2 * H_KV), at = t->head * t->hd;
    double x[MOST_HD], square = 0, loss = 0;
    const double *norm = h < H ? t->q_norm : t->k_norm, *cs = t->cs + m * t->rope;
    for (size_t i = 0; i < t->hd; i++) x[i] = t->qkv[at + i] + (t->biases ? t->bias[h * t->hd + i] : 0);
    for (size_t i = 0; i < t->hd; i++) square += x[i] * x[i] / (double)t->hd;
    for (size_t i = 0; t->norms && h < H + H_KV && i < t->hd; i++) x[i] *= norm[i] / sqrt(square + (double)1e-6f);
    for (size_t i = 0; h < H + H_KV && i < t->rope / 2; i++) {
        double *a = t->interleaved ? x + 2 * i : x + i, *b = t->interleaved ? a + 1 : a + t->rope / 2;
        double a0 = *a, b0 = *b;
        *a = a0 * cs[2 * i] - b0 * cs[2 * i + 1];
        *b = a0 * cs[2 * i + 1] + b0 * cs[2 * i];
    }
    for (size_t i = 0; i < t->hd; i++) loss += t->dout[at + i] * x[i];
    return loss;
}

static double input_loss(const void *test) {
    input_test t = *(const input_test *)test;
    double loss = 0;
    for (t.head = 0; t.head < t.n * (H + 2 * H_KV); t.head++) loss += input_head_loss(&t);
    return loss;
}

static void check_input(world *w, size_t hd, size_t rope, bool interleaved, bool norms, bool biases) {
    enum { ROWS = 3 };
    size_t width = (H + 2 * H_KV) * hd;
    float *qkv = floats(w, ROWS * width), *dqkv = floats(w, ROWS * width), *bias = floats(w, width),
          *q_norm = floats(w, hd), *k_norm = floats(w, hd), *cs = floats(w, ROWS * rope), *again;
    input_test t = {ROWS,
                    hd,
                    rope,
                    interleaved,
                    norms,
                    biases,
                    doubles(qkv, ROWS * width),
                    doubles(dqkv, ROWS * width),
                    doubles(cs, ROWS * rope),
                    doubles(bias, width),
                    doubles(q_norm, hd),
                    doubles(k_norm, hd),
                    0};
    attn_input in = {.qkv = qkv,
                     .q_bias = biases ? bias : NULL,
                     .k_bias = bias + H * hd,
                     .v_bias = bias + (H + H_KV) * hd,
                     .q_norm = norms ? q_norm : NULL,
                     .k_norm = k_norm,
                     .eps = 1e-6f,
                     .cs = cs,
                     .rope_dim = rope,
                     .rope_interleaved = interleaved};
    again = copy(dqkv, ROWS * width);
    assert_int_equal(op_attn_input_back(w->o, &(attn_input_grad){dqkv, &in, ROWS, H, H_KV, hd, NULL, NULL}, NULL),
                     PGR_OK);
    assert_int_equal(op_attn_input_back(w->alone, &(attn_input_grad){again, &in, ROWS, H, H_KV, hd, NULL, NULL}, NULL),
                     PGR_OK);
    assert_memory_equal(dqkv, again, ROWS * width * sizeof *dqkv);
    for (size_t at = 0; at < ROWS * width; at++) { /* as the steps' */
        t.head = at / hd;
        near("attention's input", at, dqkv[at], difference(input_head_loss, &t, t.qkv + at), 16 * 24 * U + 1e-9);
    }
    free(qkv), free(dqkv), free(bias), free(q_norm), free(k_norm), free(cs), free(again);
    free(t.qkv), free(t.dout), free(t.cs), free(t.bias), free(t.q_norm), free(t.k_norm);
}

static void inputs(world *w) {
    check_input(w, 32, 32, true, false, false);
    check_input(w, 32, 32, false, true, true);
    check_input(w, 20, 12, false, true, false);
    check_input(w, 64, 64, false, false, true);
}

/* ---- attention ---- */

enum { N_SEQ = 3 };
static const size_t start[N_SEQ + 1] = {0, 1, 71, 201};

typedef struct attn_test {
    size_t hd;
    double *qkv, *dout, *out;
    attn_state *softmax;
    size_t first, row, row_end, h, h_end; /* a part: these rows' heads in the sequence that begins at `first` */
} attn_test;

/* One head of one row; its part of the loss. */
static double attend(const attn_test *t, size_t first, size_t row, size_t h) {
    size_t width = (H + 2 * H_KV) * t->hd, kv = H + h / (H / H_KV);
    double p[256], max = -INFINITY, sum = 0, loss = 0;
    for (size_t k = first; k <= row; k++) {
        p[k - first] = 0;
        for (size_t i = 0; i < t->hd; i++)
            p[k - first] += t->qkv[row * width + h * t->hd + i] * t->qkv[k * width + kv * t->hd + i];
        p[k - first] /= sqrt((double)t->hd);
        max = fmax(max, p[k - first]);
    }
    for (size_t k = first; k <= row; k++) sum += p[k - first] = exp(p[k - first] - max);
    t->softmax[row * H + h] = (attn_state){(float)max, (float)sum};
    for (size_t i = 0; i < t->hd; i++) {
        double *out = &t->out[(row * H + h) * t->hd + i];
        *out = 0;
        for (size_t k = first; k <= row; k++) *out += p[k - first] / sum * t->qkv[k * width + (kv + H_KV) * t->hd + i];
        loss += t->dout[(row * H + h) * t->hd + i] * *out;
    }
    return loss;
}

static double attn_part_loss(const void *test) {
    const attn_test *t = test;
    double loss = 0;
    for (size_t row = t->row; row < t->row_end; row++)
        for (size_t h = t->h; h < t->h_end; h++) loss += attend(t, t->first, row, h);
    return loss;
}

/* The part that a value of qkv is in: of a query its row's head, of a key or value the heads that share it, in its
 * row and those behind it. */
static void find_part(attn_test *t, size_t at) {
    size_t width = (H + 2 * H_KV) * t->hd, head = at % width / t->hd, s = 0;
    t->row = at / width;
    while (t->row >= start[s + 1]) s++;
    t->first = start[s];
    t->row_end = head < H ? t->row + 1 : start[s + 1];
    t->h = head < H ? head : (head - H) % H_KV * (H / H_KV);
    t->h_end = t->h + (head < H ? 1 : H / H_KV);
}

static double attn_loss(const void *test) {
    double loss = 0;
    for (size_t s = 0; s < N_SEQ; s++)
        for (size_t row = start[s]; row < start[s + 1]; row++)
            for (size_t h = 0; h < H; h++) loss += attend(test, start[s], row, h);
    return loss;
}

/* As pages keep them, and in int8 queries. n: whole heads */
static void round_values(float *x, size_t n, size_t hd, kv_type type) {
    for (size_t i = 0; i < n && type == KV_BF16; i++) x[i] = bf16_to_f32(f32_to_bf16(x[i]));
    for (size_t at = 0; at < n && type == KV_INT8; at += hd) {
        int8_t bytes[ATTN_DIM_INT8];
        float scale = kernel_to_int8_ref(bytes, x + at, hd);
        for (size_t i = 0; i < hd; i++) x[at + i] = (float)bytes[i] * scale;
    }
}

/* seqs, shared: as attn_grad has them */
static void run_tree(ops *o, float *dqkv, const attn_test *t, const float *qkv, const float *out, const float *dout,
                     const size_t *seqs, const size_t *shared, size_t n_seq, kv_type type) {
    float *scratch = malloc(2 * seqs[n_seq] * H * t->hd * sizeof *scratch);
    attn_grad g = {.dqkv = dqkv,
                   .qkv = qkv,
                   .out = out,
                   .dout = dout,
                   .softmax = t->softmax,
                   .start = seqs,
                   .shared = shared,
                   .n_seq = n_seq,
                   .n_head = H,
                   .n_head_kv = H_KV,
                   .head_dim = t->hd,
                   .type = type,
                   .scratch = scratch};
    assert_int_equal(op_attn_back(o, &g, NULL), PGR_OK);
    free(scratch);
}

static void run_attn(ops *o, float *dqkv, const attn_test *t, const float *qkv, const float *out, const float *dout,
                     const size_t *seqs, size_t n_seq, kv_type type) {
    run_tree(o, dqkv, t, qkv, out, dout, seqs, NULL, n_seq, type);
}

/* Each sequence by itself, in one thread, has the bits that it has in the batch. */
static void alone(world *w, const attn_test *t, const float *qkv, const float *out, const float *dout,
                  const float *dqkv, kv_type type) {
    size_t width = (H + 2 * H_KV) * t->hd;
    for (size_t s = 0; s < N_SEQ; s++) {
        size_t n = start[s + 1] - start[s], one[] = {0, n};
        attn_test part = *t;
        part.softmax += start[s] * H;
        float *got = floats(w, n * width);
        run_attn(w->alone, got, &part, qkv + start[s] * width, out + start[s] * H * t->hd, dout + start[s] * H * t->hd,
                 one, 1, type);
        assert_memory_equal(got, dqkv + start[s] * width, n * width * sizeof *got);
        free(got);
    }
}

/* Values rounded beforehand are what a pass with such pages has; rounding again changes nothing. The largest
 * gradients here are about 20. A value of dS is the product of numbers off by some 10 U (exp of products off by hd U of
 * their size) and added to up to 130 others. Where the products go by bf16 tiles, P, dS and dO are rounded to 2^-9 of
 * themselves before they are summed: at most three such parts of the largest. */
static double attn_bound(size_t hd, kv_type type) {
    bool tiles = type == KV_BF16 && hd % 32 == 0 && strcmp(ops_cpu_name(), "amx") == 0;
    return 20 * (double)(hd + 130 + 20) * U + 1e-7 + (tiles ? 20 * 3 * 0x1p-9 : 0);
}

static void check_attn(world *w, size_t hd, kv_type type) {
    size_t n = start[N_SEQ], width = (H + 2 * H_KV) * hd;
    float *qkv = floats(w, n * width), *dout = floats(w, n * H * hd), *out = malloc(n * H * hd * sizeof *out);
    float *dqkv = floats(w, n * width), *loose = copy(qkv, n * width);
    round_values(qkv, n * width, hd, type);
    attn_test t = {.hd = hd,
                   .qkv = doubles(qkv, n * width),
                   .dout = doubles(dout, n * H * hd),
                   .out = malloc(n * H * hd * sizeof(double)),
                   .softmax = malloc(n * H * sizeof(attn_state))};
    attn_loss(&t);
    for (size_t i = 0; i < n * H * hd; i++) out[i] = (float)t.out[i];
    attn_state *softmax = memcpy(malloc(n * H * sizeof *softmax), t.softmax, n * H * sizeof *softmax);

    run_attn(w->o, dqkv, &t, type == KV_F32 ? qkv : loose, out, dout, start, N_SEQ, type);
    alone(w, &t, qkv, out, dout, dqkv, type);
    for (size_t at = 0; at < n * width; at += n * width / 61 | 1) {
        find_part(&t, at);
        near("attention", at, dqkv[at], difference(attn_part_loss, &t, t.qkv + at), attn_bound(hd, type));
    }
    memcpy(t.softmax, softmax, n * H * sizeof *softmax);
    free(qkv), free(dout), free(out), free(dqkv), free(loose), free(softmax);
    free(t.qkv), free(t.dout), free(t.out), free(t.softmax);
}

static void attention(world *w) {
    check_attn(w, 16, KV_F32);
    check_attn(w, 20, KV_F32);
    check_attn(w, 80, KV_F32);
    check_attn(w, 16, KV_BF16);
    check_attn(w, 64, KV_BF16);
    check_attn(w, 16, KV_INT8);
    check_attn(w, 64, KV_INT8);
}

/* A tree is its sequences written out, where a shared row's own dout counts once: what each copy of a row gets adds up
 * to what the row gets in the tree, but for the order of the sums (as check_attn's). */
enum { N_BRANCH = 5 };
static const size_t tree_start[N_BRANCH + 1] = {0, 70, 110, 140, 210, 215};
static const size_t tree_shared[N_BRANCH] = {0, 50, 70, 10, 0};

/* Row of the tree that is token pos of a sequence. */
static size_t tree_row(size_t seq, size_t pos) {
    while (pos < tree_shared[seq]) seq--;
    return tree_start[seq] + pos - tree_shared[seq];
}

static void check_tree(world *w, size_t hd, kv_type type) {
    size_t n = tree_start[N_BRANCH], width = (H + 2 * H_KV) * hd, flat[N_BRANCH + 1] = {0};
    for (size_t s = 0; s < N_BRANCH; s++) flat[s + 1] = flat[s] + tree_start[s + 1] - tree_start[s] + tree_shared[s];
    size_t m = flat[N_BRANCH];
    float *qkv = floats(w, n * width), *dout = floats(w, n * H * hd), *dqkv = floats(w, n * width),
          *again = copy(dqkv, n * width);
    float *out = malloc(n * H * hd * sizeof *out), *flat_qkv = malloc(m * width * sizeof *flat_qkv),
          *flat_out = malloc(m * H * hd * sizeof *out), *flat_dout = calloc(m * H * hd, sizeof *flat_dout),
          *flat_dqkv = malloc(m * width * sizeof *flat_dqkv), *want = calloc(n * width, sizeof *want);
    round_values(qkv, n * width, hd, type);
    for (size_t s = 0; s < N_BRANCH; s++)
        for (size_t t = 0; t < flat[s + 1] - flat[s]; t++) {
            size_t to = flat[s] + t, from = tree_row(s, t);
            memcpy(flat_qkv + to * width, qkv + from * width, width * sizeof *qkv);
            if (t >= tree_shared[s]) memcpy(flat_dout + to * H * hd, dout + from * H * hd, H * hd * sizeof *dout);
        }
    attn_test t = {.hd = hd,
                   .qkv = doubles(flat_qkv, m * width),
                   .dout = doubles(flat_dout, m * H * hd),
                   .out = malloc(m * H * hd * sizeof(double)),
                   .softmax = malloc(m * H * sizeof(attn_state))};
    attn_test tree = {.hd = hd, .softmax = malloc(n * H * sizeof(attn_state))};
    for (size_t s = 0; s < N_BRANCH; s++)
        for (size_t row = flat[s]; row < flat[s + 1]; row++)
            for (size_t h = 0; h < H; h++) attend(&t, flat[s], row, h);
    for (size_t i = 0; i < m * H * hd; i++) flat_out[i] = (float)t.out[i];
    for (size_t s = 0; s < N_BRANCH; s++)
        for (size_t k = 0; k < flat[s + 1] - flat[s]; k++) {
            size_t to = tree_row(s, k), from = flat[s] + k;
            memcpy(out + to * H * hd, flat_out + from * H * hd, H * hd * sizeof *out);
            memcpy(tree.softmax + to * H, t.softmax + from * H, H * sizeof *t.softmax);
        }

    run_attn(w->o, flat_dqkv, &t, flat_qkv, flat_out, flat_dout, flat, N_BRANCH, type);
    for (size_t s = 0; s < N_BRANCH; s++)
        for (size_t k = 0; k < flat[s + 1] - flat[s]; k++)
            for (size_t i = 0; i < width; i++) want[tree_row(s, k) * width + i] += flat_dqkv[(flat[s] + k) * width + i];
    run_tree(w->o, dqkv, &tree, qkv, out, dout, tree_start, tree_shared, N_BRANCH, type);
    run_tree(w->alone, again, &tree, qkv, out, dout, tree_start, tree_shared, N_BRANCH, type);
    assert_memory_equal(dqkv, again, n * width * sizeof *dqkv);
    for (size_t at = 0; at < n * width; at++)
        near("a tree's attention", at, dqkv[at], (double)want[at], attn_bound(hd, type));
    free(qkv), free(dout), free(dqkv), free(again), free(out), free(flat_qkv), free(flat_out), free(flat_dout);
    free(flat_dqkv), free(want), free(t.qkv), free(t.dout), free(t.out), free(t.softmax), free(tree.softmax);
}

static void trees(world *w) {
    check_tree(w, 16, KV_F32);
    check_tree(w, 20, KV_BF16);
    check_tree(w, 96, KV_BF16);
    check_tree(w, 48, KV_INT8);
}

/* ---- gradients of weights ---- */

static void round_all(float *x, size_t n) {
    for (size_t i = 0; i < n; i++) x[i] = bf16_to_f32(f32_to_bf16(x[i]));
}

/* 1 + dy^T x, whose sums have n products of normal values: at most 9 sqrt(n) here, off by n roundings of it. Values in
 * bf16 are given as such, so that bf16's rounding changes nothing. */
static void check_outer(world *w, gemm_form form, size_t n, size_t N, size_t K) {
    size_t ldx = K + 3;
    float *dy = floats(w, n * N), *x = floats(w, n * ldx), *dw = ones(N * K), *again = ones(N * K);
    if (form == GEMM_BF16) round_all(dy, n * N), round_all(x, n * ldx);
    outer_call call = {dw, dy, x, ldx, n, N, K, form};
    assert_int_equal(op_outer(w->o, &call, NULL), PGR_OK);
    for (size_t at = 0; at < N * K; at += N * K / 301 | 1) {
        double want = 1;
        for (size_t m = 0; m < n; m++) want += (double)dy[m * N + at / K] * (double)x[m * ldx + at % K];
        near("outer", at, dw[at], want, (double)(n + 2) * U * 9 * sqrt((double)n));
    }
    call.dw = again;
    assert_int_equal(op_outer(w->alone, &call, NULL), PGR_OK);
    assert_memory_equal(dw, again, N * K * sizeof *dw);
    free(dy), free(x), free(dw), free(again);
}

/* In fp32 every level has the bits of one chain over the rows that begins with what dw holds: with more rows than a
 * level takes at a time, and more panels of columns. */
static void outer_chains(world *w) {
    enum { n = 1030, N = 51, K = 213 };
    float *dy = floats(w, n * N), *x = floats(w, n * K), *dw = ones(N * K);
    outer_call call = {dw, dy, x, 0, n, N, K, GEMM_F32};
    assert_int_equal(op_outer(w->o, &call, NULL), PGR_OK);
    for (size_t at = 0; at < N * K; at += 7) {
        float want = 1;
        for (size_t m = 0; m < n; m++) want = fmaf(dy[m * N + at / K], x[m * K + at % K], want);
        if (!(dw[at] == want)) fail_msg("outer at %zu: %a, one chain %a", at, (double)dw[at], (double)want);
    }
    free(dy), free(x), free(dw);
}

static void outers(world *w) {
    check_outer(w, GEMM_F32, 1, 70, 33);
    check_outer(w, GEMM_F32, 150, 100, 77);
    check_outer(w, GEMM_F32, 1100, 50, 230);
    outer_chains(w);
    check_outer(w, GEMM_BF16, 1, 70, 33);
    check_outer(w, GEMM_BF16, 150, 1100, 77);
}

/* The weights of norms as the loss's differences; sums of N_ROW values of size at most 9, 20 roundings each. */
static void norms_weights(world *w) {
    static const uint32_t pick[] = {8, 0, 2, 5};
    for (size_t k = 0; k < 2; k++) {
        size_t n = k ? 4 : N_ROW;
        float *from = floats(w, N_ROW * LDF), *norm = floats(w, D), *dout = floats(w, N_ROW * D), *dw = ones(D);
        step_test t = {STEP_RMSNORM,
                       n,
                       k ? pick : NULL,
                       doubles(from, N_ROW * LDF),
                       doubles(norm, D),
                       doubles(dout, N_ROW * D),
                       0};
        row_step step = {.kind = STEP_RMSNORM, .from = from, .ldf = LDF, .pick = t.pick, .w = norm, .eps = 1e-5f};
        assert_int_equal(op_norm_weights(w->o, dw, &step, dout, n, D, NULL), PGR_OK);
        for (size_t i = 0; i < D; i++)
            near("norm's weight", i, dw[i], 1 + difference(step_loss, &t, t.w + i), 9 * 20 * U * N_ROW + 1e-9);
        free(from), free(norm), free(dout), free(dw), free(t.from), free(t.w), free(t.dout);
    }
}

/* The same of heads, before rotation; more rows than a task has. */
static void heads_weights(world *w) {
    enum { ROWS = 37, HD = 20, ROPE = 12, WIDTH = (H + 2 * H_KV) * HD };
    float *qkv = floats(w, ROWS * WIDTH), *dqkv = floats(w, ROWS * WIDTH), *bias = floats(w, WIDTH),
          *norm = floats(w, 2 * HD), *cs = floats(w, ROWS * ROPE), *dw = ones(4 * HD),
          *again = copy(dqkv, ROWS * WIDTH);
    input_test t = {ROWS,
                    HD,
                    ROPE,
                    false,
                    true,
                    true,
                    doubles(qkv, ROWS * WIDTH),
                    doubles(dqkv, ROWS * WIDTH),
                    doubles(cs, ROWS * ROPE),
                    doubles(bias, WIDTH),
                    doubles(norm, HD),
                    doubles(norm + HD, HD),
                    0};
    attn_input in = {qkv, bias, bias + H * HD, bias + (H + H_KV) * HD, norm, norm + HD, 1e-6f, cs, ROPE, false};
    attn_input_grad g = {dqkv, &in, ROWS, H, H_KV, HD, dw, dw + HD};
    assert_int_equal(op_attn_input_back(w->o, &g, NULL), PGR_OK);
    attn_input_grad alone = {again, &in, ROWS, H, H_KV, HD, dw + 2 * HD, dw + 3 * HD};
    assert_int_equal(op_attn_input_back(w->alone, &alone, NULL), PGR_OK);
    assert_memory_equal(dw, dw + 2 * HD, 2 * HD * sizeof *dw);
    for (size_t i = 0; i < 2 * HD; i++) /* sums of up to ROWS * H values of size at most 16 */
        near("heads' norm", i, dw[i], 1 + difference(input_loss, &t, i < HD ? t.q_norm + i : t.k_norm + i - HD),
             ROWS * H * 16 * 24 * U + 1e-8);
    free(qkv), free(dqkv), free(bias), free(norm), free(cs), free(dw), free(again);
    free(t.qkv), free(t.dout), free(t.cs), free(t.bias), free(t.q_norm), free(t.k_norm);
}

/* Biases, and tables whose rows are named more than once. */
static void spreads(world *w) {
    enum { WIDTH = 300, TABLE = 7, ROWS = 5, LDY = WIDTH + 2 };
    static const size_t start[] = {0, 2, 2, 5, 5, 6};
    static const int32_t row[] = {3, 6, 0, 3, 3, 6};
    float *x = floats(w, ROWS * WIDTH), *factor = floats(w, 6), *dy = floats(w, ROWS * LDY);
    float *table = ones(TABLE * WIDTH), *plain = ones(TABLE * WIDTH), *db = ones(WIDTH);
    op_spread(w->o, &(row_spread){table, start, row, factor}, x, ROWS, WIDTH);
    op_spread(w->o, &(row_spread){.table = plain, .row = row}, x, ROWS, WIDTH);
    op_sum_rows(w->o, db, dy, LDY, ROWS, WIDTH);
    for (size_t i = 0; i < WIDTH; i++) {
        double want[TABLE] = {1, 1, 1, 1, 1, 1, 1}, flat[TABLE] = {1, 1, 1, 1, 1, 1, 1}, sum = 1;
        for (size_t m = 0; m < ROWS; m++) {
            sum += (double)dy[m * LDY + i], flat[row[m]] += (double)x[m * WIDTH + i];
            for (size_t j = start[m]; j < start[m + 1]; j++)
                want[row[j]] += (double)factor[j] * (double)x[m * WIDTH + i];
        }
        near("bias", i, db[i], sum, 20 * 6 * U); /* 6 values of size at most 4, 5 roundings */
        for (size_t k = 0; k < TABLE; k++) {
            near("table", k * WIDTH + i, table[k * WIDTH + i], want[k], 60 * 10 * U);
            near("plain table", k * WIDTH + i, plain[k * WIDTH + i], flat[k], 20 * 6 * U);
        }
    }
    free(x), free(factor), free(dy), free(table), free(plain), free(db);
}

/* ---- the tests ---- */

#define LEVEL_TEST(name)                                                                                               \
    static void name##_at_every_level(void **state) {                                                                  \
        (void)state;                                                                                                   \
        at_every_level(name);                                                                                          \
    }
LEVEL_TEST(steps)
LEVEL_TEST(products)
LEVEL_TEST(whole_numbers)
LEVEL_TEST(halves)
LEVEL_TEST(mixes)
LEVEL_TEST(inputs)
LEVEL_TEST(attention)
LEVEL_TEST(trees)
LEVEL_TEST(outers)
LEVEL_TEST(norms_weights)
LEVEL_TEST(heads_weights)
LEVEL_TEST(spreads)

int main(void) {
    limit = getenv("PGENRM_CPU");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(steps_at_every_level),         cmocka_unit_test(products_at_every_level),
        cmocka_unit_test(whole_numbers_at_every_level), cmocka_unit_test(test_scratch),
        cmocka_unit_test(halves_at_every_level),        cmocka_unit_test(mixes_at_every_level),
        cmocka_unit_test(inputs_at_every_level),        cmocka_unit_test(attention_at_every_level),
        cmocka_unit_test(trees_at_every_level),         cmocka_unit_test(outers_at_every_level),
        cmocka_unit_test(norms_weights_at_every_level), cmocka_unit_test(heads_weights_at_every_level),
        cmocka_unit_test(spreads_at_every_level),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
