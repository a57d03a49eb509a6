/* project_back.c - backward of a product with frozen weights and terms of low rank. Legend: t = scale a x and
 * s = scale dy b, (n, r) each.
 *
 * The rows are cut into chunks, by their number alone. A task takes a chunk, block by block, so that x and dy are read
 * once: for every term t and s of the block, dx += s a, and the chunk's own da = s^T x and db = dy^T t. Then those of
 * all chunks are added up, in their order. So every sum over rows has one order, whoever computes what. */
#include <string.h>

#include "math/cpu/device.h"

enum {
    ROWS = 64,   /* of a block: with a thousand columns of x and dy it stays in the second cache */
    CHUNK = 128, /* rows of a chunk, at least */
    MOST_CHUNKS = 64,
};

typedef struct back_job {
    const cpu_ops *o;
    const project_grad *g;
    size_t ldx, chunk, n_chunk;
    size_t part;  /* floats of a chunk's sums: of every term da (r, K), then db^T (r, N) */
    float *aT;    /* of every term (K, r) */
    float *sums;  /* (n_chunk, part) */
    size_t rank;  /* the largest */
    void *blocks; /* (workers) t, s and their transposes: (4, ROWS, rank) */
} back_job;

static size_t chunk_of(size_t n) {
    size_t chunk = (n + MOST_CHUNKS - 1) / MOST_CHUNKS;
    return chunk < CHUNK ? CHUNK : (chunk + ROWS - 1) / ROWS * ROWS;
}

static size_t chunks_of(size_t n) {
    return (n + chunk_of(n) - 1) / chunk_of(n);
}

/* For up to n rows: fewer of them can be more chunks, as 8,192 are 64 and 8,193 are 43. */
size_t cpu_project_scratch(size_t n, size_t K, size_t N, size_t n_term, size_t r) {
    size_t chunks = (n + CHUNK - 1) / CHUNK < MOST_CHUNKS ? (n + CHUNK - 1) / CHUNK : MOST_CHUNKS;
    return chunks * r * (n_term * K + N) + n_term * r * K;
}

/* out: (cols, ldo), x: (rows, cols) */
static void transpose(float *out, size_t ldo, const float *x, size_t rows, size_t cols) {
    for (size_t i = 0; i < rows; i++)
        for (size_t k = 0; k < cols; k++) out[k * ldo + i] = x[i * cols + k];
}

/* out = scale x b, and its transpose           x: (n, K) rows ldx apart, b: (K, r), out: (n, r), outT: (r, ROWS) */
static void narrow(const kernels *k, float *out, float *outT, const float *x, size_t ldx, const float *b, size_t n,
                   size_t K, size_t r, float scale) {
    memset(out, 0, n * r * sizeof *out);
    k->mac(out, r, x, ldx, b, r, n, K, r);
    for (size_t i = 0; i < n * r; i++) out[i] *= scale;
    transpose(outT, ROWS, out, n, r);
}

/* n rows from row m on of one term; sums: the chunk's of the term. */
static void run_block(const back_job *j, const lowrank *w, const float *aT, float *sums, float *block, size_t m,
                      size_t n) {
    const kernels *k = j->o->k;
    const project_grad *g = j->g;
    const float *x = g->x + m * j->ldx, *dy = g->dy + m * g->size_y + w->column;
    float *t = block, *s = t + ROWS * j->rank, *tT = s + ROWS * j->rank, *sT = tT + ROWS * j->rank;
    narrow(k, t, tT, x, j->ldx, aT, n, w->K, w->r, w->scale);
    narrow(k, s, sT, dy, g->size_y, w->b, n, w->N, w->r, w->scale);
    if (g->dx) k->mac(g->dx + m * w->K, w->K, s, w->r, w->a, w->K, n, w->r, w->K);
    k->mac(sums, w->K, sT, ROWS, x, j->ldx, w->r, n, w->K);
    k->mac(sums + w->r * w->K, w->N, tT, ROWS, dy, g->size_y, w->r, n, w->N);
}

static void run_chunk(void *ctx, size_t chunk, size_t worker) {
    const back_job *j = ctx;
    const project_grad *g = j->g;
    size_t first = chunk * j->chunk, end = first + j->chunk < g->n ? first + j->chunk : g->n;
    float *block = (float *)j->blocks + worker * 4 * ROWS * j->rank, *sums = j->sums + chunk * j->part;
    memset(sums, 0, j->part * sizeof *sums);
    for (size_t m = first; m < end; m += ROWS) {
        const float *aT = j->aT;
        float *of_term = sums;
        for (size_t i = 0; i < g->n_term; i++) {
            const lowrank *w = g->terms[i].term;
            run_block(j, w, aT, of_term, block, m, end - m < ROWS ? end - m : ROWS);
            aT += w->r * w->K;
            of_term += w->r * (w->K + w->N);
        }
    }
}

/* One rank of one term: a row of da, a column of db. sums: the term's of the first chunk; its db^T becomes that of all,
 * so that the column, whose values lie apart, is gone through once. */
static void add_up(const back_job *j, const lowrank_grad *grad, float *sums, size_t i) {
    const lowrank *w = grad->term;
    const kernels *k = j->o->k;
    float *column = sums + w->r * w->K + i * w->N;
    for (size_t c = 0; c < j->n_chunk; c++) k->add(grad->da + i * w->K, sums + c * j->part + i * w->K, w->K);
    for (size_t c = 1; c < j->n_chunk; c++) k->add(column, column + c * j->part, w->N);
    for (size_t n = 0; n < w->N; n++) grad->db[n * w->r + i] += column[n];
}

static void add_task(void *ctx, size_t task, size_t worker) {
    (void)worker;
    const back_job *j = ctx;
    const lowrank_grad *grad = j->g->terms;
    float *sums = j->sums;
    for (; task >= grad->term->r; grad++) {
        task -= grad->term->r;
        sums += grad->term->r * (grad->term->K + grad->term->N);
    }
    add_up(j, grad, sums, task);
}

static pgr_status run_terms(const cpu_ops *o, const project_grad *g, pgr_error *err) {
    back_job j = {.o = o, .g = g, .ldx = g->ldx ? g->ldx : g->size_x, .chunk = chunk_of(g->n), .aT = g->scratch};
    size_t ranks = 0;
    j.n_chunk = chunks_of(g->n);
    for (size_t i = 0; i < g->n_term; i++) {
        const lowrank *w = g->terms[i].term;
        transpose(j.aT + ranks * w->K, w->r, w->a, w->r, w->K);
        ranks += w->r;
        j.part += w->r * (w->K + w->N);
        j.rank = w->r > j.rank ? w->r : j.rank;
    }
    j.sums = j.aT + ranks * g->size_x;
    size_t bytes = pool_size(o->threads) * 4 * ROWS * j.rank * sizeof(float);
    if (pool_run_in(o->threads, j.n_chunk, run_chunk, &j, bytes, &j.blocks) != PGR_OK) return fail_mem(err);
    pool_run(o->threads, ranks, add_task, &j);
    return PGR_OK;
}

pgr_status cpu_project_back(ops *o, const project_grad *g, pgr_error *err) {
    if (g->dx) {
        project_call dx = {.w = g->back, .out = g->dx, .x = (float *)(uintptr_t)g->dy, .n = g->n};
        PGR_TRY(op_project(o, &dx, err));
    }
    return g->n_term > 0 ? run_terms(cpu_of(o), g, err) : PGR_OK;
}
