/* summary_trust.c - how far a line's probabilities can be trusted, and how far its verdicts agree with the users and
 * with themselves. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bench/outcomes.h"
#include "bench/summary_parts.h"

typedef summary_work work;

enum { FOLDS = 5 /* of users, for calibration */ };
static const double SURE = 1e-3; /* log loss takes no probability as nearer to 0 or 1 */

/* ---- calibration ------------------------------------------------------------------------------------------------- */

/* Of a line that has calibrated verdicts these alone tell what its probabilities are worth: one without a map for its
 * kind has none. */
static bool has_probability(const bench_verdict *v, const pgr_bench_row *out) {
    return !isnan(v->p) && (v->calibrated || !out->calibrated);
}

static void count_calibrated(const work *w, const summary_line *line, pgr_bench_row *out) {
    const bench_cell *c = &w->in->t->cells[line->cell];
    out->calibrated = false;
    out->uncalibrated = 0;
    for (size_t r = 0; r < line->n_verdict && !c->statistic && !c->scalar; r++)
        for (size_t i = 0; i < w->n_row; i++) {
            const bench_verdict *v = summary_at(w, line, r, i);
            if (isnan(v->p)) continue;
            out->calibrated = out->calibrated || v->calibrated;
            out->uncalibrated += !v->calibrated;
        }
}

/* The line's verdicts into p (that the response shown first is better), y (whether it is) and whose. Which is shown
 * first is the row's parity: a map fitted on p of the chosen response alone would see one outcome only. */
static size_t gather(const work *w, const summary_line *line, const pgr_bench_row *out) {
    size_t n = 0;
    for (size_t r = 0; r < line->n_verdict; r++)
        for (size_t i = 0; i < w->n_row; i++) {
            const bench_verdict *v = summary_at(w, line, r, i);
            if (!has_probability(v, out)) continue;
            bool first = i % 2 == 0;
            w->p[n] = first ? v->p : 1 - v->p;
            w->y[n] = first ? 1 : 0;
            w->leads[n] = v->lead;
            if (!first) w->leads[n].mean = -w->leads[n].mean;
            w->row[n] = i;
            w->kind[n] = v->kind;
            w->whose[n++] = w->by.user[i];
        }
    return n;
}

double summary_confidence_error(const work *w, const double *p, const double *y, size_t n) {
    for (size_t i = 0; i < n; i++) {
        bool first = p[i] >= 0.5;
        w->confidence[i] = first ? p[i] : 1 - p[i];
        w->right[i] = p[i] == 0.5 ? 0.5 : (first ? y[i] : 1 - y[i]);
    }
    return pgr_calibration_error(w->confidence, w->right, n, 2 * PGR_BENCH_BINS);
}

