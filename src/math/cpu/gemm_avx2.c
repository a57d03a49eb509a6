/* gemm_avx2.c - products of panels with AVX2: int8 by products of 16-bit integers (bytes_avx2.h), bf16 widened to fp32.
 * Panels as gemm_kernels.h has them; rows are wider here:
 * int8 quad: per block [16][row] four words (x0 x2 x1 x3 of the step), then [row] int32 start, [row] fp32 scale,
 *            up to a whole line
 * bf16 quad: [K][row] fp32 */
#include "math/cpu/gemm_kernels.h"
#include "math/cpu/kernels_level.h"

#if defined(__x86_64__)
#include "math/cpu/simd_avx2.h"

#include "math/cpu/bytes_avx2.h"

#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 24")
#endif

enum { LINE = 64, VECTORS = INT8_BLOCK / LANES };
enum { START_AT = INT8_BLOCK * QUAD * 2, SCALE_AT = START_AT + QUAD * 4, QUAD_BLOCK = START_AT + LINE };
enum { LINES = INT8_PANEL_BLOCK / LINE };
enum { INT8_AHEAD = 8, BF16_AHEAD = 2048 }; /* blocks, bytes ahead that are asked for */

static size_t blocks(size_t K) {
    return (K + INT8_BLOCK - 1) / INT8_BLOCK;
}

/* Not a multiple of 4 KiB. */
static size_t odd_lines(size_t bytes) {
    return bytes % 4096 ? bytes : bytes + LINE;
}

static size_t int8_quad_bytes(size_t K) {
    return odd_lines(blocks(K) * QUAD_BLOCK);
}

/* ---- values to bytes ---- */

/* Values k .. k + INT8_BLOCK - 1 of a row of K, zeros beyond it. Returns the largest size. */
static float load_block(__m256 v[VECTORS], const float *x, size_t k, size_t K) {
    float rest[INT8_BLOCK];
    if (K - k < INT8_BLOCK) {
        memset(rest, 0, sizeof rest);
        memcpy(rest, x + k, (K - k) * sizeof *rest);
        x = rest, k = 0;
    }
    __m256i top = _mm256_setzero_si256();
    UNROLL for (size_t i = 0; i < VECTORS; i++) {
        v[i] = _mm256_loadu_ps(x + k + i * LANES);
        top = larger_size(top, v[i]);
    }
    return largest_size(top);
}

static void pack_block(char *out, size_t r, const float *x, size_t k, size_t K) {
    __m256 v[VECTORS];
    float scale, factor = to_int8_factor(load_block(v, x, k, K), &scale);
    __m256i sum = _mm256_setzero_si256();
    UNROLL for (size_t i = 0; i < VECTORS; i++) {
        __m256i q = to_ints(v[i], factor);
        __m128i words = to_words(q);
        sum = _mm256_add_epi32(sum, q);
        _mm_storel_epi64((void *)(out + (2 * i * QUAD + r) * WORDS_STEP), words);
        _mm_storeh_pd((void *)(out + ((2 * i + 1) * QUAD + r) * WORDS_STEP), _mm_castsi128_pd(words));
    }
    int32_t start = -128 * sum_dwords(sum);
    memcpy(out + START_AT + r * 4, &start, sizeof start);
    memcpy(out + SCALE_AT + r * 4, &scale, sizeof scale);
}

static void int8_pack_quad(void *quad, const float *x, size_t ldx, size_t rows, size_t K) {
    if (rows < QUAD) memset(quad, 0, blocks(K) * QUAD_BLOCK);
    for (size_t r = 0; r < rows; r++)
        for (size_t b = 0; b < blocks(K); b++)
            pack_block((char *)quad + b * QUAD_BLOCK, r, x + r * ldx, b * INT8_BLOCK, K);
}

