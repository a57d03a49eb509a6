/* attn_avx2_int8.c - attention over a chunk of tokens with K and V in int8, products of bytes without VNNI
 * (bytes_avx2.h). Layouts: attn_int8.h; the way through a chunk is attn_avx512_int8.c's.
 *
 * Rows are taken in tiles of up to TILE_ROWS. A row's queries, and later its weights, lie as 16-bit words. A row's
 * weights beyond its n_valid are 0. */
#include "math/cpu/attn_int8.h"

#if defined(__x86_64__)
#include <math.h>
#include <string.h>

#include "math/cpu/simd_avx2.h"

#include "math/cpu/bytes_avx2.h"
#include "math/cpu/simd_exp.h"

enum { LINE = 64, TILE_ROWS = 8, QUADS = KV_PAGE / 4 };
enum { ROW_BYTES = ATTN_CHUNK * 4 };      /* of a tile's row in scratch: ln of its weights, then the weights as words */
enum { QUERY_BYTES = ATTN_DIM_INT8 * 2 }; /* of a query as words */
enum { PAGE_VECTORS = KV_PAGE / LANES };  /* of tokens */

/* The queries of a tile. */
typedef struct queries {
    _Alignas(LINE) char words[TILE_ROWS][QUERY_BYTES];
    vf top[TILE_ROWS]; /* largest ln of a weight so far, by lanes */
    int8_query_end end[TILE_ROWS];
} queries;

/* Asks for n bytes; returns where they end. */
INLINE const char *ask_for(const char *p, size_t n) {
    for (const char *end = p + n; p < end; p += LINE) __builtin_prefetch(p, 0, 2);
    return p;
}

/* ---- u = ln of weights: factor k_scale q k + v_log, for V vectors of a page's tokens ----
 * whole: all rows see all of it, and top follows. ahead: a page that is asked for meanwhile, up to its V */
INLINE void page_block(const size_t R, const size_t V, float *restrict u, queries *restrict q, const int8_page *page,
                       size_t t, const char *ahead, size_t dim, bool whole) {
    vi s[TILE_ROWS][PAGE_VECTORS];
    UNROLL for (size_t r = 0; r < R; r++) UNROLL for (size_t v = 0; v < V; v++) s[r][v] =
        _mm256_set1_epi32(q->end[r].start);
    const uint8_t *k = page->k + t * 4;
    const char *at = q->words[0];
    for (size_t d = 0; d < dim; d += 4, k += KV_PAGE * 4, at += WORDS_STEP) {
        if (ahead) ahead = ask_for(ahead, KV_PAGE * 4);
        byte_pairs pairs[PAGE_VECTORS];
        UNROLL for (size_t v = 0; v < V; v++) pairs[v] = unsigned_pairs(k + v * LANES * 4);
        UNROLL for (size_t r = 0; r < R; r++) UNROLL for (size_t v = 0; v < V; v++) s[r][v] =
            dot_pairs(s[r][v], pairs[v], at + r * QUERY_BYTES);
    }
    UNROLL for (size_t v = 0; v < V; v++) {
        size_t first = t + v * LANES;
        vf scale = v_load(page->k_scale + first), shift = v_load(page->v_log + first);
        UNROLL for (size_t r = 0; r < R; r++) {
            vf x = v_mul(_mm256_cvtepi32_ps(s[r][v]), scale);
            x = v_fma(x, v_set1(q->end[r].factor), shift);
            v_store(u + r * ATTN_CHUNK + first, x);
            if (whole) q->top[r] = v_max(x, q->top[r]);
        }
    }
}

/* A page. */
INLINE void page_rows(const size_t R, const size_t V, float *restrict u, queries *restrict q, const void *block,
                      const char *ahead, size_t dim, bool whole) {
    int8_page page = int8_page_at(block, dim);
    if (ahead) ask_for(ahead + int8_scales_at(dim), int8_v_at(dim) - int8_scales_at(dim));
    for (size_t t = 0; t < KV_PAGE; t += V * LANES) page_block(R, V, u, q, &page, t, t == 0 ? ahead : NULL, dim, whole);
}

/* ---- acc = w v, V vectors of dims ---- */
INLINE void values_block(const size_t R, const size_t V, float *restrict acc, const char *w, const void *const *kv,
                         size_t n_quad, size_t dim, size_t c, const void *const *ahead) {
    vi s[TILE_ROWS][2];
    UNROLL for (size_t r = 0; r < R; r++) s[r][0] = s[r][1] = _mm256_setzero_si256();
    for (; n_quad > 0; kv++) {
        const int8_t *value = int8_page_at(*kv, dim).v + c * 4;
        size_t n = n_quad < QUADS ? n_quad : QUADS;
        const char *next = ahead ? (const char *)*ahead++ + int8_v_at(dim) : NULL;
        for (size_t i = 0; i < n; i++, value += dim * 4, w += WORDS_STEP) {
            if (next) next = ask_for(next, dim * 4);
            byte_pairs pairs[2];
            UNROLL for (size_t v = 0; v < V; v++) pairs[v] = signed_pairs(value + v * LANES * 4);
            UNROLL for (size_t r = 0; r < R; r++) UNROLL for (size_t v = 0; v < V; v++) s[r][v] =
                dot_pairs(s[r][v], pairs[v], w + r * ROW_BYTES);
        }
        n_quad -= n;
    }
    UNROLL for (size_t r = 0; r < R; r++) UNROLL for (size_t v = 0; v < V; v++)
        v_store(acc + r * dim + c + v * LANES, _mm256_cvtepi32_ps(s[r][v]));
}

