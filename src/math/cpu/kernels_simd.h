/* kernels_simd.h - the kernels over vectors of LANES floats. Included once by each level's file, which defines before:
 *
 *   LANES                         4, 8 or 16
 *   BLOCK_ROWS, BLOCK_VECTORS     rows and vectors of a block of sums that fits the registers
 *   vf, vi, vd                    vectors of LANES floats, LANES int32, LANES / 2 doubles
 *   v_load v_store v_set1 v_zero v_add v_sub v_mul v_div v_fma v_max v_min v_round      as their names say
 *   v_load_n v_store_n            the first n lanes only (1 <= n <= LANES); the others are zero / left alone
 *   v_keep(v, n, fill)            lane i < n ? v : fill
 *   v_exp2_times(p, n)            p * 2^n for integral n, correctly rounded
 *   v_sum v_top                   sum in a fixed order, maximum of all lanes
 *   v_firsts v_seconds v_swap     of each pair of lanes: both the first, both the second, the two exchanged
 *   v_minus_first(a)              the first lane of each pair negated
 *   v_evens(a, b) v_odds(a, b)    the even, the odd lanes of a and then b
 *   vd_zero vd_low vd_high vd_fma vd_add vd_sum   doubles; low and high half of a vf, converted
 *   vi_dwords4(out, p, offset)    out[i] lane j = int32 i of the 16 bytes at p + offset[j]
 *   vi_dword(p, offset)           lane j = the int32 at p + offset[j]
 *   vi_right(i, n) vi_left(i, n)  each lane shifted by n bits, zeros come in
 *   vi_and(i, bits) vi_or         bit by bit; bits: one int32 for all lanes
 *   vi_sub_bytes(i, byte)         byte taken from each of the lane's four bytes
 *   v_from_bits(i)                the same bits as floats
 *   v_half(i)                     the f16 in the low 16 bits of each lane
 *   v_nibble(i, shift)            bits shift .. shift + 3 of each lane as 0.0 to 15.0
 *   v_five(i, shift)              bits shift .. shift + 4 of each lane as 0.0 to 31.0
 *   v_ubyte(i, shift)             bits shift .. shift + 7 of each lane as 0.0 to 255.0
 *   v_byte(i, shift)              bits shift .. shift + 7 of each lane as -128.0 to 127.0
 *   TO_BF16                       the level's kernel of that name
 *
 * A result depends on nothing but its own row: every sum has one fixed order. */
#include <math.h>
#include <string.h>

#include "math/cpu/kernels_level.h"
#include "math/cpu/simd_exp.h"

INLINE float exp_one(float x) {
    float out[LANES];
    v_store(out, v_exp(v_set1(x)));
    return out[0];
}

/* ---- one row ---- */

static void rmsnorm_simd(float *restrict out, const float *restrict x, const float *restrict w, size_t n, float eps) {
    vd low = vd_zero(), high = vd_zero();
    for (size_t i = 0; i < n; i += LANES) {
        vf v = n - i < LANES ? v_load_n(x + i, n - i) : v_load(x + i);
        low = vd_fma(vd_low(v), vd_low(v), low);
        high = vd_fma(vd_high(v), vd_high(v), high);
    }

    double ss = vd_sum(vd_add(low, high));
    float inv = (float)(1.0 / sqrt(ss / (double)n + (double)eps));
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) v_store(out + i, v_mul(v_load(w + i), v_mul(v_load(x + i), v_set1(inv))));
    for (; i < n; i++) out[i] = w[i] * (x[i] * inv);
}

static void add_simd(float *restrict x, const float *restrict y, size_t n) {
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) v_store(x + i, v_add(v_load(x + i), v_load(y + i)));
    for (; i < n; i++) x[i] += y[i];
}

INLINE vf v_swiglu(vf gate, vf up) {
    vf e = v_exp(v_sub(v_zero(), gate));
    return v_mul(v_div(gate, v_add(v_set1(1.0f), e)), up);
}

static void swiglu_simd(float *restrict gate, const float *restrict up, size_t n) {
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) v_store(gate + i, v_swiglu(v_load(gate + i), v_load(up + i)));
    if (i < n) v_store_n(gate + i, v_swiglu(v_load_n(gate + i, n - i), v_load_n(up + i, n - i)), n - i);
}

