/* store_forget.c - forgetting users and single pairs: the rows, and then what they left behind. That this is still to
 * be done is noted in the transaction that deletes: what a reader or a kill is in the way of is done with the next
 * change, or at the next opening for writing. */
#include <string.h>

#include "user/sql.h"
#include "user/store_parts.h"

/* Chores: bytes of deleted rows are to be erased; and the file has to be rewritten before that can be done by pages. */
#define SCRUB   "scrub"
#define REWRITE "rewrite"

static pgr_status is_chore(pgr_store *s, const char *name, bool *is, pgr_error *err) {
    pgr_status status = sql_run(s, SQL_CHORE_IS, is, err, "t", name);
    sql_end(s, SQL_CHORE_IS);
    return status;
}

static pgr_status erase(pgr_store *s, bool whole, pgr_error *err) {
    PGR_TRY(s->ops->erase(s, whole, err));
    if (whole) PGR_TRY(sql_do(s, SQL_CHORE_DONE, err, "t", REWRITE));
    return sql_do(s, SQL_CHORE_DONE, err, "t", SCRUB);
}

pgr_status store_scrub(pgr_store *s, pgr_error *err) {
    bool wanted = false, whole = false;
    PGR_TRY(is_chore(s, SCRUB, &wanted, err));
    s->owing = wanted;
    if (!wanted) return PGR_OK;
    PGR_TRY(is_chore(s, REWRITE, &whole, err));
    PGR_TRY(erase(s, whole, err));
    s->owing = false;
    return PGR_OK;
}

void store_scrub_late(pgr_store *s) {
    int patience = s->patience_ms;
    if (!s->owing) return;
    store_set_patience(s, 0);
    store_scrub(s, NULL);
    store_set_patience(s, patience);
}

pgr_status pgr_store_rewrite(pgr_store *s, pgr_error *err) {
    if (!s) return fail(err, PGR_E_ARG, "pgr_store_rewrite: found NULL, expected a store");
    return erase(s, true, err);
}

static pgr_status drop_user(pgr_store *s, const char *id, pgr_error *err) {
    PGR_TRY(sql_do(s, SQL_USER_DROP, err, "t", id));
    if (s->changed > 0) return PGR_OK;
    return fail(err, PGR_E_ARG, "%s: there is no user \"%.200s\"", s->path, id);
}

static pgr_status drop_users(pgr_store *s, const char *const *ids, size_t n, pgr_error *err) {
    PGR_TRY(store_begin(s, err));
    pgr_status status = sql_do(s, SQL_CHORE_ADD, err, "t", SCRUB);
    for (size_t i = 0; status == PGR_OK && i < n; i++) status = drop_user(s, ids[i], err);
    if (status == PGR_OK) return store_commit(s, err);
    store_rollback(s);
    return status;
}

pgr_status pgr_user_forget(pgr_store *s, const char *const *ids, size_t n, pgr_error *err) {
    if (!s || (n > 0 && !ids)) return fail(err, PGR_E_ARG, "pgr_user_forget: found NULL, expected a store and ids");
    if (n == 0) return PGR_OK;
    pgr_status status = PGR_E_IO;
    for (int i = 0; i < STORE_TRIES && status != PGR_OK; i++) {
        status = drop_users(s, ids, n, err);
        if (status != PGR_OK && !s->conflict) return status;
    }
    return status == PGR_OK ? store_scrub(s, err) : status;
}

/* ---- single pairs ------------------------------------------------------------------------------------------------ */

static bool is_pair(const pair_record *p, const char *query, const char *chosen, const char *rejected) {
    size_t n = p->pair.n_context;
    return strcmp(n ? p->pair.context[n - 1].text : "", query) == 0 && strcmp(p->pair.chosen, chosen) == 0
           && strcmp(p->pair.rejected, rejected) == 0;
}

static pgr_status drop_pairs(pgr_store *s, const stored_user *u, const char *query, const char *chosen,
                             const char *rejected, size_t *n, pgr_error *err) {
    *n = 0;
    PGR_TRY(store_begin(s, err));
    pgr_status status = sql_do(s, SQL_CHORE_ADD, err, "t", SCRUB);
    for (size_t i = 0; status == PGR_OK && i < u->n_pair; i++) {
        if (!is_pair(&u->pairs[i], query, chosen, rejected)) continue;
        status = sql_do(s, SQL_PAIR_DROP, err, "i", u->pair_keys[i]);
        *n += s->changed > 0;
    }
    if (status == PGR_OK) status = store_commit(s, err);
    store_rollback(s);
    if (status != PGR_OK) *n = 0; /* nothing was done */
    return status;
}

pgr_status pgr_user_forget_pair(pgr_store *s, const char *id, const char *query, const char *chosen,
                                const char *rejected, size_t *n, pgr_error *err) {
    size_t dropped = 0;
    stored_user u;
    arena a = {0};
    if (!s || !id || !query || !chosen || !rejected)
        return fail(err, PGR_E_ARG, "pgr_user_forget_pair: found NULL, expected a store, a user and a pair");
    pgr_status status = store_load_user(s, id, NULL, &a, &u, err);
    for (int i = 0; status == PGR_OK && i < STORE_TRIES; i++) {
        status = drop_pairs(s, &u, query, chosen, rejected, &dropped, err);
        if (status == PGR_OK) break;
        if (s->conflict && i + 1 < STORE_TRIES) status = PGR_OK; /* once more */
    }
    arena_free(&a);
    if (status == PGR_OK && dropped > 0) status = store_scrub(s, err);
    if (n) *n = dropped;
    return status;
}
