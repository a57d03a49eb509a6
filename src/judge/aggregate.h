/* aggregate.h - many chains become one score per response: means, standard errors, win probabilities, flips,
 * persona. */
#ifndef PGR_JUDGE_AGGREGATE_H
#define PGR_JUDGE_AGGREGATE_H

#include "judge/chain.h"

#define RUBRIC_BOTH "both directions" /* name of the row of what chains take back of each other's criteria */
#define RUBRIC_UNDECIDED "undecided"  /* and of what a taste gives to a word and its opposite alike (slots_chain.h) */

typedef struct aggregate_chain {
    const chain *chain;
    const size_t *order; /* (n_response) order[i]: the response shown at place i */
    bool cut;
    size_t neighbour; /* 0: the user's own history; else that of neighbour - 1 */
    size_t twin;      /* 0: none; else chain twin - 1 comes before and differs only in its order and its random
                          * numbers */
} aggregate_chain;

typedef struct aggregate_options {
    pgr_score_kind kind;             /* AUTO: expected, recomputed or declared: the first that all parsed chains have */
    double w_ind, w_pro;             /* >= 0, not both 0 */
    const double *neighbour_weights; /* (n_neighbour) > 0 */
    size_t n_neighbour;
    const size_t *same; /* (n_response) same[r]: the first response with the text of r; NULL: all texts differ */
    const double *prior; /* (n_response) added to what every chain gives; NULL: nothing */
    size_t *counted;    /* (n_neighbour) out: chains of each that count; NULL where there are no neighbours */
    pgr_verdict_kind verdict_kind;
    const pgr_calibration *calibration; /* NULL: none; without a map for the verdict's kind it is as none */
    bool write_persona; /* from the merged criteria; else that of the nearest chain is taken */
    double persona_least; /* percent of the weight that a criterion in it has at least */
} aggregate_options;

/* Fills best, tie, confidence and what goes with it, responses, the counts of chains, w_ind, w_pro, flip_rate, the
 * audits, persona and criteria of out; arrays from the arena. method in docs/scores.md. */
pgr_status aggregate(const aggregate_chain *chains, size_t n_chain, size_t n_response, const aggregate_options *o,
                     arena *a, pgr_result *out, pgr_error *err);

/* The totals that a chain states are its weighted sums but for rounding; one that has not both adds up. */
bool aggregate_adds_up(const chain *c, size_t n_response);

/* "Prefers longer, warmer answers." of criteria "length more", "warmth more"; "" where none is a measured fact with a
 * direction (persona.c). */
pgr_status persona_sentence(const char *const *names, size_t n_name, arena *a, const char **out, pgr_error *err);

#endif
