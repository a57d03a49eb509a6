/* engine.h - the engine as everyone above it sees it: messages in, chains out. Requests come at any time, each with
 * its own deadline, cancel flag, priority and adapters; every step does one batch step for all that are there; what
 * has ended is taken, and of streams the new tokens. A request fails alone.
 *
 *     infer_ticket ticket;
 *     pgr_status s = engine_submit(e, &request, &ticket, &err);   refused at once: settings, length, grammar
 *     while (engine_step(e))
 *         while (engine_take(e, owner, &event)) ...                ended, with chains or with an error of its own
 *
 * What a chain becomes depends on (model, adapters, prompt, settings, seed, id, sample) and on nothing else, to the
 * bit: not on what else is in the batch, nor on when that came.
 *
 * No model and no tokenizer shows here: an engine may be this machine's (local.c) or stand behind an address. One
 * thread at a time. */
#ifndef PGR_INFER_ENGINE_H
#define PGR_INFER_ENGINE_H

#include "base/buf.h"
#include "base/status.h"

/* ---- what an engine is ------------------------------------------------------------------------------------------- */

enum { /* what an engine can do, bits */
    ENGINE_CHAT = 1,     /* requests of messages */
    ENGINE_GRAMMAR = 2,  /* grammars, with holes and forced continuations */
    ENGINE_LOGPROBS = 4, /* log-probabilities of given tokens: engine_logprobs */
    ENGINE_ADAPTERS = 8, /* adapters of its own for each request */
    ENGINE_PLACES = 16,  /* the distributions at a grammar's places */
    ENGINE_SLOTS = 32,   /* the distributions at slots of a prompt */
};

typedef struct engine_info {
    const char *name;    /* of the model, and where it is if it is elsewhere */
    const char *id;      /* of the model alone */
    size_t n_ctx;        /* tokens of a prompt and its chain */
    size_t n_parameter;  /* 0: not known */
    size_t n_vocab;      /* 0: not known */
    size_t n_at_once;    /* chains that keep it busy */
    pgr_dtype dtype;     /* its arithmetic; PGR_DTYPE_AUTO: not known */
    double load_s;       /* what opening the model took */
    unsigned can;
    const char *adapter; /* path of the last one of pgr_engine_set_loras; NULL: none, or it is not known */
    const char *no_chat; /* why messages cannot be asked; NULL: they can */
    const char *no_slots; /* why slots are not read; NULL: they are */
} engine_info;

const engine_info *engine_about(const pgr_engine *e); /* valid as long as the engine */

/* ---- texts and their tokens -------------------------------------------------------------------------------------- */

typedef struct infer_message {
    const char *role; /* "system", "user", "assistant" */
    const char *text; /* (n) text: what looks like a control token in it is spelled out in ordinary ones */
    size_t n;
} infer_message;

/* Tokens of a text by itself, and of a whole prompt of messages, as the engine will count them. */
pgr_status engine_count(pgr_engine *e, const char *text, size_t n, size_t *out, pgr_error *err);
pgr_status engine_count_messages(pgr_engine *e, const infer_message *messages, size_t n, size_t *out, pgr_error *err);

/* Appends the text's first `keep` tokens, whole characters; all of it where it has no more. */
pgr_status engine_clip(pgr_engine *e, const char *text, size_t n, size_t keep, buf *out, pgr_error *err);

/* Appends the tokens of a text; of a conversation in the model's chat template (begun: with the assistant's turn begun,
 * as requests read it); the text of tokens. flags: PGR_TOKENS_*. In any thread. PGR_E_UNSUPPORTED: the engine is behind
 * an address and the model's tokenizer is not here, or it has no chat template. */
pgr_status engine_tokens(pgr_engine *e, const char *text, size_t n, int flags, ids *out, pgr_error *err);
pgr_status engine_render(pgr_engine *e, const infer_message *messages, size_t n, bool begun, ids *out, pgr_error *err);
pgr_status engine_text(pgr_engine *e, const int32_t *tokens, size_t n, buf *out, pgr_error *err);

