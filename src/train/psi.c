/* psi.c - the stage psi of the slots frame: its options, its data, its run. */
#include "train/psi.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/legible.h"
#include "base/mem.h"
#include "train/options.h"

const char *const TRAIN_SCHEDULES[] = {"constant", "linear", "cosine", NULL};

#define NUMBER(kind, name, value, member, standard, lo, hi, help, unset)                                               \
    TRAIN_NUMBER(pgr_psi_options, kind, name, value, member, standard, lo, hi, help, unset)
#define FLAG(name, member, standard, help) TRAIN_FLAG(pgr_psi_options, name, member, standard, help)

/* clang-format off */
#define SHARED(LR, TASTE_LR)                                                                                           \
    TRAIN_ROWS(pgr_psi_options, 400, 8, LR, 0.67,                                                                      \
               "learning rate of steps of quality and views", "rows of a step of quality or views"),                   \
    TRAIN_SAMPLES(pgr_psi_options),                                                                                    \
    NUMBER(DOUBLE, "epochs", "E", train.epochs, 0, 0, 1e6,                                                             \
           "above 0: in place of --steps, passes over the users and rows of all kinds", NULL),                         \
    NUMBER(DOUBLE, "taste-lr", "L", taste_lr, TASTE_LR, 0, 10, "learning rate of steps of taste", NULL),               \
    NUMBER(SIZE, "users", "N", users, 4, 1, 1e6, "users of a step of taste", NULL),                                    \
    NUMBER(SIZE, "pairs-min", "N", pairs_min, 3, 1, 1000, "pairs that are shown of a user, at least", NULL),           \
    NUMBER(SIZE, "pairs-max", "N", pairs_max, 16, 1, 1000, "and at most", NULL),                                       \
    NUMBER(DOUBLE, "turned", "SHARE", turned, 0, 0, 1, "of users, shown as if they had chosen the others", NULL),      \
    NUMBER(DOUBLE, "tau", "T", tau, 1, 1e-6, 1e6, "margins are divided by it", NULL),                                  \
    FLAG("common", common, 0, "prompts say what most people like (docs/compact.md)"),                                  \
    NUMBER(DOUBLE, "hard", "SHARE", hard, 0.05, 0, 1,                                                                  \
           "of quality rows, whose loser is an empty, a cut or an empty-phrase answer", NULL),                         \
    FLAG("one-order", one_order, 0, "a row shows its responses in one random order, not in both"),                     \
    NUMBER(DOUBLE, "held", "SHARE", held, 0.1, 0, 0.9,                                                                 \
           "of the users (quality: of the queries), evaluated on and not learnt from", NULL),                          \
    NUMBER(SIZE, "eval-every", "N", eval_every, 100, 0, 1e9, "steps between evaluations; 0: at the end only", NULL),   \
    NUMBER(SIZE, "eval-limit", "N", eval_limit, 40, 1, 1e6, "users or rows of each kind that are evaluated on", NULL), \
    NUMBER(SIZE, "eval-pairs", "N", eval_pairs, 6, 1, 1000, "pairs shown of a user there", NULL),                      \
    FLAG("no-fit", no_fit, 0, "slots.json keeps the weights of --init: none are fitted in the end"),                   \
    NUMBER(SIZE, "similar", "N", similar, 0, 0, 1024,                                                                  \
           "similar people who are counted (views); 0: all, by the model of votes, or as the frame says", NULL)

static const pgr_option PSI_ROWS[] = {
    SHARED(1.2e-3, 2e-3),
    NUMBER(DOUBLE, "ce", "W", ce, 0.3, 1e-9, 1e6, "weight of the cross-entropy against the rule's tastes", NULL),
    NUMBER(DOUBLE, "bt-weight", "W", bt, 1, 1e-9, 1e6, "weight of Bradley-Terry over the user's other pairs", NULL),
    NUMBER(DOUBLE, "views-ce", "W", views_ce, 0.3, 0, 1e6,
           "weight of the cross-entropy against what similar people's line says", NULL),
    {0},
};

static const char *const OUTCOMES[] = {"sigmoid", "brier", "binary", NULL}; /* pgr_outcome */

