/* chain_pass.h - sampled or written chains behind their prompts become batches of the backward pass: the
 * log-probability of every token of a chain, and distributions over numbers where a chain has its scores. What is made
 * of them is the caller's. */
#ifndef PGR_TRAIN_CHAIN_PASS_H
#define PGR_TRAIN_CHAIN_PASS_H

#include "train/run.h"

enum { CHAIN_NUMBERS = 10 }; /* 1 .. 10 */

typedef struct chain_at { /* a token of the chain that is a number */
    size_t token;           /* index into the sequence */
    const int32_t *allowed; /* (CHAIN_NUMBERS) tokens of 1 .. 10; -1: the vocabulary has no such token */
} chain_at;

typedef struct chain_seq {
    const int32_t *tokens;  /* (n) */
    size_t n, from;         /* the chain begins at token `from`, at least 1 */
    const chain_at *places; /* (n_place) rising */
    size_t n_place;
} chain_seq;

typedef struct chain_reading { /* of one sequence */
    const double *log_p;   /* (n - from) of the chain's tokens */
    const double *entropy; /* (n - from) of the distributions that they stand in */
    const uint8_t *hit;    /* (n - from) it is the most probable token */
    const double *z;       /* (n_place, CHAIN_NUMBERS) logits; -infinity where there is no token */
} chain_reading;

typedef struct chain_grads { /* of the loss; zero at first */
    double *log_p; /* (n - from) */
    double *z;     /* (n_place, CHAIN_NUMBERS) */
} chain_grads;

/* g: NULL where nothing is learnt. */
typedef void (*chain_fn)(void *ctx, size_t i, const chain_reading *r, chain_grads *g);

/* Computes the sequences in as few passes as pass_tokens allows and calls fn for each, in order; with `learn` the
 * gradients are added to the adapter's. PGR_E_LIMIT: a sequence is longer than a pass. */
pgr_status run_chains(train_run *r, const chain_seq *list, size_t n, chain_fn fn, void *ctx, bool learn,
                      pgr_error *err);

#endif
