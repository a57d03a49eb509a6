/* cre.c - the stages cre and hncl of the slots frame: GRPO on chains of criteria. A chain is a few words drawn from the
 * taste slot's distribution; its reward is how much of the user's truth it names and how many of his other pairs it
 * gets right. All chains of a user stand on one prompt and are drawn from the very logits that the gradient goes to:
 * rollout and trainer are one pass, the ratio of an update is 1 and clipping never acts. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "train/loss.h"
#include "train/policy.h"
#include "train/psi.h"
#include "train/reference.h"

enum { STREAM_CHAIN = 70, STREAM_EASY, CRITERIA_MAX = 12 };

typedef struct cre_step {
    const psi *p;
    const taste_batch *users;
    double hard;                                               /* hncl: share of hard pairs */
    double *reference;                                         /* (users, N_TASTE) what the reference reads */
    double *truth;                                             /* (users, N_TASTE) the rule's, of all pairs of a user */
    int *words;                                                /* (samples, criteria) of the user at hand */
    double *outcome, *coverage, *advantage, *scratch;          /* (samples) */
    double *margins;                                           /* (samples) of the pair at hand */
    double *rights;                                            /* (pairs) how many chains get a pair right */
    size_t *pairs;                                             /* (pairs) those that count, first */
    double kl, loss, reward, deviation, covered, won, entropy; /* sums over users */
    double won2, covered2;                                     /* sums of squares */
    double taught;                                             /* how often the rule is right where it counts */
    size_t n_flat;                                             /* users whose chains all have one reward */
    buf shown[SHOWN_MOST];                                     /* (n_shown) chains of the first user, as words */
    double shown_reward[SHOWN_MOST], shown_advantage[SHOWN_MOST];
    size_t n_shown;
    bool shows;
} cre_step;

/* ---- rewards ---- */

/* Which of the user's other pairs count: all, or in hncl half of them, the hardest and then any. *n of them. */
static void choose_pairs(cre_step *t, const taste_item *item, size_t *n) {
    const pgr_grpo_options *g = &t->p->o->grpo;
    for (size_t i = 0; i < item->n; i++) t->pairs[i] = i;
    *n = item->n;
    if (t->p->o->stage != PGR_STAGE_HNCL) return;
    for (size_t i = 0; i < item->n; i++) {
        t->rights[i] = 0;
        for (size_t k = 0; k < g->samples; k++) {
            double m = policy_margin(t->words + k * g->criteria, g->criteria, item->levels + i * N_FACT);
            t->rights[i] += m > 0 ? 1 : m < 0 ? 0 : 0.5;
        }
    }
    *n = (item->n + 1) / 2;
    size_t hard = (size_t)(t->hard * (double)*n + 0.5);
    rng r = {t->p->o->train.seed ^ item->position, STREAM_EASY, 0};
    for (size_t at = 0; at < *n; at++) {
        size_t pick = at;
        for (size_t i = at + 1; at < hard && i < item->n; i++)
            if (t->rights[t->pairs[i]] < t->rights[t->pairs[pick]]) pick = i;
        if (at >= hard) pick = at + rng_below(&r, item->n - at);
        size_t chosen = t->pairs[pick];
        t->pairs[pick] = t->pairs[at];
        t->pairs[at] = chosen;
    }
}

/* outcome = the mean over the n pairs that count; beside it, whether the rule is right on them by what is shown. */
static void find_outcomes(cre_step *t, const taste_item *item, size_t n) {
    const pgr_grpo_options *g = &t->p->o->grpo;
    outcome_kind kind = (outcome_kind)g->outcome;
    double each = n > 0 ? 1 / (double)n : 0;
    for (size_t k = 0; k < g->samples; k++) t->outcome[k] = 0;
    for (size_t i = 0; i < n; i++) {
        const double *levels = item->levels + t->pairs[i] * N_FACT;
        double rule = taste_margin(item->target, levels, N_FACT);
        t->taught += each * (rule > 0 ? 1 : rule < 0 ? 0 : 0.5);
        for (size_t k = 0; k < g->samples; k++) {
            t->margins[k] = policy_margin(t->words + k * g->criteria, g->criteria, levels) / t->p->o->tau;
            if (!g->together) t->outcome[k] += each * policy_outcome(kind, t->margins[k]);
        }
        if (g->together) policy_add_shares(kind, t->margins, g->samples, each, t->outcome);
    }
}

static void reward_chains(cre_step *t, size_t user) {
    const pgr_grpo_options *g = &t->p->o->grpo;
    const taste_item *item = &t->users->items[user];
    size_t n;
    choose_pairs(t, item, &n);
    find_outcomes(t, item, n);
    for (size_t k = 0; k < g->samples; k++) {
        const int *words = t->words + k * g->criteria;
        t->coverage[k] = policy_coverage(t->truth + user * N_TASTE, N_TASTE, words, g->criteria);
        t->won += t->outcome[k] / (double)g->samples;
        t->won2 += t->outcome[k] * t->outcome[k] / (double)g->samples;
        t->covered += t->coverage[k] / (double)g->samples;
        t->covered2 += t->coverage[k] * t->coverage[k] / (double)g->samples;
    }
}

