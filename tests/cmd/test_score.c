/* test_score.c - one request by `pgenrm score`: keys of the JSON, options, what the result says of chains that fail. */
#include <math.h>

#include "json_out.h"

/* Rounds, draws and the choice of pairs through the program. */
static void test_score_scaling(void **state) {
    (void)state;
    json_t *v = json_from(
        run_score("pgenrm score --json --ind 16 --adaptive 0.6 --draws 2 --history 1 --history-by recent --frame "
                  "tests/golden/mini.frame examples/request.json"));
    assert_int_equal(json_integer_value(at(v, "adaptive.used")) + json_integer_value(at(v, "adaptive.saved")), 16);
    assert_int_equal(json_integer_value(at(v, "draws")), 2);
    assert_int_equal(json_integer_value(at(v, "history_used")), 2);
    assert_string_equal(json_string_value(at(v, "history_by")), "recent");
    json_decref(v);

    v = json_from(
        run_score("pgenrm score --json --ind 2 --history 1 --history-by relevant --embedder tests/golden/hf-tiny-bert "
                  "--frame tests/golden/mini.frame examples/request.json"));
    assert_string_equal(json_string_value(at(v, "history_by")), "relevant");
    assert_true(json_is_null(at(v, "adaptive")) && json_is_false(at(v, "calibrated")));
    json_decref(v);

    write_text("map.json", "{\"method\":\"temperature\",\"input\":\"probability\",\"n\":100,\"temperature\":1000}");
    v = json_from(run_score("pgenrm score --json --ind 4 --calibration $SCRATCH/map.json --frame "
                            "tests/golden/mini.frame examples/request.json"));
    assert_true(json_is_true(at(v, "calibrated")));
    assert_true(json_number_value(at(v, "confidence")) < 0.51);
    assert_true(json_number_value(at(v, "confidence")) < json_number_value(at(v, "confidence_raw")));
    json_decref(v);
    assert_refused("pgenrm score --calibration /nonexistent examples/request.json", 1, "/nonexistent");
}

/* Statements beside one of the same question that the user chose: a map that was fitted on answers says nothing of the
 * verdict, and the report names what is missing. */
static void test_score_views(void **state) {
    (void)state;
#define VIEWS                                                                                                          \
    "echo '{\"user\":{\"history\":[{\"query\":\"Parks?\",\"chosen\":\"Ban dogs from parks.\",\"rejected\":\"Free "     \
    "dogs!"                                                                                                            \
    "\"}]},\"query\":\"Parks?\",\"responses\":[\"Dogs foul parks.\",\"Dogs need parks.\"]}' > $SCRATCH/views.json && "
#define MAP   "{\"method\":\"temperature\",\"input\":\"probability\",\"n\":100,\"temperature\":1000}"
#define SCORE " && pgenrm score --frame compact --calibration $SCRATCH/map.json $SCRATCH/views.json"
    json_t *v = json_from(run_score(VIEWS "echo '{\"answers\":" MAP "}' > $SCRATCH/map.json" SCORE " --json"));
    assert_string_equal(json_string_value(at(v, "kind")), "views");
    assert_true(json_is_false(at(v, "calibrated")) && json_is_null(at(v, "confidence")));
    assert_true(json_is_null(in(at(v, "responses"), 0, "win")));
    json_decref(v);
    ran r = run_score(VIEWS "echo '" MAP "' > $SCRATCH/map.json" SCORE); /* of answers, too */
    assert_non_null(strstr(r.out, "verdicts on views."));
    assert_null(strstr(r.out, "(calibrated)"));
    run_free(&r);
    v = json_from(run_score(VIEWS "echo '{\"views\":" MAP "}' > $SCRATCH/map.json" SCORE " --json"));
    assert_true(json_is_true(at(v, "calibrated")) && json_number_value(at(v, "confidence")) < 0.51);
    json_decref(v);
#undef VIEWS
#undef MAP
#undef SCORE
}

