/* policy.h - chains of criteria as samples of a policy: m different words drawn one after the other from a distribution
 * p (n), each from what those before it left. Their probabilities, gradients, rewards and advantages. Words are those
 * of a taste slot: word 2 f for more of fact f, 2 f + 1 for less. */
#ifndef PGR_TRAIN_POLICY_H
#define PGR_TRAIN_POLICY_H

#include <stddef.h>

/* Draws m words by the uniform numbers u (m). m < n, and p is above 0 everywhere. */
void policy_draw(const double *p, size_t n, const double *u, size_t m, int *words);

/* sum_j log(p[words_j] / (1 - sum_{i < j} p[words_i])) */
double policy_log_prob(const double *p, size_t n, const int *words, size_t m);
/* dz (n) += scale times its gradient with respect to the logits of p. */
void policy_gradient(const double *p, size_t n, const int *words, size_t m, double scale, double *dz);

/* What a chain makes of a pair with these levels: the mean over its words of the fact's level, with the word's sign. */
double policy_margin(const int *words, size_t m, const double *level);

/* How much of a truth (n, sums to 1) the chain names, of what m words could name at most: 0..1. */
double policy_coverage(const double *truth, size_t n, const int *words, size_t m);

/* What a margin x (over tau) is worth: sigmoid(x), 1 - (1 - sigmoid(x))^2, or 1, 0 and 1/2 by its sign. In the order of
 * pgr_outcome. */
typedef enum outcome_kind { OUTCOME_SIGMOID, OUTCOME_BRIER, OUTCOME_BINARY } outcome_kind;
double policy_outcome(outcome_kind kind, double x);

/* What each of n chains adds to the verdict of all: the worth of their mean margin less that of the others' mean,
 * added to out (n) times `scale`; margins (n), over tau. n >= 2. */
void policy_add_shares(outcome_kind kind, const double *margins, size_t n, double scale, double *out);

/* out (n) = rewards less their mean, over their standard deviation (n - 1 degrees of freedom) + 1e-4 with `scaled`. All
 * zero where all rewards are equal, to the bit. *sd: that deviation. */
void policy_advantages(const double *rewards, size_t n, int scaled, double *out, double *sd);

/* The estimator k3 of the divergence from a reference, exp(d) - d - 1 with d = log p_ref - log p; *slope: its
 * derivative with respect to log p. */
double policy_k3(double log_p, double log_ref, double *slope);

#endif
