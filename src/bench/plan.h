/* plan.h - what a benchmark run is made of: cells, the settings that decide its numbers,
 * and how verdicts are stored. */
#ifndef PGR_BENCH_PLAN_H
#define PGR_BENCH_PLAN_H

#include "base/arena.h"
#include "base/json.h"
#include "bench/methods.h"
#include "bench/pairs.h"

/* What is asked of every row: a method under settings. A line of the table is a cell, or all strangers of one. */
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

/* The cells of one data set, memory of the arena; notes gets a line for each method that is left out. */
typedef struct bench_cells {
    bench_cell *list; /* (n) */
    size_t n;
} bench_cells;
typedef struct bench_notes {
    const char **list; /* (n) */
    size_t n;
} bench_notes;

pgr_status plan_cells(const pgr_bench_options *o, const bench_data *d, arena *a, bench_cells *out, bench_notes *notes,
                      pgr_error *err);
pgr_status plan_note(bench_notes *notes, arena *a, pgr_error *err, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* Checks what can be told without the data. */
pgr_status plan_check(const pgr_bench_options *o, bool engine, pgr_error *err);

/* Everything that the numbers depend on, as an object: the options, the model's fingerprint (a number that its weights,
 * its arithmetic and its adapters decide) and the data's digests. engine may be NULL. *out: json_decref. */
pgr_status plan_settings(const pgr_bench_options *o, pgr_engine *engine, const bench_data *const *sets, size_t n_set,
                         json_t **out, pgr_error *err);
/* The folder is made where it is missing. A folder without a plan gets this one; one with a plan must be resumed, with
 * the same settings: else PGR_E_ARG that names the first difference. */
pgr_status plan_keep(const char *folder, const json_t *settings, bool resume, pgr_error *err);

uint64_t plan_digest(const bench_data *d); /* of all texts, users and roles of the rows */

#endif
