/* test_store.c - a store of users: what goes in comes out, once; all of a batch or none; older, newer and foreign
 * ones; what is derived goes with its user. Over files and over PostgreSQL, and then what only one of them has: damaged
 * files, a server that goes away. */
#include <math.h>
#include <pthread.h>

#include "../base/faults.h"
#include "../base/stores.h"
#include "dataset_make.h"
#include "user/store.h"

static const turn ASKED[] = {{"user", "a?"}, {"assistant", "b"}, {"user", "c?"}};
static const char *const SUBSETS[] = {"close", "mirror"};

/* A pair with everything in it. */
static pair_record full_pair(const char *user, const char *chosen) {
    return (pair_record){.user_id = user,
                         .conversation_id = "c1",
                         .pair = {.context = ASKED, .n_context = 3, .chosen = chosen, .rejected = "no \"x\"\n"},
                         .chosen_score = 80.5,
                         .rejected_score = NAN,
                         .split = "train",
                         .subsets = SUBSETS,
                         .n_subset = 2,
                         .type = "unguided",
                         .choice_attributes = "values: 3",
                         .weight = 2.5,
                         .group = "g"};
}

static pgr_store *open_store(const char *path, pgr_store_mode mode) {
    pgr_store *s = NULL;
    pgr_error err = {0};
    if (pgr_store_open(path, mode, &s, &err) != PGR_OK) fail_msg("%s", err.message);
    return s;
}

static pgr_store *new_store(const char *name) {
    return open_store(store_at(name), PGR_STORE_CREATE);
}

static void put_pair(pgr_store *s, pair_record p, bool want_added) {
    bool added = !want_added;
    pgr_error err = {0};
    if (store_put_pair(s, &p, &added, &err) != PGR_OK) fail_msg("%s", err.message);
    assert_int_equal(added, want_added);
}

static void assert_counts(pgr_store *s, size_t users, size_t pairs) {
    size_t n_user = 99, n_pair = 99;
    assert_int_equal(store_count(s, &n_user, &n_pair, NULL), PGR_OK);
    assert_int_equal(n_user, users);
    assert_int_equal(n_pair, pairs);
}

static void assert_refused(const char *path, pgr_store_mode mode, pgr_status want, const char *message) {
    pgr_store *s = NULL;
    pgr_error err = {0};
    assert_int_equal(pgr_store_open(path, mode, &s, &err), want);
    assert_null(s);
    size_t n = strlen(path);
    assert_true(strncmp(err.message, path, n) == 0 && strncmp(err.message + n, ": ", 2) == 0);
    assert_string_equal(err.message + n + 2, message);
}

/* ---- in and out ---- */

static void assert_full(const stored_user *u, size_t i, const char *chosen) {
    const pair_record *p = &u->pairs[i];
    assert_string_equal(p->user_id, u->user.id);
    assert_string_equal(p->conversation_id, "c1");
    assert_int_equal(p->pair.n_context, 3);
    assert_string_equal(p->pair.context[1].role, "assistant");
    assert_string_equal(p->pair.context[2].text, "c?");
    assert_string_equal(p->pair.chosen, chosen);
    assert_string_equal(p->pair.rejected, "no \"x\"\n");
    assert_true(p->chosen_score == 80.5 && isnan(p->rejected_score));
    assert_string_equal(p->split, "train");
    assert_int_equal(p->n_subset, 2);
    assert_string_equal(p->subsets[1], "mirror");
    assert_string_equal(p->type, "unguided");
    assert_string_equal(p->choice_attributes, "values: 3");
    assert_true(p->weight == 2.5);
    assert_string_equal(p->group, "g");
}

static void test_in_and_out(void **state) {
    (void)state;
    pgr_store *s = new_store("a.db");
    static const char *const criteria[] = {"short", "no \"jargon\""};
    user_record u = {.id = "ü1", .criteria = criteria, .n_criteria = 2, .demographics = "age: 41"};
    assert_int_equal(store_put_user(s, &u, NULL), PGR_OK);
    put_pair(s, full_pair("ü1", "one"), true);
    put_pair(s, full_pair("u2", "one"), true);
    put_pair(s, full_pair("ü1", "two"), true);
    pgr_store_close(s);

    s = open_store(store_at("a.db"), PGR_STORE_READ);
    assert_counts(s, 2, 3);
    bool there = false;
    assert_int_equal(store_has_user(s, "u2", &there, NULL), PGR_OK);
    assert_true(there);
    assert_int_equal(store_has_user(s, "u3", &there, NULL), PGR_OK);
    assert_false(there);
    arena a = {0};
    stored_user got;
    pgr_error err = {0};
    assert_int_equal(store_load_user(s, "ü1", NULL, &a, &got, &err), PGR_OK);
    assert_int_equal(got.n_pair, 2);
    assert_full(&got, 0, "one");
    assert_full(&got, 1, "two");
    assert_true(got.pair_keys[0] < got.pair_keys[1]);
    assert_int_equal(got.user.n_criteria, 2);
    assert_string_equal(got.user.criteria[1], "no \"jargon\"");
    assert_string_equal(got.user.demographics, "age: 41");
    assert_int_equal(store_load_user(s, "u2", "test", &a, &got, &err), PGR_OK);
    assert_int_equal(got.n_pair, 0);
    assert_int_equal(got.user.n_criteria, 0);
    assert_int_equal(store_load_user(s, "u3", NULL, &a, &got, &err), PGR_E_ARG);
    assert_non_null(strstr(err.message, "there is no user \"u3\""));
    pair_record p = full_pair("u2", "x");
    bool added;
    assert_int_equal(store_put_pair(s, &p, &added, NULL), PGR_E_IO); /* opened for reading */
    arena_free(&a);
    pgr_store_close(s);
}

