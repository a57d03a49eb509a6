/* test_merge.c - `pgenrm merge` as a user meets it: the same words with the adapter merged in as with it on top. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "run_program.h"

#include <cmocka.h>

#define BASE "tests/golden/hf-tiny-llama/f32"
#define LORA "--lora tests/golden/lora/llama-qv:0.5 --lora tests/golden/lora/llama-more.gguf:2"

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
    assert_ends("pgenrm merge --out @/x", 2, "expected --lora PATH[:SCALE], see `pgenrm merge --help`");
    assert_ends("pgenrm merge " LORA, 2, "expected --out DIR or --out FILE.gguf");
    assert_ends("pgenrm merge " LORA " --out @/x model", 2, "expected options only, found \"model\"");
    assert_ends("pgenrm merge " LORA " --out @/x", 1, "expected a name that ends with .gguf");
    assert_ends("pgenrm merge -m " BASE " --lora /no/such --out @/x", 1, "/no/such");
    assert_ends("pgenrm convert " LORA " " BASE " --out @/x", 2,
                "--lora is not for convert: adapters are for score, generate, perplexity and merge");
}

static void test_example_of_the_help(void **state) {
    (void)state;
    ran help = run_to("pgenrm merge --help", 0, "");
    char *example = strstr(help.out, "\nExample:\n  "), command[400];
    assert_non_null(example);
    example += strlen("\nExample:\n  ");
    char *out = strstr(example, "--out merged");
    assert_non_null(out);
    snprintf(command, sizeof command, "%.*s--out @/%s", (int)(out - example), example, out + strlen("--out "));
    ran done = run_to(command, 0, "");
    assert_string_equal(done.out + strlen(done.out) - 8, "/merged\n");
    run_free(&done);
    run_free(&help);
    assert_ends("pgenrm inspect @/merged | grep -q qwen3", 0, "");
}

static void test_same_words(void **state) {
    (void)state;
#define GENERATE " pgenrm generate -q --raw --max-tokens 40 --ignore-eos --temperature 0 'A reader asks' "
    ran a = run_to(GENERATE "-m " BASE " " LORA, 0, "");
    assert_ends("pgenrm merge -m " BASE " " LORA " --out @/folder", 0, "");
    assert_ends("pgenrm merge -m " BASE " " LORA " --out @/file.gguf --json | grep -q '\"tensors\":21,'", 0, "");
    ran b = run_to(GENERATE "-m @/folder", 0, ""), c = run_to(GENERATE "-m @/file.gguf", 0, "");
    ran plain = run_to(GENERATE "-m " BASE, 0, "");
    assert_string_equal(a.out, b.out);
    assert_string_equal(a.out, c.out);
    assert_string_not_equal(a.out, plain.out);
    run_free(&a);
    run_free(&b);
    run_free(&c);
    run_free(&plain);
    scratch_write("folder/note.txt", "stays");
    assert_ends("pgenrm merge -m " BASE " " LORA " --out @/folder", 1, "--force replaces a model in it");
    assert_ends("pgenrm merge -m " BASE " " LORA " --out @/folder --force && cat @/folder/note.txt", 0, "");
}

int main(void) {
#define T(f) cmocka_unit_test_setup_teardown(f, begin, end)
    const struct CMUnitTest tests[] = {T(test_usage), T(test_example_of_the_help), T(test_same_words)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
