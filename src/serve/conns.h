/* conns.h - the open connections of a server, and a thread that looks at them ten times a second: one whose request has
 * not come in time, or whose answer is not read, is closed; one whose client has gone while it waits for its answer is
 * reported. */
#ifndef PGR_SERVE_CONNS_H
#define PGR_SERVE_CONNS_H

#include "base/status.h"

struct call;

/* What a connection does, each with its own time. */
typedef enum conn_phase {
    CONN_IDLE,    /* nothing of a request has come since the last one */
    CONN_READING, /* a request comes */
    CONN_WAITING, /* it is there, the answer is not */
    CONN_WRITING, /* the answer is sent */
    CONN_STREAM,  /* a stream is written and sent: as long as that takes; then its end is CONN_WRITING */
} conn_phase;

typedef struct conns conns;
typedef struct conn conn;

enum { IDLE_MOST_S = 75 }; /* a connection may be kept without a request, if its client is there */

pgr_status conns_create(double read_s, conns **out, pgr_error *err);
void conns_free(conns *l); /* all connections have been dropped; NULL is fine */
size_t conns_answering(conns *l); /* connections in the last three phases */

/* fd: the socket's, open until conn_drop. NULL: out of memory. */
conn *conn_add(conns *l, int fd);
void conn_drop(conns *l, conn *c);
/* call: whose answer is waited for or sent, kept until the next phase; else NULL. */
void conn_enter(conns *l, conn *c, conn_phase phase, struct call *call);

#endif
