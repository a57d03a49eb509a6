/* attn_amx_bf16.c - attention over a chunk of tokens in AMX tiles: blocks of up to 32 query rows by a page of tokens
 * for q k, by 32 dims for p v. Pages lie as tiles want their second factor, 16 pairs by 16 columns: K in pairs of dims,
 * V in pairs of tokens. A step takes 32 values, so that tokens beyond a row's own, whose weights are 0, are either in
 * its last step anyway or in steps of zeros: a row does not see how far its block goes. What is between the products,
 * and heads whose size is not whole steps, are those of AVX-512 (kernels_attn.h). */
#include "math/cpu/gemm_kernels.h"
#include "math/cpu/kernels_level.h"

#if defined(__x86_64__)
#include "math/cpu/attn_pairs_avx512.h"
#include "math/cpu/tiles_amx.h"

#define ATTN_KERNEL static void by_pairs
#include "math/cpu/kernels_attn.h"

enum {
    HALF = 16, /* rows, columns or pairs of a tile */
    ROWS = 2 * HALF,
    STEP = 2 * HALF,         /* values of bf16 in a tile's row */
    LDS = ATTN_CHUNK + HALF, /* of a row of scores: rows of a tile then fall on different sets of the first cache */
    MOST_DIM = 256,
};
_Static_assert((int)KV_PAGE == STEP && (int)BLOCK_WIDTH == STEP, "a page is a step");
_Static_assert(ROWS *LDS <= ATTN_SCRATCH, "scores of a block");

/* Sums 0 to 3 += rows x (4, 5) by columns w (6, 7), strides in bytes; two: both tiles of rows. */
INLINE void add_step(bool two, const void *x, size_t ldx, const void *w, size_t ldw) {
    _tile_loadd(4, x, ldx);
    _tile_loadd(6, w, ldw);
    _tile_dpbf16ps(0, 4, 6);
    _tile_loadd(7, (const char *)w + HALF * 4, ldw);
    _tile_dpbf16ps(1, 4, 7);
    if (!two) return;
    _tile_loadd(5, (const char *)x + HALF * ldx, ldx);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
}

INLINE void store_sums(bool two, float *out, size_t ldo) {
    _tile_stored(0, out, ldo * sizeof *out);
    _tile_stored(1, out + HALF, ldo * sizeof *out);
    if (!two) return;
    _tile_stored(2, out + HALF * ldo, ldo * sizeof *out);
    _tile_stored(3, out + HALF * ldo + HALF, ldo * sizeof *out);
}

/* s = q k over whole pages                                                                        s: rows LDS apart */
static void score(bool two, float *s, const uint16_t *q, const uint16_t *const *kv, size_t n_page, size_t dim) {
    for (size_t p = 0; p < n_page; p++) {
        tiles_zero_sums();
        for (size_t d = 0; d < dim; d += STEP) add_step(two, q + d, dim * sizeof *q, kv[p] + d * KV_PAGE, KV_PAGE * 4);
        store_sums(two, s + p * KV_PAGE, LDS);
    }
}

/* acc = p v: of rows of weights in bf16, in the places of the scores */
static void gather(bool two, float *acc, const float *s, const uint16_t *const *kv, size_t n_page, size_t rows,
                   size_t dim) {
    _Alignas(64) float sums[ROWS * STEP];
    for (size_t c = 0; c < dim; c += STEP) {
        tiles_zero_sums();
        for (size_t p = 0; p < n_page; p++)
            add_step(two, s + p * HALF, LDS * sizeof *s, kv[p] + dim * KV_PAGE + c * 2, dim * 4);
        store_sums(two, sums, STEP);
        for (size_t r = 0; r < rows; r++) /* + 0: a sum that underflowed to -0 is the same as one that went on */
            for (size_t i = 0; i < STEP; i += LANES)
                v_store(acc + r * dim + c + i, v_add(v_load(sums + r * STEP + i), v_zero()));
    }
}

/* rows <= ROWS rows; s: (ROWS, LDS) */
static void run_block(float *acc, attn_state *state, const uint16_t *q, const uint16_t *const *kv,
                      const uint32_t *n_valid, size_t rows, size_t dim, float scale, float *s) {
    _Alignas(64) uint16_t whole[ROWS * MOST_DIM];
    bool two = rows > HALF;
    size_t n = 0;
    for (size_t r = 0; r < rows; r++) n = n_valid[r] > n ? n_valid[r] : n;
    size_t n_page = (n + KV_PAGE - 1) / KV_PAGE;
    if (rows % HALF != 0) { /* a tile's rows are all read */
        memset(whole, 0, (two ? ROWS : HALF) * dim * sizeof *whole);
        q = memcpy(whole, q, rows * dim * sizeof *q);
    }
    score(two, s, q, kv, n_page, dim);
    for (size_t r = 0; r < rows; r++) {
        state[r].max = scale * largest_product(s + r * LDS, n_valid[r]);
        state[r].sum = put_weights(s + r * LDS, n_valid[r], n_page * KV_PAGE, scale, state[r].max);
    }
    gather(two, acc, s, kv, n_page, rows, dim);
}

void kernel_attn_chunk_bf16_amx(float *restrict acc, attn_state *restrict state, const uint16_t *restrict q,
                                const uint16_t *const *kv, size_t n_page, const uint32_t *restrict n_valid, size_t R,
                                size_t dim, float scale, float *restrict scratch) {
    const gemm_kernels *tiles = gemm_bf16_amx();
    if (dim % STEP != 0 || dim > MOST_DIM) {
        by_pairs(acc, state, q, kv, n_page, n_valid, R, dim, scale, scratch);
        return;
    }
    tiles->begin();
    for (size_t r = 0; r < R; r += ROWS)
        run_block(acc + r * dim, state + r, q + r * dim, kv, n_valid + r, R - r < ROWS ? R - r : ROWS, dim, scale,
                  scratch);
    tiles->end();
}
#endif
