/* dot8.c - the definition of dot8_rows, and which version runs. */
#include "math/cpu/dot8.h"

void dot8_rows_ref(int32_t *restrict out, const int8_t *restrict q, const int8_t *restrict rows, size_t n_row,
                   size_t n) {
    for (size_t r = 0; r < n_row; r++) {
        int32_t sum = 0;
        for (size_t i = 0; i < n; i++) sum += q[i] * rows[r * n + i];
        out[r] = sum;
    }
}

void dot8_rows(int32_t *restrict out, const int8_t *restrict q, const int8_t *restrict rows, size_t n_row, size_t n) {
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vnni")) {
        dot8_rows_vnni(out, q, rows, n_row, n);
        return;
    }
#endif
    dot8_rows_ref(out, q, rows, n_row, n);
}
