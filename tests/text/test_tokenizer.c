/* test_tokenizer.c - ids against PyPI `tokenizers` (tests/golden/tokenizer, made by tools/golden_tokenizer.py), and
 * what must hold for any text: bytes come back, control tokens do not come out of text, long words take no quadratic
 * time. */
#include "../cpu_time.h"
#include "tok_golden.h"

#include <pthread.h>

#include "base/clock.h"
#include "base/rng.h"
#include "base/text.h"
#include "text/normal.h"
#include "text/tokenizer.h"

static tokenizer *open_file(const char *path) {
    gguf g;
    tokenizer *t = NULL;
    pgr_error err;
    if (gguf_open(path, &g, &err) != PGR_OK || tok_open(&g, &t, &err) != PGR_OK) fail_msg("%s", err.message);
    gguf_close(&g);
    return t;
}

/* ---- golden ids ---- */

static void golden(const char *file, const char *name, const char *pre) {
    char path[500];
    tokenizer *t = open_file(file);
    assert_string_equal(tok_pre_name(t), pre);
    snprintf(path, sizeof path, GOLDEN("tokenizer/%s.json"), name);
    check_golden(t, path, TOK_PARSE_SPECIAL);
    tok_close(t);
}

static void golden_tiny(void **state) {
    (void)state;
    golden(GOLDEN("tiny-llama.gguf"), "tiny", "smollm");
}

static void golden_gpt2(void **state) {
    (void)state;
    golden(GOLDEN("tokenizer/vocab-gpt2.gguf"), "gpt2", "gpt2");
}

static void golden_llama_bpe(void **state) {
    (void)state;
    golden(GOLDEN("tokenizer/vocab-llama-bpe.gguf"), "llama-bpe", "llama-bpe");
}

static void golden_qwen2(void **state) {
    (void)state;
    golden(GOLDEN("tokenizer/vocab-qwen2.gguf"), "qwen2", "qwen2");
}

/* The same pieces by score as by tokenizer.json's list of merges. */
static void golden_sentencepiece(void **state) {
    (void)state;
    tokenizer *t = open_file(GOLDEN("tokenizer/vocab-llama2.gguf"));
    assert_string_equal(tok_model_name(t), "llama");
    assert_true(tok_bos(t) == 1 && tok_eos(t) == 2 && tok_ends(t, 2) && tok_adds_bos(t) && !tok_adds_eos(t));
    check_golden(t, GOLDEN("tokenizer/llama2.json"), TOK_PARSE_SPECIAL | TOK_BOS);
    tok_close(t);
}

static void golden_default(void **state) {
    (void)state;
    if (!default_model()) {
        print_message("golden_default: the model is not in the cache\n");
        skip();
    }
    gguf g;
    tokenizer *t;
    assert_int_equal(gguf_open(default_model(), &g, NULL), PGR_OK);
    double t0 = clock_now();
    assert_int_equal(tok_open(&g, &t, NULL), PGR_OK);
    print_message("tok_open: %.1f ms\n", 1e3 * (clock_now() - t0));
    gguf_close(&g);
    assert_true(tok_count(t) == 49152 && tok_merge_count(t) == 48900 && tok_bos(t) == 1 && tok_eos(t) == 2);
    assert_true(!tok_adds_bos(t) && tok_ends(t, 2) && tok_ends(t, 0) && !tok_ends(t, 1));
    check_golden(t, GOLDEN("tokenizer/default.json"), TOK_PARSE_SPECIAL);
    tok_close(t);
}

/* ---- what holds for any text ---- */

