/* jinja_string.c - owns strings: their making, and what of them the template made. */
#include <string.h>

#include "base/text.h"
#include "text/jinja_value.h"

pgr_status js_room(jrun *r, size_t n, bool has_made, char **s, uint8_t **made) {
    *s = NULL;
    *made = NULL;
    PGR_TRY(jv_alloc(r, n, 1, s));
    return has_made ? jv_alloc(r, n, 1, made) : PGR_OK;
}

pgr_status jv_text(jrun *r, const char *text, size_t n, bool made, jstring *out) {
    char *s = NULL;
    uint8_t *m = NULL;
    PGR_TRY(js_room(r, n, made, &s, &m));
    if (n) memcpy(s, text, n);
    if (made) memset(m, 1, n);
    *out = (jstring){s, m, n};
    return PGR_OK;
}

pgr_status jv_taken(jrun *r, const buf *text, const buf *made, jstring *out) {
    if (text->failed || made->failed) return fail_mem(r->at.err);
    char *s = NULL;
    uint8_t *m = NULL;
    PGR_TRY(js_room(r, text->n, true, &s, &m));
    if (text->n) memcpy(s, text->data, text->n), memcpy(m, made->data, text->n);
    *out = (jstring){s, m, text->n};
    return PGR_OK;
}

pgr_status js_join(jrun *r, jstring a, jstring b, jstring *out) {
    char *s = NULL;
    uint8_t *m = NULL;
    PGR_TRY(js_room(r, a.n + b.n, a.made || b.made, &s, &m));
    if (a.n) memcpy(s, a.s, a.n);
    if (b.n) memcpy(s + a.n, b.s, b.n);
    if (m && a.made) memcpy(m, a.made, a.n); /* the arena's memory is zero */
    if (m && b.made) memcpy(m + a.n, b.made, b.n);
    *out = (jstring){s, m, a.n + b.n};
    return PGR_OK;
}

bool js_is(jstring s, const char *text) {
    return s.n == strlen(text) && memcmp(s.s, text, s.n) == 0;
}

jstring js_part(jstring s, size_t begin, size_t end) {
    return (jstring){s.s + begin, s.made ? s.made + begin : NULL, end - begin};
}

size_t js_find(jstring s, size_t from, jstring what) {
    const char *p = what.n == 0 ? s.s + from : memmem(s.s + from, s.n - from, what.s, what.n);
    return p ? (size_t)(p - s.s) : SIZE_MAX;
}

size_t js_char(jstring s, size_t at) {
    size_t len = utf8_next(s.s + at, s.n - at, NULL);
    return len ? len : 1;
}

size_t js_length(jstring s) {
    size_t n = 0;
    for (size_t i = 0; i < s.n; i += js_char(s, i)) n++;
    return n;
}

static size_t char_before(jstring s, size_t end) {
    size_t len = 1;
    while (len < 4 && len < end && ((uint8_t)s.s[end - len] & 0xc0) == 0x80) len++;
    return utf8_next(s.s + end - len, len, NULL) == len ? len : 1;
}

static bool stripped(jstring s, size_t at, size_t len, const jstring *chars) {
    if (!chars) return jinja_space_at(s.s + at, len) == len;
    for (size_t i = 0, n; i < chars->n; i += n)
        if ((n = js_char(*chars, i)) == len && memcmp(chars->s + i, s.s + at, len) == 0) return true;
    return false;
}

jstring js_strip(jstring s, const jstring *chars, bool left, bool right) {
    for (size_t len; left && s.n && stripped(s, 0, len = js_char(s, 0), chars);) s = js_part(s, len, s.n);
    while (right && s.n) {
        size_t len = char_before(s, s.n);
        if (!stripped(s, s.n - len, len, chars)) break;
        s.n -= len;
    }
    return s;
}

void js_put(buf *text, buf *made, jstring s) {
    static const char zero[64];
    buf_add(text, s.s, s.n);
    if (s.made) {
        buf_add(made, s.made, s.n);
        return;
    }
    for (size_t n; s.n > 0; s.n -= n) buf_add(made, zero, n = s.n < sizeof zero ? s.n : sizeof zero);
}
