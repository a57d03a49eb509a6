/* quant.h - the block types of GGUF tensors (docs/formats.md, "Block types") and their values in fp32, bit-equal to
 * PyPI `gguf`. */
#ifndef PGR_MATH_QUANT_H
#define PGR_MATH_QUANT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*      name   id  values per block  bytes per block */
#define QUANT_TYPES(X)                                                                                                 \
    X(F32,     0,   1,   4)                                                                                            \
    X(F16,     1,   1,   2)                                                                                            \
    X(Q4_0,    2,  32,  18)                                                                                            \
    X(Q4_1,    3,  32,  20)                                                                                            \
    X(Q5_0,    6,  32,  22)                                                                                            \
    X(Q5_1,    7,  32,  24)                                                                                            \
    X(Q8_0,    8,  32,  34)                                                                                            \
    X(Q4_K,   12, 256, 144)                                                                                            \
    X(Q5_K,   13, 256, 176)                                                                                            \
    X(Q6_K,   14, 256, 210)                                                                                            \
    X(BF16,   30,   1,   2)

typedef enum quant_type {
#define X(name, id, n, bytes) QUANT_##name = (id),
    QUANT_TYPES(X)
#undef X
} quant_type;

bool quant_known(uint32_t id);              /* one of the above */
const char *quant_name(uint32_t id);        /* also for types that we know by name only; "type 99" style: "unknown" */
size_t quant_block(quant_type t);           /* values per block */
size_t quant_row_bytes(quant_type t, size_t n); /* n values, n a multiple of the block */

/* out[i] = value i of a row                                                     src: quant_row_bytes(t, n), out: (n) */
void quant_dequant(quant_type t, float *restrict out, const void *restrict src, size_t n);

bool quant_writable(uint32_t id); /* F32, F16, BF16, Q8_0, Q4_0: those that quant_quantise makes */
/* A row in type t, bit-equal to PyPI `gguf`. Halves are rounded to nearest even, Q8_0 half away from zero, Q4_0 half
 * up. False: a value is not finite, or it or its block's scale does not fit into t; out is then not to be used.
 *                                                   n: a multiple of the block, src: (n), out: quant_row_bytes(t, n) */
bool quant_quantise(quant_type t, void *restrict out, const float *restrict src, size_t n);

float f16_to_f32(uint16_t h);
uint16_t f32_to_f16(float f);               /* round to nearest even */
float bf16_to_f32(uint16_t h);
uint16_t f32_to_bf16(float f);              /* round to nearest even */

#endif
