/* test_mean.c - means and their standard errors against numbers worked out by hand. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "bench/mean.h"

#include <cmocka.h>

static void assert_near(double a, double b) {
    if (!(fabs(a - b) <= 1e-12)) fail_msg("%.17g, expected %.17g", a, b);
}

static void test_plain(void **state) {
    (void)state;
    mean_se m = mean_of((double[]){1, 2, 3, 6}, 4);
    assert_near(m.mean, 3);
    assert_near(m.se, sqrt(14.0 / 3 / 4)); /* squares 4 + 1 + 0 + 9 */
    assert_true(isnan(mean_of((double[]){1}, 1).se));
    assert_true(isnan(mean_of(NULL, 0).mean));
}

/* Rows of one user that are all alike count as one: with two users of equal rows the error is that of two values. */
static void test_clustered(void **state) {
    (void)state;
    double v[] = {1, 1, 1, 0, 0, 0}, residuals[3];
    size_t cluster[] = {0, 0, 0, 2, 2, 2}, counts[3];
    mean_se m = mean_clustered(v, cluster, 6, residuals, counts, 3);
    assert_near(m.mean, .5);
    assert_near(m.se, mean_of((double[]){1, 0}, 2).se);
    assert_int_equal(m.n_cluster, 2);

    size_t own[] = {0, 1, 2}; /* every row a cluster: the plain error */
    mean_se each = mean_clustered(v + 1, own, 3, residuals, counts, 3);
    assert_near(each.se, mean_of(v + 1, 3).se);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_plain), cmocka_unit_test(test_clustered)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
