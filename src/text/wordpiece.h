/* wordpiece.h - private to the tokenizer: a word as the longest pieces of the vocabulary, from left to right. */
#ifndef PGR_TEXT_WORDPIECE_H
#define PGR_TEXT_WORDPIECE_H

#include "base/buf.h"
#include "base/status.h"
#include "text/tokenizer.h"

typedef struct wordpiece {
    const char *prefix; /* "##", before pieces that do not begin a word; NULL: the model is another */
    size_t n_prefix;
    size_t max_chars; /* a longer word is unknown */
    int32_t unknown;
} wordpiece;

/* Appends the tokens of one word, or the unknown token alone where a part of it is none. room: memory of the caller.
 * O(n) in the word's length times that of the longest token. */
pgr_status wordpiece_encode(const tokenizer *t, buf *room, const char *word, size_t n, ids *out, pgr_error *err);

#endif
