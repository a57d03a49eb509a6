/* writer.h - one chain while it is written: its text and tokens, the state of its grammar, what the program writes
 * into it (forced continuations, holes, a missing trigger) and when it ends. Knows nothing of batches and caches. */
#ifndef PGR_INFER_WRITER_H
#define PGR_INFER_WRITER_H

#include "infer/engine.h"
#include "infer/grammar.h"
#include "infer/sampler.h"

typedef struct writer_shared { /* of one engine */
    const tokenizer *tok;
    size_t n_token;        /* tokens that may be sampled: without the unused ones that pad a vocabulary's end */
    const kernels *k;
    sampler *sampler;
    token_trie *trie;      /* NULL until a grammar needs it */
    uint64_t *mask;        /* (n_mask) scratch */
    uint64_t *end_mask;    /* (n_mask) tokens that end a turn */
    size_t n_mask;
} writer_shared;

typedef struct writer {
    const infer_request *r;
    grammar *grammar; /* NULL: none */
    writer_shared *shared;
    infer_chain *chain;
    int state;     /* of the grammar, or one of the two below */
    bool done;
    struct place *places; /* whose distributions are not complete, in the order of the text */
    uint32_t inside;      /* the place that the program has begun to write, 0: none */
    size_t inside_from;   /* its first byte */
} writer;

enum { WRITER_FREE = -2, WRITER_WAITS = -3 }; /* no grammar; the trigger has not come yet */

/* Empty chain; writes what the grammar forces at its start. */
pgr_status writer_begin(writer *w, writer_shared *shared, const infer_request *r, grammar *g, infer_chain *chain,
                        pgr_error *err);

/* The likeliest tokens beside one of the chain's, from the logits before it. The request's n_top is not 0. */
void writer_note_top(writer *w, size_t token, const sampler_row *row);

void writer_free(writer *w); /* what it holds besides the chain */

/* Hands the places that are complete over to the chain. */
pgr_status writer_settle(writer *w, pgr_error *err);

/* shared->mask becomes that of the tokens that may come in the state, those that end the turn among them. limit: see
 * grammar_mask */
pgr_status writer_mask(writer_shared *shared, grammar *g, int state, size_t limit, pgr_error *err);

/* Samples the next token from the logits after the chain's last one (prepared at the request's temperature) and
 * appends it with all that it forces. */
pgr_status writer_next(writer *w, const sampler_row *row, pgr_error *err);

/* Checks what a request asks of its chains before anything is computed; the error names the field. g: of the request,
 * NULL: none */
pgr_status writer_check(const infer_request *r, const grammar *g, const tokenizer *t, pgr_error *err);

#endif
