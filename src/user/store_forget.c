/* store_forget.c - forgetting users: the rows, and then their bytes in the file.
 *
 * Overwriting deleted rows (secure_delete) is not enough: a row that SQLite once moved between pages leaves a copy in
 * the unused part of a page. So the file is rewritten from what its tables hold (VACUUM), and the log, which has older
 * pages, is emptied before and after. That this is still to be done is noted in the transaction that deletes, and done
 * at the next opening for writing if the program is killed in between. */
#include <stdarg.h>

#include "user/sql.h"
#include "user/store_parts.h"

#define SCRUB "scrub"

/* The log's pages go into the file and the log is cut to nothing; that needs all readers to let go of it. */
static pgr_status empty_log(pgr_store *s, pgr_error *err) {
    int64_t busy = 0;
    PGR_TRY(sql_pragma(s, "PRAGMA wal_checkpoint(TRUNCATE)", &busy, err));
    if (!busy) return PGR_OK;
    return fail(
        err, PGR_E_IO,
        "%s: another program is reading the store: forgotten users' rows are gone, their bytes go when the store is "
        "next opened for writing",
        s->path);
}

pgr_status store_scrub(pgr_store *s, pgr_error *err) {
    bool wanted = false;
    pgr_status status = sql_run(s, SQL_CHORE_IS, &wanted, err, "t", SCRUB);
    sql_end(s, SQL_CHORE_IS);
    PGR_TRY(status);
    if (!wanted) return PGR_OK;
    PGR_TRY(empty_log(s, err));
    PGR_TRY(sql_script(s, "VACUUM", err));
    PGR_TRY(empty_log(s, err));
    PGR_TRY(sql_do(s, SQL_CHORE_DONE, err, "t", SCRUB));
    return empty_log(s, err);
}

static pgr_status drop_user(pgr_store *s, const char *id, pgr_error *err) {
    PGR_TRY(sql_do(s, SQL_USER_DROP, err, "t", id));
    if (sqlite3_changes(s->db) > 0) return PGR_OK;
    return fail(err, PGR_E_ARG, "%s: there is no user \"%.200s\"", s->path, id);
}

pgr_status pgr_user_forget(pgr_store *s, const char *const *ids, size_t n, pgr_error *err) {
    if (!s || (n > 0 && !ids)) return fail(err, PGR_E_ARG, "pgr_user_forget: found NULL, expected a store and ids");
    if (n == 0) return PGR_OK;
    PGR_TRY(store_begin(s, err));
    buf_clear(&s->last_user);
    pgr_status status = sql_do(s, SQL_CHORE_ADD, err, "t", SCRUB);
    for (size_t i = 0; status == PGR_OK && i < n; i++) status = drop_user(s, ids[i], err);
    if (status != PGR_OK) {
        store_rollback(s);
        return status;
    }
    PGR_TRY(store_commit(s, err));
    return store_scrub(s, err);
}
