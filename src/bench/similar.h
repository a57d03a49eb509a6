/* similar.h - what the methods `similar-users` and `embedding-users` add to `base`: classes of users, and how each
 * departs from what everybody says. */
#ifndef PGR_BENCH_SIMILAR_H
#define PGR_BENCH_SIMILAR_H

#include "bench/stat.h"

typedef struct similar similar;

/* Classes over all train rows, as strongly leaning on everybody as held-out folds say.
 * s: the base's stat, held_out: (n_row) what its folds' models say of train rows that they have not seen; both must
 * outlive it. seed: of the starts of k-means. */
pgr_status similar_fit(const stat *s, const double *held_out, bool by_embedding, uint64_t seed, similar **out,
                       pgr_error *err);
void similar_free(similar *t);

enum { SIMILAR_CLASSES = 10 }; /* docs/methods.md */

/* Shares of somebody of whom these rows are known, which are user `whose`'s.               share: (SIMILAR_CLASSES) */
pgr_status similar_place(const similar *t, const size_t *list, size_t n, size_t whose, double *share, pgr_error *err);
/* Probability of a row for one of whom these shares are known.                    base: the z of what everybody says */
double similar_probability(const similar *t, size_t row, double base, const double *share);

#endif
