/* ops_cpu.c - the table of ops.h for this CPU: its life, its matrices, rows and products. */
#include <string.h>

#include "base/mem.h"
#include "math/cpu/device.h"
#include "math/cpu/level.h"
#include "math/cpu/lowrank.h"

static void cpu_free(ops *o) {
    mem_free(o);
}

static float *cpu_alloc(ops *o, size_t n) {
    (void)o;
    return mem_huge(n * sizeof(float));
}

static void cpu_drop(ops *o, float *rows) {
    (void)o;
    mem_free(rows);
}

enum { COPY = 1 << 15 }; /* floats of a task */

typedef struct copy_job {
    float *out;
    const float *x;
    size_t n;
} copy_job;

static void copy_task(void *ctx, size_t task, size_t worker) {
    (void)worker;
    const copy_job *job = ctx;
    size_t at = task * COPY, n = job->n - at < COPY ? job->n - at : COPY;
    memcpy(job->out + at, job->x + at, n * sizeof *job->out);
}

static void cpu_copy(ops *o, float *out, const float *x, size_t n) {
    pool_run(cpu_of(o)->threads, (n + COPY - 1) / COPY, copy_task, &(copy_job){out, x, n});
}

/* ---- matrices ---- */

typedef struct cpu_matrix {
    matrix base;
    gemm_weights *w;
} cpu_matrix;

static void cpu_matrix_free(matrix *base) {
    cpu_matrix *m = (cpu_matrix *)base;
    gemm_free(m->w);
    mem_free(m);
}

static pgr_status cpu_matrix_create(ops *o, gemm_form form, const gemm_part *parts, size_t n_part, size_t K,
                                    slab *memory, matrix **out, pgr_error *err) {
    cpu_matrix *m = mem_zero(1, sizeof *m);
    if (!m) return fail_mem(err);
    m->base = (matrix){.fn = o->fn, .K = K};
    for (size_t i = 0; i < n_part; i++) m->base.N += parts[i].N;
    pgr_status s = gemm_create_stack(form, parts, n_part, K, memory, cpu_of(o)->threads, &m->w, err);
    if (s == PGR_OK)
        *out = &m->base;
    else
        cpu_matrix_free(&m->base);
    return s;
}

static const gemm_weights *weights_of(const matrix *m) {
    return ((const cpu_matrix *)m)->w;
}

static size_t cpu_matrix_bytes(const matrix *m) {
    return sizeof(cpu_matrix) + gemm_bytes(weights_of(m));
}

/* ---- rows and products ---- */

static void cpu_rows(ops *o, float *out, size_t ldo, size_t values, const row_step *step, size_t n) {
    const cpu_ops *c = cpu_of(o);
    step_run(&(step_job){step, out, ldo, values, c->k}, n, c->threads);
}

enum { BIAS_ROWS = 16 }; /* of a task */

typedef struct bias_job {
    const cpu_ops *o;
    const project_call *call;
} bias_job;

static void bias_task(void *ctx, size_t task, size_t worker) {
    (void)worker;
    const bias_job *job = ctx;
    size_t N = job->call->w->N, end = (task + 1) * BIAS_ROWS;
    for (size_t m = task * BIAS_ROWS; m < end && m < job->call->n; m++)
        job->o->k->add(job->call->out + m * N, job->call->bias, N);
}

static pgr_status cpu_project(ops *o, const project_call *call, pgr_error *err) {
    const cpu_ops *c = cpu_of(o);
    size_t K = call->w->K, N = call->w->N, ldx = call->ldx ? call->ldx : K;
    step_job before = {call->before, call->x, ldx, K, c->k};
    gemm_call product = {.out = call->out, .x = call->x, .ldx = ldx, .M = call->n, .add = call->add};
    if (call->before) product.before = &before;
    PGR_TRY(gemm_run_call(weights_of(call->w), &product, c->threads, err));
    PGR_TRY(lowrank_add(call->terms, call->n_term, call->out, N, call->x, ldx, call->n, c->threads, err));
    if (call->bias) pool_run(c->threads, (call->n + BIAS_ROWS - 1) / BIAS_ROWS, bias_task, &(bias_job){c, call});
    return PGR_OK;
}

/* ---- the table ---- */

static const ops_table table = {
    .free = cpu_free,
    .alloc = cpu_alloc,
    .drop = cpu_drop,
    .copy = cpu_copy,
    .matrix_create = cpu_matrix_create,
    .matrix_free = cpu_matrix_free,
    .matrix_bytes = cpu_matrix_bytes,
    .embed = cpu_embed,
    .angles = cpu_angles,
    .rows = cpu_rows,
    .project = cpu_project,
    .attn_create = cpu_attn_create,
    .attn_free = cpu_attn_free,
    .attn_plan = cpu_attn_plan,
    .attn_input = cpu_attn_input,
    .attn = cpu_attn,
    .attn_full = cpu_attn_full,
    .mix = cpu_mix,
    .rows_back = cpu_rows_back,
    .project_scratch = cpu_project_scratch,
    .project_back = cpu_project_back,
    .attn_input_back = cpu_attn_input_back,
    .attn_back = cpu_attn_back,
    .outer = cpu_outer,
    .norm_weights = cpu_norm_weights,
    .sum_rows = cpu_sum_rows,
    .spread = cpu_spread,
};

pgr_status ops_create_cpu(pool *threads, ops **out, pgr_error *err) {
    cpu_ops *o = mem_alloc(sizeof *o);
    if (!o) return fail_mem(err);
    *o = (cpu_ops){{&table}, threads, kernels_best(), cpu_best()->tiles, cpu_best()->f32};
    *out = &o->base;
    return PGR_OK;
}

const char *ops_cpu_name(void) {
    return cpu_best()->name;
}

const char *ops_cpu_most(void) {
    const char *name = cpu_level_at(0)->name;
    for (size_t i = 1; cpu_level_at(i); i++) name = cpu_level_at(i)->name;
    return name;
}

size_t kv_block_bytes(kv_type type, size_t head_dim) {
    return attn_page_bytes(type, head_dim);
}

bool ops_cpu_fast(gemm_form form) {
    const cpu_level *l = cpu_best();
    return form == GEMM_INT8 ? l->fast_int8 : form == GEMM_BF16 ? l->fast_bf16 : l->fast_f32;
}

bool ops_cpu_bf16_ahead(void) {
    return cpu_best()->bf16_ahead;
}

bool ops_cpu_attends(kv_type type, size_t head_dim) {
    const kernels *k = kernels_best(), *ref = kernels_ref();
    if (type == KV_INT8)
        return head_dim % 16 == 0 && head_dim <= ATTN_DIM_INT8 && k->attn_chunk_int8 != ref->attn_chunk_int8;
    return type == KV_F32 || k->attn_chunk_bf16 != ref->attn_chunk_bf16;
}
