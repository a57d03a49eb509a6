/* generate.c - the public calls that only need text: pgr_generate and pgr_perplexity_of. */
#include <math.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "infer/engine.h"

/* What a pgr_generation points into; the public part comes first. */
typedef struct generation {
    pgr_generation public;
    ids prompt;
    infer_output output;
    pgr_sample *samples;
} generation;

pgr_generate_options pgr_generate_options_default(void) {
    return (pgr_generate_options){.sampling = {.temperature = 1.0f, .top_p = 1.0f}, .n_sample = 1, .max_tokens = 256};
}

static pgr_status tokens_of_prompt(const pgr_model *m, const char *prompt, size_t len, const pgr_generate_options *o,
                                   ids *out, pgr_error *err) {
    int special = o->parse_special ? TOK_PARSE_SPECIAL : 0;
    if (o->raw) return tok_encode(m->tok, prompt, len, special | TOK_BOS, out, err);
    if (o->parse_special)
        return fail(err, PGR_E_ARG, "control tokens in a prompt need the raw form: the chat template writes its own");
    chat_message message = {.role = "user", .text = prompt, .n = len};
    return chat_render(&m->chat, m->tok, &message, 1, true, out, err);
}

/* Fewer tokens than asked for where the context ends. */
static pgr_status limit_tokens(const pgr_model *m, size_t n_prompt, size_t *max_tokens, pgr_error *err) {
    if (n_prompt == 0) return fail(err, PGR_E_ARG, "the prompt is empty, expected at least one token");
    if (n_prompt >= m->config.n_ctx)
        return fail(err, PGR_E_LIMIT, "the prompt has %zu tokens, the model's context is %zu", n_prompt,
                    m->config.n_ctx);
    if (*max_tokens > m->config.n_ctx - n_prompt) *max_tokens = m->config.n_ctx - n_prompt;
    return PGR_OK;
}

/* Token lists must belong to the caller even where they are empty. */
static pgr_status hand_over(generation *g, const pgr_model *m, double start, pgr_error *err) {
    g->samples = mem_zero(g->output.n_chain, sizeof *g->samples);
    if (!g->samples) return fail_mem(err);
    for (size_t i = 0; i < g->output.n_chain; i++) {
        const infer_chain *c = &g->output.chains[i];
        g->samples[i] = (pgr_sample){.text = c->text.data ? c->text.data : "",
                                     .n_text = c->text.n,
                                     .tokens = c->tokens.v,
                                     .logprobs = c->logprobs,
                                     .n_token = c->tokens.n,
                                     .finish = c->finish};
    }
    g->public = (pgr_generation){
        .prompt = g->prompt.v, .n_prompt = g->prompt.n, .samples = g->samples, .n_sample = g->output.n_chain};
    g->public.timing = (pgr_timing){.load_s = m->load_s,
                                    .prefill_s = g->output.prefill_s,
                                    .decode_s = g->output.decode_s,
                                    .total_s = clock_now() - start};
    return PGR_OK;
}

static pgr_status generate(pgr_engine *e, const char *prompt, size_t len, const pgr_generate_options *o, generation *g,
                           pgr_error *err) {
    const pgr_model *m = engine_model(e);
    double start = clock_now();
    PGR_TRY(tokens_of_prompt(m, prompt, len, o, &g->prompt, err));
    if (g->prompt.failed) return fail_mem(err);

    infer_request r = {.prompt = g->prompt.v,
                       .n_prompt = g->prompt.n,
                       .n_sample = o->n_sample,
                       .seed = o->seed,
                       .sampling = o->sampling,
                       .max_tokens = o->max_tokens,
                       .ignore_eos = o->ignore_eos,
                       .stop = o->stop,
                       .n_stop = o->n_stop,
                       .trigger = o->grammar_trigger};
    PGR_TRY(limit_tokens(m, r.n_prompt, &r.max_tokens, err));
    infer_options io = {.deadline_s = o->deadline_s, .watch = o->watch, .want_forced = true};
    if (o->grammar) {
        const char *name = o->grammar_name ? o->grammar_name : "grammar";
        PGR_TRY(engine_grammar(e, o->grammar, strlen(o->grammar), name, &r.grammar, err));
    }
    if (r.grammar && grammar_has_holes(r.grammar))
        return fail(err, PGR_E_ARG, "grammar: holes (@name) are for frames, expected a grammar without them");
    PGR_TRY(infer_run(e, &r, 1, &io, &g->output, err));
    return hand_over(g, m, start, err);
}

pgr_status pgr_generate(pgr_engine *e, const char *prompt, size_t len, const pgr_generate_options *options,
                        pgr_generation **out, pgr_error *err) {
    pgr_generate_options o = options ? *options : pgr_generate_options_default();
    generation *g = mem_zero(1, sizeof *g);
    if (!g) return fail_mem(err);
    pgr_status s = generate(e, prompt, len, &o, g, err);
    if (s != PGR_OK) {
        pgr_generation_free(&g->public);
        return s;
    }
    *out = &g->public;
    return PGR_OK;
}

void pgr_generation_free(pgr_generation *public) {
    generation *g = (generation *)public;
    if (!g) return;
    ids_free(&g->prompt);
    infer_output_free(&g->output);
    mem_free(g->samples);
    mem_free(g);
}

/* ---- perplexity ---- */

/* Windows of n_context tokens, each read by itself. */
static pgr_status score_windows(pgr_engine *e, size_t n_context, const infer_options *o, pgr_perplexity *p,
                                pgr_error *err) {
    for (size_t first = 0; first < p->n; first += n_context) {
        size_t n = p->n - first < n_context ? p->n - first : n_context;
        PGR_TRY(infer_logprobs(e, p->tokens + first, n, o, p->logprobs + first, err));
    }
    double sum = 0;
    size_t scored = 0;
    for (size_t i = 0; i < p->n; i++)
        if (!isnan(p->logprobs[i])) sum -= p->logprobs[i], scored++;
    p->nll = sum / (double)scored;
    p->perplexity = exp(p->nll);
    return PGR_OK;
}

pgr_status pgr_perplexity_of(pgr_engine *e, const char *text, size_t len, size_t n_context, const pgr_watch *watch,
                             pgr_perplexity *out, pgr_error *err) {
    const pgr_model *m = engine_model(e);
    if (n_context == 0) n_context = m->config.n_ctx;
    if (n_context < 2 || n_context > m->config.n_ctx)
        return fail(err, PGR_E_ARG, "a window of %zu tokens, expected 2 to %zu", n_context, m->config.n_ctx);

    pgr_perplexity p = {0};
    PGR_TRY(pgr_tokenize(m, text, len, PGR_TOKENS_BOS, &p.tokens, &p.n, err));
    pgr_status s = PGR_OK;
    infer_options o = {.watch = watch ? *watch : (pgr_watch){0}};
    if (p.n < 2) s = fail(err, PGR_E_ARG, "the text has %zu tokens, expected at least 2", p.n);
    if (s == PGR_OK && !(p.logprobs = mem_array(p.n, sizeof *p.logprobs))) s = fail_mem(err);
    if (s == PGR_OK) s = score_windows(e, n_context, &o, &p, err);
    if (s != PGR_OK)
        pgr_perplexity_free(&p);
    else
        *out = p;
    return s;
}

void pgr_perplexity_free(pgr_perplexity *p) {
    mem_free(p->tokens);
    mem_free(p->logprobs);
    *p = (pgr_perplexity){0};
}
