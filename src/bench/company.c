/* company.c - similar users for a data set; see company.h. */
#include "bench/company.h"

#include <string.h>

#include "base/buf.h"
#include "bench/ask.h"
#include "prototype/uservec.h"
#include "user/store.h"

enum {
    PROTOTYPES = 10,
    SHARED = 3
}; /* docs/methods.md: 10 are enough; a text is shared where it stands in 3 pairs or more on average */

static size_t train_users(const bench_data *d) {
    size_t n = 0;
    for (size_t i = 0; i < d->n_user; i++) n += d->users[i].n_train > 0;
    return n;
}

static pgr_status put_rows(const bench_data *d, pgr_store *s, pgr_error *err) {
    for (size_t i = 0; i < d->n_row; i++) {
        if (!d->rows[i].train) continue;
        pair_record p = d->rows[i].record;
        bool added = false;
        p.split = "train";
        PGR_TRY(store_put_pair(s, &p, &added, err));
    }
    return PGR_OK;
}

static pgr_status fill(const bench_data *d, pgr_store *s, pgr_error *err) {
    PGR_TRY(store_begin(s, err));
    pgr_status status = put_rows(d, s, err);
    if (status == PGR_OK) status = store_commit(s, err);
    if (status != PGR_OK) store_rollback(s);
    return status;
}

static pgr_proto_by way(const bench_data *d, const pgr_bench_options *o) {
    if (o->by) return uservec_by_of(o->by);
    return !o->embedder || d->n_item * SHARED <= 2 * d->n_row ? PGR_PROTO_VOTES : PGR_PROTO_CHOICES;
}

pgr_status company_check(const pgr_bench_options *o, pgr_error *err) {
    if (!o->by) return PGR_OK;
    if (strcmp(o->by, "votes") != 0 && strcmp(o->by, "choices") != 0 && strcmp(o->by, "facts") != 0)
        return fail(err, PGR_E_ARG, "bench: by is \"%.60s\", expected votes, choices or facts", o->by);
    if (uservec_embeds(uservec_by_of(o->by)) && !o->embedder)
        return fail(err, PGR_E_ARG, "bench: similar users by %s need an embedder", o->by);
    return PGR_OK;
}

static pgr_status build(const bench_data *d, const pgr_bench_options *o, const char *store, const char *protos,
                        pgr_error *err) {
    size_t n = train_users(d);
    if (n < 2)
        return fail(err, PGR_E_ARG, "%s: %zu users have train rows, expected two or more for similar users", d->name,
                    n);
    pgr_store *s = NULL;
    PGR_TRY(pgr_store_open(store, PGR_STORE_CREATE, &s, err));
    pgr_proto_options po = pgr_proto_options_default();
    po.by = way(d, o);
    po.k = (int)(n / 2 < PROTOTYPES ? n / 2 : PROTOTYPES);
    po.seed = o->seed;
    po.embedder = uservec_embeds(po.by) ? o->embedder : NULL;
    po.watch = o->watch;
    pgr_status status = fill(d, s, err);
    if (status == PGR_OK) status = pgr_proto_build(s, protos, &po, err);
    pgr_store_close(s);
    return status;
}

pgr_status company_make(const bench_data *d, const pgr_bench_options *o, const char *folder, pgr_people **out,
                        pgr_error *err) {
    buf store = {0}, protos = {0};
    buf_printf(&store, "%s/%s.users.db", folder, d->name);
    buf_printf(&protos, "%s/%s.users.db.protos", folder, d->name);
    pgr_status s = store.failed || protos.failed ? fail_mem(err) : build(d, o, store.data, protos.data, err);
    const char *embedder = uservec_embeds(way(d, o)) ? o->embedder_path : NULL;
    if (s == PGR_OK) s = pgr_people_open(store.data, protos.data, embedder, 0, out, err);
    buf_free(&store);
    buf_free(&protos);
    return s;
}

static pgr_status place(const bench_data *d, pgr_people *p, const bench_user *u, int *out, pgr_error *err) {
    bench_ask how = {.history = true};
    pgr_request *r = NULL;
    PGR_TRY(ask_request(d, &d->rows[u->test[0]], &how, &r, err));
    arena a = {0};
    neighbourhood near = {.prototype = -1};
    pgr_status s = people_neighbours(p, r, 1, &a, &near, err);
    *out = near.n_evidence > 0 ? near.prototype : -1;
    arena_free(&a);
    pgr_request_free(r);
    return s;
}

pgr_status company_prototypes(const bench_data *d, pgr_people *p, int *out, pgr_error *err) {
    for (size_t i = 0; i < d->n_user; i++) {
        out[i] = -1;
        if (d->users[i].n_test && d->users[i].n_train) PGR_TRY(place(d, p, &d->users[i], &out[i], err));
    }
    return PGR_OK;
}
