/* votes.h - the method `ideal-points`: the model of all votes by which prototypes by votes judge statements (views.h),
 * fitted to the train rows of a set. */
#ifndef PGR_BENCH_VOTES_H
#define PGR_BENCH_VOTES_H

#include "bench/pairs.h"

typedef struct votes votes;

/* d must outlive it. */
pgr_status votes_fit(const bench_data *d, const pgr_watch *watch, votes **out, pgr_error *err);
void votes_free(votes *v); /* NULL is fine */

/* The probabilities of a user's asked rows, if these n rows are known of him, which are user `whose`'s: votes of both
 * are taken out of the model first. A row of which nobody else knows a text: .5 is said of that text.
 * list: (n); p: (users[user].n_test) */
pgr_status votes_ask(votes *v, size_t user, const size_t *list, size_t n, size_t whose, double *p, pgr_error *err);

#endif
