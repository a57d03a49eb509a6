/* kernels_avx512.c - the kernels in vectors of 16 floats (AVX-512 F, BW, DQ, VL). Algorithms: kernels_simd.h. */
#include "math/cpu/kernels_level.h"

#if defined(__x86_64__)
#include <math.h>
#include <string.h>

#include "math/cpu/simd_avx512.h"

#define BLOCK_ROWS    6
#define BLOCK_VECTORS 4

/* clang-format off: one operation a line */
typedef __m512i vi;
typedef __m512d vd;

OP vd vd_zero(void) {
    return _mm512_setzero_pd();
}
OP vd vd_low(vf a) {
    return _mm512_cvtps_pd(_mm512_castps512_ps256(a));
}
OP vd vd_high(vf a) {
    return _mm512_cvtps_pd(_mm512_extractf32x8_ps(a, 1));
}
OP vd vd_fma(vd a, vd b, vd c) {
    return _mm512_fmadd_pd(a, b, c);
}
OP vd vd_add(vd a, vd b) {
    return _mm512_add_pd(a, b);
}
OP double vd_sum(vd a) {
    return _mm512_reduce_add_pd(a);
}

OP vf v_from_bits(vi i) {
    return _mm512_castsi512_ps(i);
}
OP vi vi_right(vi i, unsigned n) {
    return n ? _mm512_srli_epi32(i, n) : i;
}
OP vi vi_left(vi i, unsigned n) {
    return n ? _mm512_slli_epi32(i, n) : i;
}
OP vi vi_and(vi i, int32_t bits) {
    return _mm512_and_si512(i, _mm512_set1_epi32(bits));
}
OP vi vi_or(vi a, vi b) {
    return _mm512_or_si512(a, b);
}
OP vi vi_sub_bytes(vi i, int8_t byte) {
    return _mm512_sub_epi8(i, _mm512_set1_epi8(byte));
}
OP vf v_half(vi i) {
    return _mm512_cvtph_ps(_mm512_cvtepi32_epi16(i));
}

/* The permutations look at the low four or five bits of a lane only. */
OP vf v_nibble(vi i, unsigned shift) {
    const vf table = _mm512_setr_ps(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    return _mm512_permutexvar_ps(vi_right(i, shift), table);
}
OP vf v_five(vi i, unsigned shift) {
    const vf low = _mm512_setr_ps(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    const vf high = _mm512_setr_ps(16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31);
    return _mm512_permutex2var_ps(low, vi_right(i, shift), high);
}
OP vf v_ubyte(vi i, unsigned shift) {
    return _mm512_cvtepi32_ps(vi_and(vi_right(i, shift), 255));
}
OP vf v_byte(vi i, unsigned shift) {
    return _mm512_cvtepi32_ps(_mm512_srai_epi32(vi_left(i, 24 - shift), 24));
}

/* clang-format on */

/* Rows a, 4 + a, 8 + a, 12 + a in the four quarters: after the transposition inside the quarters rows are in order. */
OP vi load_quarters(const uint8_t *p, const size_t *offset) {
    vi v = _mm512_castsi128_si512(_mm_loadu_si128((const void *)(p + offset[0])));
    v = _mm512_inserti32x4(v, _mm_loadu_si128((const void *)(p + offset[4])), 1);
    v = _mm512_inserti32x4(v, _mm_loadu_si128((const void *)(p + offset[8])), 2);
    return _mm512_inserti32x4(v, _mm_loadu_si128((const void *)(p + offset[12])), 3);
}

OP void vi_dwords4(vi out[4], const uint8_t *p, const size_t offset[LANES]) {
    vi a = load_quarters(p, offset), b = load_quarters(p, offset + 1);
    vi c = load_quarters(p, offset + 2), d = load_quarters(p, offset + 3);
    vi ab = _mm512_unpacklo_epi32(a, b), cd = _mm512_unpacklo_epi32(c, d);
    out[0] = _mm512_unpacklo_epi64(ab, cd);
    out[1] = _mm512_unpackhi_epi64(ab, cd);
    ab = _mm512_unpackhi_epi32(a, b), cd = _mm512_unpackhi_epi32(c, d);
    out[2] = _mm512_unpacklo_epi64(ab, cd);
    out[3] = _mm512_unpackhi_epi64(ab, cd);
}

OP vi vi_dword(const uint8_t *p, const size_t offset[LANES]) {
    int32_t lane[LANES];
    for (size_t j = 0; j < LANES; j++) memcpy(lane + j, p + offset[j], sizeof *lane);
    return _mm512_loadu_si512(lane);
}

static void to_bf16_avx512(uint16_t *restrict out, const float *restrict x, size_t n) {
    for (size_t i = 0; i < n; i += LANES) {
        __mmask16 in = n - i < LANES ? first(n - i) : 0xffff;
        vf v = _mm512_maskz_loadu_ps(in, x + i);
        vi bits = _mm512_castps_si512(v), high = _mm512_srli_epi32(bits, 16);
        vi up = _mm512_add_epi32(_mm512_and_si512(high, _mm512_set1_epi32(1)), _mm512_set1_epi32(0x7fff));
        vi even = _mm512_srli_epi32(_mm512_add_epi32(bits, up), 16);
        vi quiet = _mm512_or_si512(high, _mm512_set1_epi32(0x40)); /* NaN stays NaN */
        even = _mm512_mask_blend_epi32(_mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q), even, quiet);
        _mm256_mask_storeu_epi16(out + i, in, _mm512_cvtepi32_epi16(even));
    }
}

#define TO_BF16 to_bf16_avx512

#include "math/cpu/kernels_simd.h"

const kernels *kernels_avx512(bool has_bf16, bool has_vnni) {
    static const kernels tables[2][2] = {{SIMD_TABLE("avx512", avx2, avx2), SIMD_TABLE("avx512", avx2, avx512)},
                                         {SIMD_TABLE("avx512", avx512, avx2), SIMD_TABLE("avx512", avx512, avx512)}};
    return &tables[has_bf16][has_vnni];
}
#endif
