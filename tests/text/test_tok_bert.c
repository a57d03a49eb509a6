/* test_tok_bert.c - WordPiece and BERT's way with text: ids against PyPI `tokenizers` (tools/tokenizer_files.py, and
 * the default embedder's own file where it is there), every character, vocab.txt folders, refusals, failing
 * allocations. */
#include "../cpu_time.h"
#include "tok_golden.h"

#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/text.h"
#include "text/bert.h"

static tokenizer *open_text(const char *text, size_t n) {
    tokenizer *t = NULL;
    pgr_error err;
    char *exact = malloc(n); /* so that ASan sees a read beyond */
    memcpy(exact, text, n);
    if (tok_open_json(exact, n, "t.json", &t, &err) != PGR_OK) fail_msg("%s", err.message);
    free(exact);
    return t;
}

static tokenizer *open_json(const char *path) {
    buf text = {0};
    pgr_error err;
    if (file_read(path, &text, &err) != PGR_OK) fail_msg("%s", err.message);
    tokenizer *t = open_text(text.data, text.n);
    buf_free(&text);
    return t;
}

static uint32_t fnv_text(uint32_t h, const char *s, size_t n) {
    for (size_t i = 0; i < n; i++) h = (h ^ (uint8_t)s[i]) * 0x01000193u;
    return h;
}

/* ---- goldens ---- */

static void check_decoded(const tokenizer *t, const char *path) {
    json_t *golden = json_load_file(path, 0, NULL);
    uint32_t hash = 0x811c9dc5u;
    char hex[9];
    for (size_t i = 0; i < N_LINE; i++) {
        ids v = encode_line(t, i, TOK_PARSE_SPECIAL | TOK_BOS);
        buf whole = {0}, parts = {0};
        tok_stream s;
        assert_int_equal(tok_decode(t, v.v, v.n, &whole, NULL), PGR_OK);
        tok_stream_begin(&s, t);
        for (size_t k = 0; k < v.n; k++) assert_int_equal(tok_stream_put(&s, v.v[k], &parts, NULL), PGR_OK);
        assert_int_equal(tok_stream_end(&s, &parts, NULL), PGR_OK);
        assert_string_equal(parts.data, whole.data);
        buf_putc(&whole, '\n');
        hash = fnv_text(hash, whole.data, whole.n);
        buf_free(&whole);
        buf_free(&parts);
        ids_free(&v);
    }
    snprintf(hex, sizeof hex, "%08x", hash);
    assert_string_equal(hex, json_string_value(json_object_get(golden, "decoded")));
    json_decref(golden);
}

static void check_file(const tokenizer *t, const char *name, bool decoded) {
    char path[500];
    assert_string_equal(tok_model_name(t), "WordPiece");
    assert_string_equal(tok_pre_name(t), "BertPreTokenizer");
    snprintf(path, sizeof path, GOLDEN("tokenizer/%s.json"), name);
    check_golden(t, path, TOK_PARSE_SPECIAL | TOK_BOS);
    if (decoded) check_decoded(t, path);
}

static void golden(const char *name, bool decoded) {
    char path[500];
    snprintf(path, sizeof path, GOLDEN("tokenizer/%s.tokenizer.json"), name);
    tokenizer *t = open_json(path);
    check_file(t, name, decoded);
    tok_close(t);
}

static void golden_bert(void **state) {
    (void)state;
    golden("bert", true);
}
static void golden_cased(void **state) {
    (void)state;
    golden("bert-cased", true);
}
static void golden_accents(void **state) {
    (void)state;
    golden("bert-accents", false); /* `tokenizers` gives added tokens back as the normaliser left them */
}
static void golden_stripped(void **state) {
    (void)state;
    golden("bert-stripped", true);
}

