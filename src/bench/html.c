/* html.c - the report as one page: a section per data set with its plots and its table. Well-formed XML,
 * nothing from the net. */
#include <math.h>
#include <string.h>

#include "base/page.h"
#include "base/status.h"
#include "bench/plots.h"

/* ---- table ------------------------------------------------------------------------------------------------------- */

static void number_cell(buf *out, double v, int digits) {
    if (isnan(v))
        buf_puts(out, "<td>-</td>");
    else
        buf_printf(out, "<td>%.*f</td>", digits, v);
}

static void error_cell(buf *out, double v, double se, bool sign) {
    if (isnan(v)) {
        buf_puts(out, "<td>-</td>");
        return;
    }
    buf_printf(out, sign ? "<td>%+.3f" : "<td>%.3f", v);
    if (!isnan(se)) buf_printf(out, " \xC2\xB1 %.3f", se);
    buf_puts(out, "</td>");
}

static void table_line(const pgr_bench_row *r, buf *out) {
    buf name = {0};
    row_name(r, &name);
    buf_printf(out, "<tr%s><td>", r->stranger || r->plain ? " class=\"weak\"" : "");
    html_text(out, name.data ? name.data : "");
    buf_puts(out, "</td>");
    out->failed = out->failed || name.failed;
    buf_free(&name);
    error_cell(out, r->accuracy, r->accuracy_se, false);
    number_cell(out, r->accuracy_se_runs, 3);
    number_cell(out, r->accuracy_parsed, 3);
    number_cell(out, r->macro_user, 3);
    number_cell(out, r->macro_prototype, 3);
    error_cell(out, r->over_longest, r->over_longest_se, true);
    error_cell(out, r->over_base, r->over_base_se, true);
    error_cell(out, r->over_stranger, r->over_stranger_se, true);
    error_cell(out, r->over_ind, r->over_ind_se, true);
    number_cell(out, r->log_loss, 3);
    number_cell(out, r->brier, 3);
    number_cell(out, r->ece, 3);
    number_cell(out, r->ece_floor, 3);
    number_cell(out, r->ece_floor_clustered_95, 3);
    error_cell(out, r->overconfidence, r->overconfidence_se, true);
    number_cell(out, r->ece_temperature, 3);
    number_cell(out, r->ece_isotonic, 3);
    number_cell(out, r->ece_shrunk, 3);
    buf_printf(out, "<td>%zu</td><td>%zu</td>", r->ties, r->failures);
    number_cell(out, r->flip_rate, 3);
    number_cell(out, r->kappa, 3);
    number_cell(out, r->ind + r->pro > 0 ? (double)r->tokens : NAN, 0);
    number_cell(out, r->seconds, 1);
    buf_puts(out, "</tr>\n");
}

static void table(const pgr_bench_row *rows, size_t n, buf *out) {
    static const char *const titles[] = {"method",       "accuracy",   "\xC2\xB1 runs",
                                         "parsed only",  "macro user", "macro prot.",
                                         "over longest", "over base",  "own \xE2\x88\x92 strangers",
                                         "over Ind",     "log loss",   "Brier",
                                         "ECE",          "its floor",  "95 % below",
                                         "too sure by",  "temp.",      "isotonic",
                                         "shrunk",       "ties",       "failures",
                                         "flips",        "kappa",      "tokens",
                                         "seconds"};
    buf_puts(out, "<div class=\"wide\"><table>\n<thead><tr>");
    for (size_t i = 0; i < sizeof titles / sizeof *titles; i++) buf_printf(out, "<th>%s</th>", titles[i]);
    buf_puts(out, "</tr></thead>\n<tbody>\n");
    for (size_t i = 0; i < n; i++) table_line(&rows[i], out);
    buf_puts(out, "</tbody></table></div>\n");
}

/* ---- the controls that are asked for ----------------------------------------------------------------------------- */

static void name_cell(const pgr_bench_row *r, buf *out) {
    buf name = {0};
    row_name(r, &name);
    buf_puts(out, "<tr><td>");
    html_text(out, name.data ? name.data : "");
    buf_puts(out, "</td>");
    out->failed = out->failed || name.failed;
    buf_free(&name);
}

static void cv_table(const pgr_bench_row *rows, size_t n, buf *out) {
    if (rows->cv.folds == 0) return;
    buf_printf(
        out,
        "<h3>Cross-validation</h3>\n<p class=\"note\">%zu pairs in %zu folds, no %s in two of them; each asked of "
        "models fitted without its fold.</p>\n",
        rows->cv.pairs, rows->cv.folds, rows->cv.by);
    buf_puts(out,
             "<div class=\"wide\"><table>\n<thead><tr><th>method</th><th>accuracy</th><th>over longest</th><th>over "
             "base</th><th>own \xE2\x88\x92 strangers</th><th>log loss</th></tr></thead>\n<tbody>\n");
    for (size_t i = 0; i < n; i++) {
        const pgr_bench_cv *c = &rows[i].cv;
        if (c->folds == 0) continue;
        name_cell(&rows[i], out);
        error_cell(out, c->accuracy, c->accuracy_se, false);
        error_cell(out, c->over_longest, c->over_longest_se, true);
        error_cell(out, c->over_base, c->over_base_se, true);
        error_cell(out, c->over_stranger, c->over_stranger_se, true);
        number_cell(out, c->log_loss, 3);
        buf_puts(out, "</tr>\n");
    }
    buf_puts(out, "</tbody></table></div>\n");
}

