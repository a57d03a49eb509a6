/* dot8_vnni.c - dot8_rows with the instruction that multiplies unsigned by signed bytes and adds fours of them. Rows
 * are made unsigned by adding 128 (flipping the top bit); what that adds, 128 * sum of q, is taken off again. */
#if defined(__x86_64__)

#include <immintrin.h>

#include "math/cpu/dot8.h"

static __m512i load(const int8_t *p, size_t left) {
    return left >= 64 ? _mm512_loadu_si512(p) : _mm512_maskz_loadu_epi8(((__mmask64)1 << left) - 1, p);
}

void dot8_rows_vnni(int32_t *restrict out, const int8_t *restrict q, const int8_t *restrict rows, size_t n_row,
                    size_t n) {
    const __m512i flip = _mm512_set1_epi8((char)0x80);
    int32_t sum_q = 0;
    for (size_t i = 0; i < n; i++) sum_q += q[i];
    for (size_t r = 0; r < n_row; r++) {
        const int8_t *row = rows + r * n;
        __m512i sum = _mm512_setzero_si512(), sum2 = sum;
        size_t i = 0;
        for (; i + 128 <= n; i += 128) {
            sum = _mm512_dpbusd_epi32(sum, _mm512_xor_si512(load(row + i, 64), flip), load(q + i, 64));
            sum2 = _mm512_dpbusd_epi32(sum2, _mm512_xor_si512(load(row + i + 64, 64), flip), load(q + i + 64, 64));
        }
        for (; i < n; i += 64)
            sum = _mm512_dpbusd_epi32(sum, _mm512_xor_si512(load(row + i, n - i), flip), load(q + i, n - i));
        out[r] = _mm512_reduce_add_epi32(_mm512_add_epi32(sum, sum2)) - 128 * sum_q;
    }
}

#endif
