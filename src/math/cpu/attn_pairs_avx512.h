/* attn_pairs_avx512.h - what kernels_attn.h wants defined for bf16 by the pair products of AVX-512 BF16. */
#ifndef PGR_MATH_CPU_ATTN_PAIRS_AVX512_H
#define PGR_MATH_CPU_ATTN_PAIRS_AVX512_H

#include <math.h>
#include <string.h>

#include "math/cpu/simd_avx512.h"
#include "math/cpu/simd_exp.h"

typedef uint16_t attn_value;

INLINE vf v_mac(vf x, vf column, vf sum) {
    return _mm512_dpbf16_ps(sum, (__m512bh)x, (__m512bh)column);
}

INLINE vf v_weight(vf u) {
    return v_exp2_short(_mm512_mul_ps(u, _mm512_set1_ps(0x1.715476p+0f))); /* 1 / ln 2 */
}

INLINE vf v_put_weights(void *p, vf low, vf high, vf sum) {
    __m512bh rounded = _mm512_cvtne2ps_pbh(high, low), ones = (__m512bh)_mm512_set1_epi16(0x3f80);
    _mm512_storeu_si512(p, (__m512i)rounded);
    return _mm512_dpbf16_ps(sum, rounded, ones);
}

#endif
