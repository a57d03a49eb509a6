/* status.c - status texts, error messages, and the end of the line for our own bugs. */
#include "base/status.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/text.h"

const char *pgr_status_text(pgr_status status) {
    switch (status) {
#define X(name, value, text)                                                                                           \
    case PGR_##name:                                                                                                   \
        return text;
        PGR_STATUS_MAP(X)
#undef X
    }
    return "unknown status";
}

void pgr_free(void *p) {
    mem_free(p);
}

/* A message is one line of UTF-8: names from outside must not break it or reach the terminal as control codes, and one
 * that a format cuts ("%.80s") may end inside a character: what is none becomes one '?'. */
static void one_line(char *s) {
    char *to = s;
    bool broken = false; /* the byte before was no character's */
    for (size_t left = strlen(s), n; left > 0; s += n, left -= n) {
        n = utf8_next(s, left, NULL);
        if (n == 0 && !broken) *to++ = '?';
        broken = n == 0;
        if (n > 1) memmove(to, s, n);
        if (n == 1) *to = (unsigned char)*s < 0x20 || *s == 0x7f ? ' ' : *s;
        to += n;
        if (n == 0) n = 1;
    }
    *to = '\0';
}

/* Set a breakpoint here to see where an error was born. */
__attribute__((noinline)) pgr_status fail(pgr_error *err, pgr_status status, const char *format, ...) {
    if (!err) return status;
    char text[sizeof err->message]; /* apart from err: an argument may be err->message itself */
    va_list ap;
    va_start(ap, format);
    int n = vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    if (n < 0) text[0] = '\0';
    if (n >= (int)sizeof text) text[utf8_complete(text, sizeof text - 1)] = '\0';
    one_line(text);
    err->status = status;
    memcpy(err->message, text, sizeof text);
    return status;
}

pgr_status fail_mem(pgr_error *err) {
    return fail(err, PGR_E_MEM, "%s", pgr_status_text(PGR_E_MEM));
}

_Noreturn void assert_failed(const char *cond, const char *file, int line) {
    fprintf(stderr, "%s:%d: bug in pgenrm: %s does not hold\n", file, line, cond);
    abort();
}
