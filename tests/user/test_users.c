/* test_users.c - the public calls on users: import and what becomes of bad files, add, list, load, export and back,
 * completing a request, and forgetting, down to the file's bytes. */
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "../base/faults.h"
#include "../base/stores.h"
#include "dataset_make.h"
#include "user/store.h"

static pgr_store *open_store(const char *name) {
    pgr_store *s = NULL;
    pgr_error err = {0};
    if (pgr_store_open(store_at(name), PGR_STORE_CREATE, &s, &err) != PGR_OK) fail_msg("%s", err.message);
    return s;
}

static pgr_imported import(pgr_store *s, const char *path, bool skip_bad) {
    pgr_import_options o = {.skip_bad = skip_bad};
    pgr_imported got = {0};
    pgr_error err = {0};
    if (pgr_user_import(s, path, &o, &got, &err) != PGR_OK) fail_msg("%s", err.message);
    return got;
}

static bool append(void *ctx, const char *text, size_t n) {
    buf_add(ctx, text, n);
    return true;
}

/* The store's lines; buf_free. */
static buf export_all(pgr_store *s, pgr_user_form form) {
    buf b = {0};
    pgr_error err = {0};
    if (pgr_user_export(s, NULL, form, append, &b, &err) != PGR_OK) fail_msg("%s", err.message);
    buf_putc(&b, '\0');
    return b;
}

#define SPLIT(s) ",\"split\":\"" s "\""

static void test_import(void **state) {
    (void)state;
    const char *good = write_text(
        "good.jsonl", ROW("u1", "a", "b", SPLIT("train")) ROW("u2", "a", "b", "") ROW("u1", "a", "b", "")
                          ROW("u1", "c", "d", SPLIT("test")) "{\"user_id\":\"u3\",\"demographics\":\"x\"}\n");
    pgr_store *s = open_store("import.db");
    pgr_imported got = import(s, good, false);
    assert_int_equal(got.users, 3);
    assert_int_equal(got.pairs, 3);
    assert_int_equal(got.known, 1);
    got = import(s, good, false); /* nothing new */
    assert_int_equal(got.users + got.pairs + got.skipped, 0);
    assert_int_equal(got.known, 4);

    const char *bad = write_text("bad.jsonl", ROW("u4", "a", "b", "")
                                                  ROW("u1", "c", "d", SPLIT("train")) "{\n" ROW("u4", "c", "d", ""));
    pgr_error err = {0};
    assert_int_equal(pgr_user_import(s, bad, NULL, &got, &err), PGR_E_FORMAT);
    char want[300];
    snprintf(want, sizeof want,
             "%s:2: split: found \"train\", expected \"test\" as the store has it for this pair of user u1", bad);
    assert_string_equal(err.message, want);
    assert_int_equal(got.pairs, 1); /* what came before the bad record is there */
    got = import(s, bad, true);
    assert_int_equal(got.known, 1);
    assert_int_equal(got.pairs, 1);
    assert_int_equal(got.skipped, 2);
    assert_string_equal(got.first_bad, want);

    pgr_cancel cancel = 1;
    pgr_import_options o = {.watch.cancel = &cancel};
    assert_int_equal(pgr_user_import(s, good, &o, &got, &err), PGR_E_CANCELLED);
    assert_int_equal(pgr_user_import(s, path_of("absent"), NULL, &got, &err), PGR_E_IO);
    pgr_store_close(s);
}

#define USER                                                                                                           \
    "{\"id\":\"ann\",\"criteria\":[\"short\"],\"demographics\":{\"age\":41},\"history\":[{\"query\":\"q\",\"chosen\":" \
    "\"c\","                                                                                                           \
    "\"rejected\":\"r\"},{\"context\":[{\"role\":\"system\",\"content\":\"s\"},{\"role\":\"user\",\"content\":\"x\"}]" \
    ","                                                                                                                \
    "\"chosen\":\"1\",\"rejected\":\"2\"}]}"

