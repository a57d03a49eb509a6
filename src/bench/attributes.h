/* attributes.h - what people choose by the surface of texts, as a file: weights of the attributes of features.h, which
 * the benchmark's method `attributes` fits on train rows and pgr_attributes_open makes a reward model of. */
#ifndef PGR_BENCH_ATTRIBUTES_H
#define PGR_BENCH_ATTRIBUTES_H

#include "base/status.h"
#include "bench/features.h"

/* w: (N_FEATURE) of fits_attributes, of this many pairs of the set. */
pgr_status attributes_write(const double *w, const char *data, size_t n_pair, const char *path, pgr_error *err);

#endif
