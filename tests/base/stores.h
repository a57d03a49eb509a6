/* stores.h - for tests of what keeps users: the same ones over both kinds of store. A group of tests that begins with
 * begin_files has its stores in the program's folder, one that begins with begin_postgres in databases of a server of
 * its own (postgres.h). */
#ifndef PGR_TESTS_STORES_H
#define PGR_TESTS_STORES_H

#include <sqlite3.h>

#include "postgres.h"
#include "scratch.h"

static bool on_postgres;

static inline int begin_files(void **state) {
    on_postgres = false;
    return make_folder(state);
}

static inline int end_files(void **state) {
    return remove_folder(state);
}

/* After a postgres_start that found a server. */
static inline int begin_postgres(void **state) {
    on_postgres = true;
    return make_folder(state);
}

static inline int end_postgres(void **state) {
    postgres_stop();
    return remove_folder(state);
}

/* Where a store of this name is: a file's path, or the address of a database, which is made if it is not there. One of
 * eight buffers in turn. */
static inline const char *store_at(const char *name) {
    if (!on_postgres) return path_of(name);
    char database[60], sql[160];
    int64_t there = 0;
    snprintf(database, sizeof database, "%s", name);
    for (char *c = database; *c; c++)
        if (*c == '.') *c = '_';
    snprintf(sql, sizeof sql, "SELECT count(*) FROM pg_database WHERE datname = '%s'", database);
    bool good = postgres_sql(postgres_address("postgres"), sql, &there);
    snprintf(sql, sizeof sql, "CREATE DATABASE %s", database);
    if (good && there == 0) good = postgres_sql(postgres_address("postgres"), sql, NULL);
    if (!good) abort();
    return postgres_address(database);
}

/* A single number that SQL says of a store. */
static inline int64_t ask_sql(const char *at, const char *sql) {
    int64_t v = -1;
    if (on_postgres) {
        if (!postgres_sql(at, sql, &v)) abort();
        return v;
    }
    sqlite3 *db = NULL;
    sqlite3_stmt *q = NULL;
    if (sqlite3_open(at, &db) != SQLITE_OK || sqlite3_prepare_v2(db, sql, -1, &q, NULL) != SQLITE_OK) {
        fprintf(stderr, "%s: %s\n", sql, sqlite3_errmsg(db));
        abort();
    }
    if (sqlite3_step(q) == SQLITE_ROW) v = sqlite3_column_int64(q, 0);
    sqlite3_finalize(q);
    sqlite3_close(db);
    return v;
}

static inline void run_sql(const char *at, const char *sql) {
    if (on_postgres) {
        if (!postgres_sql(at, sql, NULL)) abort();
        return;
    }
    sqlite3 *db = NULL;
    char *why = NULL;
    if (sqlite3_open(at, &db) != SQLITE_OK || sqlite3_exec(db, sql, NULL, NULL, &why) != SQLITE_OK) {
        fprintf(stderr, "%s: %s\n", sql, why ? why : "not opened");
        abort();
    }
    sqlite3_close(db);
}

/* The number of rows of a table. */
static inline int64_t count_in(const char *at, const char *table, const char *where) {
    char sql[300];
    snprintf(sql, sizeof sql, "SELECT count(*) FROM %s%s WHERE %s", on_postgres ? "pgenrm." : "", table, where);
    return ask_sql(at, sql);
}

#endif
