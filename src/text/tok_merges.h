/* tok_merges.h - private to the tokenizer: reads model.merges straight from the text of a tokenizer.json. It is most of
 * the file (280,000 pairs for Llama 3), and as a tree of JSON values it costs half a second. */
#ifndef PGR_TEXT_TOK_MERGES_H
#define PGR_TEXT_TOK_MERGES_H

#include "base/buf.h"
#include "text/vocab.h"

/* Where the value of model.merges lies in text. false: there is none,
 * or the text is no JSON as far as it was looked at. */
bool merges_find(const char *text, size_t n, text_span *out);
/* The text with an empty array in its place, and as many lines. */
pgr_status merges_cut_out(const char *text, size_t n, text_span merges, buf *out, pgr_error *err);

typedef struct merges_scan {
    const char *s, *end;
    buf halves[2]; /* the strings of the last one */
    bool begun;
} merges_scan;     /* s and end are the caller's, the rest all zero at first; halves are the caller's to free */

/* The next merge, "a b" or ["a","b"], into side, memory of the scan. *more false: the list is at its end.
 * Returns false where the list is malformed. */
bool merges_next(merges_scan *m, text_span side[2], bool *more);

#endif
