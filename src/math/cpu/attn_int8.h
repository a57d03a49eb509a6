/* attn_int8.h - how keys, values and queries of attn_chunk_int8 lie in memory. Internal to the attn_*.c.
 *
 * A page: K (dim / 4, KV_PAGE, 4) bytes q + 128; of every token k_scale, v_log and v_inverse; V (KV_PAGE / 4, dim, 4)
 * bytes. A query: dim bytes, start, factor. */
#ifndef PGR_MATH_CPU_ATTN_INT8_H
#define PGR_MATH_CPU_ATTN_INT8_H

#include <math.h>

#include "math/cpu/kernels_level.h"

/* Weights are counted in 1 / 255 of the row's largest: ln 255 is taken from its maximum. */
#define ATTN_INT8_LN255 0x1.62a41p+2f
/* Smaller scales of V count as this one (and the values as zeros): it has an inverse, and so has its product with a
 * weight. */
#define ATTN_INT8_LEAST 0x1p-60f

typedef struct int8_page {
    const uint8_t *k;                         /* (dim / 4, KV_PAGE, 4) */
    const float *k_scale, *v_log, *v_inverse; /* (KV_PAGE) v = v_scale * byte: ln v_scale and 1 / v_scale */
    const int8_t *v;                          /* (KV_PAGE / 4, dim, 4) */
} int8_page;

static inline size_t int8_scales_at(size_t dim) {
    return dim * KV_PAGE;
}

static inline size_t int8_v_at(size_t dim) {
    return int8_scales_at(dim) + 3 * KV_PAGE * sizeof(float);
}

static inline int8_page int8_page_at(const void *page, size_t dim) {
    const uint8_t *k = page;
    const float *scales = (const float *)(const void *)(k + int8_scales_at(dim));
    return (int8_page){k, scales, scales + KV_PAGE, scales + 2 * KV_PAGE, (const int8_t *)k + int8_v_at(dim)};
}

/* Scales of a token: of its key, and of its value, NaN where that is. */
static inline void int8_put_scales(void *page, size_t t, size_t dim, float k_scale, float v_scale) {
    float *scales = (float *)(void *)((uint8_t *)page + int8_scales_at(dim));
    scales[t] = k_scale;
    scales[KV_PAGE + t] = logf(v_scale);
    scales[2 * KV_PAGE + t] = 1.0f / v_scale;
}

typedef struct int8_query_end { /* behind the bytes */
    int32_t start;              /* -128 times the sum of the bytes: what K's offset adds */
    float factor;               /* the query's scale times that of attention */
} int8_query_end;

/* The scale of V by what its values' largest gives: NaN stays. */
static inline float int8_v_scale(float scale) {
    return scale < ATTN_INT8_LEAST ? ATTN_INT8_LEAST : scale;
}

#endif
