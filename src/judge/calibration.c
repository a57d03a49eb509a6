/* calibration.c - temperature by maximum likelihood, isotonic regression by pool-adjacent-violators, for each kind of
 * verdict its own. Their file: calibration_file.c. */
#include <math.h>
#include <stdlib.h>

#include "base/mem.h"
#include "judge/calibration_map.h"

static const double NEAR_ONE = 1e-9;  /* probabilities nearer to 0 or 1 are taken as this near */
static const double SAME = 1e-12;     /* 1 - .7 is not quite .3 */
static const double PRIOR_CHAINS = 4; /* that the usual variance of a chain counts for in a request's own */

static double sigmoid(double z) {
    return z >= 0 ? 1 / (1 + exp(-z)) : exp(z) / (1 + exp(z));
}

/* What the temperature divides: the logit, or the difference as it is. */
static double logit_of(pgr_calibration_input input, double x) {
    if (input != PGR_CALIBRATION_PROBABILITY) return x;
    if (x < NEAR_ONE) x = NEAR_ONE;
    if (x > 1 - NEAR_ONE) x = 1 - NEAR_ONE;
    return log(x / (1 - x));
}

/* ---- temperature ----------------------------------------------------------------------------------------------- */

/* Slope of the log-likelihood in a = 1 / T: sum z (y - sigmoid(a z)). It falls as a grows. */
static double slope(pgr_calibration_input input, const double *x, const double *y, size_t n, double a) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        double z = logit_of(input, x[i]);
        sum += z * (y[i] - sigmoid(a * z));
    }
    return sum;
}

static double fit_temperature(pgr_calibration_input input, const double *x, const double *y, size_t n) {
    double lo = log(1 / HOTTEST), hi = log(1 / COLDEST); /* of log a */
    if (slope(input, x, y, n, exp(lo)) <= 0) return HOTTEST;
    if (slope(input, x, y, n, exp(hi)) >= 0) return COLDEST;
    for (int i = 0; i < 100; i++) {
        double mid = (lo + hi) / 2;
        *(slope(input, x, y, n, exp(mid)) > 0 ? &lo : &hi) = mid;
    }
    return exp(-(lo + hi) / 2);
}

/* ---- isotonic -------------------------------------------------------------------------------------------------- */

typedef struct point { /* one or more outcomes of equal or pooled x */
    double x, last;    /* the first and the last x of the block */
    double y, weight;
} point;

static int by_x(const void *a, const void *b) {
    double l = ((const point *)a)->x, r = ((const point *)b)->x;
    return (l > r) - (l < r);
}

static void pool(point *into, const point *p) {
    double weight = into->weight + p->weight;
    into->y = (into->y * into->weight + p->y * p->weight) / weight;
    into->weight = weight;
    into->last = p->last;
}

/* Points of equal x become one; then neighbours that fall are pooled until none does. Returns the number of blocks. */
static size_t pool_violators(point *p, size_t n) {
    qsort(p, n, sizeof *p, by_x);
    size_t distinct = 0, kept = 0;
    for (size_t i = 0; i < n; i++) {
        if (distinct && p[i].x - p[distinct - 1].x <= SAME)
            pool(&p[distinct - 1], &p[i]);
        else
            p[distinct++] = p[i];
    }
    for (size_t i = 0; i < distinct; i++) {
        p[kept++] = p[i];
        while (kept > 1 && p[kept - 2].y >= p[kept - 1].y) {
            pool(&p[kept - 2], &p[kept - 1]);
            kept--;
        }
    }
    return kept;
}

