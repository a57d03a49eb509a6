/* bench_options.h - a benchmark's options: the defaults (pgr_bench_options_default), and what is wrong with some. */
#ifndef PGR_BENCH_BENCH_OPTIONS_H
#define PGR_BENCH_BENCH_OPTIONS_H

#include "pgenrm_bench.h"

/* Checks what can be told without the data. engine: is there a language model? */
pgr_status bench_options_check(const pgr_bench_options *o, bool engine, pgr_error *err);

#endif
