/* chain.c - a chain's text by its form. The forms are in chain_compact.c and chain_full.c. */
#include "judge/chain.h"

#include <math.h>

#include "judge/chain_parts.h"

pgr_status chain_parse(chain_form form, const char *text, size_t n, size_t n_response, arena *a, chain *out,
                       pgr_error *err) {
    return chain_read(form, &(chain_text){.s = text, .n = n}, n_response, a, out, err);
}

pgr_status chain_read(chain_form form, const chain_text *text, size_t n_response, arena *a, chain *out,
                      pgr_error *err) {
    chain c = {.persona = "", .weight_sum = NAN, .text = text};
    c.criteria = arena_array(a, CHAIN_MAX_CRITERIA, sizeof *c.criteria);
    c.declared = nan_array(a, n_response);
    c.recomputed = nan_array(a, n_response);
    c.expected = nan_array(a, n_response);
    if (!c.criteria || !c.declared || !c.recomputed || !c.expected) return fail_mem(err);

    span t = {text->s, text->s + text->n};
    if (form == CHAIN_FULL)
        PGR_TRY(full_parse(t, n_response, a, &c, err));
    else
        PGR_TRY(compact_parse(t, n_response, a, &c, err));
    chain_weigh(&c, n_response);
    c.text = NULL;
    *out = c;
    return PGR_OK;
}

const chain_criterion *chain_criteria(const chain *c, pgr_score_kind kind, size_t *n) {
    bool whole = kind == PGR_SCORE_EXPECTED && c->n_whole > 0;
    *n = whole ? c->n_whole : c->n_criterion;
    return whole ? c->whole : c->criteria;
}

const double *chain_scores(const chain *c, pgr_score_kind kind) {
    switch (kind) {
    case PGR_SCORE_DECLARED:
        return c->declared;
    case PGR_SCORE_RECOMPUTED:
        return c->recomputed;
    case PGR_SCORE_EXPECTED:
        return c->expected;
    case PGR_SCORE_AUTO:
        break;
    }
    return NULL;
}

const double *criterion_scores(const chain_criterion *k, pgr_score_kind kind) {
    return kind == PGR_SCORE_EXPECTED && k->expected ? k->expected : k->scores;
}
