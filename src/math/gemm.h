/* gemm.h - matrix products with weights: out = x * W^T. W is (N, K) as GGUF stores it: N rows of K values.
 *
 * Forms: GEMM_FILE keeps the file's blocks, dequantises GEMM_TILE output columns at a time and multiplies in fp32 (any
 * CPU, least memory). GEMM_F32, GEMM_BF16 and GEMM_INT8 convert once and multiply through oneDNN with packed weights.
 * A row of out depends on its row of x alone: bit-equal whatever M, the rows beside it and the number of threads. */
#ifndef PGR_MATH_GEMM_H
#define PGR_MATH_GEMM_H

#include "base/pool.h"
#include "math/quant.h"

typedef enum gemm_form { GEMM_FILE, GEMM_F32, GEMM_BF16, GEMM_INT8 } gemm_form;

typedef struct gemm_weights gemm_weights;

/* data: N rows of K values of type t; must stay valid for GEMM_FILE. PGR_E_UNSUPPORTED (with the reason) where the CPU cannot run
 * the form (oneDNN's row-independent kernels need AVX-512; GEMM_F32 falls back to its own tiles instead). */
pgr_status gemm_create(gemm_form form, quant_type t, const void *data, size_t N, size_t K, pool *threads,
                       gemm_weights **out, pgr_error *err);
void gemm_free(gemm_weights *w);
size_t gemm_bytes(const gemm_weights *w); /* memory of its own, beyond data */

/* out[m][n] = sum_k x[m][k] * W[n][k]                              x: (M, K) dense rows, out: (M, N) dense rows
 * threads: several calls on one w at once are fine. */
pgr_status gemm_run(const gemm_weights *w, float *out, const float *x, size_t M, pool *threads, pgr_error *err);

#endif
