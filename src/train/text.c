/* text.c - the stages psi, cre and hncl on text chains: their options, their data, their run. */
#include "train/text.h"

#include <math.h>
#include <string.h>

#include "base/legible.h"
#include "base/log.h"
#include "base/mem.h"
#include "train/options.h"

#define NUMBER(kind, name, value, member, standard, lo, hi, help, unset)                                               \
    TRAIN_NUMBER(pgr_text_options, kind, name, value, member, standard, lo, hi, help, unset)
#define FLAG(name, member, standard, help) TRAIN_FLAG(pgr_text_options, name, member, standard, help)
#define CHOICE(name, value, member, help, choices)                                                                     \
    { name, value, help, NULL, PGR_OPTION_CHOICE, 0, TRAIN_AT(pgr_text_options, member), 0, 0, 0, choices }

static const char *const STAGES[] = {"psi", "cre", "hncl"};                 /* pgr_stage */
static const char *const TEACHERS[] = {"rubric", "self", "server", NULL};   /* pgr_teacher */
static const char *const PROCESSES[] = {"rule", "self", "server", NULL};    /* pgr_process */
static const char *const OUTCOMES[] = {"sigmoid", "brier", "binary", NULL}; /* pgr_outcome */

/* clang-format off */
#define SHARED(STEPS, BATCH, LR)                                                                                       \
    TRAIN_ROWS_PASS(pgr_text_options, STEPS, BATCH, LR, 1, 4096, "learning rate", "pairs of a step"),                  \
    NUMBER(DOUBLE, "epochs", "E", train.epochs, 1, 0, 1e6, "passes over the pairs, where no steps are given", NULL),   \
    NUMBER(SIZE, "history", "H", history, 0, 0, 1000, "pairs of the user that are shown", "as the frame says"),        \
    NUMBER(SIZE, "max-tokens", "N", max_tokens, 0, 0, 1 << 20, "of a chain", "as the frame says"),                     \
    NUMBER(DOUBLE, "tau", "T", tau, 1, 1e-6, 1e6, "margins are divided by it", NULL),                                  \
    FLAG("one-order", one_order, 0, "a pair's responses are shown in one order, not in both"),                         \
    NUMBER(DOUBLE, "held", "SHARE", held, 0.1, 0, 0.9, "of the users, evaluated on and not learnt from", NULL),        \
    NUMBER(SIZE, "eval-every", "N", eval_every, 100, 0, 1e9, "steps between evaluations; 0: at the end only", NULL),   \
    NUMBER(SIZE, "eval-limit", "N", eval_limit, 16, 1, 1e6, "pairs that are evaluated on", NULL),                      \
    NUMBER(SIZE, "server-jobs", "N", server.jobs, 8, 1, 256, "questions to the server at once", NULL),                 \
    NUMBER(SIZE, "server-tokens", "N", server.max_tokens, 0, 0, 1e12,                                                  \
           "that the server may spend, all answers together", "no limit"),                                             \
    NUMBER(DOUBLE, "server-temperature", "T", server.temperature, 1, 0, 2, "of its answers", NULL)

static const pgr_option PSI_ROWS[] = {
    SHARED(0, 8, 2e-4),
    CHOICE("teacher", "WHO", teacher, "writes the chains: rubric (built in), self (this model) or server", TEACHERS),
    NUMBER(SIZE, "pairs", "N", pairs, 0, 0, 1e9, "that chains are written for", "all"),
    NUMBER(SIZE, "tries", "N", tries, 4, 1, 64, "chains of a prompt, of which the first good one is kept", NULL),
    NUMBER(DOUBLE, "bt-weight", "W", bt, 1, 0, 1e6, "weight of Bradley-Terry through the expected scores", NULL),
    {0},
};

