/* test_tokenizer_json.c - tokenizer.json: ids against PyPI `tokenizers` for files in the style of the published ones
 * (tools/tokenizer_files.py), round trips, refusals by name, streaming, failing allocations. */
#include "../cpu_time.h"
#include "tok_golden.h"

#include "base/file.h"
#include "base/rng.h"
#include "base/text.h"
#include "text/pretok.h"

static char *read_text(const char *path, size_t *n) {
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    char *text = malloc(1 << 20);
    *n = fread(text, 1, 1 << 20, f);
    fclose(f);
    return text;
}

static tokenizer *open_json(const char *path) {
    size_t n;
    tokenizer *t = NULL;
    pgr_error err;
    char *text = read_text(path, &n);
    if (tok_open_json(text, n, "tokenizer.json", &t, &err) != PGR_OK) fail_msg("%s: %s", path, err.message);
    free(text);
    return t;
}

#define FILE_OF(name) GOLDEN("tokenizer/" name ".tokenizer.json")

static void golden(const char *name, const char *pre) {
    char path[500];
    snprintf(path, sizeof path, GOLDEN("tokenizer/%s.tokenizer.json"), name);
    tokenizer *t = open_json(path);
    assert_string_equal(tok_model_name(t), "BPE");
    assert_string_equal(tok_pre_name(t), pre);
    snprintf(path, sizeof path, GOLDEN("tokenizer/%s.json"), name);
    check_golden(t, path, TOK_PARSE_SPECIAL | TOK_BOS);
    tok_close(t);
}

static void golden_llama3(void **state) {
    (void)state;
    golden("llama3", "Split, ByteLevel");
}
static void golden_qwen3(void **state) {
    (void)state;
    golden("qwen3", "Split, ByteLevel");
}
static void golden_gpt2(void **state) {
    (void)state;
    golden("gpt2-json", "ByteLevel");
}
static void golden_gpt2_prefix(void **state) {
    (void)state;
    golden("gpt2-prefix", "ByteLevel");
}
static void golden_smollm(void **state) {
    (void)state;
    golden("smollm-json", "Digits, ByteLevel");
}
static void golden_llama2(void **state) {
    (void)state;
    golden("llama2", "none");
}
static void golden_mistral(void **state) {
    (void)state;
    golden("mistral", "Metaspace");
}
static void golden_normalised(void **state) {
    (void)state;
    golden("normalised", "Split, Digits, Metaspace");
}

/* ---- round trips ---- */

static void decode_all(const tokenizer *t, const ids *v, buf *out) {
    assert_int_equal(tok_decode(t, v->v, v->n, out, NULL), PGR_OK);
}

/* The stream's pieces end at characters, and all together are what decoding gives at once. */
static void check_stream(const tokenizer *t, const ids *v, const buf *whole, bool valid) {
    tok_stream s;
    buf out = {0};
    tok_stream_begin(&s, t);
    for (size_t i = 0; i < v->n; i++) {
        assert_int_equal(tok_stream_put(&s, v->v[i], &out, NULL), PGR_OK);
        if (valid && out.n) assert_true(utf8_valid(out.data, out.n));
    }
    if (valid) assert_int_equal(s.n_held, 0);
    assert_int_equal(tok_stream_end(&s, &out, NULL), PGR_OK);
    assert_int_equal(out.n, whole->n);
    if (out.n) assert_memory_equal(out.data, whole->data, out.n);
    buf_free(&out);
}

/* Every line, and as many of random bytes. */
static void round_trip(const char *path, int flags) {
    tokenizer *t = open_json(path);
    rng r = {.seed = 3};
    for (size_t i = 0; i < 2 * N_LINE; i++) {
        char noise[64];
        const char *s = i % 2 ? noise : json_string_value(lines[i / 2]);
        size_t n = i % 2 ? rng_below(&r, sizeof noise + 1) : json_string_length(lines[i / 2]);
        for (size_t k = 0; k < sizeof noise; k++) noise[k] = (char)rng_below(&r, i % 4 == 1 ? 256 : 0x24f);
        if (memmem(s, n, "\xe2\x96\x81", 3)) continue; /* SentencePiece's own sign for a space */
        ids v = encode(t, s, n, flags);
        buf text = {0};
        decode_all(t, &v, &text);
        assert_int_equal(text.n, n);
        if (n) assert_memory_equal(text.data, s, n);
        check_stream(t, &v, &text, i % 2 == 0);
        buf_free(&text);
        ids_free(&v);
    }
    tok_close(t);
}

