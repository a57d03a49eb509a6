/* capture.h - for tests: what a call writes to standard error. */
#ifndef PGR_TESTS_CAPTURE_H
#define PGR_TESTS_CAPTURE_H

#include <string.h>
#include <unistd.h>

typedef struct capture {
    int read_end, saved;
    char text[8192];
} capture;

static inline void capture_begin(capture *c) {
    int ends[2];
    fflush(stderr);
    if (pipe(ends) != 0) abort();
    c->saved = dup(STDERR_FILENO);
    c->read_end = ends[0];
    dup2(ends[1], STDERR_FILENO);
    close(ends[1]);
}

/* Less than a pipe holds (64 KiB) may be written between the two. */
static inline const char *capture_end(capture *c) {
    fflush(stderr);
    dup2(c->saved, STDERR_FILENO);
    close(c->saved);
    size_t n = 0;
    for (ssize_t got; n < sizeof c->text - 1 && (got = read(c->read_end, c->text + n, sizeof c->text - 1 - n)) > 0;)
        n += (size_t)got;
    close(c->read_end);
    c->text[n] = '\0';
    return c->text;
}

#endif
