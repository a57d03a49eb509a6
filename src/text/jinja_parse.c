/* jinja_parse.c - owns the grammar of expressions, with the precedences of Jinja 3.1. What is outside the subset is
 * refused by name where a conversation comes to it; here only what is no Jinja. */
#include "text/jinja_parser.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "text/jinja_call.h"

/* ---- tokens and nodes ---- */

bool jp_token_is(const jtoken *t, jtoken_kind kind, const char *s) {
    return t->kind == kind && strlen(s) == t->n && memcmp(t->s, s, t->n) == 0;
}
bool jp_is_op(const parser *p, const char *s) {
    return jp_token_is(p->t, JT_OPERATOR, s);
}
bool jp_is_word(const parser *p, const char *s) {
    return jp_token_is(p->t, JT_NAME, s);
}

void jp_advance(parser *p) {
    if (p->t->kind != JT_END) p->t++;
    p->at->line = p->t->line;
}

bool jp_take_op(parser *p, const char *s) {
    bool is = jp_is_op(p, s);
    if (is) jp_advance(p);
    return is;
}
bool jp_take_word(parser *p, const char *s) {
    bool is = jp_is_word(p, s);
    if (is) jp_advance(p);
    return is;
}

pgr_status jp_unexpected(const parser *p, const char *expected) {
    if (p->t->kind == JT_END) return jinja_wrong(p->at, "the template ends, expected %s", expected);
    return jinja_wrong(p->at, "found \"%.*s\", expected %s", (int)(p->t->n < 40 ? p->t->n : 40), p->t->s, expected);
}

pgr_status jp_want_op(parser *p, const char *s) {
    return jp_take_op(p, s) ? PGR_OK : jp_unexpected(p, s);
}
pgr_status jp_want_kind(parser *p, jtoken_kind kind, const char *name) {
    if (p->t->kind != kind) return jp_unexpected(p, name);
    jp_advance(p);
    return PGR_OK;
}

pgr_status jp_node(const parser *p, jnode_kind kind, jnode *a, jnode *b, jnode **out) {
    jnode *n = arena_alloc(p->a, sizeof *n);
    if (!n) return fail_mem(p->at->err);
    *n = (jnode){.kind = kind, .line = p->at->line, .text = "", .a = a, .b = b};
    *out = n;
    return PGR_OK;
}

/* With the current token's text. */
pgr_status jp_text_node(const parser *p, jnode_kind kind, jnode *a, jnode *b, jnode **out) {
    PGR_TRY(jp_node(p, kind, a, b, out));
    (*out)->text = p->t->s;
    (*out)->n = p->t->n;
    return PGR_OK;
}

/* What we do not have: name, or format with the current token's text. */
pgr_status jp_lacking(const parser *p, jnode **out, const char *format, ...) {
    char text[160];
    va_list ap;
    va_start(ap, format);
    vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    PGR_TRY(jp_node(p, JN_LACKING, NULL, NULL, out));
    (*out)->text = arena_strdup(p->a, text);
    (*out)->n = strlen(text);
    return (*out)->text ? PGR_OK : fail_mem(p->at->err);
}

pgr_status jp_literal(const parser *p, jnode *n) {
    n->made = arena_alloc(p->a, n->n);
    if (!n->made) return fail_mem(p->at->err);
    memset(n->made, 1, n->n);
    return PGR_OK;
}

pgr_status jp_enter(parser *p) {
    return ++p->nest > JINJA_MAX_NEST ? jinja_lacks(p->at, "more than %d levels of nesting", JINJA_MAX_NEST) : PGR_OK;
}

/* ---- expressions ---- */

static pgr_status parse_unary(parser *p, bool filters, jnode **out);

/* Elements up to the closing bracket; a comma after the last one is allowed. */
static pgr_status parse_elements(parser *p, const char *close, bool pairs, jnode **list) {
    while (!jp_is_op(p, close)) {
        PGR_TRY(jp_expression(p, list));
        list = &(*list)->next;
        if (pairs) {
            PGR_TRY(jp_want_op(p, ":"));
            PGR_TRY(jp_expression(p, list));
            list = &(*list)->next;
        }
        if (!jp_is_op(p, close)) PGR_TRY(jp_want_op(p, ","));
    }
    jp_advance(p);
    return PGR_OK;
}

