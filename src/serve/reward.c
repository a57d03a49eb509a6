/* reward.c - from verdicts to rewards; see reward.h. */
#include "serve/reward.h"

const char *reward_way_name(reward_way way) {
    static const char *const NAMES[] = {"none", "anchor", "history", "group"};
    return NAMES[way];
}

static pgr_status fail_unscored(const pgr_result *r, size_t i, pgr_error *err) {
    const char *why = r->responses[i].reason ? r->responses[i].reason : "no chain has a score";
    return fail(err, r->parsed == 0 ? PGR_E_DEADLINE : PGR_E_FORMAT, "no score: %s (%zu of %zu chains)", why, r->parsed,
                r->requested);
}

pgr_status reward_read(reward_way way, const pgr_result *r, size_t index, reward *out, pgr_error *err) {
    double rivals = 0;
    for (size_t i = 0; i < r->n_response; i++) {
        if (!r->responses[i].scored && (i == index || way != REWARD_GROUP)) return fail_unscored(r, i, err);
        if (i != index) rivals += r->responses[i].score / (double)(r->n_response - 1);
    }
    const pgr_response_score *own = &r->responses[index];
    double value = way == REWARD_GROUP ? (own->score - 1) / 9 : 0.5 + (own->score - rivals) / 18;
    *out = (reward){.value = value < 0   ? 0
                             : value > 1 ? 1
                                         : value, /* a prior may lead out of the scale */
                    .score = own->score,
                    .win = own->win,
                    .chains = own->n,
                    .requested = r->requested,
                    .rivals = r->n_response - 1};
    return PGR_OK;
}

pgr_status reward_take_rivals(pgr_request *r, pgr_error *err) {
    if (r->n_history == 0)
        return fail(err, PGR_E_ARG,
                    "%s: found one response and no pair in the user's history, expected an anchor, a group or a user "
                    "who has chosen before",
                    r->origin);
    const char **responses = arena_array(&r->arena, 3, sizeof *responses);
    if (!responses) return fail_mem(err);
    const preference_pair *last = &r->history[r->n_history - 1];
    responses[0] = r->responses[0];
    responses[1] = last->chosen;
    responses[2] = last->rejected;
    r->responses = responses;
    r->n_response = 3;
    r->scalars = NULL;
    if (r->n_history > 1) r->n_history--;
    return PGR_OK;
}
