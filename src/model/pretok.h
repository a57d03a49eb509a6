/* pretok.h - the pre-tokenisers: cuts text into the pieces within which tokens are merged (formats.md 5.2). A
 * pre-tokeniser is a row of a table; its pattern is compiled once and read-only, each thread scans with a pretok_scan
 * of its own. */
#ifndef PGR_MODEL_PRETOK_H
#define PGR_MODEL_PRETOK_H

#include "base/status.h"
#include "model/gguf.h"

typedef struct pretok_row {
    const char *name; /* as the file says it (tokenizer.ggml.pre) */
    const char *pattern;
    bool ignore_merges; /* a whole piece that is in the vocabulary is one token */
    bool adds_bos;      /* where the file does not say */
} pretok_row;

const pretok_row *pretok_find(gguf_string name); /* NULL: not supported */
const char *pretok_list(void);                   /* names, for messages */

typedef struct pretok pretok;
pgr_status pretok_open(const pretok_row *row, pretok **out, pgr_error *err);
void pretok_close(pretok *p);

typedef struct pretok_scan {
    const pretok *pre;
    void *match; /* of PCRE2 */
    const char *s;
    size_t n, at; /* the text and how far it is cut */
    size_t valid; /* bytes before this one are valid UTF-8 from `at` on */
} pretok_scan;

pgr_status pretok_begin(const pretok *p, pretok_scan *out, pgr_error *err);
void pretok_end(pretok_scan *scan);
void pretok_text(pretok_scan *scan, const char *s, size_t n);
/* The next piece; *n 0 at the end. A byte that is not UTF-8 is a piece of its own. */
pgr_status pretok_next(pretok_scan *scan, const char **piece, size_t *n, pgr_error *err);

#endif
