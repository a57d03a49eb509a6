/* curves.c - metrics.jsonl becomes curves.html: lines are read into curves, those of one picture are drawn together. */
#include "train/curves.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/arena.h"
#include "base/file.h"
#include "base/file_out.h"
#include "base/json.h"
#include "base/page.h"

enum {
    N_CURVE = 256,
    N_SAMPLE = 8,
    N_COLOR = 6,
    POINTS = 300, /* drawn of a curve: means of as many neighbouring values as it takes */
    WIDTH = 760,
    HEIGHT = 250,
    LEFT = 62,
    RIGHT = 190,
    TOP = 14,
    BOTTOM = 30,
};

typedef struct curve {
    const char *key, *kind; /* kind "": none */
    bool evaluated;
    double *x, *y; /* (n) */
    size_t n, cap;
} curve;

typedef struct sample {
    double step;
    const char *text;
} sample;

typedef struct run_lines { /* what a metrics file says */
    curve curves[N_CURVE];
    size_t n;
    sample samples[N_SAMPLE]; /* the last ones, a ring */
    size_t n_sample;
    double tokens; /* so far */
    arena arena;
} run_lines;

/* ---- reading ---- */

static const char *keep_text(arena *a, const char *s) {
    size_t n = strlen(s) + 1;
    char *copy = arena_array(a, n, 1);
    if (copy) memcpy(copy, s, n);
    return copy;
}

/* The curve of that name; NULL: no memory, or there are too many. */
static curve *find_curve(run_lines *l, const char *key, const char *kind, bool evaluated) {
    for (size_t i = 0; i < l->n; i++) {
        curve *c = &l->curves[i];
        if (c->evaluated == evaluated && strcmp(c->key, key) == 0 && strcmp(c->kind, kind) == 0) return c;
    }
    if (l->n == N_CURVE) return NULL;
    curve *c = &l->curves[l->n];
    *c = (curve){keep_text(&l->arena, key), keep_text(&l->arena, kind), evaluated, NULL, NULL, 0, 0};
    if (!c->key || !c->kind) return NULL;
    l->n++;
    return c;
}

static pgr_status add_point(run_lines *l, curve *c, double x, double y, pgr_error *err) {
    if (c->n == c->cap) { /* what is outgrown stays in the arena: as much again at most */
        size_t cap = c->cap ? 2 * c->cap : 64;
        double *xs = arena_array(&l->arena, cap, sizeof *xs), *ys = arena_array(&l->arena, cap, sizeof *ys);
        if (!xs || !ys) return fail_mem(err);
        if (c->n) memcpy(xs, c->x, c->n * sizeof *xs);
        if (c->n) memcpy(ys, c->y, c->n * sizeof *ys);
        c->x = xs;
        c->y = ys;
        c->cap = cap;
    }
    c->x[c->n] = x;
    c->y[c->n++] = y;
    return PGR_OK;
}

static pgr_status add_number(run_lines *l, const char *key, const char *kind, bool evaluated, double x, double y,
                             pgr_error *err) {
    size_t before = l->n;
    curve *c = find_curve(l, key, kind, evaluated);
    if (!c) return before == N_CURVE ? PGR_OK /* more than anybody reads */ : fail_mem(err);
    return add_point(l, c, x, y, err);
}

static pgr_status add_line(run_lines *l, const json_t *v, pgr_error *err) {
    const char *text = json_string_value(json_object_get(v, "sample")), *key;
    const char *kind = json_string_value(json_object_get(v, "kind"));
    bool evaluated = json_is_true(json_object_get(v, "evaluation"));
    double step = json_number_value(json_object_get(v, "step"));
    json_t *number;
    if (text) {
        text = keep_text(&l->arena, text);
        l->samples[l->n_sample++ % N_SAMPLE] = (sample){step, text};
        return text ? PGR_OK : fail_mem(err);
    }
    json_object_foreach((json_t *)(uintptr_t)v, key, number) {
        if (!json_is_number(number) || strcmp(key, "step") == 0 || strcmp(key, "num_tokens") == 0
            || strcmp(key, "epoch") == 0)
            continue;
        PGR_TRY(add_number(l, key, kind ? kind : "", evaluated, step, json_number_value(number), err));
    }
    double tokens = json_number_value(json_object_get(v, "num_tokens"));
    double seconds = json_number_value(json_object_get(v, "step_time")), made = tokens - l->tokens;
    if (tokens > 0) l->tokens = tokens;
    return seconds > 0 && made > 0 ? add_number(l, "tokens per second", "", false, step, made / seconds, err) : PGR_OK;
}

static pgr_status read_lines(run_lines *l, const char *path, pgr_error *err) {
    buf text = {0};
    pgr_status s = file_read(path, &text, err);
    size_t line = 1;
    for (size_t at = 0; s == PGR_OK && at < text.n; line++) {
        const char *end = memchr(text.data + at, '\n', text.n - at);
        size_t n = end ? (size_t)(end - text.data) - at : text.n - at;
        json_t *v = NULL;
        s = json_parse(text.data + at, n, path, line, &v, err);
        if (s == PGR_OK) s = add_line(l, v, err);
        json_decref(v);
        at += n + 1;
    }
    buf_free(&text);
    return s;
}

