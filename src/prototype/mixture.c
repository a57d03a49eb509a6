/* mixture.c - expectation and maximisation. Classes are fitted and users are placed on several threads; every number is
 * one task's, and sums over users run in their order. A class takes few Newton steps a round from where it stands, and
 * no step that would lower its objective: the whole never falls. */
#include "prototype/mixture.h"

#include <math.h>
#include <string.h>

#include "base/logistic.h"
#include "base/mem.h"
#include "base/watch.h"

enum { STEPS = 4 };                /* of Newton's method that a class takes in a round */
static const double PRECISION = 1; /* of the weights' prior */
static const double ENOUGH = 1e-6; /* of the objective: a round that gains less is the last */
static const double TINY = 1e-12;  /* a share below it is none: what that hides of the objective is far below ENOUGH */
static const double LEAST_SPREAD = .01; /* where no class has a taste, a newcomer may have a faint one */

/* ---- one mixture ------------------------------------------------------------------------------------------------ */

static pgr_status create(size_t k, size_t dims, mixture *m, pgr_error *err) {
    *m = (mixture){.k = k, .dims = dims};
    m->weights = mem_zero(k * dims, sizeof *m->weights);
    m->log_share = mem_zero(k, sizeof *m->log_share);
    if (m->weights && m->log_share) return PGR_OK;
    mixture_free(m);
    return fail_mem(err);
}

void mixture_free(mixture *m) {
    mem_free(m->weights);
    mem_free(m->log_share);
    *m = (mixture){0};
}

static double dot(const double *a, const double *b, size_t n) {
    double s = 0;
    for (size_t i = 0; i < n; i++) s += a[i] * b[i];
    return s;
}

/* log P(pair | c)                                                                                     x: (dims) */
static double pair_likelihood(const mixture *m, size_t c, const double *x) {
    return log_logistic(dot(m->weights + c * m->dims, x, m->dims));
}

/* log share_c + log P(pairs | c) */
static double class_likelihood(const mixture *m, size_t c, const double *x, size_t n) {
    double sum = m->log_share[c];
    for (size_t i = 0; i < n; i++) sum += pair_likelihood(m, c, x + i * m->dims);
    return sum;
}

/* v becomes shares that sum to 1. Returns log sum exp v. */
static double normalise(double *v, size_t n) {
    double most = -INFINITY, sum = 0;
    for (size_t i = 0; i < n; i++) most = fmax(most, v[i]);
    for (size_t i = 0; i < n; i++) sum += v[i] = exp(v[i] - most);
    for (size_t i = 0; i < n; i++) v[i] /= sum;
    return most + log(sum);
}

double mixture_likelihood(const mixture *m, const double *x, size_t n, double *share) {
    if (share) {
        for (size_t c = 0; c < m->k; c++) share[c] = class_likelihood(m, c, x, n);
        return normalise(share, m->k);
    }
    double most = -INFINITY, sum = 0; /* of exp(v - most), class by class */
    for (size_t c = 0; c < m->k; c++) {
        double v = class_likelihood(m, c, x, n);
        sum = v > most ? sum * exp(most - v) + 1 : sum + exp(v - most);
        most = fmax(most, v);
    }
    return most + log(sum);
}

double mixture_class_likelihood(const mixture *m, size_t c, const float *x, size_t n) {
    double sum = m->log_share[c], pair[LOGISTIC_MAX];
    for (size_t i = 0; i < n; i++, x += m->dims) {
        for (size_t j = 0; j < m->dims; j++) pair[j] = (double)x[j];
        sum += pair_likelihood(m, c, pair);
    }
    return sum;
}

/* ---- fit -------------------------------------------------------------------------------------------------------- */

typedef struct fit {
    const mixture_pairs *pairs;
    mixture m;
    double *share;      /* (n_user, k) */
    double *log_sum;    /* (n_user) log P(pairs of u) */
    double *weight;     /* (k, n_pair) of each pair in each class */
    pgr_status *status; /* (k) */
} fit;

