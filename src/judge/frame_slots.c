/* frame_slots.c - the two prompts of a frame with slots: texts collected and measured once, shown under limits that are
 * lowered until the prompt fits its budget, and where its slots stand. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "judge/frame_parts.h"
#include "judge/slots.h"

enum { COMMON_WORDS = 4 };              /* said of what most people like */
static const double COMMON_LEAST = 0.1; /* mean level that is worth a word */

typedef struct shown_view { /* a pair of the history as texts */
    talk chosen, rejected;
} shown_view;

typedef struct maker {
    const frame *f;
    pgr_engine *e;
    const pgr_request *r;
    const slots_view *view;
    slots_prompt *out;
    arena tmp;                          /* everything below but the texts */
    talk query, criteria, demographics; /* n_turn 0: none */
    talk *responses;                    /* (n_response) by place */
    shown_view *views;                  /* (n_view) the most relevant first */
    size_t n_view;
    size_t n_pair;            /* pairs as facts: the last ones of the view */
    double (*levels)[N_FACT]; /* of all pairs of the view */
    size_t limit[N_KIND];
    buf system, user;
    size_t *at;                              /* (n_slot) bytes of user */
    size_t place[2][N_SLOT], length[N_SLOT]; /* where placeholders stand in system and user, and their texts' bytes */
} maker;

static slot_text text_of(const buf *b) {
    return (slot_text){b->data ? b->data : "", b->n};
}

static void put_between(const maker *m, buf *out) {
    buf_puts(out, m->f->blank_between ? "\n\n" : "\n");
}

static pgr_status show(maker *m, const talk *k, buf *out, pgr_error *err) {
    size_t kept = 0;
    if (k->n_turn == 0) return PGR_OK;
    PGR_TRY(talk_show(k, m->e, m->limit[k->kind], m->f->join_lines, out, &kept, err));
    if (kept < k->n_token) m->out->clips[m->out->n_clip++] = (pgr_clip){k->field, k->n_token, kept};
    return PGR_OK;
}

/* The value inside of its section, where the frame has one and there is a value. */
static void wrap(const maker *m, int which, int slot, const buf *value, buf *out) {
    slot_text values[N_SLOT] = {{0}};
    values[slot] = text_of(value);
    if (value->n && m->f->sections[which].line)
        section_expand(&m->f->sections[which], values, NULL, out);
    else if (value->n)
        buf_add(out, value->data, value->n);
    out->failed = out->failed || value->failed;
}

static pgr_status show_wrapped(maker *m, const talk *k, int which, int slot, buf *out, pgr_error *err) {
    buf text = {0};
    pgr_status s = show(m, k, &text, err);
    if (s == PGR_OK) wrap(m, which, slot, &text, out);
    buf_free(&text);
    return s;
}

/* ---- the taste prompt ---- */

static void put_facts(const double levels[N_FACT], buf *out) {
    static const char *const STRENGTH[4] = {"", " slightly", "", " strongly"};
    size_t n = 0;
    for (int f = 0; f < N_FACT; f++) {
        int level = (int)levels[f];
        if (level == 0) continue;
        buf_printf(out, "%s%s%s", n++ ? ", " : "", taste_word(2 * f + (level < 0)),
                   STRENGTH[level < 0 ? -level : level]);
    }
    if (n == 0) buf_puts(out, "nothing stands out");
}

static void put_common(const double *common, bool turned, buf *out) {
    bool said[N_FACT] = {false};
    for (int n = 0; common && n < COMMON_WORDS; n++) {
        int best = -1;
        for (int f = 0; f < N_FACT; f++)
            if (!said[f] && fabs(common[f]) >= COMMON_LEAST && (best < 0 || fabs(common[f]) > fabs(common[best])))
                best = f;
        if (best < 0) return;
        said[best] = true;
        buf_printf(out, "%s%s", n ? ", " : "", taste_word(2 * best + ((common[best] < 0) != turned)));
    }
}

