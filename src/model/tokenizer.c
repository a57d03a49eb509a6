/* tokenizer.c - owns the vocabulary: what tokens stand for, which texts are added tokens, ids of begin and end. Merging
 * is bpe.c's, the cutting into pieces pretok.c's.
 *
 * The file spells tokens in the GPT-2 alphabet, where each byte is a printable character; here they are bytes again.
 * Only tokens of type normal can come out of text: an added token (control or user-defined) appears where its exact
 * text is split out of the input, and nowhere else. A byte for which the vocabulary has no token gives none (the
 * default model lacks 21, most of which cannot occur in UTF-8), as in the reference implementation. */
#include "model/tokenizer.h"

#include <inttypes.h>
#include <string.h>

#include "base/mem.h"
#include "base/text.h"
#include "model/bpe.h"
#include "model/pretok.h"

enum { MAX_TOKEN = 1 << 24, NO_BYTE = -1, ALPHABET = 324 /* code points 0 .. 323 are the GPT-2 alphabet's range */ };

typedef struct span {
    const char *s;
    size_t n;
} span;

struct tokenizer {
    arena arena;
    size_t n_token, n_merge;
    const char *bytes; /* of all tokens, one after the other */
    uint32_t *start;   /* (n_token + 1) */
    uint8_t *type;     /* (n_token) a tok_type */
    bool *ends;        /* (n_token) */
    int32_t *index;    /* (index_mask + 1) hash of the normal tokens' bytes: id, -1 empty */
    size_t index_mask;
    int32_t *added; /* control and user-defined tokens by first byte, longest first */
    uint32_t added_start[257];
    bool has_user; /* some are user-defined */
    bpe bpe;
    const pretok_row *row;
    pretok *pre;
    int32_t bos, eos;
    bool adds_bos, adds_eos;
};

static span bytes_of(const tokenizer *t, int32_t id) {
    return (span){t->bytes + t->start[id], t->start[id + 1] - t->start[id]};
}

/* ---- the alphabet ---- */

/* byte_of[c]: the byte that code point c spells; printable bytes spell themselves, the rest stand from 256 on in order
 */
static void make_alphabet(int16_t byte_of[ALPHABET]) {
    for (size_t i = 0; i < ALPHABET; i++) byte_of[i] = NO_BYTE;
    int next = 256;
    for (int b = 0; b < 256; b++) {
        bool printable = (b >= '!' && b <= '~') || (b >= 0xa1 && b <= 0xac) || b >= 0xae;
        byte_of[printable ? b : next++] = (int16_t)b;
    }
}

/* The bytes that s spells; false if it has a character outside the alphabet. out: room for s.n */
static bool unspell(const int16_t *byte_of, gguf_string s, char *out, size_t *n_out) {
    size_t n = 0;
    for (size_t i = 0; i < s.n;) {
        uint32_t c = (uint8_t)s.s[i];
        size_t len = c < 0x80 ? 1 : utf8_next(s.s + i, s.n - i, &c);
        if (len == 0 || c >= ALPHABET || byte_of[c] == NO_BYTE) return false;
        out[n++] = (char)byte_of[c];
        i += len;
    }
    *n_out = n;
    return true;
}

/* ---- the index of normal tokens ---- */

static size_t hash_bytes(const char *s, size_t n) {
    uint64_t h = 0xcbf29ce484222325u; /* FNV-1a */
    for (size_t i = 0; i < n; i++) h = (h ^ (uint8_t)s[i]) * 0x100000001b3u;
    return (size_t)(h ^ h >> 32);
}

/* The slot of s, or the empty one where it belongs. */
static size_t find_slot(const tokenizer *t, const char *s, size_t n) {
    size_t at = hash_bytes(s, n) & t->index_mask;
    for (; t->index[at] >= 0; at = (at + 1) & t->index_mask) {
        span o = bytes_of(t, t->index[at]);
        if (o.n == n && memcmp(o.s, s, n) == 0) break;
    }
    return at;
}

static int32_t find_normal(const tokenizer *t, const char *s, size_t n) {
    return t->index[find_slot(t, s, n)];
}

/* ---- open: tokens ---- */