static void lossless_files_give_all_bytes_back(void **state) {
    (void)state;
    round_trip(FILE_OF("llama3"), 0);
    round_trip(FILE_OF("llama3"), TOK_PARSE_SPECIAL);
    round_trip(FILE_OF("gpt2-json"), TOK_PARSE_SPECIAL);
    round_trip(FILE_OF("smollm-json"), 0);
    round_trip(FILE_OF("llama2"), 0); /* with special tokens a space would come after each */
}

/* NFC is not undone, but done again it changes nothing. */
static void composed_text_comes_back_composed(void **state) {
    (void)state;
    tokenizer *t = open_json(FILE_OF("qwen3"));
    size_t changed = 0;
    for (size_t i = 0; i < N_LINE; i++) {
        ids v = encode_line(t, i, 0);
        buf once = {0}, twice = {0};
        decode_all(t, &v, &once);
        ids w = encode(t, once.data ? once.data : "", once.n, 0);
        decode_all(t, &w, &twice);
        assert_true(once.n == twice.n && w.n == v.n);
        if (once.n) assert_memory_equal(once.data, twice.data, once.n);
        changed += once.n != json_string_length(lines[i]);
        buf_free(&once);
        buf_free(&twice);
        ids_free(&v);
        ids_free(&w);
    }
    assert_true(changed > 50);
    tok_close(t);
}

static void unfinished_characters_are_held_back(void **state) {
    (void)state;
    tokenizer *t = open_json(FILE_OF("llama2"));
    tok_stream s;
    buf out = {0};
    ids v = encode(t, "\xf0\x9f\xab\xa0", 4, 0); /* no piece, so four bytes after the space */
    assert_int_equal(v.n, 5);
    tok_stream_begin(&s, t);
    for (size_t i = 0; i < 4; i++) assert_int_equal(tok_stream_put(&s, v.v[i], &out, NULL), PGR_OK);
    assert_int_equal(out.n, 0);
    assert_int_equal(s.n_held, 3);
    assert_int_equal(tok_stream_put(&s, v.v[4], &out, NULL), PGR_OK);
    assert_string_equal(out.data, "\xf0\x9f\xab\xa0");
    assert_int_equal(tok_stream_put(&s, v.v[1], &out, NULL), PGR_OK);
    assert_int_equal(out.n, 4);
    assert_int_equal(tok_stream_end(&s, &out, NULL), PGR_OK); /* what is unfinished comes at the end */
    assert_string_equal(out.data, "\xf0\x9f\xab\xa0\xf0");
    assert_int_equal(tok_stream_put(&s, (int32_t)tok_count(t), &out, NULL), PGR_E_ARG);
    buf_free(&out);
    ids_free(&v);
    tok_close(t);
}

/* ---- what the files say ---- */

