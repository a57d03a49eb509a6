/* pgr_judge end to end on a tiny random model: what it writes is nonsense, everything around it must hold. */
#include <math.h>

#include "../cpu_time.h"
#include "base/clock.h"
#include "model/model.h"
#include "tiny_engine.h"

static const char REQUEST[] =
    "{\"id\": \"r1\", \"user\": {\"id\": \"u1\", \"history\": ["
    "{\"query\": \"How do I boil rice?\", \"chosen\": \"Ten minutes, lid on.\", \"rejected\": \"Rice is a grain. "
    "First, wash it well, then\"},"
    "{\"query\": \"Name a tree\", \"chosen\": \"Oak.\", \"rejected\": \"There are many trees: oak, birch, pine.\"},"
    "{\"query\": \"What is 2 + 2?\", \"chosen\": \"4\", \"rejected\": \"That makes 4, of course!\"}],"
    "\"criteria\": [\"be brief\"], \"demographics\": {\"age\": \"30\"}},"
    "\"query\": \"Where is Oslo?\", \"responses\": [\"In Norway.\", \"Oslo is the capital of Norway, a country in the "
    "north.\", \"I am not sure, sorry!\"],"
    "\"history\": 2}";

static pgr_result *judge(pgr_judge_options o) {
    pgr_request *r = NULL;
    pgr_result *out = NULL;
    pgr_error err = {0};
    if (pgr_request_parse(REQUEST, strlen(REQUEST), "test", &r, &err) != PGR_OK) fail_msg("%s", err.message);
    if (pgr_judge(ENGINE, r, &o, &out, &err) != PGR_OK) fail_msg("%s", err.message);
    pgr_request_free(r);
    return out;
}

static pgr_judge_options options(int ind) {
    pgr_judge_options o = pgr_judge_options_default();
    o.ind = ind;
    o.keep_chains = true;
    o.frame = "compact-lines";
    return o;
}

static void every_chain_of_the_compact_frame_parses(void **state) {
    (void)state;
    pgr_result *r = judge(options(10));
    assert_int_equal(r->requested, 10);
    assert_int_equal(r->parsed, 10);
    assert_int_equal(r->failed, 0);
    assert_int_equal(r->n_response, 3);
    assert_int_equal(r->history_shown, 2);
    assert_int_equal(r->n_sample, 10);
    assert_true(r->cached_tokens > 0 && r->cached_tokens < r->prompt_tokens); /* the two orders share their beginning */
    size_t prefer = 0;
    for (size_t i = 0; i < 3; i++) {
        double mean = 0;
        for (size_t c = 0; c < 10; c++) {
            assert_true(r->samples[c].parsed);
            mean += r->samples[c].scores[i] / 10;
        }
        assert_true(r->responses[i].scored);
        assert_true(fabs(r->responses[i].score - mean) < 1e-9);
        assert_true(r->responses[i].score >= 1 && r->responses[i].score <= 10);
        assert_true(isnan(r->responses[i].win)); /* there is no calibration */
        prefer += r->responses[i].prefer;
    }
    assert_true(prefer > 0 && prefer <= 10 && r->agree == r->responses[r->best].prefer);
    assert_true(r->responses[r->best].score >= r->responses[0].score);
    assert_true(!*r->persona || strncmp(r->persona, "Prefers ", 8) == 0);
    assert_true(r->n_criterion >= 2 && r->rubric_chains == 10);
    double weight = 0;
    for (size_t i = 0; i < r->n_criterion; i++) weight += r->criteria[i].weight;
    assert_true(fabs(weight - 100) < 1e-6);
    for (size_t i = 0; i < 3; i++) {
        double total = 0;
        for (size_t k = 0; k < r->n_criterion; k++) total += r->criteria[k].weight / 100 * r->criteria[k].scores[i];
        assert_true(fabs(total - r->responses[i].score) < 1e-9);
    }
    assert_true(r->arithmetic_wrong == 0); /* the program writes the totals */
    pgr_result_free(r);
}

