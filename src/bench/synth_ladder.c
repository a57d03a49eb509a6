/* synth_ladder.c - what is won by knowing more: the longest answer, what most like, a few pairs of the user's own,
 * users like him, the truth. Fitted on the train rows of known users, asked on the test rows of held-out ones.
 *
 * x: features of a row (FEATURES): the differences of facts, and again in the place of the row's kind of query */
#include <math.h>
#include <string.h>

#include "base/logistic.h"
#include "base/mem.h"
#include "base/rng.h"
#include "base/watch.h"
#include "bench/mean.h"
#include "bench/synth.h"
#include "prototype/kmeans.h"

enum { FEATURES = N_FACT * (1 + SYNTH_KINDS), ROUNDS = 15, STREAM_HISTORY = 0x80000000u };
_Static_assert(FEATURES <= LOGISTIC_MAX, "logistic_fit takes fewer");
static const double PRECISION = 1, KIND_PRECISION = 4; /* of the prior: a kind's difference is smaller than the whole */
static const size_t HISTORIES[] = {1, 2, 3, 6, 10, 16};
enum { N_HISTORY = sizeof HISTORIES / sizeof *HISTORIES };

typedef struct ladder {
    const synth *s;
    const pgr_synth_options *o;
    double *x;              /* (n_row, FEATURES) */
    size_t n_train, n_test; /* rows of one user */
    size_t *known, n_known; /* train rows of known users */
    size_t *held, n_held;   /* users, those of unseen prototypes last */
    size_t *history;        /* (n_held, n_train) rows of each in the order in which they are shown */
    size_t from, n;         /* of the held users: those who are asked now */
    double precision[FEATURES];
    double global[FEATURES];
    size_t K;
    double *weights, *prior;       /* (K, FEATURES), (K) log share of a prototype found */
    double *share;                 /* (K) scratch */
    double *own, *stranger, *gain; /* (n, n_test) 1 right, 0.5 tie, 0 wrong */
    size_t *cluster, *counts;
    double *residuals;
} ladder;

/* ---- memory ---------------------------------------------------------------------------------------------------- */

static void ladder_free(ladder *l) {
    void *all[] = {l->x,   l->known,    l->held, l->history, l->weights, l->prior,    l->share,
                   l->own, l->stranger, l->gain, l->cluster, l->counts,  l->residuals};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) mem_free(all[i]);
}

static pgr_status ladder_create(ladder *l, pgr_error *err) {
    const synth *s = l->s;
    size_t n_known_user = 0;
    for (size_t u = 0; u < s->n_user; u++) n_known_user += !s->users[u].held;
    l->n_train = l->o->train_pairs;
    l->n_test = l->o->test_pairs;
    l->n_held = s->n_user - n_known_user;
    l->K = s->n_prototype < n_known_user ? s->n_prototype : n_known_user;
    size_t asked = l->n_held * l->n_test;
    l->x = mem_zero(s->n_row * FEATURES, sizeof *l->x);
    l->known = mem_array(n_known_user * l->n_train, sizeof *l->known);
    l->held = mem_array(l->n_held, sizeof *l->held);
    l->history = mem_array(l->n_held * l->n_train, sizeof *l->history);
    l->weights = mem_zero(l->K * FEATURES + 1, sizeof *l->weights);
    l->prior = mem_zero(l->K + 1, sizeof *l->prior);
    l->share = mem_array(l->K + 1, sizeof *l->share);
    l->own = mem_array(asked, sizeof *l->own);
    l->stranger = mem_array(asked, sizeof *l->stranger);
    l->gain = mem_array(asked, sizeof *l->gain);
    l->cluster = mem_array(asked, sizeof *l->cluster);
    l->counts = mem_array(l->n_held, sizeof *l->counts);
    l->residuals = mem_array(l->n_held, sizeof *l->residuals);
    bool ok = l->x && l->known && l->held && l->history && l->weights && l->prior && l->share && l->own && l->stranger
              && l->gain && l->cluster && l->counts && l->residuals;
    return ok ? PGR_OK : fail_mem(err);
}

static void fill_features(ladder *l) {
    const synth *s = l->s;
    for (size_t i = 0; i < s->n_row; i++) {
        double *x = l->x + i * FEATURES;
        synth_difference(s, &s->rows[i], x);
        memcpy(x + N_FACT * (size_t)(1 + s->texts->prompts[s->rows[i].prompt].kind), x, N_FACT * sizeof *x);
    }
    for (size_t j = 0; j < FEATURES; j++) l->precision[j] = j < N_FACT ? PRECISION : KIND_PRECISION;
}

