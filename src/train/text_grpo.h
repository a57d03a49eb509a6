/* text_grpo.h - the loss of GRPO on chains that were drawn, and its gradients: a pass with the reference's values in
 * the adapter, a pass with the policy's. What the chains are worth is the caller's. */
#ifndef PGR_TRAIN_TEXT_GRPO_H
#define PGR_TRAIN_TEXT_GRPO_H

#include "train/chain_pass.h"
#include "train/grpo.h"

typedef struct text_drawn { /* a chain */
    chain_seq seq;
    double *old; /* (seq.n - seq.from) log p under which it was drawn; NaN: not known, the trainer's counts */
    double *ref; /* (seq.n - seq.from) room for log p under the reference */
    double advantage;
} text_drawn;

typedef struct text_grpo_sums {
    double loss;
    double kl, entropy, low, high; /* sums over tokens: k3, of distributions, whose ratio was clipped below, above */
    double gap, gap_max;           /* of |log p - old|, over the tokens whose old is known: sum, largest */
    size_t n_token, n_known;
} text_grpo_sums;

/* Adds the gradients of the loss to the adapter's. reference: (r->state.n) values, as reference_open reads them, not
 * read where how->kl is 0. The run's values are what they were. */
pgr_status text_grpo_learn(train_run *r, text_drawn *list, size_t n, const grpo_terms *how, grpo_mean mean,
                           float *reference, text_grpo_sums *out, pgr_error *err);

#endif
