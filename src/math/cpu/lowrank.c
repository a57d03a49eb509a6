/* lowrank.c - a task owns a few rows: t = scale * a x by tiles of at most GEMM_TILE ranks, then out += b t by tiles.
 * Every sum is one chain of fused multiply-adds in ascending order, so that neither the split into tasks nor M
 * changes a bit. */
#include "math/cpu/lowrank.h"

#include "math/cpu/kernels.h"

enum { MIN_ROWS = 4, MAX_ROWS = 32 }; /* rows per task: a tile's transposition costs about as much as 4 rows */

typedef struct job {
    const lowrank *w;
    float *out;
    const float *x;
    size_t ldo, ldx, M, rows; /* rows: per task */
    const kernels *k;
} job;

/* t[m][i] = scale * sum_k a[first + i][k] * x[m][k] for n ranks          t: (M, GEMM_TILE), x: (M, K) rows ldx apart */
static void down(const job *j, float *t, const float *x, size_t M, size_t first, size_t n) {
    _Alignas(64) float tile[GEMM_CHUNK * GEMM_TILE];
    const lowrank *w = j->w;
    for (size_t k = 0; k < w->K; k += GEMM_CHUNK) {
        size_t K = w->K - k < GEMM_CHUNK ? w->K - k : GEMM_CHUNK;
        j->k->dequant_tile(tile, QUANT_F32, w->a + first * w->K + k, w->K * sizeof *w->a, n, K);
        (k ? j->k->gemm_tile_add : j->k->gemm_tile)(t, GEMM_TILE, x + k, j->ldx, tile, M, K, n);
    }
    for (size_t m = 0; m < M; m++)
        for (size_t i = 0; i < n; i++) t[m * GEMM_TILE + i] *= w->scale;
}

/* out[m][:] += b[:][first + i] * t[m][i] over n ranks                                 t: (M, GEMM_TILE), out: (M, N) */
static void up(const job *j, float *out, const float *t, size_t M, size_t first, size_t n) {
    _Alignas(64) float tile[GEMM_TILE * GEMM_TILE];
    const lowrank *w = j->w;
    for (size_t c = 0; c < w->N; c += GEMM_TILE) {
        size_t N = w->N - c < GEMM_TILE ? w->N - c : GEMM_TILE;
        j->k->dequant_tile(tile, QUANT_F32, w->b + c * w->r + first, w->r * sizeof *w->b, N, n);
        j->k->gemm_tile_add(out + c, j->ldo, t, GEMM_TILE, tile, M, n, N);
    }
}

static void task(void *ctx, size_t index, size_t worker) {
    (void)worker;
    const job *j = ctx;
    _Alignas(64) float t[MAX_ROWS * GEMM_TILE];
    size_t m = index * j->rows, M = j->M - m < j->rows ? j->M - m : j->rows;
    for (size_t first = 0; first < j->w->r; first += GEMM_TILE) {
        size_t n = j->w->r - first < GEMM_TILE ? j->w->r - first : GEMM_TILE;
        down(j, t, j->x + m * j->ldx, M, first, n);
        up(j, j->out + m * j->ldo, t, M, first, n);
    }
}

void lowrank_add(const lowrank *w, float *out, size_t ldo, const float *x, size_t ldx, size_t M, pool *threads) {
    size_t rows = (M + pool_size(threads) - 1) / pool_size(threads);
    if (rows < MIN_ROWS) rows = MIN_ROWS;
    if (rows > MAX_ROWS) rows = MAX_ROWS;
    job j = {.w = w, .out = out, .x = x, .ldo = ldo, .ldx = ldx, .M = M, .rows = rows, .k = kernels_best()};
    pool_run(threads, (M + rows - 1) / rows, task, &j);
}

void lowrank_add_row(const lowrank *w, float *out, size_t row) {
    for (size_t i = 0; i < w->r; i++) {
        float t = w->scale * w->b[row * w->r + i];
        for (size_t k = 0; k < w->K; k++) out[k] += t * w->a[i * w->K + k];
    }
}
