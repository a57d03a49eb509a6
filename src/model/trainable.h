/* trainable.h - what is trained: a LoRA adapter whose factors change, or all weights of a model. fp32 master values and
 * their gradients as two flat arrays; the same factors as an adapter that passes and the engine apply, and the PEFT
 * folder that keeps them. Steps of an optimiser are others' (src/train).
 *
 * The order of the flat arrays: layer by layer, in a layer the matrices in the order of LAYER_MATRICES, of a matrix
 * the factor a (r, K), then b (N, r); then the row of a score head, where one was added. Of all weights (whole.c): the
 * embedding, the head where it is not the embedding, the row of a score head, the last norm; then layer by layer the
 * vectors in the order of LAYER_VECTORS, then the matrices. */
#ifndef PGR_MODEL_TRAINABLE_H
#define PGR_MODEL_TRAINABLE_H

#include "model/lora_set.h"
#include "model/model.h"

typedef struct trainable trainable;

#define TRAINABLE_ALL ((1u << LAYER_N_MATRIX) - 1) /* all linear matrices of a layer */

typedef struct trainable_options {
    size_t rank;         /* r of every matrix */
    float alpha;         /* the scale is alpha / r */
    size_t first_layer;  /* layers below it have no factors: nothing is computed backward there */
    unsigned matrices;   /* bit 1 << LAYER_attn_q, ...: which matrices of a layer have factors */
    uint64_t seed;
} trainable_options;

trainable_options trainable_options_default(void); /* rank 16, alpha 32, all layers, all matrices, seed 0 */

/* New factors: a ~ U(-1 / sqrt(K), 1 / sqrt(K)) (PEFT: kaiming_uniform with a = sqrt(5)), counted from the seed, so
 * that a matrix's values do not depend on which other ones there are; b = 0: the model as it is. m must outlive it. */
pgr_status trainable_create(const pgr_model *m, const trainable_options *o, trainable **out, pgr_error *err);

/* The factors of an adapter on disk (a PEFT folder, a GGUF file) as fp32 masters. Ranks and scales are the file's; one
 * that replaces whole tensors or changes the embedding or the head is refused. */
pgr_status trainable_open(const pgr_model *m, const char *path, trainable **out, pgr_error *err);
/* All weights of a model of a Hugging Face folder. They are the model's from now on: it reads them in these arrays, and
 * after trainable_free it may only be closed. score: a score head takes the language head's place (that of the file
 * where it has one, else new values from the seed). */
pgr_status trainable_create_whole(pgr_model *m, bool score, uint64_t seed, trainable **out, pgr_error *err);
/* A new score head beside an adapter's factors; their places in the arrays move. Before anybody holds them. */
pgr_status trainable_add_score(trainable *t, uint64_t seed, pgr_error *err);
void trainable_free(trainable *t); /* NULL is fine */

size_t trainable_count(const trainable *t);       /* n of the two arrays */
float *trainable_values(trainable *t);            /* (n) may be written between passes; trainable_changed afterwards */
float *trainable_grads(trainable *t);             /* (n) zeros at first; backward_run adds */
size_t trainable_first_layer(const trainable *t); /* the lowest layer that has factors */

/* Of a value in the first array, the gradient in the second. */
float *trainable_grad_of(const trainable *t, const void *value);
float *trainable_score(const trainable *t); /* (n_embd) the score head's row; NULL: there is none */

/* Stretches of the arrays; norms and biases do not decay. An adapter is one. */
typedef struct train_piece {
    size_t first, n;
    bool decays;
} train_piece;
const train_piece *trainable_pieces(const trainable *t, size_t *n);

/* All weights: the checkpoint with the values in the arrays in place of its files'; NULL: an adapter. */
const checkpoint *trainable_whole(const trainable *t);
/* All weights: packs the model's matrices once more, from the arrays. Nothing for an adapter. */
pgr_status trainable_pack(trainable *t, pgr_error *err);

/* The same factors, live, for forward_set_loras and the engine; closed with t. */
pgr_lora *trainable_adapter(trainable *t);
/* The values have changed: what caches hold of earlier passes with this adapter is not used any more. */
void trainable_changed(trainable *t);

typedef enum trainable_form { TRAINABLE_F32, TRAINABLE_BF16 } trainable_form;

/* A PEFT folder (adapter_config.json, adapter_model.safetensors; rows in Hugging Face's order) that PEFT and lora_open
 * read. folder appears as a whole: it is written beside its place and renamed, one that was there is replaced.
 * base: base_model_name_or_path, or NULL for the model's own name. */
pgr_status trainable_write(const trainable *t, const char *folder, trainable_form form, const char *base,
                           pgr_error *err);

#endif
