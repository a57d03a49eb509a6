/* quant.c - values of GGUF's block types. Owns the block layouts; the kernels' fast tiles must give the same bits.
 *
 * Each product and each sum is rounded by itself (no fused multiply-add), as numpy does in PyPI `gguf`. */
#include "math/quant.h"

#include <string.h>

typedef struct type_info {
    uint32_t id;
    const char *name;
    size_t block, bytes; /* values and bytes per block; 0: known by name only */
} type_info;

/* clang-format off */
static const type_info types[] = {
#define X(name, id, n, bytes) {(id), #name, (n), (bytes)},
    QUANT_TYPES(X)
#undef X
    {9, "Q8_1", 0, 0},     {10, "Q2_K", 0, 0},   {11, "Q3_K", 0, 0},    {15, "Q8_K", 0, 0},   {16, "IQ2_XXS", 0, 0},
    {17, "IQ2_XS", 0, 0},  {18, "IQ3_XXS", 0, 0}, {19, "IQ1_S", 0, 0},  {20, "IQ4_NL", 0, 0}, {21, "IQ3_S", 0, 0},
    {22, "IQ2_S", 0, 0},   {23, "IQ4_XS", 0, 0}, {24, "I8", 0, 0},      {25, "I16", 0, 0},    {26, "I32", 0, 0},
    {27, "I64", 0, 0},     {28, "F64", 0, 0},    {29, "IQ1_M", 0, 0},   {34, "TQ1_0", 0, 0},  {35, "TQ2_0", 0, 0},
    {39, "MXFP4", 0, 0},
};
/* clang-format on */

static const type_info *find_type(uint32_t id) {
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (types[i].id == id) return &types[i];
    return NULL;
}

bool quant_known(uint32_t id) {
    const type_info *t = find_type(id);
    return t && t->block > 0;
}

const char *quant_name(uint32_t id) {
    const type_info *t = find_type(id);
    return t ? t->name : "unknown";
}

size_t quant_block(quant_type t) {
    const type_info *info = find_type((uint32_t)t);
    return info ? info->block : 0;
}

size_t quant_row_bytes(quant_type t, size_t n) {
    const type_info *info = find_type((uint32_t)t);
    return info && info->block ? n / info->block * info->bytes : 0;
}

/* ---- 16-bit floats ---- */

