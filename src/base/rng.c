/* rng.c - Philox4x32-10: ten rounds of multiply and xor turn (counter, key) into four random words. */
#include "base/rng.h"

#include <math.h>

/* Multipliers and key increments of Salmon et al., "Parallel random numbers: as easy as 1, 2, 3" (SC 2011). */
#define PHILOX_M0 0xD2511F53u
#define PHILOX_M1 0xCD9E8D57u
#define PHILOX_W0 0x9E3779B9u /* golden ratio */
#define PHILOX_W1 0xBB67AE85u /* sqrt(3) - 1 */

/* The last counter word keeps the two uses of one seed apart. */
enum { USE_SAMPLE = 0, USE_STREAM = 1 };

void philox4x32_10(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]) {
    uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3];
    uint32_t k0 = key[0], k1 = key[1];
    for (int round = 0; round < 10; round++) {
        uint64_t p0 = (uint64_t)PHILOX_M0 * c0, p1 = (uint64_t)PHILOX_M1 * c2;
        c0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
        c1 = (uint32_t)p1;
        c2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c3 = (uint32_t)p0;
        k0 += PHILOX_W0;
        k1 += PHILOX_W1;
    }
    out[0] = c0, out[1] = c1, out[2] = c2, out[3] = c3;
}

static void block(uint64_t seed, uint32_t a, uint32_t b, uint32_t c, uint32_t use, uint32_t out[4]) {
    philox4x32_10((uint32_t[4]){a, b, c, use}, (uint32_t[2]){(uint32_t)seed, (uint32_t)(seed >> 32)}, out);
}

/* 53 of 64 random bits as a multiple of 2^-53 below 1. */
static double unit(uint32_t hi, uint32_t lo) {
    return ((double)(hi >> 5) * 67108864.0 + (double)(lo >> 6)) * 0x1p-53;
}

double rng_uniform(uint64_t seed, uint32_t request, uint32_t sample, uint32_t position) {
    uint32_t w[4];
    block(seed, position, sample, request, USE_SAMPLE, w);
    return unit(w[0], w[1]);
}

double rng_next(rng *r) {
    uint32_t w[4];
    block(r->seed, r->next++, r->stream, 0, USE_STREAM, w);
    return unit(w[0], w[1]);
}

size_t rng_below(rng *r, size_t n) {
    uint64_t rest = UINT64_MAX % n; /* the top part of the range that would favour small numbers is drawn again */
    for (;;) {
        uint32_t w[4];
        block(r->seed, r->next++, r->stream, 0, USE_STREAM, w);
        uint64_t x = (uint64_t)w[0] << 32 | w[1];
        if (x < UINT64_MAX - rest) return (size_t)(x % n);
    }
}

/* Box and Muller, 1958; 1 - u keeps the logarithm finite. */
double rng_normal(rng *r) {
    uint32_t w[4];
    block(r->seed, r->next++, r->stream, 0, USE_STREAM, w);
    double u = 1.0 - unit(w[0], w[1]), angle = 6.283185307179586 * unit(w[2], w[3]);
    return sqrt(-2.0 * log(u)) * cos(angle);
}
