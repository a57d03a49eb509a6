/* kernels_neon.c - the kernels in vectors of 4 floats (NEON, part of every aarch64). Algorithms: kernels_simd.h. K
 * and V in bf16 and int8 are plain C here. */
#include "math/cpu/kernels_level.h"

#if defined(__aarch64__)
#include "math/cpu/simd_neon.h"

#define BLOCK_ROWS    6
#define BLOCK_VECTORS 4

typedef float64x2_t vd;

/* clang-format off: one operation a line */
OP vd vd_zero(void) {
    return vdupq_n_f64(0.0);
}
OP vd vd_low(vf a) {
    return vcvt_f64_f32(vget_low_f32(a));
}
OP vd vd_high(vf a) {
    return vcvt_high_f64_f32(a);
}
OP vd vd_fma(vd a, vd b, vd c) {
    return vfmaq_f64(c, a, b);
}
OP vd vd_add(vd a, vd b) {
    return vaddq_f64(a, b);
}
OP double vd_sum(vd a) {
    return vgetq_lane_f64(a, 0) + vgetq_lane_f64(a, 1);
}

OP vf v_from_bits(vi i) {
    return vreinterpretq_f32_s32(i);
}
OP vi vi_and(vi i, int32_t bits) {
    return vandq_s32(i, vdupq_n_s32(bits));
}
OP vi vi_or(vi a, vi b) {
    return vorrq_s32(a, b);
}
OP vi vi_left(vi i, int n) {
    return vshlq_s32(i, vdupq_n_s32(n));
}
/* clang-format on */

OP vi vi_right(vi i, int n) {
    return vreinterpretq_s32_u32(vshlq_u32(vreinterpretq_u32_s32(i), vdupq_n_s32(-n)));
}
OP vi vi_sub_bytes(vi i, int8_t byte) {
    return vreinterpretq_s32_s8(vsubq_s8(vreinterpretq_s8_s32(i), vdupq_n_s8(byte)));
}
OP vf v_half(vi i) {
    return vcvt_f32_f16(vreinterpret_f16_u16(vmovn_u32(vreinterpretq_u32_s32(i))));
}

OP vf v_bits(vi i, int shift, int32_t mask) {
    return vcvtq_f32_s32(vi_and(vi_right(i, shift), mask));
}
OP vf v_nibble(vi i, int shift) {
    return v_bits(i, shift, 15);
}
OP vf v_five(vi i, int shift) {
    return v_bits(i, shift, 31);
}
OP vf v_ubyte(vi i, int shift) {
    return v_bits(i, shift, 255);
}
OP vf v_byte(vi i, int shift) {
    return vcvtq_f32_s32(vshlq_s32(vi_left(i, 24 - shift), vdupq_n_s32(-24)));
}

OP vi load_row(const uint8_t *p) {
    return vreinterpretq_s32_u8(vld1q_u8(p));
}

OP vi pairs(vi a, vi b, bool second) {
    int64x2_t x = vreinterpretq_s64_s32(a), y = vreinterpretq_s64_s32(b);
    return vreinterpretq_s32_s64(second ? vtrn2q_s64(x, y) : vtrn1q_s64(x, y));
}

OP void vi_dwords4(vi out[4], const uint8_t *p, const size_t offset[LANES]) {
    vi a = load_row(p + offset[0]), b = load_row(p + offset[1]), c = load_row(p + offset[2]),
       d = load_row(p + offset[3]);
    vi ab = vtrn1q_s32(a, b), cd = vtrn1q_s32(c, d), ab2 = vtrn2q_s32(a, b), cd2 = vtrn2q_s32(c, d);
    out[0] = pairs(ab, cd, false);
    out[1] = pairs(ab2, cd2, false);
    out[2] = pairs(ab, cd, true);
    out[3] = pairs(ab2, cd2, true);
}

OP vi vi_dword(const uint8_t *p, const size_t offset[LANES]) {
    int32_t lane[LANES];
    for (size_t j = 0; j < LANES; j++) memcpy(lane + j, p + offset[j], sizeof *lane);
    return vld1q_s32(lane);
}

#define TO_BF16 kernel_to_bf16_ref

#include "math/cpu/kernels_simd.h"

const kernels *kernels_neon(void) {
    static const kernels table = SIMD_TABLE("neon", ref, ref);
    return &table;
}
#endif