static void fit_class(void *ctx, size_t c, size_t worker) {
    fit *f = ctx;
    (void)worker;
    const mixture_pairs *p = f->pairs;
    size_t k = f->m.k, n_pair = p->first[p->n_user];
    double precision[LOGISTIC_MAX], *weight = f->weight + c * n_pair;
    for (size_t j = 0; j < p->dims; j++) precision[j] = PRECISION;
    for (size_t u = 0; u < p->n_user; u++)
        for (size_t i = p->first[u]; i < p->first[u + 1]; i++)
            weight[i] = f->share[u * k + c] < TINY ? 0 : f->share[u * k + c];
    const logistic_steps o = {.weight = weight, .n_step = STEPS};
    f->status[c] = logistic_go_on(p->x, NULL, n_pair, p->dims, precision, &o, f->m.weights + c * p->dims, NULL);
}

static void place_user(void *ctx, size_t u, size_t worker) {
    fit *f = ctx;
    (void)worker;
    const mixture_pairs *p = f->pairs;
    size_t first = p->first[u], n = p->first[u + 1] - first;
    f->log_sum[u] = mixture_likelihood(&f->m, p->x + first * p->dims, n, f->share + u * f->m.k);
}

static pgr_status maximise(fit *f, pool *threads, pgr_error *err) {
    size_t k = f->m.k, n_user = f->pairs->n_user;
    for (size_t c = 0; c < k; c++) {
        double sum = 1; /* the prior's user */
        for (size_t u = 0; u < n_user; u++) sum += f->share[u * k + c];
        f->m.log_share[c] = log(sum / ((double)n_user + (double)k));
    }
    pool_run(threads, k, fit_class, f);
    for (size_t c = 0; c < k; c++)
        if (f->status[c] != PGR_OK)
            return fail(err, f->status[c], "a pair of the %zu users has features that are not finite", n_user);
    return PGR_OK;
}

/* Shares of all users, and the objective of the weights and class sizes as they are. */
static double expect(fit *f, pool *threads) {
    size_t k = f->m.k;
    pool_run(threads, f->pairs->n_user, place_user, f);
    double sum = -PRECISION * dot(f->m.weights, f->m.weights, k * f->m.dims) / 2;
    for (size_t c = 0; c < k; c++) sum += f->m.log_share[c];
    for (size_t u = 0; u < f->pairs->n_user; u++) sum += f->log_sum[u];
    return sum;
}

static pgr_status run_rounds(fit *f, pool *threads, const pgr_watch *watch, mixture_trace *t, pgr_error *err) {
    for (t->n = 0; t->n < MIXTURE_ROUNDS;) {
        watch_report(watch, "kinds of taste", t->n, MIXTURE_ROUNDS, "rounds");
        PGR_TRY(watch_check(watch, err));
        PGR_TRY(maximise(f, threads, err));
        t->objective[t->n++] = expect(f, threads);
        double now = t->objective[t->n - 1];
        if (t->n > 1 && !(now - t->objective[t->n - 2] > ENOUGH * fabs(now))) break;
    }
    return PGR_OK;
}

/* The mean square of a weight, classes by their shares. */
static double spread_of(const mixture *m) {
    double sum = 0;
    for (size_t c = 0; c < m->k; c++) {
        const double *w = m->weights + c * m->dims;
        sum += exp(m->log_share[c]) * dot(w, w, m->dims) / (double)m->dims;
    }
    return fmax(sum, LEAST_SPREAD);
}

static pgr_status fit_create(fit *f, const mixture_pairs *p, size_t k, pgr_error *err) {
    size_t n_pair = p->first[p->n_user];
    *f = (fit){.pairs = p};
    PGR_TRY(create(k, p->dims, &f->m, err));
    f->share = mem_zero(p->n_user * k, sizeof *f->share);
    f->log_sum = mem_array(p->n_user, sizeof *f->log_sum);
    f->weight = mem_array(n_pair * k + 1, sizeof *f->weight);
    f->status = mem_zero(k, sizeof *f->status);
    return f->share && f->log_sum && f->weight && f->status ? PGR_OK : fail_mem(err);
}

