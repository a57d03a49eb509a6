/* store_schema.c - the tables of a store and how older ones become today's: a list of migrations, each from version i
 * to i + 1. What was released is never edited, only followed by another one. */
#include "user/sql.h"
#include "user/store_parts.h"

static const store_tables_of MIGRATIONS[] = {
    /* 1: users and their pairs. Keys are never given out twice, so that what remembers one cannot mean another. The
     * criteria are a JSON array of texts, the context one of turns, subsets one of texts; the hash is of conversation,
     * context, chosen and rejected. */
    {.sqlite =
         "CREATE TABLE users(key INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE,"
         "  demographics TEXT NOT NULL, criteria TEXT NOT NULL);"
         "CREATE TABLE pairs(key INTEGER PRIMARY KEY AUTOINCREMENT,"
         "  user INTEGER NOT NULL REFERENCES users ON DELETE CASCADE, hash BLOB NOT NULL, conversation TEXT NOT NULL,"
         "  context TEXT NOT NULL, chosen TEXT NOT NULL, rejected TEXT NOT NULL, chosen_score REAL,"
         "  rejected_score REAL, split TEXT NOT NULL, subsets TEXT NOT NULL, type TEXT NOT NULL,"
         "  attributes TEXT NOT NULL, UNIQUE(user, hash));",
     .postgres = "CREATE TABLE users(key BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, id TEXT NOT NULL UNIQUE,"
                 "  demographics TEXT NOT NULL, criteria TEXT NOT NULL);"
                 "CREATE TABLE pairs(key BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,"
                 "  \"user\" BIGINT NOT NULL REFERENCES users ON DELETE CASCADE, hash BYTEA NOT NULL, conversation "
                 "TEXT NOT NULL,"
                 "  context TEXT NOT NULL, chosen TEXT NOT NULL, rejected TEXT NOT NULL, chosen_score DOUBLE PRECISION,"
                 "  rejected_score DOUBLE PRECISION, split TEXT NOT NULL, subsets TEXT NOT NULL, type TEXT NOT NULL,"
                 "  attributes TEXT NOT NULL, UNIQUE(\"user\", hash));"},
    /* 2: what is derived from a pair, and what is still to be done after a kill. */
    {.sqlite =
         "CREATE TABLE vectors(key INTEGER PRIMARY KEY, pair INTEGER NOT NULL REFERENCES pairs ON DELETE CASCADE,"
         "  what TEXT NOT NULL, embedder TEXT NOT NULL, v BLOB NOT NULL, UNIQUE(pair, what, embedder));"
         "CREATE TABLE analyses(key INTEGER PRIMARY KEY, pair INTEGER NOT NULL REFERENCES pairs ON DELETE CASCADE,"
         "  model TEXT NOT NULL, text TEXT NOT NULL, UNIQUE(pair, model));"
         "CREATE TABLE chores(name TEXT PRIMARY KEY) WITHOUT ROWID;",
     .postgres = "CREATE TABLE vectors(pair BIGINT NOT NULL REFERENCES pairs ON DELETE CASCADE, what TEXT NOT NULL,"
                 "  embedder TEXT NOT NULL, v BYTEA NOT NULL, PRIMARY KEY(pair, what, embedder));"
                 "CREATE TABLE analyses(pair BIGINT NOT NULL REFERENCES pairs ON DELETE CASCADE, model TEXT NOT NULL,"
                 "  text TEXT NOT NULL, PRIMARY KEY(pair, model));"
                 "CREATE TABLE chores(name TEXT PRIMARY KEY);"},
    /* 3: how clear a choice was, and which pairs are of one row with more than two responses. */
    {.sqlite = "ALTER TABLE pairs ADD COLUMN weight REAL NOT NULL DEFAULT 1;"
               "ALTER TABLE pairs ADD COLUMN best_of TEXT NOT NULL DEFAULT '';",
     .postgres = "ALTER TABLE pairs ADD COLUMN weight DOUBLE PRECISION NOT NULL DEFAULT 1;"
                 "ALTER TABLE pairs ADD COLUMN best_of TEXT NOT NULL DEFAULT '';"},
    /* 4: a file's pages are clean of what is unused in them (sqlite_pages.h) but where earlier versions wrote them. A
     * server orders names by its language: users whose names begin alike stand together by their bytes alone. */
    {.sqlite = "INSERT INTO chores(name) SELECT 'rewrite' WHERE EXISTS(SELECT 1 FROM users) OR EXISTS(SELECT 1 FROM "
               "chores);",
     .postgres = "CREATE INDEX users_by_bytes ON users(id COLLATE \"C\");"},
};
enum { VERSION = sizeof MIGRATIONS / sizeof *MIGRATIONS };

const store_tables_of *store_tables(int64_t version) {
    PGR_ASSERT(version >= 1 && version <= VERSION);
    return &MIGRATIONS[version - 1];
}

static pgr_status read_version(pgr_store *s, int64_t *version, pgr_error *err) {
    PGR_TRY(s->ops->version(s, version, err));
    if (*version <= VERSION) return PGR_OK;
    return fail(err, PGR_E_UNSUPPORTED,
                "%s: found version %lld of the store, expected at most %d: a newer pgenrm wrote it", s->path,
                (long long)*version, VERSION);
}

pgr_status store_migrate(pgr_store *s, bool create, pgr_error *err) {
    int64_t version = 0;
    PGR_TRY(read_version(s, &version, err));
    if (version == VERSION) return PGR_OK;
    if (version == 0 && !create) return s->ops->fail_bare(s, err);
    PGR_TRY(s->ops->before_tables(s, err));
    PGR_TRY(store_begin(s, err));
    pgr_status status = read_version(s, &version, err); /* another program may have been faster */
    while (status == PGR_OK && version < VERSION) status = s->ops->make_tables(s, ++version, err);
    if (status == PGR_OK) return store_commit(s, err);
    store_rollback(s);
    return status;
}
