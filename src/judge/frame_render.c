/* frame_render.c - a request becomes the tokens of a prompt: texts collected and measured once, then shown under limits
 * that are lowered until the prompt fits its budget. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "facts/facts.h"
#include "judge/frame_parts.h"

typedef struct shown_pair {
    size_t index; /* in the request's history */
    talk query, chosen, rejected;
    slot_text facts; /* of chosen against rejected */
} shown_pair;

typedef struct shown_response {
    size_t index;
    talk text;
    slot_text facts; /* against the other responses */
    size_t from, n;  /* bytes of all that are shown, of this attempt */
} shown_response;

typedef struct render {
    const frame *f;
    pgr_engine *e;
    const pgr_request *r;
    arena tmp;                          /* everything below */
    arena *keep;                        /* the caller's: names in messages */
    talk query, criteria, demographics; /* n_turn 0: none */
    shown_pair *pairs;                  /* (n_pair) in the order of the view */
    size_t n_pair;
    shown_response *responses; /* (n_response) by place */
    size_t limit[N_KIND];      /* of this attempt */
    pgr_clip *clips;           /* (n_clip) of this attempt */
    size_t n_clip;
    buf history, shown_responses, wrapped[2], system, user; /* of this attempt */
    size_t n_token;                                         /* of its prompt */
    size_t at[2][N_SLOT], length[N_SLOT]; /* where placeholders stand in system and user, and their texts' bytes */
} render;

/* ---- what is shown ------------------------------------------------------------------------------------------------
 */

static bool uses(const frame *f, int which, unsigned slots) {
    return (f->sections[which].slots & slots) != 0;
}

static pgr_status collect_text(render *x, int kind, const char *field, const char *text, talk *out, pgr_error *err) {
    turn one = {"user", text};
    return talk_make(x->f, x->e, kind, field, &one, 1, &x->tmp, out, err);
}

static void measure(const char *text, const turn *context, size_t n_context, facts *out) {
    const char *query = n_context ? context[n_context - 1].text : "";
    facts_measure(text, strlen(text), query, strlen(query), out);
}

/* The facts in words, in the render's memory. */
static pgr_status say_facts(render *x, const facts *mine, const facts *others, size_t n_other, slot_text *out,
                            pgr_error *err) {
    buf words = {0};
    facts_words(mine, others, n_other, x->f->facts, &words);
    char *copy = words.failed ? NULL : arena_strndup(&x->tmp, words.data, words.n);
    *out = (slot_text){copy, words.n};
    buf_free(&words);
    return copy ? PGR_OK : fail_mem(err);
}

static pgr_status collect_pair(render *x, size_t index, shown_pair *out, pgr_error *err) {
    const preference_pair *p = &x->r->history[index];
    out->index = index;
    const char *field = arena_printf(x->keep, "user.history[%zu].query", index);
    PGR_TRY(talk_make(x->f, x->e, KIND_HISTORY_QUERY, field, p->context, p->n_context, &x->tmp, &out->query, err));
    field = arena_printf(x->keep, "user.history[%zu].chosen", index);
    PGR_TRY(collect_text(x, KIND_HISTORY_RESPONSE, field, p->chosen, &out->chosen, err));
    field = arena_printf(x->keep, "user.history[%zu].rejected", index);
    PGR_TRY(collect_text(x, KIND_HISTORY_RESPONSE, field, p->rejected, &out->rejected, err));
    if (!uses(x->f, SECTION_HISTORY, BIT(FACTS))) return PGR_OK;
    facts chosen, rejected;
    measure(p->chosen, p->context, p->n_context, &chosen);
    measure(p->rejected, p->context, p->n_context, &rejected);
    return say_facts(x, &chosen, &rejected, 1, &out->facts, err);
}

static pgr_status collect_responses(render *x, const size_t *order, pgr_error *err) {
    size_t n = x->r->n_response;
    x->responses = arena_array(&x->tmp, n, sizeof *x->responses);
    facts *measured = arena_array(&x->tmp, n, sizeof *measured), *others = arena_array(&x->tmp, n, sizeof *others);
    if (!x->responses || !measured || !others) return fail_mem(err);
    for (size_t p = 0; p < n; p++) {
        PGR_ASSERT(order[p] < n);
        shown_response *s = &x->responses[p];
        s->index = order[p];
        const char *field = arena_printf(x->keep, "responses[%zu]", s->index);
        PGR_TRY(collect_text(x, KIND_RESPONSE, field, x->r->responses[s->index], &s->text, err));
        measure(x->r->responses[s->index], x->r->messages, x->r->n_message, &measured[p]);
    }
    for (size_t p = 0; uses(x->f, SECTION_RESPONSE, BIT(FACTS)) && p < n; p++) {
        for (size_t i = 0, k = 0; i < n; i++)
            if (i != p) others[k++] = measured[i];
        PGR_TRY(say_facts(x, &measured[p], others, n - 1, &x->responses[p].facts, err));
    }
    return PGR_OK;
}

