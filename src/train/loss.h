/* loss.h - losses and their gradients with respect to logits. A slot is a row of logits of which only some allowed
 * tokens count, renormalised: z (n) their logits, p (n) their probabilities. */
#ifndef PGR_TRAIN_LOSS_H
#define PGR_TRAIN_LOSS_H

#include <stddef.h>
#include <stdint.h>

/* p (n) = softmax of z */
void slot_softmax(const double *z, size_t n, double *p);

/* -sum_i target_i log p_i, times scale; dz (n) += its gradient. target sums to 1. */
double slot_cross_entropy(const double *p, const double *target, size_t n, double scale, double *dz);

/* dz (n) += the gradient that dp (n), one with respect to p, becomes: p_i (dp_i - sum_j p_j dp_j). */
void slot_backward(const double *p, const double *dp, size_t n, double *dz);

/* sum_i value_i p_i */
double slot_expected(const double *p, const double *value, size_t n);

/* -log sigmoid(margin / tau) (Bradley and Terry); *d = its derivative with respect to the margin. */
double bradley_terry(double margin, double tau, double *d);

/* Tastes: p has two words for each of n_fact facts, the one for more of it at 2 f, its opposite at 2 f + 1. A pair is
 * the levels of its chosen response against the rejected one (n_fact), its margin
 *     sum_f (p[2 f] - p[2 f + 1]) level[f] */
double taste_margin(const double *p, const double *level, size_t n_fact);
/* The mean of bradley_terry over n pairs, times scale; dz (2 n_fact) += its gradient. levels (n, n_fact). *right: how
 * many margins are above 0, one at 0 is half; *margin: their mean. Both may be NULL. */
double taste_pairs_loss(const double *p, const double *levels, size_t n, size_t n_fact, double tau, double scale,
                        double *dz, double *right, double *margin);

/* -log of the softmax of z (n) at token; dz (n) = its gradient times scale. *best: z has its maximum at token; may be
 * NULL. dz may be z, or NULL. */
double token_loss(const float *z, size_t n, int32_t token, double scale, float *dz, int *best);

#endif
