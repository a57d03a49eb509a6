/* attn_back_tiles.c - the products of attn_back.h by the tiles that multiply packed bf16 weights: here both sides are
 * packed, rows of keys and queries once per block, P and dS for each pair of blocks. Sums over queries are made turned,
 * dV^T = dO^T P and dK^T = Q^T dS, for which P and dS are packed as they lie. */
#include <string.h>

#include "math/cpu/attn_back.h"
#include "math/cpu/tile_products.h"

enum { B = BACK_BLOCK, HEAD_STEP = 32 /* heads are whole tiles */ };

/* keys: panels of K and V (B columns of hd), of K turned (hd columns of B)
 * queries: quads of Q and dO (B rows of hd), of both turned (hd rows of B)
 * scratch: a matrix (B, B) or (hd, B), panels (B columns of B), quads (B rows of B) */
static size_t square_bytes(size_t hd) {
    return (hd > B ? hd : B) * B * sizeof(float);
}

static void sizes(const cpu_ops *o, size_t hd, back_sizes *out) {
    const gemm_kernels *t = o->tiles;
    out->keys = 2 * tile_panels(t, B, hd) + tile_panels(t, hd, B);
    out->queries = 2 * tile_quads(t, B, hd) + 2 * tile_quads(t, hd, B);
    out->scratch = square_bytes(hd) + tile_panels(t, B, B) + tile_quads(t, B, B);
}

/* Row i of w (n, hd) becomes column i. */
static void pack_rows(const cpu_ops *o, void *to, const float *w, size_t n, size_t hd, float *turned) {
    o->k->transpose_tile(turned, w, n, hd);
    tile_pack_across(o->tiles, to, turned, B, hd, n);
}

static void pack_keys(const cpu_ops *o, void *keys, const float *k, const float *v, size_t n, size_t hd,
                      void *scratch) {
    size_t along = tile_panels(o->tiles, B, hd);
    pack_rows(o, keys, k, n, hd, scratch);
    pack_rows(o, (char *)keys + along, v, n, hd, scratch);
    tile_pack_across(o->tiles, (char *)keys + 2 * along, k, hd, n, hd);
}

/* Quads of w (n, hd) at `to`, of its transpose at `across`. */
static void pack_both(const cpu_ops *o, char *to, char *across, const float *w, size_t n, size_t hd, float *turned) {
    tile_pack_quads(o->tiles, to, w, hd, n, hd);
    o->k->transpose_tile(turned, w, n, hd);
    tile_pack_quads(o->tiles, across, turned, B, hd, n);
}

static void pack_queries(const cpu_ops *o, void *queries, const float *q, const float *dout, size_t R, size_t hd,
                         void *scratch) {
    size_t along = tile_quads(o->tiles, B, hd), across = tile_quads(o->tiles, hd, B);
    char *to = queries;
    pack_both(o, to, to + 2 * along, q, R, hd, scratch);
    pack_both(o, to + along, to + 2 * along + across, dout, R, hd, scratch);
}

static void scores(const cpu_ops *o, float *s, float *dp, const void *queries, const void *keys, size_t R, size_t n,
                   size_t hd) {
    const gemm_kernels *t = o->tiles;
    const char *q = queries, *k = keys;
    tile_product(t, s, B, q, k, R, n, hd, false);
    tile_product(t, dp, B, q + tile_quads(t, B, hd), k + tile_panels(t, B, hd), R, n, hd, false);
}

/* sums: (2, hd, all) */
static void gradients(const cpu_ops *o, float *dq, size_t ldq, float *sums, const float *p, const float *ds,
                      const void *queries, const void *keys, size_t R, size_t n, size_t all, size_t hd, void *scratch) {
    const gemm_kernels *t = o->tiles;
    const char *q = (const char *)queries + 2 * tile_quads(t, B, hd), *dout = q + tile_quads(t, hd, B);
    char *panels = (char *)scratch + square_bytes(hd), *rows = panels + tile_panels(t, B, B);
    tile_pack_across(t, panels, p, B, R, n);
    tile_product(t, sums + hd * all, all, dout, panels, hd, n, R, true);
    tile_pack_across(t, panels, ds, B, R, n);
    tile_product(t, sums, all, q, panels, hd, n, R, true);
    tile_pack_quads(t, rows, ds, B, R, all);
    tile_product(t, dq, ldq, rows, (const char *)keys + 2 * tile_panels(t, B, hd), R, hd, all, true);
}

static void add(const cpu_ops *o, float *dk, float *dv, size_t ld, const float *sums, size_t all, size_t hd,
                void *scratch) {
    float *turned = scratch, *to[2] = {dk, dv};
    for (size_t i = 0; i < 2; i++)
        for (size_t c = 0; c < hd; c += B) {
            size_t columns = hd - c < B ? hd - c : B;
            o->k->transpose_tile(turned, sums + (i * hd + c) * all, columns, all);
            for (size_t t = 0; t < all; t++) o->k->add(to[i] + t * ld + c, turned + t * B, columns);
        }
}

const back_products *back_products_tiles(const cpu_ops *o, size_t hd) {
    static const back_products table = {.rounds = true,
                                        .sizes = sizes,
                                        .pack_keys = pack_keys,
                                        .pack_queries = pack_queries,
                                        .scores = scores,
                                        .gradients = gradients,
                                        .add = add};
    return o->tiles && hd % HEAD_STEP == 0 ? &table : NULL;
}
