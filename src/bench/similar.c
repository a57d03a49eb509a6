/* similar.c - the classes of `similar-users` and `embedding-users`; see similar.h. They are latent classes of voters
 * (classes.h); a user is placed by his votes, or by the mean of his normalised embedding differences at the nearest
 * centre of k-means. */
#include "bench/similar.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "base/watch.h"
#include "bench/classes.h"
#include "prototype/kmeans.h"
#include "prototype/vec.h"

enum { RESTARTS = 4, VOTE_DIMS = 256, ROUNDS = 50 };

/* The strength with which the classes lean on everybody is one of these. */
static const double STRENGTHS[] = {1000, 32, 16, 8, 4, 2};
enum { N_STRENGTH = sizeof STRENGTHS / sizeof *STRENGTHS };

typedef struct setting { /* what fits on different rows share */
    const stat *s;
    const double *held_out;
    bool by_embedding;
    uint64_t seed;
    size_t dims;         /* of a user's vector */
    const float *vector; /* (n_item, dims) of a response: its embedding, or random signs of its own */
} setting;

typedef struct grouping { /* classes of the users of some rows */
    const setting *t;
    float *users;    /* (n_user, dims) */
    size_t *who;     /* (n_user) the user of a row of `users` */
    uint32_t *label; /* (n_user) */
    kmeans_result centres;
    classes c;
} grouping;

struct similar {
    setting t;
    float *signs; /* the vectors of votes; NULL: embeddings */
    grouping g;
};

/* ---- users as vectors ------------------------------------------------------------------------------------------- */

/* Inner products of sums of such vectors count the shared votes, up to noise of 1/sqrt(VOTE_DIMS). */
static void random_signs(float *v, size_t n_item) {
    for (size_t i = 0; i < n_item; i++)
        for (size_t f = 0; f < VOTE_DIMS; f++)
            v[i * VOTE_DIMS + f] = rng_uniform(0, 1, (uint32_t)i, (uint32_t)f) < 0.5 ? -1.0f : 1.0f;
}

static void add_pair(const setting *t, size_t row, float *into, float *scratch) {
    const float *a = t->vector + t->s->item[row][0] * t->dims, *b = t->vector + t->s->item[row][1] * t->dims;
    for (size_t f = 0; f < t->dims; f++) scratch[f] = a[f] - b[f];
    if (t->by_embedding) vec_normalise(scratch, t->dims);
    for (size_t f = 0; f < t->dims; f++) into[f] += scratch[f];
}

/* Of length 1; false: the rows say nothing. */
static bool user_vector(const setting *t, const size_t *list, size_t n, float *v, float *scratch) {
    memset(v, 0, t->dims * sizeof *v);
    for (size_t i = 0; i < n; i++) add_pair(t, list[i], v, scratch);
    return vec_normalise(v, t->dims) > 0;
}

/* ---- fit -------------------------------------------------------------------------------------------------------- */

static pgr_status grouping_open(const setting *t, grouping *g, pgr_error *err) {
    const bench_data *d = t->s->d;
    *g = (grouping){.t = t};
    g->users = mem_array(d->n_user + 1, t->dims * sizeof *g->users);
    g->who = mem_array(d->n_user + 1, sizeof *g->who);
    g->label = mem_zero(d->n_user + 1, sizeof *g->label);
    if (!g->users || !g->who || !g->label) return fail_mem(err);
    return classes_create(SIMILAR_CLASSES, d->n_user, d->n_item, &g->c, err);
}

static void grouping_close(grouping *g) {
    classes_free(&g->c);
    kmeans_free(&g->centres);
    mem_free(g->users);
    mem_free(g->who);
    mem_free(g->label);
}

/* Vectors of the users who have rows in the list: *n of them. */
static pgr_status gather_users(grouping *g, const size_t *list, size_t n_list, size_t *n, pgr_error *err) {
    const setting *t = g->t;
    size_t n_user = t->s->d->n_user;
    float *scratch = mem_array(t->dims, sizeof *scratch);
    if (!scratch) return fail_mem(err);
    memset(g->users, 0, n_user * t->dims * sizeof *g->users);
    for (size_t i = 0; i < n_list; i++) add_pair(t, list[i], g->users + t->s->user[list[i]] * t->dims, scratch);
    *n = 0;
    for (size_t u = 0; u < n_user; u++) {
        float *v = g->users + u * t->dims;
        g->label[u] = 0;
        if (!(vec_normalise(v, t->dims) > 0)) continue;
        if (*n < u) memcpy(g->users + *n * t->dims, v, t->dims * sizeof *v);
        g->who[(*n)++] = u;
    }
    mem_free(scratch);
    return PGR_OK;
}

