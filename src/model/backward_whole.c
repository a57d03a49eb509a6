/* backward_whole.c - gradients of the weights themselves, where all of them are trained: what backward.c and
 * backward_layer.c call on their way down. With an adapter nothing is done here. */
#include <string.h>

#include "model/backward_parts.h"

static gemm_form form_of(pgr_dtype dtype) {
    return dtype == PGR_DTYPE_EXACT || dtype == PGR_DTYPE_F32 ? GEMM_F32 : GEMM_BF16;
}

/* n rows of dy (N) and x (K), of matrices that lie in the arrays one below the other. */
static pgr_status add_outer(const backward *b, const source_tensor *first, const float *dy, const float *x, size_t n,
                            size_t K, size_t N, pgr_error *err) {
    float *dw = trainable_grad_of(b->t, first->data);
    outer_call call = {.dw = dw, .dy = dy, .x = x, .n = n, .N = N, .K = K, .form = form_of(b->m->dtype)};
    return op_outer(b->m->ops, &call, err);
}

pgr_status backward_product_weights(const backward *b, size_t layer, layer_product product, const float *dy,
                                    const float *x, size_t K, size_t N, pgr_error *err) {
    static const size_t first[] = {
#define X(field, first, n) LAYER_##first,
        LAYER_PRODUCTS(X)
#undef X
    };
    if (!b->whole) return PGR_OK;
    return add_outer(b, b->m->weights.layers[layer].file[first[product]], dy, x, b->n, K, N, err);
}

pgr_status backward_norm_weights(const backward *b, const row_step *step, const float *dout, size_t n, pgr_error *err) {
    if (!b->whole) return PGR_OK;
    return op_norm_weights(b->m->ops, trainable_grad_of(b->t, step->w), step, dout, n, b->m->config.n_embd, err);
}

void backward_biases(const backward *b, size_t layer) {
    const config *c = &b->m->config;
    const layer_weights *l = &b->m->weights.layers[layer];
    if (!b->whole || !c->attn_bias) return;
    const struct {
        const float *bias;
        size_t n;
    } list[] = {{l->attn_q_bias, b->n_q},
                {l->attn_k_bias, c->n_head_kv * c->head_dim},
                {l->attn_v_bias, c->n_head_kv * c->head_dim}};
    const float *from = b->dqkv;
    for (size_t i = 0; i < 3; from += list[i++].n)
        op_sum_rows(b->m->ops, trainable_grad_of(b->t, list[i].bias), from, b->n_qkv, b->n, list[i].n);
}

/* The row of the padding is looked up without a gradient, as torch.nn.Embedding's padding_idx has it, which
 * transformers sets: that matters where padding is what ends a turn. */
void backward_embedding(const backward *b) {
    size_t d = b->m->config.n_embd;
    if (!b->whole) return;
    for (size_t i = 0; i < b->n; i++)
        if (b->token[i] == b->m->from.pad) memset(b->dx + i * d, 0, d * sizeof *b->dx);
    row_spread to = {.table = trainable_grad_of(b->t, b->m->weights.token_embd->data), .row = b->token};
    op_spread(b->m->ops, &to, b->dx, b->n, d);
}

/* ---- the head ---- */

static void states_again(backward *b) {
    row_step last = backward_final_norm(b);
    op_rows(b->m->ops, b->h, b->m->config.n_embd, b->m->config.n_embd, &last, b->n_want);
}

pgr_status backward_head(backward *b, const float *dlogits, pgr_error *err) {
    const config *c = &b->m->config;
    if (!b->whole) return PGR_OK;
    states_again(b);
    return add_outer(b, b->m->weights.head, dlogits, b->h, b->n_want, c->n_embd, c->n_vocab, err);
}

void backward_head_sparse(backward *b, const sparse_grads *g) {
    if (!b->whole) return;
    states_again(b);
    row_spread to = {trainable_grad_of(b->t, b->m->weights.head->data), g->start, g->token, g->dlogit};
    op_spread(b->m->ops, &to, b->h, b->n_want, b->m->config.n_embd);
}
