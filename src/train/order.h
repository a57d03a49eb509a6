/* order.h - the order in which a file's rows are learnt from: every epoch has one of its own, from the seed. */
#ifndef PGR_TRAIN_ORDER_H
#define PGR_TRAIN_ORDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

typedef struct train_order {
    size_t *row; /* (n) of the epoch that is on */
    size_t n, batch;
    uint64_t seed, epoch;
    bool as_it_is; /* rows in the file's order */
} train_order;

pgr_status order_init(train_order *o, size_t n, size_t batch, uint64_t seed, bool as_it_is, pgr_error *err);
void order_free(train_order *o); /* an empty one is fine */

/* Steps of an epoch: the last one may be smaller. */
size_t order_steps(const train_order *o);
/* The rows of step number `step` (from 0): indices (*n), valid until the next call. */
const size_t *order_at(train_order *o, uint64_t step, size_t *n);

#endif
