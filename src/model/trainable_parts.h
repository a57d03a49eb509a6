/* trainable_parts.h - what an adapter in training is made of. Internal to the trainable*.c. */
#ifndef PGR_MODEL_TRAINABLE_PARTS_H
#define PGR_MODEL_TRAINABLE_PARTS_H

#include "model/trainable.h"

typedef struct whole whole;

struct trainable {
    pgr_lora adapter;     /* its factors lie in values */
    size_t n;
    float *values, *grads; /* (n) */
    size_t first_layer;
    float *score; /* in values, or NULL */
    train_piece all;
    whole *whole; /* NULL: an adapter */
};

/* whole.c */
void whole_free(whole *w);                                              /* NULL is fine */
const train_piece *whole_pieces(const whole *w, size_t *n);
const checkpoint *whole_checkpoint(const whole *w);
pgr_status whole_pack(whole *w, pgr_error *err);

/* Both arrays, for t->n values. */
pgr_status trainable_alloc(trainable *t, pgr_error *err);
/* A trainable of m without values, whose adapter changes nothing. */
pgr_status trainable_begin(const pgr_model *m, const char *name, trainable **out, pgr_error *err);
/* New values of a score head, (n): normal, of deviation .02 (transformers' initializer_range). */
void trainable_draw_score(float *score, size_t n, uint64_t seed);

/* Of a matrix of a layer (layer_matrix); r 0: it has none. */
lora_factors *trainable_factors(const trainable *t, size_t layer, size_t matrix);

#endif