static float bits_to_f32(uint32_t u) {
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

static uint32_t f32_to_bits(float f) {
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    return u;
}

float f16_to_f32(uint16_t h) {
    uint32_t sign = (uint32_t)(h & 0x8000) << 16;
    uint32_t magnitude = (uint32_t)(h & 0x7fff) << 13;
    /* 2^112 moves the exponent's bias from 15 to 127; exact, subnormals too */
    uint32_t finite = f32_to_bits(bits_to_f32(magnitude) * 0x1p112f);
    uint32_t special = magnitude | 0x7f800000u; /* infinity and NaN */
    return bits_to_f32(sign | ((h & 0x7c00) == 0x7c00 ? special : finite));
}

uint16_t f32_to_f16(float f) {
    uint32_t u = f32_to_bits(f), sign = u >> 16 & 0x8000, a = u & 0x7fffffff;
    if (a > 0x7f800000) return (uint16_t)(sign | 0x7e00 | (a >> 13 & 0x3ff)); /* NaN stays NaN */
    if (a >= 0x477ff000) return (uint16_t)(sign | 0x7c00);                    /* 65520 and above round to infinity */
    if (a < 0x38800000) {                                                     /* below 2^-14: subnormal, in 2^-24ths */
        float scaled = bits_to_f32(a) + 0.5f; /* the ulp of 0.5 is 2^-24: the addition rounds to nearest even */
        return (uint16_t)(sign | (f32_to_bits(scaled) - 0x3f000000u));
    }
    a += 0xfff + (a >> 13 & 1); /* round to nearest even */
    return (uint16_t)(sign | ((a - 0x38000000) >> 13));
}

float bf16_to_f32(uint16_t h) {
    return bits_to_f32((uint32_t)h << 16);
}

uint16_t f32_to_bf16(float f) {
    uint32_t u = f32_to_bits(f);
    if ((u & 0x7fffffff) > 0x7f800000) return (uint16_t)(u >> 16 | 0x40); /* NaN stays NaN */
    return (uint16_t)((u + 0x7fff + (u >> 16 & 1)) >> 16);
}

static uint16_t read_u16(const uint8_t *p) {
    uint16_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

static float read_f16(const uint8_t *p) {
    return f16_to_f32(read_u16(p));
}

/* ---- one block each: out gets the block's values, b is the block's bytes ---- */

/* d (f16), 16 bytes: value i in the low nibble of byte i, value 16 + i in its high nibble */
static void block_q4_0(float *restrict out, const uint8_t *restrict b) {
    float d = read_f16(b);
    for (int i = 0; i < 16; i++) {
        out[i] = d * (float)((b[2 + i] & 15) - 8);
        out[16 + i] = d * (float)((b[2 + i] >> 4) - 8);
    }
}

/* d, m (f16), nibbles as in Q4_0 */
static void block_q4_1(float *restrict out, const uint8_t *restrict b) {
    float d = read_f16(b), m = read_f16(b + 2);
    for (int i = 0; i < 16; i++) {
        out[i] = d * (float)(b[4 + i] & 15) + m;
        out[16 + i] = d * (float)(b[4 + i] >> 4) + m;
    }
}

/* The fifth bits: value i's is bit i of a little-endian word. */
static void five_bits(int q[32], const uint8_t *high, const uint8_t *nibbles) {
    uint32_t h;
    memcpy(&h, high, sizeof h);
    for (int i = 0; i < 16; i++) {
        q[i] = (nibbles[i] & 15) | (int)((h >> i & 1) << 4);
        q[16 + i] = (nibbles[i] >> 4) | (int)((h >> (16 + i) & 1) << 4);
    }
}

/* d (f16), fifth bits (4 bytes), nibbles */
static void block_q5_0(float *restrict out, const uint8_t *restrict b) {
    float d = read_f16(b);
    int q[32];
    five_bits(q, b + 2, b + 6);
    for (int i = 0; i < 32; i++) out[i] = d * (float)(q[i] - 16);
}

/* d, m (f16), fifth bits (4 bytes), nibbles */
static void block_q5_1(float *restrict out, const uint8_t *restrict b) {
    float d = read_f16(b), m = read_f16(b + 2);
    int q[32];
    five_bits(q, b + 4, b + 8);
    for (int i = 0; i < 32; i++) out[i] = d * (float)q[i] + m;
}

/* d (f16), 32 signed bytes */
static void block_q8_0(float *restrict out, const uint8_t *restrict b) {
    float d = read_f16(b);
    for (int i = 0; i < 32; i++) out[i] = (float)(int8_t)b[2 + i] * d;
}

/* Eight 6-bit scales and minima in 12 bytes: four of each in the low 6 bits of bytes 0-3 and 4-7; the other four of
 * each in the nibbles of bytes 8-11 with their upper two bits on top of bytes 0-3 and 4-7. */
static void scales_k(const uint8_t *p, uint8_t scale[8], uint8_t min[8]) {
    for (int i = 0; i < 4; i++) {
        scale[i] = p[i] & 63;
        min[i] = p[4 + i] & 63;
        scale[4 + i] = (uint8_t)((p[8 + i] & 15) | (p[i] >> 2 & 0x30));
        min[4 + i] = (uint8_t)((p[8 + i] >> 4) | (p[4 + i] >> 2 & 0x30));
    }
}

/* Q4_K and Q5_K: d, dmin (f16), scales (12), [Q5_K: fifth bits (32), bit s of byte i is value i of sub-block s],
 * nibbles (128): sub-blocks 2g and 2g + 1 are the low and high nibbles of bytes 32g to 32g + 31. */
static void block_45_k(float *restrict out, const uint8_t *restrict b, const uint8_t *fifth, const uint8_t *nibbles) {
    float d = read_f16(b), dmin = read_f16(b + 2);
    uint8_t scale[8], min[8];
    scales_k(b + 4, scale, min);
    for (int s = 0; s < 8; s++) {
        float ds = d * (float)scale[s], ms = dmin * (float)min[s];
        const uint8_t *qs = nibbles + 32 * (s / 2);
        int shift = 4 * (s & 1);
        for (int i = 0; i < 32; i++) {
            int q = qs[i] >> shift & 15;
            if (fifth) q |= (fifth[i] >> s & 1) << 4;
            out[32 * s + i] = ds * (float)q - ms;
        }
    }
}

static void block_q4_k(float *restrict out, const uint8_t *restrict b) {
    block_45_k(out, b, NULL, b + 16);
}
static void block_q5_k(float *restrict out, const uint8_t *restrict b) {
    block_45_k(out, b, b + 16, b + 48);
}

/* low nibbles (128), upper two bits (64), signed scales of 16 values (16), d (f16). Half h, quarter a (32 values):
 * nibble a / 2 of bytes 64h + 32(a % 2) .., bits 2a of bytes 32h .. */
static void block_q6_k(float *restrict out, const uint8_t *restrict b) {
    float d = read_f16(b + 208);
    for (int r = 0; r < 8; r++) {
        int h = r / 4, a = r % 4;
        const uint8_t *low = b + 64 * h + 32 * (a & 1), *high = b + 128 + 32 * h;
        for (int i = 0; i < 32; i++) {
            int q = (low[i] >> (4 * (a >> 1)) & 15) | (high[i] >> (2 * a) & 3) << 4;
            float ds = d * (float)(int8_t)b[192 + 2 * r + i / 16];
            out[32 * r + i] = ds * (float)(q - 32);
        }
    }
}

/* Four at a time: converting large models at load is mostly this. */
static void row_bf16(float *restrict out, const uint8_t *restrict b, size_t n) {
    typedef uint16_t half4 __attribute__((vector_size(8)));
    typedef uint32_t word4 __attribute__((vector_size(16)));
    size_t i = 0;
    for (; i + 4 <= n; i += 4) {
        half4 h;
        memcpy(&h, b + 2 * i, sizeof h);
        word4 w = __builtin_convertvector(h, word4) << 16;
        memcpy(out + i, &w, sizeof w);
    }
    for (; i < n; i++) out[i] = bf16_to_f32(read_u16(b + 2 * i));
}

#define ROW(type, block)                                                                                               \
    case QUANT_##type:                                                                                                 \
        for (size_t i = 0; i < n; i += quant_block_##type, b += quant_bytes_##type) block(out + i, b);                 \
        return

enum {
#define X(name, id, n, bytes) quant_block_##name = (n), quant_bytes_##name = (bytes),
    QUANT_TYPES(X)
#undef X
};

void quant_dequant(quant_type t, float *restrict out, const void *restrict src, size_t n) {
    const uint8_t *b = src;
    switch (t) {
    case QUANT_F32:
        memcpy(out, src, n * sizeof *out);
        return;
    case QUANT_F16:
        for (size_t i = 0; i < n; i++) out[i] = read_f16(b + 2 * i);
        return;
    case QUANT_BF16:
        row_bf16(out, b, n);
        return;
        ROW(Q4_0, block_q4_0);
        ROW(Q4_1, block_q4_1);
        ROW(Q5_0, block_q5_0);
        ROW(Q5_1, block_q5_1);
        ROW(Q8_0, block_q8_0);
        ROW(Q4_K, block_q4_k);
        ROW(Q5_K, block_q5_k);
        ROW(Q6_K, block_q6_k);
    }
}
