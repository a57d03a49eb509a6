/* gemm_panels.c - weights in panels: packing them, and a product as one parallel job.
 *
 * The first tasks of a job pack rows of x (and make them, if the call says so), a quad each; the others wait until
 * those are done, then multiply some panels with all rows. Tasks are claimed in order and packing waits for nobody,
 * so whoever waits waits for somebody at work; that costs less than a second job.
 *
 * Each worker has a stretch of the panels to itself and goes through it in order, so that what a kernel asks for
 * ahead of its panel is what the same core multiplies next. Who is done first helps the others. */
#include "math/cpu/gemm_panels.h"

#include <sched.h>
#include <stdatomic.h>
#include <string.h>

#include "base/mem.h"
#include "math/cpu/level.h"

/* ---- packing ---- */

typedef struct pack_job {
    const panel_weights *w;
    const gemm_stack *stack;
    void *rows; /* (workers, K) fp32 */
} pack_job;

static void pack_task(void *ctx, size_t panel, size_t worker) {
    const pack_job *job = ctx;
    const panel_weights *w = job->w;
    float *row = (float *)job->rows + worker * w->K;
    char *out = w->data + panel * w->panel_bytes;
    memset(out, 0, w->panel_bytes);
    size_t n = panel * w->kernels->panel;
    for (size_t column = 0; column < w->kernels->panel && n + column < w->N; column++) {
        if (w->kernels->pack_file) {
            w->kernels->pack_file(out, column, stack_file_row(job->stack, n + column), w->K);
            continue;
        }
        stack_row(job->stack, n + column, row);
        w->kernels->pack_column(out, column, row, w->K);
    }
}

/* Weights that all have type Q4_1 keep their own four bits where the level has products for them. */
static const gemm_kernels *pick_kernels(gemm_form form, const gemm_stack *s) {
    const cpu_level *level = cpu_best();
    if (form == GEMM_F32) return level->f32;
    if (form == GEMM_BF16) return level->bf16;
    bool q4 = level->q4 != NULL;
    for (size_t i = 0; i < s->n_part; i++) q4 = q4 && s->parts[i].type == QUANT_Q4_1;
    return q4 ? level->q4 : level->int8;
}

pgr_status panels_create(gemm_form form, const gemm_stack *s, slab *memory, pool *threads, panel_weights **out,
                         pgr_error *err) {
    const gemm_kernels *kernels = pick_kernels(form, s);
    panel_weights *w = mem_zero(1, sizeof *w);
    if (!w) return fail_mem(err);
    *w = (panel_weights){.form = form, .N = s->N, .K = s->K, .kernels = kernels};
    w->n_panel = (s->N + kernels->panel - 1) / kernels->panel;
    w->panel_bytes = kernels->panel_bytes(s->K);
    pgr_status status = PGR_E_MEM;
    size_t bytes = w->n_panel <= SIZE_MAX / w->panel_bytes ? w->n_panel * w->panel_bytes : SIZE_MAX;
    w->data = w->own = memory || bytes == SIZE_MAX ? NULL : mem_huge(bytes);
    if (memory) w->data = slab_alloc(memory, bytes);
    pack_job job = {.w = w, .stack = s};
    if (w->data)
        status =
            pool_run_in(threads, w->n_panel, pack_task, &job, pool_size(threads) * s->K * sizeof(float), &job.rows);
    if (status != PGR_OK) {
        panels_free(w);
        return fail_mem(err);
    }
    *out = w;
    return PGR_OK;
}

void panels_free(panel_weights *w) {
    if (!w) return;
    mem_free(w->own);
    mem_free(w);
}

size_t panels_bytes(const panel_weights *w) {
    return sizeof *w + w->n_panel * w->panel_bytes;
}

/* ---- running ---- */

enum {
    TASKS_PER_THREAD = 16, /* about so many where there are panels enough: threads end together */
    PANELS_PER_TASK = 4,   /* at most */
    MAX_STRETCH = 16,      /* more workers than that share */
};

/* A worker's stretch of the tasks that multiply. */
typedef struct stretch {
    _Alignas(64) atomic_size_t next; /* the first that nobody has taken */
    size_t end;
} stretch;

typedef struct run_job {
    const panel_weights *w;
    const gemm_call *call;
    size_t ldx;
    void *quads; /* (n_quad, quad_bytes) */
    size_t quad_bytes, n_quad, n_block;
    size_t n_pack;           /* tasks that pack */
    size_t n_range, n_share; /* the others: ranges of panels x shares of the blocks of rows */
    size_t n_stretch;
    stretch stretches[MAX_STRETCH];
    atomic_size_t packed; /* packing tasks done */
} run_job;

