/* store_schema.c - the tables of a store and how older ones become today's: a list of migrations, each from version i
 * to i + 1. What was released is never edited, only followed by another one. */
#include <stdarg.h>

#include "user/sql.h"
#include "user/store_parts.h"

enum { APPLICATION_ID = 0x50475552 }; /* "PGUR": whose database it is */

static const char *const MIGRATIONS[] = {
    /* 1: users and their pairs. Keys are never given out twice (AUTOINCREMENT),
     * so that what remembers one cannot mean another. */
    "CREATE TABLE users(key INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, demographics TEXT NOT NULL,"
    "  criteria TEXT NOT NULL);" /* a JSON array of texts */
    "CREATE TABLE pairs(key INTEGER PRIMARY KEY AUTOINCREMENT, user INTEGER NOT NULL REFERENCES users ON DELETE "
    "CASCADE,"
    "  hash BLOB NOT NULL,"                                /* of conversation, context, chosen, rejected */
    "  conversation TEXT NOT NULL, context TEXT NOT NULL," /* a JSON array of turns */
    "  chosen TEXT NOT NULL, rejected TEXT NOT NULL, chosen_score REAL, rejected_score REAL, split TEXT NOT NULL,"
    "  subsets TEXT NOT NULL," /* a JSON array of texts */
    "  type TEXT NOT NULL, attributes TEXT NOT NULL, UNIQUE(user, hash));",
    /* 2: what is derived from a pair, and what is still to be done after a kill. */
    "CREATE TABLE vectors(key INTEGER PRIMARY KEY, pair INTEGER NOT NULL REFERENCES pairs ON DELETE CASCADE,"
    "  what TEXT NOT NULL, embedder TEXT NOT NULL, v BLOB NOT NULL, UNIQUE(pair, what, embedder));"
    "CREATE TABLE analyses(key INTEGER PRIMARY KEY, pair INTEGER NOT NULL REFERENCES pairs ON DELETE CASCADE,"
    "  model TEXT NOT NULL, text TEXT NOT NULL, UNIQUE(pair, model));"
    "CREATE TABLE chores(name TEXT PRIMARY KEY) WITHOUT ROWID;",
    /* 3: how clear a choice was, and which pairs are of one row with more than two responses. */
    ("ALTER TABLE pairs ADD COLUMN weight REAL NOT NULL DEFAULT 1;"
     "ALTER TABLE pairs ADD COLUMN best_of TEXT NOT NULL DEFAULT '';"),
};
enum { VERSION = sizeof MIGRATIONS / sizeof *MIGRATIONS };

/* *version: 0 for a database without tables. */
static pgr_status read_version(pgr_store *s, int64_t *version, pgr_error *err) {
    int64_t id = 0, tables = 0;
    *version = 0;
    PGR_TRY(sql_pragma(s, "PRAGMA application_id", &id, err));
    PGR_TRY(sql_pragma(s, "PRAGMA user_version", version, err));
    PGR_TRY(sql_pragma(s, "SELECT count(*) FROM sqlite_schema", &tables, err));
    if (id != APPLICATION_ID && (tables > 0 || id != 0 || *version != 0))
        return fail(err, PGR_E_FORMAT, "%s: found an SQLite database of another program, expected a store of users",
                    s->path);
    if (*version > VERSION)
        return fail(err, PGR_E_UNSUPPORTED,
                    "%s: found version %lld of the store, expected at most %d: a newer pgenrm wrote it", s->path,
                    (long long)*version, VERSION);
    return PGR_OK;
}

static pgr_status apply(pgr_store *s, int64_t from, pgr_error *err) {
    for (int64_t v = from; v < VERSION; v++) PGR_TRY(sql_script(s, MIGRATIONS[v], err));
    char marks[100];
    snprintf(marks, sizeof marks, "PRAGMA application_id = %d; PRAGMA user_version = %d", APPLICATION_ID, VERSION);
    return sql_script(s, marks, err);
}

pgr_status store_migrate(pgr_store *s, bool create, pgr_error *err) {
    int64_t version = 0;
    PGR_TRY(read_version(s, &version, err));
    if (version == VERSION) return PGR_OK;
    if (version == 0 && !create)
        return fail(err, PGR_E_FORMAT, "%s: found a database without tables, expected a store of users", s->path);
    PGR_TRY(sql_script(s, "PRAGMA journal_mode = WAL", err));
    PGR_TRY(store_begin(s, err));
    pgr_status status = read_version(s, &version, err); /* another program may have been faster */
    if (status == PGR_OK && version < VERSION) status = apply(s, version, err);
    if (status == PGR_OK) return store_commit(s, err);
    store_rollback(s);
    return status;
}
