/* attn_ref.c - attention over chunks of tokens: its definition in plain C, and how a token is stored in a page. */
#include "math/cpu/kernels_level.h"

#include <math.h>
#include <string.h>

/* Products of n tokens become weights; returns the row's state. */
static attn_state softmax_ref(float *s, size_t n, float scale) {
    attn_state state = {-INFINITY, 0.0f};
    for (size_t t = 0; t < n; t++)
        if (scale * s[t] > state.max) state.max = scale * s[t];
    for (size_t t = 0; t < n; t++) {
        s[t] = expf(fmaf(scale, s[t], -state.max));
        state.sum += s[t];
    }
    return state;
}

void kernel_attn_chunk_ref(float *restrict acc, attn_state *restrict state, const float *restrict q,
                           const float *const *kv, size_t n_page, const uint32_t *restrict n_valid, size_t R,
                           size_t dim, float scale, float *restrict scratch) {
    (void)n_page;
    float *s = scratch;
    for (size_t r = 0; r < R; r++, q += dim, acc += dim) {
        for (size_t t = 0; t < n_valid[r]; t++) {
            const float *kT = kv[t / KV_PAGE] + t % KV_PAGE; /* (dim, KV_PAGE) */
            s[t] = 0.0f;
            for (size_t d = 0; d < dim; d++) s[t] = fmaf(q[d], kT[d * KV_PAGE], s[t]);
        }
        state[r] = softmax_ref(s, n_valid[r], scale);
        memset(acc, 0, dim * sizeof *acc);
        for (size_t t = 0; t < n_valid[r]; t++) {
            const float *v = kv[t / KV_PAGE] + (KV_PAGE + t % KV_PAGE) * dim;
            for (size_t d = 0; d < dim; d++) acc[d] = fmaf(s[t], v[d], acc[d]);
        }
    }
}

/* Dim d of token t in a page of K, and in one of V */
static float k_bf16(const uint16_t *page, size_t t, size_t d) {
    return bf16_to_f32(page[(d / 2 * KV_PAGE + t) * 2 + d % 2]);
}
static float v_bf16(const uint16_t *page, size_t t, size_t d, size_t dim) {
    return bf16_to_f32(page[dim * KV_PAGE + (t / 2 * dim + d) * 2 + t % 2]);
}

void kernel_attn_chunk_bf16_ref(float *restrict acc, attn_state *restrict state, const uint16_t *restrict q,
                                const uint16_t *const *kv, size_t n_page, const uint32_t *restrict n_valid, size_t R,
                                size_t dim, float scale, float *restrict scratch) {
    (void)n_page;
    float *s = scratch;
    for (size_t r = 0; r < R; r++, q += dim, acc += dim) {
        for (size_t t = 0; t < n_valid[r]; t++) {
            s[t] = 0.0f;
            for (size_t d = 0; d < dim; d++) s[t] += bf16_to_f32(q[d]) * k_bf16(kv[t / KV_PAGE], t % KV_PAGE, d);
        }
        state[r] = softmax_ref(s, n_valid[r], scale);
        state[r].sum = 0.0f;
        memset(acc, 0, dim * sizeof *acc);
        for (size_t t = 0; t < n_valid[r]; t++) {
            float p = bf16_to_f32(f32_to_bf16(s[t]));
            state[r].sum += p;
            for (size_t d = 0; d < dim; d++) acc[d] += p * v_bf16(kv[t / KV_PAGE], t % KV_PAGE, d, dim);
        }
    }
}

void kernel_attn_merge_ref(float *restrict acc, attn_state *restrict state, const float *restrict acc2,
                           const attn_state *restrict state2, size_t R, size_t dim) {
    for (size_t r = 0; r < R; r++, acc += dim, acc2 += dim) {
        if (state2[r].sum == 0.0f) continue;
        if (state[r].sum == 0.0f) {
            state[r] = state2[r];
            memcpy(acc, acc2, dim * sizeof *acc);
            continue;
        }
        float max = state2[r].max > state[r].max ? state2[r].max : state[r].max;
        float f1 = expf(state[r].max - max), f2 = expf(state2[r].max - max);
        state[r] = (attn_state){max, state[r].sum * f1 + state2[r].sum * f2};
        for (size_t d = 0; d < dim; d++) acc[d] = fmaf(acc2[d], f2, acc[d] * f1);
    }
}

void attn_store(float *restrict page, const float *restrict k, const float *restrict v, size_t t, size_t dim) {
    for (size_t d = 0; d < dim; d++) page[d * KV_PAGE + t] = k[d];
    memcpy(page + (KV_PAGE + t) * dim, v, dim * sizeof *v);
}

void attn_store_bf16(uint16_t *restrict page, const uint16_t *restrict k, const uint16_t *restrict v, size_t t,
                     size_t dim) {
    for (size_t d = 0; d < dim; d += 2) memcpy(page + (d / 2 * KV_PAGE + t) * 2, k + d, 2 * sizeof *k);
    uint16_t *at = page + dim * KV_PAGE + t / 2 * dim * 2 + t % 2; /* (dim, 2) */
    for (size_t d = 0; d < dim; d++) at[d * 2] = v[d];
}

size_t attn_page_bytes(kv_type type, size_t dim) {
    size_t values = 2 * dim * KV_PAGE;
    switch (type) {
    case KV_F32:
        return values * sizeof(float);
    case KV_BF16:
        return values * sizeof(uint16_t);
    case KV_INT8:
        return values + 3 * KV_PAGE * sizeof(float); /* scales: attn_int8.h */
    }
    return 0;
}
