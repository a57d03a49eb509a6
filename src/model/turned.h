/* turned.h - a model's matrices transposed, packed once more for the products of a backward pass: dx = dy W. */
#ifndef PGR_MODEL_TURNED_H
#define PGR_MODEL_TURNED_H

#include "model/model.h"

/* (cols, rows) of a layer's product, from the file's values. In the form in which the model computes; in fp32
 * where that is the file's. */
pgr_status turned_product(const pgr_model *m, size_t layer, layer_product product, slab *memory, matrix **out,
                          pgr_error *err);
/* (n_embd, n_vocab) of the head. */
pgr_status turned_head(const pgr_model *m, slab *memory, matrix **out, pgr_error *err);

#endif
