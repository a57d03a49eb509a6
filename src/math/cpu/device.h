/* device.h - the CPU as a device of ops_table.h: threads and the kernels of a level. Internal to math/cpu. */
#ifndef PGR_MATH_CPU_DEVICE_H
#define PGR_MATH_CPU_DEVICE_H

#include "math/cpu/gemm.h"
#include "math/cpu/gemm_kernels.h"
#include "math/cpu/kernels.h"
#include "math/ops_table.h"

typedef struct cpu_ops {
    ops base;
    pool *threads; /* the creator's */
    const kernels *k;
    const gemm_kernels *tiles, *f32; /* cpu_level's */
} cpu_ops;

static inline const cpu_ops *cpu_of(const ops *o) {
    return (const cpu_ops *)o; /* its first member */
}

/* Rows of the table that have files of their own. */
void cpu_embed(ops *o, float *x, const lookup *tables, size_t n_table, size_t n, size_t d);
void cpu_angles(ops *o, float *cs, const uint32_t *pos, const float *freq, size_t n_freq, float scale, size_t n);
pgr_status cpu_attn_create(ops *o, const attn_shape *shape, attn **out, pgr_error *err);
void cpu_attn_free(attn *a);
void cpu_attn_plan(attn *a, const kv_pages *kv, const row_table *rows);
void cpu_attn_input(attn *a, size_t layer, const attn_input *in);
void cpu_attn(attn *a, size_t layer, float *out, attn_state *softmax);
pgr_status cpu_attn_full(ops *o, const full_attn *call, pgr_error *err);

void cpu_mix(ops *o, float *out, const row_mix *mix, size_t n, size_t d);
void cpu_rows_back(ops *o, size_t values, const row_grad *g, size_t n);
size_t cpu_project_scratch(const ops *o, gemm_form form, size_t n, size_t K, size_t N, size_t n_term, size_t r);
pgr_status cpu_project_back(ops *o, const project_grad *g, pgr_error *err);
pgr_status cpu_attn_input_back(ops *o, const attn_input_grad *g, pgr_error *err);
pgr_status cpu_attn_back(ops *o, const attn_grad *g, pgr_error *err);

pgr_status cpu_outer(ops *o, const outer_call *call, pgr_error *err);
pgr_status cpu_outer_f32(const cpu_ops *o, const outer_call *call, pgr_error *err);
pgr_status cpu_norm_weights(ops *o, float *dw, const row_step *step, const float *dout, size_t n, size_t d,
                            pgr_error *err);
void cpu_sum_rows(ops *o, float *db, const float *dy, size_t ldy, size_t n, size_t d);
void cpu_spread(ops *o, const row_spread *to, const float *x, size_t n, size_t d);

#endif
