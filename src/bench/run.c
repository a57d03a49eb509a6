/* run.c - fills a table of verdicts; see run.h. A verdict depends on its row, its cell and its run alone, so that it
 * does not matter which others are known already. */
#include "bench/run.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/watch.h"
#include "bench/ask.h"
#include "bench/scalar.h"
#include "bench/stat.h"
#include "judge/judge.h"

enum {
    SCALAR_ROWS = 64, /* that the reward model scores between two looks at what is saved */
    GROUP_REQUESTS = 1024
}; /* that are judged in one call: so many that the last ones, with few beside them, count little */

typedef struct running {
    const run_input *in;
    verdict_table *t;
    size_t *order; /* (n_test) verdicts' rows, those of one user together */
    size_t *other; /* (n_user) strangers of the run */
    double *p;     /* (n_test) */
    size_t n_done; /* verdicts of the cell that are known, all runs */
    char label[160];
    pgr_error *err;
} running;

static void show(const running *r) {
    const pgr_bench_options *o = r->in->o;
    watch_report(&o->watch, r->label, r->n_done, r->t->n_run * r->t->n_row, "verdicts");
}

static void name_step(running *r, size_t cell) {
    const bench_cell *c = &r->t->cells[cell];
    char chains[40] = "";
    if (c->ind > 0 && c->pro > 0)
        snprintf(chains, sizeof chains, " Ind-%d,Pro-%d", c->ind, c->pro);
    else if (c->ind > 0)
        snprintf(chains, sizeof chains, " Ind-%d", c->ind);
    else if (c->pro > 0)
        snprintf(chains, sizeof chains, " Pro-%d", c->pro);
    snprintf(r->label, sizeof r->label, "%s %zu/%zu %s%s%s", r->in->d->name, cell + 1, r->t->n_cell, c->method, chains,
             c->stranger ? " stranger"
             : c->plain  ? " plain"
                         : "");
}

static size_t count_known(const verdict_table *t, size_t cell, size_t run) {
    size_t n = 0;
    for (size_t i = 0; i < t->n_row; i++) n += verdict_at(t, cell, run, i)->known;
    return n;
}

static bool cancelled(const running *r) {
    return watch_cancelled(&r->in->o->watch);
}

/* ---- statistics -------------------------------------------------------------------------------------------------- */

static pgr_status run_statistic(running *r, size_t cell, size_t run) {
    const pgr_bench_options *o = r->in->o;
    const bench_cell *c = &r->t->cells[cell];
    fits_ask how = {.history = o->judge.history > 0 ? (size_t)o->judge.history : 0,
                    .donor = c->stranger ? r->other : NULL,
                    .plain = c->plain,
                    .seed = o->seed + run};
    double start = clock_now();
    PGR_TRY(fits_predict(r->in->fits, c->statistic, &how, r->p, r->err));
    double each = (clock_now() - start) / (double)r->t->n_row;
    for (size_t i = 0; i < r->t->n_row; i++) {
        bench_verdict *v = verdict_at(r->t, cell, run, i);
        if (v->known) continue;
        double p = r->p[i];
        *v = (bench_verdict){.known = true, .p = p, .flip = NAN, .lead = {NAN, NAN, NAN}, .seconds = each};
        v->right = isnan(p) || p == 0.5 ? 0.5 : (p > 0.5 ? 1 : 0);
        PGR_TRY(journal_add(r->in->j, r->t, cell, run, i, r->err));
    }
    return PGR_OK;
}

/* ---- the reward model -------------------------------------------------------------------------------------------- */

static pgr_status take_pair(const running *r, size_t row, const scalar_pair *pair, bench_verdict *v) {
    double gap = scalar_gap(pair);
    *v = (bench_verdict){.known = true, .p = stat_probability(gap), .right = 0.5, .flip = NAN, .lead = {NAN, NAN, NAN}};
    v->prompt_tokens = pair->tokens[0] + pair->tokens[1];
    if (gap != 0) v->right = gap > 0 ? 1 : 0;
    if (!isnan(pair->score[0]) && !isnan(pair->score[1])) return PGR_OK;
    v->p = NAN;
    return notes_add(r->in->notes, r->in->a, r->err, "not asked: %s row %zu: %zu and %zu tokens, expected at most %zu",
                     r->in->d->name, r->in->asked[row], pair->tokens[0], pair->tokens[1],
                     pgr_scalar_max_tokens(r->in->o->scalar));
}

