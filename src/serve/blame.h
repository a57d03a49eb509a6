/* blame.h - which field of a request an error speaks of: the `param` of an answer that is 400. */
#ifndef PGR_SERVE_BLAME_H
#define PGR_SERVE_BLAME_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

/* The field that a message "path.of[1].field: found X, expected Y" or "unknown key "name", ..." is about, where its
 * first part is a key of the body. out: (size) the path. False: it is about none. */
bool blame_field(const json_t *body, const char *message, char *out, size_t size);

#endif