static bool count_rows(void *ctx, const pgr_user_row *row) {
    buf_printf(ctx, "%s %zu/%zu %zu %d; ", row->id, row->pairs, row->test_pairs, row->criteria, row->demographics);
    return true;
}

static void test_add_list_load(void **state) {
    (void)state;
    pgr_store *s = open_store("add.db");
    pgr_imported got;
    pgr_error err = {0};
    assert_int_equal(pgr_user_add(s, USER, strlen(USER), "u.json", &got, &err), PGR_OK);
    assert_int_equal(got.users, 1);
    assert_int_equal(got.pairs, 2);
    assert_int_equal(pgr_user_add(s, USER, strlen(USER), "u.json", &got, &err), PGR_OK);
    assert_int_equal(got.users + got.pairs, 0);
    static const char bad[] = "{\"id\":\"bob\",\"history\":[{\"query\":\"q\",\"chosen\":\"c\"}]}";
    assert_int_equal(pgr_user_add(s, bad, strlen(bad), "u.json", &got, &err), PGR_E_FORMAT);
    assert_string_equal(err.message, "u.json: history[0].rejected: found nothing, expected a string");
    import(s, write_text("more.jsonl", ROW("bob", "a", "b", SPLIT("test")) ROW("bob", "c", "d", "")), false);
    buf rows = {0};
    assert_int_equal(pgr_user_list(s, count_rows, &rows, &err), PGR_OK);
    assert_string_equal(rows.data, "ann 2/0 1 1; bob 2/1 0 0; ");
    buf_free(&rows);

    pgr_user *u = NULL;
    assert_int_equal(pgr_user_load(s, "ann", &u, &err), PGR_OK);
    assert_int_equal(u->row.pairs, 2);
    assert_string_equal(u->criteria[0], "short");
    assert_string_equal(u->demographics, "age: 41");
    assert_string_equal(u->pairs[1].query, "x");
    assert_int_equal(u->pairs[1].turns, 2);
    assert_string_equal(u->pairs[1].rejected, "2");
    pgr_user_free(u);
    assert_int_equal(pgr_user_load(s, "eve", &u, &err), PGR_E_ARG);
    pgr_store_close(s);
}

/* What is exported makes the same store again; the request form is read back as it was given. */
static void test_round_trip(void **state) {
    (void)state;
    pgr_store *s = open_store("from.db"), *t = open_store("to.db"), *v = open_store("again.db");
    pgr_imported got;
    assert_int_equal(pgr_user_add(s, USER, strlen(USER), NULL, &got, NULL), PGR_OK);
    import(s,
           write_text("full.jsonl", ROW("bob", "\\u0001\\\"\\n\xC3\xBC", "\xF0\x9F\x99\x82",
                                        ",\"conversation_id\":\"c\",\"chosen_score\":7.5,\"split\":\"val\",\"type\":"
                                        "\"t\",\"subset\":[\"a\",\"b\"],\"choice_attributes\":\"v: 1\"")),
           false);
    buf records = export_all(s, PGR_USER_RECORDS), requests = export_all(s, PGR_USER_REQUEST);
    got = import(t, write_text("records.jsonl", records.data), false);
    assert_int_equal(got.pairs, 3);
    buf again = export_all(t, PGR_USER_RECORDS);
    assert_string_equal(again.data, records.data);
    import(v, write_text("requests.jsonl", requests.data), false);
    buf requests_again = export_all(v, PGR_USER_REQUEST);
    assert_string_equal(requests_again.data, requests.data);
    assert_non_null(strstr(records.data, "\"chosen_score\":7.5,\"split\":\"val\""));
    assert_null(strstr(requests.data, "\xF0\x9F\x99\x82")); /* a pair kept for tests is nobody's history */
    assert_non_null(strstr(requests.data, "\"id\":\"bob\",\"history\":[]"));
    buf_free(&records);
    buf_free(&requests);
    buf_free(&again);
    buf_free(&requests_again);
    pgr_store_close(s);
    pgr_store_close(t);
    pgr_store_close(v);
}

