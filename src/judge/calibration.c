/* calibration.c - temperature by maximum likelihood, isotonic regression by pool-adjacent-violators, for each kind of
 * verdict its own, and their file. */
#include "judge/calibration.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/file_out.h"
#include "base/json.h"
#include "base/mem.h"

static const double NEAR_ONE = 1e-9;               /* probabilities nearer to 0 or 1 are taken as this near */
static const double COLDEST = 1e-3, HOTTEST = 1e3; /* temperatures */

static const double SAME = 1e-12;     /* 1 - .7 is not quite .3 */
static const double LARGEST = 1e9;    /* in a file: differences of such numbers are no infinities */
static const double PRIOR_CHAINS = 4; /* that the usual variance of a chain counts for in a request's own */

typedef struct map {
    pgr_calibration_method method;
    pgr_calibration_input input;
    size_t n; /* outcomes it was fitted on */
    double temperature;
    double *x, *y; /* (n_knot) isotonic: y rises with x; straight lines between, level beyond */
    size_t n_knot;
    double between, within; /* SHRUNK: variance of the true difference over requests; of one chain around it */
} map;

struct pgr_calibration {
    map *of[PGR_VERDICT_KINDS]; /* NULL: none for this kind */
};

static const char *const KINDS[] = {"answers", "views", NULL};

