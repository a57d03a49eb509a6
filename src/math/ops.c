/* ops.c - the operations as calls through their device's table, and what every device may rely on. */
#include "math/ops_table.h"

void ops_free(ops *o) {
    if (o) o->fn->free(o);
}

float *ops_alloc(ops *o, size_t n) {
    return o->fn->alloc(o, n);
}

void ops_drop(ops *o, float *rows) {
    if (rows) o->fn->drop(o, rows);
}

void ops_copy(ops *o, float *out, const float *x, size_t n) {
    o->fn->copy(o, out, x, n);
}

pgr_status matrix_create(ops *o, gemm_form form, const gemm_part *parts, size_t n_part, size_t K, slab *memory,
                         matrix **out, pgr_error *err) {
    return o->fn->matrix_create(o, form, parts, n_part, K, memory, out, err);
}

void matrix_free(matrix *w) {
    if (w) w->fn->matrix_free(w);
}

size_t matrix_bytes(const matrix *w) {
    return w->fn->matrix_bytes(w);
}

void op_embed(ops *o, float *x, const lookup *tables, size_t n_table, size_t n, size_t d) {
    PGR_ASSERT(n_table > 0);
    for (size_t t = 0; t < n_table; t++)
        for (size_t i = 0; i < tables[t].n_term; i++) PGR_ASSERT(tables[t].terms[i].K == d);
    o->fn->embed(o, x, tables, n_table, n, d);
}

void op_angles(ops *o, float *cs, const uint32_t *pos, const float *freq, size_t n_freq, float scale, size_t n) {
    o->fn->angles(o, cs, pos, freq, n_freq, scale, n);
}

static void check_step(const row_step *s, const float *out) {
    PGR_ASSERT(s->kind != STEP_RMSNORM || (s->from != out && !s->add));
}

void op_rows(ops *o, float *out, size_t ldo, size_t values, const row_step *step, size_t n) {
    PGR_ASSERT(ldo >= values);
    check_step(step, out);
    o->fn->rows(o, out, ldo, values, step, n);
}

pgr_status op_project(ops *o, const project_call *call, pgr_error *err) {
    const matrix *w = call->w;
    PGR_ASSERT(w->fn == o->fn && (call->ldx == 0 || call->ldx >= w->K));
    if (call->before) check_step(call->before, call->x);
    for (size_t i = 0; i < call->n_term; i++)
        PGR_ASSERT(call->terms[i].K == w->K && call->terms[i].column + call->terms[i].N <= w->N);
    return call->n > 0 ? o->fn->project(o, call, err) : PGR_OK;
}

pgr_status attn_create(ops *o, const attn_shape *shape, attn **out, pgr_error *err) {
    PGR_ASSERT(shape->n_head % shape->n_head_kv == 0);
    return o->fn->attn_create(o, shape, out, err);
}

void attn_free(attn *a) {
    if (a) a->fn->attn_free(a);
}

void op_attn_plan(attn *a, const kv_pages *kv, const row_table *rows) {
    PGR_ASSERT(kv->type == a->shape.type && kv->n_head_kv == a->shape.n_head_kv && rows->n <= a->shape.n_row);
    a->fn->attn_plan(a, kv, rows);
}

void op_attn_input(attn *a, size_t layer, const attn_input *in) {
    a->fn->attn_input(a, layer, in);
}

void op_attn(attn *a, size_t layer, float *out, attn_state *softmax) {
    a->fn->attn(a, layer, out, softmax);
}

pgr_status op_attn_full(ops *o, const full_attn *call, pgr_error *err) {
    return o->fn->attn_full(o, call, err);
}

/* ---- backward ---- */

void op_mix(ops *o, float *out, const row_mix *mix, size_t n, size_t d) {
    o->fn->mix(o, out, mix, n, d);
}

void op_rows_back(ops *o, size_t values, const row_grad *g, size_t n) {
    PGR_ASSERT(!g->step->add && (g->step->kind == STEP_RMSNORM || g->step->kind == STEP_SWIGLU));
    o->fn->rows_back(o, values, g, n);
}

size_t op_project_scratch(const ops *o, gemm_form form, size_t n, size_t size_x, size_t size_y, size_t n_term,
                          size_t r) {
    return o->fn->project_scratch(o, form, n, size_x, size_y, n_term, r);
}

pgr_status op_project_back(ops *o, const project_grad *g, pgr_error *err) {
    PGR_ASSERT(!g->dx || (g->back->fn == o->fn && g->back->N == g->size_x && g->back->K == g->size_y));
    PGR_ASSERT(g->n_term == 0 || g->ldx == 0 || g->ldx >= g->size_x);
    for (size_t i = 0; i < g->n_term; i++) {
        const lowrank *t = g->terms[i].term;
        PGR_ASSERT(t->K == g->size_x && t->column + t->N <= g->size_y);
    }
    return g->n > 0 ? o->fn->project_back(o, g, err) : PGR_OK;
}

pgr_status op_attn_input_back(ops *o, const attn_input_grad *g, pgr_error *err) {
    return o->fn->attn_input_back(o, g, err);
}

pgr_status op_attn_back(ops *o, const attn_grad *g, pgr_error *err) {
    PGR_ASSERT(g->n_head % g->n_head_kv == 0);
    return o->fn->attn_back(o, g, err);
}

/* ---- gradients of weights ---- */

pgr_status op_outer(ops *o, const outer_call *call, pgr_error *err) {
    PGR_ASSERT(call->ldx == 0 || call->ldx >= call->K);
    return call->n > 0 ? o->fn->outer(o, call, err) : PGR_OK;
}

pgr_status op_norm_weights(ops *o, float *dw, const row_step *step, const float *dout, size_t n, size_t d,
                           pgr_error *err) {
    PGR_ASSERT(step->kind == STEP_RMSNORM && !step->add);
    return n > 0 ? o->fn->norm_weights(o, dw, step, dout, n, d, err) : PGR_OK;
}

void op_sum_rows(ops *o, float *db, const float *dy, size_t ldy, size_t n, size_t d) {
    PGR_ASSERT(ldy >= d);
    o->fn->sum_rows(o, db, dy, ldy, n, d);
}

void op_spread(ops *o, const row_spread *to, const float *x, size_t n, size_t d) {
    PGR_ASSERT(to->start || !to->factor);
    o->fn->spread(o, to, x, n, d);
}