/* The default embedder's: its tokenizer.json, and its vocab.txt read as an old folder's. */
static void golden_minilm(void **state) {
    (void)state;
    char home[400], path[500], config[500];
    const char *own = getenv("PGR_MINILM");
    if (own && *own)
        snprintf(home, sizeof home, "%s", own);
    else
        cache_path("all-MiniLM-L6-v2", home, sizeof home);
    snprintf(path, sizeof path, "%s/tokenizer.json", home);
    if (!file_exists(path)) {
        print_message("golden_minilm: %s is not there\n", path);
        skip();
    }
    tokenizer *t = NULL;
    pgr_error err;
    double t0 = clock_now();
    if (tok_open_folder(home, &t, &err) != PGR_OK) fail_msg("%s", err.message);
    print_message("tok_open_folder: %.1f ms\n", 1e3 * (clock_now() - t0));
    assert_true(tok_count(t) == 30522 && tok_bos(t) == 101 && tok_eos(t) == 102);
    expect_ids(t, "Hello, world! I don't like Würzburg's naïve tokenisation.", TOK_BOS,
               "101 7592 1010 2088 999 1045 2123 1005 1056 2066 8814 29136 1005 1055 15743 19204 6648 1012 102");
    check_file(t, "minilm", true);
    tok_close(t);

    buf vocab = {0}, text = {0};
    snprintf(path, sizeof path, "%s/vocab.txt", home);
    snprintf(config, sizeof config, "%s/tokenizer_config.json", home);
    assert_true(file_read(path, &vocab, NULL) == PGR_OK && file_read(config, &text, NULL) == PGR_OK);
    if (tok_open_vocab(vocab.data, vocab.n, path, text.data, text.n, config, &t, &err) != PGR_OK)
        fail_msg("%s", err.message);
    check_file(t, "minilm", true);
    tok_close(t);
    buf_free(&vocab);
    buf_free(&text);
}

/* Every character that is assigned, alone. tools/golden_tokenizer.py says what is left out. */
static void every_character(void **state) {
    (void)state;
    static const unsigned flags[] = {BERT_CLEAN, BERT_CJK, BERT_STRIP, BERT_LOWER};
    json_t *blocks = json_load_file(GOLDEN("tokenizer/bert-chars.json"), 0, NULL);
    buf clean = {0};
    decomposed points = {0};
    buf out = {0};
    assert_int_equal(json_array_size(blocks), 66);
    for (size_t b = 0; b < json_array_size(blocks); b++) {
        const json_t *row = json_array_get(blocks, b);
        uint32_t block = (uint32_t)json_integer_value(json_array_get(row, 0));
        uint32_t hash[5] = {0x811c9dc5u, 0x811c9dc5u, 0x811c9dc5u, 0x811c9dc5u, 0x811c9dc5u};
        for (uint32_t c = block << 12; c < (block + 1) << 12; c++) {
            if (c >= 0xd800 && c < 0xe000) continue;
            char text[6] = "a";
            size_t n = utf8_put(text + 1, c), at = 0;
            for (size_t i = 0; i < 4; i++) {
                if (flags[i] == BERT_STRIP && c > 0xffff) continue;
                buf_clear(&out);
                assert_int_equal(bert_normalise(flags[i], &clean, &points, text + 1, n, &out, NULL), PGR_OK);
                buf_putc(&out, '\n');
                hash[i] = fnv_text(hash[i], out.data, out.n);
            }
            text[1 + n] = 'b';
            size_t end = bert_word(text, n + 2, &at);
            assert_int_equal(at, 0);
            at = end;
            size_t next = bert_word(text, n + 2, &at);
            char class = end == n + 2 ? 2 : at > 1 ? 0 : 1;
            assert_true(next == n + 2 || next == n + 1);
            hash[4] = fnv_text(hash[4], &class, 1);
        }
        for (size_t i = 0; i < 5; i++)
            if (hash[i] != (uint32_t)json_integer_value(json_array_get(row, i + 1)))
                fail_msg("block %x000, column %zu differs", block, i);
    }
    json_decref(blocks);
    buf_free(&clean);
    decomposed_free(&points);
    buf_free(&out);
}

/* ---- small files ---- */

#define VOCAB                                                                                                          \
    "\"[UNK]\":0,\"[CLS]\":1,\"[SEP]\":2,\"[MASK]\":3,\"un\":4,\"##aff\":5,\"##able\":6,\"a\":7,\"##a\":8,\"[\":9,"    \
    "\"]\":10,\"mask\":11,\"sep\":12,\"e\":13,\"E\":14,\"\xe5\xad\x97\":15,\"##\xe5\xad\x97\":16,\"#\":17,\"##\":18,"  \
    "\".\":19,\"\xc3\xa9\":20,\"i\xcc\x87\":21,\"\xcf\x83\":22,\"\xe2\x99\xaa\":23"
#define ADDED                                                                                                          \
    "{\"id\":0,\"content\":\"[UNK]\",\"special\":true},{\"id\":1,\"content\":\"[CLS]\",\"special\":true},"             \
    "{\"id\":2,\"content\":\"[SEP]\",\"special\":true},{\"id\":3,\"content\":\"[MASK]\",\"special\":true}"