#define GRPO                                                                                                           \
    NUMBER(SIZE, "samples", "K", grpo.samples, 16, 2, 4096, "chains of a user", NULL),                                 \
    NUMBER(SIZE, "criteria", "M", grpo.criteria, 3, 1, 12, "words of a chain", NULL),                                  \
    NUMBER(DOUBLE, "beta", "B", grpo.beta, 1, 0, 1e6, "weight of the outcome", NULL),                                  \
    { "outcome", "KIND", "of a chain on a pair: sigmoid, brier or binary", NULL, PGR_OPTION_CHOICE, 0,                 \
      TRAIN_AT(pgr_psi_options, grpo.outcome), 0, 0, 0, OUTCOMES },                                                    \
    FLAG("together", grpo.together, 0, "a chain's outcome is what it adds to that of all chains of its user"),         \
    FLAG("unscaled", grpo.unscaled, 0, "advantages are not divided by the deviation of the rewards"),                  \
    NUMBER(DOUBLE, "kl", "W", grpo.kl, 0.02, 0, 1e6,                                                                   \
           "weight of the divergence (k3) from the adapter of --init", NULL)

static const pgr_option CRE_ROWS[] = {
    SHARED(3e-4, 5e-4),
    GRPO,
    NUMBER(DOUBLE, "alpha", "A", grpo.alpha, 0.5, 0, 1e6, "weight of the coverage", NULL),
    FLAG("apart", grpo.apart, 0, "coverage and outcome are normalised each by itself"),
    {0},
};

static const pgr_option HNCL_ROWS[] = {
    SHARED(3e-4, 5e-4),
    GRPO,
    NUMBER(DOUBLE, "hard-from", "SHARE", grpo.hard_from, 0, 0, 1, "of hard pairs at the first step", NULL),
    NUMBER(DOUBLE, "hard-to", "SHARE", grpo.hard_to, 0.8, 0, 1, "of hard pairs at the last step", NULL),
    {0},
};
/* clang-format on */

const pgr_option *pgr_psi_option_rows(void) {
    return PSI_ROWS;
}

const pgr_option *pgr_cre_option_rows(void) {
    return CRE_ROWS;
}

const pgr_option *pgr_hncl_option_rows(void) {
    return HNCL_ROWS;
}

static bool is_stage(pgr_stage stage) {
    return (unsigned)stage <= PGR_STAGE_HNCL;
}

static const pgr_option *rows_of(pgr_stage stage) {
    static const pgr_option *const tables[] = {PSI_ROWS, CRE_ROWS, HNCL_ROWS};
    return tables[is_stage(stage) ? stage : PGR_STAGE_PSI];
}

pgr_psi_options pgr_psi_options_default(pgr_stage stage) {
    pgr_psi_options o;
    memset(&o, 0, sizeof o);
    options_default(rows_of(stage), &o);
    o.stage = stage;
    o.train.beta1 = 0.9;
    o.train.beta2 = 0.98; /* docs/compact.md */
    o.mix[PGR_PSI_TASTE] = 0.3;
    o.mix[PGR_PSI_QUALITY] = 0.5;
    o.mix[PGR_PSI_VIEWS] = 0.2;
    return o;
}

/* ---- opening ---- */

static const char *const KINDS[] = {"taste", "quality", "views"};

static bool has_kind(const pgr_psi_options *o, pgr_psi_kind kind) {
    for (size_t i = 0; i < o->n_data; i++)
        if (o->data[i].kind == kind) return true;
    for (size_t i = 0; i < o->n_eval; i++)
        if (o->eval[i].kind == kind) return true;
    return false;
}

/* Has a step anything to learn from? */
static pgr_status check_mix(const pgr_psi_options *o, pgr_error *err) {
    bool any = false;
    for (size_t k = 0; k < PGR_PSI_KINDS; k++)
        if (!(o->mix[k] >= 0) || !isfinite(o->mix[k]))
            return fail(err, PGR_E_ARG, "mix: %s has %g, expected 0 or more", KINDS[k], o->mix[k]);
    for (size_t i = 0; i < o->n_data; i++) any = any || o->mix[o->data[i].kind] > 0; /* the others have none to learn */
    return any ? PGR_OK : fail(err, PGR_E_ARG, "mix: all data have the share 0, expected one above it");
}

