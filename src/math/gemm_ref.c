/* gemm_ref.c - the int8 kernels in plain C: the definition, and what CPUs without AVX-512 VNNI run. */
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "math/gemm_kernels.h"
#include "math/kernels_level.h"

static size_t chunks(size_t K) {
    return (K + INT8_CHUNK - 1) / INT8_CHUNK;
}

size_t gemm_int8_panel_bytes(size_t K) {
    return chunks(K) * INT8_PANEL_CHUNK;
}

size_t gemm_int8_quad_bytes(size_t K) {
    return chunks(K) * INT8_QUAD_CHUNK + (chunks(K) * INT8_QUAD_CHUNK % 4096 ? 0 : 64);
}

/* The scale of a block: max|w| / 127 rounded up to bf16, so that every quotient fits a byte; NaN if a value is not finite. */
static uint16_t block_scale(const float *w, size_t n) {
    float max = 0.0f;
    for (size_t i = 0; i < n; i++) {
        if (!isfinite(w[i])) return 0x7fc0;
        max = fmaxf(max, fabsf(w[i]));
    }
    float scale = max / 127.0f;
    uint32_t bits;
    memcpy(&bits, &scale, sizeof bits);
    return (uint16_t)((bits + 0xffff) >> 16);
}

static void int8_pack_column(void *panel, size_t column, const float *w, size_t K) {
    uint8_t *p = panel;
    for (size_t k0 = 0; k0 < K; k0 += INT8_BLOCK) {
        size_t n = K - k0 < INT8_BLOCK ? K - k0 : INT8_BLOCK, block = k0 % INT8_CHUNK / INT8_BLOCK;
        uint8_t *chunk = p + k0 / INT8_CHUNK * INT8_PANEL_CHUNK;
        uint16_t bits = block_scale(w + k0, n);
        memcpy(chunk + INT8_CHUNK * PANEL + (block * PANEL + column) * 2, &bits, sizeof bits);

        float scale = bf16_to_f32(bits), inverse = 1.0f / scale;
        bool usable = isfinite(scale) && isfinite(inverse); /* zeros, too small to divide by, or not a number */
        for (size_t i = 0; i < n; i++) {
            long q = usable ? lrintf(w[k0 + i] * inverse) : 0;
            size_t k = block * INT8_BLOCK + i;
            chunk[(k / 4 * PANEL + column) * 4 + k % 4] = (uint8_t)((q > 127 ? 127 : q < -127 ? -127 : q) + 128);
        }
    }
}

static void int8_pack_quad(void *quad, const float *x, size_t ldx, size_t rows, size_t K) {
    memset(quad, 0, chunks(K) * INT8_QUAD_CHUNK);
    for (size_t r = 0; r < rows; r++)
        for (size_t k0 = 0; k0 < K; k0 += INT8_BLOCK) {
            size_t n = K - k0 < INT8_BLOCK ? K - k0 : INT8_BLOCK, block = k0 % INT8_CHUNK / INT8_BLOCK;
            char *chunk = (char *)quad + k0 / INT8_CHUNK * INT8_QUAD_CHUNK;
            int8_t q[INT8_BLOCK];
            float scale = kernel_to_int8_ref(q, x + r * ldx + k0, n);
            int32_t start = 0;
            for (size_t i = 0; i < n; i++) {
                size_t k = block * INT8_BLOCK + i;
                chunk[(k / 4 * QUAD + r) * 4 + k % 4] = (char)q[i];
                start -= 128 * q[i];
            }
            char *block_data = chunk + INT8_CHUNK * QUAD + block * QUAD * 8 + r * 4;
            memcpy(block_data, &start, sizeof start);
            memcpy(block_data + QUAD * 4, &scale, sizeof scale);
        }
}

/* One output. */
static float int8_dot(const char *x, size_t row, const uint8_t *panel, size_t column, size_t K) {
    float sum = 0.0f;
    for (size_t block = 0; block < chunks(K) * (INT8_CHUNK / INT8_BLOCK); block++) {
        size_t in_chunk = block % (INT8_CHUNK / INT8_BLOCK);
        const char *xc = x + block / (INT8_CHUNK / INT8_BLOCK) * INT8_QUAD_CHUNK;
        const uint8_t *wc = panel + block / (INT8_CHUNK / INT8_BLOCK) * INT8_PANEL_CHUNK;
        const char *block_data = xc + INT8_CHUNK * QUAD + in_chunk * QUAD * 8 + row * 4;
        int32_t acc;
        float scale;
        uint16_t bits;
        memcpy(&acc, block_data, sizeof acc);
        memcpy(&scale, block_data + QUAD * 4, sizeof scale);
        memcpy(&bits, wc + INT8_CHUNK * PANEL + (in_chunk * PANEL + column) * 2, sizeof bits);
        for (size_t i = 0; i < INT8_BLOCK; i++) {
            size_t k = in_chunk * INT8_BLOCK + i;
            acc += (int8_t)xc[(k / 4 * QUAD + row) * 4 + k % 4] * wc[(k / 4 * PANEL + column) * 4 + k % 4];
        }
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

const gemm_kernels *gemm_int8_ref(void) {
    static const gemm_kernels table = {gemm_int8_panel_bytes, gemm_int8_quad_bytes, int8_pack_column, int8_pack_quad,
                                       int8_multiply};
    return &table;
}
