/* vector.c - the kernels that callers outside of this room use, as functions. */
#include "math/vector.h"

#include "math/cpu/kernels.h"

const kernels *vector_kernels(void) {
    return kernels_best();
}

float vector_max(const kernels *k, const float *x, size_t n) {
    return k->max(x, n);
}

double vector_exp_sum(const kernels *k, float *out, const float *x, float shift, float scale, size_t n) {
    return k->exp_sum(out, x, shift, scale, n);
}
