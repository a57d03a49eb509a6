/* jinja_parse.c - owns the grammar: tokens to a tree, with the precedences of Jinja 3.1. What is outside the subset is
 * refused here by name where it can be seen without running the template. */
#include "text/jinja_parse.h"

#include <string.h>

#include "text/jinja_call.h"

typedef struct parser {
    const jtoken *t; /* the current one */
    jinja_at *at;
    arena *a;
    size_t nest, loops;
} parser;

/* ---- tokens and nodes ---- */

static bool token_is(const jtoken *t, jtoken_kind kind, const char *s) {
    return t->kind == kind && strlen(s) == t->n && memcmp(t->s, s, t->n) == 0;
}
static bool is_op(const parser *p, const char *s) {
    return token_is(p->t, JT_OPERATOR, s);
}
static bool is_word(const parser *p, const char *s) {
    return token_is(p->t, JT_NAME, s);
}

static void advance(parser *p) {
    if (p->t->kind != JT_END) p->t++;
    p->at->line = p->t->line;
}

static bool take_op(parser *p, const char *s) {
    bool is = is_op(p, s);
    if (is) advance(p);
    return is;
}
static bool take_word(parser *p, const char *s) {
    bool is = is_word(p, s);
    if (is) advance(p);
    return is;
}

static pgr_status unexpected(const parser *p, const char *expected) {
    if (p->t->kind == JT_END) return jinja_wrong(p->at, "the template ends, expected %s", expected);
    return jinja_wrong(p->at, "found \"%.*s\", expected %s", (int)(p->t->n < 40 ? p->t->n : 40), p->t->s, expected);
}

static pgr_status want_op(parser *p, const char *s) {
    return take_op(p, s) ? PGR_OK : unexpected(p, s);
}
static pgr_status want_kind(parser *p, jtoken_kind kind, const char *name) {
    if (p->t->kind != kind) return unexpected(p, name);
    advance(p);
    return PGR_OK;
}

static pgr_status node(const parser *p, jnode_kind kind, jnode *a, jnode *b, jnode **out) {
    jnode *n = arena_alloc(p->a, sizeof *n);
    if (!n) return fail_mem(p->at->err);
    *n = (jnode){.kind = kind, .line = p->at->line, .text = "", .a = a, .b = b};
    *out = n;
    return PGR_OK;
}

/* With the current token's text. */
static pgr_status text_node(const parser *p, jnode_kind kind, jnode *a, jnode *b, jnode **out) {
    PGR_TRY(node(p, kind, a, b, out));
    (*out)->text = p->t->s;
    (*out)->n = p->t->n;
    return PGR_OK;
}

static pgr_status literal(const parser *p, jnode *n) {
    n->made = arena_alloc(p->a, n->n);
    if (!n->made) return fail_mem(p->at->err);
    memset(n->made, 1, n->n);
    return PGR_OK;
}

static pgr_status enter(parser *p) {
    return ++p->nest > JINJA_MAX_NEST ? jinja_lacks(p->at, "more than %d levels of nesting", JINJA_MAX_NEST) : PGR_OK;
}

/* ---- expressions ---- */

static pgr_status parse_expression(parser *p, jnode **out);
static pgr_status parse_unary(parser *p, bool filters, jnode **out);

/* Elements up to the closing bracket; a comma after the last one is allowed. */
static pgr_status parse_elements(parser *p, const char *close, bool pairs, jnode **list) {
    while (!is_op(p, close)) {
        PGR_TRY(parse_expression(p, list));
        list = &(*list)->next;
        if (pairs) {
            PGR_TRY(want_op(p, ":"));
            PGR_TRY(parse_expression(p, list));
            list = &(*list)->next;
        }
        if (!is_op(p, close)) PGR_TRY(want_op(p, ","));
    }
    advance(p);
    return PGR_OK;
}

static pgr_status parse_string(parser *p, jnode **out) {
    size_t n = 0, at = 0;
    const jtoken *first = p->t;
    PGR_TRY(node(p, JN_STRING, NULL, NULL, out));
    for (; p->t->kind == JT_STRING; advance(p)) n += p->t->n; /* neighbouring literals are one */
    char *copy = arena_alloc(p->a, n);
    if (!copy) return fail_mem(p->at->err);
    for (; first != p->t; first++) {
        memcpy(copy + at, first->s, first->n);
        at += first->n;
    }
    (*out)->text = copy;
    (*out)->n = n;
    return literal(p, *out);
}

