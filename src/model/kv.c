/* kv.c - pages, reference counts and sequences of the KV cache. */
#include "model/kv.h"

#include <string.h>

#include "base/mem.h"

pgr_status kv_init(kv_cache *c, const config *m, kv_type type, size_t max_token, pgr_error *err) {
    *c = (kv_cache){.n_layer = m->n_layer, .n_head_kv = m->n_head_kv, .head_dim = m->head_dim, .type = type};
    c->block_bytes = kv_block_bytes(type, c->head_dim);
    c->page_bytes = c->n_layer * c->n_head_kv * c->block_bytes;
    c->max_page = (max_token + KV_PAGE - 1) / KV_PAGE;
    if (c->max_page >= UINT32_MAX) return fail(err, PGR_E_LIMIT, "a KV cache of %zu tokens is too large", max_token);
    return PGR_OK;
}

void kv_limit(kv_cache *c, size_t bytes) {
    size_t pages = bytes / c->page_bytes;
    if (pages < c->max_page) c->max_page = pages;
}

kv_pages kv_view(const kv_cache *c) {
    return (kv_pages){c->type, c->n_head_kv, c->block_bytes, c->pages};
}

void kv_close(kv_cache *c) {
    slab_free(&c->memory);
    mem_free(c->pages);
    mem_free(c->refs);
    mem_free(c->free_list);
    *c = (kv_cache){0};
}

/* Doubles the tables; pages themselves come one by one. */
static pgr_status grow_tables(kv_cache *c, size_t cap, pgr_error *err) {
    uint8_t **pages = mem_resize(c->pages, cap * sizeof *pages);
    if (!pages) return fail_mem(err);
    c->pages = pages;
    uint32_t *refs = mem_resize(c->refs, cap * sizeof *refs);
    if (!refs) return fail_mem(err);
    c->refs = refs;
    uint32_t *free_list = mem_resize(c->free_list, cap * sizeof *free_list);
    if (!free_list) return fail_mem(err);
    c->free_list = free_list;
    c->cap_page = cap;
    return PGR_OK;
}

/* A page more, free, what it holds arbitrary. */
static pgr_status add_page(kv_cache *c, pgr_error *err) {
    if (c->n_page == c->max_page)
        return fail(err, PGR_E_LIMIT, "the KV cache is full: it holds %zu tokens", c->max_page * KV_PAGE);
    if (c->n_page == c->cap_page) PGR_TRY(grow_tables(c, c->cap_page ? c->cap_page * 2 : 64, err));
    uint8_t *page = slab_alloc(&c->memory, c->page_bytes);
    if (!page) return fail_mem(err);
    c->pages[c->n_page] = page;
    c->refs[c->n_page] = 0;
    c->free_list[c->n_free++] = (uint32_t)c->n_page++;
    return PGR_OK;
}

static pgr_status new_page(kv_cache *c, uint32_t *out, pgr_error *err) {
    if (c->n_free == 0) PGR_TRY(add_page(c, err));
    *out = c->free_list[--c->n_free];
    c->refs[*out] = 1;
    memset(c->pages[*out], 0, c->page_bytes); /* attention reads whole pages: what is not valid must be finite */
    return PGR_OK;
}

static void touch_page(void *ctx, size_t i, size_t worker) {
    (void)worker;
    const kv_cache *c = ctx;
    memset(c->pages[c->free_list[i]], 0, c->page_bytes);
}

pgr_status kv_prepare(kv_cache *c, size_t n, pool *threads, pgr_error *err) {
    size_t want = n / KV_PAGE + (n % KV_PAGE != 0), old = c->n_free;
    if (want > c->max_page) want = c->max_page;
    while (c->n_page < want) PGR_TRY(add_page(c, err));
    pool_run(threads, c->n_free, touch_page, c);
    for (size_t i = old, k = c->n_free; i + 1 < k; i++) { /* the first is handed out first */
        uint32_t page = c->free_list[i];
        c->free_list[i] = c->free_list[--k];
        c->free_list[k] = page;
    }
    return PGR_OK;
}

static void drop_page(kv_cache *c, uint32_t page) {
    PGR_ASSERT(c->refs[page] > 0);
    if (--c->refs[page] == 0) c->free_list[c->n_free++] = page;
}

static pgr_status reserve_list(kv_seq *s, size_t n_page, pgr_error *err) {
    if (n_page <= s->cap_page) return PGR_OK;
    size_t cap = s->cap_page ? s->cap_page : 16;
    while (cap < n_page) cap *= 2;
    uint32_t *list = mem_resize(s->page, cap * sizeof *list);
    if (!list) return fail_mem(err);
    s->page = list;
    s->cap_page = cap;
    return PGR_OK;
}

/* The page that the next token goes to must be the sequence's own. */
static pgr_status own_last_page(kv_cache *c, kv_seq *s, pgr_error *err) {
    if (s->n_token % KV_PAGE == 0) return PGR_OK;
    uint32_t *last = &s->page[s->n_token / KV_PAGE];
    if (c->refs[*last] == 1) return PGR_OK;

    uint32_t copy;
    PGR_TRY(new_page(c, &copy, err));
    memcpy(c->pages[copy], c->pages[*last], c->page_bytes);
    drop_page(c, *last);
    *last = copy;
    return PGR_OK;
}

pgr_status kv_reserve(kv_cache *c, kv_seq *s, size_t n, pgr_error *err) {
    if (n == 0) return PGR_OK;
    PGR_TRY(own_last_page(c, s, err));
    size_t want = (s->n_token + n + KV_PAGE - 1) / KV_PAGE;
    PGR_TRY(reserve_list(s, want, err));
    while (s->n_page < want) {
        PGR_TRY(new_page(c, &s->page[s->n_page], err));
        s->n_page++;
    }
    return PGR_OK;
}

pgr_status kv_fork(kv_cache *c, kv_seq *dst, const kv_seq *src, size_t n_token, pgr_error *err) {
    PGR_ASSERT(dst->n_page == 0 && n_token <= src->n_token);
    size_t n_page = (n_token + KV_PAGE - 1) / KV_PAGE;
    PGR_TRY(reserve_list(dst, n_page, err));
    for (size_t i = 0; i < n_page; i++) {
        dst->page[i] = src->page[i];
        c->refs[src->page[i]]++;
    }
    dst->n_page = n_page;
    dst->n_token = n_token;
    return PGR_OK;
}

void kv_release(kv_cache *c, kv_seq *s) {
    for (size_t i = 0; i < s->n_page; i++) drop_page(c, s->page[i]);
    mem_free(s->page);
    *s = (kv_seq){0};
}

size_t kv_bytes(const kv_cache *c) {
    return c->n_page * c->page_bytes;
}
