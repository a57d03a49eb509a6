/* fit.h - logistic regression of two features without an intercept, both weights at least 0. */
#ifndef PGR_TRAIN_FIT_H
#define PGR_TRAIN_FIT_H

#include <stddef.h>

typedef struct fit_row {
    double x[2];   /* of the preferred response less the other one */
    double weight; /* above 0 */
} fit_row;

/* The w >= 0 that maximises sum_i weight_i log sigmoid(w . x_i) - precision |w|^2 / 2. */
void fit_two(const fit_row *rows, size_t n, double precision, double w[2]);

#endif
