/* lora_set.h - opened adapters of a model, and the set of them that a forward pass applies: for every matrix the
 * low-rank terms that come on top, for every other tensor the one that counts. */
#ifndef PGR_MODEL_LORA_SET_H
#define PGR_MODEL_LORA_SET_H

#include "model/lora.h"
#include "model/model.h"

struct pgr_lora {
    const pgr_model *m;
    uint64_t version;     /* of its values, like no other's in this process: what caches know them by */
    lora file;
    gemm_weights *output; /* file.new_output in the model's form; NULL: none */
};

/* All zero is the empty set: the model as it is. */
typedef struct lora_set {
    size_t n;                /* adapters; 0: nothing below is set */
    size_t n_layer;
    lowrank *terms;          /* lists of at most n and one with r 0 at their end: (n_layer, LAYER_N_MATRIX), embedding, head */
    layer_weights *layers;   /* (n_layer) the model's, norms replaced */
    const source_tensor *token_embd;
    const float *output_norm;
    const gemm_weights *output;
    arena arena;
} lora_set;

/* Adapter i counts scales[i] times; one with scale 0 is left out. The adapters must outlive the set. */
pgr_status lora_set_create(const pgr_model *m, pgr_lora *const *loras, const float *scales, size_t n, lora_set *out,
                           pgr_error *err);
void lora_set_free(lora_set *s);

/* Up to the term with r 0; the set must not be empty. */
const lowrank *lora_terms(const lora_set *s, size_t layer, layer_matrix matrix);
const lowrank *lora_embedding_terms(const lora_set *s);
const lowrank *lora_head_terms(const lora_set *s);

#endif
