/* engine.h - runs many chains at once: computes each distinct prompt (and each shared beginning) once, forks it for its
 * samples, decodes all of them in one batch per step, under grammars, stop texts, a deadline and cancellation. */
#ifndef PGR_INFER_ENGINE_H
#define PGR_INFER_ENGINE_H

#include "infer/grammar.h"
#include "model/model.h"

/* Writes the text of a grammar's hole. chain: the chain's text so far. Called in the engine's thread. */
typedef pgr_status (*infer_fill_fn)(void *ctx, const char *hole, const char *chain, size_t n, buf *out, pgr_error *err);

typedef struct infer_request {
    const int32_t *prompt; /* (n_prompt), n_prompt >= 1 */
    size_t n_prompt;
    size_t n_sample;
    uint64_t seed;         /* random numbers are keyed by (seed, id, first_sample + i, position) */
    uint32_t id, first_sample;
    pgr_sampling sampling;
    size_t max_tokens;     /* of each chain, forced tokens counted */
    bool ignore_eos;
    const char *const *stop; /* (n_stop) */
    size_t n_stop;
    grammar *grammar;      /* NULL: none. A chain ends where the grammar must end */
    const char *trigger;   /* the grammar starts after this text; NULL: at once. It is written for the chain where the
                              model ends its turn without it, and (cut) where it has not come when a quarter of the
                              limit is left, or as much as the grammar needs at least */
    infer_fill_fn fill;    /* needed where the grammar has holes */
    void *fill_ctx;
} infer_request;

typedef struct infer_chain {
    size_t request, sample; /* indices into the requests and their samples */
    buf text;               /* without a stop text */
    ids tokens;             /* EOS not among them */
    float *logprobs;        /* (tokens.n) temperature 1, full vocabulary; NaN for forced tokens unless want_forced */
    size_t cap_logprobs;
    uint8_t *forced;        /* (tokens.n) 1: written by the program or the only continuation */
    pgr_finish finish;
    bool cut;               /* the token limit took choices away */
} infer_chain;

typedef struct infer_usage { /* of one request */
    size_t cached_tokens;    /* prompt tokens not computed because they were known */
    double first_token_s;    /* from the call's start to its first chain's first token; 0: none was written */
} infer_usage;

/* The last chain of a request has ended; its chains are final from here on and stay until the call is over. Called in the
 * engine's thread; it may not call the engine. */
typedef void (*infer_ended_fn)(void *ctx, size_t request, const infer_chain *chains /* (n_sample) */,
                               const infer_usage *usage);

typedef struct infer_options {
    double deadline_s; /* from the call's start; 0: none */
    pgr_watch watch;
    infer_ended_fn ended; /* may be NULL. What it was told holds also where the call fails later */
    void *ended_ctx;
    bool want_forced;  /* log-probabilities of forced tokens too */
} infer_options;

typedef struct infer_output {
    infer_chain *chains; /* (n_chain) by request, then sample */
    size_t n_chain;
    size_t prompt_tokens, cached_tokens, completion_tokens; /* cached: prompt tokens not computed because shared */
    double prefill_s, decode_s, first_token_s;
} infer_output;

/* What is wrong with a request that can be seen before anything is computed: its settings, or more tokens than the model's
 * context has. infer_run checks all of its requests so. */
pgr_status infer_check(const pgr_engine *e, const infer_request *request, pgr_error *err);

/* All chains of all requests, many users' prompts in one batch. On error nothing is handed over. */
pgr_status infer_run(pgr_engine *e, const infer_request *requests, size_t n_request, const infer_options *options,
                     infer_output *out, pgr_error *err);
void infer_output_free(infer_output *out);

/* log p of every token given those before it: out[i] for i >= 1, out[0] is NaN.                    tokens, out: (n) */
pgr_status infer_logprobs(pgr_engine *e, const int32_t *tokens, size_t n, const infer_options *options, float *out,
                          pgr_error *err);

enum { ENGINE_GRAMMARS = 26 }; /* as many as one frame can have: one for each number of responses */

/* The grammar of a text, compiled at most once while the engine keeps it (the last ENGINE_GRAMMARS texts, with the token masks
 * that were found). Belongs to the engine; valid until ENGINE_GRAMMARS other texts were asked for. */
pgr_status engine_grammar(pgr_engine *e, const char *text, size_t n, const char *origin, grammar **out, pgr_error *err);

const pgr_model *engine_model(const pgr_engine *e);

#endif
