/* wordpiece.c - owns the greedy cutting of a word into pieces. */
#include "text/wordpiece.h"

#include <string.h>

#include "base/text.h"
#include "text/vocab.h"

static bool too_long(const char *word, size_t n, size_t max) {
    size_t count = 0;
    for (size_t i = 0; i < n && count <= max; count++) {
        size_t len = utf8_next(word + i, n - i, NULL);
        i += len ? len : 1;
    }
    return count > max;
}

/* s: the word, with room for the prefix before it */
static bool cut(const tokenizer *t, char *s, size_t n, ids *out) {
    const wordpiece *w = &t->wordpiece;
    for (size_t at = 0, len; at < n; at += len) {
        size_t extra = at ? w->n_prefix : 0;
        if (extra) memcpy(s + at - extra, w->prefix, extra); /* over pieces that are dealt with */
        int32_t id = vocab_longest(t, s + at - extra, n - at + extra, extra, &len);
        if (id < 0) return false;
        len -= extra;
        ids_push(out, id);
    }
    return true;
}

pgr_status wordpiece_encode(const tokenizer *t, buf *room, const char *word, size_t n, ids *out, pgr_error *err) {
    const wordpiece *w = &t->wordpiece;
    size_t before = out->n;
    bool known = !too_long(word, n, w->max_chars);
    if (known) {
        buf_clear(room);
        buf_add(room, w->prefix, w->n_prefix);
        buf_add(room, word, n);
        if (room->failed) return fail_mem(err);
        known = cut(t, room->data + w->n_prefix, n, out);
    }
    if (known) return PGR_OK;
    out->n = before;
    ids_push(out, w->unknown);
    return PGR_OK;
}