/* Of the lists that summary_confidence_error has left. */
static pgr_status add_overconfidence(const work *w, size_t n, pgr_bench_row *out) {
    size_t *question = arena_array(w->a, n, sizeof *question);
    if (!question) return fail_mem(w->err);
    for (size_t i = 0; i < n; i++) {
        question[i] = w->by.question[w->row[i]];
        w->mapped[i] = w->confidence[i] - w->right[i];
    }
    clusters by = w->by;
    by.user = w->whose;
    by.question = question;
    by.n = n;
    mean_both m = mean_by_both(&by, w->mapped);
    out->overconfidence = m.mean;
    out->overconfidence_se = m.se;
    out->overconfidence_errors = (pgr_bench_errors){m.se_user, m.se_question};
    return PGR_OK;
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

/* The verdicts of a kind: those of every fifth of the users are mapped by what was fitted on those of the others. */
typedef struct share {
    size_t fold;
    pgr_verdict_kind kind;
    size_t n_fit, n_map; /* of the others, of the fold */
} share;

static bool to_fit(const work *w, const share *s, size_t i) {
    return w->kind[i] == s->kind && w->whose[i] % FOLDS != s->fold;
}

static bool to_map(const work *w, const share *s, size_t i) {
    return w->kind[i] == s->kind && w->whose[i] % FOLDS == s->fold;
}

static share share_of(const work *w, size_t n, size_t number) {
    share s = {.fold = number % FOLDS, .kind = (pgr_verdict_kind)(number / FOLDS)};
    for (size_t i = 0; i < n; i++) {
        s.n_fit += to_fit(w, &s, i);
        s.n_map += to_map(w, &s, i);
    }
    return s;
}

static pgr_status cross_fit(const work *w, size_t n, pgr_calibration_method method, double *out) {
    double *x = w->confidence, *y = w->right;
    *out = NAN;
    for (size_t number = 0; number < FOLDS * PGR_VERDICT_KINDS; number++) {
        share s = share_of(w, n, number);
        if (s.n_map == 0) continue;
        if (s.n_fit == 0) return PGR_OK; /* all of its users in one fold: nothing to fit on */
        for (size_t i = 0, k = 0; i < n; i++)
            if (to_fit(w, &s, i)) x[k] = w->p[i], y[k++] = w->y[i];
        pgr_calibration *c = NULL;
        PGR_TRY(pgr_calibration_fit(s.kind, method, PGR_CALIBRATION_PROBABILITY, x, y, s.n_fit, &c, w->err));
        for (size_t i = 0; i < n; i++)
            if (to_map(w, &s, i)) w->mapped[i] = pgr_calibration_apply(c, s.kind, w->p[i]);
        pgr_calibration_free(c);
    }
    *out = summary_confidence_error(w, w->mapped, w->y, n);
    return PGR_OK;
}

/* The same over the leads, shrunk by what varies between requests; NaN where they do not tell. */
static pgr_status cross_fit_leads(const work *w, size_t n, double *out) {
    double *y = w->right;
    *out = NAN;
    for (size_t number = 0; number < FOLDS * PGR_VERDICT_KINDS; number++) {
        share s = share_of(w, n, number);
        if (s.n_map == 0) continue;
        for (size_t i = 0, k = 0; i < n; i++)
            if (to_fit(w, &s, i)) w->some[k] = w->leads[i], y[k++] = w->y[i];
        if (!outcomes_all_lead(w->leads, n) || !outcomes_all_lead(w->some, s.n_fit)) return PGR_OK;
        pgr_calibration *c = NULL;
        PGR_TRY(pgr_calibration_fit_gaps(s.kind, PGR_CALIBRATION_TEMPERATURE, w->some, y, s.n_fit, &c, w->err));
        for (size_t i = 0; i < n; i++)
            if (to_map(w, &s, i)) w->mapped[i] = pgr_calibration_apply_gap(c, s.kind, &w->leads[i]);
        pgr_calibration_free(c);
    }
    *out = summary_confidence_error(w, w->mapped, w->y, n);
    return PGR_OK;
}

static pgr_status add_calibration(const work *w, const summary_line *line, pgr_bench_row *out) {
    size_t n = gather(w, line, out);
    out->ece = out->ece_temperature = out->ece_isotonic = out->ece_shrunk = out->ece_floor = out->ece_floor_95 = NAN;
    out->ece_floor_clustered = out->ece_floor_clustered_95 = out->together_user = out->together_question = NAN;
    out->overconfidence = out->overconfidence_se = NAN;
    out->overconfidence_errors = (pgr_bench_errors){NAN, NAN};
    add_bins(w, n, out->bins);
    if (n == 0) return PGR_OK;
    out->ece = summary_confidence_error(w, w->p, w->y, n);
    PGR_TRY(add_overconfidence(w, n, out));
    PGR_TRY(summary_add_floors(w, n, out));
    PGR_TRY(cross_fit(w, n, PGR_CALIBRATION_TEMPERATURE, &out->ece_temperature));
    PGR_TRY(cross_fit(w, n, PGR_CALIBRATION_ISOTONIC, &out->ece_isotonic));
    return cross_fit_leads(w, n, &out->ece_shrunk);
}

/* Of every verdict's probability of the chosen response; a failure says nothing, .5. */
static void add_losses(const work *w, const summary_line *line, pgr_bench_row *out) {
    double log_loss = 0, brier = 0, n = 0;
    for (size_t r = 0; r < line->n_verdict; r++)
        for (size_t i = 0; i < w->n_row; i++) {
            const bench_verdict *v = summary_at(w, line, r, i);
            if (!isnan(v->p) && !has_probability(v, out)) continue;
            double p = isnan(v->p) ? 0.5 : v->p;
            n++;
            log_loss -= log(fmin(fmax(p, SURE), 1 - SURE));
            brier += (1 - p) * (1 - p);
        }
    out->log_loss = log_loss / n;
    out->brier = brier / n;
}

/* ---- agreement --------------------------------------------------------------------------------------------------- */

/* Both say "the longer one" or "the shorter": what they agree in beyond what chance gives two with their habits. */
static void add_kappa(const work *w, const summary_line *line, pgr_bench_row *out) {
    double n = 0, user = 0, verdict = 0, agree = 0;
    const double *points = summary_points(w, line);
    for (size_t i = 0; i < w->n_row; i++) {
        int sign = bench_longer(&w->in->d->rows[w->in->asked[i]]);
        if (sign == 0) continue;
        n++;
        user += sign > 0;
        verdict += sign > 0 ? points[i] : 1 - points[i];
        agree += points[i];
    }
    out->kappa = out->kappa_chance = out->longer_chosen = NAN;
    if (n == 0) return;
    user /= n;
    verdict /= n;
    out->longer_chosen = user;
    out->kappa_chance = user * verdict + (1 - user) * (1 - verdict);
    if (out->kappa_chance < 1) out->kappa = (agree / n - out->kappa_chance) / (1 - out->kappa_chance);
}

static double same_winner(double a, double b) { /* points of two verdicts */
    return 1 - fabs(a - b);
}

static double points_of_half(const bench_verdict *v, size_t half) {
    double sum = 0;
    for (size_t i = 0; i < v->n_gap; i++) /* chains come in pairs of orders, where there are enough */
        if ((v->n_gap >= 4 ? i / 2 : i) % 2 == half && isfinite(v->gaps[i])) sum += (double)v->gaps[i];
    return fabs(sum) <= 1e-6 ? 0.5 : sum > 0; /* gaps are single precision */
}

static void add_consistency(const work *w, const summary_line *line, pgr_bench_row *out) {
    double runs = 0, n_runs = 0, halves = 0, n_halves = 0;
    for (size_t r = 0; r < line->n_verdict; r++)
        for (size_t i = 0; i < w->n_row; i++) {
            const bench_verdict *v = summary_at(w, line, r, i);
            for (size_t k = 0; line->n_cell == 1 && k < r; k++, n_runs++)
                runs += same_winner(v->right, summary_at(w, line, k, i)->right);
            if (v->n_gap < 2) continue;
            halves += same_winner(points_of_half(v, 0), points_of_half(v, 1));
            n_halves++;
        }
    out->self_consistency = n_runs > 0 ? runs / n_runs : NAN;
    out->self_consistency_halves = n_halves > 0 ? halves / n_halves : NAN;
}

pgr_status summary_add_trust(const summary_work *w, const summary_line *line, pgr_bench_row *out) {
    count_calibrated(w, line, out);
    add_losses(w, line, out);
    add_kappa(w, line, out);
    add_consistency(w, line, out);
    return add_calibration(w, line, out);
}
