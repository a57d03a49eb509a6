/* tok_gguf.c - opens a tokenizer from GGUF metadata: byte-level BPE with its list of merges ("gpt2"), and SentencePiece
 * ("llama"), where every two tokens that make up a third may merge and the best score goes first. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/text.h"
#include "text/vocab.h"

enum { MAX_TOKEN = 1 << 24, MAX_PIECE = 256 /* bytes of a SentencePiece token: each is cut at every place */ };

#define SP_SPACE "\xe2\x96\x81" /* U+2581, which SentencePiece writes for a space */

/* ---- tokens ---- */

static pgr_status read_type(const tokenizer *t, size_t i, int32_t type, vocab_token *out, pgr_error *err) {
    if (type == TOK_BYTE && !t->by_char)
        return fail(err, PGR_E_UNSUPPORTED, "%s: token %zu is of type byte, which byte-level BPE does not have",
                    t->origin, i);
    if (type < TOK_NORMAL || type > TOK_BYTE)
        return fail(err, PGR_E_FORMAT, "%s: token %zu has type %" PRId32 ", want 1 to 6", t->origin, i, type);
    out->type = (tok_type)type;
    out->merged = type == TOK_NORMAL;
    out->added = type == TOK_CONTROL || type == TOK_USER;
    out->flags = type == TOK_CONTROL ? ADDED_SPECIAL : 0;
    return PGR_OK;
}

static pgr_status fill_tokens(tokenizer *t, const gguf *g, const gguf_value *tokens, vocab_token *v, pgr_error *err) {
    const gguf_value *types = NULL;
    if (gguf_find(g, "tokenizer.ggml.token_type"))
        PGR_TRY(gguf_get_array(g, "tokenizer.ggml.token_type", GGUF_I32, &types, err));
    if (types && types->n != tokens->n)
        return fail(err, PGR_E_FORMAT, "%s: tokenizer.ggml.token_type has %zu items, want %zu", g->path, types->n,
                    tokens->n);
    for (size_t i = 0; i < tokens->n; i++) {
        v[i].s = tokens->strings[i].s;
        v[i].n = tokens->strings[i].n;
        PGR_TRY(read_type(t, i, types ? gguf_array_i32(types, i) : TOK_NORMAL, &v[i], err));
        if (v[i].type == TOK_UNKNOWN && t->bpe.unknown < 0) t->bpe.unknown = (int32_t)i;
    }
    return vocab_build(t, v, tokens->n, SP_SPACE, err);
}

static pgr_status read_tokens(tokenizer *t, const gguf *g, const gguf_value *tokens, pgr_error *err) {
    vocab_token *v = mem_zero(tokens->n, sizeof *v);
    pgr_status status = v ? fill_tokens(t, g, tokens, v, err) : fail_mem(err);
    mem_free(v);
    return status;
}

/* ---- merges of byte-level BPE ---- */

static pgr_status read_merges(tokenizer *t, const gguf_value *merges, pgr_error *err) {
    buf scratch = {0};
    pgr_status status = PGR_OK;
    for (size_t i = 0; i < merges->n && status == PGR_OK; i++) { /* "left right" in the alphabet, which has no space */
        const char *s = merges->strings[i].s, *space = memchr(s, ' ', merges->strings[i].n);
        text_span left = {s, space ? (size_t)(space - s) : 0}, right = {space ? space + 1 : s, 0};
        right.n = space ? merges->strings[i].n - left.n - 1 : 0;
        status = vocab_merge(t, "tokenizer.ggml.merges", left, right, (uint32_t)i, &scratch, err);
    }
    buf_free(&scratch);
    return status;
}

static pgr_status open_bytes(tokenizer *t, const gguf *g, const pretok_row *row, pgr_error *err) {
    const gguf_value *tokens, *merges;
    PGR_TRY(gguf_get_array(g, "tokenizer.ggml.tokens", GGUF_STRING, &tokens, err));
    PGR_TRY(gguf_get_array(g, "tokenizer.ggml.merges", GGUF_STRING, &merges, err));
    if (tokens->n == 0 || tokens->n > MAX_TOKEN || merges->n > MAX_TOKEN)
        return fail(err, PGR_E_LIMIT, "%s: %zu tokens and %zu merges, want 1 to %d tokens and at most as many merges",
                    g->path, tokens->n, merges->n, MAX_TOKEN);
    t->n_merge = merges->n;
    t->ignore_merges = row->ignore_merges;
    if (row->nfc) t->norm.steps[t->norm.n++] = (normal_step){.kind = NORMAL_NFC, .from = "", .to = ""};
    PGR_TRY(bpe_init(&t->bpe, t->n_merge, &t->arena, err));
    PGR_TRY(read_tokens(t, g, tokens, err));
    PGR_TRY(read_merges(t, merges, err));
    return pretok_open(&(pretok_step){.pattern = row->pattern}, 1, &t->pre, err);
}