/* Prompts alone: texts and parts for people, one object with --json, the same request judged nothing. */
static void test_score_prompt(void **state) {
    (void)state;
    static const char command[] = "pgenrm score --prompt -q -m tests/golden/tiny-llama.gguf --frame "
                                  "tests/golden/mini.frame --ind 3 examples/request.json";
    ran r = run_well(command);
    static const char *const words[] = {
        "prompt 1 of 2: 2 chains", "prompt 2 of 2: 1 chain,", "responses[0]", "user.history",
        "is shortened: ",          "--- system ---\nJudge.",  "order B A"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (!strstr(r.out, words[i])) fail_msg("no \"%s\" in %s", words[i], r.out);
    run_free(&r);
    char as_json[400];
    snprintf(as_json, sizeof as_json, "%s --json", command);
    r = run_well(as_json);
    assert_int_equal(count_lines(r.out), 1);
    json_t *v = parse_out(r.out);
    const json_t *prompts = at(v, "prompts"), *parts = in(prompts, 0, "parts");
    json_int_t sum = 0;
    for (size_t i = 0; i < json_array_size(parts); i++) sum += json_integer_value(in(parts, i, "tokens"));
    assert_int_equal(sum, json_integer_value(in(prompts, 0, "tokens")));
    assert_int_equal(json_array_size(prompts), 2);
    json_decref(v);
    run_free(&r);
}

/* A reward model beside the verdict: shown, and with a weight in the totals. */
static void test_score_scalar(void **state) {
    (void)state;
#define SCALAR                                                                                                         \
    "pgenrm score -q --ind 2 -m tests/golden/tiny-llama.gguf --frame tests/golden/mini.frame examples/request.json "   \
    "--scalar tests/golden/hf-tiny-scalar-qwen2"
    json_t *v = json_from(run_score(SCALAR ":0.5 --json"));
    assert_string_equal(json_string_value(at(v, "scalar.model")), "hf-tiny-scalar-qwen2");
    assert_true(json_number_value(at(v, "scalar.weight")) == 0.5);
    const json_t *first = json_array_get(at(v, "responses"), 0), *second = json_array_get(at(v, "responses"), 1);
    double gap = json_number_value(at(first, "scalar")) - json_number_value(at(second, "scalar"));
    /* two responses: each is half of the difference from the mean; JSON has six digits */
    assert_true(gap != 0 && fabs(json_number_value(at(first, "prior")) - 0.25 * gap) < 1e-5);
    json_decref(v);
    ran r = run_score(SCALAR);
    assert_non_null(strstr(r.out, "Reward model"));
    assert_non_null(strstr(r.out, "beside the verdict: it is not in the scores"));
    run_free(&r);
    assert_refused("pgenrm score --scalar tests/golden/tiny-llama.gguf examples/request.json", 1,
                   "is a language model, expected a score head");
    assert_refused("pgenrm score -m tests/golden/hf-tiny-scalar-qwen2 examples/request.json", 1,
                   "open it with --scalar");
}

/* The same bytes are the same answer: equal scores and a tie, among two and among more. */
static void test_score_same_text(void **state) {
    (void)state;
    static const struct {
        const char *name, *responses;
        int tie;
    } CASES[] = {{"two.json", "[\"Tea is milder.\", \"Tea is milder.\"]", 1},
                 {"three.json", "[\"Tea.\", \"Coffee wakes you up at once.\", \"Tea.\"]", 0}};
    for (size_t i = 0; i < 2; i++) {
        char text[200], command[1200];
        snprintf(text, sizeof text, "{\"query\": \"Tea or coffee?\", \"responses\": %s, \"ind\": 4}",
                 CASES[i].responses);
        snprintf(command, sizeof command, "pgenrm score --json --frame compact %s", write_text(CASES[i].name, text));
        json_t *v = json_from(run_score(command));
        const json_t *list = at(v, "responses"), *last = json_array_get(list, json_array_size(list) - 1);
        assert_true(json_equal(in(list, 0, "score"), at(last, "score")));
        assert_true(json_equal(in(list, 0, "se"), at(last, "se")));
        if (CASES[i].tie) assert_true(json_is_true(at(v, "tie")) && json_integer_value(at(v, "best")) == 0);
        json_decref(v);
    }
}

static void test_score_keys(void **state) {
    (void)state;
    static const char *const keys[] = {"id",
                                       "model",
                                       "frame",
                                       "best",
                                       "tie",
                                       "kind",
                                       "confidence",
                                       "calibrated",
                                       "agree",
                                       "lead",
                                       "lead_se",
                                       "open",
                                       "responses",
                                       "chains.ind.requested",
                                       "chains.ind.parsed",
                                       "chains.ind.cut",
                                       "chains.ind.failed",
                                       "chains.pro.requested",
                                       "chains.flip_rate",
                                       "chains.arithmetic_wrong",
                                       "chains.contradictory",
                                       "persona",
                                       "criteria",
                                       "rubric_chains",
                                       "neighbours",
                                       "history_shown",
                                       "clipped",
                                       "usage.prompt_tokens",
                                       "usage.cached_tokens",
                                       "usage.completion_tokens",
                                       "seconds",
                                       "samples"};
    json_t *v = json_from(
        run_score("pgenrm score --json --chains --score recomputed --ind 4 --history 2 examples/multi_turn.json"));
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) assert_non_null(at(v, keys[i]));
    assert_string_equal(json_string_value(at(v, "id")), "multi-turn");
    assert_true(json_is_null(at(v, "confidence")) && json_is_null(at(v, "confidence_raw"))); /* no calibration */
    assert_true(json_is_null(in(at(v, "responses"), 0, "win")));
    assert_non_null(in(at(v, "responses"), 0, "prefer"));
    assert_int_equal(json_array_size(at(v, "responses")), 3);
    assert_int_equal(json_integer_value(at(v, "chains.ind.requested")), 4);
    assert_int_equal(json_integer_value(at(v, "history_shown")), 2);
    assert_int_equal(json_array_size(at(v, "samples")), 4);
    const json_t *odd = json_array_get(at(v, "samples"), 1);
    /* odd chains see the reversed order */
    assert_int_equal(json_integer_value(json_array_get(at(odd, "order"), 0)), 2);
    json_decref(v);
}

