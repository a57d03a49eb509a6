/* place.h - what a grammar allows at a place ($rule), as a distribution: the texts of the rule with the probabilities
 * that sampling at temperature 1 under the grammar writes them with. It is taken apart token by token. Where a token
 * leaves several texts open ("1": 1 or 10?) the logits behind it are wanted: a branch, which is a row or a few beside
 * the chain's. Branches come in levels, the most probable first, so that what is found depends on the chain alone. */
#ifndef PGR_INFER_PLACE_H
#define PGR_INFER_PLACE_H

#include "infer/writer.h"

typedef struct place place;

struct place {
    place *next;     /* of the same chain, later in its text */
    size_t n_before; /* tokens of the chain that stand before every branch */
    struct place_tree *tree;
};

/* The place that begins where the chain's next token is picked. state: the grammar's there. logits: of that pick. */
pgr_status place_open(writer_shared *sh, grammar *g, int state, const infer_chain *c, const float *logits, place **out,
                      pgr_error *err);
/* The same inside of place `number`: the program wrote its first bytes, those of the chain's text from `from` on. */
pgr_status place_open_inside(writer_shared *sh, grammar *g, int state, uint32_t number, size_t from,
                             const infer_chain *c, const float *logits, place **out, pgr_error *err);
/* One that had no choice at all. text: (n) at byte `from` of the chain's */
pgr_status place_certain(const char *text, size_t n, size_t from, place **out, pgr_error *err);
void place_free(place *p); /* NULL is fine */

/* Branches whose logits are wanted: tokens behind the first n_before of the chain. */
size_t place_wanted(const place *p);
const int32_t *place_branch(const place *p, size_t i, size_t *n);
/* logits: after the last token of branch 0, which is not wanted any more then. */
pgr_status place_take(place *p, writer_shared *sh, const float *logits, pgr_error *err);

/* Does the place begin at this byte of the chain's text too? It does where nothing but its lead has been written. */
pgr_status place_waits(const place *p, const infer_chain *c, bool *out, pgr_error *err);
/* Adds a place without wanted branches to the chain, unless the chain went another way. */
pgr_status place_settle(place *p, infer_chain *c, pgr_error *err);

#endif