/* ---- slots ------------------------------------------------------------------------------------------------------- */

/* A place of a prompt where the model's distribution over given continuations is read. Nothing is written there: the
 * text goes on behind the slot as if nothing stood in it. A slot is a border between tokens: the texts before and
 * behind it are tokenised apart. */
typedef struct infer_slot {
    size_t message; /* that holds it; of a text 0 */
    size_t at;      /* the byte of its text before which it stands; n: at its end */
    const char *const *choices; /* (n_choice) texts, none of which may begin with the tokens of another one */
    size_t n_choice;            /* at least 2 */
} infer_slot;

/* A prompt with slots as tokens, for whoever trains on it: exactly what a request with these slots reads. Tokens behind
 * the last slot change nothing and are left out. */
typedef struct infer_slot_tokens {
    ids tokens;
    size_t *rows;    /* (n_slot) index of the token whose logits are the slot's: the last one before it */
    size_t n_slot;
    ids choices;     /* their tokens, one choice after the other */
    size_t *end;     /* (n_choice) choice k ends before choices.v[end[k]] and begins where the one before it ends */
    size_t n_choice; /* of all slots together */
    size_t *first;   /* (n_slot + 1) slot i has the choices first[i] .. first[i + 1] - 1 */
    bool single;     /* every choice is one token: choice k is choices.v[k] */
} infer_slot_tokens;

/* slots: (n_slot, at least 1) in the order of the prompt. */
pgr_status engine_slots_tokens(pgr_engine *e, const infer_message *messages, size_t n_message, const infer_slot *slots,
                               size_t n_slot, infer_slot_tokens *out, pgr_error *err);
void infer_slot_tokens_free(infer_slot_tokens *t);

/* ---- requests ---------------------------------------------------------------------------------------------------- */

/* Writes the text of a grammar's hole. chain: the chain's text so far. Called in the engine's thread. An error is the
 * request's. */
typedef pgr_status (*infer_fill_fn)(void *ctx, const char *hole, const char *chain, size_t n, buf *out, pgr_error *err);

enum { INFER_TOP = 20, INFER_TELL = 128 };

/* A token that might have stood at a place of a chain. */
typedef struct infer_top {
    int32_t token;
    float logprob; /* temperature 1, full vocabulary, before grammars and cuts */
} infer_top;

typedef struct infer_adapters {
    pgr_lora *const *loras; /* (n) */
    const float *scales;    /* (n) */
    size_t n;               /* 0: the model as it is */
} infer_adapters;

typedef struct infer_request {
    /* The prompt is one of these three. */
    const infer_message *messages; /* (n_message) in the model's chat template, with the assistant's turn begun */
    size_t n_message;
    const char *text; /* (n_text) as it is, by flags of PGR_TOKENS_* */
    size_t n_text;
    int text_flags;
    const int32_t *prompt; /* (n_prompt) tokens, n_prompt >= 1 */
    size_t n_prompt;

    const infer_slot *slots; /* (n_slot) of messages or text, in the prompt's order: n_sample is 0 then, and the result
                              * has a reading of each */
    size_t n_slot;

    size_t n_sample;
    uint64_t seed;         /* random numbers are keyed by (seed, id, first_sample + i, position) */
    uint32_t id, first_sample;
    pgr_sampling sampling;
    size_t max_tokens;     /* of each chain, forced tokens counted */
    bool shorten;          /* max_tokens becomes what the context has room for; else more than that is an error */
    bool ignore_eos;
    const char *const *stop; /* (n_stop) */
    size_t n_stop;

    const char *grammar;      /* (n_grammar) its text (grammar.h); NULL: none. A chain ends where it must end */
    size_t n_grammar;
    const char *grammar_name; /* for messages; NULL: "grammar" */
    const char *trigger;   /* the grammar starts after this text; NULL: at once. It is written for the chain where the
                              model ends its turn without it, and (cut) where it has not come when a quarter of the
                              limit is left, or as much as the grammar needs at least */
    infer_fill_fn fill;    /* needed where the grammar has holes */
    void *fill_ctx;

    double deadline_s;        /* from the submission; 0: none. Chains that have not ended by then are handed over as
                                 they are, with PGR_FINISH_DEADLINE */
    const pgr_cancel *cancel; /* the request ends with PGR_E_CANCELLED in the step after it was set; NULL: none */
    int priority;             /* the highest begins first, then the oldest; what runs is not interrupted */
    const infer_adapters *adapters; /* NULL: those of pgr_engine_set_loras */
    size_t n_top;             /* the likeliest tokens are told beside each one, so many of them: at most INFER_TOP */
    const int32_t *tell;      /* (n_top, at most INFER_TELL) these are told in their place; NULL: the likeliest */
    bool want_forced;         /* log-probabilities of forced tokens too */
    bool want_places;         /* the distributions at the grammar's places ($rule). What is written stays the same */
    bool stream;              /* new tokens are events before the end */
    const void *owner;        /* who takes it: any address */
    void *tag;                /* comes back with it */
} infer_request;

