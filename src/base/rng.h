/* rng.h - counter-based random numbers: Philox4x32-10 (Salmon et al., SC 2011). A number depends on its key alone, not
 * on how many were drawn before it, so a sample does not depend on the batch or on the threads. */
#ifndef PGR_BASE_RNG_H
#define PGR_BASE_RNG_H

#include <stddef.h>
#include <stdint.h>

void philox4x32_10(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]);

/* Uniform in [0, 1) with 53 bits, keyed by (seed, request, sample, position). */
double rng_uniform(uint64_t seed, uint32_t request, uint32_t sample, uint32_t position);

/* A small stream on top, for shuffles and tests. */
typedef struct rng {
    uint64_t seed;
    uint32_t stream, next;
} rng;
double rng_next(rng *r);               /* [0, 1) */
size_t rng_below(rng *r, size_t n);    /* 0 .. n-1, n >= 1 */
double rng_normal(rng *r);             /* mean 0, standard deviation 1 */

#endif
