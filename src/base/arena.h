/* arena.h - memory of one lifetime (model, session, request): many allocations, one free. Not thread-safe. */
#ifndef PGR_BASE_ARENA_H
#define PGR_BASE_ARENA_H

#include <stdarg.h>
#include <stddef.h>

struct arena_chunk;
typedef struct arena {
    struct arena_chunk *chunk; /* newest first */
} arena; /* all zero is an empty arena */

void *arena_alloc(arena *a, size_t size);               /* 16-byte aligned, zeroed; NULL when out of memory */
void *arena_array(arena *a, size_t count, size_t size); /* the same, overflow checked */
char *arena_strndup(arena *a, const char *s, size_t n); /* NUL-terminated copy of exactly n bytes */
char *arena_strdup(arena *a, const char *s);
char *arena_printf(arena *a, const char *format, ...) __attribute__((format(printf, 2, 3)));
void arena_free(arena *a); /* the arena is empty afterwards */

#endif
