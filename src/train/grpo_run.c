/* grpo_run.c - the stage `grpo`: answers of a policy, the judge's rewards, advantages within a prompt's group, one
 * update. Both adapters live in one model. */
#include <math.h>
#include <string.h>

#include "base/hash.h"
#include "base/json.h"
#include "base/legible.h"
#include "base/mem.h"
#include "train/grpo_pass.h"
#include "train/options.h"
#include "train/policy.h"
#include "train/psi.h"
#include "train/rollout.h"

/* clang-format off */
static const pgr_option ROWS[] = {
    TRAIN_NUMBER(pgr_policy_options, SIZE, "samples", "K", samples, 8, 2, 1024, "answers to a prompt: a group", NULL),
    TRAIN_NUMBER(pgr_policy_options, SIZE, "max-new", "N", max_new, 128, 1, 1 << 20, "tokens of an answer", NULL),
    TRAIN_NUMBER(pgr_policy_options, SIZE, "tell", "N", tell, 3, 0, 24,
                 "words of the user's taste, by his other pairs, that the policy's prompt says", NULL),
    TRAIN_NUMBER(pgr_policy_options, DOUBLE, "kl", "B", kl, 0.02, 0, 1e6,
                 "weight of the divergence (k3) from the model without the adapter", NULL),
    TRAIN_NUMBER(pgr_policy_options, DOUBLE, "clip-low", "E", clip_low, 0.2, 0, 1, "the ratio counts from 1 - E", NULL),
    TRAIN_NUMBER(pgr_policy_options, DOUBLE, "clip-high", "E", clip_high, 0.28, 0, 100, "to 1 + E", NULL),
    TRAIN_FLAG(pgr_policy_options, "unscaled", unscaled, 0, "advantages are not divided by the rewards' deviation"),
    TRAIN_NUMBER(pgr_policy_options, DOUBLE, "held", "SHARE", held, 0.1, 0, 0.9,
                 "of the users, evaluated on instead of learnt from", NULL),
    TRAIN_NUMBER(pgr_policy_options, SIZE, "eval-every", "N", eval_every, 0, 0, 1e9, "steps; 0: at the end only", NULL),
    TRAIN_NUMBER(pgr_policy_options, SIZE, "eval-limit", "N", eval_limit, 40, 0, 1e6, "prompts of an evaluation", NULL),
    TRAIN_SAMPLES(pgr_policy_options),
    TRAIN_ROWS(pgr_policy_options, 100, 4, 1e-4, 1, "learning rate", "prompts of a step"),
    {0},
};
/* clang-format on */

const pgr_option *pgr_policy_option_rows(void) {
    return ROWS;
}

pgr_policy_options pgr_policy_options_default(void) {
    pgr_policy_options o;
    memset(&o, 0, sizeof o);
    options_default(ROWS, &o);
    o.train.beta1 = 0.9;
    o.train.beta2 = 0.999;
    o.judging = pgr_judge_options_default();
    return o;
}

enum { SEED_EVALUATION = 0xE7A1 };

typedef struct tuning {
    const pgr_policy_options *o;
    psi_set set;
    pgr_engine *e;
    pgr_lora *judge; /* NULL: none */
    rollout roll;
} tuning;

/* ---- prompts ---- */

static pgr_status prompt_of(const tuning *t, size_t row, arena *a, rollout_prompt *out, pgr_error *err) {
    psi_text x;
    PGR_TRY(psi_known(&t->set, row, false, a, &x, err));
    *out = (rollout_prompt){.pair = x.pair, .known = x.known, .n_known = x.n_known, .user = x.user};
    return PGR_OK;
}

/* ---- a step ---- */

typedef struct group_sums {
    double reward, spread, length, flat, cut; /* means over groups, or samples */
} group_sums;

