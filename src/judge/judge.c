/* judge.c - individual scaling (method.md 4): a request becomes m chains under the user's own history, half of them with
 * the responses in reversed order, and the chains become one result. The chains of all requests of a call are written in one
 * batch; a request is settled, with a result or an error of its own, as soon as its last chain has ended. */
#include <math.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/rng.h"
#include "infer/engine.h"
#include "judge/aggregate.h"
#include "judge/frame.h"

enum {
    DEFAULT_IND = 8,
    HISTORY_STREAM = 0x48495354, /* the draw of history pairs has a random stream of its own */
};
static const size_t FULL_FRAME_PARAMETERS = 3000000000u; /* smaller models get the compact frame (compact.md) */

/* A pgr_result and the memory that it points into; the public part comes first. */
typedef struct result {
    pgr_result public;
    arena arena;
} result;

typedef struct batch batch;

/* One request of a call. */
typedef struct judging {
    batch *b;
    size_t index; /* in the call's requests */
    const pgr_request *r;
    result *made; /* until the request is settled */
    grammar *grammar; /* the engine's */
    size_t n_ind, max_tokens;
    uint64_t seed;
    size_t *history;
    size_t n_history;
    size_t *order[2];              /* (n_response) as given, reversed */
    frame_prompt prompt[2];        /* of the two orders */
    size_t n_order;                /* 1 without swaps */
    const infer_chain *written[2]; /* (samples of the order) the engine's, where all have ended */
    size_t n_written;              /* orders whose chains have all ended */
    size_t cached_tokens;
    double first_token_s; /* from the call's start; 0: no token */
    bool settled;         /* has its result or its error */
    pgr_error error;
} judging;

/* One call of pgr_judge_many. */
struct batch {
    pgr_engine *e;
    const pgr_model *m;
    const pgr_judge_options *o;
    frame *frame;
    judging *list; /* (n) */
    size_t n;
    infer_request *asked; /* (2 n) of the judgings that run together */
    judging **asker;      /* (2 n) whose */
    double start, run_start;
    pgr_result **results; /* (n) the caller's */
    pgr_error *errors;    /* (n) the caller's, or NULL */
};

pgr_judge_options pgr_judge_options_default(void) {
    return (pgr_judge_options){
        .ind = -1, .history = -1, .seed = -1, .swap = true, .sampling = {.temperature = 1.0f, .top_p = 1.0f}};
}

/* ---- settings ---- */

static size_t parameters(const config *c) {
    size_t attn = c->n_embd * c->head_dim * 2 * (c->n_head + c->n_head_kv);
    return c->n_layer * (attn + 3 * c->n_embd * c->n_ff) + c->n_vocab * c->n_embd;
}

/* Errors that stem from the request's texts and numbers begin with the request's name. */
static pgr_status name_request(judging *j, pgr_status status) {
    const char *origin = j->r->origin;
    if (status != PGR_E_LIMIT || strncmp(j->error.message, origin, strlen(origin)) == 0) return status;
    pgr_error plain = j->error;
    return fail(&j->error, status, "%s: %s", origin, plain.message);
}

/* The frame's, but what more responses add leaves half of the context to the prompt. */
static size_t default_max_tokens(const judging *j) {
    size_t least = frame_max_tokens(j->b->frame), half = j->b->m->config.n_ctx / 2;
    size_t all = least + (j->r->n_response - 2) * frame_max_tokens_more(j->b->frame);
    return all <= half ? all : (least > half ? least : half);
}

static pgr_status settle_numbers(judging *j) {
    const pgr_judge_options *o = j->b->o;
    int ind = o->ind >= 0 ? o->ind : (j->r->ind >= 0 ? j->r->ind : DEFAULT_IND);
    if (ind < 1 || ind > 1024)
        return fail(&j->error, PGR_E_ARG, "%s: ind is %d, expected 1 to 1024 chains", j->r->origin, ind);
    if (j->r->pro > 0)
        return fail(&j->error, PGR_E_UNSUPPORTED, "%s: pro is %d, but prototypes need a store of users, expected 0",
                    j->r->origin, j->r->pro);
    j->n_ind = (size_t)ind;
    j->n_order = o->swap && ind > 1 ? 2 : 1;
    j->seed = (uint64_t)(o->seed >= 0 ? o->seed : (j->r->seed >= 0 ? j->r->seed : 0));
    j->max_tokens = o->max_tokens ? o->max_tokens : default_max_tokens(j);
    if (j->b->m->config.n_ctx < 64 || j->max_tokens > j->b->m->config.n_ctx - 64)
        return fail(&j->error, PGR_E_LIMIT, "chains of %zu tokens leave no room for a prompt in a context of %zu",
                    j->max_tokens, j->b->m->config.n_ctx);
    return PGR_OK;
}

