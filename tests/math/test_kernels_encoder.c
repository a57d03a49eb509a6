/* test_kernels_encoder.c - LayerNorm and GELU of every level of kernels that this CPU has,
 * against double arithmetic. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "levels.h"
#include "math/cpu/kernels.h"

#define U      0x1p-24 /* unit roundoff of fp32 */
#define LEN(a) (sizeof(a) / sizeof *(a))

static int setup(void **state) {
    stream = (rng){.seed = 11, .stream = 1};
    return find_levels(state);
}

static void fill(float *x, size_t n, double scale, double shift) {
    for (size_t i = 0; i < n; i++) x[i] = (float)(rng_normal(&stream) * scale + shift);
}

/* The sums are double. In units of U, with d = (x - mean) / sd: the mean as a float (|mean| / sd), the difference, 1 /
 * sd and their product (1 each of d), the last addition (1 of the result). */
static void check_layernorm(const kernels *k, size_t n, double shift) {
    float x[600], w[600], b[600], out[600];
    fill(x, n, 2.0, shift), fill(w, n, 1.0, 0), fill(b, n, 1.0, 0), fill(out, n + 1, 1.0, 0);
    double sum = 0, ss = 0;
    for (size_t i = 0; i < n; i++) sum += (double)x[i];
    for (size_t i = 0; i < n; i++) ss += ((double)x[i] - sum / (double)n) * ((double)x[i] - sum / (double)n);
    double mean = sum / (double)n, inv = 1 / sqrt(ss / (double)n + (double)1e-12f);
    float last = out[n];
    k->layernorm(out, x, w, b, n, 1e-12f);
    for (size_t i = 0; i < n; i++) {
        double d = ((double)x[i] - mean) * inv, want = d * (double)w[i] + (double)b[i];
        double bound = fabs((double)w[i]) * (3.1 * fabs(d) + 1.1 * fabs(mean) * inv) + 1.1 * fabs(want);
        if (!(fabs((double)out[i] - want) <= bound * U + 1e-30))
            fail_msg("%s layernorm of %zu: value %zu is %g, expected %g", k->name, n, i, (double)out[i], want);
    }
    assert_true(out[n] == last);
    k->layernorm(x, x, w, b, n, 1e-12f); /* in place */
    assert_memory_equal(x, out, n * sizeof *x);
}

static void layernorm_is_exact_to_rounding(void **state) {
    (void)state;
    const size_t ns[] = {2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 384, 577};
    FOR_LEVELS (l)
        for (size_t i = 0; i < LEN(ns); i++) {
            check_layernorm(levels[l], ns[i], 0);
            check_layernorm(levels[l], ns[i], 50);
        }
    float x[20], w[20], b[20];
    for (size_t i = 0; i < 20; i++) x[i] = 3, w[i] = 2, b[i] = (float)i; /* no variance: the bias alone */
    FOR_LEVELS (l) {
        float out[20];
        levels[l]->layernorm(out, x, w, b, 20, 1e-12f);
        assert_memory_equal(out, b, sizeof b);
    }
}

static double gelu(double x) {
    return 0.5 * x * erfc(-x / sqrt(2.0));
}
static double gelu_tanh(double x) {
    return x / (1 + exp(-2 * sqrt(2 / 3.14159265358979323846) * (x + 0.044715 * x * x * x)));
}

/* The part below zero is at most 0.17: times (its exponent's error 3 + exp 2.5 + products 3) U, and U of the result.
 * The fit adds 3.2e-10. Together below 1e-7 + U |result|, the promise. gelu_tanh: u is good to 3 U, times |u| below 1
 * where the result is not yet x or 0; exp; sum and quotient U each of the result. */
static void check_gelu(const kernels *k, const char *name, void (*run)(float *, size_t), double (*exact)(double),
                       double roundings) {
    enum { N = 20001 };
    float *x = malloc(N * sizeof *x), *out = malloc(N * sizeof *out);
    double worst = 0;
    for (size_t i = 0; i < N; i++) x[i] = (float)((double)i * 24.0 / (N - 1) - 12.0);
    memcpy(out, x, N * sizeof *x);
    run(out, N);
    for (size_t i = 0; i < N; i++) {
        double want = exact((double)x[i]), error = fabs((double)out[i] - want) - roundings * U * fabs(want);
        if (!(error <= 1e-7))
            fail_msg("%s %s(%g) is %g, expected %g", k->name, name, (double)x[i], (double)out[i], want);
        if (error > worst) worst = error;
    }
    print_message("%s %s: largest error %.2g beyond the last roundings\n", k->name, name, worst);
    float edge[] = {0.0f, -0.0f, 1e30f, -1e30f, 40.0f, -40.0f, NAN};
    run(edge, LEN(edge));
    assert_true(edge[0] == 0 && edge[1] == 0 && edge[2] == 1e30f && edge[3] == 0 && edge[4] == 40 && edge[5] == 0);
    assert_true(isnan(edge[6]));
    for (size_t n = 1; n < 40; n++) { /* the same value wherever it stands, nothing beyond n */
        memcpy(out, x + 9000, 40 * sizeof *x);
        run(out, n);
        for (size_t i = 0; i < 40; i++) {
            float one = x[9000 + i];
            if (i < n) run(&one, 1);
            assert_true(out[i] == one);
        }
    }
    free(x), free(out);
}

static void gelu_is_good_to_1e_7(void **state) {
    (void)state;
    FOR_LEVELS (l) {
        check_gelu(levels[l], "gelu", levels[l]->gelu, gelu, 1);
        check_gelu(levels[l], "gelu_tanh", levels[l]->gelu_tanh, gelu_tanh, 2);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(layernorm_is_exact_to_rounding),
        cmocka_unit_test(gelu_is_good_to_1e_7),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
