/* server.h - a server from the inside: its parts, its table of routes, its state. Which routes there are is in the
 * files routes_*.c (or in whatever adds them: server_add_routes). */
#ifndef PGR_SERVE_SERVER_H
#define PGR_SERVE_SERVER_H

#include <pthread.h>
#include <stdatomic.h>

#include "pgenrm_serve.h"
#include "serve/access.h"
#include "serve/call.h"
#include "serve/metrics.h"
#include "serve/models.h"
#include "serve/worker.h"

enum {                   /* route.flags, together */
       ROUTE_OPEN = 1,   /* no token is asked for */
       ROUTE_ALWAYS = 2, /* also while the model is loading or the server stops, when others are answered with 503 */
       ROUTE_JUDGES =
           4, /* its texts are judged and not kept: a NUL in one, which a rollout may have, counts as U+FFFD */
       ROUTE_HELD = 8, /* its clients ask again a few times at once and then give up, whatever Retry-After says: where
                        * others are answered with 429 it is held (worker.h) */
};

/* One way to be called. Method and path name it; a path that ends with '/' stands for all that are longer by one
 * part or more (call_rest), and else one slash behind the asked path makes no difference; "/" is itself alone. GET
 * serves HEAD, too.
 * Where one path has several forms, each has a key: the first one whose key the JSON object of the body has is taken,
 * else the one without. */
typedef struct route {
    const char *method, *path; /* static */
    void (*handle)(call *c);   /* in the HTTP thread: nothing slow; answers, or submits a task */
    const char *key;           /* NULL: none */
    unsigned flags;
    void *ctx; /* call_ctx */
} route;

enum { ROUTES_MOST = 96 };

typedef enum server_phase { SERVER_LOADING, SERVER_READY, SERVER_STOPPING } server_phase;

struct listener; /* listener.h */

struct pgr_server {
    pgr_serve_options o; /* its texts are the caller's, until pgr_server_open returns */
    access_list *access;
    metrics *metrics;
    worker *worker;
    struct listener *listener;
    struct judges *judges;    /* from SERVER_READY on; NULL: it has not run */
    struct embed_thread *embed_thread; /* from SERVER_READY on; NULL: the embedder works in the worker's thread */
    pthread_mutex_t handling; /* of `over`; held while a handler runs */
    bool over;                /* it has run: what it was given is the caller's again, and no handler's */
    char *runs;               /* the folder of runs; NULL: none */
    struct audit *audit;      /* NULL: none */
    _Atomic server_phase phase;
    route routes[ROUTES_MOST]; /* (n_route) those of one path beside each other: all before pgr_server_run */
    size_t n_route;
    pgr_serving what; /* read-only from SERVER_READY on */
    models *models;   /* from SERVER_READY on */
};

/* Before pgr_server_run. PGR_E_LIMIT: there are too many. A route for the same method, path and key is our bug. */
pgr_status server_add_routes(pgr_server *s, const route *routes, size_t n, pgr_error *err);

void *call_ctx(const call *c); /* of its route */

/* Texts become tokens in threads that others wait for: all that a prompt is made of is as long as one may be, and not
 * as a body: so many bytes for a context of n_ctx tokens. From SERVER_READY on: of the server's engine. */
enum { TEXT_OF_TOKEN = 16, TEXT_LEAST = 256 << 10 };
size_t text_most(size_t n_ctx);
size_t server_text_most(const pgr_server *s);
/* As many bytes of texts, and one text more, become tokens between two steps of the engine. */
enum { TEXT_AT_ONCE = 64 << 10 };

/* The model is here; else its engine stands behind an address. From SERVER_READY on. */
bool server_has_model(const pgr_server *s);

/* The routes of a path: NULL if none has it, whatever the method. *n: those that it may be, method included; *allow
 * (at least 64 bytes) becomes the value of Allow. *rest: where the path goes on behind a route with a '/'. */
const route *server_find(const pgr_server *s, const char *method, const char *path, size_t *n, char *allow,
                         const char **rest);

/* ---- routes ---- */

pgr_status routes_base_add(pgr_server *s, pgr_error *err);     /* /health, /metrics, /v1/models */
pgr_status routes_personal_add(pgr_server *s, pgr_error *err); /* /v1/personal/ */
pgr_status routes_trainers_add(pgr_server *s, pgr_error *err); /* /get_reward, /score of Personalized-RewardBench */
pgr_status routes_gym_add(pgr_server *s, pgr_error *err);      /* /verify, /compare and the like */
pgr_status routes_gen_add(pgr_server *s, pgr_error *err);      /* /v1/chat/completions, /v1/completions */
pgr_status routes_embed_add(pgr_server *s, pgr_error *err);    /* /v1/embeddings, /pooling, /score, /rerank */
pgr_status routes_model_add(pgr_server *s, pgr_error *err);    /* adapters, tokens */
pgr_status routes_labels_add(pgr_server *s, pgr_error *err);   /* /generative_scoring */
pgr_status routes_classify_add(pgr_server *s, pgr_error *err); /* /classify */
pgr_status routes_openapi_add(pgr_server *s, pgr_error *err);  /* /openapi.json */
pgr_status routes_page_add(pgr_server *s, pgr_error *err);     /* / and the page's files */
pgr_status routes_runs_add(pgr_server *s, pgr_error *err);     /* /v1/runs */

#endif
