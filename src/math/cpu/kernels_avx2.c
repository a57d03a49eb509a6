/* kernels_avx2.c - the kernels in vectors of 8 floats (AVX2, FMA, F16C). Algorithms: kernels_simd.h. */
#include "math/cpu/kernels_level.h"

#if defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)
#include <immintrin.h>
#include <string.h>

#define LANES         8
#define BLOCK_ROWS    6
#define BLOCK_VECTORS 2
#define OP            static inline __attribute__((always_inline))

/* clang-format off: one operation a line */
typedef __m256 vf;
typedef __m256i vi;
typedef __m256d vd;

/* all ones in the first n lanes */
OP vi first(size_t n) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

OP vf v_load(const float *p) {
    return _mm256_loadu_ps(p);
}
OP void v_store(float *p, vf v) {
    _mm256_storeu_ps(p, v);
}
OP vf v_load_n(const float *p, size_t n) {
    return _mm256_maskload_ps(p, first(n));
}
OP void v_store_n(float *p, vf v, size_t n) {
    _mm256_maskstore_ps(p, first(n), v);
}
OP vf v_keep(vf v, size_t n, vf fill) {
    return _mm256_blendv_ps(fill, v, _mm256_castsi256_ps(first(n)));
}
OP vf v_set1(float x) {
    return _mm256_set1_ps(x);
}
OP vf v_zero(void) {
    return _mm256_setzero_ps();
}
OP vf v_add(vf a, vf b) {
    return _mm256_add_ps(a, b);
}
OP vf v_sub(vf a, vf b) {
    return _mm256_sub_ps(a, b);
}
OP vf v_mul(vf a, vf b) {
    return _mm256_mul_ps(a, b);
}
OP vf v_div(vf a, vf b) {
    return _mm256_div_ps(a, b);
}
OP vf v_fma(vf a, vf b, vf c) {
    return _mm256_fmadd_ps(a, b, c);
}
OP vf v_max(vf a, vf b) {
    return _mm256_max_ps(a, b);
}
OP vf v_min(vf a, vf b) {
    return _mm256_min_ps(a, b);
}
OP vf v_round(vf a) {
    return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}

OP vf v_firsts(vf a) {
    return _mm256_moveldup_ps(a);
}
OP vf v_seconds(vf a) {
    return _mm256_movehdup_ps(a);
}
OP vf v_swap(vf a) {
    return _mm256_permute_ps(a, 0xb1);
}
OP vf v_minus_first(vf a) {
    return _mm256_xor_ps(a, _mm256_castsi256_ps(_mm256_set1_epi64x((long long)0x80000000)));
}
OP vf v_in_order(vf a) {
    return _mm256_castpd_ps(_mm256_permute4x64_pd(_mm256_castps_pd(a), 0xd8));
}
OP vf v_evens(vf low, vf high) {
    return v_in_order(_mm256_shuffle_ps(low, high, 0x88));
}
OP vf v_odds(vf low, vf high) {
    return v_in_order(_mm256_shuffle_ps(low, high, 0xdd));
}

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

/* only caches in bf16 use it, and those need AVX-512 */
#define TO_BF16 kernel_to_bf16_ref

#include "math/cpu/kernels_simd.h"

const kernels *kernels_avx2(void) {
    static const kernels table = SIMD_TABLE("avx2", kernel_attn_chunk_bf16_ref, ref);
    cpu_features f = cpu_detect();
    return f.avx2 && f.fma && f.f16c ? &table : NULL;
}

#else
const kernels *kernels_avx2(void) {
    return NULL;
}
#endif