static size_t first_row(const ladder *l, size_t user) {
    return user * (l->n_train + l->n_test);
}

/* A history of h shows the first h of a shuffled list. */
static void add_held(ladder *l, size_t user) {
    rng g = {.seed = l->o->seed, .stream = (uint32_t)(STREAM_HISTORY + user)};
    size_t *h = l->history + l->n_held * l->n_train;
    for (size_t i = 0; i < l->n_train; i++) {
        size_t k = rng_below(&g, i + 1);
        h[i] = h[k];
        h[k] = first_row(l, user) + i;
    }
    for (size_t i = 0; i < l->n_test; i++) l->cluster[l->n_held * l->n_test + i] = l->n_held;
    l->held[l->n_held++] = user;
}

/* Which rows are learnt from, and whose are asked. */
static void split_users(ladder *l) {
    l->n_held = 0;
    for (int unseen = 0; unseen < 2; unseen++)
        for (size_t u = 0; u < l->s->n_user; u++) {
            const synth_user *user = &l->s->users[u];
            if (user->held && user->unseen == unseen) add_held(l, u);
            for (size_t i = 0; !unseen && !user->held && i < l->n_train; i++)
                l->known[l->n_known++] = first_row(l, u) + i;
        }
}

static double dot(const double *a, const double *b, size_t n) {
    double s = 0;
    for (size_t i = 0; i < n; i++) s += a[i] * b[i];
    return s;
}

static const double *features(const ladder *l, size_t row) {
    return l->x + row * FEATURES;
}

/* ---- prototypes ------------------------------------------------------------------------------------------------ */

/* Sum of log-probabilities of rows under each prototype. */
static void likelihoods(const ladder *l, const size_t *rows, size_t first, size_t n, double *out) {
    for (size_t k = 0; k < l->K; k++) {
        out[k] = l->prior[k];
        for (size_t i = 0; i < n; i++)
            out[k] += log_logistic(dot(l->weights + k * FEATURES, features(l, rows ? rows[i] : first + i), FEATURES));
    }
}

static size_t largest(const double *v, size_t n) {
    size_t best = 0;
    for (size_t i = 1; i < n; i++)
        if (v[i] > v[best]) best = i;
    return best;
}

/* Weights and share of every prototype from its users' rows. rows: (n_known) scratch */
static pgr_status fit_prototypes(ladder *l, const uint32_t *assign, size_t n_user, size_t *rows, pgr_error *err) {
    for (size_t k = 0; k < l->K; k++) {
        size_t n = 0, members = 0;
        for (size_t u = 0; u < n_user; u++) {
            if (assign[u] != k) continue;
            members++;
            for (size_t i = 0; i < l->n_train; i++) rows[n++] = l->known[u * l->n_train + i];
        }
        l->prior[k] = log(((double)members + 1) / (double)(n_user + l->K));
        PGR_TRY(logistic_fit(l->x, rows, n, FEATURES, l->precision, l->weights + k * FEATURES, err));
    }
    return PGR_OK;
}

/* k-means over each known user's own weights, then rounds of: fit the prototypes, move every user to the one that his
 * choices are likeliest under. vectors: (n_user, N_FACT), assign: (n_user), rows: (n_known), like: (K) */
static pgr_status find_prototypes(ladder *l, float *vectors, uint32_t *assign, size_t *rows, double *like,
                                  pgr_error *err) {
    size_t n_user = l->n_known / l->n_train;
    double w[FEATURES];
    for (size_t u = 0; u < n_user; u++) {
        for (size_t i = 0; i < l->n_train; i++) rows[i] = l->known[u * l->n_train + i];
        PGR_TRY(logistic_fit(l->x, rows, l->n_train, FEATURES, l->precision, w, err));
        for (int f = 0; f < N_FACT; f++) vectors[u * N_FACT + (size_t)f] = (float)w[f];
    }
    kmeans_options o = kmeans_options_default(l->K);
    o.seed = l->o->seed;
    o.watch.cancel = l->o->watch.cancel;
    kmeans_result r;
    PGR_TRY(kmeans(vectors, n_user, N_FACT, &o, &r, err));
    memcpy(assign, r.assign, n_user * sizeof *assign);
    kmeans_free(&r);
    for (int round = 0; round < ROUNDS; round++) {
        watch_report(&l->o->watch, "finding prototypes", (uint64_t)round, ROUNDS, "rounds");
        PGR_TRY(watch_check(&l->o->watch, err));
        PGR_TRY(fit_prototypes(l, assign, n_user, rows, err));
        size_t moved = 0;
        for (size_t u = 0; u < n_user; u++) {
            likelihoods(l, l->known + u * l->n_train, 0, l->n_train, like);
            uint32_t k = (uint32_t)largest(like, l->K);
            moved += k != assign[u];
            assign[u] = k;
        }
        if (moved == 0) break;
    }
    return PGR_OK;
}

