/* attn_back.c - backward of attention over trees of sequences (one sequence is the smallest tree). A task is one query
 * head of one tree: it goes over the tree's sequences, of each over blocks of queries, and for each over the blocks of
 * keys on the path from the root to it:
 *   P = exp(scale Q K^T - lse), dP = dO V^T, dS = scale P (dP - rowsum(dO O))
 *   dQ += dS K, dV += P^T dO, dK += dS^T Q
 * dK and dV are the query head's own; then those of the heads that share a KV head are added up, in their order. So
 * every sum has one order, whatever the threads do and whatever else is in the batch.
 * Legend: T tokens on a path, hd values per head, BLOCK rows or keys of a block. */
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "math/cpu/device.h"

enum { BLOCK = GEMM_TILE };

/* A piece of a path: n rows, one behind the other, of one sequence. */
typedef struct stretch {
    size_t row, n;
    size_t block; /* the first of its blocks in the desk */
} stretch;

/* From a tree's first token to the sequence that is worked on, whose own rows are the last stretch. */
typedef struct path {
    stretch *list; /* (n) room for every sequence of the tree */
    size_t n;
} path;

/* A worker's memory. */
typedef struct desk {
    float *k, *v;    /* (blocks, BLOCK, hd) */
    float *kT, *vT;  /* (blocks, hd, BLOCK) */
    float *q;        /* (BLOCK, hd) */
    float *p, *ds;   /* (BLOCK queries, BLOCK keys) */
    float *pT, *dsT; /* (BLOCK keys, BLOCK queries) */
    uint16_t *half;  /* (hd) */
    stretch *path;
} desk;

typedef struct back_job {
    const cpu_ops *o;
    const attn_grad *g;
    size_t *roots; /* (n_root + 1) first sequence of each tree */
    size_t n_root;
    size_t most_blocks, longest; /* of a path, sequences of a tree */
    size_t desk_floats;
    size_t n_row, stride; /* stride: of qkv and dqkv */
    float scale;
    void *desks;
} back_job;

/* A task's place in the arrays. */
typedef struct head_task {
    const back_job *job;
    desk d;
    path path;
    size_t h, k, v; /* query head; columns of its KV head in a row of qkv */
    float *sums;    /* (n_row, 2, hd) */
} head_task;

static size_t blocks_of(size_t n) {
    return (n + BLOCK - 1) / BLOCK;
}

/* ---- paths ---- */

static size_t shared_of(const attn_grad *g, size_t seq) {
    return g->shared ? g->shared[seq] : 0;
}

/* On to the next sequence of the tree: back to what it shares, then its own n rows from `row` on. */
static stretch *path_turn(path *p, size_t shared, size_t row, size_t n) {
    size_t at = 0, keep = 0;
    for (; keep < p->n && at < shared; at += p->list[keep++].n)
        if (p->list[keep].n > shared - at) p->list[keep].n = shared - at;
    const stretch *last = keep > 0 ? &p->list[keep - 1] : NULL;
    p->list[keep] = (stretch){row, n, last ? last->block + blocks_of(last->n) : 0};
    p->n = keep + 1;
    return &p->list[keep];
}

static const stretch *path_turn_to(path *p, const attn_grad *g, size_t seq) {
    return path_turn(p, shared_of(g, seq), g->start[seq], g->start[seq + 1] - g->start[seq]);
}

/* ---- memory ---- */

static size_t desk_size(const back_job *job) {
    size_t hd = job->g->head_dim, paths = (job->longest * sizeof(stretch) + sizeof(float) - 1) / sizeof(float);
    size_t floats = (4 * job->most_blocks + 1) * BLOCK * hd + 4 * BLOCK * BLOCK + (hd + 31) / 32 * 16;
    return floats + (paths + 15) / 16 * 16;
}

static desk desk_of(const back_job *job, size_t worker) {
    size_t hd = job->g->head_dim, T = job->most_blocks * BLOCK;
    float *at = (float *)job->desks + worker * job->desk_floats;
    desk d = {.k = at, .v = at + T * hd, .kT = at + 2 * T * hd, .vT = at + 3 * T * hd, .q = at + 4 * T * hd};
    d.p = d.q + BLOCK * hd;
    d.ds = d.p + BLOCK * BLOCK;
    d.pT = d.ds + BLOCK * BLOCK;
    d.dsT = d.pT + BLOCK * BLOCK;
    d.half = (uint16_t *)(void *)(d.dsT + BLOCK * BLOCK);
    d.path = (stretch *)(void *)(d.dsT + BLOCK * BLOCK + (hd + 31) / 32 * 16);
    return d;
}

