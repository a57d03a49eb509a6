/* map.c - users on the plane of the first two principal components, as SVG; see map.h. */
#include "prototype/map.h"

#include <math.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/rng.h"
#include "base/text.h"
#include "prototype/artefact.h"
#include "prototype/vec.h"

enum { DEFAULT_DRAWN = 4000, FIT = 4000, ITERATIONS = 200 };
enum { PLOT = 720, MARGIN = 24, TOP = 64, LEGEND = 560, ROW = 22, MOST_ROWS = 40 }; /* in pixels */
enum { WORDS_AT_CENTRE = 3, CENTRES_WITH_WORDS = 12 };

typedef struct map {
    const artefact *a;
    const map_view *view;
    size_t from, to;     /* users that may be seen */
    size_t d, n, n_seen; /* n of the n_seen rows of these are drawn */
    size_t *rows;        /* (n) which, rising */
    size_t n_mark;
    struct mark {
        size_t row, number; /* 0: the user's */
    } * marks;              /* (n_mark) */
    double *mean, *axis[2]; /* (d) */
    double share[2];        /* of the variance */
    double *at;             /* (n + k + n_mark, 2) rows, prototypes, marks; coordinates of the components */
    double low[2], scale;
    buf out;
} map;

/* ---- principal components ---- */

/* out = covariance * v over the sampled rows; returns the length of out before it is brought to 1. */
static double multiply(const map *m, size_t stride, const double *v, double *out) {
    const artefact *a = m->a;
    size_t n = 0;
    memset(out, 0, m->d * sizeof *out);
    for (size_t r = 0; r < a->n_row; r += stride, n++) {
        const float *x = a->vectors + r * m->d;
        double s = 0;
        for (size_t c = 0; c < m->d; c++) s += ((double)x[c] - m->mean[c]) * v[c];
        for (size_t c = 0; c < m->d; c++) out[c] += s * ((double)x[c] - m->mean[c]);
    }
    double ss = 0;
    for (size_t c = 0; c < m->d; c++) {
        out[c] /= (double)n;
        ss += out[c] * out[c];
    }
    return sqrt(ss);
}

static void remove_part(double *v, const double *axis, size_t d) {
    double s = 0;
    for (size_t c = 0; c < d; c++) s += v[c] * axis[c];
    for (size_t c = 0; c < d; c++) v[c] -= s * axis[c];
}

static double to_length_1(double *v, size_t d) {
    double ss = 0;
    for (size_t c = 0; c < d; c++) ss += v[c] * v[c];
    if (ss > 0)
        for (size_t c = 0; c < d; c++) v[c] /= sqrt(ss);
    return sqrt(ss);
}

/* Power iteration; the second axis stays at right angles to the first. Its sign: the greatest value is positive. */
static double find_axis(map *m, size_t which, size_t stride, double *next) {
    double *v = m->axis[which], value = 0;
    rng r = {.seed = 1, .stream = (uint32_t)which};
    for (size_t c = 0; c < m->d; c++) v[c] = rng_normal(&r);
    to_length_1(v, m->d);
    for (size_t i = 0; i < ITERATIONS; i++) {
        if (which) remove_part(v, m->axis[0], m->d);
        if (!(to_length_1(v, m->d) > 0)) break;
        double was = value;
        value = multiply(m, stride, v, next);
        if (!(value > 0)) return 0;
        memcpy(v, next, m->d * sizeof *v);
        if (fabs(value - was) <= 1e-7 * value) break;
    }
    if (which) remove_part(v, m->axis[0], m->d);
    to_length_1(v, m->d);
    size_t most = 0;
    for (size_t c = 1; c < m->d; c++)
        if (fabs(v[c]) > fabs(v[most])) most = c;
    if (v[most] < 0)
        for (size_t c = 0; c < m->d; c++) v[c] = -v[c];
    return value;
}

static pgr_status find_axes(map *m, pgr_error *err) {
    const artefact *a = m->a;
    size_t stride = (a->n_row + FIT - 1) / FIT, n = 0;
    double *next = mem_array(m->d, sizeof *next), total = 0;
    if (!next) return fail_mem(err);
    for (size_t r = 0; r < a->n_row; r += stride, n++)
        for (size_t c = 0; c < m->d; c++) m->mean[c] += (double)a->vectors[r * m->d + c];
    for (size_t c = 0; c < m->d; c++) m->mean[c] /= (double)n;
    for (size_t r = 0; r < a->n_row; r += stride)
        for (size_t c = 0; c < m->d; c++) {
            double x = (double)a->vectors[r * m->d + c] - m->mean[c];
            total += x * x / (double)n;
        }
    for (size_t i = 0; i < 2; i++) {
        double value = find_axis(m, i, stride, next);
        m->share[i] = total > 0 ? value / total : 0;
    }
    mem_free(next);
    return PGR_OK;
}

