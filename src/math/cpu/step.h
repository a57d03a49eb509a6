/* step.h - row_step of ops.h on this CPU: one row at a time, so that a product can make its rows just before it reads
 * them. */
#ifndef PGR_MATH_CPU_STEP_H
#define PGR_MATH_CPU_STEP_H

#include "math/cpu/kernels.h"
#include "math/ops.h"

typedef struct step_job {
    const row_step *step;
    float *out; /* rows ldo apart */
    size_t ldo, n; /* n: values of a row */
    const kernels *k;
} step_job;

/* Row m, by any thread: it reads and writes no other row of out. */
void step_row(const step_job *job, size_t m);

/* All M rows, in parallel. */
void step_run(const step_job *job, size_t M, pool *threads);

#endif