static void best_table(const pgr_bench_row *rows, size_t n, buf *out) {
    if (rows->best.groups == 0) return;
    buf_printf(out,
               "<h3>Best of N</h3>\n<p class=\"note\">%zu choices among more than two responses, %.2f on average; by "
               "chance %.3f, mean place %.2f.</p>\n",
               rows->best.groups, rows->best.responses, rows->best.random, rows->best.random_rank);
    buf_puts(out, "<div class=\"wide\"><table>\n<thead><tr><th>method</th><th>picks the chosen one</th><th>its mean "
                  "place</th></tr></thead>\n<tbody>\n");
    for (size_t i = 0; i < n; i++) {
        const pgr_bench_best *b = &rows[i].best;
        name_cell(&rows[i], out);
        error_cell(out, b->accuracy, fmax(b->errors.user, b->errors.question), false);
        number_cell(out, b->rank, 2);
        buf_puts(out, "</tr>\n");
    }
    buf_puts(out, "</tbody></table></div>\n");
}

static void hollow_table(const pgr_bench_row *rows, size_t n, buf *out) {
    if (rows->n_hollow == 0) return;
    buf_puts(out, "<h3>Texts that say nothing</h3>\n<p class=\"note\">How often each wins against the chosen "
                  "response.</p>\n<div class=\"wide\"><table>\n<thead><tr><th>method</th>");
    for (size_t k = 0; k < rows->n_hollow; k++) buf_printf(out, "<th>%s</th>", rows->hollow[k].kind);
    buf_puts(out, "</tr></thead>\n<tbody>\n");
    for (size_t i = 0; i < n; i++) {
        if (rows[i].n_hollow == 0) continue;
        name_cell(&rows[i], out);
        for (size_t k = 0; k < rows[i].n_hollow; k++)
            error_cell(out, rows[i].hollow[k].wins, rows[i].hollow[k].se, false);
        buf_puts(out, "</tr>\n");
    }
    buf_puts(out, "</tbody></table></div>\n");
}

/* ---- page -------------------------------------------------------------------------------------------------------- */

static void data_section(const pgr_bench_row *rows, size_t n, buf *out) {
    buf_puts(out, "<section>\n<h2>");
    html_text(out, rows->data);
    buf_puts(out, "</h2>\n<p class=\"note\">");
    buf_printf(out, "%zu pairs of split ", rows->pairs);
    html_text(out, rows->split);
    buf_printf(out, ", %zu users, %zu questions, %zu run%s, seed %llu", rows->users, rows->questions, rows->runs,
               rows->runs == 1 ? "" : "s", (unsigned long long)rows->seed);
    if (rows->pairs < rows->pairs_all)
        buf_printf(out, "; limited to %zu of %zu pairs, of %zu of %zu users, who weigh alike", rows->pairs,
                   rows->pairs_all, rows->users, rows->users_all);
    for (size_t i = 0; i < n; i++) {
        if (!*rows[i].model) continue;
        buf_puts(out, "; model ");
        html_text(out, rows[i].model);
        break;
    }
    buf_puts(out, "</p>\n");
    plot_accuracy(rows, n, out);
    table(rows, n, out);
    cv_table(rows, n, out);
    best_table(rows, n, out);
    hollow_table(rows, n, out);
    plot_chains(rows, n, out);
    plot_calibration(rows, n, out);
    plot_time(rows, n, out);
    buf_puts(out, "</section>\n");
}

static const char EXPLAINED[] =
    "<p class=\"note\">Every pair counts in the accuracy, a tie or a failure as half. "
    "Errors are standard errors, the larger of those clustered by user and by "
    "question; \xE2\x80\x9C\xC2\xB1 runs\xE2\x80\x9D is that of the runs' accuracies. "
    "Differences are paired. Over base: to the same without a history. Own \xE2\x88\x92 "
    "strangers: what is lost with other users' histories, on average. ECE: expected "
    "calibration error, as it is, what it would be of itself if the probabilities were true "
    "(95 % below: where rows of one user or about one question stand and fall together as far as they do here), "
    "and after a temperature, a rising map, or a temperature over shrunk differences fitted "
    "on the other users. Too sure by: how far the mean confidence is above the share that is right. Ties, failures, "
    "tokens and seconds are those of all runs.</p>\n";

pgr_status pgr_bench_html(const pgr_bench_report *report, const char *title, char **out, pgr_error *err) {
    buf page = {0};
    page_begin(&page, title);
    buf_puts(&page, EXPLAINED);
    for (size_t i = 0, n; i < report->n_row; i += n) {
        for (n = 1; i + n < report->n_row && strcmp(report->rows[i + n].data, report->rows[i].data) == 0; n++) continue;
        data_section(&report->rows[i], n, &page);
    }
    if (report->n_note) buf_puts(&page, "<h2>Notes</h2>\n<ul>\n");
    for (size_t i = 0; i < report->n_note; i++) {
        buf_puts(&page, "<li>");
        html_text(&page, report->notes[i]);
        buf_puts(&page, "</li>\n");
    }
    if (report->n_note) buf_puts(&page, "</ul>\n");
    page_end(&page);
    char *text = page.failed ? NULL : buf_take(&page);
    if (!text) {
        buf_free(&page);
        return fail_mem(err);
    }
    *out = text;
    return PGR_OK;
}
