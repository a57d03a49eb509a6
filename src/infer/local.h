/* local.h - the engine on this machine from the inside (private to src/infer): jobs (requests from their submission
 * to their end) in a queue, slots (chains that run), passes (rows of both through the model).
 *
 * A job waits in the queue. When it is the first with chains to begin and a slot is free, its prompt is read, one
 * chunk per step beside the running chains; then its chains take slots, start from the prompt's pages and its last
 * logits, and leave their slots when they are done. What a chain becomes does not depend on who is beside it: the
 * forward pass is row-independent and random numbers are keyed by (seed, id, sample, position). */
#ifndef PGR_INFER_LOCAL_H
#define PGR_INFER_LOCAL_H

#include "infer/adapters.h"
#include "infer/engine_ops.h"
#include "infer/grammars.h"
#include "infer/place.h"
#include "infer/prefix.h"
#include "infer/writer.h"
#include "model/forward.h"

enum {
    MAX_SLOT = 64, /* chains decoded together */
    MAX_WANT = 64, /* rows of logits of one forward pass */
    SPARE_TOKENS = 2 * KV_PAGE, /* a branch has fewer tokens than a page, and a copy of the chain's last one */
    CACHE_AT_WORK = 512 << 20, /* bytes that prompts may have in the cache while something runs: 22,000 tokens of the
                                  default model in bf16 */
};

typedef struct told { /* of a chain, in pieces */
    size_t text, tokens;
} told;

typedef struct job job;
struct job {
    job *before, *after; /* in the queue, or in the list of ended ones */
    infer_ticket ticket;
    infer_request r; /* its texts are copies in the arena */
    arena arena;
    grammar *grammar; /* NULL: none */
    adapter_set *set;
    infer_result *result; /* until it is taken */
    told *told;           /* (n_sample) NULL: no stream */
    double start;
    infer_slot_tokens *slots; /* of a prompt that is read for its slots; NULL: it is not */
    /* until the end */
    kv_seq seq;      /* of the prompt */
    float *logits;   /* (n_vocab) of its last token */
    bool reading;    /* the prompt was begun: seq has its pages */
    bool ready;      /* and read: logits are there */
    size_t n_begun;  /* chains */
    size_t n_open;   /* chains that have not ended */
    size_t n_slot;   /* of the prompt whose logits have been seen */
    kv_seq spare;    /* of a prompt with slots: pages for the longest of its choices */
};

typedef struct job_list {
    job *first, *last;
} job_list;

typedef struct slot {
    job *job; /* NULL: free */
    writer writer;
    kv_seq seq;
    kv_seq spare; /* SPARE_TOKENS for a branch of a place, so that it never has to wait for others; else nothing */
    size_t n_fed; /* tokens of the chain whose K and V are stored */
} slot;

typedef struct local {
    pgr_engine base;
    const pgr_model *m;
    pgr_engine_options o;
    engine_info info;
    forward_state *forward;
    kv_cache kv;
    prefix_tree *prefix; /* of prompts: of those that are here, and of earlier ones as far as o.cache_bytes allows */
    adapter_sets *sets;
    adapter_set *usual; /* of requests that name none */
    grammar_cache grammars;
    writer_shared shared;
    float *logits;      /* (MAX_WANT, n_vocab) */
    sampler_row *picks; /* (n_pick) */
    size_t n_pick;
    forward_row *rows; /* (n_row) */
    size_t n_row;      /* of a pass: a whole chunk of a prompt, n_batch rows, and every chain's next token beside it */
    slot slots[MAX_SLOT];
    job_list queue; /* by priority, then age */
    job_list ended; /* by time */
    job *reading;   /* whose prompt this step reads; NULL: none */
    infer_ticket last_ticket;
    engine_load load;
} local;

/* ---- local_text.c: prompts and texts as tokens ---- */

pgr_status local_count(pgr_engine *e, const char *text, size_t n, size_t *out, pgr_error *err);
pgr_status local_render(pgr_engine *e, const infer_message *messages, size_t n, bool begun, ids *out, pgr_error *err);
pgr_status local_count_messages(pgr_engine *e, const infer_message *messages, size_t n, size_t *out, pgr_error *err);
pgr_status local_clip(pgr_engine *e, const char *text, size_t n, size_t keep, buf *out, pgr_error *err);
pgr_status local_tokens(pgr_engine *e, const char *text, size_t n, int flags, ids *out, pgr_error *err);
pgr_status local_text(pgr_engine *e, const int32_t *tokens, size_t n, buf *out, pgr_error *err);
pgr_status local_slot_tokens(pgr_engine *e, const infer_message *messages, size_t n_message, const infer_slot *slots,
                             size_t n_slot, infer_slot_tokens *out, pgr_error *err);
/* Appends the tokens of a request's prompt, whichever form it has; with slots those up to the last one, and *slots
 * (NULL without) is a new one without tokens of its own. */
pgr_status prompt_tokens(local *l, const infer_request *r, ids *out, infer_slot_tokens **slots, pgr_error *err);

