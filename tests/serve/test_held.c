/* Calls that are held where others are refused: by routes of the test, whose tasks do as they are told, what is
 * bounded, in which order they are let in, how each of them ends; then trainers' calls that are judged. */
#include "people_fixture.h"

#include "base/mem.h"
#include "serve/judges.h"

/* ---- routes of the test ---- */

static atomic_bool RELEASED; /* those of /block end */
static atomic_int N_LATE;    /* of /turn: numbers below it would be late */
static atomic_int N_FREED;
static atomic_int N_TURN, TURNS[100]; /* (N_TURN) numbers in the order in which they began */

static pgr_status begin_block(task *t, pgr_error *err) {
    (void)t, (void)err;
    return PGR_OK;
}

static void look_at_block(task *t, double now) {
    (void)now;
    if (!atomic_load(&RELEASED)) return;
    call_reply_json(t->call, 200, json_object());
    task_end(t);
}

static void free_it(task *t) {
    atomic_fetch_add(&N_FREED, 1);
    mem_free(t);
}

static const task_kind BLOCK = {.name = "block", .begin = begin_block, .tick = look_at_block, .free = free_it};

typedef struct turning {
    task task;
    int number;
    bool again; /* it gives up its place once */
} turning;

static pgr_status begin_turn(task *t, pgr_error *err) {
    turning *own = (turning *)t;
    (void)err;
    if (own->again) {
        own->again = false;
        assert_true(task_hold(t) && task_hold(t)); /* twice is once */
        return PGR_OK;
    }
    atomic_store(&TURNS[atomic_load(&N_TURN)], own->number);
    atomic_fetch_add(&N_TURN, 1);
    call_reply_json(t->call, 200, json_object());
    task_end(t);
    return PGR_OK;
}

static bool is_late(const task *t, double now, size_t ahead) {
    (void)now, (void)ahead;
    return ((const turning *)t)->number < atomic_load(&N_LATE);
}

static const task_kind TURN = {.name = "turn", .begin = begin_turn, .free = free_it, .late = is_late};

static void block(call *c) {
    task *t = mem_zero(1, sizeof *t);
    t->kind = &BLOCK;
    call_submit(c, t);
}

static void take_turn(call *c) {
    turning *own = mem_zero(1, sizeof *own);
    const json_t *body = call_json(c);
    own->task.kind = &TURN;
    own->number = (int)json_integer_value(json_object_get(body, "n"));
    own->again = json_is_true(json_object_get(body, "again"));
    call_submit(c, &own->task);
}

static const route ROUTES[] = {
    {"GET", "/block", block, .flags = 0},
    {"POST", "/turn", take_turn, .flags = ROUTE_HELD},
    {"POST", "/quick", take_turn, .flags = 0},
};

/* ---- a server of few places ---- */

static live S;
static int BLOCKERS[8];
static size_t N_BLOCKER;

static void start_few(size_t max_queue, size_t max_held, size_t max_held_bytes) {
    pgr_serve_options o = live_options();
    pgr_error err;
    o.max_queue = max_queue;
    o.max_held = max_held;
    o.max_held_bytes = max_held_bytes;
    o.deadline_s = 300;
    atomic_store(&RELEASED, false);
    atomic_store(&N_LATE, 0);
    atomic_store(&N_FREED, 0);
    atomic_store(&N_TURN, 0);
    live_listen(&S, &o);
    JUDGE = pgr_judge_options_default();
    JUDGE.frame = MINI;
    S.what.judge = &JUDGE;
    assert_int_equal(server_add_routes(S.server, ROUTES, sizeof ROUTES / sizeof *ROUTES, &err), PGR_OK);
    live_start(&S);
}

static void until_state(size_t n_open, size_t n_held) {
    for (double end = clock_now() + 60; clock_now() < end; poll(NULL, 0, 2)) {
        worker_load load = worker_state(S.server->worker);
        if (load.n_open == n_open && load.n_held == n_held) return;
    }
    worker_load load = worker_state(S.server->worker);
    fail_msg("%zu open, %zu held, expected %zu and %zu", load.n_open, load.n_held, n_open, n_held);
}

