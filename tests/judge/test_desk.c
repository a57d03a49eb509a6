/* The open judge on a tiny random model: whatever else is asked and whenever it comes, an ask has the result that its
 * request has alone, and only its own cancel, deadline or failure can take it away. */
#include <math.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/rng.h"
#include "company.h"
#include "judge/desk.h"
#include "judge/slots.h"

enum { N = 6 };

static pgr_request *LIST[N];

static int setup(void **state) {
    for (int i = 0; i < N; i++) {
        char text[700];
        snprintf(text, sizeof text,
                 "{\"id\": \"r%d\", \"user\": {\"id\": \"u%d\", \"history\": [{\"query\": \"Number %d?\", \"chosen\": "
                 "\"Yes, %d.\", \"rejected\": \"No.\"}]}, \"query\": \"Where is town %d?\", \"responses\": [\"North of "
                 "%d.\", \"South\"], \"seed\": %d}",
                 i, i % 3, i % 3, i % 3, i, i, i);
        LIST[i] = parse(text);
    }
    return tiny_begin(state);
}

static int teardown(void **state) {
    for (size_t i = 0; i < N; i++) pgr_request_free(LIST[i]);
    return tiny_end(state);
}

static desk *open_desk(pgr_engine *e, const pgr_judge_options *o, size_t at_once) {
    desk *d = NULL;
    pgr_error err = {0};
    if (desk_open(e, o, at_once, &d, &err) != PGR_OK) fail_msg("%s", err.message);
    return d;
}

static desk_ticket submit(desk *d, size_t i, const pgr_judge_options *o, int priority) {
    desk_ticket t = 0;
    pgr_error err = {0};
    desk_ask ask = {.request = LIST[i], .options = o, .priority = priority, .tag = LIST[i]};
    if (desk_submit(d, &ask, &t, &err) != PGR_OK) fail_msg("%s", err.message);
    return t;
}

static void assert_as_alone(const pgr_request *r, const pgr_judge_options *o, const pgr_result *got) {
    pgr_engine *fresh = NULL;
    pgr_result *alone = NULL;
    pgr_error err = {0};
    assert_non_null(got);
    assert_int_equal(pgr_engine_create(MODEL, NULL, &fresh, NULL), PGR_OK);
    if (pgr_judge(fresh, r, o, &alone, &err) != PGR_OK) fail_msg("%s", err.message);
    char *a = plain_json(alone), *b = plain_json(got);
    assert_string_equal(a, b);
    pgr_free(a);
    pgr_free(b);
    pgr_result_free(alone);
    pgr_engine_free(fresh);
}

static void assert_idle(const pgr_engine *e) {
    engine_load load = engine_state(e);
    assert_int_equal(load.n_request, 0);
    assert_int_equal(load.n_running + load.n_waiting, 0);
}

/* Asks come one after another while earlier ones are at work, each with settings of its own. */
static void whenever_they_come(void **state) {
    (void)state;
    pgr_judge_options o[N];
    bool done[N] = {false};
    for (size_t i = 0; i < N; i++) {
        o[i] = options((int)(1 + i * 5 % 7));
        o[i].seed = i % 2 ? (int64_t)(100 + i) : -1;
        o[i].history = i % 2 ? 0 : -1;
    }
    desk *d = open_desk(ENGINE, &o[0], 0);
    size_t n_done = 0, n_asked = 0;
    for (size_t step = 0; n_done < N; step++) {
        assert_true(step < 100000);
        if (n_asked < N && step % 7 == 0) submit(d, n_asked, &o[n_asked], 0), n_asked++;
        bool busy = desk_pump(d);
        desk_verdict v;
        while (desk_take(d, &v)) {
            size_t i = 0;
            while (LIST[i] != v.tag) i++;
            if (!v.result) fail_msg("%s", v.error.message);
            assert_int_equal(v.error.status, PGR_OK);
            assert_true(v.ticket == i + 1 && !done[i]);
            done[i] = true;
            n_done++;
            assert_as_alone(LIST[i], &o[i], v.result);
            pgr_result_free(v.result);
        }
        if (busy) engine_step(ENGINE);
    }
    assert_false(desk_pump(d));
    desk_close(d);
    assert_idle(ENGINE);
}

static void collect(desk *d, pgr_engine *e, desk_verdict *list, size_t *n) {
    desk_verdict v;
    for (bool busy = true; busy;) {
        busy = desk_pump(d);
        while (desk_take(d, &v)) list[(*n)++] = v;
        if (busy) engine_step(e);
    }
}

