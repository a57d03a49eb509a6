/* bytes_avx512.h - with AVX-512: values of a row, its blocks rounded to bytes with a scale, and those of weights. What
 * is computed: gemm_ref.c. */
#ifndef PGR_MATH_CPU_BYTES_AVX512_H
#define PGR_MATH_CPU_BYTES_AVX512_H

#include <immintrin.h>
#include <math.h>
#include <string.h>

#include "math/cpu/gemm_kernels.h"
#include "math/quant.h"

#define INLINE static inline __attribute__((always_inline))
#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 24")
#endif

enum { LINE = 64 };

/* Values k .. k + 15 of a row of K; zeros beyond it. */
INLINE __m512 load_values(const float *x, size_t k, size_t K) {
    if (k + 16 <= K) return _mm512_loadu_ps(x + k);
    return k >= K ? _mm512_setzero_ps() : _mm512_maskz_loadu_ps((__mmask16)((1u << (K - k)) - 1), x + k);
}

INLINE float largest(const __m512 v[INT8_BLOCK / 16]) {
    __m512i top = _mm512_setzero_si512();
    UNROLL for (size_t i = 0; i < INT8_BLOCK / 16; i++) top =
        _mm512_max_epi32(top, _mm512_and_si512(_mm512_castps_si512(v[i]), _mm512_set1_epi32(0x7fffffff)));
    int32_t bits = _mm512_reduce_max_epi32(top); /* NaN is above all */
    float max;
    memcpy(&max, &bits, sizeof max);
    return max;
}

INLINE __m128i to_bytes(__m512 v, float inverse) {
    return _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(_mm512_mul_ps(v, _mm512_set1_ps(inverse))));
}

/* kernel_to_int8_ref of a block, v: its values */
INLINE float quantise_block(__m128i out[INT8_BLOCK / 16], const __m512 v[INT8_BLOCK / 16]) {
    float max = largest(v), inverse = 127.0f / max;
    bool usable = isfinite(max) && isfinite(inverse);
    UNROLL for (size_t i = 0; i < INT8_BLOCK / 16; i++) out[i] = usable ? to_bytes(v[i], inverse) : _mm_setzero_si128();
    return usable ? max / 127.0f : isfinite(max) ? 0.0f : NAN;
}

/* The bytes of 64 values. */
INLINE __m512i join(const __m128i q[INT8_BLOCK / 16]) {
    __m512i all = _mm512_inserti32x4(_mm512_castsi128_si512(q[0]), q[1], 1);
    return _mm512_inserti32x4(_mm512_inserti32x4(all, q[2], 2), q[3], 3);
}

/* -128 * the sum of 64 bytes: what a product with bytes q + 128 begins with. */
INLINE int32_t start_of(__m512i bytes) {
    return -_mm512_reduce_add_epi32(_mm512_dpbusd_epi32(_mm512_setzero_si512(), _mm512_set1_epi8((char)128), bytes));
}

INLINE void load_block(__m512 v[INT8_BLOCK / 16], const float *x, size_t k, size_t K) {
    UNROLL for (size_t i = 0; i < INT8_BLOCK / 16; i++) v[i] = load_values(x, k + i * 16, K);
}

/* A block of gemm_ref.c's int8_pack_column: bytes q + 128, and the scale's bits. */
INLINE uint16_t pack_block(__m512i *out, const __m512 v[INT8_BLOCK / 16]) {
    uint16_t bits = gemm_int8_scale(largest(v));
    float scale = bf16_to_f32(bits), inverse = 1.0f / scale;
    __m128i q[INT8_BLOCK / 16];
    bool usable = isfinite(scale) && isfinite(inverse);
    UNROLL for (size_t i = 0; i < INT8_BLOCK / 16; i++) q[i] = usable ? to_bytes(v[i], inverse) : _mm_setzero_si128();
    *out = _mm512_xor_si512(join(q), _mm512_set1_epi8((char)128));
    return bits;
}

/* The four bytes at p, in every lane. */
INLINE __m512i spread(const char *p) {
    return _mm512_set1_epi32(*(const int32_t *)(const void *)p);
}

/* s + the products of w with x. By name: gcc's intrinsic copies sums about. */
INLINE __m512i dot_bytes(__m512i s, __m512i w, __m512i x) {
    __asm__("vpdpbusd %2, %1, %0" : "+v"(s) : "v"(w), "v"(x));
    return s;
}

#endif