/* All places are taken. */
static void fill(size_t n) {
    for (N_BLOCKER = 0; N_BLOCKER < n; N_BLOCKER++) {
        BLOCKERS[N_BLOCKER] = dial(&S);
        ask_on(BLOCKERS[N_BLOCKER], "GET", "/block", NULL, NULL);
        until_state(N_BLOCKER + 1, 0);
    }
}

static void release(void) {
    atomic_store(&RELEASED, true);
    for (size_t i = 0; i < N_BLOCKER; i++) {
        expect(hear_reply(BLOCKERS[i], false), 200);
        close(BLOCKERS[i]);
    }
    N_BLOCKER = 0;
}

static int send_turn(int n, const char *headers, const char *more) {
    char body[100];
    int fd = dial(&S);
    snprintf(body, sizeof body, "{\"n\":%d%s}", n, more);
    ask_on(fd, "POST", "/turn", headers, body);
    return fd;
}

static void expect_turns(const int *want, int n) {
    assert_int_equal(atomic_load(&N_TURN), n);
    for (int i = 0; i < n; i++) assert_int_equal(atomic_load(&TURNS[i]), want[i]);
}

static double metric(const char *name) {
    reply r = ask(&S, "GET", "/metrics", NULL);
    char line[80];
    snprintf(line, sizeof line, "\n%s ", name);
    const char *at = strstr(r.body.data, line);
    if (!at) fail_msg("no %s", name);
    double v = atof(at + strlen(line));
    reply_free(&r);
    return v;
}

/* ---- who is let in when ---- */

static void in_the_order_of_arrival(void **state) {
    (void)state;
    int fds[6];
    start_few(1, 10, 10000);
    fill(1);
    for (int i = 0; i < 6; i++) {
        fds[i] = send_turn(i, NULL, "");
        until_state(1, (size_t)i + 1);
    }
    expect_error(ask(&S, "POST", "/quick", "{\"n\":9}"), 429, "queue_full"); /* a product's call fails fast */
    assert_true(metric("pgenrm_held") == 6 && metric("pgenrm_held_limit") == 10 && metric("pgenrm_held_bytes") == 42);
    assert_true(metric("pgenrm_held_seconds_count") == 0);
    for (double end = clock_now() + 60; metric("pgenrm_held_oldest_seconds") == 0;) /* known when the worker looked */
        assert_true(clock_now() < end);
    release();
    for (int i = 0; i < 6; i++) {
        expect(hear_reply(fds[i], false), 200);
        close(fds[i]);
    }
    expect_turns((const int[]){0, 1, 2, 3, 4, 5}, 6);
    until_state(0, 0);
    assert_true(metric("pgenrm_held") == 0 && metric("pgenrm_held_bytes") == 0);
    assert_true(metric("pgenrm_held_seconds_count") == 6 && metric("pgenrm_held_seconds_sum") > 0);
    live_stop(&S);
}

/* There are places, but what would be late lets others by; it is let in as soon as it is in time. */
static void whoever_would_be_late_waits(void **state) {
    (void)state;
    int fds[3];
    start_few(2, 10, 10000);
    atomic_store(&N_LATE, 100);
    fill(1);
    fds[0] = send_turn(1, NULL, ",\"again\":true"); /* let in, and told then */
    until_state(1, 1);
    fds[1] = send_turn(2, NULL, ""); /* behind one who is held it is looked at with him */
    until_state(1, 2);
    fds[2] = send_turn(100, NULL, "");
    expect(hear_reply(fds[2], false), 200);
    until_state(1, 2);                                    /* its answer goes out before its place is free */
    expect(ask(&S, "POST", "/quick", "{\"n\":50}"), 200); /* there is a place that those do not want */
    until_state(1, 2);
    atomic_store(&N_LATE, 0);
    for (int i = 0; i < 2; i++) expect(hear_reply(fds[i], false), 200);
    for (int i = 0; i < 3; i++) close(fds[i]);
    expect_turns((const int[]){100, 50, 1, 2}, 4);
    release();
    live_stop(&S);
}

