/* tok_json.c - opens a tokenizer from a Hugging Face tokenizer.json whose model is BPE or WordPiece: vocabulary, added
 * tokens, merges. The other components are read by tok_parts.c. */
#include <inttypes.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "text/tok_merges.h"
#include "text/tok_parts.h"
#include "text/vocab.h"

enum {
    MAX_ID = 1 << 22, /* far above any vocabulary: a stray id must not ask for gigabytes */
    MAX_WORD = 1000   /* characters; all published files say 100 */
};

typedef struct reader { /* of one file */
    tokenizer *t;
    const json_t *root, *model, *vocab, *added;
    text_span merges;    /* in the file's text; s NULL: there are none */
    vocab_token *tokens; /* (n) */
    size_t n;
    tok_cutting cutting;
    tok_decoder decoder;
    bool byte_fallback;
    const char *unknown; /* "": none */
    pgr_error *err;
} reader;

static json_at at(const reader *r, const char *path) {
    return (json_at){r->t->origin, path};
}

/* ---- vocabulary ---- */

static json_t *writable(const json_t *v) {
    return (json_t *)(uintptr_t)v; /* jansson's iterators want no const; nothing is written */
}

static pgr_status count_ids(reader *r) {
    int64_t most = -1, id;
    for (void *it = json_object_iter(writable(r->vocab)); it; it = json_object_iter_next(writable(r->vocab), it)) {
        PGR_TRY(json_want_integer(json_object_iter_value(it), at(r, "model.vocab"), 0, MAX_ID, &id, r->err));
        if (id > most) most = id;
    }
    for (size_t i = 0; i < json_array_size(r->added); i++) {
        const json_t *token = json_array_get(r->added, i);
        PGR_TRY(json_want_integer(json_object_get(token, "id"), at(r, "added_tokens.id"), 0, MAX_ID, &id, r->err));
        if (id > most) most = id;
    }
    if (most < 0) return fail(r->err, PGR_E_FORMAT, "%s: model.vocab is empty", r->t->origin);
    r->n = (size_t)most + 1;
    r->tokens = mem_zero(r->n, sizeof *r->tokens);
    if (!r->tokens) return fail_mem(r->err);
    for (size_t i = 0; i < r->n; i++) r->tokens[i] = (vocab_token){.s = "", .type = TOK_UNUSED};
    return PGR_OK;
}

static pgr_status read_vocab(reader *r) {
    uint8_t byte;
    for (void *it = json_object_iter(writable(r->vocab)); it; it = json_object_iter_next(writable(r->vocab), it)) {
        const char *s = json_object_iter_key(it);
        size_t id = (size_t)json_integer_value(json_object_iter_value(it)), n = strlen(s);
        vocab_token *v = &r->tokens[id];
        if (v->type != TOK_UNUSED)
            return fail(r->err, PGR_E_FORMAT, "%s: model.vocab has two tokens of id %zu: \"%.40s\" and \"%.40s\"",
                        r->t->origin, id, v->s, s);
        *v = (vocab_token){.s = s, .n = n, .type = TOK_NORMAL, .merged = true};
        if (r->byte_fallback && r->t->by_char && vocab_is_byte(s, n, &byte)) v->type = TOK_BYTE;
    }
    return PGR_OK;
}

static pgr_status read_flags(reader *r, const json_t *token, unsigned *out) {
    static const struct {
        const char *key;
        unsigned flag;
    } flags[] = {{"special", ADDED_SPECIAL},
                 {"lstrip", ADDED_LSTRIP},
                 {"rstrip", ADDED_RSTRIP},
                 {"single_word", ADDED_SINGLE_WORD},
                 {"normalized", ADDED_NORMALISED}};
    *out = 0;
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++) {
        bool set;
        PGR_TRY(tok_field_bool(r->t, token, "added_tokens", flags[i].key, false, &set, r->err));
        if (set) *out |= flags[i].flag;
    }
    return PGR_OK;
}