static void begin_and_end(void **state) {
    (void)state;
    tokenizer *t = open_json(FILE_OF("llama3"));
    int32_t bos = tok_find(t, "<|begin_of_text|>"), eot = tok_find(t, "<|eot_id|>");
    char want[64];
    assert_true(bos >= 0 && tok_bos(t) == bos && tok_adds_bos(t) && !tok_adds_eos(t));
    assert_true(tok_ends(t, eot) && tok_ends(t, tok_find(t, "<|end_of_text|>")) && !tok_ends(t, bos));
    snprintf(want, sizeof want, "%d", bos);
    expect_ids(t, "", TOK_BOS, want);
    expect_ids(t, "", 0, "");
    pgr_error err;
    assert_int_equal(tok_add_end(t, 5, NULL), PGR_OK);
    assert_true(tok_ends(t, 5));
    assert_int_equal(tok_set_eos(t, eot, NULL), PGR_OK);
    assert_int_equal(tok_set_bos(t, -1, NULL), PGR_OK);
    assert_true(tok_eos(t) == eot && tok_bos(t) == -1);
    assert_int_equal(tok_add_end(t, (int32_t)tok_count(t), &err), PGR_E_FORMAT);
    assert_int_equal(tok_add_end(t, -1, &err), PGR_E_FORMAT);
    assert_string_equal(err.message + strlen("token id "), "-1 is out of range, want 0 to 710");
    tok_close(t);
    t = open_json(FILE_OF("qwen3"));
    assert_true(tok_bos(t) == -1 && !tok_adds_bos(t) && tok_adds_eos(t) && tok_eos(t) == tok_find(t, "<|endoftext|>"));
    assert_true(tok_type_of(t, tok_find(t, "<think>")) == TOK_USER && tok_ends(t, tok_find(t, "<|im_end|>")));
    tok_close(t);
}

/* The pieces of combining marks are sorted in about linear time: 200,000 of two classes in turn. */
static void long_runs_of_marks_take_no_quadratic_time(void **state) {
    (void)state;
    enum { N = 100000 };
    tokenizer *t = open_json(FILE_OF("qwen3"));
    char *text = malloc(4 * N + 1);
    text[0] = 'a';
    for (size_t i = 0; i < N; i++) memcpy(text + 1 + 4 * i, "\xcc\x81\xcc\xa3", 4); /* acute above, dot below */
    double t0 = cpu_seconds();
    ids v = encode(t, text, 4 * N + 1, 0);
    print_message("%d marks: %.1f ms\n", 2 * N, 1e3 * (cpu_seconds() - t0));
    assert_true(v.n > 0 && cpu_seconds() - t0 < 10); /* quadratic work would take minutes */
    free(text);
    ids_free(&v);
    tok_close(t);
}

/* ---- small files ---- */

#define TOP(normal, pre, post, dec, model, added)                                                                      \
    "{\"version\":\"1.0\",\"truncation\":null,\"padding\":null,\"added_tokens\":[" added "],\"normalizer\":" normal    \
    ",\"pre_tokenizer\":" pre ",\"post_processor\":" post ",\"decoder\":" dec ",\"model\":{" model "}}"
#define BYTES  "{\"type\":\"ByteLevel\",\"add_prefix_space\":false}"
#define ABC    "\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":1,\"ab\":2,\"c\":3},\"merges\":"
#define MERGES ABC "[\"a b\"]"
#define END    "{\"id\":4,\"content\":\"<end>\",\"special\":true}"

static pgr_status try_open(const char *text, pgr_error *err) {
    tokenizer *t = NULL;
    char *exact = malloc(strlen(text)); /* so that ASan sees a read beyond */
    memcpy(exact, text, strlen(text));
    pgr_status status = tok_open_json(exact, strlen(text), "t.json", &t, err);
    free(exact);
    if (status == PGR_OK) tok_close(t);
    return status;
}

static void expect_small(const char *text, const char *in, int flags, const char *want) {
    tokenizer *t = NULL;
    pgr_error err;
    if (tok_open_json(text, strlen(text), "t.json", &t, &err) != PGR_OK) fail_msg("%s", err.message);
    expect_ids(t, in, flags, want);
    tok_close(t);
}

