/* singular.c - singular values as square roots of the eigenvalues of the smaller Gram matrix, by Householder's
 * tridiagonal form and QL iterations with implicit shifts (values only; Golub and Van Loan, chapter 8). */
#include "prototype/singular.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

void singular_curve_free(singular_curve *c) {
    mem_free(c->values);
    mem_free(c->explained);
    *c = (singular_curve){0};
}

/* ---- eigenvalues ----------------------------------------------------------------------------------------------- */

static double dot(const double *a, const double *b, size_t n) {
    double s[4] = {0};
    size_t i = 0;
    for (; i + 4 <= n; i += 4)
        for (size_t l = 0; l < 4; l++) s[l] += a[i + l] * b[i + l];
    for (; i < n; i++) s[0] += a[i] * b[i];
    return (s[0] + s[1]) + (s[2] + s[3]);
}

/* Reflection that leaves only the last entry of row v (n); v becomes the reflection's vector,
 * beta its 2 / |v|^2. Returns the entry. */
static double householder(double *v, size_t n, double *beta) {
    double scale = 0, norm2 = 0;
    for (size_t i = 0; i < n; i++) scale = fabs(v[i]) > scale ? fabs(v[i]) : scale;
    *beta = 0;
    if (!(scale > 1e-150)) return v[n - 1]; /* squares would vanish */
    for (size_t i = 0; i < n; i++) norm2 += (v[i] / scale) * (v[i] / scale);
    double norm = scale * sqrt(norm2), alpha = v[n - 1] > 0 ? -norm : norm;
    v[n - 1] -= alpha;
    *beta = 1.0 / (norm * (norm + fabs(v[n - 1] + alpha)));
    return alpha;
}

/* a -> tridiagonal: diagonal in values, values[i]'s neighbour i + 1 in off[i + 1]. Works on the lower triangle,
 * last row first. */
static void tridiagonal(double *a, size_t n, double *off, double *values) {
    for (size_t m = n; m-- > 1;) {
        double beta, *v = a + m * n;
        values[m] = v[m];
        off[m] = householder(v, m, &beta);
        if (beta == 0) continue;
        double *p = values; /* p = beta A v, then w = p - beta/2 (p.v) v; values below m are free until their turn */
        for (size_t i = 0; i < m; i++) p[i] = dot(a + i * n, v, i + 1);
        for (size_t i = 1; i < m; i++)
            for (size_t j = 0; j < i; j++) p[j] += a[i * n + j] * v[i];
        for (size_t i = 0; i < m; i++) p[i] *= beta;
        double half = beta / 2 * dot(p, v, m);
        for (size_t i = 0; i < m; i++) p[i] -= half * v[i];
        for (size_t i = 0; i < m; i++)
            for (size_t j = 0; j <= i; j++) a[i * n + j] -= v[i] * p[j] + p[i] * v[j];
    }
    values[0] = a[0];
    off[0] = 0;
}

static int by_size(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? 1 : x > y ? -1 : 0;
}

/* One QL step with Wilkinson's shift on the unreduced block l..m of diagonal d and neighbours e (e[i] beside d[i] and
 * d[i + 1]). */
static void ql_step(double *d, double *e, size_t l, size_t m) {
    double g = (d[l + 1] - d[l]) / (2 * e[l]), r = hypot(g, 1), s = 1, c = 1, p = 0;
    g = d[m] - d[l] + e[l] / (g + copysign(r, g));
    size_t i = m;
    while (i-- > l) {
        double f = s * e[i], b = c * e[i];
        r = hypot(f, g);
        e[i + 1] = r;
        if (r == 0) { /* the block falls apart here */
            d[i + 1] -= p;
            e[m] = 0;
            return;
        }
        s = f / r;
        c = g / r;
        g = d[i + 1] - p;
        r = (d[i] - g) * s + 2 * c * b;
        p = s * r;
        d[i + 1] = g + p;
        g = c * r - b;
    }
    d[l] -= p;
    e[l] = g;
    e[m] = 0;
}

pgr_status symmetric_eigenvalues(double *a, size_t n, double *off, double *values, pgr_error *err) {
    enum { MAX_STEP = 60 };
    if (n == 0) return PGR_OK;
    tridiagonal(a, n, off, values);
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += fabs(values[i]) + fabs(off[i]);
    if (!isfinite(sum)) return fail(err, PGR_E_ARG, "the matrix for the singular values is not finite");
    memmove(off, off + 1, (n - 1) * sizeof *off);
    off[n - 1] = 0;
    for (size_t l = 0; l < n; l++) {
        for (size_t step = 0;; step++) {
            size_t m = l;
            while (m + 1 < n && fabs(off[m]) > 2.3e-16 * (fabs(values[m]) + fabs(values[m + 1]))) m++;
            if (m == l) break;
            if (step == MAX_STEP) return fail(err, PGR_E_ARG, "eigenvalue %zu of %zu does not converge", l, n);
            ql_step(values, off, l, m);
        }
    }
    qsort(values, n, sizeof *values, by_size);
    return PGR_OK;
}

