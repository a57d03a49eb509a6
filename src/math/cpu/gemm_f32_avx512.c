/* gemm_f32_avx512.c - products of fp32 panels in vectors of 16 floats (AVX-512 F). The algorithm: gemm_f32_simd.h. */
#include "math/cpu/gemm_kernels.h"

#if defined(__x86_64__)
#include "math/cpu/simd_avx512.h"

#define QUADS   3
#define VECTORS 2
#include "math/cpu/gemm_f32_simd.h"

const gemm_kernels *gemm_f32_avx512(void) {
    static const gemm_kernels table = F32_TABLE;
    return &table;
}
#endif
