/* listener.h - the HTTP side of a server: listening, connections and their limits, bodies, answers sent. One thread of
 * its own reads and writes, another one watches for clients that are slow or gone. */
#ifndef PGR_SERVE_LISTENER_H
#define PGR_SERVE_LISTENER_H

#include "serve/server.h"

typedef struct listener listener;

/* By s->o; s->access, metrics, worker and routes are there. */
pgr_status listener_open(pgr_server *s, listener **out, pgr_error *err);
int listener_port(const listener *h);

/* Waits until every answer has been sent, at most that long. */
void listener_flush(listener *h, double seconds);
void listener_close(listener *h); /* every call must have been answered; NULL is fine */

#endif
