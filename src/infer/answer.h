/* answer.h - what an OpenAI-compatible server answers to a chat or text completion, read and checked (private to
 * src/infer). Nothing of it is believed: counts, indices, types and numbers are those that were asked for, or it is an
 * error that names the member. Log-probabilities that are no such numbers, or tokens that are not the text, are left
 * out: the text stays. */
#ifndef PGR_INFER_ANSWER_H
#define PGR_INFER_ANSWER_H

#include "base/arena.h"
#include "base/json.h"
#include "base/status.h"

typedef struct answer_top { /* a token that might have come */
    const char *text;       /* (n) its bytes */
    size_t n;
    double logprob;
} answer_top;

typedef struct answer_token {
    size_t at, n; /* bytes of the choice's text */
    double logprob;
    answer_top *top; /* (n_top) */
    size_t n_top;
} answer_token;

typedef struct answer_choice {
    size_t index;     /* of the choices that were asked for */
    const char *text; /* (n) */
    size_t n;
    bool length;          /* the limit of tokens ended it; else it ended by itself */
    bool late;            /* its deadline did (our own servers say so) */
    const char *bad;      /* why it is no text: "content_filter"; NULL: it is one */
    answer_token *tokens; /* (n_token) they are its text, one after the other; NULL: not known */
    size_t n_token;
} answer_choice;

typedef struct answer {
    answer_choice *choices; /* (n_choice) no index twice */
    size_t n_choice;
    bool counted; /* the server counted tokens: */
    size_t prompt_tokens, cached_tokens, completion_tokens;
} answer;

/* n_asked: choices at most. max_tokens: of a choice at most; a server that counts more is not believed. origin: the
 * address, for messages. What the answer holds lives as long as *json (json_decref, on error too) and a. */
pgr_status answer_read(const char *text, size_t n, const char *origin, size_t n_asked, size_t max_tokens, arena *a,
                       json_t **json, answer *out, pgr_error *err);

#endif
