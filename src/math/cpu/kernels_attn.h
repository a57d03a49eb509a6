/* kernels_attn.h - attention over a chunk of tokens in vectors, fp32 or bf16. Included once by each level's file for
 * a kernel, which defines before, besides the operations of kernels_simd.h:
 *
 *   attn_value              float, or uint16_t for bf16; q, K, V and p are taken in words of 4 bytes: a value or a pair
 *   v_mac(x, column, sum)         sum + x * column, word by word; a pair gives both its products
 *  v_put_weights(p, low, high, sum)   stores 2 LANES weights as words at p (which may be where low and high came from),
 *                                 returns sum + what was stored
 *   v_weight(u)                   exp(u) for u <= 0, as exact as the weights are stored
 *   ATTN_KERNEL                   how the kernel's definition begins: its type and name
 *
 * Rows are taken in tiles of up to CHUNK_ROWS. A tile's scores of the whole chunk stay in the first cache; every sum
 * of products sits in a register from its first term to its last, in blocks of rows by two vectors (tokens for q k,
 * dims for p v). Beyond a row's n_valid its weights are 0, which adds nothing: so a row does not see how far its tile
 * goes. */
enum { WORD_VALUES = 4 / sizeof(attn_value), CHUNK_ROWS = LANES == 16 ? 12 : 6, BLOCK_WIDTH = 2 * LANES };

typedef struct attn_word { /* without alignment of its own */
    uint8_t byte[4];
} attn_word;

INLINE vf v_word(const attn_word *p) {
    float bits;
    memcpy(&bits, p, sizeof bits);
    return v_set1(bits);
}

/* A row of a block, for later. */
INLINE void prefetch_row(const attn_word *p) {
    __builtin_prefetch(p);
    if (BLOCK_WIDTH > 16) __builtin_prefetch(p + 16);
}

INLINE vf v_words(const attn_word *p, size_t n) {
    return n >= LANES ? v_load((const void *)p) : v_load_n((const void *)p, n);
}

/* out[r][c] = sum_k x[r][k] * b[k][c], k ascending, c < n <= BLOCK_WIDTH.  x: (R, K) words, b: (K, ldb) words, in
 * pieces of `piece` rows, each at b[i] + offset; next: what is read after the last piece. R and whole (n ==
 * BLOCK_WIDTH) are constants where inlined. The rows one piece ahead are prefetched: pages lie anywhere in memory, so
 * that the CPU does not see the next one coming. */
INLINE void chunk_block(const size_t R, const bool whole, float *restrict out, size_t ldo, const attn_word *x,
                        size_t ldx, const attn_value *const *b, size_t offset, size_t ldb, size_t K, size_t piece,
                        const attn_value *next, size_t n) {
    size_t low = whole || n > LANES ? LANES : n, high = whole ? LANES : n - low;
    vf sum[CHUNK_ROWS][2];
    UNROLL for (size_t r = 0; r < R; r++) sum[r][0] = sum[r][1] = v_zero();
    for (; K > 0; b++) {
        size_t rows = K < piece ? K : piece;
        const attn_word *at = (const attn_word *)(*b + offset);
        const attn_word *ahead = (const attn_word *)(K > piece ? b[1] + offset : next);
        for (size_t k = 0; k < rows; k++, at += ldb, ahead += ldb, x++) {
            if (R > 2) prefetch_row(ahead); /* fewer rows have no time for it */
            vf c0 = whole ? v_load((const void *)at) : v_words(at, low);
            vf c1 = whole ? v_load((const void *)(at + LANES)) : v_words(at + LANES, high);
            UNROLL for (size_t r = 0; r < R; r++) {
                vf xk = v_word(x + r * ldx);
                sum[r][0] = v_mac(xk, c0, sum[r][0]);
                sum[r][1] = v_mac(xk, c1, sum[r][1]);
            }
        }
        K -= rows;
    }
    UNROLL for (size_t r = 0; r < R; r++) { /* + 0: a sum that underflowed to -0 is the same as one that went on */
        vf s0 = v_add(sum[r][0], v_zero()), s1 = v_add(sum[r][1], v_zero());
        if (whole) {
            v_store(out + r * ldo, s0);
            v_store(out + r * ldo + LANES, s1);
        } else {
            v_store_n(out + r * ldo, s0, low);
            v_store_n(out + r * ldo + LANES, s1, high);
        }
    }
}

typedef void (*chunk_fn)(float *restrict out, size_t ldo, const attn_word *x, size_t ldx, const attn_value *const *b,
                         size_t offset, size_t ldb, size_t K, size_t piece, const attn_value *next, size_t n);

#define CHUNK(R, kind, whole)                                                                                          \
    static void chunk_##R##_##kind(float *restrict out, size_t ldo, const attn_word *x, size_t ldx,                    \
                                   const attn_value *const *b, size_t offset, size_t ldb, size_t K, size_t piece,      \
                                   const attn_value *next, size_t n) {                                                 \
        chunk_block(R, whole, out, ldo, x, ldx, b, offset, ldb, K, piece, next, n);                                    \
    }
#define CHUNK_BOTH(R) CHUNK(R, whole, true) CHUNK(R, part, false)
#define CHUNK_NAMES(kind)                                                                                              \
    chunk_1_##kind, chunk_2_##kind, chunk_3_##kind, chunk_4_##kind, chunk_5_##kind, chunk_6_##kind
