/* judge_prompts.c - a request becomes prompts: its numbers settled, voices chosen (draws of the own history,
 * neighbours), every voice rendered for the orders of the responses that its chains see. */
#include <math.h>
#include <string.h>

#include "base/watch.h"
#include "judge/judging.h"

enum {
    DEFAULT_IND = 8,
    MAX_CHAINS = REQUEST_CHAINS_MAX, /* of a side */
    HISTORY_STREAM = 0x48495354,     /* the choice of history pairs has random streams of its own; neighbours' follow */
    PRO_ID = 1 << 16,                /* prompts of neighbours are numbered from here on */
};

/* ---- numbers --------------------------------------------------------------------------------------------------- */

pgr_status judging_name(judging *j, pgr_status status) {
    const char *origin = j->r->origin;
    if (status != PGR_E_LIMIT || strncmp(j->error.message, origin, strlen(origin)) == 0) return status;
    pgr_error plain = j->error;
    return fail(&j->error, status, "%s: %s", origin, plain.message);
}

/* The frame's, but what more responses add leaves half of the context to the prompt. */
static size_t default_max_tokens(const judging *j) {
    size_t least = frame_max_tokens(j->desk->frame), half = j->desk->about->n_ctx / 2;
    size_t all = least + (j->r->n_response - 2) * frame_max_tokens_more(j->desk->frame);
    return all <= half ? all : (least > half ? least : half);
}

static pgr_status settle_chains(judging *j) {
    const pgr_judge_options *o = j->o;
    int ind = o->ind >= 0 ? o->ind : (j->r->ind >= 0 ? j->r->ind : DEFAULT_IND);
    int pro = o->pro >= 0 ? o->pro : (j->r->pro > 0 ? j->r->pro : 0);
    if (pro > MAX_CHAINS)
        return fail(&j->error, PGR_E_ARG, "%s: pro is %d, expected 0 to %d chains", j->r->origin, pro, MAX_CHAINS);
    if (ind > MAX_CHAINS || ind + pro < 1)
        return fail(&j->error, PGR_E_ARG, "%s: ind is %d, expected 1 to %d chains%s", j->r->origin, ind, MAX_CHAINS,
                    ind == 0 ? ", or 0 where pro is more" : "");
    if (pro > 0 && !judging_knows_people(j))
        return fail(&j->error, PGR_E_UNSUPPORTED,
                    "%s: pro is %d, but similar users need a store of users and prototypes, expected 0", j->r->origin,
                    pro);
    j->sides[SIDE_IND].n = (size_t)ind;
    j->sides[SIDE_PRO].n = (size_t)pro;
    return PGR_OK;
}

static pgr_status settle_numbers(judging *j) {
    const pgr_judge_options *o = j->o;
    PGR_TRY(settle_chains(j));
    j->want_history = frame_history(j->desk->frame);
    if (j->r->history_pairs >= 0) j->want_history = (size_t)j->r->history_pairs;
    if (o->history >= 0) j->want_history = (size_t)o->history;
    j->seed = (uint64_t)(o->seed >= 0 ? o->seed : (j->r->seed >= 0 ? j->r->seed : 0));
    j->max_tokens = o->max_tokens ? o->max_tokens : default_max_tokens(j);
    if (j->desk->about->n_ctx < 64 || j->max_tokens > j->desk->about->n_ctx - 64)
        return fail(&j->error, PGR_E_LIMIT, "chains of %zu tokens leave no room for a prompt in a context of %zu",
                    j->max_tokens, j->desk->about->n_ctx);
    return PGR_OK;
}

static pgr_status write_grammar(judging *j) {
    bool has = false;
    PGR_TRY(frame_grammar(j->desk->frame, j->r->n_response, &j->grammar, &has, &j->error));
    return j->grammar.failed ? fail_mem(&j->error) : PGR_OK;
}

static pgr_status make_orders(judging *j) {
    size_t n = j->r->n_response;
    for (size_t k = 0; k < 2; k++) {
        j->order[k] = arena_array(&j->made->arena, n, sizeof *j->order[k]);
        if (!j->order[k]) return fail_mem(&j->error);
        for (size_t i = 0; i < n; i++) j->order[k][i] = k == 0 ? i : n - 1 - i;
    }
    return PGR_OK;
}

/* ---- voices ---------------------------------------------------------------------------------------------------- */

/* Room for the side's voices, a prompt for each of them and each order, and its chains. */
static pgr_status make_side(judging *j, side *s, size_t n_voice, size_t n_order) {
    s->n_voice = n_voice;
    s->n_prompt = n_voice * n_order;
    s->voices = arena_array(&j->tmp, n_voice + 1, sizeof *s->voices);
    s->prompts = arena_array(&j->tmp, s->n_prompt + 1, sizeof *s->prompts);
    s->chains = arena_array(&j->tmp, s->n + 1, sizeof *s->chains);
    return s->voices && s->prompts && s->chains ? PGR_OK : fail_mem(&j->error);
}

