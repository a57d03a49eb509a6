/* attn_avx512_int8.c - attention over a chunk of tokens with K and V in int8, products of bytes by VNNI. Layouts:
 * attn_int8.h.
 *
 * Rows are taken in tiles of up to TILE_ROWS. Sums of products are integers, so their order is free, and sit in
 * registers in blocks of rows by two vectors (tokens for q k, dims for w v). A row's weights beyond its n_valid are
 * 0. */
#include "math/cpu/attn_int8.h"

#if defined(__x86_64__)
#include <math.h>
#include <string.h>

#include "math/cpu/simd_avx512.h"
#include "math/cpu/simd_exp.h"

enum { LINE = 64, TILE_ROWS = 12, QUADS = KV_PAGE / 4 };
enum { ROW_BYTES = ATTN_CHUNK * 4 }; /* of a tile's row in scratch: ln of its weights, then the weights as bytes */

/* The queries of a tile, a fixed distance apart. */
typedef struct queries {
    _Alignas(LINE) int8_t bytes[TILE_ROWS][ATTN_DIM_INT8];
    __m512 top[TILE_ROWS]; /* largest ln of a weight so far, by lanes */
    int8_query_end end[TILE_ROWS];
} queries;

INLINE __m512i dword_at(const void *p) {
    int32_t x;
    memcpy(&x, p, sizeof x);
    return _mm512_set1_epi32(x);
}