static pgr_status read_added_token(reader *r, const json_t *token) {
    static const char *const keys[] = {"id",     "content",    "single_word", "lstrip",
                                       "rstrip", "normalized", "special",     NULL};
    const char *s;
    unsigned flags;
    PGR_TRY(json_only_keys(token, keys, at(r, "added_tokens"), r->err));
    PGR_TRY(tok_field_string(r->t, token, "added_tokens", "content", NULL, &s, r->err));
    PGR_TRY(read_flags(r, token, &flags));
    size_t id = (size_t)json_integer_value(json_object_get(token, "id"));
    vocab_token *v = &r->tokens[id];
    const json_t *in_vocab = json_object_get(r->vocab, s);
    bool clash = v->type != TOK_UNUSED && strcmp(v->s, s) != 0;
    if (v->added || clash || (in_vocab && (size_t)json_integer_value(in_vocab) != id))
        return fail(r->err, PGR_E_FORMAT, "%s: added token \"%.40s\" has id %zu, which is another's", r->t->origin, s,
                    id);
    bool special = (flags & ADDED_SPECIAL) != 0;
    *v = (vocab_token){.s = s, .n = strlen(s), .type = special ? TOK_CONTROL : TOK_USER, .added = true};
    v->merged = in_vocab && !special; /* what only control tokens are never comes out of text */
    v->flags = flags;
    return PGR_OK;
}

static pgr_status read_tokens(reader *r) {
    PGR_TRY(count_ids(r));
    PGR_TRY(read_vocab(r));
    for (size_t i = 0; i < json_array_size(r->added); i++) PGR_TRY(read_added_token(r, json_array_get(r->added, i)));
    if (*r->unknown) {
        const json_t *id = json_object_get(r->vocab, r->unknown);
        if (!id)
            return fail(r->err, PGR_E_FORMAT, "%s: model.unk_token \"%.40s\" is not in model.vocab", r->t->origin,
                        r->unknown);
        int32_t unknown = r->t->bpe.unknown = r->t->wordpiece.unknown = (int32_t)json_integer_value(id);
        r->tokens[unknown].type = TOK_UNKNOWN;
        r->tokens[unknown].merged = false;
    }
    return vocab_build(r->t, r->tokens, r->n, r->decoder.space, r->err);
}

/* ---- merges ---- */

static pgr_status read_merges(reader *r) {
    merges_scan scan = {.s = r->merges.s, .end = r->merges.s + r->merges.n};
    buf scratch = {0};
    pgr_status status = PGR_OK;
    bool more = true;
    for (uint32_t i = 0; status == PGR_OK; i++) {
        text_span side[2];
        bool fine = merges_next(&scan, side, &more);
        if (scan.halves[0].failed || scan.halves[1].failed)
            status = fail_mem(r->err);
        else if (!fine)
            status = fail(r->err, PGR_E_FORMAT, "%s: model.merges[%" PRIu32 "] is not two tokens", r->t->origin, i);
        if (status != PGR_OK || !more) break;
        status = vocab_merge(r->t, "model.merges", side[0], side[1], i, &scratch, r->err);
    }
    for (int k = 0; k < 2; k++) buf_free(&scan.halves[k]);
    buf_free(&scratch);
    return status;
}

/* How many there are at most: they are counted before they are read, as long as they are well-formed. */
static pgr_status count_merges(reader *r) {
    merges_scan scan = {.s = r->merges.s, .end = r->merges.s + r->merges.n};
    text_span side[2];
    bool more = true, failed = false;
    while (more && !failed) {
        bool fine = merges_next(&scan, side, &more);
        failed = scan.halves[0].failed || scan.halves[1].failed;
        if (!fine) break;
        r->t->n_merge += more;
    }
    for (int k = 0; k < 2; k++) buf_free(&scan.halves[k]);
    return failed ? fail_mem(r->err) : PGR_OK;
}

/* ---- the model ---- */

