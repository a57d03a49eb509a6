/* gemm_f32.c - a product with fp32 panels: a task takes a share of the blocks of rows, a few at a time, which it packs
 * for itself, once, into memory that stays in the second cache; over them go as many panels at a time as stay there
 * beside them. Where blocks are too few for all threads a task has only a stretch of the panels. */
#include "math/cpu/gemm_f32.h"

#include <unistd.h>

enum {
    TASKS_PER_THREAD = 4, /* at least, where there are panels and rows enough: threads end together */
    LEAST_CACHE = 512 << 10,
    MOST_CACHE = 2 << 20, /* a half of it for panels, a quarter for rows */
};

typedef struct f32_job {
    const panel_weights *w;
    const gemm_call *call;
    size_t ldx, quad_bytes, block_bytes;
    size_t n_block, n_range, n_share; /* tasks: ranges of panels x shares of the blocks of rows */
    size_t at_once, panels_at_once;   /* blocks that are packed, panels that go over them */
    size_t desk_bytes;
    void *desks; /* (workers) quads of the blocks at once */
} f32_job;

static void pack_block(const f32_job *job, char *quads, size_t m, size_t rows) {
    const float *x = job->call->x + m * job->ldx;
    for (size_t r = 0; r < rows; r += QUAD, quads += job->quad_bytes, x += QUAD * job->ldx)
        job->w->kernels->pack_quad(quads, x, job->ldx, rows - r < QUAD ? rows - r : QUAD, job->w->K);
}

/* Panels first..end-1 over the packed blocks b..b_end-1. */
static void multiply_blocks(const f32_job *job, const char *quads, size_t b, size_t b_end, size_t first, size_t end) {
    const panel_weights *w = job->w;
    const gemm_call *call = job->call;
    const size_t width = w->kernels->panel, block = w->kernels->block_rows;
    for (; b < b_end; b++, quads += job->block_bytes) {
        size_t m = b * block, rows = call->M - m < block ? call->M - m : block;
        for (size_t p = first; p < end; p++) {
            size_t n = p * width, columns = w->N - n < width ? w->N - n : width;
            w->kernels->multiply(call->out + m * w->N + n, w->N, rows, columns, quads, w->data + p * w->panel_bytes,
                                 w->K, call->add);
        }
    }
}

static void run_task(void *ctx, size_t task, size_t worker) {
    const f32_job *job = ctx;
    size_t range = task / job->n_share, share = task % job->n_share, block = job->w->kernels->block_rows;
    size_t first = pool_part(job->w->n_panel, job->n_range, range),
           end = pool_part(job->w->n_panel, job->n_range, range + 1);
    size_t b_last = pool_part(job->n_block, job->n_share, share + 1), M = job->call->M;
    char *quads = (char *)job->desks + worker * job->desk_bytes;
    for (size_t b = pool_part(job->n_block, job->n_share, share), b_end; b < b_last; b = b_end) {
        b_end = b_last - b < job->at_once ? b_last : b + job->at_once;
        for (size_t i = b; i < b_end; i++)
            pack_block(job, quads + (i - b) * job->block_bytes, i * block,
                       M - i * block < block ? M - i * block : block);
        for (size_t p = first; p < end; p += job->panels_at_once)
            multiply_blocks(job, quads, b, b_end, p, end - p < job->panels_at_once ? end : p + job->panels_at_once);
    }
}

static size_t second_cache(void) {
    long cache = sysconf(_SC_LEVEL2_CACHE_SIZE);
    size_t bytes = cache > 0 ? (size_t)cache : 0;
    return bytes < LEAST_CACHE ? (size_t)LEAST_CACHE : bytes > MOST_CACHE ? (size_t)MOST_CACHE : bytes;
}

static size_t at_least_one(size_t n) {
    return n > 0 ? n : 1;
}

static void cut_tasks(f32_job *job, size_t n_thread) {
    size_t n_task = n_thread * TASKS_PER_THREAD, cache = second_cache();
    job->n_share = job->n_block < n_task ? at_least_one(job->n_block) : n_task;
    job->n_range = (n_task + job->n_share - 1) / job->n_share;
    if (job->n_range > job->w->n_panel) job->n_range = job->w->n_panel;
    size_t in_share = (job->n_block + job->n_share - 1) / job->n_share;
    job->at_once = at_least_one(cache / 4 / job->block_bytes);
    if (job->at_once > in_share) job->at_once = in_share;
    job->panels_at_once = at_least_one(cache / 2 / job->w->panel_bytes);
    job->desk_bytes = job->at_once * job->block_bytes;
}

pgr_status f32_run(const panel_weights *w, const gemm_call *call, pool *threads, pgr_error *err) {
    size_t block = w->kernels->block_rows, most = call->M < block ? call->M : block;
    f32_job job = {
        .w = w, .call = call, .ldx = call->ldx ? call->ldx : w->K, .quad_bytes = w->kernels->quad_bytes(w->K)};
    job.n_block = (call->M + block - 1) / block;
    job.block_bytes = (most + QUAD - 1) / QUAD * job.quad_bytes;
    cut_tasks(&job, pool_size(threads));
    if (call->before) step_run(call->before, call->M, threads);
    pgr_status status = pool_run_in(threads, job.n_range * job.n_share, run_task, &job,
                                    pool_size(threads) * job.desk_bytes, &job.desks);
    return status == PGR_OK ? PGR_OK : fail_mem(err);
}