static void pack_rows(run_job *job, size_t task) {
    const gemm_call *call = job->call;
    for (size_t q = pool_part(job->n_quad, job->n_pack, task); q < pool_part(job->n_quad, job->n_pack, task + 1); q++) {
        size_t m = q * QUAD, rows = call->M - m < QUAD ? call->M - m : QUAD;
        for (size_t r = 0; call->before && r < rows; r++) step_row(call->before, m + r);
        job->w->kernels->pack_quad((char *)job->quads + q * job->quad_bytes, call->x + m * job->ldx, job->ldx, rows,
                                   job->w->K);
    }
    atomic_fetch_add_explicit(&job->packed, 1, memory_order_release);
}

static void wait_for_rows(run_job *job) {
    enum { SPINS = 2000 }; /* about 20 us, longer than packing takes when nobody is interrupted */
    for (size_t i = 0; atomic_load_explicit(&job->packed, memory_order_acquire) < job->n_pack; i++)
        if (i < SPINS)
            pool_pause();
        else
            sched_yield();
}

static void multiply_range(const run_job *job, size_t range, size_t share) {
    const panel_weights *w = job->w;
    const gemm_call *call = job->call;
    const size_t width = w->kernels->panel;
    size_t first = pool_part(w->n_panel, job->n_range, range), end = pool_part(w->n_panel, job->n_range, range + 1);
    if (w->kernels->begin) w->kernels->begin();
    for (size_t b = pool_part(job->n_block, job->n_share, share); b < pool_part(job->n_block, job->n_share, share + 1);
         b++) {
        size_t q = pool_part(job->n_quad, job->n_block, b), m = q * QUAD;
        size_t m_end = pool_part(job->n_quad, job->n_block, b + 1) * QUAD;
        size_t rows = (m_end < call->M ? m_end : call->M) - m;
        for (size_t p = first; p < end; p++) {
            size_t n = p * width, columns = w->N - n < width ? w->N - n : width;
            w->kernels->multiply(call->out + m * w->N + n, w->N, rows, columns,
                                 (const char *)job->quads + q * job->quad_bytes, w->data + p * w->panel_bytes, w->K,
                                 call->add);
        }
    }
    if (w->kernels->end) w->kernels->end();
}

static void cut_stretches(run_job *job, size_t n_worker) {
    size_t n = job->n_range * job->n_share;
    job->n_stretch = n_worker < MAX_STRETCH ? n_worker : MAX_STRETCH;
    for (size_t i = 0; i < job->n_stretch; i++) {
        atomic_init(&job->stretches[i].next, pool_part(n, job->n_stretch, i));
        job->stretches[i].end = pool_part(n, job->n_stretch, i + 1);
    }
}

/* The next of the worker's own stretch, else of another's. There is one for every task of the pool. */
static size_t take_task(run_job *job, size_t worker) {
    for (size_t i = 0; i < job->n_stretch; i++) {
        stretch *s = &job->stretches[(worker + i) % job->n_stretch];
        if (atomic_load_explicit(&s->next, memory_order_relaxed) >= s->end) continue;
        size_t task = atomic_fetch_add_explicit(&s->next, 1, memory_order_relaxed);
        if (task < s->end) return task;
    }
    PGR_ASSERT(!"as many tasks as the pool was told");
    return 0;
}

static void run_task(void *ctx, size_t task, size_t worker) {
    run_job *job = ctx;
    if (task < job->n_pack) {
        pack_rows(job, task);
        return;
    }
    wait_for_rows(job);
    task = take_task(job, worker);
    multiply_range(job, task / job->n_share, task % job->n_share);
}

static size_t panels_per_task(const run_job *job, size_t n_task) {
    const panel_weights *w = job->w;
    size_t n = w->n_panel / n_task, reuse = w->kernels->reuse / w->panel_bytes;
    if (n > PANELS_PER_TASK) n = PANELS_PER_TASK;
    if (n < reuse && job->n_block >= n_task) n = reuse; /* shares of rows make the tasks */
    return n < 1 ? 1 : n;
}

pgr_status panels_run(const panel_weights *w, const gemm_call *call, pool *threads, pgr_error *err) {
    run_job job = {.w = w, .call = call, .ldx = call->ldx ? call->ldx : w->K};
    job.quad_bytes = w->kernels->quad_bytes(w->K);
    job.n_quad = (call->M + QUAD - 1) / QUAD;
    job.n_block = (job.n_quad * QUAD + w->kernels->block_rows - 1) / w->kernels->block_rows;

    size_t n_task = pool_size(threads) * TASKS_PER_THREAD;
    job.n_pack = job.n_quad < n_task ? job.n_quad : n_task;
    size_t per_task = panels_per_task(&job, n_task);
    job.n_range = (w->n_panel + per_task - 1) / per_task;
    job.n_share = (n_task + job.n_range - 1) / job.n_range;
    if (job.n_share > job.n_block) job.n_share = job.n_block;
    cut_stretches(&job, pool_size(threads));

    pgr_status status = pool_run_in(threads, job.n_pack + job.n_range * job.n_share, run_task, &job,
                                    (job.n_quad + MOST_BLOCK_ROWS / QUAD) * job.quad_bytes, &job.quads);
    return status == PGR_OK ? PGR_OK : fail_mem(err);
}
