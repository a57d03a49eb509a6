/* project_back_f32.c - the blocks of project_back.h in fp32, by the kernel that adds products of small matrices. t of
 * all terms is one product; dx and da are made WIDTH columns at a time, which stay in the first cache for all terms.
 * Legend: R the terms' ranks together. */
#include <string.h>

#include "math/cpu/project_back.h"

enum { ROWS = BACK_ROWS, WIDTH = 64 };

/* A factor: a^T, of which all terms' lie side by side, (K, R). */
static size_t factor_bytes(const cpu_ops *o, size_t K, size_t N, size_t r) {
    (void)o, (void)N;
    return (K * r * sizeof(float) + 63) / 64 * 64;
}

/* A worker's memory. */
typedef struct desk {
    float *t, *s;   /* (ROWS, R) */
    float *tT, *sT; /* (R, ROWS) */
} desk;

static desk lay_out(const back_terms *b, float *from) {
    size_t n = ROWS * b->ranks;
    return (desk){from, from + n, from + 2 * n, from + 3 * n};
}

static size_t desk_bytes(const back_terms *b) {
    return 4 * ROWS * b->ranks * sizeof(float);
}

static void pack(const back_terms *b, size_t term) {
    const lowrank *w = b->g->terms[term].term;
    float *to = (float *)(void *)b->factors;
    for (size_t i = 0; i < term; i++) to += b->g->terms[i].term->r;
    for (size_t i = 0; i < w->r; i++)
        for (size_t k = 0; k < w->K; k++) to[k * b->ranks + i] = w->a[i * w->K + k];
}

/* x of every term by its scale, and turned.                                            x: (n, R), xT: (R, ROWS) */
static void finish_narrow(const back_terms *b, float *x, float *xT, size_t n) {
    for (size_t i = 0, at = 0; i < b->g->n_term; at += b->g->terms[i++].term->r) {
        const lowrank *w = b->g->terms[i].term;
        for (size_t m = 0; m < n; m++)
            for (size_t k = 0; k < w->r; k++) x[m * b->ranks + at + k] *= w->scale;
    }
    b->o->k->transpose_tile(xT, x, n, b->ranks);
}

static void make_t(const back_terms *b, const desk *d, const float *x, size_t n) {
    size_t K = b->g->size_x, R = b->ranks;
    const float *aT = (const float *)(const void *)b->factors;
    memset(d->t, 0, n * R * sizeof *d->t);
    b->o->k->mac(d->t, R, x, b->ldx, aT, R, n, K, R);
    finish_narrow(b, d->t, d->tT, n);
}

/* and db^T += t^T dy */
static void make_s(const back_terms *b, const desk *d, float *sums, size_t m, size_t n) {
    const project_grad *g = b->g;
    const kernels *k = b->o->k;
    memset(d->s, 0, n * b->ranks * sizeof *d->s);
    for (size_t i = 0, at = 0; i < g->n_term; at += g->terms[i++].term->r) {
        const lowrank *w = g->terms[i].term;
        const float *dy = g->dy + m * g->size_y + w->column;
        sums += w->r * w->K;
        k->mac(d->s + at, b->ranks, dy, g->size_y, w->b, w->r, n, w->N, w->r);
        k->mac(sums, w->N, d->tT + at * ROWS, ROWS, dy, g->size_y, w->r, n, w->N);
        sums += w->r * w->N;
    }
    finish_narrow(b, d->s, d->sT, n);
}

/* dx += s a and da += s^T x of all terms */
static void run_x(const back_terms *b, const desk *d, float *sums, const float *x, float *dx, size_t n) {
    const kernels *k = b->o->k;
    const project_grad *g = b->g;
    for (size_t at = 0; at < g->size_x; at += WIDTH) {
        size_t columns = g->size_x - at < WIDTH ? g->size_x - at : WIDTH;
        float *da = sums + at;
        for (size_t i = 0, rank = 0; i < g->n_term; rank += g->terms[i++].term->r) {
            const lowrank *w = g->terms[i].term;
            if (dx) k->mac(dx + at, w->K, d->s + rank, b->ranks, w->a + at, w->K, n, w->r, columns);
            k->mac(da, w->K, d->sT + rank * ROWS, ROWS, x + at, b->ldx, w->r, n, columns);
            da += w->r * (w->K + w->N);
        }
    }
}

static void run(const back_terms *b, void *memory, float *sums, size_t m, size_t n) {
    const project_grad *g = b->g;
    const float *x = g->x + m * b->ldx;
    desk d = lay_out(b, memory);
    make_t(b, &d, x, n);
    make_s(b, &d, sums, m, n);
    run_x(b, &d, sums, x, g->dx ? g->dx + m * g->size_x : NULL, n);
}

const back_blocks *back_blocks_f32(void) {
    static const back_blocks table = {factor_bytes, desk_bytes, pack, run};
    return &table;
}
