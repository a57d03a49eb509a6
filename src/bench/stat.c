/* stat.c - prepares rows for the statistical methods and tunes penalties by cross-validation inside the train rows. */
#include "bench/stat.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "base/watch.h"
#include "bench/distinct.h"
#include "bench/features.h"
#include "bench/history.h"
#include "bench/scalar.h"

double stat_probability(double z) {
    return 1 / (1 + exp(-z));
}

/* ---- attributes ------------------------------------------------------------------------------------------------- */

static const char *query_of(const preference_pair *p) {
    return p->n_context ? p->context[p->n_context - 1].text : "";
}

static void measure_rows(const bench_data *d, stat_attributes which, float *x, size_t n_x) {
    double a[N_FEATURE], b[N_FEATURE];
    for (size_t i = 0; i < d->n_row && which != STAT_NONE; i++) {
        const preference_pair *p = &d->rows[i].record.pair;
        features_measure(p->chosen, query_of(p), a);
        features_measure(p->rejected, query_of(p), b);
        if (which == STAT_LENGTH) {
            size_t f = N_FACT + FEATURE_CHARACTERS;
            x[i * n_x] = (float)(a[f] - b[f]);
        } else {
            for (size_t f = 0; f < N_FEATURE; f++) x[i * n_x + f] = (float)(a[f] - b[f]);
        }
    }
}

static void subtract_embeddings(const bench_data *d, const float *e, size_t dims, float *x, size_t n_x) {
    for (size_t i = 0; i < d->n_row; i++)
        for (size_t f = 0; f < dims; f++)
            x[i * n_x + f] = e[d->rows[i].item[0] * dims + f] - e[d->rows[i].item[1] * dims + f];
}

/* Columns from..to of x over the root of their mean square on train rows: each by itself, or all by one. */
static void scale_columns(stat *s, size_t from, size_t to, bool together) {
    size_t n_x = s->rows.n_attribute + s->rows.n_embedding;
    for (size_t f = from; f < to;) {
        size_t stop = together ? to : f + 1;
        double ss = 0;
        for (size_t i = 0; i < s->n_train; i++)
            for (size_t c = f; c < stop; c++) ss += pow((double)s->x[s->train[i] * n_x + c], 2);
        double rms = sqrt(ss / (double)(s->n_train * (stop - f) + !s->n_train));
        for (size_t i = 0; i < s->d->n_row; i++)
            for (size_t c = f; c < stop; c++) {
                float *x = &s->x[i * n_x + c];
                *x = rms > 0 ? (float)((double)*x / rms) : 0;
            }
        f = stop;
    }
}

pgr_status bench_embed(const bench_data *d, const bench_method_options *o, float **vectors, pgr_error *err) {
    enum { BATCH = 64 };
    size_t dims = pgr_embedder_dims(o->embedder), lens[BATCH];
    float *v = mem_array(d->n_item + 1, dims * sizeof *v);
    if (!v) return fail_mem(err);
    pgr_status status = PGR_OK;
    for (size_t i = 0; status == PGR_OK && i < d->n_item; i += BATCH) {
        size_t n = d->n_item - i < BATCH ? d->n_item - i : BATCH;
        for (size_t k = 0; k < n; k++) lens[k] = strlen(d->items[i + k]);
        watch_report(&o->watch, "embedding", i, d->n_item, "texts");
        status = pgr_embed(o->embedder, d->items + i, lens, n, NULL, v + i * dims, NULL, err);
        if (status == PGR_OK) status = watch_check(&o->watch, err);
    }
    if (status == PGR_OK)
        *vectors = v;
    else
        mem_free(v);
    return status;
}

pgr_status stat_embed(stat *s, pgr_error *err) {
    if (s->o->vectors) {
        s->embeddings = s->o->vectors;
        s->dims = s->o->dims;
        return PGR_OK;
    }
    if (!s->o->embedder) return fail(err, PGR_E_ARG, "this method needs an embedder (--embedder)");
    PGR_TRY(bench_embed(s->d, s->o, &s->vectors, err));
    s->embeddings = s->vectors;
    s->dims = pgr_embedder_dims(s->o->embedder);
    return PGR_OK;
}

/* ---- folds ------------------------------------------------------------------------------------------------------ */

/* Are the asked rows about questions that train rows ask too (statements of one consultation)? Then it is not the
 * question that keeps train and test apart but the pair, and so it is between the folds. */
static pgr_status questions_recur(const bench_data *d, bool *recur, pgr_error *err) {
    bool *known = mem_zero(d->n_question + 1, sizeof *known);
    if (!known) return fail_mem(err);
    size_t n = 0;
    for (size_t i = 0; i < d->n_row; i++)
        if (d->rows[i].train) known[d->rows[i].question] = true;
    for (size_t i = 0; i < d->n_row; i++) n += !d->rows[i].train && known[d->rows[i].question];
    *recur = 2 * n > d->n_test;
    mem_free(known);
    return PGR_OK;
}

static unsigned char fold_of(size_t group) {
    return (unsigned char)(rng_uniform(0, 0, 0, (uint32_t)group) * STAT_FOLDS);
}

static pgr_status fold_rows(stat *s, pgr_error *err) {
    bool by_pair = false;
    PGR_TRY(questions_recur(s->d, &by_pair, err));
    distinct conversations = {0};
    pgr_status status = PGR_OK;
    for (size_t i = 0; status == PGR_OK && i < s->n_train; i++) {
        const bench_row *r = &s->d->rows[s->train[i]];
        size_t group = r->question;
        bool named = r->record.conversation_id[0] != '\0';
        if (by_pair && named) status = distinct_number(&conversations, r->record.conversation_id, &group, err);
        if (by_pair && !named) group = i;
        s->fold[s->train[i]] = fold_of(group);
    }
    distinct_free(&conversations);
    return status;
}

