/* mean.h - means with standard errors: plain, and clustered by user or by question (rows of one user, or about one
 * question, are not independent). */
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

typedef struct clusters {          /* rows in two partitions */
    const size_t *user, *question; /* (n) */
    size_t n, n_user, n_question;
    double *residuals; /* (n_user, at least n_question) scratch */
    size_t *counts;    /* the same */
} clusters;

typedef struct mean_both {
    double mean, se; /* se: the larger of the two */
    double se_user, se_question;
    size_t users, questions; /* that have rows */
} mean_both;

mean_both mean_by_both(const clusters *c, const double *v);

#endif
