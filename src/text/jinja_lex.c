/* jinja_lex.c - owns the cutting of a template into text and the tokens inside its tags, after Jinja 3.1. */
#include "text/jinja_lex.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

/* ---- messages ---- */

pgr_status jinja_wrong(const jinja_at *at, const char *format, ...) {
    char text[300];
    va_list ap;
    va_start(ap, format);
    vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    return fail(at->err, PGR_E_FORMAT, "%.120s: line %zu of the chat template: %s", at->origin, at->line, text);
}

pgr_status jinja_lacks(const jinja_at *at, const char *format, ...) {
    char text[200];
    va_list ap;
    va_start(ap, format);
    vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    return fail(at->err, PGR_E_UNSUPPORTED,
                "%.120s: the chat template uses %s (line %zu), which is not supported; give another one with "
                "--chat-template FILE",
                at->origin, text, at->line);
}

/* ---- white space ---- */

bool jinja_is_space(uint32_t c) {
    return (c >= 0x09 && c <= 0x0d) || (c >= 0x1c && c <= 0x20) || c == 0x85 || c == 0xa0 || c == 0x1680
           || (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
}

size_t jinja_space_at(const char *s, size_t n) {
    uint32_t c;
    size_t len = n ? utf8_next(s, n, &c) : 0;
    return len && jinja_is_space(c) ? len : 0;
}

size_t jinja_space_before(const char *s, size_t n) {
    uint32_t c;
    size_t len = 1;
    while (len < 4 && len < n && ((uint8_t)s[n - len] & 0xc0) == 0x80) len++;
    return n && utf8_next(s + n - len, len, &c) == len && jinja_is_space(c) ? len : 0;
}

/* ---- the lexer ---- */

typedef struct lexer {
    const char *s;
    size_t n, at;
    bool line_starts; /* the last tag took the line break behind it */
    jinja_at *where;
    arena *a;
    buf *out;
} lexer;

static void push(lexer *l, jtoken t) {
    t.line = l->where->line;
    buf_add(l->out, &t, sizeof t);
}

/* Moves on and counts the lines. */
static void skip(lexer *l, size_t n) {
    for (size_t i = 0; i < n; i++) l->where->line += l->s[l->at + i] == '\n';
    l->at += n;
}

static void skip_space(lexer *l) {
    for (size_t len; (len = jinja_space_at(l->s + l->at, l->n - l->at)) > 0;) skip(l, len);
}

static bool stands(const lexer *l, const char *what) {
    size_t n = strlen(what);
    return l->n - l->at >= n && memcmp(l->s + l->at, what, n) == 0;
}

/* The next "{{", "{%" or "{#"; the end of the text if there is none. */
static size_t next_tag(const lexer *l) {
    for (size_t i = l->at; i + 1 < l->n; i++)
        if (l->s[i] == '{' && memchr("{%#", l->s[i + 1], 3)) return i;
    return l->n;
}

/* Where the text before the tag at `tag` ends, once the white space that the tag takes is gone. */
static size_t text_end(const lexer *l, size_t tag) {
    size_t end = tag, begin;
    if (tag == l->n) return end;
    char sign = tag + 2 < l->n ? l->s[tag + 2] : ' ';
    if (sign == '-') {
        for (size_t len; (len = jinja_space_before(l->s + l->at, end - l->at)) > 0;) end -= len;
        return end;
    }
    if (sign == '+' || l->s[tag + 1] == '{') return end;
    for (size_t len; end > l->at && l->s[end - 1] != '\n';) {
        if ((len = jinja_space_before(l->s + l->at, end - l->at)) == 0) return tag;
        end -= len;
    }
    begin = end;
    return begin > l->at || l->line_starts ? begin : tag;
}

/* Behind the closing brace of a tag: '-' takes all white space, a block or comment takes one line break. */
static void after_tag(lexer *l, char sign, bool print) {
    size_t begin = l->at;
    if (sign == '-')
        skip_space(l);
    else if (sign != '+' && !print && l->at < l->n && l->s[l->at] == '\n')
        skip(l, 1);
    l->line_starts = l->at > begin && l->s[l->at - 1] == '\n';
}

static pgr_status lex_comment(lexer *l) {
    size_t begin = l->at;
    const char *end = memmem(l->s + l->at, l->n - l->at, "#}", 2);
    if (!end) return jinja_wrong(l->where, "a comment {# without its #}");
    size_t at = (size_t)(end - l->s);
    char sign = at > begin ? l->s[at - 1] : ' ';
    skip(l, at + 2 - l->at);
    after_tag(l, sign, false);
    return PGR_OK;
}

/* ---- inside a tag ---- */

static int hex_digits(const char *s, size_t n, uint32_t *code) {
    *code = 0;
    for (size_t i = 0; i < n; i++) {
        const char *digits = "0123456789abcdef", *d = s[i] ? strchr(digits, s[i] | (s[i] >= 'A' ? 0x20 : 0)) : NULL;
        if (!d) return -1;
        *code = *code << 4 | (uint32_t)(d - digits);
    }
    return 0;
}

/* Up to three octal digits. */
static size_t octal(const char *s, size_t n, char **out) {
    uint32_t code = 0;
    size_t i = 0;
    for (; i < 3 && i < n && s[i] >= '0' && s[i] <= '7'; i++) code = code * 8 + (uint32_t)(s[i] - '0');
    if (code == 0) return 0;
    *out += utf8_put(*out, code);
    return i;
}

/* The escape at s (behind the backslash) as Python reads it, appended to out; how many bytes it takes, 0: refused. */
static size_t escape(const char *s, size_t n, char **out) {
    static const char plain[] = "nrtbfva\\'\"", means[] = "\n\r\t\b\f\v\a\\'\"";
    const char *p = memchr(plain, s[0], sizeof plain - 1);
    uint32_t code;
    size_t digits = s[0] == 'x' ? 2 : s[0] == 'u' ? 4 : s[0] == 'U' ? 8 : 0;
    if (p) {
        *(*out)++ = means[p - plain];
        return 1;
    }
    if (s[0] == '\n') return 1; /* the line goes on */
    if (s[0] >= '0' && s[0] <= '7') return octal(s, n, out);
    if (s[0] == 'N') return 0;
    if (digits) {
        if (n < 1 + digits || hex_digits(s + 1, digits, &code) || code > 0x10FFFF || (code >= 0xD800 && code < 0xE000)
            || code == 0)
            return 0;
        *out += utf8_put(*out, code);
        return 1 + digits;
    }
    *(*out)++ = '\\'; /* no escape: both characters stay */
    *(*out)++ = s[0];
    return 1;
}

static pgr_status lex_string(lexer *l) {
    char quote = l->s[l->at];
    size_t end = l->at + 1;
    while (end < l->n && l->s[end] != quote) end += l->s[end] == '\\' ? 2 : 1;
    if (end >= l->n) return jinja_wrong(l->where, "a string without its closing %c", quote);
    char *copy = arena_alloc(l->a, end - l->at), *to = copy;
    if (!copy) return fail_mem(l->where->err);
    for (size_t i = l->at + 1; i < end;) {
        if (l->s[i] != '\\') {
            *to++ = l->s[i++];
            continue;
        }
        size_t len = escape(l->s + i + 1, end - i - 1, &to);
        if (len == 0) return jinja_lacks(l->where, "the escape \\%.4s", l->s + i + 1);
        i += 1 + len;
    }
    push(l, (jtoken){.kind = JT_STRING, .s = copy, .n = (size_t)(to - copy)});
    skip(l, end + 1 - l->at);
    return PGR_OK;
}

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}
static bool in_name(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || is_digit(c);
}