/* gemm_ref.c's, a block of a column at a time. */
static void int8_pack_column(void *panel, size_t column, const float *w, size_t K) {
    char *block = panel;
    for (size_t k = 0; k < K; k += INT8_BLOCK, block += INT8_PANEL_BLOCK) {
        __m256 v[VECTORS];
        int8_t q[INT8_BLOCK];
        uint16_t bits = gemm_int8_scale(load_block(v, w, k, K));
        float scale = bf16_to_f32(bits), inverse = 1.0f / scale;
        float factor = isfinite(scale) && isfinite(inverse) ? inverse : 0.0f;
        UNROLL for (size_t i = 0; i < VECTORS; i++) store_bytes(q + i * LANES, to_ints(v[i], factor));
        size_t steps = K - k < INT8_BLOCK ? (K - k + 3) / 4 : INT8_STEPS;
        for (size_t i = 0; i < steps; i++) {
            uint32_t four;
            memcpy(&four, q + i * 4, sizeof four);
            four ^= 0x80808080u; /* + 128 */
            memcpy(block + (i * INT8_PANEL + column) * 4, &four, sizeof four);
        }
        memcpy(block + INT8_BLOCK * INT8_PANEL + column * 2, &bits, sizeof bits);
    }
}

/* ---- int8 products ---- */

/* One block by R rows and V vectors of columns: exact sums of integers in registers, then into sums: rows of INT8_PANEL
 * fp32, which the first block finds empty. R, V and ask, the lines asked for at `ahead` with every step: constants
 * where inlined. */
INLINE void int8_step(const size_t R, const size_t V, const size_t ask, float *sums, bool first,
                      const char *const quad[2], const char *w, const char *scales, const char *ahead) {
    __m256i acc[2 * QUAD][4];
    UNROLL for (size_t r = 0; r < R; r++) UNROLL for (size_t v = 0; v < V; v++) acc[r][v] =
        spread(quad[r / QUAD] + START_AT + r % QUAD * 4);
    for (size_t k = 0; k < INT8_STEPS; k++) {
        byte_pairs pairs[4];
        UNROLL for (size_t v = 0; v < V; v++) pairs[v] = unsigned_pairs(w + k * INT8_PANEL * 4 + v * LANES * 4);
        UNROLL for (size_t i = 0; i < ask; i++) _mm_prefetch(ahead + (k * ask + i) * LINE, _MM_HINT_T0);
        UNROLL for (size_t r = 0; r < R; r++) UNROLL for (size_t v = 0; v < V; v++) acc[r][v] =
            dot_pairs(acc[r][v], pairs[v], quad[r / QUAD] + (k * QUAD + r % QUAD) * WORDS_STEP);
    }
    UNROLL for (size_t v = 0; v < V; v++) {
        __m256i bits = _mm256_cvtepu16_epi32(_mm_loadu_si128((const void *)(scales + v * LANES * 2)));
        __m256 column = _mm256_castsi256_ps(_mm256_slli_epi32(bits, 16));
        UNROLL for (size_t r = 0; r < R; r++) {
            float *at = sums + r * INT8_PANEL + v * LANES;
            __m256 row = _mm256_castsi256_ps(spread(quad[r / QUAD] + SCALE_AT + r % QUAD * 4));
            __m256 sum = first ? _mm256_setzero_ps() : _mm256_load_ps(at);
            _mm256_store_ps(at, _mm256_fmadd_ps(_mm256_cvtepi32_ps(acc[r][v]), _mm256_mul_ps(column, row), sum));
        }
    }
}

/* A block by R rows, all of its columns. */
INLINE void int8_rows(const size_t R, const size_t V, float *sums, bool first, const char *const quad[2], const char *w,
                      const char *ahead) {
    const size_t calls = INT8_PANEL / LANES / V, ask = calls == 1 ? 2 : 1;
    _mm_prefetch(ahead + (LINES - 1) * LINE, _MM_HINT_T0);
    for (size_t i = 0; i < calls; i++)
        int8_step(R, V, ask, sums + i * V * LANES, first, quad, w + i * V * LANES * 4,
                  w + INT8_BLOCK * INT8_PANEL + i * V * LANES * 2, ahead + i * (LINES / calls) * LINE);
}

