/* weights.h - the tensors of a model: one list declares, binds and checks them. Read-only after weights_open. */
#ifndef PGR_MODEL_WEIGHTS_H
#define PGR_MODEL_WEIGHTS_H

#include "format/config.h"
#include "format/source.h"
#include "math/ops.h"

/* A layer's tensors: name in GGUF files (after "blk.N."), name in Hugging Face files (after "model.layers.N."),
 * shape. A vector is bound where its condition holds; elsewhere its pointer is NULL and a file that has it is
 * refused. */
/*       field        GGUF                  Hugging Face                       values                      where */
#define LAYER_VECTORS(X)                                                                                               \
    X(attn_norm,   "attn_norm.weight",   "input_layernorm.weight",          c->n_embd,                  true)          \
    X(attn_q_bias, "attn_q.bias",        "self_attn.q_proj.bias",           c->n_head * c->head_dim,    c->attn_bias)  \
    X(attn_k_bias, "attn_k.bias",        "self_attn.k_proj.bias",           c->n_head_kv * c->head_dim, c->attn_bias)  \
    X(attn_v_bias, "attn_v.bias",        "self_attn.v_proj.bias",           c->n_head_kv * c->head_dim, c->attn_bias)  \
    X(attn_q_norm, "attn_q_norm.weight", "self_attn.q_norm.weight",         c->head_dim,                c->qk_norm)    \
    X(attn_k_norm, "attn_k_norm.weight", "self_attn.k_norm.weight",         c->head_dim,                c->qk_norm)    \
    X(ffn_norm,    "ffn_norm.weight",    "post_attention_layernorm.weight", c->n_embd,                  true)
/*       field        GGUF                  Hugging Face                       rows                        cols */
#define LAYER_MATRICES(X)                                                                                              \
    X(attn_q,      "attn_q.weight",      "self_attn.q_proj.weight",         c->n_head * c->head_dim,    c->n_embd)     \
    X(attn_k,      "attn_k.weight",      "self_attn.k_proj.weight",         c->n_head_kv * c->head_dim, c->n_embd)     \
    X(attn_v,      "attn_v.weight",      "self_attn.v_proj.weight",         c->n_head_kv * c->head_dim, c->n_embd)     \
    X(attn_output, "attn_output.weight", "self_attn.o_proj.weight",         c->n_embd,                                 \
      c->n_head * c->head_dim)                                                                                         \
    X(ffn_gate,    "ffn_gate.weight",    "mlp.gate_proj.weight",            c->n_ff,                    c->n_embd)     \
    X(ffn_up,      "ffn_up.weight",      "mlp.up_proj.weight",              c->n_ff,                    c->n_embd)     \
    X(ffn_down,    "ffn_down.weight",    "mlp.down_proj.weight",            c->n_embd,                  c->n_ff)

/* How the tables of rotations end that old Hugging Face files hold beside the weights; ours come from the config. */
#define WEIGHTS_ROPE_TABLES ".rotary_emb.inv_freq"

/* The products of a layer: matrices with the same input stand one below the other, in the order of the list above. */
/*         field        first         number of them */
#define LAYER_PRODUCTS(X)                                                                                              \
    X(attn_qkv,    attn_q,       3)                                                                                    \
    X(attn_output, attn_output,  1)                                                                                    \
    X(ffn_gate_up, ffn_gate,     2)                                                                                    \
    X(ffn_down,    ffn_down,     1)

typedef enum layer_matrix {
#define X(field, gguf, hf, rows, cols) LAYER_##field,
    LAYER_MATRICES(X)
#undef X
    LAYER_N_MATRIX
} layer_matrix;

typedef enum layer_product {
#define X(field, first, n) PRODUCT_##field,
    LAYER_PRODUCTS(X)
#undef X
    LAYER_N_PRODUCT
} layer_product;

typedef struct layer_weights {
#define X(field, gguf, hf, n, where) float *field; /* (n) */
    LAYER_VECTORS(X)
#undef X
#define X(field, first, n) matrix *field; /* (rows of its matrices, cols) */
    LAYER_PRODUCTS(X)
#undef X
    const source_tensor *file[LAYER_N_MATRIX]; /* as the file has them */
} layer_weights;

typedef struct weights {
    arena arena;
    slab packed; /* of the products */
    const source_tensor *token_embd; /* (n_vocab, n_embd), rows dequantised when looked up */
    float *output_norm;              /* (n_embd) */
    matrix *output;                  /* (n_vocab, n_embd); from token_embd where the file has no head */
    const source_tensor *head;       /* what output is made of; NULL: a score head */
    float *score;                    /* (n_embd) of a score head, which has no output; else NULL */
    bool tied;
    size_t n_layer;
    layer_weights *layers;           /* (n_layer) */
    float *rope_freqs;               /* (rope_dim / 2) divisors of the frequencies, NULL: none */
} weights;

/* Binds every tensor of c in s, checks shape and type, converts to form. Errors name the tensor; one that c has no
 * use for is an error too. s and its files, and o, must outlive w. */
pgr_status weights_open(const tensor_source *s, const config *c, gemm_form form, ops *o,
                        const pgr_watch *watch /* may be NULL */, weights *out, pgr_error *err);
/* Packs all products once more, from what w->layers[].file and w->head are now. An error leaves w to be closed. */
pgr_status weights_pack(weights *w, gemm_form form, ops *o, pgr_error *err);
void weights_close(weights *w);
size_t weights_bytes(const weights *w); /* memory of its own, beyond the mapped file */

#endif
