/* client.h - JSON over HTTP to servers that are one and the same service at several addresses, many requests in flight
 * in one thread. A request goes to the address that has least to do. One that fails (a cut connection, 429, 5xx, an
 * answer that its owner refuses) is tried again with growing waits, at another address where there is one; an address
 * that fails is left alone for a while and then tried again. Knows nothing of what is asked. */
#ifndef PGR_NET_CLIENT_H
#define PGR_NET_CLIENT_H

#include "base/buf.h"
#include "base/status.h"

typedef struct net_options {
    const char *urls; /* "http://HOST[:PORT][/PATH]", several with commas between */
    const char *key;  /* bearer token for all of them; NULL or "": none */
    size_t jobs;      /* requests in flight, all addresses together; 0: 1 */
    double timeout_s; /* of one try, to its last byte; 0: 600 */
} net_options;

const char *net_usual_key(void); /* $PGENRM_API_KEY, else $OPENAI_API_KEY, else NULL */

typedef enum net_state { NET_NEW, NET_WAITS, NET_RUNS, NET_ENDED } net_state;

typedef struct net_job net_job;
struct net_job {
    /* set by the caller, who keeps all of it until the job has ended or was stopped; the rest is zero at first */
    const char *path; /* behind the address: "/chat/completions"; with '^' before it behind its host: "^/tokenize" */
    const char *body; /* (n_body) JSON that is posted; NULL: GET */
    size_t n_body;
    size_t most;                    /* bytes of an answer; 0: 16 MiB */
    double deadline;                /* by clock_now(): it ends then, with PGR_E_DEADLINE; 0: none */
    size_t only;                    /* 0: any address; else the one with index only - 1 */
    bool once;                      /* no second try */
    const char *const *final_words; /* NULL at the end: a failure whose text has one of them is no matter for another
                                     * try; NULL: none */
    void *tag;
    /* set by the client */
    net_state state;
    pgr_error error; /* status PGR_OK: reply is the body of a 200; else "ADDRESS/PATH: what was found" */
    long status;     /* HTTP's of the last try, 0: no answer */
    buf reply;       /* net_drop frees it */
    size_t at;       /* index of the address of the last try */
    size_t n_try;    /* that were begun */
    /* the client's own */
    size_t n_bad, n_busy;
    double not_before, begun;
    void *easy, *headers;
    char *url;
    net_job *before, *after;
};

typedef struct net_client net_client;

/* Errors: addresses that are none, a key that is no token. */
pgr_status net_open(const net_options *o, net_client **out, pgr_error *err);
void net_close(net_client *c); /* its jobs have ended or were stopped; NULL is fine */

size_t net_count(const net_client *c);                  /* addresses */
const char *net_address(const net_client *c, size_t i); /* without a name and password in it */

void net_submit(net_client *c, net_job *job);
/* It is over, whatever its state; nobody is told. */
void net_stop(net_client *c, net_job *job);
void net_drop(net_client *c, net_job *job); /* net_stop, and the reply is freed */

/* Waits up to ms for bytes (0: not at all) and moves them. Call net_ended until it gives NULL afterwards. */
pgr_status net_step(net_client *c, int ms, pgr_error *err);
net_job *net_ended(net_client *c); /* the next job that has ended; NULL: none */

/* An ended job whose answer is of no use counts as failed: it waits for its next try (true), or it has had its last one
 * (false; error says so). what: what was found. */
bool net_refuse(net_client *c, net_job *job, const char *what);

/* Submits the job and steps until it has ended; others move along, and are for net_ended. *cancel set: PGR_E_CANCELLED.
 * Returns the job's error. */
pgr_status net_run(net_client *c, net_job *job, const pgr_cancel *cancel, pgr_error *err);

#endif