/* Advantages of each group, into samples of what is learnt from; returns their number. */
static size_t weigh(const tuning *t, const rollout_sample *all, size_t n, grpo_sample *out, double *rewards,
                    double *advantages, group_sums *sums) {
    size_t k = t->o->samples, kept = 0;
    for (size_t i = 0; i < n; i++) {
        const rollout_sample *group = all + i * k;
        double sd;
        for (size_t j = 0; j < k; j++) {
            rewards[j] = group[j].reward;
            sums->reward += rewards[j] / (double)(n * k);
            sums->length += (double)group[j].row.n_loss / (double)(n * k);
            sums->cut += !group[j].ended / (double)(n * k);
        }
        policy_advantages(rewards, k, !t->o->unscaled, advantages, &sd);
        sums->spread += sd / (double)n;
        sums->flat += (sd == 0) / (double)n;
        for (size_t j = 0; sd > 0 && j < k; j++)
            if (group[j].row.n_loss > 0) out[kept++] = (grpo_sample){group[j].row, group[j].old, advantages[j]};
    }
    return kept;
}

/* The first groups. */
static pgr_status show(const tuning *t, train_run *r, const rollout_prompt *prompts, const rollout_sample *all,
                       size_t n, arena *a, pgr_error *err) {
    size_t k = t->o->samples, most = n * k < SHOWN_MOST ? n * k : SHOWN_MOST;
    shown_sample list[SHOWN_MOST];
    double *rewards = arena_array(a, 2 * k, sizeof *rewards), sd;
    if (!rewards) return fail_mem(err);
    for (size_t i = 0; i < most; i++) {
        const rollout_prompt *p = &prompts[i / k];
        for (size_t j = 0; i % k == 0 && j < k; j++) rewards[j] = all[i + j].reward;
        if (i % k == 0) policy_advantages(rewards, k, !t->o->unscaled, rewards + k, &sd);
        list[i] = (shown_sample){p->user, psi_query(p->pair), all[i].text, all[i].reward, rewards[k + i % k]};
    }
    return run_show(r, list, most, err);
}

static pgr_status learn(tuning *t, train_run *r, const rollout_sample *all, size_t n, arena *a, metrics *m,
                        pgr_error *err) {
    const pgr_policy_options *o = t->o;
    size_t k = o->samples;
    grpo_sample *list = arena_array(a, n * k, sizeof *list);
    double *rewards = arena_array(a, k, sizeof *rewards), *advantages = arena_array(a, k, sizeof *advantages);
    if (!list || !rewards || !advantages) return fail_mem(err);
    group_sums g = {0};
    grpo_sums sums = {0};
    grpo_terms how = {.low = o->clip_low, .high = o->clip_high, .kl = o->kl};
    size_t kept = weigh(t, all, n, list, rewards, advantages, &g);
    if (kept > 0) PGR_TRY(grpo_learn(r, list, kept, &how, &sums, err));
    for (size_t i = 0; i < n * k; i++) m->tokens += all[i].row.n;
    m->loss = sums.loss;
    metrics_put(m, "reward", g.reward);
    metrics_put(m, "reward_std", g.spread);
    metrics_put(m, "frac_reward_zero_std", g.flat);
    metrics_put(m, "kl", sums.kl);
    metrics_put(m, "entropy", sums.entropy);
    metrics_put(m, "clip_ratio/region_mean", sums.clipped);
    metrics_put(m, "completions/mean_length", g.length);
    metrics_put(m, "completions/clipped_ratio", g.cut);
    metrics_put(m, "sampling/sampling_logp_difference/mean", sums.difference_sum);
    metrics_put(m, "sampling/sampling_logp_difference/max", sums.difference);
    return PGR_OK;
}