/* ---- a picture ---- */

typedef struct axis { /* lo..hi with marks at multiples of `mark`, of `digits` digits */
    double lo, hi, mark;
    int digits;
} axis;

static axis axis_of(double lo, double hi) {
    if (!(hi > lo)) {
        double around = fabs(lo) > 0 ? fabs(lo) * 0.1 : 1;
        lo -= around;
        hi += around;
    }
    double rough = (hi - lo) / 5, ten = pow(10, floor(log10(rough)));
    double mark = rough <= 2 * ten ? 2 * ten : rough <= 5 * ten ? 5 * ten : 10 * ten;
    int digits = (int)-floor(log10(mark) + 1e-9);
    return (axis){floor(lo / mark) * mark, ceil(hi / mark) * mark, mark, digits > 0 ? digits : 0};
}

typedef struct picture {
    axis x, y;
} picture;

static double at_x(const picture *p, double v) {
    return LEFT + (v - p->x.lo) / (p->x.hi - p->x.lo) * (WIDTH - LEFT - RIGHT);
}
static double at_y(const picture *p, double v) {
    return HEIGHT - BOTTOM - (v - p->y.lo) / (p->y.hi - p->y.lo) * (HEIGHT - BOTTOM - TOP);
}

static picture picture_of(const curve *const *list, size_t n) {
    double lo[2] = {INFINITY, INFINITY}, hi[2] = {-INFINITY, -INFINITY};
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < list[i]->n; k++) {
            lo[0] = fmin(lo[0], list[i]->x[k]);
            hi[0] = fmax(hi[0], list[i]->x[k]);
            lo[1] = fmin(lo[1], list[i]->y[k]);
            hi[1] = fmax(hi[1], list[i]->y[k]);
        }
    return (picture){axis_of(lo[0], hi[0]), axis_of(lo[1], hi[1])};
}

static void draw_axes(const picture *p, buf *out) {
    for (int i = 0; i <= (int)((p->y.hi - p->y.lo) / p->y.mark + 0.5); i++) {
        double v = p->y.lo + i * p->y.mark, y = at_y(p, v);
        picture_line(out, "grid", LEFT, y, WIDTH - RIGHT, y);
        picture_label(out, LEFT - 6, y + 4, "end", v, p->y.digits);
    }
    for (int i = 0; i <= (int)((p->x.hi - p->x.lo) / p->x.mark + 0.5); i++) {
        double v = p->x.lo + i * p->x.mark;
        picture_label(out, at_x(p, v), HEIGHT - BOTTOM + 18, "middle", v, p->x.digits);
    }
}

/* The means of every `each` neighbouring points. */
static void draw_line(const picture *p, const curve *c, buf *out) {
    size_t each = (c->n + POINTS - 1) / POINTS;
    buf_puts(out, "<polyline points=\"");
    for (size_t i = 0; i < c->n; i += each) {
        size_t n = each < c->n - i ? each : c->n - i;
        double x = 0, y = 0;
        for (size_t k = 0; k < n; k++) {
            x += c->x[i + k] / (double)n;
            y += c->y[i + k] / (double)n;
        }
        buf_printf(out, "%.1f,%.1f ", at_x(p, x), at_y(p, y));
    }
    buf_puts(out, "\"/>\n");
}

static void draw_points(const picture *p, const curve *c, const curve *se, buf *out) {
    for (size_t i = 0; i < c->n; i++) {
        double x = at_x(p, c->x[i]);
        buf_printf(out, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3\"/>\n", x, at_y(p, c->y[i]));
        if (!se || se->n != c->n) continue;
        double low = fmax(p->y.lo, c->y[i] - se->y[i]), high = fmin(p->y.hi, c->y[i] + se->y[i]);
        picture_line(out, "thin", x, at_y(p, low), x, at_y(p, high));
    }
}

/* A curve's name beside the plot and its last value. */
static void draw_name(const curve *c, const char *name, size_t k, buf *out) {
    double y = TOP + 10 + 18.0 * (double)k;
    buf_printf(out, "<g class=\"c%zu\"><circle cx=\"%d\" cy=\"%.1f\" r=\"4\"/></g><text x=\"%d\" y=\"%.1f\">",
               (k + 1) % N_COLOR, WIDTH - RIGHT + 14, y - 4, WIDTH - RIGHT + 24, y);
    html_text(out, name);
    buf_printf(out, "%s%.4g</text>\n", *name ? ", " : "", c->y[c->n - 1]);
}

static const curve *error_of(const run_lines *l, const curve *c) {
    char key[200];
    snprintf(key, sizeof key, "%s_se", c->key);
    for (size_t i = 0; i < l->n; i++)
        if (l->curves[i].evaluated == c->evaluated && strcmp(l->curves[i].key, key) == 0) return &l->curves[i];
    return NULL;
}

