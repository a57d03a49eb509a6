/* similar.c - the methods `similar-users` and `embedding-users`: what everybody says of a pair (items and attributes,
 * ridge.h) and how the user's prototype departs from it. The prototypes are latent classes of voters (classes.h); a
 * user is placed by his votes, or by the mean of his normalised embedding differences at the nearest centre of
 * k-means. */
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "base/watch.h"
#include "bench/classes.h"
#include "bench/methods.h"
#include "prototype/kmeans.h"
#include "prototype/vec.h"

enum { PROTOTYPES = 10 /* docs/methods.md */, RESTARTS = 4, VOTE_DIMS = 256, ROUNDS = 50 };

typedef struct similar {
    stat *s;
    bool by_embedding;
    size_t dims;           /* of a user's vector */
    float *vector;         /* (n_item, dims) of a response: its embedding, or random signs of its own */
    float *users;          /* (n_user, dims) users of a fit */
    size_t *who;           /* (n_user) the user of a row of `users` */
    uint32_t *label;       /* (n_user) */
    kmeans_result centres; /* of the last fit */
    classes c;
    double *held_out; /* (n_row) what the base says of train rows that it has not seen */
} similar;

/* ---- users as vectors ------------------------------------------------------------------------------------------- */

/* Inner products of sums of such vectors count the shared votes, up to noise of 1/sqrt(VOTE_DIMS). */
static void random_signs(float *v, size_t n_item) {
    for (size_t i = 0; i < n_item; i++)
        for (size_t f = 0; f < VOTE_DIMS; f++)
            v[i * VOTE_DIMS + f] = rng_uniform(0, 1, (uint32_t)i, (uint32_t)f) < 0.5 ? -1.0f : 1.0f;
}

static void add_pair(const similar *t, size_t row, float *into, float *scratch) {
    const float *a = t->vector + t->s->item[row][0] * t->dims, *b = t->vector + t->s->item[row][1] * t->dims;
    for (size_t f = 0; f < t->dims; f++) scratch[f] = a[f] - b[f];
    if (t->by_embedding) vec_normalise(scratch, t->dims);
    for (size_t f = 0; f < t->dims; f++) into[f] += scratch[f];
}

/* Of length 1; false: the rows say nothing. */
static bool user_vector(const similar *t, const size_t *list, size_t n, float *v, float *scratch) {
    memset(v, 0, t->dims * sizeof *v);
    for (size_t i = 0; i < n; i++) add_pair(t, list[i], v, scratch);
    return vec_normalise(v, t->dims) > 0;
}

/* ---- fit -------------------------------------------------------------------------------------------------------- */

/* Vectors of the users who have rows in the list: *n of them. */
static pgr_status gather_users(similar *t, const size_t *list, size_t n_list, size_t *n, pgr_error *err) {
    size_t n_user = t->s->d->n_user;
    float *scratch = mem_array(t->dims, sizeof *scratch);
    if (!scratch) return fail_mem(err);
    memset(t->users, 0, n_user * t->dims * sizeof *t->users);
    for (size_t i = 0; i < n_list; i++) add_pair(t, list[i], t->users + t->s->user[list[i]] * t->dims, scratch);
    *n = 0;
    for (size_t u = 0; u < n_user; u++) {
        float *v = t->users + u * t->dims;
        t->label[u] = 0;
        if (!(vec_normalise(v, t->dims) > 0)) continue;
        if (*n < u) memcpy(t->users + *n * t->dims, v, t->dims * sizeof *v);
        t->who[(*n)++] = u;
    }
    mem_free(scratch);
    return PGR_OK;
}

/* k-means over the users of the listed rows; fewer prototypes where there are fewer distinct users. */
static pgr_status cluster(similar *t, const size_t *list, size_t n_list, pgr_error *err) {
    size_t n = 0;
    PGR_TRY(gather_users(t, list, n_list, &n, err));
    kmeans_free(&t->centres);
    kmeans_options o = kmeans_options_default(PROTOTYPES);
    o.restarts = RESTARTS;
    o.seed = t->s->o->seed;
    o.watch.cancel = t->s->o->watch.cancel;
    pgr_status status = PGR_E_ARG;
    for (o.k = n < PROTOTYPES ? n : PROTOTYPES; o.k > 0 && status == PGR_E_ARG; o.k--)
        status = kmeans(t->users, n, t->dims, &o, &t->centres, err);
    if (n == 0) return PGR_OK;
    for (size_t i = 0; status == PGR_OK && i < n; i++) t->label[t->who[i]] = t->centres.assign[i];
    return status;
}