void stat_split(stat *s, unsigned char fold, size_t *n_in, size_t *n_out) {
    *n_in = *n_out = 0;
    for (size_t i = 0; i < s->n_train; i++) {
        if (s->fold[s->train[i]] == fold)
            s->out[(*n_out)++] = s->train[i];
        else
            s->in[(*n_in)++] = s->train[i];
    }
}

/* ---- open and close --------------------------------------------------------------------------------------------- */

static pgr_status allocate(stat *s, pgr_error *err) {
    const bench_data *d = s->d;
    size_t n_x = s->rows.n_attribute + s->rows.n_embedding;
    s->x = mem_zero(d->n_row + 1, (n_x + 1) * sizeof *s->x);
    s->user = mem_array(d->n_row + 1, sizeof *s->user);
    s->item = mem_array(d->n_row + 1, sizeof *s->item);
    s->train = mem_array(d->n_row + 1, sizeof *s->train);
    s->fold = mem_zero(d->n_row + 1, sizeof *s->fold);
    s->donor = mem_array(d->n_user + 1, sizeof *s->donor);
    s->drawn = mem_array(d->n_row + 1, sizeof *s->drawn);
    s->in = mem_array(d->n_row + 1, sizeof *s->in);
    s->out = mem_array(d->n_row + 1, sizeof *s->out);
    bool got = s->x && s->user && s->item && s->train && s->fold && s->donor && s->drawn && s->in && s->out;
    return got ? PGR_OK : fail_mem(err);
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

static pgr_status add_scalars(stat *s, float *x, size_t ldx, pgr_error *err) {
    const float *gaps = s->o->gaps;
    if (!gaps) PGR_TRY(bench_scalars(s->d, s->o, &s->vectors, err));
    for (size_t i = 0; i < s->d->n_row; i++) x[i * ldx] = (gaps ? gaps : s->vectors)[i];
    return PGR_OK;
}

static pgr_status prepare(stat *s, stat_attributes attributes, stat_vectors vectors, bool personal, pgr_error *err) {
    const bench_data *d = s->d;
    if (vectors == STAT_EMBEDDINGS) PGR_TRY(stat_embed(s, err));
    s->rows.n_attribute = attributes == STAT_NONE ? 0 : attributes == STAT_LENGTH ? 1 : N_FEATURE;
    s->rows.n_embedding = vectors == STAT_SCALAR ? 1 : vectors == STAT_EMBEDDINGS ? s->dims : 0;
    s->rows.n_personal = personal ? s->rows.n_attribute : 0;
    s->rows.n_user = d->n_user;
    s->rows.n_item = d->n_item;
    PGR_TRY(allocate(s, err));
    list_rows(s);
    size_t n_a = s->rows.n_attribute, n_x = n_a + s->rows.n_embedding;
    measure_rows(d, attributes, s->x, n_x);
    if (vectors == STAT_EMBEDDINGS) subtract_embeddings(d, s->embeddings, s->dims, s->x + n_a, n_x);
    if (vectors == STAT_SCALAR) PGR_TRY(add_scalars(s, s->x + n_a, n_x, err));
    scale_columns(s, 0, n_a, false);
    scale_columns(s, n_a, n_x, true);
    PGR_TRY(fold_rows(s, err));
    for (size_t u = 0; u < d->n_user; u++) s->donor[u] = u;
    return s->o->stranger ? bench_strangers(d, s->o->seed, s->donor, err) : PGR_OK;
}

pgr_status stat_open(const bench_data *d, const bench_method_options *o, stat_attributes attributes,
                     stat_vectors vectors, bool personal, stat *s, pgr_error *err) {
    *s = (stat){.d = d, .o = o};
    pgr_status status = prepare(s, attributes, vectors, personal, err);
    if (status != PGR_OK) stat_close(s);
    return status;
}

void stat_close(stat *s) {
    mem_free(s->x);
    mem_free(s->user);
    mem_free(s->item);
    mem_free(s->train);
    mem_free(s->fold);
    mem_free(s->donor);
    mem_free(s->drawn);
    mem_free(s->in);
    mem_free(s->out);
    mem_free(s->vectors);
    memset(s, 0, sizeof *s);
}

const size_t *stat_history(stat *s, size_t user, size_t *n) {
    *n = bench_draw(s->d, s->donor[user], s->o->history, s->o->seed, s->drawn);
    return s->drawn;
}

/* ---- tuning ----------------------------------------------------------------------------------------------------- */

typedef struct tuning {
    stat *s;
    ridge_model model[STAT_FOLDS]; /* of the penalties that were tried last: the next fit starts there */
    size_t done, total;
} tuning;

/* Mean loss of the rows under the models that have not seen them; z: (n_row) or NULL. */
static pgr_status held_out_loss(tuning *t, const ridge_penalty *p, double *z, double *loss, pgr_error *err) {
    stat *s = t->s;
    double sum = 0;
    for (unsigned char f = 0; f < STAT_FOLDS; f++) {
        size_t n_in, n_out;
        stat_split(s, f, &n_in, &n_out);
        ridge_model *m = &t->model[f];
        PGR_TRY(ridge_fit(&s->rows, s->in, n_in, p, s->o->watch.cancel, m, err));
        for (size_t i = 0; i < n_out; i++) {
            size_t row = s->out[i];
            double value = ridge_z(&s->rows, m, row, m->personal + s->user[row] * s->rows.n_personal);
            sum += ridge_loss(value);
            if (z) z[row] = value;
        }
    }
    *loss = s->n_train ? sum / (double)s->n_train : 0;
    watch_report(&s->o->watch, "tuning", ++t->done, t->total, "fits");
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