/* `name`: from which character of its key on a curve is named; 0: by its kind. */
static void draw(const run_lines *l, const char *title, const curve *const *list, size_t n, size_t name, buf *out) {
    picture p = picture_of(list, n);
    picture_begin(out, title, WIDTH, HEIGHT);
    draw_axes(&p, out);
    for (size_t i = 0; i < n; i++) {
        const curve *c = list[i];
        buf_printf(out, "<g class=\"c%zu\">\n", (i + 1) % N_COLOR);
        draw_line(&p, c, out);
        if (c->evaluated) draw_points(&p, c, error_of(l, c), out);
        buf_puts(out, "</g>\n");
        draw_name(c, name ? c->key + name : c->kind, i, out);
    }
    picture_end(out);
}

/* ---- which curves stand in one picture ---- */

static size_t prefix_of(const char *key) { /* "taste/own": 6; 0: none */
    const char *slash = strchr(key, '/');
    return slash ? (size_t)(slash - key) + 1 : 0;
}

static bool is_share(const curve *c) {
    for (size_t i = 0; i < c->n; i++)
        if (!(c->y[i] >= 0 && c->y[i] <= 1)) return false;
    return true;
}

/* Errors are drawn at what they are of, and counts of pairs do not change. */
static bool is_beside(const curve *c) {
    size_t n = strlen(c->key), at = prefix_of(c->key);
    return c->evaluated && ((n > 3 && strcmp(c->key + n - 3, "_se") == 0) || strcmp(c->key + at, "pairs") == 0);
}

static bool together(const curve *a, const curve *b) {
    if (a->evaluated != b->evaluated) return false;
    if (!a->evaluated) return strcmp(a->key, b->key) == 0; /* of several kinds */
    size_t n = prefix_of(a->key);
    return a == b || (n && prefix_of(b->key) == n && strncmp(a->key, b->key, n) == 0 && is_share(a) && is_share(b));
}

static void draw_all(const run_lines *l, bool evaluated, buf *out) {
    bool drawn[N_CURVE] = {false};
    for (size_t i = 0; i < l->n; i++) {
        const curve *list[N_CURVE];
        size_t n = 0;
        if (drawn[i] || l->curves[i].evaluated != evaluated || is_beside(&l->curves[i])) continue;
        for (size_t k = i; k < l->n; k++) {
            if (drawn[k] || is_beside(&l->curves[k]) || !together(&l->curves[i], &l->curves[k])) continue;
            drawn[k] = true;
            list[n++] = &l->curves[k];
        }
        char title[200];
        size_t prefix = evaluated && n > 1 ? prefix_of(list[0]->key) : 0;
        snprintf(title, sizeof title, "%.*s", prefix ? (int)prefix - 1 : 180, list[0]->key);
        draw(l, title, list, n, prefix, out);
    }
}

/* ---- the page ---- */

static void put_text(const char *s, buf *out) { /* with its line breaks */
    buf line = {0};
    while (*s) {
        size_t n = strcspn(s, "\n");
        buf_clear(&line);
        buf_add(&line, s, n);
        html_text(out, line.data ? line.data : "");
        buf_putc(out, '\n');
        s += n + (s[n] == '\n');
    }
    out->failed = out->failed || line.failed;
    buf_free(&line);
}

static void put_samples(const run_lines *l, buf *out) {
    size_t n = l->n_sample < N_SAMPLE ? l->n_sample : N_SAMPLE;
    if (n > 0) buf_puts(out, "<h2>Samples</h2>\n");
    for (size_t i = 1; i <= n; i++) {
        const sample *s = &l->samples[(l->n_sample - i) % N_SAMPLE];
        buf_printf(out, "<p class=\"note\">after step %.0f</p>\n<pre>", s->step);
        put_text(s->text, out);
        buf_puts(out, "</pre>\n");
    }
}

static void put_page(const run_lines *l, const char *out_folder, const char *stage, buf *out) {
    buf title = {0};
    buf_printf(&title, "train %s: %s", stage, out_folder);
    page_begin(out, title.data ? title.data : "");
    out->failed = out->failed || title.failed;
    buf_free(&title);
    buf_printf(out,
               "<p class=\"note\">Over the steps; where there are more than %d, a point is the mean of "
               "neighbouring ones. Behind a name: its last value.</p>\n",
               POINTS);
    bool any = false;
    for (size_t i = 0; i < l->n; i++) any = any || l->curves[i].evaluated;
    if (any) buf_puts(out, "<h2>Evaluation</h2>\n");
    draw_all(l, true, out);
    buf_puts(out, "<h2>Training</h2>\n");
    draw_all(l, false, out);
    put_samples(l, out);
    page_end(out);
}

pgr_status curves_write(const char *out, const char *metrics, const char *stage, pgr_error *err) {
    run_lines l = {0};
    buf page = {0}, path = {0};
    pgr_status s = read_lines(&l, metrics, err);
    if (s == PGR_OK) put_page(&l, out, stage, &page);
    buf_printf(&path, "%s/curves.html", out);
    if (s == PGR_OK && (page.failed || path.failed)) s = fail_mem(err);
    if (s == PGR_OK) s = file_write(path.data, page.data, page.n, err);
    arena_free(&l.arena);
    buf_free(&page);
    buf_free(&path);
    return s;
}
