/* sql_sqlite.c - a store in one SQLite file: its log, its errors, and how deleted bytes leave it; see sql.h. */
#include <errno.h>
#include <sqlite3.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "user/sql.h"
#include "user/sqlite_pages.h"
#include "user/store_parts.h"

enum { APPLICATION_ID = 0x50475552 }; /* "PGUR": whose database it is */

typedef struct sqlite_store {
    pgr_store base;
    sqlite3 *db;
    const char *layer;             /* between SQLite and the file; NULL: not taken yet */
    sqlite3_stmt *prepared[SQL_N]; /* NULL until it is used */
} sqlite_store;

static sqlite_store *of(pgr_store *s) {
    return (sqlite_store *)s;
}

static sqlite3_stmt *statement(pgr_store *s, sql_name name) {
    return of(s)->prepared[name];
}

/* A full disk; and a quota or a limit of file sizes, which SQLite knows as any failed write: why is what the system has
 * said (sqlite3_system_errno is 0 after a COMMIT). */
static bool is_full(int rc, int why) {
    if ((rc & 0xFF) == SQLITE_FULL) return true;
    return (rc & 0xFF) == SQLITE_IOERR && (why == ENOSPC || why == EDQUOT || why == EFBIG);
}

static pgr_status fail_sqlite(pgr_store *s, int rc, pgr_error *err) {
    sqlite3 *db = of(s)->db;
    if (is_full(rc, errno)) {
        s->full = true;
        return fail(err, PGR_E_IO, "%s: there is no room left on the disk", s->path);
    }
    switch (rc & 0xFF) {
    case SQLITE_NOMEM:
        return fail_mem(err);
    case SQLITE_NOTADB:
        return fail(err, PGR_E_FORMAT, "%s: found a file that is no SQLite database, expected a store of users",
                    s->path);
    case SQLITE_CORRUPT:
        return fail(err, s->opened ? PGR_E_IO : PGR_E_FORMAT, "%s: found damaged pages (%s), expected a whole store",
                    s->path, sqlite3_errmsg(db));
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return fail(err, PGR_E_IO, "%s: another program has been using the store for %g seconds, try again", s->path,
                    s->patience_ms / 1000.0);
    case SQLITE_TOOBIG:
        return fail(err, PGR_E_LIMIT, "%s: a text or vector is too large for the store", s->path);
    default:
        return fail(err, PGR_E_IO, "%s: %s", s->path, db ? sqlite3_errmsg(db) : sqlite3_errstr(rc));
    }
}

/* ---- statements -------------------------------------------------------------------------------------------------- */

static const char *const SQL_TEXTS[] = {
#define X(name, text) text,
    STORE_SQL(X, "json_array_length(criteria)", "", "")
#undef X
};

static int bind_one(sqlite3_stmt *q, int i, const sql_value *v) {
    if (v->null) return sqlite3_bind_null(q, i);
    switch (v->type) {
    case 't':
        return sqlite3_bind_text64(q, i, v->bytes, v->n, SQLITE_STATIC, SQLITE_UTF8);
    case 'i':
        return sqlite3_bind_int64(q, i, v->integer);
    case 'd':
        return sqlite3_bind_double(q, i, v->real);
    default:
        return sqlite3_bind_blob64(q, i, v->bytes, v->n, SQLITE_STATIC);
    }
}

static pgr_status next_row(pgr_store *s, sql_name name, bool *row, pgr_error *err) {
    int rc = sqlite3_step(statement(s, name));
    if (rc != SQLITE_ROW && rc != SQLITE_DONE) return fail_sqlite(s, rc, err);
    if (rc == SQLITE_DONE) s->changed = (size_t)sqlite3_changes(of(s)->db);
    *row = rc == SQLITE_ROW;
    return PGR_OK;
}

static pgr_status run_statement(pgr_store *s, sql_name name, const sql_value *v, size_t n, bool *row, pgr_error *err) {
    sqlite3_stmt **q = &of(s)->prepared[name];
    int rc = SQLITE_OK;
    if (!*q) rc = sqlite3_prepare_v3(of(s)->db, SQL_TEXTS[name], -1, SQLITE_PREPARE_PERSISTENT, q, NULL);
    for (size_t i = 0; rc == SQLITE_OK && i < n; i++) rc = bind_one(*q, (int)i + 1, &v[i]);
    return rc == SQLITE_OK ? next_row(s, name, row, err) : fail_sqlite(s, rc, err);
}

static void end_statement(pgr_store *s, sql_name name) {
    if (!statement(s, name)) return;
    sqlite3_reset(statement(s, name));
    sqlite3_clear_bindings(statement(s, name));
}

