/* robust.h - how often a text that says nothing beats the response that was chosen. */
#ifndef PGR_BENCH_ROBUST_H
#define PGR_BENCH_ROBUST_H

#include "bench/run.h"
#include "bench/summary.h"

/* Asks the cells of t that are no controls about the hollow rows (derive.h) of main->d, by fits of their own, and adds
 * what comes of it to the rows of t's lines. main: as t was filled with. */
pgr_status robust_run(const run_input *main, const verdict_table *t, const stat_source *source, arena *keep,
                      pgr_bench_row *rows, pgr_error *err);

#endif
