/* A model from a Hugging Face folder is the same model: logits and greedy tokens of transformers (logits.json beside
 * the weights, tools/tiny_families.py, tools/tiny_hf.py), tokens and turns of the folder's own tokenizer.json and chat
 * template. */
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
        for (pgr_dtype dtype = PGR_DTYPE_EXACT; dtype <= PGR_DTYPE_F32; dtype++) {
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
    assert_int_equal(a.chat.kind, CHAT_JINJA);
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

/* Copies the folder's safetensors with a head beside the embedding: a copy of it,
 * or its rows from the last to the first. */
static void put_head(const char *path, const char *from, bool reversed) {
    static const char embd[] = "\"model.embed_tokens.weight\":{";
    char name[300], header[1 << 14], entry[300];
    static char data[1 << 20];
    uint64_t n = 0;
    snprintf(name, sizeof name, "%s/model.safetensors", from);
    FILE *f = fopen(name, "rb");
    assert_true(f && fread(&n, 1, 8, f) == 8 && n < sizeof header - 400 && fread(header, 1, n, f) == n);
    size_t bytes = fread(data, 1, sizeof data, f), begin, end, head = 0;
    fclose(f);
    header[n] = '\0';
    const char *at = strstr(strstr(header, embd), "\"data_offsets\":[");
    assert_int_equal(sscanf(at, "\"data_offsets\":[%zu,%zu]", &begin, &end), 2);
    head = end - begin;
    size_t row = head / 320, close = strlen(header);
    assert_true(bytes + head <= sizeof data);
    for (size_t i = 0; i < 320; i++) memcpy(data + bytes + i * row, data + begin + (reversed ? 319 - i : i) * row, row);
    while (header[close - 1] != '}') close--;
    snprintf(entry, sizeof entry,
             ",\"lm_head.weight\":{\"dtype\":\"BF16\",\"shape\":[320,%zu],\"data_offsets\":[%zu,%zu]}}", row / 2, bytes,
             bytes + head);
    strcpy(header + close - 1, entry);
    n = strlen(header);
    snprintf(name, sizeof name, "%s/model.safetensors", path);
    f = fopen(name, "wb");
    assert_true(f && fwrite(&n, 1, 8, f) == 8 && fwrite(header, 1, n, f) == n
                && fwrite(data, 1, bytes + head, f) == bytes + head);
    fclose(f);
}

/* hf-tiny-qwen3 says that its head is its embedding. A head in the file that is another one counts,
 * as in transformers 5.23. */
static void a_head_that_differs_counts(void **state) {
    (void)state;
    for (int reversed = 0; reversed < 2; reversed++) {
        char path[64];
        checkpoint c;
        pgr_error err = {0};
        make_folder(path, FOLDER("qwen3"), "model.safetensors");
        put_head(path, FOLDER("qwen3"), reversed);
        if (checkpoint_open(path, &c, &err) != PGR_OK) fail_msg("%s", err.message);
        assert_int_equal(c.config.tied, !reversed);
        checkpoint_close(&c);
        remove_folder(path);
    }
}

/* ChatML's markers around something else: what the template says counts. */
static void markers_alone_make_no_chatml(void **state) {
    (void)state;
    static const char *const templates[] = {
        "{% for m in messages %}<|im_start|>{{ m.role }}: {{ m.content }}<|im_end|>{% endfor %}",
        "BE KIND{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
        "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
    };
    checkpoint c;
    pgr_error err = {0};
    if (checkpoint_open(FOLDER("qwen3"), &c, &err) != PGR_OK) fail_msg("%s", err.message);
    for (size_t i = 0; i < 3; i++) {
        if (checkpoint_set_chat(&c, templates[i], &err) != PGR_OK) fail_msg("%s", err.message);
        assert_int_equal(c.chat.kind, CHAT_JINJA);
    }
    checkpoint_close(&c);
}

static void adapters_are_no_models(void **state) {
    (void)state;
    static const char *const paths[] = {PGR_SOURCE_DIR "/tests/golden/lora/llama-qv",
                                        PGR_SOURCE_DIR "/tests/golden/lora/llama-qv.gguf"};
    for (size_t i = 0; i < 2; i++) {
        checkpoint c;
        pgr_error err = {0};
        assert_int_equal(checkpoint_open(paths[i], &c, &err), PGR_E_ARG);
        assert_non_null(strstr(err.message, "is an adapter, not a model"));
    }
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
        cmocka_unit_test(logits_of_transformers),      cmocka_unit_test(a_folder_is_its_gguf),
        cmocka_unit_test(missing_files_are_named),     cmocka_unit_test(a_head_that_differs_counts),
        cmocka_unit_test(adapters_are_no_models),      cmocka_unit_test(markers_alone_make_no_chatml),
        cmocka_unit_test(without_a_template_it_opens), cmocka_unit_test(allocation_failures),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
