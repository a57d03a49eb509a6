/* mixture.h - kinds of taste as a mixture: latent classes of users, each with weights of its own over the features by
 * which a chosen text differs from a rejected one, fitted to pairs by expectation and maximisation.
 *
 *     P(chosen over rejected | class c) = sigmoid(w_c . x)         x: (dims) features of chosen less those of rejected
 *     P(pairs of a user) = sum_c share_c prod_i P(pair i | c)
 *     objective = sum_u log P(pairs of u) - |w|^2 / 2 + sum_c log share_c
 *
 * (the w of all classes; the second and the third term are priors: Gaussian of variance 1, and one user more for every
 * class). A newcomer may be like none of the classes: he is so with probability MIXTURE_OUTSIDE before anything is
 * known of him, and his weights are then Gaussian with variance `spread`, the mean square of the classes' weights.
 *
 * k classes, c class, u user, i pair */
#ifndef PGR_PROTOTYPE_MIXTURE_H
#define PGR_PROTOTYPE_MIXTURE_H

#include "base/pool.h"

#define MIXTURE_OUTSIDE 0.2 /* chosen: between .1 and .3 nothing changes by more than its error (bench/LOG.md) */
enum { MIXTURE_ROUNDS = 60 };

typedef struct mixture {
    size_t k, dims;
    double *weights;   /* (k, dims) */
    double *log_share; /* (k) */
    double spread;
} mixture;

typedef struct mixture_pairs { /* pairs of user u are rows first[u] .. first[u + 1] - 1 */
    const double *x;           /* (first[n_user], dims) finite */
    const size_t *first;       /* (n_user + 1) */
    size_t n_user, dims;
} mixture_pairs;

typedef struct mixture_trace { /* of a fit */
    size_t n;                         /* rounds */
    double objective[MIXTURE_ROUNDS]; /* after each: none is below the one before */
} mixture_trace;

/* From users each in one of k classes (start: (n_user), below k) until a round gains less than 1e-6 of the objective,
 * MIXTURE_ROUNDS at most. The same bits whatever the threads (NULL: this one alone). On error out is empty. */
pgr_status mixture_fit(const mixture_pairs *pairs, const uint32_t *start, size_t k, pool *threads,
                       const pgr_watch *watch, mixture *out, mixture_trace *trace, pgr_error *err);
void mixture_free(mixture *m); /* all zero is fine */

/* log P(n pairs of one user), and how likely he is of each class.           share: (k), may be NULL; x: (n, dims) */
double mixture_likelihood(const mixture *m, const double *x, size_t n, double *share);
/* log P(he is of class c, and the n pairs), of pairs as a collection has them: in fp32 (collect.h), of so many users
 * that they are widened here, one at a time, and not all together.                                  x: (n, dims) */
double mixture_class_likelihood(const mixture *m, size_t c, const float *x, size_t n);

/* The expected weights of a newcomer of whom n pairs are known (0: the classes' mean, as far as he is of any), and the
 * probability that he is of a class at all.                                                           taste: (dims) */
pgr_status mixture_place(const mixture *m, const double *x, size_t n, double *taste, double *known, pgr_error *err);

/* As numbers of a file: spread, log shares, weights. */
size_t mixture_size(size_t k, size_t dims);
void mixture_pack(const mixture *m, float *out);
/* values: (n). The error says what is wrong with them, without a file's name. */
pgr_status mixture_unpack(const float *values, size_t n, size_t k, size_t dims, mixture *out, pgr_error *err);

#endif
