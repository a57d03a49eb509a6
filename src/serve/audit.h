/* audit.h - who asked for what, a line of JSON per request, without any of its texts. Any thread.
 *
 * Where a line cannot be written (a full disk) requests are answered nevertheless; the next line that can be begins on
 * a line of its own and has one before it that says how many are missing: {"time", "lost"}. */
#ifndef PGR_SERVE_AUDIT_H
#define PGR_SERVE_AUDIT_H

#include "base/status.h"

typedef struct audit audit;

typedef struct audit_line {
    const char *method, *route; /* the table's, not what was asked */
    const char *user;           /* "": none */
    int token;                  /* its number; 0: none is asked for, or none was known */
    int status;
    double seconds;
    size_t n_read, n_written; /* tokens */
} audit_line;

/* path NULL: none, *out becomes NULL; "-": standard error. */
pgr_status audit_open(const char *path, audit **out, pgr_error *err);
void audit_put(audit *a, const audit_line *line); /* in one write; NULL is fine */
void audit_close(audit *a);

#endif
