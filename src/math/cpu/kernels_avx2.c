/* kernels_avx2.c - the kernels in vectors of 8 floats (AVX2, FMA, F16C). Algorithms: kernels_simd.h. */
#include "math/cpu/kernels_level.h"

#if defined(__x86_64__)
#include <string.h>

#include "math/cpu/simd_avx2.h"

#define BLOCK_ROWS    6
#define BLOCK_VECTORS 2

/* clang-format off: one operation a line */
typedef __m256d vd;

OP vd vd_zero(void) {
    return _mm256_setzero_pd();
}
OP vd vd_low(vf a) {
    return _mm256_cvtps_pd(_mm256_castps256_ps128(a));
}
OP vd vd_high(vf a) {
    return _mm256_cvtps_pd(_mm256_extractf128_ps(a, 1));
}
OP vd vd_fma(vd a, vd b, vd c) {
    return _mm256_fmadd_pd(a, b, c);
}
OP vd vd_add(vd a, vd b) {
    return _mm256_add_pd(a, b);
}
OP double vd_sum(vd a) {
    __m128d v = _mm_add_pd(_mm256_castpd256_pd128(a), _mm256_extractf128_pd(a, 1));
    return _mm_cvtsd_f64(_mm_add_sd(v, _mm_unpackhi_pd(v, v)));
}

OP vf v_from_bits(vi i) {
    return _mm256_castsi256_ps(i);
}
OP vi vi_right(vi i, int n) {
    return n ? _mm256_srli_epi32(i, n) : i;
}
OP vi vi_left(vi i, int n) {
    return n ? _mm256_slli_epi32(i, n) : i;
}
OP vi vi_and(vi i, int32_t bits) {
    return _mm256_and_si256(i, _mm256_set1_epi32(bits));
}
OP vi vi_or(vi a, vi b) {
    return _mm256_or_si256(a, b);
}
OP vi vi_sub_bytes(vi i, int8_t byte) {
    return _mm256_sub_epi8(i, _mm256_set1_epi8(byte));
}
OP vf v_half(vi i) {
    vi low = _mm256_and_si256(i, _mm256_set1_epi32(0xffff));
    return _mm256_cvtph_ps(_mm_packus_epi32(_mm256_castsi256_si128(low), _mm256_extracti128_si256(low, 1)));
}

OP vf v_nibble(vi i, int shift) {
    return _mm256_cvtepi32_ps(vi_and(vi_right(i, shift), 15));
}
OP vf v_five(vi i, int shift) {
    return _mm256_cvtepi32_ps(vi_and(vi_right(i, shift), 31));
}
OP vf v_ubyte(vi i, int shift) {
    return _mm256_cvtepi32_ps(vi_and(vi_right(i, shift), 255));
}
OP vf v_byte(vi i, int shift) {
    return _mm256_cvtepi32_ps(_mm256_srai_epi32(vi_left(i, 24 - shift), 24));
}

/* clang-format on */

/* Rows a and 4 + a in the two halves: after the transposition inside the halves rows are in order. */
OP vi load_halves(const uint8_t *p, const size_t *offset) {
    vi v = _mm256_castsi128_si256(_mm_loadu_si128((const void *)(p + offset[0])));
    return _mm256_inserti128_si256(v, _mm_loadu_si128((const void *)(p + offset[4])), 1);
}

OP void vi_dwords4(vi out[4], const uint8_t *p, const size_t offset[LANES]) {
    vi a = load_halves(p, offset), b = load_halves(p, offset + 1);
    vi c = load_halves(p, offset + 2), d = load_halves(p, offset + 3);
    vi ab = _mm256_unpacklo_epi32(a, b), cd = _mm256_unpacklo_epi32(c, d);
    out[0] = _mm256_unpacklo_epi64(ab, cd);
    out[1] = _mm256_unpackhi_epi64(ab, cd);
    ab = _mm256_unpackhi_epi32(a, b), cd = _mm256_unpackhi_epi32(c, d);
    out[2] = _mm256_unpacklo_epi64(ab, cd);
    out[3] = _mm256_unpackhi_epi64(ab, cd);
}

OP vi vi_dword(const uint8_t *p, const size_t offset[LANES]) {
    int32_t lane[LANES];
    for (size_t j = 0; j < LANES; j++) memcpy(lane + j, p + offset[j], sizeof *lane);
    return _mm256_loadu_si256((const void *)lane);
}

static void to_bf16_avx2(uint16_t *restrict out, const float *restrict x, size_t n) {
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) _mm_storeu_si128((void *)(out + i), v_to_bf16(v_load(x + i)));
    for (; i < n; i++) out[i] = f32_to_bf16(x[i]);
}

#define TO_BF16 to_bf16_avx2

#include "math/cpu/kernels_simd.h"

const kernels *kernels_avx2(void) {
    static const kernels table = SIMD_TABLE("avx2", avx2, avx2);
    return &table;
}
#endif