static pgr_status parse_string(parser *p, jnode **out) {
    size_t n = 0, at = 0;
    const jtoken *first = p->t;
    PGR_TRY(jp_node(p, JN_STRING, NULL, NULL, out));
    for (; p->t->kind == JT_STRING; jp_advance(p)) n += p->t->n; /* neighbouring literals are one */
    char *copy = arena_alloc(p->a, n);
    if (!copy) return fail_mem(p->at->err);
    for (; first != p->t; first++) {
        memcpy(copy + at, first->s, first->n);
        at += first->n;
    }
    (*out)->text = copy;
    (*out)->n = n;
    return jp_literal(p, *out);
}

/* "(": an expression in brackets, or a tuple. */
static pgr_status parse_brackets(parser *p, jnode **out) {
    jnode *first = NULL;
    if (!jp_is_op(p, ")")) PGR_TRY(jp_expression(p, &first));
    if (first && jp_take_op(p, ")")) {
        *out = first;
        return PGR_OK;
    }
    PGR_TRY(jp_node(p, JN_TUPLE, first, NULL, out));
    if (!first) return jp_want_op(p, ")");
    PGR_TRY(jp_want_op(p, ","));
    return parse_elements(p, ")", false, &first->next);
}

static pgr_status parse_name(parser *p, jnode **out) {
    static const struct {
        const char *name;
        jnode_kind kind;
    } constants[] = {{"true", JN_TRUE},   {"True", JN_TRUE}, {"false", JN_FALSE},
                     {"False", JN_FALSE}, {"none", JN_NONE}, {"None", JN_NONE}};
    jnode_kind kind = JN_NAME;
    for (size_t i = 0; i < sizeof constants / sizeof *constants; i++)
        if (jp_is_word(p, constants[i].name)) kind = constants[i].kind;
    if (jp_is_word(p, "caller")) p->caller = true;
    PGR_TRY(jp_text_node(p, kind, NULL, NULL, out));
    jp_advance(p);
    return PGR_OK;
}

static pgr_status parse_primary(parser *p, jnode **out) {
    if (p->t->kind == JT_NAME) return parse_name(p, out);
    if (p->t->kind == JT_STRING) return parse_string(p, out);
    if (p->t->kind == JT_INTEGER || p->t->kind == JT_REAL) {
        PGR_TRY(jp_node(p, p->t->kind == JT_REAL ? JN_REAL : JN_INTEGER, NULL, NULL, out));
        (*out)->i = p->t->i;
        (*out)->f = p->t->f;
        jp_advance(p);
        return PGR_OK;
    }
    if (jp_take_op(p, "(")) return parse_brackets(p, out);
    bool list = jp_is_op(p, "[");
    if (!list && !jp_is_op(p, "{")) return jp_unexpected(p, "an expression");
    jp_advance(p);
    PGR_TRY(jp_node(p, list ? JN_LIST : JN_DICT, NULL, NULL, out));
    return parse_elements(p, list ? "]" : "}", !list, &(*out)->a);
}

/* Behind "(": arguments, those with names last. */
static pgr_status parse_args(parser *p, jnode **list) {
    for (bool named = false; !jp_is_op(p, ")");) {
        PGR_TRY(jp_node(p, JN_ARG, NULL, NULL, list));
        if (jp_is_op(p, "*") || jp_is_op(p, "**")) {
            PGR_TRY(jp_lacking(p, &(*list)->a, "arguments from a list (%.*s)", (int)p->t->n, p->t->s));
            jp_advance(p);
            PGR_TRY(jp_expression(p, &(*list)->b));
            list = &(*list)->next;
            if (!jp_is_op(p, ")")) PGR_TRY(jp_want_op(p, ","));
            continue;
        }
        if (p->t->kind == JT_NAME && jp_token_is(p->t + 1, JT_OPERATOR, "=")) {
            (*list)->text = p->t->s;
            (*list)->n = p->t->n;
            named = true;
            jp_advance(p);
            jp_advance(p);
        } else if (named) {
            return jinja_wrong(p->at, "an argument without a name behind one with a name");
        }
        PGR_TRY(jp_expression(p, &(*list)->a));
        list = &(*list)->next;
        if (!jp_is_op(p, ")")) PGR_TRY(jp_want_op(p, ","));
    }
    jp_advance(p);
    return PGR_OK;
}

