/* judge_slots.c - judging by a frame with slots: each prompt of a request has a taste, which its voice's history gives,
 * and the responses' quality in its order; what several prompts share is read once. The chains are written by the
 * program from what was read. */
#include <math.h>
#include <string.h>

#include "base/file.h"
#include "judge/judging.h"
#include "judge/slots_chain.h"

bool judging_by_slots(const judging *j) {
    return frame_form(j->desk->frame) == CHAIN_SLOTS;
}

/* ---- before the first prompt ---- */

/* Where the weights are: named, or beside the adapter (docs/compact.md). *found: there is such a file. */
static pgr_status find_weights(const desk *d, buf *path, bool *found, pgr_error *err) {
    const char *adapter = d->about->adapter;
    if (d->o->slots)
        buf_puts(path, d->o->slots);
    else if (adapter)
        buf_printf(path, file_is_folder(adapter) ? "%s/slots.json" : "%s.slots.json", adapter);
    *found = path->n && (d->o->slots || file_exists(path->data));
    return path->failed ? fail_mem(err) : PGR_OK;
}

pgr_status desk_weights(desk *d, pgr_error *err) {
    buf path = {0};
    bool found = false;
    d->weights = slots_weights_neutral();
    pgr_status s = find_weights(d, &path, &found, err);
    if (s == PGR_OK && found) s = slots_weights_read(path.data, &d->weights, err);
    buf_free(&path);
    return s;
}

static pgr_status count_people(judging *j) {
    const pgr_request *r = j->r;
    if (j->crowd.n == 0) return PGR_OK;
    j->people = arena_array(&j->tmp, r->n_response, sizeof *j->people);
    if (!j->people) return fail_mem(&j->error);
    if (judging_by_model(j)) return people_views(j->o->people, r, j->people, &j->error);
    for (size_t i = 0; i < r->n_response; i++)
        slots_count_people(j->crowd.list, j->crowd.n, r->responses[i], &j->people[i]);
    return PGR_OK;
}

/* ---- what is read ---- */

static slots_view view_of(const judging *j, const voice *v, size_t order) {
    return (slots_view){.history = v->history,
                        .n_history = v->n_history,
                        .common = j->desk->weights.has_common ? j->desk->weights.common : NULL,
                        .people = j->people,
                        .order = j->order[order]};
}

static slot_read *find_read(judging *j, bool taste, const voice *v, size_t order) {
    for (slot_read *r = j->reads; r < j->reads + j->n_read; r++)
        if (r->taste == taste && (!r->voice || r->voice == v) && r->order == order) return r;
    return NULL;
}

/* As the responses' places are exchanged from one order to the other, so are the texts of the history's pairs. */
static pgr_status take_read(judging *j, bool taste, const voice *v, size_t order, slot_read **out) {
    slots_view view = view_of(j, v, order);
    if (taste && !slots_can_turn(v->r, &view)) order = 0;
    view.turned = taste && order == 1;
    *out = find_read(j, taste, v, order);
    if (*out) return PGR_OK;
    slot_read *r = &j->reads[j->n_read];
    *r = (slot_read){.taste = taste, .voice = v, .order = order, .judging = j};
    if (!taste && !slots_by_views(j->desk->frame, j->r)) r->voice = NULL; /* the same under any history */
    r->values = arena_array(&j->tmp, taste ? N_TASTE : j->r->n_response, sizeof *r->values);
    if (!r->values) return fail_mem(&j->error);
    PGR_TRY((taste ? slots_taste : slots_quality)(j->desk->frame, j->desk->e, v->r, &view, &r->prompt, &j->error));
    j->n_read++;
    size_t shown = r->prompt.n_history; /* the last ones */
    if (taste) PGR_TRY(slots_lead(v->r->history, v->history + (v->n_history - shown), shown, &r->lead, &j->error));
    *out = r;
    return PGR_OK;
}