/* sum + x * y, bytes by fours; by name, since gcc copies every sum of the intrinsic to memory and back. */
INLINE __m512i dot(__m512i sum, __m512i x, __m512i y) {
    __asm__("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(x), "v"(y));
    return sum;
}

/* Asks for n bytes; returns where they end. */
INLINE const char *ask_for(const char *p, size_t n) {
    for (const char *end = p + n; p < end; p += LINE) __builtin_prefetch(p, 0, 2);
    return p;
}

/* ---- u = ln of weights: factor k_scale q k + v_log, for one page ----
 * whole: all rows see all of it, and top follows. ahead: a page that is asked for meanwhile, up to its V */
INLINE void page_block(const size_t R, float *restrict u, queries *restrict q, const void *block, const char *ahead,
                       size_t dim, bool whole) {
    int8_page page = int8_page_at(block, dim);
    __m512i s[TILE_ROWS][2];
    UNROLL for (size_t r = 0; r < R; r++) s[r][0] = s[r][1] = _mm512_set1_epi32(q->end[r].start);
    const uint8_t *k = page.k;
    const int8_t *at = q->bytes[0];
    if (ahead) ask_for(ahead + int8_scales_at(dim), int8_v_at(dim) - int8_scales_at(dim));
    for (size_t d = 0; d < dim; d += 4, k += KV_PAGE * 4, at += 4) {
        if (ahead) ahead = ask_for(ahead, KV_PAGE * 4);
        __m512i k0 = _mm512_load_si512(k), k1 = _mm512_load_si512(k + LINE);
        UNROLL for (size_t r = 0; r < R; r++) {
            __m512i x = dword_at(at + r * ATTN_DIM_INT8);
            s[r][0] = dot(s[r][0], k0, x);
            s[r][1] = dot(s[r][1], k1, x);
        }
    }
    __m512 scale0 = _mm512_load_ps(page.k_scale), scale1 = _mm512_load_ps(page.k_scale + LANES);
    __m512 log0 = _mm512_load_ps(page.v_log), log1 = _mm512_load_ps(page.v_log + LANES);
    UNROLL for (size_t r = 0; r < R; r++) {
        __m512 factor = _mm512_set1_ps(q->end[r].factor);
        __m512 s0 = _mm512_mul_ps(_mm512_cvtepi32_ps(s[r][0]), scale0);
        __m512 s1 = _mm512_mul_ps(_mm512_cvtepi32_ps(s[r][1]), scale1);
        s0 = _mm512_fmadd_ps(s0, factor, log0);
        s1 = _mm512_fmadd_ps(s1, factor, log1);
        _mm512_storeu_ps(u + r * ATTN_CHUNK, s0);
        _mm512_storeu_ps(u + r * ATTN_CHUNK + LANES, s1);
        if (whole) q->top[r] = _mm512_max_ps(_mm512_max_ps(s0, s1), q->top[r]);
    }
}

/* ---- acc = w v, two vectors of dims (one: V = 1) ---- */
INLINE void values_block(const size_t R, const size_t V, float *restrict acc, const uint8_t *w, const void *const *kv,
                         size_t n_quad, size_t dim, size_t c, const void *const *ahead) {
    __m512i s[TILE_ROWS][2];
    UNROLL for (size_t r = 0; r < R; r++) s[r][0] = s[r][1] = _mm512_setzero_si512();
    for (; n_quad > 0; kv++) {
        const int8_t *v = int8_page_at(*kv, dim).v + c * 4;
        size_t n = n_quad < QUADS ? n_quad : QUADS;
        const char *next = ahead ? (const char *)*ahead++ + int8_v_at(dim) : NULL;
        for (size_t i = 0; i < n; i++, v += dim * 4, w += 4) {
            if (next) next = ask_for(next, dim * 4);
            __m512i v0 = _mm512_load_si512(v), v1 = V > 1 ? _mm512_load_si512(v + LINE) : v0;
            UNROLL for (size_t r = 0; r < R; r++) {
                __m512i x = dword_at(w + r * ROW_BYTES);
                s[r][0] = dot(s[r][0], x, v0);
                if (V > 1) s[r][1] = dot(s[r][1], x, v1);
            }
        }
        n_quad -= n;
    }
    UNROLL for (size_t r = 0; r < R; r++) {
        _mm512_storeu_ps(acc + r * dim + c, _mm512_cvtepi32_ps(s[r][0]));
        if (V > 1) _mm512_storeu_ps(acc + r * dim + c + LANES, _mm512_cvtepi32_ps(s[r][1]));
    }
}

/* One function per number of rows. */
typedef void (*page_fn)(float *restrict u, queries *restrict q, const void *block, const char *ahead, size_t dim,
                        bool whole);
typedef void (*values_fn)(float *restrict acc, const uint8_t *w, const void *const *kv, size_t n_quad, size_t dim,
                          size_t c, const void *const *ahead);
#define FOR_ROWS(R)                                                                                                    \
    static void page_##R(float *restrict u, queries *restrict q, const void *block, const char *ahead, size_t dim,     \
                         bool whole) {                                                                                 \
        page_block(R, u, q, block, ahead, dim, whole);                                                                 \
    }                                                                                                                  \
    static void values_##R##_1(float *restrict acc, const uint8_t *w, const void *const *kv, size_t n_quad,            \
                               size_t dim, size_t c, const void *const *ahead) {                                       \
        values_block(R, 1, acc, w, kv, n_quad, dim, c, ahead);                                                         \
    }                                                                                                                  \
    static void values_##R##_2(float *restrict acc, const uint8_t *w, const void *const *kv, size_t n_quad,            \
                               size_t dim, size_t c, const void *const *ahead) {                                       \
        values_block(R, 2, acc, w, kv, n_quad, dim, c, ahead);                                                         \
    }
FOR_ROWS(1)
FOR_ROWS(2)
FOR_ROWS(3)
FOR_ROWS(4)
FOR_ROWS(5)
FOR_ROWS(6)
FOR_ROWS(7)
FOR_ROWS(8)
FOR_ROWS(9)
FOR_ROWS(10)
FOR_ROWS(11)
FOR_ROWS(12)
static const page_fn page_of[TILE_ROWS] = {page_1, page_2, page_3, page_4,  page_5,  page_6,
                                           page_7, page_8, page_9, page_10, page_11, page_12};
