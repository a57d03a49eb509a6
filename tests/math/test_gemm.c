/* test_gemm.c - products with weights in every form: against double arithmetic with derived bounds; the same bits for a
 * row whatever M, the threads and the callers beside; every failing allocation gives PGR_E_MEM and leaves nothing
 * behind. */
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "math/cpu/gemm.h"
#include "math/cpu/level.h"

#include <cmocka.h> /* after ours: it has a macro named fail */

#include "levels.h"

#define U      0x1p-24 /* unit roundoff of fp32 */
#define U_BF16 0x1p-8  /* of bf16: 8 bits; shows only where K is 1 */

static const gemm_form forms[] = {GEMM_FILE, GEMM_F32, GEMM_BF16, GEMM_INT8};
static const char *const form_names[] = {"file", "f32", "bf16", "int8"};

static float *floats(size_t n) {
    float *x = malloc(n * sizeof *x);
    for (size_t i = 0; i < n; i++) x[i] = (float)rng_normal(&stream);
    return x;
}

static gemm_weights *create(gemm_form form, quant_type t, const void *data, size_t N, size_t K, pool *threads) {
    gemm_weights *w = NULL;
    assert_int_equal(gemm_create(form, t, data, N, K, threads, &w, NULL), PGR_OK);
    return w;
}

/* ---- accuracy ---- */

/* int8: a factor is off by half a step of its block. A step is the block's largest value / 127; that of weights is
 * rounded up to bf16, by at most 2^-7 of it (and U-sized errors of steps and quotients: 0.1 %). */
static double int8_bound(const float *x, const float *w, size_t K) {
    double off = 0;
    for (size_t k0 = 0; k0 < K; k0 += INT8_BLOCK) {
        double x_top = 0, w_top = 0, x_sum = 0, w_sum = 0, n = 0;
        for (size_t k = k0; k < K && k < k0 + INT8_BLOCK; k++, n++) {
            x_top = fmax(x_top, fabs((double)x[k]));
            w_top = fmax(w_top, fabs((double)w[k]));
            x_sum += fabs((double)x[k]);
            w_sum += fabs((double)w[k]);
        }
        double dx = 1.001 * x_top / 254, dw = 1.001 * (1 + 0x1p-7) * w_top / 254;
        off += x_sum * dw + w_sum * dx + n * dx * dw;
    }
    return off;
}

/* What a form may be off by at one output. fp32: K products and sums, (K + 1) U sum|xw| in any order. bf16: both
 * factors are off by U_BF16 first. */
static double bound(gemm_form form, const float *x, const float *w, size_t K) {
    double size = 0;
    for (size_t k = 0; k < K; k++) size += fabs((double)x[k] * w[k]);
    double fp32 = (double)(K + 1) * U * size;
    if (form == GEMM_BF16) return 1.01 * fp32 + (2 * U_BF16 + U_BF16 * U_BF16) * size;
    if (form == GEMM_INT8) return 1.01 * fp32 + int8_bound(x, w, K);
    return 1.01 * fp32;
}

static void check_values(gemm_form form, const float *out, const float *x, const float *w, size_t M, size_t N,
                         size_t K) {
    for (size_t m = 0; m < M; m++)
        for (size_t n = 0; n < N; n++) {
            double want = 0;
            for (size_t k = 0; k < K; k++) want += (double)x[m * K + k] * w[n * K + k];
            double diff = fabs((double)out[m * N + n] - want), tol = bound(form, x + m * K, w + n * K, K);
            if (!(diff <= tol)) fail_msg("%s (%zu, %zu): off by %g, bound %g", form_names[form], m, n, diff, tol);
        }
}