/* ---- SentencePiece: pairs by score ---- */

typedef struct scored {
    float score;
    int32_t id;
} scored;

static int best_first(const void *a, const void *b) {
    const scored *x = a, *y = b;
    if (x->score != y->score) return x->score > y->score ? -1 : 1;
    return x->id < y->id ? -1 : x->id > y->id;
}

/* Appends left, right, result of every way to cut token id into two tokens. */
static void cut_token(const tokenizer *t, int32_t id, ids *pairs) {
    text_span s = {t->text.s + t->text.start[id], t->text.start[id + 1] - t->text.start[id]};
    for (size_t at = utf8_next(s.s, s.n, NULL); at > 0 && at < s.n;) {
        int32_t left = vocab_find(t, s.s, at), right = left < 0 ? -1 : vocab_find(t, s.s + at, s.n - at);
        if (right >= 0) ids_append(pairs, (int32_t[]){left, right, id}, 3);
        size_t len = utf8_next(s.s + at, s.n - at, NULL);
        at = len ? at + len : s.n;
    }
}

/* Tokens of equal score have equal rank: of those the leftmost pair goes first. */
static pgr_status add_pairs(tokenizer *t, const ids *pairs, const float *scores, pgr_error *err) {
    t->n_merge = pairs->n / 3;
    bpe fresh = t->bpe; /* keeps the tokens of bytes and characters, gets room for the rules */
    PGR_TRY(bpe_init(&fresh, t->n_merge, &t->arena, err));
    t->bpe.rules = fresh.rules;
    t->bpe.mask = fresh.mask;
    uint32_t rank = 0;
    for (size_t i = 0; i < pairs->n; i += 3) {
        const int32_t *p = pairs->v + i;
        if (i > 0 && scores[p[2]] != scores[p[-1]]) rank++;
        bpe_add(&t->bpe, p[0], p[1], p[2], rank); /* no pair comes twice: its text is that of one token */
    }
    return PGR_OK;
}

static pgr_status pair_tokens(tokenizer *t, const float *scores, scored *order, ids *pairs, pgr_error *err) {
    size_t n = 0;
    for (size_t i = 0; i < t->n_token; i++) {
        size_t len = t->text.start[i + 1] - t->text.start[i];
        if (t->type[i] != TOK_NORMAL || len < 2) continue;
        if (isnan(scores[i]))
            return fail(err, PGR_E_FORMAT, "%s: tokenizer.ggml.scores[%zu] is no number", t->origin, i);
        if (len > MAX_PIECE)
            return fail(err, PGR_E_LIMIT, "%s: token %zu is %zu bytes long, at most %d are taken", t->origin, i, len,
                        MAX_PIECE);
        order[n++] = (scored){scores[i], (int32_t)i};
    }
    if (n) qsort(order, n, sizeof *order, best_first);
    for (size_t i = 0; i < n; i++) cut_token(t, order[i].id, pairs);
    return pairs->failed ? fail_mem(err) : add_pairs(t, pairs, scores, err);
}

static pgr_status read_scores(tokenizer *t, const gguf *g, pgr_error *err) {
    const gguf_value *array;
    PGR_TRY(gguf_get_array(g, "tokenizer.ggml.scores", GGUF_F32, &array, err));
    if (array->n != t->n_token)
        return fail(err, PGR_E_FORMAT, "%s: tokenizer.ggml.scores has %zu items, want %zu", g->path, array->n,
                    t->n_token);
    float *scores = mem_array(t->n_token, sizeof *scores);
    scored *order = mem_array(t->n_token, sizeof *order);
    ids pairs = {0};
    pgr_status status = scores && order ? PGR_OK : fail_mem(err);
    for (size_t i = 0; i < t->n_token && status == PGR_OK; i++) scores[i] = gguf_array_f32(array, i);
    if (status == PGR_OK) status = pair_tokens(t, scores, order, &pairs, err);
    mem_free(scores);
    mem_free(order);
    ids_free(&pairs);
    return status;
}