#define GRPO                                                                                                           \
    TRAIN_SAMPLES(pgr_text_options),                                                                                   \
    NUMBER(SIZE, "samples", "K", grpo.samples, 8, 2, 1024, "chains of a pair", NULL),                                  \
    NUMBER(DOUBLE, "beta", "B", grpo.beta, 1, 0, 1e6, "weight of the outcome", NULL),                                  \
    CHOICE("outcome", "KIND", grpo.outcome, "of a chain: sigmoid, brier or binary", OUTCOMES),                         \
    NUMBER(DOUBLE, "malformed", "R", grpo.malformed, -0.1, -1e6, 1e6, "reward of a chain that does not parse", NULL),  \
    FLAG("unscaled", grpo.unscaled, 0, "advantages are not divided by the deviation of the rewards"),                  \
    NUMBER(DOUBLE, "clip-low", "E", grpo.clip_low, 0.2, 0, 1, "ratios count from 1 - E", NULL),                        \
    NUMBER(DOUBLE, "clip-high", "E", grpo.clip_high, 0.2, 0, 100, "and up to 1 + E", NULL),                            \
    NUMBER(DOUBLE, "dual-clip", "C", grpo.dual, 3, 0, 1e6, "and of bad chains up to C; 0: without that", NULL),        \
    NUMBER(DOUBLE, "kl", "W", grpo.kl, 0.02, 0, 1e6, "weight of the divergence (k3) from the reference", NULL),        \
    FLAG("reference-base", grpo.reference_base, 0,                                                                     \
         "the reference is the model without an adapter, not with the one of --init"),                                 \
    FLAG("sequence-mean", grpo.sequence_mean, 0, "every chain weighs alike, not every token")

static const pgr_option CRE_ROWS[] = {
    SHARED(100, 2, 5e-5),
    GRPO,
    NUMBER(DOUBLE, "alpha", "A", grpo.alpha, 0.5, 0, 1e6, "weight of the coverage", NULL),
    CHOICE("process", "WHO", grpo.process, "says what a chain covers: rule, self (this model) or server", PROCESSES),
    FLAG("apart", grpo.apart, 0, "coverage and outcome are normalised each by itself"),
    {0},
};

static const pgr_option HNCL_ROWS[] = {
    SHARED(100, 2, 5e-5),
    GRPO,
    NUMBER(DOUBLE, "hard-from", "SHARE", grpo.hard_from, 0, 0, 1, "of hard pairs at the first step", NULL),
    NUMBER(DOUBLE, "hard-to", "SHARE", grpo.hard_to, 0.8, 0, 1, "of hard pairs at the last step", NULL),
    {0},
};
/* clang-format on */

const pgr_option *pgr_text_option_rows(pgr_stage stage) {
    static const pgr_option *const tables[] = {PSI_ROWS, CRE_ROWS, HNCL_ROWS};
    return tables[stage];
}

pgr_text_options pgr_text_options_default(pgr_stage stage) {
    pgr_text_options o;
    memset(&o, 0, sizeof o);
    options_default(pgr_text_option_rows(stage), &o);
    o.stage = stage;
    o.frame = "full";
    o.train.beta1 = 0.9;
    o.train.beta2 = 0.999;
    return o;
}

/* ---- opening ---- */

static bool asks_server(const pgr_text_options *o) {
    return o->stage == PGR_STAGE_PSI ? o->teacher == PGR_TEACHER_SERVER
                                     : o->stage == PGR_STAGE_CRE && o->grpo.process == PGR_PROCESS_SERVER;
}

static pgr_status fail_pass(const pgr_text_options *o, size_t max_tokens, pgr_error *err) {
    return fail(err, PGR_E_ARG, "pass-tokens %zu: expected more than max-tokens of a chain, %zu", o->train.pass_tokens,
                max_tokens);
}

pgr_status pgr_text_check(const pgr_text_options *o, pgr_error *err) {
    PGR_TRY(options_check(pgr_text_option_rows(o->stage), o, err));
    PGR_TRY(run_check(&o->train, o->stage == PGR_STAGE_PSI, err));
    if (o->train.full) return fail(err, PGR_E_ARG, "full: found true, expected an adapter for chains of text");
    if (o->n_data == 0) return fail(err, PGR_E_ARG, "data: found none, expected files of preference pairs");
    if (o->stage != PGR_STAGE_PSI && o->grpo.samples % 2 && !o->one_order)
        return fail(err, PGR_E_ARG, "samples %zu: expected an even number, half of them in each order",
                    o->grpo.samples);
    if (o->max_tokens >= o->train.pass_tokens) return fail_pass(o, o->max_tokens, err);
    if (!asks_server(o)) return PGR_OK;
    if (!o->server.url) return fail(err, PGR_E_ARG, "server: found none, expected its address");
    return pgr_addresses_check(o->server.url, err);
}

