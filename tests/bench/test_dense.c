/* test_dense.c - the sums of dense.h are those of plain C, bit for bit, at every length and place in memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/rng.h"
#include "bench/dense.h"

#include <cmocka.h>

enum { MOST = 130 };

static void test_bits(void **state) {
    (void)state;
    rng r = {.seed = 1};
    float x[MOST + 3];
    double a[MOST + 3], b[MOST + 3], out[MOST], want[MOST];
    for (size_t i = 0; i < MOST + 3; i++) {
        x[i] = (float)rng_normal(&r);
        a[i] = rng_normal(&r) * 1e3;
        b[i] = rng_normal(&r);
    }
    for (size_t n = 0; n <= MOST; n++)
        for (size_t at = 0; at < 3; at++) { /* not aligned */
            double got[2] = {dense_dot_x(x + at, a, n), dense_dot(a + at, b, n)};
            double ref[2] = {dense_dot_x_ref(x + at, a, n), dense_dot_ref(a + at, b, n)};
            assert_memory_equal(got, ref, sizeof got);
            memcpy(out, b, sizeof out);
            memcpy(want, b, sizeof want);
            dense_add_x(out, 0.3, x + at, n);
            dense_add_x_ref(want, 0.3, x + at, n);
            dense_add(out, -1.7, a + at, n);
            dense_add_ref(want, -1.7, a + at, n);
            assert_memory_equal(out, want, sizeof out);
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_bits)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