static pgr_status read_types(tokenizer *t, const gguf *g, pgr_error *err) {
    const gguf_value *types = NULL;
    if (gguf_find(g, "tokenizer.ggml.token_type"))
        PGR_TRY(gguf_get_array(g, "tokenizer.ggml.token_type", GGUF_I32, &types, err));
    if (types && types->n != t->n_token)
        return fail(err, PGR_E_FORMAT, "%s: tokenizer.ggml.token_type has %zu items, want %zu", g->path, types->n,
                    t->n_token);
    for (size_t i = 0; i < t->n_token; i++) {
        int32_t type = types ? gguf_array_i32(types, i) : TOK_NORMAL;
        if (type == TOK_BYTE)
            return fail(err, PGR_E_UNSUPPORTED, "%s: token %zu is of type byte, which byte-level BPE does not have",
                        g->path, i);
        if (type < TOK_NORMAL || type > TOK_BYTE)
            return fail(err, PGR_E_FORMAT, "%s: token %zu has type %" PRId32 ", want 1 to 6", g->path, i, type);
        t->type[i] = (uint8_t)type;
    }
    return PGR_OK;
}

/* Enters token i into the index, and as a byte's token where it is one byte. */
static pgr_status enter_token(tokenizer *t, const gguf *g, size_t i, pgr_error *err) {
    span s = bytes_of(t, (int32_t)i);
    size_t slot = find_slot(t, s.s, s.n);
    if (t->index[slot] >= 0)
        return fail(err, PGR_E_FORMAT, "%s: token %zu has the same text as token %" PRId32, g->path, i, t->index[slot]);
    t->index[slot] = (int32_t)i;
    if (s.n == 1) t->bpe.byte_id[(uint8_t)s.s[0]] = (int32_t)i;
    return PGR_OK;
}

static pgr_status read_tokens(tokenizer *t, const gguf *g, const gguf_value *tokens, const int16_t *byte_of,
                              pgr_error *err) {
    size_t total = 0, used = 0, size = 16;
    for (size_t i = 0; i < t->n_token; i++) total += tokens->strings[i].n;
    if (total > UINT32_MAX) return fail(err, PGR_E_LIMIT, "%s: tokens of %zu bytes altogether", g->path, total);
    while (size < 2 * t->n_token) size *= 2;
    char *bytes = arena_alloc(&t->arena, total + 1);
    t->start = arena_array(&t->arena, t->n_token + 1, sizeof *t->start);
    t->index = arena_array(&t->arena, size, sizeof *t->index);
    if (!bytes || !t->start || !t->index) return fail_mem(err);
    t->bytes = bytes;
    t->index_mask = size - 1;
    for (size_t i = 0; i < size; i++) t->index[i] = -1;
    for (size_t i = 0; i < t->n_token; i++) {
        gguf_string text = tokens->strings[i];
        size_t n = 0;
        bool spelled = t->type[i] == TOK_NORMAL && text.n > 0 && unspell(byte_of, text, bytes + used, &n);
        if (!spelled) memcpy(bytes + used, text.s, n = text.n); /* its text is what it stands for */
        used += n;
        t->start[i + 1] = (uint32_t)used;
        if (spelled) PGR_TRY(enter_token(t, g, i, err));
    }
    return PGR_OK;
}

static bool is_added(const tokenizer *t, size_t i) {
    return (t->type[i] == TOK_CONTROL || t->type[i] == TOK_USER) && t->start[i + 1] > t->start[i];
}

/* Sorts the added tokens of one first byte, longest first. Heapsort: a hostile file may have millions. */
static void sort_longest_first(const tokenizer *t, int32_t *v, size_t n) {
    for (size_t end = n, root = n / 2; end > 1;) {
        if (root > 0) {
            root--;
        } else {
            int32_t last = v[--end];
            v[end] = v[0];
            v[0] = last;
        }
        int32_t x = v[root];
        size_t i = root;
        for (size_t child; (child = 2 * i + 1) < end; i = child) {
            if (child + 1 < end && bytes_of(t, v[child + 1]).n < bytes_of(t, v[child]).n) child++;
            if (bytes_of(t, v[child]).n >= bytes_of(t, x).n) break;
            v[i] = v[child];
        }
        v[i] = x;
    }
}

