/* scalar.h - what a reward model with a score head says of a set's pairs. */
#ifndef PGR_BENCH_SCALAR_H
#define PGR_BENCH_SCALAR_H

#include "bench/pairs.h"

typedef struct scalar_pair { /* of a row: chosen, rejected */
    float score[2];          /* NaN: longer than the model takes */
    size_t tokens[2];
} scalar_pair;

/* Scores both responses of n rows (indices of d's rows): the conversation that both answer is computed once. */
pgr_status scalar_rows(pgr_scalar *s, const bench_data *d, const size_t *rows, size_t n, const pgr_watch *watch,
                       scalar_pair *out, pgr_error *err);

/* score of the chosen less that of the rejected response; 0 where there is none. */
double scalar_gap(const scalar_pair *p);

/* The gaps of all rows of d.                                             *gaps: (n_row) the caller's (mem_free) */
pgr_status bench_scalars(const bench_data *d, pgr_scalar *s, const pgr_watch *watch, float **gaps, pgr_error *err);

#endif
