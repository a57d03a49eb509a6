/* ideal.c - people and statements in turns. A round gives all statements their posteriors, then all people theirs; the
 * bound of every vote follows what is known after each half. */
#include "prototype/ideal.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "base/watch.h"

enum { SIZE = IDEAL_SIZE, SQUARE = IDEAL_SQUARE, ROUNDS = 30, PLACE_ROUNDS = 10 };
static const double PI = 3.14159265358979323846;
static const double START = .5; /* standard deviation of where people are put before the first round */

static double prior_variance(size_t i) { /* of b at 0, then of q's dimensions */
    return i == 0 ? 3 : 2 / (2 * (double)(i - 1) + 1);
}

/* ---- one posterior ---------------------------------------------------------------------------------------------- */

/* The inverse of a symmetric matrix's rows and columns from..SIZE - 1, the others of out being 0. false: it is not
 * positive definite. */
static bool invert(const double *a, size_t from, double *out) {
    double l[SQUARE] = {0}; /* Cholesky's factor */
    memset(out, 0, SQUARE * sizeof *out);
    for (size_t i = from; i < SIZE; i++)
        for (size_t j = from; j <= i; j++) {
            double sum = a[i * SIZE + j];
            for (size_t k = from; k < j; k++) sum -= l[i * SIZE + k] * l[j * SIZE + k];
            if (i == j && !(sum > 0)) return false;
            l[i * SIZE + j] = i == j ? sqrt(sum) : sum / l[j * SIZE + j];
        }
    for (size_t c = from; c < SIZE; c++) {
        double x[SIZE] = {0};
        for (size_t i = c; i < SIZE; i++) {
            double sum = i == c;
            for (size_t k = c; k < i; k++) sum -= l[i * SIZE + k] * x[k];
            x[i] = sum / l[i * SIZE + i];
        }
        for (size_t i = SIZE; i-- > from;) {
            for (size_t k = i + 1; k < SIZE; k++) x[i] -= l[k * SIZE + i] * x[k];
            out[i * SIZE + c] = x[i] /= l[i * SIZE + i];
        }
    }
    return true;
}

/* The normal distribution of this precision whose mean is precision^-1 h; mean[i] of i < from stays. false: there is
 * none. */
static bool set_point(const double *precision, const double *h, size_t from, ideal_point *x) {
    double covariance[SQUARE];
    if (!invert(precision, from, covariance)) return false;
    for (size_t i = from; i < SIZE; i++) {
        x->mean[i] = 0;
        for (size_t j = from; j < SIZE; j++) x->mean[i] += covariance[i * SIZE + j] * h[j];
    }
    for (size_t i = 0; i < SIZE; i++)
        for (size_t j = 0; j < SIZE; j++) x->square[i * SIZE + j] = covariance[i * SIZE + j] + x->mean[i] * x->mean[j];
    return true;
}

static ideal_point person(void) { /* of whom nothing is known */
    ideal_point p = {.mean = {1}};
    for (size_t i = 0; i < SIZE; i++) p.square[i * SIZE + i] = 1;
    return p;
}

ideal_point ideal_statement(void) {
    ideal_point s = {0};
    for (size_t i = 0; i < SIZE; i++) s.square[i * SIZE + i] = prior_variance(i);
    return s;
}

static double inner(const double *a, const double *b, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += a[i] * b[i];
    return sum;
}

/* 2 lambda(xi) = tanh(xi / 2) / (2 xi) of the bound that is tight where the log odds have this second moment. */
static double bound(const ideal_point *u, const ideal_point *s) {
    double xi = sqrt(fmax(inner(u->square, s->square, SQUARE), 0));
    return xi < 1e-4 ? .25 : tanh(xi / 2) / (2 * xi);
}

/* What a vote adds to the precision and to precision x mean of the one by what is known of the other. */
static void add_vote(const ideal_point *other, double weight, bool agrees, double *precision, double *h) {
    for (size_t i = 0; i < SQUARE; i++) precision[i] += weight * other->square[i];
    for (size_t i = 0; i < SIZE; i++) h[i] += (agrees ? .5 : -.5) * other->mean[i];
}

