/* kv.h - the paged KV cache: pages of KV_PAGE tokens with reference counts, and sequences that are lists of pages.
 * Sequences that share a beginning share its pages; a page that is shared is copied before it is written. Not
 * thread-safe.
 *
 * A page holds for every layer and KV head a block: K, then V (ops.h). */
#ifndef PGR_MODEL_KV_H
#define PGR_MODEL_KV_H

#include "base/pool.h"
#include "base/slab.h"
#include "base/status.h"
#include "format/config.h"
#include "math/ops.h"

typedef struct kv_cache {
    size_t n_layer, n_head_kv, head_dim;
    kv_type type;        /* of the values */
    size_t page_bytes, block_bytes; /* of a page, of a layer and KV head in it */
    uint8_t **pages;     /* (n_page) */
    slab memory;         /* of the pages */
    uint32_t *refs;      /* (n_page) 0: free */
    size_t n_page, cap_page, max_page;
    uint32_t *free_list; /* (n_page) */
    size_t n_free;
} kv_cache;

typedef struct kv_seq {
    uint32_t *page; /* (n_page) indices into the cache */
    size_t n_page, cap_page;
    size_t n_token; /* tokens whose K and V are stored */
} kv_seq;           /* all zero is an empty sequence */

pgr_status kv_init(kv_cache *c, const config *m, kv_type type, size_t max_token, pgr_error *err);
void kv_limit(kv_cache *c, size_t bytes); /* pages take no more than this, if that is less than max_token's */
void kv_close(kv_cache *c);

/* Takes memory for n tokens in all (at most what the cache holds) and touches it, in parallel: no sequence has to
 * wait for the system to find and clear pages then. */
pgr_status kv_prepare(kv_cache *c, size_t n, pool *threads, pgr_error *err);

/* Makes room for n more tokens: appends pages, copies a shared last page. PGR_E_LIMIT when the cache is full. */
pgr_status kv_reserve(kv_cache *c, kv_seq *s, size_t n, pgr_error *err);
/* dst (empty) becomes the first n_token tokens of src, sharing its pages. */
pgr_status kv_fork(kv_cache *c, kv_seq *dst, const kv_seq *src, size_t n_token, pgr_error *err);
void kv_release(kv_cache *c, kv_seq *s); /* s is empty afterwards */
size_t kv_bytes(const kv_cache *c);           /* of all pages, free ones too */

kv_pages kv_view(const kv_cache *c); /* as operations take them; valid until pages are added */

/* K and V of one page, layer and KV head: kv_block_bytes */
static inline void *kv_block(const kv_cache *c, uint32_t page, size_t layer, size_t head) {
    return c->pages[page] + (layer * c->n_head_kv + head) * c->block_bytes;
}

#endif
