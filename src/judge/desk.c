/* desk.c - the asks of a desk on their way: waiting, at work, settled. A request becomes m chains under the user's own
 * history and n under those of similar users, half of them with the responses in reversed order, in one round or
 * (adaptive) in several, and the chains become one result (docs/method.md, "Test-time scaling"). As many asks are at
 * work as keep the engine busy; one is settled as soon as its last chain has ended. */
#include "judge/desk.h"

#include <math.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/watch.h"
#include "judge/judging.h"

enum {
    FIRST_ROUND = 4, /* chains of the larger side; each further round doubles them */
};
static const size_t FULL_FRAME_PARAMETERS = 3000000000u; /* smaller models get the compact frame (docs/compact.md) */

/* ---- lists ------------------------------------------------------------------------------------------------------ */

/* Behind `before`; NULL: at the head. */
static void link_behind(judging_list *list, judging *j, judging *before) {
    j->before = before;
    j->after = before ? before->after : list->first;
    *(j->after ? &j->after->before : &list->last) = j;
    *(before ? &before->after : &list->first) = j;
    list->n++;
}

static void unlink_from(judging_list *list, judging *j) {
    *(j->before ? &j->before->after : &list->first) = j->after;
    *(j->after ? &j->after->before : &list->last) = j->before;
    j->before = j->after = NULL;
    list->n--;
}

/* Behind those of its priority, or at their head. */
static void wait_in(desk *d, judging *j, bool at_head) {
    judging *before = d->waiting.last;
    while (before && before->priority < j->priority + at_head) before = before->before;
    link_behind(&d->waiting, j, before);
    if (j->o->deadline_s > 0) d->first_deadline = fmin(d->first_deadline, j->start + j->o->deadline_s);
    d->n_flagged += j->o->watch.cancel && j->o->watch.cancel != d->o->watch.cancel;
}

static void wait_out(desk *d, judging *j) {
    unlink_from(&d->waiting, j);
    d->n_flagged -= j->o->watch.cancel && j->o->watch.cancel != d->o->watch.cancel;
}

static judging *find(const judging_list *list, desk_ticket ticket) {
    judging *j = list->first;
    while (j && j->ticket != ticket) j = j->after;
    return j;
}

/* ---- one ask ---------------------------------------------------------------------------------------------------- */

static double since_start(const judging *j) {
    return clock_now() - j->start;
}

/* Seconds that are left to what is asked now; 0: no deadline. */
static double time_left(const judging *j) {
    double most = j->o->deadline_s, passed = since_start(j);
    return most <= 0 ? 0 : most > passed ? most - passed : 1e-9;
}

static bool is_late(const judging *j) {
    return j->o->deadline_s > 0 && since_start(j) > j->o->deadline_s;
}

/* The prompt's chains are no longer with the engine. */
static void leave_engine(prompt *p) {
    if (p->ticket == 0) return;
    p->judging->desk->n_with_engine -= p->n_asked;
    p->ticket = 0;
}

static void judging_free(judging *j) {
    if (!j) return;
    judging_release(j);
    if (j->made) pgr_result_free(&j->made->public);
    mem_free(j);
}

void judging_release(judging *j) {
    judging_free(j->analysing);
    j->analysing = NULL;
    for (slot_read *r = j->reads; r && r < j->reads + j->n_read; r++) {
        engine_cancel(j->desk->e, r->ticket);
        slots_leave_engine(r);
        slots_prompt_free(&r->prompt);
    }
    j->reads = NULL;
    for (int k = 0; k < N_SIDE; k++)
        for (size_t i = 0; i < j->sides[k].n_prompt && j->sides[k].prompts; i++) {
            prompt *p = &j->sides[k].prompts[i];
            engine_cancel(j->desk->e, p->ticket);
            leave_engine(p);
            frame_prompt_free(&p->text);
        }
    memset(j->sides, 0, sizeof j->sides);
    buf_free(&j->grammar);
    arena_free(&j->tmp);
}

static void go_on_analysed(judging *analysis);

/* The ask gets its result, or its error where there is one. */
static void settle(judging *j, pgr_status status) {
    desk *d = j->desk;
    judging_release(j);
    j->error.status = status;
    if (status == PGR_OK) {
        j->made->public.seconds = since_start(j);
    } else if (j->made) {
        pgr_result_free(&j->made->public);
        j->made = NULL;
    }
    if (j->analysed) {
        go_on_analysed(j);
        return;
    }
    unlink_from(&d->at_work, j);
    link_behind(&d->settled, j, d->settled.last);
    d->n_done++;
}

