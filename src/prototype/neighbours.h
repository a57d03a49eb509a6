/* neighbours.h - the users most similar to a vector: the nearest prototypes, then every member of theirs. */
#ifndef PGR_PROTOTYPE_NEIGHBOURS_H
#define PGR_PROTOTYPE_NEIGHBOURS_H

#include "prototype/artefact.h"

typedef struct near_user {
    uint32_t user;
    uint64_t row;      /* the most similar of his rows */
    double similarity; /* cosine to it, of the exact vectors */
} near_user;

typedef struct near_prototype {
    uint32_t prototype;
    double distance2; /* squared distance */
} near_prototype;

/* The n nearest prototypes (after refinement), nearest first, of equal ones the lower number. out (n), n <= a->k.
 *   v: (a->dims) */
pgr_status neighbours_prototypes(const artefact *a, const float *v, size_t n, near_prototype *out, pgr_error *err);

/* The n users most similar to v, most similar first, ties by id; `self` (a->n_user: nobody) is left out. Members of the
 * n_probe nearest prototypes are looked at, and of further ones only while fewer than n users were found. The ranking
 * is that of the exact vectors: 8-bit codes only rule out rows that cannot be among the n.
 *     out (n), *n_out <= n is how many there are.       v: (a->dims) of length 1
 * threads: any number at once on one artefact. */
pgr_status neighbours_find(const artefact *a, const float *v, size_t self, size_t n, size_t n_probe, near_user *out,
                           size_t *n_out, pgr_error *err);

typedef struct near_range { /* of users */
    size_t from, to; /* to is not in it */
} near_range;

/* The same among the users of a range: of the others nothing is read but whose a row is. */
pgr_status neighbours_find_in(const artefact *a, near_range range, const float *v, size_t self, size_t n,
                              size_t n_probe, near_user *out, size_t *n_out, pgr_error *err);

#endif