static void in_any_order(void **state) {
    (void)state;
    pgr_judge_options o = options(3);
    char *first[N] = {NULL};
    for (uint32_t turn = 0; turn < 4; turn++) {
        desk *d = open_desk(ENGINE, &o, turn == 3 ? 1 : 0);
        for (size_t i = 0; i < N; i++) submit(d, turn % 2 ? N - 1 - i : (i + turn) % N, NULL, 0);
        desk_verdict got[N];
        size_t n = 0;
        collect(d, ENGINE, got, &n);
        assert_int_equal(n, N);
        for (size_t k = 0; k < n; k++) {
            size_t i = 0;
            while (LIST[i] != got[k].tag) i++;
            char *json = plain_json(got[k].result);
            if (first[i])
                assert_string_equal(first[i], json);
            else
                first[i] = strdup(json);
            pgr_free(json);
            pgr_result_free(got[k].result);
        }
        desk_close(d);
    }
    for (size_t i = 0; i < N; i++) free(first[i]);
}

/* Where one is at work at a time the highest priority is next, then the oldest. */
static void by_priority(void **state) {
    (void)state;
    static const int priority[N] = {0, 5, 0, 9, 5, -1};
    static const size_t order[N] = {3, 1, 4, 0, 2, 5};
    pgr_judge_options o = options(1);
    desk *d = open_desk(ENGINE, &o, 1);
    for (size_t i = 0; i < N; i++) submit(d, i, NULL, priority[i]);
    desk_verdict got[N];
    size_t n = 0;
    assert_int_equal(desk_state(d).n_waiting, N);
    collect(d, ENGINE, got, &n);
    for (size_t i = 0; i < N; i++) {
        assert_ptr_equal(got[i].tag, LIST[order[i]]);
        pgr_result_free(got[i].result);
    }
    desk_close(d);
}

/* At every moment of an ask's life; the others are as alone, and the engine has nothing left of it. */
static void cancelled_at_any_time(void **state) {
    (void)state;
    pgr_judge_options o = options(4);
    for (size_t after = 0; after < 40; after += 6) {
        desk *d = open_desk(ENGINE, &o, after / 6 % 2);
        desk_ticket first = submit(d, 0, NULL, 0);
        submit(d, 1, NULL, 0);
        for (size_t i = 0; i < after; i++) {
            desk_pump(d);
            engine_step(ENGINE);
        }
        desk_cancel(d, first);
        desk_cancel(d, first); /* twice is once */
        desk_cancel(d, 77);
        desk_verdict got[2];
        size_t n = 0;
        collect(d, ENGINE, got, &n);
        assert_int_equal(n, 1);
        assert_ptr_equal(got[0].tag, LIST[1]);
        if (after % 12 == 0) assert_as_alone(LIST[1], &o, got[0].result);
        pgr_result_free(got[0].result);
        assert_idle(ENGINE);
        desk_close(d);
    }
    desk *d = open_desk(ENGINE, &o, 0); /* closed with asks in every state */
    for (size_t i = 0; i < 40; i++) submit(d, i % N, NULL, 0);
    for (size_t i = 0; i < 20; i++) {
        desk_pump(d);
        engine_step(ENGINE);
    }
    desk_close(d);
    assert_idle(ENGINE);
}

/* A flag of its own ends an ask that waits as well as one that is at work. */
static void by_its_own_flag(void **state) {
    (void)state;
    pgr_cancel flag = 0;
    pgr_judge_options plain = options(4), flagged = options(4);
    flagged.watch.cancel = &flag;
    desk *d = open_desk(ENGINE, &plain, 2);
    for (size_t i = 0; i < 4; i++) submit(d, i, i % 2 ? &flagged : NULL, 0);
    desk_pump(d);
    engine_step(ENGINE);
    assert_int_equal(desk_state(d).n_waiting, 2);
    flag = 1;
    desk_verdict got[4];
    size_t n = 0;
    collect(d, ENGINE, got, &n);
    assert_int_equal(n, 4);
    for (size_t i = 0; i < 4; i++) {
        bool own = got[i].tag == LIST[1] || got[i].tag == LIST[3];
        assert_int_equal(got[i].error.status, own ? PGR_E_CANCELLED : PGR_OK);
        assert_true(own == (got[i].result == NULL));
        pgr_result_free(got[i].result);
    }
    desk_close(d);
}

