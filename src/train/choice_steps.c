/* choice_steps.c - training on preference pairs: what Bradley-Terry and DPO share. */
#include "train/choice_steps.h"

#include <math.h>

#include "base/json.h"
#include "base/legible.h"
#include "base/options.h"

/* ---- passes ---- */

static size_t pairs_of(const choice_steps *s, size_t pass) {
    return s->cut.first[pass + 1] - s->cut.first[pass];
}

static size_t told_by(void *ctx, size_t pass) {
    const choice_steps *s = ctx;
    return s->stage->n_told * pairs_of(s, pass);
}

static pgr_status pass_forward(void *ctx, size_t pass, double *told, pgr_error *err) {
    choice_steps *s = ctx;
    return s->stage->forward(s->ctx, s->r, s->at + s->cut.first[pass], pairs_of(s, pass), told, err);
}

static void pass_take(void *ctx, size_t pass, const double *told, bool mine) {
    choice_steps *s = ctx;
    const size_t *at = s->at + s->cut.first[pass];
    for (size_t i = 0, n = pairs_of(s, pass); i < n; i++)
        s->stage->take(s->ctx, at[i], told + i * s->stage->n_told, 1 / (double)s->n, mine ? i : SIZE_MAX);
}

static pgr_status pass_back(void *ctx, size_t pass, pgr_error *err) {
    choice_steps *s = ctx;
    (void)pass;
    pgr_status status = s->stage->back(s->ctx, s->r, err);
    s->stage->drop(s->ctx);
    return status;
}

static size_t tokens_of(const void *ctx, size_t i) {
    const choice_steps *s = ctx;
    const choice *c = &s->data.list[s->at[i]];
    return c->side[CHOSEN].n + c->side[REJECTED].n;
}

/* ---- steps ---- */

static pgr_status step(void *ctx, train_run *r, metrics *m, pgr_error *err) {
    static const pass_fns fns = {told_by, pass_forward, pass_take, pass_back};
    choice_steps *s = ctx;
    s->r = r;
    s->at = order_at(&s->order, r->state.step, &s->n);
    s->stage->forget(s->ctx);
    for (size_t i = 0; i < s->n; i++) m->tokens += tokens_of(s, i);
    pgr_status status = run_cut(r, s->n, tokens_of, s, &s->cut, err);
    if (status == PGR_OK) status = run_passes(r, s->cut.n_pass, &fns, s, err);
    s->stage->drop(s->ctx);
    run_cut_free(&s->cut);
    m->epoch = (double)(r->state.step + 1) / (double)order_steps(&s->order);
    s->stage->tell(s->ctx, m);
    return status;
}

/* ---- the run ---- */

pgr_status choice_options_check(const choice_options *o, pgr_error *err) {
    PGR_TRY(options_check(o->rows, o->of, err));
    PGR_TRY(run_check(o->train, true, err));
    if (!o->data) return fail(err, PGR_E_ARG, "data: found none, expected a file of preference pairs");
    if (2 * o->max_tokens > o->train->pass_tokens)
        return fail(err, PGR_E_ARG, "max-tokens %zu: expected at most half of pass-tokens, %zu", o->max_tokens,
                    o->train->pass_tokens);
    return PGR_OK;
}

static pgr_status open_data(choice_steps *s, const pgr_model *m, const choice_options *o, pgr_error *err) {
    PGR_TRY(choice_options_check(o, err));
    PGR_TRY(choices_load(m, o->data, o->max_tokens, &s->data, err));
    PGR_TRY(order_init(&s->order, s->data.n, o->train->batch, o->train->seed, o->no_shuffle, err));
    return s->stage->begin ? s->stage->begin(s->ctx, s, err) : PGR_OK;
}

static pgr_status add_settings(json_t *settings, const choice_options *o, pgr_error *err) {
    int failed = json_object_set_new(settings, "data", legible_json(o->data));
    failed |= json_object_set_new(settings, "no_shuffle", json_boolean(o->no_shuffle));
    failed |= json_object_set_new(settings, "max_tokens", json_integer((json_int_t)o->max_tokens));
    return failed ? fail_mem(err) : PGR_OK;
}

pgr_status choice_steps_train(pgr_model *m, const choice_options *o, const choice_stage *stage, void *ctx,
                              choice_open_fn open, json_t *settings, pgr_train_report *out, pgr_error *err) {
    choice_steps s = {.stage = stage, .ctx = ctx};
    train_run r = {0};
    pgr_train_options t = *o->train;
    pgr_status status = ranks_agree(t.ranks, open_data(&s, m, o, err), err);
    if (status == PGR_OK && t.steps == 0) t.steps = (size_t)ceil(t.epochs * (double)order_steps(&s.order));
    if (status == PGR_OK) status = add_settings(settings, o, err);
    if (status == PGR_OK) status = open(&r, m, &t, stage->name, json_incref(settings), err);
    const train_stage run = {.name = stage->name, .ctx = &s, .step = step};
    if (status == PGR_OK) status = run_loop(&r, &run, err);
    if (out) *out = r.report;
    run_close(&r);
    order_free(&s.order);
    choices_free(&s.data);
    json_decref(settings);
    return status;
}
