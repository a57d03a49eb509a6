/* vocab.c - owns the vocabulary of a tokenizer: what tokens stand for, the index by text, single bytes and characters.
 *
 * Byte-level files spell tokens in the GPT-2 alphabet, where each byte is a printable character; here they are bytes
 * again. SentencePiece files write U+2581 for a space; merging keeps that spelling, what tokens stand for has spaces.
 * Only tokens that merging can give come out of text: an added token appears where its exact text is split out of the
 * input, and nowhere else. A byte for which the vocabulary has no token gives none (the default model lacks 21, most of
 * which cannot occur in UTF-8), as in the reference implementation. */
#include "text/vocab.h"

#include <inttypes.h>
#include <string.h>

#include "base/hash.h"
#include "base/mem.h"
#include "base/text.h"

enum { NO_BYTE = -1, ALPHABET = 324 /* code points 0 .. 323 are the GPT-2 alphabet's range */ };

static text_span span_of(const token_texts *t, int32_t id) {
    return (text_span){t->s + t->start[id], t->start[id + 1] - t->start[id]};
}

text_span vocab_bytes(const tokenizer *t, int32_t id) {
    return span_of(&t->bytes, id);
}

/* ---- spelling ---- */

/* The byte that code point c spells in the GPT-2 alphabet: printable bytes spell themselves, the rest stand from 256 on
 * in order (0x00-0x20, 0x7f-0xa0, 0xad). */
static int byte_of(uint32_t c) {
    if ((c >= '!' && c <= '~') || (c >= 0xa1 && c <= 0xac) || (c >= 0xae && c <= 0xff)) return (int)c;
    if (c < 256 || c >= ALPHABET) return NO_BYTE;
    c -= 256;
    return c <= 0x20 ? (int)c : c <= 0x42 ? (int)(c - 0x21 + 0x7f) : 0xad;
}

/* The bytes that s spells; false if it has a character outside the alphabet. out: room for s.n */
static bool unspell(const char *s, size_t n, char *out, size_t *n_out) {
    size_t used = 0;
    for (size_t i = 0; i < n;) {
        uint32_t c = (uint8_t)s[i];
        size_t len = c < 0x80 ? 1 : utf8_next(s + i, n - i, &c);
        int byte = len ? byte_of(c) : NO_BYTE;
        if (byte == NO_BYTE) return false;
        out[used++] = (char)byte;
        i += len;
    }
    *n_out = used;
    return true;
}

bool vocab_is_byte(const char *s, size_t n, uint8_t *byte) {
    static const char digits[] = "0123456789ABCDEF";
    if (n != 6 || memcmp(s, "<0x", 3) != 0 || s[5] != '>') return false;
    const char *high = memchr(digits, s[3], 16), *low = memchr(digits, s[4], 16);
    if (!high || !low) return false;
    *byte = (uint8_t)((high - digits) << 4 | (low - digits));
    return true;
}

/* Copies s with a space for each `space`; returns the length. */
static size_t with_spaces(const char *s, size_t n, const char *space, char *out) {
    size_t len = strlen(space), used = 0;
    for (size_t i = 0; i < n;) {
        bool hit = len > 0 && n - i >= len && memcmp(s + i, space, len) == 0;
        out[used++] = hit ? ' ' : s[i];
        i += hit ? len : 1;
    }
    return used;
}

/* ---- the index ---- */

/* The slot of s, whose hash is h, or the empty one where it belongs. */
static size_t find_hashed(const tokenizer *t, uint64_t h, const char *s, size_t n) {
    size_t at = (size_t)(h ^ h >> 32) & t->index_mask;
    for (; t->index[at] >= 0; at = (at + 1) & t->index_mask) {
        text_span o = span_of(&t->text, t->index[at]);
        if (o.n == n && memcmp(o.s, s, n) == 0) break;
    }
    return at;
}

static size_t find_slot(const tokenizer *t, const char *s, size_t n) {
    return find_hashed(t, hash_bytes(HASH_BEGIN, s, n), s, n);
}

int32_t vocab_find(const tokenizer *t, const char *s, size_t n) {
    return t->index[find_slot(t, s, n)];
}

