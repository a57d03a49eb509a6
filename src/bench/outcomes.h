/* outcomes.h - verdicts beside what the users chose, by kind of verdict, and the calibration that is fitted on them
 * (`--calibration-out`). */
#ifndef PGR_BENCH_OUTCOMES_H
#define PGR_BENCH_OUTCOMES_H

#include "bench/verdict.h"

typedef struct outcomes { /* of one kind */
    double *x, *y;        /* (n) what the chains say of the response shown first, whether it was chosen */
    pgr_gap *leads;       /* (n) its lead */
    size_t n;
} outcomes;

/* Every verdict has a lead, and some are of two chains or more: a map over them can be fitted. */
bool outcomes_all_lead(const pgr_gap *leads, size_t n);

/* Adds the verdicts of the last p-genrm cell that is no control. of: by kind, memory of the arena. */
pgr_status outcomes_add(const verdict_table *t, outcomes of[PGR_VERDICT_KINDS], arena *a, pgr_error *err);

/* Can a calibration be written there? A file that is there must be empty or a calibration, of which maps may stay. */
pgr_status outcomes_check(const char *path, const char *kind, pgr_error *err);

/* Fits a map for each kind (kind NULL) or one, of those that have enough outcomes, and writes them; a map for another
 * kind that the file has stays in it. Notes say what was fitted on how many, left out, kept. PGR_E_ARG: none was
 * fitted, the file is as before. */
pgr_status outcomes_write(const outcomes of[PGR_VERDICT_KINDS], const char *path, const char *kind, bench_notes *notes,
                          arena *a, pgr_error *err);

#endif
