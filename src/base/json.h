/* json.h - jansson with our allocator and errors that name file, line and field. */
#ifndef PGR_BASE_JSON_H
#define PGR_BASE_JSON_H

#include <jansson.h>

#include "base/buf.h"
#include "base/status.h"

void json_setup(void); /* routes jansson through mem.h; every parse and create below does it, repeated calls are free */

/* Error: "ORIGIN:LINE: ...". A byte order mark at the beginning is read over. Duplicate keys are errors. *out is the
 * caller's (json_decref). first_line: number of the first line. */
pgr_status json_parse(const char *text, size_t len, const char *origin, size_t first_line, json_t **out,
                      pgr_error *err);
/* The same with every number read as a real: for files of others that hold whole numbers beyond 64 bits. */
pgr_status json_parse_reals(const char *text, size_t len, const char *origin, size_t first_line, json_t **out,
                            pgr_error *err);

/* The same where Python wrote NaN, Infinity or -Infinity (json.dumps does, for numbers that are missing): a value
 * that json_is_nan tells; to everything else it is a number. */
pgr_status json_parse_nan(const char *text, size_t len, const char *origin, size_t first_line, json_t **out,
                          pgr_error *err);
bool json_is_nan(const json_t *v);
/* In JSON text, before it is read: an escaped NUL becomes U+FFFD, which stands for what cannot be shown. */
void json_replace_nul(char *text, size_t n);

/* Where a value stands, for messages: file and field path ("user.history[2].chosen"). */
typedef struct json_at {
    const char *origin;
    const char *path;
} json_at;

/* Every key of object must be in known (NULL-terminated); the error names the nearest known key, or all of them. */
pgr_status json_only_keys(const json_t *object, const char *const *known, json_at at, pgr_error *err);
pgr_status json_want_object(const json_t *v, json_at at, pgr_error *err);
pgr_status json_want_array(const json_t *v, json_at at, pgr_error *err);
/* NUL bytes inside strings are errors. *out lives as long as v. */
pgr_status json_want_string(const json_t *v, json_at at, const char **out, pgr_error *err);
pgr_status json_want_integer(const json_t *v, json_at at, int64_t lo, int64_t hi, int64_t *out, pgr_error *err);
const char *json_kind(const json_t *v); /* "a string", "nothing", ... */

/* Objects and lists put together where memory may run out: jansson's own calls then leave a key or an item out, and
 * whoever reads the result takes it for one that was never there. Here *all of it* becomes NULL, once and for all. */
json_t *json_twin(const json_t *object); /* a copy, its values shared; NULL without memory */
void json_give(json_t **object, const char *key, json_t *value);        /* takes value over; NULL is no memory, too */
void json_share(json_t **object, const char *key, const json_t *value); /* the caller keeps his; NULL: nothing */
void json_add(json_t **list, json_t *value);                            /* as json_give, at the list's end */

/* Appends the value as text, by jansson's flags; b->failed without memory (json_dumps may then leave a part out). */
void json_put(buf *b, const json_t *v, size_t flags);
/* Appends s as a JSON string with quotes; bytes that are not UTF-8 become U+FFFD. */
void json_put_string(buf *b, const char *s, size_t n);
/* Appends a number, null if it is not finite: whole numbers below 2^53 exactly, others to 6 significant digits. */
void json_put_number(buf *b, double v);

#endif
