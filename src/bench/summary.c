/* summary.c - verdicts become rows; docs/bench.md says what each number means. */
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "bench/summary_parts.h"

typedef summary_work work;

const bench_verdict *summary_at(const work *w, const summary_line *line, size_t r, size_t row) {
    return verdict_at(w->in->t, line->cell, r, row); /* the runs of cells that follow each other do so, too */
}

const double *summary_points(const work *w, const summary_line *line) {
    return w->points + (size_t)(line - w->lines) * w->n_row;
}

/* ---- lines ------------------------------------------------------------------------------------------------------- */

size_t summary_lines(const verdict_table *t, summary_line *lines) {
    size_t n = 0;
    for (size_t i = 0; i < t->n_cell; i++) {
        if (t->cells[i].stranger > 1) { /* the first of them comes before */
            lines[n - 1].n_cell++;
            lines[n - 1].n_verdict += t->n_run;
        } else {
            lines[n++] = (summary_line){i, 1, t->n_run};
        }
    }
    return n;
}

static size_t find_line(const verdict_table *t, const summary_line *lines, size_t n, const bench_cell *like) {
    size_t i = 0;
    for (; i < n; i++) {
        const bench_cell *c = &t->cells[lines[i].cell];
        if (strcmp(c->method, like->method) == 0 && c->ind == like->ind && c->pro == like->pro
            && c->stranger == like->stranger && c->plain == like->plain)
            break;
    }
    return i;
}

size_t summary_strangers(const verdict_table *t, const summary_line *lines, size_t n_line, size_t line) {
    bench_cell like = t->cells[lines[line].cell];
    if (like.stranger || like.plain) return n_line;
    like.stranger = 1;
    return find_line(t, lines, n_line, &like);
}

size_t summary_base(const verdict_table *t, const summary_line *lines, size_t n_line, size_t line, bool *plain) {
    bench_cell like = t->cells[lines[line].cell];
    *plain = !like.plain;
    if (like.plain) return n_line;
    like.ind += like.pro;
    like.pro = like.stranger = 0;
    like.plain = true;
    size_t found = find_line(t, lines, n_line, &like);
    if (found < n_line || strncmp(like.method, "judge-", 6) != 0) return found;
    *plain = false; /* the judge's other prompts have the judge's own as their base */
    like.plain = false;
    like.method = "judge";
    return find_line(t, lines, n_line, &like);
}

/* ---- accuracy ---------------------------------------------------------------------------------------------------- */

/* The mean of the groups' means over the rows; group[u] < 0: the user's rows are left out.
 * NULL: each user is a group. */
