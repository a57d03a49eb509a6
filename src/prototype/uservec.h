/* uservec.h - a user as a vector: which of his pairs count, and what they add up to. */
#ifndef PGR_PROTOTYPE_USERVEC_H
#define PGR_PROTOTYPE_USERVEC_H

#include "prototype/mixture.h"
#include "prototype/textvec.h"
#include "user/store.h"

const char *uservec_by_name(pgr_proto_by by); /* "votes", "choices", "analysis", "facts" */
pgr_proto_by uservec_by_of(const char *name);  /* of one of these names */
bool uservec_embeds(pgr_proto_by by);          /* it needs an embedder */
/* The space of this way's vectors: e's, or else without a model, by votes of `dims` values. */
pgr_status uservec_space(pgr_proto_by by, pgr_embedder *e, size_t dims, textvec **out, pgr_error *err);

/* A user of the store and those of his pairs that count: rule is "history" (all splits but test and val), "all",
 * or a split's name. */
typedef struct person {
    user_record user;
    const preference_pair *pairs; /* (n) */
    const int64_t *keys;          /* (n) */
    size_t n;
} person;

/* Memory of the arena. *found = false: the store has no such user. */
pgr_status person_load(store *s, const char *id, const char *rule, arena *a, person *out, bool *found, pgr_error *err);
bool person_counts(const char *rule, const char *split);

/* By all ways but analysis: the sum over pairs of chosen - rejected (choices: of length 1 each), of length 1. false:
 * nothing to go by. vectors: (n_pair, 2, dims) chosen, rejected; sum: (dims) scratch; out: (dims) */
bool uservec_sum(pgr_proto_by by, const float *vectors, size_t n_pair, size_t dims, double *sum, float *out);

/* The same from texts. *found = false: nothing to go by. */
pgr_status uservec_of_pairs(textvec *t, pgr_proto_by by, const preference_pair *pairs, size_t n, pgr_cancel *cancel,
                            float *out, bool *found, pgr_error *err);

/* By facts, of somebody who asks: what is to be expected of his taste, given his pairs and the tastes that members have
 * (mixture_place). A member's vector says what his choices look like to a reader, this one what will be right for him:
 * who is near to it is worth reading in his place. *found = false: no pair differs in any fact. t: the space of facts
 * */
pgr_status uservec_of_taste(textvec *t, const mixture *m, const preference_pair *pairs, size_t n, float *out,
                            bool *found, pgr_error *err);

#endif