static pgr_request *parse(const char *json) {
    pgr_request *r = NULL;
    pgr_error err = {0};
    if (pgr_request_parse(json, strlen(json), "r", &r, &err) != PGR_OK) fail_msg("%s", err.message);
    return r;
}

static void test_complete(void **state) {
    (void)state;
    pgr_store *s = open_store("complete.db");
    pgr_imported got;
    assert_int_equal(pgr_user_add(s, USER, strlen(USER), NULL, &got, NULL), PGR_OK);
    import(s,
           write_text("c.jsonl", ROW("ann", "a", "b", SPLIT("test")) ROW("ann", "c", "d", SPLIT("train"))
                                     ROW("ann", "e", "f", SPLIT("val")) ROW("ann", "g", "h", "")),
           false);
    bool known = false;
    pgr_request *r = parse(
        "{\"user\":{\"id\":\"ann\",\"criteria\":\"own\"},\"query\":\"which?\",\"responses\":[\"h\",\"g\",\"i\"]}");
    assert_int_equal(pgr_request_complete(r, s, &known, NULL), PGR_OK);
    assert_true(known);
    assert_int_equal(r->n_history, 3); /* not test, not val, not g against h, which is what is asked */
    assert_string_equal(r->history[2].chosen, "c");
    assert_string_equal(r->criteria[0], "own");
    assert_string_equal(r->demographics, "age: 41");
    pgr_request_free(r);
    r = parse("{\"user\":{\"id\":\"ann\",\"history\":[{\"query\":\"q\",\"chosen\":\"1\",\"rejected\":\"2\"}]},"
              "\"query\":\"q\","
              "\"responses\":[\"a\",\"b\"]}");
    assert_int_equal(pgr_request_complete(r, s, &known, NULL), PGR_OK);
    assert_int_equal(r->n_history, 1); /* it brought its own */
    pgr_request_free(r);
    r = parse("{\"user\":{\"id\":\"eve\",\"history\":[{\"query\":\"q\",\"chosen\":\"1\",\"rejected\":\"2\"}]},"
              "\"query\":\"q\",\"responses\":[\"a\",\"b\"]}");
    assert_int_equal(pgr_request_complete(r, s, &known, NULL), PGR_OK);
    assert_true(known); /* not in the store, and his choices are known nevertheless: nothing to warn of */
    pgr_request_free(r);
    r = parse("{\"user\":{\"id\":\"eve\"},\"query\":\"q\",\"responses\":[\"a\",\"b\"]}");
    assert_int_equal(pgr_request_complete(r, s, &known, NULL), PGR_OK);
    assert_false(known);
    assert_int_equal(r->n_history, 0);
    pgr_request_free(r);
    pgr_store_close(s);
}

/* ---- forgetting ---- */

static bool file_holds(const char *path, const void *bytes, size_t n) {
    struct stat st;
    if (stat(path, &st) != 0 || st.st_size == 0) return false;
    char *text = malloc((size_t)st.st_size);
    FILE *f = fopen(path, "rb");
    bool whole = text && f && fread(text, 1, (size_t)st.st_size, f) == (size_t)st.st_size;
    if (!whole) abort();
    bool found = memmem(text, (size_t)st.st_size, bytes, n) != NULL;
    fclose(f);
    free(text);
    return found;
}

/* Is a text anywhere in the store: the file, its log, the log's index? */
static bool store_holds(const char *name, const void *bytes, size_t n) {
    static const char *const endings[] = {"", "-wal", "-shm", "-journal"};
    for (size_t i = 0; i < 4; i++) {
        char path[200];
        snprintf(path, sizeof path, "%s%s", path_of(name), endings[i]);
        if (file_holds(path, bytes, n)) return true;
    }
    return false;
}

static bool store_says(const char *name, const char *text) {
    return store_holds(name, text, strlen(text));
}

static const float SECRET_VECTOR[4] = {1.2345678f, -8.7654321f, 3.1415927f, 2.7182817f};

