/* test_logistic.c - the fit stands where the gradient is 0, one feature against its equation, the prior, refusals. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "base/logistic.h"
#include "base/rng.h"

#include <cmocka.h>

static void test_stationary(void **state) {
    (void)state;
    enum { N = 300, P = 9 };
    static double x[N * P];
    double precision[P], w[P];
    size_t rows[N / 2];
    rng g = {.seed = 2};
    for (size_t i = 0; i < N * P; i++) x[i] = rng_normal(&g) + .3;
    for (size_t i = 0; i < N / 2; i++) rows[i] = 2 * i;
    for (size_t j = 0; j < P; j++) precision[j] = .5 + (double)j;
    assert_int_equal(logistic_fit(x, rows, N / 2, P, precision, w, NULL), PGR_OK);
    for (size_t j = 0; j < P; j++) {
        double gradient = -precision[j] * w[j];
        for (size_t i = 0; i < N / 2; i++) {
            double v = 0;
            for (size_t l = 0; l < P; l++) v += w[l] * x[rows[i] * P + l];
            gradient += logistic(-v) * x[rows[i] * P + j];
        }
        if (!(fabs(gradient) <= 1e-4))
            fail_msg("gradient %zu is %g", j, gradient); /* the last Newton step gained under 1e-12 */
    }
}

/* n rows of x = 1 and prior 1: n sigmoid(-w) = w. Separable rows stay finite through the prior. */
static void test_one(void **state) {
    (void)state;
    double x[100], precision = 1, w;
    for (size_t i = 0; i < 100; i++) x[i] = 1;
    assert_int_equal(logistic_fit(x, NULL, 100, 1, &precision, &w, NULL), PGR_OK);
    assert_true(fabs(100 * logistic(-w) - w) <= 1e-5);
    assert_int_equal(logistic_fit(x, NULL, 0, 1, &precision, &w, NULL), PGR_OK);
    assert_true(w == 0);
    x[3] = NAN;
    assert_int_equal(logistic_fit(x, NULL, 100, 1, &precision, &w, NULL), PGR_E_ARG);
    assert_true(fabs(log_logistic(-800) + 800) < 1e-9 && log_logistic(800) <= 0
                && fabs(log_logistic(0) + log(2)) < 1e-15);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_stationary), cmocka_unit_test(test_one)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
