/* attn_back_tiles.c - the products of attn_back.h by the tiles that multiply packed bf16 weights: here both sides are
 * packed, rows of keys and queries once per block, P and dS for each pair of blocks. The sum over a whole block's keys
 * or queries takes all B of them, those that are not there being zeros. */
#include <string.h>

#include "math/cpu/attn_back.h"

enum { B = BACK_BLOCK, HEAD_STEP = 32 /* heads are whole tiles */ };

static size_t panels(const gemm_kernels *t, size_t columns, size_t K) {
    return (columns + t->panel - 1) / t->panel * t->panel_bytes(K);
}

static size_t quads(const gemm_kernels *t, size_t K) {
    return B / QUAD * t->quad_bytes(K);
}

/* keys: panels of K and V (B columns of hd), of K^T (hd columns of B)
 * queries: quads of Q and dO (rows of hd), panels of Q^T and dO^T (hd columns of B)
 * scratch: a matrix (B, B) or (hd, B), quads of B */
static void sizes(const cpu_ops *o, size_t hd, back_sizes *out) {
    const gemm_kernels *t = o->tiles;
    size_t across = panels(t, hd, B), square = (hd > B ? hd : B) * B * sizeof(float);
    *out = (back_sizes){2 * panels(t, B, hd) + across, 2 * quads(t, hd) + 2 * across, square + quads(t, B)};
}

/* Row i of w (n, K) becomes column i. */
static void pack_rows(const gemm_kernels *t, char *to, const float *w, size_t n, size_t K) {
    for (size_t i = 0; i < n; i++, w += K) t->pack_column(to + i / t->panel * t->panel_bytes(K), i % t->panel, w, K);
}

/* Column i of w (n <= B, hd) becomes column i: what pack_rows makes of w's transpose. */
static void pack_columns(const cpu_ops *o, char *to, const float *w, size_t n, size_t hd, float *turned) {
    o->k->transpose_tile(turned, w, n, hd);
    pack_rows(o->tiles, to, turned, hd, B);
}

static void pack_quads(const gemm_kernels *t, char *to, const float *x, size_t n, size_t K) {
    for (size_t i = 0; i < n; i += QUAD, to += t->quad_bytes(K))
        t->pack_quad(to, x + i * K, K, n - i < QUAD ? n - i : QUAD, K);
}

static void pack_keys(const cpu_ops *o, void *keys, const float *k, const float *v, size_t n, size_t hd,
                      void *scratch) {
    size_t along = panels(o->tiles, B, hd);
    pack_rows(o->tiles, keys, k, n, hd);
    pack_rows(o->tiles, (char *)keys + along, v, n, hd);
    pack_columns(o, (char *)keys + 2 * along, k, n, hd, scratch);
}

static void pack_queries(const cpu_ops *o, void *queries, const float *q, const float *dout, size_t R, size_t hd,
                         void *scratch) {
    char *to = queries;
    pack_quads(o->tiles, to, q, R, hd);
    pack_quads(o->tiles, to + quads(o->tiles, hd), dout, R, hd);
    to += 2 * quads(o->tiles, hd);
    pack_columns(o, to, q, R, hd, scratch);
    pack_columns(o, to + panels(o->tiles, hd, B), dout, R, hd, scratch);
}

/* out (M, N) = X W, or out plus that                                           x: quads, w: panels, both of K values */
static void product(const gemm_kernels *t, float *out, size_t ldo, const char *x, const char *w, size_t M, size_t N,
                    size_t K, bool add) {
    for (size_t c = 0; c < N; c += t->panel, w += t->panel_bytes(K))
        for (size_t m = 0; m < M; m += t->block_rows) {
            size_t rows = M - m < t->block_rows ? M - m : t->block_rows, columns = N - c < t->panel ? N - c : t->panel;
            t->multiply(out + m * ldo + c, ldo, rows, columns, x + m / QUAD * t->quad_bytes(K), w, K, add);
        }
}

static void scores(const cpu_ops *o, float *s, float *dp, const void *queries, const void *keys, size_t R, size_t n,
                   size_t hd) {
    const gemm_kernels *t = o->tiles;
    const char *q = queries, *k = keys;
    product(t, s, B, q, k, R, n, hd, false);
    product(t, dp, B, q + quads(t, hd), k + panels(t, B, hd), R, n, hd, false);
}

static void gradients(const cpu_ops *o, float *dq, size_t ldq, float *dk, float *dv, size_t ldk, const float *p,
                      const float *ds, const void *queries, const void *keys, size_t R, size_t n, size_t hd,
                      void *scratch) {
    const gemm_kernels *t = o->tiles;
    float *turned = scratch;
    char *x = (char *)scratch + (hd > B ? hd : B) * B * sizeof(float);
    const char *q = (const char *)queries + 2 * quads(t, hd), *dout = q + panels(t, hd, B);
    o->k->transpose_tile(turned, p, R, B);
    pack_quads(t, x, turned, n, B);
    product(t, dv, ldk, x, dout, n, hd, B, true);
    o->k->transpose_tile(turned, ds, R, B);
    pack_quads(t, x, turned, n, B);
    product(t, dk, ldk, x, q, n, hd, B, true);
    pack_quads(t, x, ds, R, B);
    product(t, dq, ldq, x, (const char *)keys + 2 * panels(t, B, hd), R, hd, B, true);
}

const back_products *back_products_tiles(const cpu_ops *o, size_t hd) {
    static const back_products table = {
        .sizes = sizes, .pack_keys = pack_keys, .pack_queries = pack_queries, .scores = scores, .gradients = gradients};
    return o->tiles && hd % HEAD_STEP == 0 ? &table : NULL;
}
