/* html.c - the report as one page: a section per data set with its plots and its table. Well-formed XML,
 * nothing from the net. */
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "base/status.h"
#include "bench/plots.h"

static const char HEAD[] =
    "<!DOCTYPE html>\n<html xmlns=\"http://www.w3.org/1999/xhtml\" lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n"
    "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n<title>";

static const char STYLE[] =
    ":root { --ink: #1d2330; --soft: #667085; --grid: #e4e7ec; --page: #ffffff; --c0: #667085; --c1: #2563eb; --c2: "
    "#c2410c; "
    "--c3: #15803d; --c4: #9333ea; --c5: #b45309; color-scheme: light dark; }\n"
    "@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ef; --soft: #98a2b3; --grid: #2d3442; --page: #141820; "
    "--c0: #98a2b3; --c1: #6ea8fe; --c2: #fb923c; --c3: #4ade80; --c4: #c084fc; --c5: #fbbf24; } }\n"
    "body { background: var(--page); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; max-width: 62rem; "
    "margin: 2rem "
    "auto; padding: 0 1rem; }\n"
    "h1 { font-size: 1.5rem; } h2 { font-size: 1.2rem; margin-top: 2.5rem; }\n"
    "figure { margin: 1.5rem 0; } figcaption, .note { color: var(--soft); font-size: .9rem; }\n"
    "svg { width: 100%; height: auto; } svg text { fill: var(--ink); font: 12px system-ui, sans-serif; }\n"
    "div.wide { overflow-x: auto; } table { border-collapse: collapse; font-size: .85rem; font-variant-numeric: "
    "tabular-nums; }\n"
    "th, td { text-align: right; padding: .25rem .6rem; border-bottom: 1px solid var(--grid); white-space: nowrap; }\n"
    "th:first-child, td:first-child { text-align: left; } tr.weak td { color: var(--soft); }\n"
    ".grid { stroke: var(--grid); } .half { stroke: var(--soft); stroke-dasharray: 4 3; } .bar { stroke-width: 2; } "
    ".thin { stroke-width: 1; opacity: .5; }\n"
    "polyline { fill: none; stroke-width: 1.8; }\n"
    ".c0 { stroke: var(--c0); fill: var(--c0); } .c1 { stroke: var(--c1); fill: var(--c1); } .c2 { stroke: var(--c2); "
    "fill: "
    "var(--c2); }\n"
    ".c3 { stroke: var(--c3); fill: var(--c3); } .c4 { stroke: var(--c4); fill: var(--c4); } .c5 { stroke: var(--c5); "
    "fill: "
    "var(--c5); }\n"
    ".weak { stroke: var(--soft); fill: var(--soft); opacity: .7; }\n";

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
    buf_printf(out, "<tr%s><td>", r->stranger ? " class=\"weak\"" : "");
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
    number_cell(out, r->ece, 3);
    number_cell(out, r->ece_temperature, 3);
    number_cell(out, r->ece_isotonic, 3);
    number_cell(out, r->ece_shrunk, 3);
    buf_printf(out, "<td>%zu</td><td>%zu</td>", r->ties, r->failures);
    number_cell(out, r->flip_rate, 3);
    number_cell(out, r->ind + r->pro > 0 ? (double)r->tokens : NAN, 0);
    number_cell(out, r->seconds, 1);
    buf_puts(out, "</tr>\n");
}

static void table(const pgr_bench_row *rows, size_t n, buf *out) {
    static const char *const titles[] = {"method",       "accuracy",   "\xC2\xB1 runs",
                                         "parsed only",  "macro user", "macro prot.",
                                         "over longest", "over base",  "own \xE2\x88\x92 stranger",
                                         "ECE",          "temp.",      "isotonic",
                                         "shrunk",       "ties",       "failures",
                                         "flips",        "tokens",     "seconds"};
    buf_puts(out, "<div class=\"wide\"><table>\n<thead><tr>");
    for (size_t i = 0; i < sizeof titles / sizeof *titles; i++) buf_printf(out, "<th>%s</th>", titles[i]);
    buf_puts(out, "</tr></thead>\n<tbody>\n");
    for (size_t i = 0; i < n; i++) table_line(&rows[i], out);
    buf_puts(out, "</tbody></table></div>\n");
}

/* ---- page -------------------------------------------------------------------------------------------------------- */

static void data_section(const pgr_bench_row *rows, size_t n, buf *out) {
    buf_puts(out, "<section>\n<h2>");
    html_text(out, rows->data);
    buf_puts(out, "</h2>\n<p class=\"note\">");
    buf_printf(out, "%zu pairs of split ", rows->pairs);
    html_text(out, rows->split);
    buf_printf(out, ", %zu users, %zu run%s, seed %llu", rows->users, rows->runs, rows->runs == 1 ? "" : "s",
               (unsigned long long)rows->seed);
    for (size_t i = 0; i < n; i++) {
        if (!*rows[i].model) continue;
        buf_puts(out, "; model ");
        html_text(out, rows[i].model);
        break;
    }
    buf_puts(out, "</p>\n");
    plot_accuracy(rows, n, out);
    table(rows, n, out);
    plot_chains(rows, n, out);
    plot_calibration(rows, n, out);
    plot_time(rows, n, out);
    buf_puts(out, "</section>\n");
}

static const char EXPLAINED[] = "<p class=\"note\">Every pair counts in the accuracy, a tie or a failure as half. "
                                "Errors are standard errors clustered by user, "
                                "\xE2\x80\x9C\xC2\xB1 runs\xE2\x80\x9D that of the runs' accuracies. Differences are "
                                "paired. Own \xE2\x88\x92 stranger: what is "
                                "lost with another user's history. ECE: expected calibration error, as it is and after "
                                "a temperature, a rising map, or a temperature over shrunk differences fitted on the "
                                "other users. Ties, failures, tokens and seconds are those of all runs.</p>\n";

pgr_status pgr_bench_html(const pgr_bench_report *report, const char *title, char **out, pgr_error *err) {
    buf page = {0};
    buf_puts(&page, HEAD);
    html_text(&page, title);
    buf_puts(&page, "</title>\n<style>\n");
    buf_puts(&page, STYLE);
    buf_puts(&page, "</style>\n</head>\n<body>\n<h1>");
    html_text(&page, title);
    buf_puts(&page, "</h1>\n");
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
    buf_puts(&page, "</body>\n</html>\n");
    char *text = page.failed ? NULL : buf_take(&page);
    if (!text) {
        buf_free(&page);
        return fail_mem(err);
    }
    *out = text;
    return PGR_OK;
}