/* The bits of kernel_rope_ref: products and sums each rounded by themselves. */
static void rope_simd(float *x, const float *cs, size_t dim, bool interleaved) {
    size_t half = dim / 2;
    if (dim % (2 * LANES) != 0) {
        kernel_rope_ref(x, cs, dim, interleaved);
        return;
    }
    for (size_t i = 0; interleaved && i < dim; i += LANES) {
        vf a = v_load(x + i), angles = v_load(cs + i);
        vf turned = v_minus_first(v_mul(v_swap(a), v_seconds(angles)));
        v_store(x + i, v_add(v_mul(a, v_firsts(angles)), turned));
    }
    for (size_t i = 0; !interleaved && i < half; i += LANES) {
        vf a = v_load(x + i), b = v_load(x + half + i), low = v_load(cs + 2 * i), high = v_load(cs + 2 * i + LANES);
        vf c = v_evens(low, high), s = v_odds(low, high);
        v_store(x + i, v_sub(v_mul(a, c), v_mul(b, s)));
        v_store(x + half + i, v_add(v_mul(a, s), v_mul(b, c)));
    }
}

static float max_simd(const float *x, size_t n) {
    vf top = v_set1(x[0]);
    for (size_t i = 0; i < n; i += LANES)
        top = v_max(top, n - i < LANES ? v_keep(v_load_n(x + i, n - i), n - i, v_set1(x[0])) : v_load(x + i));
    return v_top(top);
}

static double exp_sum_simd(float *out, const float *x, float shift, float scale, size_t n) {
    vd low = vd_zero(), high = vd_zero();
    for (size_t i = 0; i < n; i += LANES) {
        size_t rest = n - i < LANES ? n - i : LANES;
        vf in = rest < LANES ? v_load_n(x + i, rest) : v_load(x + i);
        vf e = v_exp(v_mul(v_sub(in, v_set1(shift)), v_set1(scale)));
        if (rest < LANES) {
            e = v_keep(e, rest, v_zero());
            v_store_n(out + i, e, rest);
        } else {
            v_store(out + i, e);
        }
        low = vd_add(low, vd_low(e));
        high = vd_add(high, vd_high(e));
    }
    return vd_sum(vd_add(low, high));
}

/* ---- sums of products ----
 * out[r][c] = start + sum_k x[r][k] * b[k][c], k ascending, fused; start: 0, or what out holds.
 * x: rows ldx apart, b: rows ldb apart, out: rows ldo apart */

/* Rows of a block of 1, 2, 3 vectors: narrow ones need more of them until sums do not wait for each other. Of
 * BLOCK_VECTORS it is BLOCK_ROWS. */
enum { MAC_ROWS = 2 * BLOCK_ROWS, MAC_ROWS_3 = BLOCK_ROWS * 4 / 3 };

/* R rows by V vectors; the last of them has `last` columns if it is partial. R, V, partial: constants where inlined. */
INLINE void mac_block(const size_t R, const size_t V, const int partial, float *restrict out, size_t ldo,
                      const float *restrict x, size_t ldx, const float *restrict b, size_t ldb, size_t K, size_t last,
                      bool add) {
    vf sum[MAC_ROWS][BLOCK_VECTORS];
    UNROLL for (size_t r = 0; r < R; r++) {
        UNROLL for (size_t v = 0; v < V; v++) {
            const float *at = out + r * ldo + v * LANES;
            sum[r][v] = v_zero();
            if (add) sum[r][v] = partial && v == V - 1 ? v_load_n(at, last) : v_load(at);
        }
    }
    for (size_t k = 0; k < K; k++) {
        vf column[BLOCK_VECTORS];
        const float *at = b + k * ldb;
        UNROLL for (size_t v = 0; v < V; v++)
            column[v] = partial && v == V - 1 ? v_load_n(at + v * LANES, last) : v_load(at + v * LANES);
        UNROLL for (size_t r = 0; r < R; r++) {
            vf xk = v_set1(x[r * ldx + k]);
            UNROLL for (size_t v = 0; v < V; v++) sum[r][v] = v_fma(xk, column[v], sum[r][v]);
        }
    }
    UNROLL for (size_t r = 0; r < R; r++) {
        UNROLL for (size_t v = 0; v < V; v++) {
            float *at = out + r * ldo + v * LANES;
            if (partial && v == V - 1)
                v_store_n(at, sum[r][v], last);
            else
                v_store(at, sum[r][v]);
        }
    }
}

enum { whole, part }; /* the last vector */

typedef void (*mac_fn)(float *restrict out, size_t ldo, const float *restrict x, size_t ldx, const float *restrict b,
                       size_t ldb, size_t K, size_t last, bool add);

#define MAC(R, V, kind)                                                                                               \
    static void mac_##R##_##V##_##kind(float *restrict out, size_t ldo, const float *restrict x, size_t ldx,        \
                                       const float *restrict b, size_t ldb, size_t K, size_t last, bool add) {        \
        mac_block(R, V, kind, out, ldo, x, ldx, b, ldb, K, last, add);                                                \
    }