/* Digits with underscores between; how many bytes. text: without underscores, room for one more character. */
static size_t digits_at(const lexer *l, size_t from, char *text, size_t *n, size_t room) {
    size_t i = from;
    while (i < l->n && (is_digit(l->s[i]) || (l->s[i] == '_' && i > from && i + 1 < l->n && is_digit(l->s[i + 1])))) {
        if (l->s[i] != '_' && *n < room) text[(*n)++] = l->s[i];
        i++;
    }
    return i - from;
}

/* 12  1_000  1.5  1e5; behind a point (a.0) whole numbers only. */
static pgr_status lex_number(lexer *l) {
    enum { ROOM = 60 };
    char text[ROOM + 8];
    size_t n = 0, at = l->at;
    bool real = false, index = l->at > 0 && l->s[l->at - 1] == '.';
    at += digits_at(l, at, text, &n, ROOM);
    if (!index && at + 1 < l->n && l->s[at] == '.' && is_digit(l->s[at + 1])) {
        real = true;
        text[n++] = '.';
        at++;
        at += digits_at(l, at, text, &n, ROOM + 1);
    }
    size_t sign = at + 1 < l->n && memchr("+-", l->s[at + 1], 2) ? 1 : 0;
    if (!index && at + 1 + sign < l->n && (l->s[at] | 0x20) == 'e' && is_digit(l->s[at + 1 + sign])) {
        real = true;
        text[n++] = 'e';
        if (sign) text[n++] = l->s[at + 1];
        at += 1 + sign;
        at += digits_at(l, at, text, &n, ROOM + 3);
    }
    text[n] = '\0';
    bool odd = n >= ROOM || (!real && n > 1 && text[0] == '0' && strspn(text, "0") < n);
    if (odd || (at < l->n && in_name(l->s[at]))) return jinja_lacks(l->where, "the number %.39s", l->s + l->at);
    errno = 0;
    jtoken t = {.kind = real ? JT_REAL : JT_INTEGER, .s = l->s + l->at, .n = at - l->at};
    if (real)
        t.f = strtod(text, NULL);
    else
        t.i = strtoll(text, NULL, 10);
    if (errno) return jinja_lacks(l->where, "the number %.39s", text);
    push(l, t);
    skip(l, at - l->at);
    return PGR_OK;
}

