/* base64.h - base64 (RFC 4648) as HTTP has it: with padding; the embeddings' bytes and Basic's credentials. */
#ifndef PGR_BASE_BASE64_H
#define PGR_BASE_BASE64_H

#include "base/buf.h"

void base64_put(buf *out, const void *bytes, size_t n);

/* False: it is not base64, or decodes to more than `room` bytes. Blanks behind it are passed over; padding may be
 * missing. */
bool base64_read(const char *text, size_t n, char *out, size_t room, size_t *n_out);

#endif