CHUNK_BOTH(1)
CHUNK_BOTH(2)
CHUNK_BOTH(3)
CHUNK_BOTH(4)
CHUNK_BOTH(5)
CHUNK_BOTH(6)
#if LANES == 16
#define CHUNK_NAMES_12(kind)                                                                                           \
    chunk_7_##kind, chunk_8_##kind, chunk_9_##kind, chunk_10_##kind, chunk_11_##kind, chunk_12_##kind
CHUNK_BOTH(7)
CHUNK_BOTH(8)
CHUNK_BOTH(9)
CHUNK_BOTH(10)
CHUNK_BOTH(11)
CHUNK_BOTH(12)
static const chunk_fn chunk_whole[CHUNK_ROWS] = {CHUNK_NAMES(whole), CHUNK_NAMES_12(whole)};
static const chunk_fn chunk_part[CHUNK_ROWS] = {CHUNK_NAMES(part), CHUNK_NAMES_12(part)};
#else
static const chunk_fn chunk_whole[CHUNK_ROWS] = {CHUNK_NAMES(whole)};
static const chunk_fn chunk_part[CHUNK_ROWS] = {CHUNK_NAMES(part)};
#endif

/* Tokens t .. t + LANES - 1 of a row of products: -inf from n on. */
INLINE vf products(const float *s, size_t t, size_t n) {
    vf v = v_load(s + t);
    return t + LANES <= n ? v : v_keep(v, n > t ? n - t : 0, v_set1(-INFINITY));
}

static float largest_product(const float *s, size_t n) {
    vf top = v_set1(-INFINITY);
    for (size_t t = 0; t < n; t += BLOCK_WIDTH) top = v_max(v_max(top, products(s, t, n)), products(s, t + LANES, n));
    return v_top(top);
}

/* A row of products becomes one of weights, 0 from n up to the end of a block at n_tile or above. Returns their sum. */
static float put_weights(float *s, size_t n, size_t n_tile, float scale, float max) {
    vf factor = v_set1(scale), shift = v_set1(-max), sum = v_zero();
    for (size_t t = 0; t < n_tile; t += BLOCK_WIDTH) {
        vf low = v_zero(), high = v_zero();
        if (t < n) {
            low = v_weight(v_fma(products(s, t, n), factor, shift));
            high = v_weight(v_fma(products(s, t + LANES, n), factor, shift));
        }
        sum = v_put_weights(s + t / WORD_VALUES, low, high, sum);
    }
    return v_sum(sum);
}

/* R <= CHUNK_ROWS rows; s: (R, ATTN_CHUNK) */
static void chunk_tile(float *restrict acc, attn_state *restrict state, const attn_value *restrict q,
                       const attn_value *const *kv, const uint32_t *restrict n_valid, size_t R, size_t dim, float scale,
                       float *restrict s) {
    size_t n = 0, words = dim / WORD_VALUES;
    for (size_t r = 0; r < R; r++) n = n_valid[r] > n ? n_valid[r] : n;

    /* s = q k */
    for (size_t t = 0; t < n; t += BLOCK_WIDTH) {
        size_t page = t / KV_PAGE, offset = t % KV_PAGE * WORD_VALUES;
        const attn_value *next = t + KV_PAGE < n ? kv[page + 1] + offset : kv[0] + dim * KV_PAGE;
        chunk_whole[R - 1](s + t, ATTN_CHUNK, (const attn_word *)q, words, kv + page, offset, KV_PAGE, words, words,
                           next,
                           BLOCK_WIDTH);
    }

    /* p = exp(scale s - max) */
    for (size_t r = 0; r < R; r++) state[r].max = scale * largest_product(s + r * ATTN_CHUNK, n_valid[r]);
    for (size_t r = 0; r < R; r++)
        state[r].sum = put_weights(s + r * ATTN_CHUNK, n_valid[r], n, scale, state[r].max);

    /* acc = p v */
    const attn_value *next = n > 0 ? kv[0] : NULL; /* for the next tile */
    for (size_t c = 0; c < dim; c += BLOCK_WIDTH) {
        size_t columns = dim - c < BLOCK_WIDTH ? dim - c : BLOCK_WIDTH;
        const chunk_fn *by_rows = columns == BLOCK_WIDTH ? chunk_whole : chunk_part;
        by_rows[R - 1](acc + c, dim, (const attn_word *)s, ATTN_CHUNK, kv, dim * KV_PAGE + c * WORD_VALUES, dim,
                       (n + WORD_VALUES - 1) / WORD_VALUES, KV_PAGE / WORD_VALUES, next, columns);
    }
}

ATTN_KERNEL(float *restrict acc, attn_state *restrict state, const attn_value *restrict q,
            const attn_value *const *kv, size_t n_page, const uint32_t *restrict n_valid, size_t R, size_t dim,
            float scale, float *restrict scratch) {
    (void)n_page;
    size_t n_tile = (R + CHUNK_ROWS - 1) / CHUNK_ROWS;
    for (size_t i = 0; i < n_tile; i++) { /* of nearly equal height */
        size_t r = R * i / n_tile, rows = R * (i + 1) / n_tile - r;
        chunk_tile(acc + r * dim, state + r, q + r * dim, kv, n_valid + r, rows, dim, scale, scratch);
    }
}
