/* test_result_json.c - the result's JSON is valid, on one line, and has the keys and values that docs/requests.md
 * promises. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"

#include <cmocka.h> /* after our headers: it has a macro `fail` */

static const double scores_a[] = {8, NAN}, scores_b[] = {7.25, 4}, sample_scores[] = {8.1, 4.9};
static const size_t swapped[] = {1, 0};
static pgr_response_score responses[] = {{.scored = true,
                                          .score = 7.4,
                                          .se = 0.3,
                                          .declared = 7.4,
                                          .recomputed = 7.35,
                                          .win = 0.91,
                                          .prefer = 7,
                                          .ind = 8,
                                          .pro = 7.2,
                                          .n = 8},
                                         {.scored = true,
                                          .score = 5,
                                          .se = NAN,
                                          .declared = NAN,
                                          .recomputed = 5,
                                          .win = 0.09,
                                          .ind = NAN,
                                          .pro = 5,
                                          .n = 1}};
static pgr_criterion criteria[] = {
    {.name = "Brief \"and\" clear", .weight = 35, .share = 0.875, .contested = true, .reason = "", .scores = scores_a},
    {.name = "Warm", .weight = 65, .reason = "line\nbreak \xFF", .scores = scores_b}};
static pgr_neighbour neighbours[] = {{.user = "u7", .similarity = 0.83, .weight = 0.6, .n = 2},
                                     {.user = "u\"9", .similarity = -0.1, .weight = 0.4, .n = 1}};
static pgr_clip clips[] = {{.field = "responses[1]", .from_tokens = 900, .to_tokens = 400}};
static pgr_chain_sample samples[] = {{.text = "chain",
                                      .order = swapped,
                                      .parsed = true,
                                      .scores = sample_scores,
                                      .n_token = 120,
                                      .seed = UINT64_C(1) << 62},
                                     {.text = "", .order = swapped, .cut = true, .reason = "no totals"}};

static pgr_result full_result(void) {
    return (pgr_result){.id = "r1",
                        .model = "tiny",
                        .frame = "compact",
                        .best = 0,
                        .confidence = 0.91,
                        .score_used = PGR_SCORE_RECOMPUTED,
                        .responses = responses,
                        .n_response = 2,
                        .confidence_raw = 0.95,
                        .calibrated = true,
                        .agree = 7,
                        .lead = {.mean = 2.4, .spread = 1.75, .n = 8},
                        .open = true,
                        .contradictory = 0.25,
                        .rubric_chains = 8,
                        .requested = 12,
                        .parsed = 10,
                        .cut = 2,
                        .failed = 2,
                        .ind = {.requested = 8, .parsed = 7, .cut = 2, .failed = 1},
                        .pro = {.requested = 4, .parsed = 3, .failed = 1},
                        .neighbours = neighbours,
                        .n_neighbour = 2,
                        .prototype = 3,
                        .w_ind = 0.25,
                        .w_pro = 0.75,
                        .cold_start = true,
                        .untrained = true,
                        .adaptive = 0.9,
                        .saved = 20,
                        .draws = 2,
                        .history_used = 5,
                        .history_by = PGR_HISTORY_RELEVANT,
                        .flip_rate = 0.125,
                        .arithmetic_wrong = NAN,
                        .persona = "Likes it short.",
                        .criteria = criteria,
                        .n_criterion = 2,
                        .clipped = clips,
                        .n_clip = 1,
                        .history_shown = 3,
                        .prompt_tokens = 812,
                        .cached_tokens = 640,
                        .completion_tokens = 1800,
                        .seconds = 3.1,
                        .first_token_s = 0.4};
}

static json_t *to_json(const pgr_result *r) {
    char *text = NULL;
    pgr_error err = {0};
    if (pgr_result_json(r, &text, &err) != PGR_OK) fail_msg("%s", err.message);
    assert_null(strchr(text, '\n'));
    json_t *v = NULL;
    if (json_parse(text, strlen(text), "result", 1, &v, &err) != PGR_OK) fail_msg("%s: %s", err.message, text);
    pgr_free(text);
    return v;
}

static const json_t *at(const json_t *v, const char *key) {
    const json_t *found = json_object_get(v, key);
    if (!found) fail_msg("no key %s", key);
    return found;
}

