/* Calls that would be late are told so while there is time to ask elsewhere: the arithmetic by a clock of its own, and
 * a real server whose queue is too long for a deadline, whatever the machine's speed. */
#include <math.h>

#include "people_fixture.h"

#include "serve/admission.h"
#include "serve/judges.h"

/* n asks a second for `seconds`, while others wait or not. */
static double pass(admission *a, double now, double seconds, double a_second, bool waits) {
    for (double t = 0; t < seconds; t += 0.5) admission_look(a, now + t, (size_t)(a_second / 2), waits);
    return now + seconds;
}

static void knows_nothing_at_first(void **state) {
    (void)state;
    admission a = {0};
    assert_true(admission_seconds(&a, 1000) == 0);
    assert_false(admission_late(&a, 0, 1, 1000));
    admission_look(&a, 1, 0, true);
    admission_look(&a, 2, ADMISSION_LEAST - 1, true);
    assert_false(admission_late(&a, 2, 3, 1000));
    admission_look(&a, 3, 1, true);
    assert_true(admission_late(&a, 3, 4, 1000));
}

static void goes_by_the_rate(void **state) {
    (void)state;
    admission a = {0};
    double now = pass(&a, 100, 60, 6, true);
    assert_true(fabs(admission_seconds(&a, 600) - 100) < 2); /* half a look of the window's 20 s is not full */
    assert_false(admission_late(&a, now, now + 100, 600));   /* within a tenth: it may be there in time */
    assert_false(admission_late(&a, now, now + 95, 600));
    assert_true(admission_late(&a, now, now + 80, 600));
    assert_false(admission_late(&a, now, now + 0.01, 0)); /* nothing ahead */
    assert_false(admission_late(&a, now, now - 1, 600));  /* its time is over: that is another answer */
    now = pass(&a, now, 100, 2, true);
    assert_true(fabs(admission_seconds(&a, 600) - 300) < 15); /* what was 100 s ago is e^-5 of it */
}

/* Asks that end while nothing waits say nothing of how fast a queue is worked off. */
static void time_without_a_queue_is_none(void **state) {
    (void)state;
    admission a = {0};
    double now = pass(&a, 0, 30, 10, true);
    double before = admission_seconds(&a, 100);
    now = pass(&a, now, 1000, 2, false);
    admission_look(&a, now, 0, true);
    assert_true(fabs(admission_seconds(&a, 100) / before - 1) < 0.05);
}

enum { MANY = 1500 };

/* A call of so many samples, each of which is an ask of its own. */
static void put_many(buf *body, double deadline_s) {
    buf_puts(body, "{\"query\": [");
    for (int i = 0; i < MANY; i++) buf_printf(body, "%s\"Count to %d: no\"", i ? "," : "", i);
    buf_puts(body, "], \"prompts\": [");
    for (int i = 0; i < MANY; i++) buf_printf(body, "%s\"Count to %d:\"", i ? "," : "", i);
    buf_puts(body, "], \"labels\": [");
    for (int i = 0; i < MANY; i++) buf_printf(body, "%s{\"anchor\": \"yes\", \"ind\": 16}", i ? "," : "");
    buf_printf(body, "], \"deadline_s\": %g}", deadline_s);
}

/* Of deadlines that double one is long enough for the rate to be known (256 chains of 24,000, and a second) and too
 * short for all of it. */
static void a_queue_that_is_too_long(void **state) {
    (void)state;
    reply r = {0};
    for (double deadline = 0.25; deadline < 200; deadline *= 2) {
        buf body = {0};
        put_many(&body, deadline);
        r = ask(&L, "POST", "/get_reward", body.data);
        buf_free(&body);
        if (r.status != 504) break;
        reply_free(&r);
    }
    assert_true(atoi(header_of(&r, "Retry-After")) >= 1);
    expect_error(r, 429, "too_late");
    until_open(0);
    json_decref(
        answer(ask(&L, "POST", "/get_reward", /* and the next one finds no queue */
                   "{\"prompt\": \"Where?\", \"response\": \"Here\", \"label\": {\"anchor\": \"There\", \"ind\": "
                   "1}}"),
               200));
}

