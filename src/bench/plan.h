/* plan.h - the settings that decide the numbers of a benchmark run, kept in its folder: no other run goes on there. */
#ifndef PGR_BENCH_PLAN_H
#define PGR_BENCH_PLAN_H

#include "base/json.h"
#include "bench/pairs.h"

/* Everything that the numbers depend on, as an object: the options, the model's fingerprint (a number that its weights,
 * its arithmetic and its adapters decide) and the data's digests. engine may be NULL. *out: json_decref. */
pgr_status plan_settings(const pgr_bench_options *o, pgr_engine *engine, const bench_data *const *sets, size_t n_set,
                         json_t **out, pgr_error *err);
/* The folder is made where it is missing. A folder without a plan gets this one; one with a plan must be resumed, with
 * the same settings: else PGR_E_ARG that names the first difference. */
pgr_status plan_keep(const char *folder, const json_t *settings, bool resume, pgr_error *err);

uint64_t plan_digest(const bench_data *d); /* of all texts, users and roles of the rows */

#endif
