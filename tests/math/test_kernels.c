/* test_kernels.c - every level of kernels that this CPU has against the reference or against double arithmetic. Sums of
 * products must agree bit for bit; where exp comes in, the bound is stated and derived. A row must not see its
 * neighbours. */
#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "math/cpu/kernels_level.h"
#include "math/ops.h"

#include <cmocka.h>

#include "levels.h"

#define U 0x1p-24 /* unit roundoff of fp32 */

static int setup(void **state) {
    stream = (rng){.seed = 7, .stream = 1};
    return find_levels(state);
}

static float *floats(size_t n) {
    float *x = malloc((n ? n : 1) * sizeof *x);
    for (size_t i = 0; i < n; i++) x[i] = (float)rng_normal(&stream);
    return x;
}

static void same(const char *what, const kernels *k, const float *a, const float *b, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (memcmp(a + i, b + i, sizeof *a) != 0)
            fail_msg("%s %s: value %zu is %a, expected %a", k->name, what, i, (double)a[i], (double)b[i]);
}

/* ---- products ---- */

static void check_tile(const kernels *k, size_t M, size_t K, size_t n) {
    size_t ldx = K + 3, ldo = GEMM_TILE + 5;
    float *x = floats(M * ldx), *tile = floats(K * GEMM_TILE), *want = floats(M * ldo);
    float *out = malloc(M * ldo * sizeof *out), *parts = malloc(M * ldo * sizeof *out);
    memcpy(out, want, M * ldo * sizeof *out); /* what lies beyond n must stay */
    memcpy(parts, want, M * ldo * sizeof *out);

    kernels_ref()->gemm_tile(want, ldo, x, ldx, tile, M, K, n);
    k->gemm_tile(out, ldo, x, ldx, tile, M, K, n);
    same("gemm_tile", k, out, want, M * ldo);

    size_t half = K / 2;
    k->gemm_tile(parts, ldo, x, ldx, tile, M, half, n);
    k->gemm_tile_add(parts, ldo, x + half, ldx, tile + half * GEMM_TILE, M, K - half, n);
    same("gemm_tile_add", k, parts, want, M * ldo);
    free(x), free(tile), free(want), free(out), free(parts);
}

static void test_gemm_tile(void **state) {
    (void)state;
    const size_t Ms[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 20}, Ks[] = {1, 2, 33, 100};
    const size_t ns[] = {1, 7, 8, 9, 15, 16, 17, 31, 33, 48, 50, 63, 64};
    FOR_LEVELS (l)
        for (size_t m = 0; m < sizeof Ms / sizeof *Ms; m++)
            for (size_t i = 0; i < sizeof Ks / sizeof *Ks; i++)
                for (size_t j = 0; j < sizeof ns / sizeof *ns; j++) check_tile(levels[l], Ms[m], Ks[i], ns[j]);
}

static void test_transpose(void **state) {
    (void)state;
    const size_t Ks[] = {1, 3, 4, 5, 8, 31, 100}, ns[] = {1, 7, 8, 15, 16, 17, 40, 63, 64};
    FOR_LEVELS (l)
        for (size_t i = 0; i < sizeof Ks / sizeof *Ks; i++)
            for (size_t j = 0; j < sizeof ns / sizeof *ns; j++) {
                size_t K = Ks[i], n = ns[j];
                float *rows = floats(n * K), *tile = floats(K * GEMM_TILE);
                levels[l]->transpose_tile(tile, rows, n, K);
                for (size_t a = 0; a < K; a++)
                    for (size_t b = 0; b < GEMM_TILE; b++)
                        assert_true(tile[a * GEMM_TILE + b] == (b < n ? rows[b * K + a] : 0.0f));
                free(rows), free(tile);
            }
}

/* ---- attention ---- */

/* ---- one row ---- */

/* exp within 1.25 ulp of the truth: fit and coefficients 0.1, rounding of r 0.25, of the polynomial's last two steps
 * 0.4, of the final sum 0.5 (in ulps of a result below 1 times a power of two, the worst case). */
