/* turns.c - renders a conversation, and finds the tokens of its assistant's turns by rendering its beginnings. */
#include "train/turns.h"

#include <string.h>

enum { LOOSE = 8 /* tokens at a border that text behind it may change */ };

static size_t common_prefix(const ids *a, const ids *b) {
    size_t n = 0;
    while (n < a->n && n < b->n && a->v[n] == b->v[n]) n++;
    return n;
}

/* The conversation's first n messages as tokens: how many of them the whole conversation begins with. */
static pgr_status prefix_of(const pgr_model *m, const chat_message *messages, size_t n, bool generate, const ids *whole,
                            const char *at, size_t *out, pgr_error *err) {
    ids part = {0};
    pgr_status s = chat_render(&m->chat, m->tok, messages, n, generate, &part, err);
    *out = common_prefix(&part, whole);
    if (s == PGR_OK && part.n > *out + LOOSE)
        s = fail(err, PGR_E_UNSUPPORTED,
                 "%s: the chat template writes the first %zu messages in another way once others follow: %zu of %zu "
                 "tokens alike, expected all",
                 at, n, *out, part.n);
    ids_free(&part);
    return s;
}

/* The tokens of the assistant's turns from message `first` on, what ends the turn included. */
static pgr_status mark_turns(const pgr_model *m, const chat_message *messages, size_t first, size_t n, const ids *whole,
                             const char *at, chat_row *row, pgr_error *err) {
    for (size_t k = first; k < n; k++) {
        if (strcmp(messages[k].role, "assistant") != 0) continue;
        size_t from, to;
        PGR_TRY(prefix_of(m, messages, k, true, whole, at, &from, err));
        PGR_TRY(prefix_of(m, messages, k + 1, false, whole, at, &to, err));
        size_t end = to;
        while (end > from && !tok_ends(m->tok, whole->v[end - 1])) end--;
        if (end == from) end = to; /* the template writes no end of a turn */
        for (size_t i = from > 0 ? from : 1; i < end; i++) {
            row->n_loss += !row->counts[i];
            row->counts[i] = 1;
        }
    }
    return PGR_OK;
}

static pgr_status take(const pgr_model *m, const chat_message *messages, size_t first, size_t n, const ids *whole,
                       const char *at, arena *a, chat_row *out, pgr_error *err) {
    *out = (chat_row){.n = whole->n};
    out->tokens = arena_array(a, whole->n + 1, sizeof *out->tokens);
    out->counts = arena_array(a, whole->n + 1, sizeof *out->counts);
    if (!out->tokens || !out->counts) return fail_mem(err);
    if (whole->n > 0) memcpy(out->tokens, whole->v, whole->n * sizeof *out->tokens);
    PGR_TRY(mark_turns(m, messages, first, n, whole, at, out, err));
    return out->n_loss > 0 ? PGR_OK : fail(err, PGR_E_FORMAT, "%s: no turn of the assistant, expected one or more", at);
}

pgr_status chat_row_make(const pgr_model *m, const chat_message *messages, size_t first, size_t n, size_t most,
                         const char *at, arena *a, chat_row *out, pgr_error *err) {
    ids whole = {0};
    *out = (chat_row){0};
    pgr_status s = chat_render(&m->chat, m->tok, messages, n, false, &whole, err);
    if (s == PGR_OK && whole.n <= most) s = take(m, messages, first, n, &whole, at, a, out, err);
    ids_free(&whole);
    return s;
}

void chat_rows_list(const chat_row *const *rows, size_t n, train_seq *seqs, train_row *at, int32_t *token) {
    for (size_t i = 0; i < n; i++) {
        const chat_row *row = rows[i];
        seqs[i] = (train_seq){.tokens = row->tokens, .n = row->n};
        for (size_t k = 1; k < row->n; k++) {
            if (!row->counts[k]) continue;
            *at++ = (train_row){(uint32_t)i, (uint32_t)(k - 1)};
            *token++ = row->tokens[k];
        }
    }
}
