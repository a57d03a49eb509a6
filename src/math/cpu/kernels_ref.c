/* kernels_ref.c - the definition of every kernel in plain C. The SIMD levels are tested against it. */
#include "math/cpu/kernels_level.h"

#include <math.h>
#include <string.h>

static void rmsnorm_ref(float *restrict out, const float *restrict x, const float *restrict w, size_t n, float eps) {
    double ss = 0.0;
    for (size_t i = 0; i < n; i++) ss += (double)x[i] * x[i];

    float inv = (float)(1.0 / sqrt(ss / (double)n + (double)eps));
    for (size_t i = 0; i < n; i++) out[i] = w[i] * (x[i] * inv);
}

static void add_ref(float *restrict x, const float *restrict y, size_t n) {
    for (size_t i = 0; i < n; i++) x[i] += y[i];
}

static void swiglu_ref(float *restrict gate, const float *restrict up, size_t n) {
    for (size_t i = 0; i < n; i++) gate[i] = gate[i] / (1.0f + expf(-gate[i])) * up[i];
}

void kernel_rope_ref(float *x, const float *cs, size_t dim, bool interleaved) {
    for (size_t i = 0; i < dim / 2; i++) {
        float *a = interleaved ? x + 2 * i : x + i;
        float *b = interleaved ? a + 1 : a + dim / 2;
        float c = cs[2 * i], s = cs[2 * i + 1], a0 = *a, b0 = *b;
        *a = a0 * c - b0 * s;
        *b = a0 * s + b0 * c;
    }
}

static void gemm_tile_add_ref(float *restrict out, size_t ldo, const float *restrict x, size_t ldx,
                              const float *restrict tile, size_t M, size_t K, size_t n) {
    for (size_t m = 0; m < M; m++)
        for (size_t j = 0; j < n; j++) {
            float sum = out[m * ldo + j];
            for (size_t k = 0; k < K; k++) sum = fmaf(x[m * ldx + k], tile[k * GEMM_TILE + j], sum);
            out[m * ldo + j] = sum;
        }
}

static void gemm_tile_ref(float *restrict out, size_t ldo, const float *restrict x, size_t ldx,
                          const float *restrict tile, size_t M, size_t K, size_t n) {
    for (size_t m = 0; m < M; m++) memset(out + m * ldo, 0, n * sizeof *out);
    gemm_tile_add_ref(out, ldo, x, ldx, tile, M, K, n);
}

static void mac_ref(float *restrict out, size_t ldo, const float *restrict x, size_t ldx, const float *restrict b,
                    size_t ldb, size_t M, size_t K, size_t n) {
    for (size_t m = 0; m < M; m++)
        for (size_t j = 0; j < n; j++) {
            float sum = out[m * ldo + j];
            for (size_t k = 0; k < K; k++) sum = fmaf(x[m * ldx + k], b[k * ldb + j], sum);
            out[m * ldo + j] = sum;
        }
}

static void rmsnorm_back_ref(float *restrict dx, const float *restrict dy, const float *restrict x,
                             const float *restrict w, size_t n, float eps) {
    double ss = 0.0, dot = 0.0;
    for (size_t i = 0; i < n; i++) ss += (double)x[i] * x[i], dot += (double)(w[i] * dy[i]) * x[i];

    double inv = 1.0 / sqrt(ss / (double)n + (double)eps);
    float scale = (float)inv, back = (float)(dot * inv * inv * inv / (double)n);
    for (size_t i = 0; i < n; i++) dx[i] += w[i] * dy[i] * scale - x[i] * back;
}

static void swiglu_back_ref(float *restrict dgate, float *restrict dup, const float *restrict dy,
                            const float *restrict gate, const float *restrict up, size_t n) {
    for (size_t i = 0; i < n; i++) {
        float s = 1.0f / (1.0f + expf(-gate[i])), silu = gate[i] * s;
        dgate[i] = dy[i] * up[i] * (s + silu * (1.0f - s));
        dup[i] = dy[i] * silu;
    }
}