/* The same pair is one, what was missing of it is filled in, and its split cannot change. */
static void test_same_pair(void **state) {
    (void)state;
    pgr_store *s = new_store("same.db");
    pair_record bare = full_pair("u", "one");
    bare.chosen_score = NAN;
    bare.split = bare.type = bare.choice_attributes = "";
    bare.n_subset = 0;
    put_pair(s, bare, true);
    put_pair(s, full_pair("u", "one"), false);
    put_pair(s, bare, false); /* takes nothing away */
    pair_record moved = full_pair("u", "one");
    moved.split = "test";
    bool added = false;
    pgr_error err = {0};
    assert_int_equal(store_put_pair(s, &moved, &added, &err), PGR_E_FORMAT);
    assert_string_equal(err.message,
                        "split: found \"test\", expected \"train\" as the store has it for this pair of user u");
    pair_record other = full_pair("u", "one"); /* one part differs: another pair */
    other.conversation_id = "c2";
    put_pair(s, other, true);
    other.pair.n_context = 1;
    put_pair(s, other, true);
    arena a = {0};
    stored_user got;
    assert_int_equal(store_load_user(s, "u", NULL, &a, &got, NULL), PGR_OK);
    assert_int_equal(got.n_pair, 3);
    assert_full(&got, 0, "one");
    arena_free(&a);
    pgr_store_close(s);
}

static void test_batches(void **state) {
    (void)state;
    pgr_store *s = new_store("batch.db"), *reader = open_store(store_at("batch.db"), PGR_STORE_READ);
    assert_int_equal(store_begin(s, NULL), PGR_OK);
    put_pair(s, full_pair("u1", "one"), true);
    assert_counts(reader, 0, 0); /* not yet there for others */
    store_rollback(s);
    assert_counts(s, 0, 0);
    assert_int_equal(store_begin(s, NULL), PGR_OK);
    put_pair(s, full_pair("u1", "one"), true); /* the user that was rolled back is made again */
    put_pair(s, full_pair("u1", "two"), true);
    assert_int_equal(store_commit(s, NULL), PGR_OK);
    assert_counts(reader, 1, 2);
    assert_int_equal(store_begin(s, NULL), PGR_OK);
    put_pair(s, full_pair("u2", "one"), true);
    pgr_store_close(s); /* without commit: as if it had not begun */
    assert_counts(reader, 1, 2);
    pgr_store_close(reader);
    if (on_postgres) return;
    assert_int_equal(
        ask_sql(path_of("batch.db"), "SELECT count(*) FROM pragma_integrity_check WHERE integrity_check = 'ok'"), 1);
}

/* Who finds another program at work waits, and says so when he has waited enough. */
static void test_busy(void **state) {
    (void)state;
    pgr_store *s = new_store("busy.db"), *other = open_store(store_at("busy.db"), PGR_STORE_WRITE);
    put_pair(s, full_pair("u1", "one"), true);
    store_set_patience(other, 50);
    assert_int_equal(store_begin(s, NULL), PGR_OK);
    put_pair(s, full_pair("u1", "two"), true);
    pgr_error err = {0};
    assert_int_equal(store_begin(other, &err), PGR_E_IO);
    assert_non_null(strstr(err.message, ": another program has been using the store for 0.05 seconds, try again"));
    bool added = false;
    pair_record p = full_pair("u1", "two");
    assert_int_equal(store_put_pair(other, &p, &added, NULL), PGR_E_IO); /* the same pair: it may yet come */
    assert_int_equal(store_commit(s, NULL), PGR_OK);
    put_pair(other, full_pair("u1", "two"), false);
    assert_int_equal(store_begin(other, NULL), PGR_OK);
    put_pair(other, full_pair("u1", "three"), true);
    assert_int_equal(store_commit(other, NULL), PGR_OK);
    assert_counts(s, 1, 3);
    pgr_store_close(other);
    pgr_store_close(s);
}

enum { WRITERS = 4, WRITES = 15 };

