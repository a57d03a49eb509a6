/* test_tok_export.c - a tokenizer.json as GGUF keys gives the same ids,
 * or is refused by the name of what is missing there. */
#include "../text/tok_golden.h"

#include <unistd.h>

#include "export/tok_export.h"
#include "format/gguf_write.h"

static char path[64] = "/tmp/pgenrm-tok-XXXXXX";

static pgr_status export_text(const char *text, size_t n, int32_t eos, size_t n_more, pgr_error *err) {
    gguf_writer w = {0};
    tokenizer *t = NULL;
    PGR_TRY(tok_open_json(text, n, "tokenizer.json", &t, err));
    pgr_status status = eos >= 0 ? tok_set_eos(t, eos, err) : PGR_OK;
    if (status == PGR_OK) status = tok_export(t, text, n, "tokenizer.json", tok_count(t) + n_more, &w, err);
    if (status == PGR_OK) status = gguf_write_begin(&w, path, err);
    if (status == PGR_OK) status = gguf_write_end(&w, NULL, err);
    if (status != PGR_OK) gguf_write_abort(&w);
    tok_close(t);
    return status;
}

static void open_written(gguf *g, tokenizer **t) {
    pgr_error err = {0};
    if (gguf_open(path, g, &err) != PGR_OK || tok_open(g, t, &err) != PGR_OK) fail_msg("%s", err.message);
}

static void check_export(const char *name) {
    char file[500];
    buf text = {0};
    pgr_error err = {0};
    gguf g;
    tokenizer *t;
    snprintf(file, sizeof file, GOLDEN("tokenizer/%s.tokenizer.json"), name);
    assert_int_equal(file_read(file, &text, NULL), PGR_OK);
    if (export_text(text.data, text.n, -1, 3, &err) != PGR_OK) fail_msg("%s: %s", name, err.message);
    open_written(&g, &t);
    snprintf(file, sizeof file, GOLDEN("tokenizer/%s.json"), name);
    check_golden(t, file, TOK_PARSE_SPECIAL | TOK_BOS);
    size_t n = tok_count(t);
    const gguf_value *tokens = gguf_find(&g, "tokenizer.ggml.tokens");
    char pad[32];
    snprintf(pad, sizeof pad, "[PAD%zu]", n - 1);
    assert_true(gguf_string_is(tokens->strings[n - 1], pad) && tok_type_of(t, (int32_t)n - 1) == TOK_UNUSED);
    tok_close(t);
    gguf_close(&g);
    buf_free(&text);
}

static void ids_stay(void **state) {
    (void)state;
    static const char *const names[] = {"llama2", "llama3", "qwen3", "gpt2-json", "smollm-json"};
    for (size_t i = 0; i < 5; i++) check_export(names[i]);
}

/* ---- a small file of one's own ---- */

#define ADDED(id, s, more) "{\"id\":" #id ",\"content\":\"" s "\",\"special\":true" more "}"
#define FILE_WITH(added, normaliser, pre, merges, ignore)                                                              \
    "{\"added_tokens\":[" added "],\"normalizer\":" normaliser ",\"pre_tokenizer\":" pre ",\"post_processor\":null,"   \
    "\"decoder\":{\"type\":\"ByteLevel\"},\"model\":{\"type\":\"BPE\",\"ignore_merges\":" ignore                       \
    ",\"vocab\":{\"a\":0,\"b\":1,\"c\":2,\"ab\":3,\"abc\":4},\"merges\":[" merges "]}}"
#define ENDS  ADDED(5, "<|end_of_text|>", "") "," ADDED(6, "<|eot_id|>", "") "," ADDED(7, "<end>", "")
#define GPT2  "{\"type\":\"ByteLevel\",\"add_prefix_space\":false}"
#define SMALL FILE_WITH(ENDS, "null", GPT2, "\"a b\",[\"ab\",\"c\"]", "false")

static void small_file(void **state) {
    (void)state;
    gguf g;
    tokenizer *t;
    uint32_t id;
    gguf_string s;
    bool adds;
    pgr_error err = {0};
    if (export_text(SMALL, sizeof SMALL - 1, 7, 0, &err) != PGR_OK) fail_msg("%s", err.message);
    open_written(&g, &t);
    expect_ids(t, "abcab<|eot_id|>a", TOK_PARSE_SPECIAL, "4 3 6 0");
    assert_int_equal(gguf_get_string(&g, "tokenizer.ggml.pre", &s, NULL), PGR_OK);
    assert_true(gguf_string_is(s, "gpt-2"));
    assert_int_equal(gguf_get_u32(&g, "tokenizer.ggml.eos_token_id", &id, NULL), PGR_OK);
    assert_int_equal(id, 7);
    assert_int_equal(gguf_get_u32(&g, "tokenizer.ggml.eot_token_id", &id, NULL), PGR_OK);
    assert_int_equal(id, 6);
    assert_int_equal(gguf_get_bool_or(&g, "tokenizer.ggml.add_bos_token", true, &adds, NULL), PGR_OK);
    assert_true(!adds && !gguf_find(&g, "tokenizer.ggml.bos_token_id"));
    for (int32_t i = 5; i < 8; i++) assert_true(tok_ends(t, i) && tok_type_of(t, i) == TOK_CONTROL);
    tok_close(t);
    gguf_close(&g);
}

