/* pretok_regex.c - owns the translation of a tokenizer.json's regular expression into PCRE2's syntax: a known part of
 * the language passes, the rest is refused, so that no pattern means something else here than where it was written. */
#include <string.h>

#include "text/pretok.h"

enum { MAX_REGEX = 4096 };

/* White space as Unicode has it, inside a character class; PCRE2's \s counts U+180E too. */
#define SPACES "\\p{Z}\\t-\\r\\x{85}"

static pgr_status refuse(const char *at, size_t n, pgr_error *err) {
    return fail(err, PGR_E_UNSUPPORTED, "the regular expression has \"%.*s\", which is not supported", (int)n, at);
}

/* A general category: \p{L}, \p{Lu}. Longer names are scripts and properties, which the engines define differently. */
static size_t category_length(const char *s) {
    size_t n = s[2] == '{' ? strcspn(s, "}") : 0;
    bool known = n >= 4 && n <= 5 && s[n] == '}' && strchr("LMNPSZC", s[3]);
    if (known && n == 5) known = s[4] >= 'a' && s[4] <= 'z';
    return known ? n + 1 : 0;
}

/* After a backslash at s[0]; advances *s over it. */
static pgr_status put_escape(const char **s, bool in_class, buf *out, pgr_error *err) {
    const char *p = *s;
    size_t n = 2;
    switch (p[1]) {
    case 's':
        buf_puts(out, in_class ? SPACES : "[" SPACES "]");
        break;
    case 'S':
        if (in_class) return refuse(p, 2, err);
        buf_puts(out, "[^" SPACES "]");
        break;
    case 'd':
        buf_puts(out, "\\p{Nd}");
        break;
    case 'p':
    case 'P':
        n = category_length(p);
        if (!n) return refuse(p, strnlen(p, 12), err);
        buf_add(out, p, n);
        break;
    default:
        if (!p[1] || !strchr("rntfv.*+?|()[]{}^$/\\-'\"!#%&,:;<=>@_`~ ", p[1])) return refuse(p, strnlen(p, 2), err);
        if (p[1] == 'v')
            buf_puts(out, "\\x0b"); /* for PCRE2 \v is a class */
        else
            buf_add(out, p, 2);
    }
    *s = p + n;
    return PGR_OK;
}

/* A character class, from its '['; nested classes and intersections are refused. */
static pgr_status put_class(const char **s, buf *out, pgr_error *err) {
    const char *p = *s + 1;
    buf_putc(out, '[');
    if (*p == '^') buf_putc(out, *p++);
    if (*p == ']') return refuse(*s, 2, err);
    while (*p && *p != ']') {
        if (*p == '[' || (*p == '&' && p[1] == '&')) return refuse(p, strnlen(p, 2), err);
        if (*p == '\\')
            PGR_TRY(put_escape(&p, true, out, err));
        else
            buf_putc(out, *p++);
    }
    if (!*p) return refuse(*s, strnlen(*s, 12), err);
    buf_putc(out, ']');
    *s = p + 1;
    return PGR_OK;
}

static pgr_status put_group(const char **s, buf *out, pgr_error *err) {
    static const char *const known[] = {"(?:", "(?i:", "(?!", "(?="};
    if ((*s)[1] != '?') {
        buf_puts(out, "(?:"); /* nothing asks for what it captures */
        (*s)++;
        return PGR_OK;
    }
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        size_t n = strlen(known[i]);
        if (strncmp(*s, known[i], n) != 0) continue;
        buf_add(out, known[i], n);
        *s += n;
        return PGR_OK;
    }
    return refuse(*s, strnlen(*s, 4), err);
}

/* {n}, {n,} or {n,m}; with a + behind it the engines differ. */
static pgr_status put_interval(const char **s, buf *out, pgr_error *err) {
    size_t n = strspn(*s + 1, "0123456789,") + 1;
    if ((*s)[n] != '}' || (*s)[1] == ',' || n < 2 || (*s)[n + 1] == '+') return refuse(*s, strnlen(*s, 12), err);
    buf_add(out, *s, n + 1);
    *s += n + 1;
    return PGR_OK;
}

pgr_status pretok_translate(const char *regex, buf *out, pgr_error *err) {
    if (strlen(regex) > MAX_REGEX)
        return fail(err, PGR_E_LIMIT, "the regular expression is %zu bytes long, at most %d are taken", strlen(regex),
                    MAX_REGEX);
    for (const char *s = regex; *s;) {
        if (*s == '\\')
            PGR_TRY(put_escape(&s, false, out, err));
        else if (*s == '[')
            PGR_TRY(put_class(&s, out, err));
        else if (*s == '(')
            PGR_TRY(put_group(&s, out, err));
        else if (*s == '{')
            PGR_TRY(put_interval(&s, out, err));
        else if (strchr("^$.", *s))
            return refuse(s, 1, err);
        else
            buf_putc(out, *s++);
    }
    return out->failed ? fail_mem(err) : PGR_OK;
}