static void project(const map *m, const float *x, double out[2]) {
    out[0] = out[1] = 0;
    for (size_t c = 0; c < m->d; c++)
        for (size_t i = 0; i < 2; i++) out[i] += ((double)x[c] - m->mean[c]) * m->axis[i][c];
}

static const float *vector_of(const map *m, size_t i) {
    const artefact *a = m->a;
    if (i < m->n) return a->vectors + m->rows[i] * m->d;
    return i < m->n + a->k ? a->after + (i - m->n) * m->d : a->vectors + m->marks[i - m->n - a->k].row * m->d;
}

static void project_all(map *m) {
    const artefact *a = m->a;
    double high[2] = {-INFINITY, -INFINITY};
    m->low[0] = m->low[1] = INFINITY;
    for (size_t i = 0; i < m->n + a->k + m->n_mark; i++) {
        project(m, vector_of(m, i), m->at + 2 * i);
        bool empty = i >= m->n && i < m->n + a->k && a->start[i - m->n] == a->start[i - m->n + 1];
        for (size_t c = 0; c < 2 && !empty; c++) {
            m->low[c] = fmin(m->low[c], m->at[2 * i + c]);
            high[c] = fmax(high[c], m->at[2 * i + c]);
        }
    }
    double span = fmax(fmax(high[0] - m->low[0], high[1] - m->low[1]), 1e-9);
    m->scale = (PLOT - 2 * MARGIN) / span;
    for (size_t c = 0; c < 2; c++) m->low[c] -= (span - (high[c] - m->low[c])) / 2; /* in the middle */
}

/* ---- who is drawn ---- */

static bool may_be_seen(const map *m, size_t row) {
    return m->a->row_user[row] >= m->from && m->a->row_user[row] < m->to;
}

/* Every so many-th of the rows that may be seen. */
static pgr_status choose_rows(map *m, size_t most, pgr_error *err) {
    for (size_t r = 0; r < m->a->n_row; r++) m->n_seen += may_be_seen(m, r);
    size_t stride = m->n_seen > most ? (m->n_seen + most - 1) / most : 1, seen = 0;
    m->rows = mem_array(m->n_seen / stride + 1, sizeof *m->rows);
    if (!m->rows) return fail_mem(err);
    for (size_t r = 0; r < m->a->n_row; r++)
        if (may_be_seen(m, r) && seen++ % stride == 0) m->rows[m->n++] = r;
    return PGR_OK;
}

/* numbers (n_user): 0: not marked; 1: the user; i + 2: neighbour i. */
static void number_user(const map *m, const char *id, uint32_t number, uint32_t *numbers) {
    size_t user = artefact_find(m->a, id);
    if (user >= m->from && user < m->to && numbers[user] == 0) numbers[user] = number;
}

static pgr_status mark_all(map *m, pgr_error *err) {
    const map_view *v = m->view;
    const artefact *a = m->a;
    size_t n = 0;
    if (!v->user && v->n_near == 0) return PGR_OK;
    uint32_t *numbers = mem_zero(a->n_user + 1, sizeof *numbers);
    if (!numbers) return fail_mem(err);
    if (v->user) number_user(m, v->user, 1, numbers);
    for (size_t i = 0; i < v->n_near; i++) number_user(m, v->near[i], (uint32_t)i + 2, numbers);
    for (size_t r = 0; r < a->n_row; r++) n += numbers[a->row_user[r]] > 0;
    m->marks = mem_array(n + 1, sizeof *m->marks);
    for (size_t r = 0; m->marks && r < a->n_row; r++)
        if (numbers[a->row_user[r]] > 0) m->marks[m->n_mark++] = (struct mark){r, numbers[a->row_user[r]] - 1};
    mem_free(numbers);
    return m->marks ? PGR_OK : fail_mem(err);
}

/* ---- drawing ---- */

static double x_of(const map *m, size_t i) {
    return MARGIN + (m->at[2 * i] - m->low[0]) * m->scale;
}

static double y_of(const map *m, size_t i) {
    return TOP + PLOT - MARGIN - (m->at[2 * i + 1] - m->low[1]) * m->scale;
}

/* One of red (n = 0), green (8), blue (4) of a colour by hue in degrees, saturation .7 and lightness: the usual
 * formula. As #rrggbb, since not every program reads hsl(). */