static double macro(const work *w, const double *v, const int *group, size_t n_group) {
    double *sums = w->by.residuals, total = 0;
    size_t *n = w->by.counts, used = 0;
    for (size_t g = 0; g < n_group; g++) {
        sums[g] = 0;
        n[g] = 0;
    }
    for (size_t i = 0; i < w->n_row; i++) {
        size_t u = w->by.user[i];
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

static pgr_status add_accuracy(const work *w, const summary_line *line, pgr_bench_row *out) {
    const double *v = summary_points(w, line);
    mean_both m = mean_by_both(&w->by, v);
    out->accuracy = m.mean;
    out->accuracy_se = m.se;
    out->accuracy_errors = (pgr_bench_errors){m.se_user, m.se_question};
    out->users = m.users;
    out->questions = m.questions;
    double *runs = arena_array(w->a, line->n_verdict, sizeof *runs);
    if (!runs) return fail_mem(w->err);
    for (size_t r = 0; r < line->n_verdict; r++)
        for (size_t i = 0; i < w->n_row; i++) runs[r] += summary_at(w, line, r, i)->right / (double)w->n_row;
    out->accuracy_se_runs = mean_of(runs, line->n_verdict).se;
    out->macro_user = macro(w, v, NULL, w->by.n_user);
    out->macro_prototype = w->in->prototypes ? macro(w, v, w->in->prototypes, w->n_group) : NAN;
    return PGR_OK;
}

/* Counts and costs over all verdicts. */
static void add_counts(const work *w, const summary_line *line, pgr_bench_row *out) {
    double right = 0, flips = 0;
    size_t decided = 0, flipped = 0;
    for (size_t r = 0; r < line->n_verdict; r++)
        for (size_t i = 0; i < w->n_row; i++) {
            const bench_verdict *v = summary_at(w, line, r, i);
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
    out->seconds_per_pair = out->seconds / (double)(line->n_verdict * w->n_row);
}

/* ---- differences ------------------------------------------------------------------------------------------------- */

static void add_difference(const work *w, size_t line, size_t other, double *mean, double *se, pgr_bench_errors *by) {
    *mean = *se = by->user = by->question = NAN;
    if (other >= w->n_line || other == line) return;
    const double *a = summary_points(w, &w->lines[line]), *b = summary_points(w, &w->lines[other]);
    for (size_t i = 0; i < w->n_row; i++) w->values[i] = a[i] - b[i];
    mean_both m = mean_by_both(&w->by, w->values);
    *mean = m.mean;
    *se = m.se;
    *by = (pgr_bench_errors){m.se_user, m.se_question};
}

static pgr_status add_base(const work *w, size_t line, pgr_bench_row *out) {
    const verdict_table *t = w->in->t;
    bool plain = false;
    size_t base = summary_base(t, w->lines, w->n_line, line, &plain);
    add_difference(w, line, base, &out->over_base, &out->over_base_se, &out->over_base_errors);
    out->base = "";
    if (base == w->n_line) return PGR_OK;
    const char *method = t->cells[w->lines[base].cell].method;
    out->base = plain ? arena_printf(w->keep, "%s, no history", method) : method;
    return out->base ? PGR_OK : fail_mem(w->err);
}

static void add_spread(const work *w, const summary_line *strangers, pgr_bench_row *out) {
    double sum = 0, squares = 0, n = (double)strangers->n_cell;
    size_t runs = w->in->t->n_run;
    for (size_t k = 0; k < strangers->n_cell; k++) {
        double right = 0;
        for (size_t r = 0; r < runs; r++)
            for (size_t i = 0; i < w->n_row; i++) right += summary_at(w, strangers, k * runs + r, i)->right;
        right /= (double)(runs * w->n_row);
        sum += right;
        squares += right * right;
    }
    out->strangers = strangers->n_cell;
    out->stranger_accuracy = sum / n;
    out->stranger_spread = n > 1 ? sqrt(fmax(squares - sum * sum / n, 0) / (n - 1)) : NAN;
}

static pgr_status add_differences(const work *w, size_t line, pgr_bench_row *out) {
    const verdict_table *t = w->in->t;
    const bench_cell *c = &t->cells[w->lines[line].cell];
    bench_cell longest = {.method = "longest"}, own = *c;
    own.ind += own.pro;
    own.pro = 0;
    add_difference(w, line, find_line(t, w->lines, w->n_line, &longest), &out->over_longest, &out->over_longest_se,
                   &out->over_longest_errors);
    size_t strangers = summary_strangers(t, w->lines, w->n_line, line);
    add_difference(w, line, strangers, &out->over_stranger, &out->over_stranger_se, &out->over_stranger_errors);
    size_t ind = c->pro > 0 ? find_line(t, w->lines, w->n_line, &own) : w->n_line;
    add_difference(w, line, ind, &out->over_ind, &out->over_ind_se, &out->over_ind_errors);
    out->stranger_accuracy = out->stranger_spread = NAN;
    if (strangers < w->n_line || c->stranger) add_spread(w, &w->lines[c->stranger ? line : strangers], out);
    return add_base(w, line, out);
}

/* ---- over chains ------------------------------------------------------------------------------------------------- */

/* Points of the verdict that the first m chains give. */
static double points_at(const bench_verdict *v, size_t m) {
    double sum = 0;
    for (size_t i = 0; i < m && i < v->n_gap; i++)
        if (isfinite(v->gaps[i])) sum += (double)v->gaps[i];
    return fabs(sum) <= 1e-6 ? 0.5 : (sum > 0 ? 1 : 0); /* gaps are single precision */
}

static pgr_status add_curve(const work *w, const summary_line *line, pgr_bench_row *out) {
    const bench_cell *c = &w->in->t->cells[line->cell];
    size_t n = c->ind > 1 && c->pro == 0 ? (size_t)c->ind : 0;
    pgr_bench_at *curve = arena_array(w->keep, n + 1, sizeof *curve);
    if (!curve) return fail_mem(w->err);
    for (size_t m = 1; m <= n; m++) {
        for (size_t i = 0; i < w->n_row; i++) {
            w->values[i] = 0;
            for (size_t r = 0; r < line->n_verdict; r++)
                w->values[i] += points_at(summary_at(w, line, r, i), m) / (double)line->n_verdict;
        }
        mean_both at_m = mean_by_both(&w->by, w->values);
        curve[m - 1] = (pgr_bench_at){m, at_m.mean, at_m.se};
    }
    out->by_chains = curve;
    out->n_by_chains = n;
    return PGR_OK;
}

/* ---- all --------------------------------------------------------------------------------------------------------- */

static pgr_status begin_clusters(work *w) {
    const bench_data *d = w->in->d;
    size_t most = d->n_user > d->n_topic ? d->n_user : d->n_topic;
    size_t *user = arena_array(w->a, w->n_row + 1, sizeof *user);
    size_t *question = arena_array(w->a, w->n_row + 1, sizeof *question);
    w->n_group = count_groups(w->in->prototypes, d->n_user);
    if (w->n_group > most) most = w->n_group;
    w->by = (clusters){.user = user,
                       .question = question,
                       .n = w->n_row,
                       .n_user = d->n_user,
                       .n_question = d->n_topic,
                       .residuals = arena_array(w->a, most + 1, sizeof *w->by.residuals),
                       .counts = arena_array(w->a, most + 1, sizeof *w->by.counts)};
    if (!user || !question || !w->by.residuals || !w->by.counts) return fail_mem(w->err);
    for (size_t i = 0; i < w->n_row; i++) {
        user[i] = d->rows[w->in->asked[i]].user;
        question[i] = d->rows[w->in->asked[i]].topic;
    }
    return PGR_OK;
}

static pgr_status begin_scratch(work *w) {
    for (size_t i = 0; i < w->n_line; i++)
        if (w->lines[i].n_verdict * w->n_row > w->n_most) w->n_most = w->lines[i].n_verdict * w->n_row;
    size_t n = w->n_most + 1;
    w->values = arena_array(w->a, w->n_row + 1, sizeof *w->values);
    w->p = arena_array(w->a, n, sizeof *w->p);
    w->y = arena_array(w->a, n, sizeof *w->y);
    w->mapped = arena_array(w->a, n, sizeof *w->mapped);
    w->confidence = arena_array(w->a, n, sizeof *w->confidence);
    w->right = arena_array(w->a, n, sizeof *w->right);
    w->whose = arena_array(w->a, n, sizeof *w->whose);
    w->row = arena_array(w->a, n, sizeof *w->row);
    w->leads = arena_array(w->a, n, sizeof *w->leads);
    w->some = arena_array(w->a, n, sizeof *w->some);
    w->kind = arena_array(w->a, n, sizeof *w->kind);
    bool got = w->values && w->p && w->y && w->mapped && w->confidence && w->right && w->whose && w->row && w->leads
               && w->some && w->kind;
    return got ? PGR_OK : fail_mem(w->err);
}

static pgr_status begin(work *w) {
    const verdict_table *t = w->in->t;
    summary_line *lines = arena_array(w->a, t->n_cell + 1, sizeof *lines);
    if (!lines) return fail_mem(w->err);
    w->n_line = summary_lines(t, lines);
    w->lines = lines;
    PGR_TRY(begin_clusters(w));
    PGR_TRY(begin_scratch(w));
    w->points = arena_array(w->a, w->n_line * w->n_row + 1, sizeof *w->points);
    if (!w->points) return fail_mem(w->err);
    for (size_t l = 0; l < w->n_line; l++)
        for (size_t r = 0; r < lines[l].n_verdict; r++)
            for (size_t i = 0; i < w->n_row; i++)
                w->points[l * w->n_row + i] += summary_at(w, &lines[l], r, i)->right / (double)lines[l].n_verdict;
    return PGR_OK;
}

static pgr_status summarise_line(const work *w, size_t number, pgr_bench_row *out) {
    const summary_input *in = w->in;
    const summary_line *line = &w->lines[number];
    const bench_cell *c = &in->t->cells[line->cell];
    *out = (pgr_bench_row){.data = in->d->name,
                           .split = in->o->split,
                           .method = c->method,
                           .model = c->statistic ? ""
                                    : c->scalar  ? in->scalar
                                                 : in->model,
                           .ind = c->ind,
                           .pro = c->pro,
                           .history = c->personal ? in->o->judge.history : 0,
                           .stranger = c->stranger > 0,
                           .plain = c->plain,
                           .seed = in->o->seed,
                           .runs = in->t->n_run,
                           .pairs = w->n_row,
                           .pairs_all = in->d->n_all,
                           .users_all = in->d->n_all_user,
                           .limit = in->o->limit};
    PGR_TRY(add_accuracy(w, line, out));
    add_counts(w, line, out);
    PGR_TRY(add_differences(w, number, out));
    PGR_TRY(summary_add_trust(w, line, out));
    PGR_TRY(summary_add_best(w, line, out));
    return add_curve(w, line, out);
}

pgr_status summarise(const summary_input *in, arena *a, pgr_bench_row *out, pgr_error *err) {
    arena scratch = {0};
    work w = {.in = in, .a = &scratch, .keep = a, .err = err, .n_row = in->t->n_row};
    pgr_status s = begin(&w);
    for (size_t l = 0; l < w.n_line && s == PGR_OK; l++) s = summarise_line(&w, l, &out[l]);
    arena_free(&scratch);
    return s;
}
