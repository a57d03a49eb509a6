/* trainable_parts.h - what an adapter in training is made of. Internal to the trainable*.c. */
#ifndef PGR_MODEL_TRAINABLE_PARTS_H
#define PGR_MODEL_TRAINABLE_PARTS_H

#include "model/trainable.h"

struct trainable {
    pgr_lora adapter;     /* its factors lie in values */
    size_t n;
    float *values, *grads; /* (n) */
    size_t first_layer;
};

/* Of a matrix of a layer (layer_matrix); r 0: it has none. */
lora_factors *trainable_factors(const trainable *t, size_t layer, size_t matrix);

#endif
