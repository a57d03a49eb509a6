/* x86_none.c - in place of the files for AVX2 and AVX-512 in a build for another processor: it has none of these levels. */
#include "math/cpu/gemm_kernels.h"
#include "math/cpu/kernels.h"

const kernels *kernels_avx2(void) {
    return NULL;
}

const kernels *kernels_avx512(void) {
    return NULL;
}

const gemm_kernels *gemm_int8_avx512(void) {
    return NULL;
}

const gemm_kernels *gemm_bf16_avx512(void) {
    return NULL;
}
