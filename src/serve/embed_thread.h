/* embed_thread.h - the one thread that asks an embedder behind an address, one request after the other, so that nobody
 * else waits for that server (private to src/serve). */
#ifndef PGR_SERVE_EMBED_THREAD_H
#define PGR_SERVE_EMBED_THREAD_H

#include "base/status.h"

struct embeds;
typedef struct embed_thread embed_thread;

pgr_status embed_thread_open(embed_thread **out, pgr_error *err);
/* What it was given has been cancelled. NULL is fine. */
void embed_thread_close(embed_thread *t);
/* It calls embeds_work and then embeds_release. */
void embed_thread_give(embed_thread *t, struct embeds *e);

#endif
