/* form.h - prototypes by facts: which kinds of taste the members of a collection have (mixture.h), and how many. */
#ifndef PGR_PROTOTYPE_FORM_H
#define PGR_PROTOTYPE_FORM_H

#include "prototype/collect.h"
#include "prototype/mixture.h"

typedef struct form_options {
    size_t k;        /* 0: as many as say most of users who were left out */
    size_t restarts; /* of k-means, from which a fit starts */
    uint64_t seed;
    pool *threads;
    pgr_watch watch;
} form_options;

typedef struct form_classes {
    mixture m;
    float *starts;     /* (k, dims) the centres that the best fit started from */
    float *prototypes; /* (k, dims) the classes' weights, of length 1 */
    double inertia;    /* of k-means */
    size_t n_iter;
    mixture_trace trace;
} form_classes;

enum { FORM_STARTS = 4, FORM_PAIRS = 65536 };

/* c: by facts, with rows. The best of FORM_STARTS fits by its objective; where there are more than FORM_PAIRS pairs,
 * to every
 * second, third... user. PGR_E_ARG: as kmeans. On error out is empty. */
pgr_status form_fit(const collection *c, const form_options *o, form_classes *out, pgr_error *err);
void form_free(form_classes *f);

/* The likeliest class of every row.                                                                assign: (n_row) */
void form_assign(const collection *c, const mixture *m, pool *threads, uint32_t *assign);

#endif
