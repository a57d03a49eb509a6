/* spearman.c - ranks by counting: lists are short (generators, at most 26). */
#include "bench/spearman.h"

#include <math.h>

double rank_of(const double *v, size_t n, size_t i) {
    size_t above = 0, equal = 0; /* itself is equal */
    for (size_t k = 0; k < n; k++) {
        above += v[k] > v[i];
        equal += v[k] == v[i];
    }
    return (double)above + ((double)equal + 1) / 2;
}

double spearman(const double *a, const double *b, size_t n) {
    double mean = ((double)n + 1) / 2, saa = 0, sbb = 0, sab = 0; /* ties keep the mean of the ranks */
    for (size_t i = 0; i < n; i++) {
        if (isnan(a[i]) || isnan(b[i])) return NAN;
        double x = rank_of(a, n, i) - mean, y = rank_of(b, n, i) - mean;
        saa += x * x;
        sbb += y * y;
        sab += x * y;
    }
    return saa > 0 && sbb > 0 ? sab / sqrt(saa * sbb) : NAN;
}
