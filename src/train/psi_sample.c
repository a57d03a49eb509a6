/* psi_sample.c - samples for people: what the slots say of one held user and one held pair, and in cre and hncl the
 * chains that would be drawn from the reading. */
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "base/text.h"
#include "train/loss.h"
#include "train/policy.h"
#include "train/psi.h"

enum { STREAM_SAMPLE = 80, WORDS = 4, CHAINS = 3, CHAIN_MAX = 12, TEXT = 160 /* bytes shown of a response */ };

static const psi_set *set_of(const psi *p, pgr_psi_kind kind) {
    return p->evals[kind].n_pair > 0 ? &p->evals[kind] : &p->sets[kind];
}

/* The largest of a distribution over the taste words. */
static void put_words(const double *v, buf *out) {
    bool done[N_TASTE] = {false};
    for (int i = 0; i < WORDS; i++) {
        int best = -1;
        for (int k = 0; k < N_TASTE; k++)
            if (!done[k] && (best < 0 || v[k] > v[best])) best = k;
        done[best] = true;
        buf_printf(out, " %s %.3f", taste_word(best), v[best]);
    }
}

/* Up to n bytes of the first line. */
static void put_begin(const char *s, size_t n, buf *out) {
    size_t whole = strlen(s), line = strcspn(s, "\n"), shown = utf8_clip(s, line, n);
    buf_puts(out, "\"");
    buf_add(out, s, shown);
    buf_puts(out, shown < whole ? "...\"" : "\"");
}

static void put_chains(const psi *p, const train_run *r, const double *reading, const double *truth,
                       const double *levels, size_t n, buf *out) {
    size_t m = p->o->grpo.criteria < CHAIN_MAX ? p->o->grpo.criteria : CHAIN_MAX;
    rng random = {p->o->train.seed ^ r->state.step, STREAM_SAMPLE, 0};
    for (int c = 0; c < CHAINS; c++) {
        double u[CHAIN_MAX], hits = 0;
        int words[CHAIN_MAX];
        for (size_t j = 0; j < m; j++) u[j] = rng_next(&random);
        policy_draw(reading, N_TASTE, u, m, words);
        buf_puts(out, "\n  chain");
        for (size_t j = 0; j < m; j++) buf_printf(out, " %s", taste_word(words[j]));
        for (size_t i = 0; i < n; i++) {
            double margin = policy_margin(words, m, levels + i * N_FACT);
            hits += margin > 0 ? 1 : margin < 0 ? 0 : 0.5;
        }
        buf_printf(out, ": names %.2f of the user's truth, right on %g of %zu",
                   policy_coverage(truth, N_TASTE, words, m), hits, n);
    }
}

typedef struct shown_user {
    const psi_user *user;
    size_t *shown, *rest, n_shown, n_rest;
} shown_user;

/* A held user with something left to ask, another one every time; user NULL: there is none. */
static pgr_status choose_user(const psi *p, const train_run *r, const psi_set *s, arena *a, shown_user *out,
                              pgr_error *err) {
    *out = (shown_user){0};
    rng random = {p->o->train.seed ^ r->state.step, STREAM_SAMPLE, 1000};
    for (size_t tries = 0, at = s->n_user ? rng_below(&random, s->n_user) : 0; tries < s->n_user; tries++) {
        const psi_user *u = &s->users[(at + tries) % s->n_user];
        if (u->n < 2 || !s->held[u->first]) continue;
        size_t want = p->o->eval_pairs < u->n ? p->o->eval_pairs : u->n - 1;
        out->shown = arena_array(a, u->n, sizeof *out->shown);
        out->rest = arena_array(a, u->n, sizeof *out->rest);
        if (!out->shown || !out->rest) return fail_mem(err);
        out->user = u;
        return psi_draw_pairs(s, u, want, p->o->train.seed, (uint32_t)r->state.step, out->shown, &out->n_shown,
                              out->rest, &out->n_rest, err);
    }
    return PGR_OK;
}

