/* test_mem.c - the counters, the overflow checks and the fault injection on which every other fault test rests. */
#include "faults.h"

static void counts_live_and_made(void **state) {
    (void)state;
    long live = mem_live(), count = mem_count();
    void *a = mem_alloc(0), *b = mem_zero(3, 5), *c = mem_aligned(100, 64), *d = mem_strdup("x"), *e = mem_array(2, 8);
    assert_non_null(a);
    assert_memory_equal(b, "\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 15);
    assert_int_equal((uintptr_t)c % 64, 0);
    assert_string_equal(d, "x");
    assert_int_equal(mem_live() - live, 5);
    a = mem_resize(a, 1000); /* no new one */
    assert_int_equal(mem_live() - live, 5);
    assert_int_equal(mem_count() - count, 6);
    mem_free(a), mem_free(b), mem_free(c), mem_free(d), mem_free(e), mem_free(NULL);
    assert_int_equal(mem_live(), live);
    void *f = mem_resize(NULL, 10);
    assert_int_equal(mem_live(), live + 1);
    mem_free(f);
}

static void refuses_overflow(void **state) {
    (void)state;
    assert_null(mem_array(SIZE_MAX / 2, 3));
    assert_null(mem_zero(SIZE_MAX / 2, 3));
    void *empty = mem_zero(0, SIZE_MAX);
    assert_non_null(empty);
    mem_free(empty);
}

/* Small or in large pages: whole lines, counted, all of it there. */
static void in_large_pages(void **state) {
    (void)state;
    static const size_t sizes[] = {1, 100, (2 << 20) - 1, 2 << 20, (5 << 20) + 7};
    long live = mem_live();
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        char *p = mem_huge(sizes[i]);
        assert_non_null(p);
        assert_int_equal((uintptr_t)p % 64, 0);
        if (sizes[i] >= 2 << 20) assert_int_equal((uintptr_t)p % (2 << 20), 0);
        memset(p, 1, sizes[i]);
        assert_int_equal(mem_live(), live + 1);
        mem_free(p);
    }
    assert_null(mem_huge(SIZE_MAX));
    mem_fail_nth(1);
    assert_null(mem_huge(4 << 20));
    mem_fail_nth(0);
    assert_int_equal(mem_live(), live);
}

static void fails_the_nth(void **state) {
    (void)state;
    mem_fail_nth(2);
    void *a = mem_alloc(1), *b = mem_alloc(1), *c = mem_alloc(1);
    mem_fail_nth(0);
    assert_non_null(a);
    assert_null(b);
    assert_non_null(c);

    mem_fail_from(2);
    char *d = mem_strdup("d"), *e = mem_resize(d, 100);
    void *f = mem_aligned(8, 16), *g = mem_zero(1, 1);
    mem_fail_from(0);
    assert_string_equal(d, "d"); /* as it was */
    assert_null(e);
    assert_null(f);
    assert_null(g);
    void *h = mem_alloc(1);
    assert_non_null(h);
    mem_free(a), mem_free(c), mem_free(d), mem_free(h);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts_live_and_made),
        cmocka_unit_test(in_large_pages),
        cmocka_unit_test(refuses_overflow),
        cmocka_unit_test(fails_the_nth),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