/* Every outcome counts from both sides: (x, y) and its mirror, so that the map is symmetric. */
static pgr_status fit_isotonic(calibration_map *c, const double *x, const double *y, size_t n, pgr_error *err) {
    if (n > SIZE_MAX / 2 / sizeof(point)) return fail_mem(err);
    point *p = mem_array(2 * n, sizeof *p);
    if (!p) return fail_mem(err);
    for (size_t i = 0; i < n; i++) {
        double mirror = c->input == PGR_CALIBRATION_PROBABILITY ? 1 - x[i] : -x[i];
        p[2 * i] = (point){x[i], x[i], y[i], 1};
        p[2 * i + 1] = (point){mirror, mirror, 1 - y[i], 1};
    }
    size_t blocks = pool_violators(p, 2 * n);
    c->x = mem_array(2 * blocks, sizeof *c->x);
    c->y = mem_array(2 * blocks, sizeof *c->y);
    for (size_t i = 0; c->x && c->y && i < blocks; i++) {
        const double ends[2] = {p[i].x, p[i].last};
        for (size_t k = 0; k < (ends[0] < ends[1] ? 2 : 1); k++) {
            c->x[c->n_knot] = ends[k];
            c->y[c->n_knot++] = p[i].y;
        }
    }
    mem_free(p);
    return c->x && c->y ? PGR_OK : fail_mem(err);
}

static double interpolate(const calibration_map *c, double x) {
    size_t lo = 0, hi = c->n_knot - 1;
    if (x <= c->x[lo]) return c->y[lo];
    if (x >= c->x[hi]) return c->y[hi];
    while (hi - lo > 1) {
        size_t mid = (lo + hi) / 2;
        *(c->x[mid] <= x ? &lo : &hi) = mid;
    }
    double t = (x - c->x[lo]) / (c->x[hi] - c->x[lo]);
    return c->y[lo] + t * (c->y[hi] - c->y[lo]);
}

/* ---- fit and apply --------------------------------------------------------------------------------------------- */

static pgr_status check_data(pgr_calibration_input input, const double *x, const double *y, size_t n, pgr_error *err) {
    if (n == 0 || !x || !y) return fail(err, PGR_E_ARG, "calibration: found no outcomes, expected at least one");
    for (size_t i = 0; i < n; i++) {
        bool fits = isfinite(x[i]) && (input != PGR_CALIBRATION_PROBABILITY || (x[i] >= 0 && x[i] <= 1));
        if (!fits)
            return fail(err, PGR_E_ARG, "calibration: x[%zu] is %g, expected a %s", i, x[i],
                        input == PGR_CALIBRATION_PROBABILITY ? "probability" : "number");
        if (!(y[i] >= 0 && y[i] <= 1))
            return fail(err, PGR_E_ARG, "calibration: y[%zu] is %g, expected 0 to 1", i, y[i]);
    }
    return PGR_OK;
}

static void map_free(calibration_map *m) {
    if (!m) return;
    mem_free(m->x);
    mem_free(m->y);
    mem_free(m);
}

static pgr_status fit(const calibration_map *about, const double *x, const double *y, size_t n, calibration_map **out,
                      pgr_error *err) {
    calibration_map *m = mem_zero(1, sizeof *m);
    if (!m) return fail_mem(err);
    *m = *about;
    m->n = n;
    pgr_status s = PGR_OK;
    if (m->method == PGR_CALIBRATION_ISOTONIC)
        s = fit_isotonic(m, x, y, n, err);
    else
        m->temperature = fit_temperature(m->input, x, y, n);
    if (s == PGR_OK)
        *out = m;
    else
        map_free(m);
    return s;
}

/* The map as a calibration, which takes it over. */
static pgr_status with_map(pgr_verdict_kind kind, calibration_map *m, pgr_calibration **out, pgr_error *err) {
    PGR_ASSERT((size_t)kind < PGR_VERDICT_KINDS);
    pgr_calibration *c = mem_zero(1, sizeof *c);
    if (!c) {
        map_free(m);
        return fail_mem(err);
    }
    c->of[kind] = m;
    *out = c;
    return PGR_OK;
}