/* One that gives up its place stands where it stood, before those who came later. */
static void nobody_loses_his_turn(void **state) {
    (void)state;
    int fds[3];
    start_few(1, 10, 10000);
    fill(1);
    for (int i = 0; i < 3; i++) {
        fds[i] = send_turn(i, NULL, i == 0 ? ",\"again\":true" : "");
        until_state(1, (size_t)i + 1);
    }
    release();
    for (int i = 0; i < 3; i++) {
        expect(hear_reply(fds[i], false), 200);
        close(fds[i]);
    }
    expect_turns((const int[]){0, 1, 2}, 3);
    until_state(0, 0);
    live_stop(&S);
}

/* ---- how it ends otherwise ---- */

static void no_more_than_may_be_held(void **state) {
    (void)state;
    start_few(1, 2, 40);
    fill(1);
    reply r = ask(&S, "POST", "/turn", "{\"n\":1, \"more\": \"................................\"}"); /* 50 bytes */
    assert_true(atoi(header_of(&r, "Retry-After")) >= 1);
    expect_error(r, 429, "queue_full");
    int a = send_turn(1, NULL, ""), b = send_turn(2, NULL, "");
    until_state(1, 2);
    expect_error(ask(&S, "POST", "/turn", "{\"n\":3}"), 429, "queue_full");
    close(a);
    until_state(1, 1);
    expect_error(ask(&S, "POST", "/turn", "{\"n\":4, \"more\": \"...............\"}"), 429,
                 "queue_full"); /* 33 and 7 */
    int c = send_turn(5, NULL, "");
    until_state(1, 2);
    release();
    expect(hear_reply(b, false), 200);
    expect(hear_reply(c, false), 200);
    close(b);
    close(c);
    live_stop(&S);
    start_few(1, 0, 40); /* none */
    fill(1);
    expect_error(ask(&S, "POST", "/turn", "{\"n\":1}"), 429, "queue_full");
    release();
    live_stop(&S);
}

static void who_goes_is_forgotten(void **state) {
    (void)state;
    start_few(1, 10, 10000);
    fill(1);
    int a = send_turn(1, NULL, ""), b = send_turn(2, NULL, "");
    until_state(1, 2);
    close(a);
    until_state(1, 1);
    assert_int_equal(atomic_load(&N_FREED), 1);
    release();
    expect(hear_reply(b, false), 200);
    close(b);
    expect_turns((const int[]){2}, 1);
    live_stop(&S);
}

static void until_its_deadline_is_near(void **state) {
    (void)state;
    start_few(2, 10, 10000);
    fill(2);
    double start = clock_now();
    int a = send_turn(1, "X-Deadline-S: 0.6\r\n", "");
    reply r = hear_reply(a, false);
    double waited = clock_now() - start;
    assert_true(atoi(header_of(&r, "Retry-After")) >= 1);
    expect_error(r, 429, "queue_full");
    assert_true(waited > 0.5); /* the queue is full for ever: it waited for .57 s */
    close(a);
    release();
    until_state(0, 0);
    atomic_store(&N_LATE, 100);
    atomic_store(&RELEASED, false);
    fill(1);
    a = send_turn(1, "X-Deadline-S: 0.3\r\n", ",\"again\":true");
    expect_error(hear_reply(a, false), 429, "too_late");
    close(a);
    release();
    live_stop(&S);
}

