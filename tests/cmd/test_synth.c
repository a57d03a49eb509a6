/* test_synth.c - `pgenrm synth` as a user meets it. */
#include "json_out.h"

static void test_example(void **state) {
    (void)state;
    char *example = example_of("synth"), quiet[600]; /* without lines of how far it is, on however slow a machine */
    snprintf(quiet, sizeof quiet, "%.*s -q", (int)strcspn(example, "\n"), example);
    ran done = run_to(quiet, 0, "");
    assert_non_null(strstr(done.out, "oracle"));
    run_free(&done);
    free(example);
}

/* The file's rows are requests that `score` takes, its numbers are those of --json. */
static void test_out(void **state) {
    (void)state;
    char command[600];
    const char *path = write_text("users.jsonl", "an older file\n");
    snprintf(command, sizeof command,
             "pgenrm synth --json -q --responses examples/responses.jsonl --users 20 --prototypes 3 "
             "--hold-prototypes 1 --train-pairs 4 --test-pairs 2 --least 0.01 --truths 2 --out %s",
             path);
    json_t *v = json_from(run_well(command));
    assert_int_equal(json_integer_value(json_object_get(v, "train_rows")), 80);
    assert_int_equal(json_array_size(json_object_get(v, "ladder")), 3 + 3 * 3); /* histories of 1, 2, 3 of 4 pairs */
    assert_int_equal(json_array_size(json_object_get(v, "unseen")), 3 + 3 * 3);
    assert_int_equal(json_integer_value(json_object_get(v, "truths")), 2);
    /* 5 held-out users, 2 of them of the prototype that was held out, 2 test rows each */
    assert_int_equal(json_integer_value(json_object_get(v, "ladder_rows")), 6);
    assert_int_equal(json_integer_value(json_object_get(v, "unseen_rows")), 4);
    json_decref(v);
    char *text = slurp(path);
    assert_int_equal(count_lines(text), 120);
    free(text);
    snprintf(command, sizeof command, "head -1 %s > %s.one && pgenrm score -q --json --ind 1 %s.one", path, path, path);
    ran r = run_score(command);
    run_free(&r);
}

static void test_refusals(void **state) {
    (void)state;
    assert_ends("pgenrm synth", 2, "expected --responses FILE");
    assert_ends("pgenrm synth --responses x y", 2, "unexpected \"y\"");
    assert_ends("pgenrm synth --responses x --noise 0", 2, "noise");
    assert_ends("pgenrm synth --responses x --least -1", 2, "least");
    assert_ends("pgenrm synth --responses x --truths 0", 2, "truths");
    assert_ends("pgenrm synth --responses examples/responses.jsonl --prototypes 2 --hold-prototypes 2", 2,
                "2 prototypes are held out, expected fewer than there are, 2");
    assert_ends("pgenrm synth --responses /nonexistent", 1, "/nonexistent");
    assert_ends("pgenrm synth --responses examples/responses.jsonl", 1, "there are 7 and 3 prompts for them");
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_example), cmocka_unit_test(test_out),
                                       cmocka_unit_test(test_refusals)};
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
