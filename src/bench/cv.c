/* cv.c - cross-validation over all rows of a set; see cv.h. */
#include "bench/cv.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "base/watch.h"
#include "bench/derive.h"
#include "bench/mean.h"

typedef struct crossing {
    fits *f;
    const bench_data *d;
    const verdict_table *t; /* its cells */
    const pgr_bench_options *o;
    const summary_line *lines; /* (n_line) */
    size_t n_line;
    fold_plan plan;
    double *p; /* (n_cell, n_row) of d's rows; NaN where nobody asked */
    size_t done;
    pgr_status status[FOLDS_MAX];
    pgr_error error[FOLDS_MAX];
} crossing;

/* ---- one fold ---------------------------------------------------------------------------------------------------- */

/* p: (n_test of made) and other: (n_user) scratch */
static pgr_status ask_cell(const crossing *x, fits *f, const bench_data *made, size_t cell, double *p, size_t *other,
                           pgr_error *err) {
    const bench_cell *c = &x->t->cells[cell];
    const pgr_bench_options *o = x->o;
    fits_ask how = {.history = o->judge.history > 0 ? (size_t)o->judge.history : 0,
                    .donor = c->stranger ? other : NULL,
                    .plain = c->plain,
                    .seed = o->seed};
    if (c->stranger) PGR_TRY(bench_strangers(made, o->seed, (size_t)c->stranger - 1, other, err));
    PGR_TRY(fits_predict(f, c->statistic, &how, p, err));
    double *out = x->p + cell * x->d->n_row;
    for (size_t i = 0, k = 0; i < made->n_row; i++)
        if (!made->rows[i].train) out[made->origin[i]] = p[k++];
    return PGR_OK;
}

static pgr_status ask_cells(const crossing *x, fits *f, const bench_data *made, pgr_error *err) {
    double *p = mem_array(made->n_test + 1, sizeof *p);
    size_t *other = mem_array(made->n_user + 1, sizeof *other);
    pgr_status s = p && other ? PGR_OK : fail_mem(err);
    for (size_t c = 0; s == PGR_OK && c < x->t->n_cell; c++)
        if (x->t->cells[c].statistic) s = ask_cell(x, f, made, c, p, other, err);
    mem_free(p);
    mem_free(other);
    return s;
}

static pgr_status cross(const crossing *x, size_t fold, pgr_error *err) {
    bench_data *made = NULL;
    fits *f = NULL;
    pgr_watch quiet = {.cancel = x->o->watch.cancel};
    PGR_TRY(folds_data(x->d, &x->plan, fold, &made, err));
    pgr_status s = fits_open_within(x->f, made, &quiet, NULL, &f, err);
    if (s == PGR_OK) s = ask_cells(x, f, made, err);
    fits_close(f);
    bench_data_free(made);
    return s;
}

static void run_fold(void *ctx, size_t fold, size_t worker) {
    crossing *x = ctx;
    x->status[fold] = cross(x, fold, &x->error[fold]);
    if (worker == 0) watch_report(&x->o->watch, "cross-validation", fold + 1, x->plan.n, "folds");
}

/* ---- what they say ----------------------------------------------------------------------------------------------- */

typedef struct tally { /* the rows that were asked */
    const crossing *x;
    size_t *row; /* (by.n) of d */
    clusters by;
    double *points; /* (n_line, by.n) means over a line's cells */
    double *loss;   /* (n_line) mean log loss */
    double *values; /* (by.n) scratch */
} tally;

static const double SURE = 1e-3; /* as in summary_trust.c */

static pgr_status begin_tally(const crossing *x, arena *a, tally *y, pgr_error *err) {
    const bench_data *d = x->d;
    size_t most = d->n_user > d->n_topic ? d->n_user : d->n_topic, n = 0;
    size_t *user = arena_array(a, d->n_row + 1, sizeof *user), *question = arena_array(a, d->n_row + 1, sizeof *user);
    y->x = x;
    y->row = arena_array(a, d->n_row + 1, sizeof *y->row);
    y->values = arena_array(a, d->n_row + 1, sizeof *y->values);
    y->by.residuals = arena_array(a, most + 1, sizeof *y->by.residuals);
    y->by.counts = arena_array(a, most + 1, sizeof *y->by.counts);
    y->loss = arena_array(a, x->n_line + 1, sizeof *y->loss);
    if (!user || !question || !y->row || !y->values || !y->by.residuals || !y->by.counts || !y->loss)
        return fail_mem(err);
    for (size_t i = 0; i < d->n_row; i++) {
        if (d->rows[i].borrowed) continue;
        y->row[n] = i;
        user[n] = d->rows[i].user;
        question[n++] = d->rows[i].topic;
    }
    y->by.user = user;
    y->by.question = question;
    y->by.n = n;
    y->by.n_user = d->n_user;
    y->by.n_question = d->n_topic;
    y->points = arena_array(a, x->n_line * n + 1, sizeof *y->points);
    return y->points ? PGR_OK : fail_mem(err);
}