static void the_server_stops(void **state) {
    (void)state;
    int fds[4];
    start_few(1, 10, 10000);
    fill(1);
    for (int i = 0; i < 4; i++) fds[i] = send_turn(i, NULL, "");
    until_state(1, 4);
    __atomic_store_n(&S.stop, 1, __ATOMIC_RELAXED);
    for (int i = 0; i < 4; i++) {
        expect_error(hear_reply(fds[i], false), 503, "stopping"); /* at once: what runs has its time to drain */
        close(fds[i]);
    }
    release();
    expect_turns(NULL, 0);
    live_stop(&S);
}

/* ---- trainers' calls ---- */

/* As OpenRLHF's client asks: 5 tries, whatever Retry-After says; its second between them is shorter here. */
typedef struct trainer {
    pthread_t thread;
    int n, tries;
    double reward; /* -1: none */
} trainer;

enum { TRIES = 5, PAUSE_MS = 20 };

static double reward_of(const reply *r) {
    json_t *v = json_of(r);
    double x = json_number_value(json_array_get(json_object_get(v, "rewards"), 0));
    json_decref(v);
    return x;
}

static void *train(void *ctx) {
    trainer *t = ctx;
    char body[300];
    snprintf(body, sizeof body,
             "{\"query\": [\"Count to %d: no\"], \"prompts\": [\"Count to %d:\"], \"labels\": [{\"anchor\": \"yes\", "
             "\"ind\": 2}]}",
             t->n, t->n);
    t->reward = -1;
    for (t->tries = 0; t->tries < TRIES && t->reward < 0; t->tries++) {
        int fd = dial(&S);
        ask_on(fd, "POST", "/get_reward", NULL, body);
        reply r = hear_reply(fd, false);
        if (r.status == 200)
            t->reward = reward_of(&r);
        else
            poll(NULL, 0, PAUSE_MS);
        reply_free(&r);
        close(fd);
    }
    return NULL;
}

enum { TRAINERS = 24 };

/* Ten times what the queue takes, which is full for longer than all tries last: every call gets its answer. */
static void a_trainer_gets_all_its_answers(void **state) {
    (void)state;
    trainer all[TRAINERS], alone;
    start_few(2, 100, 100000);
    fill(2);
    for (int i = 0; i < TRAINERS; i++) {
        all[i].n = i;
        assert_int_equal(pthread_create(&all[i].thread, NULL, train, &all[i]), 0);
    }
    until_state(2, TRAINERS);
    poll(NULL, 0, 2 * TRIES * PAUSE_MS);
    release();
    for (int i = 0; i < TRAINERS; i++) pthread_join(all[i].thread, NULL);
    for (int i = 0; i < TRAINERS; i++) assert_true(all[i].reward >= 0 && all[i].tries == 1);
    until_state(0, 0);
    for (int i = 0; i < TRAINERS; i += 7) { /* what was held is worth what it is worth */
        alone.n = i;
        train(&alone);
        assert_true(alone.reward == all[i].reward);
    }
    live_stop(&S);
}

/* ---- of those that wait at the desk ---- */

static atomic_bool PARKS; /* whoever waits there, and has long to go, is refused once: in the worker's thread */

static bool has_long(void *ctx, void *tag, size_t ahead) {
    (void)ctx, (void)ahead;
    return ((const waiter *)tag)->deadline > clock_now() + 1000; /* the others have 300 s */
}

static bool park(void *ctx) {
    (void)ctx;
    waiter *w = atomic_load(&PARKS) ? desk_find(judges_desk(L.server->judges), has_long, NULL) : NULL;
    if (!w) return false;
    atomic_store(&PARKS, false);
    w->refused(w, "by the test");
    return true;
}

enum { MANY = 300 };

/* So many samples that what comes behind them waits. */
static int send_many(void) {
    buf body = {0};
    int fd = dial(&L);
    buf_puts(&body, "{\"query\": [");
    for (int i = 0; i < MANY; i++) buf_printf(&body, "%s\"Count to %d: no\"", i ? "," : "", i);
    buf_puts(&body, "], \"prompts\": [");
    for (int i = 0; i < MANY; i++) buf_printf(&body, "%s\"Count to %d:\"", i ? "," : "", i);
    buf_puts(&body, "], \"labels\": [");
    for (int i = 0; i < MANY; i++) buf_printf(&body, "%s{\"anchor\": \"yes\", \"ind\": 8}", i ? "," : "");
    buf_puts(&body, "]}");
    ask_on(fd, "POST", "/get_reward", NULL, body.data);
    buf_free(&body);
    return fd;
}