typedef void (*rows_fn)(float *sums, bool first, const char *const quad[2], const char *w, const char *ahead);
#define ROWS(R, V)                                                                                                     \
    static void int8_rows_##R(float *sums, bool first, const char *const quad[2], const char *w, const char *ahead) {  \
        int8_rows(R, V, sums, first, quad, w, ahead);                                                                  \
    }
ROWS(1, 4)
ROWS(2, 2)
ROWS(3, 2)
ROWS(4, 2)
ROWS(8, 1)
static const rows_fn rows_of[] = {int8_rows_1, int8_rows_2, int8_rows_3, int8_rows_4, int8_rows_8};

/* How many of n rows go together. */
static size_t rows_together(size_t n) {
    return n > QUAD ? 2 * QUAD : n;
}

static void put_row(float *out, const float *sum, size_t n, bool add) {
    for (size_t i = 0; i < n; i++) out[i] = add ? out[i] + sum[i] : sum[i];
}

/* While a block of the panel is in the first cache, all rows go over it. */
static void int8_multiply(float *out, size_t ldo, size_t rows, size_t columns, const void *x, const void *panel,
                          size_t K, bool add) {
    _Alignas(LINE) float sum[BLOCK_ROWS * INT8_PANEL];
    const size_t quad_bytes = int8_quad_bytes(K);
    for (size_t b = 0; b < blocks(K); b++) {
        const char *w = (const char *)panel + b * INT8_PANEL_BLOCK;
        for (size_t m = 0; m < rows; m += 2 * QUAD) {
            const char *quad = (const char *)x + m / QUAD * quad_bytes + b * QUAD_BLOCK;
            size_t n = rows_together(rows - m);
            rows_of[n > QUAD ? QUAD : n - 1](sum + m * INT8_PANEL, b == 0,
                                             (const char *const[]){quad, quad + quad_bytes}, w,
                                             w + INT8_AHEAD * INT8_PANEL_BLOCK);
        }
    }
    for (size_t m = 0; m < rows; m++) put_row(out + m * ldo, sum + m * INT8_PANEL, columns, add);
}

const gemm_kernels *gemm_int8_avx2(void) {
    static const gemm_kernels table = {.panel = INT8_PANEL,
                                       .panel_bytes = gemm_int8_panel_bytes,
                                       .quad_bytes = int8_quad_bytes,
                                       .pack_column = int8_pack_column,
                                       .pack_quad = int8_pack_quad,
                                       .multiply = int8_multiply,
                                       .block_rows = BLOCK_ROWS};
    return &table;
}

/* ---- bf16 ---- */

static void bf16_pack_column(void *panel, size_t column, const float *w, size_t K) {
    char *at = (char *)panel + column * 4;
    size_t k = 0;
    for (; k + LANES <= K; k += LANES) {
        uint16_t values[LANES];
        _mm_storeu_si128((void *)values, v_to_bf16(_mm256_loadu_ps(w + k)));
        for (size_t i = 0; i < LANES / 2; i++) memcpy(at + (k / 2 + i) * LINE, values + 2 * i, 4);
    }
    for (; k < K; k++) {
        uint16_t value = f32_to_bf16(w[k]);
        memcpy(at + k / 2 * LINE + k % 2 * 2, &value, sizeof value);
    }
}

static void bf16_pack_quad(void *quad, const float *x, size_t ldx, size_t rows, size_t K) {
    float *out = quad;
    for (size_t r = 0; r < QUAD; r++)
        for (size_t k = 0; k < K; k++) out[k * QUAD + r] = r < rows ? x[r * ldx + k] : 0.0f;
}

