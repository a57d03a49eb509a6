/* ops.h - the operations that models are made of, each over all rows of a batch. A model's pass is a list of them and
 * nothing else: tiling, packing, fusion and threads are the business of the device below (ops_table.h; today
 * math/cpu/), so that another device is another table and not another model. A row is one token. Legend: n rows, d
 * width, N outputs and K inputs of a product, H query heads, H_KV KV heads, hd values of a head.
 *
 * A row of every result depends on its own row (attention: its own sequence) alone: bit-equal whatever rows come with
 * it, whatever is shared or kept, and whatever number of threads there is. */
#ifndef PGR_MATH_OPS_H
#define PGR_MATH_OPS_H

#include <stdbool.h>

#include "base/pool.h"
#include "math/matrix.h"
#include "math/pages.h"

/* ---- the device ---- */

/* One caller at a time per device. The pool is the caller's and must outlive it; NULL: everything in the calling
 * thread. */
pgr_status ops_create_cpu(pool *threads, ops **out, pgr_error *err);
void ops_free(ops *o); /* NULL is fine */

/* Memory for the rows that operations read and write: n floats, 64-byte aligned, arbitrary; NULL when out of memory.
 * The CPU takes any memory besides. Vectors of weights, tables and page lists are the host's. */
float *ops_alloc(ops *o, size_t n);
void ops_drop(ops *o, float *rows); /* NULL is fine */
/* Rows into other rows, or into the host's memory.                                                       out, x: (n) */
void ops_copy(ops *o, float *out, const float *x, size_t n);

/* ---- rows ---- */

/* One of the tables whose rows are added up to embed tokens. */
typedef struct lookup {
    quant_type type;
    const void *data;     /* (any number of rows, d) */
    const int32_t *row;   /* (n) the table's row for each of ours; NULL: its first for all */
    const lowrank *terms; /* (n_term) on top of the table: N rows, K = d */
    size_t n_term;
} lookup;

/* x[m] = sum over the tables, in order, of the row that each has for m.                                    x: (n, d) */
void op_embed(ops *o, float *x, const lookup *tables, size_t n_table, size_t n, size_t d);

/* cs[m][i] = scale * {cos, sin} of pos[m] * freq[i], the angle in fp32            cs: (n, n_freq, 2), freq: (n_freq) */
void op_angles(ops *o, float *cs, const uint32_t *pos, const float *freq, size_t n_freq, float scale, size_t n);

typedef enum step_kind {
    STEP_COPY,      /* out = x */
    STEP_RMSNORM,   /* out = w * x / sqrt(mean(x^2) + eps)             from must not be out */
    STEP_LAYERNORM, /* out = w * (x - mean) / sqrt(var + eps) + b */
    STEP_SWIGLU,    /* out = silu(gate) * up; a row of `from` is gate, then up */
    STEP_GELU,      /* out = x * Phi(x) */
    STEP_GELU_TANH, /* the same with the approximation of Phi that is often written with tanh */
    STEP_RELU,
} step_kind;

/* What makes a row out of another: x is row m of `from`, and `add`'s on top of it. */
typedef struct row_step {
    step_kind kind;
    const float *from;    /* rows ldf apart; may be out itself where the kind does not say otherwise */
    size_t ldf;
    const uint32_t *pick; /* (n) row m is made from row pick[m] of `from`; NULL: from row m */
    const float *add;     /* (n, values of a row) dense, not for STEP_RMSNORM; NULL: nothing */
    const float *w, *b;   /* of norms */
    float eps;
} row_step;

/* out[m] = step of m.                                                                out: (n, values) rows ldo apart */
void op_rows(ops *o, float *out, size_t ldo, size_t values, const row_step *step, size_t n);

/* ---- products ---- */

/* x = before, where there is one; out = W x + terms, or out += that; then the bias on top. One operation, so that a
 * device can do it in one go. Afterwards x holds what the product has read: the input that gradients of W and of the
 * factors need. */
typedef struct project_call {
    const matrix *w;
    float *out;             /* (n, N) dense; must not overlap x */
    float *x;               /* (n, K) rows ldx apart */
    size_t ldx;             /* 0: K */
    size_t n;
    const row_step *before; /* makes a row of x of K values; must not read out. NULL: x is there */
    const lowrank *terms;   /* (n_term) in the order in which they are added */
    size_t n_term;
    const float *bias;      /* (N); NULL: none */
    bool add;
} project_call;

/* out may be the host's memory (logits). On an error out is arbitrary and before may have been done. */
pgr_status op_project(ops *o, const project_call *call, pgr_error *err);

/* ---- attention ---- */

