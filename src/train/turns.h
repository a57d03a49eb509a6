/* turns.h - conversations as the tokens that a loss is taken on: the chat template's, with those of the assistant's
 * turns marked. */
#ifndef PGR_TRAIN_TURNS_H
#define PGR_TRAIN_TURNS_H

#include "model/backward.h"

typedef struct chat_row {
    int32_t *tokens; /* (n) */
    uint8_t *counts; /* (n) the loss has this token */
    size_t n, n_loss;
} chat_row;

/* The conversation with the assistant's turns from message `first` on counting, what ends a turn included, the first
 * token never. More than `most` tokens: out->n is 0 and nothing else is done. at: "FILE:LINE", for messages. */
pgr_status chat_row_make(const pgr_model *m, const chat_message *messages, size_t first, size_t n, size_t most,
                         const char *at, arena *a, chat_row *out, pgr_error *err);

/* What a pass over n rows computes: seqs (n), and of the tokens that count, row after row, the place whose logits tell
 * each (at) and the token itself (token), as many as the rows' n_loss together. */
void chat_rows_list(const chat_row *const *rows, size_t n, train_seq *seqs, train_row *at, int32_t *token);

#endif
