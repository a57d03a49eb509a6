/* refine.h - history-aware attentive refinement of prototypes (docs/method.md, "Prototypes").
 *
 * For prototype a_j, a member sample with query q, chosen and rejected y+ and y-, and h pairs of history:
 *     o_i   = tanh(W [q_i ; y_i+ - y_i-] + b)                                                       W: (d, 2d), b: (d)
 *     alpha = softmax_i(o_i.q / sqrt(d) + rho o_i.a_j / sqrt(d))      v = sum_i alpha_i o_i  (0 without history)
 *     z     = a_j + lambda_q W_q q + lambda_s W_s v                                                 W_q, W_s: (d, d)
 *     L     = -log sigmoid(beta (z.y+ - z.y-)) + lambda_cent |a_j - mu_j|^2 + lambda_tr |a_j - p_j|^2
 *             (the mean over a batch)
 * mu_j is the cluster's mean, p_j a trailing mean of a_j's past.
 *
 * What the paper leaves open, and what we do:
 * - A batch holds members of one prototype. Every epoch shuffles a prototype's members and then all batches: in index
 *   order the shared matrices would end fitted to the last prototypes.
 * - AdamW (decay 0.01) updates W, b, W_q, W_s at every step and of the prototypes only the batch's own, which has its
 *   own moments and step count. The published scripts step the whole (k, d) matrix each time, so that prototypes nobody
 *   asked for move by stale momentum.
 * - Prototypes begin at length 1, and the batch's own is brought back to it after each step; then
 *   p_j <- ema p_j + (1 - ema) a_j.
 * - The start of the matrices: see refine_start.
 * - The paper has no beta (1). Embeddings and prototypes of length 1 leave z.y+ - z.y- near 0, where the loss is a
 *   straight line that rewards large differences and not right signs; bringing the prototypes back to length 1 takes
 *   away the only way of making them larger, and what was won with it. beta gives the loss its bend back (bench/LOG.md,
 *   refinement on synthetic users): builds use 4 (pgr_proto_options). */
#ifndef PGR_PROTOTYPE_REFINE_H
#define PGR_PROTOTYPE_REFINE_H

#include "base/pool.h"

typedef struct refine_triple { /* embeddings, (d) each */
    const float *query, *chosen, *rejected;
} refine_triple;

typedef struct refine_sample {
    refine_triple asked;          /* what was chosen is what is to be predicted */
    const refine_triple *history; /* (n_history) other choices of the same user */
    size_t n_history;
    size_t cluster;               /* < k */
} refine_sample;

typedef enum refine_start {
    REFINE_DIFFERENCE, /* W = [0 I], b = 0, W_q = 0, W_s = I: v begins as the mean of the history's differences */
    REFINE_RANDOM,     /* uniform in +-1/sqrt(columns), as linear layers usually begin */
} refine_start;

typedef struct refine_options {
    double rho, lambda_q, lambda_s;    /* 0.5, 1, 1: as in the published scripts */
    double beta;                       /* 1 */
    double lambda_cent, lambda_tr;     /* 1e-3, 1e-3 */
    double ema;                        /* 0.98 */
    double rate, decay;                /* 1e-3, 0.01 */
    size_t batch, epochs;              /* 16, 1 */
    refine_start start;
    uint64_t seed;
    pool *threads;                     /* NULL: this thread alone; the result is the same, bit for bit */
    pgr_watch watch;
} refine_options;

refine_options refine_options_default(void);

/* Parameters, or something of their shapes: one block of n doubles. */
typedef struct refine_theta {
    double *W, *b, *W_q, *W_s; /* (d, 2d), (d), (d, d), (d, d) */
    double *A;                 /* (k, d) prototypes; in the gradient (d): the batch's own */
    size_t n, n_shared;        /* values in all, and before A */
} refine_theta;

typedef struct refine {
    size_t d, k;
    refine_options o;
    refine_theta theta, m, v;  /* parameters, AdamW's moments */
    refine_theta grad;         /* of the last batch */
    double *mean, *trail;      /* (k, d) mu, p */
    size_t *n_update;          /* (k) steps of each prototype */
    size_t n_step;
    struct refine_scratch *scratch;
} refine;

/* centres: (k, d) the clusters' means, none of length 0. threads of o must outlive it. */
pgr_status refine_create(size_t k, size_t d, const float *centres, const refine_options *o, refine **out,
                         pgr_error *err);
void refine_free(refine *r); /* NULL is fine */

/* Loss of a batch of one prototype and its gradient, which is left in r->grad.                     batch: (n),
 * n >= 1 */
pgr_status refine_gradient(refine *r, const refine_sample *const *batch, size_t n, double *loss, pgr_error *err);
/* That, and one step down it. A loss that is not finite is an error (PGR_E_ARG); the parameters are then as before. */
pgr_status refine_step(refine *r, const refine_sample *const *batch, size_t n, double *loss, pgr_error *err);

/* All epochs. losses: (refine_steps) one per step, may be NULL.
 * On error the parameters are those of the last good step. */
pgr_status refine_train(refine *r, const refine_sample *samples, size_t n, double *losses, pgr_error *err);
pgr_status refine_steps(const refine *r, const refine_sample *samples, size_t n, size_t *steps, pgr_error *err);

/* out[i] = z.(y+ - y-) of sample i: above 0, the chosen response is told. */
pgr_status refine_margins(refine *r, const refine_sample *samples, size_t n, double *out, pgr_error *err);

/* The prototypes as rows of floats, and the nearest of them for each row of x.                     out: (k, d),
 * x: (n, d) */
void refine_prototypes(const refine *r, float *out);
pgr_status refine_assign(const refine *r, const float *x, size_t n, uint32_t *assign, pgr_error *err);

#endif
