/* grpo_pass.h - the loss of GRPO (grpo.h) on samples of a policy, with the model without its adapter as the reference:
 * forward and backward. */
#ifndef PGR_TRAIN_GRPO_PASS_H
#define PGR_TRAIN_GRPO_PASS_H

#include "train/grpo.h"
#include "train/logps.h"

typedef struct grpo_sample {
    chat_row row;      /* prompt and completion, whose tokens count */
    const double *old; /* (row.n_loss) log-probabilities when it was drawn; NaN: not known, taken for those of now */
    double advantage;
} grpo_sample;

typedef struct grpo_sums {
    double loss, kl, clipped, entropy; /* means over the tokens; entropy: of -logp */
    double difference;                 /* largest |logp - old| */
    double difference_sum;             /* mean of it over the tokens whose old is known */
    size_t n_token, n_known;
} grpo_sums;

/* Adds the gradients of the mean loss over all tokens of the samples (GRPO_TOKEN_MEAN), in as many passes as it
 * takes. */
pgr_status grpo_learn(train_run *r, const grpo_sample *list, size_t n, const grpo_terms *how, grpo_sums *out,
                      pgr_error *err);

#endif