/* qwen2 composes first: what comes back is the text in NFC. */
static void bytes_come_back(void **state) {
    (void)state;
    static const char *const files[] = {GOLDEN("tiny-llama.gguf"), GOLDEN("tokenizer/vocab-gpt2.gguf"),
                                        GOLDEN("tokenizer/vocab-llama-bpe.gguf"), GOLDEN("tokenizer/vocab-qwen2.gguf")};
    for (size_t f = 0; f < 4; f++) {
        tokenizer *t = open_file(files[f]);
        normaliser nfc = {.steps = {{.kind = NORMAL_NFC, .from = "", .to = ""}}, .n = f == 3};
        normal_work work = {0};
        size_t n_changed = 0;
        rng r = {.seed = 1};
        for (size_t i = 0; i < N_LINE; i++) {
            char noise[64]; /* every other line: random bytes, mostly not UTF-8 */
            const char *s = i % 2 ? noise : json_string_value(lines[i]);
            size_t n = i % 2 ? rng_below(&r, sizeof noise + 1) : json_string_length(lines[i]);
            for (size_t k = 0; k < sizeof noise; k++) noise[k] = (char)rng_below(&r, i % 4 == 1 ? 256 : 0x24f);
            const char *want;
            size_t n_want;
            assert_int_equal(normal_apply(&nfc, &work, s, n, &want, &n_want, NULL), PGR_OK);
            n_changed += n_want != n || memcmp(want, s, n) != 0;
            for (int flags = 0; flags <= TOK_PARSE_SPECIAL; flags++) {
                ids v = encode(t, s, n, flags);
                buf text = {0};
                assert_int_equal(tok_decode(t, v.v, v.n, &text, NULL), PGR_OK);
                assert_int_equal(text.n, n_want);
                if (n_want) assert_memory_equal(text.data, want, n_want);
                for (size_t k = 0; k < v.n && !flags; k++) assert_int_not_equal(tok_type_of(t, v.v[k]), TOK_CONTROL);
                buf_free(&text);
                ids_free(&v);
            }
        }
        assert_true(f == 3 ? n_changed > 20 : n_changed == 0);
        normal_work_free(&work);
        tok_close(t);
    }
}

/* GGUF files do not say that Qwen's tokenizers compose; control tokens are found in the text as it is. */
static void qwen2_composes(void **state) {
    (void)state;
    static const char *const pairs[][2] = {{"re\xcc\x81sume\xcc\x81", "r\xc3\xa9sum\xc3\xa9"},
                                           {"\xe1\x84\x92\xe1\x85\xa1\xe1\x86\xab", "\xed\x95\x9c"},
                                           {"A\xcc\x8a\xff", "\xc3\x85\xff"}};
    tokenizer *qwen = open_file(GOLDEN("tokenizer/vocab-qwen2.gguf")),
              *gpt2 = open_file(GOLDEN("tokenizer/vocab-gpt2.gguf"));
    assert_true(tok_nfc(qwen) && !tok_nfc(gpt2));
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        const tokenizer *both[] = {qwen, gpt2};
        for (size_t k = 0; k < 2; k++) {
            ids a = encode(both[k], pairs[i][0], strlen(pairs[i][0]), 0),
                b = encode(both[k], pairs[i][1], strlen(pairs[i][1]), 0);
            assert_true((a.n == b.n && memcmp(a.v, b.v, a.n * sizeof *a.v) == 0) == (both[k] == qwen));
            ids_free(&a);
            ids_free(&b);
        }
    }
    tok_close(qwen);
    tok_close(gpt2);
}

/* The pieces around a byte that is not UTF-8 are what they are alone. */
static void invalid_bytes_stand_alone(void **state) {
    (void)state;
    static const char *const bad[] = {"\xff",     "\x80",        "\xc0\xaf", "\xed\xa0\x80", "\xf4\x90\x80\x80",
                                      "\xe5\xad", "\xf0\x9f\x98"};
    tokenizer *t = open_file(GOLDEN("tiny-llama.gguf"));
    ids left = encode(t, "reader asks ", 12, 0), right = encode(t, "which answer", 12, 0);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char text[64];
        size_t n = strlen(bad[i]);
        snprintf(text, sizeof text, "reader asks %swhich answer", bad[i]);
        ids v = encode(t, text, strlen(text), 0);
        assert_int_equal(v.n, left.n + n + right.n);
        assert_memory_equal(v.v, left.v, left.n * sizeof *v.v);
        assert_memory_equal(v.v + left.n + n, right.v, right.n * sizeof *v.v);
        for (size_t k = 0; k < n; k++) {
            size_t len;
            const char *b = tok_bytes(t, v.v[left.n + k], &len);
            assert_true(len == 1 && *b == bad[i][k]);
        }
        ids_free(&v);
    }
    ids_free(&left);
    ids_free(&right);
    tok_close(t);
}