static pgr_status compile_grammar(judging *j) {
    const frame *f = j->b->frame;
    buf text = {0};
    bool has = false;
    pgr_status s = frame_grammar(f, j->r->n_response, &text, &has, &j->error);
    if (s == PGR_OK && text.failed) s = fail_mem(&j->error);
    if (s == PGR_OK && has) s = engine_grammar(j->b->e, text.data, text.n, frame_name(f), &j->grammar, &j->error);
    buf_free(&text);
    return s;
}

/* h of the user's pairs at random without replacement, shown in the order in which they happened. */
static pgr_status draw_history(judging *j) {
    size_t all = j->r->n_history, want = frame_history(j->b->frame);
    if (j->r->history_pairs >= 0) want = (size_t)j->r->history_pairs;
    if (j->b->o->history >= 0) want = (size_t)j->b->o->history;
    if (want > all) want = all;
    j->n_history = want;
    j->history = arena_array(&j->made->arena, want + 1, sizeof *j->history);
    if (!j->history) return fail_mem(&j->error);

    rng random = {.seed = j->seed, .stream = HISTORY_STREAM};
    size_t taken = 0;
    for (size_t i = 0; i < all && taken < want; i++) /* Knuth's selection sampling keeps the order */
        if (rng_below(&random, all - i) < want - taken) j->history[taken++] = i;
    return PGR_OK;
}

/* ---- prompts and chains ---- */

static pgr_status render_prompts(judging *j) {
    size_t n = j->r->n_response;
    for (size_t k = 0; k < j->n_order; k++) {
        j->order[k] = arena_array(&j->made->arena, n, sizeof *j->order[k]);
        if (!j->order[k]) return fail_mem(&j->error);
        for (size_t i = 0; i < n; i++) j->order[k][i] = k == 0 ? i : n - 1 - i;
        frame_view view = {.history = j->history,
                           .n_history = j->n_history,
                           .order = j->order[k],
                           .budget = j->b->m->config.n_ctx - j->max_tokens};
        PGR_TRY(frame_render(j->b->frame, j->b->m, j->r, &view, &j->made->arena, &j->prompt[k], &j->error));
    }
    return PGR_OK;
}

static pgr_status fill_totals(void *ctx, const char *hole, const char *text, size_t n, buf *out, pgr_error *err) {
    const judging *j = ctx;
    if (strcmp(hole, "totals") != 0)
        return fail(err, PGR_E_FORMAT, "frame %s: hole @%s, expected @totals", frame_name(j->b->frame), hole);
    return chain_totals(text, n, j->r->n_response, out, err);
}

/* Chain i of the request is sample i / n_order of order i % n_order. Its random numbers are keyed by the request's seed, the
 * order and the sample: they do not depend on its place in the call. */
static infer_request ask(judging *j, size_t order) {
    return (infer_request){.prompt = j->prompt[order].tokens.v,
                           .n_prompt = j->prompt[order].tokens.n,
                           .n_sample = (j->n_ind + j->n_order - 1 - order) / j->n_order,
                           .seed = j->seed,
                           .id = (uint32_t)order,
                           .sampling = j->b->o->sampling,
                           .max_tokens = j->max_tokens,
                           .grammar = j->grammar,
                           .trigger = frame_trigger(j->b->frame),
                           .fill = fill_totals,
                           .fill_ctx = j};
}

/* All that comes before the first chain. */
static pgr_status prepare(judging *j) {
    const pgr_judge_options *o = j->b->o;
    if (o->cancel && *o->cancel) return fail(&j->error, PGR_E_CANCELLED, "cancelled");
    j->made = mem_zero(1, sizeof *j->made);
    if (!j->made) return fail_mem(&j->error);
    PGR_TRY(compile_grammar(j));
    PGR_TRY(name_request(j, settle_numbers(j)));
    PGR_TRY(draw_history(j));
    PGR_TRY(name_request(j, render_prompts(j)));
    for (size_t k = 0; k < j->n_order; k++) {
        infer_request q = ask(j, k);
        PGR_TRY(name_request(j, infer_check(j->b->e, &q, &j->error)));
    }
    return PGR_OK;
}

/* Number i of the chains in the order given, reversed, given, ... */
static const infer_chain *chain_number(const judging *j, size_t i) {
    return &j->written[i % j->n_order][i / j->n_order];
}

