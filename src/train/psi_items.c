/* psi_items.c - prompts of examples, by the functions that judging uses. */
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "base/text.h"
#include "train/psi.h"

void psi_items_free(psi_items *p) {
    mem_free(p->list);
    arena_free(&p->arena);
    *p = (psi_items){0};
}

/* ---- prompts as tokens ---- */

static pgr_status take_tokens(const infer_slot_tokens *t, psi_items *out, pgr_error *err) {
    if (!t->single)
        return fail(err, PGR_E_UNSUPPORTED,
                    "this model's tokenizer writes some choice of a slot as several tokens, expected one each");
    if (out->n == out->cap) {
        size_t cap = out->cap ? 2 * out->cap : 16;
        slot_seq *list = mem_resize(out->list, cap * sizeof *list);
        if (!list) return fail_mem(err);
        out->list = list;
        out->cap = cap;
    }
    slot_seq s = {.n = t->tokens.n, .n_row = t->n_slot, .n_allowed = t->n_choice / t->n_slot};
    PGR_ASSERT(t->n_slot >= 1 && t->n_slot <= SLOT_ROWS);
    int32_t *tokens = arena_array(&out->arena, s.n, sizeof *tokens);
    int32_t *allowed = arena_array(&out->arena, s.n_allowed, sizeof *allowed);
    if (!tokens || !allowed) return fail_mem(err);
    memcpy(tokens, t->tokens.v, s.n * sizeof *tokens);
    memcpy(allowed, t->choices.v, s.n_allowed * sizeof *allowed); /* those of every slot are the first one's */
    for (size_t i = 0; i < s.n_row; i++) s.rows[i] = (uint32_t)t->rows[i];
    s.tokens = tokens;
    s.allowed = allowed;
    out->list[out->n++] = s;
    out->tokens += s.n;
    return PGR_OK;
}

static pgr_status take_prompt(psi *p, slots_prompt *prompt, psi_items *out, pgr_error *err) {
    infer_slot_tokens t = {0};
    pgr_status s =
        engine_slots_tokens(p->e, prompt->messages, prompt->n_message, prompt->slots, prompt->n_slot, &t, err);
    if (s == PGR_OK) s = take_tokens(&t, out, err);
    infer_slot_tokens_free(&t);
    slots_prompt_free(prompt);
    return s;
}

static const double *common_of(const psi *p) {
    return p->weights.has_common ? p->weights.common : NULL;
}

enum { STREAM_LOSER = 60 }; /* of random numbers */

/* ---- taste ---- */

pgr_status psi_add_taste(psi *p, const preference_pair *pairs, const size_t *shown, size_t n, bool turned,
                         psi_items *out, pgr_error *err) {
    preference_pair *history = arena_array(&out->arena, n + 1, sizeof *history);
    size_t *all = arena_array(&out->arena, n + 1, sizeof *all);
    if (!history || !all) return fail_mem(err);
    for (size_t i = 0; i < n; i++) {
        history[i] = pairs[shown[i]];
        all[i] = i;
    }
    pgr_request r = {
        .origin = "train", .id = "", .user_id = "", .demographics = "", .history = history, .n_history = n};
    slots_view view = {
        .history = all, .n_history = n, .common = common_of(p), .turned = turned, .budget = p->o->train.pass_tokens};
    slots_prompt prompt = {0};
    PGR_TRY(slots_taste(p->frame, p->e, &r, &view, &prompt, err));
    return take_prompt(p, &prompt, out, err);
}

pgr_status psi_draw_pairs(const psi_set *s, const psi_user *u, size_t n, uint64_t seed, uint32_t stream, size_t *out,
                          size_t *n_out, size_t *rest, size_t *n_rest, pgr_error *err) {
    PGR_TRY(slots_draw(s->pairs + u->first, u->n, n, seed, stream, out, n_out, err));
    size_t at = 0, left = 0;
    for (size_t i = 0; rest && i < u->n; i++) {
        if (at < *n_out && out[at] == i)
            at++;
        else
            rest[left++] = u->first + i;
    }
    if (rest) *n_rest = left;
    for (size_t i = 0; i < *n_out; i++) out[i] += u->first;
    return PGR_OK;
}