static pgr_status collect(render *x, const frame_view *view, pgr_error *err) {
    const pgr_request *r = x->r;
    PGR_TRY(talk_make(x->f, x->e, KIND_QUERY, "query", r->messages, r->n_message, &x->tmp, &x->query, err));
    PGR_TRY(talk_make_list(x->f, x->e, KIND_CRITERIA, "user.criteria", r->criteria, r->n_criteria, &x->tmp,
                           &x->criteria, err));
    PGR_TRY(talk_make_list(x->f, x->e, KIND_DEMOGRAPHICS, "user.demographics", &r->demographics, 1, &x->tmp,
                           &x->demographics, err));
    x->n_pair = x->f->sections[SECTION_HISTORY].line ? view->n_history : 0;
    x->pairs = arena_array(&x->tmp, x->n_pair, sizeof *x->pairs);
    if (!x->pairs) return fail_mem(err);
    for (size_t i = 0; i < x->n_pair; i++) {
        PGR_ASSERT(view->history[i] < r->n_history);
        PGR_TRY(collect_pair(x, view->history[i], &x->pairs[i], err));
    }
    PGR_TRY(collect_responses(x, view->order, err));
    x->clips = arena_array(x->keep, 3 + 3 * x->n_pair + r->n_response, sizeof *x->clips);
    return x->clips ? PGR_OK : fail_mem(err);
}

/* ---- one attempt ---------------------------------------------------------------------------------------------------
 */

static slot_text text_of(const buf *b) {
    return (slot_text){b->data ? b->data : "", b->n};
}

/* The talk under the attempt's limit, appended to out; a clip is noted. */
static pgr_status show(render *x, const talk *k, buf *out, pgr_error *err) {
    size_t kept;
    PGR_TRY(talk_show(k, x->e, x->limit[k->kind], x->f->join_lines, out, &kept, err));
    if (kept < k->n_token) x->clips[x->n_clip++] = (pgr_clip){k->field, k->n_token, kept};
    return PGR_OK;
}

static void put_between(const render *x, buf *out) {
    buf_puts(out, x->f->blank_between ? "\n\n" : "\n");
}

static pgr_status show_pair(render *x, size_t i, pgr_error *err) {
    const shown_pair *p = &x->pairs[i];
    buf query = {0}, chosen = {0}, rejected = {0};
    char index[24];
    snprintf(index, sizeof index, "%zu", i + 1);
    pgr_status status = show(x, &p->query, &query, err);
    if (status == PGR_OK) status = show(x, &p->chosen, &chosen, err);
    if (status == PGR_OK) status = show(x, &p->rejected, &rejected, err);
    if (status == PGR_OK) {
        slot_text values[N_SLOT] = {{0}};
        values[SLOT_INDEX] = (slot_text){index, strlen(index)};
        values[SLOT_QUERY] = text_of(&query);
        values[SLOT_CHOSEN] = text_of(&chosen);
        values[SLOT_REJECTED] = text_of(&rejected);
        values[SLOT_FACTS] = p->facts;
        if (i) put_between(x, &x->history);
        section_expand(&x->f->sections[SECTION_HISTORY], values, NULL, &x->history);
        if (query.failed || chosen.failed || rejected.failed) status = fail_mem(err);
    }
    buf_free(&query);
    buf_free(&chosen);
    buf_free(&rejected);
    return status;
}

static pgr_status show_response(render *x, size_t place, pgr_error *err) {
    const shown_response *s = &x->responses[place];
    buf text = {0};
    char number[24], label = (char)('A' + place % MAX_LABELS);
    snprintf(number, sizeof number, "%zu", place + 1);
    pgr_status status = show(x, &s->text, &text, err);
    if (status == PGR_OK) {
        slot_text values[N_SLOT] = {{0}};
        values[SLOT_TEXT] = text_of(&text);
        values[SLOT_LABEL] = (slot_text){&label, 1};
        values[SLOT_NUMBER] = (slot_text){number, strlen(number)};
        values[SLOT_FACTS] = s->facts;
        if (place) put_between(x, &x->shown_responses);
        x->responses[place].from = x->shown_responses.n;
        section_expand(&x->f->sections[SECTION_RESPONSE], values, NULL, &x->shown_responses);
        x->responses[place].n = x->shown_responses.n - x->responses[place].from;
        if (text.failed) status = fail_mem(err);
    }
    buf_free(&text);
    return status;
}