pgr_status pgr_psi_check(const pgr_psi_options *o, pgr_error *err) {
    if (!is_stage(o->stage))
        return fail(err, PGR_E_ARG, "stage %d: expected psi (0), cre (1) or hncl (2)", (int)o->stage);
    PGR_TRY(options_check(rows_of(o->stage), o, err));
    PGR_TRY(run_check(&o->train, true, err));
    if (o->stage != PGR_STAGE_PSI && !o->train.init)
        return fail(err, PGR_E_ARG, "init: found none, expected the adapter that is the reference");
    if (o->n_data == 0) return fail(err, PGR_E_ARG, "data: found none, expected files of taste, quality or views");
    if (o->pairs_max < o->pairs_min)
        return fail(err, PGR_E_ARG, "pairs-max %zu: expected at least pairs-min, %zu", o->pairs_max, o->pairs_min);
    return check_mix(o, err);
}

static pgr_status load_kind(psi *p, pgr_psi_kind kind, pgr_error *err) {
    const pgr_psi_options *o = p->o;
    psi_load l = {o->data, o->n_data, kind, false, o->held, o->train.seed};
    PGR_TRY(psi_set_load(&l, &p->sets[kind], err));
    psi_load e = {o->eval, o->n_eval, kind, true, 1, o->train.seed};
    PGR_TRY(psi_set_load(&e, &p->evals[kind], err));
    psi_set *s = &p->sets[kind];
    PGR_TRY(psi_set_order(s, kind == PGR_PSI_TASTE, o->pairs_min + 2, err));
    p->share[kind] = s->n_order > 0 ? o->mix[kind] : 0;
    if (s->n_order > 0 || o->mix[kind] == 0) return PGR_OK;
    for (size_t i = 0; i < o->n_data; i++)
        if (o->data[i].kind == kind)
            return fail(err, PGR_E_ARG, "%s: nothing to learn %s from: found %zu train rows of %zu users, %s",
                        o->data[i].path, KINDS[kind], s->n_pair, s->n_user,
                        kind == PGR_PSI_TASTE ? "expected users with pairs-min + 2 of them" : "expected some");
    return PGR_OK;
}

static void normalise(double *share) {
    double sum = 0;
    for (size_t k = 0; k < PGR_PSI_KINDS; k++) sum += share[k];
    PGR_ASSERT(sum > 0); /* check_mix; a kind with a share and nothing to learn from is an error before */
    for (size_t k = 0; k < PGR_PSI_KINDS; k++) share[k] /= sum;
}

/* What most people like: the mean levels of what they chose. */
static void find_common(psi *p) {
    double n = 0;
    for (size_t k = 0; k <= PGR_PSI_QUALITY; k++) {
        const psi_set *s = &p->sets[k];
        for (size_t i = 0; i < s->n_pair; i++) {
            if (s->held[i]) continue;
            for (size_t f = 0; f < N_FACT; f++) p->weights.common[f] += s->levels[i * N_FACT + f];
            n++;
        }
    }
    for (size_t f = 0; f < N_FACT; f++) p->weights.common[f] /= n > 0 ? n : 1;
    p->weights.has_common = n > 0;
}

static pgr_status psi_open(psi *p, pgr_model *m, const pgr_psi_options *o, pgr_error *err) {
    *p = (psi){.o = o, .weights = slots_weights_neutral()};
    for (int i = 0; i < N_DIGIT; i++) p->digits[i] = i + 1;
    PGR_TRY(pgr_psi_check(o, err));
    if (has_kind(o, PGR_PSI_VIEWS) && !o->people)
        return fail(err, PGR_E_ARG, "views: found nobody to ask, expected a store of users and their prototypes");
    PGR_TRY(frame_open("compact", &p->frame, err));
    PGR_TRY(pgr_engine_create(m, NULL, &p->e, err));
    for (pgr_psi_kind k = PGR_PSI_TASTE; k < PGR_PSI_KINDS; k++) PGR_TRY(load_kind(p, k, err));
    normalise(p->share);
    if (o->common) find_common(p);
    return PGR_OK;
}

