/* stat.h - what the statistical methods share: measured once for a set (stat_source), prepared for one model (stat):
 * attributes of the rows, folds for tuning inside the train rows, the tuning itself. */
#ifndef PGR_BENCH_STAT_H
#define PGR_BENCH_STAT_H

#include "base/pool.h"
#include "bench/methods.h"
#include "bench/pairs.h"
#include "bench/ridge.h"

enum { STAT_FOLDS = 5, STAT_TRIES = 4 };

typedef struct stat_source { /* of a set */
    const bench_data *d;
    pgr_watch watch; /* without progress where another thread runs it */
    pool *threads;   /* NULL: this thread alone; the numbers are the same, bit for bit */
    /* What no model that is opened needs may be NULL: */
    const float *surface; /* (n_row, N_FEATURE) attributes of the chosen response less those of the rejected */
    const float *vectors; /* (n_item, dims) embeddings */
    size_t dims;
    const float *gaps;  /* (n_row) a reward model's differences */
    const float *known; /* (n_known, dims) vectors of the first items, where they are there and the others are not */
    size_t n_known;
} stat_source;

/* out: (n_row, N_FEATURE) */
void stat_measure(const bench_data *d, pool *threads, float *out);
/* Embeddings of all items; the first n_known are copied from known. *vectors: (n_item, pgr_embedder_dims) the caller's
 * (mem_free) */
pgr_status bench_embed(const bench_data *d, pgr_embedder *e, const float *known, size_t n_known, const pgr_watch *watch,
                       float **vectors, pgr_error *err);

typedef struct stat_fold {
    size_t *in, n_in;   /* train rows outside the fold */
    size_t *out, n_out; /* inside */
} stat_fold;

typedef struct stat {
    const stat_source *source;
    const bench_data *d;
    ridge_rows rows; /* of all rows of d */
    float *x;        /* attributes over their root mean square on train rows;
                             * embeddings over that of all dimensions */
    double *scale;   /* (n_x) these roots */
    size_t *user, (*item)[2];
    size_t *train, n_train;     /* rows that may be learnt from */
    stat_fold fold[STAT_FOLDS]; /* rows that share a text in the way in which train and asked rows do not are in one
                                 * fold */
    size_t *lists;              /* of the folds */
} stat;

pgr_status stat_open(const stat_source *source, stat_attributes attributes, stat_vectors vectors, bool personal,
                     stat *s, pgr_error *err);
void stat_close(stat *s);

/* One part of a model to be tuned: a place in the penalty and what is tried, ascending or descending. */
typedef struct stat_try {
    double *penalty; /* set to the best */
    const double *values;
    size_t n;
} stat_try;

/* Tunes one part after the other (at most STAT_TRIES) by the loss on held-out folds; where there are several, each then
 * once more between the neighbours of what was chosen. z: (n_row) or NULL: what the folds'
 * models with the chosen penalties say of the rows that they have not seen. */
pgr_status stat_tune(stat *s, ridge_penalty *p, const stat_try *tries, size_t n, double *z, pgr_error *err);

double stat_probability(double z);

#endif
