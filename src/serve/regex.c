/* regex.c - one pass over the expression, item by item; see regex.h. A class is a list of ranges of characters. */
#include "serve/regex.h"

#include <stdlib.h>
#include <string.h>

#include "base/text.h"

enum {
    LEVELS_MOST = 60,  /* of groups in groups */
    RANGES_MOST = 256, /* of a class */
    REPEAT_MOST = 100000,
    CODE_MAX = 0x10FFFF,
};

typedef struct range {
    uint32_t lo, hi;
} range;

typedef struct set {
    size_t n;
    range list[RANGES_MOST];
} set;

typedef struct reader {
    const char *from, *p, *end, *at;
    buf *out;
    int level;
    pgr_error *err;
} reader;

static pgr_status refuse(const reader *r, pgr_status status, const char *what) {
    return fail(r->err, status, "%s: byte %zu: %s", r->at, (size_t)(r->p - r->from) + 1, what);
}

static pgr_status wrong(const reader *r, const char *what) {
    return refuse(r, PGR_E_FORMAT, what);
}

static pgr_status unsupported(const reader *r, const char *what) {
    return refuse(r, PGR_E_UNSUPPORTED, what);
}

static bool next_is(const reader *r, const char *text) {
    size_t n = strlen(text);
    return (size_t)(r->end - r->p) >= n && memcmp(r->p, text, n) == 0;
}

static bool skip(reader *r, const char *text) {
    bool is = next_is(r, text);
    if (is) r->p += strlen(text);
    return is;
}

/* ---- sets of characters ------------------------------------------------------------------------------------------ */

static bool set_add(set *s, uint32_t lo, uint32_t hi) {
    if (s->n == RANGES_MOST) return false;
    s->list[s->n++] = (range){lo, hi};
    return true;
}

static bool set_join(set *s, const set *other) {
    bool fits = true;
    for (size_t i = 0; i < other->n; i++) fits &= set_add(s, other->list[i].lo, other->list[i].hi);
    return fits;
}

static int by_lo(const void *a, const void *b) {
    const range *x = a, *y = b;
    return x->lo < y->lo ? -1 : x->lo > y->lo;
}

/* All characters that are not in it. Halves of surrogate pairs are none. */
static bool set_invert(set *s) {
    set rest = {0};
    uint32_t from = 0;
    bool fits = set_add(s, 0xD800, 0xDFFF);
    qsort(s->list, s->n, sizeof *s->list, by_lo);
    for (size_t i = 0; fits && i < s->n; i++) {
        if (s->list[i].lo > from) fits = set_add(&rest, from, s->list[i].lo - 1);
        if (s->list[i].hi >= from) from = s->list[i].hi + 1;
    }
    if (fits && from <= CODE_MAX) fits = set_add(&rest, from, CODE_MAX);
    *s = rest;
    return fits;
}

static void put_code(buf *out, uint32_t code) {
    buf_printf(out, "\\U%08X", (unsigned)code);
}

static pgr_status put_set(const reader *r, const set *s) {
    if (s->n == 0) return wrong(r, "found a class with nothing in it, expected a character");
    buf_putc(r->out, '[');
    for (size_t i = 0; i < s->n; i++) {
        put_code(r->out, s->list[i].lo);
        if (s->list[i].hi == s->list[i].lo) continue;
        buf_putc(r->out, '-');
        put_code(r->out, s->list[i].hi);
    }
    buf_putc(r->out, ']');
    return PGR_OK;
}

/* ---- escapes ----------------------------------------------------------------------------------------------------- */

/* \d, \w, \s and what is not in them. False: it is another letter. */
static bool shorthand(char c, set *out) {
    static const range digits[] = {{'0', '9'}}, words[] = {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}},
                       blanks[] = {{'\t', '\r'}, {' ', ' '}};
    const range *from = NULL;
    size_t n = 0;
    switch (c | 0x20) {
    case 'd':
        from = digits, n = 1;
        break;
    case 'w':
        from = words, n = 4;
        break;
    case 's':
        from = blanks, n = 2;
        break;
    default:
        return false;
    }
    set own = {0};
    for (size_t i = 0; i < n; i++) set_add(&own, from[i].lo, from[i].hi);
    if (!(c & 0x20)) set_invert(&own);
    *out = own;
    return true;
}

static int hex_value(char c) {
    return c >= '0' && c <= '9' ? c - '0' : (c | 0x20) >= 'a' && (c | 0x20) <= 'f' ? (c | 0x20) - 'a' + 10 : -1;
}

