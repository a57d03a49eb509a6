/* jinja_parser.h - private to the parser: the place in the tokens, and what expressions and statements share. */
#ifndef PGR_TEXT_JINJA_PARSER_H
#define PGR_TEXT_JINJA_PARSER_H

#include "text/jinja_parse.h"

typedef struct parser {
    const jtoken *t; /* the current one */
    jinja_at *at;
    arena *a;
    size_t nest, loops;
    bool caller; /* the macro being read names its caller */
} parser;

/* ---- tokens ---- */
bool jp_token_is(const jtoken *t, jtoken_kind kind, const char *s);
bool jp_is_op(const parser *p, const char *s);
bool jp_is_word(const parser *p, const char *s);
void jp_advance(parser *p);
bool jp_take_op(parser *p, const char *s); /* moves on where it is there */
bool jp_take_word(parser *p, const char *s);
pgr_status jp_unexpected(const parser *p, const char *expected);
pgr_status jp_want_op(parser *p, const char *s);
pgr_status jp_want_kind(parser *p, jtoken_kind kind, const char *name);

/* ---- nodes ---- */
pgr_status jp_node(const parser *p, jnode_kind kind, jnode *a, jnode *b, jnode **out);
/* With the current token's text. */
pgr_status jp_text_node(const parser *p, jnode_kind kind, jnode *a, jnode *b, jnode **out);
/* JN_LACKING: what we do not have, by its name. */
pgr_status jp_lacking(const parser *p, jnode **out, const char *format, ...) __attribute__((format(printf, 3, 4)));
pgr_status jp_literal(const parser *p, jnode *n); /* its bytes are the template's */
pgr_status jp_enter(parser *p);                   /* one level of nesting; p->nest-- leaves it */

/* ---- expressions ---- */
pgr_status jp_or(parser *p, jnode **out);
pgr_status jp_expression(parser *p, jnode **out);
pgr_status jp_expressions(parser *p, jnode **out); /* several with commas between are a tuple */
pgr_status jp_filter(parser *p, jnode **n);        /* behind "|" */

#endif
