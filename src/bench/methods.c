/* methods.c - the statistical methods by name, and those that are one ridge-penalised Bradley-Terry model. */
#include "bench/methods.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "bench/stat.h"

/* ---- the longest answer ----------------------------------------------------------------------------------------- */

static size_t characters(const char *s) {
    size_t n = 0;
    for (; *s; s++) n += ((unsigned char)*s & 0xC0) != 0x80;
    return n;
}

static pgr_status run_longest(const bench_data *d, const bench_method_options *o, double *p, pgr_error *err) {
    (void)o;
    (void)err;
    for (size_t i = 0; i < d->n_row; i++) {
        if (d->rows[i].train) continue;
        size_t a = characters(d->rows[i].record.pair.chosen), b = characters(d->rows[i].record.pair.rejected);
        *p++ = a > b ? 1 : a < b ? 0 : 0.5;
    }
    return PGR_OK;
}

/* ---- ridge ------------------------------------------------------------------------------------------------------ */

static const double ATTRIBUTE[] = {3000, 1000, 300, 100, 30, 10, 3, 1};
static const double EMBEDDING[] = {30000, 10000, 3000, 1000, 300, 100, 30};
static const double ITEM[] = {8, 4, 2, 1, 0.5, 0.25};
static const double PERSONAL[] = {INFINITY, 1000, 300, 100, 30, 10, 3, 1};
#define VALUES(list) list, sizeof(list) / sizeof *(list)

pgr_status method_tune(stat *s, bool items, ridge_penalty *p, double *z, pgr_error *err) {
    *p = (ridge_penalty){INFINITY, INFINITY, INFINITY, INFINITY};
    stat_try tries[4];
    size_t n = 0;
    if (items) tries[n++] = (stat_try){&p->item, VALUES(ITEM)};
    if (s->rows.n_attribute) tries[n++] = (stat_try){&p->attribute, VALUES(ATTRIBUTE)};
    if (s->rows.n_embedding) tries[n++] = (stat_try){&p->embedding, VALUES(EMBEDDING)};
    if (s->rows.n_personal) tries[n++] = (stat_try){&p->personal, VALUES(PERSONAL)};
    return stat_tune(s, p, tries, n, z, err);
}

/* What the model says of the asked rows, a user's weights fitted to the history that he is given. */
static pgr_status predict(stat *s, const ridge_model *m, const ridge_penalty *penalty, double *v, double *p,
                          pgr_error *err) {
    size_t known = SIZE_MAX; /* whose weights v holds */
    for (size_t i = 0; i < s->d->n_row; i++) {
        if (s->d->rows[i].train) continue;
        if (s->rows.n_personal && s->user[i] != known) {
            size_t n;
            const size_t *rows = stat_history(s, s->user[i], &n);
            PGR_TRY(ridge_fit_user(&s->rows, m, rows, n, penalty, v, err));
            known = s->user[i];
        }
        *p++ = stat_probability(ridge_z(&s->rows, m, i, s->rows.n_personal ? v : NULL));
    }
    return PGR_OK;
}

static pgr_status tune_and_predict(stat *s, bool items, ridge_model *m, double *v, double *p, pgr_error *err) {
    ridge_penalty penalty;
    PGR_TRY(method_tune(s, items, &penalty, NULL, err));
    PGR_TRY(ridge_fit(&s->rows, s->train, s->n_train, &penalty, s->o->watch.cancel, m, err));
    return predict(s, m, &penalty, v, p, err);
}

static pgr_status run_opened(stat *s, bool items, double *p, pgr_error *err) {
    ridge_model m = {0};
    double *v = mem_zero(s->rows.n_personal + 1, sizeof *v);
    pgr_status status = v ? ridge_model_create(&s->rows, &m, err) : fail_mem(err);
    if (status == PGR_OK) status = tune_and_predict(s, items, &m, v, p, err);
    ridge_model_free(&m);
    mem_free(v);
    return status;
}

static pgr_status run_ridge(const bench_data *d, const bench_method_options *o, stat_attributes attributes, bool embed,
                            bool personal, bool items, double *p, pgr_error *err) {
    stat s;
    PGR_TRY(stat_open(d, o, attributes, embed ? STAT_EMBEDDINGS : STAT_NO_VECTORS, personal, &s, err));
    pgr_status status = run_opened(&s, items, p, err);
    stat_close(&s);
    return status;
}

static pgr_status run_length_personal(const bench_data *d, const bench_method_options *o, double *p, pgr_error *err) {
    return run_ridge(d, o, STAT_LENGTH, false, true, false, p, err);
}
static pgr_status run_attributes(const bench_data *d, const bench_method_options *o, double *p, pgr_error *err) {
    return run_ridge(d, o, STAT_SURFACE, false, false, false, p, err);
}
static pgr_status run_attributes_personal(const bench_data *d, const bench_method_options *o, double *p,
                                          pgr_error *err) {
    return run_ridge(d, o, STAT_SURFACE, false, true, false, p, err);
}
static pgr_status run_embedding(const bench_data *d, const bench_method_options *o, double *p, pgr_error *err) {
    return run_ridge(d, o, STAT_NONE, true, false, false, p, err);
}
static pgr_status run_popularity(const bench_data *d, const bench_method_options *o, double *p, pgr_error *err) {
    return run_ridge(d, o, STAT_NONE, false, false, true, p, err);
}
static pgr_status run_base(const bench_data *d, const bench_method_options *o, double *p, pgr_error *err) {
    return run_ridge(d, o, STAT_SURFACE, false, false, true, p, err);
}
static pgr_status run_base_embedding(const bench_data *d, const bench_method_options *o, double *p, pgr_error *err) {
    return run_ridge(d, o, STAT_SURFACE, true, false, true, p, err);
}

/* The reward model's opinion under the user's own departures: its weight is fitted like an attribute's. */
static pgr_status run_scalar_personal(const bench_data *d, const bench_method_options *o, double *p, pgr_error *err) {
    stat s;
    PGR_TRY(stat_open(d, o, STAT_SURFACE, STAT_SCALAR, true, &s, err));
    pgr_status status = run_opened(&s, false, p, err);
    stat_close(&s);
    return status;
}

/* ---- by name ---------------------------------------------------------------------------------------------------- */

const bench_method BENCH_METHODS[] = {
    {"longest", false, NEEDS_NOTHING, run_longest},
    {"length-personal", true, NEEDS_NOTHING, run_length_personal},
    {"attributes", false, NEEDS_NOTHING, run_attributes},
    {"attributes-personal", true, NEEDS_NOTHING, run_attributes_personal},
    {"popularity", false, NEEDS_NOTHING, run_popularity},
    {"base", false, NEEDS_NOTHING, run_base},
    {"similar-users", true, NEEDS_NOTHING, run_similar_users},
    {"embedding", false, NEEDS_EMBEDDER, run_embedding},
    {"base-embedding", false, NEEDS_EMBEDDER, run_base_embedding},
    {"embedding-users", true, NEEDS_EMBEDDER, run_embedding_users},
    {"scalar-personal", true, NEEDS_SCALAR, run_scalar_personal},
    {NULL, false, NEEDS_NOTHING, NULL},
};

const bench_method *bench_method_find(const char *name) {
    for (const bench_method *m = BENCH_METHODS; m->name; m++)
        if (strcmp(m->name, name) == 0) return m;
    return NULL;
}
