/* attn_full.c - attention over whole sentences: a task is one head of one sentence, whose keys and values it lays
 * into pages of its own. Legend: T tokens of a sentence, hd values per head. */
#include <math.h>
#include <string.h>

#include "math/cpu/device.h"

/* A worker's memory, of the longest sentence's size. */
typedef struct desk {
    float *q, *acc, *acc2;          /* (T, hd) */
    float *pages;                   /* of a chunk's keys and values */
    float *scratch;                 /* of the kernel */
    attn_state *softmax, *softmax2; /* (T) */
    uint32_t *n_valid;              /* (T) */
} desk;

typedef struct full_job {
    const cpu_ops *o;
    const full_attn *call;
    size_t longest, desk_bytes;
    void *desks; /* (workers) */
} full_job;

static size_t lines(size_t bytes) {
    return (bytes + 63) / 64 * 64;
}

static size_t longest_of(const full_attn *c) {
    size_t most = 0;
    for (size_t i = 0; i < c->n_seq; i++)
        if (c->start[i + 1] - c->start[i] > most) most = c->start[i + 1] - c->start[i];
    return most;
}

static size_t desk_bytes(size_t T, size_t hd) {
    return lines((3 * T * hd + 2 * ATTN_CHUNK * hd + ATTN_SCRATCH) * sizeof(float)) + lines(2 * T * sizeof(attn_state))
           + lines(T * sizeof(uint32_t));
}

static desk desk_of(const full_job *job, size_t worker) {
    size_t T = job->longest, hd = job->call->head_dim;
    uint8_t *at = (uint8_t *)job->desks + worker * job->desk_bytes;
    float *q = (float *)(void *)at;
    desk d = {.q = q, .acc = q + T * hd, .acc2 = q + 2 * T * hd, .pages = q + 3 * T * hd};
    d.scratch = d.pages + 2 * ATTN_CHUNK * hd;
    at += lines((3 * T * hd + 2 * ATTN_CHUNK * hd + ATTN_SCRATCH) * sizeof(float));
    d.softmax = (attn_state *)(void *)at;
    d.softmax2 = d.softmax + T;
    d.n_valid = (uint32_t *)(void *)(at + lines(2 * T * sizeof(attn_state)));
    return d;
}

/* Keys and values of n tokens into pages as attn_chunk reads them; what is beyond them in the last page is zero.
 * k, v: rows `stride` apart, pages: (2 * hd * KV_PAGE) each; returns the number of pages */
static size_t load_chunk(const float *k, const float *v, size_t n, size_t stride, size_t hd, float *pages) {
    size_t n_page = (n + KV_PAGE - 1) / KV_PAGE, size = 2 * hd * KV_PAGE;
    memset(pages + (n_page - 1) * size, 0, size * sizeof *pages);
    for (size_t t = 0; t < n; t++)
        attn_store(pages + t / KV_PAGE * size, k + t * stride, v + t * stride, t % KV_PAGE, hd);
    return n_page;
}

static void attend(void *ctx, size_t task, size_t worker) {
    const full_job *job = ctx;
    const full_attn *c = job->call;
    const kernels *k = job->o->k;
    size_t hd = c->head_dim, width = c->n_head * hd, stride = 3 * width, seq = task / c->n_head, h = task % c->n_head;
    size_t first = c->start[seq], T = c->start[seq + 1] - first;
    const float *rows = c->qkv + first * stride + h * hd, *blocks[ATTN_CHUNK / KV_PAGE];
    desk d = desk_of(job, worker);

    for (size_t t = 0; t < T; t++) memcpy(d.q + t * hd, rows + t * stride, hd * sizeof *d.q);
    for (size_t i = 0; i < ATTN_CHUNK / KV_PAGE; i++) blocks[i] = d.pages + i * 2 * hd * KV_PAGE;
    for (size_t t0 = 0; t0 < T; t0 += ATTN_CHUNK) {
        const float *from = rows + t0 * stride;
        size_t n = T - t0 < ATTN_CHUNK ? T - t0 : ATTN_CHUNK,
               n_page = load_chunk(from + width, from + 2 * width, n, stride, hd, d.pages);
        for (size_t t = 0; t < T; t++) d.n_valid[t] = (uint32_t)n;
        k->attn_chunk(t0 ? d.acc2 : d.acc, t0 ? d.softmax2 : d.softmax, d.q, blocks, n_page, d.n_valid, T, hd,
                      1.0f / sqrtf((float)hd), d.scratch);
        if (t0) k->attn_merge(d.acc, d.softmax, d.acc2, d.softmax2, T, hd);
    }
    for (size_t t = 0; t < T; t++) {
        float *out = c->out + (first + t) * width + h * hd, inv = 1.0f / d.softmax[t].sum;
        for (size_t i = 0; i < hd; i++) out[i] = d.acc[t * hd + i] * inv;
    }
}

pgr_status cpu_attn_full(ops *o, const full_attn *call, pgr_error *err) {
    full_job job = {.o = cpu_of(o), .call = call, .longest = longest_of(call)};
    job.desk_bytes = desk_bytes(job.longest, call->head_dim);
    pgr_status s = pool_run_in(job.o->threads, call->n_seq * call->n_head, attend, &job,
                               pool_size(job.o->threads) * job.desk_bytes, &job.desks);
    return s == PGR_OK ? PGR_OK : fail_mem(err);
}