static pgr_status score_rows(running *r, size_t cell, const size_t *rows, size_t n) {
    size_t indices[SCALAR_ROWS];
    scalar_pair pairs[SCALAR_ROWS];
    pgr_watch quiet = {.cancel = r->in->o->watch.cancel};
    for (size_t i = 0; i < n; i++) indices[i] = r->in->asked[rows[i]];
    double start = clock_now();
    PGR_TRY(scalar_rows(r->in->o->scalar, r->in->d, indices, n, &quiet, pairs, r->err));
    double each = (clock_now() - start) / (double)n;
    for (size_t i = 0; i < n; i++) {
        bench_verdict v;
        PGR_TRY(take_pair(r, rows[i], &pairs[i], &v));
        v.seconds = each;
        *verdict_at(r->t, cell, 0, rows[i]) = v;
        PGR_TRY(journal_add(r->in->j, r->t, cell, 0, rows[i], r->err));
        r->n_done++;
    }
    show(r);
    return PGR_OK;
}

/* No seed changes its verdicts: later runs are the first one's, and cost nothing. */
static pgr_status repeat_scalar(running *r, size_t cell, size_t run) {
    for (size_t row = 0; row < r->t->n_row; row++) {
        bench_verdict *v = verdict_at(r->t, cell, run, row), first = *verdict_at(r->t, cell, 0, row);
        if (v->known) continue;
        *v = (bench_verdict){.known = true, .p = first.p, .right = first.right, .flip = NAN, .lead = {NAN, NAN, NAN}};
        PGR_TRY(journal_add(r->in->j, r->t, cell, run, row, r->err));
        r->n_done++;
    }
    return PGR_OK;
}

static pgr_status run_scalar(running *r, size_t cell, size_t run) {
    if (run > 0) return repeat_scalar(r, cell, run);
    size_t rows[SCALAR_ROWS], n = 0;
    for (size_t k = 0; k < r->t->n_row; k++) {
        if (!verdict_at(r->t, cell, 0, k)->known) rows[n++] = k;
        if (n == SCALAR_ROWS || (n > 0 && k + 1 == r->t->n_row)) {
            PGR_TRY(score_rows(r, cell, rows, n));
            n = 0;
        }
    }
    return PGR_OK;
}

/* ---- the language model ------------------------------------------------------------------------------------------ */

typedef struct group { /* of requests in one call */
    running *r;
    size_t cell, run;
    size_t n;
    size_t rows[GROUP_REQUESTS];
    pgr_request *requests[GROUP_REQUESTS];
    pgr_result *results[GROUP_REQUESTS];
    pgr_error errors[GROUP_REQUESTS];
    double last; /* when the verdict before was there */
    pgr_status status;
    pgr_cancel stop; /* the caller's cancel, or a verdict that could not be saved: the rest is in vain */
} group;

/* Differences of the chains under the own history, in the order of their numbers. */
static pgr_status take_gaps(running *r, const pgr_result *result, size_t place, bench_verdict *v) {
    v->gaps = arena_array(r->t->arena, result->n_sample + 1, sizeof *v->gaps);
    if (!v->gaps) return fail_mem(r->err);
    for (size_t i = 0; i < result->n_sample; i++) {
        const pgr_chain_sample *s = &result->samples[i];
        if (s->user) continue; /* a similar user's history */
        v->gaps[v->n_gap++] = s->parsed ? (float)(s->scores[place] - s->scores[1 - place]) : NAN;
    }
    return PGR_OK;
}

