/* gemm_amx.c - bf16 products with AMX: tiles of 16 rows by 16 columns, 32 values of K a step. A block is two tiles of
 * rows by two of columns, four sums for four loads.
 *
 *   panel: two halves of 16 columns, each [K / 2][column] two bf16, K padded to whole steps with zeros
 *   quad:  four rows of bf16, K padded so, and a row's bytes an odd number of lines: 16 rows of a tile then fall on
 *          different sets of the first cache
 * A tile reads 16 rows whatever the block has: what lies behind its rows is multiplied, too, and dropped. */
#include "math/cpu/gemm_kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>
#include <string.h>

enum { LINE = 64, STEP = 32, HALF = 16, TILE_ROWS = 16, AMX_PANEL = 2 * HALF, TILE_BYTES = TILE_ROWS * LINE };

/* Sums 0 to 3 (rows by columns), rows 4 and 5, columns 6 and 7; all whole. */
static void begin(void) {
    static const struct {
        uint8_t palette, start_row, reserved[14];
        uint16_t bytes[16];
        uint8_t rows[16];
    } shapes = {1, 0, {0}, {64, 64, 64, 64, 64, 64, 64, 64}, {16, 16, 16, 16, 16, 16, 16, 16}};
    _tile_loadconfig(&shapes);
}

static void end(void) {
    _tile_release();
}

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

/* ---- products ---- */

static void sum_one(const char *x, size_t ldx, const char *w, size_t steps) {
    const char *w1 = w + steps * TILE_BYTES;
    _tile_zero(0);
    _tile_zero(1);
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
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
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

static __mmask16 mask_of(size_t columns, size_t first) {
    size_t n = columns <= first ? 0 : columns - first < HALF ? columns - first : HALF;
    return (__mmask16)((1u << n) - 1);
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

static void multiply(float *out, size_t ldo, size_t rows, size_t columns, const void *x, const void *panel, size_t K,
                     bool add) {
    _Alignas(LINE) float sums[2 * TILE_ROWS * AMX_PANEL];
    size_t ldx = row_bytes(K), steps = steps_of(K);
    bool direct = !add && columns == AMX_PANEL && rows % TILE_ROWS == 0;
    float *to = direct ? out : sums;
    size_t ld = (direct ? ldo : AMX_PANEL) * sizeof *out;
    (rows > TILE_ROWS ? sum_two : sum_one)(x, ldx, panel, steps);
    _tile_stored(0, to, ld);
    _tile_stored(1, to + HALF, ld);
    if (rows > TILE_ROWS) {
        float *second = to + TILE_ROWS * (direct ? ldo : AMX_PANEL);
        _tile_stored(2, second, ld);
        _tile_stored(3, second + HALF, ld);
    }
    if (!direct) put_rows(out, ldo, rows, columns, sums, add);
}

const gemm_kernels *gemm_bf16_amx(void) {
    static const gemm_kernels table = {.panel = AMX_PANEL,
                                       .block_rows = 2 * TILE_ROWS,
                                       .reuse = (size_t)1 << 20,
                                       .panel_bytes = panel_bytes,
                                       .quad_bytes = quad_bytes,
                                       .pack_column = pack_column,
                                       .pack_quad = pack_quad,
                                       .multiply = multiply,
                                       .begin = begin,
                                       .end = end};
    return &table;
}
#endif