static bool work(void) {
    return export_text(SMALL, sizeof SMALL - 1, 7, 2, NULL) == PGR_OK;
}

static void out_of_memory(void **state) {
    (void)state;
    assert_true(fail_each_allocation(work) > 100);
}

static void refuse(const char *text, const char *says) {
    pgr_error err = {0};
    pgr_status s = export_text(text, strlen(text), -1, 0, &err);
    if (s != PGR_E_UNSUPPORTED || !strstr(err.message, says))
        fail_msg("status %d: %s; wanted %s", s, err.message, says);
}

static void refuse_file(const char *file, const char *says) {
    buf text = {0};
    assert_int_equal(file_read(file, &text, NULL), PGR_OK);
    refuse(text.data, says);
    buf_free(&text);
}

static void what_gguf_cannot_say(void **state) {
    (void)state;
    refuse_file(GOLDEN("tokenizer/gpt2-prefix.tokenizer.json"), "its pre_tokenizer has no name in GGUF files");
    refuse_file(GOLDEN("tokenizer/mistral.tokenizer.json"), "its way with spaces");
    refuse_file(GOLDEN("tokenizer/normalised.tokenizer.json"), "its way with spaces");
    refuse(FILE_WITH(ENDS, "{\"type\":\"NFC\"}", GPT2, "", "false"),
           "its normalizer is NFC, pre-tokeniser \"gpt-2\" of GGUF files has none");
    refuse(FILE_WITH(ENDS, "null", GPT2, "", "true"), "model.ignore_merges is true, pre-tokeniser \"gpt-2\"");
    refuse(FILE_WITH(ADDED(5, "<x>", ",\"lstrip\":true"), "null", GPT2, "", "false"),
           "added token \"<x>\": lstrip cannot be said in GGUF");
}

/* ---- SentencePiece: only lists of merges that scores can tell ---- */

static void sentencepiece(buf *b, const char *merges) {
    buf_clear(b);
    buf_puts(
        b,
        "{\"added_tokens\":[],\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"Prepend\",\"prepend\":"
        "\"\xe2\x96\x81\"},{\"type\":\"Replace\",\"pattern\":{\"String\":\" \"},\"content\":\"\xe2\x96\x81\"}]},"
        "\"pre_tokenizer\":null,\"post_processor\":null,\"decoder\":{\"type\":\"Sequence\",\"decoders\":[{\"type\":"
        "\"Replace\",\"pattern\":{\"String\":\"\xe2\x96\x81\"},\"content\":\" "
        "\"},{\"type\":\"ByteFallback\"},{\"type\":"
        "\"Fuse\"},{\"type\":\"Strip\",\"content\":\" \",\"start\":1,\"stop\":0}]},\"model\":{\"type\":\"BPE\","
        "\"byte_fallback\":true,\"vocab\":{");
    for (int i = 0; i < 256; i++) buf_printf(b, "\"<0x%02X>\":%d,", i, i);
    buf_printf(b, "\"a\":256,\"b\":257,\"ab\":258,\"ba\":259,\"aba\":260},\"merges\":[%s]}}", merges);
    assert_false(b->failed);
}

static void merges_that_scores_tell(void **state) {
    (void)state;
    buf b = {0};
    gguf g;
    tokenizer *t;
    pgr_error err = {0};
    sentencepiece(&b, "\"b a\",\"a b\",\"a ba\",\"ab a\"");
    if (export_text(b.data, b.n, 257, 0, &err) != PGR_OK) fail_msg("%s", err.message);
    open_written(&g, &t);
    expect_ids(t, "abab", 0, "226 150 129 260 257");
    tok_close(t);
    gguf_close(&g);
    sentencepiece(&b, "\"b a\",\"a b\",\"a ba\"");
    refuse(b.data, "model.merges (not every two tokens that make up a third are in it) cannot be said in GGUF");
    sentencepiece(&b, "\"b a\",\"a ba\",\"a b\",\"ab a\"");
    refuse(b.data, "the order of model.merges");
    buf_free(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(ids_stay, load_lines, free_lines),
        cmocka_unit_test(small_file),
        cmocka_unit_test(out_of_memory),
        cmocka_unit_test(what_gguf_cannot_say),
        cmocka_unit_test(merges_that_scores_tell),
    };
    int fd = mkstemp(path);
    if (fd < 0) return 1;
    close(fd);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(path);
    return failed;
}
