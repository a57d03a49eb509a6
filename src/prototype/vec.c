/* vec.c - vector operations. */
#include "prototype/vec.h"

#include <math.h>

double vec_dot(const float *a, const float *b, size_t n) {
    double s = 0;
    for (size_t i = 0; i < n; i++) s += (double)a[i] * b[i];
    return s;
}

double vec_distance2(const float *a, const float *b, size_t n) {
    double s = 0;
    for (size_t i = 0; i < n; i++) {
        double d = (double)a[i] - b[i];
        s += d * d;
    }
    return s;
}

double vec_normalise(float *v, size_t n) {
    double length = sqrt(vec_dot(v, v, n));
    if (length > 0)
        for (size_t i = 0; i < n; i++) v[i] = (float)(v[i] / length);
    return length;
}
