/* span.h - spans of a text that is not ours to change, and numbers as people write them. */
#ifndef PGR_JUDGE_SPAN_H
#define PGR_JUDGE_SPAN_H

#include <stdbool.h>

#include "base/arena.h"

typedef struct span { /* s <= end */
    const char *s, *end;
} span;

bool is_blank(char c); /* space, tab, line break */
bool is_digit(char c);
bool is_alnum(char c); /* ASCII letters and digits, and every byte of other scripts */
char lower_ascii(char c);
const char *skip_blank(const char *s, const char *end);
span span_trim(span t);
bool span_begins(span t, const char *prefix);    /* ASCII case ignored */
const char *span_find(span t, const char *what); /* first place, ASCII case ignored; NULL */
span span_line(const char *s, const char *end);  /* up to the line break */
/* Copy in the arena: blanks and control characters to single spaces, at most max bytes. NULL: out of memory. */
char *span_copy(arena *a, span t, size_t max);

/* An unsigned decimal number ("7", "7.25", ".5") at *s; moves *s behind it. One with a comma and a digit right behind
 * it ("7,2") may be a decimal comma or a list: it is no number. */
bool number_read(const char **s, const char *end, double *out);

#endif
