/* grammars.h - the grammars that an engine has compiled, by their texts, with the token masks that were found
 * (private to src/infer). */
#ifndef PGR_INFER_GRAMMARS_H
#define PGR_INFER_GRAMMARS_H

#include "infer/grammar.h"

enum { GRAMMARS_KEPT = 26 }; /* as many as one frame can have: one for each number of responses */

typedef struct kept_grammar {
    char *text; /* (n) */
    size_t n;
    grammar *g;
} kept_grammar;

typedef struct grammar_cache {
    kept_grammar list[GRAMMARS_KEPT]; /* newest first */
} grammar_cache;

/* The grammar of a text, compiled unless it is among the last GRAMMARS_KEPT texts. *out: the caller's reference
 * (grammar_unref). */
pgr_status grammars_take(grammar_cache *c, const char *text, size_t n, const char *origin, grammar **out,
                         pgr_error *err);
void grammars_clear(grammar_cache *c);

#endif
