/* stat.c - prepares rows for the statistical methods and tunes penalties by cross-validation inside the train rows. */
#include "bench/stat.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "base/watch.h"
#include "bench/distinct.h"
#include "bench/features.h"

double stat_probability(double z) {
    return 1 / (1 + exp(-z));
}

/* ---- attributes ------------------------------------------------------------------------------------------------- */

enum { CHUNK = 64 }; /* rows that one task measures */

static const char *query_of(const preference_pair *p) {
    return p->n_context ? p->context[p->n_context - 1].text : "";
}

typedef struct measuring {
    const bench_data *d;
    float *out;
} measuring;

static void measure_rows(void *ctx, size_t task, size_t worker) {
    const measuring *m = ctx;
    double a[N_FEATURE], b[N_FEATURE];
    size_t end = (task + 1) * CHUNK < m->d->n_row ? (task + 1) * CHUNK : m->d->n_row;
    (void)worker;
    for (size_t i = task * CHUNK; i < end; i++) {
        const preference_pair *p = &m->d->rows[i].record.pair;
        features_measure(p->chosen, query_of(p), a);
        features_measure(p->rejected, query_of(p), b);
        for (size_t f = 0; f < N_FEATURE; f++) m->out[i * N_FEATURE + f] = (float)(a[f] - b[f]);
    }
}

void stat_measure(const bench_data *d, pool *threads, float *out) {
    measuring m = {d, out};
    pool_run(threads, (d->n_row + CHUNK - 1) / CHUNK, measure_rows, &m);
}

static void copy_attributes(const stat *s, stat_attributes which, size_t n_x) {
    const float *from = s->source->surface;
    for (size_t i = 0; i < s->d->n_row && which != STAT_NONE; i++) {
        if (which == STAT_LENGTH)
            s->x[i * n_x] = from[i * N_FEATURE + N_FACT + FEATURE_CHARACTERS];
        else
            memcpy(s->x + i * n_x, from + i * N_FEATURE, N_FEATURE * sizeof *from);
    }
}

static void subtract_embeddings(const bench_data *d, const float *e, size_t dims, float *x, size_t n_x) {
    for (size_t i = 0; i < d->n_row; i++)
        for (size_t f = 0; f < dims; f++)
            x[i * n_x + f] = e[d->rows[i].item[0] * dims + f] - e[d->rows[i].item[1] * dims + f];
}

/* Columns from..to of x over the root of their mean square on train rows, together: ss of the rows' columns. */
static void scale_together(stat *s, size_t from, size_t to) {
    size_t n_x = s->rows.n_attribute + s->rows.n_embedding;
    double ss = 0;
    for (size_t i = 0; i < s->n_train; i++)
        for (size_t c = from; c < to; c++)
            ss += (double)s->x[s->train[i] * n_x + c] * (double)s->x[s->train[i] * n_x + c];
    double rms = sqrt(ss / (double)(s->n_train * (to - from) + !s->n_train));
    for (size_t c = from; c < to; c++) s->scale[c] = rms;
    for (size_t i = 0; i < s->d->n_row; i++)
        for (size_t c = from; c < to; c++) {
            float *x = &s->x[i * n_x + c];
            *x = rms > 0 ? (float)((double)*x / rms) : 0;
        }
}

pgr_status bench_embed(const bench_data *d, pgr_embedder *e, const float *known, size_t n_known, const pgr_watch *watch,
                       float **vectors, pgr_error *err) {
    enum { BATCH = 64 };
    size_t dims = pgr_embedder_dims(e), lens[BATCH];
    float *v = mem_array(d->n_item + 1, dims * sizeof *v);
    if (!v) return fail_mem(err);
    pgr_status status = PGR_OK;
    if (n_known) memcpy(v, known, n_known * dims * sizeof *v);
    for (size_t i = n_known; status == PGR_OK && i < d->n_item; i += BATCH) {
        size_t n = d->n_item - i < BATCH ? d->n_item - i : BATCH;
        for (size_t k = 0; k < n; k++) lens[k] = strlen(d->items[i + k]);
        watch_report(watch, "embedding", i, d->n_item, "texts");
        status = pgr_embed(e, d->items + i, lens, n, NULL, v + i * dims, NULL, err);
        if (status == PGR_OK) status = watch_check(watch, err);
    }
    if (status == PGR_OK)
        *vectors = v;
    else
        mem_free(v);
    return status;
}

/* ---- folds ------------------------------------------------------------------------------------------------------ */

static unsigned char fold_of(size_t group) {
    return (unsigned char)(rng_uniform(0, 0, 0, (uint32_t)group) * STAT_FOLDS);
}

