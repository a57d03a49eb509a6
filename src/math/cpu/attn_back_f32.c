/* attn_back_f32.c - the products of attn_back.h in fp32, by the kernels of products of small matrices. */
#include <string.h>

#include "math/cpu/attn_back.h"

enum { B = BACK_BLOCK };

/* keys: K (B, hd), then K^T and V^T (hd, B); queries: Q, then dO (B, hd); scratch: P^T, then dS^T (B, B) */
static void sizes(const cpu_ops *o, size_t hd, back_sizes *out) {
    (void)o;
    *out = (back_sizes){3 * B * hd * sizeof(float), 2 * B * hd * sizeof(float), 2 * B * B * sizeof(float)};
}

static void pack_keys(const cpu_ops *o, void *keys, const float *k, const float *v, size_t n, size_t hd,
                      void *scratch) {
    (void)scratch;
    float *to = keys;
    memcpy(to, k, n * hd * sizeof *to);
    o->k->transpose_tile(to + B * hd, k, n, hd);
    o->k->transpose_tile(to + 2 * B * hd, v, n, hd);
}

static void pack_queries(const cpu_ops *o, void *queries, const float *q, const float *dout, size_t R, size_t hd,
                         void *scratch) {
    (void)o, (void)scratch;
    float *to = queries;
    memcpy(to, q, R * hd * sizeof *to);
    memcpy(to + B * hd, dout, R * hd * sizeof *to);
}

static void scores(const cpu_ops *o, float *s, float *dp, const void *queries, const void *keys, size_t R, size_t n,
                   size_t hd) {
    const float *q = queries, *k = keys;
    o->k->gemm_tile(s, B, q, hd, k + B * hd, R, hd, n);
    o->k->gemm_tile(dp, B, q + B * hd, hd, k + 2 * B * hd, R, hd, n);
}

/* sums: (all, 2, hd) */
static void gradients(const cpu_ops *o, float *dq, size_t ldq, float *sums, const float *p, const float *ds,
                      const void *queries, const void *keys, size_t R, size_t n, size_t all, size_t hd, void *scratch) {
    (void)all;
    const float *q = queries;
    float *pT = scratch, *dsT = pT + B * B;
    o->k->transpose_tile(pT, p, R, B);
    o->k->transpose_tile(dsT, ds, R, B);
    o->k->mac(sums + hd, 2 * hd, pT, B, q + B * hd, hd, n, R, hd);
    o->k->mac(sums, 2 * hd, dsT, B, q, hd, n, R, hd);
    o->k->mac(dq, ldq, ds, B, keys, hd, R, n, hd);
}

static void add(const cpu_ops *o, float *dk, float *dv, size_t ld, const float *sums, size_t all, size_t hd,
                void *scratch) {
    (void)scratch;
    for (size_t t = 0; t < all; t++, sums += 2 * hd) {
        o->k->add(dk + t * ld, sums, hd);
        o->k->add(dv + t * ld, sums + hd, hd);
    }
}

const back_products *back_products_f32(void) {
    static const back_products table = {.sizes = sizes,
                                        .pack_keys = pack_keys,
                                        .pack_queries = pack_queries,
                                        .scores = scores,
                                        .gradients = gradients,
                                        .add = add};
    return &table;
}
