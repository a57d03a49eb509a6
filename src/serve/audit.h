/* audit.h - who asked for what, a line of JSON per request, without any of its texts. Any thread. */
#ifndef PGR_SERVE_AUDIT_H
#define PGR_SERVE_AUDIT_H

#include "base/status.h"

typedef struct audit_line {
    const char *method, *route; /* the table's, not what was asked */
    const char *user;           /* "": none */
    int token;                  /* its number; 0: none is asked for, or none was known */
    int status;
    double seconds;
    size_t n_read, n_written; /* tokens */
} audit_line;

/* path NULL: none, *fd becomes -1; "-": standard error. */
pgr_status audit_open(const char *path, int *fd, pgr_error *err);
void audit_put(int fd, const audit_line *line); /* in one write */
void audit_close(int fd);

#endif