/* The trees, and what the largest needs. list: room for a path */
static void measure(back_job *job, stretch *list) {
    const attn_grad *g = job->g;
    path p = {list, 0};
    for (size_t i = 0; i < g->n_seq; i++) {
        if (shared_of(g, i) == 0) job->roots[job->n_root++] = i;
        const stretch *own = path_turn_to(&p, g, i);
        size_t blocks = own->block + blocks_of(own->n), n = i + 1 - job->roots[job->n_root - 1];
        if (blocks > job->most_blocks) job->most_blocks = blocks;
        if (n > job->longest) job->longest = n;
    }
    job->roots[job->n_root] = g->n_seq;
    job->n_row = g->start[g->n_seq];
    job->stride = (g->n_head + 2 * g->n_head_kv) * g->head_dim;
    job->desk_floats = desk_size(job);
}

/* ---- a head ---- */

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

/* Keys and values of a sequence's own rows into the desk; their sums begin at 0. */
static void load_keys(const head_task *t, const stretch *own) {
    const back_job *job = t->job;
    size_t hd = job->g->head_dim;
    const float *rows = job->g->qkv + own->row * job->stride;
    for (size_t b = 0; b < blocks_of(own->n); b++, rows += BLOCK * job->stride) {
        size_t at = (own->block + b) * BLOCK * hd, n = own->n - b * BLOCK < BLOCK ? own->n - b * BLOCK : BLOCK;
        load_rows(job, &t->d, t->d.k + at, rows + t->k, n);
        load_rows(job, &t->d, t->d.v + at, rows + t->v, n);
        job->o->k->transpose_tile(t->d.kT + at, t->d.k + at, n, hd);
        job->o->k->transpose_tile(t->d.vT + at, t->d.v + at, n, hd);
    }
    memset(t->sums + own->row * 2 * hd, 0, own->n * 2 * hd * sizeof *t->sums);
}

/* R queries of the sequence's own rows. */
typedef struct query_block {
    size_t row, R;
    const float *dout; /* (R, hd) rows H hd apart */
    float *dq;         /* (R, hd) rows `stride` apart */
    float lse[BLOCK], delta[BLOCK];
} query_block;

static void load_queries(const head_task *t, query_block *q) {
    const attn_grad *g = t->job->g;
    size_t hd = g->head_dim, width = g->n_head * hd;
    const float *out = g->out + q->row * width + t->h * hd;
    q->dout = g->dout + q->row * width + t->h * hd;
    q->dq = g->dqkv + q->row * t->job->stride + t->h * hd;
    load_rows(t->job, &t->d, t->d.q, g->qkv + q->row * t->job->stride + t->h * hd, q->R);
    for (size_t r = 0; r < q->R; r++) {
        const attn_state *s = &g->softmax[(q->row + r) * g->n_head + t->h];
        double delta = 0.0;
        for (size_t i = 0; i < hd; i++) delta += (double)q->dout[r * width + i] * (double)out[r * width + i];
        q->delta[r] = (float)delta;
        q->lse[r] = s->max + logf(s->sum);
        memset(q->dq + r * t->job->stride, 0, hd * sizeof *q->dq);
    }
}

/* P and dS of the queries and the n keys of a desk's block, and both transposed. last: the block of the queries' own
 * rows, of which each sees those up to itself. */
static void weigh(const head_task *t, const query_block *q, size_t block, size_t n, bool last) {
    const kernels *k = t->job->o->k;
    const desk *d = &t->d;
    size_t hd = t->job->g->head_dim, width = t->job->g->n_head * hd, at = block * BLOCK * hd;
    memset(d->p, 0, BLOCK * BLOCK * sizeof *d->p);
    memset(d->ds, 0, BLOCK * BLOCK * sizeof *d->ds);
    k->mac(d->p, BLOCK, d->q, hd, d->kT + at, BLOCK, q->R, hd, n);
    k->mac(d->ds, BLOCK, q->dout, width, d->vT + at, BLOCK, q->R, hd, n);
    for (size_t r = 0; r < q->R; r++) {
        size_t seen = last ? r + 1 : n;
        float *p = d->p + r * BLOCK, *ds = d->ds + r * BLOCK;
        k->softmax_back(p, ds, seen, t->job->scale, q->lse[r], q->delta[r]);
        memset(p + seen, 0, (BLOCK - seen) * sizeof *p);
        memset(ds + seen, 0, (BLOCK - seen) * sizeof *ds);
    }
    k->transpose_tile(d->pT, d->p, q->R, BLOCK);
    k->transpose_tile(d->dsT, d->ds, q->R, BLOCK);
}