typedef struct infer_choice {
    const char *text; /* what the grammar allows at the place */
    double number;    /* the text as a decimal number, NaN: it is none */
    double logprob;   /* the probabilities of all choices sum to 1 */
} infer_choice;

/* The distribution over the texts that the grammar allows at a place: with what probability sampling at temperature 1,
 * without cuts, would have written each after what the chain says before. Texts of several tokens are followed to
 * their ends, over every way of spelling them. */
typedef struct infer_place {
    size_t from;           /* byte of the chain's text where the place begins */
    infer_choice *choices; /* (n) by number, then text */
    size_t n;
    double rest;           /* probability of beginnings that were too improbable, or too many, to be followed to their
                              ends; it counts for the beginning itself. 0: the distribution is exact */
    char *texts;
} infer_place;

void infer_place_free(infer_place *p);
double infer_place_mean(const infer_place *p); /* of the numbers; NaN where a choice is none */

typedef struct infer_chain {
    size_t sample;          /* index into the request's samples */
    buf text;               /* without a stop text */
    ids tokens;             /* EOS not among them; -1: one that is not known but counted (remote engines) */
    float *logprobs;        /* (tokens.n) temperature 1, full vocabulary; NaN for forced tokens unless want_forced, and
                             * where it is not known */
    size_t cap_logprobs;
    infer_top *tops;        /* (tokens.n, n_top of the request) likeliest first, ties by id, or those of `tell` in its
                               order; token -1 where `logprobs` has NaN, and beyond the vocabulary. NULL: none were
                               wanted */
    uint8_t *forced;        /* (tokens.n) 1: written by the program or the only continuation */
    pgr_finish finish;
    size_t stopped_by;      /* 1: the request's first stop text ended it, and so on; 0: none did, or it is not known */
    char *why;              /* PGR_FINISH_FAILED: what was found; NULL else */
    int32_t end;            /* the token that ended the turn, drawn as the others were; -1: none did */
    float end_logprob;      /* of it, as `logprobs` */
    bool cut;               /* the token limit took choices away */
    infer_place *places;    /* (n_place) in the order of the text, where they were wanted */
    size_t n_place;
} infer_chain;

/* What was read at a slot. A choice of several tokens has the product of their probabilities. */
typedef struct infer_reading {
    double *logprobs; /* (n_choice) of the slot's choices, by number: the probabilities sum to 1. -INFINITY of a remote
                         engine: next to nothing (a server lists the likeliest tokens, and it is not among them) */
    size_t n_choice;
    double mass;      /* probability of all choices together before that */
} infer_reading;

typedef struct infer_usage { /* of one request */
    size_t cached_tokens;    /* prompt tokens not computed because they were known */
    double prompt_s;         /* from the submission until the prompt was read; 0: it never was */
    double first_token_s;    /* until the first chain's first token; 0: none was written */
    double total_s;          /* until the last chain's end */
} infer_usage;

