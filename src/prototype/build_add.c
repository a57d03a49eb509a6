/* build_add.c - pgr_proto_add: users who are new to a store join its file of prototypes, which stay as they are, and
 * those whom the store has no longer leave it. */
#include "prototype/build_parts.h"

#include <string.h>

#include "base/mem.h"
#include "prototype/form.h"
#include "prototype/kmeans.h"

static bool is_known(void *ctx, const char *id) {
    const artefact *a = ctx;
    return artefact_find(a, id) < a->n_user;
}

/* Merges the file's users that the store still has and the new ones (b->c) into b->c, by id; assign follows. */
typedef struct merged {
    char **ids;
    float *rows;
    uint32_t *row_user, *assign;
    size_t n_user, n_row;
} merged;

static void free_merged(merged *m) {
    for (size_t u = 0; u < m->n_user; u++) mem_free(m->ids[u]);
    mem_free(m->ids);
    mem_free(m->rows);
    mem_free(m->row_user);
    mem_free(m->assign);
}

/* first[u] .. first[u + 1] - 1 of rows: the file's rows of user u, in order. */
static pgr_status rows_by_user(const artefact *a, uint32_t **rows, size_t **first, pgr_error *err) {
    *rows = mem_array(a->n_row, sizeof **rows);
    *first = mem_zero(a->n_user + 2, sizeof **first);
    if (!*rows || !*first) return fail_mem(err);
    for (size_t r = 0; r < a->n_row; r++) (*first)[a->row_user[r] + 2]++;
    for (size_t u = 0; u < a->n_user; u++) (*first)[u + 2] += (*first)[u + 1];
    for (size_t r = 0; r < a->n_row; r++) (*rows)[(*first)[a->row_user[r] + 1]++] = (uint32_t)r;
    return PGR_OK;
}

static size_t prototype_of(const artefact *a, size_t row) {
    size_t lo = 0, hi = a->k;
    while (hi - lo > 1) {
        size_t mid = lo + (hi - lo) / 2;
        if (a->start[mid] <= row)
            lo = mid;
        else
            hi = mid;
    }
    return lo;
}

static pgr_status begin_user(merged *m, const char *id, pgr_error *err) {
    m->ids[m->n_user] = mem_strdup(id);
    if (!m->ids[m->n_user]) return fail_mem(err);
    m->n_user++;
    return PGR_OK;
}

static void add_row(merged *m, const float *v, size_t d, uint32_t assign) {
    memcpy(m->rows + m->n_row * d, v, d * sizeof *v);
    m->assign[m->n_row] = assign;
    m->row_user[m->n_row++] = (uint32_t)m->n_user - 1;
}

static pgr_status merge(build *b, const artefact *a, const uint32_t *old_rows, const size_t *first, merged *m,
                        pgr_proto_added *count, pgr_error *err) {
    const collection *c = &b->c;
    for (size_t u = 0, v = 0, row = 0; u < a->n_user || v < c->n_user;) {
        bool old = v == c->n_user || (u < a->n_user && strcmp(artefact_id(a, u), c->ids[v]) < 0);
        bool there = true;
        if (old) PGR_TRY(store_has_user(c->store, artefact_id(a, u), &there, err));
        if (!there) {
            count->dropped++;
            u++;
            continue;
        }
        PGR_TRY(begin_user(m, old ? artefact_id(a, u) : c->ids[v], err));
        if (old) {
            for (size_t i = first[u]; i < first[u + 1]; i++)
                add_row(m, a->vectors + (size_t)old_rows[i] * b->d, b->d, (uint32_t)prototype_of(a, old_rows[i]));
            u++;
        } else {
            for (; row < c->n_row && c->row_user[row] == v; row++)
                add_row(m, c->rows + row * b->d, b->d, b->assign[row]);
            count->added++;
            v++;
        }
    }
    return PGR_OK;
}

