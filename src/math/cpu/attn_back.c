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
#include "math/cpu/attn_back.h"
#include "math/cpu/attn_int8.h"

enum { BLOCK = BACK_BLOCK };

/* A piece of a path: n rows, one behind the other, of one sequence. */
typedef struct stretch {
    size_t row, n;
    size_t own;   /* rows of the sequence, of which those behind n are not on the path */
    size_t block; /* the first of its blocks in the desk */
} stretch;

/* From a tree's first token to the sequence that is worked on, whose own rows are the last stretch. */
typedef struct path {
    stretch *list; /* (n) room for every sequence of the tree */
    size_t n;
} path;

/* A worker's memory. */
typedef struct desk {
    char *keys;     /* packed, the blocks of a path */
    char *queries;  /* packed, one block */
    float *k, *v;   /* (BLOCK, hd) before they are packed: keys, or queries and their dO */
    float *p, *ds;  /* (BLOCK queries, BLOCK keys) */
    uint16_t *half; /* (BLOCK, hd), or a row in int8 */
    void *scratch;
    stretch *path;
} desk;

typedef struct back_job {
    const cpu_ops *o;
    const attn_grad *g;
    size_t *roots; /* (n_root + 1) first sequence of each tree */
    size_t n_root;
    size_t *blocks; /* (n_block + 1) first row of each block of a sequence's own rows */
    size_t n_block;
    size_t most_blocks, longest; /* of a path, sequences of a tree */
    size_t desk_bytes;
    const back_products *products;
    back_sizes size;
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

/* Of n things those in the block from `at` on. */
static size_t of_block(size_t n, size_t at) {
    return n - at < BLOCK ? n - at : BLOCK;
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
    p->list[keep] = (stretch){row, n, n, last ? last->block + blocks_of(last->n) : 0};
    p->n = keep + 1;
    return &p->list[keep];
}

static const stretch *path_turn_to(path *p, const attn_grad *g, size_t seq) {
    return path_turn(p, shared_of(g, seq), g->start[seq], g->start[seq + 1] - g->start[seq]);
}

/* ---- memory ---- */

static void *take(char *from, size_t *at, size_t bytes) {
    void *p = from ? from + *at : NULL;
    *at += (bytes + 63) / 64 * 64;
    return p;
}

/* Lays the desk out in memory that begins at `from`; returns how many bytes it takes. from NULL: only that. */
static size_t lay_out(const back_job *job, char *from, desk *d) {
    size_t hd = job->g->head_dim, at = 0;
    d->keys = take(from, &at, job->most_blocks * job->size.keys);
    d->queries = take(from, &at, job->size.queries);
    d->k = take(from, &at, BLOCK * hd * sizeof *d->k);
    d->v = take(from, &at, BLOCK * hd * sizeof *d->v);
    d->p = take(from, &at, BLOCK * BLOCK * sizeof *d->p);
    d->ds = take(from, &at, BLOCK * BLOCK * sizeof *d->ds);
    d->half = take(from, &at, BLOCK * hd * sizeof *d->half);
    d->scratch = take(from, &at, job->size.scratch);
    d->path = take(from, &at, job->longest * sizeof *d->path);
    return at;
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
        for (size_t at = 0; at < own->n; at += BLOCK) job->blocks[job->n_block++] = own->row + at;
    }
    job->roots[job->n_root] = g->n_seq;
    job->n_row = job->blocks[job->n_block] = g->start[g->n_seq];
    job->stride = (g->n_head + 2 * g->n_head_kv) * g->head_dim;
}

/* ---- a head ---- */

/* As int8 has it, with a scale for the row.                                                           out, x: (hd) */
static void round_int8(const back_job *job, const desk *d, float *out, const float *x) {
    size_t hd = job->g->head_dim;
    const int8_t *bytes = (const int8_t *)d->half;
    int8_query_end end;
    job->o->k->attn_query_int8(d->half, x, hd, 1.0f);
    memcpy(&end, bytes + hd, sizeof end);
    for (size_t i = 0; i < hd; i++) out[i] = (float)bytes[i] * end.factor;
}