typedef struct attn_shape {
    size_t n_head, n_head_kv, head_dim;
    size_t n_row, n_ctx; /* most rows of a pass, most tokens of a sequence */
    kv_type type;        /* of the pages */
} attn_shape;

typedef struct attn attn; /* the plan of one pass (who is computed together), queries, partial results */

pgr_status attn_create(ops *o, const attn_shape *shape, attn **out, pgr_error *err);
void attn_free(attn *a); /* NULL is fine */

/* Once per pass, when room is made for its rows. What the arguments point to must stay until the pass is over. */
void op_attn_plan(attn *a, const kv_pages *kv, const row_table *rows);

/* What a row's products give, and what is done to it before attention: biases, norms of heads, rotation. */
typedef struct attn_input {
    float *qkv;                             /* (n, (H + 2 H_KV) hd) q, k, v; must stay until op_attn of the layer */
    const float *q_bias, *k_bias, *v_bias;  /* (H hd), (H_KV hd), (H_KV hd); q_bias NULL: none of the three */
    const float *q_norm, *k_norm;           /* (hd) by RMS, each head by itself; q_norm NULL: neither */
    float eps;
    const float *cs;                        /* (n, rope_dim / 2, 2) of op_angles */
    size_t rope_dim;                        /* values of a head that are rotated */
    bool rope_interleaved;                  /* pairs (2i, 2i + 1), else (i, i + rope_dim / 2) */
} attn_input;

/* Changes qkv so, and stores keys and values into the pages' blocks of the layer. */
void op_attn_input(attn *a, size_t layer, const attn_input *in);

/* out = softmax(q k / sqrt(hd)) v over the tokens up to each row, all of which are stored.
 * softmax: of every row and head, for a backward pass; NULL: not kept.              out: (n, H, hd), softmax: (n, H) */
void op_attn(attn *a, size_t layer, float *out, attn_state *softmax);

/* Whole sentences at once, without pages: every token sees all of its sentence. */
typedef struct full_attn {
    float *out;          /* (n, H, hd) */
    const float *qkv;    /* (n, 3 H hd) */
    const size_t *start; /* (n_seq + 1) sentence i is the rows from start[i] to start[i + 1] - 1 */
    size_t n_seq, n_head, head_dim;
} full_attn;

pgr_status op_attn_full(ops *o, const full_attn *call, pgr_error *err);

/* ---- backward ----
 *
 * Gradients are named d<name>. Each row's gradient depends on its own row alone (attention: on its own sequence); sums
 * over rows are made in an order that their number alone decides, not the threads. What a forward pass must leave:
 *   op_rows        `from`, kept apart from out (a norm's input is the layer's input, SwiGLU's the products' output)
 *   op_project     its input (x after the call)
 *   op_attn_input  qkv as the product gave it, where heads have norms
 *   op_attn        q, k, v as op_attn_input left them, out, softmax
 *   a layer        its input at least: the rest can be computed again from it
 * Adapters' factors may change between steps (lowrank). */

/* Rows of a table, weighted: what a product with the transpose of a whole matrix is where most of dy is 0. */
typedef struct row_mix {
    quant_type type;
    const void *data;    /* (any number of rows, d) */
    const size_t *start; /* (n + 1) row m's are those from start[m] to start[m + 1] - 1 of the next two */
    const int32_t *row;
    const float *factor;
} row_mix;

/* out[m] = sum of factor[j] times row row[j] of the table, in order.                                    out: (n, d) */
void op_mix(ops *o, float *out, const row_mix *mix, size_t n, size_t d);

/* Of a step without `add`, STEP_RMSNORM or STEP_SWIGLU. */
typedef struct row_grad {
    const row_step *step; /* as the forward had it; pick: no row twice */
    const float *dout;    /* (n, values) dense */
    float *dfrom;         /* rows as those of `from`. STEP_RMSNORM: added to. STEP_SWIGLU: written, (n, 2 values) */
    size_t ldd;           /* of dfrom */
} row_grad;

void op_rows_back(ops *o, size_t values, const row_grad *g, size_t n);

/* A term's gradients; the term as the product had it. */
typedef struct lowrank_grad {
    const lowrank *term;
    float *da, *db; /* (r, K), (N, r), added to */
} lowrank_grad;

/* Of a product whose W stays as it is: dx = dy W + terms, da += scale (dy b)^T x, db += scale dy^T (a x)^T. */
typedef struct project_grad {
    const matrix *back;        /* (K, N) W's transpose; only read for dx */
    const float *dy;           /* (n, N) dense, N = size_y */
    float *dx;                 /* (n, K) dense, written; NULL: not wanted. K = size_x */
    const float *x;            /* (n, K) rows ldx apart; only read where there are terms */
    size_t ldx;                /* 0: K */
    size_t n, size_x, size_y;
    const lowrank_grad *terms; /* (n_term) */
    size_t n_term;
    float *scratch;            /* op_project_scratch of these, in whole lines; NULL where there are no terms */
    gemm_form form;            /* of the terms' products. GEMM_BF16: x, dy, a, b and what lies between them are rounded
                                * to bf16 where the device multiplies that faster, sums are fp32; else all fp32 */
} project_grad;