#define AROUND "{\"type\":\"BertProcessing\",\"cls\":[\"[CLS]\",1],\"sep\":[\"[SEP]\",2]}"
#define MODEL  "\"type\":\"WordPiece\",\"unk_token\":\"[UNK]\",\"vocab\":{" VOCAB "}"
#define FILE_OF(normal, pre, decoder, model)                                                                           \
    "{\"version\":\"1.0\",\"truncation\":{\"max_length\":2},\"padding\":{\"strategy\":{\"Fixed\":9}},"                 \
    "\"added_tokens\":[" ADDED "],\"normalizer\":{" normal "},\"pre_tokenizer\":" pre ",\"post_processor\":" AROUND    \
    ",\"decoder\":" decoder ",\"model\":{" model "}}"
#define NORMAL "\"type\":\"BertNormalizer\""
#define WORDS  "{\"type\":\"BertPreTokenizer\"}"
#define JOINED "{\"type\":\"WordPiece\",\"prefix\":\"##\",\"cleanup\":true}"
#define SMALL  FILE_OF(NORMAL, WORDS, JOINED, MODEL)

static void expect_small(const char *file, const char *in, int flags, const char *want) {
    tokenizer *t = open_text(file, strlen(file));
    expect_ids(t, in, flags, want);
    tok_close(t);
}

static void longest_piece_first(void **state) {
    (void)state;
    expect_small(SMALL, "UNAFFABLE a.a", 0, "4 5 6 7 19 7");
    expect_small(SMALL, "una unb b", 0, "4 8 0 0"); /* a word with an unknown part is unknown */
    expect_small(SMALL, "## a##", 0, "17 17 7 17 17");
    expect_small(FILE_OF(NORMAL ",\"handle_chinese_chars\":false", WORDS, JOINED, MODEL), "\xe5\xad\x97\xe5\xad\x97", 0,
                 "15 16");
    expect_small(SMALL, "a\xe5\xad\x97\xe5\xad\x97", 0, "7 15 15");
    expect_small(FILE_OF(NORMAL, WORDS, JOINED, MODEL ",\"continuing_subword_prefix\":\"\""), "aaun", 0, "7 7 4");
    expect_small(FILE_OF(NORMAL, WORDS, JOINED, MODEL ",\"max_input_chars_per_word\":3"), "aaa aaaa", 0, "7 8 8 0");
    expect_small(FILE_OF(NORMAL, WORDS, JOINED, MODEL ",\"max_input_chars_per_word\":2"), "\xe5\xad\x97\xc3\xa9", 0,
                 "15 13"); /* characters, not bytes */
    char word[102];
    memset(word, 'a', 101);
    word[101] = '\0';
    expect_small(SMALL, word, 0, "0");
    tokenizer *t = open_text(SMALL, strlen(SMALL));
    ids v = encode(t, word, 100, 0);
    assert_int_equal(v.n, 100);
    ids_free(&v);
    tok_close(t);
}

static void normaliser_settings(void **state) {
    (void)state;
    static const char text[] = "E \xc3\x89 \xc3\xa9"; /* E, E and e with an acute */
    expect_small(SMALL, text, 0, "13 13 13");
    expect_small(FILE_OF(NORMAL ",\"strip_accents\":false", WORDS, JOINED, MODEL), text, 0, "13 20 20");
    expect_small(FILE_OF(NORMAL ",\"lowercase\":false", WORDS, JOINED, MODEL), text, 0, "14 0 20");
    expect_small(FILE_OF(NORMAL ",\"lowercase\":false,\"strip_accents\":true", WORDS, JOINED, MODEL), text, 0,
                 "14 14 13");
    expect_small(FILE_OF(NORMAL ",\"strip_accents\":false", WORDS, JOINED, MODEL), "\xc4\xb0 \xce\xa3", 0, "21 22");
    expect_small(FILE_OF(NORMAL ",\"clean_text\":false", WORDS, JOINED, MODEL),
                 "a\x01 a\t\xc2\xa0"
                 "a",
                 0, "0 7 7");
    expect_small(SMALL,
                 "a\x01 \xc2\xad"
                 "a\t\xe2\x80\x8b\xe2\x99\xaa\xf3\xb0\x80\x80",
                 0, "7 7 23");
}

