/* summary.c - verdicts become rows; docs/bench.md says what each number means. */
#include "bench/summary.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "bench/mean.h"

enum { FOLDS = 5 }; /* of users, for calibration */

typedef struct work {
    const summary_input *in;
    arena *a;    /* scratch, freed at the end */
    arena *keep; /* of the rows */
    pgr_error *err;
    size_t n_row, n_run, n_user;
    size_t *user;                                /* (n_row) */
    double *points;                              /* (n_cell, n_row) means over runs of the verdicts: 1, 0, a half */
    double *values;                              /* (n_row) scratch */
    double *residuals;                           /* (n_user, at least n_group) scratch */
    size_t *counts;                              /* the same */
    size_t n_group;                              /* prototypes */
    double *p, *y, *mapped, *confidence, *right; /* (n_run * n_row) scratch: verdicts of one cell */
    pgr_gap *leads, *some;                       /* the same; some: of those that are fitted on */
    size_t *whose;                               /* (n_run * n_row) scratch */
} work;

static const bench_verdict *at(const work *w, size_t cell, size_t run, size_t row) {
    return verdict_at(w->in->t, cell, run, row);
}
static const double *points_of(const work *w, size_t cell) {
    return w->points + cell * w->n_row;
}
static mean_se by_user(const work *w, const double *v) {
    return mean_clustered(v, w->user, w->n_row, w->residuals, w->counts, w->n_user);
}

/* ---- accuracy ---------------------------------------------------------------------------------------------------- */

/* The mean of the groups' means over the rows; group[u] < 0: the user's rows are left out.
 * NULL: each user is a group. */
static double macro(const work *w, const double *v, const int *group, size_t n_group) {
    double *sums = w->residuals, total = 0;
    size_t *n = w->counts, used = 0;
    for (size_t g = 0; g < n_group; g++) {
        sums[g] = 0;
        n[g] = 0;
    }
    for (size_t i = 0; i < w->n_row; i++) {
        size_t u = w->user[i];
        if (group && (group[u] < 0 || (size_t)group[u] >= n_group)) continue;
        size_t g = group ? (size_t)group[u] : u;
        sums[g] += v[i];
        n[g]++;
    }
    for (size_t g = 0; g < n_group; g++) {
        if (!n[g]) continue;
        total += sums[g] / (double)n[g];
        used++;
    }
    return used ? total / (double)used : NAN;
}

static size_t count_groups(const int *group, size_t n) {
    int most = -1;
    for (size_t i = 0; group && i < n; i++)
        if (group[i] > most) most = group[i];
    return (size_t)(most + 1);
}

static pgr_status add_accuracy(const work *w, size_t cell, pgr_bench_row *out) {
    const double *v = points_of(w, cell);
    mean_se m = by_user(w, v);
    out->accuracy = m.mean;
    out->accuracy_se = m.se;
    out->users = m.n_cluster;
    double *runs = arena_array(w->a, w->n_run, sizeof *runs);
    if (!runs) return fail_mem(w->err);
    for (size_t r = 0; r < w->n_run; r++)
        for (size_t i = 0; i < w->n_row; i++) runs[r] += at(w, cell, r, i)->right / (double)w->n_row;
    out->accuracy_se_runs = mean_of(runs, w->n_run).se;
    out->macro_user = macro(w, v, NULL, w->n_user);
    out->macro_prototype = w->in->prototypes ? macro(w, v, w->in->prototypes, w->n_group) : NAN;
    return PGR_OK;
}

/* Counts and costs over all verdicts. */
static void add_counts(const work *w, size_t cell, pgr_bench_row *out) {
    double right = 0, flips = 0;
    size_t decided = 0, flipped = 0;
    for (size_t r = 0; r < w->n_run; r++)
        for (size_t i = 0; i < w->n_row; i++) {
            const bench_verdict *v = at(w, cell, r, i);
            bool failed = isnan(v->p), tie = !failed && v->right == 0.5;
            out->failures += failed;
            out->ties += tie;
            if (!failed && !tie) right += v->right, decided++;
            if (!isnan(v->flip)) flips += v->flip, flipped++;
            out->chains += v->chains;
            out->chains_failed += v->chains - v->parsed;
            out->tokens += v->tokens;
            out->prompt_tokens += v->prompt_tokens;
            out->cached_tokens += v->cached_tokens;
            out->seconds += v->seconds;
        }
    out->accuracy_parsed = decided ? right / (double)decided : NAN;
    out->flip_rate = flipped ? flips / (double)flipped : NAN;
    out->seconds_per_pair = out->seconds / (double)(w->n_run * w->n_row);
}

