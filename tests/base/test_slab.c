/* Slabs: what is handed out is apart, aligned and given back; large arrays get blocks of their own. */
#include "faults.h"

#include <stdint.h>
#include <string.h>

#include "base/slab.h"

static void arrays_are_apart(void **state) {
    (void)state;
    static const size_t sizes[] = {1, 64, 65, 1 << 20, 0, (size_t)40 << 20, 300, (size_t)31 << 20, (size_t)3 << 20};
    enum { N = sizeof sizes / sizeof *sizes };
    unsigned char *p[N];
    slab s = {0};
    for (size_t i = 0; i < N; i++) {
        p[i] = slab_alloc(&s, sizes[i]);
        assert_non_null(p[i]);
        assert_int_equal((uintptr_t)p[i] % 64, 0);
        memset(p[i], (int)i + 1, sizes[i]);
    }
    for (size_t i = 0; i < N; i++)
        for (size_t k = 0; k < sizes[i]; k += 61) assert_int_equal(p[i][k], i + 1);
    assert_null(slab_alloc(&s, SIZE_MAX));
    slab_free(&s);
    assert_int_equal(s.n_block, 0);
}

static bool two_blocks(void) {
    slab s = {0};
    bool ok = slab_alloc(&s, 100) && slab_alloc(&s, (size_t)33 << 20);
    slab_free(&s);
    return ok;
}

static void survives_failed_allocations(void **state) {
    (void)state;
    assert_int_equal(fail_each_allocation(two_blocks), 4);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(arrays_are_apart),
                                       cmocka_unit_test(survives_failed_allocations)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