/* One of several programs: the pairs of a user whom all write, each from another place on, and of one of its own. */
static bool write_as(int w) {
    pgr_store *s = NULL;
    bool good = pgr_store_open(store_at("many.db"), PGR_STORE_WRITE, &s, NULL) == PGR_OK;
    for (int i = 0; i < WRITES && good; i++) {
        char json[300];
        pgr_imported got;
        snprintf(
            json, sizeof json,
            "{\"id\":\"%s%d\",\"history\":[{\"query\":\"q\",\"chosen\":\"%d\",\"rejected\":\"no\"},{\"query\":\"q\","
            "\"chosen\":\"%d\",\"rejected\":\"no\"}]}",
            i % 2 ? "all" : "own", i % 2 ? 0 : w, (i + 4 * w) % WRITES, (i + 9 * w + 7) % WRITES);
        good = pgr_user_add(s, json, strlen(json), NULL, &got, NULL) == PGR_OK;
    }
    pgr_store_close(s);
    return good;
}

/* Several programs add pairs of the same user in different orders: none fails, each pair is there once. */
static void test_many_writers(void **state) {
    (void)state;
    pgr_store_close(new_store("many.db"));
    pid_t children[WRITERS];
    for (int w = 0; w < WRITERS; w++) {
        children[w] = fork();
        if (children[w] == 0) _exit(!write_as(w));
    }
    for (int w = 0; w < WRITERS; w++) {
        int status = -1;
        assert_true(children[w] > 0 && waitpid(children[w], &status, 0) == children[w]);
        assert_int_equal(status, 0);
    }
    const char *at = store_at("many.db");
    assert_int_equal(count_in(at, "users", "true"), 1 + WRITERS);
    assert_int_equal(count_in(at, "users", "id = 'all0'"), 1);
    int64_t pairs = count_in(at, "pairs", "true");
    char sql[200];
    snprintf(sql, sizeof sql, "SELECT count(*) FROM (SELECT DISTINCT \"user\", chosen FROM %spairs) d",
             on_postgres ? "pgenrm." : "");
    assert_int_equal(ask_sql(at, sql), pairs);
    assert_in_range(pairs, WRITES + WRITERS * WRITES / 2, (1 + WRITERS) * WRITES);
}

static pgr_status collect(void *ctx, const stored_user *u, pgr_error *err) {
    buf *b = ctx;
    buf_printf(b, "%s:%zu ", u->user.id, u->n_pair);
    return strcmp(u->user.id, "stop") == 0 ? (fail)(err, PGR_E_CANCELLED, "stopped") : PGR_OK;
}

static void test_each_user(void **state) {
    (void)state;
    pgr_store *s = new_store("each.db");
    put_pair(s, full_pair("b", "one"), true);
    put_pair(s, full_pair("a", "one"), true);
    put_pair(s, full_pair("b", "two"), true);
    buf b = {0};
    assert_int_equal(store_each_user(s, NULL, collect, &b, NULL), PGR_OK);
    assert_string_equal(b.data, "b:2 a:1 ");
    buf_clear(&b);
    put_pair(s, full_pair("stop", "one"), true);
    put_pair(s, full_pair("z", "one"), true);
    pgr_error err = {0};
    assert_int_equal(store_each_user(s, "test", collect, &b, &err), PGR_E_CANCELLED);
    assert_string_equal(b.data, "b:0 a:0 stop:0 ");
    assert_string_equal(err.message, "stopped");
    buf_free(&b);
    pgr_store_close(s);
}

/* ---- derived ---- */

static void test_derived(void **state) {
    (void)state;
    pgr_store *s = new_store("derived.db");
    put_pair(s, full_pair("u1", "one"), true);
    put_pair(s, full_pair("u2", "one"), true);
    arena a = {0};
    stored_user u;
    assert_int_equal(store_load_user(s, "u1", NULL, &a, &u, NULL), PGR_OK);
    int64_t key = u.pair_keys[0];
    const float v[3] = {1.5f, -2, 1e-30f};
    float got[3] = {9, 9, 9};
    bool found = true;
    assert_int_equal(store_get_vector(s, key, "chosen", "e", got, 3, &found, NULL), PGR_OK);
    assert_false(found);
    assert_int_equal(store_put_vector(s, key, "chosen", "e", got, 3, NULL), PGR_OK);
    assert_int_equal(store_put_vector(s, key, "chosen", "e", v, 3, NULL), PGR_OK); /* replaces */
    assert_int_equal(store_get_vector(s, key, "chosen", "e", got, 3, &found, NULL), PGR_OK);
    assert_true(found);
    assert_memory_equal(got, v, sizeof v);
    assert_int_equal(store_get_vector(s, key, "rejected", "e", got, 3, &found, NULL), PGR_OK);
    assert_false(found);
    pgr_error err = {0};
    assert_int_equal(store_get_vector(s, key, "chosen", "e", got, 2, &found, &err), PGR_E_FORMAT);
    assert_non_null(strstr(err.message, "found a vector of 3 values by e, expected 2"));
    const char *text = "x";
    assert_int_equal(store_get_analysis(s, key, "m", &a, &text, NULL), PGR_OK);
    assert_null(text);
    assert_int_equal(store_put_analysis(s, key, "m", "likes it short", NULL), PGR_OK);
    assert_int_equal(store_get_analysis(s, key, "m", &a, &text, NULL), PGR_OK);
    assert_string_equal(text, "likes it short");
    assert_int_equal(store_put_vector(s, 12345, "chosen", "e", v, 3, NULL), PGR_E_IO); /* of no pair */
    const char *ids[] = {"u1"};
    assert_int_equal(pgr_user_forget(s, ids, 1, NULL), PGR_OK);
    pgr_store_close(s);
    arena_free(&a);
    const char *at = store_at("derived.db");
    assert_int_equal(count_in(at, "vectors", "true"), 0);
    assert_int_equal(count_in(at, "analyses", "true"), 0);
    assert_int_equal(count_in(at, "pairs", "true"), 1);
}