static void test_exp(void **state) {
    (void)state;
    enum { N = 400003 };
    float *x = malloc(N * sizeof *x), *out = malloc(N * sizeof *out);
    for (size_t i = 0; i < N; i++) x[i] = -110.0f + (float)i * (200.0f / N);
    FOR_LEVELS (l) {
        double worst = 0;
        levels[l]->exp_sum(out, x, 0.0f, 1.0f, N);
        for (size_t i = 0; i < N; i++) {
            double truth = exp((double)x[i]);
            if (truth > 3.4028235677973366e38) { /* rounds to infinity */
                assert_true(isinf(out[i]));
                continue;
            }
            double ulp = truth < 0x1p-126 ? 0x1p-149 : ldexp(1, ilogb(truth) - 23);
            worst = fmax(worst, fabs((double)out[i] - truth) / ulp);
        }
        if (!(worst <= 1.25)) fail_msg("%s exp: %g ulp", levels[l]->name, worst);
        print_message("%s exp: worst %.3f ulp\n", levels[l]->name, worst);
    }
    free(x), free(out);
}

static void test_exp_sum(void **state) {
    (void)state;
    const size_t ns[] = {1, 2, 7, 8, 9, 15, 16, 17, 100, 1000};
    FOR_LEVELS (l)
        for (size_t i = 0; i < sizeof ns / sizeof *ns; i++) {
            size_t n = ns[i];
            float *x = floats(n + 1), *out = floats(n + 1), last = out[n];
            double sum = levels[l]->exp_sum(out, x, 0.5f, 1.5f, n), want = 0;
            for (size_t j = 0; j < n; j++) {
                float a = (x[j] - 0.5f) * 1.5f;
                assert_true(fabs((double)out[j] - exp((double)a)) <= 1.25 * 0x1p-23 * exp((double)a));
                want += (double)out[j];
            }
            assert_true(fabs(sum - want) <= (double)n * DBL_EPSILON * want);
            assert_true(out[n] == last);
            double again = levels[l]->exp_sum(x, x, 0.5f, 1.5f, n); /* in place */
            assert_true(again == sum);
            same("exp_sum in place", levels[l], x, out, n);
            free(x), free(out);
        }
    FOR_LEVELS (l) {
        float x[3] = {-INFINITY, 1e30f, NAN}, out[3];
        levels[l]->exp_sum(out, x, 0, 1, 3);
        assert_true(out[0] == 0.0f && isinf(out[1]) && isnan(out[2]));
    }
}

/* rmsnorm: the double sum is good to far below fp32; the quotient, two products round once each: 3 U. swiglu: exp 2.5
 * U, 1 + e, quotient and product U each, with second-order terms below 6 U. */
static void check_rows(const kernels *k, size_t n) {
    float *x = floats(n), *w = floats(n), *out = floats(n + 1), last = out[n];
    double ss = 0;
    for (size_t i = 0; i < n; i++) ss += (double)x[i] * x[i];
    double inv = 1.0 / sqrt(ss / (double)n + (double)1e-5f);
    k->rmsnorm(out, x, w, n, 1e-5f);
    for (size_t i = 0; i < n; i++) {
        double want = (double)w[i] * x[i] * inv;
        assert_true(fabs((double)out[i] - want) <= 3.01 * U * fabs(want));
    }
    assert_true(out[n] == last);

    float *gate = floats(n + 1), last_gate = gate[n];
    for (size_t i = 0; i < n; i++) gate[i] *= 20;
    memcpy(out, gate, n * sizeof *out);
    k->swiglu(gate, w, n);
    for (size_t i = 0; i < n; i++) {
        double want = (double)out[i] / (1 + exp(-(double)out[i])) * w[i];
        assert_true(fabs((double)gate[i] - want) <= 6 * U * fabs(want));
    }
    assert_true(gate[n] == last_gate);

    float top = x[0];
    for (size_t i = 0; i < n; i++) top = x[i] > top ? x[i] : top;
    assert_true(k->max(x, n) == top);

    double dot = 0,
           size = 0; /* products of fp32 are exact in double: n roundings of the sum at most, of each of both */
    for (size_t i = 0; i < n; i++) dot += (double)x[i] * w[i], size += fabs((double)x[i] * w[i]);
    assert_true(fabs(k->dot(x, w, n) - dot) <= 2 * (double)n * 0x1p-53 * size);

    memcpy(out, x, n * sizeof *out);
    k->add(out, w, n);
    for (size_t i = 0; i < n; i++) assert_true(out[i] == x[i] + w[i]);
    assert_true(out[n] == last);
    free(x), free(w), free(out), free(gate);
}

