/* gemm_avx512.c - products of panels with AVX-512: int8 by VNNI, bf16 by AVX512_BF16. Layouts: gemm_kernels.h. */
#include "math/cpu/gemm_kernels.h"
#include "math/cpu/kernels_level.h"

#if defined(__x86_64__)
#include <string.h>

#include "math/cpu/bytes_avx512.h"

/* Bytes and blocks ahead of the line in use that are asked for into the second cache: main memory takes some hundred
 * cycles, and a core waits for more lines at once there than in the first. A single quad of int8 is gone through so
 * fast that the first cache is the better place (all measured). */
enum { BF16_AHEAD = 8192, INT8_AHEAD = 8, INT8_AHEAD_QUAD = 4 };

/* ---- rows ---- */

/* Dwords 0..15 of four rows, dword outermost. */
INLINE void store_dwords(char *out, const __m512i row[QUAD]) {
    __m512i ab = _mm512_unpacklo_epi32(row[0], row[1]), cd = _mm512_unpacklo_epi32(row[2], row[3]);
    __m512i t0 = _mm512_unpacklo_epi64(ab, cd), t1 = _mm512_unpackhi_epi64(ab, cd);
    ab = _mm512_unpackhi_epi32(row[0], row[1]), cd = _mm512_unpackhi_epi32(row[2], row[3]);
    __m512i t2 = _mm512_unpacklo_epi64(ab, cd), t3 = _mm512_unpackhi_epi64(ab, cd);

    /* quarter i of t_j holds dword 4 i + j */
    __m512i low01 = _mm512_shuffle_i32x4(t0, t1, 0x44), low23 = _mm512_shuffle_i32x4(t2, t3, 0x44);
    __m512i high01 = _mm512_shuffle_i32x4(t0, t1, 0xee), high23 = _mm512_shuffle_i32x4(t2, t3, 0xee);
    _mm512_store_si512(out, _mm512_shuffle_i32x4(low01, low23, 0x88));
    _mm512_store_si512(out + 64, _mm512_shuffle_i32x4(low01, low23, 0xdd));
    _mm512_store_si512(out + 128, _mm512_shuffle_i32x4(high01, high23, 0x88));
    _mm512_store_si512(out + 192, _mm512_shuffle_i32x4(high01, high23, 0xdd));
}

static void bf16_pack_quad(void *quad, const float *x, size_t ldx, size_t rows, size_t K) {
    char *out = quad;
    for (size_t k = 0; k < K; k += BF16_GROUP, out += BF16_GROUP / 2 * QUAD * 4) {
        __m512i row[QUAD] = {0};
        for (size_t r = 0; r < rows; r++) {
            __m512 low = load_values(x + r * ldx, k, K), high = load_values(x + r * ldx, k + 16, K);
            row[r] = (__m512i)_mm512_cvtne2ps_pbh(high, low);
        }
        store_dwords(out, row);
    }
}

static void int8_pack_quad(void *quad, const float *x, size_t ldx, size_t rows, size_t K) {
    char *out = quad;
    for (size_t k = 0; k < K; k += INT8_BLOCK, out += INT8_QUAD_BLOCK) {
        __m512i row[QUAD] = {0};
        _Alignas(LINE) int32_t start[QUAD] = {0};
        _Alignas(LINE) float scale[LINE / 4 - QUAD] = {0};
        for (size_t r = 0; r < rows; r++) {
            __m512 v[INT8_BLOCK / 16];
            __m128i q[INT8_BLOCK / 16];
            load_block(v, x + r * ldx, k, K);
            scale[r] = quantise_block(q, v);
            row[r] = join(q);
            start[r] = start_of(row[r]);
        }
        store_dwords(out, row);
        memcpy(out + INT8_BLOCK * QUAD, start, sizeof start);
        memcpy(out + INT8_BLOCK * QUAD + sizeof start, scale, sizeof scale);
    }
}

/* ---- columns ---- */

