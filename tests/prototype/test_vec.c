/* test_vec.c - vector operations against numbers worked out by hand. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "prototype/vec.h"

#include <cmocka.h>

static void test_vec(void **state) {
    (void)state;
    float a[] = {3, 4, 0}, b[] = {1, -1, 2}, zero[] = {0, 0};
    assert_true(vec_dot(a, b, 3) == -1.0);
    assert_true(vec_distance2(a, b, 3) == 4.0 + 25.0 + 4.0);
    assert_true(vec_normalise(a, 3) == 5.0);
    assert_true(a[0] == 0.6f && a[1] == 0.8f && a[2] == 0.0f);
    assert_true(vec_normalise(zero, 2) == 0.0 && zero[0] == 0.0f);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_vec)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
