/* judge.h - inside of judging, for other rooms and tests: judging with any source of similar users, and the analyses
 * that a model writes of users. */
#ifndef PGR_JUDGE_JUDGE_H
#define PGR_JUDGE_JUDGE_H

#include "prototype/people.h"

/* Who is similar to a request's user, and which pairs say most about a request. */
typedef struct judge_source {
    /* As people_neighbours. */
    pgr_status (*neighbours)(void *ctx, const pgr_request *r, size_t n, arena *a, neighbourhood *out, pgr_error *err);
    /* As people_relevance; NULL: by the options' embedder. */
    pgr_status (*relevance)(void *ctx, const pgr_request *r, const preference_pair *pairs, const float *vectors,
                            size_t n, double *out, pgr_error *err);
    void *ctx;
} judge_source;

pgr_status judge_options_check(const pgr_judge_options *o, pgr_error *err); /* ranges of the rows, weights */

/* pgr_judge_many with the source in the place of options->people. source NULL: pro > 0 is refused. */
pgr_status judge_many_from(pgr_engine *engine, const pgr_request *const *requests, size_t n,
                           const pgr_judge_options *options, const judge_source *source, pgr_result **results,
                           pgr_error *errors);

/* The same with at most at_once requests at work together (0: as many as keep the engine busy): whoever keeps what is
 * handed over one by one loses the chains of so many with a kill. Results do not depend on it. */
pgr_status judge_many_paced(pgr_engine *engine, const pgr_request *const *requests, size_t n,
                            const pgr_judge_options *options, const judge_source *source, size_t at_once,
                            pgr_result **results, pgr_error *errors);

/* pgr_judge_many in the same way. */
pgr_status judge_many_at_once(pgr_engine *engine, const pgr_request *const *requests, size_t n,
                              const pgr_judge_options *options, size_t at_once, pgr_result **results,
                              pgr_error *errors);

/* pgr_judge_show with the source in the place of options->people; NULL: pgr_judge_show. */
pgr_status judge_show_from(pgr_engine *engine, const pgr_request *request, const pgr_judge_options *options,
                           const judge_source *source, pgr_shown **out, pgr_error *err);

/* Preference analyses as pgr_analyse writes them; texts (n): NULL for requests that have none because they could not
 * be judged, whose first error is returned. The caller's (pgr_free). */
pgr_status judge_analyses(pgr_engine *engine, const pgr_request *const *requests, size_t n,
                          const pgr_judge_options *options, char **texts, pgr_error *err);

#endif
