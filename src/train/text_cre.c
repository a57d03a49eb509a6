/* text_cre.c - an update of cre or hncl: groups of chains that the model writes freely under the own history of a
 * pair's user, in both orders of the responses with one baseline, rewarded, and learnt from by GRPO. The
 * log-probabilities under which chains were drawn are the engine's; those that the gradient goes to, the trainer's. */
#include <math.h>
#include <string.h>

#include "base/hash.h"
#include "base/mem.h"
#include "base/rng.h"
#include "train/policy.h"
#include "train/reference.h"
#include "train/text.h"
#include "train/text_grpo.h"

enum { POOL = 2 /* hncl: pairs sampled for, for each that is learnt from */, STREAM_EASY = 95 };

typedef struct cre_chain {
    const infer_chain *from;
    size_t order;
    text_verdict verdict;
    double coverage, outcome, reward, advantage;
} cre_chain;

typedef struct cre_group { /* of a pair */
    size_t pair;
    uint64_t seed;
    frame_prompt prompts[2]; /* (n_order) */
    cre_chain *chains;       /* (samples) those of the first order first */
    double right;            /* share of the chains that rank the pair right */
    bool flat;               /* all have one reward */
    bool taken;              /* is learnt from */
} cre_group;

typedef struct cre_update {
    text *t;
    train_run *r;
    cre_group *groups; /* (n_group) */
    size_t n_group, n_order;
    infer_output made;
    text_drawn *list; /* (n) that have a loss */
    size_t n;
    uint64_t tokens;
    double hard;
    double deviation; /* sum over groups */
    text_grpo_sums sums;
    arena arena;
} cre_update;

/* ---- groups ---- */

static pgr_status draw_group(cre_update *u, cre_group *g, pgr_error *err) {
    text *t = u->t;
    uint64_t position = u->r->state.position[0]++;
    text_example x;
    g->pair = psi_set_draw(&t->set, position);
    g->seed = hash_value(hash_value(HASH_BEGIN, t->o->train.seed), position);
    g->chains = arena_array(&u->arena, t->o->grpo.samples, sizeof *g->chains);
    if (!g->chains) return fail_mem(err);
    PGR_TRY(text_example_make(t, &t->set, g->pair, TEXT_OWN, g->seed, &u->arena, &x, err));
    for (size_t k = 0; k < u->n_order; k++)
        PGR_TRY(text_prompt(t, &x, u->n_order == 2 ? k : (size_t)(g->seed >> 32 & 1), &u->arena, &g->prompts[k], err));
    return PGR_OK;
}

static pgr_status sample(cre_update *u, pgr_error *err) {
    size_t samples = u->t->o->grpo.samples, each = samples / u->n_order;
    text_ask *asks = arena_array(&u->arena, u->n_group * u->n_order, sizeof *asks);
    if (!asks) return fail_mem(err);
    for (size_t i = 0; i < u->n_group * u->n_order; i++) {
        const cre_group *g = &u->groups[i / u->n_order];
        asks[i] = (text_ask){.prompt = &g->prompts[i % u->n_order],
                             .n_sample = each,
                             .seed = g->seed,
                             .id = (uint32_t)(i % u->n_order),
                             .temperature = 1};
    }
    PGR_TRY(text_sample(u->t, u->r, asks, u->n_group * u->n_order, &u->made, err));
    for (size_t i = 0; i < u->made.n_chain; i++) {
        cre_group *g = &u->groups[i / samples];
        g->chains[i % samples].from = &u->made.chains[i];
        g->chains[i % samples].order = u->n_order == 2 ? i % samples / each : (size_t)(g->seed >> 32 & 1);
    }
    return PGR_OK;
}

/* ---- rewards ---- */

static pgr_status judge_group(cre_update *u, cre_group *g, pgr_error *err) {
    const pgr_text_options *o = u->t->o;
    for (size_t k = 0; k < o->grpo.samples; k++) {
        cre_chain *c = &g->chains[k];
        const buf *text = &c->from->text;
        PGR_TRY(text_judge(u->t, text->data ? text->data : "", text->n, c->order, &u->arena, &c->verdict, err));
        if (!c->verdict.parsed) continue;
        c->outcome = policy_outcome((outcome_kind)o->grpo.outcome, c->verdict.margin / o->tau);
        g->right += (c->verdict.margin > 0 ? 1 : c->verdict.margin < 0 ? 0 : 0.5) / (double)o->grpo.samples;
    }
    return PGR_OK;
}

static pgr_status cover_group(cre_update *u, cre_group *g, pgr_error *err) {
    size_t n = u->t->o->grpo.samples;
    text_verdict *verdicts = arena_array(&u->arena, n, sizeof *verdicts);
    double *cover = arena_array(&u->arena, n, sizeof *cover);
    if (!verdicts || !cover) return fail_mem(err);
    for (size_t k = 0; k < n; k++) verdicts[k] = g->chains[k].verdict;
    PGR_TRY(text_coverage(u->t, u->r, g->pair, verdicts, n, cover, err));
    for (size_t k = 0; k < n; k++) g->chains[k].coverage = cover[k];
    return PGR_OK;
}

