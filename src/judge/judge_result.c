/* judge_result.c - the chains of a request are taken over as they end, and become its result. */
#include <math.h>
#include <string.h>

#include "judge/judging.h"
#include "judge/slots_chain.h"

/* A distribution of which more than this was not followed to its end is not known: a mean of 1 to 10 might be .009
 * off. */
static const double REST = 0.001;

static pgr_status take_places(judging *j, written *w, const infer_chain *c) {
    w->places = arena_array(&j->tmp, c->n_place + 1, sizeof *w->places);
    if (!w->places) return fail_mem(&j->error);
    for (size_t i = 0; i < c->n_place; i++) {
        const infer_place *p = &c->places[i];
        if (p->rest <= REST) w->places[w->n_place++] = (chain_place){.at = p->from, .mean = infer_place_mean(p)};
    }
    return PGR_OK;
}

const char *late_reason(const judging *j) {
    return judging_by_slots(j) ? "the deadline passed before the slots were read"
                               : "the deadline passed before the chain was finished";
}

static pgr_status take_chain(judging *j, written *w, const infer_chain *c) {
    w->text = arena_strndup(&j->tmp, c->text.data ? c->text.data : "", c->text.n);
    if (!w->text) return fail_mem(&j->error);
    w->n_text = c->text.n;
    w->n_token = c->tokens.n;
    w->cut = c->cut;
    w->late = c->finish == PGR_FINISH_DEADLINE;
    w->done = true;
    if (w->late || c->finish == PGR_FINISH_FAILED) {
        const char *why = w->late ? late_reason(j) : arena_strdup(&j->tmp, c->why ? c->why : "no chain was written");
        w->parsed = (chain){.reason = why};
        return why ? PGR_OK : fail_mem(&j->error);
    }
    PGR_TRY(take_places(j, w, c));
    chain_text text = {.s = w->text, .n = w->n_text, .places = w->places, .n_place = w->n_place};
    return chain_read(frame_form(j->desk->frame), &text, j->r->n_response, &j->tmp, &w->parsed, &j->error);
}

pgr_status judging_take(judging *j, side *s, prompt *p, const infer_chain *chains, size_t n) {
    for (size_t i = 0; i < n; i++) PGR_TRY(take_chain(j, &s->chains[p->chains[p->n_written + i]], &chains[i]));
    p->n_written += n;
    return PGR_OK;
}

pgr_status judging_lose(judging *j, side *s, prompt *p, const char *why, size_t n) {
    j->lost = arena_strdup(&j->tmp, why);
    if (!j->lost) return fail_mem(&j->error);
    for (size_t i = 0; i < n; i++) {
        written *w = &s->chains[p->chains[p->n_written + i]];
        w->done = true;
        w->text = "";
        w->parsed = (chain){.reason = j->lost};
    }
    p->n_written += n;
    return PGR_OK;
}

/* ---- the verdict ----------------------------------------------------------------------------------------------- */

typedef struct heard {     /* the chains that have been written: own ones, then neighbours' */
    aggregate_chain *list; /* (n) */
    const written **from;  /* (n) */
    bool *pro;             /* (n) */
    size_t n;
    size_t *counted; /* (n_neighbour) */
} heard;

static pgr_status hear(judging *j, arena *a, heard *out) {
    size_t all = j->sides[SIDE_IND].n + j->sides[SIDE_PRO].n;
    *out = (heard){.list = arena_array(a, all + 1, sizeof *out->list),
                   .from = arena_array(a, all + 1, sizeof *out->from),
                   .pro = arena_array(a, all + 1, sizeof *out->pro),
                   .counted = arena_array(a, j->near.n + 1, sizeof *out->counted)};
    if (!out->list || !out->from || !out->pro || !out->counted) return fail_mem(&j->error);
    for (int k = 0; k < N_SIDE; k++) {
        const side *s = &j->sides[k];
        size_t base = out->n;
        for (size_t i = 0; i < s->n && s->chains[i].done; i++) {
            const written *w = &s->chains[i];
            const prompt *p = &s->prompts[w->prompt];
            out->from[out->n] = w;
            out->pro[out->n] = k == SIDE_PRO;
            out->list[out->n++] = (aggregate_chain){.chain = &w->parsed,
                                                    .order = j->order[p->order],
                                                    .cut = w->cut,
                                                    .neighbour = k == SIDE_PRO ? (size_t)(p->voice - s->voices) + 1 : 0,
                                                    .twin = w->twin ? base + w->twin : 0};
        }
    }
    return PGR_OK;
}

