/* table.c - widths, wrapping and tables for terminals. */
#include "table.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "buffer.h"

/* ---- the screen ---- */

static int environment_columns(void) {
    const char *text = getenv("COLUMNS");
    char *end = NULL;
    long n = text && *text ? strtol(text, &end, 10) : 0;
    return n >= 20 && n <= 10000 && *end == '\0' ? (int)n : 0;
}

screen screen_open(int most) {
    const char *term = getenv("TERM"), *no_color = getenv("NO_COLOR");
    bool terminal = isatty(STDOUT_FILENO);
    struct winsize size = {0};
    int width = environment_columns();
    if (!width && terminal && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0) width = size.ws_col;
    if (width < 20) width = 80;
    bool color = terminal && !(no_color && *no_color) && !(term && strcmp(term, "dumb") == 0);
    return (screen){.f = stdout, .width = width < most ? width : most, .color = color};
}

static void style_begin(const screen *s, style st) {
    static const char *const codes[] = {"", "\033[1m", "\033[2m", "\033[32m", "\033[33m"};
    if (s->color) fputs(codes[st], s->f);
}

static void style_end(const screen *s, style st) {
    if (s->color && st != STYLE_PLAIN) fputs("\033[0m", s->f);
}

void put(const screen *s, style st, const char *format, ...) {
    va_list ap;
    va_start(ap, format);
    style_begin(s, st);
    vfprintf(s->f, format, ap);
    style_end(s, st);
    va_end(ap);
}

/* ---- characters ---- */

size_t text_character(const char *s, size_t n, uint32_t *code) {
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    unsigned char c = (unsigned char)s[0];
    size_t len = c < 0x80 ? 1 : c >> 5 == 6 ? 2 : c >> 4 == 14 ? 3 : c >> 3 == 30 ? 4 : 0;
    if (len == 0 || len > n) return 0;
    uint32_t v = len == 1 ? c : c & (0x7Fu >> len);
    for (size_t i = 1; i < len; i++) {
        if (((unsigned char)s[i] & 0xC0) != 0x80) return 0;
        v = v << 6 | ((unsigned char)s[i] & 0x3F);
    }
    *code = v;
    return v < least[len] || v > 0x10FFFF || (v >= 0xD800 && v <= 0xDFFF) ? 0 : len;
}

static bool between(uint32_t c, uint32_t lo, uint32_t hi) {
    return c >= lo && c <= hi;
}

/* Close enough for alignment: marks that join are 0, East Asian and emoji blocks are 2. */
static int character_columns(uint32_t c) {
    if (between(c, 0x300, 0x36F) || between(c, 0x200B, 0x200F) || between(c, 0x20D0, 0x20F0)
        || between(c, 0xFE00, 0xFE0F) || between(c, 0xE0100, 0xE01EF))
        return 0;
    bool wide = between(c, 0x1100, 0x115F) || between(c, 0x2E80, 0x303E) || between(c, 0x3041, 0xA4CF)
                || between(c, 0xAC00, 0xD7A3) || between(c, 0xF900, 0xFAFF) || between(c, 0xFE30, 0xFE6F)
                || between(c, 0xFF01, 0xFF60) || between(c, 0xFFE0, 0xFFE6) || between(c, 0x1F300, 0x1F64F)
                || between(c, 0x1F680, 0x1F6FF) || between(c, 0x1F900, 0x1FAFF) || between(c, 0x20000, 0x3FFFD);
    return wide ? 2 : 1;
}

char *text_clean(const char *s, size_t n) {
    char *out = must_alloc(n * 3 + 1);
    size_t m = 0;
    for (size_t i = 0; i < n;) {
        uint32_t code = 0;
        size_t len = text_character(s + i, n - i, &code);
        if (len == 0) {
            memcpy(out + m, "\xEF\xBF\xBD", 3);
            m += 3;
        } else if (code < 0x20 || between(code, 0x7F, 0x9F) || between(code, 0x202A, 0x202E)
                   || between(code, 0x2066, 0x2069)) {
            out[m++] = ' '; /* control characters, and those that turn the direction of writing */
        } else {
            memcpy(out + m, s + i, len);
            m += len;
        }
        i += len ? len : 1;
    }
    return out;
}

int text_columns(const char *s, size_t n) {
    int columns = 0;
    for (size_t i = 0; i < n;) {
        uint32_t code = 0xFFFD;
        size_t len = text_character(s + i, n - i, &code);
        columns += character_columns(code);
        i += len ? len : 1;
    }
    return columns;
}

/* The first line of at most `width` columns of clean text: its bytes, broken at a blank where there is one. *next:
 * where the rest begins. At least one character is taken. */
static size_t line_of(const char *s, int width, size_t *next) {
    size_t n = strlen(s), i = 0, blank = 0;
    for (int columns = 0; i < n;) {
        uint32_t code = 0;
        size_t len = text_character(s + i, n - i, &code);
        if (len == 0) len = 1;
        columns += character_columns(code);
        if (s[i] == ' ') blank = i;
        if (columns > width && i > 0) break;
        i += len;
    }
    size_t end = i < n && blank ? blank : i;
    *next = end + strspn(s + end, " ");
    return end;
}

void put_wrapped(const screen *s, style st, const char *text, int indent, int from) {
    char *clean = text_clean(text, strlen(text));
    const char *rest = clean + strspn(clean, " ");
    int width = s->width - indent < 20 ? 20 : s->width - indent;
    do {
        size_t next, n = line_of(rest, width, &next);
        fprintf(s->f, "%*s", from < indent ? indent - from : 0, "");
        put(s, st, "%.*s", (int)n, rest);
        fputc('\n', s->f);
        rest += next;
        from = 0;
    } while (*rest);
    free(clean);
}