/* "(": an expression in brackets, or a tuple. */
static pgr_status parse_brackets(parser *p, jnode **out) {
    jnode *first = NULL;
    if (!is_op(p, ")")) PGR_TRY(parse_expression(p, &first));
    if (first && take_op(p, ")")) {
        *out = first;
        return PGR_OK;
    }
    PGR_TRY(node(p, JN_TUPLE, first, NULL, out));
    if (!first) return want_op(p, ")");
    PGR_TRY(want_op(p, ","));
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
        if (is_word(p, constants[i].name)) kind = constants[i].kind;
    PGR_TRY(text_node(p, kind, NULL, NULL, out));
    advance(p);
    return PGR_OK;
}

static pgr_status parse_primary(parser *p, jnode **out) {
    if (p->t->kind == JT_NAME) return parse_name(p, out);
    if (p->t->kind == JT_STRING) return parse_string(p, out);
    if (p->t->kind == JT_INTEGER || p->t->kind == JT_REAL) {
        PGR_TRY(node(p, p->t->kind == JT_REAL ? JN_REAL : JN_INTEGER, NULL, NULL, out));
        (*out)->i = p->t->i;
        (*out)->f = p->t->f;
        advance(p);
        return PGR_OK;
    }
    if (take_op(p, "(")) return parse_brackets(p, out);
    bool list = is_op(p, "[");
    if (!list && !is_op(p, "{")) return unexpected(p, "an expression");
    advance(p);
    PGR_TRY(node(p, list ? JN_LIST : JN_DICT, NULL, NULL, out));
    return parse_elements(p, list ? "]" : "}", !list, &(*out)->a);
}

/* Behind "(": arguments, those with names last. */
static pgr_status parse_args(parser *p, jnode **list) {
    for (bool named = false; !is_op(p, ")");) {
        PGR_TRY(node(p, JN_ARG, NULL, NULL, list));
        if (is_op(p, "*") || is_op(p, "**"))
            return jinja_lacks(p->at, "arguments from a list (%.*s)", (int)p->t->n, p->t->s);
        if (p->t->kind == JT_NAME && token_is(p->t + 1, JT_OPERATOR, "=")) {
            (*list)->text = p->t->s;
            (*list)->n = p->t->n;
            named = true;
            advance(p);
            advance(p);
        } else if (named) {
            return jinja_wrong(p->at, "an argument without a name behind one with a name");
        }
        PGR_TRY(parse_expression(p, &(*list)->a));
        list = &(*list)->next;
        if (!is_op(p, ")")) PGR_TRY(want_op(p, ","));
    }
    advance(p);
    return PGR_OK;
}

/* Behind "[": an index or a slice. */
static pgr_status parse_subscript(parser *p, jnode *object, jnode **out) {
    jnode *part[3] = {NULL, NULL, NULL};
    size_t colons = 0;
    for (; !is_op(p, "]"); colons++) {
        if (!is_op(p, ":")) PGR_TRY(parse_expression(p, &part[colons]));
        if (is_op(p, "]")) break;
        if (is_op(p, ",")) return jinja_lacks(p->at, "an index of several parts");
        if (colons == 2) return unexpected(p, "]");
        PGR_TRY(want_op(p, ":"));
    }
    if (colons == 0 && !part[0]) return unexpected(p, "an index");
    PGR_TRY(node(p, colons ? JN_SLICE : JN_ITEM, object, part[0], out));
    (*out)->c = part[1];
    (*out)->d = part[2];
    return want_op(p, "]");
}

static pgr_status parse_call(parser *p, jnode **n) {
    PGR_TRY(node(p, JN_CALL, *n, NULL, n));
    return parse_args(p, &(*n)->b);
}

static pgr_status parse_postfix(parser *p, jnode **n) {
    for (;;) {
        if (take_op(p, ".")) {
            if (p->t->kind == JT_INTEGER) {
                jnode *index;
                PGR_TRY(parse_primary(p, &index));
                PGR_TRY(node(p, JN_ITEM, *n, index, n));
                continue;
            }
            if (p->t->kind != JT_NAME) return unexpected(p, "a name");
            PGR_TRY(text_node(p, JN_ATTRIBUTE, *n, NULL, n));
            advance(p);
        } else if (take_op(p, "[")) {
            PGR_TRY(parse_subscript(p, *n, n));
        } else if (take_op(p, "(")) {
            PGR_TRY(parse_call(p, n));
        } else {
            return PGR_OK;
        }
    }
}