/* A score is drawn from the distribution whose mean is taken, given what the chain says before it, weights among that:
 * over many chains what was drawn is what was expected. 300 chains of scores of a standard deviation below 3: the mean
 * difference is within 4 standard errors, found from the chains. */
static void expected_is_what_is_drawn_on_average(void **state) {
    (void)state;
    enum { N = 300 };
    pgr_judge_options o = options(N);
    o.score = PGR_SCORE_EXPECTED;
    pgr_result *expected = judge(o);
    o.score = PGR_SCORE_RECOMPUTED;
    pgr_result *drawn = judge(o);
    o.score = PGR_SCORE_AUTO;
    o.ind = 4;
    pgr_result *usual = judge(o);
    assert_int_equal(usual->score_used, PGR_SCORE_EXPECTED);
    assert_int_equal(expected->responses[0].n, N);
    for (size_t r = 0; r < 3; r++) {
        double sum = 0, squares = 0, spread[2] = {0, 0};
        for (size_t i = 0; i < N; i++) {
            assert_string_equal(expected->samples[i].text, drawn->samples[i].text);
            double x = expected->samples[i].scores[r], y = drawn->samples[i].scores[r];
            assert_true(x >= 1 && x <= 10);
            sum += y - x;
            squares += (y - x) * (y - x);
            spread[0] += pow(x - expected->responses[r].score, 2);
            spread[1] += pow(y - drawn->responses[r].score, 2);
        }
        double error = sqrt(squares / N / N);
        if (fabs(sum / N) > 4 * error) fail_msg("response %zu: %g off, error %g", r, sum / N, error);
        assert_true(spread[0] < spread[1]); /* what is left between chains */
        assert_true(fabs(expected->responses[r].recomputed - drawn->responses[r].score) < 1e-12);
        assert_true(fabs(expected->responses[r].expected - expected->responses[r].score) < 1e-12);
        assert_true(expected->responses[r].se < drawn->responses[r].se);
    }
    for (size_t i = 0; i < 4; i++) assert_true(usual->samples[i].scores[0] == expected->samples[i].scores[0]);
    pgr_result_free(expected);
    pgr_result_free(drawn);
    pgr_result_free(usual);
}

/* The full frame's object: totals of two decimals. */
static void totals_of_the_full_frame_are_expected_too(void **state) {
    (void)state;
    pgr_judge_options o = options(3);
    o.frame = "full";
    o.max_tokens = 400;
    pgr_result *r = judge(o);
    for (size_t i = 0; i < r->n_response; i++) {
        if (r->parsed == 0) fail_msg("%s", r->responses[i].reason);
        assert_true(isfinite(r->responses[i].declared));
        assert_true(r->responses[i].expected > 1 && r->responses[i].expected < 10);
        assert_true(r->responses[i].score == r->responses[i].expected);
    }
    pgr_result_free(r);
}

static void chains_do_not_depend_on_their_number(void **state) {
    (void)state;
    pgr_result *few = judge(options(3)), *many = judge(options(9));
    for (size_t i = 0; i < 3; i++) {
        assert_string_equal(few->samples[i].text, many->samples[i].text);
        for (size_t k = 0; k < 3; k++) assert_int_equal(few->samples[i].order[k], many->samples[i].order[k]);
    }
    assert_int_equal(few->samples[1].order[0], 2);
    pgr_judge_options other = options(3);
    other.seed = 1;
    pgr_result *seed = judge(other);
    assert_string_not_equal(seed->samples[0].text, few->samples[0].text);
    pgr_result_free(few);
    pgr_result_free(many);
    pgr_result_free(seed);
}

static void without_swaps_the_order_is_the_request_s(void **state) {
    (void)state;
    pgr_judge_options o = options(4);
    o.swap = false;
    pgr_result *r = judge(o);
    for (size_t i = 0; i < 4; i++)
        for (size_t k = 0; k < 3; k++) assert_int_equal(r->samples[i].order[k], k);
    assert_true(isnan(r->flip_rate));
    pgr_result_free(r);
}