/* ---- the Gram matrix ------------------------------------------------------------------------------------------- */

typedef struct gram {
    const float *x;     /* (n, d) every `every`-th row of it is used */
    size_t d, every, n; /* n rows that are used */
    bool by_column;     /* (d, d) sums over rows, else (n, n) */
    double *mean;       /* (d) */
    double *centred;    /* (n, d) or transposed (d, n): what the entries are dots of */
    double *out;        /* (size, size) lower triangle */
    size_t size, inner;
    pgr_cancel *cancel;
} gram;

static void gram_row(void *ctx, size_t task, size_t worker) {
    const gram *g = ctx;
    (void)worker;
    if (g->cancel && *g->cancel) return;
    size_t i = g->size - 1 - task; /* the long ones first */
    for (size_t j = 0; j <= i; j++)
        g->out[i * g->size + j] = dot(g->centred + i * g->inner, g->centred + j * g->inner, g->inner);
}

static void centre_rows(gram *g) {
    for (size_t i = 0; i < g->n; i++)
        for (size_t j = 0; j < g->d; j++) g->mean[j] += g->x[i * g->every * g->d + j];
    for (size_t j = 0; j < g->d; j++) g->mean[j] /= (double)g->n;
    for (size_t i = 0; i < g->n; i++)
        for (size_t j = 0; j < g->d; j++)
            g->centred[g->by_column ? j * g->n + i : i * g->d + j] = g->x[i * g->every * g->d + j] - g->mean[j];
}

/* ---- the curve ------------------------------------------------------------------------------------------------- */

/* omega of Gavish and Donoho for the shape beta = smaller / larger side. */
static double noise_factor(double beta) {
    return 0.56 * beta * beta * beta - 0.95 * beta * beta + 1.82 * beta + 1.43;
}

static void judge_curve(singular_curve *c, size_t n, size_t d) {
    double total = 0, sum = 0, small = (double)(n < d ? n : d), large = (double)(n < d ? d : n);
    for (size_t i = 0; i < c->n_value; i++) {
        c->values[i] = c->values[i] > 0 ? sqrt(c->values[i]) : 0;
        total += c->values[i] * c->values[i];
    }
    for (size_t i = 0; i < c->n_value; i++) {
        sum += c->values[i] * c->values[i];
        c->explained[i] = total > 0 ? sum / total : 0;
    }
    double median = (c->values[c->n_value / 2] + c->values[(c->n_value - 1) / 2]) / 2;
    double rounding = 1e-6 * c->values[0]; /* rows are floats: values below are their rounding */
    c->threshold = fmax(noise_factor(small / large) * median, rounding);
    while (c->n_retained < c->n_value && c->values[c->n_retained] > c->threshold) c->n_retained++;
    c->k = c->n_retained + 1;
    if (c->k > n / 2) c->k = n / 2;
    if (c->k == 0) c->k = 1;
}

pgr_status singular_curve_measure(const float *x, size_t n, size_t d, pool *threads, pgr_cancel *cancel,
                                  singular_curve *out, pgr_error *err) {
    *out = (singular_curve){0};
    if (n == 0 || d == 0) return fail(err, PGR_E_ARG, "there are no rows to take singular values of");
    gram g = {.x = x, .d = d, .every = (n + SINGULAR_ROWS - 1) / SINGULAR_ROWS, .cancel = cancel};
    g.n = (n + g.every - 1) / g.every;
    g.by_column = d <= g.n;
    g.size = g.by_column ? d : g.n;
    g.inner = g.by_column ? g.n : d;
    g.mean = mem_zero(d, sizeof *g.mean);
    g.centred = mem_array(g.n * d, sizeof *g.centred);
    g.out = mem_zero(g.size * g.size, sizeof *g.out);
    double *off = mem_array(g.size, sizeof *off);
    out->values = mem_array(g.size, sizeof *out->values);
    out->explained = mem_array(g.size, sizeof *out->explained);
    out->n_value = g.size;
    out->n_used = g.n;
    pgr_status status = PGR_OK;
    if (!g.mean || !g.centred || !g.out || !off || !out->values || !out->explained) status = fail_mem(err);
    if (status == PGR_OK) {
        centre_rows(&g);
        pool_run(threads, g.size, gram_row, &g);
        if (cancel && *cancel) status = fail(err, PGR_E_CANCELLED, "cancelled");
    }
    if (status == PGR_OK) status = symmetric_eigenvalues(g.out, g.size, off, out->values, err);
    if (status == PGR_OK) judge_curve(out, g.n, d);
    void *all[] = {g.mean, g.centred, g.out, off};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) mem_free(all[i]);
    if (status != PGR_OK) singular_curve_free(out);
    return status;
}
