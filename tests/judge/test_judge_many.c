/* pgr_judge_many on a tiny random model: each request's result is that of the request alone, and only its own failure
 * can take it away. */
#include <math.h>

#include "company.h"
#include "judge/judge.h"

#define HISTORY_1                                                                                                      \
    "\"user\": {\"id\": \"u1\", \"history\": [{\"query\": \"How do I boil rice?\", \"chosen\": \"Ten minutes.\", "     \
    "\"rejected\": \"Rice is a grain.\"}]}"
#define HISTORY_2                                                                                                      \
    "\"user\": {\"id\": \"u2\", \"history\": [{\"query\": \"Name a tree\", \"chosen\": \"There are many trees: oak, "  \
    "birch, pine.\", \"rejected\": \"Oak.\"}]}"

static const char *const REQUESTS[] = {
    "{\"id\": \"a\", " HISTORY_1 ", \"query\": \"Where is Oslo?\", \"responses\": [\"In Norway.\", \"North.\"]}",
    "{\"id\": \"b\", " HISTORY_1 ", \"query\": \"Where is Rome?\", \"responses\": [\"In Italy.\", \"South.\"]}",
    "{\"id\": \"c\", " HISTORY_2 ", \"query\": \"Where is Oslo?\", \"responses\": [\"In Norway.\", \"North.\"]}",
    "{\"id\": \"d\", " HISTORY_2 ", \"query\": \"What is blue?\", \"responses\": [\"Sky\", \"Sea\", \"A colour\"], "
    "\"seed\": 5, \"ind\": 7}",
    "{\"id\": \"e\", \"query\": \"Where is Oslo?\", \"responses\": [\"In Norway.\", \"North.\"], \"ind\": 1}",
};
enum { N = sizeof REQUESTS / sizeof *REQUESTS };

static pgr_request *LIST[N];

static int setup(void **state) {
    for (size_t i = 0; i < N; i++) LIST[i] = parse(REQUESTS[i]);
    return tiny_begin(state);
}

static int teardown(void **state) {
    for (size_t i = 0; i < N; i++) pgr_request_free(LIST[i]);
    return tiny_end(state);
}

static void assert_same(const pgr_result *a, const pgr_result *b) {
    char *json[2] = {plain_json(a), plain_json(b)};
    assert_string_equal(json[0], json[1]);
    for (size_t i = 0; i < a->n_response; i++) {
        assert_memory_equal(&a->responses[i].score, &b->responses[i].score, sizeof(double));
        assert_memory_equal(&a->responses[i].win, &b->responses[i].win, sizeof(double));
    }
    for (size_t i = 0; i < 2; i++) pgr_free(json[i]);
}

static void assert_as_alone(const pgr_request *r, const pgr_judge_options *o, const pgr_result *got) {
    pgr_engine *fresh = NULL;
    pgr_result *alone = NULL;
    pgr_error err = {0};
    assert_int_equal(pgr_engine_create(MODEL, NULL, &fresh, NULL), PGR_OK);
    pgr_judge_options plain = *o;
    plain.judged = NULL;
    if (pgr_judge(fresh, r, &plain, &alone, &err) != PGR_OK) fail_msg("%s", err.message);
    assert_non_null(got);
    assert_same(alone, got);
    pgr_result_free(alone);
    pgr_engine_free(fresh);
}

static void free_results(pgr_result **results, size_t n) {
    for (size_t i = 0; i < n; i++) pgr_result_free(results[i]);
}

static void as_one_by_one(void **state) {
    (void)state;
    const int inds[] = {-1, 3, 14}; /* the requests' own; 14: more chains than run together */
    for (size_t k = 0; k < 3; k++) {
        pgr_judge_options o = options(inds[k]);
        pgr_result *results[N];
        pgr_error errors[N];
        assert_int_equal(pgr_judge_many(ENGINE, (const pgr_request *const *)LIST, N, &o, results, errors), PGR_OK);
        for (size_t i = 0; i < N; i++) {
            assert_int_equal(errors[i].status, PGR_OK);
            assert_as_alone(LIST[i], &o, results[i]);
            assert_true(results[i]->seconds >= results[i]->first_token_s && results[i]->first_token_s > 0);
        }
        free_results(results, N);
    }
}

