/* encoder.h - an encoder of the BERT family: weights and the pass over a ragged batch of sentences. Word, position
 * and type embeddings, then layers of full (not causal) attention and feed-forward, each with a LayerNorm behind its
 * sum. Read-only after encoder_open. */
#ifndef PGR_MODEL_ENCODER_H
#define PGR_MODEL_ENCODER_H

#include "format/encoder_config.h"
#include "format/source.h"
#include "math/ops.h"

/* One list names, binds and checks all tensors: a field, the tensor's name, its first place in the field, its rows,
 * the field's rows, columns. Query, key and value stand one after another in one field, so that one product gives all
 * three. */
/*         field        name in the file                        first     rows      all rows     cols     */
#define ENCODER_VECTORS(X)                                                                                           \
    X(positions,   "embeddings.position_embeddings.weight",   0,         c->n_pos,  c->n_pos,    c->n_embd)         \
    X(types,       "embeddings.token_type_embeddings.weight", 0,         c->n_type, c->n_type,   c->n_embd)         \
    X(embd_norm,   "embeddings.LayerNorm.weight",             0,         1,         1,           c->n_embd)         \
    X(embd_norm_b, "embeddings.LayerNorm.bias",               0,         1,         1,           c->n_embd)
/* after "encoder.layer.N." */
#define ENCODER_LAYER_VECTORS(X)                                                                                     \
    X(qkv_b,       "attention.self.query.bias",               0,         1,         3,           c->n_embd)         \
    X(qkv_b,       "attention.self.key.bias",                 1,         1,         3,           c->n_embd)         \
    X(qkv_b,       "attention.self.value.bias",               2,         1,         3,           c->n_embd)         \
    X(attn_out_b,  "attention.output.dense.bias",             0,         1,         1,           c->n_embd)         \
    X(attn_norm,   "attention.output.LayerNorm.weight",       0,         1,         1,           c->n_embd)         \
    X(attn_norm_b, "attention.output.LayerNorm.bias",         0,         1,         1,           c->n_embd)         \
    X(ffn_up_b,    "intermediate.dense.bias",                 0,         1,         1,           c->n_ff)           \
    X(ffn_down_b,  "output.dense.bias",                       0,         1,         1,           c->n_embd)         \
    X(ffn_norm,    "output.LayerNorm.weight",                 0,         1,         1,           c->n_embd)         \
    X(ffn_norm_b,  "output.LayerNorm.bias",                   0,         1,         1,           c->n_embd)
#define ENCODER_LAYER_MATRICES(X)                                                                                    \
    X(qkv,         "attention.self.query.weight",             0,         c->n_embd, 3 * c->n_embd, c->n_embd)       \
    X(qkv,         "attention.self.key.weight",               c->n_embd, c->n_embd, 3 * c->n_embd, c->n_embd)       \
    X(qkv,         "attention.self.value.weight",         2 * c->n_embd, c->n_embd, 3 * c->n_embd, c->n_embd)       \
    X(attn_out,    "attention.output.dense.weight",           0,         c->n_embd, c->n_embd,   c->n_embd)         \
    X(ffn_up,      "intermediate.dense.weight",               0,         c->n_ff,   c->n_ff,     c->n_embd)         \
    X(ffn_down,    "output.dense.weight",                     0,         c->n_embd, c->n_embd,   c->n_ff)

typedef struct encoder_layer {
    float *qkv_b, *attn_out_b, *attn_norm, *attn_norm_b, *ffn_up_b, *ffn_down_b, *ffn_norm, *ffn_norm_b;
    matrix *qkv, *attn_out, *ffn_up, *ffn_down;
} encoder_layer;

typedef struct encoder {
    encoder_config config;
    ops *ops;
    arena arena;
    const source_tensor *words;  /* (n_vocab, n_embd), rows dequantised when looked up */
    float *positions;            /* (n_pos, n_embd) */
    float *types;                /* (n_type, n_embd) */
    float *embd_norm, *embd_norm_b;
    encoder_layer *layers;       /* (config.n_layer) */
} encoder;

/* Binds every tensor of c in s; one that c has no use for is an error that names it (but for the pooler's and buffers
 * of position ids). form: not GEMM_FILE. s and its files, and o, must outlive the encoder. */
pgr_status encoder_open(const tensor_source *s, const encoder_config *c, gemm_form form, ops *o,
                        const pgr_watch *watch /* may be NULL */, encoder *out, pgr_error *err);
void encoder_close(encoder *e);

typedef struct encoder_state encoder_state; /* activations for up to n_row tokens */

pgr_status encoder_state_create(const encoder *e, size_t n_row, encoder_state **out, pgr_error *err);
void encoder_state_free(encoder_state *s);

/* Sentence i is ids[start[i]] to ids[start[i + 1] - 1], 1 to n_pos tokens; start: (n_seq + 1), start[0] is 0.
 * *hidden: the last layer's states, (start[n_seq], n_embd), valid until the next call. Each row depends on its own
 * sentence alone, bit for bit. */
pgr_status encoder_run(encoder_state *s, const int32_t *ids, const size_t *start, size_t n_seq, const float **hidden,
                       pgr_error *err);

#endif