static pgr_status make_step(tuning *t, train_run *r, arena *a, metrics *m, pgr_error *err) {
    const pgr_policy_options *o = t->o;
    size_t n = o->train.batch, k = o->samples;
    rollout_prompt *prompts = arena_array(a, n, sizeof *prompts);
    rollout_sample *samples = arena_array(a, n * k, sizeof *samples);
    if (!prompts || !samples) return fail_mem(err);
    for (size_t i = 0; i < n; i++)
        PGR_TRY(prompt_of(t, psi_set_draw(&t->set, r->state.position[0] + i), a, &prompts[i], err));
    uint64_t seed = hash_value(hash_value(HASH_BEGIN, o->train.seed), r->state.step);
    PGR_TRY(rollout_draw(&t->roll, prompts, n, k, trainable_adapter(r->t), seed, a, samples, err));
    PGR_TRY(rollout_judge(&t->roll, prompts, n, k, samples, err));
    PGR_TRY(learn(t, r, samples, n, a, m, err));
    if (run_shows(r)) PGR_TRY(show(t, r, prompts, samples, n, a, err));
    r->state.position[0] += n;
    m->epoch = (double)r->state.position[0] / (double)t->set.n_order;
    return PGR_OK;
}

static pgr_status grpo_step(void *ctx, train_run *r, metrics *m, pgr_error *err) {
    arena a = {0};
    pgr_status s = make_step(ctx, r, &a, m, err);
    arena_free(&a);
    return s;
}

/* ---- evaluation: against the model without the adapter, on held users ---- */

typedef struct match { /* means over the prompts */
    double reward[2], length[2], judge, rule, n_rule;
} match; /* 0: the policy, 1: the model without the adapter; judge, rule: share of prompts that the policy wins */

static double share(double x) {
    return x > 0 ? 1 : x < 0 ? 0 : 0.5;
}

static pgr_status play(tuning *t, train_run *r, const rollout_prompt *prompts, size_t n, arena *a, match *out,
                       pgr_error *err) {
    rollout_sample *side[2];
    uint64_t seed = hash_value(HASH_BEGIN, SEED_EVALUATION);
    for (size_t k = 0; k < 2; k++) {
        side[k] = arena_array(a, n, sizeof *side[k]);
        if (!side[k]) return fail_mem(err);
        pgr_lora *policy = k == 0 ? trainable_adapter(r->t) : NULL;
        PGR_TRY(rollout_draw(&t->roll, prompts, n, 1, policy, seed, a, side[k], err));
        PGR_TRY(rollout_judge(&t->roll, prompts, n, 1, side[k], err));
    }
    for (size_t i = 0; i < n; i++) {
        pgr_status s;
        double rule = rollout_rule(&prompts[i], side[0][i].text, side[1][i].text, &s, err);
        PGR_TRY(s);
        for (size_t k = 0; k < 2; k++) {
            out->reward[k] += side[k][i].reward / (double)n;
            out->length[k] += (double)side[k][i].row.n_loss / (double)n;
        }
        out->judge += share(side[0][i].reward - side[1][i].reward) / (double)n;
        out->rule += share(rule) / (double)n;
    }
    return PGR_OK;
}

static pgr_status evaluate(tuning *t, train_run *r, arena *a, metrics *m, pgr_error *err) {
    size_t n = 0, most = t->o->eval_limit;
    rollout_prompt *prompts = arena_array(a, most + 1, sizeof *prompts);
    match x;
    memset(&x, 0, sizeof x);
    if (!prompts) return fail_mem(err);
    for (size_t i = 0; i < t->set.n_pair && n < most; i++)
        if (t->set.held[i]) PGR_TRY(prompt_of(t, i, a, &prompts[n++], err));
    if (n == 0) return PGR_OK;
    PGR_TRY(play(t, r, prompts, n, a, &x, err));
    metrics_put(m, "eval/prompts", (double)n);
    metrics_put(m, "eval/reward", x.reward[0]);
    metrics_put(m, "eval/reward_before", x.reward[1]);
    metrics_put(m, "eval/wins_by_judge", x.judge);
    metrics_put(m, "eval/wins_by_rule", x.rule);
    metrics_put(m, "eval/mean_length", x.length[0]);
    metrics_put(m, "eval/mean_length_before", x.length[1]);
    return PGR_OK;
}