int32_t vocab_longest(const tokenizer *t, const char *s, size_t n, size_t least, size_t *len) {
    int32_t best = -1;
    uint64_t h = HASH_BEGIN;
    if (n > t->longest) n = t->longest;
    for (size_t i = 0; i < n; i++) {
        h = hash_value(h, (uint8_t)s[i]);
        bool inside = i + 1 < n && (uint8_t)s[i + 1] >> 6 == 2; /* of a character */
        int32_t id = i < least || inside ? -1 : t->index[find_hashed(t, h, s, i + 1)];
        if (id < 0) continue;
        best = id;
        *len = i + 1;
    }
    return best;
}

/* Enters token i into the index, and as the token of a byte or character where it is one. */
static pgr_status enter_token(tokenizer *t, size_t i, pgr_error *err) {
    text_span s = span_of(&t->text, (int32_t)i);
    uint32_t code;
    size_t slot = find_slot(t, s.s, s.n);
    if (t->index[slot] >= 0)
        return fail(err, PGR_E_FORMAT, "%s: token %zu has the same text as token %" PRId32, t->origin, i,
                    t->index[slot]);
    t->index[slot] = (int32_t)i;
    if (s.n > t->longest) t->longest = s.n;
    if (t->by_char && utf8_next(s.s, s.n, &code) == s.n) bpe_add_char(&t->bpe, code, (int32_t)i);
    if (!t->by_char && s.n == 1) t->bpe.byte_id[(uint8_t)s.s[0]] = (int32_t)i;
    return PGR_OK;
}

/* ---- build ---- */

/* Writes the texts of one token, returns whether merging can give it. */
static bool put_texts(tokenizer *t, const vocab_token *v, int32_t id, const char *space, char *text, size_t *n_text,
                      char *bytes, size_t *n_bytes) {
    uint8_t byte;
    bool merged = v->merged && v->n > 0;
    if (!t->by_char) {
        bool spelled = merged && unspell(v->s, v->n, text, n_text);
        if (!spelled || v->added) { /* an added token's text is what it stands for */
            spelled = spelled && *n_text == v->n && memcmp(text, v->s, v->n) == 0;
            memcpy(text, v->s, *n_text = v->n);
        }
        return spelled;
    }
    memcpy(text, v->s, *n_text = v->n);
    *n_bytes = v->n;
    if (v->type == TOK_BYTE && vocab_is_byte(v->s, v->n, &byte)) {
        *bytes = (char)byte;
        *n_bytes = 1;
        t->bpe.byte_id[byte] = id;
    } else if (v->added) {
        memcpy(bytes, v->s, v->n);
    } else {
        *n_bytes = with_spaces(v->s, v->n, space, bytes);
    }
    return merged && v->type != TOK_BYTE;
}

static pgr_status put_tokens(tokenizer *t, const vocab_token *v, const char *space, pgr_error *err) {
    size_t total = 0, at[2] = {0, 0};
    for (size_t i = 0; i < t->n_token; i++) total += v[i].n;
    if (total > UINT32_MAX) return fail(err, PGR_E_LIMIT, "%s: tokens of %zu bytes altogether", t->origin, total);
    uint32_t *starts[2] = {NULL, NULL};
    char *texts[2] = {NULL, NULL};
    for (int k = 0; k < (t->by_char ? 2 : 1); k++) {
        texts[k] = arena_alloc(&t->arena, total + 1);
        starts[k] = arena_array(&t->arena, t->n_token + 1, sizeof *starts[k]);
        if (!texts[k] || !starts[k]) return fail_mem(err);
    }
    t->text = (token_texts){texts[0], starts[0]};
    t->bytes = t->by_char ? (token_texts){texts[1], starts[1]} : t->text;
    for (size_t i = 0; i < t->n_token; i++) {
        size_t n[2] = {0, 0};
        bool merged = put_texts(t, &v[i], (int32_t)i, space, texts[0] + at[0], &n[0],
                                t->by_char ? texts[1] + at[1] : NULL, &n[1]);
        for (int k = 0; k < (t->by_char ? 2 : 1); k++) starts[k][i + 1] = (uint32_t)(at[k] += n[k]);
        if (merged) PGR_TRY(enter_token(t, i, err));
    }
    return PGR_OK;
}

