/* lora.h - reads LoRA adapters: a PEFT folder (adapter_config.json, adapter_model.safetensors) or a GGUF file of that
 * kind (docs/lora.md). Both give the same: for each matrix W of the model, factors so that W + scale * b * a is the
 * adapted matrix, and whole tensors that stand in place of the model's. Computes nothing; a pass does (forward.h), a
 * merge does.
 *
 * Every tensor of the file is used or refused by name, every setting that changes the result is understood or
 * refused. */
#ifndef PGR_MODEL_LORA_H
#define PGR_MODEL_LORA_H

#include "format/gguf.h"
#include "format/safetensors.h"
#include "model/weights.h"

/* Of a matrix W: (N, K). r 0: the adapter leaves this matrix alone. scale: alpha / r, or alpha / sqrt(r); the user's
 * own scale is not in it. The rows of b stand in the order of the model's rows: where q and k are permuted (config.h:
 * rope_interleaved) those of b are. The embedding is such a matrix too, (n_vocab, n_embd), whatever way the file has
 * it. */
typedef lowrank lora_factors;

typedef struct lora_layer {
#define X(field, gguf, hf, n, where) float *field; /* (n) in place of the model's; NULL: none */
    LAYER_VECTORS(X)
#undef X
#define X(field, gguf, hf, rows, cols) lora_factors field;
    LAYER_MATRICES(X)
#undef X
} lora_layer;

typedef struct lora {
    const char *path;
    const char *format;          /* "peft" or "gguf" */
    const char *base;            /* name of the model that it was made for, as the file says; NULL: it does not */
    size_t n_layer;
    lora_layer *layers;          /* (n_layer) */
    lora_factors token_embd;     /* of the look-up alone: a head that is tied to the embedding stays as it is */
    lora_factors output;         /* of the head, tied or not */
    const source_tensor *new_token_embd; /* (n_vocab, n_embd) in place of the look-up's; NULL: none */
    const source_tensor *new_output;     /* (n_vocab, n_embd) in place of the head; NULL: none */
    float *new_output_norm;      /* (n_embd); NULL: none */
    size_t n_tensor;             /* of the file */
    size_t n_value;              /* parameters */
    size_t min_r, max_r;         /* of all factors; 0: there are none */
    tensor_source source;
    safetensors safetensors;     /* the mappings behind source: one of the two */
    gguf gguf;
    arena arena;
} lora;

/* path: a folder with adapter_config.json and adapter_model.safetensors, or a GGUF file. c: of the model that it goes
 * on; shapes are checked against it. The result points into itself and must stay where it is; on error it is empty. */
pgr_status lora_open(const char *path, const config *c, lora *out, pgr_error *err);
/* A GGUF file's bytes, or an adapter_config.json and the bytes of adapter_model.safetensors, in memory (tests,
 * fuzzing). */
pgr_status lora_open_gguf_memory(const uint8_t *data, size_t size, const char *name, const config *c, lora *out,
                                 pgr_error *err);
pgr_status lora_open_peft_memory(const char *text, size_t n, const uint8_t *data, size_t size, const char *name,
                                 const config *c, lora *out, pgr_error *err);
void lora_close(lora *l); /* an empty one is fine */

#endif
