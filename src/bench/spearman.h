/* spearman.h - ranks and their correlation. */
#ifndef PGR_BENCH_SPEARMAN_H
#define PGR_BENCH_SPEARMAN_H

#include <stddef.h>

/* Rank of v[i] among the n values: 1 is the largest, equal values share the mean of their ranks. No value is NaN. */
double rank_of(const double *v, size_t n, size_t i);

/* Spearman's rho: Pearson's correlation of the ranks, -1..1. NaN where n < 2, all values of a or all of b are equal,
 * or one is NaN. */
double spearman(const double *a, const double *b, size_t n);

#endif
