/* kernels_dequant.h - dequant_tile over vectors of LANES rows: a part of kernels_simd.h, which has its operations.
 *
 * A type's function takes LANES rows of whole blocks at b + offset[j] (any alignment) and writes K values of each,
 * value k of all of them to tile + k * GEMM_TILE. Layouts of the blocks: quant.c. It reads nothing beyond a row's K
 * values: the last row may end where the file does. Products and sums are rounded as quant_dequant rounds them. */

INLINE void put(float *tile, size_t k, vf v) {
    v_store(tile + k * GEMM_TILE, v);
}

/* ---- plain values ---- */

/* The last values of a row that fill no vector, one by one. */
INLINE void plain_rest(float *tile, quant_type t, const uint8_t *b, const size_t offset[LANES], size_t k, size_t K) {
    for (; k < K; k++)
        for (size_t j = 0; j < LANES; j++)
            quant_dequant(t, tile + k * GEMM_TILE + j, b + offset[j] + quant_row_bytes(t, k), 1);
}

static void f32_columns(float *tile, const uint8_t *b, const size_t offset[LANES], size_t K) {
    size_t k = 0;
    for (; k + 4 <= K; k += 4) {
        vi q[4];
        vi_dwords4(q, b + 4 * k, offset);
        UNROLL for (size_t i = 0; i < 4; i++) put(tile, k + i, v_from_bits(q[i]));
    }
    plain_rest(tile, QUANT_F32, b, offset, k, K);
}

static void f16_columns(float *tile, const uint8_t *b, const size_t offset[LANES], size_t K) {
    size_t k = 0;
    for (; k + 8 <= K; k += 8) {
        vi q[4];
        vi_dwords4(q, b + 2 * k, offset);
        UNROLL for (size_t i = 0; i < 4; i++) {
            put(tile, k + 2 * i, v_half(q[i]));
            put(tile, k + 2 * i + 1, v_half(vi_right(q[i], 16)));
        }
    }
    plain_rest(tile, QUANT_F16, b, offset, k, K);
}

static void bf16_columns(float *tile, const uint8_t *b, const size_t offset[LANES], size_t K) {
    size_t k = 0;
    for (; k + 8 <= K; k += 8) {
        vi q[4];
        vi_dwords4(q, b + 2 * k, offset);
        UNROLL for (size_t i = 0; i < 4; i++) {
            put(tile, k + 2 * i, v_from_bits(vi_left(q[i], 16)));
            put(tile, k + 2 * i + 1, v_from_bits(vi_and(q[i], (int32_t)0xffff0000)));
        }
    }
    plain_rest(tile, QUANT_BF16, b, offset, k, K);
}

/* ---- blocks of 32 ---- */

static void q4_0_columns(float *tile, const uint8_t *b, const size_t offset[LANES], size_t K) {
    const vf zero = v_set1(8.0f);
    for (size_t k = 0; k < K; k += 32, b += 18) {
        vi head[4], q[4];
        vi_dwords4(head, b, offset);
        vf d = v_half(head[0]);
        vi_dwords4(q, b + 2, offset);
        for (size_t w = 0; w < 4; w++)
            UNROLL for (size_t i = 0; i < 4; i++) {
                put(tile, k + 4 * w + i, v_mul(d, v_sub(v_nibble(q[w], 8 * i), zero)));
                put(tile, k + 16 + 4 * w + i, v_mul(d, v_sub(v_nibble(q[w], 8 * i + 4), zero)));
            }
    }
}

static void q4_1_columns(float *tile, const uint8_t *b, const size_t offset[LANES], size_t K) {
    for (size_t k = 0; k < K; k += 32, b += 20) {
        vi head = vi_dword(b, offset), q[4];
        vf d = v_half(head), m = v_half(vi_right(head, 16));
        vi_dwords4(q, b + 4, offset);
        for (size_t w = 0; w < 4; w++)
            UNROLL for (size_t i = 0; i < 4; i++) {
                put(tile, k + 4 * w + i, v_add(v_mul(d, v_nibble(q[w], 8 * i)), m));
                put(tile, k + 16 + 4 * w + i, v_add(v_mul(d, v_nibble(q[w], 8 * i + 4)), m));
            }
    }
}

/* Four bytes of nibbles get their fifth bits, which are bits `at` to at + 3 of high for the low nibbles, 16 further
 * for the high ones: values 0 to 3 and 16 to 19 of five bits a byte. */
INLINE void add_fifth(vi out[2], vi q, vi high, int at) {
    for (int half = 0; half < 2; half++) {
        vi bits = vi_right(high, at + 16 * half); /* bit i goes to bit 8 i + 4 */
        vi spread = vi_or(vi_or(vi_left(vi_and(bits, 1), 4), vi_left(vi_and(bits, 2), 11)),
                          vi_or(vi_left(vi_and(bits, 4), 18), vi_left(vi_and(bits, 8), 25)));
        out[half] = vi_or(vi_and(vi_right(q, 4 * half), 0x0f0f0f0f), spread);
    }
}