/* ---- other files ---- */

#define VERSION_1                                                                                                      \
    "CREATE TABLE users(key INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, demographics TEXT NOT NULL,"   \
    " criteria TEXT NOT NULL);"                                                                                        \
    "CREATE TABLE pairs(key INTEGER PRIMARY KEY AUTOINCREMENT, user INTEGER NOT NULL REFERENCES users ON DELETE "      \
    "CASCADE, hash BLOB NOT NULL, conversation TEXT NOT NULL, context TEXT NOT NULL, chosen TEXT NOT NULL, rejected "  \
    "TEXT NOT NULL, chosen_score REAL, rejected_score REAL, split TEXT NOT NULL, subsets TEXT NOT NULL, type TEXT "    \
    "NOT "                                                                                                             \
    "NULL, attributes TEXT NOT NULL, UNIQUE(user, hash)); PRAGMA application_id = 0x50475552; PRAGMA user_version = "  \
    "1;"

/* A file of version 1, as that version made it: its users are there, and it has today's tables afterwards. */
static void test_older_version(void **state) {
    (void)state;
    const char *path = path_of("old.db");
    run_sql(path,
            VERSION_1 "INSERT INTO users(id, demographics, criteria) VALUES('u', 'age: 3', '[\"x\"]');"
                      "INSERT INTO pairs(user, hash, conversation, context, chosen, rejected, split, subsets, type, "
                      "attributes) VALUES(1, x'00', 'c', '[{\"role\":\"user\",\"content\":\"q\"}]', 'a', 'b', '', "
                      "'[]', '', '');");
    pgr_store *s = open_store(path, PGR_STORE_READ);
    arena a = {0};
    stored_user u;
    assert_int_equal(store_load_user(s, "u", NULL, &a, &u, NULL), PGR_OK);
    assert_int_equal(u.n_pair, 1);
    assert_string_equal(u.user.criteria[0], "x");
    const char *text = "x";
    assert_int_equal(store_get_analysis(s, u.pair_keys[0], "m", &a, &text, NULL), PGR_OK);
    arena_free(&a);
    pgr_store_close(s);
    assert_int_equal(ask_sql(path, "PRAGMA user_version"), 4);
    assert_int_equal(count_in(path, "chores", "name = 'rewrite'"), 1); /* with the first user who is forgotten */
    assert_int_equal(ask_sql(path, "SELECT count(*) FROM vectors"), 0);
}

static void test_other_files(void **state) {
    (void)state;
    const char *path = path_of("new.db");
    run_sql(path, VERSION_1 "PRAGMA user_version = 5");
    assert_refused(path, PGR_STORE_CREATE, PGR_E_UNSUPPORTED,
                   "found version 5 of the store, expected at most 4: a newer pgenrm wrote it");
    run_sql(path_of("other.db"), "CREATE TABLE t(x)");
    assert_refused(path_of("other.db"), PGR_STORE_CREATE, PGR_E_FORMAT,
                   "found an SQLite database of another program, expected a store of users");
    write_text(
        "text.db",
        "this is a file of plain text, long enough to hold what a header of SQLite would take up in it..........");
    assert_refused(path_of("text.db"), PGR_STORE_CREATE, PGR_E_FORMAT,
                   "found a file that is no SQLite database, expected a store of users");
    assert_refused(path_of("none.db"), PGR_STORE_WRITE, PGR_E_IO,
                   "there is no store yet (`pgenrm user import` or `user add` makes one)");
    write_text("empty.db", "");
    assert_refused(path_of("empty.db"), PGR_STORE_READ, PGR_E_FORMAT,
                   "found a database without tables, expected a store of users");
    pgr_store *s = open_store(path_of("a/b/c.db"), PGR_STORE_CREATE); /* with its folders */
    pgr_store_close(s);
}