void put_lines(const screen *s, const char *text, int indent) {
    while (*text) {
        size_t n = strcspn(text, "\n");
        char *line = must_dup(text, n);
        put_wrapped(s, STYLE_PLAIN, line, indent, 0);
        free(line);
        text += n + (text[n] == '\n');
    }
}

/* ---- tables ---- */

typedef enum row_kind { ROW_CELLS, ROW_RULE, ROW_NOTE } row_kind;

typedef struct row {
    row_kind kind;
    style st;
    char **cells; /* (n_column); a note has one */
    size_t n_cell;
} row;

struct table {
    const column *columns;
    size_t n_column;
    row *rows;
    size_t n_row;
};

enum { GAP = 2, FLEXIBLE_LEAST = 12 };

table *table_create(const column *columns, size_t n_column) {
    table *t = must_alloc(sizeof *t);
    t->columns = columns;
    t->n_column = n_column;
    return t;
}

static row *add_row(table *t, row_kind kind, style st, const char *const *cells, size_t n) {
    t->rows = must_resize(t->rows, (t->n_row + 1) * sizeof *t->rows);
    row *r = &t->rows[t->n_row++];
    *r = (row){.kind = kind, .st = st, .cells = must_alloc(n * sizeof *r->cells), .n_cell = n};
    for (size_t i = 0; i < n; i++) {
        const char *text = cells[i] ? cells[i] : "";
        r->cells[i] = text_clean(text, strlen(text));
    }
    return r;
}

void table_row(table *t, style st, const char *const *cells) {
    add_row(t, ROW_CELLS, st, cells, t->n_column);
}
void table_rule(table *t) {
    add_row(t, ROW_RULE, STYLE_DIM, NULL, 0);
}
void table_note(table *t, const char *text) {
    add_row(t, ROW_NOTE, STYLE_DIM, &text, 1);
}

/* Columns as wide as their widest cell; the flexible one shrinks until the table fits. Returns the whole width. */
static int measure(const table *t, int width, int *widths) {
    int total = -GAP, flexible = -1;
    for (size_t c = 0; c < t->n_column; c++) {
        const char *title = t->columns[c].title;
        widths[c] = text_columns(title, strlen(title));
        for (size_t i = 0; i < t->n_row; i++) {
            const row *r = &t->rows[i];
            int w = r->kind == ROW_CELLS ? text_columns(r->cells[c], strlen(r->cells[c])) : 0;
            if (w > widths[c]) widths[c] = w;
        }
        if (t->columns[c].flexible) flexible = (int)c;
        total += widths[c] + GAP;
    }
    if (flexible >= 0 && total > width) {
        int fits = widths[flexible] - (total - width);
        if (fits < FLEXIBLE_LEAST) fits = FLEXIBLE_LEAST;
        if (fits < widths[flexible]) total -= widths[flexible] - fits, widths[flexible] = fits;
    }
    return total;
}

/* One cell's next line, padded; false when the cell has no more text. */
static bool print_cell(const screen *s, style st, const char **cell, int width, bool right, bool last) {
    size_t next, n = line_of(*cell, width, &next);
    int pad = width - text_columns(*cell, n);
    if (pad < 0) pad = 0;
    if (right) fprintf(s->f, "%*s", pad, "");
    if (n) put(s, st, "%.*s", (int)n, *cell);
    if (!right && !last) fprintf(s->f, "%*s", pad, "");
    if (!last) fprintf(s->f, "%*s", GAP, "");
    *cell += next;
    return **cell != '\0';
}

static void print_cells(const table *t, const screen *s, style st, const char **cells, const int *widths, int indent) {
    for (bool more = true; more;) {
        more = false;
        fprintf(s->f, "%*s", indent, "");
        for (size_t c = 0; c < t->n_column; c++)
            if (print_cell(s, st, &cells[c], widths[c], t->columns[c].right, c + 1 == t->n_column)) more = true;
        fputc('\n', s->f);
    }
}

static void print_rule(const screen *s, int indent, int width) {
    fprintf(s->f, "%*s", indent, "");
    style_begin(s, STYLE_DIM);
    for (int i = 0; i < width; i++) fputs("─", s->f);
    style_end(s, STYLE_DIM);
    fputc('\n', s->f);
}

void table_print(const table *t, const screen *s, int indent) {
    int *widths = must_alloc(t->n_column * sizeof *widths);
    const char **cells = must_alloc(t->n_column * sizeof *cells);
    int total = measure(t, s->width - indent, widths);

    for (size_t c = 0; c < t->n_column; c++) cells[c] = t->columns[c].title;
    print_cells(t, s, STYLE_BOLD, cells, widths, indent);
    print_rule(s, indent, total);
    for (size_t i = 0; i < t->n_row; i++) {
        const row *r = &t->rows[i];
        if (r->kind == ROW_RULE) print_rule(s, indent, total);
        if (r->kind == ROW_NOTE) put_wrapped(s, r->st, r->cells[0], indent + GAP, 0);
        if (r->kind != ROW_CELLS) continue;
        for (size_t c = 0; c < t->n_column; c++) cells[c] = r->cells[c];
        print_cells(t, s, r->st, cells, widths, indent);
    }
    free(cells);
    free(widths);
}

void table_free(table *t) {
    if (!t) return;
    for (size_t i = 0; i < t->n_row; i++) {
        for (size_t c = 0; c < t->rows[i].n_cell; c++) free(t->rows[i].cells[c]);
        free(t->rows[i].cells);
    }
    free(t->rows);
    free(t);
}
