/* gemm.c - matrix products with weights: checks, the choice of form, and GEMM_FILE. The packed forms are gemm_dnnl.c's.
 *
 * GEMM_FILE: a task owns a range of output columns and a panel of rows. It goes over K in chunks that fit the first
 * cache: dequantise the chunk of its columns into a tile on the stack, multiply all rows by it. Every output is one
 * chain of fused multiply-adds over k ascending, so neither the split into tasks nor M can change a bit. */
#include "math/gemm.h"

#include "base/mem.h"
#include "math/gemm_dnnl.h"
#include "math/kernels.h"

struct gemm_weights {
    gemm_form form;
    quant_type type;        /* of data */
    const void *data;       /* GEMM_FILE and GEMM_F32 by tiles: N rows of K values */
    float *rows;            /* GEMM_F32 by tiles: data, ours */
    packed_weights *packed; /* NULL: by tiles */
    size_t N, K, row_bytes;
    const kernels *kernels;
};

/* ---- by tiles ---- */

/* Values of K per tile for blocks of at most 32. Few rows: the tile (16 KiB) stays in the first cache with room for the
 * file's bytes. Many rows: longer sums in registers count more (measured: 5 % at M 256). */
enum { CHUNK_FEW = 64, CHUNK_MANY = 128, FEW_ROWS = 32 };
enum { PANEL_ROWS = 96 }; /* rows of x per task: a tile's conversion costs about as much as 5 rows */

typedef struct tile_job {
    const gemm_weights *w;
    float *out;
    const float *x;
    size_t M;
    size_t width, rows; /* columns and rows per task */
    size_t n_range;     /* column ranges */
} tile_job;

static size_t pick_chunk(quant_type t, size_t M) {
    size_t chunk = M <= FEW_ROWS ? CHUNK_FEW : CHUNK_MANY;
    return quant_block(t) > chunk ? GEMM_CHUNK : chunk;
}

/* Asks for values first to last of n rows: from main memory they would come row by row, each one waited for. Into the
 * second cache: the first one is full of the tile (measured, decode step at M 1 in one thread: 46 ms without, 32 into
 * the first, 20 so). */
static void prefetch_rows(const gemm_weights *w, const char *rows, size_t n, size_t first, size_t last) {
    if (last > w->K) last = w->K;
    if (first >= last) return;
    size_t at = quant_row_bytes(w->type, first), end = quant_row_bytes(w->type, last);
    for (size_t j = 0; j < n; j++, rows += w->row_bytes)
        for (size_t i = at; i < end; i += 64) __builtin_prefetch(rows + i, 0, 2);
}

