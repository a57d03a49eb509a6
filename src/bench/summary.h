/* summary.h - verdicts become rows: accuracies with their errors, paired differences, calibration, cost. */
#ifndef PGR_BENCH_SUMMARY_H
#define PGR_BENCH_SUMMARY_H

#include "bench/verdict.h"

/* A line of the report: a cell, or all strangers of one, which follow each other in the table. */
typedef struct summary_line {
    size_t cell, n_cell;
    size_t n_verdict; /* of a row: cells x runs */
} summary_line;

/* lines: (n_cell) room. Returns how many there are. */
size_t summary_lines(const verdict_table *t, summary_line *lines);

typedef struct summary_input {
    const bench_data *d;
    const size_t *asked;    /* (n_test) indices of rows, as the verdicts number them */
    const verdict_table *t; /* every verdict is known */
    const pgr_bench_options *o;
    const char *model;     /* "" without one */
    const char *scalar;    /* the reward model's name, "" without one */
    const int *prototypes; /* (n_user) -1: not told; NULL: there are none */
} summary_input;

/* One row per line into out (n_line), memory of the arena. */
pgr_status summarise(const summary_input *in, arena *a, pgr_bench_row *out, pgr_error *err);

/* Where the method's base stands among the lines: the same without the user. *base: its name. n_line: there is none. */
size_t summary_base(const verdict_table *t, const summary_line *lines, size_t n_line, size_t line, bool *plain);
/* The line of all strangers of a line; n_line: none. */
size_t summary_strangers(const verdict_table *t, const summary_line *lines, size_t n_line, size_t line);

#endif
