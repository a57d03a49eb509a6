/* matrix.h - the weights that operations multiply with: whole matrices in the form that their product wants (opaque:
 * a device packs them as it likes), and terms of low rank that come on top of them (adapters). */
#ifndef PGR_MATH_MATRIX_H
#define PGR_MATH_MATRIX_H

#include "base/slab.h"
#include "base/status.h"
#include "math/quant.h"

typedef struct ops ops; /* ops.h */

/* GEMM_FILE  keeps the file's blocks, fp32 arithmetic on their values (least memory).
 * GEMM_F32   fp32, packed once.
 * GEMM_BF16  weights and x rounded to bf16, sums in fp32.
 * GEMM_INT8  weights (a stack that is all of Q4_1 may stay so) and x as 8-bit integers, a scale for every 64 values
 *            along K (for every block of Q4_1), exact sums within those, fp32 between. */
typedef enum gemm_form { GEMM_FILE, GEMM_F32, GEMM_BF16, GEMM_INT8 } gemm_form;

/* One of several matrices with the same input: N rows of K values of its type. */
typedef struct gemm_part {
    quant_type type;
    const void *data; /* must stay valid for GEMM_FILE; else read once, while creating */
    size_t N;
} gemm_part;

typedef struct matrix matrix;

/* The parts one below the other as a single W of N = sum of theirs: a row of a product is part 0's columns, then part
 * 1's, ... with the bits that each part alone gives. parts: copied. memory: for packed weights, must stay as long as
 * they; NULL: their own. PGR_E_UNSUPPORTED (with the reason) where the device cannot run the form. o must outlive the
 * matrix. */
pgr_status matrix_create(ops *o, gemm_form form, const gemm_part *parts, size_t n_part, size_t K, slab *memory,
                         matrix **out, pgr_error *err);
void matrix_free(matrix *w);              /* NULL is fine */
size_t matrix_bytes(const matrix *w);     /* memory of its own, beyond the parts' data */

/* scale * b * a, added to the columns from `column` on of what a matrix gives: a LoRA adapter's change of one of its
 * parts. The factors are read at every use and nothing is made of them in between: a trainer may change them from
 * step to step. */
typedef struct lowrank {
    size_t N, K, r; /* (N, K), of rank r */
    float *a;       /* (r, K) */
    float *b;       /* (N, r) */
    float scale;
    size_t column;
} lowrank;

/* out[k] += (scale * b * a)[row][k]: one row in the host's memory, of an embedding or of a merge.           out: (K) */
void lowrank_add_row(const lowrank *w, float *out, size_t row);

#endif
