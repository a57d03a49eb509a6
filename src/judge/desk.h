/* desk.h - the open judge: requests are asked at any time, each with its own settings, deadline, cancel flag, priority
 * and scope; what is settled is taken. Whoever owns the engine steps it, so that the chains of a desk share batches
 * with whatever else is asked of that engine. An ask fails alone.
 *
 *     desk_submit(d, &ask, &ticket, &err);               refused at once: settings out of range
 *     while (desk_pump(d)) {                             takes over what has ended, lets begin what there is room for
 *         while (desk_take(d, &verdict)) ...             settled: with a result or an error of its own
 *         engine_step(e);
 *     }
 *
 * A result depends on (model, adapters, request, settings, source) and on nothing else, to the bit, but for
 * cached_tokens and the times: not on what else is asked, nor on when that came. pgr_judge_many is this loop
 * (judge.c).
 *
 * Prototypes of analyses place a request by a chain that is written about it first (docs/method.md): an ask that wants
 * similar users then begins with that chain, and goes on when it has ended. threads: the engine's. */
#ifndef PGR_JUDGE_DESK_H
#define PGR_JUDGE_DESK_H

#include "infer/engine.h"
#include "judge/judge.h"

typedef struct desk desk;
typedef uint64_t desk_ticket; /* of an ask; 0: none */

/* What is known of an ask while it is at work. None of it is a verdict: the chains of a request disagree. */
typedef enum desk_news_kind {
    DESK_ASKED,   /* so many more chains (of a frame with slots: readings) were asked of the engine */
    DESK_PIECE,   /* a chain goes on with `text` */
    DESK_CHAIN,   /* a chain has ended and was read */
    DESK_READING, /* the slots of a prompt were read */
} desk_news_kind;

typedef struct desk_news { /* all of it valid during the call alone */
    desk_news_kind kind;
    size_t n;            /* DESK_ASKED */
    const char *user;    /* the similar user whose history the prompt shows; NULL: it is the own one, or shows none */
    size_t number;       /* of a chain, as `seed` of pgr_chain_sample */
    const size_t *order; /* (n_response) order[i]: the response at place i */
    size_t n_response;
    const char *text;    /* (n_text) DESK_PIECE: all pieces of a chain together are its text */
    size_t n_text;
    bool parsed;         /* DESK_CHAIN */
    const char *reason;  /* why not; NULL: it is */
    bool taste;          /* DESK_READING of the history; else of the responses */
    const double *values; /* of a taste (N_TASTE, slots.h) probabilities of its words; else (n_response) by place: mean
                           * digits, or a chain's scores. NULL: there are none */
} desk_news;

typedef struct desk_ask { /* what it points to, and what its options point to, lives until it is taken or cancelled */
    const pgr_request *request;
    const pgr_judge_options *options; /* copied; NULL: the desk's. deadline_s counts from the submission; frame and
                                       * slots are the desk's; judged and watch.progress are not called */
    const judge_source *source;       /* who is similar; NULL: options->people */
    const char *scope; /* of options->people: users whose id begins with it, the others might as well not be there.
                        * NULL or "": everybody */
    int priority;      /* the highest begins first, then the oldest */
    void *tag;         /* comes back with the verdict */
    void (*news)(void *ctx, const desk_news *n); /* called by desk_pump, and must not call the desk. NULL: nobody
                                                  * listens */
    void *news_ctx;
} desk_ask;

typedef struct desk_verdict {
    desk_ticket ticket;
    void *tag;
    pgr_result *result; /* the taker's (pgr_result_free); NULL: the error says why there is none */
    pgr_error error;
} desk_verdict;

typedef struct desk_load { /* asks */
    size_t n_waiting, n_at_work, n_settled;
    double waited_s; /* of the oldest that waits */
} desk_load;

/* A desk for the engine with the adapters that it has now. options: frame and slots of all asks, and what counts for
 * those that bring none; NULL: the default. at_once: asks that are at work together at most; 0: as many as keep the
 * engine busy. The engine must outlive the desk. */
pgr_status desk_open(pgr_engine *engine, const pgr_judge_options *options, size_t at_once, desk **out, pgr_error *err);
void desk_close(desk *d); /* cancels what is there; NULL is fine */

/* What is wrong with the request itself is its verdict. */
pgr_status desk_submit(desk *d, const desk_ask *ask, desk_ticket *out, pgr_error *err);

/* The ask ends at once and nobody is told: its chains stop. An unknown ticket: nothing happens. */
void desk_cancel(desk *d, desk_ticket ticket);

/* Takes over what has ended and lets waiting asks begin. One whose deadline has passed has a result of the chains that
 * had ended by then; with none of them its scores are null and say so. False: none waits, none is at work. */
bool desk_pump(desk *d);

/* The next settled ask, oldest first. False: nothing more. */
bool desk_take(desk *d, desk_verdict *out);

desk_load desk_state(const desk *d);

/* The tag of the first ask in line, of those that wait, which `pick` takes; ahead: how many begin before it. NULL: it
 * takes none. pick must not call the desk. */
void *desk_find(const desk *d, bool (*pick)(void *ctx, void *tag, size_t ahead), void *ctx);

#endif
