/* judge.c - test-time scaling (docs/method.md, "Test-time scaling"): a request becomes m chains under the user's own
 * history and n under those of similar users, half of them with the responses in reversed order, and the chains
 * become one result. The requests of a call go through the engine together, as many at a time as keep it busy, each
 * in one round or (adaptive) in several; a request is settled, with a result or an error of its own, as soon as its
 * last chain has ended. */
#include <math.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/watch.h"
#include "judge/judging.h"

enum {
    FIRST_ROUND = 4, /* chains of the larger side; each further round doubles them */
    AHEAD_CHAINS =
        128, /* with the engine, of all requests together: its slots filled twice, prompts few enough for its cache */
};
static const size_t FULL_FRAME_PARAMETERS = 3000000000u; /* smaller models get the compact frame (docs/compact.md) */

/* ---- one request ----------------------------------------------------------------------------------------------- */

/* The prompt's chains are no longer with the engine. */
static void leave_engine(batch *b, prompt *p) {
    if (p->ticket == 0) return;
    b->n_with_engine -= p->n_asked;
    p->ticket = 0;
}

void judging_release(judging *j) {
    for (slot_read *r = j->reads; r && r < j->reads + j->n_read; r++) {
        engine_cancel(j->b->e, r->ticket);
        slots_leave_engine(r);
        slots_prompt_free(&r->prompt);
    }
    j->reads = NULL;
    for (int k = 0; k < N_SIDE; k++)
        for (size_t i = 0; i < j->sides[k].n_prompt && j->sides[k].prompts; i++) {
            prompt *p = &j->sides[k].prompts[i];
            engine_cancel(j->b->e, p->ticket);
            leave_engine(j->b, p);
            frame_prompt_free(&p->text);
        }
    memset(j->sides, 0, sizeof j->sides);
    buf_free(&j->grammar);
    arena_free(&j->tmp);
}

/* The request gets its result, or its error where there is one. */
static void settle(judging *j, pgr_status status) {
    batch *b = j->b;
    judging_release(j);
    if (status == PGR_OK) {
        j->made->public.seconds = clock_now() - b->start;
        b->results[j->index] = &j->made->public;
    } else if (j->made) {
        pgr_result_free(&j->made->public);
    }
    j->made = NULL;
    j->settled = true;
    b->n_settled++;
    j->error.status = status;
    if (b->errors) b->errors[j->index] = j->error;
    if (b->o->judged) b->o->judged(b->o->judged_ctx, j->index);
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
        j->sides[k].target = j->b->o->adaptive > 0 ? target_of(j, &j->sides[k], j->round) : j->sides[k].n;
}

/* *enough: nothing more is to be written. */
static pgr_status is_settled(judging *j, bool *enough) {
    const pgr_judge_options *o = j->b->o;
    *enough = j->sides[SIDE_IND].target == j->sides[SIDE_IND].n && j->sides[SIDE_PRO].target == j->sides[SIDE_PRO].n;
    if (*enough) return PGR_OK;
    double settled = NAN;
    PGR_TRY(judging_settled(j, &settled));
    *enough = settled >= o->adaptive || (o->deadline_s > 0 && clock_now() - j->b->start > o->deadline_s);
    return PGR_OK;
}

/* ---- with the engine ------------------------------------------------------------------------------------------- */

static double since_start(const batch *b) {
    return clock_now() - b->start;
}

/* Seconds that are left to what is asked now; 0: no deadline. */
static double time_left(const batch *b) {
    double most = b->o->deadline_s, passed = since_start(b);
    return most <= 0 ? 0 : most > passed ? most - passed : 1e-9;
}

static pgr_status ask_prompt(judging *j, side *s, prompt *p) {
    infer_request q = prompt_ask(j, s, p);
    if (q.n_sample == 0) return PGR_OK;
    q.deadline_s = time_left(j->b);
    PGR_TRY(engine_submit(j->b->e, &q, &p->ticket, &j->error));
    p->judging = j;
    p->side = s;
    p->n_asked = q.n_sample;
    p->asked = since_start(j->b);
    j->n_open++;
    j->b->n_with_engine += q.n_sample;
    return PGR_OK;
}

/* What the round of this request still needs. */
static pgr_status ask(judging *j) {
    if (judging_by_slots(j)) return judging_name(j, slots_ask(j, time_left(j->b)));
    for (int k = 0; k < N_SIDE; k++)
        for (size_t i = 0; i < j->sides[k].n_prompt; i++)
            PGR_TRY(judging_name(j, ask_prompt(j, &j->sides[k], &j->sides[k].prompts[i])));
    PGR_ASSERT(j->n_open > 0); /* every round adds chains */
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
    j->error = r->error;
    return judging_name(j, r->error.status);
}

static void chains_ended(batch *b, prompt *p, const infer_result *r) {
    judging *j = p->judging;
    bool enough = false;
    leave_engine(b, p);
    pgr_status s = take_chains(p, r);
    if (s == PGR_OK && --j->n_open == 0) s = end_round(j, &enough);
    if (s != PGR_OK || enough) settle(j, s);
}

