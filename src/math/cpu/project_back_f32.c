/* project_back_f32.c - the blocks of project_back.h in fp32, by the kernel that adds products of small matrices. */
#include <string.h>

#include "math/cpu/project_back.h"

enum { ROWS = BACK_ROWS };

/* A factor: a^T (K, r). */
static size_t factor_bytes(const cpu_ops *o, size_t K, size_t N, size_t r) {
    (void)o, (void)N;
    return (K * r * sizeof(float) + 63) / 64 * 64;
}

/* t, s and their transposes */
static size_t desk_bytes(const back_terms *b) {
    return 4 * ROWS * b->rank * sizeof(float);
}

/* out: (cols, ldo), x: (rows, cols) */
static void transpose(float *out, size_t ldo, const float *x, size_t rows, size_t cols) {
    for (size_t i = 0; i < rows; i++)
        for (size_t k = 0; k < cols; k++) out[k * ldo + i] = x[i * cols + k];
}

static void pack(const back_terms *b, const lowrank *w, char *factors) {
    (void)b;
    transpose((float *)(void *)factors, w->r, w->a, w->r, w->K);
}

/* out = scale x b, and its transpose           x: (n, K) rows ldx apart, b: (K, r), out: (n, r), outT: (r, ROWS) */
static void narrow(const kernels *k, float *out, float *outT, const float *x, size_t ldx, const float *b, size_t n,
                   size_t K, size_t r, float scale) {
    memset(out, 0, n * r * sizeof *out);
    k->mac(out, r, x, ldx, b, r, n, K, r);
    for (size_t i = 0; i < n * r; i++) out[i] *= scale;
    transpose(outT, ROWS, out, n, r);
}

static void run_term(const back_terms *b, const lowrank *w, const float *aT, float *desk, float *sums, size_t m,
                     size_t n) {
    const kernels *k = b->o->k;
    const project_grad *g = b->g;
    const float *x = g->x + m * b->ldx, *dy = g->dy + m * g->size_y + w->column;
    float *t = desk, *s = t + ROWS * b->rank, *tT = s + ROWS * b->rank, *sT = tT + ROWS * b->rank;
    narrow(k, t, tT, x, b->ldx, aT, n, w->K, w->r, w->scale);
    narrow(k, s, sT, dy, g->size_y, w->b, n, w->N, w->r, w->scale);
    if (g->dx) k->mac(g->dx + m * w->K, w->K, s, w->r, w->a, w->K, n, w->r, w->K);
    k->mac(sums, w->K, sT, ROWS, x, b->ldx, w->r, n, w->K);
    k->mac(sums + w->r * w->K, w->N, tT, ROWS, dy, g->size_y, w->r, n, w->N);
}

static void run(const back_terms *b, void *desk, float *sums, size_t m, size_t n) {
    const char *factors = b->factors;
    for (size_t i = 0; i < b->g->n_term; i++) {
        const lowrank *w = b->g->terms[i].term;
        run_term(b, w, (const float *)(const void *)factors, desk, sums, m, n);
        factors += factor_bytes(b->o, w->K, w->N, w->r);
        sums += w->r * (w->K + w->N);
    }
}

const back_blocks *back_blocks_f32(void) {
    static const back_blocks table = {factor_bytes, desk_bytes, pack, run};
    return &table;
}