/* Of the weighted sum, or of each by itself and then summed; what does not parse has neither. */
static pgr_status find_advantages(cre_update *u, cre_group *g, pgr_error *err) {
    const pgr_text_grpo *o = &u->t->o->grpo;
    double alpha = u->t->o->stage == PGR_STAGE_CRE ? o->alpha : 0, sd, other;
    double *all = arena_array(&u->arena, 5 * o->samples, sizeof *all), *covered = all + o->samples,
           *won = covered + o->samples, *first = won + o->samples, *second = first + o->samples;
    if (!all) return fail_mem(err);
    for (size_t k = 0; k < o->samples; k++) {
        cre_chain *c = &g->chains[k];
        bool parsed = c->verdict.parsed;
        c->reward = all[k] = parsed ? alpha * c->coverage + o->beta * c->outcome : o->malformed;
        covered[k] = parsed ? c->coverage : o->malformed;
        won[k] = parsed ? c->outcome : o->malformed;
    }
    policy_advantages(all, o->samples, !o->unscaled, first, &sd);
    u->deviation += sd;
    g->flat = sd == 0;
    for (size_t k = 0; k < o->samples; k++) g->chains[k].advantage = first[k];
    if (!o->apart || alpha == 0) return PGR_OK;
    policy_advantages(won, o->samples, !o->unscaled, first, &sd);
    policy_advantages(covered, o->samples, !o->unscaled, second, &other);
    for (size_t k = 0; k < o->samples; k++) g->chains[k].advantage = o->beta * first[k] + alpha * second[k];
    return PGR_OK;
}

/* Which groups are learnt from: all, or in hncl half of them, the hardest and then any. Those whose chains all have one
 * reward move nothing: they are counted and left out. */
static void choose_groups(cre_update *u) {
    size_t wanted = u->r->o->batch < u->n_group ? u->r->o->batch : u->n_group,
           hard = (size_t)(u->hard * (double)wanted + 0.5);
    rng r = {u->groups[0].seed, STREAM_EASY, 0};
    for (size_t at = 0; at < wanted; at++) {
        size_t pick = u->n_group, left = 0;
        for (size_t i = 0; i < u->n_group; i++) left += !u->groups[i].taken;
        size_t any = rng_below(&r, left);
        for (size_t i = 0; i < u->n_group; i++) {
            if (u->groups[i].taken) continue;
            bool better = at < hard ? pick == u->n_group || u->groups[i].right < u->groups[pick].right : any-- == 0;
            if (better) pick = i;
        }
        u->groups[pick].taken = true;
    }
}

/* ---- sequences ---- */

static pgr_status add_chain(cre_update *u, const cre_chain *c, const ids *prompt, pgr_error *err) {
    const infer_chain *from = c->from;
    size_t n = from->tokens.n + (from->end >= 0);
    int32_t *tokens = arena_array(&u->arena, prompt->n + n + 1, sizeof *tokens);
    double *old = arena_array(&u->arena, 2 * n + 1, sizeof *old);
    if (!tokens || !old) return fail_mem(err);
    if (n == 0) return PGR_OK;
    memcpy(tokens, prompt->v, prompt->n * sizeof *tokens);
    for (size_t k = 0; k < n; k++) {
        bool own = k < from->tokens.n;
        tokens[prompt->n + k] = own ? from->tokens.v[k] : from->end;
        old[k] = own ? (double)from->logprobs[k] : (double)from->end_logprob;
    }
    chain_seq seq = {.tokens = tokens, .n = prompt->n + n, .from = prompt->n};
    u->list[u->n++] = (text_drawn){seq, old, old + n, c->advantage};
    u->tokens += seq.n;
    return PGR_OK;
}

static pgr_status list_chains(cre_update *u, pgr_error *err) {
    size_t samples = u->t->o->grpo.samples, most = u->n_group * samples;
    u->list = arena_array(&u->arena, most, sizeof *u->list);
    if (!u->list) return fail_mem(err);
    for (size_t i = 0; i < most; i++) {
        const cre_group *g = &u->groups[i / samples];
        const infer_result *from = u->made.results[i / (samples / u->n_order)];
        if (g->taken && !g->flat) PGR_TRY(add_chain(u, &g->chains[i % samples], &from->prompt, err));
    }
    return PGR_OK;
}

/* ---- the step ---- */

/* The first groups: whose pair, what was asked, the chain that was written of it. */
static pgr_status show(const cre_update *u, pgr_error *err) {
    size_t samples = u->t->o->grpo.samples, n = u->n_group * samples < SHOWN_MOST ? u->n_group * samples : SHOWN_MOST;
    const psi_set *set = &u->t->set;
    shown_sample list[SHOWN_MOST];
    for (size_t i = 0; i < n; i++) {
        const cre_group *g = &u->groups[i / samples];
        const cre_chain *c = &g->chains[i % samples];
        list[i] = (shown_sample){.user = set->users[set->user[g->pair]].id,
                                 .prompt = psi_query(&set->pairs[g->pair]),
                                 .completion = c->from->text.data ? c->from->text.data : "",
                                 .reward = c->reward,
                                 .advantage = c->advantage};
    }
    return run_show(u->r, list, n, err);
}

