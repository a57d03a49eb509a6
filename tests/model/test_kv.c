/* The paged cache: what is shared stays shared until it is written, and every page comes back. */
#include "../base/faults.h"
#include "base/mem.h"
#include "model/kv.h"

#include <math.h>

static const config SMALL = {.n_layer = 2, .n_embd = 8, .n_head = 2, .n_head_kv = 1, .head_dim = 4, .n_vocab = 10};

/* A number that tells page content apart. */
static void mark(kv_cache *c, const kv_seq *s, size_t pos, float value) {
    ((float *)kv_block(c, s->page[pos / KV_PAGE], 1, 0))[4 * KV_PAGE + pos % KV_PAGE * 4] = value;
}
static float read_mark(const kv_cache *c, const kv_seq *s, size_t pos) {
    return ((float *)kv_block(c, s->page[pos / KV_PAGE], 1, 0))[4 * KV_PAGE + pos % KV_PAGE * 4];
}

static void fork_shares_until_written(void **state) {
    (void)state;
    kv_cache c;
    kv_seq a = {0}, b = {0};
    assert_int_equal(kv_init(&c, &SMALL, KV_F32, 10 * KV_PAGE, NULL), PGR_OK);
    assert_int_equal(kv_reserve(&c, &a, KV_PAGE + 5, NULL), PGR_OK);
    a.n_token = KV_PAGE + 5;
    mark(&c, &a, 3, 1.0f);
    mark(&c, &a, KV_PAGE + 2, 2.0f);

    assert_int_equal(kv_fork(&c, &b, &a, KV_PAGE + 3, NULL), PGR_OK);
    assert_int_equal(b.n_token, KV_PAGE + 3);
    assert_int_equal(b.page[0], a.page[0]);
    assert_int_equal(b.page[1], a.page[1]);

    assert_int_equal(kv_reserve(&c, &b, 1, NULL), PGR_OK); /* the next token falls into the shared second page */
    assert_int_equal(b.page[0], a.page[0]);
    assert_int_not_equal(b.page[1], a.page[1]);
    mark(&c, &b, KV_PAGE + 2, 9.0f);
    assert_true(read_mark(&c, &a, KV_PAGE + 2) == 2.0f);
    assert_true(read_mark(&c, &b, 3) == 1.0f);

    kv_release(&c, &a);
    assert_true(read_mark(&c, &b, 3) == 1.0f);
    kv_release(&c, &b);
    assert_int_equal(c.n_free, c.n_page);
    kv_close(&c);
}

static void full_cache_is_an_error_and_loses_nothing(void **state) {
    (void)state;
    kv_cache c;
    kv_seq a = {0}, b = {0};
    pgr_error err;
    assert_int_equal(kv_init(&c, &SMALL, KV_F32, 2 * KV_PAGE, NULL), PGR_OK);
    assert_int_equal(kv_reserve(&c, &a, KV_PAGE, NULL), PGR_OK);
    a.n_token = KV_PAGE;
    assert_int_equal(kv_reserve(&c, &b, 2 * KV_PAGE, &err), PGR_E_LIMIT);
    assert_non_null(strstr(err.message, "64 tokens"));
    kv_release(&c, &b);
    assert_int_equal(kv_reserve(&c, &a, KV_PAGE, NULL), PGR_OK);
    kv_release(&c, &a);
    kv_close(&c);
}

static void a_page_that_comes_back_is_clean(void **state) {
    (void)state;
    kv_cache c;
    kv_seq a = {0};
    assert_int_equal(kv_init(&c, &SMALL, KV_F32, KV_PAGE, NULL), PGR_OK);
    assert_int_equal(kv_reserve(&c, &a, 1, NULL), PGR_OK);
    mark(&c, &a, 7, NAN);
    kv_release(&c, &a);
    assert_int_equal(kv_reserve(&c, &a, 1, NULL), PGR_OK);
    assert_true(read_mark(&c, &a, 7) == 0.0f);
    kv_release(&c, &a);
    kv_close(&c);
}

