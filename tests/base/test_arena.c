/* test_arena.c - alignment, zeroing, no overlap over many sizes, overflow, and every allocation failing. */
#include "faults.h"

#include "base/arena.h"
#include "base/rng.h"

static void pieces_are_aligned_zeroed_and_apart(void **state) {
    (void)state;
    enum { N = 3000 };
    static unsigned char *p[N];
    static size_t size[N];
    arena a = {0};
    rng r = {.seed = 1};
    for (size_t i = 0; i < N; i++) {
        size[i] = i % 50 == 0 ? rng_below(&r, 300000) : rng_below(&r, 200);
        p[i] = arena_alloc(&a, size[i]);
        assert_non_null(p[i]);
        assert_int_equal((uintptr_t)p[i] % 16, 0);
        for (size_t k = 0; k < size[i]; k++) assert_true(p[i][k] == 0);
        memset(p[i], (int)(i % 251), size[i]);
    }
    for (size_t i = 0; i < N; i++)
        for (size_t k = 0; k < size[i]; k++)
            if (p[i][k] != i % 251) fail_msg("piece %zu was overwritten at %zu", i, k);
    arena_free(&a);
    assert_null(a.chunk);
    arena_free(&a); /* an empty one */
}

static void small_pieces_share_chunks(void **state) {
    (void)state;
    arena a = {0};
    long live = mem_live();
    for (int i = 0; i < 10000; i++) arena_alloc(&a, 16);
    for (int i = 0; i < 20; i++) { /* large ones do not waste the open chunk */
        arena_alloc(&a, 500000);
        arena_alloc(&a, 16);
    }
    assert_in_range(mem_live() - live, 1, 20 + 8);
    arena_free(&a);
    assert_int_equal(mem_live(), live);
}

static void copies_strings(void **state) {
    (void)state;
    arena a = {0};
    assert_string_equal(arena_strdup(&a, "chain"), "chain");
    assert_string_equal(arena_strndup(&a, "chains", 5), "chain");
    assert_string_equal(arena_strndup(&a, NULL, 0), "");
    assert_memory_equal(arena_strndup(&a, "a\0b", 3), "a\0b", 4);
    assert_string_equal(arena_printf(&a, "%s[%d]", "responses", 3), "responses[3]");
    char *long_one = arena_printf(&a, "%05000d", 7);
    assert_int_equal(strlen(long_one), 5000);
    arena_free(&a);
}

static void refuses_overflow(void **state) {
    (void)state;
    arena a = {0};
    assert_null(arena_array(&a, SIZE_MAX / 4, 8));
    assert_null(arena_alloc(&a, SIZE_MAX));
    assert_null(arena_alloc(&a, SIZE_MAX - 40));
    assert_null(arena_strndup(&a, "", SIZE_MAX));
    assert_non_null(arena_array(&a, 4, 8));
    arena_free(&a);
}

static bool fill_and_free(void) {
    arena a = {0};
    bool ok = true;
    for (size_t i = 0; i < 40; i++) ok = arena_alloc(&a, i * 400) && ok;
    ok = arena_strdup(&a, "x") && ok;
    ok = arena_printf(&a, "%08000d", 1) && ok;
    arena_free(&a);
    return ok;
}

static void survives_failed_allocations(void **state) {
    (void)state;
    assert_in_range(fail_each_allocation(fill_and_free), 3, 100);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pieces_are_aligned_zeroed_and_apart),
        cmocka_unit_test(small_pieces_share_chunks),
        cmocka_unit_test(copies_strings),
        cmocka_unit_test(refuses_overflow),
        cmocka_unit_test(survives_failed_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