static void assert_number(const json_t *v, double want) {
    assert_true(json_is_number(v));
    assert_true(fabs(json_number_value(v) - want) <= 1e-5 * fabs(want)); /* six significant digits are written */
}

static void test_keys_and_values(void **state) {
    (void)state;
    pgr_result r = full_result();
    json_t *v = to_json(&r);
    assert_string_equal(json_string_value(at(v, "id")), "r1");
    assert_string_equal(json_string_value(at(v, "frame")), "compact");
    assert_int_equal(json_integer_value(at(v, "best")), 0);
    assert_true(json_is_false(at(v, "tie")));
    assert_number(at(v, "confidence"), 0.91);
    assert_string_equal(json_string_value(at(v, "score_used")), "recomputed");
    assert_int_equal(json_integer_value(at(v, "history_shown")), 3);
    assert_number(at(v, "seconds"), 3.1);
    const json_t *similar = json_array_get(at(v, "neighbours"), 1);
    assert_int_equal(json_array_size(at(v, "neighbours")), 2);
    assert_string_equal(json_string_value(at(similar, "user")), "u\"9");
    assert_number(at(similar, "similarity"), -0.1);
    assert_number(at(similar, "weight"), 0.4);
    assert_int_equal(json_integer_value(at(similar, "n")), 1);
    assert_true(json_is_true(at(v, "untrained")));
    assert_true(json_is_true(at(v, "cold_start")) && json_is_true(at(v, "calibrated")));
    assert_number(at(v, "confidence_raw"), 0.95);
    assert_string_equal(json_string_value(at(v, "kind")), "answers");
    assert_int_equal(json_integer_value(at(v, "agree")), 7);
    assert_number(at(v, "lead"), 2.4);
    assert_number(at(v, "lead_se"), 0.5); /* sqrt(1.75 / 7) */
    assert_true(json_is_true(at(v, "open")));
    assert_number(at(at(v, "chains"), "contradictory"), 0.25);
    assert_int_equal(json_integer_value(at(v, "rubric_chains")), 8);
    assert_string_equal(json_string_value(at(at(v, "adaptive"), "by")), "confidence");
    r.kind = PGR_VERDICT_VIEWS;
    r.calibrated = false; /* then nothing that looks like a probability is written */
    json_t *plain = to_json(&r);
    assert_true(json_is_null(at(plain, "confidence_raw")));
    assert_string_equal(json_string_value(at(plain, "kind")), "views");
    assert_string_equal(json_string_value(at(at(plain, "adaptive"), "by")), "agreement");
    json_decref(plain);
    assert_number(at(at(v, "weights"), "pro"), 0.75);
    assert_int_equal(json_integer_value(at(v, "prototype")), 3);
    assert_int_equal(json_integer_value(at(at(v, "adaptive"), "used")), 12);
    assert_int_equal(json_integer_value(at(at(v, "adaptive"), "saved")), 20);
    assert_int_equal(json_integer_value(at(v, "history_used")), 5);
    assert_int_equal(json_integer_value(at(v, "draws")), 2);
    assert_string_equal(json_string_value(at(v, "history_by")), "relevant");
    assert_null(json_object_get(v, "samples"));

    const json_t *chains = at(v, "chains"), *usage = at(v, "usage");
    assert_int_equal(json_integer_value(at(at(chains, "ind"), "requested")), 8);
    assert_int_equal(json_integer_value(at(at(chains, "ind"), "failed")), 1);
    assert_int_equal(json_integer_value(at(at(chains, "pro"), "requested")), 4);
    assert_int_equal(json_integer_value(at(at(chains, "pro"), "parsed")), 3);
    assert_null(json_object_get(at(chains, "pro"), "reason"));
    assert_number(at(chains, "flip_rate"), 0.125);
    assert_true(json_is_null(at(chains, "arithmetic_wrong")));
    assert_int_equal(json_integer_value(at(usage, "cached_tokens")), 640);

    const json_t *first = json_array_get(at(v, "responses"), 0), *second = json_array_get(at(v, "responses"), 1);
    assert_int_equal(json_array_size(at(v, "responses")), 2);
    assert_number(at(first, "recomputed"), 7.35);
    assert_int_equal(json_integer_value(at(first, "prefer")), 7);
    assert_null(json_object_get(first, "reason"));
    assert_number(at(first, "pro"), 7.2);
    assert_true(json_is_null(at(second, "ind")));
    assert_int_equal(json_integer_value(at(second, "index")), 1);
    assert_true(json_is_null(at(second, "se")));
    assert_true(json_is_null(at(second, "declared")));
    json_decref(v);
}