/* The same bytes get the same score, whatever the chains say. */
static const size_t *same_texts(const pgr_request *r, arena *a) {
    size_t *same = arena_array(a, r->n_response, sizeof *same);
    for (size_t i = 0; same && i < r->n_response; i++) {
        same[i] = i;
        for (size_t k = 0; k < i && same[i] == i; k++)
            if (strcmp(r->responses[k], r->responses[i]) == 0) same[i] = k;
    }
    return same;
}

/* Percent of the weight that a criterion of the persona has: a tenth of what criteria share. An untrained taste says
 * nothing about a person. */
static double persona_least(const judging *j) {
    return !judging_by_slots(j) ? 10 : j->desk->weights.trained ? 10 * j->taste_share : INFINITY;
}

static pgr_status weigh(judging *j, const heard *h, arena *a, pgr_result *out) {
    const pgr_judge_options *jo = j->o;
    const size_t *same = same_texts(j->r, a);
    if (!same) return fail_mem(&j->error);
    aggregate_options o = {.kind = jo->score,
                           .w_ind = j->w_ind,
                           .w_pro = j->w_pro,
                           .neighbour_weights = j->neighbour_weights,
                           .n_neighbour = j->near.n,
                           .same = same,
                           .prior = j->prior,
                           .counted = h->counted,
                           .verdict_kind = j->views ? PGR_VERDICT_VIEWS : PGR_VERDICT_ANSWERS,
                           .calibration = jo->calibration,
                           .write_persona = frame_form(j->desk->frame) != CHAIN_FULL,
                           .persona_least = persona_least(j)};
    return aggregate(h->list, h->n, j->r->n_response, &o, a, out, &j->error);
}

pgr_status judging_settled(judging *j, double *out) {
    arena scratch = {0};
    pgr_result trial = {0};
    heard h;
    pgr_status s = hear(j, &scratch, &h);
    if (s == PGR_OK) s = weigh(j, &h, &scratch, &trial);
    if (s == PGR_OK) *out = trial.settled;
    arena_free(&scratch);
    return s;
}

/* ---- samples and neighbours ------------------------------------------------------------------------------------ */

static pgr_status keep_sample(judging *j, const heard *h, size_t i, size_t number, const pgr_result *out,
                              pgr_chain_sample *s) {
    const written *w = h->from[i];
    size_t n = j->r->n_response;
    double *scores = arena_array(&j->made->arena, n, sizeof *scores);
    char *text = arena_strndup(&j->made->arena, w->text, w->n_text);
    char *reason = w->parsed.reason ? arena_strdup(&j->made->arena, w->parsed.reason) : NULL;
    if (!scores || !text || (w->parsed.reason && !reason)) return fail_mem(&j->error);
    const size_t *order = h->list[i].order;
    const double *from = chain_scores(&w->parsed, out->score_used);
    for (size_t place = 0; place < n; place++) scores[order[place]] = w->parsed.parsed && from ? from[place] : NAN;
    *s = (pgr_chain_sample){.text = text,
                            .user = h->pro[i] ? out->neighbours[h->list[i].neighbour - 1].user : NULL,
                            .order = order,
                            .parsed = w->parsed.parsed,
                            .cut = w->cut,
                            .arithmetic_wrong = !aggregate_adds_up(&w->parsed, n),
                            .reason = reason,
                            .scores = scores,
                            .n_token = w->n_token,
                            .seed = number};
    return PGR_OK;
}

static pgr_status keep_samples(judging *j, const heard *h, pgr_result *out) {
    pgr_chain_sample *samples = arena_array(&j->made->arena, h->n + 1, sizeof *samples);
    if (!samples) return fail_mem(&j->error);
    for (size_t i = 0; i < h->n; i++)
        PGR_TRY(keep_sample(j, h, i, h->pro[i] ? i - out->ind.requested : i, out, &samples[i]));
    out->samples = samples;
    out->n_sample = h->n;
    return PGR_OK;
}