/* Prepared pages are the ones that sequences get, in order; the cache's limit holds; none is taken twice. */
static void prepared_pages_are_handed_out(void **state) {
    (void)state;
    kv_cache c;
    kv_seq a = {0}, b = {0};
    assert_int_equal(kv_init(&c, &SMALL, KV_F32, 5 * KV_PAGE, NULL), PGR_OK);
    assert_int_equal(kv_prepare(&c, 0, NULL, NULL), PGR_OK);
    assert_int_equal(c.n_page, 0);
    assert_int_equal(kv_prepare(&c, 2 * KV_PAGE + 1, NULL, NULL), PGR_OK);
    assert_int_equal(c.n_page, 3);
    size_t bytes = kv_bytes(&c);
    assert_int_equal(kv_reserve(&c, &a, 3 * KV_PAGE, NULL), PGR_OK);
    for (uint32_t i = 0; i < 3; i++) assert_int_equal(a.page[i], i);
    assert_int_equal(kv_bytes(&c), bytes);
    a.n_token = 3 * KV_PAGE;
    mark(&c, &a, 7, 5.0f);
    assert_int_equal(kv_prepare(&c, 100 * KV_PAGE, NULL, NULL), PGR_OK); /* pages in use are left alone */
    assert_int_equal(c.n_page, 5);
    assert_true(read_mark(&c, &a, 7) == 5.0f);
    assert_int_equal(kv_reserve(&c, &b, 3 * KV_PAGE, NULL), PGR_E_LIMIT);
    kv_release(&c, &b);
    kv_release(&c, &a);
    assert_int_equal(c.n_free, 5);
    kv_close(&c);
}

/* A limit in bytes: as many pages as fit whole, never one more; a looser one than the tokens' changes nothing. */
static void bytes_are_a_limit_too(void **state) {
    (void)state;
    for (size_t pages = 1; pages <= 4; pages++) {
        kv_cache c;
        kv_seq a = {0}, b = {0};
        pgr_error err = {0};
        assert_int_equal(kv_init(&c, &SMALL, KV_F32, 3 * KV_PAGE, NULL), PGR_OK);
        size_t limit = pages * c.page_bytes + c.page_bytes / 2, fit = pages < 3 ? pages : 3;
        kv_limit(&c, limit);
        assert_int_equal(kv_reserve(&c, &a, fit * KV_PAGE, NULL), PGR_OK);
        assert_true(kv_bytes(&c) <= limit && kv_bytes(&c) == fit * c.page_bytes);
        assert_int_equal(kv_reserve(&c, &b, 1, &err), PGR_E_LIMIT);
        assert_non_null(strstr(err.message, "the KV cache is full"));
        assert_int_equal(kv_bytes(&c), fit * c.page_bytes);
        kv_release(&c, &a); /* room that comes back is used, no more is taken */
        assert_int_equal(kv_reserve(&c, &b, 1, NULL), PGR_OK);
        assert_int_equal(kv_bytes(&c), fit * c.page_bytes);
        kv_release(&c, &b);
        kv_close(&c);
    }
}

static bool reserve_and_fork(void) {
    kv_cache c;
    kv_seq a = {0}, b = {0};
    if (kv_init(&c, &SMALL, KV_F32, 100 * KV_PAGE, NULL) != PGR_OK) return false;
    if (kv_prepare(&c, 2 * KV_PAGE, NULL, NULL) != PGR_OK) {
        kv_close(&c);
        return false;
    }
    bool ok = kv_reserve(&c, &a, 70 * KV_PAGE + 1, NULL) == PGR_OK;
    if (ok) a.n_token = 70 * KV_PAGE + 1;
    ok = ok && kv_fork(&c, &b, &a, a.n_token, NULL) == PGR_OK && kv_reserve(&c, &b, 3, NULL) == PGR_OK;
    kv_release(&c, &a);
    kv_release(&c, &b);
    kv_close(&c);
    return ok;
}

static void allocation_failures(void **state) {
    (void)state;
    assert_true(fail_each_allocation(reserve_and_fork) >= 8);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fork_shares_until_written),       cmocka_unit_test(full_cache_is_an_error_and_loses_nothing),
        cmocka_unit_test(a_page_that_comes_back_is_clean), cmocka_unit_test(prepared_pages_are_handed_out),
        cmocka_unit_test(bytes_are_a_limit_too),           cmocka_unit_test(allocation_failures),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
