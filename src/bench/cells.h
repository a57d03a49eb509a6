/* cells.h - what a benchmark asks of every row: a cell for each method under its settings, and their controls. */
#ifndef PGR_BENCH_CELLS_H
#define PGR_BENCH_CELLS_H

#include "bench/methods.h"
#include "bench/notes.h"
#include "bench/pairs.h"

/* A method under settings. A line of the table is a cell, or all strangers of one. */
typedef struct bench_cell {
    const char *method;
    const char *frame;             /* of the language model's prompt; NULL: the options' */
    const bench_method *statistic; /* NULL: the language model is asked */
    bool scalar;                   /* the reward model is asked, no other */
    int ind, pro;                  /* chains; 0, 0 where no language model is asked */
    bool personal;                 /* uses a history */
    bool demographics;             /* shows them */
    int stranger;                  /* 0: the user's own history; k: that of the user's kth stranger */
    bool plain;                    /* of a method that uses a history: without one */
} bench_cell;

enum { BENCH_MAX_CELLS = 4096, STRANGERS_MAX = 100 };

typedef struct bench_cells {
    bench_cell *list; /* (n) */
    size_t n;
} bench_cells;

/* The cells of one data set, memory of the arena; notes gets a line for each method that is left out. */
pgr_status cells_plan(const pgr_bench_options *o, const bench_data *d, arena *a, bench_cells *out, bench_notes *notes,
                      pgr_error *err);

#endif
