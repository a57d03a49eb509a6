/* build.c - pgr_proto_build: from a store to a file of prototypes. Who joins and leaves it later: build_add.c. */
#include "prototype/build_parts.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "prototype/form.h"
#include "prototype/kmeans.h"
#include "prototype/lead.h"
#include "prototype/lessons.h"
#include "prototype/vec.h"
#include "prototype/words.h"

enum { N_WORD = 8 };       /* typical words of a prototype */
enum { FIT_ROWS = 65536 }; /* rows that k-means sees at most; all are assigned */

pgr_proto_options pgr_proto_options_default(void) {
    return (pgr_proto_options){
        .by = PGR_PROTO_CHOICES, .restarts = 10, .epochs = 1, .beta = 4, .dims = TEXTVEC_HASH_DIMS, .split = "history"};
}

pgr_status build_prepare(build *b, store *s, const pgr_proto_options *o, pgr_error *err) {
    if (o->by < PGR_PROTO_VOTES || o->by > PGR_PROTO_FACTS)
        return fail(err, PGR_E_ARG, "vectors by way %d, expected 0 to 3", (int)o->by);
    if (o->k < 0 || o->restarts < 1 || o->epochs < 0 || o->epochs > 1000)
        return fail(err, PGR_E_ARG, "k is %d, restarts %d, epochs %d: expected k >= 0, restarts >= 1, epochs 0 to 1000",
                    o->k, o->restarts, o->epochs);
    if (!(o->beta > 0) || !isfinite(o->beta)) return fail(err, PGR_E_ARG, "beta is %g, expected more than 0", o->beta);
    if (uservec_embeds(o->by) && !o->embedder)
        return fail(err, PGR_E_ARG, "vectors by %s need an embedder", uservec_by_name(o->by));
    if (o->by == PGR_PROTO_ANALYSIS && (!o->analyst || !*o->analyst))
        return fail(err, PGR_E_ARG, "vectors by analysis need the name of the model that writes or wrote the analyses");
    PGR_TRY(uservec_space(o->by, o->embedder, o->dims, &b->vec, err));
    PGR_TRY(pool_create(o->n_thread, &b->threads, err));
    b->o = o;
    b->d = textvec_dims(b->vec);
    b->c = (collection){.store = s,
                        .vec = b->vec,
                        .by = o->by,
                        .split = o->split,
                        .analyst = o->analyst,
                        .analyse = o->analyse,
                        .analyse_ctx = o->analyse_ctx,
                        .watch = o->watch,
                        .threads = b->threads};
    return PGR_OK;
}

void build_release(build *b) {
    collect_free(&b->c);
    singular_curve_free(&b->curve);
    textvec_free(b->vec);
    pool_free(b->threads);
    mem_free(b->assign);
    mem_free(b->before);
    mem_free(b->after);
    mem_free(b->theta);
    mem_free(b->mixture);
    views_free(&b->views);
    mem_free(b->losses);
    mem_free(b->words);
    mem_free(b->start);
    mem_free(b->order);
    mem_free(b->ids);
    mem_free(b->ids_at);
    arena_free(&b->arena);
}

/* ---- clusters ---- */

/* Every stride-th row, so that at most FIT_ROWS are taken; of few rows the matrix itself. */
static pgr_status fit_rows(const build *b, float **own, const float **x, size_t *n, pgr_error *err) {
    size_t stride = (b->c.n_row + FIT_ROWS - 1) / FIT_ROWS;
    *own = NULL, *x = b->c.rows, *n = b->c.n_row;
    if (stride <= 1) return PGR_OK;
    *n = (b->c.n_row + stride - 1) / stride;
    *own = mem_array(*n * b->d, sizeof **own);
    if (!*own) return fail_mem(err);
    for (size_t i = 0; i < *n; i++) memcpy(*own + i * b->d, b->c.rows + i * stride * b->d, b->d * sizeof(float));
    *x = *own;
    return PGR_OK;
}

