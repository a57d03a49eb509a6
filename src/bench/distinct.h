/* distinct.h - distinct texts, numbered in the order in which they came. */
#ifndef PGR_BENCH_DISTINCT_H
#define PGR_BENCH_DISTINCT_H

#include "base/status.h"

typedef struct distinct {
    const char **texts; /* (n) not copied: the caller keeps them */
    size_t n, cap;
    size_t *slots; /* (n_slot, a power of two) number + 1; 0: empty */
    size_t n_slot;
} distinct; /* all zero is an empty one */

/* *number: of the text, which is new if it is d->n - 1 and was not below d->n before. */
pgr_status distinct_number(distinct *d, const char *text, size_t *number, pgr_error *err);
bool distinct_find(const distinct *d, const char *text, size_t *number);
void distinct_free(distinct *d);

#endif
