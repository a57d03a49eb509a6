/* test_generate.c - `pgenrm generate` as a user meets it: what is printed, grammars, stop texts, seeds. */
#include "json_out.h"

/* What a grammar forces is text like any other: a stop text in it ends the chain, and a named token may end
 * the turn. */
static void stop_texts_hold_in_forced_text(void **state) {
    (void)state;
    static const struct {
        const char *grammar, *stop, *text;
    } cases[] = {
        {"root ::= \"one two\" [a-z ]{5} \" three four\"", "two", "one "},
        {"root ::= \"one two\"", "two", "one "},
        {"root ::= \"one two three\" [a-z]", "o t", "one tw"},
        {"root ::= \"one \" <|im_end|>", "two", "one "},
        {"root ::= \"a\" <|im_start|> \"b\" <|im_start|> \"cd\"", "two", "abcd"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char command[512], want[64];
        const char *grammar = write_text("stop.gbnf", cases[i].grammar);
        snprintf(command, sizeof command, "pgenrm generate --json --raw --temperature 0 --grammar %s --stop '%s' x",
                 grammar, cases[i].stop);
        snprintf(want, sizeof want, "\"text\":\"%s\"", cases[i].text);
        ran r = run_program(command);
        assert_int_equal(r.status, 0);
        if (!strstr(r.out, want) || !strstr(r.out, "\"finish_reason\":\"stop\""))
            fail_msg("%s with stop %s gives %s", cases[i].grammar, cases[i].stop, r.out);
        run_free(&r);
    }
    write_text("nobody.gbnf", "root ::= <|nobody|>");
    assert_refused("pgenrm generate --raw --grammar $SCRATCH/nobody.gbnf x", 1, "token <|nobody|>");
}

static void test_generate(void **state) {
    (void)state;
    json_t *v = json_from(run_well("pgenrm generate --json -n 3 --max-tokens 6 --ignore-eos 'Say something'"));
    assert_true(json_array_size(at(v, "prompt_tokens")) > 0);
    assert_int_equal(json_array_size(at(v, "samples")), 3);
    const json_t *s = json_array_get(at(v, "samples"), 2);
    assert_true(json_is_string(at(s, "text")));
    assert_int_equal(json_array_size(at(s, "tokens")), 6);
    assert_int_equal(json_array_size(at(s, "logprobs")), 6);
    assert_string_equal(json_string_value(at(s, "finish_reason")), "length");
    assert_true(json_is_number(at(v, "timing.load_s")) && json_is_number(at(v, "timing.prefill_s")));
    assert_true(json_is_number(at(v, "timing.decode_s")) && json_is_number(at(v, "timing.total_s")));
    json_decref(v);

    const char *grammar = write_text("yes.gbnf", "root ::= \"yes\" | \"no\"\n");
    char command[300];
    snprintf(command, sizeof command, "pgenrm generate --json --raw --grammar %s 'Is it?'", grammar);
    v = json_from(run_well(command));
    const char *text = json_string_value(in(at(v, "samples"), 0, "text"));
    assert_true(strcmp(text, "yes") == 0 || strcmp(text, "no") == 0);
    json_decref(v);

    v = json_from(run_well(
        "pgenrm generate --json --max-tokens 1 --chat-template '<|im_start|>{{ messages[0].content }}' x -m " TINY));
    assert_int_equal(json_array_size(at(v, "prompt_tokens")), 2);
    json_decref(v);
}

/* The same seed gives the same samples with one thread and with two; another seed others. */
static void test_seed(void **state) {
    (void)state;
    char command[200];
    ran runs[3];
    const int threads[] = {1, 2, 2}, seeds[] = {5, 5, 6};
    for (size_t i = 0; i < 3; i++) {
        snprintf(command, sizeof command, "pgenrm generate -n 2 --max-tokens 20 -t %d --seed %d 'Tell me more'",
                 threads[i], seeds[i]);
        runs[i] = run_well(command);
    }
    assert_string_equal(runs[0].out, runs[1].out);
    assert_string_not_equal(runs[0].out, runs[2].out);
    for (size_t i = 0; i < 3; i++) run_free(&runs[i]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_generate),
        cmocka_unit_test(stop_texts_hold_in_forced_text),
        cmocka_unit_test(test_seed),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
