/* lowrank.c - a task owns a stretch of rows. It turns the factors once, all terms' side by side; then, a block of rows
 * at a time, t = scale * x a^T of all terms in one pass over x, and out += t b^T of each. For few rows, as a decode
 * step has them, turned factors do not pay: a term after the other, by tiles that are used as soon as they are turned.
 * Every sum is one chain of fused multiply-adds in ascending order, so that neither the split into tasks nor M nor the
 * other terms change a bit. Legend: K columns of x, R the terms' ranks together. */
#include "math/cpu/lowrank.h"

#include <string.h>

#include "math/cpu/kernels.h"

enum {
    MIN_ROWS = 4, /* rows per task: turning the factors costs about as much as 4 rows */
    MAX_ROWS = 256,
    BLOCK = 48,  /* rows whose x and t are in the second cache */
    STREAMS = 6, /* rows of out that are gone along together: the CPU foresees what they read */
    FEW = 32,    /* rows of a call, at most, that turned factors do not pay for */
};

typedef struct job {
    const lowrank *terms;
    size_t n_term;
    float *out;
    const float *x;
    size_t ldo, ldx, M, rows; /* rows: per task */
    size_t K, R, width;       /* width: of all terms' b^T, sum of r N */
    const kernels *k;
    size_t desk; /* floats of a worker: a^T (K, R), of every term b^T (r, N), t (BLOCK, R) */
    void *desks;
} job;

/* out[k][i] = x[i][k]                                                out: (K, n) rows ldo apart, x: (n, K) */
static void turn(const kernels *k, float *out, size_t ldo, const float *x, size_t n, size_t K) {
    _Alignas(64) float tile[GEMM_CHUNK * GEMM_TILE];
    for (size_t i = 0; i < n; i += GEMM_TILE) {
        size_t columns = n - i < GEMM_TILE ? n - i : GEMM_TILE;
        for (size_t c = 0; c < K; c += GEMM_CHUNK) {
            size_t rows = K - c < GEMM_CHUNK ? K - c : GEMM_CHUNK;
            k->dequant_tile(tile, QUANT_F32, x + i * K + c, K * sizeof *x, columns, rows);
            for (size_t r = 0; r < rows; r++)
                memcpy(out + (c + r) * ldo + i, tile + r * GEMM_TILE, columns * sizeof *out);
        }
    }
}

static void turn_factors(const job *j, float *aT, float *bT) {
    for (size_t i = 0, at = 0; i < j->n_term; i++) {
        const lowrank *w = &j->terms[i];
        turn(j->k, aT + at, j->R, w->a, w->r, j->K);
        turn(j->k, bT, w->N, w->b, w->N, w->r);
        at += w->r;
        bT += w->r * w->N;
    }
}

/* M <= BLOCK rows                                                                                  t: (M, R) */
static void down(const job *j, float *t, const float *x, const float *aT, size_t M) {
    memset(t, 0, M * j->R * sizeof *t);
    j->k->mac(t, j->R, x, j->ldx, aT, j->R, M, j->K, j->R);
    for (size_t i = 0, at = 0; i < j->n_term; at += j->terms[i++].r)
        for (size_t m = 0; m < M; m++)
            for (size_t c = 0; c < j->terms[i].r; c++) t[m * j->R + at + c] *= j->terms[i].scale;
}

static void up(const job *j, float *out, const float *t, const float *bT, size_t M) {
    for (size_t i = 0; i < j->n_term; i++) {
        const lowrank *w = &j->terms[i];
        for (size_t m = 0; m < M; m += STREAMS)
            j->k->mac(out + m * j->ldo + w->column, j->ldo, t + m * j->R, j->R, bT, w->N,
                      M - m < STREAMS ? M - m : STREAMS, w->r, w->N);
        t += w->r;
        bT += w->r * w->N;
    }
}

static void task(void *ctx, size_t index, size_t worker) {
    const job *j = ctx;
    float *aT = (float *)j->desks + worker * j->desk, *bT = aT + j->K * j->R, *t = bT + j->width;
    size_t m = index * j->rows, end = j->M - m < j->rows ? j->M : m + j->rows;
    turn_factors(j, aT, bT);
    for (; m < end; m += BLOCK) {
        size_t rows = end - m < BLOCK ? end - m : BLOCK;
        down(j, t, j->x + m * j->ldx, aT, rows);
        up(j, j->out + m * j->ldo, t, bT, rows);
    }
}