/* What the result says of a prompt: pairs shown, texts shortened. */
static pgr_status describe_prompt(judging *j, prompt *p) {
    const slots_prompt *parts[2] = {&p->taste->prompt, &p->quality->prompt};
    arena *keep = &j->made->arena;
    p->text.n_history = parts[0]->n_history;
    p->text.clips = arena_array(keep, parts[0]->n_clip + parts[1]->n_clip + 1, sizeof *p->text.clips);
    if (!p->text.clips) return fail_mem(&j->error);
    for (int k = 0; k < 2; k++)
        for (size_t i = 0; i < parts[k]->n_clip; i++) {
            pgr_clip clip = parts[k]->clips[i];
            clip.field = arena_strdup(keep, clip.field);
            if (!clip.field) return fail_mem(&j->error);
            p->text.clips[p->text.n_clip++] = clip;
        }
    return PGR_OK;
}

/* Of statements that people have taken sides on, or this user on others of the question: what they said decides. The
 * own prompts say which it is for all chains; without any, those of similar users. */
static bool stands_on_views(const judging *j) {
    const side *own = &j->sides[SIDE_IND], *s = own->n ? own : &j->sides[SIDE_PRO];
    bool known = false;
    for (size_t i = 0; j->people && i < j->r->n_response; i++) known |= j->people[i].chose + j->people[i].rejected > 0;
    for (size_t i = 0; i < s->n_prompt; i++)
        known |= s->prompts[i].quality && s->prompts[i].quality->prompt.n_history > 0;
    return known && slots_by_views(j->desk->frame, j->r);
}

pgr_status slots_prepare(judging *j) {
    size_t n = 0;
    for (int k = 0; k < N_SIDE; k++) n += 2 * j->sides[k].n_prompt;
    j->reads = arena_array(&j->tmp, n + 1, sizeof *j->reads);
    j->levels = arena_array(&j->tmp, j->r->n_response * N_FACT, sizeof *j->levels);
    if (!j->reads || !j->levels) return fail_mem(&j->error);
    PGR_TRY(slots_response_levels(j->r, j->levels, &j->error));
    PGR_TRY(count_people(j));
    for (int k = 0; k < N_SIDE; k++)
        for (size_t i = 0; i < j->sides[k].n_prompt; i++) {
            prompt *p = &j->sides[k].prompts[i];
            if (p->n_chain == 0) continue;
            PGR_TRY(take_read(j, true, p->voice, p->order, &p->taste));
            PGR_TRY(take_read(j, false, p->voice, p->order, &p->quality));
            if (i == 0) PGR_TRY(describe_prompt(j, p));
        }
    j->views = stands_on_views(j);
    return PGR_OK;
}

static pgr_status ask_read(judging *j, slot_read *r, double deadline_s) {
    if (r->asked) return PGR_OK;
    infer_request q = {.messages = r->prompt.messages,
                       .n_message = r->prompt.n_message,
                       .slots = r->prompt.slots,
                       .n_slot = r->prompt.n_slot,
                       .deadline_s = deadline_s,
                       .cancel = j->o->watch.cancel,
                       .priority = j->priority,
                       .owner = j->desk,
                       .tag = r};
    PGR_TRY(engine_submit(j->desk->e, &q, &r->ticket, &j->error));
    r->asked = true;
    j->n_open++;
    j->desk->n_with_engine++;
    return PGR_OK;
}

/* Has the prompt chains that this round wants? */
static bool wanted(const side *s, const prompt *p) {
    return p->n_written < p->n_chain && p->chains[p->n_written] < s->target;
}

pgr_status slots_ask(judging *j, double deadline_s) {
    for (int k = 0; k < N_SIDE; k++)
        for (size_t i = 0; i < j->sides[k].n_prompt; i++) {
            prompt *p = &j->sides[k].prompts[i];
            if (!wanted(&j->sides[k], p)) continue;
            PGR_TRY(ask_read(j, p->taste, deadline_s));
            PGR_TRY(ask_read(j, p->quality, deadline_s));
        }
    return PGR_OK;
}

void slots_leave_engine(slot_read *r) {
    if (r->ticket == 0) return;
    r->judging->desk->n_with_engine--;
    r->ticket = 0;
}

pgr_status slots_take(slot_read *r, const infer_result *result) {
    judging *j = r->judging;
    j->prompt_tokens += result->prompt.n;
    j->computed_tokens += result->prompt.n - result->usage.cached_tokens;
    if (result->error.status != PGR_OK) {
        j->error = result->error;
        return result->error.status;
    }
    r->late = result->n_reading == 0;
    for (size_t i = 0; i < result->n_reading; i++) {
        const infer_reading *x = &result->readings[i];
        double mean = 0;
        for (size_t c = 0; c < x->n_choice; c++) {
            if (r->taste) r->values[c] = exp(x->logprobs[c]);
            mean += (double)(c + 1) * exp(x->logprobs[c]);
        }
        if (!r->taste) r->values[i] = mean;
    }
    if (r->taste && r->order == 1 && !r->late) taste_turn(r->values);
    return PGR_OK;
}

