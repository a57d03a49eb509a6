/* cmd_serve.c - `pgenrm serve`: the HTTP server. It listens first, then opens the model, then answers until it is
 * stopped. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "commands.h"
#include "judge_args.h"
#include "message.h"
#include "pgenrm_serve.h"
#include "scalar_args.h"
#include "session.h"

static const double COUNT_S = 2; /* nobody waits longer for the tokens of a text that other servers count */

typedef struct serve_run {
    common_options common;
    pgr_serve_options o;
    const char *embeddings, *name;
    scalar_args scalar;
    judge_args judge; /* its shipped: the adapter that comes with the model, for judging */
    char *store;      /* path; NULL: there is none */
} serve_run;

static const option_row OPTIONS[] = {
    {0, "listen", "ADDR:PORT",
     "where to listen; port 0 is any free one, an address that is not loopback needs "
     "--token-file (default: 127.0.0.1:8300)",
     OPTION_AT(serve_run, o.listen)},
    {0, "token-file", "FILE", "one TOKEN [SCOPE] per line; SCOPE: what the ids of the users it reaches begin with",
     OPTION_AT(serve_run, o.token_file)},
    {0, "audit", "FILE", "append a line of JSON per request, without its texts; - is standard error",
     OPTION_AT(serve_run, o.audit_file)},
    {0, "name", "NAME", "what the model is called in answers (default: its own name)", OPTION_AT(serve_run, name)},
    {0, "store", "FILE",
     "users whom requests name by id, feedback is kept in and similar ones come from; made where it is not there "
     "(default: none)",
     OPTION_AT(serve_run, judge.store_name)},
    {0, "prototypes", "FILE",
     "of `proto build`: who is similar (default: the store's name with .protos, if it is there)",
     OPTION_AT(serve_run, judge.prototypes)},
    {0, "embedder", "NAME", "for similar users (default: what the prototypes need)",
     OPTION_AT(serve_run, judge.embedder_name), .address = ADDRESS_MAY},
    {0, "calibration", "FILE", "how probabilities become those of people's choices (docs/scores.md)",
     OPTION_AT(serve_run, judge.calibration)},
    {0, "frame", "NAME|FILE", "prompt frame of judging (default: by the model's size)",
     OPTION_AT(serve_run, judge.o.frame)},
    {0, "embeddings", "NAME", "answer /v1/embeddings with this embedder; \"default\" is the default one",
     OPTION_AT(serve_run, embeddings), .address = ADDRESS_MAY},
    {0, "runs", "DIR", "show on the page what bench and train wrote below this folder (default: nothing)",
     OPTION_AT(serve_run, o.runs)},
    SCALAR_OPTION(
        serve_run, scalar, "MODEL[:WEIGHT]",
        "a reward model with a score head: answers /classify, is shown beside verdicts and with a weight mixed "
        "in (docs/scalar.md)"),
    {0, "max-queue", "N", "requests that wait or run at a time; more get 429 (default: 1024)",
     OPTION_AT(serve_run, o.max_queue), .lo = 1, .hi = 1 << 20},
    {0, "max-held", "N",
     "trainers' requests beyond --max-queue that are held until there is room; more get 429 (default: 2048)",
     OPTION_AT(serve_run, o.max_held), .lo = 0, .hi = 1 << 20},
    {0, "max-held-bytes", "BYTES", "of their bodies together (default: 67108864)",
     OPTION_AT(serve_run, o.max_held_bytes), .lo = 0, .hi = 1L << 40},
    {0, "max-connections", "N", "open connections (default: 4096)", OPTION_AT(serve_run, o.max_connections), .lo = 1,
     .hi = 1 << 20},
    {0, "max-body", "BYTES", "of a request (default: 16777216)", OPTION_AT(serve_run, o.max_body), .lo = 1,
     .hi = 1 << 30},
    {0, "read-timeout", "S", "a request must have come, and its answer be read, within this (default: 30)",
     OPTION_AT(serve_run, o.read_s), .lo = 0.1, .hi = 86400},
    {0, "deadline", "S", "what is there by then answers a request that names no deadline_s (default: 10)",
     OPTION_AT(serve_run, o.deadline_s), .lo = 0.001, .hi = 86400},
    {0, "drain", "S", "what runs when the server is stopped may end within this (default: 30)",
     OPTION_AT(serve_run, o.drain_s), .lo = 0, .hi = 86400},
    {0},
};

/* ---- signals: the first stops the server, the second ends the program ---- */