static pgr_status learn(ladder *l, pgr_error *err) {
    size_t n_user = l->n_known / l->n_train;
    float *vectors = mem_array(n_user * N_FACT, sizeof *vectors);
    uint32_t *assign = mem_array(n_user, sizeof *assign);
    size_t *rows = mem_array(l->n_known, sizeof *rows);
    double *like = mem_array(l->K, sizeof *like);
    pgr_status status = vectors && assign && rows && like ? PGR_OK : fail_mem(err);
    if (status == PGR_OK) status = logistic_fit(l->x, l->known, l->n_known, FEATURES, l->precision, l->global, err);
    if (status == PGR_OK) status = find_prototypes(l, vectors, assign, rows, like, err);
    void *all[] = {vectors, assign, rows, like};
    for (size_t i = 0; i < 4; i++) mem_free(all[i]);
    return status;
}

/* ---- methods: a verdict above 0 is for the chosen response ----------------------------------------------------- */

/* What a method knows of a user: the first h rows of a history. */
typedef struct knowledge {
    const ladder *l;
    const size_t *history;
    size_t h;
    double sum[N_FACT];   /* of the levels of the history's chosen against rejected */
    double *share;        /* (K) probability of each prototype */
    double own[FEATURES]; /* weights fitted to the history */
} knowledge;

typedef double (*method_fn)(const knowledge *k, size_t row);

static void levels(const ladder *l, size_t row, double out[N_FACT]) {
    const synth_row *r = &l->s->rows[row];
    const synth_response *all = l->s->texts->responses;
    for (int f = 0; f < N_FACT; f++) out[f] = facts_level(f, &all[r->chosen].facts, &all[r->rejected].facts, 1);
}

static double by_truth(const knowledge *k, size_t row) {
    return k->l->s->rows[row].truth - .5;
}

static double by_length(const knowledge *k, size_t row) {
    return features(k->l, row)[FACT_LENGTH];
}

static double by_global(const knowledge *k, size_t row) {
    return dot(k->l->global, features(k->l, row), FEATURES);
}

/* The rule of docs/synth.md: what the shown pairs have in common, level by level. */
static double by_rule(const knowledge *k, size_t row) {
    double now[N_FACT];
    levels(k->l, row, now);
    return dot(k->sum, now, N_FACT);
}

/* Weights fitted to the shown pairs alone. */
static double by_own(const knowledge *k, size_t row) {
    return dot(k->own, features(k->l, row), FEATURES);
}

static double by_prototypes(const knowledge *k, size_t row) {
    double p = 0;
    for (size_t j = 0; j < k->l->K; j++)
        p += k->share[j] * logistic(dot(k->l->weights + j * FEATURES, features(k->l, row), FEATURES));
    return p - .5;
}

static pgr_status know(knowledge *k, const size_t *history, pgr_error *err) {
    k->history = history;
    memset(k->sum, 0, sizeof k->sum);
    for (size_t i = 0; i < k->h; i++) {
        double one[N_FACT];
        levels(k->l, history[i], one);
        for (int f = 0; f < N_FACT; f++) k->sum[f] += one[f];
    }
    PGR_TRY(logistic_fit(k->l->x, history, k->h, FEATURES, k->l->precision, k->own, err));
    likelihoods(k->l, history, 0, k->h, k->share);
    double max = k->share[largest(k->share, k->l->K)], total = 0;
    for (size_t j = 0; j < k->l->K; j++) total += k->share[j] = exp(k->share[j] - max);
    for (size_t j = 0; j < k->l->K; j++) k->share[j] /= total;
    return PGR_OK;
}

