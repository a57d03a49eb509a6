/* dot8.h - the versions of dot8_rows (vector.h). Internal to the dot8*.c. */
#ifndef PGR_MATH_CPU_DOT8_H
#define PGR_MATH_CPU_DOT8_H

#include "math/vector.h"

typedef void (*dot8_fn)(int32_t *restrict out, const int8_t *restrict q, const int8_t *restrict rows, size_t n_row,
               size_t n);

void dot8_rows_ref(int32_t *restrict out, const int8_t *restrict q, const int8_t *restrict rows, size_t n_row,
               size_t n);
#if defined(__x86_64__)
void dot8_rows_avx2(int32_t *restrict out, const int8_t *restrict q, const int8_t *restrict rows, size_t n_row,
                    size_t n); /* needs AVX2 */
void dot8_rows_vnni(int32_t *restrict out, const int8_t *restrict q, const int8_t *restrict rows, size_t n_row,
                    size_t n); /* needs AVX-512 with BW and VNNI */
#endif

#endif
