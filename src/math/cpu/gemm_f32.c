/* gemm_f32.c - a product with fp32 panels: a task takes blocks of rows, one after the other, and a stretch of panels
 * that stays in the second cache meanwhile. It packs a block of rows for itself, into memory that is in the cache, too:
 * rows packed by somebody else would come from further away than the rows themselves. */
#include "math/cpu/gemm_f32.h"

#include <unistd.h>

enum {
    TASKS_PER_THREAD = 4, /* at least, where there are panels and rows enough: threads end together */
    LEAST_CACHE = 512 << 10,
    MOST_CACHE = 2 << 20,
};

typedef struct f32_job {
    const panel_weights *w;
    const gemm_call *call;
    size_t ldx, quad_bytes;
    size_t n_block, n_range, n_share; /* tasks: ranges of panels x shares of the blocks of rows */
    size_t desk_bytes;
    void *desks; /* (workers) quads of a block */
} f32_job;

/* The first of part i when n things are cut into n_part nearly equal parts. */
static size_t cut(size_t n, size_t n_part, size_t i) {
    return n / n_part * i + n % n_part * i / n_part;
}

static void pack_block(const f32_job *job, char *quads, size_t m, size_t rows) {
    const float *x = job->call->x + m * job->ldx;
    for (size_t r = 0; r < rows; r += QUAD, quads += job->quad_bytes, x += QUAD * job->ldx)
        job->w->kernels->pack_quad(quads, x, job->ldx, rows - r < QUAD ? rows - r : QUAD, job->w->K);
}

static void run_task(void *ctx, size_t task, size_t worker) {
    const f32_job *job = ctx;
    const panel_weights *w = job->w;
    const gemm_call *call = job->call;
    const size_t width = w->kernels->panel, block = w->kernels->block_rows;
    size_t range = task / job->n_share, share = task % job->n_share;
    size_t first = cut(w->n_panel, job->n_range, range), end = cut(w->n_panel, job->n_range, range + 1);
    char *quads = (char *)job->desks + worker * job->desk_bytes;
    for (size_t b = cut(job->n_block, job->n_share, share); b < cut(job->n_block, job->n_share, share + 1); b++) {
        size_t m = b * block, rows = call->M - m < block ? call->M - m : block;
        pack_block(job, quads, m, rows);
        for (size_t p = first; p < end; p++) {
            size_t n = p * width, columns = w->N - n < width ? w->N - n : width;
            w->kernels->multiply(call->out + m * w->N + n, w->N, rows, columns, quads, w->data + p * w->panel_bytes,
                                 w->K, call->add);
        }
    }
}

/* Half of the second cache is for panels. */
static size_t cache_for_panels(void) {
    long cache = sysconf(_SC_LEVEL2_CACHE_SIZE);
    size_t bytes = cache > 0 ? (size_t)cache : 0;
    return (bytes < LEAST_CACHE ? (size_t)LEAST_CACHE : bytes > MOST_CACHE ? (size_t)MOST_CACHE : bytes) / 2;
}

static void cut_tasks(f32_job *job, size_t n_thread) {
    const panel_weights *w = job->w;
    size_t n_task = n_thread * TASKS_PER_THREAD, per_range = cache_for_panels() / w->panel_bytes;
    job->n_range = per_range > 1 ? (w->n_panel + per_range - 1) / per_range : w->n_panel;
    if (job->n_range * job->n_block < n_task) job->n_range = (n_task + job->n_block - 1) / job->n_block;
    if (job->n_range > w->n_panel) job->n_range = w->n_panel;
    job->n_share = (n_task + job->n_range - 1) / job->n_range;
    if (job->n_share > job->n_block) job->n_share = job->n_block;
}

pgr_status f32_run(const panel_weights *w, const gemm_call *call, pool *threads, pgr_error *err) {
    size_t block = w->kernels->block_rows, most = call->M < block ? call->M : block;
    f32_job job = {
        .w = w, .call = call, .ldx = call->ldx ? call->ldx : w->K, .quad_bytes = w->kernels->quad_bytes(w->K)};
    job.n_block = (call->M + block - 1) / block;
    job.desk_bytes = (most + QUAD - 1) / QUAD * job.quad_bytes;
    cut_tasks(&job, pool_size(threads));
    if (call->before) step_run(call->before, call->M, threads);
    pgr_status status = pool_run_in(threads, job.n_range * job.n_share, run_task, &job,
                                    pool_size(threads) * job.desk_bytes, &job.desks);
    return status == PGR_OK ? PGR_OK : fail_mem(err);
}
