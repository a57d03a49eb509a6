/* fits.c - fits methods when they are first asked, and asks them; see fits.h. */
#include "bench/fits.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "bench/features.h"
#include "bench/history.h"
#include "bench/scalar.h"
#include "bench/similar.h"
#include "bench/votes.h"

enum { METHODS_MAX = 16 };

typedef struct ridge_kept { /* a method's model */
    bool there;
    stat s;
    ridge_penalty penalty;
    ridge_model m;
    double *held_out; /* (n_row) what the folds' models say of train rows; NULL: not wanted */
} ridge_kept;

struct fits {
    stat_source source;
    pgr_embedder *embedder;
    pgr_scalar *scalar;
    float *surface, *gaps, *vectors; /* of the source, where they are ours */
    size_t *place;                   /* (n_row) of an asked row among those that are asked */
    size_t *drawn;                   /* (n_row) scratch: a history */
    ridge_kept kept[METHODS_MAX];    /* as BENCH_METHODS numbers them */
    similar *classes[2];             /* by votes, by embeddings, of the seed that was asked for last */
    uint64_t seed[2];
    votes *votes; /* NULL: not asked yet */
};

/* ---- open and close --------------------------------------------------------------------------------------------- */

static pgr_status prepare(fits *f, pgr_error *err) {
    const bench_data *d = f->source.d;
    f->place = mem_zero(d->n_row + 1, sizeof *f->place);
    f->drawn = mem_array(d->n_row + 1, sizeof *f->drawn);
    if (!f->place || !f->drawn) return fail_mem(err);
    size_t n = 0;
    for (size_t i = 0; i < d->n_row; i++)
        if (!d->rows[i].train) f->place[i] = n++;
    return PGR_OK;
}

static pgr_status finish(fits *f, pgr_status s, fits **out) {
    if (s == PGR_OK)
        *out = f;
    else
        fits_close(f);
    return s;
}

pgr_status fits_open(const stat_source *source, pgr_embedder *embedder, pgr_scalar *scalar, fits **out,
                     pgr_error *err) {
    fits *f = mem_zero(1, sizeof *f);
    if (!f) return fail_mem(err);
    f->source = *source;
    f->embedder = embedder;
    f->scalar = scalar;
    return finish(f, prepare(f, err), out);
}

/* The rows of `from` (n columns) that d's rows come from. */
static float *copy_rows(const bench_data *d, const float *from, size_t n) {
    float *rows = mem_array(d->n_row + 1, n * sizeof *rows);
    for (size_t i = 0; rows && i < d->n_row; i++) memcpy(rows + i * n, from + d->origin[i] * n, n * sizeof *rows);
    return rows;
}

const stat_source *fits_source(const fits *f) {
    return &f->source;
}

pgr_status fits_open_within(const fits *parent, const bench_data *d, const pgr_watch *watch, pool *threads, fits **out,
                            pgr_error *err) {
    fits *f = mem_zero(1, sizeof *f);
    if (!f) return fail_mem(err);
    f->source = parent->source;
    f->source.d = d;
    f->source.watch = *watch;
    f->source.threads = threads;
    const float *surface = parent->source.surface, *gaps = parent->source.gaps;
    if (surface) f->source.surface = f->surface = copy_rows(d, surface, N_FEATURE);
    if (gaps) f->source.gaps = f->gaps = copy_rows(d, gaps, 1);
    bool got = (f->surface || !surface) && (f->gaps || !gaps);
    return finish(f, got ? prepare(f, err) : fail_mem(err), out);
}

static void drop(ridge_kept *k) {
    ridge_model_free(&k->m);
    mem_free(k->held_out);
    stat_close(&k->s);
    *k = (ridge_kept){0};
}

void fits_close(fits *f) {
    if (!f) return;
    for (size_t i = 0; i < METHODS_MAX; i++) drop(&f->kept[i]);
    for (size_t i = 0; i < 2; i++) similar_free(f->classes[i]);
    votes_free(f->votes);
    mem_free(f->surface);
    mem_free(f->gaps);
    mem_free(f->vectors);
    mem_free(f->place);
    mem_free(f->drawn);
    mem_free(f);
}

/* ---- what methods need ------------------------------------------------------------------------------------------- */

static pgr_status need_surface(fits *f, pgr_error *err) {
    if (f->source.surface) return PGR_OK;
    f->surface = mem_array(f->source.d->n_row + 1, N_FEATURE * sizeof *f->surface);
    if (!f->surface) return fail_mem(err);
    stat_measure(f->source.d, f->source.threads, f->surface);
    f->source.surface = f->surface;
    return PGR_OK;
}

static pgr_status need_vectors(fits *f, pgr_error *err) {
    if (f->source.vectors) return PGR_OK;
    if (!f->embedder) return fail(err, PGR_E_ARG, "this method needs an embedder (--embedder)");
    const stat_source *s = &f->source;
    PGR_TRY(bench_embed(s->d, f->embedder, s->known, s->n_known, &s->watch, &f->vectors, err));
    f->source.vectors = f->vectors;
    f->source.dims = pgr_embedder_dims(f->embedder);
    return PGR_OK;
}