/* From the submission on: one that has passed before the ask could begin costs the engine nothing, and its scores are
 * not there, with a reason; its neighbour in the queue is as alone. */
static void a_deadline_is_its_own(void **state) {
    (void)state;
    pgr_judge_options o = options(3), hasty = options(3);
    hasty.deadline_s = 1e-6;
    desk *d = open_desk(ENGINE, &o, 0);
    submit(d, 0, &hasty, 0);
    submit(d, 1, NULL, 0);
    usleep(1000);
    engine_load before = engine_state(ENGINE);
    desk_verdict got[2];
    size_t n = 0;
    desk_pump(d);
    assert_true(desk_take(d, &got[n++])); /* before any step */
    assert_ptr_equal(got[0].tag, LIST[0]);
    assert_non_null(got[0].result);
    assert_int_equal(got[0].result->best, -1);
    assert_int_equal(got[0].result->ind.requested, 3);
    assert_int_equal(got[0].result->ind.failed, 3);
    assert_false(got[0].result->responses[0].scored);
    assert_non_null(strstr(got[0].result->responses[0].reason, "deadline"));
    collect(d, ENGINE, got, &n);
    assert_int_equal(n, 2);
    assert_as_alone(LIST[1], &o, got[1].result);
    assert_int_equal(engine_state(ENGINE).n_to_read - before.n_to_read, got[1].result->prompt_tokens);
    for (size_t i = 0; i < n; i++) pgr_result_free(got[i].result);
    desk_close(d);
}

/* Chains that had ended by the deadline count, with their number. On a slow machine it may be none of them, on a fast
 * one all: what is said must be so. */
static void what_is_finished_counts(void **state) {
    (void)state;
    size_t some = 0;
    pgr_judge_options o = options(160);
    double whole = 0;
    for (int k = 0; k < 7; k++) {
        o.deadline_s = k == 0 ? 0 : whole * k / 7;
        desk *d = open_desk(ENGINE, &o, 0);
        submit(d, 3, NULL, 0);
        desk_verdict v[1];
        size_t n = 0;
        collect(d, ENGINE, v, &n);
        const pgr_result *r = v[0].result;
        assert_non_null(r);
        if (k == 0) whole = r->seconds;
        assert_int_equal(r->ind.parsed + r->ind.failed, 160);
        size_t scored = 0;
        for (size_t i = 0; i < r->n_sample; i++) {
            scored += r->samples[i].parsed;
            if (!r->samples[i].parsed && k > 0 && r->samples[i].reason && strstr(r->samples[i].reason, "deadline"))
                assert_true(isnan(r->samples[i].scores[0]));
        }
        assert_int_equal(scored, r->ind.parsed);
        assert_true((r->best >= 0) == (scored > 0));
        some += scored > 0 && scored < 160;
        pgr_result_free(v[0].result);
        desk_close(d);
    }
    print_message("%zu of 6 deadlines came in the middle\n", some);
}

/* What is wrong with a request is its own; what is wrong with the call is refused at once. */
static void fails_alone(void **state) {
    (void)state;
    pgr_judge_options o = options(2), bad = options(2), many = options(2);
    bad.sampling.temperature = -1;
    many.pro = 2; /* nobody knows who is similar */
    desk *d = open_desk(ENGINE, &o, 0);
    desk_ask ask = {.request = LIST[0], .options = &bad};
    pgr_error err;
    assert_int_equal(desk_submit(d, &ask, NULL, &err), PGR_E_ARG);
    assert_non_null(strstr(err.message, "temperature"));
    submit(d, 0, &many, 0);
    submit(d, 1, NULL, 0);
    desk_verdict got[2];
    size_t n = 0;
    collect(d, ENGINE, got, &n);
    assert_int_equal(n, 2);
    assert_null(got[0].result);
    assert_int_equal(got[0].error.status, PGR_E_UNSUPPORTED);
    assert_as_alone(LIST[1], &o, got[1].result);
    pgr_result_free(got[1].result);
    desk_close(d);

    o.frame = "no-such-frame";
    assert_true(desk_open(ENGINE, &o, 0, &d, &err) < 0);
    assert_non_null(strstr(err.message, "no-such-frame"));
}

