/* plots.c - the plots of the report; see plots.h. Coordinates are those of each picture's viewBox. */
#include "bench/plots.h"

#include <math.h>
#include <string.h>

#include "base/page.h"

enum { WIDTH = 760, LABELS = 230, LINE = 24, TOP = 12, AXIS = 34, SQUARE = 340, MARGIN = 46, N_COLOR = 6 };

void row_name(const pgr_bench_row *r, buf *out) {
    buf_puts(out, r->method);
    if (r->ind > 0) buf_printf(out, " Ind-%d", r->ind);
    if (r->pro > 0) buf_printf(out, "%sPro-%d", r->ind > 0 ? "," : " ", r->pro);
    if (r->stranger) buf_printf(out, ", %zu stranger%s", r->strangers, r->strangers == 1 ? "" : "s");
    if (r->plain) buf_puts(out, ", no history");
}

static void put_name(const pgr_bench_row *r, buf *out) {
    buf name = {0};
    row_name(r, &name);
    html_text(out, name.data ? name.data : "");
    out->failed = out->failed || name.failed;
    buf_free(&name);
}

static bool is_prompt(const pgr_bench_row *r) {
    return r->ind + r->pro > 0;
}

/* ---- accuracy ---------------------------------------------------------------------------------------------------- */

typedef struct range {
    double lo, hi;
} range;

static double low_end(const pgr_bench_row *r) {
    return r->accuracy - (isnan(r->accuracy_se) ? 0 : r->accuracy_se);
}
static double high_end(const pgr_bench_row *r) {
    return r->accuracy + (isnan(r->accuracy_se) ? 0 : r->accuracy_se);
}

/* Whole tenths around all error bars and one half. */
static range accuracy_range(const pgr_bench_row *rows, size_t n) {
    range a = {0.5, 0.5};
    for (size_t i = 0; i < n; i++) {
        a.lo = fmin(a.lo, low_end(&rows[i]));
        a.hi = fmax(a.hi, high_end(&rows[i]));
    }
    a.lo = fmax(0, floor(a.lo * 10 - 0.2) / 10);
    a.hi = fmin(1, ceil(a.hi * 10 + 0.2) / 10);
    return a;
}

