/* test_example.c - examples/score.c compiles as it stands and judges the bundled request. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

#include "pgenrm.h"

#include <cmocka.h>

int example_main(int argc, char **argv);
#define main example_main
#include "../../examples/score.c"
#undef main

static char name[] = "score", model[] = PGR_SOURCE_DIR "/tests/golden/tiny-llama.gguf";
static char request[] = PGR_SOURCE_DIR "/examples/request.json", missing[] = "/nonexistent";

static void test_judges(void **state) {
    (void)state;
    char *argv[] = {name, model, request, NULL};
    assert_int_equal(example_main(3, argv), 0);
}

static void test_mistakes(void **state) {
    (void)state;
    char *no_model[] = {name, missing, request, NULL}, *no_request[] = {name, model, missing, NULL};
    assert_int_equal(example_main(3, no_model), 1);
    assert_int_equal(example_main(3, no_request), 1);
    assert_int_equal(example_main(1, no_model), 2);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_judges), cmocka_unit_test(test_mistakes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
