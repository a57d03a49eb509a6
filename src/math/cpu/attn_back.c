/* attn_back.c - backward of attention over whole sequences. A task is one KV head of one sequence with all query heads
 * that share it: nobody else adds to its dK and dV, and its sums have one order. It goes over blocks of queries, and
 * for each over the blocks of keys up to it:
 *   P = exp(scale Q K^T - lse), dP = dO V^T, dS = scale P (dP - rowsum(dO O))
 *   dQ += dS K, dV += P^T dO, dK += dS^T Q
 * Legend: T tokens of a sequence, hd values per head, BLOCK rows or keys of a block. */
#include <math.h>
#include <string.h>

#include "math/cpu/device.h"

enum { BLOCK = GEMM_TILE };

/* A worker's memory. */
typedef struct desk {
    float *k, *v;    /* (T, hd) T: whole blocks */
    float *kT, *vT;  /* (T / BLOCK) blocks of (hd, BLOCK) */
    float *q;        /* (BLOCK, hd) */
    float *p, *ds;   /* (BLOCK queries, BLOCK keys) */
    float *pT, *dsT; /* (BLOCK keys, BLOCK queries) */
    uint16_t *half;  /* (hd) */
} desk;

typedef struct back_job {
    const cpu_ops *o;
    const attn_grad *g;
    size_t most, desk_floats; /* most: tokens of the longest sequence, in whole blocks */
    size_t stride;            /* of qkv and dqkv */
    float scale;
    void *desks;
} back_job;

/* A task's place in the arrays. */
typedef struct head_task {
    const back_job *job;
    desk d;
    size_t first, T; /* rows of its sequence */
    size_t k, v;     /* its columns in a row of qkv */
} head_task;

static size_t blocks_of(size_t n) {
    return (n + BLOCK - 1) / BLOCK;
}

static size_t desk_size(size_t T, size_t hd) {
    return 4 * T * hd + BLOCK * hd + 4 * BLOCK * BLOCK + (hd + 31) / 32 * 16;
}

static desk desk_of(const back_job *job, size_t worker) {
    size_t hd = job->g->head_dim, T = job->most;
    float *at = (float *)job->desks + worker * job->desk_floats;
    desk d = {.k = at, .v = at + T * hd, .kT = at + 2 * T * hd, .vT = at + 3 * T * hd, .q = at + 4 * T * hd};
    d.p = d.q + BLOCK * hd;
    d.ds = d.p + BLOCK * BLOCK;
    d.pT = d.ds + BLOCK * BLOCK;
    d.dsT = d.pT + BLOCK * BLOCK;
    d.half = (uint16_t *)(void *)(d.dsT + BLOCK * BLOCK);
    return d;
}

/* Rows as the pages have them.                                         out: (n, hd), x: rows `stride` apart */
static void load_rows(const back_job *job, const desk *d, float *out, const float *x, size_t n) {
    size_t hd = job->g->head_dim;
    for (size_t t = 0; t < n; t++, out += hd, x += job->stride) {
        if (job->g->type != KV_BF16) {
            memcpy(out, x, hd * sizeof *out);
            continue;
        }
        job->o->k->to_bf16(d->half, x, hd);
        for (size_t i = 0; i < hd; i++) out[i] = bf16_to_f32(d->half[i]);
    }
}

static void load_keys(const head_task *t) {
    const back_job *job = t->job;
    size_t hd = job->g->head_dim;
    const float *rows = job->g->qkv + t->first * job->stride;
    load_rows(job, &t->d, t->d.k, rows + t->k, t->T);
    load_rows(job, &t->d, t->d.v, rows + t->v, t->T);
    for (size_t b = 0; b < blocks_of(t->T); b++) {
        size_t at = b * BLOCK * hd, n = t->T - b * BLOCK < BLOCK ? t->T - b * BLOCK : BLOCK;
        job->o->k->transpose_tile(t->d.kT + at, t->d.k + at, n, hd);
        job->o->k->transpose_tile(t->d.vT + at, t->d.v + at, n, hd);
    }
}

/* R queries of a head. */
typedef struct query_block {
    size_t block, R, h;
    const float *dout; /* (R, hd) rows H hd apart */
    float *dq;         /* (R, hd) rows `stride` apart */
    float lse[BLOCK], delta[BLOCK];
} query_block;

