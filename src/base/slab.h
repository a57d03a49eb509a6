/* slab.h - memory for arrays that live and die together and are read all over again (packed weights, pages of the KV
 * cache): in blocks of pages of 2 MB where the system has them, so that few addresses have to be looked up. Not
 * thread-safe. */
#ifndef PGR_BASE_SLAB_H
#define PGR_BASE_SLAB_H

#include <stddef.h>

typedef struct slab {
    void **blocks; /* (n_block) */
    size_t n_block;
    size_t used, size; /* of the newest block */
} slab;                /* all zero is an empty slab */

void *slab_alloc(slab *s, size_t size); /* 64-byte aligned, not zeroed; NULL when out of memory */
void slab_free(slab *s);                /* the slab is empty afterwards */

#endif
