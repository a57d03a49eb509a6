/* project_back.h - the sums of a block of rows in the backward of a product's terms: in fp32, or in bf16 tiles where
 * the product is in bf16 and the CPU has them. Internal to math/cpu. Legend: K columns of x, N of a term's dy, r its
 * rank; t = scale a x and s = scale dy b, (n, r) each. */
#ifndef PGR_MATH_CPU_PROJECT_BACK_H
#define PGR_MATH_CPU_PROJECT_BACK_H

#include "math/cpu/device.h"

enum {
    BACK_ROWS = GEMM_TILE
}; /* of a block, at most: with a thousand columns of x and dy it stays in the second cache */

typedef struct back_terms {
    const cpu_ops *o;
    const project_grad *g;
    size_t ldx;
    size_t rank, width; /* the largest r and N */
    size_t ranks;       /* all r together */
    char *factors;      /* packed, of all terms; whole lines */
} back_terms;

typedef struct back_blocks {
    size_t (*factor_bytes)(const cpu_ops *o, size_t K, size_t N, size_t r); /* of a term; whole lines */
    size_t (*desk_bytes)(const back_terms *b);                              /* of a worker; whole lines */
    void (*pack)(const back_terms *b, size_t term); /* into b->factors */

    /* n rows from row m on: dx += s a, and for every term da += s^T x, db^T += t^T dy.
     * sums: of every term da (r, K), then db^T (r, N) */
    void (*run)(const back_terms *b, void *desk, float *sums, size_t m, size_t n);
} back_blocks;

const back_blocks *back_blocks_f32(void);
const back_blocks *back_blocks_tiles(void); /* x, dy, the factors, s and t are rounded to bf16 */

#endif
