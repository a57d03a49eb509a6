/* gemm.c - matrix products with weights: checks, the choice of form, and GEMM_FILE. GEMM_BF16 and GEMM_INT8 are
 * gemm_panels.c's, GEMM_F32 is gemm_f32.c's, which runs what gemm_panels.c has packed.
 *
 * GEMM_FILE: a task owns a range of output columns and a panel of rows. It goes over K in chunks that fit the first
 * cache: dequantise the chunk of its columns into a tile on the stack, multiply all rows by it. Every output is one
 * chain of fused multiply-adds over k ascending, so neither the split into tasks nor M can change a bit. */
#include "math/cpu/gemm.h"

#include <string.h>

#include "base/mem.h"
#include "math/cpu/gemm_f32.h"
#include "math/cpu/gemm_panels.h"
#include "math/cpu/level.h"

struct gemm_weights {
    gemm_form form;
    gemm_part *parts;      /* (n_part), by tiles: what to read */
    size_t n_part, N, K;   /* N: of all parts */
    float *rows;           /* GEMM_F32 by tiles: the rows of the only part, ours */
    panel_weights *panels; /* what is packed, or NULL */
    const kernels *kernels;
};

/* ---- by tiles ---- */

/* Values of K per tile for blocks of at most 32. Few rows: the tile (16 KiB) stays in the first cache with room for the
 * file's bytes. Many rows: longer sums in registers count more (measured: 5 % at M 256). */
enum { CHUNK_FEW = 64, CHUNK_MANY = 128, FEW_ROWS = 32 };
/* Rows of x per task: a tile's conversion costs about as much as 5 rows. */
enum { TASK_ROWS = 96, MOST_ROWS = TASK_ROWS + TASK_ROWS / 2 };

typedef struct tile_job {
    const gemm_weights *w;
    const gemm_call *call;
    size_t ldx;
    size_t width, rows; /* columns and rows per task */
    size_t n_range;     /* column ranges of all parts: none reaches into two */
} tile_job;

/* What one task computes: rows of x by columns of one part. */
typedef struct tile_range {
    const gemm_part *part;
    const char *rows; /* of the part, from the first column on */
    size_t row_bytes;
    size_t n0, n; /* columns of out */
    size_t m0, M;
} tile_range;

static size_t n_ranges(const gemm_part *p, size_t width) {
    return (p->N + width - 1) / width;
}

static tile_range find_range(const tile_job *job, size_t task) {
    const gemm_weights *w = job->w;
    size_t range = task % job->n_range, m0 = task / job->n_range * job->rows, n0 = 0;
    const gemm_part *p = w->parts;
    for (; range >= n_ranges(p, job->width); p++) {
        range -= n_ranges(p, job->width);
        n0 += p->N;
    }
    size_t first = range * job->width;
    tile_range r = {.part = p, .row_bytes = quant_row_bytes(p->type, w->K), .n0 = n0 + first, .m0 = m0};
    r.rows = (const char *)p->data + first * r.row_bytes;
    r.n = p->N - first < job->width ? p->N - first : job->width;
    r.M = job->call->M - m0 < job->rows ? job->call->M - m0 : job->rows;
    return r;
}

static size_t pick_chunk(quant_type t, size_t M) {
    size_t chunk = M <= FEW_ROWS ? CHUNK_FEW : CHUNK_MANY;
    return quant_block(t) > chunk ? GEMM_CHUNK : chunk;
}

/* Asks for values first to last of the rows: from main memory they would come row by row, each one waited for. Into the
 * second cache: the first one is full of the tile (measured, decode step at M 1 in one thread: 46 ms without, 32 into
 * the first, 20 so). */
static void prefetch_rows(const tile_range *r, size_t K, size_t first, size_t last) {
    if (last > K) last = K;
    if (first >= last) return;
    size_t at = quant_row_bytes(r->part->type, first), end = quant_row_bytes(r->part->type, last);
    const char *rows = r->rows;
    for (size_t j = 0; j < r->n; j++, rows += r->row_bytes)
        for (size_t i = at; i < end; i += 64) __builtin_prefetch(rows + i, 0, 2);
}

/* out: rows ldo apart */
static void multiply_tiles(const tile_job *job, const tile_range *r, float *out, size_t ldo) {
    const gemm_weights *w = job->w;
    quant_type t = r->part->type;
    size_t chunk = pick_chunk(t, r->M);
    _Alignas(64) float tile[GEMM_CHUNK * GEMM_TILE];
    prefetch_rows(r, w->K, 0, 2 * chunk);
    for (size_t k0 = 0; k0 < w->K; k0 += chunk) {
        size_t K = w->K - k0 < chunk ? w->K - k0 : chunk;
        prefetch_rows(r, w->K, k0 + 2 * chunk, k0 + 3 * chunk);
        w->kernels->dequant_tile(tile, t, r->rows + quant_row_bytes(t, k0), r->row_bytes, r->n, K);
        const float *x = job->call->x + r->m0 * job->ldx + k0;
        if (k0 == 0)
            w->kernels->gemm_tile(out, ldo, x, job->ldx, tile, r->M, K, r->n);
        else
            w->kernels->gemm_tile_add(out, ldo, x, job->ldx, tile, r->M, K, r->n);
    }
}

static void tile_task(void *ctx, size_t task, size_t worker) {
    (void)worker;
    const tile_job *job = ctx;
    tile_range r = find_range(job, task);
    float *out = job->call->out + r.m0 * job->w->N + r.n0;
    if (!job->call->add) {
        multiply_tiles(job, &r, out, job->w->N);
        return;
    }
    _Alignas(64) float sum[MOST_ROWS * GEMM_TILE];
    multiply_tiles(job, &r, sum, GEMM_TILE);
    for (size_t m = 0; m < r.M; m++) job->w->kernels->add(out + m * job->w->N, sum + m * GEMM_TILE, r.n);
}