static pgr_status cluster_rows(build *b, const float *x, size_t n, pgr_error *err) {
    kmeans_result r = {0};
    PGR_TRY(collect_step(&b->c, "singular values", 0, 0, "", err));
    PGR_TRY(singular_curve_measure(x, n, b->d, b->threads, b->o->watch.cancel, &b->curve, err));
    b->k = b->o->k ? (size_t)b->o->k : b->curve.k;
    if (b->k > n)
        return fail(err, PGR_E_ARG, "%zu prototypes of %zu rows of %zu users: expected fewer", b->k, b->c.n_row,
                    b->c.n_user);
    kmeans_options o = kmeans_options_default(b->k);
    o.restarts = (size_t)b->o->restarts;
    o.seed = b->o->seed;
    o.threads = b->threads;
    o.watch = b->o->watch;
    PGR_TRY(kmeans(x, n, b->d, &o, &r, err));
    b->before = r.centres;
    b->inertia = r.inertia;
    b->n_iter = r.n_iter;
    r.centres = NULL;
    kmeans_free(&r);
    return PGR_OK;
}

/* What the file holds of the classes, whose memory goes over to b. */
static pgr_status keep_classes(build *b, form_classes *f, pgr_error *err) {
    b->n_mixture = mixture_size(f->m.k, f->m.dims);
    b->mixture = mem_array(b->n_mixture, sizeof *b->mixture);
    b->losses = mem_array(f->trace.n, sizeof *b->losses);
    b->assign = mem_array(b->c.n_row, sizeof *b->assign);
    if (!b->mixture || !b->losses || !b->assign) return fail_mem(err);
    mixture_pack(&f->m, b->mixture);
    b->n_loss = f->trace.n;
    for (size_t i = 0; i < f->trace.n; i++) b->losses[i] = -f->trace.objective[i] / (double)b->c.n_pair;
    form_assign(&b->c, &f->m, b->threads, b->assign);
    b->k = f->m.k;
    b->inertia = f->inertia;
    b->n_iter = f->n_iter;
    b->before = f->starts;
    b->after = f->prototypes;
    f->starts = f->prototypes = NULL;
    return PGR_OK;
}

static pgr_status find_classes(build *b, pgr_error *err) {
    const form_options o = {.k = (size_t)b->o->k,
                            .restarts = (size_t)b->o->restarts,
                            .seed = b->o->seed,
                            .threads = b->threads,
                            .watch = b->o->watch};
    form_classes f;
    if (o.k > b->c.n_row)
        return fail(err, PGR_E_ARG, "%zu prototypes of %zu rows of %zu users: expected fewer", o.k, b->c.n_row,
                    b->c.n_user);
    PGR_TRY(collect_step(&b->c, "singular values", 0, 0, "", err));
    PGR_TRY(singular_curve_measure(b->c.rows, b->c.n_row, b->d, b->threads, b->o->watch.cancel, &b->curve, err));
    b->own_lead = members_lead(&b->c);
    PGR_TRY(form_fit(&b->c, &o, &f, err));
    pgr_status s = keep_classes(b, &f, err);
    form_free(&f);
    return s;
}

static pgr_status cluster(build *b, pgr_error *err) {
    float *own;
    const float *x;
    size_t n;
    if (b->c.n_row == 0)
        return fail(err, PGR_E_ARG, "no user of the store has pairs of split \"%s\" that tell a preference",
                    b->o->split);
    if (b->o->by == PGR_PROTO_FACTS) return find_classes(b, err);
    PGR_TRY(fit_rows(b, &own, &x, &n, err));
    pgr_status s = cluster_rows(b, x, n, err);
    mem_free(own);
    if (s != PGR_OK) return s;
    b->assign = mem_array(b->c.n_row, sizeof *b->assign);
    b->after = mem_array(b->k * b->d, sizeof *b->after);
    if (!b->assign || !b->after) return fail_mem(err);
    memcpy(b->after, b->before, b->k * b->d * sizeof *b->after);
    return kmeans_assign(b->c.rows, b->c.n_row, b->d, b->before, b->k, b->threads, b->assign, NULL, err);
}

/* ---- refinement ---- */

static pgr_status keep_losses(build *b, const double *losses, size_t n, pgr_error *err) {
    size_t epochs = b->ro.epochs, per = n / epochs;
    b->losses = mem_zero(epochs, sizeof *b->losses);
    if (!b->losses) return fail_mem(err);
    for (size_t e = 0; e < epochs; e++) {
        for (size_t i = 0; i < per; i++) b->losses[e] += losses[e * per + i] / (double)per;
    }
    b->n_loss = epochs;
    return PGR_OK;
}

