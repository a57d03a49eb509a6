/* vector.h - arrays in the host's memory, by the CPU's kernels: what callers do with rows that have come back from
 * the operations (sampling), and searches over rows of bytes. */
#ifndef PGR_MATH_VECTOR_H
#define PGR_MATH_VECTOR_H

#include <stddef.h>
#include <stdint.h>

typedef struct kernels kernels; /* of one CPU level */

const kernels *vector_kernels(void); /* of this CPU's level (PGENRM_CPU lowers it); picked anew by each call */

float vector_max(const kernels *k, const float *x, size_t n); /* the largest x, n >= 1 */

/* out[i] = exp((x[i] - shift) * scale), returns their sum in double                        x, out: (n); out may be x */
double vector_exp_sum(const kernels *k, float *out, const float *x, float shift, float scale, size_t n);

/* out[r] = sum_i q[i] * rows[r][i]                         q: (n), rows: (n_row, n) dense, out: (n_row); n <= 65,536 */
void dot8_rows(int32_t *restrict out, const int8_t *restrict q, const int8_t *restrict rows, size_t n_row, size_t n);

#endif
