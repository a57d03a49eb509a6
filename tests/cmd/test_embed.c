/* test_embed.c - `pgenrm embed` as a user meets it, on the tiny models of tools/tiny_embed.py. */
#include <math.h>

#include <jansson.h>

#include "run_program.h"

#define BERT  "-m tests/golden/hf-tiny-bert "
#define QWEN3 "-m tests/golden/hf-tiny-qwen3-embedding "

static int begin(void **state) {
    if (make_folder(state)) return -1;
    write_text("texts", "A reader asks a question.\n\nTwo answers come back.\nThe reader asked a question\n");
    setenv("TEXTS", path_of("texts"), 1);
    setenv("PGENRM_HOME", scratch, 1);
    unsetenv("PGENRM_EMBEDDER");
    return 0;
}

static void test_usage(void **state) {
    (void)state;
    assert_ends("pgenrm embed", 2, "expected one FILE, or - for standard input, see `pgenrm embed --help`");
    assert_ends("pgenrm embed a b", 2, "expected one FILE");
    assert_ends("pgenrm embed --pool max x", 2, "--pool");
    assert_ends("pgenrm embed --dim 0 x", 2, "--dim");
    assert_ends("pgenrm embed " BERT "/nowhere", 1, "/nowhere: No such file");
    assert_ends("pgenrm embed $TEXTS", 1, "all-MiniLM-L6-v2: no such model, neither as a path nor in");
    assert_ends("pgenrm embed $TEXTS", 1, "(tools/fetch_embedder.sh fetches the default embedder)");
    assert_ends("PGENRM_EMBEDDER=other pgenrm embed $TEXTS", 1, "other: no such model");
    assert_ends("pgenrm embed " BERT "--dim 33 $TEXTS", 1,
                "--dim is 33, the embeddings of hf-tiny-bert have 32 values");
    assert_ends("pgenrm embed " QWEN3 "--pool cls $TEXTS", 1, "needs an encoder");
    assert_ends("pgenrm embed " BERT "--lora x $TEXTS", 2, "--lora is not for embed");
    assert_ends("pgenrm score " BERT "examples/request.json", 1, "model_type \"bert\" is not supported");
}

/* One object per line, of `dim` values and length 1. */
static void assert_lines(const char *command, size_t lines, size_t dim, const size_t *tokens) {
    ran r = run_to(command, 0, "");
    const char *text = r.out;
    for (size_t i = 0; i < lines; i++) {
        json_t *v = json_loads(text, JSON_DISABLE_EOF_CHECK | JSON_REJECT_DUPLICATES, NULL);
        const json_t *list = json_object_get(v, "embedding");
        double ss = 0;
        assert_int_equal(json_array_size(list), dim);
        assert_int_equal(json_integer_value(json_object_get(v, "tokens")), tokens[i]);
        assert_int_equal(json_object_size(v), 2);
        for (size_t k = 0; k < dim; k++) ss += pow(json_number_value(json_array_get(list, k)), 2);
        assert_true(fabs(ss - 1) <= 1e-6); /* floats: 32 roundings of 6e-8 */
        json_decref(v);
        text = strchr(text, '\n');
        assert_non_null(text++);
    }
    assert_string_equal(text, "");
    run_free(&r);
}

static void test_json(void **state) {
    (void)state;
    static const size_t bert[] = {8, 2, 10, 8}, qwen3[] = {18, 1, 16, 19},
                        instruct[] = {33, 16, 31, 34}; /* PyPI tokenizers */
    assert_lines("pgenrm embed --json " BERT "$TEXTS", 4, 32, bert);
    assert_lines("pgenrm embed --json --pool cls --dtype f32 " BERT "- <$TEXTS", 4, 32, bert);
    assert_lines("pgenrm embed --json --dim 7 " QWEN3 "$TEXTS", 4, 7, qwen3);
    assert_lines("PGENRM_EMBEDDER=tests/golden/hf-tiny-bert pgenrm embed --json $TEXTS", 4, 32, bert);
    assert_lines("pgenrm embed --json --instruct t " QWEN3 "$TEXTS", 4, 32, instruct);
    assert_lines("pgenrm embed --json " BERT "/dev/null", 0, 32, bert);
    assert_lines("printf '\\n\\nno line break at the end' | pgenrm embed --json " QWEN3 "-", 3, 32,
                 (size_t[]){1, 1, 17});
    /* as an editor of Windows saves it: the same texts, the same tokens */
    assert_lines(
        "awk 'BEGIN { printf \"\\357\\273\\277\" } { printf \"%s\\r\\n\", $0 }' $TEXTS | pgenrm embed --json " QWEN3
        "-",
        4, 32, qwen3);
}

