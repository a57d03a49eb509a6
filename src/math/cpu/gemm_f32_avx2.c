/* gemm_f32_avx2.c - products of fp32 panels in vectors of 8 floats (AVX2, FMA). The algorithm: gemm_f32_simd.h. */
#include "math/cpu/gemm_kernels.h"

#if defined(__x86_64__)
#include "math/cpu/simd_avx2.h"

#define QUADS   1
#define VECTORS 3
#include "math/cpu/gemm_f32_simd.h"

const gemm_kernels *gemm_f32_avx2(void) {
    static const gemm_kernels table = F32_TABLE;
    return &table;
}
#endif
