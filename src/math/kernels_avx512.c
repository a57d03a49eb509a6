/* kernels_avx512.c - the kernels for avx512. */
#include "math/kernels.h"

const kernels *kernels_avx512(void) { return NULL; }
