/* project_back.c - backward of a product with frozen weights and terms of low rank. Legend: t = scale a x and
 * s = scale dy b, (n, r) each.
 *
 * A term takes two jobs. The first goes over blocks of rows: t and s, dx += s a. The second goes over blocks of columns
 * of x and of dy, each through all rows in their order: da += s^T x, db += dy^T t. So every sum over rows has one
 * order, and no two tasks add to the same place. */
#include <string.h>

#include "math/cpu/device.h"

enum {
    ROWS = 48,    /* of a task of the first job */
    COLUMNS = 64, /* of a task of the second */
    DEPTH = 128,  /* rows that are gone through at a time there: a block of columns of them stays in the first cache */
    MOST_RANK = 64, /* ranks that are added up at a time there */
};

typedef struct term_job {
    const kernels *k;
    const project_grad *g;
    const lowrank *w;
    float *da, *db;
    size_t ldx;
    float *aT;      /* (K, r) */
    float *tT, *sT; /* (r, n) */
    float *ts;      /* (n, r) t, then s in its place */
} term_job;

size_t cpu_project_scratch(size_t n, size_t K, size_t r) {
    return r * (K + 3 * n);
}

/* out: (cols, ldo), x: (rows, cols) */
static void transpose(float *out, size_t ldo, const float *x, size_t rows, size_t cols, float scale) {
    for (size_t i = 0; i < rows; i++)
        for (size_t k = 0; k < cols; k++) out[k * ldo + i] = scale * x[i * cols + k];
}

static void row_task(void *ctx, size_t task, size_t worker) {
    (void)worker;
    const term_job *j = ctx;
    const project_grad *g = j->g;
    const lowrank *w = j->w;
    size_t m = task * ROWS, n = g->n - m < ROWS ? g->n - m : ROWS, r = w->r;
    float *block = j->ts + m * r;

    memset(block, 0, n * r * sizeof *block);
    j->k->mac(block, r, g->x + m * j->ldx, j->ldx, j->aT, r, n, w->K, r);
    transpose(j->tT + m, g->n, block, n, r, w->scale);

    memset(block, 0, n * r * sizeof *block);
    j->k->mac(block, r, g->dy + m * g->size_y + w->column, g->size_y, w->b, r, n, w->N, r);
    for (size_t i = 0; i < n * r; i++) block[i] *= w->scale;
    transpose(j->sT + m, g->n, block, n, r, 1.0f);
    if (g->dx) j->k->mac(g->dx + m * w->K, w->K, block, r, w->a, w->K, n, r, w->K);
}

/* out[i][c] += sum_m left[i][m] * right[m][c], m ascending               left: (r, n), right: rows ld apart */
static void over_rows(const term_job *j, float *out, size_t ldo, const float *left, size_t r, const float *right,
                      size_t ld, size_t columns) {
    size_t n = j->g->n;
    for (size_t m = 0; m < n; m += DEPTH)
        j->k->mac(out, ldo, left + m, n, right + m * ld, ld, r, n - m < DEPTH ? n - m : DEPTH, columns);
}

static void column_task(void *ctx, size_t task, size_t worker) {
    (void)worker;
    const term_job *j = ctx;
    const project_grad *g = j->g;
    const lowrank *w = j->w;
    size_t of_x = (w->K + COLUMNS - 1) / COLUMNS, c = (task < of_x ? task : task - of_x) * COLUMNS;
    if (task < of_x) {
        over_rows(j, j->da + c, w->K, j->sT, w->r, g->x + c, j->ldx, w->K - c < COLUMNS ? w->K - c : COLUMNS);
        return;
    }
    _Alignas(64) float sum[MOST_RANK * COLUMNS];
    size_t columns = w->N - c < COLUMNS ? w->N - c : COLUMNS;
    for (size_t first = 0; first < w->r; first += MOST_RANK) {
        size_t r = w->r - first < MOST_RANK ? w->r - first : MOST_RANK;
        float *db = j->db + c * w->r + first;
        for (size_t i = 0; i < columns; i++) /* from what is there on: batches add up as one */
            for (size_t k = 0; k < r; k++) sum[k * COLUMNS + i] = db[i * w->r + k];
        over_rows(j, sum, COLUMNS, j->tT + first * g->n, r, g->dy + w->column + c, g->size_y, columns);
        for (size_t i = 0; i < columns; i++)
            for (size_t k = 0; k < r; k++) db[i * w->r + k] = sum[k * COLUMNS + i];
    }
}

static void run_term(const cpu_ops *o, const project_grad *g, const lowrank_grad *t) {
    const lowrank *w = t->term;
    term_job j = {.k = o->k, .g = g, .w = w, .da = t->da, .db = t->db, .ldx = g->ldx ? g->ldx : g->size_x};
    j.aT = g->scratch;
    j.tT = j.aT + w->r * w->K;
    j.sT = j.tT + w->r * g->n;
    j.ts = j.sT + w->r * g->n;
    transpose(j.aT, w->r, w->a, w->r, w->K, 1.0f);
    pool_run(o->threads, (g->n + ROWS - 1) / ROWS, row_task, &j);
    pool_run(o->threads, (w->K + COLUMNS - 1) / COLUMNS + (w->N + COLUMNS - 1) / COLUMNS, column_task, &j);
}

pgr_status cpu_project_back(ops *o, const project_grad *g, pgr_error *err) {
    if (g->dx) {
        project_call dx = {.w = g->back, .out = g->dx, .x = (float *)(uintptr_t)g->dy, .n = g->n};
        PGR_TRY(op_project(o, &dx, err));
    }
    for (size_t i = 0; i < g->n_term; i++) run_term(cpu_of(o), g, &g->terms[i]);
    return PGR_OK;
}
