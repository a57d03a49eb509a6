/* bert.h - how the BERT family reads text: its normaliser and its cutting into words, as PyPI `tokenizers` does both.
 * The classes of characters are those of Unicode 8, canonical decomposition is utf8proc's. */
#ifndef PGR_TEXT_BERT_H
#define PGR_TEXT_BERT_H

#include <stdbool.h>

#include "text/decompose.h"

enum {                 /* of a normal_step NORMAL_BERT, in this order */
       BERT_CLEAN = 1, /* control characters go (format and private use, too), every white space becomes a space */
       BERT_CJK = 2,   /* spaces around each CJK ideograph, which is then a word */
       BERT_STRIP = 4, /* canonical decomposition, without the non-spacing marks */
       BERT_LOWER = 8, /* each character by itself: no rule for a final sigma */
};

/* Appends the normalised text. A byte that is not UTF-8 counts as U+FFFD, which BERT_CLEAN takes out. clean, d: to work
 * in. */
pgr_status bert_normalise(unsigned flags, buf *clean, decomposed *d, const char *s, size_t n, buf *out, pgr_error *err);

/* The end of the next word from *at on, which moves to its begin; n where there is none. White space is between words,
 * a punctuation character is one by itself. A byte that is not UTF-8 is a character of a word. */
size_t bert_word(const char *s, size_t n, size_t *at);

#endif
