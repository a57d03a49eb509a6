/* classes.h - prototypes over votes: latent classes of users, each with its own popularity of every response.
 *
 * A pair of a user is two votes, one for the chosen response and one against the rejected. In class c a response i is
 * voted for with
 *
 *     T_ci = (for_ci + strength * pop_i) / (for_ci + against_ci + strength)
 *     pop_i = (for_i + 2) / (for_i + against_i + 4)
 *
 * so that what a class has not said is what everybody says. Users belong to classes by shares, which k-means gives at
 * first and the expectation-maximisation of this model then refines. */
#ifndef PGR_BENCH_CLASSES_H
#define PGR_BENCH_CLASSES_H

#include <stdint.h>

#include "bench/ridge.h"

typedef struct classes {
    size_t k, n_user, n_item;
    double strength;
    double *share;        /* (n_user, k) of a user with votes: sums to 1 */
    double *size;         /* (k) sums of shares */
    double *yes, *no;     /* (n_item, k) votes by shares */
    double *all_yes, *all_no; /* (n_item) */
} classes;

pgr_status classes_create(size_t k, size_t n_user, size_t n_item, classes *c, pgr_error *err);
void classes_free(classes *c);

/* From the listed rows. label: (n_user) the class where each begins. rounds: of expectation and maximisation at most,
 * 0: the labels stay. */
pgr_status classes_fit(classes *c, const ridge_rows *r, const size_t *list, size_t n, const uint32_t *label,
                       double strength, size_t rounds, pgr_error *err);

/* Shares of somebody of whom these rows are known, which are user's: his own votes are taken out of the classes first,
 * or he would find himself there.                                                                        share: (k) */
void classes_place(const classes *c, const ridge_rows *r, const size_t *list, size_t n, size_t user, double *share);

/* How much more a class is for item a than for item b, beyond what everybody is: a difference of log odds. */
double classes_departure(const classes *c, size_t class, size_t a, size_t b);

#endif