/* Rows as the pages have them, or will by being packed.                        out: (n, hd), x: rows `stride` apart */
static void load_rows(const back_job *job, const desk *d, float *out, const float *x, size_t n) {
    size_t hd = job->g->head_dim;
    bool round = job->g->type == KV_BF16 && !job->products->rounds;
    for (size_t t = 0; t < n; t++, x += job->stride) {
        if (round)
            job->o->k->to_bf16(d->half + t * hd, x, hd);
        else if (job->g->type == KV_INT8)
            round_int8(job, d, out + t * hd, x);
        else
            memcpy(out + t * hd, x, hd * sizeof *out);
    }
    for (size_t i = 0; round && i < n * hd; i++) out[i] = bf16_to_f32(d->half[i]);
}

/* Keys and values of a sequence's own rows into the desk; their sums begin at 0. */
static void load_keys(const head_task *t, const stretch *own) {
    const back_job *job = t->job;
    const desk *d = &t->d;
    size_t hd = job->g->head_dim;
    const float *rows = job->g->qkv + own->row * job->stride;
    for (size_t b = 0; b < blocks_of(own->n); b++, rows += BLOCK * job->stride) {
        size_t n = of_block(own->n, b * BLOCK);
        load_rows(job, d, d->k, rows + t->k, n);
        load_rows(job, d, d->v, rows + t->v, n);
        job->products->pack_keys(job->o, d->keys + (own->block + b) * job->size.keys, d->k, d->v, n, hd, d->scratch);
    }
    memset(t->sums + own->row * 2 * hd, 0, own->n * 2 * hd * sizeof *t->sums);
}

/* R queries of the sequence's own rows. */
typedef struct query_block {
    size_t row, R;
    float *dq; /* (R, hd) rows `stride` apart */
    float lse[BLOCK], delta[BLOCK];
} query_block;

static void load_queries(const head_task *t, query_block *q) {
    const back_job *job = t->job;
    const attn_grad *g = job->g;
    const desk *d = &t->d;
    size_t hd = g->head_dim, width = g->n_head * hd;
    const float *out = g->out + q->row * width + t->h * hd, *dout = g->dout + q->row * width + t->h * hd;
    q->dq = g->dqkv + q->row * job->stride + t->h * hd;
    load_rows(job, d, d->k, g->qkv + q->row * job->stride + t->h * hd, q->R);
    for (size_t r = 0; r < q->R; r++) {
        const attn_state *s = &g->softmax[(q->row + r) * g->n_head + t->h];
        q->delta[r] = (float)job->o->k->dot(dout + r * width, out + r * width, hd);
        q->lse[r] = s->max + logf(s->sum);
        memcpy(d->v + r * hd, dout + r * width, hd * sizeof *dout);
        memset(q->dq + r * job->stride, 0, hd * sizeof *q->dq);
    }
    job->products->pack_queries(job->o, d->queries, d->k, d->v, q->R, hd, d->scratch);
}

/* P and dS from scores and dP, of which each query of the block of the keys' own rows sees those up to itself. */
static void weigh(const head_task *t, const query_block *q, size_t n, bool last) {
    for (size_t r = 0; r < q->R; r++) {
        size_t seen = last ? r + 1 : n;
        float *p = t->d.p + r * BLOCK, *ds = t->d.ds + r * BLOCK;
        t->job->o->k->softmax_back(p, ds, seen, t->job->scale, q->lse[r], q->delta[r]);
        memset(p + seen, 0, (BLOCK - seen) * sizeof *p);
        memset(ds + seen, 0, (BLOCK - seen) * sizeof *ds);
    }
}

/* The queries and n of a block's `all` keys, those from `row` on, in a desk's block. */
static void run_block(const head_task *t, const query_block *q, size_t row, size_t block, size_t n, size_t all) {
    const back_job *job = t->job;
    const desk *d = &t->d;
    size_t hd = job->g->head_dim;
    const char *keys = d->keys + block * job->size.keys;
    job->products->scores(job->o, d->p, d->ds, d->queries, keys, q->R, n, hd);
    weigh(t, q, n, row == q->row);
    job->products->gradients(job->o, q->dq, job->stride, t->sums + row * 2 * hd, d->p, d->ds, d->queries, keys, q->R, n,
                             all, hd, d->scratch);
}