static pgr_status read_hex(reader *r, int n_digit, uint32_t *code) {
    *code = 0;
    for (int i = 0; i < n_digit; i++, r->p++) {
        int v = r->p < r->end ? hex_value(*r->p) : -1;
        if (v < 0) return wrong(r, "expected hex digits: \\xHH, \\uHHHH, \\UHHHHHHHH");
        *code = *code * 16 + (uint32_t)v;
    }
    if (*code > CODE_MAX || (*code >= 0xD800 && *code <= 0xDFFF)) return wrong(r, "this is no character");
    return PGR_OK;
}

static pgr_status read_letter(reader *r, char c, uint32_t *code) {
    static const char letters[] = "nrtfva0", meant[] = "\n\r\t\f\v\a\0";
    const char *at = c ? strchr(letters, c) : NULL;
    r->p++;
    if (c == 'x') return read_hex(r, 2, code);
    if (c == 'u') return read_hex(r, 4, code);
    if (c == 'U') return read_hex(r, 8, code);
    if (at) {
        *code = (unsigned char)meant[at - letters];
        return PGR_OK;
    }
    r->p--;
    if (c == 'b' || c == 'B') return unsupported(r, "borders of words (\\b) are not supported");
    if (c >= '1' && c <= '9') return unsupported(r, "references back (\\1) are not supported");
    if (c == 'p' || c == 'P') return unsupported(r, "classes of Unicode (\\p) are not supported");
    return wrong(r, "found an unknown escape, expected one of d D w W s S n r t f v xHH uHHHH UHHHHHHHH or a sign");
}

