/* ops_table.h - what a device implements: a row per function of ops.h. Internal to src/math: ops.c calls through it,
 * each device fills it in. A device's own structs begin with those below. */
#ifndef PGR_MATH_OPS_TABLE_H
#define PGR_MATH_OPS_TABLE_H

#include "math/ops.h"

typedef struct ops_table {
    void (*free)(ops *o);
    float *(*alloc)(ops *o, size_t n);
    void (*drop)(ops *o, float *rows);
    void (*copy)(ops *o, float *out, const float *x, size_t n);

    pgr_status (*matrix_create)(ops *o, gemm_form form, const gemm_part *parts, size_t n_part, size_t K, slab *memory,
                                matrix **out, pgr_error *err);
    void (*matrix_free)(matrix *w);
    size_t (*matrix_bytes)(const matrix *w);

    void (*embed)(ops *o, float *x, const lookup *tables, size_t n_table, size_t n, size_t d);
    void (*angles)(ops *o, float *cs, const uint32_t *pos, const float *freq, size_t n_freq, float scale, size_t n);
    void (*rows)(ops *o, float *out, size_t ldo, size_t values, const row_step *step, size_t n);
    pgr_status (*project)(ops *o, const project_call *call, pgr_error *err);

    pgr_status (*attn_create)(ops *o, const attn_shape *shape, attn **out, pgr_error *err);
    void (*attn_free)(attn *a);
    void (*attn_plan)(attn *a, const kv_pages *kv, const row_table *rows);
    void (*attn_input)(attn *a, size_t layer, const attn_input *in);
    void (*attn)(attn *a, size_t layer, float *out, attn_state *softmax);
    pgr_status (*attn_full)(ops *o, const full_attn *call, pgr_error *err);

    void (*mix)(ops *o, float *out, const row_mix *mix, size_t n, size_t d);
    void (*rows_back)(ops *o, size_t values, const row_grad *g, size_t n);
    size_t (*project_scratch)(const ops *o, gemm_form form, size_t n, size_t K, size_t N, size_t n_term, size_t r);
    pgr_status (*project_back)(ops *o, const project_grad *g, pgr_error *err);
    pgr_status (*attn_input_back)(ops *o, const attn_input_grad *g, pgr_error *err);
    pgr_status (*attn_back)(ops *o, const attn_grad *g, pgr_error *err);

    pgr_status (*outer)(ops *o, const outer_call *call, pgr_error *err);
    pgr_status (*norm_weights)(ops *o, float *dw, const row_step *step, const float *dout, size_t n, size_t d,
                               pgr_error *err);
    void (*sum_rows)(ops *o, float *db, const float *dy, size_t ldy, size_t n, size_t d);
    void (*spread)(ops *o, const row_spread *to, const float *x, size_t n, size_t d);
} ops_table;

struct ops {
    const ops_table *fn;
};

struct matrix {
    const ops_table *fn;
    size_t N, K;
};

struct attn {
    const ops_table *fn;
    attn_shape shape;
};

#endif
