/* store_read.c - what comes out of a store: users with their pairs, and what was computed of them. */
#include <string.h>

#include "user/fields.h"
#include "user/sql.h"

/* ---- texts that are kept as JSON --------------------------------------------------------------------------------- */

static const char *copy_column(pgr_store *s, sql_name q, int column, arena *a) {
    return arena_strdup(a, sql_text(s, q, column));
}

/* A column's JSON; what does not parse is a damaged store. */
static pgr_status parse_column(pgr_store *s, sql_name q, int column, json_t **out, pgr_error *err) {
    const char *text = sql_text(s, q, column);
    return json_parse(text, strlen(text), s->path, 1, out, err);
}

static pgr_status read_texts(pgr_store *s, sql_name q, int column, arena *a, const char *const **out, size_t *n,
                             pgr_error *err) {
    *out = NULL;
    *n = 0;
    if (strcmp(sql_text(s, q, column), "[]") == 0) return PGR_OK;
    json_t *v = NULL;
    PGR_TRY(parse_column(s, q, column, &v, err));
    field_reader in = {.a = a, .file = s->path, .err = err};
    pgr_status status = field_strings(&in, v, &FIELD_TOP, out, n);
    json_decref(v);
    return status;
}

static pgr_status read_context(pgr_store *s, arena *a, preference_pair *out, pgr_error *err) {
    json_t *v = NULL;
    PGR_TRY(parse_column(s, SQL_PAIRS, 2, &v, err));
    field_reader in = {.a = a, .file = s->path, .err = err};
    pgr_status status = field_turns(&in, v, &FIELD_TOP, &out->context, &out->n_context);
    json_decref(v);
    return status;
}

/* ---- users ------------------------------------------------------------------------------------------------------- */

typedef struct pair_list {
    pair_record *v;
    int64_t *keys;
    size_t n, cap;
} pair_list;

static bool grow(pair_list *l, arena *a) {
    if (l->n < l->cap) return true;
    size_t cap = l->cap ? 2 * l->cap : 16;
    pair_record *v = arena_array(a, cap, sizeof *v);
    int64_t *keys = arena_array(a, cap, sizeof *keys);
    if (!v || !keys) return false;
    if (l->n) {
        memcpy(v, l->v, l->n * sizeof *v);
        memcpy(keys, l->keys, l->n * sizeof *keys);
    }
    l->v = v;
    l->keys = keys;
    l->cap = cap;
    return true;
}

/* The row that SQL_PAIRS stands at. */
static pgr_status read_pair(pgr_store *s, const char *user_id, arena *a, pair_list *l, pgr_error *err) {
    if (!grow(l, a)) return fail_mem(err);
    pair_record p = {.user_id = user_id,
                     .conversation_id = copy_column(s, SQL_PAIRS, 1, a),
                     .pair.chosen = copy_column(s, SQL_PAIRS, 3, a),
                     .pair.rejected = copy_column(s, SQL_PAIRS, 4, a),
                     .chosen_score = sql_real(s, SQL_PAIRS, 5),
                     .rejected_score = sql_real(s, SQL_PAIRS, 6),
                     .split = copy_column(s, SQL_PAIRS, 7, a),
                     .type = copy_column(s, SQL_PAIRS, 9, a),
                     .choice_attributes = copy_column(s, SQL_PAIRS, 10, a),
                     .weight = sql_real(s, SQL_PAIRS, 11),
                     .group = copy_column(s, SQL_PAIRS, 12, a)};
    if (!p.conversation_id || !p.pair.chosen || !p.pair.rejected || !p.split || !p.type || !p.choice_attributes
        || !p.group)
        return fail_mem(err);
    PGR_TRY(read_context(s, a, &p.pair, err));
    PGR_TRY(read_texts(s, SQL_PAIRS, 8, a, &p.subsets, &p.n_subset, err));
    l->keys[l->n] = sql_integer(s, SQL_PAIRS, 0);
    l->v[l->n++] = p;
    return PGR_OK;
}

static pgr_status read_pairs(pgr_store *s, const char *split, arena *a, stored_user *u, pgr_error *err) {
    pair_list l = {0};
    bool row = false;
    pgr_status status = sql_run(s, SQL_PAIRS, &row, err, "it", u->key, split);
    while (status == PGR_OK && row) {
        status = read_pair(s, u->user.id, a, &l, err);
        if (status == PGR_OK) status = sql_next(s, SQL_PAIRS, &row, err);
    }
    sql_end(s, SQL_PAIRS);
    u->pairs = l.v;
    u->pair_keys = l.keys;
    u->n_pair = l.n;
    return status;
}