/* All that is wanted of a side by round `round`: of n chains as large a part as FIRST_ROUND 2^round is of the larger
 * side, and whole pairs of orders. */
static size_t target_of(const judging *j, const side *s, size_t round) {
    size_t a = j->sides[SIDE_IND].n, b = j->sides[SIDE_PRO].n, larger = a > b ? a : b;
    size_t part = (size_t)FIRST_ROUND << round;
    if (part >= larger) return s->n;
    size_t n = (s->n * part + larger - 1) / larger;
    n += n % 2;
    return n < s->n ? n : s->n;
}

static void set_targets(judging *j) {
    for (int k = 0; k < N_SIDE; k++)
        j->sides[k].target = j->o->adaptive > 0 ? target_of(j, &j->sides[k], j->round) : j->sides[k].n;
}

/* *enough: nothing more is to be written. */
static pgr_status is_settled(judging *j, bool *enough) {
    *enough = j->sides[SIDE_IND].target == j->sides[SIDE_IND].n && j->sides[SIDE_PRO].target == j->sides[SIDE_PRO].n;
    if (*enough) return PGR_OK;
    double settled = NAN;
    PGR_TRY(judging_settled(j, &settled));
    *enough = settled >= j->o->adaptive || is_late(j);
    return PGR_OK;
}

/* ---- with the engine -------------------------------------------------------------------------------------------- */

static pgr_status ask_prompt(judging *j, side *s, prompt *p) {
    infer_request q = prompt_ask(j, s, p);
    if (q.n_sample == 0) return PGR_OK;
    q.deadline_s = time_left(j);
    PGR_TRY(engine_submit(j->desk->e, &q, &p->ticket, &j->error));
    p->judging = j;
    p->side = s;
    p->n_asked = q.n_sample;
    p->asked = since_start(j);
    j->n_open++;
    j->desk->n_with_engine += q.n_sample;
    return PGR_OK;
}

/* What the round of this request still needs. */
static pgr_status ask_all(judging *j) {
    if (judging_by_slots(j)) return judging_name(j, slots_ask(j, time_left(j)));
    for (int k = 0; k < N_SIDE; k++)
        for (size_t i = 0; i < j->sides[k].n_prompt; i++)
            PGR_TRY(judging_name(j, ask_prompt(j, &j->sides[k], &j->sides[k].prompts[i])));
    PGR_ASSERT(j->n_open > 0); /* every round adds chains */
    return PGR_OK;
}

static pgr_status ask(judging *j) {
    size_t before = j->desk->n_with_engine;
    PGR_TRY(ask_all(j));
    tell_asked(j, j->desk->n_with_engine - before);
    return PGR_OK;
}

/* The last chain of the round has ended: the next one, or the result (*enough). */
static pgr_status end_round(judging *j, bool *enough) {
    while (j->n_open == 0) { /* rounds that need nothing more of the engine follow at once */
        if (judging_by_slots(j)) PGR_TRY(slots_write(j));
        PGR_TRY(is_settled(j, enough));
        if (*enough) return judging_result(j);
        j->round++;
        set_targets(j);
        PGR_TRY(ask(j));
    }
    return PGR_OK;
}

static pgr_status take_chains(prompt *p, const infer_result *r) {
    judging *j = p->judging;
    double first = r->usage.first_token_s > 0 ? p->asked + r->usage.first_token_s : 0;
    if (j->first_token_s == 0 || (first > 0 && first < j->first_token_s)) j->first_token_s = first;
    if (!p->computed) j->prompt_tokens += r->prompt.n;
    p->computed = true;
    j->computed_tokens += r->prompt.n - r->usage.cached_tokens;
    if (r->error.status == PGR_OK) return judging_take(j, p->side, p, r->chains, r->n_chain);
    if (r->error.status == PGR_E_REMOTE) return judging_lose(j, p->side, p, r->error.message, p->n_asked);
    j->error = r->error;
    return judging_name(j, r->error.status);
}

/* One of the things that were asked of the engine for this round has ended. */
static void one_ended(judging *j, pgr_status s) {
    bool enough = false;
    if (s == PGR_OK && --j->n_open == 0) s = end_round(j, &enough);
    if (s != PGR_OK || enough) settle(j, s);
}

static void chains_ended(prompt *p, const infer_result *r) {
    size_t from = p->n_written;
    leave_engine(p);
    pgr_status s = take_chains(p, r);
    if (s == PGR_OK) tell_chains(p, from);
    one_ended(p->judging, s);
}

