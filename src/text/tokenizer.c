/* tokenizer.c - owns encoding and decoding: the order of work over the parts, which are each their own file's (added
 * tokens added.c, normaliser normal.c and bert.c, cutting pretok.c, merging bpe.c, WordPiece wordpiece.c, vocabulary
 * vocab.c). */
#include "text/tokenizer.h"

#include <inttypes.h>
#include <string.h>

#include "base/mem.h"
#include "base/text.h"
#include "text/vocab.h"

void tok_close(tokenizer *t) {
    if (!t) return;
    pretok_close(t->pre);
    arena_free(&t->arena);
    mem_free(t);
}

/* ---- encode ---- */

typedef struct encoder { /* of one call */
    const tokenizer *t;
    bool control;        /* are looked for */
    const uint8_t *made; /* in which bytes; NULL: in all */
    pretok_scan scan;
    bpe_work work;
    normal_work norm;
    buf room; /* of WordPiece */
    ids *out;
    pgr_error *err;
} encoder;

/* first: the text begins the input */
static pgr_status encode_text(encoder *e, const char *text, size_t n, bool first) {
    const char *piece;
    size_t len;
    PGR_TRY(pretok_text(&e->scan, text, n, first, e->err));
    for (;;) {
        PGR_TRY(pretok_next(&e->scan, &piece, &len, e->err));
        if (len == 0) return PGR_OK;
        if (e->t->wordpiece.prefix) {
            PGR_TRY(wordpiece_encode(e->t, &e->room, piece, len, e->out, e->err));
            continue;
        }
        int32_t whole = e->t->ignore_merges ? vocab_find(e->t, piece, len) : -1;
        if (whole >= 0)
            ids_push(e->out, whole);
        else
            PGR_TRY(bpe_encode(&e->t->bpe, &e->work, piece, len, e->out, e->err));
    }
}

/* Splits by a set of added tokens; what is between goes to `rest`. made: see tok_encode_made, or NULL */
static pgr_status split(encoder *e, const added_set *set, const char *text, const uint8_t *made, size_t n, bool first,
                        bool control, pgr_status (*rest)(encoder *e, const char *text, size_t n, bool first)) {
    added_scan scan = {.made = made};
    size_t begin, end;
    int32_t id;
    for (bool more = true; more;) {
        more = added_next(set, text, n, control, &scan, &begin, &end, &id);
        if (begin < end) PGR_TRY(rest(e, text + begin, end - begin, first && begin == 0));
        if (more) ids_push(e->out, id);
    }
    return PGR_OK;
}

static pgr_status encode_rest(encoder *e, const char *text, size_t n, bool first) {
    PGR_TRY(normal_apply(&e->t->norm, &e->norm, text, n, &text, &n, e->err));
    bool control = e->control && !e->made; /* normalised text has lost which bytes may hold one */
    return split(e, &e->t->normalised, text, NULL, n, first, control, encode_text);
}

static pgr_status encode(const tokenizer *t, const char *text, const uint8_t *made, size_t n, int flags, ids *out,
                         pgr_error *err) {
    encoder e = {.t = t, .made = made, .out = out, .err = err};
    e.control = made || (flags & TOK_PARSE_SPECIAL);
    PGR_TRY(pretok_begin(t->pre, &e.scan, err));
    if (flags & TOK_BOS) ids_append(out, t->before, t->n_before);
    pgr_status status = split(&e, &t->raw, text, made, n, true, e.control, encode_rest);
    if (flags & TOK_BOS) ids_append(out, t->after, t->n_after);
    bpe_work_free(&e.work);
    normal_work_free(&e.norm);
    buf_free(&e.room);
    pretok_end(&e.scan);
    return status == PGR_OK && out->failed ? fail_mem(err) : status;
}

pgr_status tok_encode(const tokenizer *t, const char *text, size_t n, int flags, ids *out, pgr_error *err) {
    return encode(t, text, NULL, n, flags, out, err);
}

/* Does the text hold this in bytes that are all made? */
static bool holds_made(const char *text, const uint8_t *made, size_t n, text_span what) {
    for (const char *at = text, *p; (p = memmem(at, n - (size_t)(at - text), what.s, what.n)); at = p + 1)
        if (!memchr(made + (p - text), 0, what.n)) return true;
    return false;
}

pgr_status tok_encode_made(const tokenizer *t, const char *text, const uint8_t *made, size_t n, ids *out,
                           pgr_error *err) {
    for (uint32_t i = 0; i < t->normalised.start[256]; i++) {
        text_span name = vocab_bytes(t, t->normalised.v[i].id);
        if (!(t->normalised.v[i].flags & ADDED_SPECIAL) || !name.n || !holds_made(text, made, n, name)) continue;
        return fail(err, PGR_E_UNSUPPORTED,
                    "the chat template writes %.*s, a control token of the tokenizer that is marked \"normalized\", "
                    "which is not supported in an interpreted template",
                    (int)(name.n < 60 ? name.n : 60), name.s);
    }
    return encode(t, text, made, n, 0, out, err);
}

/* ---- decode ---- */

/* What is cleaned up is what PyPI `tokenizers` does to each token with its space: these begin a token. */
static bool clings(text_span s) {
    static const char *const texts[] = {".", "?", "!", ",", "n't", "'m", "'s", "'ve", "'re"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        size_t n = strlen(texts[i]);
        if (s.n >= n && memcmp(s.s, texts[i], n) == 0) return true;
    }
    return false;
}

