/* gemm_amx_int8.c - int8 products with AMX: a tile of 16 rows by a tile of 16 columns, a block of INT8_BLOCK values of
 * K a step. The sums of a block are exact integers and go into the fp32 sums as gemm_kernels.h says: the bits are those
 * of every other level.
 *
 *   panel: per block [16][column] four bytes q, then [column] bf16 scale
 *   quad:  four rows, each per block INT8_BLOCK bytes, then [block] fp32 scale, then [block] int32 -128 * sum of q; a
 *          row's bytes an odd number of lines: 16 rows of a tile then fall on different sets of the first cache
 * A tile reads 16 rows whatever the block has: what lies behind its rows is multiplied, too, and dropped. Where there
 * is no more than a quad, as in writing a chain, VNNI multiplies. */
#include "math/cpu/gemm_kernels.h"

#if defined(__x86_64__)
#include "math/cpu/bytes_avx512.h"
#include "math/cpu/tiles_amx.h"

enum { HALF = 16, TILE_ROWS = 16, TILE_QUADS = TILE_ROWS / QUAD, TILE_BYTES = TILE_ROWS * LINE };
enum { SCALES_AT = INT8_BLOCK * INT8_PANEL };

/* Blocks ahead of the one in use that are asked for, into the second cache, of few rows into the first; blocks whose
 * sums are made side by side. */
enum { AHEAD = 8, FEW_AHEAD = 4, STRIP = 4 };

static size_t blocks_of(size_t K) {
    return (K + INT8_BLOCK - 1) / INT8_BLOCK;
}

static size_t row_bytes(size_t K) {
    size_t lines = blocks_of(K) + (blocks_of(K) * (sizeof(float) + sizeof(int32_t)) + LINE - 1) / LINE;
    return (lines | 1) * LINE;
}

static size_t quad_bytes(size_t K) {
    return QUAD * row_bytes(K);
}

static void pack_quad(void *quad, const float *x, size_t ldx, size_t rows, size_t K) {
    size_t n_block = blocks_of(K);
    for (size_t r = 0; r < QUAD; r++) {
        char *row = (char *)quad + r * row_bytes(K);
        float *scales = (float *)(void *)(row + n_block * INT8_BLOCK);
        int32_t *starts = (int32_t *)(void *)(scales + n_block);
        for (size_t b = 0; b < n_block; b++) {
            __m512 v[INT8_BLOCK / 16];
            __m128i q[INT8_BLOCK / 16] = {0};
            scales[b] = 0;
            if (r < rows) {
                load_block(v, x + r * ldx, b * INT8_BLOCK, K);
                scales[b] = quantise_block(q, v);
            }
            _mm512_store_si512(row + b * INT8_BLOCK, join(q));
            starts[b] = start_of(join(q));
        }
    }
}

static void pack_column(void *panel, size_t column, const float *w, size_t K) {
    char *block = panel;
    for (size_t k = 0; k < K; k += INT8_BLOCK, block += INT8_PANEL_BLOCK) {
        __m512 v[INT8_BLOCK / 16];
        __m512i q;
        _Alignas(LINE) char dwords[LINE];
        load_block(v, w, k, K);
        uint16_t scale = pack_block(&q, v);
        memcpy(block + SCALES_AT + column * 2, &scale, sizeof scale);
        _mm512_store_si512(dwords, _mm512_xor_si512(q, _mm512_set1_epi8((char)128))); /* signed */
        for (size_t i = 0; i < INT8_STEPS; i++) memcpy(block + (i * INT8_PANEL + column) * 4, dwords + i * 4, 4);
    }
}

/* ---- products ---- */

/* The sums of block i of a strip, whose rows begin at x, in tile i; rows, columns: tiles to load them into. It is a
 * macro, as the numbers of tiles stand in the instructions. */
#define SUM_BLOCK(i, x, rows, columns)                                                                                 \
    do {                                                                                                               \
        _tile_zero(i);                                                                                                 \
        _tile_loadd(rows, x, ldx);                                                                                     \
        _tile_loadd(columns, w + i * INT8_PANEL_BLOCK, INT8_PANEL * 4);                                                \
        _tile_dpbssd(i, rows, columns);                                                                                \
    } while (0)

