/* dot8.h - inner products of 8-bit rows: one query against many rows, exact. */
#ifndef PGR_MATH_CPU_DOT8_H
#define PGR_MATH_CPU_DOT8_H

#include <stddef.h>
#include <stdint.h>

/* out[r] = sum_i q[i] * rows[r][i]                         q: (n), rows: (n_row, n) dense, out: (n_row); n <= 65,536
 * by cpu_best(), level.h */
void dot8_rows(int32_t *restrict out, const int8_t *restrict q, const int8_t *restrict rows, size_t n_row, size_t n);

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