static pgr_status open_sentencepiece(tokenizer *t, const gguf *g, pgr_error *err) {
    const gguf_value *tokens;
    bool prefix;
    PGR_TRY(gguf_get_array(g, "tokenizer.ggml.tokens", GGUF_STRING, &tokens, err));
    if (tokens->n == 0 || tokens->n > MAX_TOKEN)
        return fail(err, PGR_E_LIMIT, "%s: %zu tokens, want 1 to %d", g->path, tokens->n, MAX_TOKEN);
    PGR_TRY(gguf_get_bool_or(g, "tokenizer.ggml.add_space_prefix", true, &prefix, err));
    t->by_char = t->bpe.fuse_unknown = true;
    t->strip_space = prefix;
    if (prefix) t->norm.steps[t->norm.n++] = (normal_step){.kind = NORMAL_PREPEND, .to = SP_SPACE, .n_to = 3};
    t->norm.steps[t->norm.n++] =
        (normal_step){.kind = NORMAL_REPLACE, .from = " ", .n_from = 1, .to = SP_SPACE, .n_to = 3};
    PGR_TRY(bpe_init(&t->bpe, 0, &t->arena, err));
    PGR_TRY(read_tokens(t, g, tokens, err));
    PGR_TRY(read_scores(t, g, err));
    return pretok_open(NULL, 0, &t->pre, err);
}

/* ---- begin and end ---- */

static pgr_status read_id(const tokenizer *t, const gguf *g, const char *key, int32_t *out, pgr_error *err) {
    uint32_t v;
    *out = -1;
    if (!gguf_find(g, key)) return PGR_OK;
    PGR_TRY(gguf_get_u32(g, key, &v, err));
    if (v >= t->n_token)
        return fail(err, PGR_E_FORMAT, "%s: %s is %" PRIu32 ", there are %zu tokens", g->path, key, v, t->n_token);
    *out = (int32_t)v;
    return PGR_OK;
}

static pgr_status read_ends(tokenizer *t, const gguf *g, bool adds_bos, pgr_error *err) {
    static const char *const end_keys[] = {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id",
                                           "tokenizer.ggml.eom_token_id"};
    bool bos, eos;
    for (size_t i = 0; i < sizeof end_keys / sizeof *end_keys; i++) {
        int32_t id;
        PGR_TRY(read_id(t, g, end_keys[i], &id, err));
        if (id >= 0) t->ends[id] = true;
        if (i == 0) t->eos = id;
    }
    vocab_mark_ends(t);
    PGR_TRY(read_id(t, g, "tokenizer.ggml.bos_token_id", &t->bos, err));
    PGR_TRY(gguf_get_bool_or(g, "tokenizer.ggml.add_bos_token", adds_bos && t->bos >= 0, &bos, err));
    PGR_TRY(gguf_get_bool_or(g, "tokenizer.ggml.add_eos_token", false, &eos, err));
    if ((bos && t->bos < 0) || (eos && t->eos < 0))
        return fail(err, PGR_E_FORMAT, "%s: tokenizer.ggml.add_%s_token is true, but the file names no such token",
                    g->path, bos && t->bos < 0 ? "bos" : "eos");
    if (bos) t->before[t->n_before++] = t->bos;
    if (eos) t->after[t->n_after++] = t->eos;
    return PGR_OK;
}

/* ---- open ---- */

static pgr_status open_tokenizer(tokenizer *t, const gguf *g, pgr_error *err) {
    gguf_string model, pre;
    t->origin = g->path;
    PGR_TRY(gguf_get_string(g, "tokenizer.ggml.model", &model, err));
    if (gguf_string_is(model, "llama")) {
        t->model_name = "llama";
        t->pre_name = "none";
        PGR_TRY(open_sentencepiece(t, g, err));
        return read_ends(t, g, true, err);
    }
    if (!gguf_string_is(model, "gpt2"))
        return fail(err, PGR_E_UNSUPPORTED, "%s: tokenizer.ggml.model is \"%.*s\"; supported: gpt2, llama", g->path,
                    (int)(model.n < 40 ? model.n : 40), model.s);
    PGR_TRY(gguf_get_string(g, "tokenizer.ggml.pre", &pre, err));
    const pretok_row *row = pretok_find(pre);
    if (!row)
        return fail(err, PGR_E_UNSUPPORTED, "%s: tokenizer.ggml.pre is \"%.*s\"; supported: %s", g->path,
                    (int)(pre.n < 40 ? pre.n : 40), pre.s, pretok_list());
    t->model_name = "gpt2";
    t->pre_name = row->name;
    PGR_TRY(open_bytes(t, g, row, err));
    return read_ends(t, g, row->adds_bos, err);
}

pgr_status tok_open(const gguf *g, tokenizer **out, pgr_error *err) {
    tokenizer *t = mem_zero(1, sizeof *t);
    if (!t) return fail_mem(err);
    t->bos = t->eos = -1;
    pgr_status status = open_tokenizer(t, g, err);
    t->origin = NULL;
    if (status == PGR_OK)
        *out = t;
    else
        tok_close(t);
    return status;
}
