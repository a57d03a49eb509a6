/* jinja_text.c - owns the work on strings that filters and methods share: case, replace, join, tojson. */
#include "text/jinja_text.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

/* ---- work on strings ---- */

static bool is_upper(char c) {
    return c >= 'A' && c <= 'Z';
}
static bool is_lower(char c) {
    return c >= 'a' && c <= 'z';
}

pgr_status jinja_case(jrun *r, jcase how, jstring s, jvalue *out) {
    char *to;
    bool begins = true; /* a word, or the text */
    PGR_TRY(jv_alloc(r, s.n, 1, &to));
    for (size_t i = 0; i < s.n; i++) {
        char c = s.s[i];
        if ((uint8_t)c >= 0x80) return jinja_lacks(&r->at, "upper or lower case of letters beyond ASCII");
        bool up = how == JC_UPPER || (how != JC_LOWER && begins);
        to[i] = up && is_lower(c) ? (char)(c - 32) : !up && is_upper(c) ? (char)(c + 32) : c;
        begins = how == JC_TITLE_METHOD   ? !is_upper(c) && !is_lower(c)
                 : how == JC_TITLE_FILTER ? c == '-' || jinja_is_space((uint8_t)c) || (c && strchr("({[<", c))
                                          : false;
    }
    *out = jv_string((jstring){to, s.made, s.n});
    return PGR_OK;
}

static bool all_made(jstring s) {
    return s.n == 0 || (s.made && !memchr(s.made, 0, s.n));
}

pgr_status jinja_replace(jrun *r, jstring s, jstring old, jstring by, int64_t count, jvalue *out) {
    buf text = {0}, made = {0};
    size_t at = 0;
    if (old.n == 0) return jinja_lacks(&r->at, "replace of an empty string");
    PGR_TRY(jv_spend(r, s.n));
    for (size_t p; count != 0 && (p = js_find(s, at, old)) != SIZE_MAX; at = p + old.n) {
        jstring new = by;
        if (!all_made(js_part(s, p, p + old.n))) new.made = NULL;
        if (text.n > r->left) break; /* jv_taken says so */
        js_put(&text, &made, js_part(s, at, p));
        js_put(&text, &made, new);
        if (count > 0) count--;
    }
    js_put(&text, &made, js_part(s, at, s.n));
    out->kind = JV_STRING;
    pgr_status status = jv_taken(r, &text, &made, &out->s);
    buf_free(&text);
    buf_free(&made);
    return status;
}

pgr_status jinja_join(jrun *r, const jvalue *list, size_t n, jstring between, jvalue *out) {
    buf text = {0}, made = {0};
    pgr_status status = PGR_OK;
    for (size_t i = 0; status == PGR_OK && i < n; i++) {
        jstring s;
        if (i) js_put(&text, &made, between);
        status = jv_str(r, &list[i], &s);
        if (status == PGR_OK) js_put(&text, &made, s);
        if (text.n > r->left) break; /* jv_taken says so */
    }
    out->kind = JV_STRING;
    if (status == PGR_OK) status = jv_taken(r, &text, &made, &out->s);
    buf_free(&text);
    buf_free(&made);
    return status;
}

/* ---- tojson ---- */

typedef struct json_writer {
    jrun *r;
    buf text, made;
    int64_t indent;
    size_t depth;
} json_writer;

static void put_made(json_writer *w, const char *s, bool made) {
    for (; *s; s++) {
        buf_putc(&w->text, *s);
        buf_putc(&w->made, (char)made);
    }
}

static void put_line(json_writer *w) {
    if (w->indent < 0) return;
    put_made(w, "\n", true);
    for (int64_t i = 0; i < w->indent * (int64_t)w->depth; i++) put_made(w, " ", true);
}

static void put_string(json_writer *w, jstring s) {
    static const char from[] = "\"\\\n\r\t\b\f", to[] = "\"\\nrtbf";
    put_made(w, "\"", true);
    for (size_t i = 0; i < s.n; i++) {
        char code[8] = {'\\', 0};
        const char *p = memchr(from, s.s[i], sizeof from - 1);
        if (p)
            code[1] = to[p - from];
        else if ((uint8_t)s.s[i] < 0x20)
            snprintf(code, sizeof code, "\\u%04x", (unsigned)(uint8_t)s.s[i]);
        else
            code[0] = s.s[i];
        put_made(w, code, s.made && s.made[i]);
    }
    put_made(w, "\"", true);
}

static pgr_status put_json(json_writer *w, const jvalue *v);

static pgr_status put_members(json_writer *w, const jvalue *v) {
    bool list = v->kind == JV_LIST;
    size_t n = list ? v->list.n : v->dict.n;
    put_made(w, list ? "[" : "{", true);
    w->depth++;
    for (size_t i = 0; i < n; i++) {
        if (i) put_made(w, w->indent < 0 ? ", " : ",", true);
        put_line(w);
        if (!list) {
            put_string(w, v->dict.v[i].key);
            put_made(w, ": ", true);
        }
        PGR_TRY(put_json(w, list ? &v->list.v[i] : &v->dict.v[i].value));
    }
    w->depth--;
    if (n) put_line(w);
    put_made(w, list ? "]" : "}", true);
    return PGR_OK;
}

static pgr_status put_json(json_writer *w, const jvalue *v) {
    jstring s;
    PGR_TRY(jv_spend(w->r, 8));
    if (w->depth > JINJA_MAX_NEST) return jinja_lacks(&w->r->at, "lists of more than %d levels", JINJA_MAX_NEST);
    if (w->text.n > w->r->left) return jv_spend(w->r, SIZE_MAX);
    switch (v->kind) {
    case JV_NONE:
        put_made(w, "null", true);
        return PGR_OK;
    case JV_BOOL:
        put_made(w, v->b ? "true" : "false", true);
        return PGR_OK;
    case JV_INT:
    case JV_REAL:
        PGR_TRY(jv_str(w->r, v, &s));
        js_put(&w->text, &w->made, s);
        return PGR_OK;
    case JV_STRING:
        put_string(w, v->s);
        return PGR_OK;
    case JV_LIST:
    case JV_DICT:
        if (v->kind == JV_DICT || v->form != JF_ONCE) return put_members(w, v);
        break;
    default:
        break;
    }
    return jinja_wrong(&w->r->at, "tojson: found %s, which JSON does not have", jv_name(v));
}

pgr_status jinja_tojson(jrun *r, const jvalue *v, int64_t indent, jvalue *out) {
    json_writer w = {.r = r, .indent = indent};
    pgr_status status = put_json(&w, v);
    out->kind = JV_STRING;
    if (status == PGR_OK) status = jv_taken(r, &w.text, &w.made, &out->s);
    buf_free(&w.text);
    buf_free(&w.made);
    return status;
}