enum { SECRET_USERS = 10 };
static const char *const SECRET_IDS[SECRET_USERS] = {"SECRETuser0", "SECRETuser1", "SECRETuser2", "SECRETuser3",
                                                     "SECRETuser4", "SECRETuser5", "SECRETuser6", "SECRETuser7",
                                                     "SECRETuser8", "SECRETuser9"};

/* One of 40 users' pairs; every fourth user is a secret one, with "SECRET" in every text.
 * Rows grow when they are completed. */
static void fill_row(pgr_store *s, size_t i, bool complete) {
    static const size_t sizes[] = {3, 100, 900, 5000};
    static const turn secret_query = {"user", "SECRETquery of a pair"}, query = {"user", "which one?"};
    size_t u = i * 7919 % 41 % 40;
    bool secret = u % 4 == 0, added;
    char chosen[5100], user[40];
    snprintf(user, sizeof user, secret ? "SECRETuser%zu" : "user%zu", secret ? u / 4 : u);
    snprintf(chosen, sizeof chosen, "%s%0*zu", secret ? "SECRETchosen" : "plain", (int)sizes[i * 104729 % 13 % 4], i);
    pair_record p = {.user_id = user, .conversation_id = secret ? "SECRETconversation" : "", .split = "", .type = ""};
    p.choice_attributes = !complete ? "" : secret ? "SECRETattribute: 1" : "plain: 1";
    p.pair = (preference_pair){.context = secret ? &secret_query : &query, .n_context = 1, .chosen = chosen};
    p.pair.rejected = secret ? "SECRETrejected" : "no";
    assert_int_equal(store_put_pair(s, &p, &added, NULL), PGR_OK);
}

/* A text of many pages. */
static void put_long(pgr_store *s) {
    static const turn query = {"user", "SECRETquery"};
    bool added;
    char text[60001];
    for (size_t i = 0; i < sizeof text; i++) text[i] = "SECRET "[i % 7];
    text[sizeof text - 1] = '\0';
    pair_record p = {.user_id = "SECRETuser9", .conversation_id = "", .split = "", .type = "", .choice_attributes = ""};
    p.pair = (preference_pair){.context = &query, .n_context = 1, .chosen = text, .rejected = "no"};
    assert_int_equal(store_put_pair(s, &p, &added, NULL), PGR_OK);
}

static void fill(pgr_store *s, size_t n) {
    assert_int_equal(store_begin(s, NULL), PGR_OK);
    for (size_t i = 0; i < n; i++) {
        fill_row(s, i, false);
        if (i % 3 == 0) fill_row(s, i / 2, true);
    }
    static const char *const criteria[] = {"SECRETcriterion"};
    user_record u = {.id = "SECRETuser0", .criteria = criteria, .n_criteria = 1, .demographics = "SECRETdemographics"};
    assert_int_equal(store_put_user(s, &u, NULL), PGR_OK);
    put_long(s);
    assert_int_equal(store_commit(s, NULL), PGR_OK);
}

/* Vectors and analyses of every pair, user by user, so that the index over pairs grows in its middle. */
static pgr_status derive(void *ctx, const stored_user *u, pgr_error *err) {
    static const char *const kinds[2][3] = {{"query", "chosen", "rejected"}, {"SECRETquery", "SECRETone", "SECRETtwo"}};
    bool secret = u->user.id[0] == 'S';
    for (size_t i = 0; i < 3 * u->n_pair; i++) {
        const float plain[4] = {0};
        int64_t key = u->pair_keys[i / 3];
        PGR_TRY(store_put_vector(ctx, key, kinds[secret][i % 3], "e", secret ? SECRET_VECTOR : plain, 4, err));
        PGR_TRY(store_put_analysis(ctx, key, "m", secret ? "SECRETanalysis" : "plain", err));
    }
    return PGR_OK;
}

static pgr_store *open_reader(const char *path) {
    pgr_store *s = NULL;
    assert_int_equal(pgr_store_open(path, PGR_STORE_READ, &s, NULL), PGR_OK);
    return s;
}

static void add_user(pgr_store *s, const char *id) {
    assert_int_equal(store_begin(s, NULL), PGR_OK);
    assert_int_equal(store_put_user(s, &(user_record){.id = id, .demographics = "x"}, NULL), PGR_OK);
    assert_int_equal(store_commit(s, NULL), PGR_OK);
}

