/* gemm_avx512.c - products of panels with AVX-512: int8 by VNNI, bf16 by AVX512_BF16. Layouts: gemm_kernels.h. */
#include "math/gemm_kernels.h"
#include "math/kernels_level.h"

#if defined(__AVX512VNNI__) && defined(__AVX512BF16__)
#include <immintrin.h>
#include <math.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline))
#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 24")
#endif

/* Bytes ahead of the line in use that are asked for: a line lasts 24 cycles, main memory takes some hundred. */
enum { AHEAD = 2048 };
enum { LINE = 64 };
enum { HALF_ROWS = BLOCK_ROWS / 2 }; /* of int8: integer and fp32 sums of so many fit the registers */

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

/* Values k .. k + 15 of a row of K; zeros beyond it. */
INLINE __m512 load_values(const float *x, size_t k, size_t K) {
    if (k + 16 <= K) return _mm512_loadu_ps(x + k);
    return k >= K ? _mm512_setzero_ps() : _mm512_maskz_loadu_ps((__mmask16)((1u << (K - k)) - 1), x + k);
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

INLINE float largest(const __m512 v[INT8_BLOCK / 16]) {
    __m512i top = _mm512_setzero_si512();
    UNROLL for (size_t i = 0; i < INT8_BLOCK / 16; i++) top =
        _mm512_max_epi32(top, _mm512_and_si512(_mm512_castps_si512(v[i]), _mm512_set1_epi32(0x7fffffff)));
    int32_t bits = _mm512_reduce_max_epi32(top); /* NaN is above all */
    float max;
    memcpy(&max, &bits, sizeof max);
    return max;
}

INLINE __m128i to_bytes(__m512 v, float inverse) {
    return _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(_mm512_mul_ps(v, _mm512_set1_ps(inverse))));
}

/* kernel_to_int8_ref of a block, v: its values */
INLINE float quantise_block(__m128i out[INT8_BLOCK / 16], const __m512 v[INT8_BLOCK / 16]) {
    float max = largest(v), inverse = 127.0f / max;
    bool usable = isfinite(max) && isfinite(inverse);
    UNROLL for (size_t i = 0; i < INT8_BLOCK / 16; i++) out[i] = usable ? to_bytes(v[i], inverse) : _mm_setzero_si128();
    return usable ? max / 127.0f : isfinite(max) ? 0.0f : NAN;
}

/* One chunk of one row: its bytes, and start and scale of its blocks to their places. */
INLINE __m512i quantise_chunk(char *blocks, const float *x, size_t k, size_t K) {
    __m128i q[INT8_CHUNK / 16];
    float scale[INT8_CHUNK / INT8_BLOCK];
    UNROLL for (size_t b = 0; b < INT8_CHUNK / INT8_BLOCK; b++) {
        __m512 v[INT8_BLOCK / 16];
        UNROLL for (size_t i = 0; i < INT8_BLOCK / 16; i++) v[i] = load_values(x, k + b * INT8_BLOCK + i * 16, K);
        scale[b] = quantise_block(q + b * (INT8_BLOCK / 16), v);
    }
    __m512i all = _mm512_inserti32x4(_mm512_castsi128_si512(q[0]), q[1], 1);
    all = _mm512_inserti32x4(_mm512_inserti32x4(all, q[2], 2), q[3], 3);
    __m512i sum = _mm512_dpbusd_epi32(_mm512_setzero_si512(), _mm512_set1_epi8((char)128), all);
    UNROLL for (size_t b = 0; b < INT8_CHUNK / INT8_BLOCK; b++) {
        __mmask16 in = (__mmask16)(((1u << (INT8_BLOCK / 4)) - 1) << (b * (INT8_BLOCK / 4)));
        int32_t start = -_mm512_mask_reduce_add_epi32(in, sum);
        memcpy(blocks + b * QUAD * 8, &start, sizeof start);
        memcpy(blocks + b * QUAD * 8 + QUAD * 4, &scale[b], sizeof scale[b]);
    }
    return all;
}

