/* mean.c - means with standard errors. */
#include "bench/mean.h"

#include <math.h>

static double mean(const double *v, size_t n) {
    double s = 0;
    for (size_t i = 0; i < n; i++) s += v[i];
    return n ? s / (double)n : NAN;
}

mean_se mean_of(const double *v, size_t n) {
    mean_se out = {.mean = mean(v, n), .se = NAN, .n = n, .n_cluster = n};
    double ss = 0;
    for (size_t i = 0; i < n; i++) ss += (v[i] - out.mean) * (v[i] - out.mean);
    if (n > 1) out.se = sqrt(ss / (double)(n - 1) / (double)n);
    return out;
}

mean_se mean_clustered(const double *v, const size_t *cluster, size_t n, double *residuals, size_t *counts,
                       size_t n_cluster) {
    mean_se out = {.mean = mean(v, n), .se = NAN, .n = n};
    for (size_t g = 0; g < n_cluster; g++) {
        residuals[g] = 0;
        counts[g] = 0;
    }
    for (size_t i = 0; i < n; i++) {
        residuals[cluster[i]] += v[i] - out.mean;
        counts[cluster[i]]++;
    }
    double ss = 0;
    for (size_t g = 0; g < n_cluster; g++) {
        ss += residuals[g] * residuals[g];
        out.n_cluster += counts[g] > 0;
    }
    double groups = (double)out.n_cluster;
    if (out.n_cluster > 1) out.se = sqrt(ss * groups / (groups - 1)) / (double)n;
    return out;
}
