/* order.c - Fisher and Yates, keyed by seed and epoch. */
#include "train/order.h"

#include "base/hash.h"
#include "base/mem.h"
#include "base/rng.h"

enum { STREAM_SHUFFLE = 40 };

pgr_status order_init(train_order *o, size_t n, size_t batch, uint64_t seed, bool as_it_is, pgr_error *err) {
    *o = (train_order){.n = n, .batch = batch, .seed = seed, .epoch = UINT64_MAX, .as_it_is = as_it_is};
    o->row = mem_array(n, sizeof *o->row);
    return o->row ? PGR_OK : fail_mem(err);
}

void order_free(train_order *o) {
    mem_free(o->row);
    *o = (train_order){0};
}

size_t order_steps(const train_order *o) {
    return (o->n + o->batch - 1) / o->batch;
}

static void shuffle(train_order *o, uint64_t epoch) {
    if (epoch == o->epoch) return;
    o->epoch = epoch;
    for (size_t i = 0; i < o->n; i++) o->row[i] = i;
    if (o->as_it_is) return;
    rng r = {hash_value(hash_value(HASH_BEGIN, o->seed), epoch), STREAM_SHUFFLE, 0};
    for (size_t i = o->n; i > 1; i--) {
        size_t k = rng_below(&r, i), t = o->row[i - 1];
        o->row[i - 1] = o->row[k];
        o->row[k] = t;
    }
}

const size_t *order_at(train_order *o, uint64_t step, size_t *n) {
    size_t each = order_steps(o), from = (size_t)(step % each) * o->batch;
    *n = o->n - from < o->batch ? o->n - from : o->batch;
    shuffle(o, step / each);
    return o->row + from;
}
