/* test_score_many.c - `pgenrm score` again and over many requests: the same results, alone or together, with any number
 * of threads; requests that cannot be judged; interrupts. */
#include "json_out.h"

/* The result without what a clock decides. */
static json_t *timeless(json_t *v) {
    json_object_del(v, "seconds");
    json_object_del(v, "first_token_s");
    return v;
}

static void test_score_repeats(void **state) {
    (void)state;
    json_t *a = timeless(json_from(run_score("pgenrm score --json --chains --ind 6 -t 1 examples/request.json")));
    json_t *b = timeless(json_from(run_score("pgenrm score --json --chains --ind 6 -t 2 examples/request.json")));
    json_t *c =
        timeless(json_from(run_score("pgenrm score --json --chains --ind 6 -t 2 --seed 99 examples/request.json")));
    assert_true(json_equal(a, b));
    assert_false(json_equal(a, c));
    json_decref(a);
    json_decref(b);
    json_decref(c);
}

static const char GOOD[] = "{\"id\":\"%s\",\"query\":\"Tea?\",\"responses\":[\"Green tea.\",\"No, thanks.\"]}\n";

static void test_score_jsonl(void **state) {
    (void)state;
    char text[600];
    int n = snprintf(text, sizeof text, GOOD, "first");
    n += snprintf(text + n, sizeof text - (size_t)n, "\n{\"query\":\"Tea?\",\"respones\":[]}\n");
    n += snprintf(text + n, sizeof text - (size_t)n, GOOD, "fourth");
    snprintf(text + n, sizeof text - (size_t)n,
             "{\"user_id\":\"u\",\"context\":[{\"role\":\"user\",\"content\":\"x\"}],\"chosen\":{\"content\":\"a\"},"
             "\"rejected\":{\"content\":\"b\"},\"conversation_id\":\"fifth\",\"split\":\"test\"}");
    char command[300];
    snprintf(command, sizeof command, "pgenrm score --json -q --ind 1 %s", write_text("many.jsonl", text));
    ran r = run_program(command);
    assert_int_equal(r.status, 3);
    assert_int_equal(count_lines(r.out), 3);
    assert_int_equal(count_lines(r.err), 1);
    assert_non_null(strstr(r.err, "many.jsonl:3: unknown key \"respones\", expected perhaps \"responses\""));
    assert_int_equal(strncmp(r.out, "{\"id\":\"first\"", 13), 0);
    assert_non_null(strstr(r.out, "\n{\"id\":\"fourth\""));
    assert_non_null(strstr(r.out, "\n{\"id\":\"fifth\""));
    run_free(&r);

    snprintf(command, sizeof command, "pgenrm score %s", write_text("none.jsonl", "\n \n"));
    assert_refused(command, 1, "none.jsonl: found no request");
    assert_refused("pgenrm score /nonexistent.jsonl", 1, "/nonexistent.jsonl: No such file");
    ran both = run_program("pgenrm score --json --ind 1 /nonexistent.json - < examples/new_user.json");
    assert_int_equal(both.status, 3);
    assert_non_null(strstr(both.out, "{\"id\":\"new-user\""));
    run_free(&both);
}

/* Requests that are judged together give what each gives alone, in the requests' order, though the last are the first
 * to be done; one that cannot be judged takes no other along. */
static void test_score_together(void **state) {
    (void)state;
    static const char MANY[] =
        "{\"id\":\"many\",\"query\":\"Tea?\",\"responses\":[\"Green tea.\",\"No.\"],\"ind\":70}\n";
    static const char PRO[] = "{\"id\":\"p\",\"query\":\"Tea?\",\"responses\":[\"Yes.\",\"No.\"],\"pro\":1}\n";
    static const char FEW[] = "{\"id\":\"few\",\"query\":\"Milk?\",\"responses\":[\"Yes.\",\"No.\"],\"ind\":1}\n";
    char text[600], commands[3][500];
    snprintf(text, sizeof text, "%s%s%s", MANY, PRO, FEW);
    const char *how = "pgenrm score --json -q --frame tests/golden/mini.frame";
    snprintf(commands[0], sizeof commands[0], "%s %s", how, write_text("together.jsonl", text));
    snprintf(commands[1], sizeof commands[1], "%s --deadline 100 %s", how, write_text("many.json", MANY)); /* alone */
    snprintf(commands[2], sizeof commands[2], "%s %s", how, write_text("few.json", FEW));
    ran together = run_program(commands[0]), alone[2] = {run_score(commands[1]), run_score(commands[2])};
    assert_int_equal(together.status, 3);
    assert_int_equal(count_lines(together.out), 2);
    assert_int_equal(count_lines(together.err), 1);
    assert_non_null(strstr(together.err, "together.jsonl:2: pro is 1"));
    const char *line = together.out;
    for (size_t i = 0; i < 2; i++) {
        size_t n = strcspn(line, "\n");
        char *copy = strndup(line, n);
        json_t *a = timeless(parse_out(copy)), *b = timeless(json_from(alone[i]));
        json_object_del(json_object_get(a, "usage"), "cached_tokens");
        json_object_del(json_object_get(b, "usage"), "cached_tokens");
        assert_true(json_equal(a, b));
        json_decref(a);
        json_decref(b);
        free(copy);
        line += n + 1;
    }
    run_free(&together);
}

/* SIGINT ends a long run with 130, promptly; what was done before stands on standard output. */
static void test_interrupt(void **state) {
    (void)state;
    char text[600];
    int n =
        snprintf(text, sizeof text, "{\"id\":\"quick\",\"query\":\"Tea?\",\"responses\":[\"a\",\"b\"],\"ind\":1}\n");
    n += snprintf(text + n, sizeof text - (size_t)n,
                  "{\"id\":\"slow\",\"query\":\"Tea?\",\"ind\":1024,\"responses\":[\"a\"");
    for (int i = 1; i < 26; i++) n += snprintf(text + n, sizeof text - (size_t)n, ",\"b\""); /* half a minute */
    snprintf(text + n, sizeof text - (size_t)n, "]}\n");
    write_text("slow.jsonl", text);
    ran r = run_interrupted("pgenrm score --json --frame compact-lines $SCRATCH/slow.jsonl",
                            "$SCRATCH/printed"); /* the quick one's line is there */
    assert_int_equal(count_lines(r.out), 1);
    assert_int_equal(strncmp(r.out, "{\"id\":\"quick\"", 13), 0);
    run_free(&r);
    assert_interrupted_loading("tests/golden/hf-tiny-qwen3", "pgenrm score -m $SCRATCH/slow examples/request.json");
    assert_interrupted_loading("tests/golden/hf-tiny-qwen3", "pgenrm tokenize -m $SCRATCH/slow text");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_score_repeats),
        cmocka_unit_test(test_score_jsonl),
        cmocka_unit_test(test_score_together),
        cmocka_unit_test(test_interrupt),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
