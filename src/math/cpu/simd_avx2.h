/* simd_avx2.h - operations on vectors of 8 floats (AVX2, FMA); what each does: kernels_simd.h. */
#ifndef PGR_MATH_CPU_SIMD_AVX2_H
#define PGR_MATH_CPU_SIMD_AVX2_H

#include <immintrin.h>
#include <stddef.h>

#define LANES 8
#define OP    static inline __attribute__((always_inline))

/* clang-format off: one operation a line */
typedef __m256 vf;
typedef __m256i vi;

/* all ones in the first n lanes */
OP vi first(size_t n) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

OP vf v_load(const float *p) { return _mm256_loadu_ps(p); }
OP void v_store(float *p, vf v) { _mm256_storeu_ps(p, v); }
OP vf v_load_n(const float *p, size_t n) { return _mm256_maskload_ps(p, first(n)); }
OP void v_store_n(float *p, vf v, size_t n) { _mm256_maskstore_ps(p, first(n), v); }
OP vf v_keep(vf v, size_t n, vf fill) { return _mm256_blendv_ps(fill, v, _mm256_castsi256_ps(first(n))); }
OP vf v_set1(float x) { return _mm256_set1_ps(x); }
OP vf v_zero(void) { return _mm256_setzero_ps(); }
OP vf v_add(vf a, vf b) { return _mm256_add_ps(a, b); }
OP vf v_sub(vf a, vf b) { return _mm256_sub_ps(a, b); }
OP vf v_mul(vf a, vf b) { return _mm256_mul_ps(a, b); }
OP vf v_div(vf a, vf b) { return _mm256_div_ps(a, b); }
OP vf v_fma(vf a, vf b, vf c) { return _mm256_fmadd_ps(a, b, c); }
OP vf v_max(vf a, vf b) { return _mm256_max_ps(a, b); }
OP vf v_min(vf a, vf b) { return _mm256_min_ps(a, b); }
OP vf v_round(vf a) { return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }

OP vf v_firsts(vf a) { return _mm256_moveldup_ps(a); }
OP vf v_seconds(vf a) { return _mm256_movehdup_ps(a); }
OP vf v_swap(vf a) { return _mm256_permute_ps(a, 0xb1); }
OP vf v_minus_first(vf a) { return _mm256_xor_ps(a, _mm256_castsi256_ps(_mm256_set1_epi64x((long long)0x80000000))); }
OP vf v_in_order(vf a) { return _mm256_castpd_ps(_mm256_permute4x64_pd(_mm256_castps_pd(a), 0xd8)); }
OP vf v_evens(vf low, vf high) { return v_in_order(_mm256_shuffle_ps(low, high, 0x88)); }
OP vf v_odds(vf low, vf high) { return v_in_order(_mm256_shuffle_ps(low, high, 0xdd)); }

/* In two steps, so that both powers are normal; only the second one can round. */
OP vf v_exp2_times(vf p, vf n) {
    vi i = _mm256_cvtps_epi32(n), half = _mm256_srai_epi32(i, 1), rest = _mm256_sub_epi32(i, half);
    vi bias = _mm256_set1_epi32(127);
    vf a = _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(half, bias), 23));
    vf b = _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(rest, bias), 23));
    return _mm256_mul_ps(_mm256_mul_ps(p, a), b);
}

OP float v_sum(vf a) {
    __m128 v = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    v = _mm_add_ps(v, _mm_movehl_ps(v, v));
    return _mm_cvtss_f32(_mm_add_ss(v, _mm_movehdup_ps(v)));
}

OP float v_top(vf a) {
    __m128 v = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    v = _mm_max_ps(v, _mm_movehl_ps(v, v));
    return _mm_cvtss_f32(_mm_max_ss(v, _mm_movehdup_ps(v)));
}
/* clang-format on */

/* 2^x to a relative error of 7.5e-5: simd_avx512.h's polynomial. x below -150 gives 0, NaN stays; above 127: not for
 * this. */
OP vf v_exp2_short(vf x) {
    x = v_max(v_set1(-151.0f), x); /* in this order NaN stays */
    vf whole = _mm256_floor_ps(x), f = v_sub(x, whole);
    vf p = v_fma(f, v_set1(0x1.3f96a4p-4f), v_set1(0x1.cefc4cp-3f));
    p = v_fma(p, f, v_set1(0x1.64444cp-1f));
    p = v_fma(p, f, v_set1(0x1.fff632p-1f));
    return v_exp2_times(p, whole);
}

/* Rounded to bf16, to the nearest even; NaN stays. */
OP __m128i v_to_bf16(vf v) {
    vi bits = _mm256_castps_si256(v), high = _mm256_srli_epi32(bits, 16);
    vi up = _mm256_add_epi32(_mm256_and_si256(high, _mm256_set1_epi32(1)), _mm256_set1_epi32(0x7fff));
    vi even = _mm256_srli_epi32(_mm256_add_epi32(bits, up), 16), quiet = _mm256_or_si256(high, _mm256_set1_epi32(0x40));
    even = _mm256_blendv_epi8(even, quiet, _mm256_castps_si256(_mm256_cmp_ps(v, v, _CMP_UNORD_Q)));
    even = _mm256_permute4x64_epi64(_mm256_packus_epi32(even, even), 0x08);
    return _mm256_castsi256_si128(even);
}

/* The first and the second of pairs of bf16. */
OP vf v_bf16_first(vi pairs) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(pairs, 16));
}
OP vf v_bf16_second(vi pairs) {
    return _mm256_castsi256_ps(_mm256_and_si256(pairs, _mm256_set1_epi32((int)0xffff0000)));
}

#endif
