/* judge.c - test-time scaling (docs/method.md, "Test-time scaling"): a request becomes m chains under the user's own
 * history and n under those of similar users, half of them with the responses in reversed order, and the chains become
 * one result. The chains of all requests of a call are written in one batch, or (adaptive) in rounds that settled
 * requests leave; a request is settled, with a result or an error of its own, as soon as its last chain has ended. */
#include <math.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/watch.h"
#include "judge/judging.h"

enum {
    FIRST_ROUND = 4, /* chains of the larger side; each further round doubles them */
    ROUND_CHAINS =
        128, /* of a round, all requests together: the slots filled twice, prompts few enough to stay in the cache */
};
static const size_t FULL_FRAME_PARAMETERS = 3000000000u; /* smaller models get the compact frame (docs/compact.md) */

/* ---- one request ----------------------------------------------------------------------------------------------- */

static void release(judging *j) {
    for (int k = 0; k < N_SIDE; k++)
        for (size_t i = 0; i < j->sides[k].n_prompt && j->sides[k].prompts; i++)
            ids_free(&j->sides[k].prompts[i].text.tokens);
    memset(j->sides, 0, sizeof j->sides);
    arena_free(&j->tmp);
}

/* The request gets its result, or its error where there is one. */
static void settle(judging *j, pgr_status status) {
    batch *b = j->b;
    release(j);
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

/* All that is wanted of a side by round `round`: of n chains as large a part as FIRST_ROUND 2^round is of the larger side, and
 * whole pairs of orders. */
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
    double confidence = NAN;
    PGR_TRY(judging_confidence(j, &confidence));
    *enough = confidence >= o->adaptive || (o->deadline_s > 0 && clock_now() - j->b->start > o->deadline_s);
    return PGR_OK;
}

/* The last chain of the round has ended. */
static void end_round(judging *j) {
    bool enough = false;
    if (j->status == PGR_OK) j->status = is_settled(j, &enough);
    if (j->status == PGR_OK && enough) j->status = judging_result(j);
    if (enough || j->status != PGR_OK) {
        settle(j, j->status);
    } else {
        j->round++;
        set_targets(j);
    }
}

/* ---- one run of the engine ------------------------------------------------------------------------------------- */

typedef struct asker { /* whose an engine's request is */
    judging *j;
    side *s;
    prompt *p;
} asker;

typedef struct run {
    batch *b;
    infer_request *asked; /* (n) */
    asker *askers;        /* (n) */
    size_t n, cap;
} run;

static void chains_ended(void *ctx, size_t request, const infer_chain *chains, const infer_usage *usage) {
    run *r = ctx;
    asker *a = &r->askers[request];
    judging *j = a->j;
    double first = usage->first_token_s > 0 ? r->b->run_start - r->b->start + usage->first_token_s : 0;
    if (j->first_token_s == 0 || (first > 0 && first < j->first_token_s)) j->first_token_s = first;
    size_t n_prompt = r->asked[request].n_prompt;
    if (!a->p->computed) j->prompt_tokens += n_prompt;
    a->p->computed = true;
    j->computed_tokens += n_prompt - usage->cached_tokens;
    if (j->status == PGR_OK) j->status = judging_take(j, a->s, a->p, chains, r->asked[request].n_sample);
    if (--j->n_open == 0) end_round(j);
}

static size_t chains_of_round(const judging *j) {
    size_t n = 0;
    for (int k = 0; k < N_SIDE; k++) {
        const side *s = &j->sides[k];
        for (size_t i = 0; i < s->n_prompt; i++) n += prompt_ask(j, s, &s->prompts[i]).n_sample;
    }
    return n;
}

static pgr_status add_request(run *r, infer_request q, asker a, pgr_error *err) {
    if (r->n == r->cap) {
        size_t cap = r->cap ? 2 * r->cap : 16;
        infer_request *asked = mem_resize(r->asked, cap * sizeof *asked);
        if (asked) r->asked = asked;
        asker *askers = mem_resize(r->askers, cap * sizeof *askers);
        if (askers) r->askers = askers;
        if (!asked || !askers) return fail_mem(err);
        r->cap = cap;
    }
    r->asked[r->n] = q;
    r->askers[r->n++] = a;
    return PGR_OK;
}

/* What the round of this request still needs. */
static pgr_status ask(run *r, judging *j, pgr_error *err) {
    j->n_open = 0;
    for (int k = 0; k < N_SIDE; k++)
        for (size_t i = 0; i < j->sides[k].n_prompt; i++) {
            side *s = &j->sides[k];
            infer_request q = prompt_ask(j, s, &s->prompts[i]);
            if (q.n_sample == 0) continue;
            PGR_TRY(add_request(r, q, (asker){j, s, &s->prompts[i]}, err));
            j->n_open++;
        }
    PGR_ASSERT(j->n_open > 0); /* every round adds chains */
    return PGR_OK;
}

/* Rounds show how many requests are done: nobody knows how many chains there will be. */
static void report_settled(void *ctx, const char *label, uint64_t done, uint64_t total, const char *unit) {
    (void)label, (void)done, (void)total, (void)unit;
    const batch *b = ctx;
    watch_report(&b->o->watch, "judging", b->n_settled, b->n, "requests");
}