static pgr_status train(build *b, refine *r, const lesson_list *l, pgr_error *err) {
    size_t steps;
    PGR_TRY(refine_steps(r, l->list, l->n, &steps, err));
    double *losses = mem_zero(steps + 1, sizeof *losses);
    if (!losses) return fail_mem(err);
    pgr_status s = refine_train(r, l->list, l->n, losses, err);
    if (s == PGR_OK && steps > 0) s = keep_losses(b, losses, steps, err);
    mem_free(losses);
    if (s != PGR_OK) return s;
    b->theta = mem_array(r->theta.n_shared, sizeof *b->theta);
    if (!b->theta) return fail_mem(err);
    const double *shared = r->theta.W; /* the first of the block */
    for (size_t i = 0; i < r->theta.n_shared; i++) b->theta[i] = (float)shared[i];
    b->n_theta = r->theta.n_shared;
    refine_prototypes(r, b->after);
    return kmeans_assign(b->c.rows, b->c.n_row, b->d, b->after, b->k, b->threads, b->assign, NULL, err);
}

/* A prototype whose members cancel each other has no direction that could be refined. */
static bool has_directions(const build *b) {
    for (size_t c = 0; c < b->k; c++)
        if (!(vec_dot(b->before + c * b->d, b->before + c * b->d, b->d) > 0)) return false;
    return true;
}

static pgr_status refine_all(build *b, pgr_error *err) {
    b->ro = refine_options_default();
    b->ro.epochs = (size_t)b->o->epochs;
    b->ro.beta = b->o->beta;
    b->ro.seed = b->o->seed;
    b->ro.threads = b->threads;
    b->ro.watch = b->o->watch;
    if (b->o->epochs == 0 || b->mixture || !has_directions(b)) return PGR_OK;
    lesson_list l = {0};
    const lesson_source from = {.c = &b->c,
                                .assign = b->assign,
                                .centres = b->before,
                                .k = b->k,
                                .d = b->d,
                                .seed = b->o->seed,
                                .threads = b->threads};
    refine *r = NULL;
    pgr_status s = lessons_gather(&from, &l, err);
    b->n_sample = l.n;
    b->n_left_out = l.n_left_out;
    if (s == PGR_OK) s = refine_create(b->k, b->d, b->before, &b->ro, &r, err);
    if (s == PGR_OK) s = train(b, r, &l, err);
    refine_free(r);
    lessons_free(&l);
    return s;
}

/* ---- what the file says beside ---- */

static pgr_status count_words_of(build *b, words *w, size_t user, size_t *row, pgr_error *err) {
    collection *c = &b->c;
    arena a = {0};
    person p;
    bool exists;
    size_t first = *row;
    while (*row < c->n_row && c->row_user[*row] == user) ++*row;
    pgr_status s = person_load(c->store, c->ids[user], c->split, &a, &p, &exists, err);
    for (size_t i = 0; s == PGR_OK && exists && i < p.n; i++) {
        size_t group = b->assign[lesson_row(c, first, *row, i)];
        s = words_add(w, group, true, p.pairs[i].chosen, err);
        if (s == PGR_OK) s = words_add(w, group, false, p.pairs[i].rejected, err);
    }
    arena_free(&a);
    return s;
}

static pgr_status name_facts(build *b, pgr_error *err) {
    for (size_t j = 0; j < b->k; j++)
        PGR_TRY(words_of_facts(b->after + j * b->d, N_WORD, &b->arena, &b->words[j], err));
    return PGR_OK;
}

static pgr_status find_words(build *b, pgr_error *err) {
    words *w;
    size_t row = 0;
    b->words = mem_zero(b->k, sizeof *b->words);
    if (!b->words) return fail_mem(err);
    if (b->o->by == PGR_PROTO_FACTS) return name_facts(b, err);
    PGR_TRY(words_create(b->k, &w, err));
    pgr_status s = PGR_OK;
    for (size_t u = 0; u < b->c.n_user && s == PGR_OK; u++) {
        s = count_words_of(b, w, u, &row, err);
        if (s == PGR_OK && u % 64 == 0) s = collect_step(&b->c, "typical words", u, b->c.n_user, "users", err);
    }
    if (s == PGR_OK) s = words_typical(w, N_WORD, &b->arena, b->words, err);
    words_free(w);
    return s;
}

