/* simd_avx512.h - operations on vectors of 16 floats (AVX-512 F, BW, DQ, VL); what each does: kernels_simd.h. */
#ifndef PGR_MATH_CPU_SIMD_AVX512_H
#define PGR_MATH_CPU_SIMD_AVX512_H

#include <immintrin.h>
#include <stddef.h>

#define LANES 16
#define OP static inline __attribute__((always_inline))

/* clang-format off: one operation a line */
typedef __m512 vf;

OP __mmask16 first(size_t n) { return (__mmask16)((1u << n) - 1); }

OP vf v_load(const float *p) { return _mm512_loadu_ps(p); }
OP void v_store(float *p, vf v) { _mm512_storeu_ps(p, v); }
OP vf v_load_n(const float *p, size_t n) { return _mm512_maskz_loadu_ps(first(n), p); }
OP void v_store_n(float *p, vf v, size_t n) { _mm512_mask_storeu_ps(p, first(n), v); }
OP vf v_keep(vf v, size_t n, vf fill) { return _mm512_mask_blend_ps(first(n), fill, v); }
OP vf v_set1(float x) { return _mm512_set1_ps(x); }
OP vf v_zero(void) { return _mm512_setzero_ps(); }
OP vf v_add(vf a, vf b) { return _mm512_add_ps(a, b); }
OP vf v_sub(vf a, vf b) { return _mm512_sub_ps(a, b); }
OP vf v_mul(vf a, vf b) { return _mm512_mul_ps(a, b); }
OP vf v_div(vf a, vf b) { return _mm512_div_ps(a, b); }
OP vf v_fma(vf a, vf b, vf c) { return _mm512_fmadd_ps(a, b, c); }
OP vf v_max(vf a, vf b) { return _mm512_max_ps(a, b); }
OP vf v_min(vf a, vf b) { return _mm512_min_ps(a, b); }
OP vf v_round(vf a) { return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
OP vf v_exp2_times(vf p, vf n) { return _mm512_scalef_ps(p, n); }
OP float v_sum(vf a) { return _mm512_reduce_add_ps(a); }
OP float v_top(vf a) { return _mm512_reduce_max_ps(a); }
OP vf v_firsts(vf a) { return _mm512_moveldup_ps(a); }
OP vf v_seconds(vf a) { return _mm512_movehdup_ps(a); }
OP vf v_swap(vf a) { return _mm512_permute_ps(a, 0xb1); }
OP vf v_minus_first(vf a) { return _mm512_xor_ps(a, _mm512_castsi512_ps(_mm512_set1_epi64((long long)0x80000000))); }
/* clang-format on */

/* 2^x to a relative error of 7.5e-5, for weights that are rounded to bf16 or bytes: the minimax polynomial of degree
 * 3 over the fraction (own fit), and its roundings, which are too small to count. x below -150 gives 0, NaN stays. */
OP vf v_exp2_short(vf x) {
    vf f = _mm512_reduce_ps(x, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
    vf p = _mm512_fmadd_ps(f, _mm512_set1_ps(0x1.3f96a4p-4f), _mm512_set1_ps(0x1.cefc4cp-3f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0x1.64444cp-1f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0x1.fff632p-1f));
    return _mm512_scalef_ps(p, x);
}

OP vf v_evens(vf low, vf high) {
    const __m512i lanes = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    return _mm512_permutex2var_ps(low, lanes, high);
}
OP vf v_odds(vf low, vf high) {
    const __m512i lanes = _mm512_setr_epi32(1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
    return _mm512_permutex2var_ps(low, lanes, high);
}

#endif