/* Behind "|". */
static pgr_status parse_filter(parser *p, jnode **n) {
    if (p->t->kind != JT_NAME) return unexpected(p, "the name of a filter");
    int number = jinja_filter_find(p->t->s, p->t->n);
    if (number < 0) return jinja_lacks(p->at, "the filter %.*s", (int)(p->t->n < 60 ? p->t->n : 60), p->t->s);
    PGR_TRY(text_node(p, JN_FILTER, *n, NULL, n));
    (*n)->i = number;
    advance(p);
    return take_op(p, "(") ? parse_args(p, &(*n)->b) : PGR_OK;
}

/* Does an argument without brackets follow the name of a test? */
static bool bare_argument(const parser *p) {
    switch (p->t->kind) {
    case JT_NAME:
        return !is_word(p, "else") && !is_word(p, "or") && !is_word(p, "and");
    case JT_STRING:
    case JT_INTEGER:
    case JT_REAL:
        return true;
    default:
        return is_op(p, "[") || is_op(p, "{");
    }
}

/* Behind "is". */
static pgr_status parse_test(parser *p, jnode **n) {
    bool negated = take_word(p, "not");
    if (p->t->kind != JT_NAME) return unexpected(p, "the name of a test");
    int number = jinja_test_find(p->t->s, p->t->n);
    if (number < 0) return jinja_lacks(p->at, "the test %.*s", (int)(p->t->n < 60 ? p->t->n : 60), p->t->s);
    PGR_TRY(text_node(p, JN_TEST, *n, NULL, n));
    jnode *test = *n;
    test->i = number;
    advance(p);
    if (take_op(p, "(")) {
        PGR_TRY(parse_args(p, &test->b));
    } else if (bare_argument(p)) {
        if (is_word(p, "is")) return jinja_wrong(p->at, "two tests in a row");
        PGR_TRY(node(p, JN_ARG, NULL, NULL, &test->b));
        PGR_TRY(parse_primary(p, &test->b->a));
        PGR_TRY(parse_postfix(p, &test->b->a));
    }
    return negated ? node(p, JN_NOT, *n, NULL, n) : PGR_OK;
}

static pgr_status parse_filters(parser *p, jnode **n) {
    for (;;) {
        if (take_op(p, "|"))
            PGR_TRY(parse_filter(p, n));
        else if (take_word(p, "is"))
            PGR_TRY(parse_test(p, n));
        else if (take_op(p, "("))
            PGR_TRY(parse_call(p, n));
        else
            return PGR_OK;
    }
}