/* Other owners of the engine have their own events. */
static void beside_other_requests(void **state) {
    (void)state;
    pgr_judge_options o = options(3);
    desk *d = open_desk(ENGINE, &o, 0), *other = open_desk(ENGINE, &o, 0);
    infer_request q = {.text = "Hello",
                       .n_text = 5,
                       .n_sample = 3,
                       .max_tokens = 40,
                       .owner = &q,
                       .ignore_eos = true,
                       .sampling = {1, 0, 1, 0},
                       .seed = 3};
    infer_ticket ticket;
    assert_int_equal(engine_submit(ENGINE, &q, &ticket, NULL), PGR_OK);
    for (size_t i = 0; i < 3; i++) submit(d, i, NULL, 0), submit(other, i + 1, NULL, 0);
    size_t n[2] = {0}, n_text = 0;
    desk_verdict got[2][3];
    for (bool busy = true; busy;) {
        busy = desk_pump(d);
        busy |= desk_pump(other);
        while (n[0] < 3 && desk_take(d, &got[0][n[0]])) n[0]++;
        while (n[1] < 3 && desk_take(other, &got[1][n[1]])) n[1]++;
        busy |= engine_step(ENGINE);
        infer_event event;
        while (engine_take(ENGINE, &q, &event)) {
            if (event.kind != INFER_ENDED) continue;
            n_text += event.result->n_chain;
            infer_result_free(event.result);
        }
    }
    assert_int_equal(n_text, 3);
    for (size_t k = 0; k < 2; k++) {
        assert_int_equal(n[k], 3);
        for (size_t i = 0; i < 3; i++) {
            assert_as_alone(got[k][i].tag, &o, got[k][i].result);
            pgr_result_free(got[k][i].result);
        }
    }
    desk_close(d);
    desk_close(other);
}

/* Thousands of asks over one desk leave nothing behind: as many allocations live after the last as after the first. */
static void memory_is_flat(void **state) {
    (void)state;
    enum { ROUNDS = 6, EACH = 40 };
    pgr_judge_options o = options(1);
    o.keep_chains = false;
    o.sampling.temperature = 0;
    desk *d = open_desk(ENGINE, &o, 0);
    long live[ROUNDS];
    for (size_t k = 0; k < ROUNDS; k++) {
        desk_verdict got[EACH];
        size_t n = 0;
        for (size_t i = 0; i < EACH; i++) submit(d, i % N, NULL, 0);
        collect(d, ENGINE, got, &n);
        assert_int_equal(n, EACH);
        for (size_t i = 0; i < n; i++) pgr_result_free(got[i].result);
        live[k] = mem_live();
    }
    print_message("%ld allocations live after %d asks, %ld after %d\n", live[0], EACH, live[ROUNDS - 1], ROUNDS * EACH);
    for (size_t k = 1; k < ROUNDS; k++) assert_int_equal(live[k], live[0]);
    desk_close(d);
}

/* ---- what is told of an ask at work ---- */

enum { TOLD_CHAINS = 8 };

typedef struct heard {
    size_t n_asked, n_ended, n_readings;
    buf text[TOLD_CHAINS]; /* by number */
    bool ended[TOLD_CHAINS], parsed[TOLD_CHAINS];
    double scores[TOLD_CHAINS][2]; /* by response */
    size_t n_taste;
} heard;

static void hear_chain(heard *h, const desk_news *n) {
    assert_true(n->number < TOLD_CHAINS && !h->ended[n->number]);
    h->ended[n->number] = true;
    h->parsed[n->number] = n->parsed;
    assert_true(n->parsed == (n->reason == NULL));
    for (size_t i = 0; i < n->n_response; i++)
        h->scores[n->number][n->order[i]] = n->values ? n->values[i] : (double)NAN;
    h->n_ended++;
}

static void hear_reading(heard *h, const desk_news *n) {
    double sum = 0;
    h->n_readings++;
    h->n_taste += n->taste;
    for (size_t i = 0; n->taste && i < N_TASTE; i++) sum += n->values[i];
    if (n->taste) assert_true(fabs(sum - 1) <= 1e-6); /* of float32 log-probabilities of N_TASTE choices */
    for (size_t i = 0; !n->taste && i < n->n_response; i++) assert_true(n->values[i] >= 1 && n->values[i] <= N_DIGIT);
}

