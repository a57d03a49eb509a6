/* progress.c - what a long step shows: a redrawn line on a terminal, now and then a line in a log. Draws into a fixed
 * buffer and writes once per drawing; allocates nothing after it was made. */
#include "base/progress.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/text.h"

#define SHOW_AFTER_S 2.0
#define REDRAW_S     0.1
#define LOG_EVERY_S  5.0
enum { BAR_MAX = 30, BAR_MIN = 8 };

struct pgr_progress_bar {
    progress_options o;
    char label[64], unit[16];
    double begin, drawn;         /* times: of the step's first report, of the last drawing */
    uint64_t first, done, total; /* first: what was done at `begin` */
    bool running, shown;
};

typedef struct line {
    char text[512];
    size_t n;
} line;

__attribute__((format(printf, 2, 3))) static void add(line *l, const char *format, ...) {
    va_list ap;
    va_start(ap, format);
    int n = vsnprintf(l->text + l->n, sizeof l->text - l->n, format, ap);
    va_end(ap);
    if (n <= 0) return;
    size_t room = sizeof l->text - l->n - 1;
    l->n += (size_t)n < room ? (size_t)n : room;
}

static void put(const pgr_progress_bar *b, const line *l) {
    if (write(b->o.fd, l->text, l->n) < 0) { /* a closed standard error must not end the work */
    }
}

/* ---- numbers for people ---- */

