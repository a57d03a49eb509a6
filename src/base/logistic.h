/* logistic.h - Bradley-Terry weights of few features with a Gaussian prior. */
#ifndef PGR_BASE_LOGISTIC_H
#define PGR_BASE_LOGISTIC_H

#include <stddef.h>

#include "base/status.h"

#define LOGISTIC_MAX 64 /* features */

/* The w that maximises sum_i log sigmoid(w . x_i) - sum_j precision_j w_j^2 / 2, by Newton's method.    x: (n, p),
 * rows[i] names the i-th, or NULL: all in order; precision: (p) above 0; w: (p) out.
 * PGR_E_ARG where x is not finite. */
pgr_status logistic_fit(const double *x, const size_t *rows, size_t n, size_t p, const double *precision, double *w,
                        pgr_error *err);

double logistic(double v);     /* 1 / (1 + exp(-v)) */
double log_logistic(double v); /* its logarithm */

#endif
