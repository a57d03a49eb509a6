/* added.h - added tokens: texts that are cut out of the input whole, before anything else. A set finds the leftmost,
 * longest one and applies its flags (the white space that it swallows, whole words only). */
#ifndef PGR_TEXT_ADDED_H
#define PGR_TEXT_ADDED_H

#include "base/arena.h"
#include "base/status.h"

enum {
    ADDED_SPECIAL = 1,     /* a control token: found only where control tokens are asked for */
    ADDED_LSTRIP = 2,      /* takes the white space before it */
    ADDED_RSTRIP = 4,      /* and after it */
    ADDED_SINGLE_WORD = 8, /* not inside a word */
    ADDED_NORMALISED = 16, /* looked for in normalised text, itself normalised */
};

typedef struct added_token {
    const char *s; /* lives as long as the set; not empty */
    size_t n;
    int32_t id;
    unsigned flags;
} added_token;

typedef struct added_set {
    added_token *v; /* by first byte, longest first */
    uint32_t start[257];
    bool has_plain; /* some are not special */
} added_set;

/* Sorts copies of v into the set. */
pgr_status added_build(added_set *set, const added_token *v, size_t n, arena *a, pgr_error *err);

typedef struct added_scan {
    size_t done; /* the text before it is dealt with */
    size_t at;   /* where the search goes on */
    const uint8_t *made; /* (n) where `control` holds, special ones count only in bytes that are not 0; NULL: in all */
} added_scan;    /* all zero at first, but for made */

/* The next one, and where the text before it lies. false: none is left, the rest is text. control: special ones too. */
bool added_next(const added_set *set, const char *s, size_t n, bool control, added_scan *scan, size_t *text_begin,
                size_t *text_end, int32_t *id);

const added_token *added_find(const added_set *set, const char *s, size_t n); /* by exact text; NULL */

#endif
