/* file_out.h - a file that gets its name when it is whole: written as PATH.part, renamed by file_out_commit. Until then
 * an older file of that name stays as it is. A link stays one: what it points to is written. A device, a pipe or a
 * socket is written into as it is, and stays what it is. */
#ifndef PGR_BASE_FILE_OUT_H
#define PGR_BASE_FILE_OUT_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"

typedef struct file_out {
    char *path, *place, *part; /* as it was named; where it goes; what is written */
    int fd;
    bool direct; /* part is place: no name to give */
    uint64_t n;  /* bytes written */
} file_out;      /* all zero: none */

/* Where a file of this name goes: behind links. False: there is a device, a pipe or a socket. */
bool file_out_place(const char *path, char place[PATH_MAX]);

pgr_status file_out_open(const char *path, file_out *out, pgr_error *err);
/* On error the caller still aborts. */
pgr_status file_out_write(file_out *f, const void *p, size_t n, pgr_error *err);
/* All bytes on the disk, then the name. f is all zero afterwards, on error too (the part is removed). */
pgr_status file_out_commit(file_out *f, pgr_error *err);
void file_out_abort(file_out *f); /* removes the part; nothing for one that is all zero */

/* A whole file at once. */
pgr_status file_write(const char *path, const void *p, size_t n, pgr_error *err);

#endif
