/* scalar_fit.c - the reward model's weight by logistic regression of two differences; see scalar_fit.h. */
#include "bench/scalar_fit.h"

#include <math.h>
#include <string.h>

#include "base/logistic.h"
#include "base/mem.h"

enum { LEAST_PAIRS = 20 };

/* Cells by name; n_cell: there is none. */
static size_t find_judge(const verdict_table *t) {
    size_t cell = t->n_cell;
    for (size_t c = 0; c < t->n_cell; c++)
        if (strcmp(t->cells[c].method, "p-genrm") == 0 && !t->cells[c].stranger && !t->cells[c].plain) cell = c;
    return cell;
}

static size_t find_scalar(const verdict_table *t) {
    size_t cell = 0;
    while (cell < t->n_cell && !t->cells[cell].scalar) cell++;
    return cell;
}

/* Mean difference of the chains in points, chosen less rejected; NaN without a chain. */
static double judge_gap(const bench_verdict *v) {
    double sum = 0;
    size_t n = 0;
    for (size_t i = 0; i < v->n_gap; i++)
        if (isfinite(v->gaps[i])) sum += (double)v->gaps[i], n++;
    return n ? sum / (double)n : NAN;
}

/* The difference of scores whose sigmoid is the verdict's probability. */
static double reward_gap(const bench_verdict *v) {
    return log(v->p) - log1p(-v->p);
}

/* x: (n_row, 2) the rows that have both */
static size_t gather(const verdict_table *t, size_t judge, size_t scalar, double *x) {
    size_t n = 0;
    for (size_t i = 0; i < t->n_row; i++) {
        double d = judge_gap(verdict_at(t, judge, 0, i)), s = reward_gap(verdict_at(t, scalar, 0, i));
        if (!isfinite(d) || !isfinite(s)) continue;
        x[2 * n] = d;
        x[2 * n++ + 1] = s;
    }
    return n;
}

static double loss(const double *x, size_t n, const double *w) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum -= log_logistic(w[0] * x[2 * i] + w[1] * x[2 * i + 1]);
    return sum / (double)n;
}

/* The judge's slope alone: the other column held at 0 by its prior. A prior of precision 1e-3 keeps slopes finite where
 * the rows are told apart without a mistake. */
static pgr_status fit(const double *x, size_t n, scalar_fit *out, pgr_error *err) {
    static const double both[] = {1e-3, 1e-3}, judge[] = {1e-3, 1e12};
    double w[2], alone[2];
    PGR_TRY(logistic_fit(x, NULL, n, 2, both, w, err));
    PGR_TRY(logistic_fit(x, NULL, n, 2, judge, alone, err));
    *out = (scalar_fit){.pairs = n, .with = loss(x, n, w), .without = loss(x, n, alone)};
    out->weight = w[0] > 0 ? (w[1] > 0 ? w[1] / w[0] : 0) : NAN;
    return PGR_OK;
}

pgr_status scalar_fit_verdicts(const verdict_table *t, scalar_fit *out, bool *there, pgr_error *err) {
    size_t judge = find_judge(t), scalar = find_scalar(t);
    *there = false;
    if (judge == t->n_cell || scalar == t->n_cell) return PGR_OK;
    double *x = mem_array(t->n_row + 1, 2 * sizeof *x);
    if (!x) return fail_mem(err);
    size_t n = gather(t, judge, scalar, x);
    *there = n >= LEAST_PAIRS;
    pgr_status s = *there ? fit(x, n, out, err) : PGR_OK;
    mem_free(x);
    return s;
}