static pgr_status keep_neighbours(judging *j, const heard *h, pgr_result *out) {
    size_t n = j->near.n;
    double present = 0;
    out->neighbours = arena_array(&j->made->arena, n + 1, sizeof *out->neighbours);
    if (!out->neighbours) return fail_mem(&j->error);
    for (size_t k = 0; k < n; k++) present += h->counted[k] ? j->neighbour_weights[k] : 0;
    for (size_t k = 0; k < n; k++) {
        const neighbour *who = &j->near.list[k];
        out->neighbours[k] = (pgr_neighbour){.user = arena_strdup(&j->made->arena, who->user_id),
                                             .similarity = who->similarity,
                                             .weight = h->counted[k] ? j->neighbour_weights[k] / present : 0,
                                             .n = h->counted[k]};
        if (!out->neighbours[k].user) return fail_mem(&j->error);
    }
    out->n_neighbour = n;
    out->prototype = j->near.prototype;
    out->cold_start = j->cold;
    return PGR_OK;
}

/* ---- the rest -------------------------------------------------------------------------------------------------- */

/* What was shortened in the first prompt; of a neighbour's not his history. */
static pgr_status keep_clips(judging *j, pgr_result *out) {
    const side *own = &j->sides[SIDE_IND], *s = own->n ? own : &j->sides[SIDE_PRO];
    const frame_prompt *p = &s->prompts[0].text;
    out->clipped = arena_array(&j->made->arena, p->n_clip + 1, sizeof *out->clipped);
    if (!out->clipped) return fail_mem(&j->error);
    for (size_t i = 0; i < p->n_clip; i++)
        if (s == own || strncmp(p->clips[i].field, "user.history", strlen("user.history")) != 0)
            out->clipped[out->n_clip++] = p->clips[i];
    return PGR_OK;
}

static void describe_history(const judging *j, pgr_result *out) {
    const side *own = &j->sides[SIDE_IND];
    size_t n_order = own->n_voice ? own->n_prompt / own->n_voice : 1,
           pairs = (out->ind.requested + n_order - 1) / n_order;
    out->history_by = j->o->history_by;
    if (own->n == 0) return;
    out->draws = own->n_voice < pairs ? own->n_voice : pairs;
    out->history_shown = own->prompts[0].text.n_history;
    out->history_used = out->draws * out->history_shown;
    if (out->history_used > j->r->n_history) out->history_used = j->r->n_history;
}

static pgr_status describe(judging *j, const heard *h, pgr_result *out) {
    out->id = arena_strdup(&j->made->arena, j->r->id);
    out->model = arena_strdup(&j->made->arena, j->desk->about->name);
    out->frame = arena_strdup(&j->made->arena, frame_name(j->desk->frame));
    if (!out->id || !out->model || !out->frame) return fail_mem(&j->error);
    describe_history(j, out);
    out->alike = j->n_alike;
    out->untrained = judging_by_slots(j) && !j->desk->weights.trained;
    if (judging_by_slots(j) && out->score_used == PGR_SCORE_EXPECTED) out->open = false; /* more would say the same */
    out->adaptive = j->o->adaptive;
    if (out->adaptive > 0 && out->settled >= out->adaptive) /* else a deadline stopped it */
        out->saved = j->sides[SIDE_IND].n + j->sides[SIDE_PRO].n - h->n;
    out->prompt_tokens = j->prompt_tokens;
    out->cached_tokens = j->prompt_tokens > j->computed_tokens ? j->prompt_tokens - j->computed_tokens : 0;
    for (size_t i = 0; i < h->n; i++) out->completion_tokens += h->from[i]->n_token;
    out->first_token_s = j->first_token_s;
    return PGR_OK;
}

pgr_status judging_result(judging *j) {
    pgr_result *out = &j->made->public;
    heard h;
    PGR_TRY(hear(j, &j->tmp, &h));
    PGR_TRY(weigh(j, &h, &j->made->arena, out));
    if (j->lost && out->parsed == 0) return fail(&j->error, PGR_E_REMOTE, "%s", j->lost);
    PGR_TRY(judging_show_scalars(j));
    PGR_TRY(keep_neighbours(j, &h, out));
    if (j->near.n == 0 && judging_knows_people(j) && (j->o->pro > 0 || (j->o->pro < 0 && j->r->pro > 0)))
        out->pro_reason =
            j->late ? "the deadline passed before similar users were looked for" : "no similar user was found";
    if (j->o->keep_chains) PGR_TRY(keep_samples(j, &h, out));
    PGR_TRY(keep_clips(j, out));
    return describe(j, &h, out);
}