/* Behind a backslash: a class, or one character. */
static pgr_status read_escape(reader *r, set *out) {
    uint32_t code;
    if (r->p == r->end) return wrong(r, "found the end, expected something behind \\");
    char c = *r->p;
    bool letter = (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z');
    if (shorthand(c, out)) {
        r->p++;
        return PGR_OK;
    }
    if (letter) {
        PGR_TRY(read_letter(r, c, &code));
    } else {
        size_t n = utf8_next(r->p, (size_t)(r->end - r->p), &code);
        if (n == 0) return wrong(r, "expected UTF-8");
        r->p += n;
    }
    *out = (set){.n = 1, .list = {{code, code}}};
    return PGR_OK;
}

/* ---- classes ----------------------------------------------------------------------------------------------------- */

static pgr_status read_member(reader *r, set *out) {
    uint32_t code;
    if (next_is(r, "[:")) return unsupported(r, "named classes ([:alpha:]) are not supported");
    if (skip(r, "\\")) return read_escape(r, out);
    size_t n = utf8_next(r->p, (size_t)(r->end - r->p), &code);
    if (n == 0) return wrong(r, "expected UTF-8");
    r->p += n;
    *out = (set){.n = 1, .list = {{code, code}}};
    return PGR_OK;
}

static bool is_one(const set *s) {
    return s->n == 1 && s->list[0].lo == s->list[0].hi;
}

/* A character, or a range of them, or a class in the class. */
static pgr_status add_member(reader *r, set *all) {
    set own, to;
    PGR_TRY(read_member(r, &own));
    if (next_is(r, "-") && !next_is(r, "-]") && r->p + 1 < r->end) {
        r->p++;
        PGR_TRY(read_member(r, &to));
        if (!is_one(&own) || !is_one(&to) || own.list[0].lo > to.list[0].lo)
            return wrong(r, "expected a range from one character to a later one");
        own.list[0].hi = to.list[0].lo;
    }
    return set_join(all, &own) ? PGR_OK : unsupported(r, "this class has too many ranges");
}

/* Behind the [. A ] in the first place is itself. */
static pgr_status read_class(reader *r) {
    set all = {0};
    bool inverted = skip(r, "^");
    do {
        if (r->p == r->end) return wrong(r, "found the end, expected ]");
        PGR_TRY(add_member(r, &all));
    } while (!skip(r, "]"));
    if (inverted && !set_invert(&all)) return unsupported(r, "this class has too many ranges");
    return put_set(r, &all);
}

/* ---- items ------------------------------------------------------------------------------------------------------- */

static pgr_status read_alternatives(reader *r);

static pgr_status read_group(reader *r) {
    static const char *const around[] = {"?=", "?!", "?<=", "?<!"};
    for (size_t i = 0; i < 4; i++)
        if (next_is(r, around[i])) return unsupported(r, "looking around ((?=...), (?<!...)) is not supported");
    if (skip(r, "?P<") || skip(r, "?<")) { /* a group's name says nothing about the texts */
        while (r->p < r->end && *r->p != '>') r->p++;
        if (!skip(r, ">")) return wrong(r, "expected > behind a group's name");
    } else if (!skip(r, "?:") && next_is(r, "?")) {
        return unsupported(r, "flags, references and atomic groups ((?i), (?P=n), (?>...)) are not supported");
    }
    if (r->level == LEVELS_MOST) return unsupported(r, "groups are nested too deep");
    r->level++;
    buf_putc(r->out, '(');
    PGR_TRY(read_alternatives(r));
    buf_putc(r->out, ')');
    r->level--;
    return skip(r, ")") ? PGR_OK : wrong(r, "expected )");
}

static pgr_status read_atom(reader *r) {
    set own;
    if (skip(r, "(")) return read_group(r);
    if (skip(r, "[")) return read_class(r);
    if (skip(r, ".")) {
        own = (set){.n = 1, .list = {{'\n', '\n'}}};
        set_invert(&own);
    } else if (skip(r, "\\")) {
        PGR_TRY(read_escape(r, &own));
    } else if (strchr("*+?", *r->p)) {
        return wrong(r, "found a repeat, expected something to repeat before it");
    } else if (*r->p == '^' || *r->p == '$') {
        return unsupported(r, "expected ^ and $ at the ends of the expression only");
    } else {
        PGR_TRY(read_member(r, &own));
    }
    return put_set(r, &own);
}

static bool read_count(const char **p, const char *end, long *out) {
    const char *from = *p;
    *out = 0;
    for (; *p < end && **p >= '0' && **p <= '9'; ++*p)
        if (*out <= REPEAT_MOST) *out = *out * 10 + (**p - '0');
    return *p > from;
}

/* {m}, {m,}, {,n}, {m,n}; anything else in braces is itself. */
static bool read_braces(reader *r, long *lo, long *hi) {
    const char *p = r->p + 1;
    if (!next_is(r, "{")) return false;
    bool low = read_count(&p, r->end, lo), high = low;
    *hi = *lo;
    if (p < r->end && *p == ',') {
        p++;
        high = read_count(&p, r->end, hi);
        if (!high) *hi = -1;
    }
    if (p == r->end || *p != '}' || (!low && !high)) return false;
    r->p = p + 1;
    return true;
}

static bool read_repeat(reader *r, long *lo, long *hi) {
    if (read_braces(r, lo, hi)) return true;
    *lo = next_is(r, "+");
    *hi = next_is(r, "?") ? 1 : -1;
    return skip(r, "*") || skip(r, "+") || skip(r, "?");
}

static pgr_status put_repeat(reader *r) {
    long lo, hi;
    if (!read_repeat(r, &lo, &hi)) return PGR_OK;
    if (lo > REPEAT_MOST || hi > REPEAT_MOST) return unsupported(r, "expected repeats of at most 100000");
    if (hi >= 0 && lo > hi) return wrong(r, "expected {least,most}");
    if (hi < 0)
        buf_printf(r->out, "{%ld,}", lo);
    else
        buf_printf(r->out, "{%ld,%ld}", lo, hi);
    if (skip(r, "?")) return PGR_OK; /* lazy */
    if (next_is(r, "+")) return unsupported(r, "repeats that give nothing back (a++) are not supported");
    return next_is(r, "*") || read_braces(r, &lo, &hi) ? wrong(r, "found a repeat of a repeat") : PGR_OK;
}

/* ^ and $ at the ends of the whole expression say what holds anyway. */
static bool skip_anchor(reader *r, bool first) {
    if (r->level > 0 || r->p == r->end) return false;
    if (first && (skip(r, "^") || skip(r, "\\A"))) return true;
    const char *from = r->p;
    bool last = (skip(r, "$") || skip(r, "\\Z") || skip(r, "\\z")) && (r->p == r->end || next_is(r, "|"));
    if (!last) r->p = from;
    return last;
}

static pgr_status read_sequence(reader *r) {
    bool empty = true, first = true;
    while (r->p < r->end && *r->p != '|' && (*r->p != ')' || r->level == 0)) {
        bool anchor = skip_anchor(r, first);
        first = false;
        if (anchor) continue;
        if (*r->p == ')') return wrong(r, "found ), expected ( before it");
        PGR_TRY(read_atom(r));
        PGR_TRY(put_repeat(r));
        buf_putc(r->out, ' ');
        empty = false;
    }
    if (empty) buf_puts(r->out, "\"\"");
    return PGR_OK;
}

static pgr_status read_alternatives(reader *r) {
    PGR_TRY(read_sequence(r));
    while (skip(r, "|")) {
        buf_puts(r->out, " | ");
        PGR_TRY(read_sequence(r));
    }
    return PGR_OK;
}

pgr_status regex_grammar(const char *regex, size_t n, const char *at, buf *out, pgr_error *err) {
    reader r = {.from = regex, .p = regex, .end = regex + n, .at = at, .out = out, .err = err};
    buf_puts(out, "root ::= ");
    PGR_TRY(read_alternatives(&r));
    buf_putc(out, '\n');
    return out->failed ? fail_mem(err) : PGR_OK;
}