static pgr_status need_gaps(fits *f, pgr_error *err) {
    if (f->source.gaps) return PGR_OK;
    if (!f->scalar) return fail(err, PGR_E_ARG, "this method needs a reward model (--scalar)");
    PGR_TRY(bench_scalars(f->source.d, f->scalar, &f->source.watch, &f->gaps, err));
    f->source.gaps = f->gaps;
    return PGR_OK;
}

pgr_status fits_need(fits *f, const bench_method *m, pgr_error *err) {
    if (m->kind == METHOD_RIDGE || m->kind == METHOD_CLASSES) PGR_TRY(need_surface(f, err));
    if (m->vectors == STAT_EMBEDDINGS) PGR_TRY(need_vectors(f, err));
    return m->vectors == STAT_SCALAR ? need_gaps(f, err) : PGR_OK;
}

/* ---- the longest answer ------------------------------------------------------------------------------------------ */

static void predict_longest(const bench_data *d, double *p) {
    for (size_t i = 0; i < d->n_row; i++)
        if (!d->rows[i].train) *p++ = 0.5 + 0.5 * bench_longer(&d->rows[i]);
}

/* ---- ridge ------------------------------------------------------------------------------------------------------- */

static const double ATTRIBUTE[] = {3000, 1000, 300, 100, 30, 10, 3, 1};
static const double EMBEDDING[] = {30000, 10000, 3000, 1000, 300, 100, 30};
static const double ITEM[] = {8, 4, 2, 1, 0.5, 0.25};
static const double PERSONAL[] = {INFINITY, 1000, 300, 100, 30, 10, 3, 1};
#define VALUES(list) list, sizeof(list) / sizeof *(list)

/* Tunes the penalties of all parts that s has, and of the items where they count. */
static pgr_status tune(stat *s, bool items, ridge_penalty *p, double *z, pgr_error *err) {
    *p = (ridge_penalty){INFINITY, INFINITY, INFINITY, INFINITY};
    stat_try tries[4];
    size_t n = 0;
    if (items) tries[n++] = (stat_try){&p->item, VALUES(ITEM)};
    if (s->rows.n_attribute) tries[n++] = (stat_try){&p->attribute, VALUES(ATTRIBUTE)};
    if (s->rows.n_embedding) tries[n++] = (stat_try){&p->embedding, VALUES(EMBEDDING)};
    if (s->rows.n_personal) tries[n++] = (stat_try){&p->personal, VALUES(PERSONAL)};
    return stat_tune(s, p, tries, n, z, err);
}

static pgr_status fit_into(const fits *f, const bench_method *m, bool held_out, ridge_kept *k, pgr_error *err) {
    PGR_TRY(stat_open(&f->source, m->attributes, m->vectors, m->personal, &k->s, err));
    PGR_TRY(ridge_model_create(&k->s.rows, &k->m, err));
    if (held_out) {
        k->held_out = mem_zero(f->source.d->n_row + 1, sizeof *k->held_out);
        if (!k->held_out) return fail_mem(err);
    }
    PGR_TRY(tune(&k->s, m->items, &k->penalty, k->held_out, err));
    return ridge_fit(&k->s.rows, k->s.train, k->s.n_train, &k->penalty, f->source.watch.cancel, &k->m, err);
}

/* The method's model, fitted now if it was not yet. The one that classes build upon keeps what its folds say. */
static pgr_status find_ridge(fits *f, const bench_method *m, ridge_kept **out, pgr_error *err) {
    ridge_kept *k = &f->kept[m - BENCH_METHODS];
    *out = k;
    if (k->there) return PGR_OK;
    pgr_status s = fit_into(f, m, strcmp(m->name, "base") == 0, k, err);
    if (s != PGR_OK) drop(k);
    k->there = s == PGR_OK;
    return s;
}

pgr_status fits_attributes(fits *f, double *w, pgr_error *err) {
    const bench_method *m = bench_method_find("attributes");
    ridge_kept *k = NULL;
    PGR_TRY(fits_need(f, m, err));
    PGR_TRY(find_ridge(f, m, &k, err));
    for (size_t i = 0; i < N_FEATURE; i++) w[i] = k->s.scale[i] > 0 ? k->m.w[i] / k->s.scale[i] : 0;
    return PGR_OK;
}

/* The rows that are known of the user under the question: his own or the stranger's. */
static size_t history_of(fits *f, const fits_ask *how, size_t user) {
    return bench_draw(f->source.d, how->donor ? how->donor[user] : user, how->history, how->seed, f->drawn);
}

