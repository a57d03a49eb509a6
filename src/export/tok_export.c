/* tok_export.c - owns the way from a tokenizer.json to tokenizer.ggml.*: byte-level BPE as "gpt2" with its merges and
 * the name of its pre-tokeniser, SentencePiece-style BPE as "llama" with scores that give the same order of merges. */
#include "export/tok_export.h"

#include <inttypes.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/text.h"
#include "text/vocab.h"

#define SP_SPACE "\xe2\x96\x81" /* U+2581, which SentencePiece writes for a space */

typedef struct exporter {
    const tokenizer *t;
    const json_t *root, *model, *merges;
    const char *origin;
    size_t n_row;
    gguf_writer *w;
    pgr_error *err;
} exporter;

static const json_t *given(const json_t *object, const char *key) {
    const json_t *v = json_object_get(object, key);
    return json_is_null(v) ? NULL : v;
}

static bool is_text(const json_t *v, const char *key, const char *want) {
    const char *s = json_string_value(json_object_get(v, key));
    return s && strcmp(s, want) == 0;
}

static bool flag(const json_t *v, const char *key, bool fallback) {
    const json_t *b = given(v, key);
    return b ? json_is_true(b) : fallback;
}

static pgr_status cannot_say(const char *origin, const char *what, pgr_error *err) {
    return fail(err, PGR_E_UNSUPPORTED, "%s: %s cannot be said in GGUF", origin, what);
}

/* ---- the name of the pre-tokeniser ---- */

#define LLAMA3_REGEX(numbers)                                                                                          \
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|" numbers                                              \
    "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"

static const struct {
    const char *regex, *pre;
} splits[] = {{LLAMA3_REGEX("\\p{N}{1,3}"), "llama-bpe"}, {LLAMA3_REGEX("\\p{N}"), "qwen2"}};

/* The name that the steps have in GGUF files, NULL: none. */
static const char *name_of_steps(const json_t *v) {
    const json_t *steps = json_object_get(v, "pretokenizers");
    const json_t *first = is_text(v, "type", "Sequence") ? json_array_get(steps, 0) : NULL;
    const json_t *last = first ? json_array_get(steps, 1) : v;
    if (first && json_array_size(steps) != 2) return NULL;
    if (!is_text(last, "type", "ByteLevel") || flag(last, "add_prefix_space", true)) return NULL;
    bool gpt2 = flag(last, "use_regex", true);
    if (!first) return gpt2 ? "gpt-2" : NULL;
    if (is_text(first, "type", "Digits")) return gpt2 && flag(first, "individual_digits", false) ? "smollm" : NULL;
    if (gpt2 || !is_text(first, "type", "Split") || !is_text(first, "behavior", "Isolated")
        || flag(first, "invert", false))
        return NULL;
    for (size_t i = 0; i < sizeof splits / sizeof *splits; i++)
        if (is_text(json_object_get(first, "pattern"), "Regex", splits[i].regex)) return splits[i].pre;
    return NULL;
}

pgr_status tok_export_pre(const json_t *root, bool ignore_merges, const char *origin, const char **out,
                          pgr_error *err) {
    const json_t *normaliser = given(root, "normalizer");
    const char *name = name_of_steps(given(root, "pre_tokenizer"));
    if (!name)
        return fail(err, PGR_E_UNSUPPORTED,
                    "%s: its pre_tokenizer has no name in GGUF files; the patterns of GPT-2, SmolLM, Llama 3 and Qwen2 "
                    "have one",
                    origin);
    const pretok_row *row = pretok_find((gguf_string){name, strlen(name)});
    if (row->ignore_merges != ignore_merges)
        return fail(err, PGR_E_UNSUPPORTED,
                    "%s: model.ignore_merges is %s, pre-tokeniser \"%s\" of GGUF files means the opposite", origin,
                    ignore_merges ? "true" : "false", name);
    bool nfc = normaliser && is_text(normaliser, "type", "NFC");
    if (nfc != row->nfc || (normaliser && !nfc))
        return fail(err, PGR_E_UNSUPPORTED, "%s: its normalizer is %s, pre-tokeniser \"%s\" of GGUF files has %s",
                    origin,
                    nfc          ? "NFC"
                    : normaliser ? "another than NFC"
                                 : "null",
                    name, row->nfc ? "NFC" : "none");
    *out = name;
    return PGR_OK;
}

