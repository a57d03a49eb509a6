/* jinja_statement.c - owns the grammar of statements: the tree of a whole template. */
#include <stdio.h>
#include <string.h>

#include "text/jinja_parser.h"

static pgr_status parse_body(parser *p, jnode **out);

static pgr_status block_end(parser *p) {
    return jp_want_kind(p, JT_BLOCK_END, "%}");
}

/* The current token is JT_BLOCK: does the word stand behind it? */
static bool at_block(const parser *p, const char *word) {
    return p->t->kind == JT_BLOCK && jp_token_is(p->t + 1, JT_NAME, word);
}

static pgr_status want_block(parser *p, const char *word) {
    char name[40] = "{% ";
    strcat(strcat(name, word), " %}");
    if (!at_block(p, word)) return jp_unexpected(p, name);
    jp_advance(p);
    jp_advance(p);
    return block_end(p);
}

static pgr_status parse_if(parser *p, jnode **out) {
    PGR_TRY(jp_node(p, JN_IF, NULL, NULL, out));
    jnode *n = *out;
    for (;;) {
        PGR_TRY(jp_expression(p, &n->a));
        PGR_TRY(block_end(p));
        PGR_TRY(parse_body(p, &n->b));
        if (!at_block(p, "elif")) break;
        jp_advance(p);
        jp_advance(p);
        PGR_TRY(jp_node(p, JN_IF, NULL, NULL, &n->c));
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
    bool brackets = jp_take_op(p, "(");
    do {
        if (p->t->kind != JT_NAME) return jp_unexpected(p, "a name");
        PGR_TRY(jp_text_node(p, JN_NAME, NULL, NULL, list));
        jp_advance(p);
        list = &(*list)->next;
    } while (jp_take_op(p, ","));
    return brackets ? jp_want_op(p, ")") : PGR_OK;
}

/* `in a, b`: behind the first. */
static pgr_status parse_loop_tuple(parser *p, jnode **out) {
    PGR_TRY(jp_node(p, JN_TUPLE, *out, NULL, out));
    for (jnode **list = &(*out)->a->next; jp_take_op(p, ",") && p->t->kind != JT_BLOCK_END && !jp_is_word(p, "if");) {
        PGR_TRY(jp_or(p, list));
        list = &(*list)->next;
    }
    return PGR_OK;
}

static pgr_status parse_for(parser *p, jnode **out) {
    PGR_TRY(jp_node(p, JN_FOR, NULL, NULL, out));
    jnode *n = *out;
    PGR_TRY(parse_names(p, &n->a));
    if (!jp_take_word(p, "in")) return jp_unexpected(p, "in");
    PGR_TRY(jp_or(p, &n->b));
    if (jp_is_op(p, ",")) PGR_TRY(parse_loop_tuple(p, &n->b));
    if (jp_take_word(p, "if")) PGR_TRY(jp_expression(p, &n->c));
    n->i = jp_take_word(p, "recursive");
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
    PGR_TRY(jp_node(p, JN_SET, NULL, NULL, out));
    jnode *n = *out;
    PGR_TRY(parse_names(p, &n->a));
    if (!n->a->next && jp_take_op(p, ".")) {
        if (p->t->kind != JT_NAME) return jp_unexpected(p, "a name");
        PGR_TRY(jp_text_node(p, JN_ATTRIBUTE, n->a, NULL, &n->a));
        jp_advance(p);
    }
    if (jp_take_op(p, "=")) {
        PGR_TRY(jp_expressions(p, &n->b));
        return block_end(p);
    }
    if (n->a->next) return jp_unexpected(p, "=");
    n->kind = JN_SET_BLOCK;
    PGR_TRY(jp_node(p, JN_CAPTURED, NULL, NULL, &n->c));
    while (jp_take_op(p, "|")) PGR_TRY(jp_filter(p, &n->c));
    PGR_TRY(block_end(p));
    PGR_TRY(parse_body(p, &n->b));
    return want_block(p, "endset");
}

/* Behind "(": names of parameters, with defaults. */
static pgr_status parse_parameters(parser *p, jnode **list) {
    for (; !jp_is_op(p, ")"); list = &(*list)->next) {
        if (p->t->kind != JT_NAME) return jp_unexpected(p, "the name of a parameter");
        PGR_TRY(jp_text_node(p, JN_ARG, NULL, NULL, list));
        jp_advance(p);
        if (jp_take_op(p, "=")) PGR_TRY(jp_expression(p, &(*list)->a));
        if (!jp_is_op(p, ")")) PGR_TRY(jp_want_op(p, ","));
    }
    jp_advance(p);
    return PGR_OK;
}

/* A body that is run elsewhere: no loop is around it. */
static pgr_status parse_body_apart(parser *p, jnode **out) {
    size_t loops = p->loops;
    p->loops = 0;
    PGR_TRY(parse_body(p, out));
    p->loops = loops;
    return PGR_OK;
}

static pgr_status parse_macro(parser *p, jnode **out) {
    if (p->t->kind != JT_NAME) return jp_unexpected(p, "the name of a macro");
    PGR_TRY(jp_text_node(p, JN_MACRO, NULL, NULL, out));
    jp_advance(p);
    bool outer = p->caller;
    p->caller = false;
    PGR_TRY(jp_want_op(p, "("));
    PGR_TRY(parse_parameters(p, &(*out)->a));
    PGR_TRY(block_end(p));
    PGR_TRY(parse_body_apart(p, &(*out)->b));
    (*out)->i = p->caller;
    p->caller = outer;
    return want_block(p, "endmacro");
}

/* {% call(parameters) macro(...) %}: the body is what caller() gives in the macro. */
static pgr_status parse_call_block(parser *p, jnode **out) {
    jnode *call = NULL;
    PGR_TRY(jp_node(p, JN_CALL_BLOCK, NULL, NULL, out));
    if (jp_take_op(p, "(")) PGR_TRY(parse_parameters(p, &(*out)->a));
    PGR_TRY(jp_expression(p, &call));
    if (call->kind != JN_CALL) return jinja_wrong(p->at, "a call block without a call");
    (*out)->b = call;
    PGR_TRY(block_end(p));
    PGR_TRY(parse_body_apart(p, &(*out)->c));
    return want_block(p, "endcall");
}

static pgr_status parse_filter_block(parser *p, jnode **out) {
    PGR_TRY(jp_node(p, JN_FILTER_BLOCK, NULL, NULL, out));
    PGR_TRY(jp_node(p, JN_CAPTURED, NULL, NULL, &(*out)->b));
    do PGR_TRY(jp_filter(p, &(*out)->b));
    while (jp_take_op(p, "|"));
    PGR_TRY(block_end(p));
    PGR_TRY(parse_body(p, &(*out)->a));
    return want_block(p, "endfilter");
}

static pgr_status parse_with(parser *p, jnode **out) {
    PGR_TRY(jp_node(p, JN_WITH, NULL, NULL, out));
    jnode **name = &(*out)->a, **value = &(*out)->b;
    while (p->t->kind != JT_BLOCK_END) {
        if (p->t->kind != JT_NAME) return jp_unexpected(p, "a name");
        PGR_TRY(jp_text_node(p, JN_NAME, NULL, NULL, name));
        jp_advance(p);
        PGR_TRY(jp_want_op(p, "="));
        PGR_TRY(jp_expression(p, value));
        name = &(*name)->next;
        value = &(*value)->next;
        if (p->t->kind != JT_BLOCK_END) PGR_TRY(jp_want_op(p, ","));
    }
    PGR_TRY(block_end(p));
    PGR_TRY(parse_body(p, &(*out)->c));
    return want_block(p, "endwith");
}

/* Statements that Jinja has and we lack, and what ends those with a body. */
static pgr_status parse_lacking(parser *p, jnode **out) {
    static const char *const known[][2] = {{"include", NULL}, {"import", NULL},      {"from", NULL},
                                           {"extends", NULL}, {"block", "endblock"}, {"autoescape", "endautoescape"},
                                           {NULL, NULL}};
    for (size_t i = 0; known[i][0]; i++) {
        if (!jp_is_word(p, known[i][0])) continue;
        jnode *body = NULL;
        PGR_TRY(jp_lacking(p, out, "{%% %s %%}", known[i][0]));
        while (p->t->kind != JT_BLOCK_END && p->t->kind != JT_END) jp_advance(p);
        PGR_TRY(block_end(p));
        if (!known[i][1]) return PGR_OK;
        PGR_TRY(parse_body(p, &body));
        if (!at_block(p, known[i][1])) return jp_unexpected(p, known[i][1]);
        while (p->t->kind != JT_BLOCK_END) jp_advance(p); /* {% endblock name %} */
        return block_end(p);
    }
    return jinja_lacks(p->at, "{%% %.*s %%}", (int)(p->t->n < 60 ? p->t->n : 60), p->t->s);
}

/* What the tokenizer's side of transformers marks for training: here its body alone counts. */
static pgr_status parse_generation(parser *p, jnode **out) {
    PGR_TRY(jp_node(p, JN_SCOPE, NULL, NULL, out));
    PGR_TRY(block_end(p));
    PGR_TRY(parse_body(p, &(*out)->a));
    return want_block(p, "endgeneration");
}

static pgr_status parse_jump(parser *p, jnode_kind kind, jnode **out) {
    if (p->loops == 0) return jinja_wrong(p->at, "break or continue outside of a loop");
    PGR_TRY(jp_node(p, kind, NULL, NULL, out));
    return block_end(p);
}

/* Behind "{%". */
static pgr_status parse_block(parser *p, jnode **out) {
    if (jp_take_word(p, "if")) return parse_if(p, out);
    if (jp_take_word(p, "for")) return parse_for(p, out);
    if (jp_take_word(p, "set")) return parse_set(p, out);
    if (jp_take_word(p, "macro")) return parse_macro(p, out);
    if (jp_take_word(p, "generation")) return parse_generation(p, out);
    if (jp_take_word(p, "break")) return parse_jump(p, JN_BREAK, out);
    if (jp_take_word(p, "continue")) return parse_jump(p, JN_CONTINUE, out);
    if (jp_take_word(p, "call")) return parse_call_block(p, out);
    if (jp_take_word(p, "filter")) return parse_filter_block(p, out);
    if (jp_take_word(p, "with")) return parse_with(p, out);
    if (p->t->kind != JT_NAME) return jp_unexpected(p, "a statement");
    return parse_lacking(p, out);
}

/* Is this the end of the block that a body belongs to? */
static bool at_body_end(const parser *p) {
    static const char *const words[] = {"elif",     "else",          "endif",   "endfor",    "endset",
                                        "endmacro", "endgeneration", "endcall", "endfilter", "endwith",
                                        "endblock", "endautoescape", NULL};
    for (size_t i = 0; words[i]; i++)
        if (at_block(p, words[i])) return true;
    return p->t->kind == JT_END;
}

static pgr_status parse_body(parser *p, jnode **list) {
    PGR_TRY(jp_enter(p));
    for (; !at_body_end(p); list = &(*list)->next) {
        if (p->t->kind == JT_TEXT) {
            PGR_TRY(jp_text_node(p, JN_TEXT, NULL, NULL, list));
            PGR_TRY(jp_literal(p, *list));
            jp_advance(p);
        } else if (p->t->kind == JT_PRINT) {
            jp_advance(p);
            PGR_TRY(jp_node(p, JN_PRINT, NULL, NULL, list));
            PGR_TRY(jp_expressions(p, &(*list)->a));
            PGR_TRY(jp_want_kind(p, JT_PRINT_END, "}}"));
        } else {
            jp_advance(p);
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
    return p.t->kind == JT_END ? PGR_OK : jp_unexpected(&p, "no end of a block here");
}
