/* Texts as trainers send them, with the marks of chat templates: turns, answers, and answers behind a prompt whose
 * beginning was cut off. */
#include "../base/faults.h"

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

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(templates), cmocka_unit_test(ends_are_stripped),
                                       cmocka_unit_test(behind_prompts)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