static void slots_were_read(slot_read *r, const infer_result *result) {
    judging *j = r->judging;
    bool enough = false;
    slots_leave_engine(r);
    pgr_status s = judging_name(j, slots_take(r, result));
    if (s == PGR_OK && --j->n_open == 0) s = end_round(j, &enough);
    if (s != PGR_OK || enough) settle(j, s);
}

static void take_all(batch *b) {
    infer_event event;
    while (engine_take(b->e, b, &event)) {
        if (frame_form(b->frame) == CHAIN_SLOTS)
            slots_were_read(event.tag, event.result);
        else
            chains_ended(b, event.tag, event.result);
        infer_result_free(event.result);
    }
}

/* ---- the batch ------------------------------------------------------------------------------------------------- */

static pgr_status begin_request(judging *j) {
    j->made = mem_zero(1, sizeof *j->made);
    if (!j->made) return fail_mem(&j->error);
    PGR_TRY(judging_prepare(j));
    set_targets(j);
    return ask(j);
}

static bool may_begin(const batch *b) {
    size_t most = b->at_once, at_work = b->n_begun - b->n_settled;
    return b->n_begun < b->n && b->n_with_engine < AHEAD_CHAINS && (most == 0 || at_work < most);
}

static void begin_some(batch *b) {
    while (may_begin(b)) {
        if (b->source && b->n_with_engine == 0)
            watch_report(&b->o->watch, "finding similar users", b->n_begun, b->n, "requests");
        judging *j = &b->list[b->n_begun++];
        log_debug("request %zu of %zu begins", b->n_begun, b->n);
        pgr_status s = begin_request(j);
        if (s != PGR_OK) settle(j, s);
    }
}

/* Of one request its tokens; of many how many are done. */
static void report(const batch *b, const engine_load *before) {
    const pgr_watch *w = &b->o->watch;
    engine_load now = engine_state(b->e);
    uint64_t read = now.n_read - before->n_read, written = now.n_written - before->n_written;
    if (b->n > 1)
        watch_report(w, "judging", b->n_settled, b->n, "requests");
    else if (written == 0)
        watch_report(w, "reading the prompt", read, now.n_to_read - before->n_to_read, "tokens");
    else
        watch_report(w, "writing chains", written, now.n_to_write - before->n_to_write, "tokens");
}

static void judge_batch(batch *b) {
    engine_load before = engine_state(b->e);
    while (b->n_settled < b->n) {
        begin_some(b);
        engine_step(b->e);
        take_all(b);
        report(b, &before);
    }
}

/* What is wrong with the call is wrong with all of its requests. */
static void fail_rest(batch *b, pgr_status status, const pgr_error *why) {
    for (judging *j = b->list; j < b->list + b->n; j++) {
        j->error = *why;
        settle(j, status);
    }
}

pgr_status judging_open(batch *b, pgr_error *err) {
    const char *name = b->o->frame;
    PGR_TRY(judge_options_check(b->o, err));
    if (!(b->about->can & ENGINE_CHAT))
        return fail(err, PGR_E_UNSUPPORTED, "%s: judging needs a chat template: %s", b->about->name, b->about->no_chat);
    if (!name) name = b->about->n_parameter < FULL_FRAME_PARAMETERS ? "compact" : "full";
    PGR_TRY(frame_open(name, &b->frame, err));
    return frame_form(b->frame) == CHAIN_SLOTS ? batch_weights(b, err) : PGR_OK;
}

/* Fails without a word of the single requests: there is no memory for that. */
static pgr_status fail_all(pgr_error *errors, size_t n) {
    for (size_t i = 0; errors && i < n; i++) fail_mem(&errors[i]);
    return PGR_E_MEM;
}

pgr_status judge_many_from(pgr_engine *engine, const pgr_request *const *requests, size_t n,
                           const pgr_judge_options *options, const judge_source *source, pgr_result **results,
                           pgr_error *errors) {
    return judge_many_paced(engine, requests, n, options, source, 0, results, errors);
}

pgr_status judge_many_paced(pgr_engine *engine, const pgr_request *const *requests, size_t n,
                            const pgr_judge_options *options, const judge_source *source, size_t at_once,
                            pgr_result **results, pgr_error *errors) {
    pgr_judge_options o = options ? *options : pgr_judge_options_default();
    batch b = {.e = engine,
               .about = engine_about(engine),
               .o = &o,
               .source = source,
               .n = n,
               .at_once = at_once,
               .results = results,
               .errors = errors};
    b.start = clock_now();
    for (size_t i = 0; i < n; i++) results[i] = NULL;
    if (n == 0) return PGR_OK;
    b.list = mem_zero(n, sizeof *b.list);
    if (!b.list) return fail_all(errors, n);
    for (size_t i = 0; i < n; i++) b.list[i] = (judging){.b = &b, .index = i, .r = requests[i]};

    pgr_error err = {0};
    pgr_status s = judging_open(&b, &err);
    if (s == PGR_OK)
        judge_batch(&b);
    else
        fail_rest(&b, s, &err);

    s = PGR_OK;
    for (size_t i = 0; i < n && s == PGR_OK; i++) s = b.list[i].error.status;
    frame_close(b.frame);
    embeddings_free(b.embeddings);
    mem_free(b.list);
    return s;
}

void pgr_result_free(pgr_result *public) {
    result *r = (result *)public;
    if (!r) return;
    arena_free(&r->arena);
    mem_free(r);
}
