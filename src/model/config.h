/* config.h - the numbers that drive the one forward pass, read from a file's metadata and checked for sense. */
#ifndef PGR_MODEL_CONFIG_H
#define PGR_MODEL_CONFIG_H

#include "model/gguf.h"

typedef struct config {
    char arch[32];       /* "llama" */
    size_t n_layer, n_embd, n_head, n_head_kv, head_dim, n_ff;
    size_t n_vocab;      /* rows of the embedding */
    size_t n_ctx;        /* positions trained for */
    float norm_eps;
    double rope_base;
    size_t rope_dim;     /* values of a head that are rotated */
    bool rope_interleaved; /* pairs (2i, 2i+1): llama files from the GGUF converter, whose q and k rows are permuted */
} config;

/* The architecture table: what a family's metadata keys and tensors look like. A family is a row. */
typedef struct arch_row {
    const char *name;      /* general.architecture, also the prefix of its keys */
    bool rope_interleaved;
} arch_row;

const arch_row *arch_find(const char *name); /* NULL: not supported */
const char *arch_list(void);                 /* "llama" or "a, b", for messages */

pgr_status config_from_gguf(const gguf *g, config *out, pgr_error *err);

#endif