static pgr_status parse_unary(parser *p, bool filters, jnode **out) {
    PGR_TRY(enter(p));
    bool minus = is_op(p, "-");
    if (minus || is_op(p, "+")) {
        jnode *operand;
        advance(p);
        PGR_TRY(parse_unary(p, false, &operand));
        PGR_TRY(node(p, minus ? JN_MINUS : JN_PLUS, operand, NULL, out));
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
        if (!is_op(p, LEVELS[level][i])) continue;
        if (is_op(p, "**")) return jinja_lacks(p->at, "the operator **");
        jnode *n;
        PGR_TRY(text_node(p, JN_BINARY, *out, NULL, &n));
        advance(p);
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
        if (take_op(p, known[i])) return known[i];
    if (take_word(p, "in")) return "in";
    if (!is_word(p, "not") || !token_is(p->t + 1, JT_NAME, "in")) return "";
    advance(p);
    advance(p);
    return "not in";
}

static pgr_status parse_comparison(parser *p, jnode **out) {
    PGR_TRY(parse_binary(p, 0, out));
    jnode **list = NULL;
    for (const char *op; *(op = take_comparison(p));) {
        if (!list) {
            PGR_TRY(node(p, JN_COMPARE, *out, NULL, out));
            list = &(*out)->b;
        }
        PGR_TRY(node(p, JN_COMPARED, NULL, NULL, list));
        (*list)->text = op;
        (*list)->n = strlen(op);
        PGR_TRY(parse_binary(p, 0, &(*list)->a));
        list = &(*list)->next;
    }
    return PGR_OK;
}

static pgr_status parse_not(parser *p, jnode **out) {
    size_t n = 0;
    for (; is_word(p, "not"); advance(p)) n++;
    PGR_TRY(parse_comparison(p, out));
    if (n > 1) n = n % 2 ? 1 : 2;
    for (; n > 0; n--) PGR_TRY(node(p, JN_NOT, *out, NULL, out));
    return PGR_OK;
}

static pgr_status parse_and(parser *p, jnode **out) {
    PGR_TRY(parse_not(p, out));
    while (take_word(p, "and")) {
        PGR_TRY(node(p, JN_AND, *out, NULL, out));
        PGR_TRY(parse_not(p, &(*out)->b));
    }
    return PGR_OK;
}

static pgr_status parse_or(parser *p, jnode **out) {
    PGR_TRY(parse_and(p, out));
    while (take_word(p, "or")) {
        PGR_TRY(node(p, JN_OR, *out, NULL, out));
        PGR_TRY(parse_and(p, &(*out)->b));
    }
    return PGR_OK;
}

/* `value if condition else other` */
static pgr_status parse_expression(parser *p, jnode **out) {
    PGR_TRY(enter(p));
    PGR_TRY(parse_or(p, out));
    while (take_word(p, "if")) {
        PGR_TRY(node(p, JN_COND, *out, NULL, out));
        PGR_TRY(parse_or(p, &(*out)->b));
        if (take_word(p, "else")) PGR_TRY(parse_expression(p, &(*out)->c));
    }
    p->nest--;
    return PGR_OK;
}

/* An expression, or several with commas between, which are a tuple. */
static pgr_status parse_expressions(parser *p, jnode **out) {
    PGR_TRY(parse_expression(p, out));
    if (!is_op(p, ",")) return PGR_OK;
    PGR_TRY(node(p, JN_TUPLE, *out, NULL, out));
    for (jnode **list = &(*out)->a->next;
         take_op(p, ",") && p->t->kind != JT_PRINT_END && p->t->kind != JT_BLOCK_END;) {
        PGR_TRY(parse_expression(p, list));
        list = &(*list)->next;
    }
    return PGR_OK;
}

/* ---- statements ---- */

static pgr_status parse_body(parser *p, jnode **out);

static pgr_status block_end(parser *p) {
    return want_kind(p, JT_BLOCK_END, "%}");
}

/* The current token is JT_BLOCK: does the word stand behind it? */
static bool at_block(const parser *p, const char *word) {
    return p->t->kind == JT_BLOCK && token_is(p->t + 1, JT_NAME, word);
}

static pgr_status want_block(parser *p, const char *word) {
    char name[40] = "{% ";
    strcat(strcat(name, word), " %}");
    if (!at_block(p, word)) return unexpected(p, name);
    advance(p);
    advance(p);
    return block_end(p);
}

static pgr_status parse_if(parser *p, jnode **out) {
    PGR_TRY(node(p, JN_IF, NULL, NULL, out));
    jnode *n = *out;
    for (;;) {
        PGR_TRY(parse_expression(p, &n->a));
        PGR_TRY(block_end(p));
        PGR_TRY(parse_body(p, &n->b));
        if (!at_block(p, "elif")) break;
        advance(p);
        advance(p);
        PGR_TRY(node(p, JN_IF, NULL, NULL, &n->c));
        n = n->c;
    }
    if (at_block(p, "else")) {
        PGR_TRY(want_block(p, "else"));
        PGR_TRY(parse_body(p, &n->c));
    }
    return want_block(p, "endif");
}

/* Names with commas between, in brackets or not. */
static pgr_status parse_names(parser *p, jnode **list) {
    bool brackets = take_op(p, "(");
    do {
        if (p->t->kind != JT_NAME) return unexpected(p, "a name");
        PGR_TRY(text_node(p, JN_NAME, NULL, NULL, list));
        advance(p);
        list = &(*list)->next;
    } while (take_op(p, ","));
    return brackets ? want_op(p, ")") : PGR_OK;
}

static pgr_status parse_for(parser *p, jnode **out) {
    PGR_TRY(node(p, JN_FOR, NULL, NULL, out));
    jnode *n = *out;
    PGR_TRY(parse_names(p, &n->a));
    if (!take_word(p, "in")) return unexpected(p, "in");
    PGR_TRY(parse_or(p, &n->b));
    if (is_op(p, ",")) return jinja_lacks(p->at, "a loop over a tuple without brackets");
    if (take_word(p, "if")) PGR_TRY(parse_expression(p, &n->c));
    if (is_word(p, "recursive")) return jinja_lacks(p->at, "a recursive loop");
    PGR_TRY(block_end(p));
    p->loops++;
    PGR_TRY(parse_body(p, &n->d));
    p->loops--;
    if (at_block(p, "else")) {
        PGR_TRY(want_block(p, "else"));
        PGR_TRY(parse_body(p, &n->e));
    }
    return want_block(p, "endfor");
}

static pgr_status parse_set(parser *p, jnode **out) {
    PGR_TRY(node(p, JN_SET, NULL, NULL, out));
    jnode *n = *out;
    PGR_TRY(parse_names(p, &n->a));
    if (!n->a->next && take_op(p, ".")) {
        if (p->t->kind != JT_NAME) return unexpected(p, "a name");
        PGR_TRY(text_node(p, JN_ATTRIBUTE, n->a, NULL, &n->a));
        advance(p);
    }
    if (take_op(p, "=")) {
        PGR_TRY(parse_expressions(p, &n->b));
        return block_end(p);
    }
    if (n->a->next) return unexpected(p, "=");
    n->kind = JN_SET_BLOCK;
    PGR_TRY(node(p, JN_CAPTURED, NULL, NULL, &n->c));
    while (take_op(p, "|")) PGR_TRY(parse_filter(p, &n->c));
    PGR_TRY(block_end(p));
    PGR_TRY(parse_body(p, &n->b));
    return want_block(p, "endset");
}

static pgr_status parse_macro(parser *p, jnode **out) {
    if (p->t->kind != JT_NAME) return unexpected(p, "the name of a macro");
    PGR_TRY(text_node(p, JN_MACRO, NULL, NULL, out));
    advance(p);
    PGR_TRY(want_op(p, "("));
    for (jnode **list = &(*out)->a; !is_op(p, ")"); list = &(*list)->next) {
        if (p->t->kind != JT_NAME) return unexpected(p, "the name of a parameter");
        PGR_TRY(text_node(p, JN_ARG, NULL, NULL, list));
        advance(p);
        if (take_op(p, "=")) PGR_TRY(parse_expression(p, &(*list)->a));
        if (!is_op(p, ")")) PGR_TRY(want_op(p, ","));
    }
    advance(p);
    PGR_TRY(block_end(p));
    size_t loops = p->loops;
    p->loops = 0;
    PGR_TRY(parse_body(p, &(*out)->b));
    p->loops = loops;
    return want_block(p, "endmacro");
}

/* What the tokenizer's side of transformers marks for training: here its body alone counts. */
static pgr_status parse_generation(parser *p, jnode **out) {
    PGR_TRY(node(p, JN_SCOPE, NULL, NULL, out));
    PGR_TRY(block_end(p));
    PGR_TRY(parse_body(p, &(*out)->a));
    return want_block(p, "endgeneration");
}

static pgr_status parse_jump(parser *p, jnode_kind kind, jnode **out) {
    if (p->loops == 0) return jinja_wrong(p->at, "break or continue outside of a loop");
    PGR_TRY(node(p, kind, NULL, NULL, out));
    return block_end(p);
}

/* Behind "{%". */
static pgr_status parse_block(parser *p, jnode **out) {
    if (take_word(p, "if")) return parse_if(p, out);
    if (take_word(p, "for")) return parse_for(p, out);
    if (take_word(p, "set")) return parse_set(p, out);
    if (take_word(p, "macro")) return parse_macro(p, out);
    if (take_word(p, "generation")) return parse_generation(p, out);
    if (take_word(p, "break")) return parse_jump(p, JN_BREAK, out);
    if (take_word(p, "continue")) return parse_jump(p, JN_CONTINUE, out);
    if (p->t->kind != JT_NAME) return unexpected(p, "a statement");
    return jinja_lacks(p->at, "{%% %.*s %%}", (int)(p->t->n < 60 ? p->t->n : 60), p->t->s);
}

/* Is this the end of the block that a body belongs to? */
static bool at_body_end(const parser *p) {
    static const char *const words[] = {"elif", "else", "endif", "endfor", "endset", "endmacro", "endgeneration", NULL};
    for (size_t i = 0; words[i]; i++)
        if (at_block(p, words[i])) return true;
    return p->t->kind == JT_END;
}

static pgr_status parse_body(parser *p, jnode **list) {
    PGR_TRY(enter(p));
    for (; !at_body_end(p); list = &(*list)->next) {
        if (p->t->kind == JT_TEXT) {
            PGR_TRY(text_node(p, JN_TEXT, NULL, NULL, list));
            PGR_TRY(literal(p, *list));
            advance(p);
        } else if (p->t->kind == JT_PRINT) {
            advance(p);
            PGR_TRY(node(p, JN_PRINT, NULL, NULL, list));
            PGR_TRY(parse_expressions(p, &(*list)->a));
            PGR_TRY(want_kind(p, JT_PRINT_END, "}}"));
        } else {
            advance(p);
            PGR_TRY(parse_block(p, list));
        }
    }
    p->nest--;
    return PGR_OK;
}

pgr_status jinja_tree(const jtoken *tokens, jinja_at *at, arena *a, jnode **out) {
    parser p = {.t = tokens, .at = at, .a = a};
    at->line = tokens->line;
    *out = NULL;
    PGR_TRY(parse_body(&p, out));
    return p.t->kind == JT_END ? PGR_OK : unexpected(&p, "no end of a block here");
}
