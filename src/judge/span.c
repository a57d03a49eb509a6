/* span.c - spans of text and numbers as people write them; see span.h. */
#include "judge/span.h"

#include <string.h>

#include "base/text.h"

bool is_blank(char c) {
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

char lower_ascii(char c) {
    return (char)(c >= 'A' && c <= 'Z' ? c + 32 : c);
}

bool is_alnum(char c) {
    char l = lower_ascii(c);
    return is_digit(c) || (l >= 'a' && l <= 'z') || (unsigned char)c >= 0x80;
}

const char *skip_blank(const char *s, const char *end) {
    while (s < end && is_blank(*s)) s++;
    return s;
}

span span_trim(span t) {
    t.s = skip_blank(t.s, t.end);
    while (t.end > t.s && is_blank(t.end[-1])) t.end--;
    return t;
}

bool span_begins(span t, const char *prefix) {
    for (; *prefix; prefix++, t.s++)
        if (t.s == t.end || lower_ascii(*t.s) != lower_ascii(*prefix)) return false;
    return true;
}

const char *span_find(span t, const char *what) {
    for (; t.s < t.end; t.s++)
        if (span_begins(t, what)) return t.s;
    return NULL;
}

span span_line(const char *s, const char *end) {
    const char *stop = s < end ? memchr(s, '\n', (size_t)(end - s)) : NULL;
    return (span){s, stop ? stop : end};
}

char *span_copy(arena *a, span t, size_t max) {
    t = span_trim(t);
    size_t n = (size_t)(t.end - t.s), m = 0;
    if (n > 4 * max) n = 4 * max; /* more blanks than this are not copied */
    char *out = arena_alloc(a, n + 1);
    if (!out) return NULL;
    for (size_t i = 0; i < n; i++) {
        char c = t.s[i];
        if ((unsigned char)c <= 0x20 || c == 0x7F) {
            if (m && out[m - 1] != ' ') out[m++] = ' ';
        } else {
            out[m++] = c;
        }
    }
    m = utf8_complete(out, utf8_clip(out, m, max));
    while (m && out[m - 1] == ' ') m--;
    out[m] = 0;
    return out;
}

bool number_read(const char **s, const char *end, double *out) {
    const char *p = *s;
    double mantissa = 0.0, scale = 1.0;
    size_t digits = 0;
    for (; p < end && is_digit(*p); p++, digits++) mantissa = 10.0 * mantissa + (*p - '0');
    if (p + 1 < end && *p == '.' && is_digit(p[1]))
        for (p++; p < end && is_digit(*p); p++, digits++)
            if (scale < 1e15) mantissa = 10.0 * mantissa + (*p - '0'), scale *= 10.0;
    if (digits == 0 || (p + 1 < end && *p == ',' && is_digit(p[1]))) return false; /* 7,2: whatever that means */
    *out = mantissa / scale; /* both exact up to 15 digits, so the quotient is the nearest double */
    *s = p;
    return true;
}