static pgr_status parse_chains(judging *j, chain *chains, aggregate_chain *list) {
    for (size_t i = 0; i < j->n_ind; i++) {
        const infer_chain *c = chain_number(j, i);
        if (c->finish == PGR_FINISH_DEADLINE) {
            chains[i].reason = "the deadline passed before the chain was finished";
        } else {
            PGR_TRY(chain_parse(frame_form(j->b->frame), c->text.data ? c->text.data : "", c->text.n, j->r->n_response,
                                &j->made->arena, &chains[i], &j->error));
        }
        list[i] = (aggregate_chain){.chain = &chains[i], .order = j->order[i % j->n_order], .cut = c->cut};
    }
    return PGR_OK;
}

/* ---- result ---- */

static pgr_status keep_sample(judging *j, size_t i, const chain *parsed, const pgr_result *out, pgr_chain_sample *s) {
    const infer_chain *c = chain_number(j, i);
    size_t n = j->r->n_response;
    double *scores = arena_array(&j->made->arena, n, sizeof *scores);
    char *text = arena_strndup(&j->made->arena, c->text.data ? c->text.data : "", c->text.n);
    if (!scores || !text) return fail_mem(&j->error);
    const size_t *order = j->order[i % j->n_order];
    const double *from = out->score_used == PGR_SCORE_RECOMPUTED ? parsed->recomputed : parsed->declared;
    for (size_t place = 0; place < n; place++) scores[order[place]] = parsed->parsed ? from[place] : NAN;
    *s = (pgr_chain_sample){.text = text,
                            .order = order,
                            .parsed = parsed->parsed,
                            .cut = c->cut,
                            .reason = parsed->reason,
                            .scores = scores,
                            .n_token = c->tokens.n,
                            .seed = i};
    return PGR_OK;
}

static pgr_status keep_samples(judging *j, const chain *chains, pgr_result *out) {
    pgr_chain_sample *samples = arena_array(&j->made->arena, j->n_ind, sizeof *samples);
    if (!samples) return fail_mem(&j->error);
    for (size_t i = 0; i < j->n_ind; i++) PGR_TRY(keep_sample(j, i, &chains[i], out, &samples[i]));
    out->samples = samples;
    out->n_sample = j->n_ind;
    return PGR_OK;
}

static pgr_status describe(judging *j, pgr_result *out) {
    out->id = arena_strdup(&j->made->arena, j->r->id);
    out->model = arena_strdup(&j->made->arena, j->b->m->from.name);
    out->frame = arena_strdup(&j->made->arena, frame_name(j->b->frame));
    if (!out->id || !out->model || !out->frame) return fail_mem(&j->error);
    out->clipped = j->prompt[0].clips;
    out->n_clip = j->prompt[0].n_clip;
    out->history_shown = j->prompt[0].n_history;
    for (size_t k = 0; k < j->n_order; k++) out->prompt_tokens += j->prompt[k].tokens.n;
    for (size_t i = 0; i < j->n_ind; i++) out->completion_tokens += chain_number(j, i)->tokens.n;
    out->cached_tokens = j->cached_tokens;
    out->first_token_s = j->first_token_s;
    return PGR_OK;
}

static pgr_status make_result(judging *j) {
    pgr_result *out = &j->made->public;
    chain *chains = arena_array(&j->made->arena, j->n_ind, sizeof *chains);
    aggregate_chain *list = arena_array(&j->made->arena, j->n_ind, sizeof *list);
    if (!chains || !list) return fail_mem(&j->error);
    PGR_TRY(parse_chains(j, chains, list));
    PGR_TRY(aggregate(list, j->n_ind, j->r->n_response, j->b->o->score, &j->made->arena, out, &j->error));
    if (j->b->o->keep_chains) PGR_TRY(keep_samples(j, chains, out));
    return describe(j, out);
}

/* ---- the batch ---- */

/* The request gets its result, or its error where there is one. */
static void settle(judging *j, pgr_status status) {
    batch *b = j->b;
    for (size_t k = 0; k < 2; k++) ids_free(&j->prompt[k].tokens);
    if (status == PGR_OK) {
        j->made->public.seconds = clock_now() - b->start;
        b->results[j->index] = &j->made->public;
    } else if (j->made) {
        pgr_result_free(&j->made->public);
    }
    j->made = NULL;
    j->settled = true;
    j->error.status = status;
    if (b->errors) b->errors[j->index] = j->error;
    if (b->o->judged) b->o->judged(b->o->judged_ctx, j->index);
}

