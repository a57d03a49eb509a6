/* plots.h - the plots of the report as inline SVG: no script, colours by the page's style sheet. */
#ifndef PGR_BENCH_PLOTS_H
#define PGR_BENCH_PLOTS_H

#include "base/buf.h"
#include "pgenrm_bench.h"

/* "p-genrm Ind-8,Pro-4, stranger's history" as plain text */
void row_name(const pgr_bench_row *r, buf *out);

/* Each appends nothing where no row has what it shows.                        rows: (n) of one data set */
void plot_accuracy(const pgr_bench_row *rows, size_t n, buf *out);
void plot_calibration(const pgr_bench_row *rows, size_t n, buf *out);
void plot_chains(const pgr_bench_row *rows, size_t n, buf *out);
void plot_time(const pgr_bench_row *rows, size_t n, buf *out);

#endif
