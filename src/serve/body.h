/* body.h - a request's fields read one by one. Each is false where the call has been answered with a 400 that names
 * the field; null counts as not given, and leaves what *out holds. */
#ifndef PGR_SERVE_BODY_H
#define PGR_SERVE_BODY_H

#include "serve/call.h"

bool body_number(call *c, const json_t *o, const char *key, double lo, double hi, double *out);
bool body_integer(call *c, const json_t *o, const char *key, int64_t lo, int64_t hi, int64_t *out);
bool body_flag(call *c, const json_t *o, const char *key, bool *out);
/* The object's, without a NUL in it. */
bool body_text(call *c, const json_t *o, const char *key, const char **out);
/* A text, or a list of texts: the caller's array (mem_free) of the object's texts. most: of them. */
bool body_texts(call *c, const json_t *o, const char *key, size_t most, const char ***out, size_t *n);
/* A field that we do not have, at a value that changes nothing: a number, or where it is NAN false or nothing in it. */
bool body_idle(call *c, const json_t *o, const char *key, double idle);

/* n of `what` ("bytes", "tokens") are no more than `most`. */
bool body_fits(call *c, const char *key, size_t n, size_t most, const char *what);

const json_t *body_get(const json_t *o, const char *key); /* NULL for null, too */

#endif