static void add_points(tally *y, size_t number) {
    const summary_line *line = &y->x->lines[number];
    double *points = y->points + number * y->by.n, n = (double)line->n_cell;
    for (size_t c = line->cell; c < line->cell + line->n_cell; c++)
        for (size_t i = 0; i < y->by.n; i++) {
            double p = y->x->p[c * y->x->d->n_row + y->row[i]];
            points[i] += (p == 0.5 ? 0.5 : p > 0.5) / n;
            y->loss[number] -= log(fmin(fmax(p, SURE), 1 - SURE)) / n / (double)y->by.n;
        }
}

static void difference(const tally *y, size_t line, size_t other, double *mean, double *se, pgr_bench_errors *by) {
    *mean = *se = by->user = by->question = NAN;
    if (other >= y->x->n_line || other == line || !y->x->t->cells[y->x->lines[other].cell].statistic) return;
    for (size_t i = 0; i < y->by.n; i++) y->values[i] = y->points[line * y->by.n + i] - y->points[other * y->by.n + i];
    mean_both m = mean_by_both(&y->by, y->values);
    *mean = m.mean;
    *se = m.se;
    *by = (pgr_bench_errors){m.se_user, m.se_question};
}

static void fill(const tally *y, size_t line, pgr_bench_cv *out) {
    const crossing *x = y->x;
    bool plain;
    mean_both m = mean_by_both(&y->by, y->points + line * y->by.n);
    *out = (pgr_bench_cv){.folds = x->plan.n,
                          .pairs = y->by.n,
                          .by = x->plan.by_conversation ? "conversation" : "question",
                          .accuracy = m.mean,
                          .accuracy_se = m.se,
                          .accuracy_errors = {m.se_user, m.se_question},
                          .log_loss = y->loss[line]};
    /* longest is the first of all cells */
    difference(y, line, 0, &out->over_longest, &out->over_longest_se, &out->over_longest_errors);
    difference(y, line, summary_base(x->t, x->lines, x->n_line, line, &plain), &out->over_base, &out->over_base_se,
               &out->over_base_errors);
    difference(y, line, summary_strangers(x->t, x->lines, x->n_line, line), &out->over_stranger, &out->over_stranger_se,
               &out->over_stranger_errors);
}

static pgr_status tell(const crossing *x, pgr_bench_row *rows, pgr_error *err) {
    arena a = {0};
    tally y = {0};
    pgr_status s = begin_tally(x, &a, &y, err);
    for (size_t pass = 0; pass < 2; pass++) /* points of all, then the rows */
        for (size_t l = 0; s == PGR_OK && l < x->n_line; l++) {
            if (!x->t->cells[x->lines[l].cell].statistic) continue;
            if (pass == 0)
                add_points(&y, l);
            else
                fill(&y, l, &rows[l].cv);
        }
    arena_free(&a);
    return s;
}

/* ---- all --------------------------------------------------------------------------------------------------------- */

static pgr_status cross_all(crossing *x, pool *threads, pgr_error *err) {
    for (size_t c = 0; c < x->t->n_cell; c++) /* shared by the folds: computed before they part */
        if (x->t->cells[c].statistic) PGR_TRY(fits_need(x->f, x->t->cells[c].statistic, err));
    watch_report(&x->o->watch, "cross-validation", 0, x->plan.n, "folds");
    pool_run(threads, x->plan.n, run_fold, x);
    for (size_t k = 0; k < x->plan.n; k++) {
        if (x->status[k] != PGR_OK && err) *err = x->error[k];
        PGR_TRY(x->status[k]);
    }
    return PGR_OK;
}

/* Are there rows to learn from that may be asked, too? */
static bool has_own(const bench_data *d) {
    for (size_t i = 0; i < d->n_row; i++)
        if (d->rows[i].train && !d->rows[i].borrowed) return true;
    return false;
}

static pgr_status with_plan(crossing *x, pool *threads, arena *a, pgr_bench_row *rows, pgr_error *err) {
    const bench_data *d = x->d;
    summary_line *lines = arena_array(a, x->t->n_cell + 1, sizeof *lines);
    if (!lines) return fail_mem(err);
    x->n_line = summary_lines(x->t, lines);
    x->lines = lines;
    x->p = mem_array(x->t->n_cell * d->n_row + 1, sizeof *x->p);
    if (!x->p) return fail_mem(err);
    PGR_TRY(cross_all(x, threads, err));
    return tell(x, rows, err);
}

pgr_status cv_run(fits *f, const bench_data *d, const verdict_table *t, const pgr_bench_options *o, pool *threads,
                  arena *a, pgr_bench_row *rows, const char **why, pgr_error *err) {
    *why = has_own(d) ? NULL : "it has no train rows of its own to ask in turn";
    if (*why) return PGR_OK;
    crossing *x = mem_zero(1, sizeof *x);
    if (!x) return fail_mem(err);
    *x = (crossing){.f = f, .d = d, .t = t, .o = o};
    pgr_status s = folds_plan(d, o->folds, o->seed, &x->plan, err);
    if (s == PGR_OK) s = with_plan(x, threads, a, rows, err);
    folds_free(&x->plan);
    mem_free(x->p);
    mem_free(x);
    return s;
}