/* Dwords into a column of n steps, `step` bytes each, out: its place in the first. */
INLINE void store_column(char *out, __m512i dwords, size_t n, const size_t step) {
    _Alignas(LINE) char bytes[LINE];
    _mm512_store_si512(bytes, dwords);
    for (size_t i = 0; i < n; i++) memcpy(out + i * step, bytes + i * 4, 4);
}

static void bf16_pack_column(void *panel, size_t column, const float *w, size_t K) {
    for (size_t k = 0; k < K; k += BF16_GROUP) {
        __m512 low = load_values(w, k, K), high = load_values(w, k + 16, K);
        size_t steps = K - k < BF16_GROUP ? (K - k + 1) / 2 : BF16_GROUP / 2;
        store_column((char *)panel + k / 2 * LINE + column * 4, (__m512i)_mm512_cvtne2ps_pbh(high, low), steps, LINE);
    }
}

static void int8_pack_column(void *panel, size_t column, const float *w, size_t K) {
    char *block = panel;
    for (size_t k = 0; k < K; k += INT8_BLOCK, block += INT8_PANEL_BLOCK) {
        __m512 v[INT8_BLOCK / 16];
        __m512i q;
        load_block(v, w, k, K);
        uint16_t scale = pack_block(&q, v);
        memcpy(block + INT8_BLOCK * INT8_PANEL + column * 2, &scale, sizeof scale);
        store_column(block + column * 4, q, INT8_STEPS, INT8_PANEL * 4);
    }
}

/* ---- products ---- */

/* A line of each row of out is written at the end of a block: asked for now, it is there by then. */
INLINE void ask_for_rows(const float *out, size_t ldo, size_t rows) {
    for (size_t r = 0; r < rows; r++) __builtin_prefetch(out + r * ldo, 1);
}

INLINE void put(float *out, __m512 sum, size_t columns, bool add) {
    __mmask16 in = (__mmask16)((1u << columns) - 1);
    if (add) sum = _mm512_add_ps(_mm512_maskz_loadu_ps(in, out), sum);
    _mm512_mask_storeu_ps(out, in, sum);
}

INLINE __m512 dot_bf16(__m512 s, __m512i w, const char *p) {
    return _mm512_dpbf16_ps(s, (__m512bh)w, (__m512bh)spread(p));
}

/* R rows; R: a constant where inlined */
INLINE void bf16_block(const size_t R, float *out, size_t ldo, size_t rows, size_t columns, const char *x,
                       size_t quad_bytes, const char *panel, size_t steps, bool add) {
    const char *quad[BLOCK_ROWS / QUAD];
    __m512 sum[BLOCK_ROWS];
    UNROLL for (size_t i = 0; i < (R + QUAD - 1) / QUAD; i++) quad[i] = x + i * quad_bytes;
    UNROLL for (size_t r = 0; r < R; r++) sum[r] = _mm512_setzero_ps();
    ask_for_rows(out, ldo, rows);
    for (size_t k = 0; k < steps; k++) {
        __m512i w = _mm512_load_si512(panel + k * LINE);
        _mm_prefetch(panel + k * LINE + BF16_AHEAD, _MM_HINT_T1);
        UNROLL for (size_t r = 0; r < R; r++) sum[r] =
            dot_bf16(sum[r], w, quad[r / QUAD] + k * QUAD * 4 + r % QUAD * 4);
    }
    UNROLL for (size_t r = 0; r < R; r++) if (r < rows) put(out + r * ldo, sum[r], columns, add);
}

enum { LINES = INT8_PANEL_BLOCK / LINE, HALVES = INT8_PANEL / 16, STRIP = 3 };

/* One block by R rows of a quad: the integer sums, then into the fp32 sums; both in registers. Asks for the first
 * 1 / n_quad of the block's lines at `ahead`. */