/* The R rows of `quads` by V vectors of columns of a panel, all of K in one chain. R, V: constants where inlined. */
INLINE void bf16_block(const size_t R, const size_t V, float *sums, const float *const quads[3], const char *w,
                       size_t K) {
    vf sum[3 * QUAD][2];
    UNROLL for (size_t r = 0; r < R; r++) UNROLL for (size_t v = 0; v < V; v++) sum[r][v] = v_zero();
    for (size_t k = 0; k < K; k += 2, w += LINE) {
        __m256i pairs[2];
        _mm_prefetch(w + BF16_AHEAD, _MM_HINT_T0);
        UNROLL for (size_t v = 0; v < V; v++) pairs[v] = _mm256_loadu_si256((const void *)(w + v * LANES * 4));
        UNROLL for (size_t r = 0; r < R; r++) {
            vf x = v_set1(quads[r / QUAD][k * QUAD + r % QUAD]);
            UNROLL for (size_t v = 0; v < V; v++) sum[r][v] = v_fma(x, v_bf16_first(pairs[v]), sum[r][v]);
        }
        if (k + 1 == K) break;
        UNROLL for (size_t r = 0; r < R; r++) {
            vf x = v_set1(quads[r / QUAD][(k + 1) * QUAD + r % QUAD]);
            UNROLL for (size_t v = 0; v < V; v++) sum[r][v] = v_fma(x, v_bf16_second(pairs[v]), sum[r][v]);
        }
    }
    UNROLL for (size_t r = 0; r < R; r++) UNROLL for (size_t v = 0; v < V; v++)
        v_store(sums + r * BF16_PANEL + v * LANES, sum[r][v]);
}

typedef void (*bf16_fn)(float *sums, const float *const quads[3], const char *w, size_t K);
#define BF16_ROWS(R, V)                                                                                                \
    static void bf16_rows_##R(float *sums, const float *const quads[3], const char *w, size_t K) {                     \
        for (size_t v = 0; v < BF16_PANEL / LANES; v += V)                                                             \
            bf16_block(R, V, sums + v * LANES, quads, w + v * LANES * 4, K);                                           \
    }
BF16_ROWS(1, 2)
BF16_ROWS(2, 2)
BF16_ROWS(3, 2)
BF16_ROWS(4, 2)
BF16_ROWS(8, 1)
BF16_ROWS(12, 1)
static const bf16_fn bf16_of[] = {bf16_rows_1, bf16_rows_2, bf16_rows_3, bf16_rows_4, bf16_rows_8, bf16_rows_12};

static void bf16_multiply(float *out, size_t ldo, size_t rows, size_t columns, const void *x, const void *panel,
                          size_t K, bool add) {
    enum { MOST = 3 * QUAD };
    _Alignas(LINE) float sum[MOST * BF16_PANEL];
    const size_t quad = gemm_f32_quad_bytes(K) / sizeof(float);
    for (size_t m = 0; m < rows; m += MOST) {
        const float *at = (const float *)x + m / QUAD * quad;
        size_t n = rows - m < MOST ? rows - m : MOST;
        bf16_of[n <= QUAD       ? n - 1
                : n <= 2 * QUAD ? 4
                                : 5](sum, (const float *const[]){at, at + quad, at + 2 * quad}, panel, K);
        for (size_t r = 0; r < n; r++) put_row(out + (m + r) * ldo, sum + r * BF16_PANEL, columns, add);
    }
}

const gemm_kernels *gemm_bf16_avx2(void) {
    static const gemm_kernels table = {.panel = BF16_PANEL,
                                       .panel_bytes = gemm_bf16_panel_bytes,
                                       .quad_bytes = gemm_f32_quad_bytes,
                                       .pack_column = bf16_pack_column,
                                       .pack_quad = bf16_pack_quad,
                                       .multiply = bf16_multiply,
                                       .block_rows = BLOCK_ROWS};
    return &table;
}
#endif
