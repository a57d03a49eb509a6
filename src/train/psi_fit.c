/* psi_fit.c - what the taste and the text weigh against each other: logistic regression on held pairs, whose users'
 * other pairs make the taste. Both kinds of data weigh alike; views are no part of it, where they decide alone. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "train/fit.h"
#include "train/loss.h"
#include "train/psi.h"

/* A taste weighs as far as the pairs that tell it bear each other out, to which this many without a lead are added: on
 * train rows pairs lead by .11 of their number in PRISM, .40 in the MT-bench votes, .60 of synthetic users. */
static const double MORE_PAIRS = 3;
static const double PRECISION = 0.01; /* of a and b, against the weight of a kind's pairs, 1: keeps them finite */

typedef struct gathered {
    fit_row *rows; /* (n) */
    size_t n;
} gathered;

/* The user's other pairs that may tell his taste for this one: not those of its query. */
static size_t others(const psi *p, const psi_set *s, size_t row, size_t *out) {
    const psi_user *u = &s->users[s->user[row]];
    size_t n = 0;
    for (size_t i = u->first; i < u->first + u->n && n < p->o->eval_pairs; i++)
        if (i != row && strcmp(psi_query(&s->pairs[i]), psi_query(&s->pairs[row])) != 0) out[n++] = i;
    return n;
}

static pgr_status gather_kind(psi *p, train_run *r, pgr_psi_kind kind, arena *a, gathered *g, pgr_error *err) {
    const psi_set *s = &p->sets[kind];
    size_t limit = p->o->eval_limit + 1, most = p->o->eval_pairs + 1;
    size_t *pairs = arena_array(a, limit, sizeof *pairs), *shown = arena_array(a, limit, most * sizeof *shown);
    size_t *n_shown = arena_array(a, limit, sizeof *n_shown);
    psi_margin *text = arena_array(a, limit, sizeof *text);
    double *taste = arena_array(a, limit, N_TASTE * sizeof *taste);
    if (!pairs || !shown || !n_shown || !text || !taste) return fail_mem(err);
    size_t n = psi_held_pairs(p, s, pairs);
    for (size_t i = 0; i < n; i++) n_shown[i] = others(p, s, pairs[i], shown + i * most);
    PGR_TRY(psi_margins(p, r, s, pairs, n, PSI_REJECTED, text, err));
    psi_shown who = {s, shown, n_shown, most, n};
    PGR_TRY(psi_read_tastes(p, r, &who, taste, NULL, NULL, err));
    for (size_t i = 0; i < n; i++) { /* a response's taste is measured against the other one: the difference doubles */
        double margin = 2 * taste_margin(taste + i * N_TASTE, s->levels + pairs[i] * N_FACT, N_FACT);
        size_t lead;
        PGR_TRY(slots_lead(s->pairs, shown + i * most, n_shown[i], &lead, err));
        margin *= (double)lead / ((double)n_shown[i] + MORE_PAIRS);
        g->rows[g->n++] = (fit_row){{margin, psi_margin_mean(&text[i])}, 1 / (double)n};
    }
    return PGR_OK;
}

/* a, b and pairs of --init's file; as they are where it has none. */
static pgr_status keep_weights(psi *p, pgr_error *err) {
    char path[SAVED_PATH];
    slots_weights w;
    const char *init = p->o->train.init;
    int n = snprintf(path, sizeof path, "%s/slots.json", init ? init : "");
    if (n < 0 || n >= (int)sizeof path) return fail(err, PGR_E_LIMIT, "%s: the path is too long", init);
    if (!init || !file_exists(path)) return PGR_OK;
    PGR_TRY(slots_weights_read(path, &w, err));
    p->weights.a = w.a;
    p->weights.b = w.b;
    p->weights.pairs = w.pairs;
    return PGR_OK;
}

pgr_status psi_conclude(void *ctx, train_run *r, pgr_error *err) {
    psi *p = ctx;
    if (p->o->no_fit) return keep_weights(p, err);
    arena a = {0};
    gathered g = {arena_array(&a, PGR_PSI_KINDS * (p->o->eval_limit + 1), sizeof *g.rows), 0};
    pgr_status s = g.rows ? PGR_OK : fail_mem(err);
    for (pgr_psi_kind k = PGR_PSI_TASTE; s == PGR_OK && k < PGR_PSI_KINDS; k++)
        if (p->sets[k].n_pair > 0 && k != PGR_PSI_VIEWS) s = gather_kind(p, r, k, &a, &g, err);
    double w[2] = {0, 0};
    if (s == PGR_OK) fit_two(g.rows, g.n, PRECISION, w);
    arena_free(&a);
    if (s != PGR_OK || w[0] + w[1] <= 0) return s; /* nothing held, or nothing learnt: both weigh alike */
    p->weights.a = w[0];
    p->weights.b = w[1];
    p->weights.pairs = MORE_PAIRS;
    return PGR_OK;
}

pgr_status psi_finish(void *ctx, train_run *r, const char *folder, pgr_error *err) {
    psi *p = ctx;
    char path[SAVED_PATH];
    (void)r;
    p->weights.trained = true;
    int n = snprintf(path, sizeof path, "%s/slots.json", folder);
    if (n < 0 || n >= (int)sizeof path) return fail(err, PGR_E_LIMIT, "%s: the path is too long", folder);
    return slots_weights_write(&p->weights, path, err);
}
