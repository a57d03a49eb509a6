/* The public open desk (pgr_desk_...) on a tiny random model: what is asked while others run has the verdict that
 * pgr_judge gives alone, an ask goes alone, and the engine is as before. What a desk does in all cases is in
 * test_desk.c. */
#include "tiny_engine.h"

enum { N = 4 };

static pgr_request *LIST[N];

static int setup(void **state) {
    for (int i = 0; i < N; i++) {
        char text[300];
        snprintf(text, sizeof text,
                 "{\"id\": \"r%d\", \"query\": \"Where is %d?\", \"responses\": [\"North of %d.\", \"South\"], "
                 "\"seed\": %d}",
                 i, i, i, i);
        LIST[i] = parse(text);
    }
    return tiny_begin(state);
}

static int teardown(void **state) {
    for (size_t i = 0; i < N; i++) pgr_request_free(LIST[i]);
    return tiny_end(state);
}

static pgr_judge_options options(void) {
    pgr_judge_options o = pgr_judge_options_default();
    o.ind = 2;
    o.frame = MINI;
    return o;
}

static pgr_desk *open_desk(void) {
    pgr_desk *d = NULL;
    pgr_error err = {0};
    pgr_judge_options o = options();
    if (pgr_desk_open(ENGINE, &o, &d, &err) != PGR_OK) fail_msg("%s", err.message);
    return d;
}

static uint64_t ask(pgr_desk *d, size_t i, const pgr_judge_options *o) {
    uint64_t ticket = 0;
    pgr_error err = {0};
    if (pgr_desk_ask(d, &(pgr_ask){.request = LIST[i], .options = o, .tag = LIST[i]}, &ticket, &err) != PGR_OK)
        fail_msg("%s", err.message);
    assert_true(ticket > 0);
    return ticket;
}

static void assert_as_alone(const pgr_request *r, const pgr_result *got) {
    pgr_engine *fresh = NULL;
    pgr_result *alone = NULL;
    pgr_error err = {0};
    pgr_judge_options o = options();
    assert_int_equal(pgr_engine_create(MODEL, NULL, &fresh, NULL), PGR_OK);
    if (pgr_judge(fresh, r, &o, &alone, &err) != PGR_OK) fail_msg("%s", err.message);
    assert_string_equal(alone->id, got->id);
    assert_int_equal(alone->parsed, got->parsed);
    for (size_t i = 0; i < 2; i++)
        assert_true(alone->responses[i].scored == got->responses[i].scored
                    && (!got->responses[i].scored || alone->responses[i].score == got->responses[i].score));
    pgr_result_free(alone);
    pgr_engine_free(fresh);
}

/* The second half is asked while the first is at work. */
static void verdicts_are_those_of_each_alone(void **state) {
    (void)state;
    pgr_desk *d = open_desk();
    size_t n_taken = 0, n_asked = 0;
    for (; n_asked < N / 2; n_asked++) ask(d, n_asked, NULL);
    for (bool busy = true; busy || n_taken < N;) {
        busy = pgr_desk_step(d);
        if (n_asked < N) ask(d, n_asked, NULL), n_asked++;
        pgr_verdict v;
        while (pgr_desk_take(d, &v)) {
            if (!v.result) fail_msg("%s", v.error.message);
            assert_as_alone(v.tag, v.result);
            pgr_result_free(v.result);
            n_taken++;
        }
    }
    assert_int_equal(n_taken, N);
    pgr_desk_close(d);
}

static void a_cancelled_ask_is_not_heard_of(void **state) {
    (void)state;
    pgr_desk *d = open_desk();
    pgr_verdict v;
    uint64_t gone = ask(d, 0, NULL);
    assert_true(pgr_desk_step(d));
    pgr_desk_cancel(d, gone);
    pgr_desk_cancel(d, gone);
    pgr_desk_cancel(d, 0);
    assert_false(pgr_desk_step(d));
    assert_false(pgr_desk_take(d, &v));
    pgr_desk_close(d);
}

/* By its flag one ask ends with an error, the other one goes on; the engine judges afterwards. */
static void a_flag_ends_one_ask(void **state) {
    (void)state;
    pgr_desk *d = open_desk();
    pgr_cancel flag = 0;
    pgr_judge_options o = options();
    o.watch.cancel = &flag;
    uint64_t flagged = ask(d, 0, &o);
    ask(d, 1, NULL);
    pgr_desk_step(d);
    flag = 1;
    pgr_verdict v;
    size_t n = 0;
    for (bool busy = true; busy;) {
        busy = pgr_desk_step(d);
        while (pgr_desk_take(d, &v)) {
            n++;
            assert_int_equal(v.error.status, v.ticket == flagged ? PGR_E_CANCELLED : PGR_OK);
            assert_true((v.result != NULL) == (v.ticket != flagged));
            if (v.result) assert_as_alone(v.tag, v.result);
            pgr_result_free(v.result);
        }
    }
    assert_int_equal(n, 2);
    pgr_desk_close(d);
    pgr_result *r = NULL;
    o.watch.cancel = NULL;
    assert_int_equal(pgr_judge(ENGINE, LIST[0], &o, &r, NULL), PGR_OK);
    assert_as_alone(LIST[0], r);
    pgr_result_free(r);
}

static void what_is_wrong_is_said_at_once(void **state) {
    (void)state;
    pgr_desk *d = open_desk();
    pgr_error err = {0};
    pgr_judge_options o = options();
    o.ind = -7;
    assert_int_equal(pgr_desk_ask(d, &(pgr_ask){.request = LIST[0], .options = &o}, NULL, &err), PGR_E_ARG);
    assert_non_null(strstr(err.message, "ind"));
    assert_int_equal(pgr_desk_ask(d, &(pgr_ask){.options = NULL}, NULL, &err), PGR_E_ARG);
    assert_int_equal(pgr_desk_open(NULL, NULL, &d, &err), PGR_E_ARG);
    assert_false(pgr_desk_step(d));
    pgr_desk_close(d);
    pgr_desk_close(NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(verdicts_are_those_of_each_alone),
        cmocka_unit_test(a_cancelled_ask_is_not_heard_of),
        cmocka_unit_test(a_flag_ends_one_ask),
        cmocka_unit_test(what_is_wrong_is_said_at_once),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