INLINE void int8_step(const size_t R, const size_t n_quad, __m512 sum[QUAD][HALVES], const char *quad, const char *w,
                      const char *ahead) {
    const size_t ask = (LINES + n_quad - 1) / n_quad;
    __m512i acc[QUAD][HALVES];
    UNROLL for (size_t r = 0; r < R; r++) UNROLL for (size_t h = 0; h < HALVES; h++) acc[r][h] =
        spread(quad + INT8_BLOCK * QUAD + r * 4);
    UNROLL for (size_t k = 0; k < INT8_STEPS; k++) {
        __m512i line[HALVES];
        UNROLL for (size_t h = 0; h < HALVES; h++) line[h] = _mm512_load_si512(w + (k * HALVES + h) * LINE);
        __asm__ volatile("" : : : "memory"); /* compilers gather the requests of a block otherwise */
        UNROLL for (size_t i = k * ask / INT8_STEPS; i < (k + 1) * ask / INT8_STEPS; i++) {
            if (n_quad == 1)
                _mm_prefetch(ahead + i * LINE, _MM_HINT_T0);
            else
                _mm_prefetch(ahead + i * LINE, _MM_HINT_T1);
        }
        UNROLL for (size_t r = 0; r < R; r++) {
            __m512i x = spread(quad + (k * QUAD + r) * 4);
            UNROLL for (size_t h = 0; h < HALVES; h++) acc[r][h] = dot_bytes(acc[r][h], line[h], x);
        }
    }

    __m512 column[HALVES];
    UNROLL for (size_t h = 0; h < HALVES; h++) {
        __m256i bits = _mm256_load_si256((const void *)(w + INT8_BLOCK * INT8_PANEL + h * 32));
        column[h] = _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16));
    }
    UNROLL for (size_t r = 0; r < R; r++) {
        __m512 row = (__m512)spread(quad + INT8_BLOCK * QUAD + (QUAD + r) * 4);
        UNROLL for (size_t h = 0; h < HALVES; h++) sum[r][h] =
            _mm512_fmadd_ps(_mm512_cvtepi32_ps(acc[r][h]), _mm512_mul_ps(column[h], row), sum[r][h]);
    }
}

/* n blocks by R rows of a quad, added to sums: (R, INT8_PANEL); first: to zeros */
INLINE void int8_strip(const size_t R, const size_t n_quad, float *sums, bool first, const char *quad, const char *w,
                       size_t n, const char *ahead) {
    __m512 sum[QUAD][HALVES];
    UNROLL for (size_t r = 0; r < R; r++) UNROLL for (size_t h = 0; h < HALVES; h++) sum[r][h] =
        first ? _mm512_setzero_ps() : _mm512_load_ps(sums + r * INT8_PANEL + h * 16);
    for (; n > 0; n--, w += INT8_PANEL_BLOCK, ahead += INT8_PANEL_BLOCK, quad += INT8_QUAD_BLOCK)
        int8_step(R, n_quad, sum, quad, w, ahead);
    UNROLL for (size_t r = 0; r < R; r++) UNROLL for (size_t h = 0; h < HALVES; h++)
        _mm512_store_ps(sums + r * INT8_PANEL + h * 16, sum[r][h]);
}

/* Strips of a few blocks, which stay in the first cache while one quad after the other goes over them; each asks for
 * its part of the lines of blocks further on. */
INLINE void int8_block(const size_t R, float *out, size_t ldo, size_t rows, size_t columns, const char *x,
                       size_t quad_bytes, const char *panel, size_t n_block, bool add) {
    const size_t n_quad = (R + QUAD - 1) / QUAD, ask = (LINES + n_quad - 1) / n_quad * LINE;
    const size_t ahead = (n_quad == 1 ? INT8_AHEAD_QUAD : INT8_AHEAD) * INT8_PANEL_BLOCK;
    _Alignas(LINE) float sum[BLOCK_ROWS * INT8_PANEL];
    ask_for_rows(out, ldo, rows);
    if (columns > 16) ask_for_rows(out + 16, ldo, rows);
    for (size_t b = 0; b < n_block; b += STRIP) {
        const char *w = panel + b * INT8_PANEL_BLOCK, *next = w + ahead;
        size_t n = n_block - b < STRIP ? n_block - b : STRIP;
        for (size_t q = 0; q < n_quad; q++)
            int8_strip(R < QUAD ? R : QUAD, n_quad, sum + q * QUAD * INT8_PANEL, b == 0,
                       x + q * quad_bytes + b * INT8_QUAD_BLOCK, w, n, next + q * ask);
    }
    for (size_t r = 0; r < rows; r++)
        for (size_t n = 0; n < columns; n += 16)
            put(out + r * ldo + n, _mm512_load_ps(sum + r * INT8_PANEL + n), columns - n < 16 ? columns - n : 16, add);
}

