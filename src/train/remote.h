/* remote.h - questions to an OpenAI-compatible server (POST /chat/completions): several at once, again after 429, 5xx
 * and cut connections with growing waits, within a budget of tokens, every answer kept on the disk and found there the
 * next time. */
#ifndef PGR_TRAIN_REMOTE_H
#define PGR_TRAIN_REMOTE_H

#include "base/arena.h"
#include "infer/engine.h"
#include "pgenrm_train.h"

typedef struct remote remote;

/* folder: of the answers where o->cache is NULL; made where it is missing. Asks for the model's name where o->model is
 * NULL. */
pgr_status remote_open(const pgr_server *o, const char *folder, remote **out, pgr_error *err);
void remote_close(remote *r); /* NULL is fine */

typedef struct remote_ask {
    const infer_message *messages; /* (n_message) */
    size_t n_message;
    size_t number;      /* asks of the same messages with different numbers have answers of their own */
    size_t max_tokens;
    const char *answer; /* memory of the arena; NULL: none, the budget was used up */
} remote_ask;

/* Asks all of them. An answer that the server refuses to give (a status that no retry helps, or none after all tries)
 * is an error that names the address and the status. */
pgr_status remote_run(remote *r, remote_ask *asks, size_t n, const pgr_watch *watch, arena *a, pgr_error *err);

typedef struct remote_usage {
    size_t asked, cached, refused, retries; /* questions; refused: for want of budget */
    uint64_t tokens;                        /* that the server counted */
} remote_usage;
remote_usage remote_used(const remote *r);

#endif
