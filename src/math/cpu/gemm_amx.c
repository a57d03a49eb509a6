/* gemm_amx.c - bf16 products with AMX: tiles of 16 rows by 16 columns, 32 values of K a step. A block is two tiles of
 * rows by two of columns, four sums for four loads.
 *
 *   panel: two halves of 16 columns, each [K / 2][column] two bf16, K padded to whole steps with zeros
 *   quad:  four rows of bf16, K padded so, and a row's bytes an odd number of lines: 16 rows of a tile then fall on
 *          different sets of the first cache
 * Tiles: sums 0 to 3 (rows by columns), rows 4 and 5, columns 6 and 7. One reads 16 rows whatever the block has: what
 * lies behind its rows is multiplied, too, and dropped. */
#include "math/cpu/gemm_kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>
#include <string.h>

#include "math/cpu/tiles_amx.h"

enum { LINE = 64, STEP = 32, HALF = 16, TILE_ROWS = 16, AMX_PANEL = 2 * HALF, TILE_BYTES = TILE_ROWS * LINE };

static size_t steps_of(size_t K) {
    return (K + STEP - 1) / STEP;
}

static size_t row_bytes(size_t K) {
    return (steps_of(K) | 1) * LINE;
}

static size_t panel_bytes(size_t K) {
    return 2 * steps_of(K) * TILE_BYTES;
}

static size_t quad_bytes(size_t K) {
    return QUAD * row_bytes(K);
}

/* Values k .. k + 31 of a row of K as bf16; zeros beyond it. */
static __m512i load_step(const float *x, size_t k, size_t K) {
    __m512 part[2];
    for (size_t i = 0; i < 2; i++) {
        size_t at = k + 16 * i, n = at >= K ? 0 : K - at < 16 ? K - at : 16;
        part[i] = n == 0 ? _mm512_setzero_ps() : _mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1), x + at);
    }
    return (__m512i)_mm512_cvtne2ps_pbh(part[1], part[0]);
}

static void pack_quad(void *quad, const float *x, size_t ldx, size_t rows, size_t K) {
    for (size_t r = 0; r < QUAD; r++) {
        char *out = (char *)quad + r * row_bytes(K);
        for (size_t k = 0; k < K; k += STEP, out += LINE)
            _mm512_store_si512(out, r < rows ? load_step(x + r * ldx, k, K) : _mm512_setzero_si512());
    }
}

static void pack_column(void *panel, size_t column, const float *w, size_t K) {
    char *half = (char *)panel + column / HALF * steps_of(K) * TILE_BYTES;
    for (size_t k = 0; k < K; k += STEP) {
        _Alignas(LINE) char dwords[LINE];
        _mm512_store_si512(dwords, load_step(w, k, K));
        for (size_t i = 0; i < STEP / 2; i++) memcpy(half + (k / 2 + i) * LINE + column % HALF * 4, dwords + i * 4, 4);
    }
}

static __mmask16 mask_of(size_t columns, size_t first) {
    size_t n = columns <= first ? 0 : columns - first < HALF ? columns - first : HALF;
    return (__mmask16)((1u << n) - 1);
}

/* 16 columns of two rows, each column's two values side by side. */
static __m512i pair_rows(const float *row, const float *next, __mmask16 in) {
    const __m512i pairs = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6,
                                           21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    __m512 low = row ? _mm512_maskz_loadu_ps(in, row) : _mm512_setzero_ps();
    __m512 high = next ? _mm512_maskz_loadu_ps(in, next) : _mm512_setzero_ps();
    return _mm512_permutexvar_epi16(pairs, (__m512i)_mm512_cvtne2ps_pbh(high, low));
}

static void pack_rows(void *panel, const float *w, size_t ldw, size_t rows, size_t columns) {
    char *half = panel;
    for (size_t c = 0; c < columns; c += HALF, half += steps_of(rows) * TILE_BYTES) {
        __mmask16 in = mask_of(columns, c);
        for (size_t k = 0; k < steps_of(rows) * STEP; k += 2) {
            const float *row = k < rows ? w + k * ldw + c : NULL, *next = k + 1 < rows ? row + ldw : NULL;
            _mm512_store_si512(half + k / 2 * LINE, pair_rows(row, next, in));
        }
    }
}

/* ---- products ---- */

/* Adds to the sums `steps` steps of 16 or 32 rows x, ldx bytes apart, by a panel w. */
static void sum_one(const char *x, size_t ldx, const char *w, size_t steps) {
    const char *w1 = w + steps * TILE_BYTES;
    for (size_t i = 0; i < steps; i++, x += LINE, w += TILE_BYTES, w1 += TILE_BYTES) {
        _tile_loadd(4, x, ldx);
        _tile_loadd(6, w, LINE);
        _tile_dpbf16ps(0, 4, 6);
        _tile_loadd(7, w1, LINE);
        _tile_dpbf16ps(1, 4, 7);
    }
}

