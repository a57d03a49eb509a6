/* hash.h - FNV-1a, 64 bits: for hash tables, keys and fingerprints of texts that nobody forges. Where a table takes the
 * lowest bits, its owner folds the high ones in. */
#ifndef PGR_BASE_HASH_H
#define PGR_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

#define HASH_BEGIN UINT64_C(0xcbf29ce484222325) /* the hash of nothing */

static inline uint64_t hash_value(uint64_t h, uint64_t v) { /* a byte, or a word as one */
    return (h ^ v) * UINT64_C(0x100000001b3);
}

static inline uint64_t hash_bytes(uint64_t h, const char *s, size_t n) {
    for (size_t i = 0; i < n; i++) h = hash_value(h, (uint8_t)s[i]);
    return h;
}

static inline uint64_t hash_text(uint64_t h, const char *s) {
    for (; *s; s++) h = hash_value(h, (uint8_t)*s);
    return h;
}

/* The NUL at the end counts, so that neighbouring texts do not run together. */
static inline uint64_t hash_whole_text(uint64_t h, const char *s) {
    return hash_value(hash_text(h, s), 0);
}

#endif