static void psi_close(psi *p) {
    for (size_t k = 0; k < PGR_PSI_KINDS; k++) {
        psi_set_free(&p->sets[k]);
        psi_set_free(&p->evals[k]);
    }
    mem_free(p->reference);
    pgr_engine_free(p->e);
    frame_close(p->frame);
}

static json_t *grpo_settings(const pgr_grpo_options *g) {
    return json_pack("{s:I,s:I,s:f,s:f,s:i,s:b,s:b,s:b,s:f,s:f,s:f}", "samples", (json_int_t)g->samples, "criteria",
                     (json_int_t)g->criteria, "alpha", g->alpha, "beta", g->beta, "outcome", (int)g->outcome,
                     "together", g->together, "apart", g->apart, "unscaled", g->unscaled, "kl", g->kl, "hard_from",
                     g->hard_from, "hard_to", g->hard_to);
}

/* Whoever is asked decides what views are learnt from: other prototypes are other data. */
static json_t *people_setting(const pgr_people *people) {
    char text[20];
    snprintf(text, sizeof text, "%016llx", (unsigned long long)people_fingerprint(people));
    return json_string(text);
}

/* What decides the numbers besides what all stages have. */
static json_t *settings_of(const psi *p) {
    const pgr_psi_options *o = p->o;
    json_t *data = json_array();
    int failed = 0;
    for (size_t i = 0; i < o->n_data; i++)
        failed |=
            json_array_append_new(data, json_pack("[s,o]", KINDS[o->data[i].kind], legible_json(o->data[i].path)));
    json_t *all =
        json_pack("{s:o,s:[f,f,f],s:f,s:I,s:I,s:I,s:f,s:f,s:f,s:f,s:b,s:f,s:b,s:f,s:I,s:f}", "data", data, "mix",
                  p->share[0], p->share[1], p->share[2], "taste_lr", o->taste_lr, "users", (json_int_t)o->users,
                  "pairs_min", (json_int_t)o->pairs_min, "pairs_max", (json_int_t)o->pairs_max, "ce", o->ce, "bt",
                  o->bt, "views_ce", o->views_ce, "tau", o->tau, "common", o->common, "hard", o->hard, "one_order",
                  o->one_order, "held", o->held, "similar", (json_int_t)o->similar, "turned", o->turned);
    if (all && has_kind(o, PGR_PSI_VIEWS)) failed |= json_object_set_new(all, "people", people_setting(o->people));
    if (all && o->stage != PGR_STAGE_PSI) failed |= json_object_set_new(all, "grpo", grpo_settings(&o->grpo));
    if (!failed) return all;
    json_decref(all);
    return NULL;
}

/* So many steps draw, whatever their kinds, as often as all kinds have users and rows that are learnt from. */
static void settle_steps(const psi *p, pgr_psi_options *o) {
    double there = 0, drawn = 0;
    if (!(o->train.epochs > 0)) return;
    for (size_t k = 0; k < PGR_PSI_KINDS; k++) {
        if (!(p->share[k] > 0)) continue;
        there += (double)p->sets[k].n_order;
        drawn += p->share[k] * (double)(k == PGR_PSI_TASTE ? o->users : o->train.batch);
    }
    o->train.steps = (size_t)ceil(o->train.epochs * there / drawn);
}

pgr_status pgr_train_psi(pgr_model *model, const pgr_psi_options *options, pgr_train_report *out, pgr_error *err) {
    psi p;
    train_run r = {0};
    json_setup();
    static const char *const names[] = {"psi", "cre", "hncl"};
    pgr_psi_options o = *options;
    pgr_status s = ranks_agree(o.train.ranks, psi_open(&p, model, &o, err), err);
    const char *name = s == PGR_OK ? names[o.stage] : "";
    if (s == PGR_OK) settle_steps(&p, &o);
    if (s == PGR_OK) s = run_open(&r, model, &o.train, name, settings_of(&p), err);
    train_stage stage = {.name = name,
                         .ctx = &p,
                         .step = psi_step,
                         .evaluate = psi_evaluate,
                         .eval_every = options->eval_every,
                         .sample = psi_sample,
                         .conclude = psi_conclude,
                         .finish = psi_finish};
    if (s == PGR_OK) s = run_loop(&r, &stage, err);
    if (out) *out = r.report;
    run_close(&r);
    psi_close(&p);
    return s;
}
