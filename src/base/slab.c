/* slab.c - blocks of at least BLOCK bytes, handed out from their beginning. What is not touched takes no memory. */
#include "base/slab.h"

#include <stdint.h>

#include "base/mem.h"

enum { ALIGN = 64, HUGE_PAGE = 2 << 20, BLOCK = 32 << 20 };

static void *add_block(slab *s, size_t size) {
    void **blocks = mem_resize(s->blocks, (s->n_block + 1) * sizeof *blocks);
    if (!blocks) return NULL;
    s->blocks = blocks;
    void *p = mem_huge(size);
    if (!p) return NULL;
    blocks[s->n_block++] = p;
    s->used = 0;
    s->size = size;
    return p;
}

void *slab_alloc(slab *s, size_t size) {
    if (size > SIZE_MAX - HUGE_PAGE) return NULL;
    size = (size + ALIGN - 1) / ALIGN * ALIGN;
    if (s->size - s->used < size && !add_block(s, size > BLOCK ? size : (size_t)BLOCK)) return NULL;
    char *p = (char *)s->blocks[s->n_block - 1] + s->used;
    s->used += size;
    return p;
}

void slab_free(slab *s) {
    for (size_t i = 0; i < s->n_block; i++) mem_free(s->blocks[i]);
    mem_free(s->blocks);
    *s = (slab){0};
}