static const values_fn values_of[2][TILE_ROWS] = {
    {values_1_1, values_2_1, values_3_1, values_4_1, values_5_1, values_6_1, values_7_1, values_8_1, values_9_1,
     values_10_1, values_11_1, values_12_1},
    {values_1_2, values_2_2, values_3_2, values_4_2, values_5_2, values_6_2, values_7_2, values_8_2, values_9_2,
     values_10_2, values_11_2, values_12_2}};

/* ---- weights ---- */

/* e^(u - max), shift = -max / ln 2 */
INLINE __m512 weight(__m512 u, __m512 shift) {
    return v_exp2_short(_mm512_fmadd_ps(u, _mm512_set1_ps(0x1.715476p+0f), shift));
}

/* 64 weights to bytes, in order. */
INLINE void put_bytes(uint8_t *out, const __m512 w[4]) {
    const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    __m512i low = _mm512_packus_epi32(_mm512_cvtps_epi32(w[0]), _mm512_cvtps_epi32(w[1]));
    __m512i high = _mm512_packus_epi32(_mm512_cvtps_epi32(w[2]), _mm512_cvtps_epi32(w[3]));
    _mm512_storeu_si512(out, _mm512_permutexvar_epi32(order, _mm512_packus_epi16(low, high)));
}

/* A row of u becomes one of bytes, 0 from n up to the end of 64 at n_tile or above. Returns sum of w / v_scale. */
static float put_weights(float *row, const void *const *kv, size_t n, size_t n_tile, float max, size_t dim) {
    const __m512 none = _mm512_set1_ps(-1e30f);
    __m512 shift = _mm512_set1_ps(max * -0x1.715476p+0f), sum[4] = {0};
    for (size_t t = 0; t < n_tile; t += LINE) {
        __m512 w[4];
        UNROLL for (size_t i = 0; i < 4; i++) {
            size_t at = t + i * LANES;
            if (at + LANES <= n) {
                const float *inverse = int8_page_at(kv[at / KV_PAGE], dim).v_inverse + at % KV_PAGE;
                w[i] = weight(_mm512_loadu_ps(row + at), shift);
                sum[i] = _mm512_fmadd_ps(w[i], _mm512_loadu_ps(inverse), sum[i]);
            } else if (at < n) {
                const float *inverse = int8_page_at(kv[at / KV_PAGE], dim).v_inverse + at % KV_PAGE;
                w[i] = weight(_mm512_mask_loadu_ps(none, first(n - at), row + at), shift);
                sum[i] = _mm512_fmadd_ps(w[i], _mm512_maskz_loadu_ps(first(n - at), inverse), sum[i]);
            } else {
                w[i] = _mm512_setzero_ps();
            }
        }
        put_bytes((uint8_t *)row + t, w);
    }
    return _mm512_reduce_add_ps(_mm512_add_ps(_mm512_add_ps(sum[0], sum[1]), _mm512_add_ps(sum[2], sum[3])));
}

/* ---- a tile ---- */

/* What rows that end in the page see of it. */
static void partial_tops(queries *q, const float *u, size_t t, const uint32_t *n_valid, size_t R) {
    for (size_t r = 0; r < R; r++)
        for (size_t at = t; at < t + KV_PAGE && at < n_valid[r]; at += LANES) {
            __m512 s = _mm512_loadu_ps(u + r * ATTN_CHUNK + at);
            size_t n = n_valid[r] - at < LANES ? n_valid[r] - at : LANES;
            q->top[r] = _mm512_mask_max_ps(q->top[r], first(n), s, q->top[r]);
        }
}