/* fold: (n_row) of the train rows */
static pgr_status number_folds(stat *s, unsigned char *fold, pgr_error *err) {
    bool by_pair = false;
    PGR_TRY(bench_recur(s->d, false, &by_pair, err));
    distinct conversations = {0};
    pgr_status status = PGR_OK;
    for (size_t i = 0; status == PGR_OK && i < s->n_train; i++) {
        const bench_row *r = &s->d->rows[s->train[i]];
        size_t group = r->question;
        bool named = r->record.conversation_id[0] != '\0';
        if (by_pair && named) status = distinct_number(&conversations, r->record.conversation_id, &group, err);
        if (by_pair && !named) group = i;
        fold[s->train[i]] = fold_of(group);
    }
    distinct_free(&conversations);
    return status;
}

static pgr_status fold_rows(stat *s, pgr_error *err) {
    unsigned char *fold = mem_zero(s->d->n_row + 1, sizeof *fold);
    if (!fold) return fail_mem(err);
    pgr_status status = number_folds(s, fold, err);
    for (unsigned char f = 0; f < STAT_FOLDS; f++) { /* in from the front, out from the back, both in the rows' order */
        stat_fold *t = &s->fold[f];
        *t = (stat_fold){.in = s->lists + f * s->n_train};
        for (size_t i = 0; i < s->n_train; i++) t->n_in += fold[s->train[i]] != f;
        t->out = t->in + t->n_in;
        for (size_t i = 0, k = 0; i < s->n_train; i++)
            if (fold[s->train[i]] == f)
                t->out[t->n_out++] = s->train[i];
            else
                t->in[k++] = s->train[i];
    }
    mem_free(fold);
    return status;
}

/* ---- open and close --------------------------------------------------------------------------------------------- */

static pgr_status allocate(stat *s, pgr_error *err) {
    const bench_data *d = s->d;
    size_t n_x = s->rows.n_attribute + s->rows.n_embedding;
    s->x = mem_zero(d->n_row + 1, (n_x + 1) * sizeof *s->x);
    s->scale = mem_zero(n_x + 1, sizeof *s->scale);
    s->user = mem_array(d->n_row + 1, sizeof *s->user);
    s->item = mem_array(d->n_row + 1, sizeof *s->item);
    s->train = mem_array(d->n_row + 1, sizeof *s->train);
    s->lists = mem_array(d->n_row + 1, STAT_FOLDS * sizeof *s->lists);
    return s->x && s->scale && s->user && s->item && s->train && s->lists ? PGR_OK : fail_mem(err);
}

static void list_rows(stat *s) {
    for (size_t i = 0; i < s->d->n_row; i++) {
        const bench_row *r = &s->d->rows[i];
        s->user[i] = r->user;
        s->item[i][0] = r->item[0];
        s->item[i][1] = r->item[1];
        if (r->train) s->train[s->n_train++] = i;
    }
    s->rows.x = s->x;
    s->rows.user = s->user;
    s->rows.item = (const size_t(*)[2])s->item;
}

static pgr_status prepare(stat *s, stat_attributes attributes, stat_vectors vectors, bool personal, pgr_error *err) {
    const bench_data *d = s->d;
    const stat_source *from = s->source;
    s->rows.n_attribute = attributes == STAT_NONE ? 0 : attributes == STAT_LENGTH ? 1 : N_FEATURE;
    s->rows.n_embedding = vectors == STAT_SCALAR ? 1 : vectors == STAT_EMBEDDINGS ? from->dims : 0;
    s->rows.n_personal = personal ? s->rows.n_attribute : 0;
    s->rows.n_user = d->n_user;
    s->rows.n_item = d->n_item;
    PGR_TRY(allocate(s, err));
    list_rows(s);
    size_t n_a = s->rows.n_attribute, n_x = n_a + s->rows.n_embedding;
    copy_attributes(s, attributes, n_x);
    if (vectors == STAT_EMBEDDINGS) subtract_embeddings(d, from->vectors, from->dims, s->x + n_a, n_x);
    for (size_t i = 0; vectors == STAT_SCALAR && i < d->n_row; i++) s->x[i * n_x + n_a] = from->gaps[i];
    for (size_t f = 0; f < n_a; f++) scale_together(s, f, f + 1);
    if (n_x > n_a) scale_together(s, n_a, n_x);
    return fold_rows(s, err);
}

pgr_status stat_open(const stat_source *source, stat_attributes attributes, stat_vectors vectors, bool personal,
                     stat *s, pgr_error *err) {
    *s = (stat){.source = source, .d = source->d};
    pgr_status status = prepare(s, attributes, vectors, personal, err);
    if (status != PGR_OK) stat_close(s);
    return status;
}

