/* weights.h - the tensors of a model: one list declares, binds and checks them. Read-only after weights_open. */
#ifndef PGR_MODEL_WEIGHTS_H
#define PGR_MODEL_WEIGHTS_H

#include "math/gemm.h"
#include "model/config.h"

/*         field        file name                rows                        cols      */
#define LAYER_VECTORS(X)                                                                \
    X(attn_norm,   "attn_norm.weight",      1,                          c->n_embd)      \
    X(ffn_norm,    "ffn_norm.weight",       1,                          c->n_embd)
#define LAYER_MATRICES(X)                                                               \
    X(attn_q,      "attn_q.weight",         c->n_head * c->head_dim,    c->n_embd)      \
    X(attn_k,      "attn_k.weight",         c->n_head_kv * c->head_dim, c->n_embd)      \
    X(attn_v,      "attn_v.weight",         c->n_head_kv * c->head_dim, c->n_embd)      \
    X(attn_output, "attn_output.weight",    c->n_embd,                  c->n_head * c->head_dim) \
    X(ffn_gate,    "ffn_gate.weight",       c->n_ff,                    c->n_embd)      \
    X(ffn_up,      "ffn_up.weight",         c->n_ff,                    c->n_embd)      \
    X(ffn_down,    "ffn_down.weight",       c->n_embd,                  c->n_ff)

typedef struct layer_weights {
#define X(field, name, rows, cols) float *field; /* (cols) */
    LAYER_VECTORS(X)
#undef X
#define X(field, name, rows, cols) gemm_weights *field; /* (rows, cols) */
    LAYER_MATRICES(X)
#undef X
} layer_weights;

typedef struct weights {
    arena arena;
    const gguf_tensor *token_embd; /* (n_vocab, n_embd), rows dequantised when looked up */
    float *output_norm;            /* (n_embd) */
    gemm_weights *output;          /* (n_vocab, n_embd); from token_embd where the file has no output.weight */
    bool tied;
    size_t n_layer;
    layer_weights *layers;         /* (n_layer) */
    float *rope_freqs;             /* (rope_dim / 2) divisors of the frequencies, NULL: none */
} weights;

/* Binds every tensor of c in g, checks shape and type, converts to form. Errors name the tensor. g must outlive w. */
pgr_status weights_open(const gguf *g, const config *c, gemm_form form, pool *threads, pgr_progress_fn progress,
                        void *progress_ctx, weights *out, pgr_error *err);
void weights_close(weights *w);
size_t weights_bytes(const weights *w); /* memory of its own, beyond the mapped file */

#endif
