/* test_singular.c - eigenvalues against matrices whose eigenvalues are known, singular values against numpy,
 * the suggested k. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "../base/faults.h"
#include "base/file.h"
#include "base/json.h"
#include "base/rng.h"
#include "prototype/singular.h"

/* The second difference matrix of size n has the eigenvalues 2 - 2 cos(pi j / (n + 1)); a reflection hides its form. */
static void test_eigenvalues(void **state) {
    (void)state;
    enum { N = 60 };
    static double a[N * N], b[N * N], h[N * N];
    double off[N], values[N], v[N], norm2 = 0;
    rng g = {.seed = 3};
    for (size_t i = 0; i < N; i++) {
        v[i] = rng_normal(&g);
        norm2 += v[i] * v[i];
    }
    for (size_t i = 0; i < N; i++)
        for (size_t j = 0; j < N; j++) {
            a[i * N + j] = i == j ? 2 : i + 1 == j || j + 1 == i ? -1 : 0;
            h[i * N + j] = (double)(i == j) - 2 * v[i] * v[j] / norm2;
        }
    for (size_t pass = 0; pass < 2; pass++) { /* h a h */
        for (size_t i = 0; i < N; i++)
            for (size_t j = 0; j < N; j++) {
                b[i * N + j] = 0;
                for (size_t m = 0; m < N; m++)
                    b[i * N + j] += pass ? a[i * N + m] * h[m * N + j] : h[i * N + m] * a[m * N + j];
            }
        for (size_t i = 0; i < N * N; i++) a[i] = b[i];
    }
    assert_int_equal(symmetric_eigenvalues(a, N, off, values, NULL), PGR_OK);
    for (size_t j = 0; j < N; j++) {
        double want = 2 - 2 * cos(M_PI * (double)(N - j) / (N + 1));
        if (!(fabs(values[j] - want) <= 1e-12)) fail_msg("eigenvalue %zu is %.15g, not %.15g", j, values[j], want);
    }
    double zero[4] = {0}, two[2], bad[4] = {1, NAN, NAN, 1};
    assert_int_equal(symmetric_eigenvalues(zero, 2, off, two, NULL), PGR_OK);
    assert_true(two[0] == 0 && two[1] == 0);
    assert_int_equal(symmetric_eigenvalues(bad, 2, off, two, NULL), PGR_E_ARG);
}

static void test_numpy(void **state) {
    (void)state;
    buf text = {0};
    json_t *golden = NULL;
    assert_int_equal(file_read(PGR_SOURCE_DIR "/tests/golden/kmeans.json", &text, NULL), PGR_OK);
    assert_int_equal(json_parse(text.data, text.n, "kmeans.json", 1, &golden, NULL), PGR_OK);
    const json_t *list = json_object_get(golden, "singular"), *one;
    size_t at;
    assert_int_equal(json_array_size(list), 2);
    json_array_foreach(list, at, one) {
        size_t n = (size_t)json_integer_value(json_object_get(one, "n")),
               d = (size_t)json_integer_value(json_object_get(one, "d"));
        const json_t *values = json_object_get(one, "values");
        float *x = mem_array(n * d, sizeof *x);
        assert_non_null(x);
        for (size_t i = 0; i < n * d; i++)
            x[i] = (float)json_number_value(json_array_get(json_object_get(one, "x"), i));
        singular_curve c;
        assert_int_equal(singular_curve_measure(x, n, d, NULL, NULL, &c, NULL), PGR_OK);
        assert_int_equal(c.n_value, json_array_size(values));
        double largest = json_number_value(json_array_get(values, 0));
        for (size_t i = 0; i < c.n_value; i++) /* roots of squares: a value of 0 is good to the root of the rounding */
            if (!(fabs(c.values[i] - json_number_value(json_array_get(values, i))) <= 2e-7 * largest))
                fail_msg("value %zu is %.12g", i, c.values[i]);
        assert_true(fabs(c.explained[c.n_value - 1] - 1) <= 1e-12);
        singular_curve_free(&c);
        mem_free(x);
    }
    json_decref(golden);
    buf_free(&text);
}

/* Groups around k centres in noise: the rule finds k. */
static void test_suggested_k(void **state) {
    (void)state;
    enum { N = 700, D = 40 };
    static float x[N * D], centres[9 * D];
    pool *two = NULL;
    assert_int_equal(pool_create(2, &two, NULL), PGR_OK);
    for (size_t k = 1; k <= 9; k += 2) {
        rng g = {.seed = k};
        for (size_t i = 0; i < k * D; i++) centres[i] = (float)(3 + rng_normal(&g));
        for (size_t i = 0; i < N; i++)
            for (size_t j = 0; j < D; j++) x[i * D + j] = centres[(i % k) * D + j] + (float)(1.0 * rng_normal(&g));
        singular_curve c;
        assert_int_equal(singular_curve_measure(x, N, D, two, NULL, &c, NULL), PGR_OK);
        if (c.k != k) fail_msg("%zu groups, but k = %zu is suggested (threshold %g)", k, c.k, c.threshold);
        singular_curve_free(&c);
    }
    float same[] = {1, 2, 1, 2, 1, 2};
    singular_curve c;
    assert_int_equal(singular_curve_measure(same, 3, 2, NULL, NULL, &c, NULL), PGR_OK);
    assert_true(c.k == 1 && c.n_retained == 0 && c.explained[1] == 0);
    singular_curve_free(&c);
    pool_free(two);
}

static bool measure_some(void) {
    static const float x[12] = {1, 2, 3, 4, 5, 7, 6, 5, 4, 9, 2, 1};
    singular_curve c;
    bool worked = singular_curve_measure(x, 4, 3, NULL, NULL, &c, NULL) == PGR_OK;
    singular_curve_free(&c);
    return worked;
}

static void test_refusals(void **state) {
    (void)state;
    float x[] = {1, 2, NAN, 4};
    singular_curve c;
    assert_int_equal(singular_curve_measure(x, 2, 2, NULL, NULL, &c, NULL), PGR_E_ARG);
    assert_int_equal(singular_curve_measure(x, 0, 2, NULL, NULL, &c, NULL), PGR_E_ARG);
    pgr_cancel stop = 1;
    assert_int_equal(singular_curve_measure(x, 1, 2, NULL, &stop, &c, NULL), PGR_E_CANCELLED);
    assert_true(fail_each_allocation(measure_some) >= 5);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_eigenvalues), cmocka_unit_test(test_numpy),
                                       cmocka_unit_test(test_suggested_k), cmocka_unit_test(test_refusals)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
