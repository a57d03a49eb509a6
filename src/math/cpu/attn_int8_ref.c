/* attn_int8_ref.c - attention over a chunk of tokens with K and V in int8: its definition in plain C, and how keys,
 * values and queries become bytes. */
#include <math.h>
#include <string.h>

#include "math/cpu/attn_int8.h"

/* s = q k, as it would be without the offset of K */
static int32_t score_ref(const int8_t *q, int32_t start, const int8_page *page, size_t t, size_t dim) {
    for (size_t d = 0; d < dim; d++) start += q[d] * page->k[(d / 4 * KV_PAGE + t) * 4 + d % 4];
    return start;
}

/* u = ln of what a token's V is multiplied by: its score, and V's scale */
static float log_weights_ref(float *u, const int8_t *q, const void *const *kv, size_t n, size_t dim) {
    int8_query_end end;
    float max = -INFINITY;
    memcpy(&end, q + dim, sizeof end);
    for (size_t t = 0; t < n; t++) {
        int8_page page = int8_page_at(kv[t / KV_PAGE], dim);
        float s = (float)score_ref(q, end.start, &page, t % KV_PAGE, dim) * page.k_scale[t % KV_PAGE];
        u[t] = fmaf(s, end.factor, page.v_log[t % KV_PAGE]);
        if (u[t] > max) max = u[t];
    }
    return max;
}

void kernel_attn_chunk_int8_ref(float *restrict acc, attn_state *restrict state, const void *restrict q,
                                const void *const *kv, const void *const *ahead, size_t n_page,
                                const uint32_t *restrict n_valid, size_t R, size_t dim, float *restrict scratch) {
    (void)ahead, (void)n_page;
    for (size_t r = 0; r < R; r++, acc += dim) {
        const int8_t *row = (const int8_t *)q + r * ATTN_QUERY_INT8(dim);
        float *u = scratch, max = log_weights_ref(u, row, kv, n_valid[r], dim) - ATTN_INT8_LN255, sum = 0.0f;
        memset(acc, 0, dim * sizeof *acc);
        for (size_t t = 0; t < n_valid[r]; t++) {
            int8_page page = int8_page_at(kv[t / KV_PAGE], dim);
            const int8_t *v = page.v + t % KV_PAGE / 4 * dim * 4 + t % 4;
            float w = expf(u[t] - max);
            sum = fmaf(w, page.v_inverse[t % KV_PAGE], sum);
            float level = isnan(w) ? 0.0f : fminf(rintf(w), 255.0f);
            for (size_t d = 0; d < dim; d++) acc[d] += level * (float)v[d * 4]; /* exact: below 2^24 */
        }
        state[r] = (attn_state){max, sum};
    }
}

void kernel_attn_query_int8_ref(void *restrict out, const float *restrict q, size_t dim, float scale) {
    int8_t *bytes = out;
    int8_query_end end = {.factor = kernel_to_int8_ref(bytes, q, dim) * scale};
    for (size_t d = 0; d < dim; d++) end.start -= 128 * bytes[d];
    memcpy(bytes + dim, &end, sizeof end);
}

void kernel_attn_store_int8_ref(void *restrict block, const float *restrict k, const float *restrict v, size_t t,
                                size_t dim) {
    uint8_t *k_bytes = block;
    int8_t *v_bytes = (int8_t *)block + int8_v_at(dim), bytes[ATTN_DIM_INT8];
    float k_scale = kernel_to_int8_ref(bytes, k, dim);
    for (size_t d = 0; d < dim; d++) k_bytes[(d / 4 * KV_PAGE + t) * 4 + d % 4] = (uint8_t)(bytes[d] + 128);

    float given = kernel_to_int8_ref(bytes, v, dim), v_scale = int8_v_scale(given);
    for (size_t d = 0; d < dim; d++) v_bytes[(t / 4 * dim + d) * 4 + t % 4] = given == v_scale ? bytes[d] : 0;
    int8_put_scales(block, t, dim, k_scale, v_scale);
}
