/* gemm_f32.h - products with fp32 weights in panels. Internal to gemm.c. */
#ifndef PGR_MATH_CPU_GEMM_F32_H
#define PGR_MATH_CPU_GEMM_F32_H

#include "math/cpu/gemm_panels.h"

/* w: of GEMM_F32 */
pgr_status f32_run(const panel_weights *w, const gemm_call *call, pool *threads, pgr_error *err);

#endif