static void int8_pack_quad(void *quad, const float *x, size_t ldx, size_t rows, size_t K) {
    char *out = quad;
    for (size_t k = 0; k < K; k += INT8_CHUNK, out += INT8_QUAD_CHUNK) {
        __m512i row[QUAD] = {0};
        _mm512_store_si512(out + INT8_CHUNK * QUAD, _mm512_setzero_si512());
        for (size_t r = 0; r < rows; r++) row[r] = quantise_chunk(out + INT8_CHUNK * QUAD + r * 4, x + r * ldx, k, K);
        store_dwords(out, row);
    }
}

/* ---- columns ---- */

/* Dwords into a column of n lines, out: its place in the first. */
INLINE void store_column(char *out, __m512i dwords, size_t n) {
    _Alignas(LINE) char bytes[LINE];
    _mm512_store_si512(bytes, dwords);
    for (size_t i = 0; i < n; i++) memcpy(out + i * LINE, bytes + i * 4, 4);
}

static void bf16_pack_column(void *panel, size_t column, const float *w, size_t K) {
    for (size_t k = 0; k < K; k += BF16_GROUP) {
        __m512 low = load_values(w, k, K), high = load_values(w, k + 16, K);
        size_t steps = K - k < BF16_GROUP ? (K - k + 1) / 2 : BF16_GROUP / 2;
        store_column((char *)panel + k / 2 * LINE + column * 4, (__m512i)_mm512_cvtne2ps_pbh(high, low), steps);
    }
}

/* A block of gemm_ref.c's int8_pack_column: bytes q + 128, and the scale's bits. */
INLINE uint16_t pack_block(__m256i *out, const __m512 v[INT8_BLOCK / 16]) {
    float max = largest(v), scale = max / 127.0f;
    uint32_t bits;
    memcpy(&bits, &scale, sizeof bits);
    bits = isfinite(max) ? (bits + 0xffff) >> 16 : 0x7fc0;
    scale = bf16_to_f32((uint16_t)bits);
    float inverse = 1.0f / scale;
    __m256i q = isfinite(scale) && isfinite(inverse)
                    ? _mm256_set_m128i(to_bytes(v[1], inverse), to_bytes(v[0], inverse))
                    : _mm256_setzero_si256();
    *out = _mm256_xor_si256(q, _mm256_set1_epi8((char)128));
    return (uint16_t)bits;
}