static pgr_status change_user(void *ctx, const stored_user *u, pgr_error *err) {
    for (size_t i = 0; i < u->n_pair; i++) PGR_TRY(store_put_analysis(ctx, u->pair_keys[i], "m", "other", err));
    return store_put_user(ctx, &(user_record){.id = u->user.id, .demographics = "other"}, err);
}

/* Of every user something is changed. */
static void change_all(pgr_store *s) {
    assert_int_equal(store_begin(s, NULL), PGR_OK);
    assert_int_equal(store_each_user(s, NULL, change_user, s, NULL), PGR_OK);
    assert_int_equal(store_commit(s, NULL), PGR_OK);
}

/* Is anything of the secret users there? In a server: any row, of what is derived too. */
static bool secrets_in(const char *name) {
    if (!on_postgres) return store_says(name, "SECRET") || store_holds(name, SECRET_VECTOR, sizeof SECRET_VECTOR);
    const char *at = store_at(name);
    return count_in(at, "users", "id LIKE '%SECRET%'") || count_in(at, "pairs", "chosen LIKE '%SECRET%'")
           || count_in(at, "vectors", "what LIKE '%SECRET%'") || count_in(at, "analyses", "text LIKE '%SECRET%'");
}

static void fill_and_derive(pgr_store *s, size_t n) {
    fill(s, n);
    assert_int_equal(store_begin(s, NULL), PGR_OK);
    assert_int_equal(store_each_user(s, NULL, derive, s, NULL), PGR_OK);
    assert_int_equal(store_commit(s, NULL), PGR_OK);
}

/* Pages clean of what is unused in them are what this fails without: rows that SQLite moved leave copies there. That
 * the file has free pages afterwards shows that it was not rewritten. */
static void test_forget(void **state) {
    (void)state;
    pgr_store *s = open_store("forget.db"), *other = open_store("forget.db");
    fill_and_derive(s, on_postgres ? 800 : 3000);
    bool there = false;
    assert_int_equal(store_has_user(other, "user1", &there, NULL), PGR_OK); /* open, and has read */
    assert_true(there);
    assert_true(secrets_in("forget.db"));
    if (!on_postgres) {
        assert_true(store_says("forget.db", "SECRETchosen"));
        assert_true(store_says("forget.db", "SECRETanalysis"));
        assert_true(store_holds("forget.db", SECRET_VECTOR, sizeof SECRET_VECTOR));
    }
    size_t users = 0, pairs = 0;
    const char *none[] = {"SECRETuser0", "nobody"};
    pgr_error err = {0};
    assert_int_equal(pgr_user_forget(s, none, 2, &err), PGR_E_ARG); /* all or none */
    assert_non_null(strstr(err.message, "there is no user \"nobody\""));
    assert_int_equal(store_count(s, &users, &pairs, NULL), PGR_OK);
    assert_int_equal(users, 40);
    if (pgr_user_forget(s, SECRET_IDS, SECRET_USERS, &err) != PGR_OK) fail_msg("%s", err.message);
    assert_false(secrets_in("forget.db")); /* while the store is still open */
    if (!on_postgres) assert_true(ask_sql(store_at("forget.db"), "PRAGMA freelist_count") > 100);
    change_all(s); /* pages that were in memory before */
    assert_false(secrets_in("forget.db"));
    change_all(other);
    assert_false(secrets_in("forget.db"));
    pgr_store_close(other);
    assert_int_equal(store_count(s, &users, &pairs, NULL), PGR_OK);
    assert_int_equal(users, 30);
    assert_true(on_postgres ? pairs >= 560 && pairs <= 620 : pairs >= 2100 && pairs <= 2300);
    pgr_store_close(s);
    assert_false(secrets_in("forget.db"));
    s = open_store("forget.db");
    assert_int_equal(store_has_user(s, "user1", &there, NULL), PGR_OK);
    assert_true(there);
    pgr_store_close(s);
}

