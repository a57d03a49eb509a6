/* sql.h - the store's handle, its statements and how they are run. Private to src/user; the transactions of store.h are
 * in sql.c too. */
#ifndef PGR_USER_SQL_H
#define PGR_USER_SQL_H

#include <sqlite3.h>

#include "base/buf.h"
#include "user/store.h"

/* A user and how much there is of him. */
#define USER_ROWS_OF                                                                                                   \
    "SELECT id, demographics <> '', json_array_length(criteria), (SELECT count(*) FROM pairs WHERE user = u.key), "    \
    "(SELECT count(*) FROM pairs WHERE user = u.key AND split = 'test'), (SELECT count(*) FROM pairs p, vectors v "    \
    "WHERE p.user = u.key AND v.pair = p.key), (SELECT count(*) FROM pairs p, analyses a WHERE p.user = u.key AND "    \
    "a.pair = p.key) FROM users u"

/*   name            what it does */
#define STORE_SQL(X)                                                                                                   \
    X(BEGIN, "BEGIN IMMEDIATE")                                                                                        \
    X(COMMIT, "COMMIT")                                                                                                \
    X(ROLLBACK, "ROLLBACK")                                                                                            \
    X(USER_KEY, "SELECT key FROM users WHERE id = ?1")                                                                 \
    X(USER_ADD, "INSERT INTO users(id, demographics, criteria) VALUES(?1, '', '[]')")                                  \
    X(USER_DEMOGRAPHICS, "UPDATE users SET demographics = ?2 WHERE key = ?1")                                          \
    X(USER_CRITERIA, "UPDATE users SET criteria = ?2 WHERE key = ?1")                                                  \
    X(USER_GET, "SELECT key, id, demographics, criteria FROM users WHERE id = ?1")                                     \
    X(USER_NEXT, "SELECT key, id, demographics, criteria FROM users WHERE key > ?1 ORDER BY key LIMIT 1")              \
    X(USER_DROP, "DELETE FROM users WHERE id = ?1")                                                                    \
    X(USER_ROWS, USER_ROWS_OF " ORDER BY key")                                                                         \
    X(USER_ROW, USER_ROWS_OF " WHERE id = ?1")                                                                         \
    X(USER_COUNT, "SELECT count(*) FROM users")                                                                        \
    X(PAIR_COUNT, "SELECT count(*) FROM pairs")                                                                        \
    X(PAIR_ADD, "INSERT INTO pairs(user, hash, conversation, context, chosen, rejected, chosen_score, rejected_score, "\
                "split, subsets, type, attributes, weight, best_of) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, "  \
                "?11, ?12, ?13, ?14) "                                                                                 \
                "ON CONFLICT DO NOTHING")                                                                              \
    X(PAIR_SAME, "SELECT key, split FROM pairs WHERE user = ?1 AND hash = ?2")                                         \
    X(PAIR_COMPLETE, "UPDATE pairs SET chosen_score = coalesce(chosen_score, ?2), rejected_score = "                   \
                     "coalesce(rejected_score, ?3), split = iif(split = '', ?4, split), "                              \
                     "subsets = iif(subsets = '[]', ?5, subsets), type = iif(type = '', ?6, type), "                   \
                     "attributes = iif(attributes = '', ?7, attributes) WHERE key = ?1")                               \
    X(PAIRS, "SELECT key, conversation, context, chosen, rejected, chosen_score, rejected_score, split, subsets, "     \
             "type, attributes, weight, best_of FROM pairs WHERE user = ?1 AND (?2 IS NULL OR split = ?2) "            \
             "ORDER BY key")                                                                                           \
    X(VECTOR_PUT, "INSERT INTO vectors(pair, what, embedder, v) VALUES(?1, ?2, ?3, ?4) ON CONFLICT DO UPDATE SET v = " \
                  "excluded.v")                                                                                        \
    X(VECTOR_GET, "SELECT v FROM vectors WHERE pair = ?1 AND what = ?2 AND embedder = ?3")                             \
    X(ANALYSIS_PUT, "INSERT INTO analyses(pair, model, text) VALUES(?1, ?2, ?3) ON CONFLICT DO UPDATE SET text = "     \
                    "excluded.text")                                                                                   \
    X(ANALYSIS_GET, "SELECT text FROM analyses WHERE pair = ?1 AND model = ?2")                                        \
    X(CHORE_ADD, "INSERT INTO chores(name) VALUES(?1) ON CONFLICT DO NOTHING")                                         \
    X(CHORE_IS, "SELECT 1 FROM chores WHERE name = ?1")                                                                \
    X(CHORE_DONE, "DELETE FROM chores WHERE name = ?1")

typedef enum sql_name {
#define X(name, text) SQL_##name,
    STORE_SQL(X)
#undef X
        SQL_N
} sql_name;

struct pgr_store {
    sqlite3 *db;
    char *path;
    int patience_ms;
    bool opened;                   /* damage found from then on is no fault of what is being read in */
    bool batch;                    /* between begin and commit */
    sqlite3_stmt *prepared[SQL_N]; /* NULL until it is used */
    buf last_user;                 /* rows of one user follow each other: his id and key, "" for none */
    int64_t last_key;
    size_t users_added;            /* since it was opened, rolled back ones too */
    buf scratch;
};

/* The error of a call to SQLite on this store: "PATH: ...". */
pgr_status sql_fail(pgr_store *s, int rc, pgr_error *err);

/* Runs a statement up to its first row, or its end (*row = false; row may be NULL where none is expected). types: one
 * letter per parameter: 't' const char * (NULL: null), 'i' int64_t, 'd' double (NaN: null), 'b' const void *, size_t.
 * Texts must last until sql_end. */
pgr_status sql_run(pgr_store *s, sql_name name, bool *row, pgr_error *err, const char *types, ...);
pgr_status sql_next(pgr_store *s, sql_name name, bool *row, pgr_error *err);
void sql_end(pgr_store *s, sql_name name); /* in any case, after the last row that is wanted */

/* sql_run of what gives no row, and sql_end. */
#define sql_do(s, name, err, ...) sql_done((s), (name), sql_run((s), (name), NULL, (err), __VA_ARGS__))
pgr_status sql_done(pgr_store *s, sql_name name, pgr_status status);

int64_t sql_integer(pgr_store *s, sql_name name, int column);
double sql_real(pgr_store *s, sql_name name, int column);      /* NaN: null */
const char *sql_text(pgr_store *s, sql_name name, int column); /* until the next row; "" for null and without memory */

/* A text that is no parameter: pragmas, schema. */
pgr_status sql_script(pgr_store *s, const char *text, pgr_error *err);
pgr_status sql_pragma(pgr_store *s, const char *text, int64_t *out, pgr_error *err); /* its first column */

#endif