static void nul_bytes_are_text(void **state) {
    (void)state;
    tokenizer *t = open_file(GOLDEN("tiny-llama.gguf"));
    ids v = encode(t, "a\0b", 3, 0);
    buf text = {0};
    assert_int_equal(tok_decode(t, v.v, v.n, &text, NULL), PGR_OK);
    assert_true(text.n == 3 && memcmp(text.data, "a\0b", 3) == 0);
    buf_free(&text);
    ids_free(&v);
    tok_close(t);
}

static void added_tokens(void **state) {
    (void)state;
    tokenizer *t = open_file(GOLDEN("tokenizer/vocab-qwen2.gguf"));
    int32_t im_end = tok_find(t, "<|im_end|>"), think = tok_find(t, "<think>"), longer = tok_find(t, "<think>>");
    char want[64];
    assert_true(im_end >= 0 && think >= 0 && longer >= 0 && tok_find(t, "<think") < 0 && tok_find(t, "") < 0);
    assert_true(tok_type_of(t, think) == TOK_USER && tok_type_of(t, im_end) == TOK_CONTROL && tok_ends(t, im_end));
    snprintf(want, sizeof want, "%d %d %d", think, longer, im_end);
    expect_ids(t, "<think><think>><|im_end|>", TOK_PARSE_SPECIAL, want);
    ids v = encode(t, "<think>><|im_end|>", 18, 0);
    assert_true(v.n > 3 && v.v[0] == longer);
    for (size_t i = 1; i < v.n; i++) assert_int_equal(tok_type_of(t, v.v[i]), TOK_NORMAL);
    ids_free(&v);
    tok_close(t);
}

static void bos_by_the_files_rule(void **state) {
    (void)state;
    tokenizer *t = open_file(GOLDEN("tokenizer/vocab-llama-bpe.gguf"));
    char want[32];
    snprintf(want, sizeof want, "%d", tok_bos(t));
    assert_true(tok_adds_bos(t) && !tok_adds_eos(t));
    expect_ids(t, "", TOK_BOS, want);
    expect_ids(t, "", 0, "");
    tok_close(t);
    t = open_file(GOLDEN("tiny-llama.gguf"));
    expect_ids(t, "", TOK_BOS, "");
    assert_string_equal(tok_model_name(t), "gpt2");
    tok_close(t);
}

static void long_words_take_no_quadratic_time(void **state) {
    (void)state;
    static const char *const units[] = {"a", " ", "\n", "ab", "=", "1", "\xe5\xad\x97", "\xff", "'s", " \n"};
    enum { N = 100000 };
    tokenizer *t = open_file(GOLDEN("tokenizer/vocab-llama-bpe.gguf"));
    double t0 = cpu_seconds(), worst = 0;
    char *text = malloc(N + 8);
    for (size_t u = 0; u < sizeof units / sizeof *units; u++) {
        double start = cpu_seconds();
        size_t n = 0, len = strlen(units[u]);
        for (; n < N; n += len) memcpy(text + n, units[u], len);
        ids v = encode(t, text, n, 0);
        buf back = {0};
        assert_int_equal(tok_decode(t, v.v, v.n, &back, NULL), PGR_OK);
        assert_true(back.n == n && memcmp(back.data, text, n) == 0);
        buf_free(&back);
        ids_free(&v);
        if (cpu_seconds() - start > worst) worst = cpu_seconds() - start;
    }
    free(text);
    print_message("slowest word of %d bytes: %.1f ms\n", N, 1e3 * worst);
    assert_true(cpu_seconds() - t0 < 20); /* quadratic work would take minutes; sanitizers slow the rest tenfold */
    tok_close(t);
}

