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

/* The same of rows that count weight[i] >= 0 times (NULL: once each), by at most n_step steps from the w that is there.
 * The objective never falls: what is left of a fit after few steps can go on later.
 * *log_evidence (may be NULL): the logarithm of the integral over w of likelihood times prior, after Laplace: exact
 * where there is no row, and the better the more rows there are. It is that of the last w whose slopes were taken. */
typedef struct logistic_steps {
    const double *weight;
    size_t n_step;
    double *log_evidence;
} logistic_steps;
pgr_status logistic_go_on(const double *x, const size_t *rows, size_t n, size_t p, const double *precision,
                          const logistic_steps *o, double *w, pgr_error *err);

double logistic(double v);     /* 1 / (1 + exp(-v)) */
double log_logistic(double v); /* its logarithm */

#endif