/* The number of different draws: no more than chains have use for, and than show pairs that were not shown before. */
static size_t count_draws(const judging *j, size_t want, size_t n_order) {
    size_t draws = j->o->draws, known = j->r->n_history, pairs = (j->sides[SIDE_IND].n + n_order - 1) / n_order;
    if (draws < 1 || want == 0 || want >= known) return 1;
    if (draws > pairs) draws = pairs ? pairs : 1;
    size_t different = (known + want - 1) / want;
    return draws < different ? draws : different;
}

/* Of n chains those that can differ: where expectations of slots count, chains of one prompt are one and the same. */
static size_t different(judging *j, size_t n, size_t n_prompt) {
    bool drawn = j->o->score == PGR_SCORE_RECOMPUTED || j->o->score == PGR_SCORE_DECLARED;
    if (!judging_by_slots(j) || drawn || n <= n_prompt) return n;
    j->n_alike += n - n_prompt;
    return n_prompt;
}

/* The user's own history, D draws of h pairs. Chain i belongs to a pair of orders, the pairs go round the draws. */
static pgr_status own_side(judging *j) {
    side *s = &j->sides[SIDE_IND];
    size_t known = j->r->n_history, want = j->want_history < known ? j->want_history : known;
    size_t n_order = j->o->swap && s->n > 1 ? 2 : 1, draws = count_draws(j, want, n_order);
    s->n = different(j, s->n, draws * n_order);
    PGR_TRY(make_side(j, s, draws, n_order));
    if (s->n == 0) return PGR_OK;
    size_t *ranks = arena_array(&j->tmp, known + 1, sizeof *ranks);
    if (!ranks) return fail_mem(&j->error);
    PGR_TRY(history_rank(j, j->r->history, NULL, known, want, HISTORY_STREAM, ranks));
    for (size_t d = 0; d < draws; d++) {
        s->voices[d] = (voice){.r = j->r, .n_history = want};
        PGR_TRY(history_draw(j, ranks, known, want, d, &s->voices[d].history));
    }
    for (size_t k = 0; k < s->n_prompt; k++)
        s->prompts[k] = (prompt){
            .voice = &s->voices[k / n_order], .order = k % n_order, .id = (uint32_t)(k / n_order * 2 + k % n_order)};
    for (size_t i = 0; i < s->n; i++) {
        s->chains[i].prompt = i / n_order % draws * n_order + i % n_order;
        s->chains[i].twin = n_order == 2 && i % 2 == 1 ? i : 0;
    }
    return PGR_OK;
}

/* The request as the neighbour would have made it: his history, and none of what the user says of himself. */
static pgr_status make_voice(judging *j, size_t k, voice *out) {
    const neighbour *who = &j->near.list[k];
    size_t want = j->want_history < who->n_pair ? j->want_history : who->n_pair;
    pgr_request *r = arena_array(&j->tmp, 1, sizeof *r);
    size_t *ranks = arena_array(&j->tmp, who->n_pair + 1, sizeof *ranks);
    if (!r || !ranks) return fail_mem(&j->error);
    *r = *j->r;
    r->arena = (arena){0};
    r->user_id = who->user_id;
    r->history = who->pairs;
    r->n_history = who->n_pair;
    r->criteria = NULL;
    r->n_criteria = 0;
    r->demographics = "";
    *out = (voice){.r = r, .n_history = want};
    PGR_TRY(history_rank(j, who->pairs, who->vectors, who->n_pair, want, HISTORY_STREAM + 1 + (uint32_t)k, ranks));
    return history_draw(j, ranks, who->n_pair, want, 0, &out->history);
}

/* Chain i is neighbour i's, given and reversed in turn; where there are fewer neighbours than chains it goes round
 * again, every neighbour then with his other order. */
static pgr_status neighbours_side(judging *j) {
    side *s = &j->sides[SIDE_PRO];
    PGR_TRY(judging_neighbours(j, s->n));
    size_t n = j->near.n, n_order = j->o->swap && s->n > 1 ? 2 : 1;
    if (n == 0) s->n = 0;
    if (s->n == 0 && j->sides[SIDE_IND].n == 0)
        return fail(&j->error, PGR_E_ARG, "%s: no similar user was found, and ind is 0", j->r->origin);
    s->n = different(j, s->n, n * n_order);
    PGR_TRY(make_side(j, s, n, n_order));
    for (size_t k = 0; k < n; k++) PGR_TRY(make_voice(j, k, &s->voices[k]));
    for (size_t k = 0; k < s->n_prompt; k++)
        s->prompts[k] = (prompt){.voice = &s->voices[k / n_order],
                                 .order = k % n_order,
                                 .id = PRO_ID + (uint32_t)(k / n_order * 2 + k % n_order)};
    for (size_t i = 0; i < s->n; i++) {
        size_t who = i % n, round = i / n;
        s->chains[i].prompt = who * n_order + (who + round) % n_order;
        s->chains[i].twin = n_order == 2 && round % 2 == 1 ? i - n + 1 : 0;
    }
    return PGR_OK;
}

/* ---- prompts --------------------------------------------------------------------------------------------------- */