/* A frame with slots has no more chains than can differ: what was asked for beyond is said, and nothing is called what
 * a chain states that was not written. */
static void test_score_alike(void **state) {
    (void)state;
    ran r = run_well("pgenrm score -q --ind 8 --frame compact examples/request.json");
    assert_non_null(strstr(r.out, "2 of 2 read; 6 more would be copies of these"));
    assert_null(strstr(r.out, "as the chains state it"));
    run_free(&r);
    json_t *v = json_from(run_well("pgenrm score -q --json --ind 8 --frame compact examples/request.json"));
    assert_int_equal(json_integer_value(at(v, "chains.alike")), 6);
    json_decref(v);
}

/* Chains that are read but lack the kind of score that was asked for are not in the mean. */
static void test_score_kind_missing(void **state) {
    (void)state;
    ran r = run_program("pgenrm score --ind 2 --frame full --score recomputed --max-tokens 400 examples/new_user.json");
    assert_int_equal(r.status, 3);
    assert_non_null(strstr(r.out, "2 of 2 read"));
    assert_non_null(strstr(r.out, "mean of 0 chains"));
    assert_non_null(strstr(r.out, "no chain has the scores that count"));
    run_free(&r);
}

/* No time: every chain fails, no score is made up, the report says so. */
static void test_score_deadline(void **state) {
    (void)state;
    ran r = run_program("pgenrm score --json --ind 2 --deadline 0.001 examples/request.json");
    assert_int_equal(r.status, 3);
    json_t *v = parse_out(r.out);
    assert_int_equal(json_integer_value(at(v, "chains.ind.failed")), 2);
    assert_true(json_is_null(at(v, "best")));
    const json_t *first = json_array_get(at(v, "responses"), 0);
    assert_true(json_is_null(at(first, "score")));
    assert_true(json_is_string(at(first, "reason")));
    json_decref(v);
    run_free(&r);
    r = run_program("pgenrm score --ind 2 --deadline 0.001 examples/request.json");
    assert_int_equal(r.status, 3);
    assert_non_null(strstr(r.out, "no chain could be read"));
    assert_non_null(strstr(r.out, "2 of 2: "));
    run_free(&r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_score_keys),         cmocka_unit_test(test_score_prompt),
        cmocka_unit_test(test_score_alike),        cmocka_unit_test(test_score_scalar),
        cmocka_unit_test(test_score_same_text),    cmocka_unit_test(test_score_scaling),
        cmocka_unit_test(test_score_views),        cmocka_unit_test(test_score_deadline),
        cmocka_unit_test(test_score_kind_missing),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
