/* gemm_kernels.h - the packed layouts of weights and rows, and the kernels that read them. Internal to math/cpu.
 *
 * Weights lie in panels of 16 (bf16) or 32 (int8) output columns, rows of x in quads of QUAD rows: both with k
 * outermost, in steps of 4 bytes a column or row, so that one instruction multiplies a line of a panel (64 bytes: a
 * step of 16 columns) with a step of one row. A kernel reads a panel from memory once for up to BLOCK_ROWS rows, with
 * their sums in registers: bf16 all rows, int8 quad by quad while a strip of the panel is in the first cache.
 *
 * bf16: a step is two values. Sums are fp32, one chain over k ascending.
 *   panel: [K / 2][column] two bf16                                          quad: [K][row] fp32
 *   out[m][n] = sum over k, ascending, fused: x[m][k] * w[n][k], the same bits at every level but AVX512_BF16's,
 *   whose quads are [K / 2][row] two bf16 and whose products go by pairs
 * f32: a step is one value; panels of 24 columns (AVX2) or 32 (AVX-512).  panel: [K][column]    quad: [K][row]
 *   out[m][n] = sum over k, ascending, fused: the bits of plain C.
 * int8: a step is four values; INT8_BLOCK values along k share a scale.
 *   panel: per block [16][column] four bytes q + 128, then [column] bf16 scale
 *   quad:  per block [16][row] four int8 q, then [row] int32 -128 * sum of q, [row] fp32 scale, then up to a whole line
 *   out[m][n] = sum over blocks, ascending, fused: (float)(exact integer sum of the block) * (scale[n] * scale[m]),
 *   which has the same bits at every level. Values beyond K are zeros. A level may lay out its quads in its own way
 *   (gemm_avx2.c), or all (gemm_amx.c, gemm_amx_int8.c).
 * q4: what int8 means for weights of type Q4_1, w = d * q + m with q of 0 .. 15, where sums of 16 bits are the fast
 * ones: the file's own weights, without rounding, and rows in int8 with a scale for each of the file's blocks of 32.
 * A pair of products is at most 2 * 15 * 127, so that eight of them fit 16 bits.
 *   panel: per block [4][column] the file's four bytes (of dword i: values 4 i + j low, 4 i + j + 16 high), then
 *          [column] f16 d, [column] f16 m
 *   quad:  per block [8][row] four int8 q, then [row] fp32 scale, [row] fp32 scale * sum of q
 *   out[m][n] = sum over blocks, ascending: (float)(exact integer sum) * (d[n] * scale[m]), fused, then
 *          m[n] * (scale[m] * sum of q), fused: the same bits at every level that has it. */
#ifndef PGR_MATH_CPU_GEMM_KERNELS_H
#define PGR_MATH_CPU_GEMM_KERNELS_H

#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { QUAD = 4, BLOCK_ROWS = 24, MOST_BLOCK_ROWS = 32 };
enum { BF16_PANEL = 16, INT8_PANEL = 32 }; /* columns */
enum { INT8_BLOCK = 64, INT8_STEPS = INT8_BLOCK / 4 };
enum { INT8_PANEL_BLOCK = INT8_BLOCK * INT8_PANEL + INT8_PANEL * 2 }; /* bytes of a block of a panel, of a quad */
enum { INT8_QUAD_BLOCK = INT8_BLOCK * QUAD + 64 };
enum { Q4_PANEL = 32, Q4_BLOCK = 32, Q4_STEPS = Q4_BLOCK / 4 };
enum { Q4_SCALES_AT = Q4_BLOCK / 2 * Q4_PANEL, Q4_PANEL_BLOCK = Q4_SCALES_AT + Q4_PANEL * 4 };
enum { Q4_ROW_SCALES_AT = Q4_BLOCK * QUAD, Q4_QUAD_BLOCK = Q4_ROW_SCALES_AT + QUAD * 8 };
enum { BF16_GROUP = 32 }; /* values that a quad's row is padded to */