/* ---- job.c: one request ---- */

/* Checks and copies the request; in no list yet. */
pgr_status job_create(local *l, const infer_request *r, job **out, pgr_error *err);
void job_free(local *l, job *j); /* NULL is fine; it must have no slot */
/* The prompt's pages and logits. */
void job_release_prompt(local *l, job *j);

/* ---- queue.c: the lists, and who is still to be served ---- */

pgr_status local_submit(pgr_engine *e, const infer_request *request, infer_ticket *out, pgr_error *err);
void local_cancel(pgr_engine *e, infer_ticket ticket);
bool local_take(pgr_engine *e, const void *owner, infer_event *out);
/* Ends what is cancelled or late. */
void queue_look(local *l);
/* The job ends, with its chains as they are or (why, not NULL) with an error in their place: its slots and pages are
 * free, it waits to be taken. */
void job_end(local *l, job *j, const pgr_error *why);
void queue_clear(local *l);

/* ---- pieces.c: what streams have not told yet ---- */

/* False: there is nothing new. */
bool piece_next(job *j, infer_event *out);

/* ---- pages.c: room in the cache ---- */

/* Room for n more tokens; what earlier prompts left in the cache makes way. */
pgr_status pages_reserve(local *l, kv_seq *seq, size_t n, pgr_error *err);
/* The same for a job that begins something; where chains run, it waits for theirs (*waits; seq is as before, perhaps
 * longer in pages), and where none do, prompts of other jobs that wait make way, too. */
pgr_status pages_begin(local *l, const job *j, kv_seq *seq, size_t n, bool *waits, pgr_error *err);
void pages_trim(local *l);

/* ---- prompts.c: reading prompts ---- */

/* Pages for the prompt, from its longest known beginning. *waits: there are none yet, nothing is taken */
pgr_status prompt_begin(local *l, job *j, bool *waits, pgr_error *err);
/* Its next rows, at most `room`, of which at most *n_want want logits; returns how many, and in *n_want how many want
 * them. */
size_t prompt_rows(local *l, const job *j, forward_row *rows, uint32_t seq, size_t room, size_t *n_want);
/* After their pass. logits: of those that wanted them. A prompt with slots that is complete ends its job. */
pgr_status prompt_took(local *l, job *j, const float *logits, pgr_error *err);

/* ---- prompt_slots.c: what is read at a prompt's slots ---- */

/* Readings without numbers. */
pgr_status slots_begin(job *j, pgr_error *err);
bool slots_want(const job *j, size_t token); /* the logits behind this token of the prompt */
/* The logits of the prompt's tokens so far, from the first one that had not been seen. */
pgr_status slots_see(local *l, job *j, const float *logits, pgr_error *err);
/* The whole prompt has been read: the rest of choices of several tokens, then distributions. Uses l->logits. */
pgr_status slots_settle(local *l, job *j, pgr_error *err);

/* ---- slots.c: chains that run ---- */

bool slots_used(const local *l);
/* Gives free slots to the chains that are next; l->reading becomes the first job whose prompt must be read before. */
void slots_fill(local *l);
/* Logits after the last of the chain's fed tokens: settles what was waiting for them, or goes on writing. */
pgr_status slot_advance(local *l, slot *s, const sampler_row *row, pgr_error *err);
bool slot_fed(const slot *s);        /* no more of the chain's own tokens are wanted of the model */
bool slot_idle(const slot *s);       /* nor any branch of a place */
void slot_end(local *l, slot *s);    /* the chain has ended; with it perhaps the job */
void slot_close(local *l, slot *s);  /* its pages are free */

/* ---- branches.c: rows of places ---- */

typedef struct branch_row {
    size_t slot;
    place *place;
    kv_seq seq; /* for the pass */
} branch_row;

typedef struct branch_rows { /* of one pass */
    branch_row list[MAX_WANT];
    size_t n;
    job *failed; /* could not add what it wants; NULL: none */
    pgr_error error;
} branch_rows;

/* Adds rows for the branches of slot `at`, sequences n_seq and so on, behind *n_row others, n_want branches at most.
 * False: there is no room for all. */
bool branches_add(local *l, branch_rows *b, size_t at, size_t n_seq, size_t *n_row, size_t n_want);
/* After the pass, before anything else takes pages. */
void branches_release(local *l, branch_rows *b);
/* logits: (n, n_vocab) of the branches */
void branches_take(local *l, branch_rows *b, const float *logits);

/* ---- step.c: passes ---- */

bool local_step(pgr_engine *e);

/* ---- picks.c: rows of logits made ready, in parallel ---- */

pgr_status picks_reserve(local *l, size_t n, pgr_error *err);
void picks_prepare(local *l, size_t n, const float *temperature);

/* ---- given.c: log-probabilities of given tokens ---- */

pgr_status local_logprobs(pgr_engine *e, const int32_t *tokens, size_t n, const infer_options *options, float *out,
                          pgr_error *err);

#endif
