/* test_hash.c - FNV-1a against the published values of its authors' test vectors (64 bits, 1a). */
#include "faults.h"

#include "base/hash.h"

static void matches_the_published_vectors(void **state) {
    (void)state;
    assert_int_equal(HASH_BEGIN, UINT64_C(0xcbf29ce484222325));
    assert_int_equal(hash_text(HASH_BEGIN, ""), HASH_BEGIN);
    assert_int_equal(hash_text(HASH_BEGIN, "a"), UINT64_C(0xaf63dc4c8601ec8c));
    assert_int_equal(hash_text(HASH_BEGIN, "foobar"), UINT64_C(0x85944171f73967e8));
    assert_int_equal(hash_bytes(HASH_BEGIN, "foobar", 6), UINT64_C(0x85944171f73967e8));
}

static void texts_go_on_where_the_last_one_ended(void **state) {
    (void)state;
    assert_int_equal(hash_text(hash_text(HASH_BEGIN, "foo"), "bar"), hash_text(HASH_BEGIN, "foobar"));
    assert_int_equal(hash_whole_text(HASH_BEGIN, "foo"), hash_bytes(HASH_BEGIN, "foo\0", 4));
    assert_int_not_equal(hash_whole_text(hash_whole_text(HASH_BEGIN, "foo"), "bar"),
                         hash_whole_text(hash_whole_text(HASH_BEGIN, "fo"), "obar"));
}

static void bytes_above_127_count_as_they_are(void **state) {
    (void)state;
    assert_int_equal(hash_text(HASH_BEGIN, "\xFF"), (HASH_BEGIN ^ 0xFF) * UINT64_C(0x100000001b3));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(matches_the_published_vectors),
        cmocka_unit_test(texts_go_on_where_the_last_one_ended),
        cmocka_unit_test(bytes_above_127_count_as_they_are),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
