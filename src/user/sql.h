/* sql.h - the store's handle, its statements and how they are run, whatever database is behind it: SQLite's file
 * (sql_sqlite.c) and PostgreSQL (sql_postgres.c) are each a table of functions. Private to src/user; the transactions
 * of store.h are in sql.c too. */
#ifndef PGR_USER_SQL_H
#define PGR_USER_SQL_H

#include "base/buf.h"
#include "user/store.h"

/* A user and how much there is of him. */
#define USER_ROWS_OF(n_criteria)                                                                                       \
    "SELECT id, demographics <> '', " n_criteria ", (SELECT count(*) FROM pairs p WHERE p.\"user\" = u.key), "         \
    "(SELECT count(*) FROM pairs p WHERE p.\"user\" = u.key AND split = 'test'), (SELECT count(*) FROM pairs p, "      \
    "vectors v WHERE p.\"user\" = u.key AND v.pair = p.key), (SELECT count(*) FROM pairs p, analyses a WHERE "         \
    "p.\"user\" = u.key AND a.pair = p.key), key FROM users u"

/* Parameters are ?1, ?2, ... What a database writes in its own way it passes in: how many texts the JSON array
 * `criteria` has, what makes a SELECT keep a row for this transaction, and how names are compared by their bytes.
 *   name            what it does */
#define STORE_SQL(X, N_CRITERIA, KEPT, BYTES)                                                                          \
    X(USER_KEY, "SELECT key FROM users WHERE id = ?1")                                                                 \
    X(USER_KEEP, "SELECT key FROM users WHERE id = ?1" KEPT)                                                           \
    X(USER_ADD, "INSERT INTO users(id, demographics, criteria) VALUES(?1, '', '[]') ON CONFLICT DO NOTHING "           \
                "RETURNING key")                                                                                       \
    X(USER_DEMOGRAPHICS, "UPDATE users SET demographics = ?2 WHERE key = ?1")                                          \
    X(USER_CRITERIA, "UPDATE users SET criteria = ?2 WHERE key = ?1")                                                  \
    X(USER_GET, "SELECT key, id, demographics, criteria FROM users WHERE id = ?1")                                     \
    X(USER_NEXT, "SELECT key, id, demographics, criteria FROM users WHERE key > ?1 ORDER BY key LIMIT 1")              \
    X(USER_DROP, "DELETE FROM users WHERE id = ?1")                                                                    \
    X(USER_ROWS, USER_ROWS_OF(N_CRITERIA) " WHERE key > ?1 ORDER BY key LIMIT ?2")                                     \
    X(USER_NAMED, USER_ROWS_OF(N_CRITERIA) " WHERE id" BYTES " >= ?1 ORDER BY id" BYTES " LIMIT ?2")                   \
    X(USER_ROW, USER_ROWS_OF(N_CRITERIA) " WHERE id = ?1")                                                             \
    X(USER_COUNT, "SELECT count(*) FROM users")                                                                        \
    X(PAIR_COUNT, "SELECT count(*) FROM pairs")                                                                        \
    X(PAIR_ADD, "INSERT INTO pairs(\"user\", hash, conversation, context, chosen, rejected, chosen_score, "            \
                "rejected_score, split, subsets, type, attributes, weight, best_of) VALUES(?1, ?2, ?3, ?4, ?5, ?6, "   \
                "?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14) ON CONFLICT DO NOTHING")                                         \
    X(PAIR_SAME, "SELECT key, split FROM pairs WHERE \"user\" = ?1 AND hash = ?2")                                     \
    X(PAIR_COMPLETE, "UPDATE pairs SET chosen_score = coalesce(chosen_score, ?2), rejected_score = "                   \
                     "coalesce(rejected_score, ?3), split = CASE split WHEN '' THEN ?4 ELSE split END, "               \
                     "subsets = CASE subsets WHEN '[]' THEN ?5 ELSE subsets END, type = CASE type WHEN '' THEN ?6 "    \
                     "ELSE type END, attributes = CASE attributes WHEN '' THEN ?7 ELSE attributes END WHERE key = ?1") \
    X(PAIRS, "SELECT key, conversation, context, chosen, rejected, chosen_score, rejected_score, split, subsets, "     \
             "type, attributes, weight, best_of FROM pairs WHERE \"user\" = ?1 AND (?2 IS NULL OR split = ?2) "        \
             "ORDER BY key")                                                                                           \
    X(PAIR_DROP, "DELETE FROM pairs WHERE key = ?1")                                                                   \
    X(VECTOR_PUT, "INSERT INTO vectors(pair, what, embedder, v) VALUES(?1, ?2, ?3, ?4) ON CONFLICT(pair, what, "       \
                  "embedder) DO UPDATE SET v = excluded.v")                                                            \
    X(VECTOR_GET, "SELECT v FROM vectors WHERE pair = ?1 AND what = ?2 AND embedder = ?3")                             \
    X(ANALYSIS_PUT, "INSERT INTO analyses(pair, model, text) VALUES(?1, ?2, ?3) ON CONFLICT(pair, model) DO UPDATE "   \
                    "SET text = excluded.text")                                                                        \
    X(ANALYSIS_GET, "SELECT text FROM analyses WHERE pair = ?1 AND model = ?2")                                        \
    X(CHORE_ADD, "INSERT INTO chores(name) VALUES(?1) ON CONFLICT DO NOTHING")                                         \
    X(CHORE_IS, "SELECT 1 FROM chores WHERE name = ?1")                                                                \
    X(CHORE_DONE, "DELETE FROM chores WHERE name = ?1")