static pgr_status take_result(group *g, size_t i, const pgr_result *result, bench_verdict *v) {
    running *r = g->r;
    const bench_row *row = &r->in->d->rows[r->in->asked[g->rows[i]]];
    size_t place = ask_place(ask_key(r->in->d, row, r->in->o->seed + g->run));
    v->chains = result->requested;
    v->parsed = result->parsed;
    v->flip = result->flip_rate;
    v->prompt_tokens = result->prompt_tokens;
    v->cached_tokens = result->cached_tokens;
    v->tokens = result->completion_tokens;
    v->kind = result->kind;
    v->calibrated = result->calibrated;
    if (result->best >= 0) {
        double best = result->calibrated ? result->confidence : result->confidence_raw;
        v->p = result->tie ? 0.5 : (size_t)result->best == place ? best : 1 - best;
        v->lead = result->lead;
        if ((size_t)result->best != place) v->lead.mean = -v->lead.mean;
        v->right = result->tie ? 0.5 : ((size_t)result->best == place ? 1 : 0);
    }
    return take_gaps(r, result, place, v);
}

/* A row whose texts cannot be asked is a failure that counts, anything else ends the run. */
static pgr_status take_error(group *g, size_t i) {
    const pgr_error *e = &g->errors[i];
    if (e->status != PGR_E_LIMIT) {
        if (g->r->err) *g->r->err = *e;
        return e->status;
    }
    return notes_add(g->r->in->notes, g->r->in->a, g->r->err, "not asked: %.300s", e->message);
}

static pgr_status settle(group *g, size_t i) {
    running *r = g->r;
    double now = clock_now();
    bench_verdict v = {
        .known = true, .p = NAN, .right = 0.5, .flip = NAN, .lead = {NAN, NAN, NAN}, .seconds = now - g->last};
    PGR_TRY(g->results[i] ? take_result(g, i, g->results[i], &v) : take_error(g, i));
    g->last = now;
    *verdict_at(r->t, g->cell, g->run, g->rows[i]) = v;
    PGR_TRY(journal_add(r->in->j, r->t, g->cell, g->run, g->rows[i], r->err));
    r->n_done++;
    show(r);
    return PGR_OK;
}

/* Each verdict is saved before the next step of the engine. */
static void on_judged(void *ctx, size_t index) {
    group *g = ctx;
    if (g->status == PGR_OK) g->status = settle(g, index);
    if (g->status != PGR_OK) g->stop = 1;
    pgr_result_free(g->results[index]);
    g->results[index] = NULL;
}

static void on_step(void *ctx, const char *label, uint64_t done, uint64_t total, const char *unit) {
    (void)label, (void)done, (void)total, (void)unit;
    group *g = ctx;
    if (cancelled(g->r)) g->stop = 1;
}

static pgr_status judge_group(group *g) {
    running *r = g->r;
    const bench_cell *c = &r->t->cells[g->cell];
    pgr_judge_options jo = r->in->o->judge;
    jo.ind = c->ind;
    jo.pro = c->pro;
    jo.people = c->pro > 0 ? r->in->people : NULL; /* own chains do not depend on what else is in the grid */
    jo.seed = -1;                                  /* each request has its own */
    jo.scalar = !c->frame && jo.scalar_weight > 0 ? r->in->o->scalar : NULL; /* under p-genrm, where it counts */
    jo.frame = c->frame ? c->frame : jo.frame;
    if (c->frame) jo.max_tokens = 0;
    jo.keep_chains = true;
    jo.watch = (pgr_watch){&g->stop, on_step, g};
    jo.judged = on_judged;
    jo.judged_ctx = g;
    g->last = clock_now();
    pgr_status s = judge_many_at_once(r->in->engine, (const pgr_request *const *)g->requests, g->n, &jo,
                                      r->in->o->at_once, g->results, g->errors);
    if (g->status == PGR_OK && s == PGR_E_MEM) return fail_mem(r->err); /* perhaps nobody was told */
    return g->status;
}

