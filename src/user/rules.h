/* rules.h - the one set of rules by which rows of every form become pairs: whose a row is, which split it belongs
 * to, and which pairs are left out because nothing can be learnt from them (counted by reason). */
#ifndef PGR_USER_RULES_H
#define PGR_USER_RULES_H

#include "user/dataset.h"
#include "user/fields.h"

/* What one JSON value holds: none, one or many records, in the reader's arena. */
typedef struct record_list {
    record *v; /* (n) `line` is 0 where it is that of the value */
    size_t n, cap;
    size_t left_out[PGR_LEFT_N];
    const dataset_options *with; /* how users are told; never NULL */
} record_list;

/* Room for one record more, all zero but its kind. */
pgr_status record_add(const field_reader *in, record_list *list, record_kind kind, record **out);

/* Adds the pair, its line 0, or counts why it is left out: a blank question or response, two responses of the same
 * text. *added may be NULL. */
pgr_status rules_pair(const field_reader *in, record_list *list, const pair_record *p, record **added);
/* A pair that its row does not make. */
void rules_leave(record_list *list, pgr_left why);

/* The user of a row: the column that `user_key` names, else `user_id`, else the form's own column (NULL: none), else
 * `user` where that is a text, else the user for rows without one. An error where there is none and none may be
 * missing. row2: where to look next (a row's annotation, then the row), or NULL. */
pgr_status rules_user(const field_reader *in, const record_list *list, const json_t *row, const json_t *row2,
                      const char *own_key, const char **out);

/* A split by one of its names, in any case: "train", "val" (validation, dev), "test", "" for ""; NULL: no such name. */
const char *rules_split_name(const char *name);
extern const char RULES_SPLITS[]; /* "train, validation (val, dev) or test" */
/* The row's `split`, "" where it has none; a name that is not known is an error. */
pgr_status rules_split(const field_reader *in, const json_t *row, const char **out);
/* May a pair of this split be a history? */
bool rules_is_history(const char *split);
/* May a model be trained on the pair? Those that may be a history may, but for the subset RULES_HISTORY, whose pairs
 * are shown as their user's history and nothing else (held-out users of `synth`). */
bool rules_is_lesson(const pair_record *p);
#define RULES_HISTORY "history"

#endif
