/* pretok.h - the pre-tokenisers (docs/formats.md, "Tokenizers"): cut text into the pieces within which tokens are
 * merged. A pre-tokeniser is a list of steps, each of which cuts the pieces of the one before; patterns are compiled
 * once and read-only, each thread scans with a pretok_scan of its own. */
#ifndef PGR_TEXT_PRETOK_H
#define PGR_TEXT_PRETOK_H

#include "base/buf.h"
#include "base/status.h"
#include "format/gguf.h"

typedef enum pretok_prefix { PRETOK_NO_PREFIX, PRETOK_PREFIX_FIRST, PRETOK_PREFIX_ALWAYS } pretok_prefix;

typedef struct pretok_step {
    const char *pattern;      /* of PCRE2; its matches and what lies between are pieces. NULL: does not cut */
    bool drop_matches, drop_gaps;
    bool words;               /* in place of a pattern: the words of bert.h, white space goes */
    const char *space;        /* what a space becomes before the cut; NULL: stays */
    const char *prefix;       /* goes before a text that does not begin with it */
    pretok_prefix prefix_when; /* FIRST: before the first piece of the input only */
} pretok_step;

/* What GGUF files name (tokenizer.ggml.pre): one step each. */
typedef struct pretok_row {
    const char *name;
    const char *pattern;
    bool ignore_merges; /* a whole piece that is in the vocabulary is one token */
    bool adds_bos;      /* where the file does not say */
    bool nfc;           /* the family's tokenizer composes the text first, which GGUF files do not say */
} pretok_row;

const pretok_row *pretok_find(gguf_string name); /* NULL: not supported */
const char *pretok_list(void);                   /* names, for messages */

extern const char pretok_gpt2[];   /* the pattern that byte-level pre-tokenisers use by themselves */
extern const char pretok_digit[];  /* one number character */
extern const char pretok_digits[]; /* a run of them */

/* Appends regex, of the kind that tokenizer.json has (Oniguruma's syntax), as a pattern of PCRE2. What the two read
 * differently, or may, is refused by name. */
pgr_status pretok_translate(const char *regex, buf *out, pgr_error *err);

enum { PRETOK_MAX_STEP = 8 };

typedef struct pretok pretok;
/* Copies the steps. n 0: all of the text is one piece. */
pgr_status pretok_open(const pretok_step *steps, size_t n, pretok **out, pgr_error *err);
void pretok_close(pretok *p);

typedef struct pretok_level { /* the text that a step is cutting */
    void *match;              /* of PCRE2 */
    buf own;                  /* the text, where the step has rewritten it */
    const char *s;
    size_t n, at; /* the text and how far it is cut */
    size_t valid; /* bytes before this one are valid UTF-8 from `at` on */
    bool first;   /* the text begins the input */
} pretok_level;

typedef struct pretok_scan {
    const pretok *pre;
    pretok_level level[PRETOK_MAX_STEP];
    size_t depth;
} pretok_scan;

pgr_status pretok_begin(const pretok *p, pretok_scan *out, pgr_error *err);
void pretok_end(pretok_scan *scan);
/* first: s begins the input */
pgr_status pretok_text(pretok_scan *scan, const char *s, size_t n, bool first, pgr_error *err);
/* The next piece; *n 0 at the end. A byte that is not UTF-8 is a piece of its own where there are patterns. */
pgr_status pretok_next(pretok_scan *scan, const char **piece, size_t *n, pgr_error *err);

#endif
