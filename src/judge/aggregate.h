/* aggregate.h - many chains become one score per response: means, standard errors, win probabilities, flips, persona. */
#ifndef PGR_JUDGE_AGGREGATE_H
#define PGR_JUDGE_AGGREGATE_H

#include "judge/chain.h"

typedef struct aggregate_chain {
    const chain *chain;
    const size_t *order; /* (n_response) order[i]: the response shown at place i */
    bool cut;
} aggregate_chain;

/* Fills best, tie, confidence, responses, requested/parsed/cut/failed, flip_rate, arithmetic_wrong, persona and criteria of out;
 * arrays from the arena. method in docs/scores.md. kind AUTO: recomputed if every parsed chain has it, else declared. */
pgr_status aggregate(const aggregate_chain *chains, size_t n_chain, size_t n_response, pgr_score_kind kind, arena *a,
                     pgr_result *out, pgr_error *err);

#endif