typedef struct infer_result {
    pgr_error error;     /* status PGR_OK, or why there are no chains */
    ids prompt;          /* what was read; -1: a token that is not known but counted */
    infer_chain *chains; /* (n_chain) by sample */
    size_t n_chain;
    infer_reading *readings; /* (n_reading) by slot; none where the deadline came first */
    size_t n_reading;
    infer_usage usage;
} infer_result;

void infer_result_free(infer_result *r); /* NULL is fine */

typedef uint64_t infer_ticket; /* of a submitted request; 0: none */

/* Texts and arrays of the request are copied; fill_ctx, cancel and adapters must live until it is taken or cancelled.
 * On error (the settings, a prompt that is too long, a grammar that does not compile) the engine is as before. */
pgr_status engine_submit(pgr_engine *e, const infer_request *request, infer_ticket *out, pgr_error *err);

/* The request ends at once and nobody is told: its chains stop, its pages are free. An ended or unknown one: nothing
 * happens, or what is not taken yet is dropped. */
void engine_cancel(pgr_engine *e, infer_ticket ticket);

/* One batch step for everything that is there. False: nothing is left to be done, all have ended. */
bool engine_step(pgr_engine *e);

typedef enum infer_event_kind { INFER_PIECE, INFER_ENDED } infer_event_kind;

typedef struct infer_event {
    infer_event_kind kind;
    infer_ticket ticket;
    void *tag;
    infer_result *result; /* INFER_ENDED: the taker's (infer_result_free) */
    /* INFER_PIECE: what is new in a chain; valid until the next call. Text ends at a character and holds back what
     * may become a stop text; all pieces together are the chain's text and tokens. */
    size_t sample;
    const char *text; /* (n_text) */
    size_t n_text;
    const int32_t *tokens; /* (n_token) */
    const float *logprobs; /* (n_token) */
    const infer_top *tops; /* (n_token, n_top of the request) NULL: none were wanted */
    size_t n_token;
} infer_event;

/* The next thing that happened to the owner's requests, oldest first (NULL: to anyone's). False: nothing more. */
bool engine_take(pgr_engine *e, const void *owner, infer_event *out);

typedef struct engine_load {
    size_t n_request;          /* that have not ended */
    size_t n_running, n_waiting; /* chains */
    uint64_t n_to_read, n_to_write; /* since the engine was created: tokens of all prompts, of all chains at most */
    uint64_t n_read, n_written;     /* and those that were (known ones too) */
} engine_load;

engine_load engine_state(const pgr_engine *e);

/* ---- closed batches and given text ------------------------------------------------------------------------------- */

typedef struct infer_options {
    pgr_watch watch;
    /* of infer_logprobs: */
    const infer_adapters *adapters; /* NULL: those of pgr_engine_set_loras */
    infer_top *tops;                /* (n, n_top) the caller's: the likeliest tokens in each one's place, as a chain's;
                                       of the first one token -1. NULL: none are wanted */
    size_t n_top;                   /* at most INFER_TOP */
} infer_options;

typedef struct infer_output {
    infer_result **results; /* (n_result) by request */
    size_t n_result;
    infer_chain *chains; /* (n_chain) those of all results, by request, then sample; what they hold is the results' */
    size_t n_chain;
    size_t prompt_tokens, cached_tokens, completion_tokens; /* cached: prompt tokens not computed because shared */
    double prefill_s, decode_s, first_token_s; /* prefill: until the last prompt was read */
} infer_output;

/* Submits all requests, steps until they have ended, and takes them. The first error ends it: nothing is handed over
 * then. The requests' owner and tag are the call's. options may be NULL. */
pgr_status infer_run(pgr_engine *e, const infer_request *requests, size_t n_request, const infer_options *options,
                     infer_output *out, pgr_error *err);
void infer_output_free(infer_output *out);

/* log p of every token given those before it: out[i] for i >= 1, out[0] is NaN. Done at once, whatever else waits.
 *                                                                                                  tokens, out: (n) */
pgr_status infer_logprobs(pgr_engine *e, const int32_t *tokens, size_t n, const infer_options *options, float *out,
                          pgr_error *err);

#endif
