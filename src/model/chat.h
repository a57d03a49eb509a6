/* chat.h - chat templates: recognises ChatML and Llama-3 from the template text of the file and renders turns as tokens.
 * Control tokens come from the template alone; contents are text and never become control tokens. */
#ifndef PGR_MODEL_CHAT_H
#define PGR_MODEL_CHAT_H

#include "model/tokenizer.h"

typedef enum chat_kind { CHAT_NONE, CHAT_CHATML, CHAT_LLAMA3 } chat_kind;

typedef struct chat_template {
    chat_kind kind;
    bool trim;            /* contents are trimmed (Llama-3) */
    char *default_system; /* turn put first when the first message is no system turn; NULL: none */
    bool bos;             /* the template writes BOS itself */
    bool system_always;   /* Llama-3.1: a system turn with the date lines is always written */
    char *system_prefix;  /* what the template writes before the system text ("Cutting Knowledge Date: ..."), NULL: nothing */
    bool no_think;        /* the generation prompt gets an empty think block (Qwen3) */
} chat_template;

typedef struct chat_message {
    const char *role; /* "system", "user", "assistant" */
    const char *text;
    size_t n;
} chat_message;

/* template_text NULL or unknown: kind CHAT_NONE (rendering is then an error that says so). */
pgr_status chat_recognise(const char *template_text, size_t n, const tokenizer *t, chat_template *out, pgr_error *err);
void chat_free(chat_template *c);
const char *chat_name(chat_kind kind);

/* Appends the tokens of the conversation, and with generate the opening of the assistant's turn. */
pgr_status chat_render(const chat_template *c, const tokenizer *t, const chat_message *messages, size_t n,
                       bool generate, ids *out, pgr_error *err);

#endif
