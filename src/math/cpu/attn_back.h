/* attn_back.h - the products in attention's backward of a block of queries with a block of keys: in fp32, or in bf16
 * tiles where the CPU has them. Internal to math/cpu. Legend: R queries, n keys, hd values per head, B = BACK_BLOCK. */
#ifndef PGR_MATH_CPU_ATTN_BACK_H
#define PGR_MATH_CPU_ATTN_BACK_H

#include "math/cpu/device.h"

enum { BACK_BLOCK = GEMM_TILE }; /* most queries, most keys of a block */

typedef struct back_sizes { /* bytes, whole lines */
    size_t keys, queries, scratch;
} back_sizes;

typedef struct back_products {
    void (*sizes)(const cpu_ops *o, size_t hd, back_sizes *out);

    bool rounds; /* packing rounds to bf16 */

    /* A block's rows become what the products read.                 k, v: (n, hd), q, dout: (R, hd) */
    void (*pack_keys)(const cpu_ops *o, void *keys, const float *k, const float *v, size_t n, size_t hd, void *scratch);
    void (*pack_queries)(const cpu_ops *o, void *queries, const float *q, const float *dout, size_t R, size_t hd,
                         void *scratch);

    /* s = Q K^T, dp = dO V^T of the first n keys                                     s, dp: (R, n) rows B apart */
    void (*scores)(const cpu_ops *o, float *s, float *dp, const void *queries, const void *keys, size_t R, size_t n,
                   size_t hd);

    /* dq += dS K, dv += P^T dO, dk += dS^T Q of the first n of the block's `all` keys.
     *                           p, ds: (R, B) zeros from n on; dq: rows ldq apart, sums: (all, 2, hd) dk and dv of the
     *                           keys, in an order of its own */
    void (*gradients)(const cpu_ops *o, float *dq, size_t ldq, float *sums, const float *p, const float *ds,
                      const void *queries, const void *keys, size_t R, size_t n, size_t all, size_t hd, void *scratch);

    /* dk, dv += a block's sums.                                                      dk, dv: (all, hd) rows ld apart */
    void (*add)(const cpu_ops *o, float *dk, float *dv, size_t ld, const float *sums, size_t all, size_t hd,
                void *scratch);
} back_products;

const back_products *back_products_f32(void);
/* p, ds, q, k, v and dout are rounded to bf16; a thread's calls stand between the tiles' begin and end. NULL: this CPU
 * has no tiles, or they are not whole at hd. */
const back_products *back_products_tiles(const cpu_ops *o, size_t hd);

#endif