static pgr_status grpo_evaluate(void *ctx, train_run *r, metrics *m, pgr_error *err) {
    arena a = {0};
    pgr_status s = evaluate(ctx, r, &a, m, err);
    arena_free(&a);
    return s;
}

/* ---- the stage ---- */

static pgr_status load(tuning *t, pgr_error *err) {
    const pgr_policy_options *o = t->o;
    pgr_psi_data file = {PGR_PSI_TASTE, o->data};
    psi_load l = {.data = &file, .n_data = 1, .kind = PGR_PSI_TASTE, .held = o->held, .seed = o->train.seed};
    PGR_TRY(psi_set_load(&l, &t->set, err));
    PGR_TRY(psi_set_order(&t->set, false, 0, err));
    if (t->set.n_order > 0) return PGR_OK;
    return fail(err, PGR_E_FORMAT, "%s: no pair of a user to learn from (%zu are held), expected some", o->data,
                t->set.n_pair);
}

static pgr_status open_engine(tuning *t, pgr_model *m, pgr_error *err) {
    const pgr_policy_options *o = t->o;
    PGR_TRY(pgr_engine_create(m, NULL, &t->e, err));
    if (o->judge) {
        PGR_TRY(pgr_lora_open(m, o->judge, &t->judge, err));
        PGR_TRY(pgr_engine_set_loras(t->e, &t->judge, &(float){1.0f}, 1, err));
    }
    rollout_open(&t->roll, t->e, o);
    return PGR_OK;
}

pgr_status pgr_policy_check(const pgr_policy_options *o, pgr_error *err) {
    PGR_TRY(options_check(ROWS, o, err));
    PGR_TRY(run_check(&o->train, false, err));
    return o->data ? PGR_OK : fail(err, PGR_E_ARG, "data: found none, expected a file of users' preference pairs");
}

static pgr_status tuning_open(tuning *t, pgr_model *m, const pgr_policy_options *o, pgr_error *err) {
    *t = (tuning){.o = o};
    PGR_TRY(pgr_policy_check(o, err));
    if (pgr_ranks_count(o->train.ranks) > 1)
        return fail(err, PGR_E_UNSUPPORTED,
                    "train grpo: found %zu processes, expected one: its answers are drawn and judged by one engine",
                    pgr_ranks_count(o->train.ranks));
    PGR_TRY(load(t, err));
    return open_engine(t, m, err);
}

static void tuning_close(tuning *t) {
    pgr_engine_free(t->e);
    pgr_lora_close(t->judge);
    psi_set_free(&t->set);
}

static json_t *settings_of(const pgr_policy_options *o) {
    return json_pack("{s:o,s:o,s:I,s:I,s:I,s:f,s:f,s:f,s:b,s:f,s:i,s:o}", "data", legible_json(o->data), "judge",
                     legible_json(o->judge), "samples", (json_int_t)o->samples, "max_new", (json_int_t)o->max_new,
                     "tell", (json_int_t)o->tell, "kl", o->kl, "clip_low", o->clip_low, "clip_high", o->clip_high,
                     "unscaled", o->unscaled, "held", o->held, "ind", o->judging.ind, "frame",
                     legible_json(o->judging.frame));
}

pgr_status pgr_train_policy(pgr_model *model, const pgr_policy_options *options, pgr_train_report *out,
                            pgr_error *err) {
    tuning t;
    train_run r = {0};
    json_setup();
    pgr_status s = tuning_open(&t, model, options, err);
    if (s == PGR_OK) s = run_open(&r, model, &options->train, "grpo", settings_of(options), err);
    train_stage stage = {
        .name = "grpo", .ctx = &t, .step = grpo_step, .evaluate = grpo_evaluate, .eval_every = options->eval_every};
    if (s == PGR_OK) s = run_loop(&r, &stage, err);
    if (out) *out = r.report;
    run_close(&r);
    tuning_close(&t);
    return s;
}