void plot_accuracy(const pgr_bench_row *rows, size_t n, buf *out) {
    if (n == 0) return;
    range a = accuracy_range(rows, n);
    double h = TOP + (double)n * LINE + AXIS, scale = (WIDTH - LABELS - 60) / (a.hi - a.lo), bottom = h - AXIS + 4;
    picture_begin(out, "Accuracy with its standard error, clustered by user", WIDTH, h);
    for (double v = a.lo; v < a.hi + 0.05; v += 0.1) {
        double x = LABELS + (v - a.lo) * scale;
        picture_line(out, fabs(v - 0.5) < 0.01 ? "half" : "grid", x, TOP - 4, x, bottom);
        picture_label(out, x, bottom + 18, "middle", v, 1);
    }
    for (size_t i = 0; i < n; i++) {
        const pgr_bench_row *r = &rows[i];
        double y = TOP + ((double)i + 0.5) * LINE, x = LABELS + (r->accuracy - a.lo) * scale;
        buf_printf(out, "<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">", LABELS - 12, y + 4);
        put_name(r, out);
        buf_puts(out, "</text>\n");
        const char *color = r->stranger ? "weak" : (is_prompt(r) ? "c1" : "c0");
        buf_printf(out, "<g class=\"%s\">\n", color);
        picture_line(out, "bar", LABELS + (low_end(r) - a.lo) * scale, y, LABELS + (high_end(r) - a.lo) * scale, y);
        buf_printf(out, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"4.5\"/>\n</g>\n", x, y);
        picture_label(out, WIDTH - 4, y + 4, "end", r->accuracy, 3);
    }
    picture_end(out);
}

/* ---- squares with lines ------------------------------------------------------------------------------------------ */

typedef struct square { /* a plot of lines: x and y from lo to hi */
    range x, y;
    double width;
} square;

static double square_x(const square *q, double v) {
    return MARGIN + (v - q->x.lo) / (q->x.hi - q->x.lo) * (q->width - MARGIN - 12);
}
static double square_y(const square *q, double v) {
    double clipped = fmin(fmax(v, q->y.lo), q->y.hi);
    return SQUARE - AXIS - (clipped - q->y.lo) / (q->y.hi - q->y.lo) * (SQUARE - AXIS - TOP);
}

static void square_axes(buf *out, const square *q, const char *x_name, const char *y_name) {
    for (double v = q->y.lo; v < q->y.hi + 0.05; v += 0.1) {
        picture_line(out, fabs(v - 0.5) < 0.01 ? "half" : "grid", MARGIN, square_y(q, v), q->width - 12,
                     square_y(q, v));
        picture_label(out, MARGIN - 6, square_y(q, v) + 4, "end", v, 1);
    }
    buf_printf(out, "<text x=\"%.1f\" y=\"%d\" text-anchor=\"end\">%s</text>\n", q->width - 12, SQUARE - 2, x_name);
    buf_printf(out, "<text x=\"%d\" y=\"10\" text-anchor=\"start\">%s</text>\n", MARGIN, y_name);
}

/* The names of the lines beside the plot. */
static void legend(buf *out, const pgr_bench_row *r, double x, size_t k) {
    double y = TOP + 14 + 20.0 * (double)k;
    buf_printf(out, "<g class=\"c%zu\"><circle cx=\"%.1f\" cy=\"%.1f\" r=\"4.5\"/></g><text x=\"%.1f\" y=\"%.1f\">",
               k % N_COLOR, x, y - 4, x + 10, y);
    put_name(r, out);
    buf_puts(out, "</text>\n");
}

static void polyline_begin(buf *out, size_t k) {
    buf_printf(out, "<g class=\"c%zu\">\n<polyline points=\"", k % N_COLOR);
}

static size_t bins_used(const pgr_bench_row *r) {
    size_t n = 0;
    for (size_t i = 0; i < PGR_BENCH_BINS; i++) n += r->bins[i].n > 0;
    return n;
}

static bool calibrates(const pgr_bench_row *r) {
    return is_prompt(r) && !r->stranger && bins_used(r) > 1;
}

void plot_calibration(const pgr_bench_row *rows, size_t n, buf *out) {
    size_t k = 0;
    for (size_t i = 0; i < n; i++) k += calibrates(&rows[i]);
    if (k == 0) return;
    square q = {{0.5, 1}, {0, 1}, 420};
    picture_begin(out, "Calibration: how often the better one by the verdict was chosen, over the verdict's confidence",
                  WIDTH, SQUARE);
    square_axes(out, &q, "confidence", "right");
    for (double v = 0.5; v < 1.05; v += 0.1) picture_label(out, square_x(&q, v), SQUARE - AXIS + 16, "middle", v, 1);
    picture_line(out, "half", square_x(&q, 0.5), square_y(&q, 0.5), square_x(&q, 1), square_y(&q, 1));
    k = 0;
    for (size_t i = 0; i < n; i++) {
        const pgr_bench_row *r = &rows[i];
        if (!calibrates(r)) continue;
        polyline_begin(out, k);
        for (size_t b = 0; b < PGR_BENCH_BINS; b++)
            if (r->bins[b].n)
                buf_printf(out, "%.1f,%.1f ", square_x(&q, r->bins[b].confidence), square_y(&q, r->bins[b].right));
        buf_puts(out, "\"/>\n");
        for (size_t b = 0; b < PGR_BENCH_BINS; b++)
            if (r->bins[b].n)
                buf_printf(out, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"%.1f\"/>\n", square_x(&q, r->bins[b].confidence),
                           square_y(&q, r->bins[b].right), 2 + fmin(5, sqrt((double)r->bins[b].n) / 6));
        buf_puts(out, "</g>\n");
        legend(out, r, 450, k++);
    }
    picture_end(out);
}

void plot_chains(const pgr_bench_row *rows, size_t n, buf *out) {
    size_t k = 0, most = 1;
    range y = accuracy_range(rows, n);
    for (size_t i = 0; i < n; i++) {
        if (rows[i].n_by_chains == 0 || rows[i].stranger) continue;
        k++;
        if (rows[i].n_by_chains > most) most = rows[i].n_by_chains;
    }
    if (k == 0) return;
    square q = {{1, (double)most}, y, 520};
    picture_begin(out, "Accuracy over the number of chains under the user's own history", WIDTH, SQUARE);
    square_axes(out, &q, "chains", "accuracy");
    for (size_t m = 1; m <= most; m = m < 8 ? m + 1 : m + m / 4)
        picture_label(out, square_x(&q, (double)m), SQUARE - AXIS + 16, "middle", (double)m, 0);
    k = 0;
    for (size_t i = 0; i < n; i++) {
        const pgr_bench_row *r = &rows[i];
        if (r->n_by_chains == 0 || r->stranger) continue;
        polyline_begin(out, k);
        for (size_t m = 0; m < r->n_by_chains; m++)
            buf_printf(out, "%.1f,%.1f ", square_x(&q, (double)(m + 1)), square_y(&q, r->by_chains[m].accuracy));
        buf_puts(out, "\"/>\n");
        for (size_t m = 0; m < r->n_by_chains; m++) {
            const pgr_bench_at *at = &r->by_chains[m];
            double x = square_x(&q, (double)(m + 1)), se = isnan(at->se) ? 0 : at->se;
            picture_line(out, "thin", x, square_y(&q, at->accuracy - se), x, square_y(&q, at->accuracy + se));
        }
        buf_puts(out, "</g>\n");
        legend(out, r, 545, k++);
    }
    picture_end(out);
}

/* ---- time -------------------------------------------------------------------------------------------------------- */

void plot_time(const pgr_bench_row *rows, size_t n, buf *out) {
    double most = 0;
    size_t k = 0;
    for (size_t i = 0; i < n; i++) {
        if (!is_prompt(&rows[i])) continue;
        k++;
        most = fmax(most, rows[i].seconds_per_pair);
    }
    if (k == 0 || !(most > 0)) return;
    picture_begin(out, "Seconds of wall clock per verdict", WIDTH, TOP + (double)k * LINE + 6);
    k = 0;
    for (size_t i = 0; i < n; i++) {
        const pgr_bench_row *r = &rows[i];
        if (!is_prompt(r)) continue;
        double y = TOP + (double)k++ * LINE;
        buf_printf(out, "<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">", LABELS - 12, y + 15);
        put_name(r, out);
        buf_printf(out, "</text>\n<rect class=\"%s\" x=\"%d\" y=\"%.1f\" width=\"%.1f\" height=\"%d\"/>\n",
                   r->stranger ? "weak" : "c1", LABELS, y + 3, r->seconds_per_pair / most * (WIDTH - LABELS - 60),
                   LINE - 8);
        picture_label(out, WIDTH - 4, y + 15, "end", r->seconds_per_pair, r->seconds_per_pair < 10 ? 2 : 0);
    }
    picture_end(out);
}
