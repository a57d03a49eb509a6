/* chain_parts.c - what both forms of chain share: criteria, weights and totals, the verdict whether a chain parsed. */
#include "judge/chain_parts.h"

#include <math.h>

double *nan_array(arena *a, size_t n) {
    double *v = arena_array(a, n, sizeof *v);
    for (size_t i = 0; v && i < n; i++) v[i] = NAN;
    return v;
}

chain_criterion *chain_add(chain *c, arena *a, size_t n_response, span name, double weight, span reason, bool *mem) {
    *mem = false;
    if (c->n_criterion == CHAIN_MAX_CRITERIA) return NULL;
    chain_criterion *k = &c->criteria[c->n_criterion];
    *k = (chain_criterion){span_copy(a, name, NAME_BYTES), weight, span_copy(a, reason, REASON_BYTES),
                           nan_array(a, n_response), nan_array(a, n_response)};
    *mem = !k->name || !k->reason || !k->scores || !k->expected;
    if (*mem) return NULL;
    c->n_criterion++;
    return k;
}

double chain_expected_at(const chain *c, const char *s) {
    const chain_text *t = c->text;
    size_t at = t ? (size_t)((uintptr_t)s - (uintptr_t)t->s) : 0; /* of another text: beyond this one's end */
    if (!t || at >= t->n) return NAN;
    size_t lo = 0, hi = t->n_place;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (t->places[mid].at < at)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < t->n_place && t->places[lo].at == at ? t->places[lo].mean : NAN;
}

/* The totals from the criteria where all of these are known. */
static void weigh_expected(chain *c, size_t n_response) {
    for (size_t i = 0; i < c->n_criterion; i++)
        for (size_t r = 0; r < n_response; r++)
            if (!isfinite(c->criteria[i].expected[r])) return;
    for (size_t r = 0; r < n_response; r++) {
        double total = 0.0;
        for (size_t i = 0; i < c->n_criterion; i++) total += c->criteria[i].weight / 100.0 * c->criteria[i].expected[r];
        c->expected[r] = total;
    }
}

void chain_weigh(chain *c, size_t n_response) {
    double sum = 0.0;
    bool complete = c->n_criterion > 0, any = false;
    for (size_t i = 0; i < c->n_criterion; i++) {
        chain_criterion *k = &c->criteria[i];
        if (isfinite(k->weight))
            sum += k->weight, any = true;
        else
            complete = false;
        for (size_t r = 0; r < n_response; r++) complete = complete && isfinite(k->scores[r]);
    }
    c->weight_sum = any ? sum : NAN;
    if (!(sum > 0.0)) return;
    for (size_t i = 0; i < c->n_criterion; i++) c->criteria[i].weight *= 100.0 / sum;
    for (size_t r = 0; complete && r < n_response; r++) {
        double total = 0.0;
        for (size_t i = 0; i < c->n_criterion; i++) total += c->criteria[i].weight / 100.0 * c->criteria[i].scores[r];
        c->recomputed[r] = total;
    }
    if (complete) weigh_expected(c, n_response);
}

pgr_status chain_refuse(chain *c, char *reason, pgr_error *err) {
    if (!reason) return fail_mem(err);
    c->parsed = false;
    if (!c->reason) c->reason = reason;
    return PGR_OK;
}

pgr_status chain_judge_totals(chain *c, size_t n_response, double lo, double hi, const char *(*name)(char *, size_t),
                              arena *a, pgr_error *err) {
    char label[32];
    for (size_t r = 0; !c->reason && r < n_response; r++) {
        double v = c->declared[r];
        if (isnan(v)) return chain_refuse(c, arena_printf(a, "%s: no score", name(label, r)), err);
        if (!(v >= lo && v <= hi))
            return chain_refuse(c, arena_printf(a, "%s: score %g is outside %g..%g", name(label, r), v, lo, hi), err);
    }
    c->parsed = !c->reason;
    return PGR_OK;
}