static pgr_status fit(similar *t, const size_t *list, size_t n, double strength, pgr_error *err) {
    return classes_fit(&t->c, &t->s->rows, list, n, t->label, strength, t->by_embedding ? 0 : ROUNDS, err);
}

/* ---- placing and predicting ------------------------------------------------------------------------------------- */

static pgr_status place(similar *t, const size_t *list, size_t n, size_t whose, double *share, pgr_error *err) {
    if (!t->by_embedding || n == 0 || !t->centres.k) {
        classes_place(&t->c, &t->s->rows, list, n, whose, share);
        return PGR_OK;
    }
    float *v = mem_array(2 * t->dims, sizeof *v);
    if (!v) return fail_mem(err);
    uint32_t nearest = 0;
    pgr_status status = PGR_OK;
    if (user_vector(t, list, n, v, v + t->dims))
        status = kmeans_assign(v, 1, t->dims, t->centres.centres, t->centres.k, NULL, &nearest, NULL, err);
    for (size_t j = 0; j < t->c.k; j++) share[j] = j == nearest;
    mem_free(v);
    return status;
}

/* Probability of a row for one of whom these shares are known, base: what everybody says. */
static double mixture(const similar *t, size_t row, double base, const double *share) {
    double p = 0;
    for (size_t j = 0; j < t->c.k; j++)
        if (share[j] > 0)
            p +=
                share[j] * stat_probability(base + classes_departure(&t->c, j, t->s->item[row][0], t->s->item[row][1]));
    return p < 1 ? p : 1; /* shares sum to 1 but for rounding */
}

/* Loss of a fold's rows, each user placed by his rows in the other folds. */
static pgr_status fold_loss(similar *t, size_t n_in, size_t n_out, double *sum, pgr_error *err) {
    stat *s = t->s;
    size_t n_user = s->d->n_user, k = t->c.k;
    size_t *at = mem_zero(n_user + 2, sizeof *at), *list = mem_array(n_in + 1, sizeof *list);
    double *share = mem_array(n_user + 1, k * sizeof *share);
    bool *placed = mem_zero(n_user + 1, sizeof *placed);
    pgr_status status = at && list && share && placed ? PGR_OK : fail_mem(err);
    if (status == PGR_OK) { /* lists of each user's rows: at[u] .. at[u + 1] */
        for (size_t i = 0; i < n_in; i++) at[s->user[s->in[i]] + 2]++;
        for (size_t u = 2; u < n_user + 2; u++) at[u] += at[u - 1];
        for (size_t i = 0; i < n_in; i++) list[at[s->user[s->in[i]] + 1]++] = s->in[i];
    }
    for (size_t i = 0; status == PGR_OK && i < n_out; i++) {
        size_t row = s->out[i], u = s->user[row];
        if (!placed[u]) status = place(t, list + at[u], at[u + 1] - at[u], u, share + u * k, err);
        placed[u] = true;
        if (status == PGR_OK) *sum -= log(mixture(t, row, t->held_out[row], share + u * k));
    }
    mem_free(at);
    mem_free(list);
    mem_free(share);
    mem_free(placed);
    return status;
}

/* The strength with which the classes lean on everybody, by the loss on held-out folds. */
static pgr_status tune_strength(similar *t, double *best, pgr_error *err) {
    static const double TRY[] = {1000, 32, 16, 8, 4, 2};
    enum { N = sizeof TRY / sizeof *TRY };
    double loss[N] = {0};
    stat *s = t->s;
    for (unsigned char f = 0; f < STAT_FOLDS; f++) {
        size_t n_in, n_out;
        stat_split(s, f, &n_in, &n_out);
        PGR_TRY(cluster(t, s->in, n_in, err));
        for (size_t i = 0; i < N; i++) {
            PGR_TRY(fit(t, s->in, n_in, TRY[i], err));
            PGR_TRY(fold_loss(t, n_in, n_out, &loss[i], err));
        }
        watch_report(&s->o->watch, "prototypes", f + 1u, STAT_FOLDS, "folds");
    }
    size_t least = 0;
    for (size_t i = 1; i < N; i++)
        if (loss[i] < loss[least]) least = i;
    *best = TRY[least];
    return PGR_OK;
}

