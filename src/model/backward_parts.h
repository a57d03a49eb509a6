/* backward_parts.h - what a training pass holds. Internal to the backward*.c. Legend: n tokens of the batch, d width,
 * H query heads. */
#ifndef PGR_MODEL_BACKWARD_PARTS_H
#define PGR_MODEL_BACKWARD_PARTS_H

#include "model/backward.h"
#include "model/kv.h"

/* What a layer's forward leaves for its backward. */
typedef struct layer_acts {
    float *x;       /* (n, d) its input; NULL: a layer that nothing is computed backward for */
    float *qkv;     /* (n, n_qkv) as attention had it, and the rest below: kept, or computed again in a shared place */
    float *raw;     /* (n, n_qkv) as the product gave it, where heads have norms; else NULL */
    float *attn;    /* (n, n_q) */
    float *softmax; /* (n, H) attn_state */
    float *mid;     /* (n, d) the input of the second half */
    float *gate_up; /* (n, 2, n_ff) */
    bool kept;      /* qkv to mid have memory of their own; gate_up has, where it is not NULL */
} layer_acts;

/* A layer's matrices transposed and its factors' gradients. */
typedef struct layer_back {
    matrix *turned[LAYER_N_PRODUCT];
    lowrank_grad terms[LAYER_N_MATRIX]; /* in the order of the products */
    size_t first_term[LAYER_N_PRODUCT], n_term[LAYER_N_PRODUCT];
} layer_back;

struct backward {
    const pgr_model *m;
    trainable *t;
    lora_set loras, none; /* none: what passes apply without the adapter */
    bool whole;           /* all weights are trained: there is no adapter */
    bool without;         /* loras and none are exchanged */
    size_t n_token; /* most of a batch */
    size_t first_layer, n_q, n_qkv;
    layer_acts *acts; /* (n_layer) */
    layer_acts shared; /* in place of what layers do not keep */
    layer_back *back; /* (n_layer) */
    matrix *head;     /* transposed, made when first needed */
    slab packed;      /* of the transposed matrices */

    /* of the batch */
    size_t n, n_seq, n_want;
    kv_cache kv;       /* of one layer at a time */
    kv_seq *seqs;      /* (n_seq) */
    size_t *start;     /* (n_seq + 1) a sequence's first row, of those that are its own */
    size_t *n_shared;  /* (n_seq) tokens that it has from the sequence before it */
    int32_t *token;    /* (n) and the next two: of every row */
    uint32_t *pos;
    const uint32_t **pages;
    row_copy *copies;  /* (n_copy) rows in the middle of whose page sequences part */
    size_t n_copy, cap_copy;
    uint32_t *wanted;  /* (n_want) rows */
    kv_pages view;
    row_table rows;
    attn *attention;
    float *freq, *cs;  /* (rope_dim / 2), (n, rope_dim) */
    float *x;          /* (n, d) residual stream, at last the last layer's output */
    float *again;      /* (n, d) the stream of a layer that is computed again */
    float *h;          /* (n, d) normalised */
    float *act;        /* (n, n_ff) */

    float *dx, *dh;    /* (n, d) gradients of the stream, of a product's input */
    float *dqkv, *dattn, *dgate_up, *dact;
    float *scratch;    /* of op_project_back and op_attn_back */
};

/* Where the layer's forward leaves what: in memory of its own, or in the shared one, until the next layer does. */
layer_acts backward_acts(const backward *b, size_t layer);
/* The layer's output in place of x, its input; leaves what a is for. */
pgr_status backward_layer_forward(backward *b, size_t layer, float *x, const layer_acts *a, pgr_error *err);
/* dx: of the layer's output, then of its input (of the first layer: arbitrary). */
pgr_status backward_layer(backward *b, size_t layer, pgr_error *err);

/* Gradients of the weights themselves (backward_whole.c); nothing where an adapter is trained. dy: (n, N), x: (n, K) */
pgr_status backward_product_weights(const backward *b, size_t layer, layer_product product, const float *dy,
                                    const float *x, size_t K, size_t N, pgr_error *err);
/* Of a norm of n rows; w: the step's. */
pgr_status backward_norm_weights(const backward *b, const row_step *step, const float *dout, size_t n, pgr_error *err);
/* From b->dqkv, as products gave it. */
void backward_biases(const backward *b, size_t layer);
/* From b->dx, of the first layer's input. */
void backward_embedding(const backward *b);
/* Of the head, from the wanted rows' normalised states, which are put into b->h: all tokens' gradients, or some. */
pgr_status backward_head(backward *b, const float *dlogits, pgr_error *err);
void backward_head_sparse(backward *b, const sparse_grads *g);

row_step backward_final_norm(const backward *b);

/* Tests: bytes of activations that are kept from now on, at least the layers' inputs; returns what it was. */
size_t backward_set_room(size_t bytes);

#endif
