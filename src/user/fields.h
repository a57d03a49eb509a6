/* fields.h - the parts that requests, records and users have in common, read from JSON into an arena: texts, turns,
 * pairs, users. Every message is "FILE: field.path: found X, expected Y". */
#ifndef PGR_USER_FIELDS_H
#define PGR_USER_FIELDS_H

#include "user/record.h"

typedef struct field_reader {
    arena *a;         /* gets every text */
    const char *file; /* "FILE" or "FILE:LINE", the start of every message */
    pgr_error *err;
} field_reader;

typedef struct field_path { /* "user.history[2].chosen" */
    char text[160];
} field_path;

extern const field_path FIELD_TOP;
field_path field_key(const field_path *parent, const char *key);
field_path field_item(const field_path *parent, size_t i);
json_at field_at(const field_reader *in, const field_path *p);

/* "FILE: field: found X, expected Y" */
pgr_status field_fail(const field_reader *in, const field_path *p, const char *found, const char *expected);

/* A key that is absent and one that is null mean the same, not given: NULL. So does a number that is none (NaN). */
json_t *field_given(const json_t *object, const char *key);
bool field_is_blank(const char *s);
pgr_status field_keys(const field_reader *in, const json_t *object, const char *const *known, const field_path *p);

/* The columns of a data set: those that are known, and any that begins with one of prefixes (NULL-terminated lists). */
pgr_status field_columns(const field_reader *in, json_t *top, const char *const *known, const char *const *prefixes);

pgr_status field_copy(const field_reader *in, const char *text, const char **out);
pgr_status field_string(const field_reader *in, const json_t *v, const field_path *p, const char **out);
/* A string with something to read in it. */
pgr_status field_text(const field_reader *in, const json_t *v, const field_path *p, const char **out);
/* What a turn or a response says: a string, or a list of {"type": "text", "text"} parts, whose texts are joined; ""
 * where it is not given. */
pgr_status field_content(const field_reader *in, const json_t *v, const field_path *p, const char **out);
/* parent.key if it is given, else out stays as it is. */
pgr_status field_optional_string(const field_reader *in, const json_t *object, const char *key,
                                 const field_path *parent, const char **out);
/* The name of a thing: text, or a whole number, which becomes text; not blank, not NaN. out stays as it is where it
 * is not given. */
pgr_status field_optional_id(const field_reader *in, const json_t *object, const char *key, const char **out);
/* true or false; not given is false. */
pgr_status field_flag(const field_reader *in, const json_t *object, const char *key, const field_path *parent,
                      bool *out);
pgr_status field_optional_number(const field_reader *in, const json_t *object, const char *key, double *out);

/* Who speaks: "user", "assistant" (or "model") or "system". */
pgr_status field_role(const field_reader *in, const json_t *v, const field_path *p, const char **out);
/* A list of turns, {"role", "content"}. loose: data sets' turns, whose other keys are read over and whose content
 * may be missing. */
pgr_status field_dialogue(const field_reader *in, const json_t *v, const field_path *p, bool loose, turn **out,
                          size_t *n);
/* The same without other keys, at least one, the last one by the user and not blank. */
pgr_status field_turns(const field_reader *in, const json_t *v, const field_path *p, const turn **out, size_t *n);
/* One turn by the user, of this text, which must last as long as the arena. */
pgr_status field_one_turn(const field_reader *in, const char *text, const turn **out);
/* What was asked: one string under `query`, or turns under `list_key`; exactly one of the two. */
pgr_status field_question(const field_reader *in, const json_t *object, const char *list_key, const field_path *parent,
                          const turn **out, size_t *n);

/* A string or a list of strings; a blank string is none. */
pgr_status field_strings(const field_reader *in, const json_t *v, const field_path *p, const char *const **out,
                         size_t *n);
/* A text, or an object of plain values, which becomes "key: value" lines in the file's order, nulls left out. */
pgr_status field_lines(const field_reader *in, json_t *v, const field_path *p, const char **out);

/* A request's "user" object: id, history, criteria, demographics, each of them optional. */
typedef struct user_fields {
    user_record user; /* texts "" where not given */
    const preference_pair *history;
    size_t n_history;
} user_fields;

enum { FIELD_HISTORY_MAX = 100000 }; /* pairs */
pgr_status field_user(const field_reader *in, const json_t *v, const field_path *p, user_fields *out);

#endif