static void slots_were_read(slot_read *r, const infer_result *result) {
    judging *j = r->judging;
    slots_leave_engine(r);
    pgr_status s = judging_name(j, slots_take(r, result));
    if (s == PGR_OK) tell_reading(r);
    one_ended(j, s);
}

static void take_all(desk *d) {
    infer_event event;
    while (engine_take(d->e, d, &event)) {
        if (event.kind == INFER_PIECE) {
            tell_piece(event.tag, &event);
            continue;
        }
        if (frame_form(d->frame) == CHAIN_SLOTS)
            slots_were_read(event.tag, event.result);
        else
            chains_ended(event.tag, event.result);
        infer_result_free(event.result);
    }
}

/* ---- beginning -------------------------------------------------------------------------------------------------- */

static pgr_status judge_late(judging *j) {
    j->late = true;
    PGR_TRY(judging_prepare_late(j));
    return judging_result(j);
}

/* *enough: the deadline has passed, and that is the result. */
static pgr_status ask_first(judging *j, bool *enough) {
    j->made = mem_zero(1, sizeof *j->made);
    if (!j->made) return fail_mem(&j->error);
    *enough = is_late(j) && !watch_cancelled(&j->o->watch);
    if (*enough) return judge_late(j);
    PGR_TRY(judging_prepare(j));
    set_targets(j);
    return ask(j);
}

static void begin(judging *j) {
    bool enough = false;
    pgr_status s = ask_first(j, &enough);
    if (s != PGR_OK || enough) settle(j, s);
}

static bool asks_similar(const judging *j) {
    return j->o->pro >= 0 ? j->o->pro > 0 : j->r->pro > 0;
}

static bool needs_analysis(const judging *j) {
    return !j->was_analysed && !j->source && j->o->people && people_by_analysis(j->o->people) && asks_similar(j)
           && !is_late(j);
}

/* The analysis is an ask of its own on behalf of this one. */
static pgr_status begin_analysis(judging *j) {
    judging *a = mem_zero(1, sizeof *a);
    if (!a) return fail_mem(&j->error);
    *a = (judging){.desk = j->desk,
                   .r = j->r,
                   .options = analysis_options(j->o),
                   .scope = "",
                   .priority = j->priority,
                   .start = j->start,
                   .analysed = j};
    a->o = &a->options;
    j->analysing = a;
    begin(a);
    return PGR_OK;
}

/* A request that cannot be analysed goes without: what is wrong with it shows when it is judged. */
static void go_on_analysed(judging *analysis) {
    judging *j = analysis->analysed;
    char *text = analysis->made ? analysis_text(&analysis->made->public) : NULL;
    if (text) j->analysis = arena_strdup(&j->tmp, text);
    pgr_free(text);
    j->was_analysed = true;
    j->analysing = NULL;
    judging_free(analysis);
    unlink_from(&j->desk->at_work, j);
    wait_in(j->desk, j, true);
}

static bool may_begin(const desk *d) {
    return d->waiting.first && d->n_with_engine < d->about->n_at_once && (d->at_once == 0 || d->at_work.n < d->at_once);
}

static void begin_one(desk *d, judging *j) {
    wait_out(d, j);
    link_behind(&d->at_work, j, d->at_work.last);
    if (!j->was_analysed) log_debug("request %zu begins", ++d->n_begun);
    if (!needs_analysis(j)) {
        begin(j);
        return;
    }
    pgr_status s = begin_analysis(j);
    if (s != PGR_OK) settle(j, s);
}

static void begin_some(desk *d) {
    while (may_begin(d)) {
        if (judging_knows_people(d->waiting.first) && d->n_with_engine == 0)
            watch_report(&d->o->watch, "finding similar users", d->n_begun, d->n_begun + d->waiting.n, "requests");
        begin_one(d, d->waiting.first);
    }
}

/* What waits and is cancelled or late need not wait for room. */
static void begin_hopeless(desk *d) {
    if (d->n_flagged == 0 && !watch_cancelled(&d->o->watch) && !(clock_now() > d->first_deadline)) return;
    d->first_deadline = INFINITY;
    for (judging *j = d->waiting.first, *after; j; j = after) {
        after = j->after;
        if (watch_cancelled(&j->o->watch) || is_late(j))
            begin_one(d, j);
        else if (j->o->deadline_s > 0)
            d->first_deadline = fmin(d->first_deadline, j->start + j->o->deadline_s);
    }
}

/* ---- the desk --------------------------------------------------------------------------------------------------- */

