/* gemm_dnnl.h - weights packed for oneDNN: GEMM_F32, GEMM_BF16 and GEMM_INT8. Internal to gemm.c. */
#ifndef PGR_MATH_GEMM_DNNL_H
#define PGR_MATH_GEMM_DNNL_H

#include "math/gemm.h"

typedef struct packed_weights packed_weights;

/* PGR_E_UNSUPPORTED where oneDNN has no row-independent kernel for this CPU and form. */
pgr_status packed_create(gemm_form form, quant_type t, const void *data, size_t N, size_t K, pool *threads,
                         packed_weights **out, pgr_error *err);
void packed_free(packed_weights *w);
size_t packed_bytes(const packed_weights *w);
pgr_status packed_run(const packed_weights *w, float *out, const float *x, size_t M, pool *threads, pgr_error *err);

#endif