static pgr_status index_added(tokenizer *t, pgr_error *err) {
    uint32_t fill[256];
    for (size_t i = 0; i < t->n_token; i++)
        if (is_added(t, i)) t->added_start[(uint8_t)t->bytes[t->start[i]] + 1]++;
    for (size_t b = 0; b < 256; b++) t->added_start[b + 1] += t->added_start[b];
    t->added = arena_array(&t->arena, t->added_start[256] + 1, sizeof *t->added);
    if (!t->added) return fail_mem(err);
    memcpy(fill, t->added_start, sizeof fill);
    for (size_t i = 0; i < t->n_token; i++) {
        if (!is_added(t, i)) continue;
        t->added[fill[(uint8_t)t->bytes[t->start[i]]]++] = (int32_t)i;
        t->has_user |= t->type[i] == TOK_USER;
    }
    for (size_t b = 0; b < 256; b++)
        sort_longest_first(t, t->added + t->added_start[b], t->added_start[b + 1] - t->added_start[b]);
    return PGR_OK;
}

/* ---- open: merges ---- */

/* "left right" in the alphabet, which has no space */
static pgr_status read_merge(tokenizer *t, const gguf *g, gguf_string text, uint32_t rank, const int16_t *byte_of,
                             buf *scratch, pgr_error *err) {
    const char *space = memchr(text.s, ' ', text.n);
    buf_clear(scratch);
    buf_add(scratch, text.s, text.n); /* room for the bytes, which are never more than the spelling */
    if (scratch->failed) return fail_mem(err);
    if (space) {
        gguf_string left = {text.s, (size_t)(space - text.s)}, right = {space + 1, text.n - left.n - 1};
        size_t n_left, n_right;
        char *bytes = scratch->data;
        if (left.n && right.n && unspell(byte_of, left, bytes, &n_left)
            && unspell(byte_of, right, bytes + n_left, &n_right)) {
            int32_t l = find_normal(t, bytes, n_left), r = find_normal(t, bytes + n_left, n_right);
            int32_t both = find_normal(t, bytes, n_left + n_right);
            if (l >= 0 && r >= 0 && both >= 0) {
                if (bpe_add(&t->bpe, l, r, both, rank)) return PGR_OK;
                return fail(err, PGR_E_FORMAT, "%s: tokenizer.ggml.merges[%" PRIu32 "] repeats an earlier one", g->path,
                            rank);
            }
        }
    }
    return fail(err, PGR_E_FORMAT, "%s: tokenizer.ggml.merges[%" PRIu32 "] is not two tokens that make up a third",
                g->path, rank);
}

static pgr_status read_merges(tokenizer *t, const gguf *g, const gguf_value *merges, const int16_t *byte_of,
                              pgr_error *err) {
    buf scratch = {0};
    pgr_status status = PGR_OK;
    for (size_t i = 0; i < merges->n && status == PGR_OK; i++)
        status = read_merge(t, g, merges->strings[i], (uint32_t)i, byte_of, &scratch, err);
    buf_free(&scratch);
    return status;
}

/* ---- open: begin and end ---- */

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

static pgr_status read_ends(tokenizer *t, const gguf *g, pgr_error *err) {
    static const char *const end_keys[] = {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id",
                                           "tokenizer.ggml.eom_token_id"};
    static const char *const end_names[] = {"<|endoftext|>", "<|im_end|>", "<|end_of_text|>", "<|eot_id|>",
                                            "<|eom_id|>"};
    for (size_t i = 0; i < sizeof end_keys / sizeof *end_keys; i++) {
        int32_t id;
        PGR_TRY(read_id(t, g, end_keys[i], &id, err));
        if (id >= 0) t->ends[id] = true;
        if (i == 0) t->eos = id;
    }
    for (size_t i = 0; i < sizeof end_names / sizeof *end_names; i++) {
        int32_t id = tok_find(t, end_names[i]);
        if (id >= 0 && t->type[id] == TOK_CONTROL) t->ends[id] = true;
    }
    PGR_TRY(read_id(t, g, "tokenizer.ggml.bos_token_id", &t->bos, err));
    PGR_TRY(gguf_get_bool_or(g, "tokenizer.ggml.add_bos_token", t->row->adds_bos && t->bos >= 0, &t->adds_bos, err));
    PGR_TRY(gguf_get_bool_or(g, "tokenizer.ggml.add_eos_token", false, &t->adds_eos, err));
    if ((t->adds_bos && t->bos < 0) || (t->adds_eos && t->eos < 0))
        return fail(err, PGR_E_FORMAT, "%s: tokenizer.ggml.add_%s_token is true, but the file names no such token",
                    g->path, t->adds_bos && t->bos < 0 ? "bos" : "eos");
    return PGR_OK;
}

