/* test_prefix.c - the prefix tree against a list of all that was put in: the longest beginning is found, its pages hold
 * what was computed for exactly these tokens, eviction takes the least recently used ends,
 * and every page comes back. */
#include "../base/faults.h"
#include "infer/prefix.h"

#include <string.h>

#include "base/mem.h"
#include "base/rng.h"

static const config SMALL = {.n_layer = 1, .n_embd = 8, .n_head = 2, .n_head_kv = 1, .head_dim = 2, .n_vocab = 10};

enum { MAX_LEN = 200, N_KEPT = 400 };

typedef struct text {
    int32_t t[MAX_LEN];
    size_t n;
} text;

/* A number that belongs to a position and all tokens up to it. */
static float content(const int32_t *t, size_t pos) {
    uint32_t h = 2166136261u;
    for (size_t i = 0; i <= pos; i++) h = (h ^ (uint32_t)t[i]) * 16777619u;
    return (float)(h >> 8);
}

static float *place(const kv_cache *c, const kv_seq *s, size_t pos) {
    return (float *)kv_block(c, s->page[pos / KV_PAGE], 0, 0) + pos % KV_PAGE;
}

/* What the engine does with a prompt: take what is known, compute the rest, keep it. Returns how much was known. */
static size_t use_under(prefix_tree *t, kv_cache *c, uint64_t key, const text *x) {
    kv_seq s = {0};
    assert_int_equal(prefix_take(t, key, x->t, x->n, &s, NULL), PGR_OK);
    size_t known = s.n_token;
    for (size_t i = 0; i < known; i++) assert_true(*place(c, &s, i) == content(x->t, i) + (float)key);
    assert_int_equal(kv_reserve(c, &s, x->n - known, NULL), PGR_OK);
    for (; s.n_token < x->n; s.n_token++) *place(c, &s, s.n_token) = content(x->t, s.n_token) + (float)key;
    assert_int_equal(prefix_put(t, key, x->t, x->n, &s, NULL), PGR_OK);
    kv_release(c, &s);
    return known;
}

static size_t use(prefix_tree *t, kv_cache *c, const text *x) {
    return use_under(t, c, 1, x);
}

static size_t common(const text *a, const text *b) {
    size_t n = a->n < b->n ? a->n : b->n, i = 0;
    while (i < n && a->t[i] == b->t[i]) i++;
    return i;
}

/* Goes on from a random place of an earlier text, over an alphabet of two: many branches, many repeats. */
static text random_text(rng *r, const text *earlier, size_t n_earlier) {
    text x = {.n = 1 + rng_below(r, MAX_LEN)};
    size_t keep = 0;
    if (n_earlier && rng_below(r, 8)) {
        const text *from = &earlier[rng_below(r, n_earlier)];
        keep = rng_below(r, from->n + 1);
        if (keep > x.n) keep = x.n;
        memcpy(x.t, from->t, keep * sizeof *x.t);
    }
    for (size_t i = keep; i < x.n; i++) x.t[i] = (int32_t)rng_below(r, 2);
    return x;
}

static void finds_the_longest_beginning(void **state) {
    (void)state;
    static text kept[N_KEPT];
    kv_cache c;
    prefix_tree *t;
    rng r = {.seed = 11};
    assert_int_equal(kv_init(&c, &SMALL, KV_F32, 1 << 24, NULL), PGR_OK);
    assert_int_equal(prefix_create(&c, &t, NULL), PGR_OK);
    for (size_t i = 0; i < N_KEPT; i++) {
        kept[i] = random_text(&r, kept, i);
        size_t want = 0;
        for (size_t k = 0; k < i; k++)
            if (common(&kept[i], &kept[k]) > want) want = common(&kept[i], &kept[k]);
        assert_int_equal(use(t, &c, &kept[i]), want);
    }
    for (size_t i = 0; i < N_KEPT; i++) assert_int_equal(use(t, &c, &kept[i]), kept[i].n);
    assert_true(prefix_count(t) < 2 * N_KEPT);
    prefix_clear(t);
    assert_int_equal(prefix_count(t), 0);
    assert_int_equal(prefix_tokens(t), 0);
    assert_int_equal(c.n_free, c.n_page);
    prefix_free(t);
    kv_close(&c);
}

/* Evictions between uses: whatever is found is right, and all pages come back. */
static void evicts_without_harm(void **state) {
    (void)state;
    static text kept[N_KEPT];
    kv_cache c;
    prefix_tree *t;
    rng r = {.seed = 12};
    assert_int_equal(kv_init(&c, &SMALL, KV_F32, 1 << 24, NULL), PGR_OK);
    assert_int_equal(prefix_create(&c, &t, NULL), PGR_OK);
    for (size_t i = 0; i < N_KEPT; i++) {
        kept[i] = random_text(&r, kept, i);
        use(t, &c, &kept[i]);
        while (prefix_tokens(t) > 1500) assert_true(prefix_evict(t));
        size_t used = c.n_page - c.n_free;
        assert_true(prefix_pages(t) >= used && prefix_pages(t) <= used + prefix_count(t));
    }
    assert_true(prefix_count(t) > 10);
    while (prefix_evict(t)) continue;
    assert_int_equal(c.n_free, c.n_page);
    assert_int_equal(prefix_pages(t), 0);
    prefix_free(t);
    kv_close(&c);
}