/* The closing brackets that are still to come, innermost last. */
typedef struct brackets {
    char open[64];
    size_t n;
} brackets;

static pgr_status lex_operator(lexer *l, brackets *b) {
    static const char *const known[] = {"//", "**", "==", "!=", ">=", "<=", "+", "-", "*", "/", "%", "~", "[",
                                        "]",  "(",  ")",  "{",  "}",  ">",  "<", "=", ".", ":", "|", ",", NULL};
    for (size_t i = 0; known[i]; i++) {
        if (!stands(l, known[i])) continue;
        char c = known[i][0], *closing = strchr("(){}[]", c);
        if (closing && (c == '(' || c == '{' || c == '[')) {
            if (b->n == sizeof b->open) return jinja_lacks(l->where, "brackets nested more than 64 deep");
            b->open[b->n++] = closing[1];
        } else if (closing) {
            if (b->n == 0 || b->open[--b->n] != c) return jinja_wrong(l->where, "%c without its opening bracket", c);
        }
        push(l, (jtoken){.kind = JT_OPERATOR, .s = known[i], .n = strlen(known[i])});
        skip(l, strlen(known[i]));
        return PGR_OK;
    }
    return jinja_wrong(l->where, "found %.1s, expected an expression", l->s + l->at);
}

/* true: the tag ended here */
static bool lex_tag_end(lexer *l, bool print) {
    const char *close = print ? "}}" : "%}";
    char sign = l->s[l->at];
    bool signed_end =
        (sign == '-' || (sign == '+' && !print)) && l->n - l->at > 2 && memcmp(l->s + l->at + 1, close, 2) == 0;
    if (!signed_end && !stands(l, close)) return false;
    push(l, (jtoken){.kind = print ? JT_PRINT_END : JT_BLOCK_END, .s = close, .n = 2});
    skip(l, signed_end ? 3 : 2);
    after_tag(l, signed_end ? sign : ' ', print);
    return true;
}

static pgr_status lex_tag(lexer *l, bool print) {
    brackets open = {.n = 0};
    size_t first = l->where->line;
    push(l, (jtoken){.kind = print ? JT_PRINT : JT_BLOCK, .s = print ? "{{" : "{%", .n = 2});
    for (;;) {
        skip_space(l);
        if (l->at == l->n) break;
        if (open.n == 0 && lex_tag_end(l, print)) return PGR_OK;
        char c = l->s[l->at];
        if (c == '\'' || c == '"') {
            PGR_TRY(lex_string(l));
        } else if (is_digit(c)) {
            PGR_TRY(lex_number(l));
        } else if (in_name(c)) {
            size_t n = 1;
            while (l->at + n < l->n && in_name(l->s[l->at + n])) n++;
            push(l, (jtoken){.kind = JT_NAME, .s = l->s + l->at, .n = n});
            skip(l, n);
        } else {
            PGR_TRY(lex_operator(l, &open));
        }
    }
    l->where->line = first;
    return jinja_wrong(l->where, "%s without its closing %s", print ? "{{" : "{%", print ? "}}" : "%}");
}

