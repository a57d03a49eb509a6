/* hub_http.h - GET requests to a hub through libcurl, several at once in one thread: redirects, byte ranges, and the
 * token, which goes to the hub's own host only. Knows nothing of models and files. */
#ifndef PGR_HUB_HUB_HTTP_H
#define PGR_HUB_HUB_HTTP_H

#include "base/buf.h"
#include "base/status.h"

typedef struct http_reply {
    long status;             /* of the last hop */
    char etag[200];          /* of the last hop, as sent; "" if none */
    char linked_etag[200];   /* X-Linked-Etag of the first hop that has one: the hub's word on what a redirect leads
                              * to */
    int64_t linked_size;     /* X-Linked-Size, -1 if none */
    int64_t length;          /* Content-Length of the last hop, -1 if none */
    int64_t from, total;     /* Content-Range of a 206; -1 if none */
    char message[160];       /* X-Error-Message, "" if none */
} http_reply;

typedef enum http_end {
    HTTP_RUNNING,
    HTTP_DONE,   /* 200 or 206, every byte was taken */
    HTTP_AGAIN,  /* 429, 5xx, a cut or refused connection: worth another try */
    HTTP_FAILED, /* anything else, or take() returned false */
} http_end;

typedef struct http_job {
    /* set by the caller, who keeps all of it until the job has ended */
    const char *url;
    int64_t from;         /* first byte wanted; 0: the whole */
    const char *if_range; /* with from > 0: the strong ETag under which the range holds; NULL: none */
    bool (*take)(void *ctx, const http_reply *reply, const void *bytes, size_t n); /* bytes of a 200 or 206 */
    void *ctx;
    /* set by the calls below */
    http_reply reply;
    http_end end;
    double retry_after;   /* seconds the server asks to wait, 0: none */
    char what[300];       /* why it did not end with HTTP_DONE */
    void *easy, *headers; /* libcurl's */
} http_job;

typedef struct http_client http_client;

/* endpoint: "http://HOST[:PORT][/PATH]" or https. token: NULL or "" for none. */
pgr_status http_open(const char *endpoint, const char *token, http_client **out, pgr_error *err);
void http_close(http_client *c); /* jobs must have ended or been stopped; NULL is fine */

pgr_status http_start(http_client *c, http_job *job, pgr_error *err);
void http_stop(http_client *c, http_job *job); /* a job that is running, or has ended, or never ran: it is over */
/* Waits up to ms for bytes and moves them. Call http_ended until it gives NULL afterwards. */
pgr_status http_step(http_client *c, int ms, pgr_error *err);
http_job *http_ended(http_client *c); /* a job that has just ended, already stopped */

/* "URL: what" */
pgr_status http_fail(const http_job *job, pgr_error *err);

/* Tries of one thing: when the next one may begin, and whether there is one. */
typedef struct http_retry {
    int tries;
    double not_before; /* clock_now() */
} http_retry;

enum { HTTP_TRIES = 5 };
/* After a job that ended with HTTP_AGAIN: plans the next try, or fails after HTTP_TRIES. backoff: seconds before the
 * second, doubled each time; a server's Retry-After counts if it is longer, up to 5 minutes. */
pgr_status http_again(http_retry *r, const http_job *job, double backoff, pgr_error *err);

/* The whole body of url, at most `most` bytes, with retries. cancel may be NULL. */
pgr_status http_get(http_client *c, const char *url, size_t most, double backoff, pgr_cancel *cancel, buf *out,
                    pgr_error *err);

#endif
