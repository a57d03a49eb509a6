/* arena.c - chunks of zeroed memory in a list, handed out in 16-byte steps and freed together. */
#include "base/arena.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"

enum { ALIGN = 16, CHUNK_MIN = 4096, CHUNK_MAX = 1 << 20 };

struct arena_chunk {
    struct arena_chunk *next; /* older */
    size_t used, size;        /* bytes of data */
    _Alignas(ALIGN) unsigned char data[];
};

static struct arena_chunk *chunk_create(size_t size) {
    if (size > SIZE_MAX - sizeof(struct arena_chunk)) return NULL;
    struct arena_chunk *c = mem_zero(1, sizeof *c + size);
    if (c) c->size = size;
    return c;
}

/* A chunk with room for size bytes that becomes the newest; a large request gets its own chunk behind the newest, so
 * that what is left of that one stays in use. */
static struct arena_chunk *chunk_for(arena *a, size_t size) {
    struct arena_chunk *top = a->chunk;
    if (top && top->size - top->used >= size) return top;

    size_t want = !top ? CHUNK_MIN : top->size < CHUNK_MAX / 2 ? top->size * 2 : CHUNK_MAX;
    struct arena_chunk *c = chunk_create(size > want / 4 ? size : want);
    if (!c) return NULL;
    if (top && size > want / 4) {
        c->next = top->next;
        top->next = c;
    } else {
        c->next = top;
        a->chunk = c;
    }
    return c;
}

void *arena_alloc(arena *a, size_t size) {
    if (size > SIZE_MAX / 2) return NULL; /* room for what is added below and in chunk_create */
    size = size == 0 ? ALIGN : (size + ALIGN - 1) & ~(size_t)(ALIGN - 1);
    struct arena_chunk *c = chunk_for(a, size);
    if (!c) return NULL;
    void *p = c->data + c->used;
    c->used += size;
    return p;
}

void *arena_array(arena *a, size_t count, size_t size) {
    if (size && count > SIZE_MAX / size) return NULL;
    return arena_alloc(a, count * size);
}

char *arena_strndup(arena *a, const char *s, size_t n) {
    if (n == SIZE_MAX) return NULL;
    char *copy = arena_alloc(a, n + 1);
    if (copy && n) memcpy(copy, s, n);
    return copy; /* the memory was zeroed: the NUL is there */
}

char *arena_strdup(arena *a, const char *s) {
    return arena_strndup(a, s, strlen(s));
}

char *arena_printf(arena *a, const char *format, ...) {
    va_list ap, again;
    va_start(ap, format);
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, format, ap);
    char *s = n < 0 ? NULL : arena_alloc(a, (size_t)n + 1);
    if (s) vsnprintf(s, (size_t)n + 1, format, again);
    va_end(again);
    va_end(ap);
    return s;
}

void arena_free(arena *a) {
    for (struct arena_chunk *c = a->chunk, *next; c; c = next) {
        next = c->next;
        mem_free(c);
    }
    a->chunk = NULL;
}
