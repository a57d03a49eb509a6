/* test_headers.c - the examples in the opening comments of the public headers compile as they stand there
 * (tools/header_examples.cmake takes them out) and do what they say. */
#include "run_program.h"

#include "header_examples.inc"

/* What an example prints, with the files of its comment below their names in a folder of its own. */
static void assert_prints(void (*example)(void), const char *const (*files)[2], size_t n_file, const char *expected) {
    assert_int_equal(make_folder(NULL), 0);
    char *before = getcwd(NULL, 0);
    assert_non_null(before);
    for (size_t i = 0; i < n_file; i++) assert_int_equal(symlink(files[i][0], path_of(files[i][1])), 0);
    assert_int_equal(chdir(scratch), 0);
    fflush(stdout);
    int out = dup(STDOUT_FILENO);
    assert_non_null(freopen(path_of("out"), "w", stdout));
    example();
    fflush(stdout);
    dup2(out, STDOUT_FILENO);
    close(out);
    char *printed = slurp(path_of("out"));
    assert_string_equal(printed, expected);
    free(printed);
    assert_int_equal(chdir(before), 0);
    free(before);
    assert_int_equal(remove_folder(NULL), 0);
}

/* The tiny model has random weights: what it finds better depends on the arithmetic. Plain C is the same everywhere. */
static void the_one_of_judging(void **state) {
    (void)state;
    const char *level = getenv("PGENRM_CPU");
    char *before = level ? strdup(level) : NULL;
    setenv("PGENRM_CPU", "ref", 1);
    static const char *const files[][2] = {{TINY, "model.gguf"},
                                           {PGR_SOURCE_DIR "/examples/request.json", "request.json"}};
    assert_prints(example_pgenrm, files, 2, "best: 1\n");
    if (before)
        setenv("PGENRM_CPU", before, 1);
    else
        unsetenv("PGENRM_CPU");
    free(before);
}

static void the_one_of_models(void **state) {
    (void)state;
    static const char *const files[][2] = {{TINY, "model.gguf"}};
    assert_prints(example_pgenrm_model, files, 1, "tokens: 12\n");
}

static void the_one_of_measuring(void **state) {
    (void)state;
    static const char *const files[][2] = {{PGR_SOURCE_DIR "/examples/choices.jsonl", "choices.jsonl"}};
    assert_prints(example_pgenrm_bench, files, 1, "longest: 0.500\n");
}

static void the_one_of_training(void **state) {
    (void)state;
    static const char *const files[][2] = {{TINY, "model.gguf"},
                                           {PGR_SOURCE_DIR "/examples/chats.jsonl", "chats.jsonl"}};
    assert_prints(example_pgenrm_train, files, 2, "trained: 3 steps\n");
}

static void the_one_of_serving(void **state) {
    (void)state;
    static const char *const files[][2] = {{TINY, "model.gguf"}};
    assert_prints(example_pgenrm_serve, files, 1, "served\n");
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(the_one_of_judging), cmocka_unit_test(the_one_of_models),
                                       cmocka_unit_test(the_one_of_measuring), cmocka_unit_test(the_one_of_training),
                                       cmocka_unit_test(the_one_of_serving)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