/* ---- few rows ---- */

/* t[m][i] = scale * sum_k a[first + i][k] * x[m][k] for n ranks          t: (M, GEMM_TILE), x: (M, K) rows ldx apart */
static void down_few(const job *j, const lowrank *w, float *t, const float *x, size_t M, size_t first, size_t n) {
    _Alignas(64) float tile[GEMM_CHUNK * GEMM_TILE];
    for (size_t k = 0; k < w->K; k += GEMM_CHUNK) {
        size_t K = w->K - k < GEMM_CHUNK ? w->K - k : GEMM_CHUNK;
        j->k->dequant_tile(tile, QUANT_F32, w->a + first * w->K + k, w->K * sizeof *w->a, n, K);
        (k ? j->k->gemm_tile_add : j->k->gemm_tile)(t, GEMM_TILE, x + k, j->ldx, tile, M, K, n);
    }
    for (size_t m = 0; m < M; m++)
        for (size_t i = 0; i < n; i++) t[m * GEMM_TILE + i] *= w->scale;
}

/* out[m][:] += b[:][first + i] * t[m][i] over n ranks                                 t: (M, GEMM_TILE), out: (M, N) */
static void up_few(const job *j, const lowrank *w, float *out, const float *t, size_t M, size_t first, size_t n) {
    _Alignas(64) float tile[GEMM_TILE * GEMM_TILE];
    for (size_t c = 0; c < w->N; c += GEMM_TILE) {
        size_t N = w->N - c < GEMM_TILE ? w->N - c : GEMM_TILE;
        j->k->dequant_tile(tile, QUANT_F32, w->b + c * w->r + first, w->r * sizeof *w->b, N, n);
        j->k->gemm_tile_add(out + c, j->ldo, t, GEMM_TILE, tile, M, n, N);
    }
}

static void few_task(void *ctx, size_t index, size_t worker) {
    (void)worker;
    const job *j = ctx;
    _Alignas(64) float t[FEW * GEMM_TILE];
    size_t m = index * j->rows, M = j->M - m < j->rows ? j->M - m : j->rows;
    for (size_t i = 0; i < j->n_term; i++) {
        const lowrank *w = &j->terms[i];
        for (size_t first = 0; first < w->r; first += GEMM_TILE) {
            size_t n = w->r - first < GEMM_TILE ? w->r - first : GEMM_TILE;
            down_few(j, w, t, j->x + m * j->ldx, M, first, n);
            up_few(j, w, j->out + m * j->ldo + w->column, t, M, first, n);
        }
    }
}

pgr_status lowrank_add(const lowrank *terms, size_t n, float *out, size_t ldo, const float *x, size_t ldx, size_t M,
                       pool *threads, pgr_error *err) {
    job j = {.terms = terms, .n_term = n, .out = out, .x = x, .ldo = ldo, .ldx = ldx, .M = M, .k = kernels_best()};
    if (n == 0 || M == 0) return PGR_OK;
    j.K = terms[0].K;
    for (size_t i = 0; i < n; i++) {
        PGR_ASSERT(terms[i].K == j.K);
        j.R += terms[i].r;
        j.width += terms[i].r * terms[i].N;
    }
    j.desk = (j.K * j.R + j.width + BLOCK * j.R + 15) / 16 * 16; /* whole lines */
    j.rows = (M + pool_size(threads) - 1) / pool_size(threads);
    if (j.rows < MIN_ROWS) j.rows = MIN_ROWS;
    if (j.rows > MAX_ROWS) j.rows = MAX_ROWS;
    if (M <= FEW) {
        pool_run(threads, (M + j.rows - 1) / j.rows, few_task, &j);
        return PGR_OK;
    }
    size_t bytes = pool_size(threads) * j.desk * sizeof(float);
    if (pool_run_in(threads, (M + j.rows - 1) / j.rows, task, &j, bytes, &j.desks) != PGR_OK) return fail_mem(err);
    return PGR_OK;
}

void lowrank_add_row(const lowrank *w, float *out, size_t row) {
    for (size_t i = 0; i < w->r; i++) {
        float t = w->scale * w->b[row * w->r + i];
        for (size_t k = 0; k < w->K; k++) out[k] += t * w->a[i * w->K + k];
    }
}