/* The row that q (SQL_USER_GET, SQL_USER_NEXT) stands at, without pairs. */
static pgr_status read_user(pgr_store *s, sql_name q, arena *a, stored_user *out, pgr_error *err) {
    *out = (stored_user){.key = sql_integer(s, q, 0)};
    out->user.id = copy_column(s, q, 1, a);
    out->user.demographics = copy_column(s, q, 2, a);
    if (!out->user.id || !out->user.demographics) return fail_mem(err);
    return read_texts(s, q, 3, a, &out->user.criteria, &out->user.n_criteria, err);
}

pgr_status store_load_user(store *s, const char *id, const char *split, arena *a, stored_user *out, pgr_error *err) {
    stored_user u;
    bool there = false;
    pgr_status status = sql_run(s, SQL_USER_GET, &there, err, "t", id);
    if (status == PGR_OK && there) status = read_user(s, SQL_USER_GET, a, &u, err);
    sql_end(s, SQL_USER_GET);
    PGR_TRY(status);
    if (!there) return fail(err, PGR_E_ARG, "%s: there is no user \"%.200s\"", s->path, id);
    PGR_TRY(read_pairs(s, split, a, &u, err));
    *out = u;
    return PGR_OK;
}

pgr_status store_has_user(store *s, const char *id, bool *there, pgr_error *err) {
    bool row = false;
    pgr_status status = sql_run(s, SQL_USER_KEY, &row, err, "t", id);
    sql_end(s, SQL_USER_KEY);
    if (status == PGR_OK) *there = row;
    return status;
}

static pgr_status read_count(store *s, sql_name q, size_t *out, pgr_error *err) {
    bool row = false;
    pgr_status status = sql_run(s, q, &row, err, "");
    if (status == PGR_OK) *out = (size_t)sql_integer(s, q, 0);
    sql_end(s, q);
    return status;
}

pgr_status store_count(store *s, size_t *n_user, size_t *n_pair, pgr_error *err) {
    PGR_TRY(read_count(s, SQL_USER_COUNT, n_user, err));
    return read_count(s, SQL_PAIR_COUNT, n_pair, err);
}

/* The user behind `after` in the order of keys; *more = false: there is none. No statement is left open,
 * so that fn may write. */
static pgr_status next_user(store *s, int64_t after, const char *split, arena *a, stored_user *out, bool *more,
                            pgr_error *err) {
    pgr_status status = sql_run(s, SQL_USER_NEXT, more, err, "i", after);
    if (status == PGR_OK && *more) status = read_user(s, SQL_USER_NEXT, a, out, err);
    sql_end(s, SQL_USER_NEXT);
    PGR_TRY(status);
    return *more ? read_pairs(s, split, a, out, err) : PGR_OK;
}

pgr_status store_each_user(store *s, const char *split, store_user_fn fn, void *ctx, pgr_error *err) {
    int64_t after = 0;
    for (bool more = true; more;) {
        arena a = {0};
        stored_user u;
        pgr_status status = next_user(s, after, split, &a, &u, &more, err);
        if (status == PGR_OK && more) {
            after = u.key;
            status = fn(ctx, &u, err);
        }
        arena_free(&a);
        PGR_TRY(status);
    }
    return PGR_OK;
}

/* ---- what is derived --------------------------------------------------------------------------------------------- */

pgr_status store_get_vector(store *s, int64_t pair_key, const char *what, const char *embedder, float *out, size_t n,
                            bool *found, pgr_error *err) {
    bool there = false;
    pgr_status status = sql_run(s, SQL_VECTOR_GET, &there, err, "itt", pair_key, what, embedder);
    if (status == PGR_OK && there) {
        size_t size = 0;
        const void *bytes = sql_bytes(s, SQL_VECTOR_GET, 0, &size);
        if (size != n * sizeof *out)
            status = fail(err, PGR_E_FORMAT, "%s: found a vector of %zu values by %.80s, expected %zu", s->path,
                          size / sizeof *out, embedder, n);
        else if (size)
            memcpy(out, bytes, size);
    }
    sql_end(s, SQL_VECTOR_GET);
    if (status == PGR_OK) *found = there;
    return status;
}

pgr_status store_get_analysis(store *s, int64_t pair_key, const char *model, arena *a, const char **out,
                              pgr_error *err) {
    bool there = false;
    pgr_status status = sql_run(s, SQL_ANALYSIS_GET, &there, err, "it", pair_key, model);
    const char *text = status == PGR_OK && there ? copy_column(s, SQL_ANALYSIS_GET, 0, a) : NULL;
    sql_end(s, SQL_ANALYSIS_GET);
    PGR_TRY(status);
    if (there && !text) return fail_mem(err);
    *out = text;
    return PGR_OK;
}
