/* verdict.h - what the methods said, row by row, and its journal: a JSON line per verdict,
 * written as soon as it is there. */
#ifndef PGR_BENCH_VERDICT_H
#define PGR_BENCH_VERDICT_H

#include "bench/cells.h"

typedef struct bench_verdict {
    bool known;
    double p;              /* that the chosen response is the better one; NaN: no verdict (a failure) */
    double right;          /* 1, 0; a half for a tie or a failure */
    double flip;           /* flip rate of its chains; NaN: none */
    pgr_verdict_kind kind; /* of the language model's verdicts */
    bool calibrated;       /* p is by a map for that kind; else it is what the chains alone say */
    pgr_gap lead;          /* of all its chains, the chosen response minus the other; mean NaN: none */
    size_t chains, parsed;
    size_t prompt_tokens, cached_tokens, tokens;
    double seconds;
    float *gaps; /* (n_gap) per chain of ind: score of the chosen response minus the other's; NaN: did not parse */
    size_t n_gap;
} bench_verdict;

typedef struct verdict_table { /* of one data set */
    const char *data;
    const bench_cell *cells; /* (n_cell) */
    size_t n_cell, n_run, n_row;
    const char **users; /* (n_row) whose the rows are, for who reads the journal; NULL: not told */
    bench_verdict *v; /* (n_cell, n_run, n_row) */
    arena *arena;     /* of the gaps */
} verdict_table;

bench_verdict *verdict_at(const verdict_table *t, size_t cell, size_t run, size_t row);

typedef struct journal {
    int fd; /* -1: nothing is kept */
    char *path;
} journal;

/* Opens FOLDER/verdicts.jsonl for appending (folder NULL: none).
 * A last line without an end is the trace of a kill: it is cut off. */
pgr_status journal_open(const char *folder, journal *out, pgr_error *err);
void journal_close(journal *j);
/* The table's part of the journal into the table. Lines of other data sets or of cells that are not asked are passed
 * over; a line of another shape is an error with its number. */
pgr_status journal_read(const journal *j, verdict_table *t, pgr_error *err);
/* What journal_read does with one line, without its end. origin: FILE:LINE. */
pgr_status verdict_parse(const char *line, size_t n, const char *origin, size_t number, verdict_table *t,
                         pgr_error *err);
/* Appends the verdict in one write. */
pgr_status journal_add(const journal *j, const verdict_table *t, size_t cell, size_t run, size_t row, pgr_error *err);
void verdict_write(const verdict_table *t, size_t cell, size_t run, size_t row, buf *out); /* the line with its end */

#endif
