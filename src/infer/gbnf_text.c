/* gbnf_text.c - what of a grammar stands for characters: texts, classes, tokens by name. */
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/text.h"
#include "infer/gbnf_reader.h"

enum { CODE_MAX = 0x10FFFF, SURROGATE_FIRST = 0xD800, SURROGATE_LAST = 0xDFFF };

/* ---- texts and classes ---- */

static int hex_value(char c) {
    if (gbnf_is_digit(c)) return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

static pgr_status parse_hex(gbnf_reader *ps, int n_digit, const char *expected, uint32_t *code) {
    *code = 0;
    for (int i = 0; i < n_digit; i++, ps->p++) {
        int value = gbnf_at_end(ps) ? -1 : hex_value(*ps->p);
        if (value < 0) return gbnf_unexpected(ps, expected);
        *code = *code * 16 + (uint32_t)value;
    }
    if (*code >= SURROGATE_FIRST && *code <= SURROGATE_LAST)
        return fail(ps->err, PGR_E_FORMAT, "%s:%d: found \\u%04X, which is half a surrogate pair, expected a character",
                    ps->g->origin, ps->line, (unsigned)*code);
    if (*code > CODE_MAX)
        return fail(ps->err, PGR_E_FORMAT, "%s:%d: found \\U%08X, expected a character of at most 10FFFF",
                    ps->g->origin, ps->line, (unsigned)*code);
    return PGR_OK;
}

/* One character of a text or class, escapes resolved. A text or class ends on its own line. */
static pgr_status parse_char(gbnf_reader *ps, const char *expected, uint32_t *code) {
    if (gbnf_at_end(ps) || *ps->p == '\n') return gbnf_unexpected(ps, expected);
    if (!gbnf_skip(ps, '\\')) {
        size_t n = utf8_next(ps->p, (size_t)(ps->end - ps->p), code);
        if (n == 0) return gbnf_unexpected(ps, "UTF-8");
        ps->p += n;
        return PGR_OK;
    }
    char c = gbnf_at_end(ps) ? '\0' : *ps->p;
    switch (c) {
    case 'n':
        *code = '\n';
        break;
    case 't':
        *code = '\t';
        break;
    case 'r':
        *code = '\r';
        break;
    case '\\':
    case '"':
    case '[':
    case ']':
    case '^':
    case '-':
        *code = (uint32_t)c;
        break;
    case 'x':
        ps->p++;
        return parse_hex(ps, 2, "two hex digits after \\x", code);
    case 'u':
        ps->p++;
        return parse_hex(ps, 4, "four hex digits after \\u", code);
    case 'U':
        ps->p++;
        return parse_hex(ps, 8, "eight hex digits after \\U", code);
    default:
        return gbnf_unexpected(ps, "one of n t r \\ \" [ ] ^ - xHH uHHHH UHHHHHHHH after \\");
    }
    ps->p++;
    return PGR_OK;
}

pgr_status gbnf_parse_text(gbnf_reader *ps, gbnf_node **out) {
    PGR_TRY(gbnf_add_node(ps, GBNF_TEXT, out));
    ps->p++; /* the quote */
    buf text = {0};
    pgr_status s = PGR_OK;
    while (s == PGR_OK && !gbnf_skip(ps, '"')) {
        uint32_t code;
        char bytes[4];
        s = parse_char(ps, "\" at the end of the text", &code);
        if (s == PGR_OK) buf_add(&text, bytes, utf8_put(bytes, code));
    }
    if (s == PGR_OK && text.failed) s = fail_mem(ps->err);
    if (s == PGR_OK) s = gbnf_keep(ps, text.data, text.n, &(*out)->text);
    (*out)->n = text.n;
    buf_free(&text);
    return s;
}

static int by_lo(const void *a, const void *b) {
    const code_range *x = a, *y = b;
    return x->lo < y->lo ? -1 : x->lo > y->lo;
}

/* Sorts and joins the ranges in place; returns how many are left. */
static size_t join_ranges(code_range *r, size_t n) {
    size_t kept = 0;
    if (n) qsort(r, n, sizeof *r, by_lo);
    for (size_t i = 0; i < n; i++) {
        if (kept && r[i].lo <= r[kept - 1].hi + 1) {
            if (r[i].hi > r[kept - 1].hi) r[kept - 1].hi = r[i].hi;
        } else
            r[kept++] = r[i];
    }
    return kept;
}

/* out = what the n joined ranges leave of all code points; room for n + 1. */
static size_t complement(const code_range *r, size_t n, code_range *out) {
    size_t n_out = 0;
    uint32_t from = 0;
    for (size_t i = 0; i < n; i++) {
        if (r[i].lo > from) out[n_out++] = (code_range){from, r[i].lo - 1};
        from = r[i].hi + 1;
    }
    if (from <= CODE_MAX) out[n_out++] = (code_range){from, CODE_MAX};
    return n_out;
}

/* The node's ranges: those read, or their complement, without the surrogates. Taking the surrogates out is a union with
 * them in the complement: not(not(A) or S). */
static pgr_status set_ranges(gbnf_reader *ps, gbnf_node *node, const code_range *read, size_t n, bool negated) {
    code_range *a = arena_array(&ps->g->arena, n + 3, sizeof *a);
    code_range *b = arena_array(&ps->g->arena, n + 3, sizeof *b);
    if (!a || !b) return fail_mem(ps->err);
    if (n) memcpy(a, read, n * sizeof *a);
    n = join_ranges(a, n);
    if (!negated) {
        n = complement(a, n, b);
        memcpy(a, b, n * sizeof *a);
    }
    a[n++] = (code_range){SURROGATE_FIRST, SURROGATE_LAST};
    n = join_ranges(a, n);
    node->n = complement(a, n, b);
    node->ranges = b;
    return PGR_OK;
}

static pgr_status parse_range(gbnf_reader *ps, buf *ranges) {
    code_range r;
    PGR_TRY(parse_char(ps, "] at the end of the class", &r.lo));
    r.hi = r.lo;
    if (ps->p + 1 < ps->end && ps->p[0] == '-' && ps->p[1] != ']') {
        ps->p++;
        PGR_TRY(parse_char(ps, "] at the end of the class", &r.hi));
    }
    if (r.hi < r.lo)
        return fail(ps->err, PGR_E_FORMAT,
                    "%s:%d: found a range from U+%04X down to U+%04X, expected the lower one first", ps->g->origin,
                    ps->line, (unsigned)r.lo, (unsigned)r.hi);
    buf_add(ranges, &r, sizeof r);
    return PGR_OK;
}

pgr_status gbnf_parse_class(gbnf_reader *ps, gbnf_node **out) {
    PGR_TRY(gbnf_add_node(ps, GBNF_CLASS, out));
    ps->p++; /* the bracket */
    bool negated = gbnf_skip(ps, '^');
    if (gbnf_at(ps, ']')) return gbnf_unexpected(ps, "a character in the class (\\] for the bracket itself)");
    buf ranges = {0};
    pgr_status s = PGR_OK;
    while (s == PGR_OK && !gbnf_skip(ps, ']')) s = parse_range(ps, &ranges);
    if (s == PGR_OK && ranges.failed) s = fail_mem(ps->err);
    if (s == PGR_OK)
        s = set_ranges(ps, *out, (const code_range *)(const void *)ranges.data, ranges.n / sizeof(code_range), negated);
    buf_free(&ranges);
    return s;
}

pgr_status gbnf_parse_any(gbnf_reader *ps, gbnf_node **out) {
    ps->p++;
    PGR_TRY(gbnf_add_node(ps, GBNF_CLASS, out));
    return set_ranges(ps, *out, NULL, 0, true);
}

/* ---- tokens by name ---- */

static pgr_status note_token(gbnf_reader *ps, const char *name) {
    gbnf *g = ps->g;
    if (g->n_token == g->cap_token) { /* the arena keeps the smaller lists until the end */
        size_t cap = g->cap_token ? 2 * g->cap_token : 8;
        gbnf_token *list = arena_array(&g->arena, cap, sizeof *list);
        if (!list) return fail_mem(ps->err);
        if (g->n_token) memcpy(list, g->tokens, g->n_token * sizeof *list);
        g->tokens = list;
        g->cap_token = cap;
    }
    g->tokens[g->n_token++] = (gbnf_token){name, ps->line};
    return PGR_OK;
}

/* <name>: that very token of the vocabulary. Its text may not hold the mark, so that the marks enclose it. */
pgr_status gbnf_parse_token(gbnf_reader *ps, gbnf_node **out) {
    const char *from = ps->p, *name = NULL;
    while (!gbnf_at_end(ps) && *ps->p != '>' && *ps->p != '\n' && (uint8_t)*ps->p != GBNF_TOKEN_MARK) ps->p++;
    if (!gbnf_skip(ps, '>')) return gbnf_unexpected(ps, "> at the end of the token's name");
    size_t n = (size_t)(ps->p - from);
    if (n < 3 || from[1] == '[')
        return fail(ps->err, PGR_E_FORMAT, "%s:%d: found the token %.*s, expected its text, as in <|im_end|>",
                    ps->g->origin, ps->line, (int)n, from);
    PGR_TRY(gbnf_keep(ps, from, n, &name));
    PGR_TRY(note_token(ps, name));
    PGR_TRY(gbnf_add_node(ps, GBNF_TEXT, out));
    char *marked = arena_alloc(&ps->g->arena, n + 2);
    if (!marked) return fail_mem(ps->err);
    marked[0] = marked[n + 1] = (char)GBNF_TOKEN_MARK;
    memcpy(marked + 1, from, n);
    (*out)->text = marked;
    (*out)->n = n + 2;
    return PGR_OK;
}