static int channel(double hue, double light, int n) {
    double k = fmod(n + hue / 30, 12), a = 0.7 * fmin(light, 1 - light);
    return (int)lrint(255 * (light - a * fmax(-1, fmin(fmin(k - 3, 9 - k), 1))));
}

/* Hues by the golden angle: neighbours in number are far apart in colour. */
static void put_colour(buf *b, size_t j) {
    static const double light[] = {0.42, 0.58, 0.34};
    double hue = fmod((double)j * 137.508 + 205, 360), l = light[j / 7 % 3];
    buf_printf(b, "#%02x%02x%02x", channel(hue, l, 0), channel(hue, l, 8), channel(hue, l, 4));
}

/* Escaped for XML; characters that XML has no place for become U+FFFD. */
static void put_xml(buf *b, const char *s) {
    size_t n = strlen(s);
    for (size_t i = 0, step; i < n; i += step ? step : 1) {
        uint32_t code = 0;
        step = utf8_next(s + i, n - i, &code);
        bool allowed = step && code >= 0x20 && code != 0xfffe && code != 0xffff;
        if (!allowed)
            buf_puts(b, "\xef\xbf\xbd");
        else if (code == '<')
            buf_puts(b, "&lt;");
        else if (code == '&')
            buf_puts(b, "&amp;");
        else if (code == '"')
            buf_puts(b, "&quot;");
        else
            buf_add(b, s + i, step);
    }
}

static void put_words(buf *b, const artefact *a, size_t j, size_t most) {
    for (size_t i = 0; i < most && a->words[j][i]; i++) {
        buf_puts(b, i ? ", " : "");
        put_xml(b, a->words[j][i]);
    }
}

static size_t size_of(const artefact *a, size_t j) {
    return (size_t)(a->start[j + 1] - a->start[j]);
}

static bool is_marked(const map *m, size_t number) {
    for (size_t i = 0; i < m->n_mark; i++)
        if (m->marks[i].number == number) return true;
    return false;
}

/* What is marked, and who of those that should be has no place. */
static void draw_said(map *m) {
    const map_view *v = m->view;
    size_t near = 0;
    if (!v->user && v->n_near == 0) return;
    for (size_t i = 1; i <= v->n_near; i++) near += is_marked(m, i);
    buf_printf(&m->out, "<text x=\"%d\" y=\"%d\" font-size=\"13\" fill=\"#222\">", MARGIN, TOP + 16);
    if (v->user)
        buf_puts(&m->out,
                 is_marked(m, 0) ? "cross: the user. " : "The user has no place here yet (pgenrm proto add). ");
    if (v->n_near > 0) buf_printf(&m->out, "Rings with numbers: %zu of %zu similar users", near, v->n_near);
    buf_puts(&m->out, "</text>\n");
}

static void draw_shares(map *m) {
    buf *b = &m->out;
    buf_printf(b,
               "<text x=\"%d\" y=\"50\" fill=\"#666\" font-size=\"13\">the first two principal components: %.1f %% and "
               "%.1f %% of the variance",
               MARGIN, 100 * m->share[0], 100 * m->share[1]);
    if (m->n < m->n_seen) buf_printf(b, "; %zu of %zu vectors drawn", m->n, m->n_seen);
    buf_puts(b, "</text>\n");
}

static void draw_head(map *m, size_t height) {
    const artefact *a = m->a;
    buf *b = &m->out;
    int width = *m->view->scope ? PLOT : PLOT + LEGEND;
    buf_printf(b,
               "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %zu\" width=\"%d\" height=\"%zu\" "
               "font-family=\"system-ui, 'DejaVu Sans', sans-serif\" font-size=\"14\" fill=\"#222\">\n",
               width, height, width, height);
    buf_puts(b, "<title>Users and their prototypes</title>\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n");
    buf_printf(b,
               "<text x=\"%d\" y=\"30\" font-size=\"18\" font-weight=\"600\">%zu users, %zu prototypes by %s</text>\n",
               MARGIN, m->to - m->from, a->k, a->by);
    if (!*m->view->scope) draw_shares(m);
    draw_said(m);
    buf_printf(b, "<rect x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" fill=\"none\" stroke=\"#ddd\"/>\n", MARGIN / 2,
               TOP, PLOT - MARGIN, PLOT);
}

