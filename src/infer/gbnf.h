/* gbnf.h - the text of a grammar as a tree (private to src/infer): what gbnf.c reads and nfa.c compiles. */
#ifndef PGR_INFER_GBNF_H
#define PGR_INFER_GBNF_H

#include "base/arena.h"
#include "base/status.h"

typedef struct gbnf_node gbnf_node;
typedef struct gbnf_rule gbnf_rule;

typedef enum gbnf_kind {
    GBNF_TEXT,   /* bytes; a token by its name stands between two GBNF_TOKEN_MARK */
    GBNF_CLASS,  /* one character out of ranges */
    GBNF_RULE,   /* another rule's body */
    GBNF_HOLE,   /* the program writes text here */
    GBNF_SEQ,    /* all children, one after the other */
    GBNF_ALT,    /* one of the children */
    GBNF_REPEAT, /* the only child, min to max times */
} gbnf_kind;

enum { GBNF_FOREVER = -1 };
/* Around the text of a token that is meant itself (<|im_end|>), not its characters: a byte that no UTF-8 has. */
enum { GBNF_TOKEN_MARK = 0xFF };

typedef struct code_range { /* Unicode code points, both ends included */
    uint32_t lo, hi;
} code_range;

struct gbnf_node {
    gbnf_kind kind;
    int line;
    gbnf_node *last, *prev; /* children are linked from the last to the first: they are compiled in that order */
    gbnf_node *next_ref;    /* GBNF_RULE: list of all references */
    const char *text;       /* GBNF_TEXT: bytes; GBNF_RULE, GBNF_HOLE: the name, NUL-terminated */
    size_t n;               /* bytes of a text, ranges or sequences of a class */
    code_range *ranges; /* GBNF_CLASS: (n) ascending, apart, without surrogates; the complement where it was negated */
    gbnf_rule *rule;    /* GBNF_RULE */
    bool place;         /* GBNF_RULE: $name, whose distribution is wanted */
    int min, max;       /* GBNF_REPEAT; max may be GBNF_FOREVER */
    void *compiled;     /* nfa.c's */
};

struct gbnf_rule {
    const char *name;
    int line;
    gbnf_node *body;
    bool has_hole;                                 /* in its own body */
    gbnf_rule *next;                               /* while parsing */
    enum { GBNF_NEW, GBNF_OPEN, GBNF_DONE } visit; /* nfa.c's: the walk over rules */
    uint32_t size, height;                         /* nfa.c's: NFA states, nested nodes */
    uint32_t place;                                /* nfa.c's: of an open rule, how many are open above it */
    bool used, recursive;                          /* nfa.c's: by root; it goes round at its own end */
    uint32_t entry, after;                         /* nfa.c's: while it is built, its first state, the one behind it */
    uint32_t built;                                /* nfa.c's: its first state where it was built last */
};

typedef struct gbnf_token { /* <name>, brackets included */
    const char *name;
    int line;
} gbnf_token;

typedef struct gbnf {
    arena arena;        /* of everything below */
    const char *origin; /* for messages; the caller's */
    gbnf_rule *rules;   /* (n_rule) by name; every reference is resolved */
    size_t n_rule;
    gbnf_rule *root;
    gbnf_token *tokens; /* (n_token) as often as they are named */
    size_t n_token, cap_token;
} gbnf;

/* A byte order mark at the beginning is read over. Syntax, unknown and doubled names, and a missing root are errors.
 * out is to be freed in any case. */
pgr_status gbnf_parse(const char *text, size_t n, const char *origin, gbnf *out, pgr_error *err);
void gbnf_free(gbnf *g);

#endif