static void small_files(void **state) {
    (void)state;
    expect_small(TOP("null", BYTES, "null", BYTES, MERGES, END), "abcab<end>", TOK_PARSE_SPECIAL, "2 3 2 4");
    expect_small(TOP("null", BYTES, "null", BYTES, ABC "[[\"a\",\"b\"]]", END), "abcab<end>", 0, "2 3 2");
    expect_small("{\"model\":{\"vocab\":{\"a\":0,\"b\":1,\"ab\":2},\"merges\":[\"a b\"]},\"pre_tokenizer\":" BYTES
                 ",\"decoder\":" BYTES "}",
                 "aab", 0, "0 2");
    expect_small(TOP("null",
                     "{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\",\"pattern\":{\"Regex\":\"b+\"},"
                     "\"behavior\":\"Removed\",\"invert\":true}," BYTES "]}",
                     "null", BYTES, MERGES, END),
                 "abbcab", 0, "1 1 1");
    expect_small(TOP("{\"type\":\"Replace\",\"pattern\":{\"String\":\"x\"},\"content\":\"ab\"}", BYTES,
                     "{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"E\",\"type_id\":0}},"
                     "{\"Sequence\":{\"id\":\"A\",\"type_id\":0}},{\"SpecialToken\":{\"id\":\"E\",\"type_id\":0}}],"
                     "\"pair\":[],\"special_tokens\":{\"E\":{\"id\":\"E\",\"ids\":[4],\"tokens\":[\"<end>\"]}}}",
                     BYTES, MERGES, END),
                 "xx", TOK_BOS, "4 2 2 4");
}

#define REFUSED(status, want, ...)                                                                                     \
    do {                                                                                                               \
        pgr_error err_;                                                                                                \
        assert_int_equal(try_open(TOP(__VA_ARGS__), &err_), status);                                                   \
        assert_string_equal(err_.message, "t.json: " want);                                                            \
    } while (0)
#define SPLIT(regex) "{\"type\":\"Split\",\"pattern\":{\"Regex\":\"" regex "\"},\"behavior\":\"Isolated\"}"

/* The list of merges is read by a scanner of our own. */
static void merges_are_read_as_json(void **state) {
    (void)state;
    static const char *const wrong[] = {"[\"a b\",]", "[\"a b\" \"b a\"]", "[[\"a\",\"b\",\"c\"]]", "[[\"a\"]]",
                                        "[1]",        "[\"\\x61 b\"]",     "[\"\\ud800 b\"]",       "[\"\\u0000 b\"]",
                                        "[\"a b c\"]"};
    expect_small(TOP("null", BYTES, "null", BYTES, ABC " [ \"\\u0061 b\" ] ", END), "ab", 0, "2");
    expect_small(TOP("null", BYTES, "null", BYTES, ABC "[ [ \"\\u0061\" , \"b\" ]\n]", END), "ab", 0, "2");
    expect_small(TOP("null", BYTES, "null", BYTES, ABC "[]", END), "ab", 0, "0 1");
    expect_small(TOP("null", BYTES, "null", BYTES,
                     "\"vocab\":{\"\xc3\xa9\":0,\"\\\"\":1,\"\\\\\":2,\"\\\"\\\\\":3},\"merges\":[\"\\\" \\\\\"]", ""),
                 "\"\\\"", 0, "3 1");
    expect_small(TOP("null", "null", "null", "{\"type\":\"Fuse\"}",
                     "\"vocab\":{\"\xf0\x9f\x98\x80\":0,\"b\":1,\"\xf0\x9f\x98\x80"
                     "b\":2},\"merges\":[\"\\uD83d\\ude00 b\"]",
                     ""),
                 "\xf0\x9f\x98\x80"
                 "b",
                 0, "2");
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        char text[1000];
        pgr_error err;
        snprintf(text, sizeof text, TOP("null", BYTES, "null", BYTES, ABC "%s", END), wrong[i]);
        assert_int_equal(try_open(text, &err), PGR_E_FORMAT);
        assert_non_null(strstr(err.message, i < 2 ? "model.merges[1] is not two" : "model.merges[0] is not two"));
    }
    pgr_error err; /* lines are counted over the list */
    assert_int_equal(try_open("{\"model\":{\"merges\":[\n\"a b\",\n\"b a\"],\n\"vocab\":oops}}", &err), PGR_E_FORMAT);
    assert_string_equal(err.message, "t.json:4: invalid token near 'oops', expected valid JSON");
    REFUSED(PGR_E_FORMAT, "model.merges: expected an array of merges", "null", BYTES, "null", BYTES, ABC "{}", END);
}

