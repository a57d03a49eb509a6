/* company.h - similar users for a data set: a store and prototypes made of its train rows,
 * and which prototype each user is nearest to. */
#ifndef PGR_BENCH_COMPANY_H
#define PGR_BENCH_COMPANY_H

#include "bench/pairs.h"
#include "prototype/people.h"

/* Opens FOLDER/NAME.users.db and its prototypes, made of the train rows alone; what a killed run left of them is made
 * whole. Without o->by votes on texts decide who is similar where texts have several judges, else directions of
 * choice, which need the embedder. *out: pgr_people_close. */
pgr_status company_make(const bench_data *d, const pgr_bench_options *o, const char *folder, pgr_people **out,
                        pgr_error *err);

/* PGR_E_ARG: o->by is none of the ways that need no model to write analyses, or needs an embedder. */
pgr_status company_check(const pgr_bench_options *o, pgr_error *err);

/* The prototype nearest to each user who is asked, by his train rows.  out: (n_user) -1: none could be told */
pgr_status company_prototypes(const bench_data *d, pgr_people *p, int *out, pgr_error *err);

#endif