static bool column_is_null(pgr_store *s, sql_name name, int column) {
    return sqlite3_column_type(statement(s, name), column) == SQLITE_NULL;
}

static int64_t column_integer(pgr_store *s, sql_name name, int column) {
    return sqlite3_column_int64(statement(s, name), column);
}

static double column_real(pgr_store *s, sql_name name, int column) {
    return sqlite3_column_double(statement(s, name), column);
}

static const char *column_text(pgr_store *s, sql_name name, int column) {
    return (const char *)sqlite3_column_text(statement(s, name), column);
}

static const void *column_bytes(pgr_store *s, sql_name name, int column, size_t *n) {
    const void *bytes = sqlite3_column_blob(statement(s, name), column);
    *n = (size_t)sqlite3_column_bytes(statement(s, name), column);
    return bytes;
}

/* Pragmas and tables: what is no statement of the list. */
static pgr_status script(pgr_store *s, const char *text, pgr_error *err) {
    int rc = sqlite3_exec(of(s)->db, text, NULL, NULL, NULL);
    return rc == SQLITE_OK ? PGR_OK : fail_sqlite(s, rc, err);
}

static pgr_status ask(pgr_store *s, const char *text, int64_t *out, pgr_error *err) {
    sqlite3_stmt *q = NULL;
    int rc = sqlite3_prepare_v2(of(s)->db, text, -1, &q, NULL);
    if (rc == SQLITE_OK) rc = sqlite3_step(q);
    if (rc == SQLITE_ROW) *out = sqlite3_column_int64(q, 0);
    pgr_status status = rc == SQLITE_ROW || rc == SQLITE_DONE ? PGR_OK : fail_sqlite(s, rc, err);
    sqlite3_finalize(q);
    return status;
}

/* ---- transactions ------------------------------------------------------------------------------------------------ */

static pgr_status begin(pgr_store *s, bool many, pgr_error *err) {
    (void)many; /* one writer at a time, whatever he writes */
    return script(s, "BEGIN IMMEDIATE", err);
}

static pgr_status commit(pgr_store *s, pgr_error *err) {
    return script(s, "COMMIT", err);
}

static void rollback(pgr_store *s) {
    if (!sqlite3_get_autocommit(of(s)->db)) script(s, "ROLLBACK", NULL); /* SQLite may have done it itself */
}

/* ---- tables ------------------------------------------------------------------------------------------------------ */

static pgr_status read_marks(pgr_store *s, int64_t *id, int64_t *version, int64_t *tables, pgr_error *err) {
    PGR_TRY(ask(s, "PRAGMA application_id", id, err));
    PGR_TRY(ask(s, "PRAGMA user_version", version, err));
    return ask(s, "SELECT count(*) FROM sqlite_schema", tables, err);
}

/* All of one moment: another program may be making the tables. */
static pgr_status read_version(pgr_store *s, int64_t *version, pgr_error *err) {
    int64_t id = 0, tables = 0;
    bool own = sqlite3_get_autocommit(of(s)->db);
    *version = 0;
    if (own) PGR_TRY(script(s, "BEGIN", err));
    pgr_status status = read_marks(s, &id, version, &tables, err);
    if (own) rollback(s);
    if (status != PGR_OK) return status;
    if (id != APPLICATION_ID && (tables > 0 || id != 0 || *version != 0))
        return fail(err, PGR_E_FORMAT, "%s: found an SQLite database of another program, expected a store of users",
                    s->path);
    return PGR_OK;
}

static pgr_status fail_bare(pgr_store *s, pgr_error *err) {
    return fail(err, PGR_E_FORMAT, "%s: found a database without tables, expected a store of users", s->path);
}

/* SQLite itself does not wait here for another program that does the same, or reads. */
static pgr_status write_ahead(pgr_store *s, pgr_error *err) {
    double until = clock_now() + s->patience_ms / 1000.0;
    int rc;
    while (((rc = sqlite3_exec(of(s)->db, "PRAGMA journal_mode = WAL", NULL, NULL, NULL)) & 0xFF) == SQLITE_BUSY
           && clock_now() < until)
        sqlite3_sleep(5);
    return rc == SQLITE_OK ? PGR_OK : fail_sqlite(s, rc, err);
}

static pgr_status make_tables(pgr_store *s, int64_t version, pgr_error *err) {
    char marks[100];
    snprintf(marks, sizeof marks, "PRAGMA application_id = %d; PRAGMA user_version = %d", APPLICATION_ID, (int)version);
    PGR_TRY(script(s, store_tables(version)->sqlite, err));
    return script(s, marks, err);
}

/* ---- what deleted rows leave -------------------------------------------------------------------------------------
 * Deleted rows are overwritten where they lie (secure_delete), and unused parts of pages, where copies of rows are that
 * SQLite once moved, are overwritten on the way to the file (sqlite_pages.h). What remains is the log, which has older
 * pages: it is emptied. A file that was written in another way is rewritten first, from what its tables hold. */

