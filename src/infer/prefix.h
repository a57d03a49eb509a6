/* prefix.h - the prefix tree: which beginnings of token sequences have their K and V in the cache. A radix tree over
 * tokens; a node shares the pages of the sequence that it was made from, so that a beginning costs its pages once
 * however many prompts, samples and users go on from it. K and V depend on the adapters too: beginnings under
 * different keys have nothing in common. Least recently used ends go first, whatever their key. Not thread-safe. */
#ifndef PGR_INFER_PREFIX_H
#define PGR_INFER_PREFIX_H

#include "model/kv.h"

typedef struct prefix_tree prefix_tree;

/* kv must outlive the tree. */
pgr_status prefix_create(kv_cache *kv, prefix_tree **out, pgr_error *err);
void prefix_free(prefix_tree *t); /* gives all pages back; NULL is fine */

/* seq (empty) becomes the longest known beginning of tokens, maybe none: seq->n_token says how long.  tokens: (n) */
pgr_status prefix_take(prefix_tree *t, uint64_t key, const int32_t *tokens, size_t n, kv_seq *seq, pgr_error *err);

/* Keeps seq's pages as the beginning `tokens`; seq goes on as it is.       tokens: (n), seq holds at least n of them */
pgr_status prefix_put(prefix_tree *t, uint64_t key, const int32_t *tokens, size_t n, const kv_seq *seq,
                      pgr_error *err);

/* Drops the end that was not used for longest. False: the tree is empty. */
bool prefix_evict(prefix_tree *t);
void prefix_clear(prefix_tree *t);

size_t prefix_count(const prefix_tree *t);  /* nodes */
size_t prefix_tokens(const prefix_tree *t); /* tokens on all edges: each kept token once */
size_t prefix_pages(const prefix_tree *t);  /* pages of the cache that they take: at most one a node too many */

#endif