static void put_history(const maker *m, buf *out) {
    static const slot_text NONE[N_SLOT];
    size_t first = m->view->n_history - m->n_pair;
    if (m->n_pair == 0) section_expand(&m->f->sections[SECTION_NO_HISTORY], NONE, NULL, out);
    for (size_t i = 0; i < m->n_pair; i++) {
        buf facts = {0};
        char index[24];
        slot_text values[N_SLOT] = {{0}};
        snprintf(index, sizeof index, "%zu", i + 1);
        put_facts(m->levels[first + i], &facts);
        values[SLOT_FACTS] = text_of(&facts);
        values[SLOT_INDEX] = (slot_text){index, strlen(index)};
        if (i) put_between(m, out);
        section_expand(&m->f->sections[SECTION_HISTORY], values, NULL, out);
        out->failed = out->failed || facts.failed;
        buf_free(&facts);
    }
}

static pgr_status write_taste(maker *m, pgr_error *err) {
    buf common = {0}, words = {0}, history = {0}, wrapped[2] = {{0}, {0}};
    slot_text values[N_SLOT] = {{0}};
    put_common(m->view->common, m->view->turned, &words);
    wrap(m, SECTION_COMMON, SLOT_COMMON, &words, &common);
    put_history(m, &history);
    pgr_status s = show_wrapped(m, &m->demographics, SECTION_DEMOGRAPHICS, SLOT_DEMOGRAPHICS, &wrapped[0], err);
    if (s == PGR_OK) s = show_wrapped(m, &m->criteria, SECTION_CRITERIA, SLOT_CRITERIA, &wrapped[1], err);
    values[SLOT_COMMON] = text_of(&common);
    values[SLOT_HISTORY] = text_of(&history);
    values[SLOT_DEMOGRAPHICS] = text_of(&wrapped[0]);
    values[SLOT_CRITERIA] = text_of(&wrapped[1]);
    section_expand(&m->f->sections[SECTION_SYSTEM], values, m->place[0], &m->system);
    section_expand(&m->f->sections[SECTION_USER], values, m->place[1], &m->user);
    m->at[0] = m->user.n;
    for (int k = 0; k < N_SLOT; k++) m->length[k] = values[k].n;
    bool failed = common.failed || words.failed || history.failed || wrapped[0].failed || wrapped[1].failed;
    buf_free(&common);
    buf_free(&words);
    buf_free(&history);
    buf_free(&wrapped[0]);
    buf_free(&wrapped[1]);
    return s == PGR_OK && failed ? fail_mem(err) : s;
}

/* ---- the quality prompt ---- */

static pgr_status show_view(maker *m, const shown_view *v, buf *out, pgr_error *err) {
    buf chosen = {0}, rejected = {0};
    pgr_status s = show(m, &v->chosen, &chosen, err);
    if (s == PGR_OK) s = show(m, &v->rejected, &rejected, err);
    if (s == PGR_OK) {
        slot_text values[N_SLOT] = {{0}};
        values[SLOT_CHOSEN] = text_of(&chosen);
        values[SLOT_REJECTED] = text_of(&rejected);
        if (out->n) put_between(m, out);
        section_expand(&m->f->sections[SECTION_VIEW], values, NULL, out);
        if (chosen.failed || rejected.failed) s = fail_mem(err);
    }
    buf_free(&chosen);
    buf_free(&rejected);
    return s;
}

/* "Similar people: 83% agree."; nothing where none of them knows the text. */
static void put_people(const maker *m, size_t response, buf *out) {
    const people_view *p = m->view->people ? &m->view->people[response] : NULL;
    if (!p || p->chose + p->rejected == 0) return;
    char chose[24], voted[24], share[24];
    slot_text values[N_SLOT] = {{0}};
    snprintf(chose, sizeof chose, "%zu", p->chose);
    snprintf(voted, sizeof voted, "%zu", p->chose + p->rejected);
    snprintf(share, sizeof share, "%d", slots_people_percent(p));
    values[SLOT_CHOSE] = (slot_text){chose, strlen(chose)};
    values[SLOT_VOTED] = (slot_text){voted, strlen(voted)};
    values[SLOT_SHARE] = (slot_text){share, strlen(share)};
    section_expand(&m->f->sections[SECTION_PEOPLE], values, NULL, out);
}

static size_t place_of(const maker *m, size_t place) {
    return m->view->order ? m->view->order[place] : place;
}

