/* dfa.h - the lazily built deterministic automaton behind a grammar (private to src/infer): grammar.c makes its states,
 * trie.c walks them for token masks. */
#ifndef PGR_INFER_DFA_H
#define PGR_INFER_DFA_H

#include "infer/grammar.h"
#include "infer/nfa.h"

enum { DFA_UNKNOWN = -2, DFA_NO_HOLE = -1, DFA_NOT_FORCED = -1 };
enum { DFA_LIMIT = 50000 };                 /* states of one grammar */
enum { DFA_SET_LIMIT = 16 * 1024 * 1024 };  /* NFA states in all sets together (64 MiB) */
enum { DFA_MASK_BYTES = 64 * 1024 * 1024 }; /* of kept token masks; beyond it masks are computed each time */

typedef struct dfa_state {
    int32_t *next;      /* (256) state after a byte, GRAMMAR_DEAD or DFA_UNKNOWN */
    size_t set, n_set;  /* its NFA states: sets[set .. set + n_set), ascending */
    uint32_t distance;  /* fewest bytes to the end */
    uint32_t mask_far;  /* largest distance after a token of the mask */
    int32_t hole;       /* number of the hole that comes now, or DFA_NO_HOLE */
    int32_t after_hole; /* state behind it, or DFA_UNKNOWN */
    uint32_t place;     /* the one that begins here, 0: none */
    int16_t forced;     /* the only byte that may follow where the text may not end, or DFA_NOT_FORCED */
    bool accepts;
    uint64_t *mask; /* (n_word) of every token, NULL: not kept */
} dfa_state;

struct grammar {
    size_t refs;
    nfa nfa;
    int32_t start;

    dfa_state *states; /* (n_state) */
    size_t n_state, cap_state;
    uint32_t *sets; /* (n_set) */
    size_t n_set, cap_set;
    int32_t *table; /* (n_table, a power of two) states by set, -1: free */
    size_t n_table;

    uint32_t *mark;  /* (nfa.n) == generation: in the set being made */
    uint32_t *stack; /* (nfa.n) */
    uint32_t *work;  /* (nfa.n) the set being made */
    size_t n_work;
    uint32_t generation;

    /* trie.c's */
    uint64_t trie_id;     /* of the trie that the kept masks are for */
    size_t n_word;        /* of a mask */
    size_t mask_bytes;    /* kept */
    uint64_t *scratch[2]; /* (n_word) a full mask that is not kept, a limited one */
    int32_t *path;        /* state at each depth of the trie */
};

/* Fills in the transition and hands it out. */
pgr_status dfa_compute(grammar *g, int32_t state, uint8_t byte, int32_t *out, pgr_error *err);

static inline pgr_status dfa_next(grammar *g, int32_t state, uint8_t byte, int32_t *out, pgr_error *err) {
    int32_t to = g->states[state].next[byte];
    if (to == DFA_UNKNOWN) return dfa_compute(g, state, byte, out, err);
    *out = to;
    return PGR_OK;
}

void masks_free(grammar *g);

#endif
