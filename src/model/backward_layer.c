/* backward_layer.c - one layer of the training pass, forward as forward.c has it and backward, as lists of operations.
 * Legend: n rows, d width. */
#include <string.h>

#include "model/backward_parts.h"

/* ---- forward ---- */

static row_step norm(const backward *b, const float *x, const float *w) {
    const config *c = &b->m->config;
    return (row_step){.kind = STEP_RMSNORM, .from = x, .ldf = c->n_embd, .w = w, .eps = c->norm_eps};
}

static row_step swiglu(const backward *b, const float *gate_up) {
    return (row_step){.kind = STEP_SWIGLU, .from = gate_up, .ldf = 2 * b->m->config.n_ff};
}

static pgr_status project(const backward *b, size_t layer, layer_product product, const matrix *w, project_call call,
                          pgr_error *err) {
    term_list terms = lora_terms(&b->loras, layer, product);
    call.w = w;
    call.n = b->n;
    call.terms = terms.terms;
    call.n_term = terms.n;
    return op_project(b->m->ops, &call, err);
}

static attn_input attn_input_of(const backward *b, size_t layer, float *qkv) {
    const config *c = &b->m->config;
    const layer_weights *l = &b->m->weights.layers[layer];
    return (attn_input){.qkv = qkv,
                        .q_bias = c->attn_bias ? l->attn_q_bias : NULL,
                        .k_bias = l->attn_k_bias,
                        .v_bias = l->attn_v_bias,
                        .q_norm = c->qk_norm ? l->attn_q_norm : NULL,
                        .k_norm = l->attn_k_norm,
                        .eps = c->norm_eps,
                        .cs = b->cs,
                        .rope_dim = c->rope_dim,
                        .rope_interleaved = c->rope_interleaved};
}

layer_acts backward_acts(const backward *b, size_t layer) {
    layer_acts a = b->acts[layer], to = a.kept ? a : b->shared;
    to.x = a.x;
    to.gate_up = a.gate_up ? a.gate_up : b->shared.gate_up;
    return to;
}

/* gate and up, from the input of the second half */
static pgr_status gate_up_forward(const backward *b, size_t layer, const float *x, float *gate_up, pgr_error *err) {
    const layer_weights *l = &b->m->weights.layers[layer];
    row_step before = norm(b, x, l->ffn_norm);
    project_call up = {.out = gate_up, .x = b->h, .before = &before};
    return project(b, layer, PRODUCT_ffn_gate_up, l->ffn_gate_up, up, err);
}

pgr_status backward_layer_forward(backward *b, size_t layer, float *x, const layer_acts *a, pgr_error *err) {
    const layer_weights *l = &b->m->weights.layers[layer];
    ops *o = b->m->ops;
    size_t d = b->m->config.n_embd;
    row_step before = norm(b, x, l->attn_norm), gate = swiglu(b, a->gate_up);

    project_call qkv = {.out = a->qkv, .x = b->h, .before = &before};
    PGR_TRY(project(b, layer, PRODUCT_attn_qkv, l->attn_qkv, qkv, err));
    if (a->raw) ops_copy(o, a->raw, a->qkv, b->n * b->n_qkv);
    attn_input in = attn_input_of(b, layer, a->qkv);
    op_attn_input(b->attention, 0, &in);
    op_attn(b->attention, 0, a->attn, (attn_state *)(void *)a->softmax);
    project_call output = {.out = x, .x = a->attn, .add = true};
    PGR_TRY(project(b, layer, PRODUCT_attn_output, l->attn_output, output, err));
    ops_copy(o, a->mid, x, b->n * d);

    PGR_TRY(gate_up_forward(b, layer, x, a->gate_up, err));
    project_call down = {.out = x, .x = b->act, .before = &gate, .add = true};
    return project(b, layer, PRODUCT_ffn_down, l->ffn_down, down, err);
}

/* ---- backward ---- */

/* A product's part: dx NULL where nobody needs it. */
static pgr_status project_back(const backward *b, size_t layer, layer_product product, float *dx, const float *dy,
                               const float *x, size_t K, size_t N, pgr_error *err) {
    const layer_back *l = &b->back[layer];
    project_grad g = {.back = l->turned[product],
                      .dy = dy,
                      .dx = dx,
                      .x = x,
                      .n = b->n,
                      .size_x = K,
                      .size_y = N,
                      .terms = l->terms + l->first_term[product],
                      .n_term = l->n_term[product],
                      .scratch = b->scratch,
                      .form = model_form(b->m->dtype)};
    PGR_TRY(op_project_back(b->m->ops, &g, err));
    return backward_product_weights(b, layer, product, dy, x, K, N, err);
}