/* Which chains each prompt has. */
static pgr_status deal_chains(judging *j, side *s) {
    for (size_t i = 0; i < s->n; i++) s->prompts[s->chains[i].prompt].n_chain++;
    for (size_t k = 0; k < s->n_prompt; k++) {
        prompt *p = &s->prompts[k];
        p->chains = arena_array(&j->tmp, p->n_chain + 1, sizeof *p->chains);
        if (!p->chains) return fail_mem(&j->error);
        p->n_chain = 0;
    }
    for (size_t i = 0; i < s->n; i++) {
        prompt *p = &s->prompts[s->chains[i].prompt];
        p->chains[p->n_chain++] = i;
    }
    return PGR_OK;
}

/* keep: where the names of shortened texts live. */
static pgr_status render_prompt(judging *j, prompt *p, arena *keep) {
    frame_view view = {.history = p->voice->history,
                       .n_history = p->voice->n_history,
                       .order = j->order[p->order],
                       .budget = j->desk->about->n_ctx - j->max_tokens};
    return frame_render(j->desk->frame, j->desk->e, p->voice->r, &view, keep, &p->text, &j->error);
}

static pgr_status render_side(judging *j, side *s, bool first) {
    for (size_t k = 0; k < s->n_prompt; k++) {
        prompt *p = &s->prompts[k];
        if (p->n_chain == 0) continue;
        PGR_TRY(render_prompt(j, p, first && k == 0 ? &j->made->arena : &j->tmp));
    }
    return PGR_OK;
}

static pgr_status fill_totals(void *ctx, const char *hole, const char *text, size_t n, buf *out, pgr_error *err) {
    const judging *j = ctx;
    if (strcmp(hole, "totals") != 0)
        return fail(err, PGR_E_FORMAT, "frame %s: hole @%s, expected @totals", frame_name(j->desk->frame), hole);
    return chain_totals(text, n, j->r->n_response, out, err);
}

/* Random numbers are keyed by the request's seed, the prompt's number and the sample: they do not depend on its place
 * in the call, nor on the rounds. */
infer_request prompt_ask(judging *j, const side *s, prompt *p) {
    const pgr_judge_options *o = j->o;
    size_t end = p->n_written;
    while (end < p->n_chain && p->chains[end] < s->target) end++;
    return (infer_request){.messages = p->text.messages,
                           .n_message = p->text.n_message,
                           .n_sample = end - p->n_written,
                           .seed = j->seed,
                           .id = p->id,
                           .first_sample = (uint32_t)p->n_written,
                           .sampling = o->sampling,
                           .max_tokens = j->max_tokens,
                           .grammar = j->grammar.n ? j->grammar.data : NULL,
                           .n_grammar = j->grammar.n,
                           .grammar_name = frame_name(j->desk->frame),
                           .trigger = frame_trigger(j->desk->frame),
                           .fill = fill_totals,
                           .fill_ctx = j,
                           .want_places = o->score == PGR_SCORE_AUTO || o->score == PGR_SCORE_EXPECTED,
                           .cancel = o->watch.cancel,
                           .priority = j->priority,
                           .stream = j->news != NULL,
                           .owner = j->desk,
                           .tag = p};
}

pgr_status judging_prepare(judging *j) {
    const pgr_judge_options *o = j->o;
    PGR_TRY(watch_check(&o->watch, &j->error));
    PGR_TRY(write_grammar(j));
    PGR_TRY(judging_name(j, settle_numbers(j)));
    PGR_TRY(judging_name(j, judging_scalars(j)));
    PGR_TRY(make_orders(j));
    PGR_TRY(own_side(j));
    PGR_TRY(neighbours_side(j));
    for (int k = 0; k < N_SIDE; k++) PGR_TRY(deal_chains(j, &j->sides[k]));
    if (judging_by_slots(j)) return judging_name(j, slots_prepare(j));
    for (int k = 0; k < N_SIDE; k++) {
        side *s = &j->sides[k];
        PGR_TRY(judging_name(j, render_side(j, s, k == SIDE_IND || j->sides[SIDE_IND].n == 0)));
    }
    return PGR_OK;
}

/* Similar users are not looked for any more; a request that has no chains of its own has none then. */
pgr_status judging_prepare_late(judging *j) {
    side *s = &j->sides[SIDE_IND];
    PGR_TRY(judging_name(j, settle_numbers(j)));
    PGR_TRY(make_orders(j));
    j->sides[SIDE_PRO].n = 0;
    PGR_TRY(judging_neighbours(j, 0));
    if (s->n == 0)
        return fail(&j->error, PGR_E_DEADLINE, "%s: the deadline passed before similar users were looked for",
                    j->r->origin);
    PGR_TRY(make_side(j, s, 1, 1));
    s->voices[0].r = j->r;
    s->prompts[0].voice = s->voices;
    for (size_t i = 0; i < s->n; i++)
        s->chains[i] = (written){.done = true, .late = true, .text = "", .parsed = {.reason = late_reason(j)}};
    return PGR_OK;
}
