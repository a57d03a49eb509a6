/* table.h - text for terminals: columns of a string, wrapping, aligned tables, calm colours. */
#ifndef PGR_CMD_TABLE_H
#define PGR_CMD_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

typedef enum style { STYLE_PLAIN, STYLE_BOLD, STYLE_DIM, STYLE_GOOD, STYLE_WEAK } style;

/* Where text goes. color: escape sequences may be written. width: columns of a line. */
typedef struct screen {
    FILE *f;
    int width;
    bool color;
} screen;

/* Standard output: $COLUMNS, else the terminal's width, else 80, at most `most`; colours on a terminal without
 * NO_COLOR. */
screen screen_open(int most);

/* Bytes of the UTF-8 character at s (n > 0 bytes are left), 0 if there is none. */
size_t text_character(const char *s, size_t n, uint32_t *code);
/* A copy that is safe to print: control characters are spaces, bytes that are not UTF-8 are U+FFFD. The caller's
 * (free). */
char *text_clean(const char *s, size_t n);
/* Columns that clean text takes. */
int text_columns(const char *s, size_t n);

/* printf of formatted text in a style; no line break is added. */
void put(const screen *s, style st, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* Text wrapped at the screen's width, every line indented; ends with a line break. The first line begins at column
 * `from`. */
void put_wrapped(const screen *s, style st, const char *text, int indent, int from);

/* Every line of the text wrapped by itself. */
void put_lines(const screen *s, const char *text, int indent);

typedef struct column {
    const char *title;
    bool right;    /* aligned right */
    bool flexible; /* wraps; takes what the others leave. One column at most */
} column;

typedef struct table table;

table *table_create(const column *columns, size_t n_column);
void table_row(table *t, style st, const char *const *cells); /* (n_column) NULL: empty; copied and cleaned */
void table_rule(table *t);                                    /* a line across */
void table_note(table *t, const char *text);                  /* a dim line of text across all columns, indented */
void table_print(const table *t, const screen *s, int indent);
void table_free(table *t);

#endif
