/* attn_avx2_bf16.c - attention over a chunk of tokens with K and V in bf16, widened to fp32. Algorithm:
 * kernels_attn.h. */
#include "math/cpu/kernels_level.h"

#if defined(__x86_64__)
#include <math.h>
#include <string.h>

#include "math/cpu/simd_avx2.h"
#include "math/cpu/simd_exp.h"

typedef uint16_t attn_value;

INLINE vf v_mac(vf x, vf column, vf sum) {
    vi a = _mm256_castps_si256(x), b = _mm256_castps_si256(column);
    sum = v_fma(v_bf16_first(a), v_bf16_first(b), sum);
    return v_fma(v_bf16_second(a), v_bf16_second(b), sum);
}

INLINE vf v_weight(vf u) {
    return v_exp2_short(v_mul(u, v_set1(0x1.715476p+0f))); /* 1 / ln 2 */
}

INLINE vf v_put_weights(void *p, vf low, vf high, vf sum) {
    __m256i rounded = _mm256_set_m128i(v_to_bf16(high), v_to_bf16(low));
    _mm256_storeu_si256(p, rounded);
    return v_add(v_add(sum, v_bf16_first(rounded)), v_bf16_second(rounded));
}

#define ATTN_KERNEL void kernel_attn_chunk_bf16_avx2
#include "math/cpu/kernels_attn.h"
#endif