/* Columns per task: the widest of 64, 48, 32 that leaves the threads least uneven work. */
static size_t pick_width(size_t N, size_t n_thread) {
    size_t best = GEMM_TILE, least = (size_t)-1;
    for (size_t width = GEMM_TILE; width >= 32; width -= 16) {
        size_t tasks = (N + width - 1) / width, work = (tasks + n_thread - 1) / n_thread * width;
        if (work < least) {
            least = work;
            best = width;
        }
    }
    return best;
}

static void run_tiles(const gemm_weights *w, const gemm_call *call, pool *threads) {
    size_t M = call->M, panels = M > MOST_ROWS ? (M + TASK_ROWS - 1) / TASK_ROWS : 1;
    tile_job job = {.w = w, .call = call, .ldx = call->ldx ? call->ldx : w->K};
    job.width = panels > 1 ? (size_t)GEMM_TILE : pick_width(w->N, pool_size(threads)); /* panels even the work out */
    job.rows = (M + panels - 1) / panels;
    for (size_t i = 0; i < w->n_part; i++) job.n_range += n_ranges(&w->parts[i], job.width);
    if (call->before) step_run(call->before, M, threads);
    pool_run(threads, job.n_range * ((M + job.rows - 1) / job.rows), tile_task, &job);
}

/* ---- GEMM_F32 where no kernels take panels: the rows in fp32 ---- */

typedef struct convert_job {
    const gemm_stack *stack;
    float *out;
} convert_job;

static void convert_task(void *ctx, size_t row, size_t worker) {
    (void)worker;
    const convert_job *job = ctx;
    stack_row(job->stack, row, job->out + row * job->stack->K);
}

static pgr_status convert_rows(gemm_weights *w, const gemm_stack *stack, pool *threads, pgr_error *err) {
    w->rows = mem_array(w->N, w->K * sizeof *w->rows);
    if (!w->rows) return fail_mem(err);
    convert_job job = {stack, w->rows};
    pool_run(threads, w->N, convert_task, &job);
    w->n_part = 1;
    w->parts[0] = (gemm_part){QUANT_F32, w->rows, w->N};
    return PGR_OK;
}

/* ---- interface ---- */

static pgr_status prepare(gemm_weights *w, slab *memory, pool *threads, pgr_error *err) {
    gemm_stack stack = {w->parts, w->n_part, w->N, w->K};
    if (w->form == GEMM_FILE) return PGR_OK;
    if (w->form != GEMM_F32 || cpu_best()->f32) return panels_create(w->form, &stack, memory, threads, &w->panels, err);
    return convert_rows(w, &stack, threads, err);
}

static pgr_status check_part(const gemm_part *p, size_t K, pgr_error *err) {
    if (!quant_known((uint32_t)p->type)) return fail(err, PGR_E_UNSUPPORTED, "type %d of weights", (int)p->type);
    if (p->N == 0 || K == 0 || K % quant_block(p->type))
        return fail(err, PGR_E_ARG, "weights of %zu x %zu values in type %s", p->N, K, quant_name((uint32_t)p->type));
    return PGR_OK;
}

pgr_status gemm_create_stack(gemm_form form, const gemm_part *parts, size_t n_part, size_t K, slab *memory,
                             pool *threads, gemm_weights **out, pgr_error *err) {
    if (n_part == 0) return fail(err, PGR_E_ARG, "a stack of no weights");
    for (size_t i = 0; i < n_part; i++) PGR_TRY(check_part(&parts[i], K, err));

    gemm_weights *w = mem_zero(1, sizeof *w);
    if (!w) return fail_mem(err);
    w->form = form, w->n_part = n_part, w->K = K, w->kernels = kernels_best();
    w->parts = mem_array(n_part, sizeof *w->parts);
    if (!w->parts) {
        gemm_free(w);
        return fail_mem(err);
    }
    memcpy(w->parts, parts, n_part * sizeof *parts);
    for (size_t i = 0; i < n_part; i++) w->N += parts[i].N;

    pgr_status status = prepare(w, memory, threads, err);
    if (status != PGR_OK) {
        gemm_free(w);
        return status;
    }
    *out = w;
    return PGR_OK;
}

pgr_status gemm_create(gemm_form form, quant_type t, const void *data, size_t N, size_t K, pool *threads,
                       gemm_weights **out, pgr_error *err) {
    return gemm_create_stack(form, &(gemm_part){t, data, N}, 1, K, NULL, threads, out, err);
}

void gemm_free(gemm_weights *w) {
    if (!w) return;
    panels_free(w->panels);
    mem_free(w->rows);
    mem_free(w->parts);
    mem_free(w);
}

size_t gemm_bytes(const gemm_weights *w) {
    size_t rows = w->rows ? w->N * w->K * sizeof *w->rows : 0;
    return sizeof *w + w->n_part * sizeof *w->parts + rows + (w->panels ? panels_bytes(w->panels) : 0);
}

pgr_status gemm_run_call(const gemm_weights *w, const gemm_call *call, pool *threads, pgr_error *err) {
    if (call->M == 0) return PGR_OK;
    if (w->panels) return (w->form == GEMM_F32 ? f32_run : panels_run)(w->panels, call, threads, err);
    run_tiles(w, call, threads);
    return PGR_OK;
}

pgr_status gemm_run(const gemm_weights *w, float *out, const float *x, size_t M, pool *threads, pgr_error *err) {
    return gemm_run_call(w, &(gemm_call){.out = out, .x = x, .M = M}, threads, err);
}