static pgr_status show_response(maker *m, size_t place, buf *out, pgr_error *err) {
    buf text = {0}, people = {0};
    char number[24], label = (char)('A' + place % MAX_LABELS);
    snprintf(number, sizeof number, "%zu", place + 1);
    pgr_status s = show(m, &m->responses[place], &text, err);
    if (s == PGR_OK) {
        slot_text values[N_SLOT] = {{0}};
        put_people(m, place_of(m, place), &people);
        values[SLOT_TEXT] = text_of(&text);
        values[SLOT_PEOPLE] = text_of(&people);
        values[SLOT_LABEL] = (slot_text){&label, 1};
        values[SLOT_NUMBER] = (slot_text){number, strlen(number)};
        if (place) put_between(m, out);
        section_expand(&m->f->sections[SECTION_RESPONSE], values, NULL, out);
        if (text.failed || people.failed) s = fail_mem(err);
    }
    buf_free(&text);
    buf_free(&people);
    return s;
}

static pgr_status write_quality(maker *m, pgr_error *err) {
    buf views = {0}, query = {0}, responses = {0};
    char count[24];
    slot_text values[N_SLOT] = {{0}};
    pgr_status s = show(m, &m->query, &query, err);
    for (size_t i = 0; s == PGR_OK && i < m->n_view; i++) s = show_view(m, &m->views[i], &views, err);
    for (size_t p = 0; s == PGR_OK && p < m->r->n_response; p++) {
        s = show_response(m, p, &responses, err);
        m->at[p] = responses.n;
    }
    snprintf(count, sizeof count, "%zu", m->r->n_response);
    values[SLOT_VIEWS] = text_of(&views);
    values[SLOT_QUERY] = text_of(&query);
    values[SLOT_RESPONSES] = text_of(&responses);
    values[SLOT_COUNT] = (slot_text){count, strlen(count)};
    section_expand(&m->f->sections[SECTION_QUALITY_SYSTEM], values, m->place[0], &m->system);
    section_expand(&m->f->sections[SECTION_QUALITY], values, m->place[1], &m->user);
    for (size_t p = 0; p < m->r->n_response; p++) m->at[p] += m->user.n - responses.n; /* they end the section */
    for (int k = 0; k < N_SLOT; k++) m->length[k] = values[k].n;
    bool failed = views.failed || query.failed || responses.failed;
    buf_free(&views);
    buf_free(&query);
    buf_free(&responses);
    return s == PGR_OK && failed ? fail_mem(err) : s;
}

/* ---- collecting ---- */

static pgr_status collect_one(maker *m, int kind, const char *field, const char *text, talk *out, pgr_error *err) {
    turn one = {"user", text};
    return talk_make(m->f, m->e, kind, field, &one, 1, &m->tmp, out, err);
}

static pgr_status collect_taste(maker *m, pgr_error *err) {
    const pgr_request *r = m->r;
    m->n_pair = m->view->n_history;
    m->levels = arena_array(&m->tmp, m->n_pair + 1, sizeof *m->levels);
    if (!m->levels) return fail_mem(err);
    for (size_t i = 0; i < m->n_pair; i++) {
        PGR_ASSERT(m->view->history[i] < r->n_history);
        slots_pair_levels(&r->history[m->view->history[i]], m->levels[i]);
        for (int f = 0; m->view->turned && f < N_FACT; f++) m->levels[i][f] = -m->levels[i][f];
    }
    PGR_TRY(talk_make_list(m->f, m->e, KIND_CRITERIA, "user.criteria", r->criteria, r->n_criteria, &m->tmp,
                           &m->criteria, err));
    return talk_make_list(m->f, m->e, KIND_DEMOGRAPHICS, "user.demographics", &r->demographics, 1, &m->tmp,
                          &m->demographics, err);
}

static pgr_status collect_views(maker *m, pgr_error *err) {
    size_t *indices = arena_array(&m->tmp, m->f->views + 1, sizeof *indices);
    m->views = arena_array(&m->tmp, m->f->views + 1, sizeof *m->views);
    if (!indices || !m->views) return fail_mem(err);
    PGR_TRY(views_choose(m->f, m->r, &m->tmp, indices, &m->n_view, err));
    for (size_t i = 0; i < m->n_view; i++) {
        shown_view *v = &m->views[i];
        const preference_pair *p = &m->r->history[indices[i]];
        const char *field = arena_printf(&m->out->arena, "user.history[%zu].chosen", indices[i]);
        PGR_TRY(collect_one(m, KIND_HISTORY_RESPONSE, field, p->chosen, &v->chosen, err));
        field = arena_printf(&m->out->arena, "user.history[%zu].rejected", indices[i]);
        PGR_TRY(collect_one(m, KIND_HISTORY_RESPONSE, field, p->rejected, &v->rejected, err));
    }
    return PGR_OK;
}

