/* lowrank.h - products with matrices of low rank, W = scale * b * a: what a LoRA adapter adds to a matrix product. */
#ifndef PGR_MATH_CPU_LOWRANK_H
#define PGR_MATH_CPU_LOWRANK_H

#include "base/pool.h"
#include "math/matrix.h"

/* W = scale * b * a; `column` is the caller's: out and N are the term's own.
 * out[m][n] += scale * sum_i b[n][i] * sum_k a[i][k] * x[m][k]     x: (M, K) rows ldx apart, out: (M, N) rows ldo apart
 * A row of out depends on its own row of x and out alone: bit-equal whatever M and the number of threads. */
void lowrank_add(const lowrank *w, float *out, size_t ldo, const float *x, size_t ldx, size_t M, pool *threads);

#endif
