/* chain_object.c - reads the object of a full chain as models write it: JSON, and what is nearly JSON. Linear time,
 * nesting bounded; what cannot be read is passed over, never an error. */
#include <string.h>

#include "base/text.h"
#include "judge/chain_parts.h"

enum { MAX_DEPTH = 24 };

typedef struct reader {
    const char *p, *end;
    arena *a;
    bool mem; /* ran out of memory */
} reader;

size_t key_plain(span key, char *out, size_t size) {
    size_t n = 0;
    for (const char *p = key.s; p < key.end && n + 1 < size; p++)
        if (is_alnum(*p)) out[n++] = lower_ascii(*p);
    out[n] = 0;
    return n;
}

bool key_is(const node *n, const char *plain) {
    char key[32];
    key_plain(n->key, key, sizeof key);
    return strcmp(key, plain) == 0;
}

/* Bytes of the quotation mark at s: straight or typographic; 0: none. */
static size_t quote_length(const char *s, const char *end) {
    if (s < end && (*s == '"' || *s == '\'')) return 1;
    return end - s >= 3 && (memcmp(s, "\xE2\x80\x9C", 3) == 0 || memcmp(s, "\xE2\x80\x9D", 3) == 0) ? 3 : 0;
}

/* A bare word with a colon behind it, or a literal: what may stand after a comma besides quotes and brackets. */
static bool bare_key(const char *s, const char *end) {
    const char *p = s;
    while (p < end && p - s < 64 && (is_alnum(*p) || *p == '_')) p++;
    if (p == s) return false;
    p = skip_blank(p, end - p > 8 ? p + 8 : end);
    return p < end && *p == ':';
}

/* May the string end before s? A quotation mark inside a text is followed by more text. */
static bool string_ends(const char *s, const char *end, bool key, bool in_array) {
    const char *q = skip_blank(s, end);
    if (q == end) return true;
    if (key) return *q == ':' || *q == '=';
    if (*q == '}' || *q == ']') return true;
    if (*q != ',') /* a forgotten comma: the next key is on the next line */
        return memchr(s, '\n', (size_t)(q - s)) && quote_length(q, end);
    q = skip_blank(q + 1, end);
    if (q == end || quote_length(q, end) || *q == '}' || *q == ']') return true;
    if (!in_array) return bare_key(q, end);
    return is_digit(*q) || *q == '-' || *q == '{' || *q == '[' || span_begins((span){q, end}, "null")
           || span_begins((span){q, end}, "true") || span_begins((span){q, end}, "false");
}

static int hex4(const char *s, const char *end) {
    int v = 0;
    if (end - s < 4) return -1;
    for (int i = 0; i < 4; i++) {
        char c = lower_ascii(s[i]);
        if (!is_digit(c) && (c < 'a' || c > 'f')) return -1;
        v = 16 * v + (is_digit(c) ? c - '0' : c - 'a' + 10);
    }
    return v;
}

/* \uXXXX behind s (pairs of surrogates too); returns behind it, NULL if it is none. */
static const char *unescape_unicode(const char *s, const char *end, char **out) {
    int high = hex4(s, end);
    if (high < 0) return NULL;
    s += 4;
    uint32_t code = (uint32_t)high;
    if (code >= 0xD800 && code < 0xDC00 && end - s >= 6 && s[0] == '\\' && s[1] == 'u') {
        int low = hex4(s + 2, end);
        if (low >= 0xDC00 && low < 0xE000) {
            code = 0x10000 + ((code - 0xD800) << 10) + ((uint32_t)low - 0xDC00);
            s += 6;
        }
    }
    *out += utf8_put(*out, code ? code : ' ');
    return s;
}

/* Copy with escapes undone: never longer than the source (six bytes of \uXXXX are at most three, a pair at most four).
 */
static span unescape(reader *r, span t) {
    char *out = arena_alloc(r->a, (size_t)(t.end - t.s) + 1), *w = out;
    if (!out) {
        r->mem = true;
        return (span){t.end, t.end};
    }
    for (const char *p = t.s; p < t.end;) {
        if (*p != '\\' || p + 1 == t.end) {
            *w++ = *p++;
            continue;
        }
        char c = p[1];
        const char *after = c == 'u' ? unescape_unicode(p + 2, t.end, &w) : NULL;
        if (after) {
            p = after;
            continue;
        }
        *w++ = c == 'n' ? '\n' : c == 't' ? '\t' : c == 'r' ? '\n' : c == 'b' || c == 'f' ? ' ' : c;
        p += 2;
    }
    return (span){out, w};
}