static pgr_status merge_into(build *b, const artefact *a, pgr_proto_added *count, pgr_error *err) {
    uint32_t *rows = NULL;
    size_t *first = NULL, n_user = a->n_user + b->c.n_user, n_row = a->n_row + b->c.n_row;
    merged m = {.ids = mem_array(n_user, sizeof *m.ids),
                .rows = mem_array(n_row * b->d, sizeof *m.rows),
                .row_user = mem_array(n_row, sizeof *m.row_user),
                .assign = mem_array(n_row, sizeof *m.assign)};
    pgr_status s = m.ids && m.rows && m.row_user && m.assign ? rows_by_user(a, &rows, &first, err) : fail_mem(err);
    if (s == PGR_OK) s = merge(b, a, rows, first, &m, count, err);
    if (s == PGR_OK && m.n_row == 0) s = fail(err, PGR_E_ARG, "%s: no user of it is left in the store", a->path);
    mem_free(rows);
    mem_free(first);
    if (s != PGR_OK) {
        free_merged(&m);
        return s;
    }
    size_t n_pair = b->c.n_pair;
    collect_free(&b->c);
    mem_free(b->assign);
    b->c.ids = m.ids, b->c.rows = m.rows, b->c.row_user = m.row_user, b->c.n_user = m.n_user, b->c.n_row = m.n_row;
    b->c.n_pair = n_pair;
    b->assign = m.assign;
    return PGR_OK;
}

/* Each newcomer's prototype. */
static pgr_status assign_new(build *b, const artefact *a, pgr_error *err) {
    if (b->c.n_row == 0) return PGR_OK;
    if (a->n_mixture == 0)
        return kmeans_assign(b->c.rows, b->c.n_row, b->d, a->after, a->k, b->threads, b->assign, NULL, err);
    mixture m;
    PGR_TRY(mixture_unpack(a->mixture, a->n_mixture, a->k, b->d, &m, err));
    form_assign(&b->c, &m, b->threads, b->assign);
    mixture_free(&m);
    return PGR_OK;
}

static pgr_status add_all(build *b, const artefact *old, pgr_proto_added *out, pgr_error *err) {
    artefact a = *old;
    *out = (pgr_proto_added){0};
    b->k = a.k;
    b->c.skip = is_known;
    b->c.skip_ctx = &a;
    PGR_TRY(collect(&b->c, err));
    b->assign = mem_array(b->c.n_row + 1, sizeof *b->assign);
    if (!b->assign) return fail_mem(err);
    PGR_TRY(assign_new(b, &a, err));
    PGR_TRY(merge_into(b, old, out, err));
    if (out->added + out->dropped == 0) return PGR_OK;
    PGR_TRY(build_group_rows(b, err));
    PGR_TRY(build_join_ids(b, err));
    a.n_pair += b->c.n_pair;
    build_put_members(b, &a);
    return artefact_write(&a, b->order, old->path, err);
}

pgr_status pgr_proto_add(pgr_store *store, const char *path, const pgr_proto_options *options, pgr_proto_added *out,
                         pgr_error *err) {
    artefact old;
    build b = {0};
    pgr_proto_options o = *options;
    PGR_TRY(artefact_open(path, ARTEFACT_CHECK_ALL, &old, err));
    o.by = uservec_by_of(old.by);
    o.dims = old.dims;
    o.split = old.split;
    o.seed = old.seed;
    if (o.by == PGR_PROTO_ANALYSIS) o.analyst = old.model;
    pgr_status s = PGR_OK;
    if (o.by == PGR_PROTO_ANALYSIS && o.analyse && options->analyst && strcmp(options->analyst, old.model) != 0)
        s = fail(err, PGR_E_ARG, "%s: made with analyses by the model \"%s\", this one is \"%s\"", path, old.model,
                 options->analyst);
    if (s == PGR_OK) s = build_prepare(&b, store, &o, err);
    if (s == PGR_OK && (b.d != old.dims || strcmp(textvec_name(b.vec), old.embedder) != 0))
        s = fail(err, PGR_E_ARG, "%s: made with embedder \"%s\" of %zu values, this one is \"%s\" of %zu", path,
                 old.embedder, old.dims, textvec_name(b.vec), b.d);
    if (s == PGR_OK) s = add_all(&b, &old, out, err);
    build_release(&b);
    artefact_close(&old);
    return s;
}