pgr_status pgr_calibration_fit(pgr_verdict_kind kind, pgr_calibration_method method, pgr_calibration_input input,
                               const double *x, const double *y, size_t n, pgr_calibration **out, pgr_error *err) {
    calibration_map *m = NULL;
    if (input == PGR_CALIBRATION_SHRUNK)
        return fail(err, PGR_E_ARG, "calibration: differences alone do not tell what shrinks them, expected gaps");
    PGR_TRY(check_data(input, x, y, n, err));
    PGR_TRY(fit(&(calibration_map){.method = method, .input = input}, x, y, n, &m, err));
    return with_map(kind, m, out, err);
}

static const calibration_map *map_of(const pgr_calibration *c, pgr_verdict_kind kind) {
    PGR_ASSERT((size_t)kind < PGR_VERDICT_KINDS);
    return c ? c->of[kind] : NULL;
}

/* No surer than n outcomes can show: between 1 / (n + 2) and its mirror. */
static double apply(const calibration_map *m, double x) {
    if (isnan(x)) return NAN;
    double least = 1 / ((double)m->n + 2);
    double p =
        m->method == PGR_CALIBRATION_ISOTONIC ? interpolate(m, x) : sigmoid(logit_of(m->input, x) / m->temperature);
    return p < least ? least : (p > 1 - least ? 1 - least : p);
}

double pgr_calibration_apply(const pgr_calibration *c, pgr_verdict_kind kind, double x) {
    const calibration_map *m = map_of(c, kind);
    return m ? apply(m, x) : NAN;
}

/* ---- gaps ------------------------------------------------------------------------------------------------------ */

double gap_probability(const pgr_gap *g) {
    double n = g->n, m = n * g->mean / (n + 1);
    double variance = (n * (g->spread + (g->mean - m) * (g->mean - m)) + m * m + 1.0) / (n + 1);
    return 0.5 * erfc(-m / sqrt(2.0 * variance / (n + 1)));
}

double gap_error(const pgr_gap *g) {
    return g->n > 1 + SAME ? sqrt(g->spread / (g->n - 1)) : NAN;
}

/* Variance of the mean: that of a chain, (K within + n spread) / (K + n - 1), over n. */
static double error_variance(const calibration_map *c, const pgr_gap *g) {
    return (PRIOR_CHAINS * c->within + g->n * g->spread) / (PRIOR_CHAINS + g->n - 1) / g->n;
}

/* Of the difference that is seen, what stands for the true one: its mean given what is seen. */
static double shrink(const calibration_map *c, const pgr_gap *g) {
    return c->between > 0 ? g->mean * c->between / (c->between + error_variance(c, g)) : 0;
}

static double input_of(const calibration_map *c, const pgr_gap *g) {
    switch (c->input) {
    case PGR_CALIBRATION_PROBABILITY:
        return gap_probability(g);
    case PGR_CALIBRATION_DIFFERENCE:
        return g->mean;
    default:
        return shrink(c, g);
    }
}

double pgr_calibration_apply_gap(const pgr_calibration *c, pgr_verdict_kind kind, const pgr_gap *x) {
    const calibration_map *m = map_of(c, kind);
    return m ? apply(m, input_of(m, x)) : NAN;
}

double calibration_reach(const pgr_calibration *c, pgr_verdict_kind kind, const pgr_gap *g) {
    const calibration_map *m = map_of(c, kind);
    if (m->input == PGR_CALIBRATION_PROBABILITY) return apply(m, 1); /* chains without end are sure */
    double error = gap_error(g), x = fabs(input_of(m, g));
    if (m->input == PGR_CALIBRATION_SHRUNK) {
        double v = error_variance(m, g);
        error = m->between > 0 ? sqrt(m->between * v / (m->between + v)) : 0;
    }
    return apply(m, error > 0 ? x + 2 * error : x);
}