/* k-means over the users of the listed rows; fewer prototypes where there are fewer distinct users. */
static pgr_status cluster(grouping *g, const size_t *list, size_t n_list, pgr_error *err) {
    const setting *t = g->t;
    size_t n = 0;
    PGR_TRY(gather_users(g, list, n_list, &n, err));
    kmeans_options o = kmeans_options_default(SIMILAR_CLASSES);
    o.restarts = RESTARTS;
    o.seed = t->seed;
    o.watch.cancel = t->s->source->watch.cancel;
    pgr_status status = PGR_E_ARG;
    for (o.k = n < SIMILAR_CLASSES ? n : SIMILAR_CLASSES; o.k > 0 && status == PGR_E_ARG; o.k--)
        status = kmeans(g->users, n, t->dims, &o, &g->centres, err);
    if (n == 0) return PGR_OK;
    for (size_t i = 0; status == PGR_OK && i < n; i++) g->label[g->who[i]] = g->centres.assign[i];
    return status;
}

static pgr_status fit(grouping *g, const size_t *list, size_t n, double strength, pgr_error *err) {
    return classes_fit(&g->c, &g->t->s->rows, list, n, g->label, strength, g->t->by_embedding ? 0 : ROUNDS, err);
}

/* ---- placing ----------------------------------------------------------------------------------------------------- */

static pgr_status place(const grouping *g, const size_t *list, size_t n, size_t whose, double *share, pgr_error *err) {
    const setting *t = g->t;
    if (!t->by_embedding || n == 0 || !g->centres.k) {
        classes_place(&g->c, &t->s->rows, list, n, whose, share);
        return PGR_OK;
    }
    float *v = mem_array(2 * t->dims, sizeof *v);
    if (!v) return fail_mem(err);
    uint32_t nearest = 0;
    pgr_status status = PGR_OK;
    if (user_vector(t, list, n, v, v + t->dims))
        status = kmeans_assign(v, 1, t->dims, g->centres.centres, g->centres.k, NULL, &nearest, NULL, err);
    for (size_t j = 0; j < g->c.k; j++) share[j] = j == nearest;
    mem_free(v);
    return status;
}

static double mixture(const grouping *g, size_t row, double base, const double *share) {
    const size_t *item = g->t->s->item[row];
    double p = 0;
    for (size_t j = 0; j < g->c.k; j++)
        if (share[j] > 0) p += share[j] * stat_probability(base + classes_departure(&g->c, j, item[0], item[1]));
    return p < 1 ? p : 1; /* shares sum to 1 but for rounding */
}

/* ---- the strength, by held-out folds ----------------------------------------------------------------------------- */

/* Loss of a fold's rows, each user placed by his rows in the other folds. */
static pgr_status fold_loss(const grouping *g, const stat_fold *f, double *sum, pgr_error *err) {
    const stat *s = g->t->s;
    size_t n_user = s->d->n_user, k = g->c.k;
    size_t *at = mem_zero(n_user + 2, sizeof *at), *list = mem_array(f->n_in + 1, sizeof *list);
    double *share = mem_array(n_user + 1, k * sizeof *share);
    bool *placed = mem_zero(n_user + 1, sizeof *placed);
    pgr_status status = at && list && share && placed ? PGR_OK : fail_mem(err);
    if (status == PGR_OK) { /* lists of each user's rows: at[u] .. at[u + 1] */
        for (size_t i = 0; i < f->n_in; i++) at[s->user[f->in[i]] + 2]++;
        for (size_t u = 2; u < n_user + 2; u++) at[u] += at[u - 1];
        for (size_t i = 0; i < f->n_in; i++) list[at[s->user[f->in[i]] + 1]++] = f->in[i];
    }
    for (size_t i = 0; status == PGR_OK && i < f->n_out; i++) {
        size_t row = f->out[i], u = s->user[row];
        if (!placed[u]) status = place(g, list + at[u], at[u + 1] - at[u], u, share + u * k, err);
        placed[u] = true;
        if (status == PGR_OK) *sum -= log(mixture(g, row, g->t->held_out[row], share + u * k));
    }
    mem_free(at);
    mem_free(list);
    mem_free(share);
    mem_free(placed);
    return status;
}

