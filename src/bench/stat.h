/* stat.h - what the statistical methods share: attributes of the rows,
 * folds for tuning inside the train rows, histories. */
#ifndef PGR_BENCH_STAT_H
#define PGR_BENCH_STAT_H

#include "bench/pairs.h"
#include "bench/ridge.h"

enum { STAT_FOLDS = 5, STAT_TRIES = 4 };

typedef enum stat_attributes {
    STAT_NONE,
    STAT_LENGTH,  /* characters alone */
    STAT_SURFACE, /* features.h */
} stat_attributes;

/* What stands beside the attributes, without personal weights and with a penalty of its own. */
typedef enum stat_vectors {
    STAT_NO_VECTORS,
    STAT_EMBEDDINGS, /* differences of the responses' embeddings */
    STAT_SCALAR,     /* one value: the difference of a reward model's scores */
} stat_vectors;

typedef struct stat {
    const bench_data *d;
    const bench_method_options *o;
    ridge_rows rows;        /* of all rows of d */
    float *x;               /* attributes over their root mean square on train rows;
                             * embeddings over that of all dimensions */
    size_t *user, (*item)[2];
    size_t *train, n_train; /* rows that may be learnt from */
    unsigned char *fold;    /* (n_row) of a train row: rows that share a text in the way in which train and asked
                             * rows do not are in one fold */
    size_t *donor;          /* (n_user) whose history is his */
    size_t *drawn;          /* (n_train) scratch of stat_history */
    size_t *in, *out;       /* (n_train) scratch: rows of the other folds, of the fold */
    float *vectors;         /* of the items or rows, where they were computed here */
    const float *embeddings; /* (n_item, dims) or NULL */
    size_t dims;
} stat;

pgr_status stat_open(const bench_data *d, const bench_method_options *o, stat_attributes attributes,
                     stat_vectors vectors, bool personal, stat *s, pgr_error *err);
void stat_close(stat *s);

/* s->embeddings of a stat that was opened without: not among the attributes. */
pgr_status stat_embed(stat *s, pgr_error *err);

/* The rows that are known of the user under the options: his own or the stranger's, at most o->history. Valid until the
 * next call. */
const size_t *stat_history(stat *s, size_t user, size_t *n);

/* s->in, s->out: train rows outside and inside the fold. */
void stat_split(stat *s, unsigned char fold, size_t *n_in, size_t *n_out);

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