/* Neither the place in the call nor the company matters, only the request. */
static void in_any_place(void **state) {
    (void)state;
    const pgr_request *turned[N + 1];
    for (size_t i = 0; i < N; i++) turned[i] = LIST[N - 1 - i];
    turned[N] = LIST[1]; /* twice */
    pgr_judge_options o = options(4);
    pgr_result *straight[N], *other[N + 1];
    assert_int_equal(pgr_judge_many(ENGINE, (const pgr_request *const *)LIST, N, &o, straight, NULL), PGR_OK);
    assert_int_equal(pgr_judge_many(ENGINE, turned, N + 1, &o, other, NULL), PGR_OK);
    for (size_t i = 0; i < N; i++) assert_same(straight[i], other[N - 1 - i]);
    assert_same(straight[1], other[N]);
    free_results(straight, N);
    free_results(other, N + 1);
}

/* One call computes shared beginnings once, and counts them where they were found. */
static void shared_beginnings_are_counted(void **state) {
    (void)state;
    pgr_engine *fresh = NULL;
    assert_int_equal(pgr_engine_create(MODEL, NULL, &fresh, NULL), PGR_OK);
    const pgr_request *list[] = {LIST[4], LIST[4]};
    pgr_judge_options o = options(1);
    pgr_result *r[2];
    assert_int_equal(pgr_judge_many(fresh, list, 2, &o, r, NULL), PGR_OK);
    assert_int_equal(r[0]->cached_tokens, 0);
    assert_int_equal(r[1]->cached_tokens, r[1]->prompt_tokens - 1); /* the last one gives the logits */
    free_results(r, 2);
    pgr_engine_free(fresh);
}

static void one_failure_is_its_own(void **state) {
    (void)state;
    pgr_request *bad[] = {
        parse_as("{\"query\": \"q\", \"responses\": [\"a\", \"b\"], \"pro\": 2}", "pro.json"),
        parse_as("{\"query\": \"q\", \"responses\": [\"a\", \"b\"], \"ind\": 0}", "none.json"),
    };
    const pgr_request *list[] = {bad[0], LIST[0], bad[1], LIST[3]};
    pgr_judge_options o = options(-1);
    pgr_result *r[4];
    pgr_error errors[4];
    assert_int_equal(pgr_judge_many(ENGINE, list, 4, &o, r, errors), PGR_E_UNSUPPORTED); /* the first */
    assert_null(r[0]);
    assert_null(r[2]);
    assert_int_equal(errors[0].status, PGR_E_UNSUPPORTED);
    assert_non_null(strstr(errors[0].message, "pro.json: pro is 2"));
    assert_int_equal(errors[2].status, PGR_E_ARG);
    assert_non_null(strstr(errors[2].message, "none.json: ind is 0"));
    assert_as_alone(LIST[0], &o, r[1]);
    assert_as_alone(LIST[3], &o, r[3]);
    free_results(r, 4);
    assert_int_equal(pgr_judge_many(ENGINE, NULL, 0, &o, NULL, NULL), PGR_OK);

    o.frame = "no-such-frame"; /* of no request alone: all fail */
    assert_true(pgr_judge_many(ENGINE, list, 4, &o, r, errors) < 0);
    for (size_t i = 0; i < 4; i++) {
        assert_null(r[i]);
        assert_non_null(strstr(errors[i].message, "no-such-frame"));
    }
    for (size_t i = 0; i < 2; i++) pgr_request_free(bad[i]);
}

/* A frame has one grammar per number of responses; all of them are in use at once. */
static void every_number_of_responses_at_once(void **state) {
    (void)state;
    enum { KINDS = 25 };
    pgr_request *list[KINDS];
    for (size_t k = 0; k < KINDS; k++) {
        char text[600];
        size_t n = (size_t)snprintf(text, sizeof text, "{\"query\": \"Which?\", \"responses\": [\"x\"");
        for (size_t i = 0; i <= k; i++) n += (size_t)snprintf(text + n, sizeof text - n, ",\"%zu\"", i);
        snprintf(text + n, sizeof text - n, "]}");
        list[k] = parse(text);
    }
    pgr_judge_options o = options(1);
    o.frame = MANY;
    pgr_result *r[KINDS];
    pgr_error errors[KINDS];
    if (pgr_judge_many(ENGINE, (const pgr_request *const *)list, KINDS, &o, r, errors) != PGR_OK)
        for (size_t k = 0; k < KINDS; k++)
            if (!r[k]) fail_msg("%zu responses: %s", k + 2, errors[k].message);
    for (size_t k = 0; k < KINDS; k++) {
        assert_int_equal(r[k]->parsed, 1);
        assert_int_equal(r[k]->n_response, k + 2);
    }
    assert_as_alone(list[0], &o, r[0]);
    free_results(r, KINDS);
    for (size_t k = 0; k < KINDS; k++) pgr_request_free(list[k]);
}