static void *encode_everything(void *arg) {
    const tokenizer *t = arg;
    uint32_t *h = malloc(sizeof *h);
    *h = 0x811c9dc5u;
    for (size_t i = 0; i < N_LINE; i++) {
        ids v = {0};
        if (tok_encode(t, json_string_value(lines[i]), json_string_length(lines[i]), 0, &v, NULL) == PGR_OK)
            *h = fnv(*h, &v);
        ids_free(&v);
    }
    return h;
}

static void many_threads(void **state) {
    (void)state;
    pthread_t threads[4];
    uint32_t *h[4];
    tokenizer *t = open_file(GOLDEN("tiny-llama.gguf"));
    for (size_t i = 0; i < 4; i++) assert_int_equal(pthread_create(&threads[i], NULL, encode_everything, t), 0);
    for (size_t i = 0; i < 4; i++) {
        void *result;
        assert_int_equal(pthread_join(threads[i], &result), 0);
        h[i] = result;
    }
    for (size_t i = 1; i < 4; i++) assert_int_equal(*h[i], *h[0]);
    uint32_t *alone = encode_everything(t);
    assert_int_equal(*alone, *h[0]);
    free(alone);
    for (size_t i = 0; i < 4; i++) free(h[i]);
    tok_close(t);
}

/* ---- small vocabularies ---- */

typedef struct vocab {
    const char *model, *pre;
    const char *tokens[8];
    int32_t types[8];
    const char *merges[4];
    size_t n_token, n_type, n_merge;
    uint32_t eos;
    bool add_bos;
} vocab;

static const vocab small = {"gpt2",
                            "gpt2",
                            {"a", "b", "ab", "\xc4\xa0",
                             "\xc4\xa0"
                             "ab",
                             "<end>"},
                            {1, 1, 1, 1, 1, 3},
                            {"a b", "\xc4\xa0 ab"},
                            6,
                            6,
                            2,
                            5,
                            false};

static pgr_status open_vocab(const vocab *v, tokenizer **out, pgr_error *err) {
    gmake m = {0};
    gguf g;
    uint8_t *bytes;
    make_string(&m, "tokenizer.ggml.model", v->model);
    make_string(&m, "tokenizer.ggml.pre", v->pre);
    make_strings(&m, "tokenizer.ggml.tokens", v->tokens, v->n_token);
    make_i32s(&m, "tokenizer.ggml.token_type", v->types, v->n_type);
    make_strings(&m, "tokenizer.ggml.merges", v->merges, v->n_merge);
    make_u32(&m, "tokenizer.ggml.eos_token_id", v->eos);
    make_int(&m, "tokenizer.ggml.add_bos_token", GGUF_BOOL, v->add_bos);
    assert_int_equal(make_open(&m, &g, err, &bytes), PGR_OK);
    pgr_status status = tok_open(&g, out, err);
    gguf_close(&g);
    free(bytes);
    return status;
}

static void merges_by_rank(void **state) {
    (void)state;
    tokenizer *t;
    assert_int_equal(open_vocab(&small, &t, NULL), PGR_OK);
    expect_ids(t, "ab ab ba", 0, "2 4 3 1 0");
    expect_ids(t, "a?b", 0, "0 1"); /* no token has the byte '?' */
    expect_ids(t, "<end>", 0, "");  /* nor those of the control token's name */
    expect_ids(t, "<end>ab", TOK_PARSE_SPECIAL, "5 2");
    assert_true(tok_eos(t) == 5 && tok_ends(t, 5) && tok_bos(t) == -1);
    buf out = {0};
    pgr_error err;
    assert_int_equal(tok_decode(t, (int32_t[]){4, 5, 6}, 3, &out, &err), PGR_E_ARG);
    assert_string_equal(err.message, "token id 6 is out of range, want 0 to 5");
    buf_free(&out);
    tok_close(t);
}