static pgr_status predict(similar *t, const ridge_model *base, double *p, pgr_error *err) {
    stat *s = t->s;
    double share[PROTOTYPES];
    size_t known = SIZE_MAX;
    for (size_t i = 0; i < s->d->n_row; i++) {
        if (s->d->rows[i].train) continue;
        if (s->user[i] != known) {
            size_t n;
            const size_t *rows = stat_history(s, s->user[i], &n);
            PGR_TRY(place(t, rows, n, s->donor[s->user[i]], share, err));
            known = s->user[i];
        }
        *p++ = mixture(t, i, ridge_z(&s->rows, base, i, NULL), share);
    }
    return PGR_OK;
}

/* ---- the methods ------------------------------------------------------------------------------------------------ */

static pgr_status prepare(similar *t, pgr_error *err) {
    const bench_data *d = t->s->d;
    t->dims = t->by_embedding ? t->s->dims : VOTE_DIMS;
    t->users = mem_array(d->n_user + 1, t->dims * sizeof *t->users);
    t->who = mem_array(d->n_user + 1, sizeof *t->who);
    t->label = mem_zero(d->n_user + 1, sizeof *t->label);
    t->held_out = mem_zero(d->n_row + 1, sizeof *t->held_out);
    t->vector = mem_array(d->n_item + 1, t->dims * sizeof *t->vector);
    if (!t->users || !t->who || !t->label || !t->held_out || !t->vector) return fail_mem(err);
    if (t->by_embedding)
        memcpy(t->vector, t->s->embeddings, d->n_item * t->dims * sizeof *t->vector);
    else
        random_signs(t->vector, d->n_item);
    return classes_create(PROTOTYPES, d->n_user, d->n_item, &t->c, err);
}

static pgr_status fit_and_predict(similar *t, ridge_model *base, double *p, pgr_error *err) {
    stat *s = t->s;
    ridge_penalty penalty;
    double strength;
    PGR_TRY(method_tune(s, true, &penalty, t->held_out, err));
    PGR_TRY(ridge_fit(&s->rows, s->train, s->n_train, &penalty, s->o->watch.cancel, base, err));
    PGR_TRY(tune_strength(t, &strength, err));
    PGR_TRY(cluster(t, s->train, s->n_train, err));
    PGR_TRY(fit(t, s->train, s->n_train, strength, err));
    return predict(t, base, p, err);
}

static pgr_status run_with(stat *s, bool by_embedding, double *p, pgr_error *err) {
    similar t = {.s = s, .by_embedding = by_embedding};
    ridge_model base = {0};
    pgr_status status = prepare(&t, err);
    if (status == PGR_OK) status = ridge_model_create(&s->rows, &base, err);
    if (status == PGR_OK) status = fit_and_predict(&t, &base, p, err);
    ridge_model_free(&base);
    classes_free(&t.c);
    kmeans_free(&t.centres);
    mem_free(t.vector);
    mem_free(t.users);
    mem_free(t.who);
    mem_free(t.label);
    mem_free(t.held_out);
    return status;
}

pgr_status run_similar_users(const bench_data *d, const bench_method_options *o, double *p, pgr_error *err) {
    stat s;
    PGR_TRY(stat_open(d, o, STAT_SURFACE, STAT_NO_VECTORS, false, &s, err));
    pgr_status status = run_with(&s, false, p, err);
    stat_close(&s);
    return status;
}

pgr_status run_embedding_users(const bench_data *d, const bench_method_options *o, double *p, pgr_error *err) {
    stat s;
    PGR_TRY(stat_open(d, o, STAT_SURFACE, STAT_NO_VECTORS, false, &s, err));
    pgr_status status = stat_embed(&s, err);
    if (status == PGR_OK) status = run_with(&s, true, p, err);
    stat_close(&s);
    return status;
}