/* A reader holds the log: the rows are gone, the bytes go with the next change. */
static bool hold_and_forget(void *ctx, const pgr_user_row *row) {
    (void)row;
    pgr_error err = {0};
    assert_int_equal(pgr_user_forget(ctx, SECRET_IDS, 3, &err), PGR_E_IO);
    assert_non_null(strstr(err.message, "another program is reading the store: forgotten users' rows are gone"));
    return false;
}

static void test_forget_beside_reader(void **state) {
    (void)state;
    pgr_store *s = open_store("busy.db"), *reader = NULL;
    fill(s, 60);
    assert_int_equal(pgr_user_forget(s, SECRET_IDS + 3, SECRET_USERS - 3, NULL), PGR_OK);
    store_set_patience(s, 50);
    assert_int_equal(pgr_store_open(path_of("busy.db"), PGR_STORE_READ, &reader, NULL), PGR_OK);
    assert_int_equal(pgr_user_list(reader, hold_and_forget, s, NULL), PGR_OK);
    bool there = true;
    assert_int_equal(store_has_user(reader, "SECRETuser0", &there, NULL), PGR_OK);
    assert_false(there);
    assert_true(secrets_in("busy.db"));
    add_user(s, "new");
    assert_false(secrets_in("busy.db"));
    pgr_store_close(reader);
    pgr_store_close(s);
}

/* Killed between the deletion and the erasing of bytes, which waits for a reader: they go at the next opening. */
typedef struct forgetter {
    const char *path;
    int start[2]; /* a pipe: it begins when something is written */
    pid_t pid;
} forgetter;

static void start_forgetter(forgetter *f) {
    char c;
    pgr_store *s = NULL;
    assert_int_equal(pipe(f->start), 0);
    f->pid = fork();
    if (f->pid != 0) return;
    if (read(f->start[0], &c, 1) == 1 && pgr_store_open(f->path, PGR_STORE_WRITE, &s, NULL) == PGR_OK)
        pgr_user_forget(s, SECRET_IDS, SECRET_USERS, NULL);
    _exit(0);
}

static bool kill_after_deletion(void *ctx, const pgr_user_row *row) {
    forgetter *f = ctx;
    (void)row;
    pgr_store *other = open_reader(f->path);
    assert_int_equal(write(f->start[1], "x", 1), 1);
    for (bool there = true; there;) assert_int_equal(store_has_user(other, "SECRETuser9", &there, NULL), PGR_OK);
    kill(f->pid, SIGKILL);
    waitpid(f->pid, NULL, 0);
    assert_true(secrets_in("killed.db"));
    pgr_store_close(other);
    return false;
}

static void test_killed_before_erasing(void **state) {
    (void)state;
    pgr_store *s = open_store("killed.db");
    fill(s, 60);
    pgr_store_close(s);
    char path[200];
    snprintf(path, sizeof path, "%s", path_of("killed.db"));
    forgetter f = {.path = path};
    start_forgetter(&f);
    pgr_store *reader = open_reader(path);
    assert_int_equal(pgr_user_list(reader, kill_after_deletion, &f, NULL), PGR_OK);
    pgr_store_close(reader);
    close(f.start[0]);
    close(f.start[1]);
    pgr_store_close(open_store("killed.db"));
    assert_false(secrets_in("killed.db"));
}

enum { KILLS = 12 };

