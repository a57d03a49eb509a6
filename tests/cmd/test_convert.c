/* test_convert.c - `pgenrm convert` as a user meets it. */
#include "json_out.h"

static void test_usage(void **state) {
    (void)state;
    assert_ends("pgenrm convert", 2, "expected --out FILE.gguf, see `pgenrm convert --help`");
    assert_ends("pgenrm convert a b --out x", 2, "expected one MODEL");
    assert_ends("pgenrm convert --type q5_0 --out x", 2,
                "--type: found \"q5_0\", expected keep, f32, f16, bf16, q8_0 or q4_0");
    assert_ends("pgenrm convert /no/such/model --out $SCRATCH/x.gguf", 1, "/no/such/model");
}

static void test_example_of_the_help(void **state) {
    (void)state;
    char *example = example_of("convert"), command[400], *out = strstr(example, "out.gguf");
    assert_non_null(out);
    snprintf(command, sizeof command, "%.*s$SCRATCH/%s", (int)(out - example), example, out);
    ran done = run_to(command, 0, "");
    assert_string_equal(done.out + strlen(done.out) - 10, "/out.gguf\n");
    run_free(&done);
    done = run_to("pgenrm generate -q --raw --max-tokens 5 -m $SCRATCH/out.gguf 'A reader'", 0, "");
    run_free(&done);
    free(example);
}

static void test_json_and_older_files(void **state) {
    (void)state;
    json_t *v =
        json_from(run_to("pgenrm convert --json --type f32 -o $SCRATCH/x.gguf tests/golden/hf-tiny-qwen2", 0, ""));
    assert_string_equal(json_string_value(json_object_get(v, "path")), path_of("x.gguf"));
    assert_int_equal(json_integer_value(json_object_get(v, "tensors")), 27);
    FILE *f = fopen(path_of("x.gguf"), "rb");
    assert_non_null(f);
    fseek(f, 0, SEEK_END);
    assert_int_equal(json_integer_value(json_object_get(v, "bytes")), ftell(f));
    fclose(f);
    assert_true(json_is_real(json_object_get(v, "seconds")) || json_is_integer(json_object_get(v, "seconds")));
    json_decref(v);
    assert_ends("pgenrm convert -o $SCRATCH/x.gguf tests/golden/hf-tiny-qwen2", 1,
                "/x.gguf: exists; --force replaces it");
    write_text("old.gguf", "text");
    assert_ends("pgenrm convert -o $SCRATCH/old.gguf tests/golden/hf-tiny-qwen2 || cat $SCRATCH/old.gguf >&2", 0,
                "/old.gguf: exists; --force replaces it\ntext");
    assert_ends("pgenrm convert -o $SCRATCH/x.gguf --force tests/golden/hf-tiny-qwen3", 0, "");
    assert_ends("pgenrm inspect $SCRATCH/x.gguf | grep -q qwen3", 0, "");
    assert_ends("ulimit -f 20; trap '' XFSZ; pgenrm convert -o $SCRATCH/y.gguf --type f32 tests/golden/hf-tiny-qwen3",
                1, "/y.gguf: cannot be written: File too large");
    assert_ends("! ls $SCRATCH/y.gguf* 2>/dev/null", 0, "");
}

int main(void) {
#define T(f) cmocka_unit_test_setup_teardown(f, make_folder, remove_folder)
    const struct CMUnitTest tests[] = {T(test_usage), T(test_example_of_the_help), T(test_json_and_older_files)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
