/* collect.h - the users of a store as rows of a matrix. Vectors that an embedder makes are kept in the store, batch by
 * batch, so that a build that was cut off goes on where it was; what needs none is measured in one pass. */
#ifndef PGR_PROTOTYPE_COLLECT_H
#define PGR_PROTOTYPE_COLLECT_H

#include "base/pool.h"
#include "prototype/uservec.h"

typedef struct collection {
    store *store;
    textvec *vec;
    pgr_proto_by by;
    const char *split, *analyst;
    pgr_analyse_fn analyse;
    void *analyse_ctx;
    pgr_watch watch;
    pool *threads; /* may be NULL */
    bool (*skip)(void *ctx, const char *id); /* users to leave out; may be NULL */
    void *skip_ctx;

    char **ids; /* (n_user) ascending by strcmp; those with a row */
    size_t n_user, cap, n_pair; /* n_pair: of all users with a pair that counts */
    float *rows;        /* (n_row, dims) of length 1; users in their order, a user's rows in the order of his pairs */
    uint32_t *row_user; /* (n_row) */
    uint32_t *row_pair; /* (n_row) by analysis: the place of its pair among the user's; else 0 */
    size_t n_row, cap_row;
    float *form;        /* by facts (chosen - rejected of every pair, dims) of users with a row; else NULL */
    size_t *form_first; /* (n_row + 1) those of row r are form_first[r] .. form_first[r + 1] - 1 */
    uint32_t *form_query; /* of each pair: equal for those of one query */
    size_t cap_form, cap_first, cap_query;
} collection; /* the first part is set by the caller, the second all zero */

/* All users with at least one pair that counts, their vectors (into the store: chosen, rejected, query, and for
 * PGR_PROTO_ANALYSIS analysis), their rows. PGR_E_LIMIT: beyond 2^32 - 1 users. */
pgr_status collect(collection *c, pgr_error *err);
void collect_free(collection *c);

/* The vectors of a person's pairs from the store, else computed (and not kept).   out: (p->n, 2, dims)
 * chosen, rejected */
pgr_status collect_pair_vectors(const collection *c, const person *p, float *out, pgr_error *err);
/* One vector per pair. what: "query" or "analysis"; *found[i] = false: there is none.      out: (p->n, dims),
 * found: (p->n) */
pgr_status collect_one_vector(const collection *c, const person *p, const char *what, float *out, bool *found,
                              pgr_error *err);

pgr_status collect_step(const collection *c, const char *label, size_t done, size_t total, const char *unit,
                        pgr_error *err);

#endif