static void test_rows(void **state) {
    (void)state;
    const size_t ns[] = {1, 3, 7, 8, 9, 15, 16, 17, 31, 100, 576};
    FOR_LEVELS (l)
        for (size_t i = 0; i < sizeof ns / sizeof *ns; i++) check_rows(levels[l], ns[i]);
    FOR_LEVELS (l) { /* all negative: the padding of the last vector must not win */
        float x[19];
        for (size_t i = 0; i < 19; i++) x[i] = -5.0f - (float)i;
        assert_true(levels[l]->max(x, 19) == -5.0f);
        float gate[2] = {-200.0f, 200.0f}, up[2] = {1, 1};
        levels[l]->swiglu(gate, up, 2);
        assert_true(gate[0] == 0.0f && gate[1] == 200.0f);
    }
}

static void test_conversions(void **state) {
    (void)state;
    const size_t ns[] = {1, 15, 16, 17, 33, 576};
    FOR_LEVELS (l)
        for (size_t i = 0; i < sizeof ns / sizeof *ns; i++)
            for (int kind = 0; kind < 4; kind++) {
                size_t n = ns[i];
                float *x = floats(n);
                if (kind == 1) memset(x, 0, n * sizeof *x);
                if (kind == 2) x[n / 2] = NAN;
                if (kind == 3) x[0] = -INFINITY;
                uint16_t *a = calloc(n + 1, 2), *b = calloc(n + 1, 2);
                levels[l]->to_bf16(a, x, n);
                kernels_ref()->to_bf16(b, x, n);
                assert_memory_equal(a, b, 2 * (n + 1));
                int8_t *p = calloc(n + 1, 1);
                float s = kernel_to_int8_ref(p, x, n);
                if (kind == 0) { /* half a step, and the roundings of the step and of the quotient */
                    for (size_t j = 0; j < n; j++)
                        assert_true(fabs((double)p[j] * (double)s - (double)x[j]) <= (0.5 + 127 * 4 * U) * (double)s);
                } else {
                    assert_true(kind == 1 ? s == 0.0f : isnan(s));
                }
                free(x), free(a), free(b), free(p);
            }
}

static void check_rope(size_t dim) {
    enum { MOST = 128 };
    float *x = floats(MOST), cs[MOST], out[MOST];
    for (size_t i = 0; i < dim / 2; i++) cs[2 * i] = cosf((float)i), cs[2 * i + 1] = sinf((float)i);
    FOR_LEVELS (l)
        for (int interleaved = 0; interleaved < 2; interleaved++) {
            memcpy(out, x, sizeof out);
            levels[l]->rope(out, cs, dim, interleaved);
            for (size_t i = 0; i < dim / 2; i++) {
                size_t a = interleaved ? 2 * i : i, b = interleaved ? a + 1 : i + dim / 2;
                assert_true(out[a] == x[a] * cs[2 * i] - x[b] * cs[2 * i + 1]);
                assert_true(out[b] == x[a] * cs[2 * i + 1] + x[b] * cs[2 * i]);
            }
            assert_memory_equal(out + dim, x + dim, (MOST - dim) * sizeof *x);
        }
    free(x);
}

static void test_rope(void **state) {
    (void)state;
    const size_t dims[] = {20, 16, 32, 64, 96, 128};
    for (size_t i = 0; i < sizeof dims / sizeof *dims; i++) check_rope(dims[i]);
}

static void test_choice(void **state) {
    (void)state;
    limit_cpu("ref");
    assert_ptr_equal(kernels_best(), kernels_ref());
    for (size_t i = 0; cpu_level_at(i); i++) {
        limit_cpu(cpu_level_at(i)->name);
        assert_ptr_equal(cpu_best(), cpu_level_at(i));
        assert_ptr_equal(kernels_best(), cpu_level_at(i)->kernels);
        assert_string_equal(ops_cpu_name(), cpu_level_at(i)->name);
    }
    const cpu_level *last = cpu_best();
    limit_cpu("amx"); /* the highest name there is */
    assert_ptr_equal(cpu_best(), last);
    limit_cpu("pentium"); /* warned of */
    assert_ptr_equal(cpu_best(), last);
    limit_cpu("");
    assert_ptr_equal(cpu_best(), last);
    limit_cpu(NULL);
    assert_ptr_equal(kernels_best(), levels[n_level - 1]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gemm_tile), cmocka_unit_test(test_transpose), cmocka_unit_test(test_exp),
        cmocka_unit_test(test_exp_sum),   cmocka_unit_test(test_rows),      cmocka_unit_test(test_conversions),
        cmocka_unit_test(test_rope),      cmocka_unit_test(test_choice),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
