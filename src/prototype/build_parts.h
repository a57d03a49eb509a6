/* build_parts.h - what a build of prototypes (build.c) and joining one that is there (build_add.c) share. */
#ifndef PGR_PROTOTYPE_BUILD_PARTS_H
#define PGR_PROTOTYPE_BUILD_PARTS_H

#include "prototype/artefact.h"
#include "prototype/collect.h"
#include "prototype/refine.h"
#include "prototype/singular.h"

typedef struct build {
    const pgr_proto_options *o;
    collection c;
    textvec *vec;
    pool *threads;
    arena arena;
    size_t k, d;
    uint32_t *assign;      /* (n_row) */
    float *before, *after; /* (k, d) */
    float *theta;          /* parameters of refinement; NULL: none */
    float *mixture;        /* by facts; else NULL */
    size_t n_mixture;
    views_made views;      /* by votes; else none */
    size_t n_theta, n_iter, n_sample, n_left_out;
    double inertia, own_lead, *losses;
    size_t n_loss;
    singular_curve curve;
    refine_options ro;
    const char *const **words; /* (k) */
    uint64_t *start;           /* (k + 1) */
    uint32_t *order;           /* (n_row) rows by prototype */
    char *ids;
    uint64_t *ids_at;
} build;

/* Checks the options and opens what is computed with; what was collected and computed goes with build_release. */
pgr_status build_prepare(build *b, pgr_store *store, const pgr_proto_options *options, pgr_error *err);
void build_release(build *b);

/* start and order: rows by prototype (assign), those of one in their old order. */
pgr_status build_group_rows(build *b, pgr_error *err);
/* ids and ids_at: the users' names behind each other. */
pgr_status build_join_ids(build *b, pgr_error *err);
/* Both and the vectors, which stay b's, as the file's. */
void build_put_members(const build *b, artefact *a);

#endif