/* ---- while it runs ---- */

typedef struct watch {
    pgr_cancel cancel;
    size_t stop_after; /* judged requests */
    size_t n, count[N];
    pgr_result **results;
} watch;

static void on_judged(void *ctx, size_t index) {
    watch *w = ctx;
    assert_true(index < N);
    w->count[index]++;
    if (w->cancel == 0) assert_non_null(w->results[index]);
    if (++w->n == w->stop_after) w->cancel = 1;
}

static void cancelled_keeps_what_is_done(void **state) {
    (void)state;
    pgr_result *r[N];
    pgr_error errors[N];
    watch w = {.stop_after = 2, .results = r};
    pgr_judge_options o = options(14); /* 64 chains run together: the last requests wait */
    o.watch.cancel = &w.cancel;
    o.judged = on_judged;
    o.judged_ctx = &w;
    assert_int_equal(pgr_judge_many(ENGINE, (const pgr_request *const *)LIST, N, &o, r, errors), PGR_E_CANCELLED);
    size_t done = 0;
    for (size_t i = 0; i < N; i++) {
        assert_int_equal(w.count[i], 1);
        assert_int_equal(errors[i].status, r[i] ? PGR_OK : PGR_E_CANCELLED);
        if (!r[i]) continue;
        done++;
        o.watch.cancel = NULL;
        assert_as_alone(LIST[i], &o, r[i]);
        o.watch.cancel = &w.cancel;
    }
    assert_true(done >= 2 && done < N); /* those that end in the same step are done, too */
    free_results(r, N);

    assert_int_equal(pgr_judge_many(ENGINE, (const pgr_request *const *)LIST, N, &o, r, NULL), PGR_E_CANCELLED);
    for (size_t i = 0; i < N; i++) assert_null(r[i]); /* before it began */
}

enum { LONG = 90 }; /* requests: more than have slots */

typedef struct arrivals {
    pgr_result *results[LONG];
    engine_load at[LONG]; /* the engine when the i-th was there */
    size_t n;
} arrivals;

static void on_arrival(void *ctx, size_t index) {
    arrivals *a = ctx;
    assert_non_null(a->results[index]);
    a->at[a->n++] = engine_state(ENGINE);
}

/* Results come while other prompts are still to be read: a call that is killed has lost what runs, not what ran. */
static void results_come_one_by_one(void **state) {
    (void)state;
    static arrivals a;
    const pgr_request *list[LONG];
    for (size_t i = 0; i < LONG; i++) list[i] = LIST[i % N];
    pgr_judge_options o = options(1);
    o.judged = on_arrival;
    o.judged_ctx = &a;
    engine_load before = engine_state(ENGINE);
    assert_int_equal(pgr_judge_many(ENGINE, list, LONG, &o, a.results, NULL), PGR_OK);
    assert_int_equal(a.n, LONG);
    size_t most = 0; /* that came between two steps in which something was written */
    for (size_t i = 0, same = 1; i < LONG; i++, same++) {
        if (i && a.at[i].n_written != a.at[i - 1].n_written) same = 1;
        if (same > most) most = same;
    }
    uint64_t read = a.at[0].n_read - before.n_read, all = engine_state(ENGINE).n_read - before.n_read;
    print_message("%zu at once at most; at the first %.2f of the prompts were read\n", most,
                  (double)read / (double)all);
    assert_true(most <= 32); /* chains that begin together: the engine reads prompts first until it has that many */
    assert_true((double)read < 0.6 * (double)all);
    free_results(a.results, LONG);
}

typedef struct bounded {
    pgr_result *results[N];
    size_t most_open; /* chains that run or wait, of all steps */
    size_t n_judged;
} bounded;

static void on_bounded(void *ctx, size_t index) {
    bounded *b = ctx;
    assert_true(index < N);
    b->n_judged++;
}

static void at_step(void *ctx, const char *label, uint64_t done, uint64_t total, const char *unit) {
    (void)label, (void)done, (void)total, (void)unit;
    bounded *b = ctx;
    engine_load now = engine_state(ENGINE);
    if (now.n_running + now.n_waiting > b->most_open) b->most_open = now.n_running + now.n_waiting;
}