static void on_signal(int number) {
    (void)number;
    if (interrupted) _exit(EXIT_INTERRUPTED);
    interrupted = 1;
}

static void catch_stops(void) {
    struct sigaction action = {.sa_handler = on_signal};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

/* ---- the command ---- */

/* Of /v1/embeddings, where it was asked for. */
static int open_embeddings(const serve_run *r, const session *s, pgr_serving *what) {
    if (!r->embeddings) return EXIT_DONE;
    char *path = NULL;
    int status = find_embedder(strcmp(r->embeddings, "default") == 0 ? NULL : r->embeddings, &path);
    if (status != EXIT_DONE) return status;
    what->embedder_away = is_address(path);
    status = open_embedder_at(path, PGR_DTYPE_AUTO, r->common.n_thread, s->bar, &what->embedder);
    pgr_free(path);
    return status;
}

static int serve_with(serve_run *r, pgr_server *server, const session *s) {
    char *beside = NULL;
    pgr_error err = {0};
    if (r->store && r->judge.people && pgr_store_protos(r->store, &beside, &err) != PGR_OK) return complain_error(&err);
    pgr_serving what = {.model = s->model,
                        .engine = s->engine,
                        .name = r->name,
                        .judges_only = r->judge.shipped != NULL,
                        .store = r->store,
                        .people = r->judge.people,
                        .protos = r->judge.prototypes ? r->judge.prototypes : beside,
                        .judge = &r->judge.o};
    int status = open_embeddings(r, s, &what);
    if (status == EXIT_DONE && !r->common.quiet) complain("ready");
    if (status == EXIT_DONE && pgr_server_run(server, &what, &interrupted, &err) != PGR_OK)
        status = complain_error(&err);
    pgr_embedder_close(what.embedder);
    pgr_free(beside);
    return status;
}

/* The store that is named is made where it is not there. */
static int find_users(serve_run *r) {
    pgr_error err = {0};
    pgr_store *made = NULL;
    if (!r->judge.store_name) return EXIT_DONE;
    int status = find_store(r->judge.store_name, &r->store);
    if (status == EXIT_DONE && pgr_store_open(r->store, PGR_STORE_CREATE, &made, &err) != PGR_OK)
        status = complain_error(&err);
    pgr_store_close(made);
    return status;
}

static int serve(serve_run *r) {
    pgr_server *server = NULL;
    pgr_error err = {0};
    session s = {0};
    if (pgr_server_open(&r->o, &server, &err) != PGR_OK) return complain_usage(&err);
    if (!r->common.quiet) {
        const char *colon = strrchr(r->o.listen, ':');
        complain("listening on http://%.*s:%d", (int)(colon - r->o.listen), r->o.listen, pgr_server_port(server));
    }
    int status = take_shipped_adapter(&r->common, r->judge.o.frame, &r->judge.shipped);
    if (status == EXIT_DONE) status = find_users(r);
    if (status == EXIT_DONE) status = judge_args_open(&r->judge, &r->common);
    if (status == EXIT_DONE) status = session_open(&r->common, true, &s);
    if (status == EXIT_DONE) status = scalar_args_open(&r->scalar, &r->common, s.bar);
    if (r->scalar.has_weight) r->judge.o.scalar_weight = r->scalar.weight;
    r->judge.o.scalar = r->scalar.opened;
    if (status == EXIT_DONE) status = serve_with(r, server, &s);
    pgr_server_close(server);
    scalar_args_close(&r->scalar);
    session_close(&s);
    judge_args_close(&r->judge);
    pgr_free(r->store);
    return status;
}

static int run(const command *self, int argc, char **argv) {
    serve_run r = {.o = pgr_serve_options_default(), .judge = {.o = pgr_judge_options_default()}};
    char **operands = NULL;
    int status = args_parse(self, argc, argv, &r.common, &r, &operands);
    if (status != ARGS_RUN) return status;
    if (operands[0]) return args_wrong(self, "found '%s', expected no operand", operands[0]);
    r.common.remote.count_s = COUNT_S;
    catch_stops();
    return serve(&r);
}

const command CMD_SERVE = {
    .name = "serve",
    .summary = "an HTTP server: OpenAI's routes, scores for users, rewards for trainers",
    .about =
        "Answers requests on one port (docs/serve.md), all of them in one batch on one engine. It stops at SIGTERM "
        "or\n"
        "SIGINT: new requests get 503, those that run may end within --drain. A second signal ends it at once.",
    .example = "pgenrm serve --listen 127.0.0.1:8300 --embeddings default",
    .remote = true,
    .options = OPTIONS,
    .run = run,
};
