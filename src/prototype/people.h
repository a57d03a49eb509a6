/* people.h - who is similar to a request's user: the bridge from the store, the prototypes and the embedder to judging. */
#ifndef PGR_PROTOTYPE_PEOPLE_H
#define PGR_PROTOTYPE_PEOPLE_H

#include "user/record.h"

typedef struct pgr_people people; /* the public pgr_people: store + prototypes + embedder, opened together */

typedef struct neighbour {
    const char *user_id;
    double similarity;             /* cosine to the request's user, -1..1 */
    const preference_pair *pairs;  /* (n_pair) of the neighbour */
    const float *vectors;          /* (n_pair, 2, dims) embeddings of chosen and rejected as the store has them; NULL: none */
    size_t n_pair;
} neighbour;

typedef struct neighbourhood {
    neighbour *list; /* (n) most similar first; distinct users, never the request's own */
    size_t n;
    int prototype;     /* the nearest one; -1: none could be told */
    double similarity; /* to it */
    size_t n_evidence; /* pairs of the request's user that placed him */
} neighbourhood;

/* The n users most similar to the request's user (method.md 4): embed the user by his history (or, with none, by what is left:
 * criteria, demographics, the query), take the nearest prototype, then inside it the nearest users. Fewer than n where there are no more. Memory of the
 * arena. */
pgr_status people_neighbours(people *p, const pgr_request *r, size_t n, arena *a, neighbourhood *out, pgr_error *err);

/* How much each pair says about this request: the greatest cosine between one of the pair's texts and one of the request's
 * candidates, plus half the cosine of the queries. out (n). vectors: as in neighbour, or NULL: embedded here. */
pgr_status people_relevance(people *p, const pgr_request *r, const preference_pair *pairs, const float *vectors, size_t n,
                            double *out, pgr_error *err);

size_t people_dims(const people *p);

#endif