static void test_cut(void **state) {
    (void)state;
    ran r =
        run_to("awk 'BEGIN { print \"x\"; for (i = 0; i < 100; i++) printf \"a \" }' | pgenrm embed --json " BERT "-",
               0, "pgenrm: 1 of 2 texts were longer than 40 tokens and were cut\n");
    assert_non_null(strstr(r.out, "\"tokens\":3}\n"));
    assert_non_null(strstr(r.out, "\"tokens\":40,\"cut\":62}\n"));
    run_free(&r);
}

/* A folder of BERT's first years: vocab.txt, no tokenizer.json. The vectors are the same, to the digit. */
static void test_vocabulary_alone(void **state) {
    (void)state;
    json_t *file = json_load_file(PGR_SOURCE_DIR "/tests/golden/hf-tiny-bert/tokenizer.json", 0, NULL), *id;
    json_t *vocab = json_object_get(json_object_get(file, "model"), "vocab");
    const char *words[512] = {NULL}, *word;
    char text[1 << 14] = "";
    json_object_foreach(vocab, word, id) words[json_integer_value(id)] = word;
    for (size_t i = 0; words[i]; i++) strcat(strcat(text, words[i]), "\n");
    ran made = run_program(
        "cp -r tests/golden/hf-tiny-bert $(dirname $TEXTS)/old && cd $(dirname $TEXTS)/old && rm tokenizer.json");
    assert_int_equal(made.status, 0);
    write_text("old/vocab.txt", text);
    ran want = run_to("pgenrm embed --json " BERT "$TEXTS", 0, "");
    ran got = run_to("pgenrm embed --json -m $(dirname $TEXTS)/old $TEXTS", 0, "");
    assert_string_equal(got.out, want.out);
    run_free(&made);
    run_free(&want);
    run_free(&got);
    json_decref(file);
}

static void test_table(void **state) {
    (void)state;
    ran r = run_to("pgenrm embed " BERT "$TEXTS", 0, "");
    assert_non_null(strstr(r.out, "hf-tiny-bert: 32 values per text\n"));
    assert_non_null(strstr(r.out, "line  tokens  nearest  cosine  text"));
    assert_non_null(strstr(r.out, "  Two answers come back.\n"));
    run_free(&r);
    r = run_to("echo one | pgenrm embed " BERT "-", 0, "");
    assert_non_null(strstr(r.out, "-       -  one\n"));
    run_free(&r);
    r = run_to("pgenrm --help", 0, "");
    assert_non_null(strstr(r.out, "\n  embed "));
    run_free(&r);
}

static void test_example_of_the_help(void **state) {
    (void)state;
    char *example = example_of("embed"), command[300];
    snprintf(command, sizeof command, "export PGENRM_EMBEDDER=tests/golden/hf-tiny-bert; %s", example);
    ran done = run_program(command);
    assert_int_equal(done.status, 0);
    assert_non_null(strstr(done.out, "{\"embedding\":["));
    run_free(&done);
    free(example);
}

/* SIGINT ends it with 130 and its message, wherever it comes. */
static void test_interrupt(void **state) {
    (void)state;
    assert_ends("yes 'Two answers come back and the reader asks' | head -200000 >$SCRATCH/many", 0, "");
    ran r = run_interrupted("pgenrm embed --json " QWEN3 "$SCRATCH/many",
                            "$SCRATCH/printed"); /* 1024 lines at a time are printed */
    assert_non_null(strstr(r.out, "{\"embedding\":["));
    run_free(&r);
    assert_interrupted_loading("tests/golden/hf-tiny-bert", "pgenrm embed -m $SCRATCH/slow $TEXTS");
    assert_interrupted_loading("tests/golden/hf-tiny-qwen3-embedding", "pgenrm embed -m $SCRATCH/slow $TEXTS");
    assert_ends("mkfifo $SCRATCH/pipe && { pgenrm embed " BERT "$SCRATCH/pipe & "
                "timeout 60 sh -c 'exec 3>$SCRATCH/pipe; kill -INT $0; sleep 0.1' $!; wait $!; }",
                130, "pgenrm: interrupted\n");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_usage),
        cmocka_unit_test(test_json),
        cmocka_unit_test(test_cut),
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_vocabulary_alone),
        cmocka_unit_test(test_example_of_the_help),
        cmocka_unit_test(test_interrupt),
    };
    return cmocka_run_group_tests(tests, begin, remove_folder);
}
