/* notes.h - the lines that a report has beside its numbers: what was left out, and why. */
#ifndef PGR_BENCH_NOTES_H
#define PGR_BENCH_NOTES_H

#include "base/arena.h"
#include "base/status.h"

typedef struct bench_notes {
    const char **list; /* (n) */
    size_t n;
} bench_notes;

/* One more line, memory of the arena; one that is there already is not added again. */
pgr_status notes_add(bench_notes *notes, arena *a, pgr_error *err, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

#endif
