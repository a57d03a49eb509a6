/* gen.h - chains written for a client: what /v1/chat/completions and /v1/completions have in common (private to
 * src/serve). gen_read.c reads a request, gen.c has it written, gen_put.c says what came of it. */
#ifndef PGR_SERVE_GEN_H
#define PGR_SERVE_GEN_H

#include "base/arena.h"
#include "serve/models.h"
#include "serve/server.h"

enum {
    GEN_PROMPTS = 256,   /* of one request */
    GEN_SAMPLES = 128,   /* of one prompt */
    GEN_TOKENS = 2048,   /* a chain's, where a chat names no limit and the context has room */
    GEN_STOPS = 16,
};

typedef struct gen_prompt {
    infer_message *messages; /* (n_message) chat */
    size_t n_message;
    const char *text; /* (n_text) completion, else tokens */
    size_t n_text;
    int32_t *tokens; /* (n_token) */
    size_t n_token;
    ids read;             /* its tokens, where a stream tells them */
    infer_ticket ticket;  /* 0: not asked, or it has ended */
    infer_result *result; /* NULL: not there yet */
    float *logprobs;      /* (result->prompt.n) of the prompt's own tokens, where they are told; of the first one NaN */
    infer_top *tops;      /* (result->prompt.n, r.n_top) NULL: none */
} gen_prompt;

typedef struct gen {
    task task;
    arena arena; /* of what was read */
    bool chat;
    char id[48];
    int64_t created;
    served *model;
    gen_prompt *prompts; /* (n_prompt) */
    size_t n_prompt, n_asked, n_ended;
    infer_request r; /* what all prompts have in common */
    bool stream, usage; /* in the stream's last piece */
    bool logprobs, echo;
    bool by_id;  /* tokens are named by their numbers: "token_id:17" */
    bool ids;    /* the tokens' numbers are told, too, and the token that ended the turn among them */
    bool alone;  /* the prompt is echoed and nothing is written */
    double sent; /* when the stream's last piece was */
} gen;

/* Reads the request. False: it has been answered, with what was wrong. */
bool gen_read(gen *g, call *c, const json_t *body);

/* The messages of a body as its one prompt, in the arena. False: it has been answered. */
bool gen_read_messages(gen *g, call *c, const json_t *body);

/* The answer as one object. */
void gen_put(const gen *g, buf *out);
/* Pieces of a stream, each a whole event: the choices' beginnings; a piece of a choice; its end; usage and [DONE]. */
void gen_put_begin(const gen *g, buf *out);
void gen_put_piece(const gen *g, size_t choice, const infer_event *e, buf *out);
void gen_put_end(const gen *g, size_t choice, const infer_chain *c, buf *out);
void gen_put_last(const gen *g, buf *out);

/* response_format and structured_outputs as a grammar (gen_format.c): r->grammar, in the arena. */
bool gen_format(gen *g, call *c, const json_t *body);

#endif
