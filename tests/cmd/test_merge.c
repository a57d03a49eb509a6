/* test_merge.c - `pgenrm merge` as a user meets it: the same words with the adapter merged in as with it on top. */
#include "run_program.h"

#define BASE "tests/golden/hf-tiny-llama/f32"
#define LORA "--lora tests/golden/lora/llama-qv:0.5 --lora tests/golden/lora/llama-more.gguf:2"

static void test_usage(void **state) {
    (void)state;
    assert_ends("pgenrm merge --out $SCRATCH/x", 2, "expected --lora PATH[:SCALE], see `pgenrm merge --help`");
    assert_ends("pgenrm merge " LORA, 2, "expected --out DIR or --out FILE.gguf");
    assert_ends("pgenrm merge " LORA " --out $SCRATCH/x model", 2, "expected options only, found \"model\"");
    assert_ends("pgenrm merge " LORA " --out $SCRATCH/x", 1, "expected a name that ends with .gguf");
    assert_ends("pgenrm merge -m " BASE " --lora /no/such --out $SCRATCH/x", 1, "/no/such");
    assert_ends("pgenrm convert " LORA " " BASE " --out $SCRATCH/x", 2,
                "--lora is not for convert: adapters are for score, generate, perplexity and merge");
}

static void test_example_of_the_help(void **state) {
    (void)state;
    char *example = example_of("merge"), command[400], *out = strstr(example, "--out merged");
    assert_non_null(out);
    snprintf(command, sizeof command, "%.*s--out $SCRATCH/%s", (int)(out - example), example, out + strlen("--out "));
    ran done = run_to(command, 0, "");
    assert_string_equal(done.out + strlen(done.out) - 8, "/merged\n");
    run_free(&done);
    free(example);
    assert_ends("pgenrm inspect $SCRATCH/merged | grep -q qwen3", 0, "");
}

static void test_same_words(void **state) {
    (void)state;
#define GENERATE " pgenrm generate --dtype exact -q --raw --max-tokens 40 --ignore-eos --temperature 0 'A reader asks' "
    ran a = run_to(GENERATE "-m " BASE " " LORA, 0, "");
    assert_ends("pgenrm merge -m " BASE " " LORA " --out $SCRATCH/folder", 0, "");
    assert_ends("pgenrm merge -m " BASE " " LORA " --out $SCRATCH/file.gguf --json | grep -q '\"tensors\":21,'", 0, "");
    ran b = run_to(GENERATE "-m $SCRATCH/folder", 0, ""), c = run_to(GENERATE "-m $SCRATCH/file.gguf", 0, "");
    ran plain = run_to(GENERATE "-m " BASE, 0, "");
    assert_string_equal(a.out, b.out);
    assert_string_equal(a.out, c.out);
    assert_string_not_equal(a.out, plain.out);
    run_free(&a);
    run_free(&b);
    run_free(&c);
    run_free(&plain);
    write_text("folder/note.txt", "stays");
    assert_ends("pgenrm merge -m " BASE " " LORA " --out $SCRATCH/folder", 1, "--force replaces a model in it");
    assert_ends("pgenrm merge -m " BASE " " LORA " --out $SCRATCH/folder --force && cat $SCRATCH/folder/note.txt", 0,
                "");
}

int main(void) {
#define T(f) cmocka_unit_test_setup_teardown(f, make_folder, remove_folder)
    const struct CMUnitTest tests[] = {T(test_usage), T(test_example_of_the_help), T(test_same_words)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
