/* A disk that is full, by the limit of the size of files: what cannot be stored is refused with 507 and is not there,
 * not even in part; judging goes on; and when there is room again, everything is as if nothing had been. */
#include <signal.h>
#include <sqlite3.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "people_fixture.h"

static char AUDIT[120];

/* Files of this process may have so many bytes. */
static void room_for(rlim_t bytes) {
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = bytes;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void room_for_all(void) {
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    room_for(limit.rlim_max);
}

static int make_room(void **state) {
    (void)state;
    room_for_all();
    return 0;
}

static off_t size_of(const char *path) {
    struct stat st;
    return stat(path, &st) == 0 ? st.st_size : 0;
}

static reply tell(int n) {
    char body[3000];
    int k =
        snprintf(body, sizeof body, "{\"user\": \"acme:full\", \"query\": \"Which %d?\", \"rejected\": \"No\", ", n);
    snprintf(body + k, sizeof body - (size_t)k, "\"chosen\": \"This: %0*d\"}", 1 + n * 331 % 2500, n);
    return ask(&L, "POST", "/v1/personal/feedback", body);
}

/* The pairs of the user who is told of, each of which is one that was answered. */
static size_t n_stored(const bool *answered) {
    reply r = ask(&L, "GET", "/v1/personal/users/acme:full", NULL);
    if (r.status == 404) {
        reply_free(&r);
        return 0;
    }
    json_t *v = json_of(&r), *pair;
    size_t i, n = json_array_size(json_object_get(v, "history"));
    json_array_foreach(json_object_get(v, "history"), i, pair) {
        int which = -1;
        assert_int_equal(sscanf(json_string_value(json_object_get(pair, "query")), "Which %d?", &which), 1);
        assert_true(answered[which]);
    }
    json_decref(v);
    reply_free(&r);
    return n;
}

static void judge(void) {
    expect(ask(&L, "POST", "/v1/personal/score",
               "{\"user\": \"acme:u1\", \"query\": \"q\", \"responses\": [\"a\", \"b\"], \"ind\": 1}"),
           200);
}

static void is_whole(void) {
    sqlite3 *db = NULL;
    sqlite3_stmt *q = NULL;
    assert_int_equal(sqlite3_open_v2(STORE, &db, SQLITE_OPEN_READWRITE, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db, "PRAGMA integrity_check", -1, &q, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(q), SQLITE_ROW);
    assert_string_equal((const char *)sqlite3_column_text(q, 0), "ok");
    sqlite3_finalize(q);
    sqlite3_close(db);
}

/* The disk fills up at every place of what a transaction writes, in steps that are no divisor of a page. */
static void nothing_is_half_written(void **state) {
    (void)state;
    enum { N = 60 };
    bool answered[N] = {0};
    char log[120];
    size_t n_answered = 0, n_refused = 0;
    snprintf(log, sizeof log, "%s-wal", STORE);
    for (int i = 0; i < N; i++) {
        room_for(i % 4 == 3 ? 1 : (rlim_t)size_of(log) + (rlim_t)(i * 1171 % 20000));
        reply r = tell(i);
        if (i % 8 == 0) judge();
        room_for_all();
        if (r.status == 200) {
            answered[i] = true;
            n_answered++;
        } else {
            if (r.status != 507) fail_msg("%d: %s", r.status, r.body.data ? r.body.data : "");
            assert_non_null(strstr(r.body.data, "no room left on the disk"));
            assert_non_null(strstr(r.body.data, "\"code\":\"no_room\""));
            n_refused++;
        }
        reply_free(&r);
        assert_int_equal(n_stored(answered), n_answered);
    }
    assert_true(n_refused >= N / 4); /* a file of one byte takes none */
    assert_true(n_answered >= 1);
    expect(tell(N - 1), 200);
    is_whole();
}

static void who_is_not_forgotten_is_there(void **state) {
    (void)state;
    room_for(1);
    reply r = ask(&L, "DELETE", "/v1/personal/users/acme:u4", NULL);
    room_for_all();
    if (r.status != 507) fail_msg("%d: %s", r.status, r.body.data ? r.body.data : "");
    reply_free(&r);
    expect(ask(&L, "GET", "/v1/personal/users/acme:u4", NULL), 200);
    expect(ask(&L, "DELETE", "/v1/personal/users/acme:u4", NULL), 200);
    expect(ask(&L, "GET", "/v1/personal/users/acme:u4", NULL), 404);
    is_whole();
}

/* ---- the audit log ---- */

/* Lines of the file that are JSON; *torn: those that are not; *lost: what they say is missing. */
static size_t count_lines(size_t *torn, size_t *lost) {
    char line[1000];
    size_t n = 0;
    *torn = *lost = 0;
    FILE *f = fopen(AUDIT, "r");
    assert_non_null(f);
    while (fgets(line, sizeof line, f)) {
        json_t *v = json_loads(line, 0, NULL);
        size_t said = (size_t)json_integer_value(json_object_get(v, "lost"));
        *torn += !v;
        *lost += said;
        n += v && !said;
        json_decref(v);
    }
    fclose(f);
    return n;
}

static void an_audit_log_says_what_it_lacks(void **state) {
    (void)state;
    live l;
    size_t torn, lost;
    pgr_serve_options o = live_options();
    snprintf(AUDIT, sizeof AUDIT, "%s/audit", scratch);
    o.audit_file = AUDIT;
    live_listen(&l, &o);
    live_start(&l);
    expect(ask(&l, "GET", "/health", NULL), 200);
    while (count_lines(&torn, &lost) < 1) poll(NULL, 0, 2); /* lines are written after the answer */
    assert_true(torn == 0 && lost == 0);
    room_for((rlim_t)size_of(AUDIT) + 30); /* the next line is cut, those behind it are missing */
    for (int i = 0; i < 5; i++) expect(ask(&l, "GET", "/health", NULL), 200);
    while (worker_state(l.server->worker).n_open > 0) poll(NULL, 0, 1);
    expect(ask(&l, "GET", "/metrics", NULL), 200);
    room_for_all();
    for (int i = 0; i < 2; i++) expect(ask(&l, "GET", "/health", NULL), 200);
    live_stop(&l);
    size_t n = count_lines(&torn, &lost);
    assert_int_equal(torn, 1);
    assert_int_equal(n + lost, 9);
    assert_in_range(lost, 5, 6); /* of the sixth, the line may come when there is room */
    unlink(AUDIT);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        /* what fails in one leaves room for the others */
        cmocka_unit_test_teardown(nothing_is_half_written, make_room),
        cmocka_unit_test_teardown(who_is_not_forgotten_is_there, make_room),
        cmocka_unit_test_teardown(an_audit_log_says_what_it_lacks, make_room),
    };
    signal(SIGXFSZ, SIG_IGN);
    return cmocka_run_group_tests(tests, people_setup_open, people_teardown);
}
