/* votes.h - what the chains that count say, in the request's order, and what follows from it. Only
 * src/judge/aggregate.c, preferences.c, rubric.c and persona.c include it; the equations are in docs/scores.md. */
#ifndef PGR_JUDGE_VOTES_H
#define PGR_JUDGE_VOTES_H

#include "judge/aggregate.h"

enum { IND, PRO, N_VOTE_SIDE }; /* under the own history, under neighbours' */

typedef struct votes {
    size_t n_chain, n_response;
    pgr_score_kind kind;      /* of the scores */
    size_t n;                 /* chains that count */
    size_t n_of[N_VOTE_SIDE]; /* of each side */
    double side[N_VOTE_SIDE]; /* the sides' weights, 0 for a side without chains that count; sum 1 */
    bool *counts;             /* (n_chain) the chain has the scores that count */
    bool *pro;                /* (n_chain) whose side */
    double *share;            /* (n_chain) in the mean of its side: those of a side sum to 1 */
    double *scores;           /* (n_chain, n_response) */
    const size_t *same;       /* (n_response) the first response with the same text */
} votes;

/* The best of n scores; *ties: how many share the first place. */
size_t votes_best(const double *scores, size_t n, size_t *ties);
/* by_place in the request's order; equal texts share the mean of theirs. */
void votes_unshuffle(const votes *v, const aggregate_chain *c, const double *by_place, double *out);
/* Of the whole verdict: of all chains together 1. */
double votes_weight(const votes *v, size_t chain);

/* ---- preferences.c: who prefers what, and how sure that is ---- */

/* Fills prefer and win of the responses, agree, confidence and all that goes with it; best, tie, the scores, kind and
 * calibrated are there. calibration: not looked at unless calibrated. */
void votes_prefer(const votes *v, const pgr_calibration *calibration, pgr_result *out);

/* ---- rubric.c: one rubric of all chains ---- */

/* The criteria of all chains that count, merged: v counts chains whose criteria are complete. */
pgr_status rubric_merge(const aggregate_chain *chains, const votes *v, arena *a, pgr_result *out, pgr_error *err);
/* One chain's as they are. */
pgr_status rubric_of_chain(const votes *v, const aggregate_chain *from, arena *a, pgr_result *out, pgr_error *err);
/* Share of the parsed chains whose criteria of the kind name an attribute in both directions; NaN without parsed
 * chains. */
double rubric_contradictory(const aggregate_chain *chains, size_t n_chain, pgr_score_kind kind);

/* ---- persona.c ---- */

/* "Prefers longer, warmer answers." from merged criteria; "" where no measured fact has at least that weight (percent)
 * and most of the chains. */
pgr_status persona_write(const pgr_result *r, double least, arena *a, const char **out, pgr_error *err);

#endif
