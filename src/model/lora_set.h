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
    matrix *output; /* file.new_output in the model's form; NULL: none */
};

uint64_t lora_new_version(void); /* like no other's in this process */

/* What adapters add to one product, in their order. */
typedef struct term_list {
    lowrank *terms;
    size_t n;
} term_list;

/* All zero is the empty set: the model as it is. */
typedef struct lora_set {
    size_t n;                /* adapters; 0: nothing below is set */
    size_t n_layer;
    term_list *lists;        /* (n_layer, LAYER_N_PRODUCT), embedding, head */
    layer_weights *layers;   /* (n_layer) the model's, norms replaced */
    const source_tensor *token_embd;
    const float *output_norm;
    const matrix *output;
    arena arena;
} lora_set;

/* Adapter i counts scales[i] times; one with scale 0 is left out. The adapters must outlive the set. */
pgr_status lora_set_create(const pgr_model *m, pgr_lora *const *loras, const float *scales, size_t n, lora_set *out,
                           pgr_error *err);
void lora_set_free(lora_set *s);

/* Of the empty set: empty lists. */
term_list lora_terms(const lora_set *s, size_t layer, layer_product product);
term_list lora_embedding_terms(const lora_set *s);
term_list lora_head_terms(const lora_set *s);

#endif
