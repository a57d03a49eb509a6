/* choices.h - preference pairs as two conversations each, which part ways at the response: what Bradley-Terry and DPO
 * learn from. */
#ifndef PGR_TRAIN_CHOICES_H
#define PGR_TRAIN_CHOICES_H

#include "train/turns.h"

enum { CHOSEN, REJECTED, CHOICE_SIDES };

typedef struct choice {
    chat_row side[CHOICE_SIDES]; /* the response is the assistant's last turn: its tokens count */
} choice;

typedef struct choices {
    choice *list; /* (n) in the file's order */
    size_t n, cap;
    size_t left_out; /* a conversation of more than `most` tokens */
    arena arena;
} choices;

/* Pairs in any form of docs/users.md that a model may be trained on. PGR_E_FORMAT where none is left. */
pgr_status choices_load(const pgr_model *m, const char *path, size_t most, choices *out, pgr_error *err);
void choices_free(choices *c); /* an empty one is fine */

#endif