/* ---- differences ------------------------------------------------------------------------------------------------- */

static size_t find_cell(const work *w, const char *method, int ind, int pro, bool stranger) {
    const verdict_table *t = w->in->t;
    size_t i = 0;
    for (; i < t->n_cell; i++) {
        const bench_cell *c = &t->cells[i];
        if (strcmp(c->method, method) == 0 && c->ind == ind && c->pro == pro && c->stranger == stranger) break;
    }
    return i;
}

static void add_difference(const work *w, size_t cell, size_t other, double *mean, double *se) {
    *mean = *se = NAN;
    if (other >= w->in->t->n_cell || other == cell) return;
    const double *a = points_of(w, cell), *b = points_of(w, other);
    for (size_t i = 0; i < w->n_row; i++) w->values[i] = a[i] - b[i];
    mean_se m = by_user(w, w->values);
    *mean = m.mean;
    *se = m.se;
}

/* The method that does the same without knowing the user. */
static const char *base_of(const bench_cell *c) {
    static const char *const bases[][2] = {{"length-personal", "longest"},
                                           {"attributes-personal", "attributes"},
                                           {"similar-users", "base"},
                                           {"scalar-personal", "scalar"},
                                           {"embedding-users", "base-embedding"},
                                           {"judge-demographics", "judge"},
                                           {"judge-history", "judge"},
                                           {"p-genrm", "judge"},
                                           {"judge-cot", "judge"}};
    for (size_t i = 0; i < sizeof bases / sizeof *bases; i++)
        if (strcmp(bases[i][0], c->method) == 0) return bases[i][1];
    return "";
}

static void add_differences(const work *w, size_t cell, pgr_bench_row *out) {
    const bench_cell *c = &w->in->t->cells[cell];
    size_t none = w->in->t->n_cell, longest = find_cell(w, "longest", 0, 0, false);
    const char *base = base_of(c);
    size_t plain = *base ? find_cell(w, base, c->ind, 0, false) : none;
    add_difference(w, cell, longest, &out->over_longest, &out->over_longest_se);
    add_difference(w, cell, plain, &out->over_base, &out->over_base_se);
    out->base = plain < none ? base : "";
    size_t control = c->stranger ? none : find_cell(w, c->method, c->ind, c->pro, true);
    add_difference(w, cell, control, &out->over_stranger, &out->over_stranger_se);
}

/* ---- calibration ------------------------------------------------------------------------------------------------- */

/* The cell's verdicts into p (that the response shown first is better), y (whether it is) and whose. Which is shown
 * first is the row's parity: a map fitted on p of the chosen response alone would see one outcome only. */
static size_t gather(const work *w, size_t cell) {
    size_t n = 0;
    for (size_t r = 0; r < w->n_run; r++)
        for (size_t i = 0; i < w->n_row; i++) {
            double p = at(w, cell, r, i)->p;
            if (isnan(p)) continue;
            bool first = i % 2 == 0;
            w->p[n] = first ? p : 1 - p;
            w->y[n] = first ? 1 : 0;
            w->leads[n] = at(w, cell, r, i)->lead;
            if (!first) w->leads[n].mean = -w->leads[n].mean;
            w->whose[n++] = w->user[i];
        }
    return n;
}

/* Error of the confidence in the better one: 10 bins from .5 to 1. */
static double confidence_error(const work *w, const double *p, size_t n) {
    for (size_t i = 0; i < n; i++) {
        bool first = p[i] >= 0.5;
        w->confidence[i] = first ? p[i] : 1 - p[i];
        w->right[i] = p[i] == 0.5 ? 0.5 : (first ? w->y[i] : 1 - w->y[i]);
    }
    return pgr_calibration_error(w->confidence, w->right, n, 2 * PGR_BENCH_BINS);
}

static void add_bins(const work *w, size_t n, pgr_bench_bin *bins) {
    for (size_t i = 0; i < n; i++) {
        bool first = w->p[i] >= 0.5;
        double confidence = first ? w->p[i] : 1 - w->p[i];
        double right = w->p[i] == 0.5 ? 0.5 : (first ? w->y[i] : 1 - w->y[i]);
        size_t k = (size_t)((confidence - 0.5) * 2 * PGR_BENCH_BINS);
        pgr_bench_bin *b = &bins[k < PGR_BENCH_BINS ? k : PGR_BENCH_BINS - 1];
        b->n++;
        b->confidence += confidence;
        b->right += right;
    }
    for (size_t k = 0; k < PGR_BENCH_BINS; k++) {
        double m = (double)bins[k].n;
        bins[k].confidence = m > 0 ? bins[k].confidence / m : NAN;
        bins[k].right = m > 0 ? bins[k].right / m : NAN;
    }
}

