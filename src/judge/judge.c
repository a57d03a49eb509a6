/* judge.c - individual scaling (method.md 4): one request becomes m chains under the user's own history, half of them with
 * the responses in reversed order, and the chains become one result. */
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

/* One call of pgr_judge. */
typedef struct judging {
    pgr_engine *e;
    const pgr_model *m;
    const pgr_request *r;
    const pgr_judge_options *o;
    arena *arena; /* the result's */
    frame *frame;
    grammar *grammar; /* the engine's */
    size_t n_ind, max_tokens;
    uint64_t seed;
    size_t *history;
    size_t n_history;
    size_t *order[2];       /* (n_response) as given, reversed */
    frame_prompt prompt[2]; /* of the two orders */
    size_t n_order;         /* 1 without swaps */
    infer_output output;
    pgr_error *err;
} judging;

/* A pgr_result and the memory that it points into; the public part comes first. */
typedef struct result {
    pgr_result public;
    arena arena;
} result;

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
static pgr_status name_request(const judging *j, pgr_status status) {
    const char *origin = j->r->origin;
    if (status != PGR_E_LIMIT || !j->err || strncmp(j->err->message, origin, strlen(origin)) == 0) return status;
    return fail(j->err, status, "%s: %s", origin, j->err->message);
}

/* The frame's, but what more responses add leaves half of the context to the prompt. */
static size_t default_max_tokens(const judging *j) {
    size_t least = frame_max_tokens(j->frame), half = j->m->config.n_ctx / 2;
    size_t all = least + (j->r->n_response - 2) * frame_max_tokens_more(j->frame);
    return all <= half ? all : (least > half ? least : half);
}

static pgr_status settle_numbers(judging *j) {
    const pgr_judge_options *o = j->o;
    int ind = o->ind >= 0 ? o->ind : (j->r->ind >= 0 ? j->r->ind : DEFAULT_IND);
    if (ind < 1 || ind > 1024)
        return fail(j->err, PGR_E_ARG, "%s: ind is %d, expected 1 to 1024 chains", j->r->origin, ind);
    if (j->r->pro > 0)
        return fail(j->err, PGR_E_UNSUPPORTED, "%s: pro is %d, but prototypes need a store of users, expected 0",
                    j->r->origin, j->r->pro);
    j->n_ind = (size_t)ind;
    j->n_order = o->swap && ind > 1 ? 2 : 1;
    j->seed = (uint64_t)(o->seed >= 0 ? o->seed : (j->r->seed >= 0 ? j->r->seed : 0));
    j->max_tokens = o->max_tokens ? o->max_tokens : default_max_tokens(j);
    if (j->m->config.n_ctx < 64 || j->max_tokens > j->m->config.n_ctx - 64)
        return fail(j->err, PGR_E_LIMIT, "chains of %zu tokens leave no room for a prompt in a context of %zu",
                    j->max_tokens, j->m->config.n_ctx);
    return PGR_OK;
}

static pgr_status open_frame(judging *j) {
    const char *name = j->o->frame;
    if (!name) name = parameters(&j->m->config) < FULL_FRAME_PARAMETERS ? "compact" : "full";
    PGR_TRY(frame_open(name, &j->frame, j->err));

    buf text = {0};
    bool has = false;
    pgr_status s = frame_grammar(j->frame, j->r->n_response, &text, &has, j->err);
    if (s == PGR_OK && text.failed) s = fail_mem(j->err);
    if (s == PGR_OK && has) s = engine_grammar(j->e, text.data, text.n, frame_name(j->frame), &j->grammar, j->err);
    buf_free(&text);
    return s;
}

/* h of the user's pairs at random without replacement, shown in the order in which they happened. */
static pgr_status draw_history(judging *j) {
    size_t all = j->r->n_history, want = frame_history(j->frame);
    if (j->r->history_pairs >= 0) want = (size_t)j->r->history_pairs;
    if (j->o->history >= 0) want = (size_t)j->o->history;
    if (want > all) want = all;
    j->n_history = want;
    j->history = arena_array(j->arena, want + 1, sizeof *j->history);
    if (!j->history) return fail_mem(j->err);

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
        j->order[k] = arena_array(j->arena, n, sizeof *j->order[k]);
        if (!j->order[k]) return fail_mem(j->err);
        for (size_t i = 0; i < n; i++) j->order[k][i] = k == 0 ? i : n - 1 - i;
        frame_view view = {.history = j->history,
                           .n_history = j->n_history,
                           .order = j->order[k],
                           .budget = j->m->config.n_ctx - j->max_tokens};
        PGR_TRY(frame_render(j->frame, j->m, j->r, &view, j->arena, &j->prompt[k], j->err));
    }
    return PGR_OK;
}

static pgr_status fill_totals(void *ctx, const char *hole, const char *text, size_t n, buf *out, pgr_error *err) {
    const judging *j = ctx;
    if (strcmp(hole, "totals") != 0)
        return fail(err, PGR_E_FORMAT, "frame %s: hole @%s, expected @totals", frame_name(j->frame), hole);
    return chain_totals(text, n, j->r->n_response, out, err);
}