static void test_forms(void **state) {
    (void)state;
    const size_t shapes[][2] = {{64, 32}, {1, 64}, {200, 96}, {70, 33}, {33, 1}, {16, 4097}, {576, 64}, {2100, 64}};
    for (size_t f = 0; f < 4; f++)
        for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
            size_t N = shapes[s][0], K = shapes[s][1], M = 5;
            float *x = floats(M * K), *w = floats(N * K), *out = floats(M * N);
            gemm_weights *g = create(forms[f], QUANT_F32, w, N, K, NULL);
            if (g) {
                assert_true(forms[f] == GEMM_FILE ? gemm_bytes(g) < 1000 : gemm_bytes(g) >= N * K);
                assert_int_equal(gemm_run(g, out, x, M, NULL, NULL), PGR_OK);
                check_values(forms[f], out, x, w, M, N, K);
            }
            gemm_free(g);
            free(x), free(w), free(out);
        }
}

/* Blocks with finite scales of moderate size. */
static uint8_t *random_blocks(quant_type t, size_t n) {
    size_t bytes = quant_row_bytes(t, n), block = quant_row_bytes(t, quant_block(t));
    uint8_t *b = malloc(bytes);
    for (size_t i = 0; i < bytes; i++) b[i] = (uint8_t)rng_below(&stream, 256);
    for (size_t i = 0; i < bytes; i += block)
        for (size_t j = 0; j < block; j += 2) {
            bool scale = t == QUANT_Q6_K ? j == 208
                                         : j == 0 || (j == 2 && t != QUANT_Q4_0 && t != QUANT_Q5_0 && t != QUANT_Q8_0);
            if (t == QUANT_F32 ? j == 2 : scale)
                b[i + j + 1] = (b[i + j + 1] & 0x83) | 0x2c; /* exponent in the middle */
        }
    if (t == QUANT_BF16 || t == QUANT_F32)
        for (size_t i = 0; i < bytes; i += block) b[i + block - 1] = (b[i + block - 1] & 0x80) | 0x3e;
    return b;
}

static void check_type(quant_type t, gemm_form form) {
    enum { N = 70, K = 768, M = 3 };
    uint8_t *data = random_blocks(t, (size_t)N * K);
    float *w = malloc(sizeof *w * N * K), *x = floats(M * K), *out = floats(M * N);
    quant_dequant(t, w, data, (size_t)N * K);
    gemm_weights *g = create(form, t, data, N, K, NULL);
    if (g) {
        assert_int_equal(gemm_run(g, out, x, M, NULL, NULL), PGR_OK);
        check_values(form, out, x, w, M, N, K);
    }
    gemm_free(g);
    free(data), free(w), free(x), free(out);
}

static void test_types(void **state) {
    (void)state;
    for (size_t f = 0; f < 4; f++) {
#define X(name, id, n, bytes) check_type(QUANT_##name, forms[f]);
        QUANT_TYPES(X)
#undef X
    }
}

/* ---- a row depends on itself alone ---- */

enum { M_MAX = 300 };

static void check_rows(const gemm_weights *g, const char *what, const float *want, const float *x, size_t M, size_t N,
                       pool *threads) {
    float *out = malloc(M * N * sizeof *out);
    memset(out, 0xff, M * N * sizeof *out);
    assert_int_equal(gemm_run(g, out, x, M, threads, NULL), PGR_OK);
    for (size_t i = 0; i < M * N; i++)
        if (memcmp(out + i, want + i, sizeof *out) != 0)
            fail_msg("%s N %zu M %zu threads %zu: row %zu column %zu is %a, alone %a", what, N, M, pool_size(threads),
                     i / N, i % N, (double)out[i], (double)want[i]);
    free(out);
}