/* ---- open and close ---- */

static pgr_status check_kind(tokenizer *t, const gguf *g, pgr_error *err) {
    gguf_string model, pre;
    PGR_TRY(gguf_get_string(g, "tokenizer.ggml.model", &model, err));
    if (!gguf_string_is(model, "gpt2"))
        return fail(err, PGR_E_UNSUPPORTED, "%s: tokenizer.ggml.model is \"%.*s\"; only \"gpt2\" is supported", g->path,
                    (int)(model.n < 40 ? model.n : 40), model.s);
    PGR_TRY(gguf_get_string(g, "tokenizer.ggml.pre", &pre, err));
    t->row = pretok_find(pre);
    if (!t->row)
        return fail(err, PGR_E_UNSUPPORTED, "%s: tokenizer.ggml.pre is \"%.*s\"; supported: %s", g->path,
                    (int)(pre.n < 40 ? pre.n : 40), pre.s, pretok_list());
    return PGR_OK;
}

static pgr_status open_tokenizer(tokenizer *t, const gguf *g, pgr_error *err) {
    const gguf_value *tokens, *merges;
    int16_t byte_of[ALPHABET];
    make_alphabet(byte_of);
    PGR_TRY(check_kind(t, g, err));
    PGR_TRY(gguf_get_array(g, "tokenizer.ggml.tokens", GGUF_STRING, &tokens, err));
    PGR_TRY(gguf_get_array(g, "tokenizer.ggml.merges", GGUF_STRING, &merges, err));
    if (tokens->n == 0 || tokens->n > MAX_TOKEN || merges->n > MAX_TOKEN)
        return fail(err, PGR_E_LIMIT, "%s: %zu tokens and %zu merges, want 1 to %d tokens and at most as many merges",
                    g->path, tokens->n, merges->n, MAX_TOKEN);
    t->n_token = tokens->n;
    t->n_merge = merges->n;
    t->type = arena_alloc(&t->arena, t->n_token);
    t->ends = arena_array(&t->arena, t->n_token, sizeof *t->ends);
    if (!t->type || !t->ends) return fail_mem(err);
    PGR_TRY(bpe_init(&t->bpe, t->n_merge, &t->arena, err));
    PGR_TRY(read_types(t, g, err));
    PGR_TRY(read_tokens(t, g, tokens, byte_of, err));
    PGR_TRY(read_merges(t, g, merges, byte_of, err));
    PGR_TRY(index_added(t, err));
    PGR_TRY(read_ends(t, g, err));
    return pretok_open(t->row, &t->pre, err);
}

pgr_status tok_open(const gguf *g, tokenizer **out, pgr_error *err) {
    tokenizer *t = mem_zero(1, sizeof *t);
    if (!t) return fail_mem(err);
    pgr_status status = open_tokenizer(t, g, err);
    if (status == PGR_OK)
        *out = t;
    else
        tok_close(t);
    return status;
}

void tok_close(tokenizer *t) {
    if (!t) return;
    pretok_close(t->pre);
    arena_free(&t->arena);
    mem_free(t);
}

/* ---- encode ---- */

/* The longest added token that stands at s, -1 if none does. */
static int32_t added_at(const tokenizer *t, const char *s, size_t n, bool control) {
    uint8_t first = (uint8_t)*s;
    for (uint32_t i = t->added_start[first]; i < t->added_start[first + 1]; i++) {
        int32_t id = t->added[i];
        span a = bytes_of(t, id);
        if (a.n <= n && memcmp(a.s, s, a.n) == 0 && (control || t->type[id] == TOK_USER)) return id;
    }
    return -1;
}

/* Where the next added token begins (n: nowhere), and which it is. */
static size_t next_added(const tokenizer *t, const char *s, size_t n, bool control, int32_t *id) {
    *id = -1;
    if (!control && !t->has_user) return n;
    for (size_t at = 0; at < n; at++)
        if ((*id = added_at(t, s + at, n - at, control)) >= 0) return at;
    return n;
}