/* Killed at any time: a user is there, or nothing of him is after the next opening. */
static void test_killed(void **state) {
    (void)state;
    pgr_store *s = open_store("kills.db");
    fill_and_derive(s, 300);
    pgr_store_close(s);
    char path[200];
    snprintf(path, sizeof path, "%s", path_of("kills.db"));
    for (int i = 0; i < KILLS; i++) {
        pid_t child = fork();
        if (child == 0) {
            if (pgr_store_open(path, PGR_STORE_WRITE, &s, NULL) == PGR_OK)
                for (size_t u = 0; u < SECRET_USERS; u++) pgr_user_forget(s, SECRET_IDS + u, 1, NULL);
            _exit(0);
        }
        usleep((useconds_t)(i * i * 60));
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
        pgr_store_close(open_store("kills.db"));
        for (size_t u = 0; u < SECRET_USERS; u++) {
            char where[80];
            snprintf(where, sizeof where, "id = '%s'", SECRET_IDS[u]);
            assert_int_equal(store_says("kills.db", SECRET_IDS[u]), count_in(path, "users", where));
        }
    }
    assert_int_equal(ask_sql(path, "SELECT count(*) FROM pragma_integrity_check WHERE integrity_check <> 'ok'"), 0);
    assert_int_equal(count_in(path, "pairs", "user NOT IN (SELECT key FROM users)"), 0);
}

/* A file of an earlier version, or one that another program has written into: it is rewritten once. */
static void test_forget_in_older(void **state) {
    (void)state;
    pgr_store *s = open_store("older.db");
    fill_and_derive(s, 600);
    pgr_store_close(s);
    char path[200];
    snprintf(path, sizeof path, "%s", path_of("older.db"));
    run_sql(path, "PRAGMA foreign_keys = ON; UPDATE pairs SET chosen = chosen || chosen WHERE key % 3 = 0;"
                  "UPDATE pairs SET context = context || '     ' WHERE key % 4 = 1; DELETE FROM pairs WHERE key % 5 = "
                  "2; PRAGMA user_version = 3");
    assert_true(ask_sql(path, "PRAGMA freelist_count") > 0);
    s = open_store("older.db");
    assert_int_equal(count_in(path, "chores", "name = 'rewrite'"), 1);
    assert_int_equal(pgr_user_forget(s, SECRET_IDS, SECRET_USERS, NULL), PGR_OK);
    assert_false(secrets_in("older.db"));
    assert_int_equal(ask_sql(path, "PRAGMA freelist_count"), 0);
    assert_int_equal(count_in(path, "chores", "true"), 0);
    assert_int_equal(count_in(path, "users", "true"), 30);
    add_user(s, "SECRETagain");
    assert_int_equal(pgr_user_forget(s, (const char *[]){"SECRETagain"}, 1, NULL), PGR_OK); /* by pages from now on */
    assert_false(secrets_in("older.db"));
    pgr_store_close(s);
}

/* What another program wrote and deleted goes with a rewriting, and so does the room. */
static void test_rewrite(void **state) {
    (void)state;
    pgr_store *s = open_store("rewrite.db");
    fill_and_derive(s, 600);
    char path[200];
    snprintf(path, sizeof path, "%s", path_of("rewrite.db"));
    run_sql(path, "PRAGMA foreign_keys = ON; DELETE FROM users WHERE id LIKE 'SECRET%'");
    assert_true(ask_sql(path, "PRAGMA freelist_count") > 0);
    assert_true(secrets_in("rewrite.db"));
    assert_int_equal(pgr_store_rewrite(s, NULL), PGR_OK);
    assert_false(secrets_in("rewrite.db"));
    assert_int_equal(ask_sql(path, "PRAGMA freelist_count"), 0);
    pgr_store_close(s);
    assert_int_equal(pgr_store_rewrite(NULL, NULL), PGR_E_ARG);
}

enum { LISTED = 1100 };

/* More users than one SELECT is asked for: all are listed, once, in their order; enough is enough. */
typedef struct seen {
    size_t n, want;
} seen;

static bool count_in_order(void *ctx, const pgr_user_row *row) {
    seen *x = ctx;
    char id[20];
    snprintf(id, sizeof id, "user%zu", x->n++);
    assert_string_equal(row->id, id);
    return x->n < x->want;
}

