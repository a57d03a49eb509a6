/* slots_chain.h - a chain that the program writes from what was read at slots: criteria drawn from the taste, their
 * scores from measured facts, the quality of each response, and the totals. docs/scores.md has the equations. */
#ifndef PGR_JUDGE_SLOTS_CHAIN_H
#define PGR_JUDGE_SLOTS_CHAIN_H

#include "judge/chain.h"
#include "judge/slots.h"

typedef struct slots_case { /* what a chain is made of */
    size_t n_response;
    const size_t *order;         /* (n_response) order[i]: the response at place i */
    const double *taste;         /* (N_TASTE) probabilities, sum 1 */
    const double *quality;       /* (n_response) mean digits by place */
    const double *levels;        /* (n_response, N_FACT) of the responses as the request has them */
    const slots_weights *weights; /* of this prompt: slots_weights_for */
    bool views;                  /* the slots behind the responses tell people's views, not the texts' quality */
    const char *const *evidence; /* (N_TASTE) what of the history speaks for each word, "": nothing */
    const char *people;          /* what similar people chose, "": nothing is known */
    const double *shares;        /* (n_response) by place: P(one like the user chooses it), of views; NULL: not known */
    uint64_t seed;               /* of the draw, with id and sample */
    uint32_t id, sample;
} slots_case;

enum { SLOTS_LEAST = 2, SLOTS_MOST = 4 }; /* words that a chain draws */

/* Weights of the k words drawn one after the other without replacement, with probabilities p (k) each when all were
 * there: Des Raj's estimator, whose mean over draws is the whole distribution. out (k) sums to 1. */
void slots_draw_weights(const double *p, size_t k, double *out);

/* The share of the taste in the total, 0 to 1. */
double slots_taste_share(const slots_weights *w);

/* *text: what `chain_parse` reads of the form slots, its numbers rounded to one decimal; those of *out are not. Memory
 * of the arena. */
pgr_status slots_chain(const slots_case *c, arena *a, chain *out, const char **text, pgr_error *err);

/* Evidence for each word from the pairs of a history that are shown: the pair whose chosen text has most of it, of
 * equals the later one. out: (N_TASTE) */
pgr_status slots_evidence(const preference_pair *history, const size_t *pairs, size_t n, arena *a,
                          const char *out[N_TASTE], pgr_error *err);

#endif