static void softmax_back_ref(float *restrict s, float *restrict ds, size_t n, float scale, float lse, float delta) {
    for (size_t t = 0; t < n; t++) {
        s[t] = expf(fmaf(scale, s[t], -lse));
        ds[t] = scale * s[t] * (ds[t] - delta);
    }
}

static void transpose_tile_ref(float *restrict tile, const float *restrict rows, size_t n, size_t K) {
    for (size_t k = 0; k < K; k++)
        for (size_t j = 0; j < GEMM_TILE; j++) tile[k * GEMM_TILE + j] = j < n ? rows[j * K + k] : 0.0f;
}

static void dequant_tile_ref(float *restrict tile, quant_type t, const void *restrict rows, size_t row_bytes, size_t n,
                             size_t K) {
    float values[GEMM_CHUNK];
    for (size_t j = 0; j < n; j++) {
        quant_dequant(t, values, (const uint8_t *)rows + j * row_bytes, K);
        for (size_t k = 0; k < K; k++) tile[k * GEMM_TILE + j] = values[k];
    }
}

static double dot_ref(const float *x, const float *y, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += (double)x[i] * (double)y[i];
    return sum;
}

static float max_ref(const float *x, size_t n) {
    float max = x[0];
    for (size_t i = 1; i < n; i++)
        if (x[i] > max) max = x[i];
    return max;
}

static double exp_sum_ref(float *out, const float *x, float shift, float scale, size_t n) {
    double sum = 0.0;
    for (size_t i = 0; i < n; i++) {
        out[i] = expf((x[i] - shift) * scale);
        sum += (double)out[i];
    }
    return sum;
}

void kernel_to_bf16_ref(uint16_t *restrict out, const float *restrict x, size_t n) {
    for (size_t i = 0; i < n; i++) out[i] = f32_to_bf16(x[i]);
}

float kernel_to_int8_ref(int8_t *restrict out, const float *restrict x, size_t n) {
    uint32_t top = 0; /* without their sign, floats are in the order of their bits, NaN on top */
    for (size_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, x + i, sizeof bits);
        bits &= 0x7fffffff;
        if (bits > top) top = bits;
    }

    float max;
    memcpy(&max, &top, sizeof max);
    float inverse = 127.0f / max;
    if (!isfinite(max) || !isfinite(inverse)) { /* too small a row counts as zeros */
        memset(out, 0, n);
        return isfinite(max) ? 0.0f : NAN;
    }
    for (size_t i = 0; i < n; i++) out[i] = (int8_t)lrintf(x[i] * inverse);
    return max / 127.0f;
}

const kernels *kernels_ref(void) {
    static const kernels table = {
        .name = "ref",
        .rmsnorm = rmsnorm_ref,
        .layernorm = kernel_layernorm_ref,
        .gelu = kernel_gelu_ref,
        .gelu_tanh = kernel_gelu_tanh_ref,
        .add = add_ref,
        .swiglu = swiglu_ref,
        .rope = kernel_rope_ref,
        .gemm_tile = gemm_tile_ref,
        .gemm_tile_add = gemm_tile_add_ref,
        .mac = mac_ref,
        .transpose_tile = transpose_tile_ref,
        .dequant_tile = dequant_tile_ref,
        .attn_chunk = kernel_attn_chunk_ref,
        .attn_chunk_bf16 = kernel_attn_chunk_bf16_ref,
        .attn_chunk_int8 = kernel_attn_chunk_int8_ref,
        .attn_query_int8 = kernel_attn_query_int8_ref,
        .attn_store_int8 = kernel_attn_store_int8_ref,
        .attn_merge = kernel_attn_merge_ref,
        .rmsnorm_back = rmsnorm_back_ref,
        .swiglu_back = swiglu_back_ref,
        .softmax_back = softmax_back_ref,
        .dot = dot_ref,
        .max = max_ref,
        .exp_sum = exp_sum_ref,
        .to_bf16 = kernel_to_bf16_ref,
    };
    return &table;
}
