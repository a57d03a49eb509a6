/* judge_scalar.c - a reward model's scores of a request's responses, and what they add to the judge's: the quality
 * prior under the personal part (docs/scores.md). */
#include <math.h>

#include "judge/judging.h"

/* The scores of the reward model that the options name. */
static pgr_status ask_model(judging *j) {
    const pgr_request *r = j->r;
    pgr_message *turns = arena_array(&j->tmp, r->n_message + 1, sizeof *turns);
    pgr_scalar_input *inputs = arena_array(&j->tmp, r->n_response, sizeof *inputs);
    float *scores = arena_array(&j->tmp, r->n_response, sizeof *scores);
    if (!turns || !inputs || !scores) return fail_mem(&j->error);
    for (size_t i = 0; i < r->n_message; i++) turns[i] = (pgr_message){r->messages[i].role, r->messages[i].text};
    for (size_t i = 0; i < r->n_response; i++) inputs[i] = (pgr_scalar_input){turns, r->n_message, r->responses[i]};
    pgr_watch quiet = {.cancel = j->o->watch.cancel};
    PGR_TRY(pgr_scalar_score(j->o->scalar, inputs, r->n_response, &quiet, scores, NULL, &j->error));
    for (size_t i = 0; i < r->n_response; i++) j->scalars[i] = (double)scores[i];
    return PGR_OK;
}

/* prior_r = weight * (scalar_r - mean of the scalars): the sum of all totals stays. A response without a score would be
 * compared by half of what the others are: there is no prior then. */
static pgr_status make_prior(judging *j) {
    size_t n = j->r->n_response;
    double mean = 0;
    for (size_t i = 0; i < n; i++) mean += j->scalars[i] / (double)n;
    if (!(j->o->scalar_weight > 0) || !isfinite(mean)) return PGR_OK;
    j->prior = arena_array(&j->tmp, n, sizeof *j->prior);
    if (!j->prior) return fail_mem(&j->error);
    for (size_t i = 0; i < n; i++) j->prior[i] = j->o->scalar_weight * (j->scalars[i] - mean);
    return PGR_OK;
}

pgr_status judging_scalars(judging *j) {
    const pgr_request *r = j->r;
    if (!r->scalars && !j->o->scalar) return PGR_OK;
    j->scalars = arena_array(&j->tmp, r->n_response, sizeof *j->scalars);
    if (!j->scalars) return fail_mem(&j->error);
    for (size_t i = 0; r->scalars && i < r->n_response; i++) j->scalars[i] = r->scalars[i];
    if (!r->scalars) PGR_TRY(ask_model(j));
    return make_prior(j);
}

pgr_status judging_show_scalars(judging *j) {
    pgr_result *out = &j->made->public;
    bool own = j->r->scalars != NULL;
    for (size_t i = 0; i < out->n_response; i++) {
        out->responses[i].scalar = j->scalars ? j->scalars[i] : NAN;
        out->responses[i].prior = j->prior && out->responses[i].scored ? j->prior[i] : 0;
    }
    if (!j->scalars) return PGR_OK;
    out->scalar_weight = j->prior ? j->o->scalar_weight : 0;
    out->scalar_model = arena_strdup(&j->made->arena, own ? "" : pgr_scalar_name(j->o->scalar));
    return out->scalar_model ? PGR_OK : fail_mem(&j->error);
}