static pgr_status make_requests(group *g, const size_t *rows, size_t n) {
    running *r = g->r;
    const bench_cell *c = &r->t->cells[g->cell];
    bench_ask how = {.history = c->personal,
                     .demographics = c->demographics,
                     .other = c->stranger ? r->other : NULL,
                     .seed = r->in->o->seed + g->run};
    for (size_t i = 0; i < n; i++) {
        const bench_row *row = &r->in->d->rows[r->in->asked[rows[i]]];
        g->rows[i] = rows[i];
        PGR_TRY(ask_request(r->in->d, row, &how, &g->requests[i], r->err));
        g->n = i + 1;
    }
    return PGR_OK;
}

static pgr_status run_group(running *r, size_t cell, size_t run, const size_t *rows, size_t n) {
    group *g = mem_zero(1, sizeof *g);
    if (!g) return fail_mem(r->err);
    g->r = r;
    g->cell = cell;
    g->run = run;
    pgr_status s = make_requests(g, rows, n);
    if (s == PGR_OK) s = judge_group(g);
    for (size_t i = 0; i < g->n; i++) pgr_request_free(g->requests[i]);
    mem_free(g);
    return s;
}

static pgr_status run_prompts(running *r, size_t cell, size_t run) {
    size_t rows[GROUP_REQUESTS], n = 0;
    for (size_t k = 0; k < r->t->n_row; k++) {
        if (!verdict_at(r->t, cell, run, r->order[k])->known) rows[n++] = r->order[k];
        if (n == GROUP_REQUESTS || (n > 0 && k + 1 == r->t->n_row)) {
            PGR_TRY(run_group(r, cell, run, rows, n));
            n = 0;
        }
    }
    return PGR_OK;
}

/* ---- all --------------------------------------------------------------------------------------------------------- */

static pgr_status run_cell(running *r, size_t cell) {
    const bench_cell *c = &r->t->cells[cell];
    name_step(r, cell);
    r->n_done = 0;
    for (size_t run = 0; run < r->t->n_run; run++) r->n_done += count_known(r->t, cell, run);
    for (size_t run = 0; run < r->t->n_run; run++) {
        if (cancelled(r)) return fail(r->err, PGR_E_CANCELLED, "cancelled");
        if (count_known(r->t, cell, run) == r->t->n_row) continue;
        if (c->stranger)
            PGR_TRY(bench_strangers(r->in->d, r->in->o->seed + run, (size_t)c->stranger - 1, r->other, r->err));
        show(r);
        PGR_TRY((c->statistic ? run_statistic : c->scalar ? run_scalar : run_prompts)(r, cell, run));
    }
    return PGR_OK;
}

/* Rows of one user one after the other: their prompts begin alike. */
static void order_rows(running *r) {
    size_t n = 0;
    for (size_t i = 0; i < r->t->n_row; i++) r->order[i] = i;
    /* Insertion by user is stable and the rows mostly stand in that order already. */
    for (size_t i = 1; i < r->t->n_row; i++) {
        size_t row = r->order[i], user = r->in->d->rows[r->in->asked[row]].user;
        for (n = i; n > 0 && r->in->d->rows[r->in->asked[r->order[n - 1]]].user > user; n--)
            r->order[n] = r->order[n - 1];
        r->order[n] = row;
    }
}

pgr_status run_cells(const run_input *in, verdict_table *t, pgr_error *err) {
    running r = {.in = in, .t = t, .err = err};
    arena scratch = {0};
    r.order = arena_array(&scratch, t->n_row + 1, sizeof *r.order);
    r.other = arena_array(&scratch, in->d->n_user + 1, sizeof *r.other);
    r.p = arena_array(&scratch, t->n_row + 1, sizeof *r.p);
    pgr_status s = r.order && r.other && r.p ? PGR_OK : fail_mem(err);
    if (s == PGR_OK) order_rows(&r);
    for (size_t cell = 0; cell < t->n_cell && s == PGR_OK; cell++) s = run_cell(&r, cell);
    arena_free(&scratch);
    return s;
}