/* With so many requests at work and no more, a kill loses their chains and no others; what they say is the same. */
static void so_many_at_once(void **state) {
    (void)state;
    for (size_t most = 1; most <= 2; most++) {
        bounded b = {0};
        pgr_judge_options o = options(4);
        o.judged = on_bounded;
        o.judged_ctx = &b;
        o.watch = (pgr_watch){NULL, at_step, &b};
        const pgr_request *const *list = (const pgr_request *const *)LIST;
        assert_int_equal(judge_many_at_once(ENGINE, list, N, &o, most, b.results, NULL), PGR_OK);
        assert_int_equal(b.n_judged, N);
        assert_true(b.most_open > 0 && b.most_open <= 4 * most);
        o.watch = (pgr_watch){0};
        for (size_t i = 0; i < N; i++) assert_as_alone(LIST[i], &o, b.results[i]);
        free_results(b.results, N);
    }
}

static void a_deadline_fails_chains_not_requests(void **state) {
    (void)state;
    pgr_judge_options o = options(3);
    o.deadline_s = 1e-6;
    pgr_result *r[N];
    assert_int_equal(pgr_judge_many(ENGINE, (const pgr_request *const *)LIST, N, &o, r, NULL), PGR_OK);
    for (size_t i = 0; i < N; i++) {
        assert_int_equal(r[i]->parsed, 0);
        assert_int_equal(r[i]->failed, 3);
        assert_int_equal(r[i]->best, -1);
        assert_non_null(strstr(r[i]->responses[0].reason, "deadline"));
    }
    free_results(r, N);
}

/* A small cache: prompts and chains wait for pages; what cannot have enough of them fails alone. */
static void pages_are_waited_for(void **state) {
    (void)state;
    char text[3000], words[1500] = "";
    for (size_t i = 0; i < 100; i++) strcat(words, "seven boats ");
    snprintf(text, sizeof text, "{\"query\": \"%s\", \"responses\": [\"%s\", \"b\"]}", words, words);
    pgr_request *big = parse_as(text, "big.json");
    const pgr_request *list[] = {LIST[0], LIST[1], big, LIST[2], LIST[3]};
    pgr_engine_options eo = pgr_engine_options_default();
    eo.n_kv_token = 928; /* 29 pages: a prompt of 560 tokens and a chain; the big one has 800 */
    pgr_engine *small = NULL;
    assert_int_equal(pgr_engine_create(MODEL, &eo, &small, NULL), PGR_OK);
    pgr_judge_options o = options(6);
    o.frame = "compact-lines";
    pgr_result *r[5];
    pgr_error errors[5];
    pgr_status s = pgr_judge_many(small, list, 5, &o, r, errors);
    for (size_t i = 0; i < 5; i++)
        print_message("%zu: %zu %s\n", i, r[i] ? r[i]->prompt_tokens / 2 : 0, r[i] ? "done" : errors[i].message);
    assert_int_equal(s, PGR_E_LIMIT);
    assert_null(r[2]);
    assert_non_null(strstr(errors[2].message, "big.json"));
    for (size_t i = 0; i < 5; i++)
        if (i != 2) assert_as_alone(list[i], &o, r[i]);
    free_results(r, 5);
    pgr_engine_free(small);
    pgr_request_free(big);
}

static bool judge_two(void) {
    pgr_engine *e = NULL;
    pgr_result *r[2] = {NULL, NULL};
    pgr_error errors[2];
    pgr_judge_options o = options(2);
    bool ok = pgr_engine_create(MODEL, NULL, &e, NULL) == PGR_OK
              && pgr_judge_many(e, (const pgr_request *const *)LIST, 2, &o, r, errors) == PGR_OK;
    for (size_t i = 0; ok && i < 2; i++) assert_int_equal(r[i]->parsed + r[i]->failed, 2);
    free_results(r, 2);
    pgr_engine_free(e);
    return ok;
}

static void every_allocation_failed_in_turn(void **state) {
    (void)state;
    long n = fail_allocations(judge_two, 20);
    print_message("%ld allocations, each failed once\n", n);
    assert_true(n > 300);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_one_by_one),
        cmocka_unit_test(in_any_place),
        cmocka_unit_test(shared_beginnings_are_counted),
        cmocka_unit_test(one_failure_is_its_own),
        cmocka_unit_test(every_number_of_responses_at_once),
        cmocka_unit_test(cancelled_keeps_what_is_done),
        cmocka_unit_test(results_come_one_by_one),
        cmocka_unit_test(so_many_at_once),
        cmocka_unit_test(a_deadline_fails_chains_not_requests),
        cmocka_unit_test(pages_are_waited_for),
        cmocka_unit_test(every_allocation_failed_in_turn),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
