/* nfa.h - a grammar as a nondeterministic automaton over bytes (private to src/infer). */
#ifndef PGR_INFER_NFA_H
#define PGR_INFER_NFA_H

#include "infer/gbnf.h"

enum { NFA_LIMIT = 200000 }; /* states of one grammar */
#define NFA_NONE UINT32_MAX

typedef enum nfa_kind {
    NFA_ACCEPT, /* the text may end */
    NFA_BYTE,   /* a byte in lo..hi leads to `to` */
    NFA_SPLIT,  /* `to` or `other`, without a byte; either may be NFA_NONE */
    NFA_HOLE,   /* hole number `other`, then `to` */
    NFA_PLACE,  /* place number `other` begins: `to`, without a byte */
} nfa_kind;

typedef struct nfa_state {
    uint8_t kind, lo, hi;
    uint32_t to, other;
    uint32_t distance; /* fewest bytes to NFA_ACCEPT, a hole counts GRAMMAR_HOLE_BYTES */
    uint32_t place;    /* NFA_BYTE: of which place, 0: of none */
} nfa_state;

typedef struct nfa_hole {
    const char *name;
    int line;
} nfa_hole;

typedef struct nfa_token {
    const char *name;
    int line;
} nfa_token;

typedef struct nfa {
    arena arena; /* of the names */
    const char *origin;
    nfa_state *states; /* (n) every one reaches NFA_ACCEPT */
    size_t n;
    nfa_hole *holes; /* (n_hole) one for each @name in the text */
    size_t n_hole;
    nfa_token *tokens; /* (n_token) named by the text */
    size_t n_token;
    uint32_t n_place; /* places that were built, numbered from 1: a rule copied twice has two */
    uint32_t start; /* NFA_NONE: no text is accepted */
} nfa;

/* Compiles the rule root. A rule that goes on with itself at its own end is a repeat; other recursion is an error
 * where root comes to it. Errors too: a recursion without an end, a rule with a hole that root never uses, NFA_LIMIT.
 * out is to be freed in any case; it does not refer to g afterwards. */
pgr_status nfa_build(gbnf *g, nfa *out, pgr_error *err);
void nfa_free(nfa *m);

#endif