static span read_string(reader *r, bool key, bool in_array) {
    size_t open = quote_length(r->p, r->end);
    char mark = *r->p;
    const char *s = r->p += open;
    for (; r->p < r->end; r->p++) {
        if (*r->p == '\\' && r->p + 1 < r->end) {
            r->p++;
            continue;
        }
        size_t close = *r->p == mark ? quote_length(r->p, r->end) : 0;
        if (!close || !string_ends(r->p + close, r->end, key, in_array)) continue;
        span t = {s, r->p};
        r->p += close;
        return unescape(r, t);
    }
    r->p = r->end;
    return unescape(r, (span){s, r->end});
}

/* 7,2 in an object: the comma ends no member, since what follows is no key. */
static bool inside_number(const reader *r, const char *from) {
    const char *p = r->p;
    return *p == ',' && p > from && is_digit(p[-1]) && p + 1 < r->end && is_digit(p[1]) && !bare_key(p + 1, r->end);
}

static span read_raw(reader *r, const char *stops, bool in_array) {
    const char *s = r->p;
    for (; r->p < r->end; r->p++)
        if (strchr(stops, *r->p ? *r->p : ' ') && (in_array || !inside_number(r, s))) break;
    return span_trim((span){s, r->p});
}

static node *add_child(reader *r, node *parent, span key) {
    node *n = arena_alloc(r->a, sizeof *n);
    if (!n) {
        r->mem = true;
        return NULL;
    }
    n->kind = NODE_RAW;
    n->key = key;
    n->text = (span){r->end, r->end};
    if (parent->last)
        parent->last->next = n;
    else
        parent->first = n;
    parent->last = n;
    return n;
}

static void read_members(reader *r, node *parent, int depth);

static void read_value(reader *r, node *n, bool in_array, int depth) {
    r->p = skip_blank(r->p, r->end);
    if (r->p == r->end) return;
    if ((*r->p == '{' || *r->p == '[') && depth < MAX_DEPTH) {
        n->kind = *r->p++ == '{' ? NODE_OBJECT : NODE_ARRAY;
        read_members(r, n, depth + 1);
    } else if (quote_length(r->p, r->end)) {
        n->kind = NODE_STRING;
        n->text = read_string(r, false, in_array);
    } else {
        n->text = read_raw(r, in_array ? ",]}\n" : ",}\n", in_array);
    }
}

static span read_key(reader *r) {
    span key = quote_length(r->p, r->end) ? read_string(r, true, false) : read_raw(r, ":=,}\n", false);
    const char *q = skip_blank(r->p, r->end);
    if (q < r->end && (*q == ':' || *q == '=')) {
        r->p = q + 1;
        return key;
    }
    return (span){r->p, r->p}; /* no value: the key is passed over */
}

/* Members up to the closing bracket, which is taken, or to the end of the text. */
static void read_members(reader *r, node *parent, int depth) {
    bool object = parent->kind == NODE_OBJECT;
    while (!r->mem) {
        while (r->p < r->end && (is_blank(*r->p) || *r->p == ',')) r->p++;
        if (r->p == r->end) return;
        if (*r->p == '}' || *r->p == ']') {
            if (object == (*r->p == '}')) {
                r->p++;
                return;
            }
            if (!object) return; /* the array was not closed, the object around it is */
            r->p++;
            continue;
        }
        const char *before = r->p;
        span key = {r->p, r->p};
        if (object) key = read_key(r);
        if (!object || key.s < key.end) {
            node *n = add_child(r, parent, key);
            if (n) read_value(r, n, !object, depth);
        }
        if (r->p == before) r->p++;
    }
}

pgr_status object_read(span text, arena *a, node **out, pgr_error *err) {
    node *root = arena_alloc(a, sizeof *root);
    if (!root) return fail_mem(err);
    reader r = {text.s, text.end, a, false};
    root->kind = NODE_OBJECT;
    if (r.p < r.end && *r.p == '{') r.p++;
    read_members(&r, root, 1);
    if (r.mem) return fail_mem(err);
    *out = root;
    return PGR_OK;
}