/* Floats that op_project_back needs for up to n rows and n_term terms of rank up to r. */
size_t op_project_scratch(const ops *o, gemm_form form, size_t n, size_t size_x, size_t size_y, size_t n_term,
                          size_t r);
pgr_status op_project_back(ops *o, const project_grad *g, pgr_error *err);

/* From gradients of what op_attn_input leaves to those of what it got: rotated by -angle, through the heads' norms.
 * v's are the same. */
typedef struct attn_input_grad {
    float *dqkv;          /* (n, (H + 2 H_KV) hd) changed in place */
    const attn_input *in; /* qkv: as the product gave it; only read where heads have norms */
    size_t n, n_head, n_head_kv, head_dim;
    float *dq_norm, *dk_norm; /* (hd) of the heads' norms, added to; NULL: not wanted */
} attn_input_grad;

pgr_status op_attn_input_back(ops *o, const attn_input_grad *g, pgr_error *err);

/* Of op_attn over whole sequences. A sequence may begin with the first tokens of the one before it: these rows are not
 * there once more, and get what both give them. So a tree's sequences stand in order of depth. */
typedef struct attn_grad {
    float *dqkv;                /* (n, (H + 2 H_KV) hd) written */
    const float *qkv;           /* as op_attn_input left it */
    const float *out, *dout;    /* (n, H, hd) */
    const attn_state *softmax;  /* (n, H) */
    const size_t *start;        /* (n_seq + 1) sequence i is the rows from start[i] to start[i + 1] - 1 */
    const size_t *shared;       /* (n_seq) sequence i begins with that many tokens of i - 1's; NULL: none does */
    size_t n_seq, n_head, n_head_kv, head_dim;
    kv_type type;               /* of the pages: q, k and v count as they were rounded */
    float *scratch;             /* (H, n, 2, hd) n: rows of all sequences */
} attn_grad;

pgr_status op_attn_back(ops *o, const attn_grad *g, pgr_error *err);

/* ---- gradients of the weights themselves ----
 *
 * Where a model is trained whole. All are added to, in an order that the number of rows alone decides. */

/* dw += dy^T x: of a product's matrix. */
typedef struct outer_call {
    float *dw;       /* (N, K) */
    const float *dy; /* (n, N) dense */
    const float *x;  /* (n, K) rows ldx apart: the product's input */
    size_t ldx;      /* 0: K */
    size_t n, N, K;
    gemm_form form;  /* GEMM_BF16: dy and x are rounded to bf16, sums in fp32; else all fp32 */
} outer_call;

pgr_status op_outer(ops *o, const outer_call *call, pgr_error *err);

/* dw += sum over rows of dout[m] x / rms(x): of a STEP_RMSNORM's w.       step: as the forward had it, dout: (n, d) */
pgr_status op_norm_weights(ops *o, float *dw, const row_step *step, const float *dout, size_t n, size_t d,
                           pgr_error *err);

/* db += sum of the rows: of a bias. dy: (n, d) rows ldy apart */
void op_sum_rows(ops *o, float *db, const float *dy, size_t ldy, size_t n, size_t d);

/* Of a table's rows: row[j] += factor[j] x[m] for start[m] <= j < start[m + 1], in order of j. start NULL: every row of
 * x goes to one of the table, row[m]; factor NULL: all are 1.                                              x: (n, d) */
typedef struct row_spread {
    float *table;        /* (any number of rows, d) */
    const size_t *start; /* (n + 1) */
    const int32_t *row;
    const float *factor;
} row_spread;

void op_spread(ops *o, const row_spread *to, const float *x, size_t n, size_t d);

/* ---- this machine's CPU ---- */

const char *ops_cpu_name(void); /* "ref", "avx2", "avx512", "amx": the level that ops_create_cpu takes */
const char *ops_cpu_most(void); /* the highest level that this CPU has, whatever PGENRM_CPU says */
bool ops_cpu_fast(gemm_form form);   /* it has more than plain C for the form */
bool ops_cpu_bf16_ahead(void);       /* its products in GEMM_BF16 do more a second than those in GEMM_F32: a fact of the
                                      * kind of CPU and of the level, measured once and for all, not on this machine */
bool ops_cpu_attends(kv_type type, size_t head_dim); /* attention over such pages has fast kernels there */

#endif