static void run_queries(const head_task *t, query_block *q) {
    load_queries(t, q);
    for (size_t i = 0; i < t->path.n; i++) {
        const stretch *s = &t->path.list[i];
        size_t end = i + 1 < t->path.n ? s->n : q->row + q->R - s->row; /* of the own rows: up to the queries */
        for (size_t at = 0; at < end; at += BLOCK)
            run_block(t, q, s->row + at, s->block + at / BLOCK, of_block(end, at), of_block(s->own, at));
    }
}

static void head_back(void *ctx, size_t task, size_t worker) {
    const back_job *job = ctx;
    const attn_grad *g = job->g;
    size_t tree = task / g->n_head, h = task % g->n_head, hd = g->head_dim;
    bool tiles = job->products != back_products_f32();
    head_task t = {.job = job, .h = h, .sums = g->scratch + h * job->n_row * 2 * hd};
    lay_out(job, (char *)job->desks + worker * job->desk_bytes, &t.d);
    t.path.list = t.d.path;
    if (tiles) job->o->tiles->begin();
    t.k = (g->n_head + h / (g->n_head / g->n_head_kv)) * hd;
    t.v = t.k + g->n_head_kv * hd;
    for (size_t i = job->roots[tree]; i < job->roots[tree + 1]; i++) {
        const stretch *own = path_turn_to(&t.path, g, i);
        load_keys(&t, own);
        for (size_t at = 0; at < own->n; at += BLOCK) {
            query_block q = {.row = own->row + at, .R = of_block(own->n, at)};
            run_queries(&t, &q);
        }
    }
    if (tiles) job->o->tiles->end();
}

/* dK and dV of a block's rows: those of the query heads of each KV head. */
static void add_heads(void *ctx, size_t task, size_t worker) {
    const back_job *job = ctx;
    const attn_grad *g = job->g;
    size_t hd = g->head_dim, group = g->n_head / g->n_head_kv, row = job->blocks[task], n = job->blocks[task + 1] - row;
    float *dk = g->dqkv + row * job->stride + g->n_head * hd, *dv = dk + g->n_head_kv * hd;
    desk d;
    lay_out(job, (char *)job->desks + worker * job->desk_bytes, &d);
    for (size_t t = 0; t < n; t++) memset(dk + t * job->stride, 0, 2 * g->n_head_kv * hd * sizeof *dk);
    for (size_t h = 0; h < g->n_head; h++)
        job->products->add(job->o, dk + h / group * hd, dv + h / group * hd, job->stride,
                           g->scratch + (h * job->n_row + row) * 2 * hd, n, hd, d.scratch);
}

static pgr_status run(back_job *job) {
    desk d;
    job->desk_bytes = lay_out(job, NULL, &d);
    size_t bytes = pool_size(job->o->threads) * job->desk_bytes;
    PGR_TRY(pool_run_in(job->o->threads, job->n_root * job->g->n_head, head_back, job, bytes, &job->desks));
    return pool_run_in(job->o->threads, job->n_block, add_heads, job, bytes, &job->desks);
}

pgr_status cpu_attn_back(ops *o, const attn_grad *g, pgr_error *err) {
    back_job job = {.o = cpu_of(o), .g = g, .scale = 1.0f / sqrtf((float)g->head_dim)};
    if (g->type == KV_BF16) job.products = back_products_tiles(job.o, g->head_dim);
    if (!job.products) job.products = back_products_f32();
    job.products->sizes(job.o, g->head_dim, &job.size);
    stretch *list = mem_array(g->n_seq, sizeof *list);
    job.roots = mem_array(g->n_seq + 1, sizeof *job.roots);
    job.blocks = mem_array(g->start[g->n_seq] / BLOCK + g->n_seq + 1, sizeof *job.blocks);
    pgr_status s = list && job.roots && job.blocks ? PGR_OK : PGR_E_MEM;
    if (s == PGR_OK) {
        measure(&job, list);
        s = run(&job);
    }
    mem_free(job.roots);
    mem_free(job.blocks);
    mem_free(list);
    return s == PGR_OK ? PGR_OK : fail_mem(err);
}