/* Every fifth of the users is judged by a map that was fitted on the others. */
static pgr_status cross_fit(const work *w, size_t n, pgr_calibration_method method, double *out) {
    double *x = w->confidence, *y = w->right;
    *out = NAN;
    for (size_t fold = 0; fold < FOLDS; fold++) {
        size_t n_fit = 0;
        for (size_t i = 0; i < n; i++) {
            if (w->whose[i] % FOLDS == fold) continue;
            x[n_fit] = w->p[i];
            y[n_fit++] = w->y[i];
        }
        if (n_fit == 0) return PGR_OK; /* all users in one fold: nothing to fit on */
        pgr_calibration *c = NULL;
        PGR_TRY(pgr_calibration_fit(method, PGR_CALIBRATION_PROBABILITY, x, y, n_fit, &c, w->err));
        for (size_t i = 0; i < n; i++)
            if (w->whose[i] % FOLDS == fold) w->mapped[i] = pgr_calibration_apply(c, w->p[i]);
        pgr_calibration_free(c);
    }
    *out = confidence_error(w, w->mapped, n);
    return PGR_OK;
}

bool summary_all_lead(const pgr_gap *leads, size_t n) {
    double freedom = 0;
    for (size_t i = 0; i < n; i++) {
        if (!isfinite(leads[i].mean)) return false;
        freedom += leads[i].n - 1;
    }
    return freedom > 1e-6; /* some verdict has two chains */
}

/* The same over the leads, shrunk by what varies between requests; NaN where they do not tell. */
static pgr_status cross_fit_leads(const work *w, size_t n, double *out) {
    double *y = w->right;
    *out = NAN;
    for (size_t fold = 0; fold < FOLDS; fold++) {
        size_t n_fit = 0;
        for (size_t i = 0; i < n; i++) {
            if (w->whose[i] % FOLDS == fold) continue;
            w->some[n_fit] = w->leads[i];
            y[n_fit++] = w->y[i];
        }
        if (!summary_all_lead(w->leads, n) || !summary_all_lead(w->some, n_fit)) return PGR_OK;
        pgr_calibration *c = NULL;
        PGR_TRY(pgr_calibration_fit_gaps(PGR_CALIBRATION_TEMPERATURE, w->some, y, n_fit, &c, w->err));
        for (size_t i = 0; i < n; i++)
            if (w->whose[i] % FOLDS == fold) w->mapped[i] = pgr_calibration_apply_gap(c, &w->leads[i]);
        pgr_calibration_free(c);
    }
    *out = confidence_error(w, w->mapped, n);
    return PGR_OK;
}

static pgr_status add_calibration(const work *w, size_t cell, pgr_bench_row *out) {
    size_t n = gather(w, cell);
    out->ece = out->ece_temperature = out->ece_isotonic = out->ece_shrunk = NAN;
    add_bins(w, n, out->bins);
    if (n == 0) return PGR_OK;
    out->ece = confidence_error(w, w->p, n);
    PGR_TRY(cross_fit(w, n, PGR_CALIBRATION_TEMPERATURE, &out->ece_temperature));
    PGR_TRY(cross_fit(w, n, PGR_CALIBRATION_ISOTONIC, &out->ece_isotonic));
    return cross_fit_leads(w, n, &out->ece_shrunk);
}

size_t summary_outcomes(const verdict_table *t, double *x, pgr_gap *leads, double *y) {
    size_t n = 0, cell = t->n_cell;
    for (size_t c = 0; c < t->n_cell; c++)
        if (strcmp(t->cells[c].method, "p-genrm") == 0 && !t->cells[c].stranger) cell = c;
    for (size_t i = 0; cell < t->n_cell && i < t->n_run * t->n_row; i++) {
        double p = verdict_at(t, cell, 0, i)->p; /* the runs of a cell follow each other */
        if (isnan(p)) continue;
        x[n] = i % 2 ? 1 - p : p;
        leads[n] = verdict_at(t, cell, 0, i)->lead;
        if (i % 2) leads[n].mean = -leads[n].mean;
        y[n++] = i % 2 ? 0 : 1;
    }
    return n;
}

/* ---- over chains ------------------------------------------------------------------------------------------------- */

/* Points of the verdict that the first m chains give. */
static double points_at(const bench_verdict *v, size_t m) {
    double sum = 0;
    for (size_t i = 0; i < m && i < v->n_gap; i++)
        if (isfinite(v->gaps[i])) sum += (double)v->gaps[i];
    return fabs(sum) <= 1e-6 ? 0.5 : (sum > 0 ? 1 : 0); /* gaps are single precision */
}