static void hear(void *ctx, const desk_news *n) {
    heard *h = ctx;
    assert_null(n->user); /* nobody similar is asked */
    assert_int_equal(n->n_response, 2);
    switch (n->kind) {
    case DESK_ASKED:
        h->n_asked += n->n;
        break;
    case DESK_PIECE:
        assert_true(n->number < TOLD_CHAINS && !h->ended[n->number] && n->n_text > 0);
        buf_add(&h->text[n->number], n->text, n->n_text);
        break;
    case DESK_CHAIN:
        hear_chain(h, n);
        break;
    case DESK_READING:
        hear_reading(h, n);
        break;
    }
}

static pgr_result *judge_aloud(const pgr_judge_options *o, const pgr_request *r, heard *h) {
    desk *d = open_desk(ENGINE, o, 0);
    pgr_error err = {0};
    desk_ask ask = {.request = r, .news = hear, .news_ctx = h};
    if (desk_submit(d, &ask, NULL, &err) != PGR_OK) fail_msg("%s", err.message);
    desk_verdict got[1];
    size_t n = 0;
    collect(d, ENGINE, got, &n);
    if (!got[0].result) fail_msg("%s", got[0].error.message);
    desk_close(d);
    assert_idle(ENGINE);
    return got[0].result;
}

/* The pieces of a chain are its text, every chain ends once, with the scores that the result has of it; and who listens
 * has the result of who does not. */
static void what_is_told_of_chains(void **state) {
    (void)state;
    pgr_judge_options o = options(5);
    heard h = {0};
    pgr_result *r = judge_aloud(&o, LIST[2], &h);
    assert_int_equal(h.n_asked, 5);
    assert_int_equal(h.n_ended, 5);
    assert_int_equal(h.n_readings, 0);
    for (size_t i = 0; i < 5; i++) {
        const pgr_chain_sample *s = &r->samples[i];
        assert_string_equal(h.text[i].data ? h.text[i].data : "", s->text);
        assert_true(h.parsed[i] == s->parsed);
        for (size_t k = 0; s->parsed && k < 2; k++) assert_true(fabs(h.scores[i][k] - s->scores[k]) <= 0);
        buf_free(&h.text[i]);
    }
    assert_as_alone(LIST[2], &o, r);
    pgr_result_free(r);
}

/* Of a frame with slots it is the readings: one of the history for each order or for all, one of the responses for
 * each. */
static void what_is_told_of_slots(void **state) {
    (void)state;
    pgr_judge_options o = options(2);
    o.frame = "compact";
    heard h = {0};
    pgr_result *r = judge_aloud(&o, LIST[2], &h);
    assert_true(h.n_readings >= 2 && h.n_taste >= 1 && h.n_taste < h.n_readings);
    assert_int_equal(h.n_asked, h.n_readings);
    assert_int_equal(h.n_ended, 0);
    assert_as_alone(LIST[2], &o, r);
    pgr_result_free(r);
}

static bool ask_two(void) {
    pgr_engine *e = NULL;
    desk *d = NULL;
    pgr_judge_options o = options(1);
    bool ok = pgr_engine_create(MODEL, NULL, &e, NULL) == PGR_OK && desk_open(e, &o, 0, &d, NULL) == PGR_OK;
    for (size_t i = 0; ok && i < 2; i++) {
        desk_ask ask = {.request = LIST[i], .options = i ? &o : NULL};
        ok = desk_submit(d, &ask, NULL, NULL) == PGR_OK;
    }
    for (bool busy = d != NULL; busy;) {
        busy = desk_pump(d);
        desk_verdict v;
        while (desk_take(d, &v)) {
            ok = ok && v.result;
            pgr_result_free(v.result);
        }
        if (busy) engine_step(e);
    }
    desk_close(d);
    pgr_engine_free(e);
    return ok;
}

static void every_allocation_failed_in_turn(void **state) {
    (void)state;
    long n = fail_allocations(ask_two, 50);
    print_message("%ld allocations, each failed once\n", n);
    assert_true(n > 300);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whenever_they_come),
        cmocka_unit_test(in_any_order),
        cmocka_unit_test(by_priority),
        cmocka_unit_test(cancelled_at_any_time),
        cmocka_unit_test(by_its_own_flag),
        cmocka_unit_test(a_deadline_is_its_own),
        cmocka_unit_test(what_is_finished_counts),
        cmocka_unit_test(fails_alone),
        cmocka_unit_test(beside_other_requests),
        cmocka_unit_test(memory_is_flat),
        cmocka_unit_test(what_is_told_of_chains),
        cmocka_unit_test(what_is_told_of_slots),
        cmocka_unit_test(every_allocation_failed_in_turn),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