typedef enum sql_name {
#define X(name, text) SQL_##name,
    STORE_SQL(X, "", "", "")
#undef X
        SQL_N
} sql_name;

enum { SQL_KNOWN = 1024 };
enum { SQL_VALUES = 16 }; /* parameters of a statement, at most */

typedef struct sql_value {
    char type;         /* 't' text, 'i' integer, 'd' real, 'b' bytes */
    bool null;
    int64_t integer;
    double real;
    const void *bytes; /* (n) of 't' and 'b'; a text has its NUL behind it */
    size_t n;
} sql_value;

/* What a database does for a store; every message begins with the store's path. */
typedef struct sql_ops {
    int64_t page; /* rows of a long list that one SELECT is asked for */
    void (*close)(pgr_store *s); /* what it holds, and itself */
    void (*set_patience)(pgr_store *s);
    pgr_status (*read_only)(pgr_store *s, pgr_error *err); /* from now on */
    pgr_status (*durable)(pgr_store *s, pgr_error *err);   /* from now on commits wait for the disk; NULL: always */

    /* The tables: whose they are (PGR_E_FORMAT: another program's) and of which version (0: there are none). */
    pgr_status (*version)(pgr_store *s, int64_t *version, pgr_error *err);
    pgr_status (*fail_bare)(pgr_store *s, pgr_error *err); /* there are none, and none are to be made */
    pgr_status (*before_tables)(pgr_store *s, pgr_error *err);
    pgr_status (*make_tables)(pgr_store *s, int64_t version, pgr_error *err); /* from version - 1, in a transaction */
    /* What deleted rows left; PGR_E_IO where that must wait. whole: all tables are rewritten, too. */
    pgr_status (*erase)(pgr_store *s, bool whole, pgr_error *err);

    pgr_status (*begin)(pgr_store *s, bool many /* users' rows */, pgr_error *err);
    pgr_status (*commit)(pgr_store *s, pgr_error *err);
    void (*rollback)(pgr_store *s);

    /* Up to the first row, and from row to row; sets s->changed behind the last one. */
    pgr_status (*run)(pgr_store *s, sql_name name, const sql_value *v, size_t n, bool *row, pgr_error *err);
    pgr_status (*next)(pgr_store *s, sql_name name, bool *row, pgr_error *err);
    void (*end)(pgr_store *s, sql_name name);
    bool (*is_null)(pgr_store *s, sql_name name, int column);
    int64_t (*integer)(pgr_store *s, sql_name name, int column);
    double (*real)(pgr_store *s, sql_name name, int column);
    const char *(*text)(pgr_store *s, sql_name name, int column);
    const void *(*bytes)(pgr_store *s, sql_name name, int column, size_t *n);
} sql_ops;

struct pgr_store { /* a database's own begins with it */
    const sql_ops *ops;
    char *path; /* to be shown */
    int patience_ms;
    bool opened;        /* damage found from then on is no fault of what is being read in */
    bool batch;         /* between begin and commit */
    bool conflict;      /* the last error was another program's doing: the same may work when it is done again */
    bool owing;         /* bytes of deleted rows are to be erased yet: a reader was in the way */
    bool full;          /* the last transaction failed for want of room on the disk */
    size_t changed;     /* rows, by the last statement that was run to its end */
    struct known_user {
        char *id; /* NULL: none */
        int64_t key;
    } known[SQL_KNOWN]; /* users whom the open batch has met, by their ids' hash; the latest of a slot */
    size_t users_added; /* since it was opened, rolled back ones too */
    buf scratch;
};

/* Opened, its tables not yet looked at; *out is to be closed after an error, too, where it is not NULL. */
pgr_status sql_open_sqlite(const char *path, pgr_store_mode mode, pgr_store **out, pgr_error *err);
pgr_status sql_open_postgres(const char *address, pgr_store **out, pgr_error *err);

/* Is it an address that can be used? Messages never repeat it: it may hold a password. */
pgr_status sql_postgres_check(const char *address, pgr_error *err);
/* The address without what may be secret; it is an address, too. The caller's (mem_free). */
pgr_status sql_postgres_show(const char *address, char **out, pgr_error *err);
/* A file's name for it, without a folder: "postgres-HOST-PORT-DATABASE". The caller's (mem_free). */
pgr_status sql_postgres_name(const char *address, char **out, pgr_error *err);

void sql_forget_known(pgr_store *s);

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
const void *sql_bytes(pgr_store *s, sql_name name, int column, size_t *n); /* until the next row */

#endif
