/* history.h - which pairs a method may know of a user: draws of his own, or a stranger's.
 * Every method of a seed is given the same. */
#ifndef PGR_BENCH_HISTORY_H
#define PGR_BENCH_HISTORY_H

#include "base/rng.h"
#include "bench/pairs.h"

/* At most h (0: all) train rows of the user, drawn by the seed without putting back; h + 1 begins with the rows of h.
 * rows: (n_train of the user). Returns how many. */
size_t bench_draw(const bench_data *d, size_t user, size_t h, uint64_t seed, size_t *rows);

void bench_shuffle(size_t *v, size_t n, rng *r);

#endif
