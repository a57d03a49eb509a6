/* chat.h - chat templates: the model's own, run by the interpreter (jinja.h), renders turns as tokens. Control tokens
 * come from the template alone; contents are text and never become control tokens. */
#ifndef PGR_TEXT_CHAT_H
#define PGR_TEXT_CHAT_H

#include "text/jinja.h"
#include "text/tokenizer.h"

typedef enum chat_kind { CHAT_NONE, CHAT_JINJA } chat_kind;

typedef struct chat_template {
    chat_kind kind;
    jinja *program;       /* CHAT_JINJA: the parsed template */
    char *bos_text;       /* what it sees as bos_token, NULL: none */
    char *eos_text;       /* the same for eos_token */
    int64_t now;          /* the date that it sees, taken when it was recognised */
    char *default_system; /* turn that it puts first where there is no system turn; NULL: none */
    bool no_system;       /* it refuses or drops a system turn: the text goes into the first user turn */
    char *why;            /* CHAT_NONE: what is wrong, a whole message */
} chat_template;

/* template_text NULL, no Jinja, or with turn markers that contents could forge: kind CHAT_NONE, and rendering is then
 * an error that says why. What the template uses and we lack is an error where a conversation comes to it, not here.
 * origin: the file that it came from, for messages. bos, eos: what the template sees as bos_token and eos_token, NULL
 * for none. The only error here is PGR_E_MEM. */
pgr_status chat_recognise(const char *template_text, size_t n, const char *origin, const tokenizer *t, const char *bos,
                          const char *eos, chat_template *out, pgr_error *err);
/* The text of a form by its name, "chatml" or "llama3", for where it is asked for; NULL: there is none. An error in
 * *err: the vocabulary lacks its tokens. */
const char *chat_builtin(const char *name);
pgr_status chat_check_builtin(const char *name, const tokenizer *t, pgr_error *err);
void chat_free(chat_template *c);
const char *chat_name(chat_kind kind);

/* Appends the tokens of the conversation, and with generate the opening of the assistant's turn. A system turn that
 * the template does not take is put before the first user turn, with an empty line between, and a warning is logged
 * once. */
pgr_status chat_render(const chat_template *c, const tokenizer *t, const chat_message *messages, size_t n,
                       bool generate, ids *out, pgr_error *err);

/* The same with the text cut where `mark` stands in the contents, as often as n_cut says: what stands between marks is
 * made into tokens apart, and the marks are none. cuts[i]: the tokens of out before mark i. PGR_E_UNSUPPORTED where the
 * template leaves marks out, repeats or changes them. */
pgr_status chat_render_cut(const chat_template *c, const tokenizer *t, const chat_message *messages, size_t n,
                           bool generate, const char *mark, ids *out, size_t *cuts, size_t n_cut, pgr_error *err);

#endif
