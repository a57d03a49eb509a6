/* dot8: exact inner products, the same from every version, at the ends of the range and at odd lengths. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include "base/rng.h"

#include <cmocka.h>

#include "math/cpu/level.h"

enum { ROWS = 5, MOST = 1100 };

static void check(size_t n, const int8_t *q, const int8_t *rows) {
    int32_t out[ROWS], fast[ROWS];
    dot8_rows_ref(out, q, rows, ROWS, n);
    for (size_t r = 0; r < ROWS; r++) {
        int64_t sum = 0;
        for (size_t i = 0; i < n; i++) sum += (int64_t)q[i] * rows[r * n + i];
        assert_int_equal(out[r], sum);
    }
    for (size_t l = 0; cpu_level_at(l); l++) {
        cpu_level_at(l)->dot8_rows(fast, q, rows, ROWS, n);
        assert_memory_equal(fast, out, sizeof out);
    }
    dot8_rows(fast, q, rows, ROWS, n);
    assert_memory_equal(fast, out, sizeof out);
}

static void test_lengths(void **state) {
    (void)state;
    static int8_t q[MOST], rows[ROWS * MOST];
    rng r = {.seed = 1};
    static const size_t lengths[] = {1, 3, 63, 64, 65, 127, 128, 129, 200, 384, 1024, 1100};
    for (size_t l = 0; l < sizeof lengths / sizeof *lengths; l++) {
        for (size_t i = 0; i < MOST; i++) q[i] = (int8_t)((int)rng_below(&r, 255) - 127);
        for (size_t i = 0; i < ROWS * MOST; i++) rows[i] = (int8_t)((int)rng_below(&r, 255) - 127);
        check(lengths[l], q, rows);
    }
}

static void test_extremes(void **state) {
    (void)state;
    size_t n = 65536;
    int8_t *q = malloc(n), *rows = malloc(ROWS * n);
    assert_true(q && rows);
    for (int sign = -1; sign <= 1; sign += 2) {
        for (size_t i = 0; i < n; i++) q[i] = 127;
        for (size_t i = 0; i < ROWS * n; i++) rows[i] = (int8_t)(127 * sign);
        check(n, q, rows);
    }
    free(q);
    free(rows);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_lengths), cmocka_unit_test(test_extremes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