static pgr_status learn(cre_update *u, pgr_error *err) {
    text *t = u->t;
    const pgr_text_grpo *o = &t->o->grpo;
    const char *init = o->reference_base ? NULL : t->o->train.init;
    grpo_terms how = {o->clip_low, o->clip_high, o->dual, o->kl};
    if (u->n == 0) return PGR_OK;
    if (o->kl > 0 && !t->reference) PGR_TRY(reference_open(u->r, init, &t->reference, err));
    return text_grpo_learn(u->r, u->list, u->n, &how, o->sequence_mean ? GRPO_SEQUENCE_MEAN : GRPO_TOKEN_MEAN,
                           t->reference, &u->sums, err);
}

static void put_metrics(const cre_update *u, metrics *m) {
    double reward = 0, covered = 0, won = 0, parsed = 0, length = 0, cut = 0, flat = 0;
    size_t samples = u->t->o->grpo.samples;
    const text_grpo_sums *sums = &u->sums;
    double all = (double)(u->n_group * samples), n = sums->n_token > 0 ? (double)sums->n_token : 1;
    for (size_t i = 0; i < u->n_group; i++) {
        flat += u->groups[i].flat;
        for (size_t k = 0; k < samples; k++) {
            const cre_chain *c = &u->groups[i].chains[k];
            reward += c->reward / all;
            covered += c->coverage / all;
            won += c->outcome / all;
            parsed += c->verdict.parsed / all;
            length += (double)c->from->tokens.n / all;
            cut += (c->from->finish == PGR_FINISH_LENGTH) / all;
        }
    }
    metrics_put(m, "reward", reward);
    metrics_put(m, "reward_std", u->deviation / (double)u->n_group);
    metrics_put(m, "frac_reward_zero_std", flat / (double)u->n_group);
    if (u->t->o->stage == PGR_STAGE_CRE) metrics_put(m, "rewards/coverage/mean", covered);
    metrics_put(m, "rewards/outcome/mean", won);
    metrics_put(m, "rewards/parsed/mean", parsed);
    metrics_put(m, "completions/mean_length", length);
    metrics_put(m, "completions/clipped_ratio", cut);
    metrics_put(m, "kl", sums->kl / n);
    metrics_put(m, "entropy", sums->entropy / n);
    metrics_put(m, "clip_ratio/low_mean", sums->low / n);
    metrics_put(m, "clip_ratio/high_mean", sums->high / n);
    metrics_put(m, "sampling/sampling_logp_difference/mean", sums->n_known > 0 ? sums->gap / (double)sums->n_known : 0);
    metrics_put(m, "sampling/sampling_logp_difference/max", sums->gap_max);
    if (u->t->o->stage == PGR_STAGE_HNCL) metrics_put(m, "hard_share", u->hard);
}

static pgr_status run_update(cre_update *u, pgr_error *err) {
    bool cre = u->t->o->stage == PGR_STAGE_CRE;
    u->groups = arena_array(&u->arena, u->n_group, sizeof *u->groups);
    if (!u->groups) return fail_mem(err);
    for (size_t i = 0; i < u->n_group; i++) PGR_TRY(draw_group(u, &u->groups[i], err));
    PGR_TRY(sample(u, err));
    for (size_t i = 0; i < u->n_group; i++) {
        PGR_TRY(judge_group(u, &u->groups[i], err));
        if (cre && u->t->o->grpo.alpha > 0) PGR_TRY(cover_group(u, &u->groups[i], err));
        PGR_TRY(find_advantages(u, &u->groups[i], err));
    }
    choose_groups(u);
    PGR_TRY(list_chains(u, err));
    PGR_TRY(learn(u, err));
    return run_shows(u->r) ? show(u, err) : PGR_OK;
}

pgr_status text_step_cre(void *ctx, train_run *r, metrics *m, pgr_error *err) {
    text *t = ctx;
    const pgr_text_grpo *o = &t->o->grpo;
    bool hncl = t->o->stage == PGR_STAGE_HNCL;
    double gone = r->steps > 1 ? (double)r->state.step / (double)(r->steps - 1) : 0;
    cre_update u = {.t = t,
                    .r = r,
                    .n_group = r->o->batch * (hncl ? POOL : 1),
                    .n_order = t->o->one_order ? 1 : 2,
                    .hard = hncl ? o->hard_from + (o->hard_to - o->hard_from) * gone : 0};
    pgr_status s = run_update(&u, err);
    m->loss = u.sums.loss;
    m->tokens = u.tokens;
    m->epoch = (double)r->state.position[0] / (double)t->set.n_order;
    if (s == PGR_OK) put_metrics(&u, m);
    for (size_t i = 0; u.groups && i < u.n_group; i++)
        for (size_t k = 0; k < 2; k++) frame_prompt_free(&u.groups[i].prompts[k]);
    infer_output_free(&u.made);
    arena_free(&u.arena);
    return s;
}
