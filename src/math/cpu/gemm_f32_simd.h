/* gemm_f32_simd.h - products of fp32 panels over vectors of LANES floats. Included once by each level's file, which has
 * the vectors (simd_*.h) and defines before:
 *
 *   QUADS, VECTORS     quads of rows and vectors of columns whose sums fit the registers
 *
 * While CHUNK values of K of a panel are in the first cache, up to BLOCK rows go over them; their sums wait in memory
 * meanwhile, which rounds nothing. */
#include <string.h>

#include "math/cpu/gemm_kernels.h"
#include "math/cpu/simd_exp.h"

enum { PANEL = VECTORS * LANES, CHUNK = 256, BLOCK = 48, LINE = 64, AHEAD = 1024 /* bytes that are asked for */ };

static size_t panel_bytes(size_t K) {
    return (K * PANEL * sizeof(float) + LINE - 1) / LINE * LINE;
}

static void pack_column(void *panel, size_t column, const float *w, size_t K) {
    float *to = (float *)panel + column;
    for (size_t k = 0; k < K; k++) to[k * PANEL] = w[k];
}

static void pack_rows(void *panel, const float *w, size_t ldw, size_t rows, size_t columns) {
    float *to = panel;
    for (size_t k = 0; k < rows; k++, to += PANEL) {
        memcpy(to, w + k * ldw, columns * sizeof *to);
        if (columns < PANEL) memset(to + columns, 0, (PANEL - columns) * sizeof *to);
    }
}

static void pack_quad(void *quad, const float *x, size_t ldx, size_t rows, size_t K) {
    float *to = quad;
    size_t k = 0;
    for (; rows == QUAD && k + 4 <= K; k += 4, to += 4 * QUAD) {
        __m128 a = _mm_loadu_ps(x + k), b = _mm_loadu_ps(x + ldx + k);
        __m128 c = _mm_loadu_ps(x + 2 * ldx + k), d = _mm_loadu_ps(x + 3 * ldx + k);
        _MM_TRANSPOSE4_PS(a, b, c, d);
        _mm_store_ps(to, a);
        _mm_store_ps(to + 4, b);
        _mm_store_ps(to + 8, c);
        _mm_store_ps(to + 12, d);
    }
    for (; k < K; k++, to += QUAD)
        for (size_t r = 0; r < QUAD; r++) to[r] = r < rows ? x[r * ldx + k] : 0.0f;
}

/* Q quads by a panel, K values, on top of sums: rows of PANEL. first: of nothing. Q: constant where inlined */
INLINE void block(const size_t Q, float *sums, const float *const quads[QUADS], const float *w, size_t K, bool first) {
    vf sum[QUADS * QUAD][VECTORS];
    UNROLL for (size_t r = 0; r < Q * QUAD; r++) UNROLL for (size_t v = 0; v < VECTORS; v++) sum[r][v] =
        first ? v_zero() : v_load(sums + r * PANEL + v * LANES);
    for (size_t k = 0; k < K; k++, w += PANEL) {
        vf column[VECTORS];
        UNROLL for (size_t v = 0; v < VECTORS; v++) column[v] = v_load(w + v * LANES);
        UNROLL for (size_t v = 0; v < VECTORS * LANES * sizeof *w / LINE; v++)
            _mm_prefetch((const char *)w + AHEAD + v * LINE, _MM_HINT_T0);
        UNROLL for (size_t r = 0; r < Q * QUAD; r++) {
            vf x = v_set1(quads[r / QUAD][k * QUAD + r % QUAD]);
            UNROLL for (size_t v = 0; v < VECTORS; v++) sum[r][v] = v_fma(x, column[v], sum[r][v]);
        }
    }
    UNROLL for (size_t r = 0; r < Q * QUAD; r++) UNROLL for (size_t v = 0; v < VECTORS; v++)
        v_store(sums + r * PANEL + v * LANES, sum[r][v]);
}

typedef void (*block_fn)(float *sums, const float *const quads[QUADS], const float *w, size_t K, bool first);
#define BLOCK_OF(Q)                                                                                                    \
    static void block_##Q(float *sums, const float *const quads[QUADS], const float *w, size_t K, bool first) {        \
        block(Q, sums, quads, w, K, first);                                                                            \
    }
BLOCK_OF(1)
#if QUADS == 3
BLOCK_OF(2)
BLOCK_OF(3)
static const block_fn block_of[] = {block_1, block_2, block_3};
#else
static const block_fn block_of[] = {block_1};
#endif

/* sums: (BLOCK, PANEL), begun or not */
static void sum_up(float *sums, size_t rows, const float *x, size_t quad, const float *panel, size_t K, bool begun) {
    for (size_t k = 0; k < K; k += CHUNK, begun = true) {
        size_t n = K - k < CHUNK ? K - k : CHUNK;
        for (size_t m = 0; m < rows; m += QUADS * QUAD) {
            const float *at[QUADS], *first = x + m / QUAD * quad + k * QUAD;
            size_t left = (rows - m + QUAD - 1) / QUAD;
            for (size_t i = 0; i < QUADS; i++) at[i] = first + i * quad;
            block_of[(left < QUADS ? left : QUADS) - 1](sums + m * PANEL, at, panel + k * PANEL, n, !begun);
        }
    }
}

INLINE vf with(const float *out, vf sum, size_t n, bool add) {
    return !add ? sum : v_add(n < LANES ? v_load_n(out, n) : v_load(out), sum);
}

static void put_row(float *out, const float *sum, size_t n, bool add) {
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) v_store(out + i, with(out + i, v_load(sum + i), LANES, add));
    if (i < n) v_store_n(out + i, with(out + i, v_load(sum + i), n - i, add), n - i);
}

static void multiply(float *out, size_t ldo, size_t rows, size_t columns, const void *x, const void *panel, size_t K,
                     bool add) {
    _Alignas(LINE) float sums[BLOCK * PANEL];
    sum_up(sums, rows, x, gemm_f32_quad_bytes(K) / sizeof(float), panel, K, false);
    for (size_t m = 0; m < rows; m++) put_row(out + m * ldo, sums + m * PANEL, columns, add);
}

static void get_row(float *sum, const float *out, size_t n) {
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) v_store(sum + i, v_load(out + i));
    for (; i < PANEL; i += LANES) v_store(sum + i, i < n ? v_load_n(out + i, n - i) : v_zero());
}

static void extend(float *out, size_t ldo, size_t rows, size_t columns, const void *x, const void *panel, size_t K) {
    _Alignas(LINE) float sums[BLOCK * PANEL];
    size_t m = 0;
    for (; m < rows; m++) get_row(sums + m * PANEL, out + m * ldo, columns);
    for (; m % QUAD; m++) memset(sums + m * PANEL, 0, PANEL * sizeof *sums);
    sum_up(sums, rows, x, gemm_f32_quad_bytes(K) / sizeof(float), panel, K, true);
    for (m = 0; m < rows; m++) put_row(out + m * ldo, sums + m * PANEL, columns, false);
}

#define F32_TABLE                                                                                                      \
    {.panel = PANEL,                                                                                                   \
     .panel_bytes = panel_bytes,                                                                                       \
     .quad_bytes = gemm_f32_quad_bytes,                                                                                \
     .pack_column = pack_column,                                                                                       \
     .pack_rows = pack_rows,                                                                                           \
     .pack_quad = pack_quad,                                                                                           \
     .multiply = multiply,                                                                                             \
     .extend = extend,                                                                                                 \
     .block_rows = BLOCK}