static void test_long_list(void **state) {
    (void)state;
    pgr_store *s = open_store("long.db");
    assert_int_equal(store_begin(s, NULL), PGR_OK);
    for (size_t i = 0; i < LISTED; i++) {
        char id[20];
        snprintf(id, sizeof id, "user%zu", i);
        assert_int_equal(store_put_user(s, &(user_record){.id = id, .demographics = ""}, NULL), PGR_OK);
    }
    assert_int_equal(store_commit(s, NULL), PGR_OK);
    static const size_t wants[] = {1, 1000, 1001, 9999};
    for (size_t i = 0; i < 4; i++) {
        seen x = {.want = wants[i]};
        assert_int_equal(pgr_user_list(s, count_in_order, &x, NULL), PGR_OK);
        assert_int_equal(x.n, wants[i] < LISTED ? wants[i] : LISTED);
    }
    pgr_store_close(s);
}

static bool add_name(void *ctx, const pgr_user_row *row) {
    buf_printf(ctx, "%s:%zu ", row->id, row->pairs);
    return true;
}

/* Users by the beginning of their names, in the order of bytes whatever the database's language. */
static void test_named(void **state) {
    (void)state;
    static const char *const ids[] = {"acme:b", "Acme:x", "acme:B", "acme:\xc3\xa4",
                                      "acme",   "acmf",   "bolt:1", "acme:a"};
    pgr_store *s = open_store("named.db");
    for (size_t i = 0; i < 8; i++) add_user(s, ids[i]);
    struct {
        const char *begin;
        size_t most;
        const char *want;
    } cases[] = {{"acme:", 9, "acme:B:0 acme:a:0 acme:b:0 acme:\xc3\xa4:0 "},
                 {"acme:", 2, "acme:B:0 acme:a:0 "},
                 {"", 3, "Acme:x:0 acme:0 acme:B:0 "},
                 {"bolt:2", 9, ""},
                 {"c", 9, ""}};
    for (size_t i = 0; i < 5; i++) {
        buf b = {0};
        assert_int_equal(store_list_named(s, cases[i].begin, cases[i].most, add_name, &b, NULL), PGR_OK);
        buf_putc(&b, '\0');
        assert_string_equal(b.data, cases[i].want);
        buf_free(&b);
    }
    pgr_store_close(s);
}

/* A NUL character is in no text of a store, whatever it is kept in: the readers refuse it where it stands. */
static void test_nul(void **state) {
    (void)state;
    pgr_store *s = open_store("nul.db");
    static const char user[] =
        "{\"id\":\"a\",\"history\":[{\"query\":\"q\",\"chosen\":\"a\\u0000b\",\"rejected\":\"r\"}]}";
    pgr_imported got;
    pgr_error err = {0};
    assert_int_equal(pgr_user_add(s, user, strlen(user), "u.json", &got, &err), PGR_E_FORMAT);
    assert_non_null(strstr(err.message, "u.json:1: found a NUL character (\\u0000) in a string"));
    const char *rows = write_text("nul.jsonl", ROW("a", "x", "y", "") ROW("a", "x\\u0000", "y", ""));
    assert_int_equal(pgr_user_import(s, rows, NULL, &got, &err), PGR_E_FORMAT);
    assert_non_null(strstr(err.message, "nul.jsonl:2: found a NUL character (\\u0000) in a string"));
    assert_int_equal(got.pairs, 1);
    pgr_store_close(s);
}

#define BOTH                                                                                                           \
    cmocka_unit_test(test_import), cmocka_unit_test(test_add_list_load), cmocka_unit_test(test_round_trip),            \
        cmocka_unit_test(test_complete), cmocka_unit_test(test_forget), cmocka_unit_test(test_long_list),              \
        cmocka_unit_test(test_named), cmocka_unit_test(test_nul)

int main(void) {
    const struct CMUnitTest files[] = {BOTH,
                                       cmocka_unit_test(test_forget_beside_reader),
                                       cmocka_unit_test(test_killed_before_erasing),
                                       cmocka_unit_test(test_killed),
                                       cmocka_unit_test(test_forget_in_older),
                                       cmocka_unit_test(test_rewrite)};
    const struct CMUnitTest servers[] = {BOTH};
    int failed = cmocka_run_group_tests_name("files", files, begin_files, end_files);
    if (postgres_start()) failed += cmocka_run_group_tests_name("PostgreSQL", servers, begin_postgres, end_postgres);
    return failed;
}