typedef struct tuning { /* tasks: the folds, and all train rows behind them */
    similar *t;
    double loss[STAT_FOLDS][N_STRENGTH];
    pgr_status status[STAT_FOLDS + 1];
    pgr_error error[STAT_FOLDS + 1];
} tuning;

static pgr_status try_strengths(const setting *t, const stat_fold *f, double *loss, pgr_error *err) {
    grouping g;
    pgr_status status = grouping_open(t, &g, err);
    if (status == PGR_OK) status = cluster(&g, f->in, f->n_in, err);
    for (size_t i = 0; status == PGR_OK && i < N_STRENGTH; i++) {
        loss[i] = 0;
        status = fit(&g, f->in, f->n_in, STRENGTHS[i], err);
        if (status == PGR_OK) status = fold_loss(&g, f, &loss[i], err);
    }
    grouping_close(&g);
    return status;
}

static void run_task(void *ctx, size_t task, size_t worker) {
    tuning *x = ctx;
    const stat *s = x->t->t.s;
    (void)worker;
    if (task < STAT_FOLDS)
        x->status[task] = try_strengths(&x->t->t, &s->fold[task], x->loss[task], &x->error[task]);
    else
        x->status[task] = cluster(&x->t->g, s->train, s->n_train, &x->error[task]);
}

static double best_strength(const tuning *x) {
    double least = INFINITY;
    size_t best = 0;
    for (size_t i = 0; i < N_STRENGTH; i++) {
        double loss = 0;
        for (size_t f = 0; f < STAT_FOLDS; f++) loss += x->loss[f][i];
        if (loss < least) least = loss, best = i;
    }
    return STRENGTHS[best];
}

static pgr_status tune_and_fit(similar *t, pgr_error *err) {
    const stat *s = t->t.s;
    tuning x = {.t = t};
    watch_report(&s->source->watch, "prototypes", 0, STAT_FOLDS, "folds");
    pool_run(s->source->threads, STAT_FOLDS + 1, run_task, &x);
    for (size_t i = 0; i <= STAT_FOLDS; i++) {
        if (x.status[i] != PGR_OK && err) *err = x.error[i];
        if (x.status[i] != PGR_OK) return x.status[i];
    }
    return fit(&t->g, s->train, s->n_train, best_strength(&x), err);
}

/* ---- from outside ------------------------------------------------------------------------------------------------ */

static pgr_status prepare(similar *t, pgr_error *err) {
    const stat *s = t->t.s;
    if (t->t.by_embedding) {
        t->t.vector = s->source->vectors;
        t->t.dims = s->source->dims;
    } else {
        t->signs = mem_array(s->d->n_item + 1, VOTE_DIMS * sizeof *t->signs);
        if (!t->signs) return fail_mem(err);
        random_signs(t->signs, s->d->n_item);
        t->t.vector = t->signs;
        t->t.dims = VOTE_DIMS;
    }
    PGR_TRY(grouping_open(&t->t, &t->g, err));
    return tune_and_fit(t, err);
}

pgr_status similar_fit(const stat *s, const double *held_out, bool by_embedding, uint64_t seed, similar **out,
                       pgr_error *err) {
    similar *t = mem_zero(1, sizeof *t);
    if (!t) return fail_mem(err);
    t->t = (setting){.s = s, .held_out = held_out, .by_embedding = by_embedding, .seed = seed};
    pgr_status status = prepare(t, err);
    if (status == PGR_OK)
        *out = t;
    else
        similar_free(t);
    return status;
}

void similar_free(similar *t) {
    if (!t) return;
    grouping_close(&t->g);
    mem_free(t->signs);
    mem_free(t);
}

pgr_status similar_place(const similar *t, const size_t *list, size_t n, size_t whose, double *share, pgr_error *err) {
    return place(&t->g, list, n, whose, share, err);
}

double similar_probability(const similar *t, size_t row, double base, const double *share) {
    return mixture(&t->g, row, base, share);
}