static int send_sample(const char *query, const char *label) {
    buf body = {0};
    int fd = dial(&L);
    buf_printf(&body, "{\"query\": [\"Where? %s\"], \"prompts\": [\"Where?\"], \"labels\": [{%s, \"ind\": 2, ", query,
               label);
    buf_puts(&body, "\"deadline_s\": 3000}]}");
    ask_on(fd, "POST", "/get_reward", NULL, body.data);
    buf_free(&body);
    return fd;
}

/* The rewards of three calls. parked: they wait behind others, and are put aside once while they do. */
static void ask_three(const char *label, bool parked, double *out) {
    static const char *const answers[] = {"Here", "There", "At home"};
    int fd = parked ? send_many() : -1, fds[3];
    if (parked) until_open(1);
    uint64_t before = worker_state(L.server->worker).n_was_held;
    atomic_store(&PARKS, parked);
    for (size_t i = 0; i < 3; i++) fds[i] = send_sample(answers[i], label);
    for (double end = clock_now() + 60; atomic_load(&PARKS) && clock_now() < end;) poll(NULL, 0, 2);
    assert_false(atomic_load(&PARKS));
    if (parked) close(fd);
    for (size_t i = 0; i < 3; i++) {
        reply r = hear_reply(fds[i], false);
        if (r.status != 200) fail_msg("%d: %s", r.status, r.body.data ? r.body.data : "");
        out[i] = reward_of(&r);
        reply_free(&r);
        close(fds[i]);
    }
    until_open(0);
    assert_true((worker_state(L.server->worker).n_was_held > before) == parked);
}

/* Whoever is put aside while he waits is judged as if he had not been: by an anchor, by his history, which lends its
 * rivals once, and in a group, which meets again. */
static void what_was_put_aside_is_judged_the_same(void **state) {
    (void)state;
    static const char *const labels[] = {"\"anchor\": \"Nowhere\"", "\"user\": \"acme:u1\"",
                                         "\"group\": \"g\", \"group_size\": 3",
                                         "\"group\": \"g\", \"group_size\": 3, \"user\": \"acme:u1\""};
    for (size_t i = 0; i < sizeof labels / sizeof *labels; i++) {
        double plain[3], parked[3];
        ask_three(labels[i], false, plain);
        ask_three(labels[i], true, parked);
        for (size_t k = 0; k < 3; k++) assert_true(plain[k] == parked[k]);
    }
}

static int setup_people(void **state) {
    if (people_begin(state) != 0) return -1;
    pgr_serve_options o = people_options(false);
    people_listen(&o);
    worker_add_pump(L.server->worker, park, NULL);
    live_start(&L);
    return 0;
}

int main(void) {
    const struct CMUnitTest held[] = {
        cmocka_unit_test(in_the_order_of_arrival), cmocka_unit_test(whoever_would_be_late_waits),
        cmocka_unit_test(nobody_loses_his_turn),   cmocka_unit_test(no_more_than_may_be_held),
        cmocka_unit_test(who_goes_is_forgotten),   cmocka_unit_test(until_its_deadline_is_near),
        cmocka_unit_test(the_server_stops),        cmocka_unit_test(a_trainer_gets_all_its_answers),
    };
    const struct CMUnitTest judged[] = {
        cmocka_unit_test(what_was_put_aside_is_judged_the_same),
    };
    int failed = cmocka_run_group_tests_name("held", held, live_begin, live_end);
    return failed + cmocka_run_group_tests_name("judged", judged, setup_people, people_teardown);
}
