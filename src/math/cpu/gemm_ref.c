/* gemm_ref.c - products of packed weights in plain C: the definition, and what CPUs without a level of their own
 * run. */
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "math/cpu/gemm_kernels.h"
#include "math/cpu/kernels_level.h"

static size_t blocks(size_t K) {
    return (K + INT8_BLOCK - 1) / INT8_BLOCK;
}

size_t gemm_int8_panel_bytes(size_t K) {
    return blocks(K) * INT8_PANEL_BLOCK;
}

size_t gemm_int8_quad_bytes(size_t K) {
    return blocks(K) * INT8_QUAD_BLOCK + (blocks(K) * INT8_QUAD_BLOCK % 4096 ? 0 : 64);
}

/* The largest size; NaN if a value is not finite. */
static float largest(const float *w, size_t n) {
    float max = 0.0f;
    for (size_t i = 0; i < n; i++) {
        if (!isfinite(w[i])) return NAN;
        max = fmaxf(max, fabsf(w[i]));
    }
    return max;
}

static void int8_pack_column(void *panel, size_t column, const float *w, size_t K) {
    uint8_t *block = panel;
    for (size_t k0 = 0; k0 < K; k0 += INT8_BLOCK, block += INT8_PANEL_BLOCK) {
        size_t n = K - k0 < INT8_BLOCK ? K - k0 : INT8_BLOCK;
        uint16_t bits = gemm_int8_scale(largest(w + k0, n));
        memcpy(block + INT8_BLOCK * INT8_PANEL + column * 2, &bits, sizeof bits);

        float scale = bf16_to_f32(bits), inverse = 1.0f / scale;
        bool usable = isfinite(scale) && isfinite(inverse); /* zeros, too small to divide by, or not a number */
        for (size_t k = 0; k < n; k++) {
            long q = usable ? lrintf(w[k0 + k] * inverse) : 0;
            block[(k / 4 * INT8_PANEL + column) * 4 + k % 4] = (uint8_t)((q > 127 ? 127 : q < -127 ? -127 : q) + 128);
        }
    }
}

static void int8_pack_quad(void *quad, const float *x, size_t ldx, size_t rows, size_t K) {
    memset(quad, 0, blocks(K) * INT8_QUAD_BLOCK);
    for (size_t r = 0; r < rows; r++)
        for (size_t k0 = 0; k0 < K; k0 += INT8_BLOCK) {
            size_t n = K - k0 < INT8_BLOCK ? K - k0 : INT8_BLOCK;
            char *block = (char *)quad + k0 / INT8_BLOCK * INT8_QUAD_BLOCK;
            int8_t q[INT8_BLOCK];
            float scale = kernel_to_int8_ref(q, x + r * ldx + k0, n);
            int32_t start = 0;
            for (size_t k = 0; k < n; k++) {
                block[(k / 4 * QUAD + r) * 4 + k % 4] = (char)q[k];
                start -= 128 * q[k];
            }
            memcpy(block + INT8_BLOCK * QUAD + r * 4, &start, sizeof start);
            memcpy(block + INT8_BLOCK * QUAD + (QUAD + r) * 4, &scale, sizeof scale);
        }
}

/* One output. */
static float int8_dot(const char *x, size_t row, const uint8_t *w, size_t column, size_t K) {
    float sum = 0.0f;
    for (size_t b = 0; b < blocks(K); b++, x += INT8_QUAD_BLOCK, w += INT8_PANEL_BLOCK) {
        int32_t acc;
        float scale;
        uint16_t bits;
        memcpy(&acc, x + INT8_BLOCK * QUAD + row * 4, sizeof acc);
        memcpy(&scale, x + INT8_BLOCK * QUAD + (QUAD + row) * 4, sizeof scale);
        memcpy(&bits, w + INT8_BLOCK * INT8_PANEL + column * 2, sizeof bits);
        for (size_t k = 0; k < INT8_BLOCK; k++)
            acc += (int8_t)x[(k / 4 * QUAD + row) * 4 + k % 4] * w[(k / 4 * INT8_PANEL + column) * 4 + k % 4];
        sum = fmaf((float)acc, bf16_to_f32(bits) * scale, sum);
    }
    return sum;
}

static void int8_multiply(float *out, size_t ldo, size_t rows, size_t columns, const void *x, const void *panel,
                          size_t K, bool add) {
    for (size_t m = 0; m < rows; m++)
        for (size_t n = 0; n < columns; n++) {
            const char *quad = (const char *)x + m / QUAD * gemm_int8_quad_bytes(K);
            float sum = int8_dot(quad, m % QUAD, panel, n, K);
            out[m * ldo + n] = add ? out[m * ldo + n] + sum : sum;
        }
}

/* ---- bf16 ---- */

size_t gemm_bf16_panel_bytes(size_t K) {
    return (K + 1) / 2 * BF16_PANEL * 4;
}

size_t gemm_f32_quad_bytes(size_t K) {
    size_t bytes = (K * QUAD * sizeof(float) + 63) / 64 * 64;
    return bytes % 4096 ? bytes : bytes + 64;
}

static void bf16_pack_column(void *panel, size_t column, const float *w, size_t K) {
    uint16_t *out = panel;
    for (size_t k = 0; k < K; k++) out[(k / 2 * BF16_PANEL + column) * 2 + k % 2] = f32_to_bf16(w[k]);
}

static void bf16_pack_quad(void *quad, const float *x, size_t ldx, size_t rows, size_t K) {
    float *out = quad;
    for (size_t k = 0; k < K; k++)
        for (size_t r = 0; r < QUAD; r++) out[k * QUAD + r] = r < rows ? x[r * ldx + k] : 0.0f;
}

static void bf16_multiply(float *out, size_t ldo, size_t rows, size_t columns, const void *x, const void *panel,
                          size_t K, bool add) {
    const uint16_t *w = panel;
    for (size_t m = 0; m < rows; m++)
        for (size_t n = 0; n < columns; n++) {
            const float *quad = (const float *)x + m / QUAD * (gemm_f32_quad_bytes(K) / sizeof(float));
            float sum = 0.0f;
            for (size_t k = 0; k < K; k++)
                sum = fmaf(quad[k * QUAD + m % QUAD], bf16_to_f32(w[(k / 2 * BF16_PANEL + n) * 2 + k % 2]), sum);
            out[m * ldo + n] = add ? out[m * ldo + n] + sum : sum;
        }
}

const gemm_kernels *gemm_bf16_ref(void) {
    static const gemm_kernels table = {.panel = BF16_PANEL,
                                       .panel_bytes = gemm_bf16_panel_bytes,
                                       .quad_bytes = gemm_f32_quad_bytes,
                                       .pack_column = bf16_pack_column,
                                       .pack_quad = bf16_pack_quad,
                                       .multiply = bf16_multiply,
                                       .block_rows = BLOCK_ROWS};
    return &table;
}

const gemm_kernels *gemm_int8_ref(void) {
    static const gemm_kernels table = {.panel = INT8_PANEL,
                                       .panel_bytes = gemm_int8_panel_bytes,
                                       .quad_bytes = gemm_int8_quad_bytes,
                                       .pack_column = int8_pack_column,
                                       .pack_quad = int8_pack_quad,
                                       .multiply = int8_multiply,
                                       .block_rows = BLOCK_ROWS};
    return &table;
}
