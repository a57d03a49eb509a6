/* attention.h - attention of a pass's rows over the pages of their sequences. Rows that share pages share the work:
 * their query heads stand side by side in one product per chunk of 256 tokens, whatever sequences they belong to. A
 * row's result is that of its chunks, computed each from nothing and merged in order: it does not depend on which
 * rows shared what. */
#ifndef PGR_MATH_CPU_ATTENTION_H
#define PGR_MATH_CPU_ATTENTION_H

#include "math/cpu/kernels.h"
#include "math/ops.h"

typedef struct attention attention; /* plan of one pass, partial results, scratch */

pgr_status attention_create(const attn_shape *c, pool *threads, const kernels *k, attention **out, pgr_error *err);
void attention_free(attention *a);

/* Once per pass, when room is made for its rows: who is computed together. The arguments must stay for the runs. */
void attention_plan(attention *a, const kv_pages *kv, const row_table *rows);

/* One layer, when K and V of all rows are stored.                     out: (n_row, H, hd), q: the same, rotated,
 * softmax: (n_row, H) or NULL                              rows ldq values of the cache's type apart (bytes in int8) */
void attention_run(attention *a, size_t layer, float *out, attn_state *softmax, const void *q, size_t ldq);

/* Tests: room for n partial results (a row and a chunk each) from now on, at most as many as there are; returns what
 * it was. */
size_t attention_set_room(attention *a, size_t n);

/* K and V of one page, layer and KV head. */
static inline void *page_block(const kv_pages *kv, uint32_t page, size_t layer, size_t head) {
    return kv->pages[page] + (layer * kv->n_head_kv + head) * kv->block_bytes;
}

#endif
