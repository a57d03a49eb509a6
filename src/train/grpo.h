/* grpo.h - the policy loss of GRPO at the tokens of sampled texts: clipped ratios, the divergence from a reference,
 * and what every token weighs. Rewards, advantages and the estimator k3 are policy.h's. */
#ifndef PGR_TRAIN_GRPO_H
#define PGR_TRAIN_GRPO_H

#include <stddef.h>

typedef struct grpo_terms {
    double low, high; /* a ratio counts within 1 - low .. 1 + high */
    double dual;      /* of a negative advantage the ratio counts as this at most, from where it is constant; 0: off */
    double kl;        /* weight of k3 against the reference */
} grpo_terms;

typedef struct grpo_token {
    double loss;  /* -min(ratio A, clipped ratio A) + kl k3 */
    double slope; /* its derivative with respect to log_p */
    double ratio, kl;
    int clipped; /* the gradient of the first term is cut off: 1 above, -1 below, 2 by `dual`; 0: it is not */
} grpo_token;

/* log_p: of the token under the policy; log_old: under the one that drew it; log_ref: under the reference, not read
 * where o->kl is 0. */
grpo_token grpo_token_loss(const grpo_terms *o, double log_p, double log_old, double log_ref, double advantage);

/* The step's loss is the sum of out[i] times the losses of sequence i's n_token[i] tokens. Each token alike (TRL's
 * "dapo", verl's "token-mean"), or every sequence alike and in it every token (the paper's equation). */
typedef enum grpo_mean { GRPO_TOKEN_MEAN, GRPO_SEQUENCE_MEAN } grpo_mean;
void grpo_weights(grpo_mean how, const size_t *n_token, size_t n, double *out);

#endif