static void sum_two(const char *x, size_t ldx, const char *w, size_t steps) {
    const char *w1 = w + steps * TILE_BYTES, *x1 = x + TILE_ROWS * ldx;
    for (size_t i = 0; i < steps; i++, x += LINE, x1 += LINE, w += TILE_BYTES, w1 += TILE_BYTES) {
        _tile_loadd(4, x, ldx);
        _tile_loadd(6, w, LINE);
        _tile_dpbf16ps(0, 4, 6);
        _tile_loadd(7, w1, LINE);
        _tile_dpbf16ps(1, 4, 7);
        _tile_loadd(5, x1, ldx);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
    }
}

static void load_sums(const float *from, size_t ld, size_t rows) {
    size_t bytes = ld * sizeof *from;
    _tile_loadd(0, from, bytes);
    _tile_loadd(1, from + HALF, bytes);
    if (rows <= TILE_ROWS) return;
    _tile_loadd(2, from + TILE_ROWS * ld, bytes);
    _tile_loadd(3, from + TILE_ROWS * ld + HALF, bytes);
}

static void store_sums(float *to, size_t ld, size_t rows) {
    size_t bytes = ld * sizeof *to;
    _tile_stored(0, to, bytes);
    _tile_stored(1, to + HALF, bytes);
    if (rows <= TILE_ROWS) return;
    _tile_stored(2, to + TILE_ROWS * ld, bytes);
    _tile_stored(3, to + TILE_ROWS * ld + HALF, bytes);
}

static void add_steps(size_t rows, const char *x, const char *panel, size_t K) {
    (rows > TILE_ROWS ? sum_two : sum_one)(x, row_bytes(K), panel, steps_of(K));
}

static void take_rows(float *sums, const float *from, size_t ld, size_t rows, size_t columns) {
    __mmask16 low = mask_of(columns, 0), high = mask_of(columns, HALF);
    for (size_t r = 0; r < rows; r++, from += ld, sums += AMX_PANEL) {
        _mm512_store_ps(sums, _mm512_maskz_loadu_ps(low, from));
        _mm512_store_ps(sums + HALF, columns > HALF ? _mm512_maskz_loadu_ps(high, from + HALF) : _mm512_setzero_ps());
    }
}

static void put_rows(float *out, size_t ldo, size_t rows, size_t columns, const float *sums, bool add) {
    __mmask16 low = mask_of(columns, 0), high = mask_of(columns, HALF);
    for (size_t r = 0; r < rows; r++, out += ldo, sums += AMX_PANEL) {
        __m512 a = _mm512_load_ps(sums), b = _mm512_load_ps(sums + HALF);
        if (add) a = _mm512_add_ps(_mm512_maskz_loadu_ps(low, out), a);
        if (add) b = _mm512_add_ps(_mm512_maskz_loadu_ps(high, out + HALF), b);
        _mm512_mask_storeu_ps(out, low, a);
        _mm512_mask_storeu_ps(out + HALF, high, b);
    }
}

/* Tiles read and write whole blocks only. */
static bool is_whole(size_t rows, size_t columns) {
    return columns == AMX_PANEL && rows % TILE_ROWS == 0;
}

static void multiply(float *out, size_t ldo, size_t rows, size_t columns, const void *x, const void *panel, size_t K,
                     bool add) {
    _Alignas(LINE) float sums[2 * TILE_ROWS * AMX_PANEL];
    bool direct = !add && is_whole(rows, columns);
    tiles_zero_sums();
    add_steps(rows, x, panel, K);
    store_sums(direct ? out : sums, direct ? ldo : AMX_PANEL, rows);
    if (!direct) put_rows(out, ldo, rows, columns, sums, add);
}

static void extend(float *out, size_t ldo, size_t rows, size_t columns, const void *x, const void *panel, size_t K) {
    _Alignas(LINE) float sums[2 * TILE_ROWS * AMX_PANEL];
    bool direct = is_whole(rows, columns);
    float *at = direct ? out : sums;
    size_t ld = direct ? ldo : AMX_PANEL;
    if (!direct) take_rows(sums, out, ldo, rows, columns);
    load_sums(at, ld, rows);
    add_steps(rows, x, panel, K);
    store_sums(at, ld, rows);
    if (!direct) put_rows(out, ldo, rows, columns, sums, false);
}

const gemm_kernels *gemm_bf16_amx(void) {
    static const gemm_kernels table = {.panel = AMX_PANEL,
                                       .block_rows = 2 * TILE_ROWS,
                                       .reuse = (size_t)1 << 20,
                                       .panel_bytes = panel_bytes,
                                       .quad_bytes = quad_bytes,
                                       .pack_column = pack_column,
                                       .pack_rows = pack_rows,
                                       .pack_quad = pack_quad,
                                       .multiply = multiply,
                                       .extend = extend,
                                       .begin = tiles_begin,
                                       .end = tiles_end};
    return &table;
}
#endif
