/* attn_rows.c - attn of ops.h on this CPU: from a row's products to its queries, keys and values as attention reads
 * them. The work itself is attention.c's. */
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "math/cpu/attention.h"
#include "math/cpu/device.h"

typedef struct row_attn {
    attn base;
    const cpu_ops *o;
    attention *plan;
    size_t n_q, n_kv, n_qkv; /* values of a row's queries, of its keys, of both and its values */
    void *q; /* (n_row) queries in the form of the pages, ldq values of it apart; NULL: fp32, read where they are */
    size_t ldq;
    float *heads; /* (workers, hd) */

    /* of the pass and the layer */
    const kv_pages *kv;
    const row_table *rows;
    const attn_input *in;
    const float *qkv;
    size_t layer;
} row_attn;

static pgr_status init(row_attn *a, pgr_error *err) {
    const attn_shape *s = &a->base.shape;
    a->n_q = s->n_head * s->head_dim;
    a->n_kv = s->n_head_kv * s->head_dim;
    a->n_qkv = a->n_q + 2 * a->n_kv;
    a->ldq = s->type == KV_INT8 ? s->n_head * ATTN_QUERY_INT8(s->head_dim) : a->n_qkv;
    if (s->type != KV_F32) {
        a->q = mem_aligned(s->n_row * a->ldq * (s->type == KV_BF16 ? sizeof(uint16_t) : 1), 64);
        if (!a->q) return fail_mem(err);
    }
    a->heads = mem_aligned(pool_size(a->o->threads) * s->head_dim * sizeof *a->heads, 64);
    if (!a->heads) return fail_mem(err);
    return attention_create(s, a->o->threads, a->o->k, &a->plan, err);
}

pgr_status cpu_attn_create(ops *o, const attn_shape *shape, attn **out, pgr_error *err) {
    row_attn *a = mem_zero(1, sizeof *a);
    if (!a) return fail_mem(err);
    a->base = (attn){o->fn, *shape};
    a->o = cpu_of(o);
    pgr_status s = init(a, err);
    if (s == PGR_OK)
        *out = &a->base;
    else
        cpu_attn_free(&a->base);
    return s;
}

void cpu_attn_free(attn *base) {
    row_attn *a = (row_attn *)base;
    attention_free(a->plan);
    mem_free(a->q);
    mem_free(a->heads);
    mem_free(a);
}

void cpu_attn_plan(attn *base, const kv_pages *kv, const row_table *rows) {
    row_attn *a = (row_attn *)base;
    a->kv = kv;
    a->rows = rows;
    attention_plan(a->plan, kv, rows);
}

/* ---- keys, values, queries ---- */

static void add_biases(const row_attn *a, float *qkv) {
    const kernels *k = a->o->k;
    k->add(qkv, a->in->q_bias, a->n_q);
    k->add(qkv + a->n_q, a->in->k_bias, a->n_kv);
    k->add(qkv + a->n_q + a->n_kv, a->in->v_bias, a->n_kv);
}

/* Normalises n heads in place, each by itself. scratch: (hd) */
static void norm_heads(const row_attn *a, float *heads, size_t n, const float *norm, float *scratch) {
    size_t hd = a->base.shape.head_dim;
    for (size_t h = 0; h < n; h++) {
        a->o->k->rmsnorm(scratch, heads + h * hd, norm, hd, a->in->eps);
        memcpy(heads + h * hd, scratch, hd * sizeof *heads);
    }
}

/* K and V of a row, in the pages' form, to its position in a list of pages. */
static void put_kv(const row_attn *a, size_t row, const uint32_t *pages) {
    kv_type type = a->base.shape.type;
    size_t hd = a->base.shape.head_dim, t = a->rows->pos[row] % KV_PAGE, page = a->rows->pos[row] / KV_PAGE;
    const float *k = a->qkv + row * a->n_qkv + a->n_q;
    const uint16_t *half = type == KV_BF16 ? (const uint16_t *)a->q + row * a->ldq + a->n_q : NULL;
    for (size_t h = 0; h < a->base.shape.n_head_kv; h++) {
        void *block = page_block(a->kv, pages[page], a->layer, h);
        if (type == KV_F32)
            attn_store(block, k + h * hd, k + a->n_kv + h * hd, t, hd);
        else if (type == KV_BF16)
            attn_store_bf16(block, half + h * hd, half + a->n_kv + h * hd, t, hd);
        else
            a->o->k->attn_store_int8(block, k + h * hd, k + a->n_kv + h * hd, t, hd);
    }
}

/* A row's queries in the form that goes with the pages; of bf16 its keys and values, too. */
static void form_row(const row_attn *a, size_t row) {
    const attn_shape *s = &a->base.shape;
    size_t hd = s->head_dim;
    const float *q = a->qkv + row * a->n_qkv;
    if (s->type == KV_BF16) a->o->k->to_bf16((uint16_t *)a->q + row * a->ldq, q, a->n_qkv);
    for (size_t h = 0; s->type == KV_INT8 && h < s->n_head; h++)
        a->o->k->attn_query_int8((uint8_t *)a->q + row * a->ldq + h * ATTN_QUERY_INT8(hd), q + h * hd, hd,
                                 1.0f / sqrtf((float)hd));
}

static void copy_row(void *ctx, size_t i, size_t worker) {
    (void)worker;
    const row_attn *a = ctx;
    put_kv(a, a->rows->copies[i].row, a->rows->copies[i].pages);
}

static void input_row(void *ctx, size_t row, size_t worker) {
    const row_attn *a = ctx;
    const attn_input *in = a->in;
    const attn_shape *s = &a->base.shape;
    float *q = in->qkv + row * a->n_qkv, *k = q + a->n_q, *scratch = a->heads + worker * s->head_dim;
    if (in->q_bias) add_biases(a, q);
    if (in->q_norm) norm_heads(a, q, s->n_head, in->q_norm, scratch);
    if (in->q_norm) norm_heads(a, k, s->n_head_kv, in->k_norm, scratch);
    const float *cs = in->cs + row * in->rope_dim;
    for (size_t h = 0; h < s->n_head + s->n_head_kv; h++) /* keys stand behind the queries */
        a->o->k->rope(q + h * s->head_dim, cs, in->rope_dim, in->rope_interleaved);
    form_row(a, row);
    put_kv(a, row, a->rows->pages[row]);
}

void cpu_attn_input(attn *base, size_t layer, const attn_input *in) {
    row_attn *a = (row_attn *)base;
    a->layer = layer;
    a->in = in;
    a->qkv = in->qkv;
    pool_run(a->o->threads, a->rows->n, input_row, a);
    if (a->rows->n_copy > 0) pool_run(a->o->threads, a->rows->n_copy, copy_row, a);
}

void cpu_attn(attn *base, size_t layer, float *out, attn_state *softmax) {
    row_attn *a = (row_attn *)base;
    attention_run(a->plan, layer, out, softmax, a->q ? a->q : a->qkv, a->ldq);
}
