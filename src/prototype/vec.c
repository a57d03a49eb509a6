/* vec.c - vector operations. Sums run in LANES partial sums of fixed places, added in a fixed order at the end: the
 * compiler can use vector registers without being allowed to reorder anything. */
#include "prototype/vec.h"

#include <math.h>

enum { LANES = 8 };

static double lane_sum(const double s[LANES]) {
    return ((s[0] + s[4]) + (s[1] + s[5])) + ((s[2] + s[6]) + (s[3] + s[7]));
}

double vec_dot(const float *a, const float *b, size_t n) {
    double s[LANES] = {0};
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (size_t l = 0; l < LANES; l++) s[l] += (double)a[i + l] * b[i + l];
    for (size_t l = 0; i + l < n; l++) s[l] += (double)a[i + l] * b[i + l];
    return lane_sum(s);
}

double vec_distance2(const float *a, const float *b, size_t n) {
    double s[LANES] = {0};
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (size_t l = 0; l < LANES; l++) {
            double d = (double)a[i + l] - b[i + l];
            s[l] += d * d;
        }
    for (size_t l = 0; i + l < n; l++) {
        double d = (double)a[i + l] - b[i + l];
        s[l] += d * d;
    }
    return lane_sum(s);
}

double vec_normalise(float *v, size_t n) {
    double length = sqrt(vec_dot(v, v, n));
    if (length > 0)
        for (size_t i = 0; i < n; i++) v[i] = (float)(v[i] / length);
    return length;
}