/* ---- tokens ---- */

/* Texts as tokenizer.json spells them, by id; NULL where an id has none. */
static pgr_status collect_texts(const exporter *e, const char **texts) {
    const json_t *vocab = json_object_get(e->model, "vocab"), *added = json_object_get(e->root, "added_tokens");
    json_t *object = (json_t *)(uintptr_t)vocab; /* jansson's iterators want no const; nothing is written */
    for (void *it = json_object_iter(object); it; it = json_object_iter_next(object, it))
        texts[json_integer_value(json_object_iter_value(it))] = json_object_iter_key(it);
    for (size_t i = 0; i < json_array_size(added); i++) {
        const json_t *token = json_array_get(added, i);
        const char *s = json_string_value(json_object_get(token, "content"));
        static const char *const flags[] = {"lstrip", "rstrip", "single_word"};
        for (size_t k = 0; k < 3; k++)
            if (flag(token, flags[k], false))
                return fail(e->err, PGR_E_UNSUPPORTED, "%s: added token \"%.60s\": %s cannot be said in GGUF",
                            e->origin, s, flags[k]);
        texts[json_integer_value(json_object_get(token, "id"))] = s;
    }
    return PGR_OK;
}

static void put_types(const exporter *e) {
    gguf_put_array(e->w, "tokenizer.ggml.token_type", GGUF_I32, e->n_row);
    for (size_t i = 0; i < e->n_row; i++) gguf_item_i32(e->w, i < e->t->n_token ? (int32_t)e->t->type[i] : TOK_UNUSED);
}

static pgr_status put_tokens(const exporter *e) {
    const char **texts = mem_zero(e->t->n_token, sizeof *texts);
    if (!texts) return fail_mem(e->err);
    pgr_status status = collect_texts(e, texts);
    gguf_put_array(e->w, "tokenizer.ggml.tokens", GGUF_STRING, e->n_row);
    for (size_t i = 0; i < e->n_row; i++) {
        char pad[32];
        const char *s = i < e->t->n_token ? texts[i] : NULL;
        snprintf(pad, sizeof pad, "[PAD%zu]", i);
        gguf_item_string(e->w, s ? s : pad, strlen(s ? s : pad));
    }
    mem_free(texts);
    put_types(e);
    return status;
}

/* ---- merges and scores ---- */

/* Both halves of merge i; "a b" or ["a","b"]. They were checked when the tokenizer was opened. */
static void halves(const exporter *e, size_t i, text_span side[2]) {
    const json_t *m = json_array_get(e->merges, i);
    if (json_is_array(m)) {
        for (size_t k = 0; k < 2; k++) {
            const json_t *s = json_array_get(m, k);
            side[k] = (text_span){json_string_value(s), json_string_length(s)};
        }
        return;
    }
    const char *s = json_string_value(m), *space = strchr(s, ' ');
    side[0] = (text_span){s, (size_t)(space - s)};
    side[1] = (text_span){space + 1, strlen(space + 1)};
}

static pgr_status put_merges(const exporter *e) {
    buf b = {0};
    size_t n = json_array_size(e->merges);
    gguf_put_array(e->w, "tokenizer.ggml.merges", GGUF_STRING, n);
    for (size_t i = 0; i < n && !b.failed; i++) {
        text_span side[2];
        halves(e, i, side);
        buf_clear(&b);
        buf_add(&b, side[0].s, side[0].n);
        buf_putc(&b, ' ');
        buf_add(&b, side[1].s, side[1].n);
        gguf_item_string(e->w, b.data, b.n);
    }
    bool failed = b.failed;
    buf_free(&b);
    return failed ? fail_mem(e->err) : PGR_OK;
}