/* One function per kind and number of rows: 1 to 4 as they are, then whole quads. */
typedef void (*block_fn)(float *out, size_t ldo, size_t rows, size_t columns, const char *x, size_t quad_bytes,
                         const char *panel, size_t steps, bool add);
#define BLOCK(kind, R)                                                                                                 \
    static void kind##_##R(float *out, size_t ldo, size_t rows, size_t columns, const char *x, size_t quad_bytes,      \
                           const char *panel, size_t steps, bool add) {                                                \
        kind##_block(R, out, ldo, rows, columns, x, quad_bytes, panel, steps, add);                                    \
    }
/* clang-format off */
#define BLOCKS(kind)                                                                                                   \
    BLOCK(kind, 1)                                                                                                     \
    BLOCK(kind, 2)                                                                                                     \
    BLOCK(kind, 3)                                                                                                     \
    BLOCK(kind, 4)                                                                                                     \
    BLOCK(kind, 8)                                                                                                     \
    BLOCK(kind, 12)                                                                                                    \
    BLOCK(kind, 16)                                                                                                    \
    BLOCK(kind, 20)                                                                                                    \
    BLOCK(kind, 24)                                                                                                    \
    static const block_fn kind##_blocks[] = {                                                                          \
        kind##_1, kind##_2, kind##_3, kind##_4, kind##_8, kind##_12, kind##_16, kind##_20, kind##_24};
/* clang-format on */
BLOCKS(bf16)
BLOCKS(int8)

static size_t block_index(size_t rows) {
    return rows <= QUAD ? rows - 1 : (rows + QUAD - 1) / QUAD + 2;
}

static size_t bf16_quad_bytes(size_t K) {
    size_t bytes = (K + BF16_GROUP - 1) / BF16_GROUP * BF16_GROUP * QUAD * 2;
    return bytes % 4096 ? bytes : bytes + LINE;
}

static void bf16_multiply(float *out, size_t ldo, size_t rows, size_t columns, const void *x, const void *panel,
                          size_t K, bool add) {
    bf16_blocks[block_index(rows)](out, ldo, rows, columns, x, bf16_quad_bytes(K), panel, (K + 1) / 2, add);
}

static void int8_multiply(float *out, size_t ldo, size_t rows, size_t columns, const void *x, const void *panel,
                          size_t K, bool add) {
    int8_blocks[block_index(rows)](out, ldo, rows, columns, x, gemm_int8_quad_bytes(K), panel,
                                   (K + INT8_BLOCK - 1) / INT8_BLOCK, add);
}

const gemm_kernels *gemm_int8_avx512(void) {
    static const gemm_kernels table = {.panel = INT8_PANEL,
                                       .panel_bytes = gemm_int8_panel_bytes,
                                       .quad_bytes = gemm_int8_quad_bytes,
                                       .pack_column = int8_pack_column,
                                       .pack_quad = int8_pack_quad,
                                       .multiply = int8_multiply,
                                       .block_rows = BLOCK_ROWS};
    return &table;
}

const gemm_kernels *gemm_bf16_avx512(void) {
    static const gemm_kernels table = {.panel = BF16_PANEL,
                                       .panel_bytes = gemm_bf16_panel_bytes,
                                       .quad_bytes = bf16_quad_bytes,
                                       .pack_column = bf16_pack_column,
                                       .pack_quad = bf16_pack_quad,
                                       .multiply = bf16_multiply,
                                       .block_rows = BLOCK_ROWS};
    return &table;
}
#endif
