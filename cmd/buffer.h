/* buffer.h - memory that is there, or the program ends with a message; files read whole. */
#ifndef PGR_CMD_BUFFER_H
#define PGR_CMD_BUFFER_H

#include <stddef.h>

void *must_alloc(size_t size); /* zeroed */
void *must_resize(void *p, size_t size);
char *must_dup(const char *s, size_t n);
char *must_join(const char *s, const char *end); /* one behind the other */

/* The whole file byte for byte, NUL-terminated; "-" is standard input. An exit status; *text is the caller's (free). */
int read_whole(const char *path, char **text, size_t *n);

#endif
