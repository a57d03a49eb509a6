/* chain.c - a chain's text by its form. The forms are in chain_compact.c and chain_full.c. */
#include "judge/chain.h"

#include <math.h>

#include "judge/chain_parts.h"

pgr_status chain_parse(chain_form form, const char *text, size_t n, size_t n_response, arena *a, chain *out,
                       pgr_error *err) {
    chain c = {.persona = "", .weight_sum = NAN};
    c.criteria = arena_array(a, CHAIN_MAX_CRITERIA, sizeof *c.criteria);
    c.declared = nan_array(a, n_response);
    c.recomputed = nan_array(a, n_response);
    if (!c.criteria || !c.declared || !c.recomputed) return fail_mem(err);

    span t = {text, text + n};
    if (form == CHAIN_COMPACT)
        PGR_TRY(compact_parse(t, n_response, a, &c, err));
    else
        PGR_TRY(full_parse(t, n_response, a, &c, err));
    chain_weigh(&c, n_response);
    *out = c;
    return PGR_OK;
}
