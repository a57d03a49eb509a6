/* logistic.c - Newton's method with a Cholesky factor; steps are halved until the objective rises. */
#include "base/logistic.h"

#include <math.h>
#include <string.h>

double logistic(double v) {
    return 1 / (1 + exp(-v));
}

double log_logistic(double v) {
    return v > 0 ? -log1p(exp(-v)) : v - log1p(exp(v));
}

typedef struct problem {
    const double *x, *precision;
    const size_t *rows;
    const double *weight; /* NULL: all 1 */
    size_t n, p;
} problem;

static const double *row_of(const problem *q, size_t i) {
    return q->x + (q->rows ? q->rows[i] : i) * q->p;
}

static double weight_of(const problem *q, size_t i) {
    return q->weight ? q->weight[i] : 1;
}

static double dot(const double *a, const double *b, size_t n) {
    double s = 0;
    for (size_t i = 0; i < n; i++) s += a[i] * b[i];
    return s;
}

static double objective(const problem *q, const double *w) {
    double sum = 0;
    for (size_t j = 0; j < q->p; j++) sum -= q->precision[j] * w[j] * w[j] / 2;
    for (size_t i = 0; i < q->n; i++)
        if (weight_of(q, i) > 0) sum += weight_of(q, i) * log_logistic(dot(w, row_of(q, i), q->p));
    return sum;
}

/* g: gradient, h: minus the second derivatives (lower triangle, rows of LOGISTIC_MAX) */
static void slopes(const problem *q, const double *w, double *g, double (*h)[LOGISTIC_MAX]) {
    for (size_t j = 0; j < q->p; j++) {
        g[j] = -q->precision[j] * w[j];
        memset(h[j], 0, q->p * sizeof **h);
        h[j][j] = q->precision[j];
    }
    for (size_t i = 0; i < q->n; i++) {
        const double *x = row_of(q, i);
        double weight = weight_of(q, i);
        if (!(weight > 0)) continue;
        double miss = logistic(-dot(w, x, q->p)), bend = weight * miss * (1 - miss);
        for (size_t j = 0; j < q->p; j++) {
            if (x[j] == 0) continue;
            g[j] += weight * miss * x[j];
            for (size_t l = 0; l <= j; l++) h[j][l] += bend * x[j] * x[l];
        }
    }
}

/* step = h^-1 g; h becomes its Cholesky factor. */
static bool solve(double (*h)[LOGISTIC_MAX], const double *g, size_t p, double *step) {
    for (size_t j = 0; j < p; j++) {
        for (size_t l = 0; l < j; l++) h[j][l] = (h[j][l] - dot(h[j], h[l], l)) / h[l][l];
        double left = h[j][j] - dot(h[j], h[j], j);
        if (!(left > 0) || !isfinite(left)) return false;
        h[j][j] = sqrt(left);
    }
    for (size_t j = 0; j < p; j++) step[j] = (g[j] - dot(h[j], step, j)) / h[j][j];
    for (size_t j = p; j-- > 0;) {
        for (size_t l = j + 1; l < p; l++) step[j] -= h[l][j] * step[l];
        step[j] /= h[j][j];
    }
    return true;
}

/* at: the objective at w, h: the factor of its second derivatives. */
static double evidence(const problem *q, double at, double (*h)[LOGISTIC_MAX]) {
    for (size_t j = 0; j < q->p; j++) at += log(q->precision[j]) / 2 - log(h[j][j]);
    return at;
}

static pgr_status climb(const problem *q, size_t n_step, double *w, double *log_evidence, pgr_error *err) {
    enum { MAX_HALVING = 30 };
    double g[LOGISTIC_MAX], h[LOGISTIC_MAX][LOGISTIC_MAX], step[LOGISTIC_MAX], next[LOGISTIC_MAX];
    double at = objective(q, w);
    for (size_t i = 0; i < n_step; i++) {
        slopes(q, w, g, h);
        if (!solve(h, g, q->p, step))
            return fail(err, PGR_E_ARG, "a logistic fit of %zu rows has features that are not finite", q->n);
        if (log_evidence) *log_evidence = evidence(q, at, h);
        double length = 1, found = at;
        for (int k = 0; k < MAX_HALVING; k++, length /= 2) {
            for (size_t j = 0; j < q->p; j++) next[j] = w[j] + length * step[j];
            found = objective(q, next);
            if (found >= at) break;
        }
        if (!(found > at + 1e-12 * fabs(at))) break;
        memcpy(w, next, q->p * sizeof *w);
        at = found;
    }
    return PGR_OK;
}

pgr_status logistic_fit(const double *x, const size_t *rows, size_t n, size_t p, const double *precision, double *w,
                        pgr_error *err) {
    enum { MAX_STEP = 50 };
    memset(w, 0, p * sizeof *w);
    return logistic_go_on(x, rows, n, p, precision, &(logistic_steps){.n_step = MAX_STEP}, w, err);
}

pgr_status logistic_go_on(const double *x, const size_t *rows, size_t n, size_t p, const double *precision,
                          const logistic_steps *o, double *w, pgr_error *err) {
    PGR_ASSERT(p <= LOGISTIC_MAX);
    const problem q = {x, precision, rows, o->weight, n, p};
    return climb(&q, o->n_step, w, o->log_evidence, err);
}
