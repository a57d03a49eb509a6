/* sql.c - running the store's statements, their errors, and transactions; see sql.h. */
#include "user/sql.h"

#include <math.h>
#include <stdarg.h>

/* ---- statements -------------------------------------------------------------------------------------------------- */

pgr_status sql_fail(pgr_store *s, int rc, pgr_error *err) {
    switch (rc & 0xFF) {
    case SQLITE_NOMEM:
        return fail_mem(err);
    case SQLITE_NOTADB:
        return fail(err, PGR_E_FORMAT, "%s: found a file that is no SQLite database, expected a store of users",
                    s->path);
    case SQLITE_CORRUPT:
        return fail(err, s->opened ? PGR_E_IO : PGR_E_FORMAT, "%s: found damaged pages (%s), expected a whole store",
                    s->path, sqlite3_errmsg(s->db));
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return fail(err, PGR_E_IO, "%s: another program has been using the store for %g seconds, try again", s->path,
                    s->patience_ms / 1000.0);
    case SQLITE_TOOBIG:
        return fail(err, PGR_E_LIMIT, "%s: a text or vector is too large for the store", s->path);
    default:
        return fail(err, PGR_E_IO, "%s: %s", s->path, s->db ? sqlite3_errmsg(s->db) : sqlite3_errstr(rc));
    }
}

static const char *const SQL_TEXTS[] = {
#define X(name, text) text,
    STORE_SQL(X)
#undef X
};

static int bind_one(sqlite3_stmt *q, int i, char type, va_list *ap) {
    switch (type) {
    case 't': {
        const char *text = va_arg(*ap, const char *);
        return text ? sqlite3_bind_text(q, i, text, -1, SQLITE_STATIC) : sqlite3_bind_null(q, i);
    }
    case 'i':
        return sqlite3_bind_int64(q, i, va_arg(*ap, int64_t));
    case 'd': {
        double v = va_arg(*ap, double);
        return isnan(v) ? sqlite3_bind_null(q, i) : sqlite3_bind_double(q, i, v);
    }
    default: {
        const void *bytes = va_arg(*ap, const void *);
        return sqlite3_bind_blob64(q, i, bytes, va_arg(*ap, size_t), SQLITE_STATIC);
    }
    }
}

pgr_status sql_run(pgr_store *s, sql_name name, bool *row, pgr_error *err, const char *types, ...) {
    sqlite3_stmt **q = &s->prepared[name];
    int rc = *q ? SQLITE_OK : sqlite3_prepare_v3(s->db, SQL_TEXTS[name], -1, SQLITE_PREPARE_PERSISTENT, q, NULL);
    va_list ap;
    va_start(ap, types);
    for (int i = 0; rc == SQLITE_OK && types[i]; i++) rc = bind_one(*q, i + 1, types[i], &ap);
    va_end(ap);
    if (rc != SQLITE_OK) return sql_fail(s, rc, err);
    return sql_next(s, name, row, err);
}

pgr_status sql_next(pgr_store *s, sql_name name, bool *row, pgr_error *err) {
    int rc = sqlite3_step(s->prepared[name]);
    if (rc != SQLITE_ROW && rc != SQLITE_DONE) return sql_fail(s, rc, err);
    if (row) *row = rc == SQLITE_ROW;
    return PGR_OK;
}

void sql_end(pgr_store *s, sql_name name) {
    if (!s->prepared[name]) return;
    sqlite3_reset(s->prepared[name]);
    sqlite3_clear_bindings(s->prepared[name]);
}

pgr_status sql_done(pgr_store *s, sql_name name, pgr_status status) {
    sql_end(s, name);
    return status;
}

int64_t sql_integer(pgr_store *s, sql_name name, int column) {
    return sqlite3_column_int64(s->prepared[name], column);
}

double sql_real(pgr_store *s, sql_name name, int column) {
    bool null = sqlite3_column_type(s->prepared[name], column) == SQLITE_NULL;
    return null ? NAN : sqlite3_column_double(s->prepared[name], column);
}

const char *sql_text(pgr_store *s, sql_name name, int column) {
    const unsigned char *text = sqlite3_column_text(s->prepared[name], column);
    return text ? (const char *)text : "";
}

pgr_status sql_script(pgr_store *s, const char *text, pgr_error *err) {
    int rc = sqlite3_exec(s->db, text, NULL, NULL, NULL);
    return rc == SQLITE_OK ? PGR_OK : sql_fail(s, rc, err);
}

pgr_status sql_pragma(pgr_store *s, const char *text, int64_t *out, pgr_error *err) {
    sqlite3_stmt *q = NULL;
    int rc = sqlite3_prepare_v2(s->db, text, -1, &q, NULL);
    if (rc == SQLITE_OK) rc = sqlite3_step(q);
    if (rc == SQLITE_ROW) *out = sqlite3_column_int64(q, 0);
    pgr_status status = rc == SQLITE_ROW || rc == SQLITE_DONE ? PGR_OK : sql_fail(s, rc, err);
    sqlite3_finalize(q);
    return status;
}

/* ---- transactions ------------------------------------------------------------------------------------------------ */

pgr_status store_begin(store *s, pgr_error *err) {
    PGR_ASSERT(!s->batch);
    pgr_status status = sql_do(s, SQL_BEGIN, err, "");
    s->batch = status == PGR_OK;
    buf_clear(&s->last_user); /* another program may have forgotten him since the last batch */
    return status;
}

pgr_status store_commit(store *s, pgr_error *err) {
    PGR_ASSERT(s->batch);
    pgr_status status = sql_do(s, SQL_COMMIT, err, "");
    if (status == PGR_OK)
        s->batch = false;
    else
        store_rollback(s);
    return status;
}

void store_rollback(store *s) {
    if (!s->batch) return;
    s->batch = false;
    buf_clear(&s->last_user);                                              /* that user may be gone */
    if (!sqlite3_get_autocommit(s->db)) sql_do(s, SQL_ROLLBACK, NULL, ""); /* SQLite may have done it itself */
}