static void components_that_we_lack_are_named(void **state) {
    (void)state;
    REFUSED(PGR_E_UNSUPPORTED, "normalizer: normaliser \"Lowercase\" is not supported", "{\"type\":\"Lowercase\"}",
            BYTES, "null", BYTES, MERGES, END);
    REFUSED(PGR_E_UNSUPPORTED, "normalizer.normalizers[1]: normaliser \"NFKC\" is not supported",
            "{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"NFC\"},{\"type\":\"NFKC\"}]}", BYTES, "null", BYTES,
            MERGES, END);
    REFUSED(PGR_E_UNSUPPORTED, "pre_tokenizer: pre-tokeniser \"UnicodeScripts\" is not supported", "null",
            "{\"type\":\"UnicodeScripts\"}", "null", BYTES, MERGES, END);
    REFUSED(PGR_E_UNSUPPORTED, "pre_tokenizer: behaviour \"Contiguous\" is not supported", "null",
            "{\"type\":\"Split\",\"pattern\":{\"String\":\"x\"},\"behavior\":\"Contiguous\"}", "null", BYTES, MERGES,
            END);
    REFUSED(PGR_E_UNSUPPORTED, "post_processor: post-processor \"RobertaProcessing\" is not supported", "null", BYTES,
            "{\"type\":\"RobertaProcessing\"}", BYTES, MERGES, END);
    REFUSED(PGR_E_UNSUPPORTED, "decoder: decoder \"CTC\" is not supported", "null", BYTES, "null", "{\"type\":\"CTC\"}",
            MERGES, END);
    REFUSED(PGR_E_UNSUPPORTED, "only one of pre_tokenizer and decoder is ByteLevel", "null", "null", "null", BYTES,
            MERGES, END);
    REFUSED(PGR_E_UNSUPPORTED, "model \"Unigram\" is not supported, only BPE and WordPiece are", "null", BYTES, "null",
            BYTES, "\"type\":\"Unigram\"", END);
    REFUSED(PGR_E_UNSUPPORTED, "model.end_of_word_suffix \"</w>\" is not supported", "null", BYTES, "null", BYTES,
            MERGES ",\"end_of_word_suffix\":\"</w>\"", END);
    REFUSED(PGR_E_UNSUPPORTED, "model.dropout is not supported", "null", BYTES, "null", BYTES,
            MERGES ",\"dropout\":0.1", END);
}

