/* frame.h - prompt frames: files that say how a request becomes a prompt and what grammar its chains follow.
 * docs/frames.md describes the file. Compiled in are `compact` for small models, `full` for 7-8B ones, and more. */
#ifndef PGR_JUDGE_FRAME_H
#define PGR_JUDGE_FRAME_H

#include "infer/engine.h"
#include "judge/chain.h"
#include "user/request.h"

typedef struct frame_file { /* compiled in by tools/embed.cmake; the last has name NULL */
    const char *name;
    const char *text;
    size_t n;
} frame_file;
extern const frame_file FRAME_FILES[];

typedef struct frame frame;

/* name: a frame compiled in, or a file's path. Error: "FILE:LINE: ...". */
pgr_status frame_open(const char *name, frame **out, pgr_error *err);
pgr_status frame_parse(const char *text, size_t n, const char *origin, frame **out, pgr_error *err);
void frame_close(frame *f);

const char *frame_name(const frame *f);
chain_form frame_form(const frame *f);       /* how its chains are parsed */
size_t frame_max_tokens(const frame *f);     /* of a chain over two responses */
size_t frame_max_tokens_more(const frame *f); /* added for every response beyond two */
size_t frame_history(const frame *f);        /* pairs shown by default */
size_t frame_views(const frame *f);          /* pairs shown as texts where responses are statements; form slots */
size_t frame_people(const frame *f);         /* similar people whose choices are counted; form slots */
const char *frame_trigger(const frame *f);   /* where the grammar starts; NULL: at the first token */

/* Appends the grammar for n responses (text for a request to the engine); *has = false: the frame has none. */
pgr_status frame_grammar(const frame *f, size_t n_response, buf *out, bool *has, pgr_error *err);

typedef struct frame_view { /* what of a request one prompt shows, and how */
    const size_t *history; /* (n_history) indices of the pairs shown */
    size_t n_history;
    const size_t *order;   /* (n_response) order[i]: the response at place i */
    size_t budget;         /* tokens that the prompt may have */
} frame_view;

typedef struct frame_part { /* bytes of a message that show one thing of the request */
    const char *name; /* "user.demographics", "user.criteria", "user.history", "query", "responses[1]" */
    size_t message, from, n;
} frame_part;

typedef struct frame_prompt {
    infer_message messages[2]; /* (n_message) texts of the prompt's own */
    size_t n_message;
    size_t n_token; /* of the whole prompt, as the engine counts */
    pgr_clip *clips; /* (n_clip) texts that were shortened; memory and field names of the arena */
    size_t n_clip;
    size_t n_history; /* pairs shown after fitting into the budget */
    frame_part *parts; /* (n_part) by message and place; what is in none is the frame's own. Memory of the arena */
    size_t n_part;
} frame_prompt;

/* Renders the messages of a prompt; of a frame of the form slots, slots.h does. The engine counts and clips; every text
 * is clipped to the frame's own token limit for its kind; if the prompt is still longer than view->budget, pairs beyond
 * frame_history are dropped (oldest first), then limits are lowered evenly, then the other pairs are dropped, until it
 * fits; PGR_E_LIMIT if it cannot. What is shared by both orders comes first. */
pgr_status frame_render(const frame *f, pgr_engine *e, const pgr_request *r, const frame_view *view, arena *a,
                        frame_prompt *out, pgr_error *err);
void frame_prompt_free(frame_prompt *p); /* its messages */

#endif
