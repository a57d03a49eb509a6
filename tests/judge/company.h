/* company.h - for tests of requests that are judged together: how they are asked, and what of a result may not depend
 * on the company that its request had. */
#ifndef PGR_TESTS_COMPANY_H
#define PGR_TESTS_COMPANY_H

#include "tiny_engine.h"

static inline pgr_judge_options options(int ind) {
    pgr_judge_options o = pgr_judge_options_default();
    o.ind = ind;
    o.keep_chains = true;
    o.frame = MINI;
    return o;
}

/* Numbers bit for bit: JSON has all of their digits. Times and what was cached depend on the company. */
static inline char *plain_json(const pgr_result *r) {
    pgr_result plain = *r;
    char *json = NULL;
    plain.seconds = plain.first_token_s = 0;
    plain.cached_tokens = 0;
    assert_int_equal(pgr_result_json(&plain, &json, NULL), PGR_OK);
    return json;
}

#endif