static void chains_ended(void *ctx, size_t request, const infer_chain *chains, const infer_usage *usage) {
    batch *b = ctx;
    judging *j = b->asker[request];
    double first = usage->first_token_s > 0 ? b->run_start - b->start + usage->first_token_s : 0;
    if (j->first_token_s == 0 || (first > 0 && first < j->first_token_s)) j->first_token_s = first;
    j->cached_tokens += usage->cached_tokens;
    j->written[b->asked[request].id] = chains;
    if (++j->n_written == j->n_order) settle(j, make_result(j));
}

/* Writes the chains of these judgings in one batch. On error those that have not been settled by then are as before. */
static pgr_status run_together(batch *b, judging *list, size_t n, pgr_error *err) {
    const pgr_judge_options *o = b->o;
    size_t n_asked = 0;
    for (judging *j = list; j < list + n; j++) {
        if (j->settled) continue;
        j->n_written = j->cached_tokens = 0;
        j->first_token_s = 0;
        for (size_t k = 0; k < j->n_order; k++) {
            b->asker[n_asked] = j;
            b->asked[n_asked++] = ask(j, k);
        }
    }
    b->run_start = clock_now();
    double passed = b->run_start - b->start, left = o->deadline_s > passed ? o->deadline_s - passed : 1e-9;
    infer_options io = {.deadline_s = o->deadline_s > 0 ? left : 0,
                        .cancel = o->cancel,
                        .progress = o->progress,
                        .progress_ctx = o->progress_ctx,
                        .ended = chains_ended,
                        .ended_ctx = b};
    infer_output output = {0};
    pgr_status s = n_asked ? infer_run(b->e, b->asked, n_asked, &io, &output, err) : PGR_OK;
    infer_output_free(&output);
    return s;
}

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

/* An error of the batch that does not stop all may be one request's doing: each then goes on alone. */
static void judge_batch(batch *b) {
    for (size_t i = 0; i < b->n; i++) {
        pgr_status s = prepare(&b->list[i]);
        if (s != PGR_OK) settle(&b->list[i], s);
    }
    pgr_error err = {0};
    pgr_status s = run_together(b, b->list, b->n, &err);
    for (judging *j = b->list; j < b->list + b->n && !stops_all(s); j++) {
        if (j->settled) continue;
        s = run_together(b, j, 1, &err);
        if (s == PGR_OK || stops_all(s)) continue;
        j->error = err;
        settle(j, name_request(j, s));
    }
    fail_rest(b, s, &err);
}

static pgr_status begin_batch(batch *b, pgr_error *err) {
    const char *name = b->o->frame;
    if (b->m->chat.kind == CHAT_NONE)
        return fail(err, PGR_E_UNSUPPORTED, "%s: judging needs a chat template: %s", b->m->from.name,
                    b->m->chat.why ? b->m->chat.why : "none was read");
    b->asked = mem_zero(2 * b->n, sizeof *b->asked);
    b->asker = mem_zero(2 * b->n, sizeof *b->asker);
    if (!b->asked || !b->asker) return fail_mem(err);
    if (!name) name = parameters(&b->m->config) < FULL_FRAME_PARAMETERS ? "compact" : "full";
    return frame_open(name, &b->frame, err);
}

/* Fails without a word of the single requests: there is no memory for that. */
static pgr_status fail_all(pgr_error *errors, size_t n) {
    for (size_t i = 0; errors && i < n; i++) fail_mem(&errors[i]);
    return PGR_E_MEM;
}

pgr_status pgr_judge_many(pgr_engine *engine, const pgr_request *const *requests, size_t n,
                          const pgr_judge_options *options, pgr_result **results, pgr_error *errors) {
    pgr_judge_options o = options ? *options : pgr_judge_options_default();
    batch b = {.e = engine, .m = engine_model(engine), .o = &o, .n = n, .results = results, .errors = errors};
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
    mem_free(b.asked);
    mem_free(b.asker);
    mem_free(b.list);
    return s;
}

pgr_status pgr_judge(pgr_engine *engine, const pgr_request *request, const pgr_judge_options *options, pgr_result **out,
                     pgr_error *err) {
    pgr_result *made = NULL;
    pgr_status s = pgr_judge_many(engine, &request, 1, options, &made, err);
    if (s == PGR_OK) *out = made;
    return s;
}

void pgr_result_free(pgr_result *public) {
    result *r = (result *)public;
    if (!r) return;
    arena_free(&r->arena);
    mem_free(r);
}
