/* test_convert.c - `pgenrm convert` as a user meets it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#include "run_program.h"

#include <cmocka.h>

static int begin(void **state) {
    (void)state;
    scratch_make();
    return 0;
}

static int end(void **state) {
    (void)state;
    scratch_remove();
    return 0;
}

/* Runs a command with @ in place of the scratch folder; its standard error has `says`, or is empty. */
static ran run_to(const char *command, int status, const char *says) {
    char line[1000] = "";
    for (const char *at; (at = strchr(command, '@')); command = at + 1)
        snprintf(line + strlen(line), sizeof line - strlen(line), "%.*s%s", (int)(at - command), command, scratch);
    snprintf(line + strlen(line), sizeof line - strlen(line), "%s", command);
    ran r = run_program(line);
    if (r.status != status || !strstr(r.err, says) || (!*says && *r.err))
        fail_msg("%s\nstatus %d, wanted %d; wanted: %s\nstderr: %sstdout: %s", line, r.status, status, says, r.err,
                 r.out);
    return r;
}

static void assert_ends(const char *command, int status, const char *says) {
    ran r = run_to(command, status, says);
    if (status != 0) assert_string_equal(r.out, "");
    run_free(&r);
}

static void test_usage(void **state) {
    (void)state;
    assert_ends("pgenrm convert", 2, "expected --out FILE.gguf, see `pgenrm convert --help`");
    assert_ends("pgenrm convert a b --out x", 2, "expected one MODEL");
    assert_ends("pgenrm convert --type q5_0 --out x", 2,
                "--type: found \"q5_0\", expected keep, f32, f16, bf16, q8_0 or q4_0");
    assert_ends("pgenrm convert /no/such/model --out @/x.gguf", 1, "/no/such/model");
}

static void test_example_of_the_help(void **state) {
    (void)state;
    ran help = run_to("pgenrm convert --help", 0, "");
    char *example = strstr(help.out, "\nExample:\n  "), command[400];
    assert_non_null(example);
    example += strlen("\nExample:\n  ");
    char *out = strstr(example, "out.gguf");
    assert_non_null(out);
    snprintf(command, sizeof command, "%.*s@/%s", (int)(out - example), example, out);
    ran done = run_to(command, 0, "");
    assert_string_equal(done.out + strlen(done.out) - 10, "/out.gguf\n");
    run_free(&done);
    done = run_to("pgenrm generate -q --raw --max-tokens 5 -m @/out.gguf 'A reader'", 0, "");
    run_free(&done);
    run_free(&help);
}

static void test_json_and_older_files(void **state) {
    (void)state;
    ran r = run_to("pgenrm convert --json --type f32 -o @/x.gguf tests/golden/hf-tiny-qwen2", 0, "");
    json_t *v = json_loads(r.out, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(v);
    assert_string_equal(json_string_value(json_object_get(v, "path")), scratch_path("x.gguf"));
    assert_int_equal(json_integer_value(json_object_get(v, "tensors")), 27);
    FILE *f = fopen(scratch_path("x.gguf"), "rb");
    assert_non_null(f);
    fseek(f, 0, SEEK_END);
    assert_int_equal(json_integer_value(json_object_get(v, "bytes")), ftell(f));
    fclose(f);
    assert_true(json_is_real(json_object_get(v, "seconds")) || json_is_integer(json_object_get(v, "seconds")));
    json_decref(v);
    run_free(&r);
    assert_ends("pgenrm convert -o @/x.gguf tests/golden/hf-tiny-qwen2", 1, "/x.gguf: exists; --force replaces it");
    scratch_write("old.gguf", "text");
    assert_ends("pgenrm convert -o @/old.gguf tests/golden/hf-tiny-qwen2 || cat @/old.gguf >&2", 0,
                "/old.gguf: exists; --force replaces it\ntext");
    assert_ends("pgenrm convert -o @/x.gguf --force tests/golden/hf-tiny-qwen3", 0, "");
    assert_ends("pgenrm inspect @/x.gguf | grep -q qwen3", 0, "");
    assert_ends("ulimit -f 20; trap '' XFSZ; pgenrm convert -o @/y.gguf --type f32 tests/golden/hf-tiny-qwen3", 1,
                "/y.gguf: cannot be written: File too large");
    assert_ends("! ls @/y.gguf* 2>/dev/null", 0, "");
}

int main(void) {
#define T(f) cmocka_unit_test_setup_teardown(f, begin, end)
    const struct CMUnitTest tests[] = {T(test_usage), T(test_example_of_the_help), T(test_json_and_older_files)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
