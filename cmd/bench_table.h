/* bench_table.h - the rows of a benchmark for people. */
#ifndef PGR_CMD_BENCH_TABLE_H
#define PGR_CMD_BENCH_TABLE_H

#include "pgenrm_bench.h"
#include "table.h"

/* A table per data set, then the notes. */
void bench_table_print(const screen *s, const pgr_bench_report *report);

#endif