/* The queries and n keys, those from `row` on, in a desk's block. */
static void run_block(const head_task *t, const query_block *q, size_t row, size_t block, size_t n) {
    const kernels *k = t->job->o->k;
    const desk *d = &t->d;
    size_t hd = t->job->g->head_dim, width = t->job->g->n_head * hd;
    float *dk = t->sums + row * 2 * hd, *dv = dk + hd;
    weigh(t, q, block, n, row == q->row);
    k->mac(dv, 2 * hd, d->pT, BLOCK, q->dout, width, n, q->R, hd);
    k->mac(dk, 2 * hd, d->dsT, BLOCK, d->q, hd, n, q->R, hd);
    k->mac(q->dq, t->job->stride, d->ds, BLOCK, d->k + block * BLOCK * hd, hd, q->R, n, hd);
}

static void run_queries(const head_task *t, query_block *q) {
    load_queries(t, q);
    for (size_t i = 0; i < t->path.n; i++) {
        const stretch *s = &t->path.list[i];
        size_t end = i + 1 < t->path.n ? s->n : q->row + q->R - s->row; /* of the own rows: up to the queries */
        for (size_t at = 0; at < end; at += BLOCK)
            run_block(t, q, s->row + at, s->block + at / BLOCK, end - at < BLOCK ? end - at : BLOCK);
    }
}

static void head_back(void *ctx, size_t task, size_t worker) {
    const back_job *job = ctx;
    const attn_grad *g = job->g;
    size_t tree = task / g->n_head, h = task % g->n_head, hd = g->head_dim;
    head_task t = {.job = job, .d = desk_of(job, worker), .h = h, .sums = g->scratch + h * job->n_row * 2 * hd};
    t.path.list = t.d.path;
    t.k = (g->n_head + h / (g->n_head / g->n_head_kv)) * hd;
    t.v = t.k + g->n_head_kv * hd;
    for (size_t i = job->roots[tree]; i < job->roots[tree + 1]; i++) {
        const stretch *own = path_turn_to(&t.path, g, i);
        load_keys(&t, own);
        for (size_t at = 0; at < own->n; at += BLOCK) {
            query_block q = {.row = own->row + at, .R = own->n - at < BLOCK ? own->n - at : BLOCK};
            run_queries(&t, &q);
        }
    }
}

/* A row's dK and dV: those of the query heads of each KV head. */
static void add_heads(void *ctx, size_t row, size_t worker) {
    (void)worker;
    const back_job *job = ctx;
    const attn_grad *g = job->g;
    size_t hd = g->head_dim, group = g->n_head / g->n_head_kv;
    float *dk = g->dqkv + row * job->stride + g->n_head * hd, *dv = dk + g->n_head_kv * hd;
    for (size_t h = 0; h < g->n_head; h++) {
        const float *sum = g->scratch + (h * job->n_row + row) * 2 * hd;
        size_t at = h / group * hd;
        if (h % group == 0) {
            memcpy(dk + at, sum, hd * sizeof *dk);
            memcpy(dv + at, sum + hd, hd * sizeof *dv);
        } else {
            job->o->k->add(dk + at, sum, hd);
            job->o->k->add(dv + at, sum + hd, hd);
        }
    }
}

pgr_status cpu_attn_back(ops *o, const attn_grad *g, pgr_error *err) {
    back_job job = {.o = cpu_of(o), .g = g, .scale = 1.0f / sqrtf((float)g->head_dim)};
    stretch *list = mem_array(g->n_seq, sizeof *list);
    job.roots = mem_array(g->n_seq + 1, sizeof *job.roots);
    pgr_status s = list && job.roots ? PGR_OK : PGR_E_MEM;
    if (s == PGR_OK) {
        measure(&job, list);
        size_t bytes = pool_size(job.o->threads) * job.desk_floats * sizeof(float);
        s = pool_run_in(job.o->threads, job.n_root * g->n_head, head_back, &job, bytes, &job.desks);
    }
    if (s == PGR_OK) pool_run(job.o->threads, job.n_row, add_heads, &job);
    mem_free(job.roots);
    mem_free(list);
    return s == PGR_OK ? PGR_OK : fail_mem(err);
}
