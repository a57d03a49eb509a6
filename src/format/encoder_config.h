/* encoder_config.h - the numbers that drive an encoder of the BERT family, from a Hugging Face folder's config.json.
 * What is not understood is refused by the key's name. */
#ifndef PGR_FORMAT_ENCODER_CONFIG_H
#define PGR_FORMAT_ENCODER_CONFIG_H

#include <stdbool.h>
#include <stddef.h>

#include "base/status.h"

typedef enum encoder_act { ENCODER_GELU, ENCODER_GELU_TANH, ENCODER_RELU } encoder_act;

typedef struct encoder_config {
    size_t n_layer, n_embd, n_head, n_ff;
    size_t n_vocab, n_pos, n_type; /* rows of the three embeddings: words, positions, types of segment */
    float norm_eps;
    encoder_act act;
} encoder_config;

/* The text of config.json. *is_encoder false: its model_type is of another kind and out is left alone. */
pgr_status encoder_config_parse(const char *text, size_t n, const char *origin, bool *is_encoder, encoder_config *out,
                                pgr_error *err);
/* folder/config.json */
pgr_status encoder_config_read(const char *folder, bool *is_encoder, encoder_config *out, pgr_error *err);

#endif