void stat_close(stat *s) {
    mem_free(s->x);
    mem_free(s->scale);
    mem_free(s->user);
    mem_free(s->item);
    mem_free(s->train);
    mem_free(s->lists);
    memset(s, 0, sizeof *s);
}

/* ---- tuning ----------------------------------------------------------------------------------------------------- */

typedef struct tuning {
    stat *s;
    ridge_model model[STAT_FOLDS]; /* of the penalties that were tried last: the next fit starts there */
    size_t done, total;
    /* of the penalties that are tried now: */
    const ridge_penalty *p;
    double *z;               /* (n_row) or NULL */
    double loss[STAT_FOLDS]; /* sums over the folds' rows */
    pgr_status status[STAT_FOLDS];
    pgr_error error[STAT_FOLDS];
} tuning;

static void try_fold(void *ctx, size_t f, size_t worker) {
    tuning *t = ctx;
    stat *s = t->s;
    ridge_model *m = &t->model[f];
    const stat_fold *fold = &s->fold[f];
    (void)worker;
    t->loss[f] = 0;
    t->status[f] = ridge_fit(&s->rows, fold->in, fold->n_in, t->p, s->source->watch.cancel, m, &t->error[f]);
    for (size_t i = 0; t->status[f] == PGR_OK && i < fold->n_out; i++) {
        size_t row = fold->out[i];
        double value = ridge_z(&s->rows, m, row, m->personal + s->user[row] * s->rows.n_personal);
        t->loss[f] += ridge_loss(value);
        if (t->z) t->z[row] = value;
    }
}

/* Mean loss of the rows under the models that have not seen them; z: (n_row) or NULL. */
static pgr_status held_out_loss(tuning *t, const ridge_penalty *p, double *z, double *loss, pgr_error *err) {
    stat *s = t->s;
    double sum = 0;
    t->p = p;
    t->z = z;
    pool_run(s->source->threads, STAT_FOLDS, try_fold, t);
    for (size_t f = 0; f < STAT_FOLDS; f++) {
        if (t->status[f] != PGR_OK && err) *err = t->error[f];
        if (t->status[f] != PGR_OK) return t->status[f];
        sum += t->loss[f];
    }
    *loss = s->n_train ? sum / (double)s->n_train : 0;
    watch_report(&s->source->watch, "tuning", ++t->done, t->total, "fits");
    return PGR_OK;
}

/* Sets *what->penalty to the best of values from..to, *at to its place. */
static pgr_status tune_one(tuning *t, ridge_penalty *p, const stat_try *what, size_t from, size_t to, size_t *at,
                           pgr_error *err) {
    double best = INFINITY;
    *at = from;
    for (size_t i = from; i < to; i++) {
        double loss;
        *what->penalty = what->values[i];
        PGR_TRY(held_out_loss(t, p, NULL, &loss, err));
        if (loss < best) best = loss, *at = i;
    }
    *what->penalty = what->values[*at];
    return PGR_OK;
}

static pgr_status tune_all(tuning *t, ridge_penalty *p, const stat_try *tries, size_t n, pgr_error *err) {
    size_t at[STAT_TRIES] = {0};
    PGR_ASSERT(n <= STAT_TRIES);
    for (size_t i = 0; i < n; i++) PGR_TRY(tune_one(t, p, &tries[i], 0, tries[i].n, &at[i], err));
    for (size_t i = 0; i < n && n > 1; i++) {
        size_t from = at[i] ? at[i] - 1 : 0, to = at[i] + 2 < tries[i].n ? at[i] + 2 : tries[i].n;
        PGR_TRY(tune_one(t, p, &tries[i], from, to, &at[i], err));
    }
    return PGR_OK;
}

pgr_status stat_tune(stat *s, ridge_penalty *p, const stat_try *tries, size_t n, double *z, pgr_error *err) {
    tuning t = {.s = s};
    pgr_status status = PGR_OK;
    for (size_t i = 0; i < n; i++) t.total += tries[i].n + (n > 1 ? 3 : 0); /* at most */
    t.total += z != NULL;
    for (size_t f = 0; status == PGR_OK && f < STAT_FOLDS; f++) status = ridge_model_create(&s->rows, &t.model[f], err);
    if (status == PGR_OK) status = tune_all(&t, p, tries, n, err);
    double loss;
    if (status == PGR_OK && z) status = held_out_loss(&t, p, z, &loss, err);
    for (size_t f = 0; f < STAT_FOLDS; f++) ridge_model_free(&t.model[f]);
    return status;
}
