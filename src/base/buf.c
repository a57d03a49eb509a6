/* buf.c - growth by doubling for byte strings and id lists; the first failed growth sticks. */
#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"

/* The capacity that holds need elements: doubled from cap, or need itself near the end of the range. */
static size_t grown(size_t cap, size_t need, size_t least) {
    if (cap < least) cap = least;
    while (cap < need) {
        if (cap > SIZE_MAX / 2) return need;
        cap *= 2;
    }
    return cap;
}

/* Room for n more bytes and the NUL; false (and failed) when there is none. */
static bool buf_room(buf *b, size_t n) {
    if (b->failed) return false;
    if (b->n < b->cap && n < b->cap - b->n) return true;
    if (n > SIZE_MAX - 1 - b->n) {
        b->failed = true;
        return false;
    }
    size_t cap = grown(b->cap, b->n + n + 1, 64);
    char *data = mem_resize(b->data, cap);
    if (!data) {
        b->failed = true;
        return false;
    }
    b->data = data;
    b->cap = cap;
    return true;
}

void buf_add(buf *b, const void *p, size_t n) {
    if (!buf_room(b, n)) return;
    if (n) memcpy(b->data + b->n, p, n);
    b->n += n;
    b->data[b->n] = '\0';
}

void buf_puts(buf *b, const char *s) {
    buf_add(b, s, strlen(s));
}
void buf_putc(buf *b, char c) {
    buf_add(b, &c, 1);
}

void buf_printf(buf *b, const char *format, ...) {
    va_list ap, again;
    va_start(ap, format);
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, format, ap);
    if (n < 0) b->failed = true;
    if (n >= 0 && buf_room(b, (size_t)n)) {
        vsnprintf(b->data + b->n, (size_t)n + 1, format, again);
        b->n += (size_t)n;
    }
    va_end(again);
    va_end(ap);
}

void buf_reserve(buf *b, size_t n) {
    buf_room(b, n);
}

void buf_clear(buf *b) {
    b->n = 0;
    b->failed = false;
    if (b->data) b->data[0] = '\0';
}

void buf_free(buf *b) {
    mem_free(b->data);
    *b = (buf){0};
}

char *buf_take(buf *b) {
    buf_add(b, "", 0); /* so that there is a string even if nothing was appended */
    char *s = b->failed ? NULL : b->data;
    if (!s) mem_free(b->data);
    *b = (buf){0};
    return s;
}

void ids_push(ids *s, int32_t id) {
    ids_append(s, &id, 1);
}

void ids_reserve(ids *s, size_t n) {
    if (s->failed || n <= s->cap - s->n) return;
    size_t cap = n > SIZE_MAX - s->n ? SIZE_MAX : grown(s->cap, s->n + n, 16);
    int32_t *grow = cap > SIZE_MAX / sizeof *s->v ? NULL : mem_resize(s->v, cap * sizeof *s->v);
    if (!grow) {
        s->failed = true;
        return;
    }
    s->v = grow;
    s->cap = cap;
}

void ids_append(ids *s, const int32_t *v, size_t n) {
    ids_reserve(s, n);
    if (s->failed || n == 0) return;
    memcpy(s->v + s->n, v, n * sizeof *v);
    s->n += n;
}

void ids_free(ids *s) {
    mem_free(s->v);
    *s = (ids){0};
}
