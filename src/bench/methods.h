/* methods.h - what the statistical methods have in common beyond stat.h. */
#ifndef PGR_BENCH_METHODS_H
#define PGR_BENCH_METHODS_H

#include "bench/stat.h"

/* Tunes the penalties of all parts that s has, and of the items where they count. z: as in stat_tune. */
pgr_status method_tune(stat *s, bool items, ridge_penalty *p, double *z, pgr_error *err);

/* similar.c */
pgr_status run_similar_users(const bench_data *d, const bench_method_options *o, double *p, pgr_error *err);
pgr_status run_embedding_users(const bench_data *d, const bench_method_options *o, double *p, pgr_error *err);

#endif
