/* test_spearman.c - ranks and Spearman's rho against values worked out by hand. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "bench/spearman.h"

#include <cmocka.h>

/* A handful of additions and a square root: 1e-12 is a thousand roundings. */
static void assert_near(double a, double b) {
    if (!(fabs(a - b) <= 1e-12)) fail_msg("%.17g, expected %.17g", a, b);
}

static void test_ranks(void **state) {
    (void)state;
    const double v[] = {3, 7, 3, -1, 3};
    const double ranks[] = {3, 1, 3, 5, 3}; /* the three 3s share 2, 3 and 4 */
    for (size_t i = 0; i < 5; i++) assert_near(rank_of(v, 5, i), ranks[i]);
}

/* Orders of six with sums of squared rank differences 18, 16, 14, 12, 10: 1 - 6 sum / 210,
 * the grid of LaMP-QA's six generators. */
static void test_grid(void **state) {
    (void)state;
    static const double truth[6] = {1, 2, 3, 4, 5, 6};
    static const double orders[5][6] = {
        {4, 2, 3, 1, 5, 6}, {3, 2, 1, 6, 5, 4}, {2, 3, 4, 1, 6, 5}, {2, 3, 1, 5, 6, 4}, {3, 2, 1, 5, 4, 6}};
    static const double rho[5] = {.486, .543, .600, .657, .714};
    for (size_t i = 0; i < 5; i++) {
        double r = spearman(orders[i], truth, 6);
        assert_near(r, 1 - 6 * (18 - 2 * (double)i) / 210);
        if (!(fabs(r - rho[i]) <= 5e-4)) fail_msg("%g, expected %g", r, rho[i]); /* three digits */
    }
}

static void test_values(void **state) {
    (void)state;
    const double a[] = {1, 2, 2, 4}, b[] = {1, 3, 2, 4}, up[] = {1, 10, 100, 1000}, down[] = {4, 3, 2, 1},
                 flat[] = {2, 2, 2, 2};
    const double hole[] = {1, NAN, 2, 3};
    assert_near(spearman(a, b, 4), sqrt(.9)); /* deviations 1.5 0 0 -1.5 and 1.5 -.5 .5 -1.5: 4.5 / sqrt(4.5 * 5) */
    assert_near(spearman(up, down, 4), -1);
    assert_near(spearman(a, a, 4), 1);
    assert_near(spearman(up, b, 4), .8);
    assert_true(isnan(spearman(a, flat, 4)) && isnan(spearman(flat, a, 4)));
    assert_true(isnan(spearman(a, hole, 4)) && isnan(spearman(a, b, 1)) && isnan(spearman(a, b, 0)));
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_ranks), cmocka_unit_test(test_grid),
                                       cmocka_unit_test(test_values)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