/* Criteria or demographics inside their wrapper; nothing where there are none. */
static pgr_status show_wrapped(render *x, const talk *k, int which, int slot, buf *out, pgr_error *err) {
    if (k->n_turn == 0) return PGR_OK;
    if (!x->f->sections[which].line) return show(x, k, out, err);
    buf text = {0};
    pgr_status status = show(x, k, &text, err);
    if (status == PGR_OK) {
        slot_text values[N_SLOT] = {{0}};
        values[slot] = text_of(&text);
        section_expand(&x->f->sections[which], values, NULL, out);
        if (text.failed) status = fail_mem(err);
    }
    buf_free(&text);
    return status;
}

static void clear(render *x) {
    buf *all[] = {&x->history, &x->shown_responses, &x->wrapped[0], &x->wrapped[1], &x->system, &x->user};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) buf_clear(all[i]);
    x->n_token = 0;
    x->n_clip = 0;
}

static size_t messages_of(const render *x, infer_message out[2]) {
    size_t n = 0;
    if (x->system.n) out[n++] = (infer_message){"system", x->system.data, x->system.n};
    out[n++] = (infer_message){"user", x->user.data ? x->user.data : "", x->user.n};
    return n;
}

static pgr_status count_tokens(render *x, pgr_error *err) {
    infer_message messages[2];
    return engine_count_messages(x->e, messages, messages_of(x, messages), &x->n_token, err);
}

static pgr_status attempt(render *x, pgr_error *err) {
    static const slot_text NONE[N_SLOT];
    buf query = {0}, words = {0};
    slot_text values[N_SLOT] = {{0}};
    char count[24];
    clear(x);
    PGR_TRY(show_wrapped(x, &x->demographics, SECTION_DEMOGRAPHICS, SLOT_DEMOGRAPHICS, &x->wrapped[0], err));
    PGR_TRY(show_wrapped(x, &x->criteria, SECTION_CRITERIA, SLOT_CRITERIA, &x->wrapped[1], err));
    for (size_t i = 0; i < x->n_pair; i++) PGR_TRY(show_pair(x, i, err));
    if (x->n_pair == 0) section_expand(&x->f->sections[SECTION_NO_HISTORY], NONE, NULL, &x->history);
    for (size_t i = 0; i < x->r->n_response; i++) PGR_TRY(show_response(x, i, err));

    snprintf(count, sizeof count, "%zu", x->r->n_response);
    for (int i = 0; i < N_FACT; i++) buf_printf(&words, "%s%s", i ? ", " : "", fact_word(i));
    pgr_status status = show(x, &x->query, &query, err);
    values[SLOT_DEMOGRAPHICS] = text_of(&x->wrapped[0]);
    values[SLOT_CRITERIA] = text_of(&x->wrapped[1]);
    values[SLOT_HISTORY] = text_of(&x->history);
    values[SLOT_QUERY] = text_of(&query);
    values[SLOT_RESPONSES] = text_of(&x->shown_responses);
    values[SLOT_COUNT] = (slot_text){count, strlen(count)};
    values[SLOT_ATTRIBUTES] = text_of(&words);
    section_expand(&x->f->sections[SECTION_SYSTEM], values, x->at[0], &x->system);
    section_expand(&x->f->sections[SECTION_USER], values, x->at[1], &x->user);
    for (int k = 0; k < N_SLOT; k++) x->length[k] = values[k].n;
    bool failed = x->system.failed || x->user.failed || query.failed || words.failed || x->history.failed
                  || x->shown_responses.failed || x->wrapped[0].failed || x->wrapped[1].failed;
    buf_free(&query);
    buf_free(&words);
    if (status != PGR_OK) return status;
    return failed ? fail_mem(err) : count_tokens(x, err);
}

/* ---- until it fits --------------------------------------------------------------------------------------------- */

/* All limits by the factor, none below the floor. False: all were there already. */
static bool lower_limits(render *x, double factor) {
    bool lowered = false;
    for (int k = 0; k < N_KIND; k++) {
        size_t least = x->f->limit[k] < LIMIT_FLOOR ? x->f->limit[k] : LIMIT_FLOOR;
        size_t limit = (size_t)((double)x->f->limit[k] * factor);
        if (limit < least) limit = least;
        lowered = lowered || limit < x->limit[k];
        x->limit[k] = limit;
    }
    return lowered;
}

static void drop_oldest(render *x) {
    size_t oldest = 0;
    for (size_t i = 1; i < x->n_pair; i++)
        if (x->pairs[i].index < x->pairs[oldest].index) oldest = i;
    memmove(&x->pairs[oldest], &x->pairs[oldest + 1], (x->n_pair - oldest - 1) * sizeof *x->pairs);
    x->n_pair--;
}