static void fit_free(fit *f) {
    mixture_free(&f->m);
    mem_free(f->share);
    mem_free(f->log_sum);
    mem_free(f->weight);
    mem_free(f->status);
}

pgr_status mixture_fit(const mixture_pairs *pairs, const uint32_t *start, size_t k, pool *threads,
                       const pgr_watch *watch, mixture *out, mixture_trace *trace, pgr_error *err) {
    fit f;
    PGR_ASSERT(k > 0 && pairs->n_user > 0 && pairs->dims <= LOGISTIC_MAX);
    *out = (mixture){0};
    pgr_status s = fit_create(&f, pairs, k, err);
    for (size_t u = 0; s == PGR_OK && u < pairs->n_user; u++) f.share[u * k + start[u]] = 1;
    if (s == PGR_OK) s = run_rounds(&f, threads, watch, trace, err);
    if (s == PGR_OK) {
        f.m.spread = spread_of(&f.m);
        *out = f.m;
        f.m = (mixture){0};
    }
    fit_free(&f);
    return s;
}

/* ---- newcomers -------------------------------------------------------------------------------------------------- */

pgr_status mixture_place(const mixture *m, const double *x, size_t n, double *taste, double *known, pgr_error *err) {
    double precision[LOGISTIC_MAX], own[LOGISTIC_MAX] = {0}, outside;
    double *share = mem_array(m->k, sizeof *share);
    if (!share) return fail_mem(err);
    for (size_t j = 0; j < m->dims; j++) precision[j] = 1 / m->spread;
    const logistic_steps o = {.n_step = 50, .log_evidence = &outside};
    pgr_status s = logistic_go_on(x, NULL, n, m->dims, precision, &o, own, err);
    if (s == PGR_OK) {
        double inside = mixture_likelihood(m, x, n, share);
        *known = logistic(inside + log(1 - MIXTURE_OUTSIDE) - outside - log(MIXTURE_OUTSIDE));
        for (size_t j = 0; j < m->dims; j++) {
            taste[j] = (1 - *known) * own[j];
            for (size_t c = 0; c < m->k; c++) taste[j] += *known * share[c] * m->weights[c * m->dims + j];
        }
    }
    mem_free(share);
    return s;
}

/* ---- numbers ---------------------------------------------------------------------------------------------------- */

size_t mixture_size(size_t k, size_t dims) {
    return 1 + k + k * dims;
}

void mixture_pack(const mixture *m, float *out) {
    *out++ = (float)m->spread;
    for (size_t c = 0; c < m->k; c++) *out++ = (float)m->log_share[c];
    for (size_t i = 0; i < m->k * m->dims; i++) *out++ = (float)m->weights[i];
}

pgr_status mixture_unpack(const float *values, size_t n, size_t k, size_t dims, mixture *out, pgr_error *err) {
    *out = (mixture){0};
    if (dims > LOGISTIC_MAX || n != mixture_size(k, dims))
        return fail(err, PGR_E_FORMAT, "%zu numbers, expected those of %zu classes of %zu features", n, k, dims);
    for (size_t i = 0; i < n; i++)
        if (!isfinite(values[i])) return fail(err, PGR_E_FORMAT, "value %zu is no number", i);
    if (!(values[0] > 0)) return fail(err, PGR_E_FORMAT, "the spread is %g, expected more than 0", (double)values[0]);
    PGR_TRY(create(k, dims, out, err));
    out->spread = (double)*values++;
    for (size_t c = 0; c < k; c++) out->log_share[c] = (double)*values++;
    for (size_t i = 0; i < k * dims; i++) out->weights[i] = (double)*values++;
    return PGR_OK;
}
