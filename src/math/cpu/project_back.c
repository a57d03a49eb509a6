/* project_back.c - backward of a product with frozen weights and terms of low rank. Legend: t = scale a x and
 * s = scale dy b, (n, r) each.
 *
 * The rows are cut into chunks, by their number alone. A task takes a chunk, block by block, so that x and dy are read
 * once: for every term t and s of the block, dx += s a, and the chunk's own da = s^T x and db = dy^T t. Then those of
 * all chunks are added up, in their order. So every sum over rows has one order, whoever computes what. */
#include "math/cpu/project_back.h"

#include <string.h>

enum {
    ROWS = BACK_ROWS,
    CHUNK = 128, /* rows of a chunk, at least */
    MOST_CHUNKS = 64,
};

typedef struct back_job {
    back_terms of;
    const back_blocks *blocks;
    size_t chunk, n_chunk;
    size_t part; /* floats of a chunk's sums: of every term da (r, K), then db^T (r, N) */
    float *sums; /* (n_chunk, part) */
    size_t desk_bytes;
    void *desks; /* (workers) */
} back_job;

static size_t chunk_of(size_t n) {
    size_t chunk = (n + MOST_CHUNKS - 1) / MOST_CHUNKS;
    return chunk < CHUNK ? CHUNK : (chunk + ROWS - 1) / ROWS * ROWS;
}

static size_t chunks_of(size_t n) {
    return (n + chunk_of(n) - 1) / chunk_of(n);
}

static const back_blocks *blocks_of(const cpu_ops *o, gemm_form form) {
    return form == GEMM_BF16 && o->tiles ? back_blocks_tiles() : back_blocks_f32();
}

/* For up to n rows: fewer of them can be more chunks, as 8,192 are 64 and 8,193 are 43. A term's N is at most all of
 * it. */
size_t cpu_project_scratch(const ops *o, gemm_form form, size_t n, size_t K, size_t N, size_t n_term, size_t r) {
    size_t chunks = (n + CHUNK - 1) / CHUNK < MOST_CHUNKS ? (n + CHUNK - 1) / CHUNK : MOST_CHUNKS;
    size_t factors = blocks_of(cpu_of(o), form)->factor_bytes(cpu_of(o), K, N, r) / sizeof(float);
    return chunks * r * (n_term * K + N) + n_term * factors;
}

static void run_chunk(void *ctx, size_t chunk, size_t worker) {
    const back_job *j = ctx;
    size_t n = j->of.g->n, first = chunk * j->chunk, end = first + j->chunk < n ? first + j->chunk : n;
    float *sums = j->sums + chunk * j->part;
    memset(sums, 0, j->part * sizeof *sums);
    for (size_t m = first; m < end; m += ROWS)
        j->blocks->run(&j->of, (char *)j->desks + worker * j->desk_bytes, sums, m, end - m < ROWS ? end - m : ROWS);
}

/* One rank of one term: a row of da, a column of db. sums: the term's of the first chunk; its db^T becomes that of all,
 * so that the column, whose values lie apart, is gone through once. */
static void add_up(const back_job *j, const lowrank_grad *grad, float *sums, size_t i) {
    const lowrank *w = grad->term;
    const kernels *k = j->of.o->k;
    float *column = sums + w->r * w->K + i * w->N;
    for (size_t c = 0; c < j->n_chunk; c++) k->add(grad->da + i * w->K, sums + c * j->part + i * w->K, w->K);
    for (size_t c = 1; c < j->n_chunk; c++) k->add(column, column + c * j->part, w->N);
    for (size_t n = 0; n < w->N; n++) grad->db[n * w->r + i] += column[n];
}

static void add_task(void *ctx, size_t task, size_t worker) {
    (void)worker;
    const back_job *j = ctx;
    const lowrank_grad *grad = j->of.g->terms;
    float *sums = j->sums;
    for (; task >= grad->term->r; grad++) {
        task -= grad->term->r;
        sums += grad->term->r * (grad->term->K + grad->term->N);
    }
    add_up(j, grad, sums, task);
}

static void pack_task(void *ctx, size_t term, size_t worker) {
    (void)worker;
    const back_job *j = ctx;
    j->blocks->pack(&j->of, term);
}

static pgr_status run_terms(const cpu_ops *o, const project_grad *g, pgr_error *err) {
    back_job j = {.of = {.o = o, .g = g, .ldx = g->ldx ? g->ldx : g->size_x, .factors = (char *)g->scratch},
                  .blocks = blocks_of(o, g->form),
                  .chunk = chunk_of(g->n),
                  .n_chunk = chunks_of(g->n)};
    size_t factors = 0;
    for (size_t i = 0; i < g->n_term; i++) {
        const lowrank *w = g->terms[i].term;
        factors += j.blocks->factor_bytes(o, w->K, w->N, w->r);
        j.of.ranks += w->r;
        j.part += w->r * (w->K + w->N);
        j.of.rank = w->r > j.of.rank ? w->r : j.of.rank;
        j.of.width = w->N > j.of.width ? w->N : j.of.width;
    }
    j.sums = g->scratch + factors / sizeof *j.sums;
    j.desk_bytes = j.blocks->desk_bytes(&j.of);
    pool_run(o->threads, g->n_term, pack_task, &j);
    size_t bytes = pool_size(o->threads) * j.desk_bytes;
    if (pool_run_in(o->threads, j.n_chunk, run_chunk, &j, bytes, &j.desks) != PGR_OK) return fail_mem(err);
    pool_run(o->threads, j.of.ranks, add_task, &j);
    return PGR_OK;
}

pgr_status cpu_project_back(ops *o, const project_grad *g, pgr_error *err) {
    if (g->dx) {
        project_call dx = {.w = g->back, .out = g->dx, .x = (float *)(uintptr_t)g->dy, .n = g->n};
        PGR_TRY(op_project(o, &dx, err));
    }
    return g->n_term > 0 ? run_terms(cpu_of(o), g, err) : PGR_OK;
}