static void add_count(line *l, double v, const char *unit) {
    static const char *const sizes[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    if (strcmp(unit, "B") != 0) {
        add(l, "%.*f", v < 10 && v != (double)(uint64_t)v ? 2 : v < 100 && v != (double)(uint64_t)v ? 1 : 0, v);
        return;
    }
    int i = 0;
    for (; v >= 1024 && i < 4; i++) v /= 1024;
    add(l, i == 0 ? "%.0f %s" : "%.1f %s", v, sizes[i]);
}

/* "123 tokens", "1.2 MiB" */
static void add_amount(line *l, double v, const char *unit) {
    add_count(l, v, unit);
    if (unit[0] && strcmp(unit, "B") != 0) add(l, " %s", unit);
}

/* "0:05", "12:34", "1:02:03" */
static void add_clock(line *l, double s) {
    if (!(s < 359999)) s = 359999; /* 99:59:59 */
    unsigned t = (unsigned)(s + 0.5);
    if (t >= 3600)
        add(l, "%u:%02u:%02u", t / 3600, t / 60 % 60, t % 60);
    else
        add(l, "%u:%02u", t / 60, t % 60);
}

/* Units per second since the step began; 0 if that is not known yet. */
static double rate_of(const pgr_progress_bar *b, double now) {
    return b->done > b->first && now > b->begin ? (double)(b->done - b->first) / (now - b->begin) : 0;
}

/* "12/40 chains  3.1 chains/s  0:09 left" */
static void add_numbers(line *l, const pgr_progress_bar *b, double now) {
    double rate = rate_of(b, now);
    if (b->total) {
        add_count(l, (double)b->done, b->unit);
        add(l, "/");
        add_amount(l, (double)b->total, b->unit);
    } else {
        add_amount(l, (double)b->done, b->unit);
    }
    if (rate > 0) {
        add(l, "  ");
        add_amount(l, rate, b->unit);
        add(l, "/s");
    }
    if (rate > 0 && b->total >= b->done && b->total) {
        add(l, "  ");
        add_clock(l, (double)(b->total - b->done) / rate);
        add(l, " left");
    }
}

/* ---- drawings ---- */

static int columns_of(const pgr_progress_bar *b) {
    struct winsize w;
    if (b->o.columns > 0) return b->o.columns;
    return ioctl(b->o.fd, TIOCGWINSZ, &w) == 0 && w.ws_col > 0 ? w.ws_col : 80;
}

/* "[#####-----] " over `width` columns and the space. */
static void add_bar(line *l, const pgr_progress_bar *b, int width) {
    double share = b->done < b->total ? (double)b->done / (double)b->total : 1.0;
    int inside = width - 2, full = (int)(share * inside);
    add(l, "[%s%.*s%s%.*s] ", b->o.color ? "\x1b[32m" : "", full, "##############################",
        b->o.color ? "\x1b[0m" : "", inside - full, "------------------------------");
}

static void draw_terminal(pgr_progress_bar *b, double now) {
    line numbers = {.n = 0}, l = {.n = 0};
    add_numbers(&numbers, b, now);
    /* One column stays free: a line that fills the last one wraps on some terminals. */
    int room = columns_of(b) - 1 - (int)numbers.n;
    size_t label = strlen(b->label);
    while (label > 0 && text_width(b->label, label) + 2 > room) label = utf8_clip(b->label, label, label - 1);
    add(&l, "\r%.*s%s", (int)label, b->label, label ? "  " : "");
    int bar = room - text_width(b->label, label) - 3;
    if (bar > BAR_MAX) bar = BAR_MAX;
    if (b->total && bar >= BAR_MIN) add_bar(&l, b, bar);
    int columns = columns_of(b) - 1;
    add(&l, "%.*s\x1b[K", columns > 0 ? columns : 0, numbers.text);
    put(b, &l);
}

static void draw_log(pgr_progress_bar *b, double now) {
    line l = {.n = 0};
    add(&l, "%s: ", b->label);
    add_numbers(&l, b, now);
    add(&l, "\n");
    put(b, &l);
}

/* The last line of a step that was shown: "label: 40 chains in 0:12 (3.1 chains/s)". */
static void finish(pgr_progress_bar *b) {
    if (!b->running) return;
    b->running = false;
    if (!b->shown) return;
    double now = b->o.now(b->o.now_ctx), rate = rate_of(b, now);
    line l = {.n = 0};
    add(&l, "%s%s: ", b->o.style == PROGRESS_TERMINAL ? "\r" : "", b->label);
    add_amount(&l, (double)b->done, b->unit);
    if (b->done < b->total) {
        add(&l, " of ");
        add_count(&l, (double)b->total, b->unit);
    }
    add(&l, " in ");
    add_clock(&l, now - b->begin);
    if (rate > 0) {
        add(&l, " (");
        add_amount(&l, rate, b->unit);
        add(&l, "/s)");
    }
    add(&l, "%s\n", b->o.style == PROGRESS_TERMINAL ? "\x1b[K" : "");
    put(b, &l);
}

/* ---- steps ---- */

/* Control codes in a label would spoil the line. */
static void copy_plain(char *to, size_t size, const char *from) {
    size_t n = utf8_clip(from, strlen(from), size - 1);
    for (size_t i = 0; i < n; i++) to[i] = (unsigned char)from[i] < 0x20 || from[i] == 0x7f ? ' ' : from[i];
    to[n] = '\0';
}

static void begin(pgr_progress_bar *b, const char *label, uint64_t done, const char *unit, double now) {
    finish(b);
    copy_plain(b->label, sizeof b->label, label);
    copy_plain(b->unit, sizeof b->unit, unit);
    b->begin = now;
    b->first = b->done = done;
    b->running = true;
    b->shown = false;
}

static bool same_step(const pgr_progress_bar *b, const char *label, uint64_t done) {
    char plain[sizeof b->label];
    copy_plain(plain, sizeof plain, label);
    return strcmp(plain, b->label) == 0 && done >= b->done;
}

void pgr_progress_bar_update(void *bar, const char *label, uint64_t done, uint64_t total, const char *unit) {
    pgr_progress_bar *b = bar;
    if (!b || b->o.style == PROGRESS_QUIET) return;
    if (!label) label = "";
    if (!unit) unit = "";
    double now = b->o.now(b->o.now_ctx);
    bool same = same_step(b, label, done);
    if (!b->running && same && done == b->done && total == b->total) return; /* a step that has ended, again */
    if (!b->running || !same) begin(b, label, done, unit, now);
    b->done = done;
    b->total = total;
    if (total && done >= total) {
        finish(b);
        return;
    }
    double every = b->o.style == PROGRESS_LOG ? LOG_EVERY_S : REDRAW_S;
    if (now - b->begin < SHOW_AFTER_S || (b->shown && now - b->drawn < every)) return;
    b->shown = true;
    b->drawn = now;
    if (b->o.style == PROGRESS_LOG)
        draw_log(b, now);
    else
        draw_terminal(b, now);
}

/* ---- making one ---- */

static double now_of_clock(void *ctx) {
    (void)ctx;
    return clock_now();
}

progress_options progress_options_for(int fd, bool quiet, const char *term, const char *no_color) {
    bool dumb = !term || !term[0] || strcmp(term, "dumb") == 0;
    progress_style style = quiet ? PROGRESS_QUIET : isatty(fd) && !dumb ? PROGRESS_TERMINAL : PROGRESS_LOG;
    return (progress_options){.style = style, .fd = fd, .color = !(no_color && no_color[0]), .now = now_of_clock};
}

pgr_progress_bar *progress_create(const progress_options *o) {
    pgr_progress_bar *b = mem_zero(1, sizeof *b);
    if (b) b->o = *o;
    return b;
}

pgr_progress_bar *pgr_progress_bar_create(bool quiet) {
    progress_options o = progress_options_for(STDERR_FILENO, quiet, getenv("TERM"), getenv("NO_COLOR"));
    return progress_create(&o);
}

void pgr_progress_bar_free(pgr_progress_bar *bar) {
    if (!bar) return;
    finish(bar);
    mem_free(bar);
}
