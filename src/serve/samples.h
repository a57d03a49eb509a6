/* samples.h - a sample as a trainer sends it (a prompt, a response, a label that says whose it is and what it is
 * compared with) becomes a question; how a trainer's call fails. */
#ifndef PGR_SERVE_SAMPLES_H
#define PGR_SERVE_SAMPLES_H

#include "serve/judges.h"

enum { SAMPLES_MOST = 4096 }; /* of a call */

/* A sample's label, keys of it (docs/rewards.md): a JSON object, or text. Text that begins with { is such an object,
 * else it is the anchor. NULL, null and blank text: nothing is known. An empty response cannot be judged: it has the
 * reward that the label's `empty` says, or is an error. */
typedef struct sample {
    const json_t *messages;  /* turns, the last one by the user */
    const char *response;    /* (n_response) */
    size_t n_response;
    const json_t *label;
    const char *field; /* the body's that has the response */
} sample;

#define NO_ANSWER "(no answer)" /* in the place of a text that is not there, where one must be */

bool sample_is_blank(const char *text, size_t n);
/* What an empty response is worth by the label's `empty`, 0 to 1; unset: where it has none. */
pgr_status sample_worth(const json_t *label, double unset, double *out, pgr_error *err);

/* What is wrong is answered to the call: false then. */
bool sample_ask(call *c, const sample *s, question *q);

/* A request's user object out of a label: its "user" or "user_id", an id or an object, with the parts of one that stand
 * beside it. *out: the caller's; nobody is named: empty. */
pgr_status sample_user(const json_t *label, json_t **out, pgr_error *err);

/* Turns of a prompt: text (turns.h), or a list of messages. *out: the caller's. PGR_E_FORMAT: it is neither. */
pgr_status sample_turns(const json_t *prompt, json_t **out, pgr_error *err);

/* The answer where one of the samples has no reward: never a number that nobody gave. 503 with Retry-After, 504 or
 * 400. False: none failed. */
bool samples_failed(asking *a);

#endif