/* Settings of training, or of other kinds of BPE: fine as long as they are off. */
static pgr_status refuse_settings(const reader *r) {
    static const char *const affixes[] = {"continuing_subword_prefix", "end_of_word_suffix"};
    for (size_t i = 0; i < 2; i++) {
        const char *s;
        PGR_TRY(tok_field_string(r->t, r->model, "model", affixes[i], "", &s, r->err));
        if (*s)
            return fail(r->err, PGR_E_UNSUPPORTED, "%s: model.%s \"%.40s\" is not supported", r->t->origin, affixes[i],
                        s);
    }
    const json_t *dropout = json_object_get(r->model, "dropout");
    if (dropout && !json_is_null(dropout) && json_number_value(dropout) != 0)
        return fail(r->err, PGR_E_UNSUPPORTED, "%s: model.dropout is not supported", r->t->origin);
    return PGR_OK;
}

static pgr_status read_bpe(reader *r) {
    static const char *const keys[] = {"type",
                                       "dropout",
                                       "unk_token",
                                       "continuing_subword_prefix",
                                       "fuse_unk",
                                       "byte_fallback",
                                       "ignore_merges",
                                       "end_of_word_suffix",
                                       "vocab",
                                       "merges",
                                       NULL};
    tokenizer *t = r->t;
    t->model_name = "BPE";
    PGR_TRY(json_only_keys(r->model, keys, at(r, "model"), r->err));
    PGR_TRY(refuse_settings(r));
    PGR_TRY(tok_field_string(t, r->model, "model", "unk_token", "", &r->unknown, r->err));
    PGR_TRY(tok_field_bool(t, r->model, "model", "fuse_unk", false, &t->bpe.fuse_unknown, r->err));
    PGR_TRY(tok_field_bool(t, r->model, "model", "byte_fallback", false, &r->byte_fallback, r->err));
    PGR_TRY(tok_field_bool(t, r->model, "model", "ignore_merges", false, &t->ignore_merges, r->err));
    if (!r->merges.s) return fail(r->err, PGR_E_FORMAT, "%s: model.merges: expected an array of merges", t->origin);
    return count_merges(r);
}

static pgr_status read_wordpiece(reader *r) {
    static const char *const keys[] = {"type",  "unk_token", "continuing_subword_prefix", "max_input_chars_per_word",
                                       "vocab", NULL};
    tokenizer *t = r->t;
    const json_t *most = json_object_get(r->model, "max_input_chars_per_word");
    const char *prefix;
    int64_t max = 100;
    t->model_name = "WordPiece";
    PGR_TRY(json_only_keys(r->model, keys, at(r, "model"), r->err));
    PGR_TRY(tok_field_string(t, r->model, "model", "unk_token", "[UNK]", &r->unknown, r->err));
    if (!*r->unknown) return fail(r->err, PGR_E_FORMAT, "%s: model.unk_token is empty", t->origin);
    PGR_TRY(tok_field_string(t, r->model, "model", "continuing_subword_prefix", "##", &prefix, r->err));
    if (most) PGR_TRY(json_want_integer(most, at(r, "model.max_input_chars_per_word"), 0, MAX_WORD, &max, r->err));
    t->wordpiece = (wordpiece){.n_prefix = strlen(prefix), .max_chars = (size_t)max, .unknown = -1};
    t->wordpiece.prefix = arena_strdup(&t->arena, prefix);
    return t->wordpiece.prefix ? PGR_OK : fail_mem(r->err);
}

/* Files from before there was a type: merges are BPE's, a longest word is WordPiece's. */
static pgr_status read_model(reader *r) {
    const char *type;
    r->model = json_object_get(r->root, "model");
    PGR_TRY(json_want_object(r->model, at(r, "model"), r->err));
    const char *old = json_object_get(r->model, "max_input_chars_per_word") ? "WordPiece" : "BPE";
    PGR_TRY(tok_field_string(r->t, r->model, "model", "type", old, &type, r->err));
    bool pieces = strcmp(type, "WordPiece") == 0;
    if (!pieces && strcmp(type, "BPE") != 0)
        return fail(r->err, PGR_E_UNSUPPORTED, "%s: model \"%.40s\" is not supported, only BPE and WordPiece are",
                    r->t->origin, type);
    r->vocab = json_object_get(r->model, "vocab");
    PGR_TRY(pieces ? read_wordpiece(r) : read_bpe(r));
    return json_want_object(r->vocab, at(r, "model.vocab"), r->err);
}

/* ---- the file ---- */