static void check_invariance(gemm_form form, quant_type t, size_t N, size_t K, pool *const pools[3]) {
    uint8_t *data = random_blocks(t, N * K);
    float *x = floats(M_MAX * K), *want = malloc(M_MAX * N * sizeof *want);
    gemm_weights *g = create(form, t, data, N, K, pools[1]);
    for (size_t m = 0; g && m < M_MAX; m++)
        assert_int_equal(gemm_run(g, want + m * N, x + m * K, 1, NULL, NULL), PGR_OK);
    for (size_t p = 0; g && p < 3; p++) {
        for (size_t M = 1; M <= 33; M++) check_rows(g, form_names[form], want, x, M, N, pools[p]);
        check_rows(g, form_names[form], want, x, 64, N, pools[p]);
        check_rows(g, form_names[form], want, x, 100, N, pools[p]);
        check_rows(g, form_names[form], want, x, 300, N, pools[p]);
        check_rows(g, form_names[form], want + 7 * N, x + 7 * K, 5, N, pools[p]);
    }
    gemm_free(g);
    free(data), free(x), free(want);
}

static void test_invariance(void **state) {
    (void)state;
    pool *pools[3] = {0};
    for (int i = 0; i < 3; i++) assert_int_equal(pool_create(i + 1, &pools[i], NULL), PGR_OK);
    for (size_t f = 0; f < 4; f++) {
        check_invariance(forms[f], QUANT_Q4_1, 192, 576, pools);
        check_invariance(forms[f], QUANT_Q8_0, 100, 1536, pools);
        check_invariance(forms[f], QUANT_F32, 37, 45, pools);
        check_invariance(forms[f], QUANT_Q4_1, 2112, 32, pools);
    }
    check_invariance(GEMM_FILE, QUANT_Q4_K, 96, 512, pools);
    for (int i = 0; i < 3; i++) pool_free(pools[i]);
}

/* ---- the levels agree, bit by bit ---- */

/* A product at a level. */
static void run_at(const cpu_level *l, gemm_form form, quant_type t, const void *data, size_t N, size_t K,
                   const float *x, size_t M, float *out) {
    limit_cpu(l->name);
    gemm_weights *g = create(form, t, data, N, K, NULL);
    assert_int_equal(gemm_run(g, out, x, M, NULL, NULL), PGR_OK);
    gemm_free(g);
    limit_cpu(NULL);
}

/* Whether plain C has the bits of the level's form: not where AVX512_BF16 multiplies pairs, or a level rounds
 * weights of Q4_1 to bytes. */
static bool as_defined(const cpu_level *l, gemm_form form, quant_type t) {
    if (form == GEMM_INT8) return t != QUANT_Q4_1 || l->q4 != NULL;
    return form != GEMM_BF16 || l->bf16->quad_bytes == gemm_f32_quad_bytes;
}

static void check_levels(gemm_form form, quant_type t, const void *data, size_t N, size_t K, const float *x, size_t M) {
    float *want = malloc(M * N * sizeof *want), *out = malloc(M * N * sizeof *out);
    run_at(cpu_level_at(0), form, t, data, N, K, x, M, want);
    for (size_t l = 1; cpu_level_at(l); l++) {
        if (!as_defined(cpu_level_at(l), form, t)) continue;
        run_at(cpu_level_at(l), form, t, data, N, K, x, M, out);
        for (size_t i = 0; i < M * N; i++)
            if (memcmp(out + i, want + i, sizeof *out) != 0 && !(isnan(out[i]) && isnan(want[i])))
                fail_msg("%s %s M %zu: row %zu column %zu is %a, plain C %a", cpu_level_at(l)->name, form_names[form],
                         M, i / N, i % N, (double)out[i], (double)want[i]);
    }
    free(want), free(out);
}

/* Rows with no numbers, zeros, tiny values; every number of rows that the kernels tell apart. GEMM_F32 by tiles is
 * GEMM_FILE's arithmetic. */
