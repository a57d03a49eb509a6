/* jinja_parse.h - private to the interpreter: the tree of a template. */
#ifndef PGR_TEXT_JINJA_PARSE_H
#define PGR_TEXT_JINJA_PARSE_H

#include "text/jinja_lex.h"

enum { JINJA_MAX_NEST = 100 }; /* blocks and expressions inside one another */

/* clang-format off */
typedef enum jnode_kind {
    /* statements         text        a                  b              c               d         e      */
    JN_TEXT,           /* the text                                                                        */
    JN_PRINT,          /*             expression                                                          */
    JN_IF,             /*             condition          body           the else's body                   */
    JN_FOR,            /*             target             iterable       condition or 0  body      else    */
    JN_SET,            /*             target             expression                                       */
    JN_SET_BLOCK,      /*             target             body           filters of JN_CAPTURED or 0       */
    JN_MACRO,          /* name        JN_ARG list        body                                             */
    JN_SCOPE,          /*             body                                                                */
    JN_WITH,           /*             targets            values         body                              */
    JN_CALL_BLOCK,     /*             JN_ARG list        call           body                              */
    JN_FILTER_BLOCK,   /*             body               filters of JN_CAPTURED                           */
    JN_BREAK, JN_CONTINUE,
    /* expressions */
    JN_NAME,           /* name                                                                            */
    JN_STRING,         /* characters                                                                      */
    JN_INTEGER, JN_REAL, JN_TRUE, JN_FALSE, JN_NONE,
    JN_LIST, JN_TUPLE, /*             elements                                                            */
    JN_DICT,           /*             key, value, ...                                                     */
    JN_COND,           /*             value              condition      other or 0                        */
    JN_OR, JN_AND,     /*             left               right                                            */
    JN_NOT, JN_MINUS, JN_PLUS, /*     operand                                                             */
    JN_COMPARE,        /*             first              JN_COMPARED list                                 */
    JN_COMPARED,       /* operator    right                                                               */
    JN_BINARY,         /* operator    left               right                                            */
    JN_ATTRIBUTE,      /* name        object                                                              */
    JN_ITEM,           /*             object             index                                            */
    JN_SLICE,          /*             object             start or 0     stop or 0       step or 0         */
    JN_CALL,           /*             callee             JN_ARG list                                      */
    JN_FILTER, JN_TEST,/* name        operand            JN_ARG list                                      */
    JN_ARG,            /* name or ""  expression or 0                                                     */
    JN_CAPTURED,       /* what a block set has captured, operand of its filters                           */
    JN_LACKING,        /* what we lack, statement or expression: an error where it is reached             */
} jnode_kind;
/* clang-format on */

typedef struct jnode {
    jnode_kind kind;
    size_t line;
    const char *text;
    size_t n;
    /* JN_INTEGER; JN_FILTER, JN_TEST: number in its table, -1: none; JN_FOR: recursive; JN_MACRO: has caller */
    int64_t i;
    double f;      /* JN_REAL */
    uint8_t *made; /* JN_TEXT, JN_STRING: n times 1 */
    struct jnode *a, *b, *c, *d, *e;
    struct jnode *next; /* the next of a list */
} jnode;

/* The statements of the template. at->line moves along. */
pgr_status jinja_tree(const jtoken *tokens, jinja_at *at, arena *a, jnode **out);

#endif
