/* call_parts.h - a call from the inside (private to src/serve): what the HTTP side (listener.c) keeps in it. */
#ifndef PGR_SERVE_CALL_PARTS_H
#define PGR_SERVE_CALL_PARTS_H

#include <microhttpd.h>
#include <pthread.h>
#include <stdatomic.h>

#include "serve/server.h"

enum { USER_NOTED = 200 }; /* bytes of a user's id in the audit log */

/* How far the answer is. */
typedef enum call_state {
    CALL_OPEN,     /* there is none */
    CALL_ANSWERED, /* body has it whole */
    CALL_STREAM,   /* it is streamed: body has what was not sent yet */
    CALL_ENDED,    /* the same, and no more will come */
} call_state;

struct call {
    pgr_server *server;
    atomic_int keepers;
    atomic_bool gone;
    /* of the HTTP thread until the handler; then read-only */
    const route *routes; /* (n_route) that it may be; NULL: none */
    size_t n_route;
    const route *route;
    const char *method; /* the connection's */
    char *path, *rest;
    buf body;
    size_t n_discarded;
    bool discards; /* the body is read over: the answer is there already */
    bool handled, submitted;
    json_t *json;
    grant grant;
    double start, deadline;

    pthread_mutex_t lock;       /* of all below */
    struct MHD_Connection *mhd; /* NULL: it has ended */
    bool sleeping;              /* the connection is suspended */
    call_state state;
    int status;
    const char *type;
    const char *allow;     /* header of a 405; NULL: none */
    char allowed[64];
    struct {
        const char *name, *value;
    } told[CALL_HEADERS]; /* (n_told) */
    size_t n_told;
    buf out;               /* the answer, or the next piece of it */
    size_t n_sent;         /* of out */
    bool cut;              /* a piece of the stream was lost: its end is to be none */
    char user[USER_NOTED + 1];
    size_t n_read, n_written;
};

/* The body of a 503 that there was no memory to write. */
extern const char CALL_NO_MEMORY[];

/* NULL: out of memory. One keeper. */
call *call_create(pgr_server *s, struct MHD_Connection *mhd);

/* Decodes %XX in place. False: something else stands behind a %, or a NUL is meant. */
bool call_decode(char *s);

/* The connection sleeps until there is something to send. With the lock. */
void call_sleep(call *c);
void call_rouse(call *c);

/* The connection ends: nobody will read any more. */
void call_leave(call *c);

#endif