static pgr_status read_components(reader *r) {
    tokenizer *t = r->t;
    PGR_TRY(tok_read_normaliser(t, json_object_get(r->root, "normalizer"), r->err));
    PGR_TRY(tok_read_cutting(t, json_object_get(r->root, "pre_tokenizer"), &r->cutting, r->err));
    PGR_TRY(tok_read_decoder(t, json_object_get(r->root, "decoder"), &r->decoder, r->err));
    if (r->cutting.bytes != r->decoder.bytes)
        return fail(r->err, PGR_E_UNSUPPORTED, "%s: only one of pre_tokenizer and decoder is ByteLevel", t->origin);
    bool pieces = t->wordpiece.prefix != NULL;
    if (pieces != r->decoder.join.spaces || (pieces && r->cutting.bytes))
        return fail(r->err, PGR_E_UNSUPPORTED, "%s: a model %s with this pre_tokenizer and decoder is not supported",
                    t->origin, t->model_name);
    t->by_char = !r->cutting.bytes;
    t->join = r->decoder.join;
    t->strip_space = r->decoder.strip && t->by_char;
    const char *names = r->cutting.names.data;
    t->pre_name = r->cutting.names.failed ? NULL : arena_strdup(&t->arena, names ? names : "none");
    return t->pre_name ? pretok_open(r->cutting.steps, r->cutting.n, &t->pre, r->err) : fail_mem(r->err);
}

static pgr_status read_file(reader *r) {
    static const char *const keys[] = {"version",       "truncation",     "padding", "added_tokens", "normalizer",
                                       "pre_tokenizer", "post_processor", "decoder", "model",        NULL};
    tokenizer *t = r->t;
    PGR_TRY(json_only_keys(r->root, keys, at(r, ""), r->err));
    r->added = json_object_get(r->root, "added_tokens");
    if (r->added) PGR_TRY(json_want_array(r->added, at(r, "added_tokens"), r->err));
    PGR_TRY(read_model(r));
    PGR_TRY(read_components(r));
    bool fuse = t->bpe.fuse_unknown;
    PGR_TRY(bpe_init(&t->bpe, t->n_merge, &t->arena, r->err));
    t->bpe.fuse_unknown = fuse;
    PGR_TRY(read_tokens(r));
    if (r->merges.s) PGR_TRY(read_merges(r));
    PGR_TRY(tok_read_around(t, json_object_get(r->root, "post_processor"), r->err));
    vocab_mark_ends(t);
    if (t->n_before) t->bos = t->before[0];
    if (t->n_after) t->eos = t->after[t->n_after - 1];
    for (size_t i = 0; i < t->n_token && t->eos < 0; i++)
        if (t->ends[i]) t->eos = (int32_t)i;
    return PGR_OK;
}

/* The file as a tree, without its merges. */
static pgr_status parse(const char *text, size_t n, const char *origin, json_t **root, text_span *merges,
                        pgr_error *err) {
    buf rest = {0};
    pgr_status status = PGR_OK;
    *root = NULL;
    *merges = (text_span){NULL, 0};
    if (merges_find(text, n, merges)) {
        status = merges_cut_out(text, n, *merges, &rest, err);
        text = rest.data;
        n = rest.n;
    }
    if (status == PGR_OK) status = json_parse(text, n, origin, 1, root, err);
    buf_free(&rest);
    return status;
}

pgr_status tok_open_json(const char *text, size_t n, const char *origin, tokenizer **out, pgr_error *err) {
    json_t *root;
    text_span merges;
    PGR_TRY(parse(text, n, origin, &root, &merges, err));
    tokenizer *t = mem_zero(1, sizeof *t);
    reader r = {.t = t, .root = root, .merges = merges, .err = err};
    pgr_status status = PGR_OK;
    if (t) {
        t->bos = t->eos = -1;
        t->origin = origin;
        status = read_file(&r);
        t->origin = NULL;
    } else {
        status = fail_mem(err);
    }
    mem_free(r.tokens);
    buf_free(&r.cutting.names);
    json_decref(root);
    if (status == PGR_OK)
        *out = t;
    else
        tok_close(t);
    return status;
}