/* What is kept is memory: many short ends of one beginning take a page each, however few their tokens are. */
static void short_ends_take_pages(void **state) {
    (void)state;
    enum { N = 50, HEAD = KV_PAGE + 8, ENDS = 2 };
    kv_cache c;
    prefix_tree *t;
    assert_int_equal(kv_init(&c, &SMALL, KV_F32, 1 << 24, NULL), PGR_OK);
    assert_int_equal(prefix_create(&c, &t, NULL), PGR_OK);
    for (int32_t i = 0; i < N; i++) {
        text x = {.n = HEAD + ENDS};
        memset(x.t, 0, sizeof x.t);
        x.t[HEAD] = i, x.t[HEAD + 1] = 1;
        use(t, &c, &x);
    }
    size_t used = c.n_page - c.n_free;
    assert_int_equal(prefix_tokens(t), HEAD + N * ENDS);
    assert_true(used >= N && prefix_pages(t) >= used && prefix_pages(t) <= used + 1);
    prefix_free(t);
    kv_close(&c);
}

/* The same texts under several keys: each finds its own numbers, the oldest go whatever their key. */
static void keys_have_nothing_in_common(void **state) {
    (void)state;
    static text kept[N_KEPT];
    enum { KEYS = 5 };
    kv_cache c;
    prefix_tree *t;
    rng r = {.seed = 13};
    assert_int_equal(kv_init(&c, &SMALL, KV_F32, 1 << 24, NULL), PGR_OK);
    assert_int_equal(prefix_create(&c, &t, NULL), PGR_OK);
    for (size_t i = 0; i < N_KEPT; i++) {
        kept[i] = random_text(&r, kept, i);
        size_t want = 0, key = i % KEYS;
        for (size_t k = 0; k < i; k++)
            if (k % KEYS == key && common(&kept[i], &kept[k]) > want) want = common(&kept[i], &kept[k]);
        assert_int_equal(use_under(t, &c, key, &kept[i]), want);
    }
    while (prefix_tokens(t) > 100) assert_true(prefix_evict(t));
    for (size_t i = 0; i < N_KEPT; i++) use_under(t, &c, (i + 1) % KEYS, &kept[i]);
    while (prefix_evict(t)) continue;
    assert_int_equal(c.n_free, c.n_page);
    prefix_free(t);
    kv_close(&c);
}

static void oldest_use_goes_first(void **state) {
    (void)state;
    const text a = {{1, 2, 3}, 3}, b = {{1, 2, 4}, 3}, d = {{5, 6}, 2};
    kv_cache c;
    prefix_tree *t;
    assert_int_equal(kv_init(&c, &SMALL, KV_F32, 1 << 20, NULL), PGR_OK);
    assert_int_equal(prefix_create(&c, &t, NULL), PGR_OK);
    use(t, &c, &a);
    use(t, &c, &d);
    use(t, &c, &b); /* nodes: 1 2, then 3 and 4; 5 6 */
    assert_int_equal(prefix_count(t), 4);
    assert_int_equal(prefix_tokens(t), 6);
    assert_int_equal(use(t, &c, &d), 2);
    assert_true(prefix_evict(t)); /* 1 2 3: used before 1 2 4 was; what both share stays */
    assert_int_equal(prefix_tokens(t), 5);
    kv_seq s = {0};
    assert_int_equal(prefix_take(t, 1, a.t, 3, &s, NULL), PGR_OK);
    assert_int_equal(s.n_token, 2);
    kv_release(&c, &s);
    assert_true(prefix_evict(t));
    assert_int_equal(use(t, &c, &d), 2);
    prefix_free(t);
    kv_close(&c);
}

static bool three_uses(void) {
    kv_cache c;
    prefix_tree *t = NULL;
    const text texts[] = {{{1, 2, 3, 4}, 4}, {{1, 2, 5}, 3}, {{1, 2}, 2}};
    kv_seq s[3] = {{0}};
    bool ok = kv_init(&c, &SMALL, KV_F32, 1 << 20, NULL) == PGR_OK && prefix_create(&c, &t, NULL) == PGR_OK;
    for (size_t i = 0; ok && i < 3; i++) {
        ok = prefix_take(t, i % 2, texts[i].t, texts[i].n, &s[i], NULL) == PGR_OK;
        ok = ok && kv_reserve(&c, &s[i], texts[i].n - s[i].n_token, NULL) == PGR_OK;
        s[i].n_token = texts[i].n;
        ok = ok && prefix_put(t, i % 2, texts[i].t, texts[i].n, &s[i], NULL) == PGR_OK;
    }
    for (size_t i = 0; i < 3; i++) kv_release(&c, &s[i]);
    while (t && prefix_evict(t)) continue; /* in order, whatever failed */
    prefix_free(t);
    kv_close(&c);
    return ok;
}

static void survives_failed_allocations(void **state) {
    (void)state;
    assert_true(fail_each_allocation(three_uses) >= 10);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_the_longest_beginning), cmocka_unit_test(short_ends_take_pages),
        cmocka_unit_test(evicts_without_harm),         cmocka_unit_test(keys_have_nothing_in_common),
        cmocka_unit_test(oldest_use_goes_first),       cmocka_unit_test(survives_failed_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
