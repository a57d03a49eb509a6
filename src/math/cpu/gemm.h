/* gemm.h - matrix products with weights: out = x * W^T. W is (N, K) as GGUF stores it: N rows of K values. How the
 * forms of matrix.h are computed:
 *
 * GEMM_FILE  dequantises GEMM_TILE output columns at a time and multiplies in fp32 (any CPU).
 * GEMM_F32   own kernels (AVX2, AVX-512), or by tiles from fp32 rows: the same bits on any CPU.
 * GEMM_BF16  own kernels. With AVX512_BF16 x is rounded to bf16, too; at every other level it stays as it is, and the
 *            bits are the same.
 * GEMM_INT8  own kernels, the same bits on any CPU; but a stack that is all of Q4_1 keeps the file's four bits where
 *            the CPU has no VNNI (gemm_kernels.h, q4), with the same bits on any of those.
 * A row of out depends on its row of x alone: bit-equal whatever M, the rows beside it and the number of threads. */
#ifndef PGR_MATH_CPU_GEMM_H
#define PGR_MATH_CPU_GEMM_H

#include <stdbool.h>

#include "math/cpu/step.h"
#include "math/matrix.h"

typedef struct gemm_weights gemm_weights;

/* The parts one below the other as a single W of N = sum of theirs: a row of out is part 0's columns, then part 1's,
 * ... with the bits that each part alone gives. parts: copied. memory: for packed weights, must stay as long as they;
 * NULL: their own. PGR_E_UNSUPPORTED (with the reason) where the CPU cannot run the form. */
pgr_status gemm_create_stack(gemm_form form, const gemm_part *parts, size_t n_part, size_t K, slab *memory,
                             pool *threads, gemm_weights **out, pgr_error *err);
/* A stack of one with its own memory. */
pgr_status gemm_create(gemm_form form, quant_type t, const void *data, size_t N, size_t K, pool *threads,
                       gemm_weights **out, pgr_error *err);
void gemm_free(gemm_weights *w);
size_t gemm_bytes(const gemm_weights *w); /* memory of its own, beyond data */

/* A product with what comes before and after it, so that these need no job of their own. */
typedef struct gemm_call {
    float *out;     /* (M, N) dense rows; must not overlap x */
    const float *x; /* (M, K) rows ldx apart */
    size_t ldx;     /* 0: K */
    size_t M;
    const step_job *before; /* NULL, or makes row m of x for every m < M before that is read */
    bool add;               /* out[m][n] += the sum (the finished sum is added), not = */
} gemm_call;

/* threads: several calls on one w at once are fine. GEMM_BF16 and GEMM_INT8 are one job of the pool and need no
 * memory but what the pool keeps. On an error out is arbitrary and before may have run. */
pgr_status gemm_run_call(const gemm_weights *w, const gemm_call *call, pool *threads, pgr_error *err);

/* out[m][n] = sum_k x[m][k] * W[n][k]                              x: (M, K) dense rows, out: (M, N) dense rows */
pgr_status gemm_run(const gemm_weights *w, float *out, const float *x, size_t M, pool *threads, pgr_error *err);

#endif
