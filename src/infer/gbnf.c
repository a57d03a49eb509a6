/* gbnf.c - reads the text of a grammar (docs/grammar.md) into a tree. Recursive descent; parentheses nest at most
 * MAX_NEST deep. What the tree means as an automaton is nfa.c's. */
#include "infer/gbnf.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/text.h"

enum { MAX_NEST = 200, MAX_REPEAT = 200000, CODE_MAX = 0x10FFFF, SURROGATE_FIRST = 0xD800, SURROGATE_LAST = 0xDFFF };

typedef struct parser {
    gbnf *g;
    const char *p, *end;
    int line, nest;
    bool hole;        /* the rule being read has one */
    gbnf_rule *rules; /* newest first */
    gbnf_node *refs;
    pgr_error *err;
} parser;

/* ---- characters and messages ---- */

static bool at_end(const parser *ps) {
    return ps->p == ps->end;
}
static bool at(const parser *ps, char c) {
    return !at_end(ps) && *ps->p == c;
}
static bool is_letter(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}
static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}
static bool in_name(char c) {
    return is_letter(c) || is_digit(c) || c == '_' || c == '-';
}

static bool skip(parser *ps, char c) {
    if (!at(ps, c)) return false;
    ps->p++;
    return true;
}

/* Spaces and comments; with lines, line ends too. */
static void skip_blank(parser *ps, bool lines) {
    for (; !at_end(ps); ps->p++) {
        if (*ps->p == '#')
            while (ps->p + 1 < ps->end && ps->p[1] != '\n') ps->p++;
        else if (*ps->p == '\n' && lines)
            ps->line++;
        else if (*ps->p != ' ' && *ps->p != '\t' && *ps->p != '\r')
            return;
    }
}

/* "ORIGIN:LINE: found WHAT, expected EXPECTED" at the place of reading. */
static pgr_status unexpected(const parser *ps, const char *expected) {
    char what[16];
    size_t n = at_end(ps) ? 0 : utf8_next(ps->p, (size_t)(ps->end - ps->p), NULL);
    if (at_end(ps))
        snprintf(what, sizeof what, "the end");
    else if (*ps->p == '\n' || *ps->p == '\r')
        snprintf(what, sizeof what, "a line end");
    else if (n == 0 || (unsigned char)*ps->p < 0x20)
        snprintf(what, sizeof what, "byte 0x%02X", (unsigned char)*ps->p);
    else
        snprintf(what, sizeof what, "'%.*s'", (int)n, ps->p);
    return fail(ps->err, PGR_E_FORMAT, "%s:%d: found %s, expected %s", ps->g->origin, ps->line, what, expected);
}

static pgr_status add_node(parser *ps, gbnf_kind kind, gbnf_node **out) {
    gbnf_node *node = arena_alloc(&ps->g->arena, sizeof *node);
    if (!node) return fail_mem(ps->err);
    node->kind = kind;
    node->line = ps->line;
    *out = node;
    return PGR_OK;
}

/* A list of one is its only child. */
static gbnf_node *without_list_of_one(gbnf_node *list) {
    return list->last && !list->last->prev ? list->last : list;
}

static void add_child(gbnf_node *parent, gbnf_node *child) {
    child->prev = parent->last;
    parent->last = child;
}

static pgr_status keep(parser *ps, const char *s, size_t n, const char **out) {
    char *copy = arena_alloc(&ps->g->arena, n + 1);
    if (!copy) return fail_mem(ps->err);
    if (n) memcpy(copy, s, n);
    *out = copy;
    return PGR_OK;
}

static pgr_status parse_name(parser *ps, const char *expected, const char **out) {
    if (at_end(ps) || !in_name(*ps->p)) return unexpected(ps, expected);
    const char *from = ps->p;
    while (!at_end(ps) && in_name(*ps->p)) ps->p++;
    return keep(ps, from, (size_t)(ps->p - from), out);
}

/* ---- texts and classes ---- */