#define MAC_6(V, kind) MAC(1, V, kind) MAC(2, V, kind) MAC(3, V, kind) MAC(4, V, kind) MAC(5, V, kind) MAC(6, V, kind)
#define MAC_8(V, kind) MAC_6(V, kind) MAC(7, V, kind) MAC(8, V, kind)
#define MAC_12(V, kind) MAC_8(V, kind) MAC(9, V, kind) MAC(10, V, kind) MAC(11, V, kind) MAC(12, V, kind)
#define NAMES_6(V, kind)                                                                                              \
    mac_1_##V##_##kind, mac_2_##V##_##kind, mac_3_##V##_##kind,                                                       \
    mac_4_##V##_##kind, mac_5_##V##_##kind, mac_6_##V##_##kind
#define NAMES_8(V, kind) NAMES_6(V, kind), mac_7_##V##_##kind, mac_8_##V##_##kind
#define NAMES_12(V, kind)                                                                                             \
    NAMES_8(V, kind), mac_9_##V##_##kind, mac_10_##V##_##kind, mac_11_##V##_##kind, mac_12_##V##_##kind

/* mac_full[R - 1]: all vectors whole; mac_partial[V - 1][R - 1] */
MAC_12(1, part)
#if BLOCK_VECTORS == 4
MAC_12(2, part)
MAC_8(3, part)
MAC_6(4, part)
MAC_6(4, whole)
static const size_t mac_rows[BLOCK_VECTORS] = {MAC_ROWS, MAC_ROWS, MAC_ROWS_3, BLOCK_ROWS};
static const mac_fn mac_full[] = {NAMES_6(4, whole)};
static const mac_fn mac_partial[][MAC_ROWS] = {{NAMES_12(1, part)}, {NAMES_12(2, part)}, {NAMES_8(3, part)},
                                               {NAMES_6(4, part)}};
#else
MAC_6(2, part)
MAC_6(2, whole)
static const size_t mac_rows[BLOCK_VECTORS] = {MAC_ROWS, BLOCK_ROWS};
static const mac_fn mac_full[] = {NAMES_6(2, whole)};
static const mac_fn mac_partial[][MAC_ROWS] = {{NAMES_12(1, part)}, {NAMES_6(2, part)}};
#endif

/* M rows, n columns: blocks of nearly equal height, at most mac_rows. */
static void mac(float *restrict out, size_t ldo, const float *restrict x, size_t ldx, const float *restrict b,
                size_t ldb, size_t M, size_t K, size_t n, bool add) {
    enum { WIDTH = BLOCK_VECTORS * LANES };
    for (size_t c = 0; c < n; c += WIDTH) {
        size_t columns = n - c < WIDTH ? n - c : WIDTH, V = (columns + LANES - 1) / LANES;
        size_t n_block = (M + mac_rows[V - 1] - 1) / mac_rows[V - 1];
        const mac_fn *by_rows = columns == WIDTH ? mac_full : mac_partial[V - 1];
        for (size_t i = 0; i < n_block; i++) {
            size_t m = M * i / n_block, R = M * (i + 1) / n_block - m;
            by_rows[R - 1](out + m * ldo + c, ldo, x + m * ldx, ldx, b + c, ldb, K, columns - (V - 1) * LANES, add);
        }
    }
}

static void gemm_tile_simd(float *restrict out, size_t ldo, const float *restrict x, size_t ldx,
                           const float *restrict tile, size_t M, size_t K, size_t n) {
    mac(out, ldo, x, ldx, tile, GEMM_TILE, M, K, n, false);
}

static void gemm_tile_add_simd(float *restrict out, size_t ldo, const float *restrict x, size_t ldx,
                               const float *restrict tile, size_t M, size_t K, size_t n) {
    mac(out, ldo, x, ldx, tile, GEMM_TILE, M, K, n, true);
}

static void mac_simd(float *restrict out, size_t ldo, const float *restrict x, size_t ldx, const float *restrict b,
                     size_t ldb, size_t M, size_t K, size_t n) {
    mac(out, ldo, x, ldx, b, ldb, M, K, n, true);
}

/* ---- attention ---- */

/* over a chunk: words are single values */

typedef float attn_value;

INLINE vf v_mac(vf x, vf column, vf sum) { return v_fma(x, column, sum); }

INLINE vf v_weight(vf u) { return v_exp(u); }

INLINE vf v_put_weights(float *p, vf low, vf high, vf sum) {
    v_store(p, low);
    v_store(p + LANES, high);
    return v_add(v_add(sum, low), high);
}

#define ATTN_KERNEL static void attn_chunk_simd
#include "math/cpu/kernels_attn.h"