/* The space before a token that is not the first; what is left of the token. */
static text_span join(const tok_joining *j, text_span s, buf *out) {
    size_t n = strlen(j->prefix);
    if (n > 0 && s.n >= n && memcmp(s.s, j->prefix, n) == 0) return (text_span){s.s + n, s.n - n};
    if (!(j->cleanup && clings(s))) buf_putc(out, ' ');
    return s;
}

/* begun: something has been decoded before */
static pgr_status put_token(const tokenizer *t, int32_t id, bool *begun, buf *out, pgr_error *err) {
    if (id < 0 || (size_t)id >= t->n_token)
        return fail(err, PGR_E_ARG, "token id %" PRId32 " is out of range, want 0 to %zu", id, t->n_token - 1);
    text_span s = vocab_bytes(t, id);
    if (t->join.spaces && *begun) s = join(&t->join, s, out);
    size_t skip = t->strip_space && !*begun && s.n > 0 && *s.s == ' ';
    buf_add(out, s.s + skip, s.n - skip);
    *begun |= s.n > 0 || t->join.spaces;
    return PGR_OK;
}

pgr_status tok_decode(const tokenizer *t, const int32_t *v, size_t n, buf *out, pgr_error *err) {
    bool begun = false;
    for (size_t i = 0; i < n; i++) PGR_TRY(put_token(t, v[i], &begun, out, err));
    return out->failed ? fail_mem(err) : PGR_OK;
}

void tok_stream_begin(tok_stream *s, const tokenizer *t) {
    *s = (tok_stream){.t = t};
}

pgr_status tok_stream_put(tok_stream *s, int32_t id, buf *out, pgr_error *err) {
    size_t from = out->n;
    buf_add(out, s->held, s->n_held);
    PGR_TRY(put_token(s->t, id, &s->begun, out, err));
    if (out->failed) return fail_mem(err);
    size_t n = out->n - from, whole = n ? utf8_complete(out->data + from, n) : 0;
    s->n_held = n - whole;
    if (s->n_held) memcpy(s->held, out->data + from + whole, s->n_held);
    out->n = from + whole;
    if (out->data) out->data[out->n] = '\0';
    return PGR_OK;
}

pgr_status tok_stream_end(tok_stream *s, buf *out, pgr_error *err) {
    buf_add(out, s->held, s->n_held);
    tok_stream_begin(s, s->t);
    return out->failed ? fail_mem(err) : PGR_OK;
}

/* ---- settings and questions ---- */

static pgr_status check_new_id(const tokenizer *t, int32_t id, int32_t least, pgr_error *err) {
    if (id >= least && (id < 0 || (size_t)id < t->n_token)) return PGR_OK;
    return fail(err, PGR_E_FORMAT, "token id %" PRId32 " is out of range, want 0 to %zu", id, t->n_token - 1);
}

pgr_status tok_add_end(tokenizer *t, int32_t id, pgr_error *err) {
    PGR_TRY(check_new_id(t, id, 0, err));
    t->ends[id] = true;
    return PGR_OK;
}

pgr_status tok_set_bos(tokenizer *t, int32_t id, pgr_error *err) {
    PGR_TRY(check_new_id(t, id, -1, err));
    t->bos = id;
    return PGR_OK;
}

pgr_status tok_set_eos(tokenizer *t, int32_t id, pgr_error *err) {
    PGR_TRY(check_new_id(t, id, -1, err));
    t->eos = id;
    if (id >= 0) t->ends[id] = true;
    return PGR_OK;
}

static void check_id(const tokenizer *t, int32_t id) {
    PGR_ASSERT(id >= 0 && (size_t)id < t->n_token);
}

const char *tok_bytes(const tokenizer *t, int32_t id, size_t *n) {
    check_id(t, id);
    text_span s = vocab_bytes(t, id);
    *n = s.n;
    return s.s;
}

tok_type tok_type_of(const tokenizer *t, int32_t id) {
    check_id(t, id);
    return (tok_type)t->type[id];
}

int32_t tok_find(const tokenizer *t, const char *text) {
    size_t n = strlen(text);
    const added_token *found = added_find(&t->raw, text, n);
    if (found) return found->id;
    for (uint32_t i = 0; i < t->normalised.start[256]; i++) {
        text_span s = vocab_bytes(t, t->normalised.v[i].id);
        if (s.n == n && memcmp(s.s, text, n) == 0) return t->normalised.v[i].id;
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
    return t->n_before > 0;
}
bool tok_adds_eos(const tokenizer *t) {
    return t->n_after > 0;
}
size_t tok_before(const tokenizer *t) {
    return t->n_before;
}
size_t tok_after(const tokenizer *t) {
    return t->n_after;
}
const char *tok_model_name(const tokenizer *t) {
    return t->model_name;
}
const char *tok_pre_name(const tokenizer *t) {
    return t->pre_name;
}
bool tok_nfc(const tokenizer *t) {
    for (size_t i = 0; i < t->norm.n; i++)
        if (t->norm.steps[i].kind == NORMAL_NFC) return true;
    return false;
}
size_t tok_merge_count(const tokenizer *t) {
    return t->n_merge;
}