static pgr_status encode_text(const tokenizer *t, pretok_scan *scan, bpe_work *work, const char *text, size_t n,
                              ids *out, pgr_error *err) {
    const char *piece;
    size_t len;
    pretok_text(scan, text, n);
    for (;;) {
        PGR_TRY(pretok_next(scan, &piece, &len, err));
        if (len == 0) return PGR_OK;
        int32_t whole = t->row->ignore_merges ? find_normal(t, piece, len) : -1;
        if (whole >= 0)
            ids_push(out, whole);
        else
            PGR_TRY(bpe_encode(&t->bpe, work, piece, len, out, err));
    }
}

static pgr_status encode_parts(const tokenizer *t, pretok_scan *scan, bpe_work *work, const char *text, size_t n,
                               bool control, ids *out, pgr_error *err) {
    while (n > 0) {
        int32_t id;
        size_t at = next_added(t, text, n, control, &id);
        if (at > 0) PGR_TRY(encode_text(t, scan, work, text, at, out, err));
        if (id >= 0) {
            ids_push(out, id);
            at += bytes_of(t, id).n;
        }
        text += at;
        n -= at;
    }
    return PGR_OK;
}

pgr_status tok_encode(const tokenizer *t, const char *text, size_t n, int flags, ids *out, pgr_error *err) {
    bpe_work work = {0};
    pretok_scan scan;
    PGR_TRY(pretok_begin(t->pre, &scan, err));
    if ((flags & TOK_BOS) && t->adds_bos) ids_push(out, t->bos);
    pgr_status status = encode_parts(t, &scan, &work, text, n, (flags & TOK_PARSE_SPECIAL) != 0, out, err);
    if ((flags & TOK_BOS) && t->adds_eos) ids_push(out, t->eos);
    bpe_work_free(&work);
    pretok_end(&scan);
    return status == PGR_OK && out->failed ? fail_mem(err) : status;
}

/* ---- decode and questions ---- */

pgr_status tok_decode(const tokenizer *t, const int32_t *v, size_t n, buf *out, pgr_error *err) {
    for (size_t i = 0; i < n; i++) {
        if (v[i] < 0 || (size_t)v[i] >= t->n_token)
            return fail(err, PGR_E_ARG, "token id %" PRId32 " is out of range, want 0 to %zu", v[i], t->n_token - 1);
        span s = bytes_of(t, v[i]);
        buf_add(out, s.s, s.n);
    }
    return out->failed ? fail_mem(err) : PGR_OK;
}

static void check_id(const tokenizer *t, int32_t id) {
    PGR_ASSERT(id >= 0 && (size_t)id < t->n_token);
}

const char *tok_bytes(const tokenizer *t, int32_t id, size_t *n) {
    check_id(t, id);
    span s = bytes_of(t, id);
    *n = s.n;
    return s.s;
}

tok_type tok_type_of(const tokenizer *t, int32_t id) {
    check_id(t, id);
    return (tok_type)t->type[id];
}

int32_t tok_find(const tokenizer *t, const char *text) {
    size_t n = strlen(text);
    if (n == 0) return -1;
    uint8_t first = (uint8_t)*text;
    for (uint32_t i = t->added_start[first]; i < t->added_start[first + 1]; i++) {
        span a = bytes_of(t, t->added[i]);
        if (a.n == n && memcmp(a.s, text, n) == 0) return t->added[i];
    }
    return -1;
}

bool tok_ends(const tokenizer *t, int32_t id) {
    check_id(t, id);
    return t->ends[id];
}

size_t tok_count(const tokenizer *t) {
    return t->n_token;
}
int32_t tok_bos(const tokenizer *t) {
    return t->bos;
}
int32_t tok_eos(const tokenizer *t) {
    return t->eos;
}
bool tok_adds_bos(const tokenizer *t) {
    return t->adds_bos;
}
bool tok_adds_eos(const tokenizer *t) {
    return t->adds_eos;
}
const char *tok_model_name(const tokenizer *t) {
    (void)t;
    return "gpt2";
}
const char *tok_pre_name(const tokenizer *t) {
    return t->row->name;
}
size_t tok_merge_count(const tokenizer *t) {
    return t->n_merge;
}