static void q5_0_columns(float *tile, const uint8_t *b, const size_t offset[LANES], size_t K) {
    const vf zero = v_set1(16.0f);
    for (size_t k = 0; k < K; k += 32, b += 22) {
        vi head[4], q[4];
        vi_dwords4(head, b, offset);
        vf d = v_half(head[0]);
        vi high = vi_or(vi_right(head[0], 16), vi_left(head[1], 16));
        vi_dwords4(q, b + 6, offset);
        for (size_t w = 0; w < 4; w++) {
            vi five[2];
            add_fifth(five, q[w], high, 4 * (int)w);
            UNROLL for (size_t i = 0; i < 4; i++) {
                put(tile, k + 4 * w + i, v_mul(d, v_sub(v_five(five[0], 8 * i), zero)));
                put(tile, k + 16 + 4 * w + i, v_mul(d, v_sub(v_five(five[1], 8 * i), zero)));
            }
        }
    }
}

static void q5_1_columns(float *tile, const uint8_t *b, const size_t offset[LANES], size_t K) {
    for (size_t k = 0; k < K; k += 32, b += 24) {
        vi head[4], q[4];
        vi_dwords4(head, b, offset);
        vf d = v_half(head[0]), m = v_half(vi_right(head[0], 16));
        vi_dwords4(q, b + 8, offset);
        for (size_t w = 0; w < 4; w++) {
            vi five[2];
            add_fifth(five, q[w], head[1], 4 * (int)w);
            UNROLL for (size_t i = 0; i < 4; i++) {
                put(tile, k + 4 * w + i, v_add(v_mul(d, v_five(five[0], 8 * i)), m));
                put(tile, k + 16 + 4 * w + i, v_add(v_mul(d, v_five(five[1], 8 * i)), m));
            }
        }
    }
}

static void q8_0_columns(float *tile, const uint8_t *b, const size_t offset[LANES], size_t K) {
    for (size_t k = 0; k < K; k += 32, b += 34) {
        vi head[4];
        vi_dwords4(head, b, offset);
        vf d = v_half(head[0]);
        for (size_t h = 0; h < 2; h++) {
            vi q[4];
            vi_dwords4(q, b + 2 + 16 * h, offset);
            for (size_t w = 0; w < 4; w++)
                UNROLL for (size_t i = 0; i < 4; i++)
                    put(tile, k + 16 * h + 4 * w + i, v_mul(v_byte(q[w], 8 * i), d));
        }
    }
}

/* ---- blocks of 256 ---- */

/* Scale and minimum of each of the eight sub-blocks of Q4_K and Q5_K, six bits each, times those of the block. */
INLINE void read_k_head(vf d[8], vf m[8], const uint8_t *b, const size_t offset[LANES]) {
    vi word[4];
    vi_dwords4(word, b, offset);
    const int32_t six = 0x3f3f3f3f, four = 0x0f0f0f0f, top = 0x30303030;
    vf scale = v_half(word[0]), min = v_half(vi_right(word[0], 16));
    vi scales[2] = {vi_and(word[1], six), vi_or(vi_and(word[3], four), vi_and(vi_right(word[1], 2), top))};
    vi mins[2] = {vi_and(word[2], six),
                  vi_or(vi_and(vi_right(word[3], 4), four), vi_and(vi_right(word[2], 2), top))};
    for (int i = 0; i < 8; i++) {
        d[i] = v_mul(scale, v_ubyte(scales[i / 4], 8 * (i % 4)));
        m[i] = v_mul(min, v_ubyte(mins[i / 4], 8 * (i % 4)));
    }
}

/* 16 values of sub-blocks 2g and 2g + 1, of which the low and high nibbles of q are; fifth: NULL, or the bytes whose
 * bits 2g and 2g + 1 go on top. */
INLINE void put_k_pair(float *tile, const vi q[4], const vi *fifth, int g, const vf d[2], const vf m[2]) {
    for (size_t w = 0; w < 4; w++) {
        vi low = q[w], high = vi_right(q[w], 4);
        if (fifth) {
            vi bits = vi_right(fifth[w], 2 * g);
            low = vi_or(vi_and(low, 0x0f0f0f0f), vi_and(vi_left(bits, 4), 0x10101010));
            high = vi_or(vi_and(high, 0x0f0f0f0f), vi_and(vi_left(bits, 3), 0x10101010));
        }
        UNROLL for (size_t i = 0; i < 4; i++) {
            int shift = 8 * (int)i;
            vf a = fifth ? v_five(low, shift) : v_nibble(low, shift);
            vf c = fifth ? v_five(high, shift) : v_nibble(high, shift);
            put(tile, 4 * w + i, v_sub(v_mul(d[0], a), m[0]));
            put(tile, 32 + 4 * w + i, v_sub(v_mul(d[1], c), m[1]));
        }
    }
}