typedef struct gemm_kernels {
    size_t panel;                    /* columns of a panel */
    size_t (*panel_bytes)(size_t K); /* whole lines */
    size_t (*quad_bytes)(size_t K);  /* whole lines, and not a multiple of 4 KiB: six quads are read side by side */

    /* Column `column` of a panel from w: (K), K >= 1. */
    void (*pack_column)(void *panel, size_t column, const float *w, size_t K);

    /* All columns of a panel at once, from where they stand across: column j from w[0 .. rows - 1][j], of K = rows
     * values. NULL: only a level's `tiles` and `f32` have it.                  w: (rows, columns) rows ldw apart */
    void (*pack_rows)(void *panel, const float *w, size_t ldw, size_t rows, size_t columns);

    /* Or from the file's row of a type that the table is for (q4: Q4_1); NULL: from values. */
    void (*pack_file)(void *panel, size_t column, const void *row, size_t K);

    /* A quad from x: (rows, K) rows ldx apart, 1 <= rows <= QUAD; missing rows become zeros. */
    void (*pack_quad)(void *quad, const float *x, size_t ldx, size_t rows, size_t K);

    /* out[m][n] = sum_k x[m][k] * panel[k][n], or out plus that           out: (rows, columns) rows ldo apart
     * x: quads, quad_bytes(K) apart; rows <= block_rows, columns <= those of a panel. Quads beyond those rows, up to
     *    MOST_BLOCK_ROWS in all, may be read (and are dropped) */
    void (*multiply)(float *out, size_t ldo, size_t rows, size_t columns, const void *x, const void *panel, size_t K,
                     bool add);

    /* The same in one chain that begins with out, instead of a finished sum that is added. NULL: only a level's
     * `tiles` and `f32` have it. */
    void (*extend)(float *out, size_t ldo, size_t rows, size_t columns, const void *x, const void *panel, size_t K);

    size_t block_rows; /* most rows of multiply */
    size_t reuse;      /* bytes of panels that each block of rows goes over while they stay in the second cache, where
                          there are blocks enough; 0: PANELS_PER_TASK of gemm_panels.c */
    /* Around a thread's calls of multiply; NULL: nothing to do. */
    void (*begin)(void);
    void (*end)(void);
} gemm_kernels;

const gemm_kernels *gemm_int8_ref(void);
const gemm_kernels *gemm_bf16_ref(void);
const gemm_kernels *gemm_q4_ref(void);
#if defined(__x86_64__)
const gemm_kernels *gemm_int8_avx2(void); /* need AVX2 and FMA */
const gemm_kernels *gemm_bf16_avx2(void);
const gemm_kernels *gemm_q4_avx2(void);
const gemm_kernels *gemm_f32_avx2(void);
const gemm_kernels *gemm_f32_avx512(void); /* needs AVX-512 */
const gemm_kernels *gemm_int8_avx512(void); /* needs AVX-512 with VNNI */
const gemm_kernels *gemm_bf16_avx512(void); /* needs AVX-512 with BF16 */
const gemm_kernels *gemm_bf16_amx(void);    /* needs AVX-512 with BF16, and AMX that the system has granted */
const gemm_kernels *gemm_int8_amx(void);    /* needs AVX-512, and AMX with int8 that the system has granted */
#endif

/* For the tables of all levels. */
size_t gemm_int8_panel_bytes(size_t K);
size_t gemm_int8_quad_bytes(size_t K);
size_t gemm_bf16_panel_bytes(size_t K);
size_t gemm_f32_quad_bytes(size_t K); /* rows as floats: all of f32, of bf16 those that do not multiply pairs */
size_t gemm_q4_panel_bytes(size_t K);
size_t gemm_q4_quad_bytes(size_t K);
void gemm_q4_pack_file(void *panel, size_t column, const void *row, size_t K);

/* The scale of a block of weights by their largest size: max / 127 rounded up to bf16, so that every quotient fits a
 * byte; NaN if a value is not finite. */
static inline uint16_t gemm_int8_scale(float max) {
    float scale = max / 127.0f;
    uint32_t bits;
    memcpy(&bits, &scale, sizeof bits);
    return isfinite(max) ? (uint16_t)((bits + 0xffff) >> 16) : 0x7fc0;
}

#endif