/* precision, h: sums over his votes, which are overwritten */
static void settle_person(double *precision, double *h, ideal_point *p) {
    for (size_t i = 1; i < SIZE; i++) {
        precision[i * SIZE + i] += 1;
        h[i] -= precision[i * SIZE]; /* what popularity explains */
    }
    (void)set_point(precision, h, 1, p); /* at least the prior's: there is one */
}

static void settle_statement(double *precision, const double *h, ideal_point *s) {
    for (size_t i = 0; i < SIZE; i++) precision[i * SIZE + i] += 1 / prior_variance(i);
    (void)set_point(precision, h, 0, s);
}

/* ---- a fit ------------------------------------------------------------------------------------------------------ */

typedef struct sums {
    double precision[SQUARE], h[SIZE];
} sums;

typedef struct fit {
    const ideal_vote *votes;
    size_t n;
    ideal m;
    double *weight; /* (n) bound of each vote */
    sums *sums;     /* (n_who or n_what, whichever are more) */
} fit;

static void renew_bounds(fit *f) {
    for (size_t v = 0; v < f->n; v++) f->weight[v] = bound(&f->m.who[f->votes[v].who], &f->m.what[f->votes[v].what]);
}

static void place_statements(fit *f) {
    memset(f->sums, 0, f->m.n_what * sizeof *f->sums);
    for (size_t v = 0; v < f->n; v++) {
        const ideal_vote *x = &f->votes[v];
        add_vote(&f->m.who[x->who], f->weight[v], x->agrees, f->sums[x->what].precision, f->sums[x->what].h);
    }
    for (size_t s = 0; s < f->m.n_what; s++) settle_statement(f->sums[s].precision, f->sums[s].h, &f->m.what[s]);
}

static void place_people(fit *f) {
    memset(f->sums, 0, f->m.n_who * sizeof *f->sums);
    for (size_t v = 0; v < f->n; v++) {
        const ideal_vote *x = &f->votes[v];
        add_vote(&f->m.what[x->what], f->weight[v], x->agrees, f->sums[x->who].precision, f->sums[x->who].h);
    }
    for (size_t u = 0; u < f->m.n_who; u++) settle_person(f->sums[u].precision, f->sums[u].h, &f->m.who[u]);
}

/* People begin apart from each other, or nothing would ever part them. */
static void start(fit *f) {
    rng r = {0, 0, 0};
    for (size_t u = 0; u < f->m.n_who; u++) {
        ideal_point *p = &f->m.who[u];
        *p = person();
        for (size_t i = 1; i < SIZE; i++) p->mean[i] = START * rng_normal(&r);
        for (size_t i = 0; i < SIZE; i++)
            for (size_t j = 0; j < SIZE; j++)
                p->square[i * SIZE + j] = p->mean[i] * p->mean[j] + (i == j && i > 0 ? START : 0);
    }
    for (size_t s = 0; s < f->m.n_what; s++) f->m.what[s] = ideal_statement();
    for (size_t v = 0; v < f->n; v++) f->weight[v] = .25;
}

void ideal_free(ideal *m) {
    mem_free(m->who);
    mem_free(m->what);
    *m = (ideal){0};
}

static pgr_status open_fit(fit *f, pgr_error *err) {
    size_t most = f->m.n_who > f->m.n_what ? f->m.n_who : f->m.n_what;
    f->m.who = mem_array(f->m.n_who + 1, sizeof *f->m.who);
    f->m.what = mem_array(f->m.n_what + 1, sizeof *f->m.what);
    f->weight = mem_array(f->n + 1, sizeof *f->weight);
    f->sums = mem_array(most + 1, sizeof *f->sums);
    return f->m.who && f->m.what && f->weight && f->sums ? PGR_OK : fail_mem(err);
}