/* No bytes here: they are dropped with what else is not text, or make their word unknown. */
static void invalid_utf8(void **state) {
    (void)state;
    expect_small(SMALL,
                 "a\xff"
                 "a\xe5\xad .\xc3",
                 0, "7 8 19");
    expect_small(FILE_OF(NORMAL ",\"clean_text\":false", WORDS, JOINED, MODEL), "a\xff a", 0, "0 7");
    expect_small(FILE_OF("\"type\":\"NFC\"", WORDS, JOINED, MODEL), "a\xff a\xe5\xad. un", 0, "0 0 19 4");
}

static void control_tokens_in_text_stay_text(void **state) {
    (void)state;
    expect_small(SMALL, "a[MASK][SEP] [CLS]", 0, "7 9 11 10 9 12 10 9 0 10");
    expect_small(SMALL, "a[MASK][SEP]", TOK_PARSE_SPECIAL, "7 3 2");
    expect_small(SMALL, "a", TOK_BOS, "1 7 2"); /* truncation and padding are the caller's business */
    expect_small(SMALL, "", TOK_BOS, "1 2");
    tokenizer *t = open_text(SMALL, strlen(SMALL));
    assert_true(tok_bos(t) == 1 && tok_eos(t) == 2 && tok_adds_bos(t) && tok_adds_eos(t));
    assert_true(tok_type_of(t, 0) == TOK_UNKNOWN && tok_type_of(t, 3) == TOK_CONTROL && tok_find(t, "[MASK]") == 3);
    tok_close(t);
}

static void long_texts_take_no_quadratic_time(void **state) {
    (void)state;
    enum { N = 400000 };
    tokenizer *t = open_text(SMALL, strlen(SMALL));
    char *text = malloc(N);
    double t0 = cpu_seconds();
    for (int word = 0; word < 2; word++) {
        for (size_t i = 0; i < N; i++)
            text[i] = word ? 'a' : (i & 1) ? '\x81' : '\xcc'; /* one word; one run of marks */
        ids v = encode(t, text, N, 0);
        assert_int_equal(v.n, word);
        ids_free(&v);
    }
    print_message("2 x %d bytes: %.1f ms\n", N, 1e3 * (cpu_seconds() - t0));
    assert_true(cpu_seconds() - t0 < 10); /* quadratic work would take minutes */
    free(text);
    tok_close(t);
}

static void refusals(void **state) {
    (void)state;
    static const struct {
        const char *file, *want;
        pgr_status status;
    } cases[] = {
        {FILE_OF(NORMAL ",\"lower\":true", WORDS, JOINED, MODEL),
         "t.json: normalizer: unknown key \"lower\", expected one of: type", PGR_E_FORMAT},
        {FILE_OF(NORMAL ",\"lowercase\":1", WORDS, JOINED, MODEL),
         "t.json: normalizer.lowercase: found an integer, expected true or false", PGR_E_FORMAT},
        {FILE_OF(NORMAL, WORDS, "{\"type\":\"Fuse\"}", MODEL),
         "t.json: a model WordPiece with this pre_tokenizer and decoder is not supported", PGR_E_UNSUPPORTED},
        {FILE_OF(NORMAL, "{\"type\":\"ByteLevel\"}", JOINED, MODEL),
         "t.json: only one of pre_tokenizer and decoder is ByteLevel", PGR_E_UNSUPPORTED},
        {FILE_OF(NORMAL, WORDS, JOINED, "\"type\":\"BPE\",\"vocab\":{" VOCAB "},\"merges\":[]"),
         "t.json: a model BPE with this pre_tokenizer and decoder is not supported", PGR_E_UNSUPPORTED},
        {FILE_OF(NORMAL, WORDS, JOINED, "\"type\":\"Unigram\",\"vocab\":[]"),
         "t.json: model \"Unigram\" is not supported, only BPE and WordPiece are", PGR_E_UNSUPPORTED},
        {FILE_OF(NORMAL, WORDS, JOINED, "\"type\":\"WordPiece\",\"unk_token\":\"<unk>\",\"vocab\":{" VOCAB "}"),
         "t.json: model.unk_token \"<unk>\" is not in model.vocab", PGR_E_FORMAT},
        {FILE_OF(NORMAL, WORDS, JOINED, MODEL ",\"max_input_chars_per_word\":1001"),
         "t.json: model.max_input_chars_per_word: found 1001, expected 0 to 1000", PGR_E_FORMAT},
        {FILE_OF(NORMAL, WORDS, JOINED, MODEL ",\"merges\":[]"), "t.json: model: unknown key \"merges\"", PGR_E_FORMAT},
        {"{\"added_tokens\":[" ADDED "],\"pre_tokenizer\":" WORDS ",\"decoder\":" JOINED ",\"model\":{" MODEL
         "},\"post_processor\":{\"type\":\"BertProcessing\",\"cls\":[\"[CLS]\",1],\"sep\":[\"[SEP]\",24]}}",
         "t.json: post_processor.sep: found 24, expected 0 to 23", PGR_E_FORMAT},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        tokenizer *t = NULL;
        pgr_error err;
        assert_int_equal(tok_open_json(cases[i].file, strlen(cases[i].file), "t.json", &t, &err), cases[i].status);
        err.message[strnlen(cases[i].want, sizeof err.message - 1)] = '\0'; /* unknown keys: then all known ones */
        assert_string_equal(err.message, cases[i].want);
    }
}

