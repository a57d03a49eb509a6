/* pages.h - keys and values of sequences in pages: what attention's operations (ops.h) are told about them. */
#ifndef PGR_MATH_PAGES_H
#define PGR_MATH_PAGES_H

#include <stddef.h>
#include <stdint.h>

enum { KV_PAGE = 32 }; /* tokens in a page of the KV cache */

/* How keys and values are kept in pages. */
typedef enum kv_type { KV_F32, KV_BF16, KV_INT8 } kv_type;

size_t kv_block_bytes(kv_type type, size_t head_dim); /* K and V of a page, layer and KV head */

/* The memory behind page numbers: a page holds for every layer and KV head a block, K and then V, laid out as the
 * device wants it. What a block holds beyond the tokens that were stored must be finite. */
typedef struct kv_pages {
    kv_type type;
    size_t n_head_kv, block_bytes;
    uint8_t *const *pages; /* page p: (layers, n_head_kv) blocks */
} kv_pages;

/* A row whose key and value another sequence needs, too, in a page of its own. */
typedef struct row_copy {
    uint32_t row;
    const uint32_t *pages; /* the other sequence's list */
} row_copy;

/* The rows of a pass. Rows of one sequence stand together, in order of position, and have the same page list. */
typedef struct row_table {
    size_t n;
    const uint32_t *pos;          /* (n) position in its sequence: a row sees the tokens up to itself */
    const uint32_t *const *pages; /* (n) its sequence's list of pages: token t is in number t / KV_PAGE of it */
    const row_copy *copies;       /* (n_copy) stored once more: where sequences part in the middle of a page */
    size_t n_copy;
} row_table;

/* Of one softmax over some tokens: without tokens {-INFINITY, 0}. max + ln(sum) is the log of the sum of exp(score). */
typedef struct attn_state {
    float max; /* largest score, or what the device's kernel says */
    float sum; /* of exp(score - max) */
} attn_state;

#endif
