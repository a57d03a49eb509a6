/* forms.h - the forms of data sets' records: what tells them apart, and what makes records of one JSON value. */
#ifndef PGR_USER_FORMS_H
#define PGR_USER_FORMS_H

#include "user/dataset.h"
#include "user/fields.h"

/* What one JSON value holds: none, one or many records, in the reader's arena. */
typedef struct record_list {
    record *v; /* (n) `line` is 0 where it is that of the value */
    size_t n, cap;
} record_list;

/* Room for one record more, all zero but its kind. */
pgr_status record_add(const field_reader *in, record_list *list, record_kind kind, record **out);

typedef struct form {
    const char *family; /* the name that dataset_open takes */
    const char *what;   /* "a PersonalRewardBench record" */
    bool (*tells)(const json_t *object);
    /* NULL: values that go together, prism.h */
    pgr_status (*read)(const field_reader *in, json_t *object, record_list *out);
} form;
extern const form FORMS[]; /* the last has family NULL; the first that tells is it */

bool form_prb_tells(const json_t *v);
pgr_status form_prb_read(const field_reader *in, json_t *v, record_list *out);
bool form_user_tells(const json_t *v);
pgr_status form_user_read(const field_reader *in, json_t *v, record_list *out);

/* forms_prism.c: raw PRISM (docs/formats.md, "PRISM") */
bool form_conversation_tells(const json_t *v);
pgr_status form_conversation_read(const field_reader *in, json_t *v, record_list *out);
bool form_survey_tells(const json_t *v);
pgr_status form_survey_read(const field_reader *in, json_t *v, record_list *out);
bool form_utterance_tells(const json_t *v);

bool form_lampqa_tells(const json_t *v);
pgr_status form_lampqa_read(const field_reader *in, json_t *v, record_list *out);

#endif