/* Of the weighted sum, or of each by itself and then summed. */
static void find_advantages(cre_step *t) {
    const pgr_grpo_options *g = &t->p->o->grpo;
    double alpha = t->p->o->stage == PGR_STAGE_CRE ? g->alpha : 0, sd, other = 0;
    for (size_t k = 0; k < g->samples; k++) {
        t->scratch[k] = alpha * t->coverage[k] + g->beta * t->outcome[k];
        t->reward += t->scratch[k] / (double)g->samples;
    }
    policy_advantages(t->scratch, g->samples, !g->unscaled, t->advantage, &sd);
    t->deviation += sd;
    t->n_flat += sd == 0;
    if (!g->apart || alpha == 0) return;
    policy_advantages(t->outcome, g->samples, !g->unscaled, t->advantage, &sd);
    policy_advantages(t->coverage, g->samples, !g->unscaled, t->scratch, &other);
    for (size_t k = 0; k < g->samples; k++) t->advantage[k] = g->beta * t->advantage[k] + alpha * t->scratch[k];
}

/* ---- the update ---- */

static void draw_chains(cre_step *t, const taste_item *item, const double *p) {
    const pgr_grpo_options *g = &t->p->o->grpo;
    for (size_t k = 0; k < g->samples; k++) {
        double u[CRITERIA_MAX];
        rng r = {t->p->o->train.seed ^ item->position, STREAM_CHAIN, (uint32_t)(k * 2 * CRITERIA_MAX)};
        for (size_t j = 0; j < g->criteria; j++) u[j] = rng_next(&r);
        policy_draw(p, N_TASTE, u, g->criteria, t->words + k * g->criteria);
    }
}

static void keep_shown(cre_step *t) {
    const pgr_grpo_options *g = &t->p->o->grpo;
    double alpha = t->p->o->stage == PGR_STAGE_CRE ? g->alpha : 0;
    for (size_t k = 0; k < g->samples && k < SHOWN_MOST; k++) {
        buf *b = &t->shown[t->n_shown];
        for (size_t j = 0; j < g->criteria; j++)
            buf_printf(b, "%s%s", j ? ", " : "", taste_word(t->words[k * g->criteria + j]));
        t->shown_reward[t->n_shown] = alpha * t->coverage[k] + g->beta * t->outcome[k];
        t->shown_advantage[t->n_shown++] = t->advantage[k];
    }
}

static void keep_reference(void *ctx, size_t i, const double *z, double *dz) {
    cre_step *t = ctx;
    (void)dz;
    slot_softmax(z, N_TASTE, t->reference + i * N_TASTE);
}

static void cre_loss(void *ctx, size_t i, const double *z, double *dz) {
    cre_step *t = ctx;
    const pgr_grpo_options *g = &t->p->o->grpo;
    double p[N_TASTE], each = 1 / (double)(t->users->n * g->samples);
    slot_softmax(z, N_TASTE, p);
    for (size_t k = 0; k < N_TASTE; k++) t->entropy -= p[k] > 0 ? p[k] * log(p[k]) : 0;
    draw_chains(t, &t->users->items[i], p);
    reward_chains(t, i);
    find_advantages(t);
    if (t->shows && i == 0) keep_shown(t);
    for (size_t k = 0; k < g->samples; k++) {
        const int *words = t->words + k * g->criteria;
        double log_p = policy_log_prob(p, N_TASTE, words, g->criteria), slope;
        double log_ref = policy_log_prob(t->reference + i * N_TASTE, N_TASTE, words, g->criteria);
        double kl = policy_k3(log_p, log_ref, &slope);
        t->kl += kl / (double)g->samples;
        t->loss += each * (g->kl * kl - t->advantage[k]); /* the ratio is 1 */
        policy_gradient(p, N_TASTE, words, g->criteria, each * (g->kl * slope - t->advantage[k]), dz);
    }
}

/* ---- the reference ---- */

/* The reference's values stand in the adapter for one pass. */
static pgr_status run_reference(psi *p, train_run *r, cre_step *t, pgr_error *err) {
    if (!p->reference) PGR_TRY(reference_open(r, p->o->train.init, &p->reference, err));
    reference_exchange(r, p->reference);
    pgr_status s = run_slots(r, t->users->prompts.list, t->users->prompts.n, keep_reference, t, false, err);
    reference_exchange(r, p->reference);
    return s;
}

/* ---- the step ---- */