/* ---- chains ---- */

/* "similar people: 83 % are for A (57 know it), 41 % for B (60)" by the places of a chain. */
static pgr_status say_people(judging *j, const size_t *order, const char **out) {
    buf text = {0};
    for (size_t p = 0; j->people && p < j->r->n_response; p++) {
        people_view x = j->people[order[p]];
        if (x.chose + x.rejected == 0) continue;
        buf_printf(&text, text.n ? ", %d %% for %c (%zu)" : "similar people: %d %% are for %c (%zu know it)",
                   slots_people_percent(&x), (char)('A' + p % 26), x.chose + x.rejected);
    }
    *out = text.n ? arena_strndup(&j->tmp, text.data, text.n) : "";
    bool failed = text.failed || !*out;
    buf_free(&text);
    return failed ? fail_mem(&j->error) : PGR_OK;
}

/* By the places of a chain; NULL: these are no statements, or nobody knows one of them. */
static pgr_status people_shares(judging *j, const size_t *order, const double **out) {
    bool known = false;
    *out = NULL;
    for (size_t i = 0; j->people && j->views && i < j->r->n_response; i++)
        known = known || j->people[i].chose + j->people[i].rejected > 0;
    if (!known) return PGR_OK;
    double *shares = arena_array(&j->tmp, j->r->n_response, sizeof *shares);
    if (!shares) return fail_mem(&j->error);
    for (size_t p = 0; p < j->r->n_response; p++) shares[p] = j->people[order[p]].share;
    *out = shares;
    return PGR_OK;
}

static pgr_status write_chain(judging *j, const prompt *p, bool own, uint32_t sample, written *w) {
    static const char *const NOTHING[N_TASTE] = {"", "", "", "", "", "", "", "", "", "", "", "",
                                                 "", "", "", "", "", "", "", "", "", "", "", ""};
    const char *evidence[N_TASTE], *people;
    const double *shares;
    w->done = true;
    w->late = p->taste->late || p->quality->late;
    w->text = "";
    if (w->late) {
        w->parsed = (chain){.reason = late_reason(j)};
        return PGR_OK;
    }
    PGR_TRY(say_people(j, j->order[p->order], &people));
    PGR_TRY(people_shares(j, j->order[p->order], &shares));
    if (own) /* what others chose and rejected is not told */
        PGR_TRY(
            slots_evidence(p->voice->r->history, p->voice->history, p->voice->n_history, &j->tmp, evidence, &j->error));
    double rate = j->o->people ? people_own_lead(j->o->people) : 0;
    slots_weights weights =
        slots_weights_for(&j->desk->weights, p->taste->prompt.n_history, p->taste->lead, rate, j->views);
    if (own || j->taste_share == 0) j->taste_share = slots_taste_share(&weights);
    slots_case c = {.n_response = j->r->n_response,
                    .order = j->order[p->order],
                    .taste = p->taste->values,
                    .quality = p->quality->values,
                    .levels = j->levels,
                    .weights = &weights,
                    .views = j->views,
                    .evidence = own ? evidence : NOTHING,
                    .people = people,
                    .shares = shares,
                    .seed = j->seed,
                    .id = p->id,
                    .sample = sample};
    PGR_TRY(slots_chain(&c, &j->tmp, &w->parsed, &w->text, &j->error));
    w->n_text = strlen(w->text);
    return PGR_OK;
}

pgr_status slots_write(judging *j) {
    for (int k = 0; k < N_SIDE; k++)
        for (size_t i = 0; i < j->sides[k].n_prompt; i++) {
            side *s = &j->sides[k];
            prompt *p = &s->prompts[i];
            for (; wanted(s, p); p->n_written++)
                PGR_TRY(write_chain(j, p, k == SIDE_IND, (uint32_t)p->n_written, &s->chains[p->chains[p->n_written]]));
        }
    return PGR_OK;
}
