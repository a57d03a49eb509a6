/* gemm_avx2_q4.c - products of rows in int8 with weights of Q4_1 (gemm_kernels.h, q4) with AVX2: vpmaddubsw of four
 * bits and a row's bytes, eight of which are added up in 16 bits: two operations for 32 products where bytes need
 * four (bytes_avx2.h). */
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

enum { LINE = 64, VECTORS = Q4_BLOCK / LANES };
enum { AHEAD = 16 * Q4_PANEL_BLOCK }; /* bytes ahead that are asked for */

/* ---- rows ---- */

static void pack_block(char *out, size_t r, const float *x) {
    __m256 v[VECTORS];
    __m256i top = _mm256_setzero_si256(), sum = top;
    UNROLL for (size_t i = 0; i < VECTORS; i++) {
        v[i] = _mm256_loadu_ps(x + i * LANES);
        top = larger_size(top, v[i]);
    }
    float scale, factor = to_int8_factor(largest_size(top), &scale);
    UNROLL for (size_t i = 0; i < VECTORS; i++) {
        __m256i q = to_ints(v[i], factor);
        int8_t bytes[LANES];
        store_bytes(bytes, q);
        sum = _mm256_add_epi32(sum, q);
        memcpy(out + (2 * i * QUAD + r) * 4, bytes, 4);
        memcpy(out + ((2 * i + 1) * QUAD + r) * 4, bytes + 4, 4);
    }
    float all = scale * (float)sum_dwords(sum);
    memcpy(out + Q4_ROW_SCALES_AT + r * 4, &scale, sizeof scale);
    memcpy(out + Q4_ROW_SCALES_AT + (QUAD + r) * 4, &all, sizeof all);
}

static void q4_pack_quad(void *quad, const float *x, size_t ldx, size_t rows, size_t K) {
    if (rows < QUAD) memset(quad, 0, K / Q4_BLOCK * Q4_QUAD_BLOCK);
    for (size_t r = 0; r < rows; r++)
        for (size_t b = 0; b < K / Q4_BLOCK; b++)
            pack_block((char *)quad + b * Q4_QUAD_BLOCK, r, x + r * ldx + b * Q4_BLOCK);
}

/* ---- products ---- */

/* sum += x; by name, as add_dwords. */
INLINE void add_words(__m256i *sum, __m256i x) {
    __asm__("vpaddw %1, %0, %0" : "+x"(*sum) : "x"(x));
}

/* A block's sums by R rows and V vectors of columns, 16 bits each, two a column. */
INLINE void sum_block(const size_t R, const size_t V, __m256i acc[2 * QUAD][4], const char *const quad[2],
                      const char *w) {
    const __m256i four_bits = _mm256_set1_epi8(15);
    UNROLL for (size_t i = 0; i < Q4_STEPS / 2; i++) {
        __m256i low[4], high[4];
        UNROLL for (size_t v = 0; v < V; v++) {
            __m256i bytes = _mm256_loadu_si256((const void *)(w + (i * Q4_PANEL + v * LANES) * 4));
            low[v] = _mm256_and_si256(bytes, four_bits);
            high[v] = _mm256_and_si256(_mm256_srli_epi16(bytes, 4), four_bits);
        }
        UNROLL for (size_t r = 0; r < R; r++) {
            const char *x = quad[r / QUAD] + (i * QUAD + r % QUAD) * 4;
            __m256i first = spread(x), second = spread(x + Q4_STEPS / 2 * QUAD * 4);
            UNROLL for (size_t v = 0; v < V; v++) {
                if (i == 0)
                    acc[r][v] = _mm256_maddubs_epi16(low[v], first);
                else
                    add_words(&acc[r][v], _mm256_maddubs_epi16(low[v], first));
                add_words(&acc[r][v], _mm256_maddubs_epi16(high[v], second));
            }
        }
    }
}

