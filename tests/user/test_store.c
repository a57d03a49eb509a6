/* test_store.c - a store of users: what goes in comes out, once; all of a batch or none; older, newer and foreign
 * files; what is derived goes with its user. */
#include <math.h>
#include <sqlite3.h>

#include "../base/faults.h"
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
    return open_store(path_of(name), PGR_STORE_CREATE);
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

/* A single value that SQL says of the file. */
static int64_t ask_sql(const char *path, const char *sql) {
    sqlite3 *db = NULL;
    sqlite3_stmt *q = NULL;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    if (sqlite3_prepare_v2(db, sql, -1, &q, NULL) != SQLITE_OK) fail_msg("%s", sqlite3_errmsg(db));
    int64_t v = sqlite3_step(q) == SQLITE_ROW ? sqlite3_column_int64(q, 0) : -1;
    sqlite3_finalize(q);
    sqlite3_close(db);
    return v;
}

static void run_sql(const char *path, const char *sql) {
    sqlite3 *db = NULL;
    char *why = NULL;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    if (sqlite3_exec(db, sql, NULL, NULL, &why) != SQLITE_OK) fail_msg("%s", why);
    sqlite3_close(db);
}

static void assert_refused(const char *path, pgr_store_mode mode, pgr_status want, const char *message) {
    pgr_store *s = NULL;
    pgr_error err = {0};
    assert_int_equal(pgr_store_open(path, mode, &s, &err), want);
    assert_null(s);
    assert_non_null(strstr(err.message, path));
    assert_string_equal(strstr(err.message, ": ") ? strstr(err.message, ": ") + 2 : "", message);
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

    s = open_store(path_of("a.db"), PGR_STORE_READ);
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
    pgr_store *s = new_store("batch.db"), *reader = open_store(path_of("batch.db"), PGR_STORE_READ);
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
    assert_int_equal(
        ask_sql(path_of("batch.db"), "SELECT count(*) FROM pragma_integrity_check WHERE integrity_check = 'ok'"), 1);
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
    const char *path = path_of("derived.db");
    assert_int_equal(ask_sql(path, "SELECT count(*) FROM vectors"), 0);
    assert_int_equal(ask_sql(path, "SELECT count(*) FROM analyses"), 0);
    assert_int_equal(ask_sql(path, "SELECT count(*) FROM pairs"), 1);
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
    assert_int_equal(ask_sql(path, "PRAGMA user_version"), 3);
    assert_int_equal(ask_sql(path, "SELECT count(*) FROM vectors"), 0);
}

static void test_other_files(void **state) {
    (void)state;
    const char *path = path_of("new.db");
    run_sql(path, VERSION_1 "PRAGMA user_version = 4");
    assert_refused(path, PGR_STORE_CREATE, PGR_E_UNSUPPORTED,
                   "found version 4 of the store, expected at most 3: a newer pgenrm wrote it");
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
    pgr_error err = {0};
    char *found = NULL;
    assert_int_equal(pgr_store_find("postgres://me:secret@host/db", &found, &err), PGR_E_UNSUPPORTED);
    assert_string_equal(err.message,
                        "postgres://host/db: stores in PostgreSQL are not built in, expected the path of a file");
    assert_int_equal(pgr_store_open("postgresql://host/db", PGR_STORE_READ, &s, &err), PGR_E_UNSUPPORTED);
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

/* Ours only: SQLite has an allocator of its own. */
static bool work_once(void) {
    pgr_store *s = NULL;
    arena a = {0};
    stored_user u;
    size_t n = 0;
    bool added;
    pair_record p = full_pair("u1", "one");
    static const char *const criteria[] = {"short"};
    user_record r = {.id = "u1", .criteria = criteria, .n_criteria = 1, .demographics = "d"};
    bool good = pgr_store_open(path_of("mem.db"), PGR_STORE_CREATE, &s, NULL) == PGR_OK
                && store_begin(s, NULL) == PGR_OK && store_put_user(s, &r, NULL) == PGR_OK
                && store_put_pair(s, &p, &added, NULL) == PGR_OK && store_commit(s, NULL) == PGR_OK
                && store_load_user(s, "u1", NULL, &a, &u, NULL) == PGR_OK && store_count(s, &n, &n, NULL) == PGR_OK;
    pgr_store_close(s);
    arena_free(&a);
    return good;
}

static void test_out_of_memory(void **state) {
    (void)state;
    assert_true(fail_each_allocation(work_once) > 10);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_in_and_out),  cmocka_unit_test(test_same_pair), cmocka_unit_test(test_batches),
        cmocka_unit_test(test_each_user),   cmocka_unit_test(test_derived),   cmocka_unit_test(test_older_version),
        cmocka_unit_test(test_other_files), cmocka_unit_test(test_damage),    cmocka_unit_test(test_out_of_memory),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