/* All dims, which are a multiple of two vectors. */
INLINE void values_rows(const size_t R, const size_t V, float *restrict acc, const char *w, const void *const *kv,
                        size_t n_quad, size_t dim, const void *const *ahead) {
    for (size_t c = 0; c < dim; c += V * LANES) values_block(R, V, acc, w, kv, n_quad, dim, c, c == 0 ? ahead : NULL);
}

/* One function per number of rows; the sums of R rows by V vectors sit in registers. */
typedef void (*page_fn)(float *restrict u, queries *restrict q, const void *block, const char *ahead, size_t dim,
                        bool whole);
typedef void (*values_fn)(float *restrict acc, const char *w, const void *const *kv, size_t n_quad, size_t dim,
                          const void *const *ahead);
#define FOR_ROWS(R, V_PAGE, V_VALUES)                                                                                  \
    static void page_##R(float *restrict u, queries *restrict q, const void *block, const char *ahead, size_t dim,     \
                         bool whole) {                                                                                 \
        page_rows(R, V_PAGE, u, q, block, ahead, dim, whole);                                                          \
    }                                                                                                                  \
    static void values_##R(float *restrict acc, const char *w, const void *const *kv, size_t n_quad, size_t dim,       \
                           const void *const *ahead) {                                                                 \
        values_rows(R, V_VALUES, acc, w, kv, n_quad, dim, ahead);                                                      \
    }
FOR_ROWS(1, 4, 2)
FOR_ROWS(2, 2, 2)
FOR_ROWS(3, 2, 2)
FOR_ROWS(4, 2, 2)
FOR_ROWS(5, 1, 1)
FOR_ROWS(6, 1, 1)
FOR_ROWS(7, 1, 1)
FOR_ROWS(8, 1, 1)
static const page_fn page_of[TILE_ROWS] = {page_1, page_2, page_3, page_4, page_5, page_6, page_7, page_8};
static const values_fn values_of[TILE_ROWS] = {values_1, values_2, values_3, values_4,
                                               values_5, values_6, values_7, values_8};

/* ---- weights ---- */

/* e^(u - max), shift = -max / ln 2 */
INLINE vf weight(vf u, vf shift) {
    return v_exp2_short(v_fma(u, v_set1(0x1.715476p+0f), shift));
}

/* Rounded, at most 255; NaN becomes 0. */
INLINE __m128i weight_words(vf w) {
    vi level = _mm256_max_epi32(_mm256_cvtps_epi32(w), _mm256_setzero_si256());
    return to_words(_mm256_min_epi32(level, _mm256_set1_epi32(255)));
}

/* A row of u becomes one of words, 0 from n up to the end of a vector at n_tile or above. Returns sum of w /
 * v_scale. */
static float put_weights(float *row, const void *const *kv, size_t n, size_t n_tile, float max, size_t dim) {
    const vf none = v_set1(-1e30f);
    vf shift = v_set1(max * -0x1.715476p+0f), sum[2] = {v_zero(), v_zero()};
    for (size_t t = 0; t < n_tile; t += LANES) {
        __m128i words = _mm_setzero_si128();
        if (t < n) {
            size_t rest = n - t < LANES ? n - t : LANES;
            vf inverse = v_load_n(int8_page_at(kv[t / KV_PAGE], dim).v_inverse + t % KV_PAGE, rest);
            vf w = weight(v_keep(v_load(row + t), rest, none), shift);
            sum[t / LANES % 2] = v_fma(w, inverse, sum[t / LANES % 2]);
            words = weight_words(w);
        }
        _mm_storeu_si128((void *)((char *)row + t * 2), words);
    }
    return v_sum(v_add(sum[0], sum[1]));
}

/* ---- a tile ---- */

/* What rows that end in the page see of it. */
static void partial_tops(queries *q, const float *u, size_t t, const uint32_t *n_valid, size_t R) {
    for (size_t r = 0; r < R; r++)
        for (size_t at = t; at < t + KV_PAGE && at < n_valid[r]; at += LANES) {
            size_t rest = n_valid[r] - at < LANES ? n_valid[r] - at : LANES;
            q->top[r] = v_max(v_keep(v_load(u + r * ATTN_CHUNK + at), rest, v_set1(-INFINITY)), q->top[r]);
        }
}