/* right: (n, n_test), user number i of those who are asked */
static void ask(const ladder *l, knowledge *k, method_fn method, size_t i, double *right) {
    size_t from = first_row(l, l->held[l->from + i]) + l->n_train;
    for (size_t t = 0; t < l->n_test; t++) {
        double v = method(k, from + t);
        right[i * l->n_test + t] = v > 0 ? 1 : v == 0 ? .5 : 0;
    }
}

static mean_se mean_of_rows(const ladder *l, const double *v) {
    return mean_clustered(v, l->cluster, l->n * l->n_test, l->residuals, l->counts, l->n);
}

static pgr_status climb(ladder *l, const char *name, method_fn method, size_t h, pgr_synth_ladder *out,
                        pgr_error *err) {
    knowledge k = {.l = l, .h = h, .share = l->share};
    for (size_t i = 0; i < l->n; i++) {
        PGR_TRY(know(&k, l->history + (l->from + i) * l->n_train, err));
        ask(l, &k, method, i, l->own);
        PGR_TRY(know(&k, l->history + (l->from + (i + 1) % l->n) * l->n_train, err));
        ask(l, &k, method, i, l->stranger);
        for (size_t t = i * l->n_test; t < (i + 1) * l->n_test; t++) l->gain[t] = l->own[t] - l->stranger[t];
    }
    pgr_synth_step *step = &out->steps[out->n_step++];
    mean_se own = mean_of_rows(l, l->own), stranger = mean_of_rows(l, l->stranger), gain = mean_of_rows(l, l->gain);
    *step = (pgr_synth_step){name, h, own.mean, own.se, stranger.mean, stranger.se, gain.mean, gain.se};
    if (h == 0) step->stranger = step->stranger_se = step->gain = step->gain_se = NAN;
    return PGR_OK;
}

static void count_rows(const ladder *l, pgr_synth_ladder *out) {
    *out = (pgr_synth_ladder){.users = l->n, .rows = l->n * l->n_test};
    double sum = 0;
    for (size_t i = 0; i < l->n; i++)
        for (size_t t = 0; t < l->n_test; t++) {
            double p = l->s->rows[first_row(l, l->held[l->from + i]) + l->n_train + t].truth;
            sum += p > .5 ? p : 1 - p;
        }
    out->ceiling = sum / (double)out->rows;
}

/* The ladder of n held users from number `from` on. */
static pgr_status climb_all(ladder *l, size_t from, size_t n, pgr_synth_ladder *out, pgr_error *err) {
    static const struct {
        const char *name;
        method_fn method;
        bool personal;
    } METHODS[] = {{"longest", by_length, false}, {"global", by_global, false},        {"rule", by_rule, true},
                   {"personal", by_own, true},    {"prototypes", by_prototypes, true}, {"oracle", by_truth, false}};
    _Static_assert(3 + 3 * N_HISTORY <= PGR_SYNTH_STEPS, "the report has room for all steps");
    l->from = from;
    l->n = n;
    count_rows(l, out);
    for (size_t m = 0; n > 0 && m < sizeof METHODS / sizeof *METHODS; m++) {
        if (!METHODS[m].personal) PGR_TRY(climb(l, METHODS[m].name, METHODS[m].method, 0, out, err));
        for (size_t i = 0; METHODS[m].personal && i < N_HISTORY && HISTORIES[i] <= l->n_train; i++)
            PGR_TRY(climb(l, METHODS[m].name, METHODS[m].method, HISTORIES[i], out, err));
    }
    return PGR_OK;
}

static pgr_status climb_both(ladder *l, pgr_synth_report *report, pgr_error *err) {
    size_t seen = 0;
    while (seen < l->n_held && !l->s->users[l->held[seen]].unseen) seen++;
    PGR_TRY(climb_all(l, 0, seen, &report->ladder, err));
    return climb_all(l, seen, l->n_held - seen, &report->unseen, err);
}

pgr_status synth_ladder(const synth *s, const pgr_synth_options *o, pgr_synth_report *report, pgr_error *err) {
    ladder l = {.s = s, .o = o};
    pgr_status status = ladder_create(&l, err);
    if (status == PGR_OK) {
        fill_features(&l);
        split_users(&l);
        status = learn(&l, err);
    }
    if (status == PGR_OK) status = climb_both(&l, report, err);
    ladder_free(&l);
    return status;
}