static void test_levels(void **state) {
    (void)state;
    enum {
        N = 50,
        K = 160,
        M = 49,
        WIDE = 4 * K - 5
    }; /* more than a block of rows; more blocks than go side by side */
    uint8_t *data = random_blocks(QUANT_Q4_1, N * K);
    float *x = floats(M * K), *file = floats(M * N), *f32 = floats(M * N);
    x[3 * K + 40] = INFINITY, x[4 * K + 150] = NAN;
    memset(x + 5 * K, 0, K * sizeof *x);
    for (size_t k = 0; k < K; k++) x[6 * K + k] *= 1e-40f, x[7 * K + k] *= 1e30f;
    for (size_t f = 0; f < 4; f++)
        for (size_t m = 1; m <= M; m++) check_levels(forms[f], QUANT_Q4_1, data, N, K, x, m);
    float *w = floats(N * WIDE);
    for (size_t m = 1; m <= M; m++) check_levels(GEMM_INT8, QUANT_F32, w, N, K, x, m);
    for (size_t m = 7; m <= 23; m += 4) check_levels(GEMM_INT8, QUANT_F32, w, N, WIDE, x, m / 2);
    for (size_t m = 1; m <= M / 4; m++) check_levels(GEMM_F32, QUANT_F32, w, N, WIDE, x, m);
    free(w);
    run_at(cpu_level_at(0), GEMM_FILE, QUANT_Q4_1, data, N, K, x, M, file);
    run_at(cpu_level_at(0), GEMM_F32, QUANT_Q4_1, data, N, K, x, M, f32);
    assert_memory_equal(file, f32, sizeof *file * M * N);
    free(data), free(x), free(file), free(f32);
}

/* Packed weights: blocks that are cut short, zeros, too small, huge or no numbers. */
static void test_level_packing(void **state) {
    (void)state;
    enum { N = 21, M = 3 };
    const size_t Ks[] = {75, 64, 1, 3, 66, 127, 132};
    for (size_t i = 0; i < sizeof Ks / sizeof *Ks; i++) {
        size_t K = Ks[i], last = K - 1;
        float *w = floats(N * K), *x = floats(M * K), *out = floats(M * N);
        memset(w + 2 * K, 0, K * sizeof *w);
        for (size_t k = 0; k < K; k++) w[3 * K + k] *= 1e-40f, w[4 * K + k] *= 1e37f;
        w[5 * K + last / 2] = NAN, w[6 * K + last / 3] = INFINITY, w[7 * K + last] = -INFINITY, w[8 * K + last] = 1e30f;
        check_levels(GEMM_INT8, QUANT_F32, w, N, K, x, M);
        check_levels(GEMM_BF16, QUANT_F32, w, N, K, x, M);
        run_at(cpu_level_at(0), GEMM_INT8, QUANT_F32, w, N, K, x, M, out);
        for (size_t n = 5; n < 8; n++) assert_true(isnan(out[n]));
        for (size_t n = 8; n < N; n++) assert_true(isfinite(out[n]));
        free(w), free(x), free(out);
    }
}

/* Bytes at both ends of their range, of either sign: where sums of 16 bits saturate (255 x 127 x 2) a product without
 * wider ones is wrong. Scales are powers of two, so the result is the integer sum: 127 x 127 for every value of K. */
static void test_saturation(void **state) {
    (void)state;
    enum { N = 33, K = 192, M = 9 };
    float *w = floats(N * K), *x = floats(M * K), *out = floats(M * N);
    for (size_t kind = 0; kind < 4; kind++) {
        for (size_t i = 0; i < N * K; i++) w[i] = kind & 1 && i % 2 ? -127.0f : 127.0f;
        for (size_t i = 0; i < M * K; i++) x[i] = (kind & 2) && i % 2 ? -127.0f : kind == 1 ? -127.0f : 127.0f;
        check_levels(GEMM_INT8, QUANT_F32, w, N, K, x, M);
        for (size_t l = 0; cpu_level_at(l); l++) {
            run_at(cpu_level_at(l), GEMM_INT8, QUANT_F32, w, N, K, x, M, out);
            double want = kind == 1 || kind == 2 ? 0 : 127.0 * 127.0 * K;
            for (size_t i = 0; i < M * N; i++) assert_true((double)out[i] == want);
        }
    }
    free(w), free(x), free(out);
}

