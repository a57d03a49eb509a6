/* remote.h - the engine behind an address from the inside (private to src/infer): tasks (requests from their submission
 * to their end), each with asks (HTTP requests, each for some of its samples), and what is known of the servers. All
 * addresses are one service: the same model behind each. */
#ifndef PGR_INFER_REMOTE_H
#define PGR_INFER_REMOTE_H

#include "base/arena.h"
#include "base/json.h"
#include "infer/answer.h"
#include "infer/engine_ops.h"
#include "infer/grammars.h"
#include "infer/slot_answer.h"
#include "infer/slot_tokens.h"
#include "model/checkpoint.h"
#include "net/client.h"

typedef enum server_kind { SERVER_PLAIN, SERVER_VLLM, SERVER_SGLANG, SERVER_LLAMA, SERVER_LLAMA_PY,
                           SERVER_PGENRM } server_kind;

typedef enum grammar_form { /* the member of a request that holds a grammar */
                            FORM_NONE,
                            FORM_GRAMMAR,    /* "grammar": llama.cpp, llama-cpp-python */
                            FORM_STRUCTURED, /* "structured_outputs": {"grammar"}: vLLM */
                            FORM_GUIDED,     /* "guided_grammar": vLLM before 0.11 */
                            FORM_EBNF,       /* "ebnf": SGLang */
} grammar_form;

typedef enum slot_form { /* how slots are read: */
                         SLOTS_NONE,
                         SLOTS_BY_ID,  /* "logprob_token_ids": vLLM, pgenrm */
                         SLOTS_BY_TOP, /* as far as the choices are among the likeliest tokens */
} slot_form;

typedef enum token_source { TOKENS_ESTIMATED, TOKENS_SERVER, TOKENS_LOCAL } token_source;

enum {
    N_KNOWN = 1024, /* counts of texts that are remembered */
    TOP_ASKED = 20, /* log-probabilities of a place: what OpenAI and vLLM give at most */
    STEP_WAIT = 20, /* milliseconds that a step waits for bytes */
};

typedef struct known_count {
    uint64_t hash; /* of the text; 0: free */
    size_t n;
} known_count;

typedef struct offers { /* what servers take; found out by asking, and taken back where it is refused later on */
    grammar_form form;
    bool many;  /* `n` */
    bool seeds;
    size_t top; /* top_logprobs, 0: none */
} offers;

typedef struct ask ask;
typedef struct task task;

struct ask {
    task *task;
    ask *before, *after;
    net_job net;
    buf body;
    size_t *samples; /* (n) indices into the task's */
    size_t n;
    uint64_t reserved; /* tokens of the budget, while it is asked */
    offers with;       /* as it was sent */
    bool sent;
};

struct task {
    task *before, *after; /* in the queue, or in the list of ended ones */
    infer_ticket ticket;
    infer_request r; /* its texts are copies in the arena */
    arena arena;
    grammar *grammar;     /* NULL: none */
    slot_plan slots;      /* t.n_slot 0: it writes chains */
    size_t n;             /* samples; of slots 1, as all readings come together */
    buf spoken;           /* the grammar as the server wants it; empty: it is not asked for */
    infer_result *result; /* until it is taken */
    bool *has;            /* (n) the chain has ended; the readings are there */
    bool *told;           /* (n_sample) of streams: it was handed over; NULL: no stream */
    ask *asks;            /* that have not ended */
    size_t n_prompt;      /* tokens of the prompt, as counted before */
    double start;
    pgr_error why; /* of the last chain that failed */
};

typedef struct task_list {
    task *first, *last;
} task_list;

typedef struct remote {
    pgr_engine base;
    pgr_remote_options o;
    engine_info info;
    net_client *net;
    char *model, *name; /* as the server says; with the address, for people */
    const char *at;     /* the first address, for messages */
    server_kind kind;
    offers offers;
    slot_form slot_form;
    char *no_slots; /* why SLOTS_NONE */
    token_source tokens;
    const char *tokenize, *detokenize; /* paths, of TOKENS_SERVER */
    size_t n_around;                   /* tokens that the server's tokenizer puts around a text */
    double count_again;                /* by clock_now(): until then counts are estimated (o.count_s) */
    bool has_files;
    checkpoint files; /* of o.tokenizer */
    known_count known[N_KNOWN];
    grammar_cache grammars;
    task_list queue, ended;
    infer_ticket last_ticket;
    engine_load load;
    uint64_t spent, reserved; /* tokens of the budget */
} remote;