static void wrong_vocabularies_are_refused(void **state) {
    (void)state;
    vocab v;
    tokenizer *t;
    pgr_error err;
#define REFUSED(status, text, ...)                                                                                     \
    v = small;                                                                                                         \
    __VA_ARGS__;                                                                                                       \
    assert_int_equal(open_vocab(&v, &t, &err), status);                                                                \
    assert_string_equal(err.message, "mem.gguf: " text)
    REFUSED(PGR_E_UNSUPPORTED, "tokenizer.ggml.model is \"bert\"; supported: gpt2, llama", v.model = "bert");
    REFUSED(PGR_E_UNSUPPORTED,
            "tokenizer.ggml.pre is \"tekken\"; supported: smollm, gpt2, gpt-2, llama-bpe, llama3, qwen2",
            v.pre = "tekken");
    REFUSED(PGR_E_FORMAT, "tokenizer.ggml.token_type has 5 items, want 6", v.n_type = 5);
    REFUSED(PGR_E_FORMAT, "token 1 has type 9, want 1 to 6", v.types[1] = 9);
    REFUSED(PGR_E_UNSUPPORTED, "token 1 is of type byte, which byte-level BPE does not have", v.types[1] = TOK_BYTE);
    REFUSED(PGR_E_FORMAT, "token 2 has the same text as token 0", v.tokens[2] = "a");
    REFUSED(PGR_E_FORMAT, "tokenizer.ggml.merges[0] is not two tokens that make up a third", v.merges[0] = "ab");
    REFUSED(PGR_E_FORMAT, "tokenizer.ggml.merges[1] is not two tokens that make up a third", v.merges[1] = "b a");
    REFUSED(PGR_E_FORMAT, "tokenizer.ggml.merges[1] is not two tokens that make up a third", v.merges[1] = "a ");
    REFUSED(PGR_E_FORMAT, "tokenizer.ggml.merges[1] repeats an earlier one", v.merges[1] = "a b");
    REFUSED(PGR_E_FORMAT, "tokenizer.ggml.eos_token_id is 6, there are 6 tokens", v.eos = 6);
    REFUSED(PGR_E_FORMAT, "tokenizer.ggml.add_bos_token is true, but the file names no such token", v.add_bos = true);
    REFUSED(PGR_E_LIMIT, "0 tokens and 2 merges, want 1 to 16777216 tokens and at most as many merges",
            v.n_token = v.n_type = 0);
}

static bool open_and_encode(void) {
    static const char path[] = PGR_SOURCE_DIR "/tests/fuzz/corpus/gguf/vocab-qwen2.gguf";
    static const char text[] =
        "A reader asks: which of the two answers is better? aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    gguf g;
    tokenizer *t = NULL;
    ids v = {0};
    if (gguf_open(path, &g, NULL) != PGR_OK) return false;
    bool ok = tok_open(&g, &t, NULL) == PGR_OK && tok_encode(t, text, sizeof text - 1, 0, &v, NULL) == PGR_OK;
    ids_free(&v);
    tok_close(t);
    gguf_close(&g);
    return ok;
}

static void failing_allocations(void **state) {
    (void)state;
    assert_true(fail_each_allocation(open_and_encode) > 10);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden_tiny),
        cmocka_unit_test(golden_gpt2),
        cmocka_unit_test(golden_llama_bpe),
        cmocka_unit_test(golden_qwen2),
        cmocka_unit_test(golden_sentencepiece),
        cmocka_unit_test(golden_default),
        cmocka_unit_test(bytes_come_back),
        cmocka_unit_test(qwen2_composes),
        cmocka_unit_test(invalid_bytes_stand_alone),
        cmocka_unit_test(nul_bytes_are_text),
        cmocka_unit_test(added_tokens),
        cmocka_unit_test(bos_by_the_files_rule),
        cmocka_unit_test(long_words_take_no_quadratic_time),
        cmocka_unit_test(many_threads),
        cmocka_unit_test(merges_by_rank),
        cmocka_unit_test(wrong_vocabularies_are_refused),
        cmocka_unit_test(failing_allocations),
    };
    return cmocka_run_group_tests_name("tokenizer", tests, load_lines, free_lines);
}
