/* ask_method.h - a statistical method fitted on a set and asked once, for tests. */
#ifndef PGR_TEST_ASK_METHOD_H
#define PGR_TEST_ASK_METHOD_H

#include "bench/fits.h"

typedef struct method_options {
    size_t history;
    bool stranger; /* the first one of the seed */
    bool plain;
    uint64_t seed;
    const float *vectors; /* (n_item, dims) */
    size_t dims;
    const float *gaps; /* (n_row) */
    pgr_scalar *scalar;
    pool *threads;
} method_options;

/* p: (n_test) */
static inline pgr_status ask_method(const bench_data *d, const char *name, const method_options *o, double *p,
                                    pgr_error *err) {
    stat_source source = {.d = d, .vectors = o->vectors, .dims = o->dims, .gaps = o->gaps, .threads = o->threads};
    size_t *donor = mem_array(d->n_user + 1, sizeof *donor);
    fits *f = NULL;
    pgr_status s = donor ? fits_open(&source, NULL, o->scalar, &f, err) : fail_mem(err);
    if (s == PGR_OK) s = bench_strangers(d, o->seed, 0, donor, err);
    fits_ask how = {o->history, o->stranger ? donor : NULL, o->plain, o->seed};
    if (s == PGR_OK) s = fits_predict(f, bench_method_find(name), &how, p, err);
    fits_close(f);
    mem_free(donor);
    return s;
}

#endif
