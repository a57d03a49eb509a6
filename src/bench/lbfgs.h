/* lbfgs.h - the minimum of a smooth convex function by L-BFGS (Nocedal and Wright, Numerical Optimization,
 * algorithm 7.5). */
#ifndef PGR_BENCH_LBFGS_H
#define PGR_BENCH_LBFGS_H

#include "base/status.h"

/* The value at x (n) and its gradient. */
typedef double (*lbfgs_fn)(void *ctx, const double *x, double *gradient);

typedef struct lbfgs_options {
    double tolerance; /* ends where the gradient's norm is below this times that of x or 1 */
    size_t max_iter;
    pgr_cancel *cancel; /* may be NULL */
} lbfgs_options;

/* x: (n) the start, afterwards the minimum. *n_iter: may be NULL. */
pgr_status lbfgs_minimise(size_t n, double *x, lbfgs_fn fn, void *ctx, const lbfgs_options *o, size_t *n_iter,
                          pgr_error *err);

#endif