/* Into sums: rows of Q4_PANEL fp32, which the first block finds empty. R, V: constants where inlined. */
INLINE void q4_step(const size_t R, const size_t V, float *sums, bool first, const char *const quad[2], const char *w,
                    const char *scales) {
    __m256i acc[2 * QUAD][4];
    sum_block(R, V, acc, quad, w);
    UNROLL for (size_t v = 0; v < V; v++) {
        __m256 d = _mm256_cvtph_ps(_mm_loadu_si128((const void *)(scales + v * LANES * 2)));
        __m256 m = _mm256_cvtph_ps(_mm_loadu_si128((const void *)(scales + (Q4_PANEL + v * LANES) * 2)));
        UNROLL for (size_t r = 0; r < R; r++) {
            float *at = sums + r * Q4_PANEL + v * LANES;
            const char *row = quad[r / QUAD] + Q4_ROW_SCALES_AT + r % QUAD * 4;
            __m256 scale = _mm256_castsi256_ps(spread(row)), all = _mm256_castsi256_ps(spread(row + QUAD * 4));
            __m256 sum = first ? _mm256_setzero_ps() : _mm256_load_ps(at);
            __m256 product = _mm256_cvtepi32_ps(_mm256_madd_epi16(acc[r][v], _mm256_set1_epi16(1)));
            sum = _mm256_fmadd_ps(product, _mm256_mul_ps(d, scale), sum);
            _mm256_store_ps(at, _mm256_fmadd_ps(m, all, sum));
        }
    }
}

typedef void (*rows_fn)(float *sums, bool first, const char *const quad[2], const char *w);
#define ROWS(R, V)                                                                                                     \
    static void q4_rows_##R(float *sums, bool first, const char *const quad[2], const char *w) {                       \
        for (size_t c = 0; c < Q4_PANEL; c += V * LANES)                                                               \
            q4_step(R, V, sums + c, first, quad, w + c * 4, w + Q4_SCALES_AT + c * 2);                                 \
    }
ROWS(1, 4)
ROWS(2, 2)
ROWS(3, 2)
ROWS(4, 2)
ROWS(8, 1)
static const rows_fn rows_of[] = {q4_rows_1, q4_rows_2, q4_rows_3, q4_rows_4, q4_rows_8};

static void put_row(float *out, const float *sum, size_t n, bool add) {
    for (size_t i = 0; i < n; i++) out[i] = add ? out[i] + sum[i] : sum[i];
}

/* While a block of the panel is in the first cache, all rows go over it. */
static void q4_multiply(float *out, size_t ldo, size_t rows, size_t columns, const void *x, const void *panel, size_t K,
                        bool add) {
    _Alignas(LINE) float sum[BLOCK_ROWS * Q4_PANEL];
    const size_t quad_bytes = gemm_q4_quad_bytes(K);
    for (size_t b = 0; b < K / Q4_BLOCK; b++) {
        const char *w = (const char *)panel + b * Q4_PANEL_BLOCK;
        UNROLL for (size_t i = 0; i < Q4_PANEL_BLOCK / LINE; i++) _mm_prefetch(w + AHEAD + i * LINE, _MM_HINT_T0);
        for (size_t m = 0; m < rows; m += 2 * QUAD) {
            const char *quad = (const char *)x + m / QUAD * quad_bytes + b * Q4_QUAD_BLOCK;
            size_t n = rows - m;
            rows_of[n > QUAD ? QUAD : n - 1](sum + m * Q4_PANEL, b == 0, (const char *const[]){quad, quad + quad_bytes},
                                             w);
        }
    }
    for (size_t m = 0; m < rows; m++) put_row(out + m * ldo, sum + m * Q4_PANEL, columns, add);
}

const gemm_kernels *gemm_q4_avx2(void) {
    static const gemm_kernels table = {.panel = Q4_PANEL,
                                       .panel_bytes = gemm_q4_panel_bytes,
                                       .quad_bytes = gemm_q4_quad_bytes,
                                       .pack_file = gemm_q4_pack_file,
                                       .pack_quad = q4_pack_quad,
                                       .multiply = q4_multiply,
                                       .block_rows = BLOCK_ROWS};
    return &table;
}
#endif