static void int8_pack_column(void *panel, size_t column, const float *w, size_t K) {
    char *chunk = panel;
    for (size_t k = 0; k < K; k += INT8_CHUNK, chunk += INT8_PANEL_CHUNK) {
        __m256i q[INT8_CHUNK / INT8_BLOCK];
        for (size_t b = 0; b < INT8_CHUNK / INT8_BLOCK; b++) {
            const size_t at = k + b * INT8_BLOCK;
            uint16_t scale = pack_block(&q[b], (__m512[]){load_values(w, at, K), load_values(w, at + 16, K)});
            memcpy(chunk + INT8_CHUNK * PANEL + (b * PANEL + column) * 2, &scale, sizeof scale);
        }
        store_column(chunk + column * 4, _mm512_inserti64x4(_mm512_castsi256_si512(q[0]), q[1], 1), INT8_CHUNK / 4);
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

/* s + the products of w with the four bytes at p, in every lane. By name, as compilers otherwise broadcast into
 * registers that the sums need. */
INLINE __m512i dot_bytes(__m512i s, __m512i w, const char *p) {
    __asm__("vpdpbusd %2%{1to16%}, %1, %0" : "+v"(s) : "v"(w), "m"(*(const int32_t *)(const void *)p));
    return s;
}

INLINE __m512 dot_bf16(__m512 s, __m512i w, const char *p) {
    return _mm512_dpbf16_ps(s, (__m512bh)w, (__m512bh)_mm512_set1_epi32(*(const int32_t *)(const void *)p));
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
        _mm_prefetch(panel + k * LINE + AHEAD, _MM_HINT_T0);
        UNROLL for (size_t r = 0; r < R; r++) sum[r] =
            dot_bf16(sum[r], w, quad[r / QUAD] + k * QUAD * 4 + r % QUAD * 4);
    }
    UNROLL for (size_t r = 0; r < R; r++) if (r < rows) put(out + r * ldo, sum[r], columns, add);
}

/* Block b of a chunk: the integer sums of R rows, then into their fp32 sums; both in registers. Asks for every `stride`th line
 * `ahead` bytes further. */
INLINE void int8_step(const size_t R, const size_t b, __m512 *sum, const char *const *quad, const char *w,
                      const char *ahead, const size_t stride) {
    const size_t block_at = INT8_CHUNK * QUAD + b * QUAD * 8;
    __m512i acc[HALF_ROWS];
    UNROLL for (size_t r = 0; r < R; r++) acc[r] =
        _mm512_set1_epi32(*(const int32_t *)(const void *)(quad[r / QUAD] + block_at + r % QUAD * 4));
    UNROLL for (size_t k = b * INT8_BLOCK / 4; k < (b + 1) * INT8_BLOCK / 4; k++) {
        __m512i line = _mm512_load_si512(w + k * LINE);
        __asm__ volatile("" : : : "memory"); /* compilers gather the requests of a block otherwise */
        if (k % stride == 0) _mm_prefetch(ahead + k * LINE, _MM_HINT_T0);
        UNROLL for (size_t r = 0; r < R; r++) acc[r] =
            dot_bytes(acc[r], line, quad[r / QUAD] + k * QUAD * 4 + r % QUAD * 4);
    }

    __m256i scales = _mm256_load_si256((const void *)(w + INT8_CHUNK * PANEL + b * PANEL * 2));
    __m512 column_scale = _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(scales), 16));
    UNROLL for (size_t r = 0; r < R; r++) {
        const char *at = quad[r / QUAD] + block_at + QUAD * 4 + r % QUAD * 4;
        __m512 scale = _mm512_mul_ps(column_scale, _mm512_set1_ps(*(const float *)(const void *)at));
        sum[r] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(acc[r]), scale, sum[r]);
    }
}

/* n chunks by R rows, added to sums. The barrier is for compilers: it keeps the pointers from becoming an address for every row,
 * which ends in spills. */
INLINE void int8_strip(const size_t R, float *sums, const char *x, size_t quad_bytes, const char *w, size_t n,
                       const char *ahead, const size_t stride) {
    const char *quad[HALF_ROWS / QUAD];
    __m512 sum[HALF_ROWS];
    UNROLL for (size_t i = 0; i < (R + QUAD - 1) / QUAD; i++) quad[i] = x + i * quad_bytes;
    UNROLL for (size_t r = 0; r < R; r++) sum[r] = _mm512_load_ps(sums + r * PANEL);
    for (size_t c = 0; c < n; c++, w += INT8_PANEL_CHUNK, ahead += INT8_PANEL_CHUNK) {
        UNROLL for (size_t i = 0; i < (R + QUAD - 1) / QUAD; i++) __asm__("" : "+r"(quad[i]));
        UNROLL for (size_t b = 0; b < INT8_CHUNK / INT8_BLOCK; b++) int8_step(R, b, sum, quad, w, ahead, stride);
        UNROLL for (size_t i = 0; i < (R + QUAD - 1) / QUAD; i++) quad[i] += INT8_QUAD_CHUNK;
    }
    UNROLL for (size_t r = 0; r < R; r++) _mm512_store_ps(sums + r * PANEL, sum[r]);
}

/* Strips of a few chunks, which stay in the first cache for the second half of the rows; each half asks for every second line of the
 * next strip. */
