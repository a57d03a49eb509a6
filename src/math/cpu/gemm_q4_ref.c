/* gemm_q4_ref.c - products of rows in int8 with weights of Q4_1 as they are in the file (gemm_kernels.h, q4), in plain
 * C: the definition. */
#include "math/cpu/gemm_kernels.h"
#include "math/cpu/kernels_level.h"

enum { FILE_BLOCK = 20, FILE_QUANTS = 4 }; /* bytes of a block of Q4_1, and of the f16 d and m that it begins with */

size_t gemm_q4_panel_bytes(size_t K) {
    return K / Q4_BLOCK * Q4_PANEL_BLOCK;
}

size_t gemm_q4_quad_bytes(size_t K) {
    size_t bytes = (K / Q4_BLOCK * Q4_QUAD_BLOCK + 63) / 64 * 64;
    return bytes % 4096 ? bytes : bytes + 64;
}

void gemm_q4_pack_file(void *panel, size_t column, const void *row, size_t K) {
    char *block = panel;
    const char *from = row;
    for (size_t k = 0; k < K; k += Q4_BLOCK, block += Q4_PANEL_BLOCK, from += FILE_BLOCK) {
        for (size_t i = 0; i < Q4_STEPS / 2; i++)
            memcpy(block + (i * Q4_PANEL + column) * 4, from + FILE_QUANTS + i * 4, 4);
        memcpy(block + Q4_SCALES_AT + column * 2, from, 2);
        memcpy(block + Q4_SCALES_AT + (Q4_PANEL + column) * 2, from + 2, 2);
    }
}

static void q4_pack_quad(void *quad, const float *x, size_t ldx, size_t rows, size_t K) {
    memset(quad, 0, K / Q4_BLOCK * Q4_QUAD_BLOCK);
    for (size_t r = 0; r < rows; r++)
        for (size_t k0 = 0; k0 < K; k0 += Q4_BLOCK) {
            char *block = (char *)quad + k0 / Q4_BLOCK * Q4_QUAD_BLOCK;
            int8_t q[Q4_BLOCK];
            float scale = kernel_to_int8_ref(q, x + r * ldx + k0, Q4_BLOCK);
            int32_t sum = 0;
            for (size_t k = 0; k < Q4_BLOCK; k++) {
                block[(k / 4 * QUAD + r) * 4 + k % 4] = (char)q[k];
                sum += q[k];
            }
            float all = scale * (float)sum;
            memcpy(block + Q4_ROW_SCALES_AT + r * 4, &scale, sizeof scale);
            memcpy(block + Q4_ROW_SCALES_AT + (QUAD + r) * 4, &all, sizeof all);
        }
}

static float half_at(const char *p) {
    uint16_t bits;
    memcpy(&bits, p, sizeof bits);
    return f16_to_f32(bits);
}

static float float_at(const char *p) {
    float f;
    memcpy(&f, p, sizeof f);
    return f;
}

/* One output. */
static float q4_dot(const char *x, size_t row, const char *w, size_t column, size_t K) {
    float sum = 0.0f;
    for (size_t b = 0; b < K / Q4_BLOCK; b++, x += Q4_QUAD_BLOCK, w += Q4_PANEL_BLOCK) {
        int32_t acc = 0;
        for (size_t k = 0; k < Q4_BLOCK; k++) {
            int byte = (uint8_t)w[(k % 16 / 4 * Q4_PANEL + column) * 4 + k % 4];
            acc += (int8_t)x[(k / 4 * QUAD + row) * 4 + k % 4] * (k < 16 ? byte & 15 : byte >> 4);
        }
        const char *of_row = x + Q4_ROW_SCALES_AT + row * 4, *of_column = w + Q4_SCALES_AT + column * 2;
        sum = fmaf((float)acc, half_at(of_column) * float_at(of_row), sum);
        sum = fmaf(half_at(of_column + Q4_PANEL * 2), float_at(of_row + QUAD * 4), sum);
    }
    return sum;
}

static void q4_multiply(float *out, size_t ldo, size_t rows, size_t columns, const void *x, const void *panel, size_t K,
                        bool add) {
    for (size_t m = 0; m < rows; m++)
        for (size_t n = 0; n < columns; n++) {
            float sum = q4_dot((const char *)x + m / QUAD * gemm_q4_quad_bytes(K), m % QUAD, panel, n, K);
            out[m * ldo + n] = add ? out[m * ldo + n] + sum : sum;
        }
}

const gemm_kernels *gemm_q4_ref(void) {
    static const gemm_kernels table = {.panel = Q4_PANEL,
                                       .panel_bytes = gemm_q4_panel_bytes,
                                       .quad_bytes = gemm_q4_quad_bytes,
                                       .pack_file = gemm_q4_pack_file,
                                       .pack_quad = q4_pack_quad,
                                       .multiply = q4_multiply,
                                       .block_rows = BLOCK_ROWS};
    return &table;
}