static pgr_status open_frame(text *t, pgr_error *err) {
    const char *name = t->o->frame ? t->o->frame : "full";
    bool has;
    PGR_TRY(frame_open(name, &t->frame, err));
    t->form = frame_form(t->frame);
    if (t->form == CHAIN_SLOTS)
        return fail(err, PGR_E_ARG, "frame %s: its form is slots, expected full or compact, whose chains are text",
                    frame_name(t->frame));
    PGR_TRY(frame_grammar(t->frame, TEXT_RESPONSES, &t->grammar, &has, err));
    if (t->grammar.failed) return fail_mem(err);
    t->max_tokens = t->o->max_tokens ? t->o->max_tokens : frame_max_tokens(t->frame);
    t->want_history = t->o->history ? t->o->history : frame_history(t->frame);
    return t->max_tokens < t->o->train.pass_tokens ? PGR_OK : fail_pass(t->o, t->max_tokens, err);
}

/* Files of the one kind that pairs of text chains are of: whole users are held back. */
static pgr_status load(const text *t, const char *const *paths, size_t n, bool evaluate, psi_set *out, arena *a,
                       pgr_error *err) {
    pgr_psi_data *data = arena_array(a, n + 1, sizeof *data);
    if (!data) return fail_mem(err);
    for (size_t i = 0; i < n; i++) data[i] = (pgr_psi_data){PGR_PSI_TASTE, paths[i]};
    psi_load l = {data, n, PGR_PSI_TASTE, evaluate, evaluate ? 1 : t->o->held, t->o->train.seed};
    return psi_set_load(&l, out, err);
}

/* Few users may all be learnt from, since who is held back depends on each one alone. */
static void warn_of_no_held(const text *t) {
    bool any = t->o->held == 0 || t->eval.n_pair > 0;
    for (size_t i = 0; i < t->set.n_pair && !any; i++) any = t->set.held[i];
    if (!any)
        log_warn("%s: none of %zu users is held back at --held %g, nothing is evaluated; expected more users, a larger "
                 "share or --eval",
                 t->o->data[0], t->set.n_user, t->o->held);
}

static pgr_status text_open(text *t, pgr_model *m, const pgr_text_options *o, pgr_error *err) {
    *t = (text){.o = o, .m = m, .end = -1};
    PGR_TRY(pgr_text_check(o, err));
    if (pgr_ranks_count(o->train.ranks) > 1)
        return fail(err, PGR_E_UNSUPPORTED,
                    "train %s on text chains: found %zu processes, expected one: its chains are written by one engine",
                    STAGES[o->stage], pgr_ranks_count(o->train.ranks));
    PGR_TRY(pgr_engine_create(m, NULL, &t->e, err));
    if (engine_about(t->e)->no_chat) return fail(err, PGR_E_UNSUPPORTED, "%s", engine_about(t->e)->no_chat);
    PGR_TRY(open_frame(t, err));
    PGR_TRY(text_find_tokens(t, err));
    PGR_TRY(load(t, o->data, o->n_data, false, &t->set, &t->arena, err));
    PGR_TRY(load(t, o->eval, o->n_eval, true, &t->eval, &t->arena, err));
    PGR_TRY(psi_set_order(&t->set, false, 0, err));
    if (t->set.n_order > 0) {
        warn_of_no_held(t);
        return PGR_OK;
    }
    return fail(err, PGR_E_ARG, "%s: nothing to learn from: found %zu train rows of %zu users, expected some",
                o->data[0], t->set.n_pair, t->set.n_user);
}

static void text_close(text *t) {
    psi_set_free(&t->set);
    psi_set_free(&t->eval);
    teacher_close(t->teacher);
    pgr_engine_free(t->e);
    frame_close(t->frame);
    buf_free(&t->grammar);
    mem_free(t->reference);
    arena_free(&t->arena);
}

/* ---- settings ---- */

