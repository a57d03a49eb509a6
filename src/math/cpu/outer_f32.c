/* outer_f32.c - dw += dy^T x in fp32: every value of dw is one chain over the batch's rows, ascending, that begins with
 * what dw holds.
 *
 * With kernels for panels a task takes a stretch of dw's columns and a share of its rows. DEPTH rows of the batch at a
 * time: x becomes panels and dy quads by mere copying, as both stand across already. Else blocks of dw take their rows
 * directly. */
#include <string.h>

#include "math/cpu/device.h"

enum {
    BLOCK = 64,           /* rows of dw of a task without panels */
    DEPTH = 1024,         /* rows of the batch: a panel of them is an eighth of a second cache of 1 MB */
    PANELS = 6,           /* of a task, at most */
    TASKS_PER_THREAD = 4, /* at least, where dw is large enough */
};

typedef struct outer_job {
    const cpu_ops *o;
    const outer_call *call;
    size_t ldx;
    size_t n_panel, n_block, n_range, n_share; /* tasks: ranges of panels x shares of the blocks of rows */
    size_t panels_bytes, desk_bytes;
    void *desks; /* (workers) panels of x, quads of dy; or (BLOCK, n) dy turned */
} outer_job;

/* Quads of columns of dy, n rows of the batch; missing columns become zeros.        dy: (n, columns) rows ldy apart */
static void pack_quads(char *quads, size_t quad_bytes, const float *dy, size_t ldy, size_t n, size_t columns) {
    size_t whole = columns / QUAD, rest = columns % QUAD;
    for (size_t m = 0; m < n; m++, dy += ldy) {
        char *to = quads + m * QUAD * sizeof *dy;
        for (size_t q = 0; q < whole; q++) memcpy(to + q * quad_bytes, dy + q * QUAD, QUAD * sizeof *dy);
        if (rest == 0) continue;
        memset(to + whole * quad_bytes, 0, QUAD * sizeof *dy);
        memcpy(to + whole * quad_bytes, dy + whole * QUAD, rest * sizeof *dy);
    }
}

/* Of dw: columns of panels, blocks of rows. */
typedef struct piece {
    size_t first, end, block, block_end;
} piece;

/* n rows of the batch from row m on. */
static void add_depth(const outer_job *job, char *desk, size_t m, size_t n, piece of) {
    const outer_call *c = job->call;
    const gemm_kernels *t = job->o->f32;
    size_t panel_bytes = t->panel_bytes(n), quad_bytes = t->quad_bytes(n);
    char *quads = desk + job->panels_bytes;
    for (size_t p = of.first; p < of.end; p++) {
        size_t k = p * t->panel, columns = c->K - k < t->panel ? c->K - k : t->panel;
        t->pack_rows(desk + (p - of.first) * panel_bytes, c->x + m * job->ldx + k, job->ldx, n, columns);
    }
    for (size_t b = of.block; b < of.block_end; b++) {
        size_t row = b * t->block_rows, rows = c->N - row < t->block_rows ? c->N - row : t->block_rows;
        pack_quads(quads, quad_bytes, c->dy + m * c->N + row, c->N, n, rows);
        for (size_t p = of.first; p < of.end; p++) {
            size_t k = p * t->panel, columns = c->K - k < t->panel ? c->K - k : t->panel;
            t->extend(c->dw + row * c->K + k, c->K, rows, columns, quads, desk + (p - of.first) * panel_bytes, n);
        }
    }
}

static void panels_task(void *ctx, size_t task, size_t worker) {
    const outer_job *job = ctx;
    size_t range = task / job->n_share, share = task % job->n_share, n = job->call->n;
    piece of = {pool_part(job->n_panel, job->n_range, range), pool_part(job->n_panel, job->n_range, range + 1),
                pool_part(job->n_block, job->n_share, share), pool_part(job->n_block, job->n_share, share + 1)};
    for (size_t m = 0; m < n; m += DEPTH)
        add_depth(job, (char *)job->desks + worker * job->desk_bytes, m, n - m < DEPTH ? n - m : DEPTH, of);
}

static size_t cut_tasks(outer_job *job) {
    const outer_call *c = job->call;
    const gemm_kernels *t = job->o->f32;
    size_t n_task = pool_size(job->o->threads) * TASKS_PER_THREAD, depth = c->n < DEPTH ? c->n : DEPTH;
    job->n_panel = (c->K + t->panel - 1) / t->panel;
    job->n_block = (c->N + t->block_rows - 1) / t->block_rows;
    job->n_range = (job->n_panel + PANELS - 1) / PANELS;
    job->n_share = (n_task + job->n_range - 1) / job->n_range;
    if (job->n_share > job->n_block) job->n_share = job->n_block;
    job->panels_bytes = PANELS * t->panel_bytes(depth);
    job->desk_bytes = job->panels_bytes + (t->block_rows + QUAD - 1) / QUAD * t->quad_bytes(depth);
    return job->n_range * job->n_share;
}

static void plain_task(void *ctx, size_t task, size_t worker) {
    const outer_job *job = ctx;
    const outer_call *c = job->call;
    size_t first = task * BLOCK, rows = c->N - first < BLOCK ? c->N - first : BLOCK;
    float *turned = (float *)(void *)((char *)job->desks + worker * job->desk_bytes);
    for (size_t m = 0; m < c->n; m++)
        for (size_t i = 0; i < rows; i++) turned[i * c->n + m] = c->dy[m * c->N + first + i];
    job->o->k->mac(c->dw + first * c->K, c->K, turned, c->n, c->x, job->ldx, rows, c->n, c->K);
}

pgr_status cpu_outer_f32(const cpu_ops *o, const outer_call *c, pgr_error *err) {
    outer_job job = {.o = o, .call = c, .ldx = c->ldx ? c->ldx : c->K, .desk_bytes = BLOCK * c->n * sizeof(float)};
    size_t n_task = o->f32 ? cut_tasks(&job) : (c->N + BLOCK - 1) / BLOCK;
    pgr_status s = pool_run_in(o->threads, n_task, o->f32 ? panels_task : plain_task, &job,
                               pool_size(o->threads) * job.desk_bytes, &job.desks);
    return s == PGR_OK ? PGR_OK : fail_mem(err);
}