static pgr_status run_rounds(fit *f, const pgr_watch *watch, pgr_error *err) {
    start(f);
    for (size_t round = 0; round < ROUNDS; round++) {
        watch_report(watch, "people's views", round, ROUNDS, "rounds");
        PGR_TRY(watch_check(watch, err));
        place_statements(f);
        renew_bounds(f);
        place_people(f);
        renew_bounds(f);
    }
    return PGR_OK;
}

pgr_status ideal_fit(const ideal_vote *votes, size_t n, size_t n_who, size_t n_what, const pgr_watch *watch, ideal *out,
                     pgr_error *err) {
    fit f = {.votes = votes, .n = n, .m = {.n_who = n_who, .n_what = n_what}};
    pgr_status s = open_fit(&f, err);
    if (s == PGR_OK) s = run_rounds(&f, watch, err);
    mem_free(f.weight);
    mem_free(f.sums);
    if (s != PGR_OK) ideal_free(&f.m);
    *out = f.m;
    return s;
}

/* ---- asking ----------------------------------------------------------------------------------------------------- */

ideal_point ideal_place(const ideal_point *statements, const bool *agrees, size_t n) {
    ideal_point p = person();
    for (size_t round = 0; round < PLACE_ROUNDS; round++) {
        sums s = {0};
        for (size_t i = 0; i < n; i++) add_vote(&statements[i], bound(&p, &statements[i]), agrees[i], s.precision, s.h);
        settle_person(s.precision, s.h, &p);
    }
    return p;
}

static void covariance_of(const ideal_point *x, double *out) {
    for (size_t i = 0; i < SIZE; i++)
        for (size_t j = 0; j < SIZE; j++) out[i * SIZE + j] = x->square[i * SIZE + j] - x->mean[i] * x->mean[j];
}

ideal_point ideal_without(const ideal_point *statement, const ideal_point *person, bool agreed) {
    double covariance[SQUARE], precision[SQUARE], h[SIZE];
    ideal_point out = {0};
    covariance_of(statement, covariance);
    if (!invert(covariance, 0, precision)) return ideal_statement();
    double weight = bound(person, statement);
    for (size_t i = 0; i < SIZE; i++)
        h[i] = inner(precision + i * SIZE, statement->mean, SIZE) - (agreed ? .5 : -.5) * person->mean[i];
    for (size_t i = 0; i < SQUARE; i++) precision[i] -= weight * person->square[i];
    for (size_t i = 0; i < SIZE; i++)
        if (precision[i * SIZE + i] * prior_variance(i) < .999) return ideal_statement();
    return set_point(precision, h, 0, &out) ? out : ideal_statement();
}

double ideal_expect(const ideal_point *person, const ideal_point *statement) {
    double mean = inner(person->mean, statement->mean, SIZE);
    double variance = fmax(inner(person->square, statement->square, SQUARE) - mean * mean, 0);
    return 1 / (1 + exp(-mean / sqrt(1 + PI / 8 * variance)));
}

/* ---- a file's numbers ------------------------------------------------------------------------------------------- */

void ideal_pack(const ideal_point *x, float out[IDEAL_PACKED]) {
    double covariance[SQUARE];
    covariance_of(x, covariance);
    for (size_t i = 0; i < SIZE; i++) *out++ = (float)x->mean[i];
    for (size_t i = 0; i < SIZE; i++)
        for (size_t j = 0; j <= i; j++) *out++ = (float)covariance[i * SIZE + j];
}

bool ideal_unpack(const float packed[IDEAL_PACKED], ideal_point *out) {
    const float *at = packed;
    for (size_t i = 0; i < IDEAL_PACKED; i++)
        if (!isfinite(packed[i])) return false;
    for (size_t i = 0; i < SIZE; i++) out->mean[i] = (double)*at++;
    for (size_t i = 0; i < SIZE; i++)
        for (size_t j = 0; j <= i; j++) {
            double c = (double)*at++;
            if (i == j && !(c > 0)) return false;
            out->square[i * SIZE + j] = out->square[j * SIZE + i] = c + out->mean[i] * out->mean[j];
        }
    return true;
}