static void test_rubric_and_clips(void **state) {
    (void)state;
    pgr_result r = full_result();
    json_t *v = to_json(&r);
    const json_t *one = json_array_get(at(v, "criteria"), 0), *two = json_array_get(at(v, "criteria"), 1);
    assert_string_equal(json_string_value(at(one, "name")), "Brief \"and\" clear");
    assert_string_equal(json_string_value(at(one, "reason")), "");
    assert_number(at(one, "share"), 0.875);
    assert_true(json_is_true(at(one, "contested")) && json_is_false(at(two, "contested")));
    assert_int_equal(json_array_size(at(one, "scores")), 2);
    assert_true(json_is_null(json_array_get(at(one, "scores"), 1)));
    assert_string_equal(json_string_value(at(two, "reason")), "line\nbreak \xEF\xBF\xBD");
    assert_number(json_array_get(at(two, "scores"), 0), 7.25);
    const json_t *clip = json_array_get(at(v, "clipped"), 0);
    assert_string_equal(json_string_value(at(clip, "field")), "responses[1]");
    assert_int_equal(json_integer_value(at(clip, "to_tokens")), 400);
    json_decref(v);
}

static void test_samples(void **state) {
    (void)state;
    pgr_result r = full_result();
    r.samples = samples;
    r.n_sample = 2;
    json_t *v = to_json(&r);
    const json_t *one = json_array_get(at(v, "samples"), 0), *two = json_array_get(at(v, "samples"), 1);
    assert_int_equal(json_integer_value(json_array_get(at(one, "order"), 0)), 1);
    assert_true(json_is_true(at(one, "parsed")));
    assert_true(json_is_null(at(one, "reason")));
    assert_number(json_array_get(at(one, "scores"), 1), 4.9);
    assert_true(json_integer_value(at(one, "seed")) == INT64_C(1) << 62);
    assert_true(json_is_true(at(two, "cut")));
    assert_string_equal(json_string_value(at(two, "reason")), "no totals");
    assert_int_equal(json_array_size(at(two, "scores")), 0);
    json_decref(v);
}

static void test_nothing_parsed(void **state) {
    (void)state;
    pgr_response_score none[] = {
        {.reason = "no chain parsed", .score = 0, .win = 0.5, .declared = NAN, .recomputed = NAN},
        {.reason = NULL, .declared = NAN, .recomputed = NAN}};
    pgr_result r = {.best = -1, .confidence = NAN, .responses = none, .n_response = 2, .flip_rate = NAN};
    json_t *v = to_json(&r);
    assert_true(json_is_null(at(v, "id")));
    assert_true(json_is_null(at(v, "best")));
    assert_true(json_is_null(at(v, "score_used")));
    assert_true(json_is_null(at(v, "confidence")));
    const json_t *one = json_array_get(at(v, "responses"), 0);
    assert_true(json_is_null(at(one, "score"))); /* never 0 */
    assert_true(json_is_null(at(one, "win")));
    assert_string_equal(json_string_value(at(one, "reason")), "no chain parsed");
    assert_string_equal(json_string_value(at(v, "persona")), "");
    json_decref(v);
}

static void test_out_of_memory(void **state) {
    (void)state;
    pgr_result r = full_result();
    char *untouched = (char *)&untouched, *text = untouched;
    pgr_error err = {0};
    long live = mem_live(), nth = 1;
    for (;; nth++) {
        mem_fail_nth(nth);
        pgr_status status = pgr_result_json(&r, &text, &err);
        mem_fail_nth(0);
        if (status == PGR_OK) break;
        assert_int_equal(status, PGR_E_MEM);
        assert_ptr_equal(text, untouched);
        assert_int_equal(mem_live(), live);
    }
    assert_true(nth > 2);
    pgr_free(text);
    assert_int_equal(pgr_result_json(NULL, &text, &err), PGR_E_ARG);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keys_and_values), cmocka_unit_test(test_rubric_and_clips), cmocka_unit_test(test_samples),
        cmocka_unit_test(test_nothing_parsed),  cmocka_unit_test(test_out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
