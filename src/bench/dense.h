/* dense.h - sums over rows of floats and vectors of doubles, which is where the statistical methods spend their time.
 *
 * Sums run in DENSE_LANES interleaved lanes that are added as a tree, so that a CPU with wide registers and one without
 * give the same bits; what is left over at the end is added one by one. */
#ifndef PGR_BENCH_DENSE_H
#define PGR_BENCH_DENSE_H

#include <stddef.h>

enum { DENSE_LANES = 16 };

double dense_dot_x(const float *x, const double *w, size_t n);                       /* sum_i x[i] * w[i] */
void dense_add_x(double *restrict out, double a, const float *restrict x, size_t n); /* out[i] += a * x[i] */
double dense_dot(const double *a, const double *b, size_t n);
void dense_add(double *restrict out, double a, const double *restrict x, size_t n);

/* What they compute, in plain C. */
double dense_dot_x_ref(const float *x, const double *w, size_t n);
void dense_add_x_ref(double *restrict out, double a, const float *restrict x, size_t n);
double dense_dot_ref(const double *a, const double *b, size_t n);
void dense_add_ref(double *restrict out, double a, const double *restrict x, size_t n);

#endif