INLINE void int8_block(const size_t R, float *out, size_t ldo, size_t rows, size_t columns, const char *x,
                       size_t quad_bytes, const char *panel, size_t n_chunk, bool add) {
    enum { STRIP = 4 };
    _Alignas(LINE) float sum[BLOCK_ROWS * PANEL];
    const size_t first = R < HALF_ROWS ? R : HALF_ROWS, second = R - first;
    memset(sum, 0, R * PANEL * sizeof *sum);
    ask_for_rows(out, ldo, rows);
    if (second == 0) int8_strip(first, sum, x, quad_bytes, panel, n_chunk, panel + AHEAD, 1);
    for (size_t c = 0; second && c < n_chunk; c += STRIP) {
        const char *w = panel + c * INT8_PANEL_CHUNK, *at = x + c * INT8_QUAD_CHUNK,
                   *next = w + STRIP * INT8_PANEL_CHUNK;
        size_t n = n_chunk - c < STRIP ? n_chunk - c : STRIP;
        int8_strip(first, sum, at, quad_bytes, w, n, next, 2);
        int8_strip(second, sum + first * PANEL, at + HALF_ROWS / QUAD * quad_bytes, quad_bytes, w, n, next + LINE, 2);
    }
    for (size_t r = 0; r < rows; r++) put(out + r * ldo, _mm512_load_ps(sum + r * PANEL), columns, add);
}

/* One function per kind and number of rows: 1 to 4 as they are, then whole quads. */
typedef void (*block_fn)(float *out, size_t ldo, size_t rows, size_t columns, const char *x, size_t quad_bytes,
                         const char *panel, size_t steps, bool add);
#define BLOCK(kind, R)                                                                                                 \
    static void kind##_##R(float *out, size_t ldo, size_t rows, size_t columns, const char *x, size_t quad_bytes,      \
                           const char *panel, size_t steps, bool add) {                                                \
        kind##_block(R, out, ldo, rows, columns, x, quad_bytes, panel, steps, add);                                    \
    }
#define BLOCKS(kind)                                                                                                   \
    BLOCK(kind, 1)                                                                                                     \
    BLOCK(kind, 2)                                                                                                     \
    BLOCK(kind, 3) BLOCK(kind, 4) BLOCK(kind, 8) BLOCK(kind, 12) BLOCK(kind, 16) BLOCK(kind, 20)                       \
        BLOCK(kind, 24) static const block_fn kind##_blocks[] = {kind##_1,  kind##_2,  kind##_3,  kind##_4, kind##_8,  \
                                                                 kind##_12, kind##_16, kind##_20, kind##_24};
BLOCKS(bf16)
BLOCKS(int8)

static size_t block_index(size_t rows) {
    return rows <= QUAD ? rows - 1 : (rows + QUAD - 1) / QUAD + 2;
}

static size_t bf16_quad_bytes(size_t K) {
    size_t bytes = (K + BF16_GROUP - 1) / BF16_GROUP * BF16_GROUP * QUAD * 2;
    return bytes % 4096 ? bytes : bytes + LINE;
}

static size_t bf16_panel_bytes(size_t K) {
    return (K + 1) / 2 * LINE;
}

static void bf16_multiply(float *out, size_t ldo, size_t rows, size_t columns, const void *x, const void *panel,
                          size_t K, bool add) {
    bf16_blocks[block_index(rows)](out, ldo, rows, columns, x, bf16_quad_bytes(K), panel, (K + 1) / 2, add);
}

static void int8_multiply(float *out, size_t ldo, size_t rows, size_t columns, const void *x, const void *panel,
                          size_t K, bool add) {
    int8_blocks[block_index(rows)](out, ldo, rows, columns, x, gemm_int8_quad_bytes(K), panel,
                                   (K + INT8_CHUNK - 1) / INT8_CHUNK, add);
}

const gemm_kernels *gemm_int8_avx512(void) {
    static const gemm_kernels table = {gemm_int8_panel_bytes, gemm_int8_quad_bytes, int8_pack_column, int8_pack_quad,
                                       int8_multiply};
    return cpu_detect().avx512_vnni ? &table : NULL; /* AVX512_BF16 comes from its intrinsics only */
}

const gemm_kernels *gemm_bf16_avx512(void) {
    static const gemm_kernels table = {bf16_panel_bytes, bf16_quad_bytes, bf16_pack_column, bf16_pack_quad,
                                       bf16_multiply};
    return cpu_detect().avx512_bf16 ? &table : NULL;
}

#else
const gemm_kernels *gemm_int8_avx512(void) {
    return NULL;
}
const gemm_kernels *gemm_bf16_avx512(void) {
    return NULL;
}
#endif
