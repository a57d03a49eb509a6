/* store.c - finding, opening and closing a store. Its statements are run in sql.c, its tables are in store_schema.c. */
#include "user/store.h"

#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/text.h"
#include "user/sql.h"
#include "user/store_parts.h"

/* ---- opening ----------------------------------------------------------------------------------------------------- */

static bool is_address(const char *name) {
    return text_starts(name, "postgres://") || text_starts(name, "postgresql://");
}

pgr_status pgr_store_find(const char *name, char **out, pgr_error *err) {
    if (!out) return fail(err, PGR_E_ARG, "pgr_store_find: found NULL, expected a place for the path");
    if (!name || !*name) name = getenv("PGENRM_STORE");
    if (name && is_address(name)) PGR_TRY(sql_postgres_check(name, err));
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

pgr_status pgr_store_protos(const char *path, char **out, pgr_error *err) {
    if (!path || !out) return fail(err, PGR_E_ARG, "pgr_store_protos: found NULL, expected a store's path and a place");
    char *name = NULL, *folder = NULL;
    if (is_address(path)) {
        PGR_TRY(sql_postgres_name(path, &name, err));
        folder = file_cache_folder();
    }
    buf b = {0};
    bool lost = name && !folder;
    buf_printf(&b, "%s%s%s.protos", folder ? folder : "", folder ? "/" : "", name ? name : path);
    lost = lost || b.failed;
    mem_free(name);
    mem_free(folder);
    if (!lost) *out = buf_take(&b);
    buf_free(&b);
    return lost ? fail_mem(err) : PGR_OK;
}

void store_set_patience(store *s, int milliseconds) {
    s->patience_ms = milliseconds;
    s->ops->set_patience(s);
}

pgr_status store_set_durable(store *s, pgr_error *err) {
    return s->ops->durable ? s->ops->durable(s, err) : PGR_OK;
}

static pgr_status look_at_tables(pgr_store *s, pgr_store_mode mode, pgr_error *err) {
    PGR_TRY(store_migrate(s, mode == PGR_STORE_CREATE, err));
    if (mode == PGR_STORE_READ) return s->ops->read_only(s, err);
    if (store_scrub(s, NULL) == PGR_E_MEM)
        return fail_mem(err); /* else what a forgotten user left is tried again next time */
    return PGR_OK;
}

pgr_status pgr_store_open(const char *path, pgr_store_mode mode, pgr_store **out, pgr_error *err) {
    if (!path || !*path || !out)
        return fail(err, PGR_E_ARG, "pgr_store_open: found no path or place for the store, expected both");
    pgr_store *s = NULL;
    pgr_status status = is_address(path) ? sql_open_postgres(path, &s, err) : sql_open_sqlite(path, mode, &s, err);
    if (status == PGR_OK) status = look_at_tables(s, mode, err);
    if (s) s->opened = status == PGR_OK;
    if (status == PGR_OK)
        *out = s;
    else
        pgr_store_close(s);
    return status;
}

void pgr_store_close(pgr_store *s) {
    if (!s) return;
    store_rollback(s);
    sql_forget_known(s);
    buf_free(&s->scratch);
    mem_free(s->path);
    s->ops->close(s);
}

const char *pgr_store_path(const pgr_store *s) {
    return s->path;
}