static pgr_status collect_quality(maker *m, pgr_error *err) {
    const pgr_request *r = m->r;
    m->responses = arena_array(&m->tmp, r->n_response, sizeof *m->responses);
    if (!m->responses) return fail_mem(err);
    PGR_TRY(talk_make(m->f, m->e, KIND_QUERY, "query", r->messages, r->n_message, &m->tmp, &m->query, err));
    for (size_t p = 0; p < r->n_response; p++) {
        size_t i = place_of(m, p);
        PGR_ASSERT(i < r->n_response);
        const char *field = arena_printf(&m->out->arena, "responses[%zu]", i);
        PGR_TRY(collect_one(m, KIND_RESPONSE, field, r->responses[i], &m->responses[p], err));
    }
    return collect_views(m, err);
}

/* ---- until it fits ---- */

static const char *const DIGITS[N_DIGIT] = {"1", "2", "3", "4", "5", "6", "7", "8", "9"};

/* Messages and slots point into the maker's texts. */
static void point(maker *m, bool taste) {
    slots_prompt *p = m->out;
    p->n_message = 0;
    if (m->system.n) p->messages[p->n_message++] = (infer_message){"system", m->system.data, m->system.n};
    p->messages[p->n_message++] = (infer_message){"user", m->user.data ? m->user.data : "", m->user.n};
    for (size_t i = 0; i < p->n_slot; i++)
        p->slots[i] = (infer_slot){.message = p->n_message - 1,
                                   .at = m->at[i],
                                   .choices = taste ? taste_choices() : DIGITS,
                                   .n_choice = taste ? N_TASTE : N_DIGIT};
}

static pgr_status attempt(maker *m, bool taste, pgr_error *err) {
    slots_prompt *p = m->out;
    infer_slot_tokens t = {0};
    buf_clear(&m->system);
    buf_clear(&m->user);
    p->n_clip = 0;
    PGR_TRY(taste ? write_taste(m, err) : write_quality(m, err));
    if (m->system.failed || m->user.failed) return fail_mem(err);
    point(m, taste);
    PGR_TRY(engine_slots_tokens(m->e, p->messages, p->n_message, p->slots, p->n_slot, &t, err));
    p->n_token = t.tokens.n;
    p->n_history = taste ? m->n_pair : m->n_view;
    infer_slot_tokens_free(&t);
    return PGR_OK;
}

/* All limits by the factor, none below the floor. False: all were there already. */
static bool lower_limits(maker *m, double factor) {
    bool lowered = false;
    for (int k = 0; k < N_KIND; k++) {
        size_t least = m->f->limit[k] < LIMIT_FLOOR ? m->f->limit[k] : LIMIT_FLOOR;
        size_t limit = (size_t)((double)m->f->limit[k] * factor);
        if (limit < least) limit = least;
        lowered = lowered || limit < m->limit[k];
        m->limit[k] = limit;
    }
    return lowered;
}

/* Of the taste prompt the oldest pairs, half of what is too much at a time; of the quality prompt the least relevant
 * view. False: none is left. */
static bool drop(maker *m, bool taste, size_t budget) {
    size_t *n = taste ? &m->n_pair : &m->n_view;
    if (*n == 0) return false;
    size_t some = taste ? 1 + (m->out->n_token - budget) / (m->out->n_token / *n + 1) / 2 : 1;
    *n -= some < *n ? some : *n;
    return true;
}

static pgr_status fit(maker *m, bool taste, pgr_error *err) {
    size_t most = engine_about(m->e)->n_ctx - 1, budget = m->view->budget;
    if (budget == 0 || budget > most) budget = most;
    double factor = 1.0;
    memcpy(m->limit, m->f->limit, sizeof m->limit);
    for (;;) {
        PGR_TRY(attempt(m, taste, err));
        if (m->out->n_token <= budget) return PGR_OK;
        if (drop(m, taste, budget)) continue;
        if (lower_limits(m, factor *= 0.8)) continue;
        return fail(err, PGR_E_LIMIT,
                    "frame %s: the prompt needs %zu tokens with every text clipped to %d, there is room for %zu",
                    m->f->name, m->out->n_token, LIMIT_FLOOR, budget);
    }
}