static const char *const METHODS[] = {"temperature", "isotonic", NULL}, *const INPUTS[] = {"probability", "difference",
                                                                                           "shrunk", NULL};

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
static pgr_status fit_isotonic(map *c, const double *x, const double *y, size_t n, pgr_error *err) {
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

static double interpolate(const map *c, double x) {
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

static void map_free(map *m) {
    if (!m) return;
    mem_free(m->x);
    mem_free(m->y);
    mem_free(m);
}

static pgr_status fit(const map *about, const double *x, const double *y, size_t n, map **out, pgr_error *err) {
    map *m = mem_zero(1, sizeof *m);
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
static pgr_status with_map(pgr_verdict_kind kind, map *m, pgr_calibration **out, pgr_error *err) {
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
    map *m = NULL;
    if (input == PGR_CALIBRATION_SHRUNK)
        return fail(err, PGR_E_ARG, "calibration: differences alone do not tell what shrinks them, expected gaps");
    PGR_TRY(check_data(input, x, y, n, err));
    PGR_TRY(fit(&(map){.method = method, .input = input}, x, y, n, &m, err));
    return with_map(kind, m, out, err);
}

static const map *map_of(const pgr_calibration *c, pgr_verdict_kind kind) {
    PGR_ASSERT((size_t)kind < PGR_VERDICT_KINDS);
    return c ? c->of[kind] : NULL;
}

/* No surer than n outcomes can show: between 1 / (n + 2) and its mirror. */
static double apply(const map *m, double x) {
    if (isnan(x)) return NAN;
    double least = 1 / ((double)m->n + 2);
    double p =
        m->method == PGR_CALIBRATION_ISOTONIC ? interpolate(m, x) : sigmoid(logit_of(m->input, x) / m->temperature);
    return p < least ? least : (p > 1 - least ? 1 - least : p);
}

double pgr_calibration_apply(const pgr_calibration *c, pgr_verdict_kind kind, double x) {
    const map *m = map_of(c, kind);
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
static double error_variance(const map *c, const pgr_gap *g) {
    return (PRIOR_CHAINS * c->within + g->n * g->spread) / (PRIOR_CHAINS + g->n - 1) / g->n;
}

/* Of the difference that is seen, what stands for the true one: its mean given what is seen. */
static double shrink(const map *c, const pgr_gap *g) {
    return c->between > 0 ? g->mean * c->between / (c->between + error_variance(c, g)) : 0;
}

static double input_of(const map *c, const pgr_gap *g) {
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
    const map *m = map_of(c, kind);
    return m ? apply(m, input_of(m, x)) : NAN;
}

double calibration_reach(const pgr_calibration *c, pgr_verdict_kind kind, const pgr_gap *g) {
    const map *m = map_of(c, kind);
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
static void fit_prior(map *c, const pgr_gap *x, size_t n) {
    double squares = 0, freedom = 0, between = 0;
    for (size_t i = 0; i < n; i++) squares += x[i].n * x[i].spread, freedom += x[i].n - 1;
    c->within = squares / freedom;
    for (size_t i = 0; i < n; i++) between += x[i].mean * x[i].mean - error_variance(c, &x[i]);
    c->between = between > 0 ? between / (double)n : 0;
}

pgr_status pgr_calibration_fit_gaps(pgr_verdict_kind kind, pgr_calibration_method method, const pgr_gap *x,
                                    const double *y, size_t n, pgr_calibration **out, pgr_error *err) {
    map about = {.method = method, .input = PGR_CALIBRATION_SHRUNK}, *m = NULL;
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

/* ---- kinds ----------------------------------------------------------------------------------------------------- */

const char *pgr_verdict_kind_name(pgr_verdict_kind kind) {
    PGR_ASSERT((size_t)kind < PGR_VERDICT_KINDS);
    return KINDS[kind];
}

bool verdict_kind_find(const char *name, pgr_verdict_kind *out) {
    for (int i = 0; i < PGR_VERDICT_KINDS; i++)
        if (strcmp(name, KINDS[i]) == 0) {
            *out = (pgr_verdict_kind)i;
            return true;
        }
    return false;
}

size_t pgr_calibration_outcomes(const pgr_calibration *c, pgr_verdict_kind kind) {
    const map *m = map_of(c, kind);
    return m ? m->n : 0;
}

pgr_calibration_input pgr_calibration_takes(const pgr_calibration *c, pgr_verdict_kind kind) {
    const map *m = map_of(c, kind);
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

/* ---- the file -------------------------------------------------------------------------------------------------- */

typedef struct reader { /* of one map */
    const char *origin;
    const char *whole; /* "views": its key in the file; "" where the file is one map */
    const char *at;    /* "views.", before its own keys in messages; "" */
    const json_t *top;
    pgr_error *err;
} reader;

enum { KEY_PATH = 32 };

static json_at place(const reader *in, const char *key, char path[KEY_PATH]) {
    snprintf(path, KEY_PATH, "%s%s", in->at, key);
    return (json_at){in->origin, path};
}

static pgr_status bad(const reader *in, const char *key, const char *expected) {
    return fail(in->err, PGR_E_FORMAT, "%s: %s%s: found %s, expected %s", in->origin, in->at, key,
                json_kind(json_object_get(in->top, key)), expected);
}

static pgr_status read_choice(const reader *in, const char *key, const char *const *names, int *out) {
    const char *found = NULL;
    char path[KEY_PATH];
    PGR_TRY(json_want_string(json_object_get(in->top, key), place(in, key, path), &found, in->err));
    for (int i = 0; names[i]; i++)
        if (strcmp(found, names[i]) == 0) {
            *out = i;
            return PGR_OK;
        }
    char list[80] = "";
    size_t n = 0;
    for (int i = 0; names[i]; i++)
        n += (size_t)snprintf(list + n, sizeof list - n, "%s'%s'",
                              i == 0         ? ""
                              : names[i + 1] ? ", "
                                             : " or ",
                              names[i]);
    return fail(in->err, PGR_E_FORMAT, "%s: %s%s: found '%.60s', expected %s", in->origin, in->at, key, found, list);
}

/* An array of finite numbers that never fall (x: that rise). */
static pgr_status read_rising(const reader *in, const char *key, bool strict, double **out, size_t *n) {
    const json_t *v = json_object_get(in->top, key);
    if (!json_is_array(v) || json_array_size(v) == 0) return bad(in, key, "an array of numbers");
    *n = json_array_size(v);
    *out = mem_array(*n, sizeof **out);
    if (!*out) return fail_mem(in->err);
    for (size_t i = 0; i < *n; i++) {
        const json_t *item = json_array_get(v, i);
        if (!json_is_number(item)) return bad(in, key, "numbers only");
        (*out)[i] = json_number_value(item);
        bool falls = i > 0 && (strict ? !((*out)[i] > (*out)[i - 1]) : !((*out)[i] >= (*out)[i - 1]));
        if (!(fabs((*out)[i]) <= LARGEST) || falls)
            return fail(in->err, PGR_E_FORMAT, "%s: %s%s[%zu]: found %g, expected numbers that rise, none beyond 1e9",
                        in->origin, in->at, key, i, (*out)[i]);
    }
    return PGR_OK;
}

static pgr_status read_isotonic(const reader *in, map *c) {
    size_t n_y = 0;
    PGR_TRY(read_rising(in, "x", true, &c->x, &c->n_knot));
    PGR_TRY(read_rising(in, "y", false, &c->y, &n_y));
    if (n_y != c->n_knot)
        return fail(in->err, PGR_E_FORMAT, "%s: %sy: found %zu numbers, expected %zu as in x", in->origin, in->at, n_y,
                    c->n_knot);
    if (c->y[0] < 0 || c->y[n_y - 1] > 1)
        return fail(in->err, PGR_E_FORMAT, "%s: %sy: found numbers beyond 0 to 1, expected probabilities", in->origin,
                    in->at);
    return PGR_OK;
}

static pgr_status read_temperature(const reader *in, map *c) {
    const json_t *v = json_object_get(in->top, "temperature");
    c->temperature = json_is_number(v) ? json_number_value(v) : NAN;
    return c->temperature >= COLDEST && c->temperature <= HOTTEST
               ? PGR_OK
               : bad(in, "temperature", "a number from 0.001 to 1000");
}

static pgr_status read_variance(const reader *in, const char *key, double *out) {
    const json_t *v = json_object_get(in->top, key);
    *out = json_is_number(v) ? json_number_value(v) : NAN;
    return *out >= 0 && *out <= LARGEST ? PGR_OK : bad(in, key, "a variance, a number from 0 to 1e9");
}

static pgr_status fill_map(const reader *in, map *c) {
    static const char *const keys[] = {"method", "input", "n", "between", "within", "temperature", "x", "y", NULL};
    char path[KEY_PATH];
    int method = 0, input = 0;
    int64_t n = 0;
    PGR_TRY(json_only_keys(in->top, keys, (json_at){in->origin, in->whole}, in->err));
    PGR_TRY(read_choice(in, "method", METHODS, &method));
    PGR_TRY(read_choice(in, "input", INPUTS, &input));
    PGR_TRY(json_want_integer(json_object_get(in->top, "n"), place(in, "n", path), 1, INT64_C(1) << 52, &n, in->err));
    c->method = (pgr_calibration_method)method;
    c->input = (pgr_calibration_input)input;
    c->n = (size_t)n;
    if (c->input == PGR_CALIBRATION_SHRUNK) {
        PGR_TRY(read_variance(in, "between", &c->between));
        PGR_TRY(read_variance(in, "within", &c->within));
    }
    return c->method == PGR_CALIBRATION_ISOTONIC ? read_isotonic(in, c) : read_temperature(in, c);
}

static pgr_status read_map(const reader *in, map **out) {
    *out = mem_zero(1, sizeof **out); /* freed with the calibration, whole or not */
    return *out ? fill_map(in, *out) : fail_mem(in->err);
}

static bool by_kind(const json_t *top) {
    for (int k = 0; k < PGR_VERDICT_KINDS; k++)
        if (json_object_get(top, KINDS[k])) return true;
    return false;
}

/* A file that does not say of which verdicts it is has a map of answers. */
static pgr_status read_file(const json_t *top, const char *origin, pgr_calibration *c, pgr_error *err) {
    PGR_TRY(json_want_object(top, (json_at){origin, ""}, err));
    if (!by_kind(top)) return read_map(&(reader){origin, "", "", top, err}, &c->of[PGR_VERDICT_ANSWERS]);
    PGR_TRY(json_only_keys(top, KINDS, (json_at){origin, ""}, err));
    for (int k = 0; k < PGR_VERDICT_KINDS; k++) {
        char at[KEY_PATH];
        const json_t *m = json_object_get(top, KINDS[k]);
        snprintf(at, sizeof at, "%s.", KINDS[k]);
        if (m) PGR_TRY(read_map(&(reader){origin, KINDS[k], at, m, err}, &c->of[k]));
    }
    return PGR_OK;
}

pgr_status calibration_parse(const char *text, size_t n, const char *origin, pgr_calibration **out, pgr_error *err) {
    json_t *top = NULL;
    PGR_TRY(json_parse(text, n, origin, 1, &top, err));
    pgr_calibration *c = mem_zero(1, sizeof *c);
    pgr_status s = c ? read_file(top, origin, c, err) : fail_mem(err);
    json_decref(top);
    if (s != PGR_OK) {
        pgr_calibration_free(c);
        return s;
    }
    *out = c;
    return PGR_OK;
}

pgr_status pgr_calibration_open(const char *path, pgr_calibration **out, pgr_error *err) {
    buf text = {0};
    PGR_TRY(file_read(path, &text, err));
    pgr_status s = calibration_parse(text.data ? text.data : "", text.n, path, out, err);
    buf_free(&text);
    return s;
}

static void put_numbers(buf *b, const char *key, const double *v, size_t n) {
    buf_printf(b, ",\"%s\":[", key);
    for (size_t i = 0; i < n; i++) buf_printf(b, "%s%.17g", i ? "," : "", v[i]);
    buf_puts(b, "]");
}

static void put_map(buf *b, const map *m) {
    buf_printf(b, "{\"method\":\"%s\",\"input\":\"%s\",\"n\":%zu", METHODS[m->method], INPUTS[m->input], m->n);
    if (m->input == PGR_CALIBRATION_SHRUNK) buf_printf(b, ",\"between\":%.17g,\"within\":%.17g", m->between, m->within);
    if (m->method == PGR_CALIBRATION_TEMPERATURE) {
        buf_printf(b, ",\"temperature\":%.17g", m->temperature);
    } else {
        put_numbers(b, "x", m->x, m->n_knot);
        put_numbers(b, "y", m->y, m->n_knot);
    }
    buf_putc(b, '}');
}

pgr_status pgr_calibration_write(const pgr_calibration *c, const char *path, pgr_error *err) {
    buf b = {0};
    for (int k = 0; k < PGR_VERDICT_KINDS; k++) {
        if (!c->of[k]) continue;
        buf_printf(&b, "%s\"%s\":", b.n ? ",\n " : "{", KINDS[k]);
        put_map(&b, c->of[k]);
    }
    buf_puts(&b, "}\n");
    pgr_status s = b.failed ? fail_mem(err) : file_write(path, b.data, b.n, err);
    buf_free(&b);
    return s;
}