/* The same of Q4_1, d 1 and minimum 0: 15 x 127 in every product, eight pairs of which must fit 16 bits. */
static void test_q4_saturation(void **state) {
    (void)state;
    enum { N = 37, K = 192, M = 9, BYTES = K / 32 * 20 };
    uint8_t *data = malloc(N * BYTES);
    float *x = floats(M * K), *out = floats(M * N);
    for (size_t i = 0; i < N * BYTES; i++) data[i] = i % 20 == 1 ? 0x3c : i % 20 < 4 ? 0 : 0xff;
    for (int sign = -1; sign <= 1; sign += 2) {
        for (size_t i = 0; i < M * K; i++) x[i] = (float)sign * 127.0f;
        for (size_t l = 0; cpu_level_at(l); l++) {
            run_at(cpu_level_at(l), GEMM_INT8, QUANT_Q4_1, data, N, K, x, M, out);
            double want = sign * 15.0 * 127.0 * K, bound = cpu_level_at(l)->q4 ? 0 : want * sign * 0x1p-7;
            for (size_t i = 0; i < M * N; i++) assert_true(fabs((double)out[i] - want) <= bound);
        }
    }
    free(data), free(x), free(out);
}

/* ---- stacks, and what comes before and after a product ---- */

enum { STACK_K = 256, STACK_N = 37 + 64 + 130, STACK_M = 30, STACK_LDX = STACK_K + 3 };

/* A stack of three types gives the columns of its parts, bit by bit. */
static void check_stack(gemm_form form, pool *threads) {
    const quant_type types[] = {QUANT_Q4_K, QUANT_F16, QUANT_Q8_0};
    const size_t N[] = {37, 64, 130};
    gemm_part parts[3];
    float *x = floats(STACK_M * STACK_K), *out = floats(STACK_M * STACK_N), *one = floats(STACK_M * 130);
    for (size_t i = 0; i < 3; i++) parts[i] = (gemm_part){types[i], random_blocks(types[i], N[i] * STACK_K), N[i]};
    gemm_weights *g = NULL;
    slab memory = {0};
    pgr_status status = gemm_create_stack(form, parts, 3, STACK_K, &memory, threads, &g, NULL);
    if (status == PGR_OK) assert_int_equal(gemm_run(g, out, x, STACK_M, threads, NULL), PGR_OK);
    for (size_t i = 0, n0 = 0; g && i < 3; n0 += N[i++]) {
        gemm_weights *part = create(form, types[i], parts[i].data, N[i], STACK_K, threads);
        assert_int_equal(gemm_run(part, one, x, STACK_M, threads, NULL), PGR_OK);
        for (size_t m = 0; m < STACK_M; m++)
            assert_memory_equal(out + m * STACK_N + n0, one + m * N[i], N[i] * sizeof *out);
        gemm_free(part);
    }
    gemm_free(g);
    slab_free(&memory);
    for (size_t i = 0; i < 3; i++) free((void *)(uintptr_t)parts[i].data);
    free(x), free(out), free(one);
}

