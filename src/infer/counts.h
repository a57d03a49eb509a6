/* counts.h - texts counted and clipped by a tokenizer that is here (private to src/infer). */
#ifndef PGR_INFER_COUNTS_H
#define PGR_INFER_COUNTS_H

#include "infer/engine.h"
#include "text/chat.h"

pgr_status tokens_count(const tokenizer *tok, const char *text, size_t n, size_t *out, pgr_error *err);
/* Appends the conversation, with `begun` the assistant's turn begun. */
pgr_status tokens_render(const chat_template *chat, const tokenizer *tok, const infer_message *messages, size_t n,
                         bool begun, ids *out, pgr_error *err);
pgr_status tokens_count_messages(const chat_template *chat, const tokenizer *tok, const infer_message *messages,
                                 size_t n, size_t *out, pgr_error *err);
/* Appends the first `keep` tokens of the text, whole characters. */
pgr_status tokens_clip(const tokenizer *tok, const char *text, size_t n, size_t keep, buf *out, pgr_error *err);

#endif