pgr_status build_group_rows(build *b, pgr_error *err) {
    b->start = mem_zero(b->k + 1, sizeof *b->start);
    b->order = mem_array(b->c.n_row, sizeof *b->order);
    size_t *at = mem_array(b->k, sizeof *at);
    if (!b->start || !b->order || !at) {
        mem_free(at);
        return fail_mem(err);
    }
    for (size_t i = 0; i < b->c.n_row; i++) b->start[b->assign[i] + 1]++;
    for (size_t j = 0; j < b->k; j++) {
        b->start[j + 1] += b->start[j];
        at[j] = b->start[j];
    }
    for (size_t i = 0; i < b->c.n_row; i++) b->order[at[b->assign[i]]++] = (uint32_t)i;
    mem_free(at);
    return PGR_OK;
}

pgr_status build_join_ids(build *b, pgr_error *err) {
    size_t bytes = 0;
    for (size_t u = 0; u < b->c.n_user; u++) bytes += strlen(b->c.ids[u]) + 1;
    b->ids = mem_alloc(bytes + 1);
    b->ids_at = mem_array(b->c.n_user + 1, sizeof *b->ids_at);
    if (!b->ids || !b->ids_at) return fail_mem(err);
    b->ids_at[0] = 0;
    for (size_t u = 0; u < b->c.n_user; u++) {
        size_t n = strlen(b->c.ids[u]) + 1;
        memcpy(b->ids + b->ids_at[u], b->c.ids[u], n);
        b->ids_at[u + 1] = b->ids_at[u] + n;
    }
    return PGR_OK;
}

void build_put_members(const build *b, artefact *a) {
    a->n_row = b->c.n_row;
    a->n_user = b->c.n_user;
    a->start = b->start;
    a->row_user = b->c.row_user;
    a->ids_at = b->ids_at;
    a->ids = b->ids;
    a->vectors = b->c.rows;
}

static pgr_status write_built(build *b, const char *path, pgr_error *err) {
    const refine_options *r = &b->ro;
    const artefact_setting settings[] = {{"restarts", b->o->restarts},
                                         {"iterations", (double)b->n_iter},
                                         {"suggested_k", (double)b->curve.k},
                                         {"retained", (double)b->curve.n_retained},
                                         {"epochs", (double)r->epochs},
                                         {"samples", (double)b->n_sample},
                                         {"left_out", (double)b->n_left_out},
                                         {"beta", r->beta},
                                         {"rho", r->rho},
                                         {"lambda_q", r->lambda_q},
                                         {"lambda_s", r->lambda_s},
                                         {"lambda_cent", r->lambda_cent},
                                         {"lambda_tr", r->lambda_tr},
                                         {"ema", r->ema},
                                         {"rate", r->rate},
                                         {"decay", r->decay},
                                         {"batch", (double)r->batch},
                                         {"start", (double)r->start},
                                         {"own_lead", b->own_lead},
                                         {"last_pair", (double)b->views.last_pair}};
    artefact a = {.by = uservec_by_name(b->o->by),
                  .embedder = textvec_name(b->vec),
                  .model = b->o->by == PGR_PROTO_ANALYSIS ? b->o->analyst : "",
                  .split = b->o->split,
                  .dims = b->d,
                  .k = b->k,
                  .n_pair = b->c.n_pair,
                  .seed = b->o->seed,
                  .inertia = b->inertia,
                  .settings = settings,
                  .n_setting = sizeof settings / sizeof *settings,
                  .singular = b->curve.values,
                  .n_singular = b->curve.n_value,
                  .losses = b->losses,
                  .n_loss = b->n_loss,
                  .words = b->words,
                  .before = b->before,
                  .after = b->after,
                  .refine = b->theta,
                  .n_refine = b->n_theta,
                  .mixture = b->mixture,
                  .n_mixture = b->n_mixture,
                  .views = {b->views.n, b->views.keys, b->views.rows}};
    build_put_members(b, &a);
    return artefact_write(&a, b->order, path, err);
}

static pgr_status build_all(build *b, const char *path, pgr_error *err) {
    PGR_TRY(collect(&b->c, err));
    PGR_TRY(cluster(b, err));
    PGR_TRY(refine_all(b, err));
    PGR_TRY(find_words(b, err));
    if (b->o->by == PGR_PROTO_VOTES) PGR_TRY(views_fit(&b->c, &b->views, err));
    PGR_TRY(build_group_rows(b, err));
    PGR_TRY(build_join_ids(b, err));
    return write_built(b, path, err);
}

pgr_status pgr_proto_build(pgr_store *store, const char *path, const pgr_proto_options *options, pgr_error *err) {
    build b = {0};
    pgr_status s = build_prepare(&b, store, options, err);
    if (s == PGR_OK) s = build_all(&b, path, err);
    build_release(&b);
    return s;
}
