/* tok_merges.c - owns a scanner of just as much JSON as finding and reading model.merges takes. The rest of the file
 * goes through jansson, which checks it. */
#include "text/tok_merges.h"

#include <string.h>

#include "base/text.h"

static bool is_space(char c) {
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

static const char *skip_space(const char *s, const char *end) {
    while (s < end && is_space(*s)) s++;
    return s;
}

/* s at the opening quote; behind the closing one, NULL if there is none */
static const char *skip_string(const char *s, const char *end) {
    for (s++; s < end && *s != '"'; s++)
        if (*s == '\\') s++;
    return s < end ? s + 1 : NULL;
}

/* Behind the value at s, NULL if the text ends before. Brackets are counted, not matched. */
static const char *skip_value(const char *s, const char *end) {
    size_t depth = 0;
    while (s < end) {
        if (*s == '"') {
            if (!(s = skip_string(s, end))) return NULL;
        } else if (*s == '[' || *s == '{') {
            depth++;
            s++;
        } else if (*s == ']' || *s == '}') {
            if (depth == 0) return s;
            depth--;
            s++;
        } else if (depth == 0 && (*s == ',' || is_space(*s))) {
            return s;
        } else {
            s++;
            continue; /* of a number or a word */
        }
        if (depth == 0) return s;
    }
    return NULL;
}

/* The value of a key in the object at s, NULL if it has none. */
static const char *find_key(const char *s, const char *end, const char *key) {
    size_t n = strlen(key);
    s = skip_space(s, end);
    if (s == end || *s != '{') return NULL;
    do {
        const char *name = skip_space(s + 1, end);
        if (name == end || *name != '"' || !(s = skip_string(name, end))) return NULL;
        bool hit = (size_t)(s - name) == n + 2 && memcmp(name + 1, key, n) == 0;
        s = skip_space(s, end);
        if (s == end || *s != ':') return NULL;
        s = skip_space(s + 1, end);
        if (hit) return s;
        if (!(s = skip_value(s, end))) return NULL;
        s = skip_space(s, end);
    } while (s < end && *s == ',');
    return NULL;
}

bool merges_find(const char *text, size_t n, text_span *out) {
    const char *end = text + n, *model = find_key(text, end, "model");
    const char *s = model ? find_key(model, end, "merges") : NULL;
    const char *behind = s && s < end && *s == '[' ? skip_value(s, end) : NULL;
    if (!behind) return false;
    *out = (text_span){s, (size_t)(behind - s)};
    return true;
}

pgr_status merges_cut_out(const char *text, size_t n, text_span merges, buf *out, pgr_error *err) {
    const char *end = merges.s + merges.n;
    buf_add(out, text, (size_t)(merges.s - text));
    buf_putc(out, '[');
    for (const char *s = merges.s; (s = memchr(s, '\n', (size_t)(end - s))); s++) buf_putc(out, '\n');
    buf_putc(out, ']');
    buf_add(out, end, (size_t)(text + n - end));
    return out->failed ? fail_mem(err) : PGR_OK;
}

/* ---- reading ---- */

/* Four hexadecimal digits; false if they are none. */
static bool read_hex(const char *s, const char *end, uint32_t *out) {
    static const char digits[] = "0123456789abcdef";
    *out = 0;
    if (end - s < 4) return false;
    for (int i = 0; i < 4; i++) {
        char c = s[i] >= 'A' && s[i] <= 'F' ? (char)(s[i] + 32) : s[i];
        const char *digit = c ? strchr(digits, c) : NULL;
        if (!digit) return false;
        *out = *out << 4 | (uint32_t)(digit - digits);
    }
    return true;
}

/* s behind the backslash; behind the escape, NULL if it is none */
static const char *read_escape(const char *s, const char *end, buf *out) {
    static const char names[] = "\"\\/bfnrt", values[] = "\"\\/\b\f\n\r\t";
    const char *name = s < end && *s ? strchr(names, *s) : NULL;
    uint32_t code, low;
    char c[4];
    if (name) {
        buf_putc(out, values[name - names]);
        return s + 1;
    }
    if (s == end || *s != 'u' || !read_hex(s + 1, end, &code) || code == 0) return NULL;
    s += 5;
    if (code >= 0xd800 && code < 0xe000) { /* a pair of surrogates */
        if (code >= 0xdc00 || end - s < 6 || s[0] != '\\' || s[1] != 'u' || !read_hex(s + 2, end, &low)) return NULL;
        if (low < 0xdc00 || low >= 0xe000) return NULL;
        code = 0x10000 + ((code - 0xd800) << 10 | (low - 0xdc00));
        s += 6;
    }
    buf_add(out, c, utf8_put(c, code));
    return s;
}

/* The string at s into out; behind it, NULL if it is none. */
static const char *read_string(const char *s, const char *end, buf *out) {
    buf_clear(out);
    if (s == end || *s != '"') return NULL;
    for (s++; s < end && *s != '"';) {
        const char *from = s;
        while (s < end && *s != '"' && *s != '\\') s++;
        buf_add(out, from, (size_t)(s - from));
        if (s < end && *s == '\\' && !(s = read_escape(s + 1, end, out))) return NULL;
    }
    return s < end ? s + 1 : NULL;
}

/* "a b", with one space */
static bool split_at_space(const buf *b, text_span side[2]) {
    const char *s = b->data ? b->data : "", *space = memchr(s, ' ', b->n);
    if (!space || memchr(space + 1, ' ', b->n - (size_t)(space + 1 - s))) return false;
    side[0] = (text_span){s, (size_t)(space - s)};
    side[1] = (text_span){space + 1, b->n - side[0].n - 1};
    return true;
}

/* ["a","b"]; behind it, NULL if it is none */
static const char *read_pair(const char *s, const char *end, merges_scan *m, text_span side[2]) {
    if (!(s = read_string(skip_space(s + 1, end), end, &m->halves[0]))) return NULL;
    s = skip_space(s, end);
    if (s == end || *s != ',') return NULL;
    if (!(s = read_string(skip_space(s + 1, end), end, &m->halves[1]))) return NULL;
    s = skip_space(s, end);
    if (s == end || *s != ']') return NULL;
    for (int k = 0; k < 2; k++) side[k] = (text_span){m->halves[k].data ? m->halves[k].data : "", m->halves[k].n};
    return s + 1;
}

bool merges_next(merges_scan *m, text_span side[2], bool *more) {
    const char *s = skip_space(m->s, m->end);
    *more = false;
    if (s == m->end) return false;
    if (*s == ']') return m->begun;
    if (*s != (m->begun ? ',' : '[')) return false;
    s = skip_space(s + 1, m->end);
    if (!m->begun && s < m->end && *s == ']') return true;
    m->begun = true;
    if (s < m->end && *s == '[') {
        if (!(s = read_pair(s, m->end, m, side))) return false;
    } else if (!(s = read_string(s, m->end, &m->halves[0])) || !split_at_space(&m->halves[0], side)) {
        return false;
    }
    m->s = s;
    *more = true;
    return true;
}
