/* dot8_ref.c - the definition of dot8_rows. */
#include "math/cpu/dot8.h"

void dot8_rows_ref(int32_t *restrict out, const int8_t *restrict q, const int8_t *restrict rows, size_t n_row,
                   size_t n) {
    for (size_t r = 0; r < n_row; r++) {
        int32_t sum = 0;
        for (size_t i = 0; i < n; i++) sum += q[i] * rows[r * n + i];
        out[r] = sum;
    }
}