static void load_queries(const head_task *t, query_block *q) {
    const attn_grad *g = t->job->g;
    size_t hd = g->head_dim, width = g->n_head * hd, row = t->first + q->block * BLOCK;
    const float *out = g->out + row * width + q->h * hd;
    q->dout = g->dout + row * width + q->h * hd;
    q->dq = g->dqkv + row * t->job->stride + q->h * hd;
    load_rows(t->job, &t->d, t->d.q, g->qkv + row * t->job->stride + q->h * hd, q->R);
    for (size_t r = 0; r < q->R; r++) {
        const attn_state *s = &g->softmax[(row + r) * g->n_head + q->h];
        double delta = 0.0;
        for (size_t i = 0; i < hd; i++) delta += (double)q->dout[r * width + i] * (double)out[r * width + i];
        q->delta[r] = (float)delta;
        q->lse[r] = s->max + logf(s->sum);
        memset(q->dq + r * t->job->stride, 0, hd * sizeof *q->dq);
    }
}

/* P and dS of the queries and a block of n keys, and both transposed. */
static void weigh(const head_task *t, const query_block *q, size_t block, size_t n) {
    const kernels *k = t->job->o->k;
    const desk *d = &t->d;
    size_t hd = t->job->g->head_dim, width = t->job->g->n_head * hd, at = block * BLOCK * hd;
    memset(d->p, 0, BLOCK * BLOCK * sizeof *d->p);
    memset(d->ds, 0, BLOCK * BLOCK * sizeof *d->ds);
    k->mac(d->p, BLOCK, d->q, hd, d->kT + at, BLOCK, q->R, hd, n);
    k->mac(d->ds, BLOCK, q->dout, width, d->vT + at, BLOCK, q->R, hd, n);
    for (size_t r = 0; r < q->R; r++) {
        size_t seen = block == q->block ? r + 1 : n;
        float *p = d->p + r * BLOCK, *ds = d->ds + r * BLOCK;
        k->softmax_back(p, ds, seen, t->job->scale, q->lse[r], q->delta[r]);
        memset(p + seen, 0, (BLOCK - seen) * sizeof *p);
        memset(ds + seen, 0, (BLOCK - seen) * sizeof *ds);
    }
    k->transpose_tile(d->pT, d->p, q->R, BLOCK);
    k->transpose_tile(d->dsT, d->ds, q->R, BLOCK);
}

static void run_queries(const head_task *t, query_block *q) {
    const back_job *job = t->job;
    const kernels *k = job->o->k;
    size_t hd = job->g->head_dim, width = job->g->n_head * hd, stride = job->stride;
    load_queries(t, q);
    for (size_t block = 0; block <= q->block; block++) {
        size_t n = block == q->block ? q->R : BLOCK;
        float *dkv = job->g->dqkv + (t->first + block * BLOCK) * stride;
        weigh(t, q, block, n);
        k->mac(dkv + t->v, stride, t->d.pT, BLOCK, q->dout, width, n, q->R, hd);
        k->mac(dkv + t->k, stride, t->d.dsT, BLOCK, t->d.q, hd, n, q->R, hd);
        k->mac(q->dq, stride, t->d.ds, BLOCK, t->d.k + block * BLOCK * hd, hd, q->R, n, hd);
    }
}

static void head_back(void *ctx, size_t task, size_t worker) {
    const back_job *job = ctx;
    const attn_grad *g = job->g;
    size_t seq = task / g->n_head_kv, h = task % g->n_head_kv, group = g->n_head / g->n_head_kv, hd = g->head_dim;
    head_task t = {.job = job, .d = desk_of(job, worker), .first = g->start[seq], .k = (g->n_head + h) * hd};
    t.T = g->start[seq + 1] - t.first;
    t.v = t.k + g->n_head_kv * hd;
    load_keys(&t);
    for (size_t i = 0; i < t.T; i++) {
        float *row = g->dqkv + (t.first + i) * job->stride;
        memset(row + t.k, 0, hd * sizeof *row);
        memset(row + t.v, 0, hd * sizeof *row);
    }
    for (size_t i = h * group; i < (h + 1) * group; i++)
        for (size_t b = 0; b < blocks_of(t.T); b++) {
            query_block q = {.block = b, .h = i, .R = t.T - b * BLOCK < BLOCK ? t.T - b * BLOCK : BLOCK};
            run_queries(&t, &q);
        }
}

pgr_status cpu_attn_back(ops *o, const attn_grad *g, pgr_error *err) {
    back_job job = {.o = cpu_of(o), .g = g, .scale = 1.0f / sqrtf((float)g->head_dim)};
    job.stride = (g->n_head + 2 * g->n_head_kv) * g->head_dim;
    for (size_t i = 0; i < g->n_seq; i++) {
        size_t T = blocks_of(g->start[i + 1] - g->start[i]) * BLOCK;
        if (T > job.most) job.most = T;
    }
    job.desk_floats = desk_size(job.most, g->head_dim);
    size_t bytes = pool_size(job.o->threads) * job.desk_floats * sizeof(float);
    pgr_status s = pool_run_in(job.o->threads, g->n_seq * g->n_head_kv, head_back, &job, bytes, &job.desks);
    return s == PGR_OK ? PGR_OK : fail_mem(err);
}
