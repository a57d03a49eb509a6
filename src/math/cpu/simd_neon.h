/* simd_neon.h - operations on vectors of 4 floats (NEON of aarch64); what each does: kernels_simd.h. */
#ifndef PGR_MATH_CPU_SIMD_NEON_H
#define PGR_MATH_CPU_SIMD_NEON_H

#include <arm_neon.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define LANES 4
#define OP    static inline __attribute__((always_inline))

typedef float32x4_t vf;
typedef int32x4_t vi;

OP uint32x4_t first(size_t n) {
    static const uint32_t lane[LANES] = {0, 1, 2, 3};
    return vcltq_u32(vld1q_u32(lane), vdupq_n_u32((uint32_t)n));
}

/* clang-format off: one operation a line */
OP vf v_load(const float *p) { return vld1q_f32(p); }
OP void v_store(float *p, vf v) { vst1q_f32(p, v); }
OP vf v_set1(float x) { return vdupq_n_f32(x); }
OP vf v_zero(void) { return vdupq_n_f32(0.0f); }
OP vf v_add(vf a, vf b) { return vaddq_f32(a, b); }
OP vf v_sub(vf a, vf b) { return vsubq_f32(a, b); }
OP vf v_mul(vf a, vf b) { return vmulq_f32(a, b); }
OP vf v_div(vf a, vf b) { return vdivq_f32(a, b); }
OP vf v_fma(vf a, vf b, vf c) { return vfmaq_f32(c, a, b); }
OP vf v_keep(vf v, size_t n, vf fill) { return vbslq_f32(first(n), v, fill); }
OP vf v_max(vf a, vf b) { return vbslq_f32(vcgtq_f32(a, b), a, b); } /* the second where one is NaN */
OP vf v_min(vf a, vf b) { return vbslq_f32(vcltq_f32(a, b), a, b); }
OP vf v_round(vf a) { return vrndnq_f32(a); }
OP vf v_firsts(vf a) { return vtrn1q_f32(a, a); }
OP vf v_seconds(vf a) { return vtrn2q_f32(a, a); }
OP vf v_swap(vf a) { return vrev64q_f32(a); }
OP vf v_evens(vf low, vf high) { return vuzp1q_f32(low, high); }
OP vf v_odds(vf low, vf high) { return vuzp2q_f32(low, high); }
/* clang-format on */

OP vf v_load_n(const float *p, size_t n) {
    float lane[LANES] = {0};
    memcpy(lane, p, n * sizeof *lane);
    return v_load(lane);
}

OP void v_store_n(float *p, vf v, size_t n) {
    float lane[LANES];
    v_store(lane, v);
    memcpy(p, lane, n * sizeof *lane);
}

OP vf v_minus_first(vf a) {
    uint32x4_t sign = vreinterpretq_u32_u64(vdupq_n_u64(0x80000000u));
    return vreinterpretq_f32_u32(veorq_u32(vreinterpretq_u32_f32(a), sign));
}

/* In two steps, so that both powers are normal; only the second one can round. */
OP vf v_exp2_times(vf p, vf n) {
    vi i = vcvtnq_s32_f32(n), half = vshrq_n_s32(i, 1), rest = vsubq_s32(i, half), bias = vdupq_n_s32(127);
    vf a = vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(half, bias), 23));
    vf b = vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(rest, bias), 23));
    return vmulq_f32(vmulq_f32(p, a), b);
}

OP float v_sum(vf a) {
    float32x2_t v = vadd_f32(vget_low_f32(a), vget_high_f32(a));
    return vget_lane_f32(v, 0) + vget_lane_f32(v, 1);
}

OP float v_top(vf a) {
    float x[LANES];
    v_store(x, a);
    float low = x[0] > x[2] ? x[0] : x[2], high = x[1] > x[3] ? x[1] : x[3];
    return low > high ? low : high;
}

#endif
