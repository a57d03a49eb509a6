/* buf.h - growing byte strings and id lists. Failure sticks: append freely, ask once at the end. */
#ifndef PGR_BASE_BUF_H
#define PGR_BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct buf {
    char *data; /* NUL-terminated whenever not NULL */
    size_t n, cap;
    bool failed; /* an append ran out of memory; the contents are not to be used */
} buf;           /* all zero is an empty buffer */

void buf_add(buf *b, const void *p, size_t n);
void buf_puts(buf *b, const char *s);
void buf_putc(buf *b, char c);
void buf_printf(buf *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
void buf_reserve(buf *b, size_t n); /* room for n bytes more */
void buf_clear(buf *b);       /* keeps the memory, clears `failed` */
void buf_free(buf *b);
char *buf_take(buf *b);       /* the string ("" if nothing was appended), now the caller's; NULL if failed */

typedef struct ids { /* token ids */
    int32_t *v;
    size_t n, cap;
    bool failed;
} ids;

void ids_push(ids *s, int32_t id);
void ids_reserve(ids *s, size_t n); /* room for n more */
void ids_append(ids *s, const int32_t *v, size_t n);
void ids_free(ids *s);

#endif
