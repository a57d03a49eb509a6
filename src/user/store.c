/* store.c - opening and closing a store. Its statements are run in sql.c, its tables are in store_schema.c. */
#include "user/store.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/text.h"
#include "user/sql.h"
#include "user/store_parts.h"

enum { PATIENCE_MS = 10000 };

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
