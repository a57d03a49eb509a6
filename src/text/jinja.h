/* jinja.h - an interpreter of the part of Jinja that chat templates use (docs/chat.md says which), as transformers
 * configures it. A rendering is bytes, and for each byte whether the template made it or a message's content did. */
#ifndef PGR_TEXT_JINJA_H
#define PGR_TEXT_JINJA_H

#include "base/buf.h"
#include "base/status.h"

typedef struct chat_message {
    const char *role; /* "system", "user", "assistant" */
    const char *text;
    size_t n;
} chat_message;

typedef struct jinja jinja; /* a parsed template; read-only: many threads may render it */

typedef struct jinja_input {
    const chat_message *messages; /* roles count as made by the template, so they must be checked before */
    size_t n_message;
    bool generate;         /* add_generation_prompt */
    const char *bos, *eos; /* bos_token and eos_token; NULL: not defined */
    int64_t now;           /* what strftime_now shows: seconds since 1970, in the time zone of the machine */
} jinja_input;

/* Copies text. origin: the file or key, for messages. Errors: PGR_E_UNSUPPORTED for what is outside the subset (the
 * message names it, the line and --chat-template), PGR_E_FORMAT for what is no Jinja or no UTF-8. */
pgr_status jinja_parse(const char *text, size_t n, const char *origin, jinja **out, pgr_error *err);
void jinja_free(jinja *j);

/* Appends the rendering to text, and to made one byte for each: 1 by the template, 0 by a content. Errors besides the
 * above: what the template raises (PGR_E_ARG), more work than a rendering may take (PGR_E_LIMIT). On error both hold
 * a part. */
pgr_status jinja_render(const jinja *j, const jinja_input *in, buf *text, buf *made, pgr_error *err);

#endif