/* dx += what comes through a norm of x. */
static pgr_status norm_back(const backward *b, const float *x, const float *w, pgr_error *err) {
    size_t d = b->m->config.n_embd;
    row_step step = norm(b, x, w);
    row_grad g = {.step = &step, .dout = b->dh, .dfrom = b->dx, .ldd = d};
    op_rows_back(b->m->ops, d, &g, b->n);
    return backward_norm_weights(b, &step, b->dh, b->n, err);
}

/* x += Wdown (silu(Wgate h) * Wup h), h = norm(x) */
static pgr_status ffn_back(backward *b, size_t layer, const layer_acts *a, pgr_error *err) {
    const config *c = &b->m->config;
    const layer_weights *l = &b->m->weights.layers[layer];
    ops *o = b->m->ops;
    row_step gate = swiglu(b, a->gate_up), before = norm(b, a->mid, l->ffn_norm);

    op_rows(o, b->act, c->n_ff, c->n_ff, &gate, b->n);
    PGR_TRY(project_back(b, layer, PRODUCT_ffn_down, b->dact, b->dx, b->act, c->n_ff, c->n_embd, err));
    row_grad act = {.step = &gate, .dout = b->dact, .dfrom = b->dgate_up, .ldd = 2 * c->n_ff};
    op_rows_back(o, c->n_ff, &act, b->n);

    op_rows(o, b->h, c->n_embd, c->n_embd, &before, b->n);
    PGR_TRY(project_back(b, layer, PRODUCT_ffn_gate_up, b->dh, b->dgate_up, b->h, c->n_embd, 2 * c->n_ff, err));
    return norm_back(b, a->mid, l->ffn_norm, err);
}

/* x += Wo attention(Wq h, Wk h, Wv h), h = norm(x) */
static pgr_status attn_layer_back(backward *b, size_t layer, const layer_acts *a, pgr_error *err) {
    const config *c = &b->m->config;
    const layer_weights *l = &b->m->weights.layers[layer];
    ops *o = b->m->ops;
    row_step before = norm(b, a->x, l->attn_norm);
    attn_input in = attn_input_of(b, layer, a->raw);

    PGR_TRY(project_back(b, layer, PRODUCT_attn_output, b->dattn, b->dx, a->attn, b->n_q, c->n_embd, err));
    attn_grad g = {.dqkv = b->dqkv,
                   .qkv = a->qkv,
                   .out = a->attn,
                   .dout = b->dattn,
                   .softmax = (const attn_state *)(const void *)a->softmax,
                   .start = b->start,
                   .shared = b->n_shared,
                   .n_seq = b->n_seq,
                   .n_head = c->n_head,
                   .n_head_kv = c->n_head_kv,
                   .head_dim = c->head_dim,
                   .type = b->view.type,
                   .scratch = b->scratch};
    PGR_TRY(op_attn_back(o, &g, err));
    attn_input_grad turn = {
        .dqkv = b->dqkv, .in = &in, .n = b->n, .n_head = c->n_head, .n_head_kv = c->n_head_kv, .head_dim = c->head_dim};
    if (b->whole && c->qk_norm) {
        turn.dq_norm = trainable_grad_of(b->t, l->attn_q_norm);
        turn.dk_norm = trainable_grad_of(b->t, l->attn_k_norm);
    }
    PGR_TRY(op_attn_input_back(o, &turn, err));
    backward_biases(b, layer);

    op_rows(o, b->h, c->n_embd, c->n_embd, &before, b->n);
    bool last = layer == b->first_layer && !b->whole;
    PGR_TRY(project_back(b, layer, PRODUCT_attn_qkv, last ? NULL : b->dh, b->dqkv, b->h, c->n_embd, b->n_qkv, err));
    return last ? PGR_OK : norm_back(b, a->x, l->attn_norm, err);
}

/* What the layer has not kept, from its input or, gate and up, from the middle. */
static pgr_status compute_again(backward *b, size_t layer, const layer_acts *a, pgr_error *err) {
    const layer_acts *own = &b->acts[layer];
    if (own->kept) return own->gate_up ? PGR_OK : gate_up_forward(b, layer, a->mid, a->gate_up, err);
    ops_copy(b->m->ops, b->again, a->x, b->n * b->m->config.n_embd);
    return backward_layer_forward(b, layer, b->again, a, err);
}

pgr_status backward_layer(backward *b, size_t layer, pgr_error *err) {
    layer_acts a = backward_acts(b, layer);
    PGR_TRY(compute_again(b, layer, &a, err));
    PGR_TRY(ffn_back(b, layer, &a, err));
    return attn_layer_back(b, layer, &a, err);
}