static void draw_users(map *m) {
    const artefact *a = m->a;
    double radius = m->n > 2000 ? 2 : m->n > 400 ? 3 : 4;
    for (size_t j = 0, i = 0; j < a->k; j++) {
        if (size_of(a, j) == 0) continue;
        buf_puts(&m->out, "<g fill=\"");
        put_colour(&m->out, j);
        buf_puts(&m->out, "\" fill-opacity=\".55\">\n");
        for (; i < m->n && m->rows[i] < a->start[j + 1]; i++)
            buf_printf(&m->out, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"%g\"/>\n", x_of(m, i), y_of(m, i), radius);
        buf_puts(&m->out, "</g>\n");
    }
}

/* Labels move down until they cover none before them. */
static double free_line(double (*taken)[2], size_t n, double x, double y) {
    for (size_t i = 0; i < n; i++) {
        if (fabs(taken[i][1] - y) >= 16 || fabs(taken[i][0] - x) >= 190) continue;
        y = taken[i][1] + 16;
        i = (size_t)-1;
    }
    return y;
}

static void put_label(map *m, size_t j, double x, double y, bool left, const char *edge) {
    const artefact *a = m->a;
    buf *b = &m->out;
    buf_printf(b, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\" font-size=\"13\" font-weight=\"600\"%s>%zu", x, y,
               left ? "end" : "start", edge, j + 1);
    if (a->k <= CENTRES_WITH_WORDS && !*m->view->scope) {
        buf_printf(b, " · %zu", size_of(a, j));
        if (a->words[j][0]) buf_puts(b, " · ");
        put_words(b, a, j, WORDS_AT_CENTRE);
    }
    buf_puts(b, "</text>\n");
}

static void draw_centre(map *m, size_t j) {
    buf *b = &m->out;
    double x = x_of(m, m->n + j), y = y_of(m, m->n + j);
    if ((int)j == m->view->prototype)
        buf_printf(b, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"13\" fill=\"none\" stroke=\"#111\" stroke-width=\"2\"/>\n",
                   x, y);
    buf_printf(b, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"8\" stroke=\"#fff\" stroke-width=\"2\" fill=\"", x, y);
    put_colour(b, j);
    buf_puts(b, "\"/>\n");
}

static void draw_label(map *m, size_t j, double (*taken)[2], size_t *n_taken) {
    double x = x_of(m, m->n + j), y = y_of(m, m->n + j);
    bool left = x > PLOT * 0.55;
    double tx = left ? x - 12 : x + 12, ty = free_line(taken, *n_taken, x, y + 5);
    taken[*n_taken][0] = x;
    taken[(*n_taken)++][1] = ty;
    put_label(m, j, tx, ty, left, " stroke=\"#fff\" stroke-width=\"4\""); /* a light edge first, the letters over it */
    put_label(m, j, tx, ty, left, "");
}

static pgr_status draw_centres(map *m, pgr_error *err) {
    double(*taken)[2] = mem_array(m->a->k, sizeof *taken);
    size_t n = 0;
    if (!taken) return fail_mem(err);
    for (size_t j = 0; j < m->a->k; j++)
        if (size_of(m->a, j) > 0) draw_centre(m, j);
    for (size_t j = 0; j < m->a->k; j++)
        if (size_of(m->a, j) > 0) draw_label(m, j, taken, &n);
    mem_free(taken);
    return PGR_OK;
}

/* Rings and numbers of similar users, the user's cross over them; a line from him to his prototype. */
static void draw_mark(map *m, size_t i) {
    buf *b = &m->out;
    size_t at = m->n + m->a->k + i, number = m->marks[i].number;
    double x = x_of(m, at), y = y_of(m, at);
    if (number > 0) {
        buf_printf(b, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"9\" fill=\"none\" stroke=\"#111\" stroke-width=\"2\"/>", x,
                   y);
        for (size_t k = 0; k < 2; k++) /* a light edge first, the letters over it */
            buf_printf(b, "<text x=\"%.1f\" y=\"%.1f\" font-size=\"13\" font-weight=\"700\"%s>%zu</text>", x + 10,
                       y - 8, k ? "" : " stroke=\"#fff\" stroke-width=\"4\"", number);
        buf_putc(b, '\n');
        return;
    }
    int j = m->view->prototype;
    if (j >= 0 && size_of(m->a, (size_t)j) > 0)
        buf_printf(b,
                   "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" stroke=\"#111\" stroke-dasharray=\"5 4\"/>",
                   x, y, x_of(m, m->n + (size_t)j), y_of(m, m->n + (size_t)j));
    buf_printf(b, "<path d=\"M%.1f %.1fh22m-11 -11v22\" stroke=\"#fff\" stroke-width=\"7\" fill=\"none\"/>", x - 11, y);
    buf_printf(b, "<path d=\"M%.1f %.1fh22m-11 -11v22\" stroke=\"#111\" stroke-width=\"3\" fill=\"none\"/>\n", x - 11,
               y);
}