static pgr_status find_parts(const maker *m, bool taste, pgr_error *err) {
    static const frame_place TASTE[] = {{SLOT_COMMON, "common"},
                                        {SLOT_DEMOGRAPHICS, "user.demographics"},
                                        {SLOT_CRITERIA, "user.criteria"},
                                        {SLOT_HISTORY, "user.history"}};
    static const frame_place QUALITY[] = {{SLOT_VIEWS, "user.history"}, {SLOT_QUERY, "query"}};
    enum { N_TASTE_PLACE = sizeof TASTE / sizeof *TASTE, N_QUALITY_PLACE = sizeof QUALITY / sizeof *QUALITY };
    slots_prompt *p = m->out;
    p->parts = arena_array(&p->arena, 2 * N_TASTE_PLACE + m->r->n_response, sizeof *p->parts);
    if (!p->parts) return fail_mem(err);
    for (size_t i = 0; i < p->n_message; i++)
        frame_find_parts(taste ? TASTE : QUALITY, taste ? N_TASTE_PLACE : N_QUALITY_PLACE,
                         m->place[2 - p->n_message + i], m->length, i, p->parts, &p->n_part);
    size_t user = p->n_message - 1, from = taste ? SIZE_MAX : m->place[1][SLOT_RESPONSES];
    for (size_t i = 0; from != SIZE_MAX && i < p->n_slot; from = m->at[i++])
        frame_add_part((frame_part){m->responses[i].field, user, from, m->at[i] - from}, p->parts, &p->n_part);
    return PGR_OK;
}

/* The texts become the prompt's own. */
static pgr_status keep(slots_prompt *p, pgr_error *err) {
    for (size_t i = 0; i < p->n_message; i++) {
        p->messages[i].text = arena_strndup(&p->arena, p->messages[i].text, p->messages[i].n);
        if (!p->messages[i].text) return fail_mem(err);
    }
    return PGR_OK;
}

static pgr_status make(maker *m, bool taste, pgr_error *err) {
    slots_prompt *p = m->out;
    p->n_slot = taste ? 1 : m->r->n_response;
    m->at = arena_array(&m->tmp, p->n_slot, sizeof *m->at);
    p->slots = arena_array(&p->arena, p->n_slot, sizeof *p->slots);
    p->clips = arena_array(&p->arena, 3 + 2 * m->f->views + m->r->n_response, sizeof *p->clips);
    if (!m->at || !p->slots || !p->clips) return fail_mem(err);
    PGR_TRY(taste ? collect_taste(m, err) : collect_quality(m, err));
    PGR_TRY(fit(m, taste, err));
    PGR_TRY(find_parts(m, taste, err));
    return keep(p, err);
}

static pgr_status make_prompt(const frame *f, pgr_engine *e, const pgr_request *r, const slots_view *view, bool taste,
                              slots_prompt *out, pgr_error *err) {
    slots_prompt made = {0};
    maker m = {.f = f, .e = e, .r = r, .view = view, .out = &made};
    if (f->form != CHAIN_SLOTS) return fail(err, PGR_E_ARG, "frame %s: its form is not slots", f->name);
    if (!taste && f->sections[SECTION_RESPONSE].slots & BIT(LABEL) && r->n_response > MAX_LABELS)
        return fail(err, PGR_E_LIMIT, "frame %s: %zu responses, it has letters for %d", f->name, r->n_response,
                    MAX_LABELS);
    pgr_status s = make(&m, taste, err);
    buf_free(&m.system);
    buf_free(&m.user);
    arena_free(&m.tmp);
    if (s == PGR_OK)
        *out = made;
    else
        slots_prompt_free(&made);
    return s;
}

pgr_status slots_taste(const frame *f, pgr_engine *e, const pgr_request *r, const slots_view *view, slots_prompt *out,
                       pgr_error *err) {
    return make_prompt(f, e, r, view, true, out, err);
}

pgr_status slots_quality(const frame *f, pgr_engine *e, const pgr_request *r, const slots_view *view, slots_prompt *out,
                         pgr_error *err) {
    return make_prompt(f, e, r, view, false, out, err);
}

void slots_prompt_free(slots_prompt *p) {
    arena_free(&p->arena);
    *p = (slots_prompt){0};
}
