/* fuzz_chain.c - any bytes as a chain. The first byte chooses the form (bit 0: compact) and the number of responses (2
 * to 5). A chain parses with scores in range, or it has a reason; weights sum to 100; totals that the program fills in
 * parse. */
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "judge/chain.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const chain *c, chain_form form, size_t n_response) {
    double weight = 0.0;
    bool weighted = c->n_criterion > 0, scored = true;
    PGR_ASSERT(c->parsed == (c->reason == NULL) && c->persona && c->n_criterion <= CHAIN_MAX_CRITERIA);
    PGR_ASSERT(strlen(c->persona) <= 400);
    for (size_t i = 0; i < c->n_criterion; i++) {
        const chain_criterion *k = &c->criteria[i];
        PGR_ASSERT(k->name && k->reason && strlen(k->name) <= 80 && strlen(k->reason) <= 1300);
        weighted = weighted && isfinite(k->weight);
        weight += k->weight;
        for (size_t r = 0; r < n_response; r++) {
            scored = scored && isfinite(k->scores[r]);
            PGR_ASSERT(isnan(k->scores[r]) || (k->scores[r] >= 0.0 && k->scores[r] <= 10.0));
        }
    }
    PGR_ASSERT(!weighted || !(c->weight_sum > 0.0) || fabs(weight - 100.0) < 1e-6);
    for (size_t r = 0; r < n_response; r++) {
        double lo = form == CHAIN_FULL ? 0.0 : 1.0, hi = form == CHAIN_FULL ? 100.0 : 10.0;
        PGR_ASSERT(!c->parsed || (c->declared[r] >= lo && c->declared[r] <= hi));
        PGR_ASSERT(isfinite(c->recomputed[r]) == (weighted && scored && c->weight_sum > 0.0));
        PGR_ASSERT(isnan(c->recomputed[r]) || (c->recomputed[r] >= -1e-9 && c->recomputed[r] <= 10.0 + 1e-9));
    }
}

/* Every complete line counts, so the totals lie in 1..10 and a Total line of them parses. */
static void check_totals(const char *text, size_t n, size_t n_response, arena *a) {
    buf out = {0};
    pgr_error err = {0};
    chain c;
    buf_puts(&out, "Persona: x\nTotal: ");
    if (chain_totals(text, n, n_response, &out, &err) == PGR_OK) {
        PGR_ASSERT(chain_parse(CHAIN_COMPACT, out.data, out.n, n_response, a, &c, &err) == PGR_OK && c.parsed);
    } else {
        PGR_ASSERT(err.status == PGR_E_FORMAT && err.message[0]);
    }
    buf_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size == 0) return 0;
    chain_form form = data[0] & 1 ? CHAIN_COMPACT : CHAIN_FULL;
    size_t n_response = 2 + (size_t)(data[0] >> 1) % 4;
    const char *text = (const char *)data + 1;
    arena a = {0};
    chain c;
    PGR_ASSERT(chain_parse(form, text, size - 1, n_response, &a, &c, NULL) == PGR_OK);
    check(&c, form, n_response);
    if (form == CHAIN_COMPACT) check_totals(text, size - 1, n_response, &a);
    arena_free(&a);
    return 0;
}