/* Down to `least` at most: about half of what is too much, so that a long history takes a few renderings, and one by
 * one near the end. False: none are left beyond least. */
static bool drop_pairs(render *x, size_t budget, size_t least) {
    if (x->n_pair <= least) return false;
    size_t pair = x->n_token / x->n_pair + 1; /* more than a pair's mean: the rest of the prompt is in it */
    size_t n = 1 + (x->n_token - budget) / pair / 2;
    while (n-- > 0 && x->n_pair > least) drop_oldest(x);
    return true;
}

/* First go the pairs beyond the frame's usual number, then the lengths of all texts, then the other pairs. */
static pgr_status fit(render *x, size_t budget, pgr_error *err) {
    memcpy(x->limit, x->f->limit, sizeof x->limit);
    double factor = 1.0;
    for (;;) {
        PGR_TRY(attempt(x, err));
        if (x->n_token <= budget) return PGR_OK;
        if (drop_pairs(x, budget, x->f->history)) continue;
        if (lower_limits(x, factor *= 0.8)) continue;
        if (drop_pairs(x, budget, 0)) continue;
        return fail(err, PGR_E_LIMIT,
                    "frame %s: the prompt needs %zu tokens with every text clipped to %d, there is room for %zu",
                    x->f->name, x->n_token, LIMIT_FLOOR, budget);
    }
}

static void render_free(render *x) {
    buf *all[] = {&x->history, &x->shown_responses, &x->wrapped[0], &x->wrapped[1], &x->system, &x->user};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) buf_free(all[i]);
    arena_free(&x->tmp);
}

/* The messages go over to the prompt, texts included. */
static pgr_status take_messages(render *x, frame_prompt *out, pgr_error *err) {
    buf *texts[2] = {&x->system, &x->user};
    size_t n = messages_of(x, out->messages);
    for (out->n_message = 0; out->n_message < n; out->n_message++) {
        char *text = buf_take(texts[2 - n + out->n_message]);
        if (!text) return fail_mem(err);
        out->messages[out->n_message].text = text;
    }
    return PGR_OK;
}

/* ---- which part of a message shows what ------------------------------------------------------------------------ */

static pgr_status find_parts(const render *x, frame_prompt *p, pgr_error *err) {
    static const frame_place PLACES[] = {{SLOT_DEMOGRAPHICS, "user.demographics"},
                                         {SLOT_CRITERIA, "user.criteria"},
                                         {SLOT_HISTORY, "user.history"},
                                         {SLOT_QUERY, "query"}};
    enum { N_PLACE = sizeof PLACES / sizeof *PLACES };
    p->parts = arena_array(x->keep, 2 * (N_PLACE + x->r->n_response), sizeof *p->parts);
    if (!p->parts) return fail_mem(err);
    for (size_t m = 0; m < p->n_message; m++) {
        const size_t *at = x->at[2 - p->n_message + m];
        frame_find_parts(PLACES, N_PLACE, at, x->length, m, p->parts, &p->n_part);
        for (size_t i = 0; at[SLOT_RESPONSES] != SIZE_MAX && i < x->r->n_response; i++) {
            const shown_response *r = &x->responses[i];
            frame_add_part((frame_part){r->text.field, m, at[SLOT_RESPONSES] + r->from, r->n}, p->parts, &p->n_part);
        }
    }
    return PGR_OK;
}

pgr_status frame_render(const frame *f, pgr_engine *e, const pgr_request *r, const frame_view *view, arena *a,
                        frame_prompt *out, pgr_error *err) {
    if (f->form == CHAIN_SLOTS)
        return fail(err, PGR_E_ARG, "frame %s: its form is slots, expected full or compact", f->name);
    if (uses(f, SECTION_RESPONSE, BIT(LABEL)) && r->n_response > MAX_LABELS)
        return fail(err, PGR_E_LIMIT, "frame %s: %zu responses, it has letters for %d", f->name, r->n_response,
                    MAX_LABELS);
    render x = {.f = f, .e = e, .r = r, .keep = a};
    pgr_status status = collect(&x, view, err);
    if (status == PGR_OK) status = fit(&x, view->budget, err);
    if (status == PGR_OK) {
        frame_prompt made = {.n_token = x.n_token, .clips = x.clips, .n_clip = x.n_clip, .n_history = x.n_pair};
        status = take_messages(&x, &made, err);
        if (status == PGR_OK) status = find_parts(&x, &made, err);
        if (status == PGR_OK)
            *out = made;
        else
            frame_prompt_free(&made);
    }
    render_free(&x);
    return status;
}

void frame_prompt_free(frame_prompt *p) {
    for (size_t i = 0; i < p->n_message; i++) mem_free((void *)(uintptr_t)p->messages[i].text);
    p->n_message = 0;
}
