/* project_back_tiles.c - the blocks of project_back.h by the tiles that multiply packed bf16 weights. A block's rows of
 * x are packed once for all terms: as they are for t = x a^T, across for da, whose sum runs over the rows; so are those
 * of dy for each term. Sums are fp32. */
#include <string.h>

#include "math/cpu/project_back.h"
#include "math/cpu/tile_products.h"

enum { ROWS = BACK_ROWS };

/* A worker's memory. */
typedef struct desk {
    char *x, *x_across;         /* quads of ROWS rows of K, panels of K columns of ROWS */
    char *dy, *dy_across;       /* the same of a term's N */
    float *narrow;              /* (ROWS, r) t, then s */
    float *turned;              /* (r, ROWS) its transpose */
    char *small, *small_turned; /* quads of both */
} desk;

static void *take(char *from, size_t *at, size_t bytes) {
    void *p = from ? from + *at : NULL;
    *at += (bytes + 63) / 64 * 64;
    return p;
}

/* Lays the desk out in memory that begins at `from`; returns how many bytes it takes. from NULL: only that. */
static size_t lay_out(const back_terms *b, char *from, desk *d) {
    const gemm_kernels *t = b->o->tiles;
    size_t K = b->g->size_x, at = 0;
    d->x = take(from, &at, tile_quads(t, ROWS, K));
    d->x_across = take(from, &at, tile_panels(t, K, ROWS));
    d->dy = take(from, &at, tile_quads(t, ROWS, b->width));
    d->dy_across = take(from, &at, tile_panels(t, b->width, ROWS));
    d->narrow = take(from, &at, ROWS * b->rank * sizeof *d->narrow);
    d->turned = take(from, &at, ROWS * b->rank * sizeof *d->turned);
    d->small = take(from, &at, tile_quads(t, ROWS, b->rank));
    d->small_turned = take(from, &at, tile_quads(t, b->rank, ROWS));
    return at;
}

static size_t desk_bytes(const back_terms *b) {
    desk d;
    return lay_out(b, NULL, &d);
}

/* ---- factors: panels of a's rows, of b's columns, of a's columns ---- */

static size_t factor_bytes(const cpu_ops *o, size_t K, size_t N, size_t r) {
    return tile_panels(o->tiles, r, K) + tile_panels(o->tiles, r, N) + tile_panels(o->tiles, K, r);
}

static void pack(const back_terms *b, size_t term) {
    const gemm_kernels *t = b->o->tiles;
    const lowrank *w = b->g->terms[0].term;
    char *factors = b->factors;
    for (size_t i = 0; i < term; w = b->g->terms[++i].term) factors += factor_bytes(b->o, w->K, w->N, w->r);
    tile_pack_along(t, factors, w->a, w->K, w->r, w->K);
    factors += tile_panels(t, w->r, w->K);
    tile_pack_across(t, factors, w->b, w->r, w->N, w->r);
    factors += tile_panels(t, w->r, w->N);
    tile_pack_across(t, factors, w->a, w->K, w->r, w->K);
}

/* ---- a block ---- */

/* The desk's t or s of n rows, scale X F, and its transpose's quads.                x: quads, f: panels, both of K */
static void make_narrow(const back_terms *b, const desk *d, const char *x, const char *f, size_t n, size_t K,
                        const lowrank *w) {
    const gemm_kernels *t = b->o->tiles;
    tile_product(t, d->narrow, w->r, x, f, n, w->r, K, false);
    for (size_t i = 0; i < n * w->r; i++) d->narrow[i] *= w->scale;
    b->o->k->transpose_tile(d->turned, d->narrow, n, w->r);
    tile_pack_quads(t, d->small_turned, d->turned, GEMM_TILE, w->r, n);
}

/* factors: the term's, sums: the chunk's of the term */
static void run_term(const back_terms *b, const lowrank *w, const desk *d, const char *factors, float *sums, size_t m,
                     size_t n) {
    const gemm_kernels *t = b->o->tiles;
    const project_grad *g = b->g;
    const float *dy = g->dy + m * g->size_y + w->column;
    const char *of_b = factors + tile_panels(t, w->r, w->K), *across = of_b + tile_panels(t, w->r, w->N);
    tile_pack_quads(t, d->dy, dy, g->size_y, n, w->N);
    tile_pack_across(t, d->dy_across, dy, g->size_y, n, w->N);
    make_narrow(b, d, d->x, factors, n, w->K, w);
    tile_product(t, sums + w->r * w->K, w->N, d->small_turned, d->dy_across, w->r, w->N, n, true);
    make_narrow(b, d, d->dy, of_b, n, w->N, w);
    tile_product(t, sums, w->K, d->small_turned, d->x_across, w->r, w->K, n, true);
    if (!g->dx) return;
    tile_pack_quads(t, d->small, d->narrow, w->r, n, w->r);
    tile_product(t, g->dx + m * w->K, w->K, d->small, across, n, w->K, w->r, true);
}

static void run(const back_terms *b, void *memory, float *sums, size_t m, size_t n) {
    const gemm_kernels *t = b->o->tiles;
    const project_grad *g = b->g;
    const char *factors = b->factors;
    desk d;
    lay_out(b, memory, &d);
    t->begin();
    tile_pack_quads(t, d.x, g->x + m * b->ldx, b->ldx, n, g->size_x);
    tile_pack_across(t, d.x_across, g->x + m * b->ldx, b->ldx, n, g->size_x);
    for (size_t i = 0; i < g->n_term; i++) {
        const lowrank *w = g->terms[i].term;
        run_term(b, w, &d, factors, sums, m, n);
        factors += factor_bytes(b->o, w->K, w->N, w->r);
        sums += w->r * (w->K + w->N);
    }
    t->end();
}

const back_blocks *back_blocks_tiles(void) {
    static const back_blocks table = {factor_bytes, desk_bytes, pack, run};
    return &table;
}
