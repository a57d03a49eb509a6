/* reward.h - one response alone, as trainers send them: what it is compared with, and what the verdict is worth as a
 * reward (docs/rewards.md).
 *
 *     anchor    [the response, the anchor]:            1/2 + (score - anchor's) / 18
 *     history   [the response, chosen, rejected] of a pair that the user chose from before:
 *                                                      1/2 + (score - mean of the two) / 18
 *     group     [all responses of the group]:          (score - 1) / 9
 *
 * Scores are 1 to 10, so rewards are 0 to 1. */
#ifndef PGR_SERVE_REWARD_H
#define PGR_SERVE_REWARD_H

#include "judge/judge.h"

typedef enum reward_way { REWARD_NONE, REWARD_ANCHOR, REWARD_HISTORY, REWARD_GROUP } reward_way;

const char *reward_way_name(reward_way way); /* "anchor": static */

typedef struct reward {
    double value;        /* 0..1 */
    double score;        /* of the response, 1..10 */
    double win;          /* that it is the best of those compared; NaN without a calibration */
    size_t chains;       /* that count */
    size_t requested;
    size_t rivals;       /* responses that it was compared with */
} reward;

/* Of the response at `index`. PGR_E_DEADLINE or PGR_E_FORMAT where it has no score: never a number then. */
pgr_status reward_read(reward_way way, const pgr_result *result, size_t index, reward *out, pgr_error *err);

/* Gives a request of one response (response 0; what else it has as responses goes) the rivals of its user's history:
 * both texts of the last pair, which is shown no longer unless it is the only one. PGR_E_ARG: there is no history. */
pgr_status reward_take_rivals(pgr_request *r, pgr_error *err);

#endif
