/* embeds.h - texts that a request brings, embedded in the worker's thread, or by an embedder behind an address in that
 * of embed_thread.h, and an answer made of the vectors (private to src/serve). */
#ifndef PGR_SERVE_EMBEDS_H
#define PGR_SERVE_EMBEDS_H

#include <stdatomic.h>

#include "serve/server.h"

enum { EMBEDS_MOST = 2048 }; /* texts of a request */
enum { EMBEDS_AT_ONCE = 16 }; /* by an embedder that is here, between two steps of the engine */

typedef struct embeds embeds;
struct embeds {
    task task;
    const char **texts; /* (n) the body's */
    size_t *lens, n;
    pgr_embed_options o;
    bool base64;     /* vectors as the bytes of their floats */
    size_t n_left;   /* of the texts, the first ones are held against the others */
    size_t top;      /* so many of the best; 0: all */
    bool shows;      /* the texts, too */
    /* Appends the answer. v: (n, dim) */
    void (*put)(const embeds *e, const float *v, size_t dim, buf *out);
    float *vectors;             /* (n, dim) */
    size_t dim, n_done, n_token; /* texts that are embedded, and their tokens */
    /* of an embedder behind an address: */
    embeds *next;
    atomic_int keepers;  /* the task, and the thread until it is done */
    atomic_bool done;    /* it has been answered */
    pgr_cancel cancel;
};

/* NULL: the call has been answered: the server has no embedder, or there is no memory. */
embeds *embeds_create(call *c, void (*put)(const embeds *e, const float *v, size_t dim, buf *out));
void embeds_drop(embeds *e); /* instead of call_submit */

/* Embeds and answers. */
void embeds_work(embeds *e);
void embeds_release(embeds *e); /* by one of its keepers */

/* Adds a field's text or list of texts; a text may be an object's `text`. False: the call has been answered. */
bool embeds_add(embeds *e, call *c, const json_t *body, const char *key);
/* encoding_format and dimensions. */
/* What vLLM has beside the texts and would change vectors: `truncate_prompt_tokens` but -1 (a text that is too long is
 * refused), a `task` but embed, `messages`. */
bool embeds_read_others(call *c, const json_t *body);
bool embeds_read_form(embeds *e, call *c, const json_t *body);

void embeds_put_vector(const embeds *e, const float *v, size_t dim, buf *out);
/* "id":..,"object":"list","created":..,"model":.. */
void embeds_put_head(const embeds *e, const char *kind, buf *out);
void embeds_put_usage(const embeds *e, buf *out); /* "usage":{..} */

#endif
