/* users.c - the public calls on users: list, load, export, and completing a request. Adding is in users_add.c. */
#include <string.h>

#include "base/mem.h"
#include "user/record_json.h"
#include "user/rules.h"
#include "user/sql.h"

/* ---- listing ----------------------------------------------------------------------------------------------------- */

static pgr_user_row read_row(pgr_store *s, sql_name q) {
    return (pgr_user_row){.id = sql_text(s, q, 0),
                          .demographics = sql_integer(s, q, 1) != 0,
                          .criteria = (size_t)sql_integer(s, q, 2),
                          .pairs = (size_t)sql_integer(s, q, 3),
                          .test_pairs = (size_t)sql_integer(s, q, 4),
                          .vectors = (size_t)sql_integer(s, q, 5),
                          .analyses = (size_t)sql_integer(s, q, 6)};
}

/* Users behind the key *after, as many as are read at a time; *more: there may be others, and fn wants them. */
static pgr_status list_page(pgr_store *s, int64_t *after, pgr_user_fn fn, void *ctx, bool *more, pgr_error *err) {
    int64_t left = s->ops->page;
    bool row = false;
    *more = true;
    pgr_status status = sql_run(s, SQL_USER_ROWS, &row, err, "ii", *after, left);
    for (; status == PGR_OK && row && *more; left--) {
        pgr_user_row r = read_row(s, SQL_USER_ROWS);
        *after = sql_integer(s, SQL_USER_ROWS, 7);
        *more = fn(ctx, &r);
        if (*more) status = sql_next(s, SQL_USER_ROWS, &row, err);
    }
    sql_end(s, SQL_USER_ROWS);
    *more = *more && left == 0;
    return status;
}

pgr_status pgr_user_list(pgr_store *store, pgr_user_fn fn, void *ctx, pgr_error *err) {
    if (!store || !fn) return fail(err, PGR_E_ARG, "pgr_user_list: found NULL, expected a store and a function");
    int64_t after = 0;
    for (bool more = true; more;) PGR_TRY(list_page(store, &after, fn, ctx, &more, err));
    return PGR_OK;
}

pgr_status store_list_named(store *s, const char *begin, size_t most, pgr_user_fn fn, void *ctx, pgr_error *err) {
    bool row = false;
    size_t n = strlen(begin);
    pgr_status status = sql_run(s, SQL_USER_NAMED, &row, err, "ti", begin, (int64_t)most);
    while (status == PGR_OK && row) {
        pgr_user_row r = read_row(s, SQL_USER_NAMED);
        if (strncmp(r.id, begin, n) != 0 || !fn(ctx, &r)) break;
        status = sql_next(s, SQL_USER_NAMED, &row, err);
    }
    sql_end(s, SQL_USER_NAMED);
    return status;
}

/* ---- one user ---------------------------------------------------------------------------------------------------- */

struct loaded_user {
    pgr_user user; /* first: the public part */
    arena memory;
};

static pgr_status show_pairs(const stored_user *u, arena *a, pgr_user *out, pgr_error *err) {
    pgr_user_pair *pairs = arena_array(a, u->n_pair, sizeof *pairs);
    if (!pairs) return fail_mem(err);
    for (size_t i = 0; i < u->n_pair; i++) {
        const pair_record *p = &u->pairs[i];
        pairs[i] = (pgr_user_pair){.conversation = p->conversation_id,
                                   .split = p->split,
                                   .type = p->type,
                                   .attributes = p->choice_attributes,
                                   .query = p->pair.context[p->pair.n_context - 1].text,
                                   .turns = p->pair.n_context,
                                   .chosen = p->pair.chosen,
                                   .rejected = p->pair.rejected};
    }
    out->pairs = pairs;
    return PGR_OK;
}

static pgr_status load_user(pgr_store *s, const char *id, struct loaded_user *l, pgr_error *err) {
    stored_user u;
    PGR_TRY(store_load_user(s, id, NULL, &l->memory, &u, err));
    bool row = false;
    pgr_status status = sql_run(s, SQL_USER_ROW, &row, err, "t", id);
    if (status == PGR_OK && row) l->user.row = read_row(s, SQL_USER_ROW);
    sql_end(s, SQL_USER_ROW);
    PGR_TRY(status);
    l->user.row.id = u.user.id;
    l->user.row.pairs = u.n_pair;
    l->user.row.criteria = u.user.n_criteria;
    l->user.criteria = u.user.criteria;
    l->user.demographics = u.user.demographics;
    return show_pairs(&u, &l->memory, &l->user, err);
}

