/* kernels_level.h - reference kernels that the SIMD levels use as they are. Internal to the kernels_*.c. */
#ifndef PGR_MATH_KERNELS_LEVEL_H
#define PGR_MATH_KERNELS_LEVEL_H

#include "math/kernels.h"

void kernel_rope_ref(float *x, const float *cs, size_t dim, bool interleaved);
void kernel_to_bf16_ref(uint16_t *restrict out, const float *restrict x, size_t n);
float kernel_to_int8_ref(int8_t *restrict out, const float *restrict x, size_t n);

#endif
