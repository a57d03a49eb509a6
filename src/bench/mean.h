/* mean.h - means with standard errors: plain, and clustered by user (rows of one user are not independent). */
#ifndef PGR_BENCH_MEAN_H
#define PGR_BENCH_MEAN_H

#include <stddef.h>

typedef struct mean_se {
    double mean, se; /* se NaN where there is one value or one cluster */
    size_t n, n_cluster;
} mean_se;

mean_se mean_of(const double *v, size_t n);
/* cluster[i] < n_cluster: whose row i is. Error of the plain mean of rows from the sums of residuals by cluster, times
 * G / (G - 1) for the G clusters that have rows. */
mean_se mean_clustered(const double *v, const size_t *cluster, size_t n, double *residuals /* (n_cluster) scratch */,
                       size_t *counts /* (n_cluster) scratch */, size_t n_cluster);

#endif