pgr_status pgr_user_load(pgr_store *store, const char *id, pgr_user **out, pgr_error *err) {
    if (!store || !id || !out)
        return fail(err, PGR_E_ARG, "pgr_user_load: found NULL, expected a store, an id and a place");
    struct loaded_user *l = mem_zero(1, sizeof *l);
    if (!l) return fail_mem(err);
    pgr_status status = load_user(store, id, l, err);
    if (status == PGR_OK)
        *out = &l->user;
    else
        pgr_user_free(&l->user);
    return status;
}

void pgr_user_free(pgr_user *user) {
    struct loaded_user *l = (struct loaded_user *)user;
    if (!l) return;
    arena_free(&l->memory);
    mem_free(l);
}

/* ---- export ------------------------------------------------------------------------------------------------------ */

typedef struct export {
    pgr_user_form form;
    pgr_write_fn fn;
    void *ctx;
    buf line;
    bool stopped;
}
export;

static pgr_status end_line(export *e, pgr_error *err) {
    buf_putc(&e->line, '\n');
    if (e->line.failed) return fail_mem(err);
    e->stopped = !e->fn(e->ctx, e->line.data, e->line.n);
    buf_clear(&e->line);
    return e->stopped ? fail(err, PGR_E_CANCELLED, "%s", pgr_status_text(PGR_E_CANCELLED)) : PGR_OK;
}

static pgr_status export_user(void *ctx, const stored_user *u, pgr_error *err) {
    export *e = ctx;
    if (e->form == PGR_USER_REQUEST) {
        json_put_request_user(&e->line, u);
        return end_line(e, err);
    }
    json_put_user_record(&e->line, &u->user);
    PGR_TRY(end_line(e, err));
    for (size_t i = 0; i < u->n_pair; i++) {
        json_put_pair_record(&e->line, &u->pairs[i]);
        PGR_TRY(end_line(e, err));
    }
    return PGR_OK;
}

static pgr_status export_one(pgr_store *s, const char *id, export *e, pgr_error *err) {
    arena a = {0};
    stored_user u;
    pgr_status status = store_load_user(s, id, NULL, &a, &u, err);
    if (status == PGR_OK) status = export_user(e, &u, err);
    arena_free(&a);
    return status;
}

pgr_status pgr_user_export(pgr_store *store, const char *id, pgr_user_form form, pgr_write_fn fn, void *ctx,
                           pgr_error *err) {
    if (!store || !fn) return fail(err, PGR_E_ARG, "pgr_user_export: found NULL, expected a store and a function");
    export e = {.form = form, .fn = fn, .ctx = ctx};
    pgr_status status = id ? export_one(store, id, &e, err) : store_each_user(store, NULL, export_user, &e, err);
    buf_free(&e.line);
    return e.stopped ? PGR_OK : status;
}

/* ---- requests ---------------------------------------------------------------------------------------------------- */

static bool has_response(const pgr_request *r, const char *text) {
    for (size_t i = 0; i < r->n_response; i++)
        if (strcmp(r->responses[i], text) == 0) return true;
    return false;
}

/* May the pair be shown for this request? Not where it is kept for tests, nor where it answers what is asked. */
static bool may_show(const pgr_request *r, const pair_record *p) {
    if (!rules_is_history(p->split)) return false;
    const char *asked = r->messages[r->n_message - 1].text, *query = p->pair.context[p->pair.n_context - 1].text;
    return strcmp(asked, query) != 0 || !has_response(r, p->pair.chosen) || !has_response(r, p->pair.rejected);
}

pgr_status store_complete_request(pgr_request *r, const stored_user *u, pgr_error *err) {
    preference_pair *history = arena_array(&r->arena, u->n_pair, sizeof *history);
    if (!history) return fail_mem(err);
    size_t n = 0;
    for (size_t i = 0; i < u->n_pair; i++)
        if (may_show(r, &u->pairs[i])) history[n++] = u->pairs[i].pair;
    r->history = history;
    r->n_history = n;
    if (r->n_criteria == 0) {
        r->criteria = u->user.criteria;
        r->n_criteria = u->user.n_criteria;
    }
    if (!r->demographics[0]) r->demographics = u->user.demographics;
    return PGR_OK;
}

static pgr_status complete(pgr_request *r, pgr_store *s, pgr_error *err) {
    stored_user u;
    PGR_TRY(store_load_user(s, r->user_id, NULL, &r->arena, &u, err));
    return store_complete_request(r, &u, err);
}

pgr_status pgr_request_complete(pgr_request *request, pgr_store *store, bool *known, pgr_error *err) {
    if (!request || !store || !known)
        return fail(err, PGR_E_ARG, "pgr_request_complete: found NULL, expected a request, a store and a place");
    bool there = false;
    if (request->user_id[0]) PGR_TRY(store_has_user(store, request->user_id, &there, err));
    if (there && request->n_history == 0) PGR_TRY(complete(request, store, err));
    *known = there || request->n_history > 0;
    return PGR_OK;
}
