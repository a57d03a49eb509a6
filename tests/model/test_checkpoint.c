/* A model from a Hugging Face folder is the same model: logits and greedy tokens of transformers (logits.json beside the weights,
 * tools/tiny_families.py, tools/tiny_hf.py), tokens and turns of the folder's own tokenizer.json and chat template. */
#include "forward_golden.h"

#include <sys/stat.h>
#include <unistd.h>

#define FOLDER(name) PGR_SOURCE_DIR "/tests/golden/hf-tiny-" name

static const struct {
    const char *name, *folder, *json;
} folders[] = {
    {"llama f32", FOLDER("llama") "/f32", PGR_SOURCE_DIR "/tests/golden/tiny-llama.json"},
    {"llama31 sharded", FOLDER("llama31"), FOLDER("llama31") "/logits.json"},
    {"mistral sharded", FOLDER("mistral"), FOLDER("mistral") "/logits.json"},
    {"qwen2", FOLDER("qwen2"), FOLDER("qwen2") "/logits.json"},
    {"qwen3", FOLDER("qwen3"), FOLDER("qwen3") "/logits.json"},
};
enum { N_FOLDER = sizeof folders / sizeof *folders };

static void logits_of_transformers(void **state) {
    (void)state;
    for (size_t i = 0; i < N_FOLDER; i++)
        for (pgr_dtype dtype = PGR_DTYPE_AUTO; dtype <= PGR_DTYPE_F32; dtype++) {
            fixture x;
            assert_true(open_fixture(&x, folders[i].folder, folders[i].json, dtype, 2));
            double error = golden_error(&x); /* 2e-5: test_forward.c says where it comes from */
            print_message("%s, dtype %d: largest difference %.2g of the largest logit\n", folders[i].name, dtype,
                          error);
            if (!(error <= 2e-5)) fail_msg("%s: %g > 2e-5", folders[i].name, error);
            assert_int_equal(greedy_equal(&x), 40);
            close_fixture(&x);
        }
}

/* The GGUF and the folder of one model hold the same tokenizer and template. */
static void a_folder_is_its_gguf(void **state) {
    (void)state;
    checkpoint a, b;
    pgr_error err = {0};
    if (checkpoint_open(FOLDER("llama") "/f32", &a, &err) != PGR_OK) fail_msg("%s", err.message);
    if (checkpoint_open(PGR_SOURCE_DIR "/tests/golden/tiny-llama.gguf", &b, &err) != PGR_OK)
        fail_msg("%s", err.message);
    assert_int_equal(tok_count(a.tok), tok_count(b.tok));
    assert_int_equal(a.chat.kind, b.chat.kind);
    assert_int_equal(a.chat.kind, CHAT_CHATML);
    chat_message m = {"user", "Which of 12 answers <|im_end|> is it?", strlen("Which of 12 answers <|im_end|> is it?")};
    ids x = {0}, y = {0};
    assert_int_equal(chat_render(&a.chat, a.tok, &m, 1, true, &x, NULL), PGR_OK);
    assert_int_equal(chat_render(&b.chat, b.tok, &m, 1, true, &y, NULL), PGR_OK);
    assert_int_equal(x.n, y.n);
    assert_memory_equal(x.v, y.v, x.n * sizeof *x.v);
    assert_true(tok_ends(a.tok, tok_find(a.tok, "<|im_end|>")));
    ids_free(&x);
    ids_free(&y);
    checkpoint_close(&a);
    checkpoint_close(&b);
}

/* A folder of links to the files of `from`, one of them left out or replaced. */
static void make_folder(char *path, const char *from, const char *without) {
    static const char *const FILES[] = {"config.json",    "generation_config.json", "model.safetensors",
                                        "tokenizer.json", "tokenizer_config.json",  "chat_template.jinja"};
    strcpy(path, "/tmp/pgr-checkpoint-XXXXXX");
    assert_non_null(mkdtemp(path));
    for (size_t i = 0; i < sizeof FILES / sizeof *FILES; i++) {
        char link[300], target[600];
        snprintf(link, sizeof link, "%s/%s", path, FILES[i]);
        snprintf(target, sizeof target, "%s/%s", from, FILES[i]);
        if (strcmp(FILES[i], without) != 0 && access(target, F_OK) == 0) assert_int_equal(symlink(target, link), 0);
    }
}

static void remove_folder(const char *path) {
    char command[300];
    snprintf(command, sizeof command, "rm -r '%s'", path);
    assert_int_equal(system(command), 0);
}

static void missing_files_are_named(void **state) {
    (void)state;
    static const char *const NEEDED[] = {"config.json", "model.safetensors", "tokenizer.json"};
    for (size_t i = 0; i < 3; i++) {
        char path[64];
        checkpoint c;
        pgr_error err = {0};
        make_folder(path, FOLDER("llama") "/f32", NEEDED[i]);
        assert_true(checkpoint_open(path, &c, &err) < 0);
        if (!strstr(err.message, NEEDED[i]) || !strstr(err.message, path)) fail_msg("%s", err.message);
        remove_folder(path);
    }
}

static void without_a_template_it_opens(void **state) {
    (void)state;
    char path[64];
    checkpoint c;
    pgr_error err = {0};
    make_folder(path, FOLDER("llama") "/f32", "chat_template.jinja");
    if (checkpoint_open(path, &c, &err) != PGR_OK) fail_msg("%s", err.message);
    assert_int_equal(c.chat.kind, CHAT_NONE);
    assert_null(c.chat_from);
    assert_string_equal(c.name, path + strlen("/tmp/"));
    checkpoint_close(&c);
    remove_folder(path);
}

static bool open_folder_once(void) {
    checkpoint c;
    if (checkpoint_open(FOLDER("qwen3"), &c, NULL) != PGR_OK) return false;
    checkpoint_close(&c);
    return true;
}

static void allocation_failures(void **state) {
    (void)state;
    assert_true(fail_allocations(open_folder_once, 50) > 100);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(logits_of_transformers),  cmocka_unit_test(a_folder_is_its_gguf),
        cmocka_unit_test(missing_files_are_named), cmocka_unit_test(without_a_template_it_opens),
        cmocka_unit_test(allocation_failures),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