/* size: of a block; fifth, nibbles: where in it they start; fifth 0: none (Q4_K) */
INLINE void k_columns(float *tile, const uint8_t *b, const size_t offset[LANES], size_t K, size_t size, size_t fifth,
                      size_t nibbles) {
    for (size_t k = 0; k < K; k += 256, b += size, tile += 256 * GEMM_TILE) {
        vf d[8], m[8];
        read_k_head(d, m, b, offset);
        for (int at = 0; at < 8; at++) { /* 16 bytes of nibbles */
            int g = at / 2, half = at % 2;
            vi q[4], bits[4];
            vi_dwords4(q, b + nibbles + 16 * at, offset);
            if (fifth) vi_dwords4(bits, b + fifth + 16 * half, offset);
            put_k_pair(tile + (64 * g + 16 * half) * GEMM_TILE, q, fifth ? bits : NULL, g, d + 2 * g, m + 2 * g);
        }
    }
}

static void q4_k_columns(float *tile, const uint8_t *b, const size_t offset[LANES], size_t K) {
    k_columns(tile, b, offset, K, 144, 0, 16);
}

static void q5_k_columns(float *tile, const uint8_t *b, const size_t offset[LANES], size_t K) {
    k_columns(tile, b, offset, K, 176, 16, 48);
}

/* 16 values of quarter a: nibbles of low at bit 4 (a / 2), bits 2a of high on top, d: their scale */
INLINE void put_q6_k(float *tile, const vi low[4], const vi high[4], int a, vf d) {
    for (size_t w = 0; w < 4; w++) {
        vi nibble = vi_and(vi_right(low[w], 4 * (a / 2)), 0x0f0f0f0f);
        vi top = vi_and(a < 2 ? vi_left(high[w], 4 - 2 * a) : vi_right(high[w], 2 * a - 4), 0x30303030);
        vi q = vi_sub_bytes(vi_or(nibble, top), 32);
        UNROLL for (size_t i = 0; i < 4; i++) put(tile, 4 * w + i, v_mul(d, v_byte(q, 8 * (int)i)));
    }
}

static void q6_k_columns(float *tile, const uint8_t *b, const size_t offset[LANES], size_t K) {
    for (size_t k = 0; k < K; k += 256, b += 210, tile += 256 * GEMM_TILE) {
        vf d[16], scale = v_half(vi_right(vi_dword(b + 206, offset), 16)); /* from before it: it ends the block */
        vi scales[4];
        vi_dwords4(scales, b + 192, offset);
        for (int i = 0; i < 16; i++) d[i] = v_mul(scale, v_byte(scales[i / 4], 8 * (i % 4)));
        for (int at = 0; at < 4; at++) { /* 16 bytes of half at / 2 of the block */
            int h = at / 2, e = at % 2;
            vi low[2][4], high[4];
            vi_dwords4(low[0], b + 64 * h + 16 * e, offset);
            vi_dwords4(low[1], b + 64 * h + 32 + 16 * e, offset);
            vi_dwords4(high, b + 128 + 32 * h + 16 * e, offset);
            for (int a = 0; a < 4; a++)
                put_q6_k(tile + (128 * h + 32 * a + 16 * e) * GEMM_TILE, low[a % 2], high, a, d[8 * h + 2 * a + e]);
        }
    }
}

static void dequant_tile_simd(float *restrict tile, quant_type t, const void *restrict rows, size_t row_bytes, size_t n,
                              size_t K) {
    for (size_t j = 0; j < n; j += LANES) {
        const uint8_t *b = (const uint8_t *)rows + j * row_bytes;
        size_t in = n - j < LANES ? n - j : LANES, offset[LANES];
        row_offsets(offset, row_bytes, in);
        float *to = tile + j;
        switch (t) {
        case QUANT_F32: f32_columns(to, b, offset, K); break;
        case QUANT_F16: f16_columns(to, b, offset, K); break;
        case QUANT_BF16: bf16_columns(to, b, offset, K); break;
        case QUANT_Q4_0: q4_0_columns(to, b, offset, K); break;
        case QUANT_Q4_1: q4_1_columns(to, b, offset, K); break;
        case QUANT_Q5_0: q5_0_columns(to, b, offset, K); break;
        case QUANT_Q5_1: q5_1_columns(to, b, offset, K); break;
        case QUANT_Q8_0: q8_0_columns(to, b, offset, K); break;
        case QUANT_Q4_K: q4_k_columns(to, b, offset, K); break;
        case QUANT_Q5_K: q5_k_columns(to, b, offset, K); break;
        case QUANT_Q6_K: q6_k_columns(to, b, offset, K); break;
        }
    }
}
