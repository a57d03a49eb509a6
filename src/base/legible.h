/* legible.h - text from outside (names of files, arguments, what a model says of itself) may be any bytes; here it
 * becomes UTF-8, each byte that is none U+FFFD. jansson refuses other strings, which looks like a lack of memory. */
#ifndef PGR_BASE_LEGIBLE_H
#define PGR_BASE_LEGIBLE_H

#include <jansson.h>

#include "base/buf.h"

void legible_add(buf *b, const char *s, size_t n); /* appends */
/* The last part of a path, trailing slashes aside. The caller's (mem_free); NULL: no memory. */
char *legible_name(const char *path);
/* A JSON string; of NULL: null. NULL is no memory, and nothing else. */
json_t *legible_json(const char *s);
json_t *legible_json_n(const char *s, size_t n);

#endif
