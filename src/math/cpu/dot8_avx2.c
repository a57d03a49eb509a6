/* dot8_avx2.c - dot8_rows with products of 16-bit integers, whose sums are exact in 32 bits. */
#if defined(__x86_64__)

#include "math/cpu/bytes_avx2.h"
#include "math/cpu/dot8.h"

static __m256i load(const int8_t *p) {
    return _mm256_cvtepi8_epi16(_mm_loadu_si128((const void *)p));
}

void dot8_rows_avx2(int32_t *restrict out, const int8_t *restrict q, const int8_t *restrict rows, size_t n_row,
                    size_t n) {
    for (size_t r = 0; r < n_row; r++) {
        const int8_t *row = rows + r * n;
        __m256i sum = _mm256_setzero_si256(), sum2 = sum;
        size_t i = 0;
        for (; i + 32 <= n; i += 32) {
            sum = _mm256_add_epi32(sum, _mm256_madd_epi16(load(row + i), load(q + i)));
            sum2 = _mm256_add_epi32(sum2, _mm256_madd_epi16(load(row + i + 16), load(q + i + 16)));
        }
        int32_t all = sum_dwords(_mm256_add_epi32(sum, sum2));
        for (; i < n; i++) all += q[i] * row[i];
        out[r] = all;
    }
}

#endif