/* While a long queue is worked off whoever cannot be in time is refused at once, and whoever can is answered. */
static void behind_a_queue(void **state) {
    (void)state;
    buf body = {0};
    int fd = dial(&L), late = 0;
    put_many(&body, 280);
    ask_on(fd, "POST", "/get_reward", NULL, body.data);
    until_open(1);
    for (int i = 0; i < 1000 && late == 0; i++) { /* until the rate is known, and the queue is as long as it gets */
        reply r = ask(&L, "POST", "/get_reward",
                      "{\"query\": [\"q a\"], \"prompts\": [\"q\"], \"labels\": [{\"anchor\": \"b\", \"ind\": 1, "
                      "\"deadline_s\": 0.3}]}");
        late += r.status == 429;
        if (r.status != 429 && r.status != 504 && r.status != 200) fail_msg("status %d", r.status);
        reply_free(&r);
    }
    assert_int_equal(late, 1);
    close(fd);
    until_open(0);
    buf_free(&body);
}

/* Refuses what waits for a group, once, when it is told to; in the worker's thread, before the judges' own pump. */
static atomic_bool REFUSES;

static bool is_a_groups(void *ctx, void *tag, size_t ahead) {
    (void)ctx, (void)ahead;
    return ((const waiter *)tag)->deadline > clock_now() + 1000; /* the others have 280 s */
}

static bool refuse_group(void *ctx) {
    (void)ctx;
    waiter *w = atomic_load(&REFUSES) ? desk_find(judges_desk(L.server->judges), is_a_groups, NULL) : NULL;
    if (!w) return false;
    atomic_store(&REFUSES, false);
    w->refused(w, "by the test");
    return true;
}

/* The members of a group that waits are told, all of them. */
static void a_group_is_refused(void **state) {
    (void)state;
    buf body = {0};
    int fd = dial(&L), members[3];
    put_many(&body, 280);
    ask_on(fd, "POST", "/get_reward", NULL, body.data);
    until_open(1);
    for (size_t i = 0; i < 3; i++) {
        char text[300];
        snprintf(text, sizeof text,
                 "{\"query\": [\"Where? At %zu\"], \"prompts\": [\"Where?\"], \"labels\": [{\"group\": \"g\", "
                 "\"group_size\": 3, \"ind\": 1, \"deadline_s\": 3000}]}",
                 i);
        members[i] = dial(&L);
        ask_on(members[i], "POST", "/get_reward", NULL, text);
    }
    atomic_store(&REFUSES, true);
    for (size_t i = 0; i < 3; i++) {
        expect_error(hear_reply(members[i], false), 429, "too_late");
        close(members[i]);
    }
    assert_false(atomic_load(&REFUSES));
    close(fd);
    until_open(0);
    buf_free(&body);
}

static int setup(void **state) {
    if (people_begin(state) != 0) return -1;
    pgr_serve_options o = people_options(false);
    o.max_held = 0; /* else they wait (test_held.c) */
    people_listen(&o);
    worker_add_pump(L.server->worker, refuse_group, NULL);
    live_start(&L);
    return 0;
}

int main(void) {
    const struct CMUnitTest units[] = {
        cmocka_unit_test(knows_nothing_at_first),
        cmocka_unit_test(goes_by_the_rate),
        cmocka_unit_test(time_without_a_queue_is_none),
    };
    const struct CMUnitTest served[] = {
        cmocka_unit_test(a_queue_that_is_too_long),
        cmocka_unit_test(behind_a_queue),
        cmocka_unit_test(a_group_is_refused),
    };
    int failed = cmocka_run_group_tests_name("admission", units, NULL, NULL);
    return failed + cmocka_run_group_tests_name("serve", served, setup, people_teardown);
}