/* Chain i of the request is sample i / n_order of order i % n_order. */
static pgr_status write_chains(judging *j) {
    infer_request q[2];
    for (size_t k = 0; k < j->n_order; k++)
        q[k] = (infer_request){.prompt = j->prompt[k].tokens.v,
                               .n_prompt = j->prompt[k].tokens.n,
                               .n_sample = (j->n_ind + j->n_order - 1 - k) / j->n_order,
                               .seed = j->seed,
                               .id = (uint32_t)k,
                               .sampling = j->o->sampling,
                               .max_tokens = j->max_tokens,
                               .grammar = j->grammar,
                               .trigger = frame_trigger(j->frame),
                               .fill = fill_totals,
                               .fill_ctx = j};
    infer_options io = {.deadline_s = j->o->deadline_s,
                        .cancel = j->o->cancel,
                        .progress = j->o->progress,
                        .progress_ctx = j->o->progress_ctx};
    return infer_run(j->e, q, j->n_order, &io, &j->output, j->err);
}

/* The engine's chain number i in the order 0, 1, 2, ...: given, reversed, given, ... */
static const infer_chain *chain_number(const judging *j, size_t i) {
    size_t given = (j->n_ind + j->n_order - 1) / j->n_order;
    return &j->output.chains[i % j->n_order * given + i / j->n_order];
}

static pgr_status parse_chains(judging *j, chain *chains, aggregate_chain *list) {
    for (size_t i = 0; i < j->n_ind; i++) {
        const infer_chain *c = chain_number(j, i);
        if (c->finish == PGR_FINISH_DEADLINE) {
            chains[i].reason = "the deadline passed before the chain was finished";
        } else {
            PGR_TRY(chain_parse(frame_form(j->frame), c->text.data ? c->text.data : "", c->text.n, j->r->n_response,
                                j->arena, &chains[i], j->err));
        }
        list[i] = (aggregate_chain){.chain = &chains[i], .order = j->order[i % j->n_order], .cut = c->cut};
    }
    return PGR_OK;
}

/* ---- result ---- */

static pgr_status keep_sample(judging *j, size_t i, const chain *parsed, const pgr_result *out, pgr_chain_sample *s) {
    const infer_chain *c = chain_number(j, i);
    size_t n = j->r->n_response;
    double *scores = arena_array(j->arena, n, sizeof *scores);
    char *text = arena_strndup(j->arena, c->text.data ? c->text.data : "", c->text.n);
    if (!scores || !text) return fail_mem(j->err);
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
    pgr_chain_sample *samples = arena_array(j->arena, j->n_ind, sizeof *samples);
    if (!samples) return fail_mem(j->err);
    for (size_t i = 0; i < j->n_ind; i++) PGR_TRY(keep_sample(j, i, &chains[i], out, &samples[i]));
    out->samples = samples;
    out->n_sample = j->n_ind;
    return PGR_OK;
}

static pgr_status describe(judging *j, pgr_result *out) {
    out->id = arena_strdup(j->arena, j->r->id);
    out->model = arena_strdup(j->arena, j->m->from.name);
    out->frame = arena_strdup(j->arena, frame_name(j->frame));
    if (!out->id || !out->model || !out->frame) return fail_mem(j->err);
    out->clipped = j->prompt[0].clips;
    out->n_clip = j->prompt[0].n_clip;
    out->history_shown = j->prompt[0].n_history;
    out->prompt_tokens = j->output.prompt_tokens;
    out->cached_tokens = j->output.cached_tokens;
    out->completion_tokens = j->output.completion_tokens;
    out->first_token_s = j->output.first_token_s;
    return PGR_OK;
}

static pgr_status run_judging(judging *j, pgr_result *out) {
    if (j->m->chat.kind == CHAT_NONE)
        return fail(j->err, PGR_E_UNSUPPORTED,
                    "%s: judging needs a chat template: %s", j->m->from.name,
                    j->m->chat.why ? j->m->chat.why : "none was read");
    PGR_TRY(open_frame(j));
    PGR_TRY(name_request(j, settle_numbers(j)));
    PGR_TRY(draw_history(j));
    PGR_TRY(name_request(j, render_prompts(j)));
    PGR_TRY(name_request(j, write_chains(j)));

    chain *chains = arena_array(j->arena, j->n_ind, sizeof *chains);
    aggregate_chain *list = arena_array(j->arena, j->n_ind, sizeof *list);
    if (!chains || !list) return fail_mem(j->err);
    PGR_TRY(parse_chains(j, chains, list));
    PGR_TRY(aggregate(list, j->n_ind, j->r->n_response, j->o->score, j->arena, out, j->err));
    if (j->o->keep_chains) PGR_TRY(keep_samples(j, chains, out));
    return describe(j, out);
}

pgr_status pgr_judge(pgr_engine *engine, const pgr_request *request, const pgr_judge_options *options, pgr_result **out,
                     pgr_error *err) {
    pgr_judge_options o = options ? *options : pgr_judge_options_default();
    result *made = mem_zero(1, sizeof *made);
    if (!made) return fail_mem(err);
    judging j = {.e = engine, .m = engine_model(engine), .r = request, .o = &o, .arena = &made->arena, .err = err};
    double start = clock_now();
    pgr_status s = run_judging(&j, &made->public);
    made->public.seconds = clock_now() - start;

    infer_output_free(&j.output);
    for (size_t k = 0; k < 2; k++) ids_free(&j.prompt[k].tokens);
    frame_close(j.frame);
    if (s != PGR_OK)
        pgr_result_free(&made->public);
    else
        *out = &made->public;
    return s;
}

void pgr_result_free(pgr_result *public) {
    result *r = (result *)public;
    if (!r) return;
    arena_free(&r->arena);
    mem_free(r);
}