static void draw_legend(map *m, size_t rows) {
    const artefact *a = m->a;
    buf *b = &m->out;
    int x = PLOT + 8;
    buf_printf(b,
               "<g font-size=\"14\">\n<text x=\"%d\" y=\"50\" fill=\"#666\">prototype</text><text x=\"%d\" y=\"50\" "
               "fill=\"#666\" "
               "text-anchor=\"end\">members</text><text x=\"%d\" y=\"50\" fill=\"#666\">%s</text>\n",
               x, x + 148, x + 164,
               strcmp(a->by, "facts") == 0 ? "what they like" : "typical words of what they chose");
    for (size_t j = 0; j < rows; j++) {
        double y = TOP + 14 + (double)j * ROW;
        buf_printf(b, "<circle cx=\"%d\" cy=\"%.0f\" r=\"6\" fill=\"", x + 7, y - 5);
        put_colour(b, j);
        buf_printf(b,
                   "\"/><text x=\"%d\" y=\"%.0f\">%zu</text><text x=\"%d\" y=\"%.0f\" "
                   "text-anchor=\"end\">%zu</text><text x=\"%d\" y=\"%.0f\">",
                   x + 22, y, j + 1, x + 148, y, size_of(a, j), x + 164, y);
        put_words(b, a, j, 5);
        buf_puts(b, "</text>\n");
    }
    if (rows < a->k)
        buf_printf(b, "<text x=\"%d\" y=\"%zu\" fill=\"#666\">and %zu more: pgenrm proto show</text>\n", x,
                   TOP + 14 + rows * ROW, a->k - rows);
    buf_puts(b, "</g>\n");
}

static pgr_status draw(map *m, pgr_error *err) {
    size_t rows = m->a->k < MOST_ROWS ? m->a->k : MOST_ROWS, height = TOP + PLOT + MARGIN / 2;
    size_t legend = TOP + (rows + 2) * ROW;
    draw_head(m, height > legend ? height : legend);
    draw_users(m);
    PGR_TRY(draw_centres(m, err));
    for (size_t i = 0; i < m->n_mark; i++) draw_mark(m, i);
    if (!*m->view->scope) draw_legend(m, rows);
    buf_puts(&m->out, "</svg>\n");
    return m->out.failed ? fail_mem(err) : PGR_OK;
}

static pgr_status map_all(map *m, size_t n_user, pgr_error *err) {
    const artefact *a = m->a;
    m->d = a->dims;
    artefact_range(a, m->view->scope, &m->from, &m->to);
    PGR_TRY(choose_rows(m, n_user ? n_user : DEFAULT_DRAWN, err));
    PGR_TRY(mark_all(m, err));
    m->mean = mem_zero(m->d, sizeof *m->mean);
    m->axis[0] = mem_array(m->d, sizeof *m->mean);
    m->axis[1] = mem_array(m->d, sizeof *m->mean);
    m->at = mem_array(2 * (m->n + a->k + m->n_mark), sizeof *m->at);
    if (!m->mean || !m->axis[0] || !m->axis[1] || !m->at) return fail_mem(err);
    PGR_TRY(find_axes(m, err));
    project_all(m);
    return draw(m, err);
}

static pgr_status check_view(const artefact *a, const map_view *v, pgr_error *err) {
    if (v->prototype >= -1 && (v->prototype < 0 || (size_t)v->prototype < a->k)) return PGR_OK;
    return fail(err, PGR_E_ARG, "prototype: found %d, expected 0 to %zu", v->prototype, a->k - 1);
}

pgr_status proto_map(const char *path, size_t n_user, const map_view *view, char **svg, pgr_error *err) {
    artefact a;
    PGR_TRY(artefact_open(path, ARTEFACT_CHECK_SMALL, &a, err));
    map m = {.a = &a, .view = view};
    pgr_status s = check_view(&a, view, err);
    if (s == PGR_OK) s = map_all(&m, n_user, err);
    if (s == PGR_OK) {
        *svg = buf_take(&m.out);
        if (!*svg) s = fail_mem(err);
    }
    buf_free(&m.out);
    mem_free(m.mean);
    mem_free(m.axis[0]);
    mem_free(m.axis[1]);
    mem_free(m.at);
    mem_free(m.rows);
    mem_free(m.marks);
    artefact_close(&a);
    return s;
}

pgr_status pgr_proto_map(const char *path, size_t n_user, char **svg, pgr_error *err) {
    const map_view everybody = {.scope = "", .prototype = -1};
    return proto_map(path, n_user, &everybody, svg, err);
}