/* The sums of up to STRIP blocks, each in a tile of its own, so that they are made side by side. */
INLINE void sum_strip(int32_t made[STRIP][TILE_ROWS * HALF], size_t n, const char *x, size_t ldx, const char *w) {
    const char *x1 = x + INT8_BLOCK, *x2 = x + 2 * INT8_BLOCK, *x3 = x + 3 * INT8_BLOCK;
    SUM_BLOCK(0, x, 4, 6);
    if (n > 1) SUM_BLOCK(1, x1, 5, 7);
    if (n > 2) SUM_BLOCK(2, x2, 4, 6);
    if (n > 3) SUM_BLOCK(3, x3, 5, 7);
    _tile_stored(0, made[0], LINE);
    if (n > 1) _tile_stored(1, made[1], LINE);
    if (n > 2) _tile_stored(2, made[2], LINE);
    if (n > 3) _tile_stored(3, made[3], LINE);
}

INLINE __m512 scales_of(const char *block, size_t half) {
    __m256i bits = _mm256_load_si256((const void *)(block + SCALES_AT + half * HALF * 2));
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16));
}

/* The integer sums of n_quad quads (a constant where inlined) into the fp32 ones. scale: the first row's of the block,
 * rows and quads ldx and QUAD ldx apart. */
INLINE void take_block(const size_t n_quad, __m512 sum[TILE_ROWS], const int32_t *from, __m512 column,
                       const char *scale, size_t ldx) {
    UNROLL for (size_t r = 0; r < n_quad * QUAD; r++) {
        __m512 row = _mm512_set1_ps(*(const float *)(const void *)(scale + r * ldx));
        __m512 got = _mm512_cvtepi32_ps(_mm512_load_si512(from + r * HALF));
        sum[r] = _mm512_fmadd_ps(got, _mm512_mul_ps(column, row), sum[r]);
    }
}

/* Half of the lines of a block further on: each half of the columns asks for its own. */
INLINE void ask_ahead(const char *block, size_t half) {
    const char *at = block + AHEAD * INT8_PANEL_BLOCK + half * (INT8_PANEL_BLOCK / 2 / LINE * LINE);
    UNROLL for (size_t i = 0; i < INT8_PANEL_BLOCK / 2 / LINE; i++) _mm_prefetch(at + i * LINE, _MM_HINT_T1);
}

/* What a tile of rows by a half of a panel's columns is made of. */
typedef struct tile_call {
    const char *x; /* n_block blocks of the first row; then its scales */
    size_t ldx, n_block;
    const char *panel;
    size_t half;
    bool ask; /* for what comes behind: nobody else has on this panel */
} tile_call;

INLINE void sum_tile(const size_t n_quad, __m512 sum[TILE_ROWS], const tile_call *c) {
    _Alignas(LINE) int32_t made[STRIP][TILE_ROWS * HALF];
    const char *x = c->x, *scale = c->x + c->n_block * INT8_BLOCK, *w = c->panel;
    UNROLL for (size_t r = 0; r < n_quad * QUAD; r++) sum[r] = _mm512_setzero_ps();
    for (size_t b = 0; b < c->n_block; b += STRIP, x += STRIP * INT8_BLOCK) {
        size_t n = c->n_block - b < STRIP ? c->n_block - b : STRIP;
        if (n == STRIP)
            sum_strip(made, STRIP, x, c->ldx, w + c->half * LINE);
        else
            sum_strip(made, n, x, c->ldx, w + c->half * LINE);
        for (size_t i = 0; i < n; i++, scale += sizeof(float), w += INT8_PANEL_BLOCK) {
            if (c->ask) ask_ahead(w, c->half);
            take_block(n_quad, sum, made[i], scales_of(w, c->half), scale, c->ldx);
        }
    }
}

INLINE __mmask16 mask_of(size_t columns) {
    return columns < HALF ? (__mmask16)((1u << columns) - 1) : 0xffff;
}

INLINE void put(float *out, __m512 sum, __mmask16 in, bool add) {
    if (add) sum = _mm512_add_ps(_mm512_maskz_loadu_ps(in, out), sum);
    _mm512_mask_storeu_ps(out, in, sum);
}

INLINE void multiply_tile(const size_t n_quad, float *out, size_t ldo, size_t rows, size_t columns, bool add,
                          const tile_call *c) {
    __m512 sum[TILE_ROWS];
    __mmask16 in = mask_of(columns);
    sum_tile(n_quad, sum, c);
    UNROLL for (size_t r = 0; r < n_quad * QUAD; r++) if (r < rows) put(out + r * ldo, sum[r], in, add);
}

/* ---- a quad or less ---- */

