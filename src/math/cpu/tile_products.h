/* tile_products.h - products of small matrices that are both packed for one use, by the tiles that multiply packed
 * bf16 weights (cpu_level's `tiles`). Internal to math/cpu. A thread's calls of tile_product stand between the tiles'
 * begin and end. */
#ifndef PGR_MATH_CPU_TILE_PRODUCTS_H
#define PGR_MATH_CPU_TILE_PRODUCTS_H

#include "math/cpu/gemm_kernels.h"

/* Bytes of `columns` columns of K values in panels, of `rows` rows of K values in quads, as many as a product reads. */
static inline size_t tile_panels(const gemm_kernels *t, size_t columns, size_t K) {
    return (columns + t->panel - 1) / t->panel * t->panel_bytes(K);
}

static inline size_t tile_quads(const gemm_kernels *t, size_t rows, size_t K) {
    return (rows + MOST_BLOCK_ROWS - 1) / MOST_BLOCK_ROWS * (MOST_BLOCK_ROWS / QUAD) * t->quad_bytes(K);
}

/* Row i of w becomes column i.                                                        w: (n, K) rows ldw apart */
static inline void tile_pack_along(const gemm_kernels *t, void *to, const float *w, size_t ldw, size_t n, size_t K) {
    for (size_t i = 0; i < n; i++)
        t->pack_column((char *)to + i / t->panel * t->panel_bytes(K), i % t->panel, w + i * ldw, K);
}

/* Column i of w becomes column i, of n values.                                     w: (n, columns) rows ldw apart */
static inline void tile_pack_across(const gemm_kernels *t, void *to, const float *w, size_t ldw, size_t n,
                                    size_t columns) {
    for (size_t c = 0; c < columns; c += t->panel, to = (char *)to + t->panel_bytes(n))
        t->pack_rows(to, w + c, ldw, n, columns - c < t->panel ? columns - c : t->panel);
}

static inline void tile_pack_quads(const gemm_kernels *t, void *to, const float *x, size_t ldx, size_t n, size_t K) {
    for (size_t i = 0; i < n; i += QUAD, to = (char *)to + t->quad_bytes(K))
        t->pack_quad(to, x + i * ldx, ldx, n - i < QUAD ? n - i : QUAD, K);
}

/* out (M, N) = X W, or more: in chains that begin with out                     x: quads, w: panels, both of K values */
static inline void tile_product(const gemm_kernels *t, float *out, size_t ldo, const void *x, const void *w, size_t M,
                                size_t N, size_t K, bool more) {
    for (size_t c = 0; c < N; c += t->panel, w = (const char *)w + t->panel_bytes(K))
        for (size_t m = 0; m < M; m += t->block_rows) {
            size_t rows = M - m < t->block_rows ? M - m : t->block_rows, columns = N - c < t->panel ? N - c : t->panel;
            const void *quads = (const char *)x + m / QUAD * t->quad_bytes(K);
            if (more)
                t->extend(out + m * ldo + c, ldo, rows, columns, quads, w, K);
            else
                t->multiply(out + m * ldo + c, ldo, rows, columns, quads, w, K, false);
        }
}

#endif