/* Of a model whose size is not known: it is a server's. */
static const char *usual_frame(const engine_info *about) {
    bool small = about->n_parameter > 0 && about->n_parameter < FULL_FRAME_PARAMETERS;
    return !small ? "full" : about->can & ENGINE_SLOTS ? "compact" : "compact-lines";
}

pgr_status desk_prepare(desk *d, pgr_error *err) {
    const char *name = d->o->frame;
    PGR_TRY(judge_options_check(d->o, err));
    if (!(d->about->can & ENGINE_CHAT))
        return fail(err, PGR_E_UNSUPPORTED, "%s: judging needs a chat template: %s", d->about->name, d->about->no_chat);
    if (!name) name = usual_frame(d->about);
    PGR_TRY(frame_open(name, &d->frame, err));
    if (frame_form(d->frame) != CHAIN_SLOTS) return PGR_OK;
    if (!(d->about->can & ENGINE_SLOTS))
        return fail(err, PGR_E_UNSUPPORTED,
                    "%s: frame %s reads distributions at slots of the prompt, which this engine does not give (%s); "
                    "expected another one, as compact-lines or full",
                    d->about->name, name, d->about->no_slots ? d->about->no_slots : "it has none");
    return desk_weights(d, err);
}

static void free_list(judging_list *list) {
    while (list->first) {
        judging *j = list->first;
        unlink_from(list, j);
        judging_free(j);
    }
}

void desk_release(desk *d) {
    free_list(&d->waiting);
    free_list(&d->at_work);
    free_list(&d->settled);
    frame_close(d->frame);
    embeddings_free(d->embeddings);
}

pgr_status desk_open(pgr_engine *engine, const pgr_judge_options *options, size_t at_once, desk **out, pgr_error *err) {
    desk *d = mem_zero(1, sizeof *d);
    if (!d) return fail_mem(err);
    d->e = engine;
    d->about = engine_about(engine);
    d->options = options ? *options : pgr_judge_options_default();
    d->o = &d->options;
    d->at_once = at_once;
    d->first_deadline = INFINITY;
    pgr_status s = desk_prepare(d, err);
    if (s == PGR_OK)
        *out = d;
    else
        desk_close(d);
    return s;
}

void desk_close(desk *d) {
    if (!d) return;
    desk_release(d);
    mem_free(d);
}

pgr_status desk_submit(desk *d, const desk_ask *ask, desk_ticket *out, pgr_error *err) {
    if (ask->options) PGR_TRY(judge_options_check(ask->options, err));
    judging *j = mem_zero(1, sizeof *j);
    if (!j) return fail_mem(err);
    *j = (judging){.desk = d,
                   .ticket = ++d->last_ticket,
                   .r = ask->request,
                   .o = d->o,
                   .source = ask->source,
                   .scope = ask->scope ? ask->scope : "",
                   .priority = ask->priority,
                   .tag = ask->tag,
                   .news = ask->news,
                   .news_ctx = ask->news_ctx,
                   .start = clock_now()};
    if (ask->options) {
        j->options = *ask->options;
        j->o = &j->options;
    }
    wait_in(d, j, false);
    if (out) *out = j->ticket;
    return PGR_OK;
}

void desk_cancel(desk *d, desk_ticket ticket) {
    judging *j = find(&d->waiting, ticket);
    if (j) {
        wait_out(d, j);
    } else if ((j = find(&d->at_work, ticket))) {
        unlink_from(&d->at_work, j);
    } else if ((j = find(&d->settled, ticket))) {
        unlink_from(&d->settled, j);
    }
    judging_free(j);
}

bool desk_pump(desk *d) {
    take_all(d);
    begin_hopeless(d);
    begin_some(d);
    return d->waiting.n + d->at_work.n > 0;
}

bool desk_take(desk *d, desk_verdict *out) {
    judging *j = d->settled.first;
    if (!j) return false;
    unlink_from(&d->settled, j);
    *out = (desk_verdict){j->ticket, j->tag, j->made ? &j->made->public : NULL, j->error};
    mem_free(j);
    return true;
}

desk_load desk_state(const desk *d) {
    desk_load load = {d->waiting.n, d->at_work.n, d->settled.n, 0};
    for (const judging *j = d->waiting.first; j; j = j->after)
        if (since_start(j) > load.waited_s) load.waited_s = since_start(j);
    return load;
}

void *desk_find(const desk *d, bool (*pick)(void *ctx, void *tag, size_t ahead), void *ctx) {
    size_t ahead = 0;
    for (const judging *j = d->waiting.first; j; j = j->after)
        if (pick(ctx, j->tag, ahead++)) return j->tag;
    return NULL;
}