/* A block by R rows, whose bytes and scales are ldx apart, into the fp32 sums. starts: behind the scales */
INLINE void few_block(const size_t R, __m512 sum[QUAD][2], const char *x, const char *scale, const char *start,
                      size_t ldx, const char *w) {
    __m512i acc[QUAD][2];
    UNROLL for (size_t r = 0; r < R; r++) acc[r][0] = acc[r][1] = spread(start + r * ldx);
    UNROLL for (size_t k = 0; k < INT8_STEPS; k++) {
        const __m512i turn = _mm512_set1_epi8((char)128);
        __m512i low = _mm512_xor_si512(_mm512_load_si512(w + 2 * k * LINE), turn);
        __m512i high = _mm512_xor_si512(_mm512_load_si512(w + (2 * k + 1) * LINE), turn);
        _mm_prefetch(w + FEW_AHEAD * INT8_PANEL_BLOCK + 2 * k * LINE, _MM_HINT_T0);
        _mm_prefetch(w + FEW_AHEAD * INT8_PANEL_BLOCK + (2 * k + 1) * LINE, _MM_HINT_T0);
        UNROLL for (size_t r = 0; r < R; r++) {
            __m512i bytes = spread(x + r * ldx + k * 4);
            acc[r][0] = dot_bytes(acc[r][0], low, bytes);
            acc[r][1] = dot_bytes(acc[r][1], high, bytes);
        }
    }
    UNROLL for (size_t r = 0; r < R; r++) UNROLL for (size_t h = 0; h < 2; h++) {
        __m512 row = (__m512)spread(scale + r * ldx);
        sum[r][h] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(acc[r][h]), _mm512_mul_ps(scales_of(w, h), row), sum[r][h]);
    }
}

INLINE void multiply_few(const size_t R, float *out, size_t ldo, size_t columns, const char *x, size_t ldx,
                         size_t n_block, const char *w, bool add) {
    const char *scale = x + n_block * INT8_BLOCK, *start = scale + n_block * sizeof(float);
    __m512 sum[QUAD][2];
    UNROLL for (size_t r = 0; r < R; r++) sum[r][0] = sum[r][1] = _mm512_setzero_ps();
    for (size_t b = 0; b < n_block; b++, w += INT8_PANEL_BLOCK)
        few_block(R, sum, x + b * INT8_BLOCK, scale + b * sizeof(float), start + b * sizeof(int32_t), ldx, w);
    UNROLL for (size_t r = 0; r < R; r++) UNROLL for (size_t h = 0; h < 2; h++) if (columns > h * HALF)
        put(out + r * ldo + h * HALF, sum[r][h], mask_of(columns - h * HALF), add);
}

/* ---- whole products ---- */

static void multiply_rows(float *out, size_t ldo, size_t rows, size_t columns, bool add, tile_call *c) {
    for (c->half = 0; c->half * HALF < columns; c->half++) {
        size_t width = columns - c->half * HALF;
        float *to = out + c->half * HALF;
        if (rows <= QUAD)
            multiply_tile(1, to, ldo, rows, width, add, c);
        else if (rows <= 2 * QUAD)
            multiply_tile(2, to, ldo, rows, width, add, c);
        else if (rows <= 3 * QUAD)
            multiply_tile(3, to, ldo, rows, width, add, c);
        else
            multiply_tile(TILE_QUADS, to, ldo, rows, width, add, c);
    }
}

static void multiply(float *out, size_t ldo, size_t rows, size_t columns, const void *x, const void *panel, size_t K,
                     bool add) {
    tile_call c = {.x = x, .ldx = row_bytes(K), .n_block = blocks_of(K), .panel = panel, .ask = true};
    switch (rows) {
    case 1:
        multiply_few(1, out, ldo, columns, x, c.ldx, c.n_block, panel, add);
        return;
    case 2:
        multiply_few(2, out, ldo, columns, x, c.ldx, c.n_block, panel, add);
        return;
    case 3:
        multiply_few(3, out, ldo, columns, x, c.ldx, c.n_block, panel, add);
        return;
    case 4:
        multiply_few(4, out, ldo, columns, x, c.ldx, c.n_block, panel, add);
        return;
    default:
        break;
    }
    for (; rows > TILE_ROWS; rows -= TILE_ROWS, out += TILE_ROWS * ldo, c.x += TILE_ROWS * c.ldx, c.ask = false)
        multiply_rows(out, ldo, TILE_ROWS, columns, add, &c);
    multiply_rows(out, ldo, rows, columns, add, &c);
}

const gemm_kernels *gemm_int8_amx(void) {
    static const gemm_kernels table = {.panel = INT8_PANEL,
                                       .block_rows = 2 * TILE_ROWS,
                                       .reuse = (size_t)1 << 20,
                                       .panel_bytes = gemm_int8_panel_bytes,
                                       .quad_bytes = quad_bytes,
                                       .pack_column = pack_column,
                                       .pack_quad = pack_quad,
                                       .multiply = multiply,
                                       .begin = tiles_begin,
                                       .end = tiles_end};
    return &table;
}
#endif