static void a_deadline_fails_chains_not_the_call(void **state) {
    (void)state;
    pgr_judge_options o = options(6);
    o.deadline_s = 1e-6;
    pgr_result *r = judge(o);
    assert_int_equal(r->parsed, 0);
    assert_int_equal(r->failed, 6);
    assert_int_equal(r->best, -1);
    for (size_t i = 0; i < 3; i++) {
        assert_false(r->responses[i].scored);
        assert_non_null(strstr(r->responses[i].reason, "deadline"));
    }
    char *json = NULL;
    assert_int_equal(pgr_result_json(r, &json, NULL), PGR_OK);
    assert_non_null(strstr(json, "\"best\":null"));
    assert_non_null(strstr(json, "\"score\":null"));
    pgr_free(json);
    pgr_result_free(r);
}

static void bad_settings_are_errors(void **state) {
    (void)state;
    pgr_request *r = NULL;
    pgr_result *out = NULL;
    pgr_error err;
    assert_int_equal(pgr_request_parse(REQUEST, strlen(REQUEST), "test", &r, NULL), PGR_OK);
    pgr_judge_options o = options(0);
    assert_int_equal(pgr_judge(ENGINE, r, &o, &out, &err), PGR_E_ARG);
    assert_non_null(strstr(err.message, "ind is 0"));
    o = options(1);
    o.frame = "no-such-frame";
    assert_true(pgr_judge(ENGINE, r, &o, &out, &err) < 0);
    assert_non_null(strstr(err.message, "no-such-frame"));
    chat_kind kind = MODEL->chat.kind;
    MODEL->chat.kind = CHAT_NONE;
    o = options(1);
    pgr_engine *mute = NULL;
    assert_int_equal(pgr_engine_create(MODEL, NULL, &mute, NULL), PGR_OK);
    assert_int_equal(pgr_judge(mute, r, &o, &out, &err), PGR_E_UNSUPPORTED);
    pgr_engine_free(mute);
    MODEL->chat.kind = kind;
    assert_non_null(strstr(err.message, "chat template"));
    assert_non_null(
        strstr(err.message, pgr_model_name(MODEL))); /* and no word of raw text, which a request cannot ask for */
    o.max_tokens = SIZE_MAX - 10;                    /* a sum that would wrap */
    assert_int_equal(pgr_judge(ENGINE, r, &o, &out, &err), PGR_E_ARG);
    assert_non_null(
        strstr(err.message, "max_tokens is 9223372036854775807, expected a whole number from 1 to 1048576"));
    size_t too_much[] = {2048, 20}; /* no room for a prompt; for the grammar */
    for (size_t i = 0; i < 2; i++) {
        o = options(1);
        o.max_tokens = too_much[i];
        assert_int_equal(pgr_judge(ENGINE, r, &o, &out, &err), PGR_E_LIMIT);
        assert_int_equal(strncmp(err.message, "test: ", 6), 0); /* names the request */
    }
    assert_null(out);
    pgr_request_free(r);
}

/* What 26 responses add to a chain may not take the prompt's room. */
static void most_responses_fit(void **state) {
    (void)state;
    char text[1200];
    size_t n = (size_t)snprintf(text, sizeof text, "{\"query\": \"Which?\", \"responses\": [\"0\"");
    for (int i = 1; i < 26; i++) n += (size_t)snprintf(text + n, sizeof text - n, ",\"%d\"", i);
    n += (size_t)snprintf(text + n, sizeof text - n, "]}");
    pgr_request *r = NULL;
    pgr_result *out = NULL;
    pgr_error err = {0};
    assert_int_equal(pgr_request_parse(text, n, "test", &r, NULL), PGR_OK);
    pgr_judge_options o = options(2);
    o.frame = PGR_SOURCE_DIR "/tests/golden/many.frame";
    if (pgr_judge(ENGINE, r, &o, &out, &err) != PGR_OK) fail_msg("%s", err.message);
    assert_int_equal(out->parsed, 2);
    assert_int_equal(out->n_response, 26);
    pgr_result_free(out);
    pgr_request_free(r);
}