/* Behind "{%" with its sign: does the tag say just `word`? Its length then, the closing "%}" and the sign in it
 * included. */
static size_t bare_tag(const lexer *l, size_t at, const char *word, char *sign) {
    size_t from = at, n = strlen(word);
    while (at < l->n && strchr(" \t\r\n\f\v", l->s[at]) && l->s[at]) at++;
    if (l->n - at < n || memcmp(l->s + at, word, n) != 0) return 0;
    at += n;
    while (at < l->n && strchr(" \t\r\n\f\v", l->s[at]) && l->s[at]) at++;
    *sign = ' ';
    if (at + 2 < l->n && (l->s[at] == '-' || l->s[at] == '+')) *sign = l->s[at++];
    return l->n - at >= 2 && memcmp(l->s + at, "%}", 2) == 0 ? at + 2 - from : 0;
}

/* Behind {% raw %}: all up to {% endraw %} is text. */
static pgr_status lex_raw(lexer *l) {
    for (size_t i = l->at; i + 1 < l->n; i++) {
        char sign, opening = i + 2 < l->n ? l->s[i + 2] : ' ';
        if (memcmp(l->s + i, "{%", 2) != 0) continue;
        size_t head = i + 2 + (opening == '-' || opening == '+'), n = bare_tag(l, head, "endraw", &sign);
        if (n == 0) continue;
        size_t end = text_end(l, i);
        if (end > l->at) push(l, (jtoken){.kind = JT_TEXT, .s = l->s + l->at, .n = end - l->at});
        skip(l, head + n - l->at);
        after_tag(l, sign, false);
        return PGR_OK;
    }
    return jinja_wrong(l->where, "{%% raw %%} without its {%% endraw %%}");
}

/* A copy with every line break as \n and without the last one. */
static char *normalised(const char *text, size_t *n, arena *a) {
    char *s = arena_alloc(a, *n + 1);
    size_t to = 0;
    if (!s) return NULL;
    for (size_t i = 0; i < *n; i++) {
        if (text[i] == '\r' && i + 1 < *n && text[i + 1] == '\n') continue;
        s[to++] = text[i] == '\r' ? '\n' : text[i];
    }
    if (to && s[to - 1] == '\n') s[--to] = '\0';
    *n = to;
    return s;
}

pgr_status jinja_lex(const char *text, size_t n, jinja_at *at, arena *a, buf *out) {
    lexer l = {.s = normalised(text, &n, a), .line_starts = true, .where = at, .a = a, .out = out};
    if (!l.s) return fail_mem(at->err);
    l.n = n;
    at->line = 1;
    while (l.at < l.n) {
        size_t tag = next_tag(&l), end = text_end(&l, tag);
        if (end > l.at) push(&l, (jtoken){.kind = JT_TEXT, .s = l.s + l.at, .n = end - l.at});
        skip(&l, tag - l.at);
        if (tag == l.n) break;
        char kind = l.s[tag + 1];
        skip(&l, tag + 2 < l.n && memchr("-+", l.s[tag + 2], 2) ? 3 : 2);
        char sign;
        size_t raw = kind == '%' ? bare_tag(&l, l.at, "raw", &sign) : 0;
        skip(&l, raw);
        if (raw) after_tag(&l, sign == '-' ? '-' : '+', false); /* the line break behind it is kept */
        PGR_TRY(raw ? lex_raw(&l) : kind == '#' ? lex_comment(&l) : lex_tag(&l, kind == '{'));
    }
    push(&l, (jtoken){.kind = JT_END, .s = "", .n = 0});
    return out->failed ? fail_mem(at->err) : PGR_OK;
}