static void load_queries(queries *q, const void *from, size_t R, size_t dim) {
    for (size_t r = 0; r < R; r++) {
        const int8_t *row = (const int8_t *)from + r * ATTN_QUERY_INT8(dim);
        memcpy(q->bytes[r], row, dim);
        memcpy(&q->end[r], row + dim, sizeof q->end[r]);
        q->top[r] = _mm512_set1_ps(-INFINITY);
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
        state[r].max = _mm512_reduce_max_ps(q.top[r]) - ATTN_INT8_LN255;
        state[r].sum = put_weights(scratch + r * ATTN_CHUNK, kv, n_valid[r], n, state[r].max, dim);
    }
    for (size_t c = 0; c < dim; c += 2 * LANES) {
        const values_fn *by_rows = values_of[dim - c > LANES];
        by_rows[R - 1](acc, (const uint8_t *)scratch, kv, (n + 3) / 4, dim, c, c == 0 ? ahead : NULL);
    }
}

void kernel_attn_chunk_int8_avx512(float *restrict acc, attn_state *restrict state, const void *restrict q,
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

/* kernel_to_int8_ref of whole vectors */
INLINE float to_bytes(int8_t *out, const float *x, size_t dim) {
    __m512i top = _mm512_setzero_si512();
    for (size_t d = 0; d < dim; d += LANES)
        top = _mm512_max_epi32(top, _mm512_and_si512(_mm512_loadu_si512(x + d), _mm512_set1_epi32(0x7fffffff)));
    int32_t bits = _mm512_reduce_max_epi32(top); /* NaN is above all */
    float max;
    memcpy(&max, &bits, sizeof max);
    float inverse = 127.0f / max;
    if (!isfinite(max) || !isfinite(inverse)) {
        memset(out, 0, dim);
        return isfinite(max) ? 0.0f : NAN;
    }
    for (size_t d = 0; d < dim; d += LANES) {
        __m512i v = _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_loadu_ps(x + d), _mm512_set1_ps(inverse)));
        _mm_storeu_si128((void *)(out + d), _mm512_cvtepi32_epi8(v));
    }
    return max / 127.0f;
}

void kernel_attn_query_int8_avx512(void *restrict out, const float *restrict q, size_t dim, float scale) {
    int8_t *bytes = out;
    int8_query_end end = {.factor = to_bytes(bytes, q, dim) * scale};
    __m512i sum = _mm512_setzero_si512();
    for (size_t d = 0; d < dim; d += LANES)
        sum = _mm512_add_epi32(sum, _mm512_cvtepi8_epi32(_mm_loadu_si128((const void *)(bytes + d))));
    end.start = -128 * _mm512_reduce_add_epi32(sum);
    memcpy(bytes + dim, &end, sizeof end);
}

void kernel_attn_store_int8_avx512(void *restrict block, const float *restrict k, const float *restrict v, size_t t,
                                   size_t dim) {
    char *k_bytes = block, *v_bytes = (char *)block + int8_v_at(dim) + t / 4 * dim * 4;
    int8_t bytes[ATTN_DIM_INT8];
    float k_scale = to_bytes(bytes, k, dim);
    for (size_t d = 0; d < dim; d += 4) {
        uint32_t four;
        memcpy(&four, bytes + d, sizeof four);
        four ^= 0x80808080u; /* + 128 */
        memcpy(k_bytes + (d / 4 * KV_PAGE + t) * 4, &four, sizeof four);
    }
    float given = to_bytes(bytes, v, dim), v_scale = int8_v_scale(given);
    if (given != v_scale) memset(bytes, 0, dim);
    for (size_t d = 0; d < dim;
         d += LANES) { /* only the token's own bytes are touched: others may be written meanwhile */
        __m512i wide = _mm512_cvtepu8_epi32(_mm_loadu_si128((const void *)(bytes + d)));
        wide = _mm512_mullo_epi32(wide, _mm512_set1_epi32(1 << t % 4 * 8));
        _mm512_mask_storeu_epi8(v_bytes + d * 4, 0x1111111111111111u << t % 4, wide);
    }
    int8_put_scales(block, t, dim, k_scale, v_scale);
}
#endif
