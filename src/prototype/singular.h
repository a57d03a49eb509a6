/* singular.h - how many directions the rows of a matrix really use: its singular values,
 * and the number of prototypes that they suggest. */
#ifndef PGR_PROTOTYPE_SINGULAR_H
#define PGR_PROTOTYPE_SINGULAR_H

#include "base/pool.h"

typedef struct singular_curve {
    double *values;    /* (n_value) singular values of the rows less their mean, largest first */
    double *explained; /* (n_value) share of the squared sum in the first 1, 2, ... values;
                        * the last is 1 (0 if all rows are equal) */
    size_t n_value;    /* the smaller of n_used and d */
    size_t n_used;     /* rows that were taken: of more than SINGULAR_ROWS every n / SINGULAR_ROWS-th */
    double threshold;  /* values above it stand out from noise */
    size_t n_retained; /* how many do */
    size_t k;          /* suggested number of prototypes: n_retained + 1, at least 1, at most half of n */
} singular_curve;

enum { SINGULAR_ROWS = 16384 };

/* The paper chooses k from the retained singular values and does not say which are retained (docs/method.md). Our rule
 * has no setting: a value is retained if it is above omega * median of the values, the optimal threshold for a low-rank
 * matrix in noise of unknown size (Gavish and Donoho 2014, omega for the shape d / n after their approximation, 2.858
 * for square ones). k groups around k centres span k - 1 directions about their mean, therefore k = retained + 1.
 *
 * x: (n, d) finite, n >= 1. On error out is empty. */
pgr_status singular_curve_measure(const float *x, size_t n, size_t d, pool *threads, pgr_cancel *cancel,
                                  singular_curve *out, pgr_error *err);
void singular_curve_free(singular_curve *c); /* all zero is fine */

/* Eigenvalues of the symmetric matrix a (n, n), largest first; a is overwritten.       off: (n) scratch, values: (n)
 * PGR_E_ARG where a is not finite. */
pgr_status symmetric_eigenvalues(double *a, size_t n, double *off, double *values, pgr_error *err);

#endif
