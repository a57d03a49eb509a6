/* vec.h - the few vector operations that prototypes need; sums in double,
 * so that results do not hang on the order of lanes. */
#ifndef PGR_PROTOTYPE_VEC_H
#define PGR_PROTOTYPE_VEC_H

#include <stddef.h>

double vec_dot(const float *a, const float *b, size_t n);
double vec_distance2(const float *a, const float *b, size_t n); /* squared */
/* to length 1; returns the length before; 0: v is as it was */
double vec_normalise(float *v, size_t n);

#endif
