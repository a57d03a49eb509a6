/* lowrank.h - products with matrices of low rank, W = scale * b * a: what a LoRA adapter adds to a matrix product. */
#ifndef PGR_MATH_CPU_LOWRANK_H
#define PGR_MATH_CPU_LOWRANK_H

#include "base/pool.h"

typedef struct lowrank {
    size_t N, K, r; /* W: (N, K), of rank r */
    float *a;       /* (r, K) */
    float *b;       /* (N, r) */
    float scale;
} lowrank;

/* out[m][n] += scale * sum_i b[n][i] * sum_k a[i][k] * x[m][k]      x: (M, K) rows ldx apart, out: (M, N) rows ldo apart
 * A row of out depends on its own row of x and out alone: bit-equal whatever M and the number of threads. */
void lowrank_add(const lowrank *w, float *out, size_t ldo, const float *x, size_t ldx, size_t M, pool *threads);

/* out[k] += W[row][k]: a row looked up in place of a product.                                                    out: (K) */
void lowrank_add_row(const lowrank *w, float *out, size_t row);

#endif
