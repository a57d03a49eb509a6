/* kmeans.h - k-means: k-means++ starts (Arthur and Vassilvitskii 2007) with restarts, Lloyd's iterations,
 * empty clusters repaired. */
#ifndef PGR_PROTOTYPE_KMEANS_H
#define PGR_PROTOTYPE_KMEANS_H

#include <stdbool.h>

#include "base/pool.h"

typedef struct kmeans_options {
    size_t k;
    const float *starts;      /* (k, d) first centres: one run from these. NULL: k-means++, `restarts` runs,
                               * the best is kept */
    size_t restarts;          /* default 10 */
    size_t max_iter;          /* default 300 */
    double tolerance;         /* an iteration that lowers the inertia by less than this share of it is the last;
                               * default 0: runs until no row changes its cluster */
    uint64_t seed;
    pool *threads;            /* NULL: this thread alone; the result is the same, bit for bit */
    pgr_watch watch;
} kmeans_options;

kmeans_options kmeans_options_default(size_t k);

typedef struct kmeans_result {
    float *centres;    /* (k, d) means of their rows */
    uint32_t *assign;  /* (n) the nearest centre; of equally near ones the first */
    size_t *sizes;     /* (k) none is 0 */
    double inertia;    /* sum of squared distances to the own centre */
    size_t k, n_iter;  /* of the run that was kept */
    size_t n_repaired; /* empty clusters that were given the row farthest from its centre, in that run */
    bool converged;    /* else max_iter ended it */
} kmeans_result;

/* x: (n, d) finite. PGR_E_ARG where the rows have fewer than k distinct values (k > n too): there are no k clusters
 * then. On error out is empty. */
pgr_status kmeans(const float *x, size_t n, size_t d, const kmeans_options *o, kmeans_result *out, pgr_error *err);
void kmeans_free(kmeans_result *r); /* all zero is fine */

/* The nearest centre of every row, and the squared distance to it.       x: (n, d), centres: (k, d), assign,
 * distance2: (n) */
pgr_status kmeans_assign(const float *x, size_t n, size_t d, const float *centres, size_t k, pool *threads,
                         uint32_t *assign, double *distance2 /* may be NULL */, pgr_error *err);

#endif