/* Sets of the added tokens: those looked for in normalised text are normalised themselves. */
static pgr_status sort_added(tokenizer *t, const vocab_token *v, added_token *list[2], normal_work *work,
                             pgr_error *err) {
    size_t n[2] = {0, 0};
    for (size_t i = 0; i < t->n_token; i++) {
        if (!v[i].added || v[i].n == 0) continue;
        text_span s = vocab_bytes(t, (int32_t)i);
        bool late = (v[i].flags & ADDED_NORMALISED) && t->norm.n > 0;
        if (late) {
            PGR_TRY(normal_apply(&t->norm, work, s.s, s.n, &s.s, &s.n, err));
            if (!(s.s = arena_strndup(&t->arena, s.s, s.n))) return fail_mem(err);
        }
        list[late][n[late]++] = (added_token){s.s, s.n, (int32_t)i, v[i].flags};
        if (s.n == 0) n[late]--;
    }
    PGR_TRY(added_build(&t->raw, list[0], n[0], &t->arena, err));
    return added_build(&t->normalised, list[1], n[1], &t->arena, err);
}

static pgr_status put_added(tokenizer *t, const vocab_token *v, pgr_error *err) {
    size_t n = 0;
    for (size_t i = 0; i < t->n_token; i++) n += v[i].added;
    added_token *list = mem_array(2 * n + 1, sizeof *list);
    normal_work work = {0};
    pgr_status status = list ? sort_added(t, v, (added_token *[]){list, list + n}, &work, err) : fail_mem(err);
    normal_work_free(&work);
    mem_free(list);
    return status;
}

static size_t count_chars(const vocab_token *v, size_t n) {
    size_t count = 0;
    for (size_t i = 0; i < n; i++) count += v[i].n > 0 && v[i].n <= 4 && utf8_next(v[i].s, v[i].n, NULL) == v[i].n;
    return count;
}

pgr_status vocab_build(tokenizer *t, const vocab_token *v, size_t n, const char *space, pgr_error *err) {
    size_t size = 16;
    while (size < 2 * n) size *= 2;
    t->n_token = n;
    t->type = arena_alloc(&t->arena, n);
    t->ends = arena_array(&t->arena, n, sizeof *t->ends);
    t->index = arena_array(&t->arena, size, sizeof *t->index);
    if (!t->type || !t->ends || !t->index) return fail_mem(err);
    t->index_mask = size - 1;
    for (size_t i = 0; i < size; i++) t->index[i] = -1;
    for (size_t i = 0; i < n; i++) t->type[i] = (uint8_t)v[i].type;
    if (t->by_char) PGR_TRY(bpe_by_char(&t->bpe, count_chars(v, n), &t->arena, err));
    PGR_TRY(put_tokens(t, v, space, err));
    return put_added(t, v, err);
}

/* ---- merges ---- */

pgr_status vocab_merge(tokenizer *t, const char *key, text_span left, text_span right, uint32_t rank, buf *scratch,
                       pgr_error *err) {
    buf_clear(scratch);
    buf_add(scratch, left.s, left.n); /* room for the texts, which are never more than the spelling */
    buf_add(scratch, right.s, right.n);
    if (scratch->failed) return fail_mem(err);
    size_t n_left = left.n, n_right = right.n;
    bool known = n_left > 0 && n_right > 0;
    if (known && !t->by_char)
        known = unspell(left.s, left.n, scratch->data, &n_left)
                && unspell(right.s, right.n, scratch->data + n_left, &n_right);
    if (known) {
        int32_t l = vocab_find(t, scratch->data, n_left), r = vocab_find(t, scratch->data + n_left, n_right);
        int32_t both = vocab_find(t, scratch->data, n_left + n_right);
        if (l >= 0 && r >= 0 && both >= 0) {
            if (bpe_add(&t->bpe, l, r, both, rank)) return PGR_OK;
            return fail(err, PGR_E_FORMAT, "%s: %s[%" PRIu32 "] repeats an earlier one", t->origin, key, rank);
        }
    }
    return fail(err, PGR_E_FORMAT, "%s: %s[%" PRIu32 "] is not two tokens that make up a third", t->origin, key, rank);
}

static const char *const end_names[] = {"<|endoftext|>", "<|im_end|>", "<|end_of_text|>",
                                        "<|eot_id|>",    "<|eom_id|>", "</s>"};

void vocab_mark_ends(tokenizer *t) {
    for (size_t i = 0; i < sizeof end_names / sizeof *end_names; i++) {
        int32_t id = tok_find(t, end_names[i]);
        if (id >= 0 && t->type[id] == TOK_CONTROL) t->ends[id] = true;
    }
}

bool vocab_ends_by_name(const tokenizer *t, int32_t id) {
    for (size_t i = 0; i < sizeof end_names / sizeof *end_names; i++)
        if (t->type[id] == TOK_CONTROL && tok_find(t, end_names[i]) == id) return true;
    return false;
}