/* ---- vocab.txt ---- */

#define LINES "[PAD]\n[UNK]\r\n[CLS]\n[SEP]\nun\n##aff\n##able\nE\ne\n\xc3\xa9\n[MASK]\n\xe5\xad\x97"

static pgr_status open_vocab(const char *lines_, const char *config, tokenizer **t, pgr_error *err) {
    return tok_open_vocab(lines_, strlen(lines_), "v/vocab.txt", config, strlen(config), "v/tokenizer_config.json", t,
                          err);
}

static void expect_vocab(const char *config, const char *text, int flags, const char *want) {
    tokenizer *t = NULL;
    pgr_error err;
    if (open_vocab(LINES, config, &t, &err) != PGR_OK) fail_msg("%s", err.message);
    expect_ids(t, text, flags, want);
    tok_close(t);
}

static void vocab_files(void **state) {
    (void)state;
    expect_vocab("{}", "Unaffable \xc3\x89\xe5\xad\x97\xe5\xad\x97 [MASK]", TOK_BOS | TOK_PARSE_SPECIAL,
                 "2 4 5 6 8 11 11 10 3");
    expect_vocab("{\"do_lower_case\":false}", "E \xc3\xa9", 0, "7 9");
    expect_vocab("{\"do_lower_case\":false,\"strip_accents\":true}", "E \xc3\xa9", 0, "7 8");
    expect_vocab("{\"strip_accents\":false,\"tokenizer_class\":\"BertTokenizer\"}", "E \xc3\xa9", 0, "8 9");
    expect_vocab("{\"tokenize_chinese_chars\":false}", "\xe5\xad\x97 \xe5\xad\x97\xe5\xad\x97", 0, "11 1");
    expect_vocab("{\"sep_token\":\"un\",\"cls_token\":{\"content\":\"E\"},\"unk_token\":\"[PAD]\"}", "x", TOK_BOS,
                 "7 0 4");
}

