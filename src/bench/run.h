/* run.h - fills a table of verdicts: the statistical methods at once, the language model in batches of requests. */
#ifndef PGR_BENCH_RUN_H
#define PGR_BENCH_RUN_H

#include "bench/fits.h"
#include "bench/verdict.h"

typedef struct run_input {
    const bench_data *d;
    const size_t *asked; /* (n_test) indices of rows */
    const pgr_bench_options *o;
    pgr_engine *engine; /* NULL: no cell asks the language model */
    pgr_people *people; /* for pro; NULL: no cell has any */
    fits *fits;         /* of the statistical methods */
    const journal *j;   /* every verdict goes there as soon as it is known */
    arena *a;           /* of notes and of what verdicts point to */
    bench_notes *notes;
} run_input;

/* Every verdict that is not known yet. On error, PGR_E_CANCELLED after *cancel among them,
 * those that are known are in the journal. */
pgr_status run_cells(const run_input *in, verdict_table *t, pgr_error *err);

#endif