/* Pages overwritten with noise: an error that names the file, or what is still whole; never a crash. */
static void test_damage(void **state) {
    (void)state;
    pgr_store *s = new_store("damaged.db");
    char chosen[2000];
    for (int i = 0; i < 40; i++) {
        snprintf(chosen, sizeof chosen, "%01999d", i);
        put_pair(s, full_pair(i % 2 ? "u1" : "u2", chosen), true);
    }
    pgr_store_close(s);
    char path[160], copy[160];
    strcpy(path, path_of("damaged.db"));
    strcpy(copy, path_of("d2.db"));
    long size = (long)ask_sql(path, "SELECT page_size * page_count FROM pragma_page_size, pragma_page_count");
    int refused = 0;
    for (long at = 4096; at < size; at += 4096) {
        char command[700];
        snprintf(command, sizeof command,
                 "cp %s %s && head -c 3000 /dev/zero | tr '\\0' 'z' | dd of=%s bs=1 seek=%ld conv=notrunc 2>/dev/null",
                 path, copy, copy, at);
        assert_int_equal(system(command), 0);
        pgr_error err = {0};
        pgr_store *d = NULL;
        buf b = {0};
        pgr_status status = pgr_store_open(copy, PGR_STORE_READ, &d, &err);
        if (status == PGR_OK) status = store_each_user(d, NULL, collect, &b, &err);
        if (status != PGR_OK) assert_true(err.status == status && strstr(err.message, "d2.db"));
        refused += status == PGR_E_FORMAT || status == PGR_E_IO; /* found while opening, or later */
        buf_free(&b);
        pgr_store_close(d);
    }
    assert_true(refused > 5);
}

/* ---- memory ---- */

/* Ours only: SQLite and libpq have allocators of their own. */
static bool work_once(void) {
    pgr_store *s = NULL;
    arena a = {0};
    stored_user u;
    size_t n = 0;
    bool added;
    pair_record p = full_pair("u1", "one");
    static const char *const criteria[] = {"short"};
    user_record r = {.id = "u1", .criteria = criteria, .n_criteria = 1, .demographics = "d"};
    bool good = pgr_store_open(store_at("mem.db"), PGR_STORE_CREATE, &s, NULL) == PGR_OK
                && store_begin(s, NULL) == PGR_OK && store_put_user(s, &r, NULL) == PGR_OK
                && store_put_pair(s, &p, &added, NULL) == PGR_OK && store_commit(s, NULL) == PGR_OK
                && store_load_user(s, "u1", NULL, &a, &u, NULL) == PGR_OK && store_count(s, &n, &n, NULL) == PGR_OK;
    pgr_store_close(s);
    arena_free(&a);
    return good;
}

/* What PostgreSQL adds to that: connecting and preparing; each run is a connection. */
static bool connect_once(void) {
    pgr_store *s = NULL;
    bool there = false, good = pgr_store_open(store_at("mem.db"), PGR_STORE_READ, &s, NULL) == PGR_OK
                               && store_has_user(s, "u1", &there, NULL) == PGR_OK;
    pgr_store_close(s);
    return good;
}

static void test_out_of_memory_connecting(void **state) {
    (void)state;
    pgr_store_close(new_store("mem.db"));
    assert_true(fail_each_allocation(connect_once) > 3);
}

static void test_out_of_memory(void **state) {
    (void)state;
    assert_true(fail_each_allocation(work_once) > 10);
}

/* ---- addresses ---- */

static void assert_address_refused(const char *address, pgr_status want, const char *says) {
    pgr_error err = {0};
    char *found = NULL;
    pgr_store *s = NULL;
    assert_int_equal(pgr_store_find(address, &found, &err), want);
    assert_non_null(strstr(err.message, says));
    assert_null(strstr(err.message, "secret"));
    assert_int_equal(pgr_store_open(address, PGR_STORE_READ, &s, &err), want);
    assert_non_null(strstr(err.message, says));
    assert_null(strstr(err.message, "secret"));
    assert_null(s);
}

static char *protos_of(const char *path) {
    char *file = NULL;
    pgr_error err = {0};
    if (pgr_store_protos(path, &file, &err) != PGR_OK) fail_msg("%s", err.message);
    return file;
}

#ifdef PGR_POSTGRES

/* The error of a server that is not there begins with the address as it is shown. */
static void assert_opens_as(const char *address, const char *want) {
    pgr_store *s = NULL;
    pgr_error err = {0};
    assert_int_equal(pgr_store_open(address, PGR_STORE_READ, &s, &err), PGR_E_IO);
    if (strncmp(err.message, want, strlen(want)) != 0) fail_msg("%s, wanted %s", err.message, want);
    assert_null(strstr(err.message, "secret"));
}