static void wrong_vocab_files(void **state) {
    (void)state;
    static const struct {
        const char *vocab, *config, *want;
    } cases[] = {
        {"[UNK]\n[CLS]\n", "{}", "v/vocab.txt: no token \"[SEP]\", expected it among the tokens"},
        {"", "{}", "v/vocab.txt: no token \"[UNK]\", expected it among the tokens"},
        {"[UNK]\na\xff\n", "{}", "v/vocab.txt:2: found bytes that are no UTF-8 text, expected a token"},
        {"[UNK]\n[CLS]\n[SEP]\n[CLS]\n", "{}",
         "v/vocab.txt:4: duplicate object key near '\"[CLS]\"', expected each key once in an object"},
        {LINES, "[]", "v/tokenizer_config.json: found an array, expected an object"},
        {LINES, "{\"do_lower_case\":1}",
         "v/tokenizer_config.json: do_lower_case: found a number, expected true or false"},
        {LINES, "{\"do_basic_tokenize\":false}", "v/tokenizer_config.json: do_basic_tokenize false is not supported"},
        {LINES, "{\"tokenizer_class\":\"MPNetTokenizer\"}",
         "v/tokenizer_config.json: tokenizer_class \"MPNetTokenizer\" is not supported without a tokenizer.json"},
        {LINES, "{\"added_tokens_decoder\":{\"12\":{\"content\":\"<x>\"}}}",
         "v/tokenizer_config.json: the added token \"<x>\" is not supported without a tokenizer.json"},
        {LINES, "{\"cls_token\":\"<s>\"}", "v/vocab.txt: no token \"<s>\", expected it among the tokens"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        tokenizer *t = NULL;
        pgr_error err;
        assert_int_not_equal(open_vocab(cases[i].vocab, cases[i].config, &t, &err), PGR_OK);
        assert_string_equal(err.message, cases[i].want);
    }
}

static void put_file(const char *folder, const char *name, const char *text) {
    char path[200];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    if (!text) {
        assert_int_equal(unlink(path), 0);
        return;
    }
    FILE *f = fopen(path, "w");
    assert_true(f && fputs(text, f) >= 0 && fclose(f) == 0);
}

static const char *some_folder;

static bool open_folder(void) {
    tokenizer *t = NULL;
    bool ok = tok_open_folder(some_folder, &t, NULL) == PGR_OK;
    tok_close(t);
    return ok;
}

static void folders(void **state) {
    (void)state;
    char folder[] = "/tmp/pgenrm-bert-XXXXXX";
    tokenizer *t = NULL;
    pgr_error err;
    assert_non_null(mkdtemp(folder));
    assert_int_equal(tok_open_folder(folder, &t, &err), PGR_E_IO);
    assert_non_null(strstr(err.message, "tokenizer.json"));
    put_file(folder, "vocab.txt", LINES);
    if (tok_open_folder(folder, &t, &err) != PGR_OK) fail_msg("%s", err.message);
    expect_ids(t, "E", 0, "8");
    tok_close(t);
    put_file(folder, "tokenizer_config.json", "{\"do_lower_case\":false}");
    put_file(folder, "added_tokens.json", "{}");
    if (tok_open_folder(folder, &t, &err) != PGR_OK) fail_msg("%s", err.message);
    expect_ids(t, "E", 0, "7");
    tok_close(t);
    some_folder = folder;
    assert_true(fail_each_allocation(open_folder) > 10);
    put_file(folder, "added_tokens.json", "{\"<x>\":12}");
    assert_int_equal(tok_open_folder(folder, &t, &err), PGR_E_UNSUPPORTED);
    assert_non_null(strstr(err.message, "added_tokens.json: added tokens are not supported"));
    put_file(folder, "tokenizer.json", SMALL);
    if (tok_open_folder(folder, &t, &err) != PGR_OK) fail_msg("%s", err.message);
    expect_ids(t, "E", 0, "13");
    tok_close(t);
    const char *names[] = {"vocab.txt", "tokenizer_config.json", "added_tokens.json", "tokenizer.json"};
    for (size_t i = 0; i < 4; i++) put_file(folder, names[i], NULL);
    assert_int_equal(rmdir(folder), 0);
}

/* ---- memory ---- */

static bool open_and_encode(void) {
    static const char text[] = "Unaffable \xc3\x89 [MASK] \xe5\xad\x97.";
    tokenizer *t = NULL;
    ids v = {0};
    buf out = {0};
    bool ok = open_vocab(LINES, "{\"do_lower_case\":true,\"sep_token\":{\"content\":\"[SEP]\"}}", &t, NULL) == PGR_OK
              && tok_encode(t, text, sizeof text - 1, TOK_PARSE_SPECIAL | TOK_BOS, &v, NULL) == PGR_OK
              && tok_decode(t, v.v, v.n, &out, NULL) == PGR_OK;
    buf_free(&out);
    ids_free(&v);
    tok_close(t);
    return ok;
}

static void failing_allocations(void **state) {
    (void)state;
    assert_true(fail_each_allocation(open_and_encode) > 10);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden_bert),
        cmocka_unit_test(golden_cased),
        cmocka_unit_test(golden_accents),
        cmocka_unit_test(golden_stripped),
        cmocka_unit_test(golden_minilm),
        cmocka_unit_test(every_character),
        cmocka_unit_test(longest_piece_first),
        cmocka_unit_test(normaliser_settings),
        cmocka_unit_test(invalid_utf8),
        cmocka_unit_test(control_tokens_in_text_stay_text),
        cmocka_unit_test(long_texts_take_no_quadratic_time),
        cmocka_unit_test(refusals),
        cmocka_unit_test(vocab_files),
        cmocka_unit_test(wrong_vocab_files),
        cmocka_unit_test(folders),
        cmocka_unit_test(failing_allocations),
    };
    return cmocka_run_group_tests_name("tok_bert", tests, load_lines, free_lines);
}
