/* cv.h - cross-validation of the statistical methods: each row is asked once, of models that have not seen its fold. */
#ifndef PGR_BENCH_CV_H
#define PGR_BENCH_CV_H

#include "bench/fits.h"
#include "bench/summary.h"

/* Adds to the rows of the table's lines (in summary_lines' order) what cross-validation says of those of statistical
 * methods. Fits of different folds run on different threads. *why: NULL, or why there are no folds (memory of a). */
pgr_status cv_run(fits *f, const bench_data *d, const verdict_table *t, const pgr_bench_options *o, pool *threads,
                  arena *a, pgr_bench_row *rows, const char **why, pgr_error *err);

#endif