/* Only the side with the smaller maximum shrinks: the other factor is exp(0). */
static void attn_merge_simd(float *restrict acc, attn_state *restrict state, const float *restrict acc2,
                            const attn_state *restrict state2, size_t R, size_t dim) {
    for (size_t r = 0; r < R; r++, acc += dim, acc2 += dim) {
        if (state2[r].sum == 0.0f) continue;
        if (state[r].sum == 0.0f) {
            state[r] = state2[r];
            memcpy(acc, acc2, dim * sizeof *acc);
            continue;
        }
        float d = state2[r].max - state[r].max, shrink = exp_one(-fabsf(d));
        float f1 = d > 0.0f ? shrink : 1.0f, f2 = d > 0.0f ? 1.0f : shrink;
        state[r] = (attn_state){d > 0.0f ? state2[r].max : state[r].max, state[r].sum * f1 + state2[r].sum * f2};
        size_t i = 0;
        for (; i + LANES <= dim; i += LANES)
            v_store(acc + i, v_fma(v_load(acc2 + i), v_set1(f2), v_mul(v_load(acc + i), v_set1(f1))));
        if (i < dim)
            v_store_n(acc + i,
                      v_fma(v_load_n(acc2 + i, dim - i), v_set1(f2), v_mul(v_load_n(acc + i, dim - i), v_set1(f1))),
                      dim - i);
    }
}

/* ---- tiles: LANES rows at a time, transposed as 4-byte words ---- */

/* Offsets of LANES rows of which n >= 1 exist: the last one stands in for the others. */
INLINE void row_offsets(size_t offset[LANES], size_t row_bytes, size_t n) {
    for (size_t j = 0; j < LANES; j++) offset[j] = (j < n ? j : n - 1) * row_bytes;
}

static void transpose_tile_simd(float *restrict tile, const float *restrict rows, size_t n, size_t K) {
    for (size_t j = 0; j < GEMM_TILE; j += LANES) {
        size_t in = n > j ? n - j : 0, offset[LANES];
        if (in > LANES) in = LANES;
        if (in > 0) row_offsets(offset, K * sizeof *rows, in);
        size_t k = 0;
        for (; in > 0 && k + 4 <= K; k += 4) {
            vi q[4];
            vi_dwords4(q, (const uint8_t *)(rows + j * K + k), offset);
            for (size_t i = 0; i < 4; i++)
                v_store(tile + (k + i) * GEMM_TILE + j, v_keep(v_from_bits(q[i]), in, v_zero()));
        }
        for (; k < K; k++)
            for (size_t i = 0; i < LANES; i++)
                tile[k * GEMM_TILE + j + i] = i < in ? rows[(j + i) * K + k] : 0.0f;
    }
}

#include "math/cpu/kernels_dequant.h"

#include "math/cpu/kernels_encoder.h"

#include "math/cpu/kernels_back.h"

/* The level's table. bf16, int8: how the names of what works on K and V of the type end */
#define SIMD_TABLE(level, bf16, int8)                                                                                 \
    {.name = level,                                                                                                   \
     .rmsnorm = rmsnorm_simd,                                                                                         \
     .layernorm = layernorm_simd,                                                                                     \
     .gelu = gelu_simd,                                                                                               \
     .gelu_tanh = gelu_tanh_simd,                                                                                     \
     .add = add_simd,                                                                                                 \
     .swiglu = swiglu_simd,                                                                                           \
     .rope = rope_simd,                                                                                               \
     .gemm_tile = gemm_tile_simd,                                                                                     \
     .gemm_tile_add = gemm_tile_add_simd,                                                                             \
     .mac = mac_simd,                                                                                                 \
     .transpose_tile = transpose_tile_simd,                                                                           \
     .dequant_tile = dequant_tile_simd,                                                                               \
     .attn_chunk = attn_chunk_simd,                                                                                   \
     .attn_chunk_bf16 = kernel_attn_chunk_bf16_##bf16,                                                                \
     .attn_chunk_int8 = kernel_attn_chunk_int8_##int8,                                                                \
     .attn_query_int8 = kernel_attn_query_int8_##int8,                                                                \
     .attn_store_int8 = kernel_attn_store_int8_##int8,                                                                \
     .attn_merge = attn_merge_simd,                                                                                   \
     .rmsnorm_back = rmsnorm_back_simd,                                                                               \
     .swiglu_back = swiglu_back_simd,                                                                                 \
     .softmax_back = softmax_back_simd,                                                                               \
     .dot = dot_simd,                                                                                                 \
     .max = max_simd,                                                                                                 \
     .exp_sum = exp_sum_simd,                                                                                         \
     .to_bf16 = TO_BF16}