static json_t *grpo_settings(const pgr_text_grpo *g) {
    return json_pack("{s:I,s:f,s:f,s:i,s:i,s:b,s:b,s:f,s:f,s:f,s:f,s:f,s:b,s:b,s:f,s:f}", "samples",
                     (json_int_t)g->samples, "alpha", g->alpha, "beta", g->beta, "outcome", (int)g->outcome, "process",
                     (int)g->process, "apart", g->apart, "unscaled", g->unscaled, "malformed", g->malformed, "clip_low",
                     g->clip_low, "clip_high", g->clip_high, "dual", g->dual, "kl", g->kl, "reference_base",
                     g->reference_base, "sequence_mean", g->sequence_mean, "hard_from", g->hard_from, "hard_to",
                     g->hard_to);
}

/* What decides the numbers besides what all stages have. */
static json_t *settings_of(const text *t) {
    const pgr_text_options *o = t->o;
    json_t *data = json_array();
    int failed = 0;
    for (size_t i = 0; i < o->n_data; i++) failed |= json_array_append_new(data, legible_json(o->data[i]));
    json_t *all = json_pack("{s:o,s:o,s:I,s:I,s:f,s:b,s:f}", "data", data, "frame", legible_json(frame_name(t->frame)),
                            "history", (json_int_t)t->want_history, "max_tokens", (json_int_t)t->max_tokens, "tau",
                            o->tau, "one_order", o->one_order, "held", o->held);
    if (all && o->stage == PGR_STAGE_PSI)
        failed |=
            json_object_set_new(all, "teaching",
                                json_pack("{s:s,s:o,s:o,s:I,s:I,s:f}", "teacher", TEACHERS[o->teacher], "server",
                                          legible_json(o->server.url), "server_model", legible_json(o->server.model),
                                          "pairs", (json_int_t)o->pairs, "tries", (json_int_t)o->tries, "bt", o->bt));
    if (all && o->stage != PGR_STAGE_PSI) failed |= json_object_set_new(all, "grpo", grpo_settings(&o->grpo));
    if (!failed) return all;
    json_decref(all);
    return NULL;
}

/* ---- the run ---- */

static pgr_status open_server(text *t, pgr_error *err) {
    buf folder = {0};
    if (!asks_server(t->o)) return PGR_OK;
    buf_printf(&folder, "%s/answers", t->o->train.out);
    pgr_status s = folder.failed ? fail_mem(err) : teacher_open(&t->o->server, folder.data, &t->teacher, err);
    buf_free(&folder);
    return s;
}

/* Steps where epochs were given: known when the teacher has written. */
static void settle_steps(const text *t, train_run *r, pgr_train_options *o) {
    if (o->steps > 0) return;
    o->steps = (size_t)ceil(o->epochs * (double)t->set.n_order / (double)o->batch);
    r->steps = o->steps;
}

pgr_status pgr_train_text(pgr_model *model, const pgr_text_options *options, pgr_train_report *out, pgr_error *err) {
    static const char *const names[] = {"psi text", "cre text", "hncl text"};
    text t;
    train_run r = {0};
    pgr_train_options o = options->train;
    json_setup();
    pgr_status s = text_open(&t, model, options, err);
    if (s == PGR_OK) s = run_open(&r, model, &o, names[options->stage], settings_of(&t), err);
    if (s == PGR_OK) s = open_server(&t, err);
    bool psi = options->stage == PGR_STAGE_PSI;
    if (s == PGR_OK && psi) s = text_chains_make(&t, &r, err);
    if (s == PGR_OK) settle_steps(&t, &r, &o);
    if (s == PGR_OK && r.steps == 0) s = fail(err, PGR_E_ARG, "steps and epochs are 0: expected one above 0");
    train_stage stage = {.name = names[options->stage],
                         .ctx = &t,
                         .step = psi ? text_step_psi : text_step_cre,
                         .evaluate = text_evaluate,
                         .eval_every = options->eval_every};
    if (s == PGR_OK) s = options->write ? text_write(&t, &r, options->write, err) : run_loop(&r, &stage, err);
    if (out) *out = r.report;
    run_close(&r);
    text_close(&t);
    return s;
}
