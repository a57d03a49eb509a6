/* pool.h - a fixed set of threads that run tasks 0..n-1 of one job at a time. The caller works too. */
#ifndef PGR_BASE_POOL_H
#define PGR_BASE_POOL_H

#include "base/status.h"

typedef struct pool pool;
typedef void (*pool_fn)(void *ctx, size_t task, size_t worker); /* worker < pool_size */

pgr_status pool_create(int n_thread /* 0: all cores */, pool **out, pgr_error *err);
void pool_free(pool *p);
size_t pool_size(const pool *p); /* threads, the caller counted; 1 for NULL */

/* Runs fn(ctx, t, worker) for every t < n_task, returns when all are done. p NULL: in this thread. Which worker takes
 * which task is not determined: results must not depend on it. Calls from several threads at once are serialised; fn
 * must not run the same pool again. */
void pool_run(pool *p, size_t n_task, pool_fn fn, void *ctx);

/* The same for a job that needs memory: *memory points to size bytes, aligned to 64, before the first task runs and
 * until the last is done. The pool keeps them for its next job and gives them back in pool_free; NULL allocates them
 * for this job. PGR_E_MEM: nothing was run. */
pgr_status pool_run_in(pool *p, size_t n_task, pool_fn fn, void *ctx, size_t size, void **memory);

/* The first of part i when n things are cut into n_part nearly equal parts, one or several for each task; n for i =
 * n_part. */
size_t pool_part(size_t n, size_t n_part, size_t i);

void pool_pause(void); /* inside a loop that waits for another core */
int cpu_count(void);

#endif
