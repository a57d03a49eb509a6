/* backward.h - the training pass over whole sequences: forward with what the backward needs kept, logits of the rows
 * that a loss asks for, then the gradients of an adapter's factors, or of all weights.
 *
 *     backward_forward(b, seqs, n_seq, rows, n_row, logits, &err);      what forward_run gives, bit for bit
 *     loss and dlogits from logits: the caller's
 *     backward_run(b, dlogits, &err);                                   trainable_grads(t) += dloss / dvalues
 *
 * Sequences do not see each other: a batch is as many of them as fit, and gradients add up over batches. What
 * neighbours have in common at their beginnings may be computed once (backward_share): they are a tree then, with the
 * logits of the same sequences apart, bit for bit, and their gradients, but for the order of sums: what comes back
 * through keys, values and the stream of a shared token is added up before it goes further down. A row of
 * dlogits counts the same whatever other sequences are in its batch; sums over rows are made in an order that their
 * number alone decides, not the threads. Products are computed in the model's dtype (bf16: gradients are rounded to
 * bf16 where they are multiplied with weights, as PyTorch's autocast does, and so are factors and what they are
 * multiplied with on the way back, on a CPU with tiles; f32 and exact: all fp32). Factors themselves, the sums that
 * make their gradients, and what they add to the forward are fp32 always. */
#ifndef PGR_MODEL_BACKWARD_H
#define PGR_MODEL_BACKWARD_H

#include "model/model.h"
#include "model/trainable.h"

typedef struct backward backward;

typedef struct train_seq {
    const int32_t *tokens; /* (n) */
    size_t n;              /* 1 .. the model's context */
    size_t shared;         /* its first tokens, fewer than n, that are those of the sequence before it and are computed
                            * there; 0: it stands by itself */
} train_seq;

/* A row of a batch: the logits behind token `pos` of sequence `seq` (they predict token pos + 1). Not a shared one. */
typedef struct train_row {
    uint32_t seq, pos;
} train_row;

/* Memory for up to n_token tokens in all sequences of a batch together. Weights of layers from t's first on are
 * packed once more, transposed. m and t must outlive it; t's values may change between passes (not between a forward
 * and its backward). One caller at a time per model. */
pgr_status backward_create(const pgr_model *m, trainable *t, size_t n_token, backward **out, pgr_error *err);
void backward_free(backward *b); /* NULL is fine */
size_t backward_bytes(const backward *b); /* of memory of its own */

/* Tokens that s had better share with the one before it: what both begin with, at most `most`, fewer than s has; 0
 * where it would be less than a page. */
size_t train_common(const train_seq *before, const train_seq *s, size_t most);

/* Fills in `shared` so, each up to the sequence's first wanted row: K rollouts on one prompt, side by side, become the
 * prompt and K branches. Returns the tokens that a pass computes. rows as for backward_forward. */
size_t backward_share(train_seq *seqs, size_t n_seq, const train_row *rows, size_t n_row);

/* Logits of the rows, which stand in order of sequence, then of position, each once.   logits: (n_row, n_vocab)
 * seqs and rows are not needed afterwards. PGR_E_LIMIT: more tokens than there is room for. */
pgr_status backward_forward(backward *b, const train_seq *seqs, size_t n_seq, const train_row *rows, size_t n_row,
                            float *logits, pgr_error *err);

/* Gradients of the last forward's batch; may be called more than once.                dlogits: (n_row, n_vocab) */
pgr_status backward_run(backward *b, const float *dlogits, pgr_error *err);

/* Losses on states instead of logits (a score head's): the rows' last hidden states, after the final norm, and the way
 * back from gradients of these.                                                              states: (n_row, n_embd) */
pgr_status backward_forward_states(backward *b, const train_seq *seqs, size_t n_seq, const train_row *rows,
                                   size_t n_row, float *states, pgr_error *err);
pgr_status backward_run_states(backward *b, const float *dstates, pgr_error *err);

/* t's values have changed: trainable_changed, and what is packed of all weights is packed again. */
pgr_status backward_changed(backward *b, pgr_error *err);
/* The next forward passes are those of the model without t's adapter (the reference), or with it again. All weights
 * have no such reference. */
void backward_without(backward *b, bool without);

/* The same where few tokens of a row have a gradient (a slot's allowed tokens): cheap, no product with the whole head.
 * Row i's are token[j], dlogit[j] for start[i] <= j < start[i + 1].                    start: (n_row + 1) */
typedef struct sparse_grads {
    const size_t *start;
    const int32_t *token;
    const float *dlogit;
} sparse_grads;
pgr_status backward_run_sparse(backward *b, const sparse_grads *g, pgr_error *err);

#endif