#endif

/* A password is in no message and in no name. */
static void test_addresses(void **state) {
    (void)state;
    char *file = protos_of("/a/users.db");
    assert_string_equal(file, "/a/users.db.protos");
    pgr_free(file);
#ifndef PGR_POSTGRES
    assert_address_refused("postgres://me:secret@host/db", PGR_E_UNSUPPORTED, "libpq-dev");
#else
    static const char *const bad[] = {"postgres://me:se/secret@host/db", "postgresql://me:se@secret@host/db",
                                      "postgres://me:1/secret@host/db",  "postgres://me:secret@host:port/db",
                                      "postgres://host/db?secret=1",     "postgres://[secret/db"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_address_refused(bad[i], PGR_E_ARG, "postgres://...: found an address that cannot be read, expected");
    char *found = NULL;
    assert_int_equal(pgr_store_find("postgresql://me:secret@host/db", &found, NULL), PGR_OK);
    assert_string_equal(found, "postgresql://me:secret@host/db"); /* as it is: it is to be opened */
    pgr_free(found);
    setenv("PGENRM_HOME", "/home/me", 1);
    file = protos_of("postgres://me:secret@host:5433/db?sslmode=require");
    unsetenv("PGENRM_HOME");
    assert_string_equal(file, "/home/me/postgres-host-5433-db.protos");
    pgr_free(file);
    /* as shown, and shown again: what is shown is an address of the same store */
    static const char *const shown[][2] = {
        {"postgresql://me:secret@127.0.0.1:1/db?connect_timeout=2", "postgres://me@127.0.0.1:1/db: "},
        {"postgres://me%40work:secret@[::1]:1/a%20b", "postgres://me%40work@[::1]:1/a%20b: "},
        {"postgres://127.0.0.1:1,127.0.0.1:2/db?password=secret", "postgres:///db?host=127.0.0.1,127.0.0.1&port=1,2: "},
        {"postgres:///db?host=/no%20where&user=me&password=secret", "postgres://me@/db?host=/no%20where: "},
    };
    for (size_t i = 0; i < sizeof shown / sizeof *shown; i++) {
        char again[200];
        snprintf(again, sizeof again, "%.*s", (int)strlen(shown[i][1]) - 2, shown[i][1]);
        assert_opens_as(shown[i][0], shown[i][1]);
        assert_opens_as(again, shown[i][1]);
    }
    pgr_store *s = NULL;
    pgr_error err = {0};
    assert_int_equal(pgr_store_open("postgres://me:secret@127.0.0.1:1/db", PGR_STORE_READ, &s, &err), PGR_E_IO);
    static const char says[] = "postgres://me@127.0.0.1:1/db: connection to server at \"127.0.0.1\"";
    assert_true(strncmp(err.message, says, strlen(says)) == 0);
    assert_null(strstr(err.message, "secret"));
#endif
}

/* ---- PostgreSQL only ---- */

/* As the program of version 2 left it, a newer one, another program's schema, and nothing. */
static void test_other_schemas(void **state) {
    (void)state;
    const char *at = store_at("old.db");
    assert_refused(at, PGR_STORE_WRITE, PGR_E_IO,
                   "there is no store yet (`pgenrm user import` or `user add` makes one)");
    pgr_store *s = new_store("old.db");
    put_pair(s, full_pair("u", "one"), true);
    pgr_store_close(s);
    run_sql(at, "ALTER TABLE pgenrm.pairs DROP COLUMN weight, DROP COLUMN best_of; DROP INDEX pgenrm.users_by_bytes");
    run_sql(at, "UPDATE pgenrm.store SET version = 2");
    s = open_store(at, PGR_STORE_READ);
    arena a = {0};
    stored_user u;
    assert_int_equal(store_load_user(s, "u", NULL, &a, &u, NULL), PGR_OK);
    assert_true(u.n_pair == 1 && u.pairs[0].weight == 1);
    arena_free(&a);
    pgr_store_close(s);
    assert_int_equal(ask_sql(at, "SELECT version FROM pgenrm.store"), 4);
    run_sql(at, "UPDATE pgenrm.store SET version = 5");
    assert_refused(at, PGR_STORE_CREATE, PGR_E_UNSUPPORTED,
                   "found version 5 of the store, expected at most 4: a newer pgenrm wrote it");
    at = store_at("other.db");
    run_sql(at, "CREATE SCHEMA pgenrm CREATE TABLE t(x INTEGER)");
    assert_refused(at, PGR_STORE_CREATE, PGR_E_FORMAT,
                   "found a schema \"pgenrm\" of another program, expected a store of users");
    at = store_at("granted.db");
    run_sql(at, "CREATE SCHEMA pgenrm"); /* made by an administrator */
    pgr_store_close(open_store(at, PGR_STORE_CREATE));
    assert_int_equal(ask_sql(at, "SELECT version FROM pgenrm.store"), 4);
}

/* The server ends a connection between two calls and within a batch: what only reads does not notice, a write is an
 * error once, nothing of the batch is there, and everything goes on afterwards. */
static void test_server_goes_away(void **state) {
    (void)state;
    pgr_store *s = new_store("gone.db");
    const char *at = store_at("gone.db");
    put_pair(s, full_pair("u1", "one"), true);
    assert_true(postgres_cut(at));
    assert_counts(s, 1, 1);
    assert_true(postgres_cut(at));
    assert_int_equal(store_begin(s, NULL), PGR_OK); /* nor does this: nothing was done yet */
    put_pair(s, full_pair("u1", "two"), true);
    assert_true(postgres_cut(at));
    bool added = false;
    pgr_error err = {0};
    pair_record p = full_pair("u1", "three");
    for (int i = 0; i < 2; i++) {
        assert_int_equal(store_put_pair(s, &p, &added, &err), PGR_E_IO);
        assert_true(strncmp(err.message, at, strlen(at)) == 0);
        assert_non_null(strstr(err.message, ": the server is gone ("));
        assert_non_null(strstr(err.message, "what was not committed is undone, try again"));
    }
    assert_int_equal(store_commit(s, &err), PGR_E_IO);
    assert_counts(s, 1, 1);
    assert_true(postgres_cut(at));
    assert_int_equal(store_put_vector(s, 1, "chosen", "e", &(float){1}, 1, &err), PGR_E_IO);
    assert_int_equal(store_put_vector(s, 1, "chosen", "e", &(float){1}, 1, &err), PGR_OK);
    put_pair(s, full_pair("u1", "two"), true);
    pgr_store_close(s);
    s = open_store(at, PGR_STORE_READ);
    assert_true(postgres_cut(at));
    assert_counts(s, 1, 2);
    assert_int_equal(store_put_pair(s, &p, &added, &err), PGR_E_IO); /* still opened for reading */
    pgr_store_close(s);
}

/* The whole server dies as by kill -9 and is started again. */
static void test_server_dies(void **state) {
    (void)state;
    pgr_store *s = new_store("dies.db");
    put_pair(s, full_pair("u1", "one"), true);
    assert_true(postgres_down());
    const char *store_path = pgr_store_path(s);
    pgr_error err = {0};
    size_t n = 0;
    assert_int_equal(store_count(s, &n, &n, &err), PGR_E_IO);
    assert_true(strncmp(err.message, store_path, strlen(store_path)) == 0);
    assert_int_equal(store_begin(s, &err), PGR_E_IO);
    assert_true(postgres_up());
    assert_int_equal(store_begin(s, &err), PGR_OK);
    put_pair(s, full_pair("u1", "two"), true);
    assert_int_equal(store_commit(s, NULL), PGR_OK);
    assert_counts(s, 1, 2);
    pgr_store_close(s);
}

/* The server undoes what another program's rows are in the way of: it is done again, as often as is sensible. A trigger
 * plays the other program for the first `times` insertions. */
static void make_conflicts(const char *at, int times) {
    char sql[500];
    snprintf(
        sql, sizeof sql,
        "DROP SEQUENCE IF EXISTS n; CREATE SEQUENCE n; CREATE OR REPLACE FUNCTION f() RETURNS trigger LANGUAGE "
        "plpgsql AS $$ BEGIN IF nextval('public.n') <= %d THEN RAISE EXCEPTION 'made' USING ERRCODE = '40P01'; END "
        "IF; RETURN NEW; END $$; CREATE OR REPLACE TRIGGER t BEFORE INSERT ON pgenrm.pairs FOR EACH ROW EXECUTE "
        "FUNCTION f()",
        times);
    run_sql(at, sql);
}

static void test_conflicts(void **state) {
    (void)state;
    static const char user[] = "{\"id\":\"u\",\"history\":[{\"query\":\"q\",\"chosen\":\"c\",\"rejected\":\"r\"}]}";
    pgr_store *s = new_store("conflicts.db");
    const char *at = store_at("conflicts.db");
    pgr_imported got;
    pgr_error err = {0};
    make_conflicts(at, 3);
    assert_int_equal(pgr_user_add(s, user, strlen(user), NULL, &got, &err), PGR_OK);
    assert_true(got.users == 1 && got.pairs == 1 && got.known == 0);
    make_conflicts(at, 3);
    put_pair(s, full_pair("u", "one"), true);
    make_conflicts(at, 1000);
    bool added = false;
    pair_record p = full_pair("v", "two");
    assert_int_equal(store_put_pair(s, &p, &added, &err), PGR_E_IO);
    assert_non_null(strstr(err.message, "another program changed the same rows at the same moment (made), try again"));
    make_conflicts(at, 1000);
    static const char other[] = "{\"id\":\"w\",\"history\":[{\"query\":\"q\",\"chosen\":\"c\",\"rejected\":\"r\"}]}";
    assert_int_equal(pgr_user_add(s, other, strlen(other), NULL, &got, &err), PGR_E_IO);
    assert_int_equal(ask_sql(at, "SELECT last_value FROM n"), 5); /* tries */
    assert_int_equal(count_in(at, "users", "id = 'w'"), 0);
    assert_int_equal(count_in(at, "pairs", "true"), 2);
    pgr_store_close(s);
}

/* Pairs of one user each do not wait for a batch of many, where they are of other users. */
static void test_users_beside_batch(void **state) {
    (void)state;
    static const char user[] = "{\"id\":\"b\",\"history\":[{\"query\":\"q\",\"chosen\":\"c\",\"rejected\":\"r\"}]}";
    pgr_store *s = new_store("beside.db"), *other = open_store(store_at("beside.db"), PGR_STORE_WRITE);
    store_set_patience(other, 2000);
    pgr_imported got;
    assert_int_equal(store_begin(s, NULL), PGR_OK);
    put_pair(s, full_pair("a", "one"), true);
    assert_int_equal(pgr_user_add(other, user, strlen(user), NULL, &got, NULL), PGR_OK);
    assert_int_equal(store_commit(s, NULL), PGR_OK);
    assert_counts(s, 2, 2);
    pgr_store_close(other);
    pgr_store_close(s);
}

/* A name that comes from a command line may be anything: the server takes UTF-8 only. */
static void test_not_utf8(void **state) {
    (void)state;
    pgr_store *s = new_store("utf8.db");
    bool there = false;
    pgr_error err = {0};
    assert_int_equal(store_has_user(s, "a\xff", &there, &err), PGR_E_ARG);
    assert_non_null(strstr(err.message, ": found a text that is not UTF-8, expected UTF-8"));
    put_pair(s, full_pair("\xC3\xBC \x01 \xF0\x9F\x99\x82", "one"), true);
    pgr_store_close(s);
}

/* ---- one store that several programs make at the same moment ---- */

typedef struct opener {
    const char *at;
    pthread_barrier_t *start;
    pgr_status status;
    pgr_error err;
} opener;

static void *open_one(void *ctx) {
    opener *o = ctx;
    pgr_store *s = NULL;
    pthread_barrier_wait(o->start);
    o->status = pgr_store_open(o->at, PGR_STORE_CREATE, &s, &o->err);
    pgr_store_close(s);
    return NULL;
}

static void test_made_at_once(void **state) {
    (void)state;
    enum { N = 4 };
    pthread_barrier_t start;
    assert_int_equal(pthread_barrier_init(&start, NULL, N), 0);
    for (int round = 0, rounds = on_postgres ? 2 : 25; round < rounds; round++) {
        char name[32], at[512];
        snprintf(name, sizeof name, "made%d.db", round);
        snprintf(at, sizeof at, "%s", store_at(name));
        opener list[N];
        pthread_t threads[N];
        for (int i = 0; i < N; i++) {
            list[i] = (opener){.at = at, .start = &start};
            assert_int_equal(pthread_create(&threads[i], NULL, open_one, &list[i]), 0);
        }
        for (int i = 0; i < N; i++) assert_int_equal(pthread_join(threads[i], NULL), 0);
        for (int i = 0; i < N; i++)
            if (list[i].status != PGR_OK) fail_msg("round %d: %s", round, list[i].err.message);
    }
    pthread_barrier_destroy(&start);
}

#define BOTH                                                                                                           \
    cmocka_unit_test(test_in_and_out), cmocka_unit_test(test_same_pair), cmocka_unit_test(test_batches),               \
        cmocka_unit_test(test_made_at_once), cmocka_unit_test(test_busy), cmocka_unit_test(test_many_writers),         \
        cmocka_unit_test(test_each_user), cmocka_unit_test(test_derived)

int main(void) {
    const struct CMUnitTest files[] = {
        BOTH,
        cmocka_unit_test(test_out_of_memory),
        cmocka_unit_test(test_older_version),
        cmocka_unit_test(test_other_files),
        cmocka_unit_test(test_damage),
        cmocka_unit_test(test_addresses),
    };
    const struct CMUnitTest servers[] = {
        BOTH,
        cmocka_unit_test(test_out_of_memory_connecting),
        cmocka_unit_test(test_other_schemas),
        cmocka_unit_test(test_server_goes_away),
        cmocka_unit_test(test_server_dies),
        cmocka_unit_test(test_conflicts),
        cmocka_unit_test(test_users_beside_batch),
        cmocka_unit_test(test_not_utf8),
    };
    int failed = cmocka_run_group_tests_name("files", files, begin_files, end_files);
    if (postgres_start()) failed += cmocka_run_group_tests_name("PostgreSQL", servers, begin_postgres, end_postgres);
    return failed;
}