/* A user's weights are fitted to the history that he is given. v: (n_personal) scratch */
static pgr_status predict_ridge(fits *f, const ridge_kept *k, const fits_ask *how, double *v, double *p,
                                pgr_error *err) {
    const bench_data *d = f->source.d;
    bool personal = k->s.rows.n_personal > 0 && !how->plain;
    for (size_t u = 0; u < d->n_user; u++) {
        const bench_user *user = &d->users[u];
        if (user->n_test == 0) continue;
        if (personal) {
            size_t n = history_of(f, how, u);
            PGR_TRY(ridge_fit_user(&k->s.rows, &k->m, f->drawn, n, &k->penalty, v, err));
        }
        for (size_t i = 0; i < user->n_test; i++)
            p[f->place[user->test[i]]] =
                stat_probability(ridge_z(&k->s.rows, &k->m, user->test[i], personal ? v : NULL));
    }
    return PGR_OK;
}

static pgr_status ask_ridge(fits *f, const bench_method *m, const fits_ask *how, double *p, pgr_error *err) {
    ridge_kept *k = NULL;
    PGR_TRY(find_ridge(f, m, &k, err));
    double *v = mem_zero(k->s.rows.n_personal + 1, sizeof *v);
    pgr_status s = v ? predict_ridge(f, k, how, v, p, err) : fail_mem(err);
    mem_free(v);
    return s;
}

/* ---- classes of users -------------------------------------------------------------------------------------------- */

static pgr_status find_classes(fits *f, const ridge_kept *base, bool by_embedding, uint64_t seed, pgr_error *err) {
    similar **t = &f->classes[by_embedding];
    if (*t && f->seed[by_embedding] == seed) return PGR_OK;
    similar_free(*t);
    *t = NULL;
    f->seed[by_embedding] = seed;
    return similar_fit(&base->s, base->held_out, by_embedding, seed, t, err);
}

static pgr_status predict_classes(fits *f, const ridge_kept *base, const similar *t, const fits_ask *how, double *p,
                                  pgr_error *err) {
    const bench_data *d = f->source.d;
    double share[SIMILAR_CLASSES];
    for (size_t u = 0; u < d->n_user; u++) {
        const bench_user *user = &d->users[u];
        if (user->n_test == 0) continue;
        if (!how->plain) {
            size_t n = history_of(f, how, u);
            PGR_TRY(similar_place(t, f->drawn, n, how->donor ? how->donor[u] : u, share, err));
        }
        for (size_t i = 0; i < user->n_test; i++) {
            size_t row = user->test[i];
            double z = ridge_z(&base->s.rows, &base->m, row, NULL);
            p[f->place[row]] = how->plain ? stat_probability(z) : similar_probability(t, row, z, share);
        }
    }
    return PGR_OK;
}

static pgr_status ask_classes(fits *f, const bench_method *m, const fits_ask *how, double *p, pgr_error *err) {
    ridge_kept *base = NULL;
    bool by_embedding = m->vectors == STAT_EMBEDDINGS;
    PGR_TRY(find_ridge(f, bench_method_find("base"), &base, err));
    if (!how->plain) PGR_TRY(find_classes(f, base, by_embedding, how->seed, err));
    return predict_classes(f, base, f->classes[by_embedding], how, p, err);
}

/* ---- ideal points ------------------------------------------------------------------------------------------------ */

static pgr_status predict_votes(fits *f, const fits_ask *how, double *scratch, double *p, pgr_error *err) {
    const bench_data *d = f->source.d;
    for (size_t u = 0; u < d->n_user; u++) {
        const bench_user *user = &d->users[u];
        if (user->n_test == 0) continue;
        size_t n = how->plain ? 0 : history_of(f, how, u);
        PGR_TRY(votes_ask(f->votes, u, f->drawn, n, how->donor && !how->plain ? how->donor[u] : u, scratch, err));
        for (size_t i = 0; i < user->n_test; i++) p[f->place[user->test[i]]] = scratch[i];
    }
    return PGR_OK;
}

static pgr_status ask_votes(fits *f, const fits_ask *how, double *p, pgr_error *err) {
    if (!f->votes) PGR_TRY(votes_fit(f->source.d, &f->source.watch, &f->votes, err));
    double *scratch = mem_array(f->source.d->n_row + 1, sizeof *scratch);
    pgr_status s = scratch ? predict_votes(f, how, scratch, p, err) : fail_mem(err);
    mem_free(scratch);
    return s;
}

pgr_status fits_predict(fits *f, const bench_method *m, const fits_ask *how, double *p, pgr_error *err) {
    PGR_ASSERT(m - BENCH_METHODS < METHODS_MAX);
    PGR_TRY(fits_need(f, m, err));
    switch (m->kind) {
    case METHOD_RIDGE:
        return ask_ridge(f, m, how, p, err);
    case METHOD_CLASSES:
        return ask_classes(f, m, how, p, err);
    case METHOD_VOTES:
        return ask_votes(f, how, p, err);
    default:
        predict_longest(f->source.d, p);
        return PGR_OK;
    }
}