/* ---- quality and views ---- */

static bool shares_text(const preference_pair *p, const preference_pair *of) {
    return strcmp(p->chosen, of->chosen) == 0 || strcmp(p->chosen, of->rejected) == 0
           || strcmp(p->rejected, of->chosen) == 0 || strcmp(p->rejected, of->rejected) == 0;
}

pgr_status psi_known(const psi_set *s, size_t row, bool same_query, arena *a, psi_text *out, pgr_error *err) {
    const psi_user *u = &s->users[s->user[row]];
    const preference_pair *pair = &s->pairs[row];
    preference_pair *known = arena_array(a, u->n + 1, sizeof *known);
    size_t n = 0;
    if (!known) return fail_mem(err);
    for (size_t i = u->first; i < u->first + u->n; i++) {
        const preference_pair *p = &s->pairs[i];
        if (i == row || shares_text(p, pair) || (!same_query && strcmp(psi_query(p), psi_query(pair)) == 0)) continue;
        known[n++] = *p;
    }
    *out = (psi_text){.user = u->id, .pair = pair, .known = known, .n_known = n};
    return PGR_OK;
}

/* responses (2): memory of the caller */
static pgr_request request_of(const psi_text *t, const char **responses) {
    responses[0] = t->pair->chosen;
    responses[1] = t->loser ? t->loser : t->pair->rejected;
    return (pgr_request){.origin = "train",
                         .id = "",
                         .user_id = t->user,
                         .demographics = "",
                         .history = t->known,
                         .n_history = t->n_known,
                         .messages = t->pair->context,
                         .n_message = t->pair->n_context,
                         .responses = responses,
                         .n_response = 2};
}

pgr_status psi_add_quality(psi *p, const psi_text *t, size_t place, psi_items *out, pgr_error *err) {
    const char *responses[2];
    size_t order[2] = {place, 1 - place}; /* response 0 is the chosen one */
    pgr_request r = request_of(t, responses);
    slots_view view = {.people = t->asked ? t->people : NULL, .order = order, .budget = p->o->train.pass_tokens};
    slots_prompt prompt = {0};
    PGR_TRY(slots_quality(p->frame, p->e, &r, &view, &prompt, err));
    return take_prompt(p, &prompt, out, err);
}

static pgr_status count_people(psi *p, const pgr_request *r, people_view out[2], pgr_error *err) {
    arena a = {0};
    neighbourhood near = {0};
    size_t n = p->o->similar ? p->o->similar : frame_people(p->frame);
    pgr_status s = people_neighbours(p->o->people, r, n, &a, &near, err);
    for (size_t k = 0; s == PGR_OK && k < 2; k++) slots_count_people(near.list, near.n, r->responses[k], &out[k]);
    arena_free(&a);
    return s;
}

pgr_status psi_ask_people(psi *p, psi_text *t, pgr_error *err) {
    const char *responses[2];
    pgr_request r = request_of(t, responses);
    t->asked = true;
    if (!p->o->similar && people_has_views(p->o->people)) return people_views(p->o->people, &r, t->people, err);
    return count_people(p, &r, t->people, err);
}

pgr_status psi_hard_loser(const psi *p, const preference_pair *pair, uint64_t number, arena *a, const char **out,
                          pgr_error *err) {
    static const char *const phrases[] = {":",
                                          "Solution",
                                          "Sure!",
                                          "Here is the answer:",
                                          "I am happy to help.",
                                          "...",
                                          "I don't know.",
                                          "Thank you for your question!"};
    enum { N_PHRASE = sizeof phrases / sizeof *phrases, SHORT = 40 };
    rng r = {p->o->train.seed ^ number, STREAM_LOSER, 0};
    size_t n = strlen(pair->chosen), way = rng_below(&r, 3);
    *out = way == 0 ? "" : phrases[rng_below(&r, N_PHRASE)];
    if (way < 2 || n < SHORT) return PGR_OK; /* the beginning of a short one may be all there is to say */
    char *cut = arena_strndup(a, pair->chosen, utf8_clip(pair->chosen, n, n / 10 + rng_below(&r, n / 3)));
    *out = cut;
    return cut ? PGR_OK : fail_mem(err);
}
