/* gbnf_reader.h - a grammar's text while it is read, and the nodes that are made of it. Internal to gbnf.h: rules and
 * what they are built of are gbnf.c's, what stands for characters gbnf_text.c's. */
#ifndef PGR_INFER_GBNF_READER_H
#define PGR_INFER_GBNF_READER_H

#include <stdbool.h>

#include "infer/gbnf.h"

typedef struct gbnf_reader {
    gbnf *g;
    const char *p, *end;
    int line, nest;
    bool hole;        /* the rule being read has one */
    gbnf_rule *rules; /* newest first */
    gbnf_node *refs;
    pgr_error *err;
} gbnf_reader;

static inline bool gbnf_at_end(const gbnf_reader *ps) {
    return ps->p == ps->end;
}
static inline bool gbnf_at(const gbnf_reader *ps, char c) {
    return !gbnf_at_end(ps) && *ps->p == c;
}
static inline bool gbnf_is_digit(char c) {
    return c >= '0' && c <= '9';
}
static inline bool gbnf_in_name(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || gbnf_is_digit(c) || c == '_' || c == '-';
}

static inline bool gbnf_skip(gbnf_reader *ps, char c) {
    if (!gbnf_at(ps, c)) return false;
    ps->p++;
    return true;
}

/* Spaces and comments; with lines, line ends too. */
void gbnf_skip_blank(gbnf_reader *ps, bool lines);
/* "ORIGIN:LINE: found WHAT, expected EXPECTED" at the place of reading. */
pgr_status gbnf_unexpected(const gbnf_reader *ps, const char *expected);
pgr_status gbnf_add_node(gbnf_reader *ps, gbnf_kind kind, gbnf_node **out);
/* A copy of n bytes with a NUL behind them. */
pgr_status gbnf_keep(gbnf_reader *ps, const char *s, size_t n, const char **out);
pgr_status gbnf_parse_name(gbnf_reader *ps, const char *expected, const char **out);

/* "text", [class], . (any character), <token>: from their first character on. */
pgr_status gbnf_parse_text(gbnf_reader *ps, gbnf_node **out);
pgr_status gbnf_parse_class(gbnf_reader *ps, gbnf_node **out);
pgr_status gbnf_parse_any(gbnf_reader *ps, gbnf_node **out);
pgr_status gbnf_parse_token(gbnf_reader *ps, gbnf_node **out);

#endif
