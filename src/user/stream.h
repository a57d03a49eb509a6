/* stream.h - the JSON values of a file, one at a time: a value per line, or the items of an array; plain or gzip. */
#ifndef PGR_USER_STREAM_H
#define PGR_USER_STREAM_H

#include "base/buf.h"
#include "base/status.h"

#define STREAM_VALUE_MAX ((size_t)16 << 20) /* bytes of one value: what a damaged file can make us hold */

typedef struct stream stream;

typedef struct stream_value {
    const char *text; /* (n) the stream's, until the next call; not blank */
    size_t n;
    size_t line; /* of the file, from 1, where the value begins */
} stream_value;

/* Parquet and other files that hold no text are refused by name. */
pgr_status stream_open(const char *path /* "-": standard input */, stream **out, pgr_error *err);
void stream_close(stream *s);
const char *stream_name(const stream *s); /* for messages */

/* *more = false at the end. PGR_E_LIMIT, "FILE:LINE: ...": a value that is too long; it has been passed over, so that
 * the next call goes on behind it. After any other error the stream is at its end. */
pgr_status stream_next(stream *s, stream_value *out, bool *more, pgr_error *err);

/* Is that a line with `{` alone, as an object that is written over several lines begins? */
bool stream_is_opened_object(const stream_value *v);

uint64_t stream_read(const stream *s); /* bytes of the file so far, compressed ones if it is */
uint64_t stream_size(const stream *s); /* of the file; 0: not known */

#endif