static void expressions_that_engines_read_differently_are_refused(void **state) {
    (void)state;
    static const struct {
        const char *regex, *what;
    } cases[] = {{"\\w+", "\\w"},   {"^a", "^"},      {"a|.", "."},        {"\\p{Han}+", "\\p{Han}+"},
                 {"[a&&b]", "&&"},  {"[a[b]]", "[b"}, {"(?<=a)b", "(?<="}, {"a{2}+", "{2}+"},
                 {"[^\\S]", "\\S"}, {"\\K", "\\K"},   {"a{,2}", "{,2}"},   {"[]a]", "[]"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        buf out = {0};
        pgr_error err;
        char want[200];
        snprintf(want, sizeof want, "the regular expression has \"%s\", which is not supported", cases[i].what);
        assert_int_equal(pretok_translate(cases[i].regex, &out, &err), PGR_E_UNSUPPORTED);
        assert_string_equal(err.message, want);
        buf_free(&out);
    }
    REFUSED(PGR_E_UNSUPPORTED, "pre_tokenizer: the regular expression has \"^\", which is not supported", "null",
            SPLIT("^a"), "null", BYTES, MERGES, END);
    pgr_error err;
    assert_int_equal(try_open(TOP("null", SPLIT("a*"), "null", "{\"type\":\"Fuse\"}", MERGES, END), &err),
                     PGR_E_UNSUPPORTED);
    assert_string_equal(err.message, "the pre-tokeniser's pattern matches an empty text");
    assert_int_equal(try_open(TOP("null", SPLIT("(a"), "null", "{\"type\":\"Fuse\"}", MERGES, END), &err),
                     PGR_E_UNSUPPORTED);
}

static void wrong_files_are_refused(void **state) {
    (void)state;
    REFUSED(PGR_E_FORMAT, "model.merges[0] is not two tokens", "null", BYTES, "null", BYTES, ABC "[\"ab\"]", END);
    REFUSED(PGR_E_FORMAT, "model.merges[0] is not two tokens that make up a third", "null", BYTES, "null", BYTES,
            ABC "[\"b a\"]", END);
    REFUSED(PGR_E_FORMAT, "model.merges[1] repeats an earlier one", "null", BYTES, "null", BYTES,
            ABC "[\"a b\",[\"a\",\"b\"]]", END);
    REFUSED(PGR_E_FORMAT, "model.vocab has two tokens of id 0: \"a\" and \"b\"", "null", BYTES, "null", BYTES,
            "\"vocab\":{\"a\":0,\"b\":0},\"merges\":[]", END);
    REFUSED(PGR_E_FORMAT, "added token \"<end>\" has id 3, which is another's", "null", BYTES, "null", BYTES, MERGES,
            "{\"id\":3,\"content\":\"<end>\",\"special\":true}");
    REFUSED(PGR_E_FORMAT, "model.unk_token \"?\" is not in model.vocab", "null", BYTES, "null", BYTES,
            MERGES ",\"unk_token\":\"?\"", END);
    REFUSED(PGR_E_FORMAT, "model.vocab: found 4194305, expected 0 to 4194304", "null", BYTES, "null", BYTES,
            "\"vocab\":{\"a\":4194305},\"merges\":[]", END);
    REFUSED(PGR_E_FORMAT, "model.vocab is empty", "null", BYTES, "null", BYTES, "\"vocab\":{},\"merges\":[]", "");
    REFUSED(PGR_E_FORMAT, "added_tokens.special: found an integer, expected true or false", "null", BYTES, "null",
            BYTES, MERGES, "{\"id\":4,\"content\":\"x\",\"special\":1}");
    REFUSED(PGR_E_FORMAT, "pre_tokenizer: unknown key \"use_regexp\", expected perhaps \"use_regex\"", "null",
            "{\"type\":\"ByteLevel\",\"use_regexp\":false}", "null", BYTES, MERGES, END);
}

/* ---- size and memory ---- */

/* A file as large as Llama 3's: 128,000 tokens of three letters, a merge for each beyond the first thousands. */
static char *large_file(size_t *n) {
    enum { SIDE = 50 }; /* letters; 50 * 50 pairs, 50 * 50 * 50 triples */
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWX";
    buf b = {0};
    size_t id = 0;
    buf_puts(&b, "{\"pre_tokenizer\":" BYTES ",\"decoder\":" BYTES ",\"model\":{\"type\":\"BPE\",\"vocab\":{\"0\":0");
    for (size_t i = 0; i < SIDE; i++) buf_printf(&b, ",\"%c\":%zu", letters[i], ++id);
    for (size_t i = 0; i < SIDE * SIDE; i++)
        buf_printf(&b, ",\"%c%c\":%zu", letters[i / SIDE], letters[i % SIDE], ++id);
    for (size_t i = 0; i < SIDE * SIDE * SIDE; i++)
        buf_printf(&b, ",\"%c%c%c\":%zu", letters[i / SIDE / SIDE], letters[i / SIDE % SIDE], letters[i % SIDE], ++id);
    buf_puts(&b, "},\"merges\":[[\"a\",\"a\"]");
    for (size_t i = 1; i < SIDE * SIDE; i++) buf_printf(&b, ",[\"%c\",\"%c\"]", letters[i / SIDE], letters[i % SIDE]);
    for (size_t i = 0; i < SIDE * SIDE * SIDE; i++)
        buf_printf(&b, ",[\"%c%c\",\"%c\"],[\"%c\",\"%c%c\"]", letters[i / SIDE / SIDE], letters[i / SIDE % SIDE],
                   letters[i % SIDE], letters[i / SIDE / SIDE], letters[i / SIDE % SIDE], letters[i % SIDE]);
    buf_puts(&b, "]}}");
    *n = b.n;
    return buf_take(&b);
}

static void large_files_open_fast(void **state) {
    (void)state;
    size_t n;
    tokenizer *t = NULL;
    pgr_error err;
    char *text = large_file(&n);
    double t0 = cpu_seconds();
    if (tok_open_json(text, n, "large.json", &t, &err) != PGR_OK) fail_msg("%s", err.message);
    double took = cpu_seconds() - t0;
    print_message("%zu bytes, %zu tokens, %zu merges: %.0f ms\n", n, tok_count(t), tok_merge_count(t), 1e3 * took);
    assert_true(took < 10); /* 0.4 s of one core; sanitizers and company take the rest */
    mem_free(text);
    tok_close(t);
}

static char *small_text;
static size_t small_n;

static bool open_and_encode(void) {
    static const char text[] = "A reade\xcc\x81r asks: which of the two answers is better? <|im_end|> \xe5\xad\x97";
    tokenizer *t = NULL;
    ids v = {0};
    buf out = {0};
    bool ok = tok_open_json(small_text, small_n, "t.json", &t, NULL) == PGR_OK
              && tok_encode(t, text, sizeof text - 1, TOK_PARSE_SPECIAL | TOK_BOS, &v, NULL) == PGR_OK;
    if (ok) {
        tok_stream s;
        tok_stream_begin(&s, t);
        for (size_t i = 0; i < v.n && ok; i++) ok = tok_stream_put(&s, v.v[i], &out, NULL) == PGR_OK;
        ok = ok && tok_stream_end(&s, &out, NULL) == PGR_OK;
    }
    buf_free(&out);
    ids_free(&v);
    tok_close(t);
    return ok;
}

/* Files of few tokens, so that each allocation can fail in turn: a byte-level one, and a SentencePiece one. */
static void failing_allocations(void **state) {
    (void)state;
    static const char *const files[] = {
        TOP("{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"NFC\"},{\"type\":\"Prepend\",\"prepend\":\"b\"}]}",
            "{\"type\":\"Sequence\",\"pretokenizers\":[" SPLIT(
                "\\\\s+|x") ",{\"type\":\"Digits\"},{\"type\":\"ByteLevel\"}]}",
            "{\"type\":\"ByteLevel\"}", BYTES,
            "\"vocab\":{\"a\":0,\"b\":1,\"ab\":2,\"c\":3,\"abc\":6},\"merges\":[\"a b\",[\"ab\",\"c\"]]",
            "{\"id\":4,\"content\":\"<|im_end|>\",\"special\":true},{\"id\":5,\"content\":\"asks\",\"normalized\":"
            "true}"),
        TOP("null", "{\"type\":\"Metaspace\",\"replacement\":\"_\",\"prepend_scheme\":\"first\"}", "null",
            "{\"type\":\"Metaspace\",\"replacement\":\"_\"}", MERGES ",\"unk_token\":\"c\",\"byte_fallback\":true",
            END)};
    for (size_t i = 0; i < 2; i++) {
        small_n = strlen(files[i]);
        small_text = malloc(small_n);
        memcpy(small_text, files[i], small_n);
        assert_true(fail_each_allocation(open_and_encode) > 10);
        free(small_text);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden_llama3),
        cmocka_unit_test(golden_qwen3),
        cmocka_unit_test(golden_gpt2),
        cmocka_unit_test(golden_gpt2_prefix),
        cmocka_unit_test(golden_smollm),
        cmocka_unit_test(golden_llama2),
        cmocka_unit_test(golden_mistral),
        cmocka_unit_test(golden_normalised),
        cmocka_unit_test(lossless_files_give_all_bytes_back),
        cmocka_unit_test(composed_text_comes_back_composed),
        cmocka_unit_test(unfinished_characters_are_held_back),
        cmocka_unit_test(begin_and_end),
        cmocka_unit_test(long_runs_of_marks_take_no_quadratic_time),
        cmocka_unit_test(small_files),
        cmocka_unit_test(merges_are_read_as_json),
        cmocka_unit_test(components_that_we_lack_are_named),
        cmocka_unit_test(expressions_that_engines_read_differently_are_refused),
        cmocka_unit_test(wrong_files_are_refused),
        cmocka_unit_test(large_files_open_fast),
        cmocka_unit_test(failing_allocations),
    };
    return cmocka_run_group_tests_name("tokenizer_json", tests, load_lines, free_lines);
}