static void load_queries(queries *q, const void *from, size_t R, size_t dim) {
    for (size_t r = 0; r < R; r++) {
        const int8_t *row = (const int8_t *)from + r * ATTN_QUERY_INT8(dim);
        for (size_t d = 0; d < dim; d += LANES) {
            vi v = _mm256_cvtepi8_epi32(_mm_loadl_epi64((const void *)(row + d)));
            _mm_storeu_si128((void *)(q->words[r] + d * 2), to_words(v));
        }
        memcpy(&q->end[r], row + dim, sizeof q->end[r]);
        q->top[r] = v_set1(-INFINITY);
    }
}

/* R <= TILE_ROWS rows */
static void chunk_tile(float *restrict acc, attn_state *restrict state, const void *restrict from,
                       const void *const *kv, const void *const *ahead, const uint32_t *restrict n_valid, size_t R,
                       size_t dim, float *restrict scratch) {
    queries q;
    size_t n = 0, least = ATTN_CHUNK;
    for (size_t r = 0; r < R; r++) {
        n = n_valid[r] > n ? n_valid[r] : n;
        least = n_valid[r] < least ? n_valid[r] : least;
    }
    load_queries(&q, from, R, dim);
    for (size_t t = 0; t < n; t += KV_PAGE) {
        size_t page = t / KV_PAGE;
        page_of[R - 1](scratch + t, &q, kv[page], ahead ? ahead[page] : NULL, dim, t + KV_PAGE <= least);
        if (t + KV_PAGE > least) partial_tops(&q, scratch, t, n_valid, R);
    }
    for (size_t r = 0; r < R; r++) {
        state[r].max = v_top(q.top[r]) - ATTN_INT8_LN255;
        state[r].sum = put_weights(scratch + r * ATTN_CHUNK, kv, n_valid[r], n, state[r].max, dim);
    }
    values_of[R - 1](acc, (const char *)scratch, kv, (n + 3) / 4, dim, ahead);
}

void kernel_attn_chunk_int8_avx2(float *restrict acc, attn_state *restrict state, const void *restrict q,
                                 const void *const *kv, const void *const *ahead, size_t n_page,
                                 const uint32_t *restrict n_valid, size_t R, size_t dim, float *restrict scratch) {
    (void)n_page;
    size_t n_tile = (R + TILE_ROWS - 1) / TILE_ROWS;
    for (size_t i = 0; i < n_tile; i++) { /* of nearly equal height */
        size_t r = R * i / n_tile, rows = R * (i + 1) / n_tile - r;
        chunk_tile(acc + r * dim, state + r, (const int8_t *)q + r * ATTN_QUERY_INT8(dim), kv, i == 0 ? ahead : NULL,
                   n_valid + r, rows, dim, scratch);
    }
}

/* ---- keys, values, queries to bytes: the bits of the plain definitions ---- */

/* kernel_to_int8_ref of whole vectors; *sum: of the bytes */
INLINE float to_bytes(int8_t *out, const float *x, size_t dim, int32_t *sum) {
    vi top = _mm256_setzero_si256(), all = top;
    for (size_t d = 0; d < dim; d += LANES) top = larger_size(top, v_load(x + d));
    float scale, factor = to_int8_factor(largest_size(top), &scale);
    if (factor == 0.0f) memset(out, 0, dim);
    for (size_t d = 0; d < dim && factor != 0.0f; d += LANES) {
        vi v = _mm256_cvtps_epi32(v_mul(v_load(x + d), v_set1(factor)));
        all = _mm256_add_epi32(all, v);
        store_bytes(out + d, v);
    }
    *sum = sum_dwords(all);
    return scale;
}

void kernel_attn_query_int8_avx2(void *restrict out, const float *restrict q, size_t dim, float scale) {
    int8_t *bytes = out;
    int32_t sum;
    int8_query_end end = {.factor = to_bytes(bytes, q, dim, &sum) * scale};
    end.start = -128 * sum;
    memcpy(bytes + dim, &end, sizeof end);
}

void kernel_attn_store_int8_avx2(void *restrict block, const float *restrict k, const float *restrict v, size_t t,
                                 size_t dim) {
    char *k_bytes = block, *v_bytes = (char *)block + int8_v_at(dim) + t / 4 * dim * 4 + t % 4;
    int8_t bytes[ATTN_DIM_INT8];
    int32_t sum;
    float k_scale = to_bytes(bytes, k, dim, &sum);
    for (size_t d = 0; d < dim; d += 4) {
        uint32_t four;
        memcpy(&four, bytes + d, sizeof four);
        four ^= 0x80808080u; /* + 128 */
        memcpy(k_bytes + (d / 4 * KV_PAGE + t) * 4, &four, sizeof four);
    }
    float given = to_bytes(bytes, v, dim, &sum), v_scale = int8_v_scale(given);
    if (given != v_scale) memset(bytes, 0, dim);
    for (size_t d = 0; d < dim; d++) v_bytes[d * 4] = (char)bytes[d];
    int8_put_scales(block, t, dim, k_scale, v_scale);
}
#endif
