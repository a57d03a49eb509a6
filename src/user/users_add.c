/* users_add.c - users and pairs into a store: a data set's file in batches, or one user as a whole. */
#include <math.h>
#include <string.h>

#include "base/clock.h"
#include "base/watch.h"
#include "user/dataset.h"
#include "user/forms.h"
#include "user/sql.h"
#include "user/store_parts.h"

enum { BATCH_RECORDS = 4096 };
#define BATCH_BYTES   ((uint64_t)32 << 20) /* of the file: what a kill can cost, and the log's growth */
#define BATCH_SECONDS 1.0 /* others wait 10 s for their turn: a batch over a slow network ends before that */

typedef struct import {
    pgr_store *s;
    dataset *d;
    const char *path;
    char label[80];
    pgr_import_options o;
    pgr_imported batch, total; /* since the last commit; committed */
    size_t refused;            /* records that did not fit the store */
    bool more;
} import;

/* ---- records ----------------------------------------------------------------------------------------------------- */

static pgr_status put_record(pgr_store *s, const record *r, pgr_imported *count, pgr_error *err) {
    bool added = false;
    switch (r->kind) {
    case RECORD_USER:
        return store_put_user(s, &r->user, err);
    case RECORD_PAIR:
        PGR_TRY(store_put_pair(s, &r->pair, &added, err));
        count->pairs += added;
        count->known += !added;
        return PGR_OK;
    case RECORD_QUESTION:
        break;
    }
    return fail(err, PGR_E_FORMAT, "found a question without a preferred response, expected pairs or users");
}

static void note_bad(import *m, const char *why) {
    if (!m->total.first_bad[0]) snprintf(m->total.first_bad, sizeof m->total.first_bad, "%s", why);
}

/* One record into the open batch. A record that the store refuses is as bad as one that does not parse. */
static pgr_status import_record(import *m, pgr_error *err) {
    arena a = {0};
    record r;
    pgr_error why = {0};
    pgr_status status = dataset_next(m->d, &a, &r, &m->more, &why);
    note_bad(m, dataset_first_bad(m->d));
    if (status == PGR_OK && m->more) {
        status = put_record(m->s, &r, &m->batch, &why);
        if (status == PGR_E_FORMAT) fail(&why, status, "%s:%zu: %s", m->path, r.line, why.message);
    } else if (status != PGR_OK) {
        m->more = false;
    }
    if (status == PGR_E_FORMAT && m->more && m->o.skip_bad) {
        note_bad(m, why.message);
        m->refused++;
        status = PGR_OK;
    }
    if (status != PGR_OK) fail(err, status, "%s", why.message);
    arena_free(&a);
    return status;
}

/* ---- batches ----------------------------------------------------------------------------------------------------- */

static pgr_status import_records(import *m, pgr_error *err) {
    uint64_t start = dataset_read(m->d);
    double begun = clock_now();
    for (size_t n = 0; m->more && n < BATCH_RECORDS; n++) {
        PGR_TRY(watch_check(&m->o.watch, err));
        if (n % 64 == 0 && dataset_read(m->d) - start > BATCH_BYTES) break;
        if (n > 0 && clock_now() - begun > BATCH_SECONDS) break;
        PGR_TRY(import_record(m, err));
    }
    return PGR_OK;
}

/* Is what was put before the error good to keep? Not where the store itself failed. */
static bool keeps(pgr_status status) {
    return status == PGR_OK || status == PGR_E_FORMAT || status == PGR_E_CANCELLED || status == PGR_E_LIMIT
           || status == PGR_E_UNSUPPORTED;
}

static pgr_status import_batch(import *m, pgr_error *err) {
    size_t users = m->s->users_added;
    m->batch = (pgr_imported){0};
    PGR_TRY(store_begin(m->s, err));
    pgr_status status = import_records(m, err);
    if (!keeps(status)) {
        store_rollback(m->s);
        return status;
    }
    PGR_TRY(store_commit(m->s, status == PGR_OK ? err : NULL));
    m->total.users += m->s->users_added - users;
    m->total.pairs += m->batch.pairs;
    m->total.known += m->batch.known;
    m->total.skipped = dataset_skipped(m->d) + m->refused;
    for (size_t i = 0; i < PGR_LEFT_N; i++) m->total.left_out[i] = dataset_left_out(m->d, (pgr_left)i);
    return status;
}

static pgr_status import_all(import *m, pgr_error *err) {
    m->more = true;
    while (m->more) {
        PGR_TRY(import_batch(m, err));
        watch_report(&m->o.watch, m->label, dataset_read(m->d), dataset_size(m->d), "B");
    }
    return PGR_OK;
}

pgr_status pgr_user_import(pgr_store *store, const char *path, const pgr_import_options *options, pgr_imported *out,
                           pgr_error *err) {
    if (!store || !path || !out)
        return fail(err, PGR_E_ARG, "pgr_user_import: found NULL, expected a store, a path and a place for the counts");
import m = {.s = store, .path = strcmp(path, "-") == 0 ? "standard input" :path };
    if (options) m.o = *options;
    const char *slash = strrchr(m.path, '/');
    snprintf(m.label, sizeof m.label, "import %.60s", slash && slash[1] ? slash + 1 : m.path);
    dataset_options with = {
        .form = m.o.form, .skip_bad = m.o.skip_bad, .user = m.o.user, .user_key = m.o.user_key, .weights = m.o.weights};
    pgr_status status = dataset_open(path, &with, &m.d, err);
    if (status == PGR_OK) status = import_all(&m, err);
    dataset_close(m.d);
    *out = m.total;
    return status;
}

/* ---- one user ---------------------------------------------------------------------------------------------------- */

static pgr_status add_once(pgr_store *s, const record_list *list, pgr_imported *count, pgr_error *err) {
    PGR_TRY(store_begin_user(s, err));
    size_t users = s->users_added;
    pgr_status status = PGR_OK;
    for (size_t i = 0; i < list->n && status == PGR_OK; i++) status = put_record(s, &list->v[i], count, err);
    count->users = s->users_added - users;
    if (status == PGR_OK) return store_commit(s, err);
    store_rollback(s);
    return status;
}

static pgr_status add_records(pgr_store *s, const record_list *list, pgr_imported *count, pgr_error *err) {
    pgr_status status = PGR_E_IO;
    for (int i = 0; i < STORE_TRIES && status != PGR_OK; i++) {
        *count = (pgr_imported){0};
        status = add_once(s, list, count, err);
        if (status != PGR_OK && !s->conflict) return status;
    }
    return status;
}

pgr_status pgr_user_add(pgr_store *store, const char *json, size_t len, const char *origin, pgr_imported *out,
                        pgr_error *err) {
    if (!store || !json || !out)
        return fail(err, PGR_E_ARG, "pgr_user_add: found NULL, expected a store, text and a place for the counts");
    json_t *top = NULL;
    if (!origin) origin = "user";
    PGR_TRY(json_parse(json, len, origin, 1, &top, err));
    arena a = {0};
    const dataset_options with = {0};
    record_list list = {.with = &with};
    pgr_imported count = {0};
    field_reader in = {.a = &a, .file = origin, .err = err};
    pgr_status status = json_want_object(top, field_at(&in, &FIELD_TOP), err);
    if (status == PGR_OK) status = form_user_read(&in, top, &list);
    if (status == PGR_OK) status = add_records(store, &list, &count, err);
    json_decref(top);
    arena_free(&a);
    memcpy(count.left_out, list.left_out, sizeof count.left_out);
    if (status == PGR_OK) *out = count;
    return status;
}
