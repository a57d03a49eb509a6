/* request.h - a scoring request: who the user is, what was asked, which responses stand for choice. Read from JSON. */
#ifndef PGR_USER_REQUEST_H
#define PGR_USER_REQUEST_H

#include "base/arena.h"
#include "base/json.h"

typedef struct turn {
    const char *role; /* "system", "user", "assistant" ("model" in the file becomes "assistant") */
    const char *text;
} turn;

typedef struct preference_pair {
    const turn *context; /* (n_context) ends with a user turn */
    size_t n_context;
    const char *chosen, *rejected;
} preference_pair;

enum { REQUEST_CHAINS_MAX = 1024 }; /* ind, pro */

struct pgr_request {
    arena arena;         /* owns everything below */
    const char *origin;  /* file name, for messages */
    const char *id;      /* "" if none */
    const char *user_id; /* "" if none */
    const char *donor;   /* of a control whose history is another user's: that user, no neighbour either;
                          * NULL if none */
    const preference_pair *history;
    size_t n_history;
    const char *const *criteria; /* (n_criteria) stated by the user */
    size_t n_criteria;
    const char *demographics;    /* "key: value" lines of an object, or the text; "" if none */
    const turn *messages;        /* (n_message) ends with a user turn */
    size_t n_message;
    const char *const *responses; /* (n_response) n_response >= 2 */
    size_t n_response;
    const double *scalars;        /* (n_response) of a reward model, as given; NULL: not */
    int ind, pro, history_pairs; /* -1: not given */
    int64_t seed;                /* -1: not given */
    int chosen;                  /* index of the response known to be preferred (a record's),
                                  * else -1 */
};

/* pgr_request_parse, but that no pointer may be NULL. *no_pair: the text is a data set's row of which no pair is made,
 * a tie say, and that is the error. */
pgr_status request_parse(const char *json, size_t len, const char *origin, pgr_request **out, bool *no_pair,
                         pgr_error *err);

#endif
