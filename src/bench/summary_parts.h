/* summary_parts.h - the insides of summary.c: the table's lines, and the parts of a row that have files of their
 * own. */
#ifndef PGR_BENCH_SUMMARY_PARTS_H
#define PGR_BENCH_SUMMARY_PARTS_H

#include "bench/mean.h"
#include "bench/summary.h"

typedef struct summary_work {
    const summary_input *in;
    arena *a;    /* scratch, freed at the end */
    arena *keep; /* of the rows */
    pgr_error *err;
    size_t n_row, n_line;
    const summary_line *lines;                   /* (n_line) */
    clusters by;                                 /* of the rows */
    double *points;                              /* (n_line, n_row) means over the verdicts: 1, 0, a half */
    double *values;                              /* (n_row) scratch */
    size_t n_group;                              /* prototypes */
    size_t n_most;                               /* verdicts of the line that has most */
    double *p, *y, *mapped, *confidence, *right; /* (n_most) scratch: verdicts of one line */
    pgr_gap *leads, *some;                       /* the same; some: of those that are fitted on */
    size_t *whose, *row;                         /* (n_most) scratch: their users, their rows */
    pgr_verdict_kind *kind;                      /* (n_most) scratch */
} summary_work;

/* Verdict number r of a row in a line: of runs, of strangers x runs. */
const bench_verdict *summary_at(const summary_work *w, const summary_line *line, size_t r, size_t row);
const double *summary_points(const summary_work *w, const summary_line *line);

/* summary_trust.c: probabilities and agreement */
pgr_status summary_add_trust(const summary_work *w, const summary_line *line, pgr_bench_row *out);
/* Error of the confidence in the better of two, in 10 bins from .5 to 1; p, y: (n) that the response shown first is
 * better, whether it is. Leaves confidence and right of the verdicts in w. */
double summary_confidence_error(const summary_work *w, const double *p, const double *y, size_t n);
/* summary_floor.c: ece_floor, ece_floor_clustered, together_ of the line's n verdicts that lie in w */
pgr_status summary_add_floors(const summary_work *w, size_t n, pgr_bench_row *out);
/* summary_best.c: more than two responses */
pgr_status summary_add_best(const summary_work *w, const summary_line *line, pgr_bench_row *out);

#endif
