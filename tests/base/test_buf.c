/* test_buf.c - growing strings and id lists; a failed append sticks until it is asked about. */
#include "faults.h"

#include "base/buf.h"

static void appends(void **state) {
    (void)state;
    buf b = {0};
    buf_puts(&b, "ab");
    buf_putc(&b, 'c');
    buf_add(&b, "\0d", 2);
    buf_printf(&b, "%d", 42);
    assert_int_equal(b.n, 7);
    assert_memory_equal(b.data, "abc\0d42", 8);
    buf_clear(&b);
    assert_string_equal(b.data, "");
    buf_printf(&b, "%0200d", 1);
    assert_int_equal(b.n, 200);
    char *s = buf_take(&b);
    assert_int_equal(strlen(s), 200);
    assert_null(b.data);
    mem_free(s);
    s = buf_take(&b);
    assert_string_equal(s, "");
    mem_free(s);
}

static void many_bytes_at_every_boundary(void **state) {
    (void)state;
    buf b = {0};
    for (size_t i = 0; i < 5000; i++) {
        buf_putc(&b, (char)('a' + i % 26));
        assert_int_equal(b.data[b.n], 0);
    }
    for (size_t i = 0; i < 5000; i++) assert_int_equal(b.data[i], 'a' + i % 26);
    buf_free(&b);
}

static void failure_sticks(void **state) {
    (void)state;
    buf b = {0};
    buf_puts(&b, "kept");
    mem_fail_nth(1);
    buf_printf(&b, "%0100d", 1);
    buf_puts(&b, "ignored");
    assert_true(b.failed);
    assert_null(buf_take(&b));
    assert_false(b.failed); /* taken: empty again */
    buf_puts(&b, "x");
    buf_add(&b, "", SIZE_MAX - 1); /* cannot be: must not wrap around */
    assert_true(b.failed);
    buf_clear(&b);
    buf_puts(&b, "y");
    assert_string_equal(b.data, "y");
    buf_free(&b);
}

static void lists_ids(void **state) {
    (void)state;
    ids s = {0};
    for (int32_t i = 0; i < 1000; i++) ids_push(&s, i * 3);
    ids_append(&s, (int32_t[]){7, 8, 9}, 3);
    ids_append(&s, NULL, 0);
    assert_int_equal(s.n, 1003);
    assert_int_equal(s.v[999], 2997);
    assert_int_equal(s.v[1002], 9);
    ids_append(&s, s.v, SIZE_MAX / 2);
    assert_true(s.failed);
    ids_free(&s);
    assert_null(s.v);
}

static bool build_both(void) {
    buf b = {0};
    ids s = {0};
    for (int i = 0; i < 100; i++) {
        buf_printf(&b, "line %d\n", i);
        ids_push(&s, i);
    }
    bool ids_ok = !s.failed && s.n == 100;
    char *text = buf_take(&b);
    bool ok = text && strlen(text) == 790 && ids_ok;
    mem_free(text);
    ids_free(&s);
    return ok;
}

static void survives_failed_allocations(void **state) {
    (void)state;
    assert_in_range(fail_each_allocation(build_both), 6, 20);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(appends),   cmocka_unit_test(many_bytes_at_every_boundary), cmocka_unit_test(failure_sticks),
        cmocka_unit_test(lists_ids), cmocka_unit_test(survives_failed_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
