/* generate.c - the public calls that only need text: pgr_generate and pgr_perplexity_of. */
#include <math.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "infer/engine.h"

/* What a pgr_generation points into; the public part comes first. */
typedef struct generation {
    pgr_generation public;
    infer_output output;
    pgr_sample *samples;
} generation;

pgr_generate_options pgr_generate_options_default(void) {
    return (pgr_generate_options){.sampling = {.temperature = 1.0f, .top_p = 1.0f}, .n_sample = 1, .max_tokens = 256};
}

/* One user turn, or the text as it is. */
static pgr_status set_prompt(const char *prompt, size_t len, const pgr_generate_options *o, infer_message *turn,
                             infer_request *r, pgr_error *err) {
    if (o->raw) {
        r->text = prompt;
        r->n_text = len;
        r->text_flags = PGR_TOKENS_BOS | (o->parse_special ? PGR_TOKENS_SPECIAL : 0);
        return PGR_OK;
    }
    if (o->parse_special)
        return fail(err, PGR_E_ARG, "control tokens in a prompt need the raw form: the chat template writes its own");
    *turn = (infer_message){"user", prompt, len};
    r->messages = turn;
    r->n_message = 1;
    return PGR_OK;
}

/* Token lists must belong to the caller even where they are empty. */
static pgr_status hand_over(generation *g, double load_s, double start, pgr_error *err) {
    const infer_result *made = g->output.results[0];
    g->samples = mem_zero(made->n_chain, sizeof *g->samples);
    if (!g->samples) return fail_mem(err);
    for (size_t i = 0; i < made->n_chain; i++) {
        const infer_chain *c = &made->chains[i];
        g->samples[i] = (pgr_sample){.text = c->text.data ? c->text.data : "",
                                     .n_text = c->text.n,
                                     .tokens = c->tokens.v,
                                     .logprobs = c->logprobs,
                                     .n_token = c->tokens.n,
                                     .finish = c->finish};
    }
    g->public = (pgr_generation){
        .prompt = made->prompt.v, .n_prompt = made->prompt.n, .samples = g->samples, .n_sample = made->n_chain};
    g->public.timing = (pgr_timing){.load_s = load_s,
                                    .prefill_s = g->output.prefill_s,
                                    .decode_s = g->output.decode_s,
                                    .total_s = clock_now() - start};
    return PGR_OK;
}

static pgr_status generate(pgr_engine *e, const char *prompt, size_t len, const pgr_generate_options *o, generation *g,
                           pgr_error *err) {
    double start = clock_now();
    infer_message turn;
    infer_request r = {.n_sample = o->n_sample,
                       .seed = o->seed,
                       .sampling = o->sampling,
                       .max_tokens = o->max_tokens,
                       .shorten = true,
                       .ignore_eos = o->ignore_eos,
                       .stop = o->stop,
                       .n_stop = o->n_stop,
                       .grammar = o->grammar,
                       .n_grammar = o->grammar ? strlen(o->grammar) : 0,
                       .grammar_name = o->grammar_name,
                       .trigger = o->grammar_trigger,
                       .deadline_s = o->deadline_s,
                       .want_forced = true};
    infer_options io = {.watch = o->watch};
    PGR_TRY(set_prompt(prompt, len, o, &turn, &r, err));
    PGR_TRY(infer_run(e, &r, 1, &io, &g->output, err));
    return hand_over(g, engine_about(e)->load_s, start, err);
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
    size_t most = engine_about(e)->n_ctx;
    if (n_context == 0) n_context = most;
    if (n_context < 2 || n_context > most)
        return fail(err, PGR_E_ARG, "a window of %zu tokens, expected 2 to %zu", n_context, most);

    ids list = {0};
    pgr_status s = engine_tokens(e, text, len, PGR_TOKENS_BOS, &list, err);
    pgr_perplexity p = {.tokens = list.v, .n = list.n};
    infer_options o = {.watch = watch ? *watch : (pgr_watch){0}};
    if (s == PGR_OK && p.n < 2) s = fail(err, PGR_E_ARG, "the text has %zu tokens, expected at least 2", p.n);
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
