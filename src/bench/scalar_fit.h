/* scalar_fit.h - how much a reward model's score should weigh under the judge's, by the choices of a run's rows. */
#ifndef PGR_BENCH_SCALAR_FIT_H
#define PGR_BENCH_SCALAR_FIT_H

#include "bench/verdict.h"

typedef struct scalar_fit {
    size_t pairs;        /* with both a chain and a score */
    double weight;       /* points of the judge's scale for each point of the reward model's; 0: it does not help; NaN:
                          * the judge's scores tell nothing, and no weight of theirs fits */
    double with, without; /* mean log loss of both together, of the judge's alone, each with its best slope */
} scalar_fit;

/* Of the last p-genrm cell that is no control and the scalar cell, first runs. *there false: no such cells, or fewer
 * than 20 pairs. The loss is concave in two slopes: judge's b, reward model's c; weight = c / b. */
pgr_status scalar_fit_verdicts(const verdict_table *t, scalar_fit *out, bool *there, pgr_error *err);

#endif
