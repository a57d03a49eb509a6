/* store.c - opening and closing a store, transactions, and running statements. The tables are in store_schema.c. */
#include "user/store.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/text.h"
#include "user/store_sql.h"

enum { PATIENCE_MS = 10000 };

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

/* ---- opening ----------------------------------------------------------------------------------------------------- */

static bool is_address(const char *name) {
    return text_starts(name, "postgres://") || text_starts(name, "postgresql://");
}

static pgr_status fail_address(const char *name, pgr_error *err) {
    const char *user = strchr(name, ':') + 3, *at = strrchr(user, '@'); /* what may hold a password is not repeated */
    return fail(err, PGR_E_UNSUPPORTED,
                "postgres://%s: stores in PostgreSQL are not built in, expected the path of a file",
                at ? at + 1 : user);
}

pgr_status pgr_store_find(const char *name, char **out, pgr_error *err) {
    if (!out) return fail(err, PGR_E_ARG, "pgr_store_find: found NULL, expected a place for the path");
    if (!name || !*name) name = getenv("PGENRM_STORE");
    if (name && is_address(name)) return fail_address(name, err);
    buf b = {0};
    char *folder = name && *name ? NULL : file_cache_folder();
    if (name && *name)
        buf_puts(&b, name);
    else if (folder)
        buf_printf(&b, "%s/users.db", folder);
    bool lost = b.failed || b.n == 0;
    mem_free(folder);
    if (!lost) *out = buf_take(&b);
    buf_free(&b);
    return lost ? fail_mem(err) : PGR_OK;
}

/* The folders on the way to the file. */
static pgr_status make_folders(const char *path, pgr_error *err) {
    char *folder = mem_strdup(path), text[128];
    if (!folder) return fail_mem(err);
    pgr_status status = PGR_OK;
    for (char *c = folder + 1; folder[0] && *c && status == PGR_OK; c++) {
        if (*c != '/') continue;
        *c = '\0';
        if (mkdir(folder, 0777) != 0 && errno != EEXIST)
            status = fail(err, PGR_E_IO, "%s: cannot be made: %s", folder, strerror_r(errno, text, sizeof text));
        *c = '/';
    }
    mem_free(folder);
    return status;
}

void store_set_patience(store *s, int milliseconds) {
    s->patience_ms = milliseconds;
    sqlite3_busy_timeout(s->db, milliseconds);
}

static pgr_status configure(pgr_store *s, pgr_store_mode mode, pgr_error *err) {
    store_set_patience(s, PATIENCE_MS);
    sqlite3_extended_result_codes(s->db, 1);
    /* Deleted content is overwritten; 64 MiB of pages in memory and between checkpoints of the log. */
    PGR_TRY(sql_script(s,
                       "PRAGMA foreign_keys = ON; PRAGMA secure_delete = ON; PRAGMA synchronous = NORMAL;"
                       "PRAGMA cache_size = -65536; PRAGMA wal_autocheckpoint = 16384; PRAGMA trusted_schema = OFF",
                       err));
    PGR_TRY(store_migrate(s, mode == PGR_STORE_CREATE, err));
    if (mode == PGR_STORE_READ) return sql_script(s, "PRAGMA query_only = ON", err);
    if (store_scrub(s, NULL) == PGR_E_MEM)
        return fail_mem(err); /* else what a forgotten user left is tried again next time */
    return PGR_OK;
}

static pgr_status open_store(const char *path, pgr_store_mode mode, pgr_store *s, pgr_error *err) {
    s->path = mem_strdup(path);
    if (!s->path) return fail_mem(err);
    if (mode == PGR_STORE_CREATE) PGR_TRY(make_folders(path, err));
    if (mode != PGR_STORE_CREATE && !file_exists(path))
        return fail(err, PGR_E_IO, "%s: there is no store yet (`pgenrm user import` or `user add` makes one)", path);
    int create = mode == PGR_STORE_CREATE ? SQLITE_OPEN_CREATE : 0;
    int rc = sqlite3_open_v2(path, &s->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | create, NULL);
    return rc == SQLITE_OK ? configure(s, mode, err) : sql_fail(s, rc, err);
}

pgr_status pgr_store_open(const char *path, pgr_store_mode mode, pgr_store **out, pgr_error *err) {
    if (!path || !*path || !out)
        return fail(err, PGR_E_ARG, "pgr_store_open: found no path or place for the store, expected both");
    if (is_address(path)) return fail_address(path, err);
    pgr_store *s = mem_zero(1, sizeof *s);
    if (!s) return fail_mem(err);
    pgr_status status = open_store(path, mode, s, err);
    s->opened = status == PGR_OK;
    if (status == PGR_OK)
        *out = s;
    else
        pgr_store_close(s);
    return status;
}

void pgr_store_close(pgr_store *s) {
    if (!s) return;
    store_rollback(s);
    for (size_t i = 0; i < SQL_N; i++) sqlite3_finalize(s->prepared[i]);
    sqlite3_close(s->db);
    buf_free(&s->last_user);
    buf_free(&s->scratch);
    mem_free(s->path);
    mem_free(s);
}

const char *pgr_store_path(const pgr_store *s) {
    return s->path;
}