/* Behind "[": an index or a slice. */
static pgr_status parse_subscript(parser *p, jnode *object, jnode **out) {
    jnode *part[3] = {NULL, NULL, NULL};
    size_t colons = 0;
    for (; !jp_is_op(p, "]"); colons++) {
        if (!jp_is_op(p, ":")) PGR_TRY(jp_expression(p, &part[colons]));
        if (jp_is_op(p, "]")) break;
        if (jp_is_op(p, ","))
            return jinja_lacks(p->at, "an index of several parts"); /* no value of a template has one */
        if (colons == 2) return jp_unexpected(p, "]");
        PGR_TRY(jp_want_op(p, ":"));
    }
    if (colons == 0 && !part[0]) return jp_unexpected(p, "an index");
    PGR_TRY(jp_node(p, colons ? JN_SLICE : JN_ITEM, object, part[0], out));
    (*out)->c = part[1];
    (*out)->d = part[2];
    return jp_want_op(p, "]");
}

static pgr_status parse_call(parser *p, jnode **n) {
    PGR_TRY(jp_node(p, JN_CALL, *n, NULL, n));
    return parse_args(p, &(*n)->b);
}

static pgr_status parse_postfix(parser *p, jnode **n) {
    for (;;) {
        if (jp_take_op(p, ".")) {
            if (p->t->kind == JT_INTEGER) {
                jnode *index;
                PGR_TRY(parse_primary(p, &index));
                PGR_TRY(jp_node(p, JN_ITEM, *n, index, n));
                continue;
            }
            if (p->t->kind != JT_NAME) return jp_unexpected(p, "a name");
            PGR_TRY(jp_text_node(p, JN_ATTRIBUTE, *n, NULL, n));
            jp_advance(p);
        } else if (jp_take_op(p, "[")) {
            PGR_TRY(parse_subscript(p, *n, n));
        } else if (jp_take_op(p, "(")) {
            PGR_TRY(parse_call(p, n));
        } else {
            return PGR_OK;
        }
    }
}

/* Behind "|". */
pgr_status jp_filter(parser *p, jnode **n) {
    if (p->t->kind != JT_NAME) return jp_unexpected(p, "the name of a filter");
    int number = jinja_filter_find(p->t->s, p->t->n);
    PGR_TRY(jp_text_node(p, JN_FILTER, *n, NULL, n));
    (*n)->i = number;
    jp_advance(p);
    return jp_take_op(p, "(") ? parse_args(p, &(*n)->b) : PGR_OK;
}

/* Does an argument without brackets follow the name of a test? */
static bool bare_argument(const parser *p) {
    switch (p->t->kind) {
    case JT_NAME:
        return !jp_is_word(p, "else") && !jp_is_word(p, "or") && !jp_is_word(p, "and");
    case JT_STRING:
    case JT_INTEGER:
    case JT_REAL:
        return true;
    default:
        return jp_is_op(p, "[") || jp_is_op(p, "{");
    }
}

/* Behind "is". */
static pgr_status parse_test(parser *p, jnode **n) {
    bool negated = jp_take_word(p, "not");
    if (p->t->kind != JT_NAME) return jp_unexpected(p, "the name of a test");
    int number = jinja_test_find(p->t->s, p->t->n);
    PGR_TRY(jp_text_node(p, JN_TEST, *n, NULL, n));
    jnode *test = *n;
    test->i = number;
    jp_advance(p);
    if (jp_take_op(p, "(")) {
        PGR_TRY(parse_args(p, &test->b));
    } else if (bare_argument(p)) {
        if (jp_is_word(p, "is")) return jinja_wrong(p->at, "two tests in a row");
        PGR_TRY(jp_node(p, JN_ARG, NULL, NULL, &test->b));
        PGR_TRY(parse_primary(p, &test->b->a));
        PGR_TRY(parse_postfix(p, &test->b->a));
    }
    return negated ? jp_node(p, JN_NOT, *n, NULL, n) : PGR_OK;
}

static pgr_status parse_filters(parser *p, jnode **n) {
    for (;;) {
        if (jp_take_op(p, "|"))
            PGR_TRY(jp_filter(p, n));
        else if (jp_take_word(p, "is"))
            PGR_TRY(parse_test(p, n));
        else if (jp_take_op(p, "("))
            PGR_TRY(parse_call(p, n));
        else
            return PGR_OK;
    }
}

static pgr_status parse_unary(parser *p, bool filters, jnode **out) {
    PGR_TRY(jp_enter(p));
    bool minus = jp_is_op(p, "-");
    if (minus || jp_is_op(p, "+")) {
        jnode *operand;
        jp_advance(p);
        PGR_TRY(parse_unary(p, false, &operand));
        PGR_TRY(jp_node(p, minus ? JN_MINUS : JN_PLUS, operand, NULL, out));
    } else {
        PGR_TRY(parse_primary(p, out));
    }
    PGR_TRY(parse_postfix(p, out));
    if (filters) PGR_TRY(parse_filters(p, out));
    p->nest--;
    return PGR_OK;
}

