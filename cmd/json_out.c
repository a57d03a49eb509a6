/* json_out.c - values as JSON on standard output. */
#include "json_out.h"

#include <math.h>
#include <stdio.h>

#include "table.h"

static void put_character(const char *s, size_t len) {
    unsigned char c = (unsigned char)s[0];
    if (c == '"' || c == '\\')
        printf("\\%c", c);
    else if (c == '\n')
        fputs("\\n", stdout);
    else if (c < 0x20 || c == 0x7F)
        printf("\\u%04x", c);
    else
        fwrite(s, 1, len, stdout);
}

/* bad: how a byte that is not UTF-8 is printed */
static void put_text(const char *s, size_t n, void (*bad)(unsigned char)) {
    putchar('"');
    for (size_t i = 0; i < n;) {
        uint32_t code;
        size_t len = text_character(s + i, n - i, &code);
        if (len == 0)
            bad((unsigned char)s[i]);
        else
            put_character(s + i, len);
        i += len ? len : 1;
    }
    putchar('"');
}

static void put_replacement(unsigned char c) {
    (void)c;
    fputs("\xEF\xBF\xBD", stdout);
}

static void put_hex(unsigned char c) {
    printf("\\x%02X", c);
}

void json_text(const char *s, size_t n) {
    put_text(s, n, put_replacement);
}
void show_text(const char *s, size_t n) {
    put_text(s, n, put_hex);
}

void json_real(double v) {
    if (isfinite(v))
        printf("%.9g", v);
    else
        fputs("null", stdout);
}

void json_ids(const int32_t *ids, size_t n) {
    putchar('[');
    for (size_t i = 0; i < n; i++) printf("%s%d", i ? "," : "", ids[i]);
    putchar(']');
}

void json_reals(const float *v, size_t n) {
    putchar('[');
    for (size_t i = 0; i < n; i++) {
        if (i) putchar(',');
        json_real((double)v[i]);
    }
    putchar(']');
}
