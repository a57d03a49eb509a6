/* jinja_repr.c - owns how values are shown inside of lists and dictionaries, after Python. */
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "text/jinja_value.h"

typedef struct shower {
    jrun *r;
    buf text, made;
    size_t depth;
} shower;

static void show_made(shower *w, const char *s) {
    js_put(&w->text, &w->made,
           (jstring){
               s, (const uint8_t *)"\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1",
               strlen(s)});
}

/* In single quotes, unless it holds one and no double one. */
static pgr_status show_string(shower *w, jstring s) {
    bool single = s.n && memchr(s.s, '\'', s.n), twice = s.n && memchr(s.s, '"', s.n);
    char quote[2] = {single && !twice ? '"' : '\'', 0}, code[8];
    show_made(w, quote);
    for (size_t i = 0, len; i < s.n; i += len) {
        uint8_t c = (uint8_t)s.s[i];
        len = js_char(s, i);
        if (c >= 0x80) {
            uint32_t rune = 0;
            if (!utf8_next(s.s + i, s.n - i, &rune) || rune < 0xA1 || rune == 0xAD || jinja_is_space(rune)
                || rune > 0x24F)
                return jinja_lacks(&w->r->at, "a list with characters that Python may print as escapes");
        }
        bool escaped = c < 0x20 || c == 0x7F || c == '\\' || c == (uint8_t)quote[0];
        if (!escaped) {
            js_put(&w->text, &w->made, js_part(s, i, i + len));
            continue;
        }
        const char *plain = c == '\n' ? "\\n" : c == '\r' ? "\\r" : c == '\t' ? "\\t" : NULL;
        if (c == '\\' || c == (uint8_t)quote[0])
            snprintf(code, sizeof code, "\\%c", c);
        else
            snprintf(code, sizeof code, "\\x%02x", c);
        const char *put = plain ? plain : code;
        js_put(&w->text, &w->made,
               (jstring){put, s.made && s.made[i] ? (const uint8_t *)"\1\1\1\1" : NULL, strlen(put)});
    }
    show_made(w, quote);
    return PGR_OK;
}

static pgr_status show(shower *w, const jvalue *v) {
    jstring s;
    PGR_TRY(jv_spend(w->r, 8));
    if (w->text.n > w->r->left) return jv_spend(w->r, SIZE_MAX);
    if (++w->depth > JINJA_MAX_NEST) return jinja_lacks(&w->r->at, "lists of more than %d levels", JINJA_MAX_NEST);
    if (v->kind == JV_STRING) {
        PGR_TRY(show_string(w, v->s));
    } else if ((v->kind == JV_LIST && v->form != JF_ONCE) || v->kind == JV_DICT) {
        bool list = v->kind == JV_LIST, tuple = list && v->form == JF_TUPLE;
        size_t n = list ? v->list.n : v->dict.n;
        show_made(w, tuple ? "(" : list ? "[" : "{");
        for (size_t i = 0; i < n; i++) {
            if (i) show_made(w, ", ");
            if (!list) {
                PGR_TRY(show_string(w, v->dict.v[i].key));
                show_made(w, ": ");
            }
            PGR_TRY(show(w, list ? &v->list.v[i] : &v->dict.v[i].value));
        }
        if (tuple && n == 1) show_made(w, ",");
        show_made(w, tuple ? ")" : list ? "]" : "}");
    } else if (v->kind == JV_UNDEFINED) {
        show_made(w, "Undefined");
    } else {
        PGR_TRY(jv_str(w->r, v, &s));
        js_put(&w->text, &w->made, s);
    }
    w->depth--;
    return PGR_OK;
}

pgr_status jv_repr(jrun *r, const jvalue *v, jstring *out) {
    shower w = {.r = r};
    pgr_status s = show(&w, v);
    if (s == PGR_OK) s = jv_taken(r, &w.text, &w.made, out);
    buf_free(&w.text);
    buf_free(&w.made);
    return s;
}
