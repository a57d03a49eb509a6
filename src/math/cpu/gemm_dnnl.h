/* gemm_dnnl.h - weights packed for oneDNN: GEMM_F32. Internal to gemm.c. */
#ifndef PGR_MATH_CPU_GEMM_DNNL_H
#define PGR_MATH_CPU_GEMM_DNNL_H

#include "math/cpu/gemm_stack.h"

typedef struct dnnl_weights dnnl_weights;

/* PGR_E_UNSUPPORTED where oneDNN has no row-independent kernel for this CPU. */
pgr_status dnnl_weights_create(const gemm_stack *s, pool *threads, dnnl_weights **out, pgr_error *err);
void dnnl_weights_free(dnnl_weights *w);
size_t dnnl_weights_bytes(const dnnl_weights *w);
pgr_status dnnl_weights_run(const dnnl_weights *w, const gemm_call *call, pool *threads, pgr_error *err);

#endif
