/* slot_tokens.h - a prompt with slots as tokens, by a tokenizer and a chat template that are here, and what is read at
 * a slot (private to src/infer). */
#ifndef PGR_INFER_SLOT_TOKENS_H
#define PGR_INFER_SLOT_TOKENS_H

#include "infer/engine.h"
#include "text/chat.h"

typedef struct slot_texts {
    const chat_template *chat;
    const tokenizer *tok;
} slot_texts;

/* t: all zero; what it holds is infer_slot_tokens_free's, on error too. */
pgr_status slot_tokens_fill(const slot_texts *x, const infer_request *r, infer_slot_tokens *t, pgr_error *err);

/* Where choice k's tokens begin in t->choices, and how many they are. */
static inline size_t choice_begin(const infer_slot_tokens *t, size_t k) {
    return k ? t->end[k - 1] : 0;
}

static inline size_t choice_count(const infer_slot_tokens *t, size_t k) {
    return t->end[k] - choice_begin(t, k);
}

/* The log-probabilities of a slot's choices among all tokens become those among the choices, and their mass. */
pgr_status reading_settle(infer_reading *r, size_t slot, pgr_error *err);

#endif