static pgr_status find_truth(psi *p, taste_batch *users, cre_step *t, pgr_error *err) {
    const psi_set *s = &p->sets[PGR_PSI_TASTE];
    for (size_t i = 0; i < users->n; i++) {
        const psi_user *u = users->items[i].user;
        size_t *all = mem_array(u->n, sizeof *all);
        if (!all) return fail_mem(err);
        for (size_t k = 0; k < u->n; k++) all[k] = u->first + k;
        slots_target(s->pairs, all, u->n, t->truth + i * N_TASTE);
        if (users->items[i].turned) taste_turn(t->truth + i * N_TASTE);
        mem_free(all);
    }
    return PGR_OK;
}

static pgr_status prepare(psi *p, taste_batch *users, cre_step *t, pgr_error *err) {
    arena *a = &users->prompts.arena;
    size_t k = p->o->grpo.samples, most = 0;
    for (size_t i = 0; i < users->n; i++) most = users->items[i].n > most ? users->items[i].n : most;
    t->reference = arena_array(a, users->n, N_TASTE * sizeof *t->reference);
    t->truth = arena_array(a, users->n, N_TASTE * sizeof *t->truth);
    t->words = arena_array(a, k, p->o->grpo.criteria * sizeof *t->words);
    t->outcome = arena_array(a, 5 * k, sizeof *t->outcome);
    t->rights = arena_array(a, most + 1, sizeof *t->rights);
    t->pairs = arena_array(a, most + 1, sizeof *t->pairs);
    if (!t->reference || !t->truth || !t->words || !t->outcome || !t->rights || !t->pairs) return fail_mem(err);
    t->coverage = t->outcome + k;
    t->advantage = t->coverage + k;
    t->scratch = t->advantage + k;
    t->margins = t->scratch + k;
    return find_truth(p, users, t, err);
}

/* Over all chains of the step, from the means of their groups, summed. */
static double deviation(double sum, double sum2, const cre_step *t) {
    double groups = (double)t->users->n, n = groups * (double)t->p->o->grpo.samples, mean = sum / groups;
    return n > 1 ? sqrt(fmax(0, sum2 / groups - mean * mean) * n / (n - 1)) : 0;
}

static void put_metrics(const cre_step *t, metrics *m) {
    double n = (double)t->users->n;
    metrics_put(m, "reward", t->reward / n);
    metrics_put(m, "reward_std", t->deviation / n);
    metrics_put(m, "frac_reward_zero_std", (double)t->n_flat / n);
    metrics_put(m, "rewards/coverage/mean", t->covered / n);
    metrics_put(m, "rewards/coverage/std", deviation(t->covered, t->covered2, t));
    metrics_put(m, "rewards/outcome/mean", t->won / n);
    metrics_put(m, "rewards/outcome/std", deviation(t->won, t->won2, t));
    metrics_put(m, "rewards/outcome/rule", t->taught / n);
    metrics_put(m, "kl", t->kl / n);
    metrics_put(m, "entropy", t->entropy / n);
    if (t->p->o->stage == PGR_STAGE_HNCL) metrics_put(m, "hard_share", t->hard);
}

/* A chain of this frame is the words that it names. */
static pgr_status show(train_run *r, const cre_step *t, pgr_error *err) {
    shown_sample list[SHOWN_MOST];
    char prompt[80];
    snprintf(prompt, sizeof prompt, "his history; %zu other pairs of his say what is right",
             t->users->n ? t->users->items[0].n : 0);
    for (size_t i = 0; i < t->n_shown; i++) {
        if (t->shown[i].failed) return fail_mem(err);
        list[i] = (shown_sample){.user = t->users->items[0].user->id,
                                 .prompt = prompt,
                                 .completion = t->shown[i].data ? t->shown[i].data : "",
                                 .reward = t->shown_reward[i],
                                 .advantage = t->shown_advantage[i]};
    }
    return run_show(r, list, t->n_shown, err);
}

pgr_status step_cre(psi *p, train_run *r, metrics *m, pgr_error *err) {
    const pgr_grpo_options *g = &p->o->grpo;
    taste_batch users;
    double gone = r->steps > 1 ? (double)r->state.step / (double)(r->steps - 1) : 0;
    cre_step t = {
        .p = p, .users = &users, .hard = g->hard_from + (g->hard_to - g->hard_from) * gone, .shows = run_shows(r)};
    pgr_status s = taste_draw(p, r, &users, err);
    if (s == PGR_OK) s = prepare(p, &users, &t, err);
    if (s == PGR_OK) s = run_reference(p, r, &t, err);
    if (s == PGR_OK) s = run_slots(r, users.prompts.list, users.prompts.n, cre_loss, &t, true, err);
    if (s == PGR_OK && t.shows) s = show(r, &t, err);
    for (size_t i = 0; i < t.n_shown; i++) buf_free(&t.shown[i]);
    m->loss = t.loss;
    m->lr = p->o->taste_lr;
    m->tokens = users.prompts.tokens;
    put_metrics(&t, m);
    taste_free(&users);
    return s;
}