/* In how many ways token id is two other tokens. */
static size_t count_cuts(const tokenizer *t, int32_t id) {
    const char *s = t->text.s + t->text.start[id];
    size_t n = t->text.start[id + 1] - t->text.start[id], count = 0;
    for (size_t at = utf8_next(s, n, NULL); at > 0 && at < n;) {
        count += vocab_find(t, s, at) >= 0 && vocab_find(t, s + at, n - at) >= 0;
        size_t len = utf8_next(s + at, n - at, NULL);
        at = len ? at + len : n;
    }
    return count;
}

/* Readers of scores merge every two tokens that make up a third, the best score first: the list of merges must be all
 * of these, and those that give one token must stand together. Then score -k for the k-th token of the list. */
static pgr_status score_tokens(const exporter *e, float *scores, buf *scratch) {
    const tokenizer *t = e->t;
    size_t n = json_array_size(e->merges), all = 0;
    int32_t last = -1;
    float next = 0;
    for (size_t i = 0; i < n; i++) {
        text_span side[2];
        halves(e, i, side);
        buf_clear(scratch);
        buf_add(scratch, side[0].s, side[0].n);
        buf_add(scratch, side[1].s, side[1].n);
        if (scratch->failed) return fail_mem(e->err);
        int32_t id = vocab_find(t, scratch->data, scratch->n);
        if (id != last && (scores[id] < 0 || t->type[id] != TOK_NORMAL))
            return cannot_say(e->origin, "the order of model.merges (no order by scores of tokens)", e->err);
        if (id != last) scores[id] = --next;
        last = id;
    }
    for (size_t i = 0; i < t->n_token; i++)
        if (t->type[i] == TOK_NORMAL) all += count_cuts(t, (int32_t)i);
    if (all != n)
        return cannot_say(e->origin, "model.merges (not every two tokens that make up a third are in it)", e->err);
    for (size_t i = 0; i < t->n_token; i++)
        if (t->type[i] == TOK_NORMAL && scores[i] == 0) scores[i] = next - 1; /* single characters: never compared */
    return PGR_OK;
}

static pgr_status put_scores(const exporter *e) {
    buf scratch = {0};
    float *scores = mem_zero(e->n_row, sizeof *scores);
    pgr_status status = scores ? score_tokens(e, scores, &scratch) : fail_mem(e->err);
    if (status == PGR_OK) {
        gguf_put_array(e->w, "tokenizer.ggml.scores", GGUF_F32, e->n_row);
        for (size_t i = 0; i < e->n_row; i++) gguf_item_f32(e->w, scores[i]);
    }
    buf_free(&scratch);
    mem_free(scores);
    return status;
}

/* ---- SentencePiece ---- */

/* Spaces become U+2581, with one before the text or not: only that is what a "llama" tokenizer of GGUF does. */
static pgr_status check_spaces(const exporter *e, bool *prefix) {
    const tokenizer *t = e->t;
    const normal_step *s = t->norm.steps;
    const json_t *pre = given(e->root, "pre_tokenizer");
    size_t n = t->norm.n;
    *prefix = n > 0 && s[0].kind == NORMAL_PREPEND && strcmp(s[0].to, SP_SPACE) == 0;
    bool replaced = n == 1u + *prefix && s[n - 1].kind == NORMAL_REPLACE && strcmp(s[n - 1].from, " ") == 0
                    && strcmp(s[n - 1].to, SP_SPACE) == 0;
    bool meta = n == 0 && is_text(pre, "type", "Metaspace") && is_text(pre, "replacement", SP_SPACE)
                && is_text(pre, "prepend_scheme", "never") && !flag(pre, "split", true);
    if (!(replaced && !pre) && !meta)
        return cannot_say(e->origin, "its way with spaces (other than Prepend and Replace by U+2581)", e->err);
    if (t->strip_space != *prefix)
        return cannot_say(e->origin, "a decoder that strips another space than is put", e->err);
    for (size_t b = 0; b < 256; b++)
        if (t->bpe.byte_id[b] < 0)
            return fail(e->err, PGR_E_UNSUPPORTED, "%s: has no token <0x%02zX>; GGUF wants one for every byte",
                        e->origin, b);
    return PGR_OK;
}