static pgr_status sample_taste(psi *p, train_run *r, arena *a, buf *out, pgr_error *err) {
    const psi_set *s = set_of(p, PGR_PSI_TASTE);
    shown_user u;
    double reading[N_TASTE], target[N_TASTE], truth[N_TASTE], own = 0, rule = 0;
    PGR_TRY(choose_user(p, r, s, a, &u, err));
    if (!u.user) return PGR_OK;
    psi_shown who = {s, u.shown, &u.n_shown, u.n_shown, 1};
    PGR_TRY(psi_read_tastes(p, r, &who, reading, NULL, NULL, err));
    slots_target(s->pairs, u.shown, u.n_shown, target);
    double *levels = arena_array(a, u.n_rest + 1, N_FACT * sizeof *levels);
    size_t *all = arena_array(a, u.user->n, sizeof *all);
    if (!levels || !all) return fail_mem(err);
    for (size_t i = 0; i < u.user->n; i++) all[i] = u.user->first + i;
    slots_target(s->pairs, all, u.user->n, truth);
    for (size_t i = 0; i < u.n_rest; i++) {
        memcpy(levels + i * N_FACT, s->levels + u.rest[i] * N_FACT, N_FACT * sizeof *levels);
        double mine = taste_margin(reading, levels + i * N_FACT, N_FACT);
        double teacher = taste_margin(target, levels + i * N_FACT, N_FACT);
        own += mine > 0 ? 1 : mine < 0 ? 0 : 0.5;
        rule += teacher > 0 ? 1 : teacher < 0 ? 0 : 0.5;
    }
    buf_printf(out, "taste of user %s, %zu pairs shown\n  reads", u.user->id, u.n_shown);
    put_words(reading, out);
    buf_puts(out, "\n  rule ");
    put_words(target, out);
    buf_printf(out, "\n  right on %g of %zu other pairs, the rule on %g", own, u.n_rest, rule);
    if (p->o->stage != PGR_STAGE_PSI) put_chains(p, r, reading, truth, levels, u.n_rest, out);
    return PGR_OK;
}

static pgr_status sample_text(psi *p, train_run *r, pgr_psi_kind kind, arena *a, buf *out, pgr_error *err) {
    static const char *const names[] = {"taste", "quality", "views"};
    const psi_set *s = set_of(p, kind);
    psi_margin m;
    rng random = {p->o->train.seed ^ r->state.step, STREAM_SAMPLE, 2000 + (uint32_t)kind};
    size_t *pairs = arena_array(a, p->o->eval_limit + 1, sizeof *pairs);
    if (!pairs) return fail_mem(err);
    size_t n = psi_held_pairs(p, s, pairs), row;
    if (n == 0) return PGR_OK;
    row = pairs[rng_below(&random, n)];
    PGR_TRY(psi_margins(p, r, s, &row, 1, kind == PGR_PSI_VIEWS ? PSI_REJECTED_PEOPLE : PSI_REJECTED, &m, err));
    const preference_pair *pair = &s->pairs[row];
    buf_printf(out, "%s%s: ", out->n ? "\n" : "", names[kind]);
    put_begin(psi_query(pair), TEXT, out);
    buf_puts(out, "\n  chosen   ");
    put_begin(pair->chosen, TEXT, out);
    buf_puts(out, "\n  rejected ");
    put_begin(pair->rejected, TEXT, out);
    buf_printf(out, "\n  expected digit of the chosen one less the other's: %+.2f, with their places exchanged %+.2f",
               m.of[0], m.of[1]);
    return PGR_OK;
}

pgr_status psi_sample(void *ctx, train_run *r, buf *text, pgr_error *err) {
    psi *p = ctx;
    arena a = {0};
    pgr_status s = PGR_OK;
    for (pgr_psi_kind k = PGR_PSI_TASTE; s == PGR_OK && k < PGR_PSI_KINDS; k++) {
        if (set_of(p, k)->n_pair == 0) continue;
        s = k == PGR_PSI_TASTE ? sample_taste(p, r, &a, text, err) : sample_text(p, r, k, &a, text, err);
    }
    arena_free(&a);
    return s;
}
