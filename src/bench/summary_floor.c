/* summary_floor.c - what the error of calibration would be if the probabilities were true, by outcomes that are drawn:
 * of rows that know nothing of each other, and of rows that stand and fall together as far as those of one user, or
 * about one question, do here. docs/bench.md, "Numbers", has the equations. */
#include <math.h>
#include <stdlib.h>

#include "base/rng.h"
#include "bench/summary_parts.h"

typedef summary_work work;

enum { DRAWS = 200 };
enum { OWN = 0x464C4F52, OF_CLUSTER = 0x434C5553, TIED = 0x54494544 }; /* streams of numbers */

typedef struct belief { /* what a row's verdicts say in their mean, and how it turned out */
    double p, y;        /* that the response shown first is better; whether it is */
    size_t n;           /* verdicts; 0: none has a probability */
} belief;

typedef struct member { /* a row in its cluster */
    size_t cluster;
    double confidence, excess; /* excess: right less confidence */
} member;

typedef struct tie {  /* rows of one cluster share their outcome's number with probability sqrt(share) each */
    const size_t *of; /* (n_row) */
    double share;
} tie;

typedef struct floor_of {
    double mean, at_95;
} floor_of;

/* ---- how far rows of a cluster stand and fall together ---------------------------------------------------------- */

static pgr_status believe(const work *w, size_t n, belief **out) {
    belief *b = arena_array(w->a, w->n_row + 1, sizeof *b);
    if (!b) return fail_mem(w->err);
    for (size_t i = 0; i < n; i++) {
        belief *of = &b[w->row[i]];
        of->p += (w->p[i] - of->p) / (double)++of->n;
        of->y = w->y[i];
    }
    *out = b;
    return PGR_OK;
}

static int by_cluster(const void *a, const void *b) {
    const member *l = a, *r = b;
    if (l->cluster != r->cluster) return l->cluster < r->cluster ? -1 : 1;
    return (l->confidence > r->confidence) - (l->confidence < r->confidence);
}

/* Rows at one half are left out: they are neither right nor wrong. */
static size_t gather_members(const belief *b, const size_t *cluster, size_t n_row, member *out) {
    size_t n = 0;
    for (size_t i = 0; i < n_row; i++) {
        if (b[i].n == 0 || b[i].p == 0.5) continue;
        bool first = b[i].p > 0.5;
        double confidence = first ? b[i].p : 1 - b[i].p;
        out[n++] = (member){cluster[i], confidence, (first ? b[i].y : 1 - b[i].y) - confidence};
    }
    qsort(out, n, sizeof *out, by_cluster);
    return n;
}

typedef struct squares { /* one-way analysis of variance */
    double between, within, counts;
    size_t clusters;
    double alike, pairs; /* covariance of rows that stand and fall as one, sum over pairs of a cluster; how many */
} squares;

/* m: (n) one cluster's, by confidence, so that the smaller of two is the earlier one's. */
static void add_cluster(squares *s, const member *m, size_t n, double mean) {
    double sum = 0, sum2 = 0, c = 0, c2 = 0, smaller = 0, k = (double)n;
    for (size_t i = 0; i < n; i++) {
        sum += m[i].excess;
        sum2 += m[i].excess * m[i].excess;
        c += m[i].confidence;
        c2 += m[i].confidence * m[i].confidence;
        smaller += m[i].confidence * (double)(n - 1 - i);
    }
    s->between += k * (sum / k - mean) * (sum / k - mean);
    s->within += sum2 - sum * sum / k;
    s->counts += k * k;
    s->clusters++;
    s->alike += 2 * smaller - (c * c - c2); /* two rows as one: min(c, d) - c d */
    s->pairs += k * (k - 1);
}

/* Covariance of the excesses of two rows of a cluster over what it would be if they stood and fell as one; within 0
 * and 1. NaN: all rows are of one cluster, which does not tell. */
static double together(const member *m, size_t n) {
    squares s = {0};
    double mean = 0, all = (double)n;
    for (size_t i = 0; i < n; i++) mean += m[i].excess / all;
    for (size_t i = 0, k; i < n; i += k) {
        for (k = 1; i + k < n && m[i + k].cluster == m[i].cluster; k++) continue;
        add_cluster(&s, m + i, k, mean);
    }
    if (s.clusters < 2) return NAN;
    if (s.clusters == n || s.alike <= 0) return 0;
    double groups = (double)s.clusters;
    double of_clusters = s.between / (groups - 1), of_rows = s.within / (all - groups);
    double covariance = (of_clusters - of_rows) * (groups - 1) / (all - s.counts / all);
    return fmin(fmax(covariance * s.pairs / s.alike, 0), 1);
}

/* ---- outcomes that are drawn ------------------------------------------------------------------------------------- */

static int by_size(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* A row's number, below its probability: the first response is the better one. The number of a cluster speaks of being
 * right, whichever of the two each of its rows believes in. */
static double number_of(const work *w, const belief *b, const tie *t, uint32_t draw, size_t row) {
    uint64_t seed = w->in->o->seed;
    if (t->share > 0 && rng_uniform(seed, TIED, draw, (uint32_t)row) < sqrt(t->share)) {
        double z = rng_uniform(seed, OF_CLUSTER, draw, (uint32_t)t->of[row]);
        return b[row].p >= 0.5 ? z : 1 - z;
    }
    return rng_uniform(seed, OWN, draw, (uint32_t)row);
}

/* A pair's outcome is drawn once and is that of all its verdicts, as the real one is. */
static floor_of draw_floor(const work *w, const belief *b, size_t n, const tie *t) {
    double errors[DRAWS], sum = 0;
    for (uint32_t k = 0; k < DRAWS; k++) {
        for (size_t i = 0; i < w->n_row; i++) w->values[i] = number_of(w, b, t, k, i);
        for (size_t i = 0; i < n; i++) w->mapped[i] = w->values[w->row[i]] < w->p[i];
        errors[k] = summary_confidence_error(w, w->p, w->mapped, n);
        sum += errors[k] / DRAWS;
    }
    qsort(errors, DRAWS, sizeof *errors, by_size);
    return (floor_of){sum, errors[DRAWS * 95 / 100]};
}

pgr_status summary_add_floors(const work *w, size_t n, pgr_bench_row *out) {
    belief *b = NULL;
    PGR_TRY(believe(w, n, &b));
    member *m = arena_array(w->a, w->n_row + 1, sizeof *m);
    if (!m) return fail_mem(w->err);
    double user = together(m, gather_members(b, w->by.user, w->n_row, m));
    double question = together(m, gather_members(b, w->by.question, w->n_row, m));
    floor_of apart = draw_floor(w, b, n, &(tie){NULL, 0}), most = apart;
    const tie ties[2] = {{w->by.user, user}, {w->by.question, question}};
    for (size_t i = 0; i < 2; i++) {
        if (!(ties[i].share > 0)) continue;
        floor_of f = draw_floor(w, b, n, &ties[i]);
        if (f.at_95 > most.at_95) most = f;
    }
    bool told = !isnan(user) || !isnan(question);
    out->ece_floor = apart.mean;
    out->ece_floor_95 = apart.at_95;
    out->ece_floor_clustered = told ? most.mean : NAN;
    out->ece_floor_clustered_95 = told ? most.at_95 : NAN;
    out->together_user = user;
    out->together_question = question;
    return PGR_OK;
}
