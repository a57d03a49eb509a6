/* kernels.h - the table of kernels: one per CPU level (level.h). `*_ref` in kernels_ref.c is the definition.
 *
 * Every kernel treats each row by itself and in one fixed order, so that a row's result does not depend on how many
 * rows come with it. Output first, inputs const, dims last; no allocation, no globals, no model types. */
#ifndef PGR_MATH_CPU_KERNELS_H
#define PGR_MATH_CPU_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "math/pages.h"
#include "math/quant.h"

enum { GEMM_TILE = 64 };   /* output columns that gemm_tile computes at once */
enum { GEMM_CHUNK = 256 }; /* most values of a row that dequant_tile takes at once: every block size divides it */
enum { ATTN_CHUNK = 256 }; /* most tokens that attn_chunk takes at once, whole pages; chunks start at its multiples */
enum { ATTN_SCRATCH = 32 * (ATTN_CHUNK + 16) }; /* floats of memory of attn_chunk; fastest at 64 bytes alignment */

enum { ATTN_DIM_INT8 = 256 }; /* most values of a head that attn_chunk_int8 takes */
#define ATTN_QUERY_INT8(dim) ((dim) + 8) /* bytes of a query of attn_chunk_int8 */

typedef struct kernels {
    const char *name; /* "ref", "avx2", "avx512" */

    /* out[i] = w[i] * x[i] / sqrt(mean(x^2) + eps)                                              x, out, w: (n) */
    void (*rmsnorm)(float *restrict out, const float *restrict x, const float *restrict w, size_t n, float eps);

    /* out[i] = w[i] * (x[i] - mean(x)) / sqrt(var(x) + eps) + b[i], var over n      x, out, w, b: (n); out may be x */
    void (*layernorm)(float *out, const float *x, const float *restrict w, const float *restrict b, size_t n,
                      float eps);

    /* x[i] = x[i] * Phi(x[i]), Phi(x) = (1 + erf(x / sqrt(2))) / 2                              (n) */
    void (*gelu)(float *x, size_t n);

    /* the same with Phi(x) = 1 / (1 + exp(-2 u)), u = sqrt(2 / pi) (x + 0.044715 x^3), often written with tanh */
    void (*gelu_tanh)(float *x, size_t n);

    /* x[i] += y[i]                                                                              (n) */
    void (*add)(float *restrict x, const float *restrict y, size_t n);

    /* gate[i] = gate[i] * sigmoid(gate[i]) * up[i]                                              (n) */
    void (*swiglu)(float *restrict gate, const float *restrict up, size_t n);

    /* Rotate pairs of one head in place by cs = {cos, sin} pairs.                              x: (dim), cs: (dim/2, 2)
     * interleaved: pairs (2i, 2i+1), else (i, i + dim/2). */
    void (*rope)(float *x, const float *cs, size_t dim, bool interleaved);

    /* out[m][j] = sum_k x[m][k] * tile[k][j], k ascending, one fused multiply-add each (exact order: bit-equal to ref)
     *                                                  x: (M, K) rows ldx apart, tile: (K, GEMM_TILE), out: rows ldo
     * Only the first n <= GEMM_TILE columns are written. */
    void (*gemm_tile)(float *restrict out, size_t ldo, const float *restrict x, size_t ldx,
                      const float *restrict tile, size_t M, size_t K, size_t n);

    /* The same, but each sum starts from what out holds: gemm_tile and then gemm_tile_add over the pieces of K, in
     * order, gives the bits of gemm_tile over the whole K. */
    void (*gemm_tile_add)(float *restrict out, size_t ldo, const float *restrict x, size_t ldx,
                          const float *restrict tile, size_t M, size_t K, size_t n);

    /* out[m][j] += sum_k x[m][k] * b[k][j], k ascending, fused (bit-equal to ref)
     *                       out: (M, n) rows ldo apart, x: (M, K) rows ldx apart, b: (K, n) rows ldb apart; any n */
    void (*mac)(float *restrict out, size_t ldo, const float *restrict x, size_t ldx, const float *restrict b,
                size_t ldb, size_t M, size_t K, size_t n);

    /* tile[k][j] = rows[j][k] for k < K, j < n; zero for n <= j < GEMM_TILE       rows: (n, K), tile: (K, GEMM_TILE) */
    void (*transpose_tile)(float *restrict tile, const float *restrict rows, size_t n, size_t K);

    /* tile[k][j] = value k of row j (the bits of quant_dequant), k < K <= GEMM_CHUNK, j < n; other columns: arbitrary
     *                                 rows: n rows of at least K values of type t, row_bytes apart; K whole blocks */
    void (*dequant_tile)(float *restrict tile, quant_type t, const void *restrict rows, size_t row_bytes, size_t n,
                         size_t K);

    /* Attention over one chunk of n_page <= ATTN_CHUNK / KV_PAGE pages for R query rows that share a KV head, each row
     * by itself and from nothing (attn_merge puts chunks together):
     *   s[r][t] = scale * sum_d q[r][d] * k[t][d] for t < n_valid[r] (0 .. n_page * KV_PAGE), d ascending, fused
     *   state[r].max = max_t s, p = exp(s - max), state[r].sum = sum_t p, acc[r][d] = sum_t p * v[t][d], t ascending
     * n_valid 0: {-INFINITY, 0} and zeros. A row's bits depend on nothing but its q, n_valid and the tokens before it.
     *                 acc, q: (R, dim), kv: (n_page) pages of K transposed (dim, KV_PAGE), then V (KV_PAGE, dim)
     *                 n_valid, state: (R), scale > 0, scratch: ATTN_SCRATCH
     * K and V beyond n_valid are finite but otherwise arbitrary. A score that overflows may make its row NaN. */
    void (*attn_chunk)(float *restrict acc, attn_state *restrict state, const float *restrict q, const float *const *kv,
                       size_t n_page, const uint32_t *restrict n_valid, size_t R, size_t dim, float scale,
                       float *restrict scratch);

    /* The same in bf16, dim even: p is rounded to bf16 (state's sum is that of the rounded values), sums are in fp32,
     * pair by pair of d and t. Subnormal values may count as zero.
     *                 kv: pages of K (dim / 2, KV_PAGE, 2), then V (KV_PAGE / 2, dim, 2): attn_store_bf16 */
    void (*attn_chunk_bf16)(float *restrict acc, attn_state *restrict state, const uint16_t *restrict q,
                            const uint16_t *const *kv, size_t n_page, const uint32_t *restrict n_valid, size_t R,
                            size_t dim, float scale, float *restrict scratch);

    /* The same with K and V in int8, dim a multiple of 16 up to ATTN_DIM_INT8. A token's key is k_scale times bytes,
     * its value v_scale times bytes, a query factor times bytes (scale is in it):
     *   u[t] = factor k_scale[t] (q k) + ln v_scale[t], state.max = max_t u - ln 255, w = exp(u - state.max)
     *   state.sum = sum_t w / v_scale[t], acc[d] = sum_t round(w) * v[t][d] over bytes
     * w is what a byte of V counts, 255 at most, to a relative error of 8e-5; q k and acc are exact sums of integers.
     *                 q: (R) of attn_query_int8, kv: pages of attn_store_int8, 64-byte aligned
     *                 ahead: (n_page) or NULL, pages that are asked for meanwhile: they are read next */
    void (*attn_chunk_int8)(float *restrict acc, attn_state *restrict state, const void *restrict q,
                            const void *const *kv, const void *const *ahead, size_t n_page,
                            const uint32_t *restrict n_valid, size_t R, size_t dim, float *restrict scratch);

    /* A query for attn_chunk_int8, ATTN_QUERY_INT8(dim) bytes; token t's key and value into its page, whose other
     * tokens other threads may store meanwhile. The same bits at every level.                        q, k, v: (dim) */
    void (*attn_query_int8)(void *restrict out, const float *restrict q, size_t dim, float scale);
    void (*attn_store_int8)(void *restrict page, const float *restrict k, const float *restrict v, size_t t,
                            size_t dim);

    /* (acc, state) of some tokens becomes that of them and of (acc2, state2)'s tokens          acc, acc2: (R, dim) */
    void (*attn_merge)(float *restrict acc, attn_state *restrict state, const float *restrict acc2,
                       const attn_state *restrict state2, size_t R, size_t dim);

    /* Backward of rmsnorm: dx[i] += w[i] dy[i] inv - x[i] sum(w dy x) inv^3 / n, inv = 1 / sqrt(mean(x^2) + eps)
     *                                                                                       dx, dy, x, w: (n) */
    void (*rmsnorm_back)(float *restrict dx, const float *restrict dy, const float *restrict x,
                         const float *restrict w, size_t n, float eps);

    /* Backward of swiglu: y = g s up with s = sigmoid(g)
     *   dgate[i] = dy[i] up[i] s (1 + g (1 - s)), dup[i] = dy[i] g s                            all: (n) */
    void (*swiglu_back)(float *restrict dgate, float *restrict dup, const float *restrict dy,
                        const float *restrict gate, const float *restrict up, size_t n);

    /* A row of attention backward: products q k become weights, gradients of weights those of products.
     *   s[t] = exp(scale s[t] - lse), ds[t] = scale s[t] (ds[t] - delta)                        s, ds: (n) */
    void (*softmax_back)(float *restrict s, float *restrict ds, size_t n, float scale, float lse, float delta);

    /* sum of x[i] y[i] in double                                                                 x, y: (n) */
    double (*dot)(const float *x, const float *y, size_t n);

    /* largest x, n >= 1 */
    float (*max)(const float *x, size_t n);

    /* out[i] = exp((x[i] - shift) * scale), returns their sum in double                    x, out: (n); out may be x */
    double (*exp_sum)(float *out, const float *x, float shift, float scale, size_t n);

    /* out[i] = x[i] rounded to nearest even; the same bits at every level                       x, out: (n) */
    void (*to_bf16)(uint16_t *restrict out, const float *restrict x, size_t n);
} kernels;

const kernels *kernels_ref(void);
const kernels *kernels_best(void); /* of cpu_best(), level.h */

/* Token t's key and value into its page, laid out for attn_chunk or attn_chunk_bf16.        k, v: (dim), t < KV_PAGE */
void attn_store(float *restrict page, const float *restrict k, const float *restrict v, size_t t, size_t dim);
size_t attn_page_bytes(kv_type type, size_t dim); /* K and V of a page and head */
void attn_store_bf16(uint16_t *restrict page, const uint16_t *restrict k, const uint16_t *restrict v, size_t t,
                     size_t dim);

#endif
