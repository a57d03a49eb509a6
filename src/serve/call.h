/* call.h - one call: an HTTP request, complete with its body, and its answer. A handler (server.h) reads it in the HTTP
 * thread and either answers it there or hands it to a task (call_submit), which answers from the worker's thread. Every
 * call is answered once; what comes after that, or after the client has gone, is dropped.
 *
 *     static void greet(call *c) {
 *         const json_t *body = call_json(c);
 *         if (!body) return;                                                 it has been answered: 400
 *         buf out = {0};
 *         json_put(&out, ...);
 *         call_reply(c, 200, &out);
 *     } */
#ifndef PGR_SERVE_CALL_H
#define PGR_SERVE_CALL_H

#include "base/json.h"
#include "serve/access.h"
#include "serve/worker.h"

typedef struct call call;

/* ---- what was asked; valid as long as the call ---- */

struct pgr_server *call_server(const call *c);
const char *call_method(const call *c);
const char *call_rest(const call *c); /* what the path has behind a route that ends with '/', decoded; else "" */
/* In the handler only. NULL: there is none. A query's value is as it was sent, not decoded. */
const char *call_header(const call *c, const char *name);
const char *call_query(const call *c, const char *name);
/* The value decoded (a + is itself): the caller's (mem_free), NULL: there is none. False: it has been answered. */
bool call_query_text(call *c, const char *name, char **out);
const char *call_body(const call *c, size_t *n); /* NUL-terminated */

/* The body as a JSON object, the call's own: kept as long as it is. NULL: it is none, and the call has been answered
 * with 400. A key `deadline_s` of it has been read. */
const json_t *call_json(call *c);

/* What its token allows. Checks of users: call_may answers with 403 where the user is not within it, and notes the
 * user for the audit log where he is. */
const grant *call_grant(const call *c);
bool call_may(call *c, const char *user);

/* By clock_now(): when it came, and when it is to be answered with what is there (the server's --deadline, the header
 * X-Deadline-S or the body's deadline_s; never 0). */
double call_start(const call *c);
double call_deadline(const call *c);

/* ---- the answer; any thread ---- */

/* Content-Type application/json. Takes what the buffer holds; one that failed is answered with 503. */
void call_reply(call *c, int status, buf *body);
void call_reply_as(call *c, int status, const char *type /* static */, buf *body);
/* One more header of the answer, before it is given: both static. A Cache-Control takes the place of no-store. */
enum { CALL_HEADERS = 8 };
void call_tell(call *c, const char *name, const char *value);
/* Gives up the reference; NULL (out of memory) is answered with 503. */
void call_reply_json(call *c, int status, json_t *value);

/* {"error":{"message","type","param","code"}} in OpenAI's form. type: "invalid_request_error", "server_error", ...;
 * param (the field at fault) and code may be NULL. With 429 and 503 goes a Retry-After. */
void call_fail(call *c, int status, const char *type, const char *param, const char *code, const char *format, ...)
    __attribute__((format(printf, 6, 7)));
/* 400 for what the request has wrong, 500 to 504 for what it has not. */
void call_fail_error(call *c, const pgr_error *err);
/* True where the model itself is here. Else the call has been answered with 501: `what` needs it. */
bool call_has_model(call *c, const char *what);
/* 400 with the field at fault, which may be NULL. */
void call_refuse(call *c, const char *param, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* A stream: begins a 200 answer of unknown length (text/event-stream), sends pieces, ends it. call_send: false where
 * the client has gone, or reads so slowly that STREAM_MOST bytes wait for it, or no memory is left: then its end is a
 * connection that breaks off. */
enum { STREAM_MOST = 8 << 20 };
void call_stream(call *c);
bool call_send(call *c, const char *bytes, size_t n);
void call_end(call *c);

/* ---- tasks ---- */

/* In the handler, instead of an answer. The task is the worker's from here on; without room in its queue (and, of a
 * route that is held, beside it) the call is answered with 429 and the task freed. */
void call_submit(call *c, task *t);

bool call_gone(const call *c); /* its client: nobody reads the answer */

/* ---- notes for the audit log and the metrics; any thread ---- */

void call_note_user(call *c, const char *user);
void call_note_tokens(call *c, size_t n_read, size_t n_written); /* added up */

void call_keep(call *c); /* one who keeps it more */
void call_release(call *c);

#endif