static pgr_status put_sentencepiece(const exporter *e) {
    bool prefix;
    PGR_TRY(check_spaces(e, &prefix));
    gguf_put_string(e->w, "tokenizer.ggml.model", "llama", 5);
    gguf_put_string(e->w, "tokenizer.ggml.pre", "default", 7);
    gguf_put_bool(e->w, "tokenizer.ggml.add_space_prefix", prefix);
    PGR_TRY(put_tokens(e));
    return put_scores(e);
}

static pgr_status put_bytes(const exporter *e) {
    const char *pre;
    PGR_TRY(tok_export_pre(e->root, e->t->ignore_merges, e->origin, &pre, e->err));
    gguf_put_string(e->w, "tokenizer.ggml.model", "gpt2", 4);
    gguf_put_string(e->w, "tokenizer.ggml.pre", pre, strlen(pre));
    PGR_TRY(put_tokens(e));
    return put_merges(e);
}

/* ---- begin and end ---- */

static void put_id(const exporter *e, const char *key, int32_t id) {
    if (id >= 0) gguf_put_u32(e->w, key, (uint32_t)id);
}

/* The end token of that name, -1: none, or not one that ends, or the same as eos. */
static int32_t end_named(const tokenizer *t, const char *name, int32_t eos) {
    int32_t id = tok_find(t, name);
    return id >= 0 && id != eos && t->ends[id] ? id : -1;
}

/* GGUF has one token of a text's end, of a turn's and of a message's; readers know a few more by their names. */
static pgr_status put_ends(const exporter *e, int32_t eos) {
    const tokenizer *t = e->t;
    int32_t eot = end_named(t, "<|eot_id|>", eos), eom = end_named(t, "<|eom_id|>", eos);
    if (eot < 0) eot = end_named(t, "<|im_end|>", eos);
    for (size_t i = 0; i < t->n_token; i++) {
        int32_t id = (int32_t)i;
        if (!t->ends[i] || id == eos || id == eot || id == eom || vocab_ends_by_name(t, id)) continue;
        if (eot >= 0)
            return fail(e->err, PGR_E_UNSUPPORTED,
                        "%s: token %" PRId32 " ends a text beside %" PRId32 " and %" PRId32
                        "; GGUF has no place for it",
                        e->origin, id, eos, eot);
        eot = id;
    }
    put_id(e, "tokenizer.ggml.eos_token_id", eos);
    put_id(e, "tokenizer.ggml.eot_token_id", eot);
    put_id(e, "tokenizer.ggml.eom_token_id", eom);
    return PGR_OK;
}

static pgr_status put_around(const exporter *e) {
    const tokenizer *t = e->t;
    if (t->n_before > 1 || t->n_after > 1 || (t->n_before && t->before[0] != t->bos && t->bos >= 0))
        return cannot_say(e->origin, "what its post_processor puts around a text", e->err);
    put_id(e, "tokenizer.ggml.bos_token_id", t->n_before ? t->before[0] : t->bos);
    put_id(e, "tokenizer.ggml.unknown_token_id", t->bpe.unknown);
    gguf_put_bool(e->w, "tokenizer.ggml.add_bos_token", t->n_before > 0);
    gguf_put_bool(e->w, "tokenizer.ggml.add_eos_token", t->n_after > 0);
    return put_ends(e, t->n_after ? t->after[0] : t->eos); /* what is added is what GGUF calls EOS */
}

pgr_status tok_export(const tokenizer *t, const char *text, size_t n, const char *origin, size_t n_row, gguf_writer *w,
                      pgr_error *err) {
    json_t *root = NULL;
    PGR_TRY(json_parse(text, n, origin, 1, &root, err));
    exporter e = {.t = t, .root = root, .origin = origin, .n_row = n_row, .w = w, .err = err};
    e.model = json_object_get(root, "model");
    e.merges = json_object_get(e.model, "merges");
    PGR_ASSERT(n_row >= t->n_token);
    pgr_status status = t->by_char ? put_sentencepiece(&e) : put_bytes(&e);
    if (status == PGR_OK) status = put_around(&e);
    json_decref(root);
    return status;
}