/* Rows made by `before` in rows further apart, and added to out: the bits of a plain product and one addition. */
static void check_call(gemm_form form, size_t M, pool *threads) {
    enum { N = 131 };
    uint8_t *data = random_blocks(QUANT_Q4_1, N * STACK_K);
    float *from = floats(STACK_M * STACK_K), *x = floats(STACK_M * STACK_LDX);
    float *untouched = malloc(STACK_M * STACK_LDX * sizeof *x), *plain = floats(STACK_M * N),
          *out = floats(STACK_M * N), *want = malloc(STACK_M * N * sizeof *want);
    gemm_weights *g = create(form, QUANT_Q4_1, data, N, STACK_K, threads);
    if (g) {
        row_step copy = {.kind = STEP_COPY, .from = from, .ldf = STACK_K};
        step_job make = {&copy, x, STACK_LDX, STACK_K, kernels_best()};
        memcpy(untouched, x, STACK_M * STACK_LDX * sizeof *x);
        assert_int_equal(gemm_run(g, plain, from, M, threads, NULL), PGR_OK);
        memcpy(want, out, STACK_M * N * sizeof *out);
        for (size_t i = 0; i < M * N; i++) want[i] += plain[i];
        gemm_call call = {.out = out, .x = x, .ldx = STACK_LDX, .M = M, .before = &make, .add = true};
        assert_int_equal(gemm_run_call(g, &call, threads, NULL), PGR_OK);
        assert_memory_equal(out, want, STACK_M * N * sizeof *out);
        for (size_t m = 0; m < STACK_M; m++)
            assert_memory_equal(x + m * STACK_LDX, m < M ? from + m * STACK_K : untouched + m * STACK_LDX,
                                STACK_K * sizeof *x);
    }
    gemm_free(g);
    free(data), free(from), free(x), free(untouched), free(plain), free(out), free(want);
}

static void test_stack_and_call(void **state) {
    (void)state;
    for (int n = 0; n < 4; n++) {
        pool *threads = NULL;
        if (n > 0) assert_int_equal(pool_create(n, &threads, NULL), PGR_OK);
        for (size_t f = 0; f < 4; f++) {
            check_stack(forms[f], threads);
            const size_t Ms[] = {1, 2, 5, 24, 25, STACK_M};
            for (size_t i = 0; i < sizeof Ms / sizeof *Ms; i++) check_call(forms[f], Ms[i], threads);
        }
        pool_free(threads);
    }
}

/* Once the pool has its memory, products of our kernels ask for none. */
static void test_no_allocation(void **state) {
    (void)state;
    enum { N = 96, K = 64, M = 24 };
    float *w = floats(N * K), *x = floats(M * K), *out = floats(M * N);
    pool *threads = NULL;
    assert_int_equal(pool_create(2, &threads, NULL), PGR_OK);
    for (size_t f = 0; f < 4; f++) {
        gemm_weights *g = create(forms[f], QUANT_F32, w, N, K, threads);
        if (!g) continue;
        assert_int_equal(gemm_run(g, out, x, M, threads, NULL), PGR_OK);
        long before = mem_count();
        for (size_t m = 1; m <= M; m++) assert_int_equal(gemm_run(g, out, x, m, threads, NULL), PGR_OK);
        assert_int_equal(mem_count(), before);
        gemm_free(g);
    }
    pool_free(threads);
    free(w), free(x), free(out);
}

/* ---- several callers on one w ---- */

typedef struct caller {
    const gemm_weights *g;
    pool *threads;
    const float *x, *want;
    size_t N, K;
    bool bad;
} caller;

static void *call(void *arg) {
    caller *c = arg;
    float *out = malloc(33 * c->N * sizeof *out);
    for (size_t M = 1; M <= 33; M++) {
        if (gemm_run(c->g, out, c->x, M, c->threads, NULL) != PGR_OK) c->bad = true;
        if (memcmp(out, c->want, M * c->N * sizeof *out) != 0) c->bad = true;
    }
    free(out);
    return NULL;
}

static void test_callers(void **state) {
    (void)state;
    enum { N = 130, K = 64, CALLERS = 3 };
    pool *threads = NULL;
    assert_int_equal(pool_create(2, &threads, NULL), PGR_OK);
    uint8_t *data = random_blocks(QUANT_Q8_0, N * K);
    float *x = floats(33 * K), *want = floats(33 * N);
    for (size_t f = 0; f < 4; f++) {
        gemm_weights *g = create(forms[f], QUANT_Q8_0, data, N, K, threads);
        if (!g) continue;
        for (size_t m = 0; m < 33; m++) gemm_run(g, want + m * N, x + m * K, 1, NULL, NULL);
        pthread_t thread[CALLERS];
        caller callers[CALLERS];
        for (int i = 0; i < CALLERS; i++) {
            callers[i] = (caller){g, i ? NULL : threads, x, want, N, K, false};
            pthread_create(&thread[i], NULL, call, &callers[i]);
        }
        for (int i = 0; i < CALLERS; i++) pthread_join(thread[i], NULL);
        for (int i = 0; i < CALLERS; i++) assert_false(callers[i].bad);
        gemm_free(g);
    }
    pool_free(threads);
    free(data), free(x), free(want);
}