/* Operators that bind alike, tightest last, as Jinja has them: ~ binds tighter than +. */
static const char *const LEVELS[][5] = {{"+", "-"}, {"~"}, {"*", "/", "//", "%"}, {"**"}};
enum { N_LEVEL = sizeof LEVELS / sizeof *LEVELS };

static pgr_status parse_binary(parser *p, size_t level, jnode **out) {
    if (level == N_LEVEL) return parse_unary(p, true, out);
    PGR_TRY(parse_binary(p, level + 1, out));
    for (size_t i = 0; LEVELS[level][i]; i++) {
        if (!jp_is_op(p, LEVELS[level][i])) continue;
        jnode *n;
        PGR_TRY(jp_text_node(p, JN_BINARY, *out, NULL, &n));
        jp_advance(p);
        PGR_TRY(parse_binary(p, level + 1, &n->b));
        *out = n;
        i = (size_t)-1; /* from the first operator again */
    }
    return PGR_OK;
}

/* The comparison that stands here: its name, "" for none. */
static const char *take_comparison(parser *p) {
    static const char *const known[] = {"==", "!=", "<", "<=", ">", ">=", NULL};
    for (size_t i = 0; known[i]; i++)
        if (jp_take_op(p, known[i])) return known[i];
    if (jp_take_word(p, "in")) return "in";
    if (!jp_is_word(p, "not") || !jp_token_is(p->t + 1, JT_NAME, "in")) return "";
    jp_advance(p);
    jp_advance(p);
    return "not in";
}

static pgr_status parse_comparison(parser *p, jnode **out) {
    PGR_TRY(parse_binary(p, 0, out));
    jnode **list = NULL;
    for (const char *op; *(op = take_comparison(p));) {
        if (!list) {
            PGR_TRY(jp_node(p, JN_COMPARE, *out, NULL, out));
            list = &(*out)->b;
        }
        PGR_TRY(jp_node(p, JN_COMPARED, NULL, NULL, list));
        (*list)->text = op;
        (*list)->n = strlen(op);
        PGR_TRY(parse_binary(p, 0, &(*list)->a));
        list = &(*list)->next;
    }
    return PGR_OK;
}

static pgr_status parse_not(parser *p, jnode **out) {
    size_t n = 0;
    for (; jp_is_word(p, "not"); jp_advance(p)) n++;
    PGR_TRY(parse_comparison(p, out));
    if (n > 1) n = n % 2 ? 1 : 2;
    for (; n > 0; n--) PGR_TRY(jp_node(p, JN_NOT, *out, NULL, out));
    return PGR_OK;
}

static pgr_status parse_and(parser *p, jnode **out) {
    PGR_TRY(parse_not(p, out));
    while (jp_take_word(p, "and")) {
        PGR_TRY(jp_node(p, JN_AND, *out, NULL, out));
        PGR_TRY(parse_not(p, &(*out)->b));
    }
    return PGR_OK;
}

pgr_status jp_or(parser *p, jnode **out) {
    PGR_TRY(parse_and(p, out));
    while (jp_take_word(p, "or")) {
        PGR_TRY(jp_node(p, JN_OR, *out, NULL, out));
        PGR_TRY(parse_and(p, &(*out)->b));
    }
    return PGR_OK;
}

/* `value if condition else other` */
pgr_status jp_expression(parser *p, jnode **out) {
    PGR_TRY(jp_enter(p));
    PGR_TRY(jp_or(p, out));
    while (jp_take_word(p, "if")) {
        PGR_TRY(jp_node(p, JN_COND, *out, NULL, out));
        PGR_TRY(jp_or(p, &(*out)->b));
        if (jp_take_word(p, "else")) PGR_TRY(jp_expression(p, &(*out)->c));
    }
    p->nest--;
    return PGR_OK;
}

/* An expression, or several with commas between, which are a tuple. */
pgr_status jp_expressions(parser *p, jnode **out) {
    PGR_TRY(jp_expression(p, out));
    if (!jp_is_op(p, ",")) return PGR_OK;
    PGR_TRY(jp_node(p, JN_TUPLE, *out, NULL, out));
    for (jnode **list = &(*out)->a->next;
         jp_take_op(p, ",") && p->t->kind != JT_PRINT_END && p->t->kind != JT_BLOCK_END;) {
        PGR_TRY(jp_expression(p, list));
        list = &(*list)->next;
    }
    return PGR_OK;
}
