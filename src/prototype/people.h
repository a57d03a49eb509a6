/* people.h - who is similar to a request's user: the bridge from the store,
 * the prototypes and the embedder to judging. */
#ifndef PGR_PROTOTYPE_PEOPLE_H
#define PGR_PROTOTYPE_PEOPLE_H

#include "prototype/views.h"
#include "user/record.h"

typedef struct pgr_people people; /* the public pgr_people: store + prototypes + embedder, opened together */

typedef struct neighbour {
    const char *user_id;
    double similarity;             /* cosine to the request's user, -1..1 */
    const preference_pair *pairs;  /* (n_pair) of the neighbour: those that counted in the build,
                                    * no others (no test rows) */
    const float *vectors;          /* (n_pair, 2, dims) embeddings of chosen and rejected as the store has them;
                                    * NULL: none */
    size_t n_pair;
} neighbour;

typedef struct neighbourhood {
    neighbour *list; /* (n) most similar first; distinct users, never the request's own */
    size_t n;
    int prototype;     /* the nearest one; -1: none could be told */
    double similarity; /* to it */
    size_t n_evidence; /* pairs of the request's user that placed him; 0: he was placed by other things,
                        * or not at all (cold start) */
} neighbourhood;

/* The n users most similar to the request's user (docs/method.md): embed the user by his history, take the nearest
 * prototype, then inside it the nearest users. Fewer than n where there are no more. Memory of the arena.
 * Further prototypes are opened only while there are fewer than n; by `facts` all are, and the user's place is what is
 * to be expected of his taste (uservec_of_taste). Users whom the store has forgotten are not returned.
 * Cold start, with no history that tells anything (n_evidence = 0): by `choices` and `analysis` the user's place is
 * that of the text of his criteria, demographics and the query; by `votes` and `facts` he is taken for the centre of
 * the largest prototype.
 * By `analysis`, a user with a history but without an analysis is placed by that text and the chosen responses;
 * people_neighbours_by has one. */
pgr_status people_neighbours(people *p, const pgr_request *r, size_t n, arena *a, neighbourhood *out, pgr_error *err);

/* The same, placed by a preference analysis that a chain wrote about this request (docs/method.md), where the
 * prototypes are of analyses; else, or with NULL, as people_neighbours.
 * scope: with another one than "", the n most similar of all users whose id begins with it: whatever prototype they
 * belong to, since prototypes are everybody's. Of the others no text, no vector and no number counts or is read. */
pgr_status people_neighbours_by(people *p, const pgr_request *r, const char *analysis, const char *scope, size_t n,
                                arena *a, neighbourhood *out, pgr_error *err);

/* The prototypes say what is to be expected of a person about a text (views.h): they are by votes, of this version. */
bool people_has_views(const people *p);
/* What others said of the responses, and what is to be expected of the request's user, by his history; what he himself
 * and r->donor voted on them, if they are members, does not count.                              out: (r->n_response) */
pgr_status people_views(people *p, const pgr_request *r, people_view *out, pgr_error *err);

/* How much each pair says about this request: the greatest cosine between one of the pair's texts and one of the
 * request's candidates, plus half the cosine of the queries. out (n). vectors: as in neighbour, or NULL: embedded here.
 * Without an embedder (prototypes of votes or facts) a cosine is 1 for equal texts and about 0 for others. */
pgr_status people_relevance(people *p, const pgr_request *r, const preference_pair *pairs, const float *vectors,
                            size_t n, double *out, pgr_error *err);

/* How many of the nearest prototypes are searched; 1 (the method's) if never called. By facts all are. */
void people_set_probe(people *p, size_t n_probe);

/* the prototypes are of analyses: people_neighbours_by places a request better */
bool people_by_analysis(const people *p);

size_t people_dims(const people *p); /* of neighbour.vectors */
/* Names the prototypes and members: the hash of their file's checksums, which tells other contents, not other paths. */
uint64_t people_fingerprint(const people *p);
/* members_lead (lead.h) of those whom the prototypes were made of; 0: not by facts, or by an earlier version. */
double people_own_lead(const people *p);
/* of the pairs that count: "history" (neither test nor val), "all" or a split */
const char *people_split(const people *p);

#endif
