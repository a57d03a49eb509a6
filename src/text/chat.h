/* chat.h - chat templates: recognises ChatML and Llama-3 from the template text of the file, interprets what else is
 * within our subset of Jinja (docs/chat.md), and renders turns as tokens. Control tokens come from the template alone;
 * contents are text and never become control tokens. */
#ifndef PGR_TEXT_CHAT_H
#define PGR_TEXT_CHAT_H

#include "text/jinja.h"
#include "text/tokenizer.h"

typedef enum chat_kind { CHAT_NONE, CHAT_CHATML, CHAT_LLAMA3, CHAT_JINJA } chat_kind;

typedef struct chat_template {
    chat_kind kind;
    bool trim;            /* contents are trimmed (Llama-3) */
    char *default_system; /* turn put first when the first message is no system turn; NULL: none */
    bool bos;             /* the template writes BOS itself */
    bool system_always;   /* Llama-3.1: a system turn with the date lines is always written */
    char *system_prefix;  /* what is written before the system text ("Cutting Knowledge Date: ..."), NULL: nothing */
    bool no_think;        /* the generation prompt gets an empty think block (Qwen3) */
    jinja *program;       /* CHAT_JINJA: the parsed template */
    char *bos_text;       /* CHAT_JINJA: what it sees as bos_token, NULL: none */
    char *eos_text;       /* the same for eos_token */
    int64_t now;          /* CHAT_JINJA: the date that it sees, taken when it was recognised */
    char *why;            /* CHAT_NONE: what is wrong, a whole message */
} chat_template;

/* template_text NULL, outside the subset or without its tokens: kind CHAT_NONE, and rendering is then an error that says
 * why. origin: the file that it came from, for messages. bos, eos: what the template sees as bos_token and
 * eos_token, NULL for none. The only error here is PGR_E_MEM. */
pgr_status chat_recognise(const char *template_text, size_t n, const char *origin, const tokenizer *t, const char *bos,
                          const char *eos, chat_template *out, pgr_error *err);
/* A template with ChatML's or Llama-3's markers may still say something else between them. Where the interpreter can run it, two
 * short conversations are rendered both ways; if they differ, *c (of chat_recognise, the same arguments) becomes the interpreted
 * one. Not so with date lines, which by heart do not depend on the day, nor with the generation prompt of models that are told not
 * to think. On error *c is as it was. */
pgr_status chat_verify(const char *template_text, size_t n, const char *origin, const tokenizer *t, const char *bos,
                       const char *eos, chat_template *c, pgr_error *err);
/* The text of a form by its name, "chatml" or "llama3"; NULL: there is none. */
const char *chat_builtin(const char *name);
void chat_free(chat_template *c);
const char *chat_name(chat_kind kind);

/* Appends the tokens of the conversation, and with generate the opening of the assistant's turn. */
pgr_status chat_render(const chat_template *c, const tokenizer *t, const chat_message *messages, size_t n,
                       bool generate, ids *out, pgr_error *err);

#endif