static pgr_status add_curve(const work *w, size_t cell, pgr_bench_row *out) {
    const bench_cell *c = &w->in->t->cells[cell];
    size_t n = c->ind > 1 && c->pro == 0 ? (size_t)c->ind : 0;
    pgr_bench_at *curve = arena_array(w->keep, n + 1, sizeof *curve);
    if (!curve) return fail_mem(w->err);
    for (size_t m = 1; m <= n; m++) {
        for (size_t i = 0; i < w->n_row; i++) {
            w->values[i] = 0;
            for (size_t r = 0; r < w->n_run; r++) w->values[i] += points_at(at(w, cell, r, i), m) / (double)w->n_run;
        }
        mean_se at_m = by_user(w, w->values);
        curve[m - 1] = (pgr_bench_at){m, at_m.mean, at_m.se};
    }
    out->by_chains = curve;
    out->n_by_chains = n;
    return PGR_OK;
}

/* ---- all --------------------------------------------------------------------------------------------------------- */

static pgr_status begin(work *w) {
    const verdict_table *t = w->in->t;
    size_t n = w->n_row * w->n_run + 1;
    w->n_group = count_groups(w->in->prototypes, w->n_user);
    size_t most = w->n_group > w->n_user ? w->n_group : w->n_user;
    w->user = arena_array(w->a, w->n_row + 1, sizeof *w->user);
    w->points = arena_array(w->a, t->n_cell * w->n_row + 1, sizeof *w->points);
    w->values = arena_array(w->a, w->n_row + 1, sizeof *w->values);
    w->residuals = arena_array(w->a, most + 1, sizeof *w->residuals);
    w->counts = arena_array(w->a, most + 1, sizeof *w->counts);
    w->p = arena_array(w->a, n, sizeof *w->p);
    w->y = arena_array(w->a, n, sizeof *w->y);
    w->mapped = arena_array(w->a, n, sizeof *w->mapped);
    w->confidence = arena_array(w->a, n, sizeof *w->confidence);
    w->right = arena_array(w->a, n, sizeof *w->right);
    w->whose = arena_array(w->a, n, sizeof *w->whose);
    w->leads = arena_array(w->a, n, sizeof *w->leads);
    w->some = arena_array(w->a, n, sizeof *w->some);
    if (!w->user || !w->points || !w->values || !w->residuals || !w->counts || !w->p || !w->y || !w->mapped
        || !w->confidence || !w->right || !w->whose || !w->leads || !w->some)
        return fail_mem(w->err);
    for (size_t i = 0; i < w->n_row; i++) w->user[i] = w->in->d->rows[w->in->asked[i]].user;
    for (size_t c = 0; c < t->n_cell; c++)
        for (size_t r = 0; r < w->n_run; r++)
            for (size_t i = 0; i < w->n_row; i++)
                w->points[c * w->n_row + i] += at(w, c, r, i)->right / (double)w->n_run;
    return PGR_OK;
}

static pgr_status summarise_cell(const work *w, size_t cell, pgr_bench_row *out) {
    const summary_input *in = w->in;
    const bench_cell *c = &in->t->cells[cell];
    *out = (pgr_bench_row){.data = in->d->name,
                           .split = in->o->split,
                           .method = c->method,
                           .model = c->statistic ? ""
                                    : c->scalar  ? in->scalar
                                                 : in->model,
                           .ind = c->ind,
                           .pro = c->pro,
                           .history = c->personal ? in->o->judge.history : 0,
                           .stranger = c->stranger,
                           .seed = in->o->seed,
                           .runs = w->n_run,
                           .pairs = w->n_row};
    PGR_TRY(add_accuracy(w, cell, out));
    add_counts(w, cell, out);
    add_differences(w, cell, out);
    PGR_TRY(add_calibration(w, cell, out));
    return add_curve(w, cell, out);
}

pgr_status summarise(const summary_input *in, arena *a, pgr_bench_row *out, pgr_error *err) {
    arena scratch = {0};
    work w = {.in = in,
              .a = &scratch,
              .keep = a,
              .err = err,
              .n_row = in->t->n_row,
              .n_run = in->t->n_run,
              .n_user = in->d->n_user};
    pgr_status s = begin(&w);
    for (size_t c = 0; c < in->t->n_cell && s == PGR_OK; c++) s = summarise_cell(&w, c, &out[c]);
    arena_free(&scratch);
    return s;
}