static pgr_status write_chains(run *r, pgr_error *err) {
    batch *b = r->b;
    const pgr_judge_options *o = b->o;
    b->run_start = clock_now();
    bool by_request = o->adaptive > 0 && b->n > 1;
    double passed = b->run_start - b->start, left = o->deadline_s > passed ? o->deadline_s - passed : 1e-9;
    pgr_watch by_requests = {o->watch.cancel, report_settled, b};
    infer_options io = {.deadline_s = o->deadline_s > 0 ? left : 0,
                        .watch = by_request ? by_requests : o->watch,
                        .ended = chains_ended,
                        .ended_ctx = r};
    infer_output output = {0};
    pgr_status s = r->n ? infer_run(b->e, r->asked, r->n, &io, &output, err) : PGR_OK;
    infer_output_free(&output);
    return s;
}

/* One round of the unsettled ones of these judgings, in one batch: of all of them, or (adaptive) of the first that have
 * ROUND_CHAINS together. What has been written when it fails stays. */
static pgr_status run_round(batch *b, judging *list, size_t n, pgr_error *err) {
    run r = {.b = b};
    size_t n_chain = 0;
    pgr_status s = PGR_OK;
    for (judging *j = list; j < list + n && s == PGR_OK; j++) {
        if (j->settled) continue;
        size_t more = chains_of_round(j);
        if (b->o->adaptive > 0 && n_chain > 0 && n_chain + more > ROUND_CHAINS) break;
        n_chain += more;
        s = ask(&r, j, err);
    }
    if (s == PGR_OK) s = write_chains(&r, err);
    mem_free(r.asked);
    mem_free(r.askers);
    return s;
}

static bool any_open(const judging *list, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (!list[i].settled) return true;
    return false;
}

static pgr_status run_rounds(batch *b, judging *list, size_t n, pgr_error *err) {
    while (any_open(list, n)) PGR_TRY(run_round(b, list, n, err));
    return PGR_OK;
}

/* ---- the batch ------------------------------------------------------------------------------------------------- */

static void fail_rest(batch *b, pgr_status status, const pgr_error *why) {
    for (judging *j = b->list; j < b->list + b->n; j++) {
        if (j->settled) continue;
        j->error = *why;
        settle(j, status);
    }
}

static bool stops_all(pgr_status s) {
    return s == PGR_E_MEM || s == PGR_E_CANCELLED;
}

static pgr_status prepare(judging *j) {
    j->made = mem_zero(1, sizeof *j->made);
    if (!j->made) return fail_mem(&j->error);
    PGR_TRY(judging_prepare(j));
    set_targets(j);
    return PGR_OK;
}

/* An error of the batch that does not stop all may be one request's doing: each then goes on alone. */
static void judge_batch(batch *b) {
    for (size_t i = 0; i < b->n; i++) {
        if (b->source) watch_report(&b->o->watch, "finding similar users", i, b->n, "requests");
        pgr_status s = prepare(&b->list[i]);
        if (s != PGR_OK) settle(&b->list[i], s);
    }
    pgr_error err = {0};
    pgr_status s = run_rounds(b, b->list, b->n, &err);
    for (judging *j = b->list; j < b->list + b->n && s != PGR_OK && !stops_all(s); j++) {
        if (j->settled) continue;
        pgr_status alone = run_rounds(b, j, 1, &err);
        if (stops_all(alone)) s = alone;
        if (alone == PGR_OK || stops_all(alone)) continue;
        j->error = err;
        settle(j, judging_name(j, alone));
    }
    fail_rest(b, s, &err);
}

static size_t parameters(const config *c) {
    size_t attn = c->n_embd * c->head_dim * 2 * (c->n_head + c->n_head_kv);
    return c->n_layer * (attn + 3 * c->n_embd * c->n_ff) + c->n_vocab * c->n_embd;
}

static pgr_status begin_batch(batch *b, pgr_error *err) {
    const char *name = b->o->frame;
    PGR_TRY(judge_options_check(b->o, err));
    if (b->m->chat.kind == CHAT_NONE)
        return fail(err, PGR_E_UNSUPPORTED, "%s: judging needs a chat template: %s", b->m->from.name,
                    b->m->chat.why ? b->m->chat.why : "none was read");
    if (!name) name = parameters(&b->m->config) < FULL_FRAME_PARAMETERS ? "compact" : "full";
    return frame_open(name, &b->frame, err);
}

/* Fails without a word of the single requests: there is no memory for that. */
static pgr_status fail_all(pgr_error *errors, size_t n) {
    for (size_t i = 0; errors && i < n; i++) fail_mem(&errors[i]);
    return PGR_E_MEM;
}

pgr_status judge_many_from(pgr_engine *engine, const pgr_request *const *requests, size_t n,
                           const pgr_judge_options *options, const judge_source *source, pgr_result **results,
                           pgr_error *errors) {
    pgr_judge_options o = options ? *options : pgr_judge_options_default();
    batch b = {.e = engine,
               .m = engine_model(engine),
               .o = &o,
               .source = source,
               .n = n,
               .results = results,
               .errors = errors};
    b.start = clock_now();
    for (size_t i = 0; i < n; i++) results[i] = NULL;
    if (n == 0) return PGR_OK;
    b.list = mem_zero(n, sizeof *b.list);
    if (!b.list) return fail_all(errors, n);
    for (size_t i = 0; i < n; i++) b.list[i] = (judging){.b = &b, .index = i, .r = requests[i]};

    pgr_error err = {0};
    pgr_status s = begin_batch(&b, &err);
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