static pgr_status check_gaps(const pgr_gap *x, size_t n, pgr_error *err) {
    double freedom = 0;
    for (size_t i = 0; x && i < n; i++) {
        if (!isfinite(x[i].mean) || !(x[i].spread >= 0 && isfinite(x[i].spread)) || !(x[i].n >= 1 - SAME))
            return fail(err, PGR_E_ARG,
                        "calibration: gap %zu is %g, spread %g, of %g chains; expected numbers, of one chain or more",
                        i, x[i].mean, x[i].spread, x[i].n);
        freedom += x[i].n - 1;
    }
    if (n == 0 || freedom > SAME) return PGR_OK; /* none at all: the fit says so */
    return fail(err, PGR_E_ARG,
                "calibration: found one chain a verdict, expected two or more: they tell how far chains differ");
}

/* within: pooled over requests; between: what their mean squares are beyond the errors. */
static void fit_prior(calibration_map *c, const pgr_gap *x, size_t n) {
    double squares = 0, freedom = 0, between = 0;
    for (size_t i = 0; i < n; i++) squares += x[i].n * x[i].spread, freedom += x[i].n - 1;
    c->within = squares / freedom;
    for (size_t i = 0; i < n; i++) between += x[i].mean * x[i].mean - error_variance(c, &x[i]);
    c->between = between > 0 ? between / (double)n : 0;
}

pgr_status pgr_calibration_fit_gaps(pgr_verdict_kind kind, pgr_calibration_method method, const pgr_gap *x,
                                    const double *y, size_t n, pgr_calibration **out, pgr_error *err) {
    calibration_map about = {.method = method, .input = PGR_CALIBRATION_SHRUNK}, *m = NULL;
    PGR_TRY(check_gaps(x, n, err));
    double *shrunk = mem_array(n + 1, sizeof *shrunk);
    if (!shrunk) return fail_mem(err);
    if (x && n) fit_prior(&about, x, n);
    for (size_t i = 0; x && i < n; i++) shrunk[i] = shrink(&about, &x[i]);
    pgr_status s = check_data(about.input, x ? shrunk : NULL, y, n, err);
    if (s == PGR_OK) s = fit(&about, shrunk, y, n, &m, err);
    mem_free(shrunk);
    return s == PGR_OK ? with_map(kind, m, out, err) : s;
}

/* ---- all kinds together ------------------------------------------------------------------------------------------ */

size_t pgr_calibration_outcomes(const pgr_calibration *c, pgr_verdict_kind kind) {
    const calibration_map *m = map_of(c, kind);
    return m ? m->n : 0;
}

pgr_calibration_input pgr_calibration_takes(const pgr_calibration *c, pgr_verdict_kind kind) {
    const calibration_map *m = map_of(c, kind);
    PGR_ASSERT(m);
    return m->input;
}

void pgr_calibration_join(pgr_calibration *into, pgr_calibration *from) {
    for (int k = 0; k < PGR_VERDICT_KINDS; k++) {
        if (!from->of[k]) continue;
        map_free(into->of[k]);
        into->of[k] = from->of[k];
        from->of[k] = NULL;
    }
    pgr_calibration_free(from);
}

void pgr_calibration_free(pgr_calibration *c) {
    if (!c) return;
    for (int k = 0; k < PGR_VERDICT_KINDS; k++) map_free(c->of[k]);
    mem_free(c);
}

double pgr_calibration_error(const double *p, const double *y, size_t n, size_t n_bin) {
    if (n == 0 || n_bin == 0) return NAN;
    double error = 0;
    for (size_t b = 0; b < n_bin; b++) {
        double gap = 0; /* sum of p - y in the bin; its mean weighted by the bin's share is this sum over n */
        for (size_t i = 0; i < n; i++) {
            size_t bin = (size_t)(p[i] * (double)n_bin);
            if ((bin < n_bin ? bin : n_bin - 1) == b) gap += p[i] - y[i];
        }
        error += fabs(gap) / (double)n;
    }
    return error;
}
