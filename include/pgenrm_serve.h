/* pgenrm_serve.h - the HTTP server: one port, one engine, all connections in one batch. Its routes: docs/serve.md.
 *
 * It listens before the model is opened, so that /health can say that it is loading:
 *
 *     pgr_error err;
 *     pgr_cancel stop = 1;              // 0 and a signal handler that sets it: this one answers what is there and ends
 *     pgr_serve_options so = pgr_serve_options_default();
 *     pgr_model_options mo = pgr_model_options_default();
 *     pgr_server *server = NULL;
 *     pgr_serving what = {0};
 *     so.listen = "127.0.0.1:0";
 *     if (pgr_server_open(&so, &server, &err) == PGR_OK
 *         && pgr_model_open("model.gguf", &mo, &what.model, &err) == PGR_OK
 *         && pgr_engine_create(what.model, NULL, &what.engine, &err) == PGR_OK
 *         && pgr_server_run(server, &what, &stop, &err) == PGR_OK)
 *         printf("served\n");
 *     pgr_server_close(server);
 *     pgr_engine_free(what.engine);
 *     pgr_model_close(what.model);
 */
#ifndef PGENRM_SERVE_H
#define PGENRM_SERVE_H

#include "pgenrm.h"

#ifdef __cplusplus
extern "C" {
#endif

#pragma GCC visibility push(default) /* the library is compiled with hidden visibility */

typedef struct pgr_serve_options {
    const char *listen;     /* "ADDRESS:PORT"; port 0: any free one. An address that is not loopback needs token_file */
    const char *token_file; /* one `TOKEN [SCOPE]` per line; NULL: everyone who can connect may ask */
    const char *audit_file; /* a line of JSON per request, appended; "-": standard error; NULL: none */
    const char *runs;       /* a folder: what bench and train wrote below it is shown on the page; NULL: nothing is */
    size_t max_queue;       /* requests that wait or run at a time; more are answered with 429 */
    size_t max_held;        /* trainers' requests beyond it, which are held until there is room; 0: none */
    size_t max_held_bytes;  /* of their bodies */
    size_t max_connections;
    size_t max_body;        /* bytes of a request's body */
    double read_s;          /* a request's head and body must have come after this, and its answer be read */
    double deadline_s;      /* of a request that names none: what is there by then is the answer */
    double drain_s;         /* what runs when the server is stopped may end within this */
} pgr_serve_options;

/* 127.0.0.1:8300, 1024 requests, 2048 held of 64 MiB, 4096 connections, 16 MiB, 30 s, 10 s, 30 s */
pgr_serve_options pgr_serve_options_default(void);

typedef struct pgr_server pgr_server;

/* Listens and answers: until pgr_server_run with 503, but for /health, which says that the model is loading.
 * errors: an address that is taken or may not be used, a file of tokens that cannot be read. */
pgr_status pgr_server_open(const pgr_serve_options *options, pgr_server **out, pgr_error *err);
int pgr_server_port(const pgr_server *server);

typedef struct pgr_serving { /* all of them the caller's, until pgr_server_run returns */
    pgr_model *model;        /* NULL: the engine is pgr_engine_connect's; what that has not is answered with 501 */
    pgr_engine *engine;      /* on it, with its adapters (pgr_engine_set_loras) */
    bool judges_only;        /* the engine's adapters are for judging: chats and completions are written without them */
    const char *name;        /* in answers; NULL: the model's own */
    const char *store;       /* the users' store, made where it is not there; NULL: users are the requests' own */
    pgr_people *people;      /* who is similar; NULL: requests with pro > 0 are refused */
    const char *protos;      /* file of /v1/personal/map; NULL: there is none */
    const pgr_judge_options *judge; /* of requests that say nothing, but for people and deadline_s; NULL: the default */
    pgr_embedder *embedder;  /* NULL: /v1/embeddings is refused */
    bool embedder_away;      /* it stands behind an address: it is asked in a thread of its own */
} pgr_serving;

/* Answers requests with what it is given; the thread that calls owns the engine until it returns, which is when *cancel
 * was set and what ran has ended (drain_s). Once per server. */
pgr_status pgr_server_run(pgr_server *server, const pgr_serving *what, const pgr_cancel *cancel, pgr_error *err);

/* Ends all connections, those that still wait with 503. NULL is fine. */
void pgr_server_close(pgr_server *server);

/* What bench and train wrote below the folder, or in it, as one file that is looked at without a server:
 * SITE/index.html (docs/page.md); the folder SITE is made where it is not there. *n (may be NULL): runs. PGR_E_ARG:
 * there is none. */
pgr_status pgr_report_write(const char *folder, const char *site, size_t *n, pgr_error *err);

/* What trainers send of one sample, prompt and answer in one text, as a request has it: one JSON object {"messages":
 * [turns, the last one the user's], "response": "the answer"} without line breaks; it is what /get_reward makes of it
 * (docs/rewards.md).
 *     prompt  with the marks of a chat template, which is told by them, or plain text, which is one turn; NULL or "":
 *             the query is a whole conversation
 *     query   the prompt, whose beginning may have been cut off, and the answer; marks that end a turn do not count
 * *json is the caller's (pgr_free). */
pgr_status pgr_rollout_read(const char *prompt, const char *query, char **json, pgr_error *err);

#pragma GCC visibility pop

#ifdef __cplusplus
}
#endif

#endif
