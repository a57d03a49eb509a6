/* Texts as trainers send them, with the marks of chat templates: turns, answers, and answers behind a prompt whose
 * beginning was cut off. */
#include "../base/faults.h"

#include "pgenrm_serve.h"
#include "serve/turns.h"

static void check(const char *text, const char *turns, const char *answer) {
    json_t *list = json_array();
    const char *got = NULL;
    size_t n = 0;
    buf out = {0};
    assert_int_equal(turns_read(text, strlen(text), list, &got, &n, NULL), PGR_OK);
    json_put(&out, list, JSON_COMPACT);
    assert_string_equal(out.data, turns);
    assert_int_equal(n, strlen(answer));
    assert_memory_equal(got, answer, n);
    buf_free(&out);
    json_decref(list);
}

#define U(text) "{\"role\":\"user\",\"content\":\"" text "\"}"
#define A(text) "{\"role\":\"assistant\",\"content\":\"" text "\"}"
#define S(text) "{\"role\":\"system\",\"content\":\"" text "\"}"

static void templates(void **state) {
    (void)state;
    json_setup();
    check("Where is Oslo?", "[" U("Where is Oslo?") "]", "");
    check("<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n",
          "[" S("Be brief.") "," U("Hi") "]", "");
    check("<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nHello<|im_end|>\n<|im_start|>user\nBye<|im_end|>\n"
          "<|im_start|>assistant\nSee you.<|im_end|>\n",
          "[" U("Hi") "," A("Hello") "," U("Bye") "," A("See you.") "]", "");
    check("<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|><|start_header_id|>assistant"
          "<|end_header_id|>\n\nHello there",
          "[" U("Hi") "]", "Hello there");
    check("<bos><start_of_turn>user\nHi<end_of_turn>\n<start_of_turn>model\n", "[" U("Hi") "]", "");
    check("<s>[INST] Hi [/INST] Hello", "[" U("Hi") "]", "Hello");
    check("<|user|>\nHi<|end|>\n<|assistant|>\n", "[" U("Hi") "]", "");
    check("<\xef\xbd\x9cUser\xef\xbd\x9c>Hi<\xef\xbd\x9c"
          "Assistant\xef\xbd\x9c>Yes",
          "[" U("Hi") "]", "Yes");
    check("What does <|im_end|> mean, and [1]?", "[" U("What does <|im_end|> mean, and [1]?") "]", ""); /* no turn */
    check("<|im_start|>user\nWhat is [INST]?<|im_end|>\n<|im_start|>assistant\nA mark", "[" U("What is [INST]?") "]",
          "A mark"); /* the first family's marks count */
    check("", "[]", "");
}

static void ends_are_stripped(void **state) {
    (void)state;
    static const char *const texts[][2] = {{"Yes.<|im_end|>", "Yes."},
                                           {"  Yes.<|eot_id|>\n", "Yes."},
                                           {"Yes.</s></s>", "Yes."},
                                           {"<|eot_id|>", ""},
                                           {"Yes <|im_end|> no", "Yes <|im_end|> no"},
                                           {"", ""}};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        const char *s = texts[i][0];
        size_t n = strlen(s);
        turns_strip(&s, &n);
        assert_int_equal(n, strlen(texts[i][1]));
        assert_memory_equal(s, texts[i][1], n);
    }
}

static void behind_prompts(void **state) {
    (void)state;
    static const char PROMPT[] = "<|im_start|>user\nWhere is Oslo, and why?<|im_end|>\n<|im_start|>assistant\n";
    char query[200];
    size_t out;
    for (size_t cut = 0; cut + 16 < sizeof PROMPT; cut++) {
        snprintf(query, sizeof query, "%sIn Norway.", PROMPT + cut);
        assert_int_equal(turns_behind(PROMPT, strlen(PROMPT), query, strlen(query), &out, NULL), PGR_OK);
        assert_string_equal(query + out, "In Norway.");
    }
    assert_int_equal(turns_behind(PROMPT, strlen(PROMPT), "\nIn Norway", 10, &out, NULL), PGR_OK);
    assert_int_equal(out, 0); /* one character is chance */
    assert_int_equal(turns_behind(PROMPT, strlen(PROMPT), "", 0, &out, NULL), PGR_OK);
    assert_int_equal(out, 0);
    assert_int_equal(turns_behind("", 0, "x", 1, &out, NULL), PGR_OK);
    assert_int_equal(out, 0);
}

/* As a trainer sends it, as a request has it: what the routes do with it is in test_rewards.c. */
static void rollouts(void **state) {
    (void)state;
    static const char *const cases[][3] = {
        {"Where is Oslo?", "Where is Oslo?In Norway.</s>",
         "{\"messages\":[" U("Where is Oslo?") "],\"response\":\"In Norway.\"}"},
        {"<|im_start|>user\nHi \"you\"<|im_end|>\n<|im_start|>assistant\n",
         "user\nHi \"you\"<|im_end|>\n<|im_start|>assistant\nHello.<|im_end|>",
         "{\"messages\":[" U("Hi \\\"you\\\"") "],\"response\":\"Hello.\"}"},
        {"", "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nHello.<|im_end|>\n",
         "{\"messages\":[" U("Hi") "],\"response\":\"Hello.\"}"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *json = NULL;
        pgr_error err = {0};
        if (pgr_rollout_read(cases[i][0], cases[i][1], &json, &err) != PGR_OK) fail_msg("%s", err.message);
        assert_string_equal(json, cases[i][2]);
        pgr_free(json);
    }
    char *json = NULL;
    assert_int_equal(pgr_rollout_read(NULL, NULL, &json, NULL), PGR_E_ARG);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(templates), cmocka_unit_test(ends_are_stripped),
                                       cmocka_unit_test(behind_prompts), cmocka_unit_test(rollouts)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