/* A history far longer than the context is shortened in a few steps, and not by more than it must be. */
static void long_history_is_shortened(void **state) {
    (void)state;
    enum { PAIRS = 6000 };
    char *text = mem_alloc(PAIRS * 160 + 200);
    size_t n =
        (size_t)sprintf(text, "{\"query\": \"Which?\", \"responses\": [\"a\", \"b\"], \"user\": {\"history\": [");
    for (int i = 0; i < PAIRS; i++)
        n +=
            (size_t)sprintf(text + n, "%s{\"query\": \"Question %d?\", \"chosen\": \"%.*s\", \"rejected\": \"No %d.\"}",
                            i ? "," : "", i, 5 + i % 40, "one two three four five six seven eight nine ten", i);
    n += (size_t)sprintf(text + n, "]}}");
    pgr_request *r = NULL;
    pgr_result *out = NULL;
    pgr_error err = {0};
    assert_int_equal(pgr_request_parse(text, n, "test", &r, NULL), PGR_OK);
    mem_free(text);
    pgr_judge_options o = options(1);
    o.frame = PGR_SOURCE_DIR "/tests/golden/mini.frame";
    o.history = PAIRS;
    double start = cpu_seconds();
    if (pgr_judge(ENGINE, r, &o, &out, &err) != PGR_OK) fail_msg("%s", err.message);
    double seconds = cpu_seconds() - start;
    print_message("%zu of %d pairs shown, %zu prompt tokens, %.2f s\n", out->history_shown, PAIRS, out->prompt_tokens,
                  seconds);
    assert_true(out->history_shown > 0 && out->history_shown < PAIRS);
    assert_true(out->prompt_tokens + 130 <= MODEL->config.n_ctx);
    assert_true(out->prompt_tokens + 130 + 60 > MODEL->config.n_ctx); /* a pair has at most 60 tokens here */
    assert_true(seconds < 30); /* measured: 0.2 s; one rendering for each dropped pair took more than 30 */
    pgr_result_free(out);
    pgr_request_free(r);
}

/* Everything from the files on: model, engine, request, chains, JSON. */
static bool score_once(void) {
    pgr_model *m = NULL;
    pgr_engine *e = NULL;
    pgr_request *r = NULL;
    pgr_result *out = NULL;
    char *json = NULL;
    pgr_model_options mo = pgr_model_options_default();
    mo.dtype = PGR_DTYPE_EXACT;
    mo.n_thread = 1;
    pgr_judge_options o = options(2);
    o.frame = PGR_SOURCE_DIR "/tests/golden/mini.frame";
    bool ok = pgr_model_open(TINY, &mo, &m, NULL) == PGR_OK && pgr_engine_create(m, NULL, &e, NULL) == PGR_OK
              && pgr_request_parse(REQUEST, strlen(REQUEST), "test", &r, NULL) == PGR_OK
              && pgr_judge(e, r, &o, &out, NULL) == PGR_OK && pgr_result_json(out, &json, NULL) == PGR_OK;
    pgr_free(json);
    pgr_result_free(out);
    pgr_request_free(r);
    pgr_engine_free(e);
    pgr_model_close(m);
    return ok;
}

static void every_allocation_failed_in_turn(void **state) {
    (void)state;
    double start = clock_now();
    long n = fail_allocations(score_once, 20);
    print_message("%ld allocations, each failed once: %.1f s\n", n, clock_now() - start);
    assert_true(n > 500);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_chain_of_the_compact_frame_parses),
        cmocka_unit_test(expected_is_what_is_drawn_on_average),
        cmocka_unit_test(totals_of_the_full_frame_are_expected_too),
        cmocka_unit_test(chains_do_not_depend_on_their_number),
        cmocka_unit_test(without_swaps_the_order_is_the_request_s),
        cmocka_unit_test(a_deadline_fails_chains_not_the_call),
        cmocka_unit_test(bad_settings_are_errors),
        cmocka_unit_test(most_responses_fit),
        cmocka_unit_test(long_history_is_shortened),
        cmocka_unit_test(every_allocation_failed_in_turn),
    };
    return cmocka_run_group_tests(tests, tiny_begin, tiny_end);
}
