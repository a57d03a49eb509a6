/* decompose.h - Unicode's canonical decomposition, and the composition that goes back (NFC). */
#ifndef PGR_TEXT_DECOMPOSE_H
#define PGR_TEXT_DECOMPOSE_H

#include "base/buf.h"
#include "base/status.h"

typedef struct decomposed {
    int32_t *points; /* (n) code points */
    size_t n, cap;
} decomposed; /* all zero at first, given back by decomposed_free */

/* The code points of n bytes of valid UTF-8 after canonical decomposition, marks in order, replace what d held. */
pgr_status decompose(decomposed *d, const char *s, size_t n, pgr_error *err);
/* Appends the composed form; bytes that are not UTF-8 stay as they are. d: to work in. */
pgr_status compose(decomposed *d, const char *s, size_t n, buf *out, pgr_error *err);
void decomposed_free(decomposed *d);

#endif
