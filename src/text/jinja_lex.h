/* jinja_lex.h - private to the interpreter: the tokens of a template, and how its errors are worded. */
#ifndef PGR_TEXT_JINJA_LEX_H
#define PGR_TEXT_JINJA_LEX_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/status.h"

typedef enum jtoken_kind {
    JT_TEXT,  /* what stands between the tags */
    JT_PRINT, /* {{ */
    JT_PRINT_END,
    JT_BLOCK, /* {% */
    JT_BLOCK_END,
    JT_NAME,
    JT_STRING, /* its characters, escapes resolved */
    JT_INTEGER,
    JT_REAL,
    JT_OPERATOR,
    JT_END,
} jtoken_kind;

typedef struct jtoken {
    jtoken_kind kind;
    size_t line;
    const char *s; /* in the arena */
    size_t n;
    int64_t i;
    double f;
} jtoken;

typedef struct jinja_at { /* where we are, for messages */
    const char *origin;
    size_t line;
    pgr_error *err;
} jinja_at;

/* "ORIGIN: line N of the chat template: MESSAGE"; PGR_E_FORMAT. */
pgr_status jinja_wrong(const jinja_at *at, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* "ORIGIN: the chat template uses WHAT (line N), which is not supported; give another one with ..." */
pgr_status jinja_lacks(const jinja_at *at, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Appends the tokens, JT_END last, to out: an array of jtoken. White space around tags is taken away as Jinja does with
 * trim_blocks and lstrip_blocks. */
pgr_status jinja_lex(const char *text, size_t n, jinja_at *at, arena *a, buf *out);

/* What Python takes for white space. */
bool jinja_is_space(uint32_t c);
size_t jinja_space_at(const char *s,
                      size_t n); /* bytes of the white space that s begins with, one character; 0: none */
size_t jinja_space_before(const char *s, size_t n); /* the same for the end */

#endif