/* The log's pages go into the file and the log is cut to nothing; that needs all readers to let go of it. */
static pgr_status empty_log(pgr_store *s, pgr_error *err) {
    int64_t busy = 0;
    PGR_TRY(ask(s, "PRAGMA wal_checkpoint(TRUNCATE)", &busy, err));
    if (!busy) return PGR_OK;
    return fail(
        err, PGR_E_IO,
        "%s: another program is reading the store: forgotten users' rows are gone, their bytes go with the next "
        "change, or when the store is next opened for writing",
        s->path);
}

static pgr_status erase(pgr_store *s, bool whole, pgr_error *err) {
    int64_t mapped = 0;
    PGR_TRY(empty_log(s, err));
    PGR_TRY(ask(s, "PRAGMA auto_vacuum", &mapped, err)); /* such a file's pages cannot be told apart */
    if (whole || mapped) {
        PGR_TRY(script(s, "VACUUM", err));
        PGR_TRY(empty_log(s, err));
    }
    return script(s, "PRAGMA shrink_memory", err); /* pages in memory have what the file's have no more */
}

/* ---- opening ----------------------------------------------------------------------------------------------------- */

static void set_patience(pgr_store *s) {
    sqlite3_busy_timeout(of(s)->db, s->patience_ms);
}

static pgr_status durable(pgr_store *s, pgr_error *err) {
    return script(s, "PRAGMA synchronous = FULL", err);
}

static pgr_status read_only(pgr_store *s, pgr_error *err) {
    return script(s, "PRAGMA query_only = ON", err);
}

static void close_store(pgr_store *s) {
    for (size_t i = 0; i < SQL_N; i++) sqlite3_finalize(of(s)->prepared[i]);
    sqlite3_close(of(s)->db);
    if (of(s)->layer) sqlite_pages_drop();
    mem_free(s);
}

static const sql_ops OPS = {.page = INT64_MAX,
                            .close = close_store,
                            .set_patience = set_patience,
                            .read_only = read_only,
                            .durable = durable,
                            .version = read_version,
                            .fail_bare = fail_bare,
                            .before_tables = write_ahead,
                            .make_tables = make_tables,
                            .erase = erase,
                            .begin = begin,
                            .commit = commit,
                            .rollback = rollback,
                            .run = run_statement,
                            .next = next_row,
                            .end = end_statement,
                            .is_null = column_is_null,
                            .integer = column_integer,
                            .real = column_real,
                            .text = column_text,
                            .bytes = column_bytes};

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

static pgr_status open_file(pgr_store *s, pgr_store_mode mode, pgr_error *err) {
    const char *path = s->path;
    if (mode == PGR_STORE_CREATE) PGR_TRY(make_folders(path, err));
    if (mode != PGR_STORE_CREATE && !file_exists(path)) return fail(err, PGR_E_IO, "%s: " STORE_NONE_YET, path);
    int create = mode == PGR_STORE_CREATE ? SQLITE_OPEN_CREATE : 0;
    of(s)->layer = sqlite_pages_take();
    if (!of(s)->layer) return fail(err, PGR_E_IO, "%s: SQLite did not take a layer below it", path);
    int rc = sqlite3_open_v2(path, &of(s)->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | create, of(s)->layer);
    if (rc != SQLITE_OK) return fail_sqlite(s, rc, err);
    set_patience(s);
    sqlite3_extended_result_codes(of(s)->db, 1);
    char most[60];
    snprintf(most, sizeof most, "PRAGMA max_page_count = %d", SQLITE_PAGES_MOST);
    PGR_TRY(script(s, most, err));
    /* Deleted content is overwritten; 64 MiB of pages in memory and between checkpoints of the log. */
    return script(s,
                  "PRAGMA foreign_keys = ON; PRAGMA secure_delete = ON; PRAGMA synchronous = NORMAL;"
                  "PRAGMA cache_size = -65536; PRAGMA wal_autocheckpoint = 16384; PRAGMA trusted_schema = OFF;"
                  "PRAGMA auto_vacuum = NONE",
                  err);
}

pgr_status sql_open_sqlite(const char *path, pgr_store_mode mode, pgr_store **out, pgr_error *err) {
    sqlite_store *s = mem_zero(1, sizeof *s);
    if (!s) return fail_mem(err);
    s->base.ops = &OPS;
    s->base.patience_ms = STORE_PATIENCE_MS;
    *out = &s->base;
    s->base.path = mem_strdup(path);
    return s->base.path ? open_file(&s->base, mode, err) : fail_mem(err);
}
