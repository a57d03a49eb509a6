/* quantise.c - fp32 values as the types that we write. Owns the choice of scales and the rounding, which are those of
 * PyPI `gguf` and ggml; the layouts of blocks are told in quant.c. */
#include <math.h>
#include <string.h>

#include "math/quant.h"

enum { BLOCK = 32, Q8_0_BYTES = 34, Q4_0_BYTES = 18 };

bool quant_writable(uint32_t id) {
    return id == QUANT_F32 || id == QUANT_F16 || id == QUANT_BF16 || id == QUANT_Q8_0 || id == QUANT_Q4_0;
}

static bool all_finite(const float *x, size_t n) {
    bool finite = true;
    for (size_t i = 0; i < n; i++) finite &= isfinite(x[i]) != 0;
    return finite;
}

static void put_u16(uint8_t *p, uint16_t v) {
    memcpy(p, &v, sizeof v);
}

/* 1 / d; 0 where the scale is so small that its block is nothing but zeros in half precision */
static float inverse(float d) {
    float id = d == 0.0f ? 0.0f : 1.0f / d;
    return isfinite(id) ? id : 0.0f;
}

static bool row_f16(uint8_t *out, const float *x, size_t n) {
    bool fits = true;
    for (size_t i = 0; i < n; i++) {
        uint16_t h = f32_to_f16(x[i]);
        fits &= (h & 0x7c00) != 0x7c00;
        put_u16(out + 2 * i, h);
    }
    return fits;
}

static bool row_bf16(uint8_t *out, const float *x, size_t n) {
    bool fits = true;
    for (size_t i = 0; i < n; i++) {
        uint16_t h = f32_to_bf16(x[i]);
        fits &= (h & 0x7f80) != 0x7f80;
        put_u16(out + 2 * i, h);
    }
    return fits;
}

/* d = largest magnitude / 127, then the values in units of d */
static bool block_q8_0(uint8_t *out, const float *x) {
    float most = 0;
    for (int i = 0; i < BLOCK; i++) most = fmaxf(most, fabsf(x[i]));
    float d = most / 127.0f, id = inverse(d);
    uint16_t h = f32_to_f16(d);
    put_u16(out, h);
    for (int i = 0; i < BLOCK; i++) out[2 + i] = (uint8_t)(int8_t)roundf(x[i] * id);
    return (h & 0x7c00) != 0x7c00;
}

/* d makes the value of largest magnitude (of several the first) -8, whatever its sign */
static bool block_q4_0(uint8_t *out, const float *x) {
    float most = x[0];
    for (int i = 1; i < BLOCK; i++)
        if (fabsf(x[i]) > fabsf(most)) most = x[i];
    float d = most / -8.0f, id = inverse(d);
    uint16_t h = f32_to_f16(d);
    put_u16(out, h);
    for (int i = 0; i < BLOCK / 2; i++) {
        int low = (int)(x[i] * id + 8.5f), high = (int)(x[BLOCK / 2 + i] * id + 8.5f);
        out[2 + i] = (uint8_t)((low > 15 ? 15 : low) | (high > 15 ? 15 : high) << 4);
    }
    return (h & 0x7c00) != 0x7c00;
}

bool quant_quantise(quant_type t, void *restrict out, const float *restrict src, size_t n) {
    uint8_t *b = out;
    bool fits = true;
    if (!all_finite(src, n)) return false;
    switch (t) {
    case QUANT_F32:
        memcpy(out, src, n * sizeof *src);
        return true;
    case QUANT_F16:
        return row_f16(b, src, n);
    case QUANT_BF16:
        return row_bf16(b, src, n);
    case QUANT_Q8_0:
        for (size_t i = 0; i < n; i += BLOCK, b += Q8_0_BYTES) fits &= block_q8_0(b, src + i);
        return fits;
    case QUANT_Q4_0:
        for (size_t i = 0; i < n; i += BLOCK, b += Q4_0_BYTES) fits &= block_q4_0(b, src + i);
        return fits;
    default:
        return false;
    }
}
