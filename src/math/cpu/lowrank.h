/* lowrank.h - products with matrices of low rank, W = scale * b * a: what LoRA adapters add to a matrix product. */
#ifndef PGR_MATH_CPU_LOWRANK_H
#define PGR_MATH_CPU_LOWRANK_H

#include "base/pool.h"
#include "math/matrix.h"

/* n terms with the same K, in their order, each to its own columns of out:
 *   out[m][column + c] += scale * sum_i b[c][i] * sum_k a[i][k] * x[m][k]
 *                                                  x: (M, K) rows ldx apart, out: (M, every term's column + N) rows ldo
 * A row of out depends on its own row of x and out alone: bit-equal whatever M and the number of threads, and to one
 * term after the other. On an error (PGR_E_MEM) out is as before. */
pgr_status lowrank_add(const lowrank *terms, size_t n, float *out, size_t ldo, const float *x, size_t ldx, size_t M,
                       pool *threads, pgr_error *err);

#endif