static void tile_task(void *ctx, size_t task, size_t worker) {
    (void)worker;
    const tile_job *job = ctx;
    const gemm_weights *w = job->w;
    size_t n0 = task % job->n_range * job->width, m0 = task / job->n_range * job->rows;
    size_t n = w->N - n0 < job->width ? w->N - n0 : job->width;
    size_t M = job->M - m0 < job->rows ? job->M - m0 : job->rows;
    size_t chunk = pick_chunk(w->type, M);

    _Alignas(64) float tile[GEMM_CHUNK * GEMM_TILE];
    const char *rows = (const char *)w->data + n0 * w->row_bytes;
    float *out = job->out + m0 * w->N + n0;
    prefetch_rows(w, rows, n, 0, 2 * chunk);
    for (size_t k0 = 0; k0 < w->K; k0 += chunk) {
        size_t K = w->K - k0 < chunk ? w->K - k0 : chunk;
        prefetch_rows(w, rows, n, k0 + 2 * chunk, k0 + 3 * chunk);
        w->kernels->dequant_tile(tile, w->type, rows + quant_row_bytes(w->type, k0), w->row_bytes, n, K);
        const float *x = job->x + m0 * w->K + k0;
        if (k0 == 0)
            w->kernels->gemm_tile(out, w->N, x, w->K, tile, M, K, n);
        else
            w->kernels->gemm_tile_add(out, w->N, x, w->K, tile, M, K, n);
    }
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

static void run_tiles(const gemm_weights *w, float *out, const float *x, size_t M, pool *threads) {
    size_t panels = M > PANEL_ROWS + PANEL_ROWS / 2 ? (M + PANEL_ROWS - 1) / PANEL_ROWS : 1;
    tile_job job = {.w = w, .out = out, .x = x, .M = M};
    job.width = panels > 1 ? (size_t)GEMM_TILE : pick_width(w->N, pool_size(threads)); /* panels even the work out */
    job.rows = (M + panels - 1) / panels;
    job.n_range = (w->N + job.width - 1) / job.width;
    pool_run(threads, job.n_range * ((M + job.rows - 1) / job.rows), tile_task, &job);
}

/* ---- GEMM_F32 without oneDNN: the rows in fp32 ---- */

typedef struct convert_job {
    quant_type t;
    float *out;
    const char *data;
    size_t K, row_bytes;
} convert_job;

static void convert_task(void *ctx, size_t row, size_t worker) {
    (void)worker;
    const convert_job *job = ctx;
    quant_dequant(job->t, job->out + row * job->K, job->data + row * job->row_bytes, job->K);
}

static pgr_status convert_rows(gemm_weights *w, pool *threads, pgr_error *err) {
    w->rows = mem_array(w->N, w->K * sizeof *w->rows);
    if (!w->rows) return fail_mem(err);
    convert_job job = {w->type, w->rows, w->data, w->K, w->row_bytes};
    pool_run(threads, w->N, convert_task, &job);
    w->type = QUANT_F32;
    w->data = w->rows;
    w->row_bytes = w->K * sizeof *w->rows;
    return PGR_OK;
}

/* ---- interface ---- */

static pgr_status prepare(gemm_weights *w, pool *threads, pgr_error *err) {
    if (w->form == GEMM_FILE) return PGR_OK;
    pgr_status status = packed_create(w->form, w->type, w->data, w->N, w->K, threads, &w->packed, err);
    if (status == PGR_E_UNSUPPORTED && w->form == GEMM_F32) return convert_rows(w, threads, err);
    return status;
}

pgr_status gemm_create(gemm_form form, quant_type t, const void *data, size_t N, size_t K, pool *threads,
                       gemm_weights **out, pgr_error *err) {
    if (!quant_known((uint32_t)t)) return fail(err, PGR_E_UNSUPPORTED, "type %d of weights", (int)t);
    if (N == 0 || K == 0 || K % quant_block(t))
        return fail(err, PGR_E_ARG, "weights of %zu x %zu values in type %s", N, K, quant_name((uint32_t)t));

    gemm_weights *w = mem_zero(1, sizeof *w);
    if (!w) return fail_mem(err);
    *w = (gemm_weights){.form = form, .type = t, .data = data, .N = N, .K = K, .row_bytes = quant_row_bytes(t, K)};
    w->kernels = kernels_best();

    pgr_status status = prepare(w, threads, err);
    if (status != PGR_OK) {
        gemm_free(w);
        return status;
    }
    *out = w;
    return PGR_OK;
}

void gemm_free(gemm_weights *w) {
    if (!w) return;
    packed_free(w->packed);
    mem_free(w->rows);
    mem_free(w);
}

size_t gemm_bytes(const gemm_weights *w) {
    size_t rows = w->rows ? w->N * w->K * sizeof *w->rows : 0;
    return sizeof *w + rows + (w->packed ? packed_bytes(w->packed) : 0);
}

pgr_status gemm_run(const gemm_weights *w, float *out, const float *x, size_t M, pool *threads, pgr_error *err) {
    if (M == 0) return PGR_OK;
    if (w->packed) return packed_run(w->packed, out, x, M, threads, err);
    run_tiles(w, out, x, M, threads);
    return PGR_OK;
}
