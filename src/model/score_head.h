/* score_head.h - a reward model: a decoder (pgr_model) with a score head in place of the language head, and what a pass
 * over many conversations needs. */
#ifndef PGR_MODEL_SCORE_HEAD_H
#define PGR_MODEL_SCORE_HEAD_H

#include "model/forward.h"

struct pgr_scalar {
    pgr_scalar_source source; /* whose scores they are; without `score` the model's below */
    char *name;               /* of the source */
    pgr_model *model;
    forward_state *forward;
    kv_cache kv;
    size_t n_row;      /* rows of one pass */
    forward_row *rows; /* (n_row) */
    kv_seq **seqs;     /* (n_row) */
    size_t *target;    /* (n_row) of the rows whose state is wanted: which score it becomes */
    float *hidden;     /* (n_row, n_embd) of these rows */
};

/* How many of the tokens are read: up to the last that is not `pad` (-1: all are), one at least. Where the text itself
 * ends in the padding's token, as with a model whose padding is the end of a turn, transformers reads before it, too.
 *                                                                                                       tokens: (n) */
size_t score_end(const int32_t *tokens, size_t n, int32_t pad);

#endif
