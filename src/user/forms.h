/* forms.h - the forms of data sets' records: what tells them apart, and what makes records of one JSON value. */
#ifndef PGR_USER_FORMS_H
#define PGR_USER_FORMS_H

#include "user/rules.h"

typedef pgr_status (*form_read_fn)(const field_reader *in, json_t *object, record_list *out);

typedef struct form {
    const char *name;   /* what dataset_open takes */
    const char *family; /* the name of those that may stand in one file; a file's first record settles it */
    /* The keys that tell, in words: each must be there; "a|b": one of them; "a*": a key that begins so; "!a": none
     * of that name */
    const char *keys;
    const char *what; /* "TRL's pairs (prompt, chosen, rejected)" */
    form_read_fn read; /* NULL: values that go together, prism.h */
} form;
extern const form FORMS[]; /* the last has name NULL */

/* The form of an object; family NULL: of any. PGR_E_FORMAT: none tells, or two do; the message names what it may be
 * and what to rename. */
pgr_status form_find(const field_reader *in, const char *family, const json_t *object, const form **out);
const char *form_family(const char *name); /* NULL: there is no such form */
bool form_tells_any(const json_t *object); /* whether there is one whose rows are pairs, one value each */

/* forms_unread.c: NULL, or which known form this is that is not read, and how to make one of ours of it. */
const char *form_unread(const json_t *object);
/* Do the keys of an object fit the words of form.keys? */
bool form_keys_fit(const json_t *object, const char *words);

/* forms_own.c: PersonalRewardBench records and users (ours), LaMP-QA's questions */
pgr_status form_prb_read(const field_reader *in, json_t *v, record_list *out);
pgr_status form_user_read(const field_reader *in, json_t *v, record_list *out);
pgr_status form_lampqa_read(const field_reader *in, json_t *v, record_list *out);

/* forms_prism.c: raw PRISM (docs/formats.md, "PRISM") */
pgr_status form_conversation_read(const field_reader *in, json_t *v, record_list *out);
pgr_status form_survey_read(const field_reader *in, json_t *v, record_list *out);

/* forms_chosen.c: rows with a chosen and a rejected side */
pgr_status form_chosen_read(const field_reader *in, json_t *v, record_list *out);

/* forms_votes.c: two responses and a vote */
pgr_status form_arena_read(const field_reader *in, json_t *v, record_list *out);
pgr_status form_helpsteer_read(const field_reader *in, json_t *v, record_list *out);
pgr_status form_multipref_read(const field_reader *in, json_t *v, record_list *out);
pgr_status form_shp_read(const field_reader *in, json_t *v, record_list *out);

/* forms_ranked.c: several responses with scores or ranks */
pgr_status form_ultrafeedback_read(const field_reader *in, json_t *v, record_list *out);
pgr_status form_personalllm_read(const field_reader *in, json_t *v, record_list *out);
pgr_status form_nectar_read(const field_reader *in, json_t *v, record_list *out);

/* ---- what rows of several forms have in common (forms.c) ---- */

enum { FORM_RESPONSES_MAX = 64 }; /* of one row: pairs grow with their square */

/* A pair of which the row tells its split and its name: the first of the keys of `ids` (NULL-terminated) that is
 * given. */
pgr_status form_begin(const field_reader *in, const json_t *row, const char *const *ids, pair_record *out);
/* A name for all pairs of the row p is of: its own, else made of its question and responses. */
pgr_status form_group(const field_reader *in, const char *question, const char *const *responses, size_t n,
                      pair_record *p);
/* The response under a key: text or text parts, "" where it is not given. */
pgr_status form_response(const field_reader *in, const json_t *row, const field_path *parent, const char *key,
                         const char **out);
/* What {"role", "content"} says; it has no other keys. */
pgr_status form_said(const field_reader *in, const json_t *turn, const field_path *p, const char **out);

#endif