static int hex_value(char c) {
    if (is_digit(c)) return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

static pgr_status parse_hex(parser *ps, int n_digit, const char *expected, uint32_t *code) {
    *code = 0;
    for (int i = 0; i < n_digit; i++, ps->p++) {
        int value = at_end(ps) ? -1 : hex_value(*ps->p);
        if (value < 0) return unexpected(ps, expected);
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
static pgr_status parse_char(parser *ps, const char *expected, uint32_t *code) {
    if (at_end(ps) || *ps->p == '\n') return unexpected(ps, expected);
    if (!skip(ps, '\\')) {
        size_t n = utf8_next(ps->p, (size_t)(ps->end - ps->p), code);
        if (n == 0) return unexpected(ps, "UTF-8");
        ps->p += n;
        return PGR_OK;
    }
    char c = at_end(ps) ? '\0' : *ps->p;
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
        return unexpected(ps, "one of n t r \\ \" [ ] ^ - xHH uHHHH UHHHHHHHH after \\");
    }
    ps->p++;
    return PGR_OK;
}

static pgr_status parse_text(parser *ps, gbnf_node **out) {
    PGR_TRY(add_node(ps, GBNF_TEXT, out));
    ps->p++; /* the quote */
    buf text = {0};
    pgr_status s = PGR_OK;
    while (s == PGR_OK && !skip(ps, '"')) {
        uint32_t code;
        char bytes[4];
        s = parse_char(ps, "\" at the end of the text", &code);
        if (s == PGR_OK) buf_add(&text, bytes, utf8_put(bytes, code));
    }
    if (s == PGR_OK && text.failed) s = fail_mem(ps->err);
    if (s == PGR_OK) s = keep(ps, text.data, text.n, &(*out)->text);
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
static pgr_status set_ranges(parser *ps, gbnf_node *node, const code_range *read, size_t n, bool negated) {
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

static pgr_status parse_range(parser *ps, buf *ranges) {
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

static pgr_status parse_class(parser *ps, gbnf_node **out) {
    PGR_TRY(add_node(ps, GBNF_CLASS, out));
    ps->p++; /* the bracket */
    bool negated = skip(ps, '^');
    if (at(ps, ']')) return unexpected(ps, "a character in the class (\\] for the bracket itself)");
    buf ranges = {0};
    pgr_status s = PGR_OK;
    while (s == PGR_OK && !skip(ps, ']')) s = parse_range(ps, &ranges);
    if (s == PGR_OK && ranges.failed) s = fail_mem(ps->err);
    if (s == PGR_OK)
        s = set_ranges(ps, *out, (const code_range *)(const void *)ranges.data, ranges.n / sizeof(code_range), negated);
    buf_free(&ranges);
    return s;
}

/* . is any character. */
static pgr_status parse_any(parser *ps, gbnf_node **out) {
    ps->p++;
    PGR_TRY(add_node(ps, GBNF_CLASS, out));
    return set_ranges(ps, *out, NULL, 0, true);
}

/* ---- tokens by name ---- */

static pgr_status note_token(parser *ps, const char *name) {
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
static pgr_status parse_token(parser *ps, gbnf_node **out) {
    const char *from = ps->p, *name = NULL;
    while (!at_end(ps) && *ps->p != '>' && *ps->p != '\n' && (uint8_t)*ps->p != GBNF_TOKEN_MARK) ps->p++;
    if (!skip(ps, '>')) return unexpected(ps, "> at the end of the token's name");
    size_t n = (size_t)(ps->p - from);
    if (n < 3 || from[1] == '[')
        return fail(ps->err, PGR_E_FORMAT, "%s:%d: found the token %.*s, expected its text, as in <|im_end|>",
                    ps->g->origin, ps->line, (int)n, from);
    PGR_TRY(keep(ps, from, n, &name));
    PGR_TRY(note_token(ps, name));
    PGR_TRY(add_node(ps, GBNF_TEXT, out));
    char *marked = arena_alloc(&ps->g->arena, n + 2);
    if (!marked) return fail_mem(ps->err);
    marked[0] = marked[n + 1] = (char)GBNF_TOKEN_MARK;
    memcpy(marked + 1, from, n);
    (*out)->text = marked;
    (*out)->n = n + 2;
    return PGR_OK;
}

/* ---- items, sequences, rules ---- */

static pgr_status parse_count(parser *ps, int *out) {
    if (at_end(ps) || !is_digit(*ps->p)) return unexpected(ps, "a number, as in {2} {2,} {2,5}");
    *out = 0;
    for (; !at_end(ps) && is_digit(*ps->p); ps->p++)
        if (*out <= MAX_REPEAT) *out = *out * 10 + (*ps->p - '0');
    if (*out > MAX_REPEAT)
        return fail(ps->err, PGR_E_LIMIT, "%s:%d: found a repeat of more than %d times", ps->g->origin, ps->line,
                    MAX_REPEAT);
    skip_blank(ps, false);
    return PGR_OK;
}

/* {n} {n,} {n,m}, after the brace. */
static pgr_status parse_bounds(parser *ps, int *min, int *max) {
    skip_blank(ps, false);
    PGR_TRY(parse_count(ps, min));
    *max = *min;
    if (skip(ps, ',')) {
        skip_blank(ps, false);
        *max = GBNF_FOREVER;
        if (!at(ps, '}')) PGR_TRY(parse_count(ps, max));
    }
    if (!skip(ps, '}')) return unexpected(ps, "} at the end of the repeat");
    if (*max != GBNF_FOREVER && *max < *min)
        return fail(ps->err, PGR_E_FORMAT, "%s:%d: found the repeat {%d,%d}, expected the lower number first",
                    ps->g->origin, ps->line, *min, *max);
    return PGR_OK;
}

/* Wraps *item where a repeat follows it. */
static pgr_status parse_repeat(parser *ps, gbnf_node **item) {
    int min = 0, max = GBNF_FOREVER;
    if (skip(ps, '?'))
        max = 1;
    else if (skip(ps, '+'))
        min = 1;
    else if (skip(ps, '{'))
        PGR_TRY(parse_bounds(ps, &min, &max));
    else if (!skip(ps, '*'))
        return PGR_OK;
    if (at(ps, '*') || at(ps, '+') || at(ps, '?') || at(ps, '{'))
        return unexpected(ps, "one repeat for an item (put parentheses around it for a second)");
    gbnf_node *repeat = NULL;
    PGR_TRY(add_node(ps, GBNF_REPEAT, &repeat));
    repeat->min = min;
    repeat->max = max;
    add_child(repeat, *item);
    *item = repeat;
    return PGR_OK;
}

static pgr_status parse_alternatives(parser *ps, gbnf_node **out);

static pgr_status parse_group(parser *ps, gbnf_node **out) {
    if (++ps->nest > MAX_NEST)
        return fail(ps->err, PGR_E_LIMIT, "%s:%d: found more than %d nested parentheses", ps->g->origin, ps->line,
                    MAX_NEST);
    ps->p++; /* the parenthesis */
    PGR_TRY(parse_alternatives(ps, out));
    if (!skip(ps, ')')) return unexpected(ps, "an item, | or ) at the end of the group");
    ps->nest--;
    return PGR_OK;
}

static pgr_status parse_hole(parser *ps, gbnf_node **out) {
    ps->p++; /* the at sign */
    ps->hole = true;
    PGR_TRY(add_node(ps, GBNF_HOLE, out));
    return parse_name(ps, "a hole's name after @", &(*out)->text);
}

static pgr_status parse_reference(parser *ps, gbnf_node **out) {
    PGR_TRY(add_node(ps, GBNF_RULE, out));
    (*out)->next_ref = ps->refs;
    ps->refs = *out;
    return parse_name(ps, "a rule's name", &(*out)->text);
}

/* *out stays NULL where no item begins. */
static pgr_status parse_item(parser *ps, gbnf_node **out) {
    *out = NULL;
    if (at_end(ps)) return PGR_OK;
    switch (*ps->p) {
    case '"':
        PGR_TRY(parse_text(ps, out));
        break;
    case '[':
        PGR_TRY(parse_class(ps, out));
        break;
    case '(':
        PGR_TRY(parse_group(ps, out));
        break;
    case '@':
        PGR_TRY(parse_hole(ps, out));
        break;
    case '.':
        PGR_TRY(parse_any(ps, out));
        break;
    case '<':
        PGR_TRY(parse_token(ps, out));
        break;
    case '$':
        ps->p++;
        PGR_TRY(parse_reference(ps, out));
        (*out)->place = true;
        break;
    default:
        if (!in_name(*ps->p)) return PGR_OK;
        PGR_TRY(parse_reference(ps, out));
    }
    return parse_repeat(ps, out);
}

/* Items up to | ) or, outside of parentheses, the line's end. An empty one must be followed by | or ). */
static pgr_status parse_sequence(parser *ps, gbnf_node **out) {
    PGR_TRY(add_node(ps, GBNF_SEQ, out));
    for (;;) {
        gbnf_node *item = NULL;
        skip_blank(ps, ps->nest > 0);
        PGR_TRY(parse_item(ps, &item));
        if (!item) break;
        add_child(*out, item);
    }
    if (!(*out)->last && !at(ps, '|') && !at(ps, ')'))
        return unexpected(ps, "\"text\", [class], ., (group), a rule's name, <token> or @hole");
    *out = without_list_of_one(*out);
    return PGR_OK;
}

static pgr_status parse_alternatives(parser *ps, gbnf_node **out) {
    PGR_TRY(add_node(ps, GBNF_ALT, out));
    do {
        gbnf_node *sequence = NULL;
        skip_blank(ps, true); /* a rule goes on after ::= ( and | */
        PGR_TRY(parse_sequence(ps, &sequence));
        add_child(*out, sequence);
    } while (skip(ps, '|'));
    *out = without_list_of_one(*out);
    return PGR_OK;
}

static pgr_status parse_rule(parser *ps) {
    gbnf_rule *rule = arena_alloc(&ps->g->arena, sizeof *rule);
    if (!rule) return fail_mem(ps->err);
    rule->line = ps->line;
    PGR_TRY(parse_name(ps, "a rule's name (a rule goes on after | or in parentheses)", &rule->name));
    skip_blank(ps, false);
    if (!(skip(ps, ':') && skip(ps, ':') && skip(ps, '='))) return unexpected(ps, "::= after the rule's name");
    ps->hole = false;
    PGR_TRY(parse_alternatives(ps, &rule->body));
    if (!at_end(ps) && *ps->p != '\n')
        return unexpected(ps, "\"text\", [class], ., (group), a rule's name, <token>, @hole, | or the line's end");
    rule->has_hole = ps->hole;
    rule->next = ps->rules;
    ps->rules = rule;
    ps->g->n_rule++;
    return PGR_OK;
}

/* ---- names ---- */

static int by_name(const void *a, const void *b) {
    const gbnf_rule *x = a, *y = b;
    int order = strcmp(x->name, y->name);
    return order ? order : x->line - y->line;
}

static gbnf_rule *find_rule(const gbnf *g, const char *name) {
    size_t lo = 0, hi = g->n_rule;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        int order = strcmp(name, g->rules[mid].name);
        if (order == 0) return &g->rules[mid];
        if (order < 0)
            hi = mid;
        else
            lo = mid + 1;
    }
    return NULL;
}

/* Puts the rules into an array by name. */
static pgr_status index_rules(parser *ps) {
    gbnf *g = ps->g;
    size_t i = 0;
    g->rules = arena_array(&g->arena, g->n_rule + 1, sizeof *g->rules);
    if (!g->rules) return fail_mem(ps->err);
    for (const gbnf_rule *rule = ps->rules; rule; rule = rule->next) g->rules[i++] = *rule;
    qsort(g->rules, g->n_rule, sizeof *g->rules, by_name);
    for (i = 1; i < g->n_rule; i++)
        if (strcmp(g->rules[i].name, g->rules[i - 1].name) == 0)
            return fail(ps->err, PGR_E_FORMAT, "%s:%d: found rule %s a second time, the first is in line %d", g->origin,
                        g->rules[i].line, g->rules[i].name, g->rules[i - 1].line);
    return PGR_OK;
}

static pgr_status resolve(parser *ps) {
    gbnf *g = ps->g;
    for (gbnf_node *ref = ps->refs; ref; ref = ref->next_ref) {
        ref->rule = find_rule(g, ref->text);
        if (!ref->rule)
            return fail(ps->err, PGR_E_FORMAT, "%s:%d: found %s, expected the name of a rule of this grammar",
                        g->origin, ref->line, ref->text);
    }
    g->root = find_rule(g, "root");
    if (!g->root) return fail(ps->err, PGR_E_FORMAT, "%s:%d: found no rule root, expected one", g->origin, ps->line);
    return PGR_OK;
}

pgr_status gbnf_parse(const char *text, size_t n, const char *origin, gbnf *out, pgr_error *err) {
    *out = (gbnf){.origin = origin};
    parser ps = {.g = out, .p = text, .end = text + n, .line = 1, .err = err};
    if (n >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0) ps.p += 3; /* a byte order mark */
    for (skip_blank(&ps, true); !at_end(&ps); skip_blank(&ps, true)) PGR_TRY(parse_rule(&ps));
    PGR_TRY(index_rules(&ps));
    return resolve(&ps);
}

void gbnf_free(gbnf *g) {
    arena_free(&g->arena);
}