/* ---- failure ---- */

static void test_out_of_memory(void **state) {
    (void)state;
    enum { N = 96, K = 32, M = 3 };
    float *w = floats(N * K), *x = floats(M * K), *out = floats(M * N);
    for (size_t f = 0; f < 4; f++) {
        gemm_weights *g = create(forms[f], QUANT_F32, w, N, K, NULL);
        if (!g) continue; /* named by create */
        gemm_free(g);
        long live = mem_live();
        bool done = false;
        for (long nth = 1; !done; nth++) {
            assert_true(nth < 100);
            pgr_error err = {0};
            g = NULL;
            mem_fail_nth(nth);
            pgr_status status = gemm_create(forms[f], QUANT_F32, w, N, K, NULL, &g, &err);
            if (status == PGR_OK) status = gemm_run(g, out, x, M, NULL, &err);
            mem_fail_nth(0);
            done = status == PGR_OK;
            if (!done) {
                assert_int_equal(status, PGR_E_MEM);
                assert_true(err.message[0] != 0);
            }
            if (g) { /* a failed run leaves the weights usable */
                assert_int_equal(gemm_run(g, out, x, M, NULL, NULL), PGR_OK);
                check_values(forms[f], out, x, w, M, N, K);
            }
            gemm_free(g);
            assert_int_equal(mem_live(), live);
        }
    }
    free(w), free(x), free(out);
}

static void test_arguments(void **state) {
    (void)state;
    uint8_t data[64] = {0};
    gemm_weights *g = NULL;
    pgr_error err;
    assert_int_equal(gemm_create(GEMM_FILE, QUANT_Q4_1, data, 1, 33, NULL, &g, &err), PGR_E_ARG);
    assert_int_equal(gemm_create(GEMM_FILE, QUANT_Q4_1, data, 0, 32, NULL, &g, &err), PGR_E_ARG);
    assert_int_equal(gemm_create(GEMM_FILE, (quant_type)39, data, 1, 32, NULL, &g, &err), PGR_E_UNSUPPORTED);
    const gemm_part parts[] = {{QUANT_Q4_1, data, 1}, {QUANT_Q4_K, data, 1}};
    assert_int_equal(gemm_create_stack(GEMM_FILE, parts, 0, 32, NULL, NULL, &g, &err), PGR_E_ARG);
    assert_int_equal(gemm_create_stack(GEMM_FILE, parts, 2, 32, NULL, NULL, &g, &err), PGR_E_ARG);
    assert_string_equal(err.message, "weights of 1 x 32 values in type Q4_K");
    assert_null(g);
    gemm_free(NULL);
    assert_int_equal(gemm_create(GEMM_FILE, QUANT_Q4_1, data, 1, 32, NULL, &g, &err), PGR_OK);
    assert_int_equal(gemm_run(g, NULL, NULL, 0, NULL, &err), PGR_OK);
    gemm_free(g);
}

static int setup(void **state) {
    (void)state;
    stream = (rng){.seed = 11, .stream = 2};
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forms),         cmocka_unit_test(test_types),
        cmocka_unit_test(test_invariance),    cmocka_unit_test(test_levels),
        cmocka_unit_test(test_callers),       cmocka_unit_test(test_out_of_memory),
        cmocka_unit_test(test_arguments),     cmocka_unit_test(test_stack_and_call),
        cmocka_unit_test(test_no_allocation), cmocka_unit_test(test_level_packing),
        cmocka_unit_test(test_saturation),    cmocka_unit_test(test_q4_saturation),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