/* ---- remote_look.c: what the servers are ---- */
pgr_status remote_look(remote *r, pgr_error *err);
extern const char *const REMOTE_FEATURES[]; /* words of a refusal that name what can be left out */
/* What an error's text names is not asked for any more; false: it names nothing that was asked for. */
bool remote_without(remote *r, const char *text, size_t n);

/* ---- remote_grammar.c ---- */
/* Appends the grammar as servers take it: no places, holes empty, `trigger` (NULL: none) behind any text. *out empty:
 * there is no such form of it. */
pgr_status remote_grammar_speak(const char *text, size_t n, const char *trigger, buf *out, pgr_error *err);

typedef struct grammar_place_at {
    size_t raw, at; /* byte of the server's text, of the chain's */
    int state;      /* of the grammar, before it */
    uint32_t place;
} grammar_place_at;

typedef struct grammar_reading { /* a text as the grammar reads it */
    bool fits;                   /* so far as it goes */
    bool whole;                  /* and it may end there */
    size_t bad;                  /* !fits: the byte that may not come */
    buf text;                    /* holes filled, forced ends added */
    grammar_place_at *places;    /* (n_place) memory of the arena */
    size_t n_place, cap_place;
} grammar_reading;

/* loose: the server was not held to the grammar, and what it wrote in place of a last hole does not count. */
pgr_status remote_grammar_read(task *t, const char *text, size_t n, bool loose, arena *a, grammar_reading *out,
                               pgr_error *err);

/* ---- remote_place.c ---- */
/* The distribution at a place, from the tokens of the choice; *has: it is known. */
pgr_status remote_place(grammar *g, const grammar_place_at *p, const answer_choice *c, infer_place *out, bool *has,
                        pgr_error *err);

/* ---- remote_slots.c ---- */
pgr_status remote_find_slots(remote *r, pgr_error *err);               /* slot_form, or no_slots */
void remote_slots_put(const remote *r, const slot_plan *plan, buf *b); /* members of a request */
pgr_status remote_take_readings(remote *r, ask *a, pgr_error *err);    /* an error: the answer is of no use */

/* ---- remote_text.c: counts ---- */
pgr_status remote_find_tokens(remote *r, pgr_error *err);
pgr_status remote_tokens_agree(remote *r, pgr_error *err); /* the server's are those of the files; else an error */
void remote_begin_body(const remote *r, buf *b);           /* {"model": ... */
size_t remote_estimate(const char *text, size_t n); /* tokens, rather more than fewer */
pgr_status remote_count(pgr_engine *e, const char *text, size_t n, size_t *out, pgr_error *err);
pgr_status remote_count_messages(pgr_engine *e, const infer_message *messages, size_t n, size_t *out, pgr_error *err);
pgr_status remote_clip(pgr_engine *e, const char *text, size_t n, size_t keep, buf *out, pgr_error *err);

/* ---- remote_ask.c: HTTP requests ---- */
void remote_put_sampling(const remote *r, const pgr_sampling *s, buf *out); /* members of a request */
pgr_status remote_body(const remote *r, const task *t, const ask *a, buf *out, pgr_error *err);
/* The chains of an answer; what is missing is asked for again. An error: the answer is of no use. */
pgr_status remote_take_answer(remote *r, ask *a, pgr_error *err);
void remote_fail_samples(task *t, const ask *a, const pgr_error *why);

/* ---- remote_queue.c ---- */
pgr_status remote_submit(pgr_engine *e, const infer_request *request, infer_ticket *out, pgr_error *err);
void remote_cancel(pgr_engine *e, infer_ticket ticket);
bool remote_step(pgr_engine *e);
bool remote_take(pgr_engine *e, const void *owner, infer_event *out);
void remote_clear(remote *r); /* nothing is left */
pgr_status remote_add_ask(task *t, const size_t *samples, size_t n, pgr_error *err);

#endif
