/* bytes_avx2.h - what products of bytes rest on without VNNI: vpmaddubsw's sums of two products saturate at 16 bits
 * (255 x 127 x 2), so bytes become 16-bit integers and are multiplied by vpmaddwd, whose sums are exact in 32 bits. A
 * dword of four bytes splits in two steps into its even and its odd bytes, both as pairs of 16 bits: what is multiplied
 * with it lies as x0 x2 x1 x3. */
#ifndef PGR_MATH_CPU_BYTES_AVX2_H
#define PGR_MATH_CPU_BYTES_AVX2_H

#include <immintrin.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#ifndef INLINE
#define INLINE static inline __attribute__((always_inline))
#endif

enum { WORDS_STEP = 8 }; /* bytes of x0 x2 x1 x3 */

/* Eight dwords of four bytes. */
typedef struct byte_pairs {
    __m256i even, odd; /* 16 bits each */
} byte_pairs;

INLINE byte_pairs unsigned_pairs(const void *p) {
    __m256i v = _mm256_loadu_si256(p);
    return (byte_pairs){_mm256_and_si256(v, _mm256_set1_epi16(0xff)), _mm256_srli_epi16(v, 8)};
}

INLINE byte_pairs signed_pairs(const void *p) {
    __m256i v = _mm256_loadu_si256(p);
    return (byte_pairs){_mm256_srai_epi16(_mm256_slli_epi16(v, 8), 8), _mm256_srai_epi16(v, 8)};
}

/* The four bytes at p, in every lane. */
INLINE __m256i spread(const char *p) {
    int32_t x;
    memcpy(&x, p, sizeof x);
    return _mm256_set1_epi32(x);
}

/* sum += x; by name, since gcc copies every sum of the intrinsic to another register or to memory and back. */
INLINE void add_dwords(__m256i *sum, __m256i x) {
    __asm__("vpaddd %1, %0, %0" : "+x"(*sum) : "x"(x));
}

/* sum + the four products of every dword of w with the words at x. */
INLINE __m256i dot_pairs(__m256i sum, byte_pairs w, const char *x) {
    add_dwords(&sum, _mm256_madd_epi16(w.even, spread(x)));
    add_dwords(&sum, _mm256_madd_epi16(w.odd, spread(x + 4)));
    return sum;
}

/* 8 int32 within 16 bits as two steps of words. */
INLINE __m128i to_words(__m256i v) {
    const __m256i order = _mm256_setr_epi8(
        0, 1, 8, 9, 4, 5, 12, 13, -1, -1, -1, -1, -1, -1, -1, -1, 0, 1, 8, 9, 4, 5, 12, 13, -1, -1, -1, -1, -1, -1,
        -1, -1);
    return _mm256_castsi256_si128(_mm256_permute4x64_epi64(_mm256_shuffle_epi8(v, order), 0x08));
}

/* 8 int32 within 8 bits as bytes. */
INLINE void store_bytes(int8_t *out, __m256i v) {
    __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    _mm_storel_epi64((void *)out, _mm_packs_epi16(words, words));
}

/* The larger of top's bits and x's without their signs, lane by lane: NaN is above all. */
INLINE __m256i larger_size(__m256i top, __m256 x) {
    return _mm256_max_epi32(top, _mm256_and_si256(_mm256_castps_si256(x), _mm256_set1_epi32(0x7fffffff)));
}

INLINE float largest_size(__m256i top) {
    __m128i v = _mm_max_epi32(_mm256_castsi256_si128(top), _mm256_extracti128_si256(top, 1));
    v = _mm_max_epi32(v, _mm_shuffle_epi32(v, 0x4e));
    v = _mm_max_epi32(v, _mm_shuffle_epi32(v, 0xb1));
    int32_t bits = _mm_cvtsi128_si32(v);
    float max;
    memcpy(&max, &bits, sizeof max);
    return max;
}

INLINE int32_t sum_dwords(__m256i v) {
    __m128i s = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4e));
    return _mm_cvtsi128_si32(_mm_add_epi32(s, _mm_shuffle_epi32(s, 0xb1)));
}

/* Rounded v * factor, zeros for a factor of 0. */
INLINE __m256i to_ints(__m256 v, float factor) {
    return factor != 0.0f ? _mm256_cvtps_epi32(_mm256_mul_ps(v, _mm256_set1_ps(factor))) : _mm256_setzero_si256();
}

/* What kernel_to_int8_ref multiplies by, 0 where all becomes zeros; *scale: what it returns. */
INLINE float to_int8_factor(float max, float *scale) {
    float inverse = 127.0f / max;
    bool usable = isfinite(max) && isfinite(inverse);
    *scale = usable ? max / 127.0f : isfinite(max) ? 0.0f : NAN;
    return usable ? inverse : 0.0f;
}

#endif
