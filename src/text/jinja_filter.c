/* jinja_filter.c - owns the table of filters and those of strings and numbers; those of lists are jinja_list.c's. */
#include <stdlib.h>
#include <string.h>

#include "text/jinja_text.h"

static pgr_status f_trim(jrun *r, const jvalue *v, const jslot *slot, jvalue *out) {
    jstring s;
    bool white = !slot[0].given || slot[0].v.kind == JV_NONE;
    PGR_TRY(jv_str(r, v, &s));
    if (!white) PGR_TRY(jinja_want(r, "trim", JV_STRING, &slot[0].v));
    PGR_TRY(jv_spend(r, s.n * (white ? 1 : 1 + slot[0].v.s.n)));
    *out = jv_string(js_strip(s, white ? NULL : &slot[0].v.s, true, true));
    return PGR_OK;
}

static pgr_status f_length(jrun *r, const jvalue *v, const jslot *slot, jvalue *out) {
    (void)slot;
    PGR_TRY(jv_spend(r, v->kind == JV_STRING ? v->s.n : 1));
    /* clang-format off */
    if (v->kind == JV_UNDEFINED) *out = jv_int(0);
    else if (v->kind == JV_STRING) *out = jv_int((int64_t)js_length(v->s));
    else if (v->kind == JV_DICT) *out = jv_int((int64_t)v->dict.n);
    else if (v->kind == JV_LIST && v->form != JF_ONCE) *out = jv_int((int64_t)v->list.n);
    else return jinja_wrong(&r->at, "length: %s has none", v->kind == JV_LIST ? "a generator" : jv_name(v));
    /* clang-format on */
    return PGR_OK;
}

static pgr_status cased(jrun *r, const jvalue *v, jcase how, jvalue *out) {
    jstring s;
    PGR_TRY(jv_str(r, v, &s));
    return jinja_case(r, how, s, out);
}
static pgr_status f_upper(jrun *r, const jvalue *v, const jslot *slot, jvalue *out) {
    (void)slot;
    return cased(r, v, JC_UPPER, out);
}
static pgr_status f_lower(jrun *r, const jvalue *v, const jslot *slot, jvalue *out) {
    (void)slot;
    return cased(r, v, JC_LOWER, out);
}
static pgr_status f_title(jrun *r, const jvalue *v, const jslot *slot, jvalue *out) {
    (void)slot;
    return cased(r, v, JC_TITLE_FILTER, out);
}
static pgr_status f_capitalize(jrun *r, const jvalue *v, const jslot *slot, jvalue *out) {
    (void)slot;
    return cased(r, v, JC_CAPITALIZE, out);
}

static pgr_status f_default(jrun *r, const jvalue *v, const jslot *slot, jvalue *out) {
    bool as_bool = false, is = true;
    if (slot[1].given) PGR_TRY(jv_true(r, &slot[1].v, &as_bool));
    if (as_bool) PGR_TRY(jv_true(r, v, &is));
    *out = v->kind != JV_UNDEFINED && is ? *v : slot[0].given ? slot[0].v : jv_string((jstring){"", NULL, 0});
    return PGR_OK;
}

static pgr_status f_replace(jrun *r, const jvalue *v, const jslot *slot, jvalue *out) {
    jstring s, old, by;
    PGR_TRY(jv_str(r, v, &s));
    PGR_TRY(jv_str(r, &slot[0].v, &old));
    PGR_TRY(jv_str(r, &slot[1].v, &by));
    bool all = !slot[2].given || slot[2].v.kind == JV_NONE;
    if (!all) PGR_TRY(jinja_want(r, "replace", JV_INT, &slot[2].v));
    return jinja_replace(r, s, old, by, all ? -1 : slot[2].v.i, out);
}

static pgr_status f_string(jrun *r, const jvalue *v, const jslot *slot, jvalue *out) {
    jstring s;
    (void)slot;
    PGR_TRY(jv_str(r, v, &s));
    *out = jv_string(s);
    return PGR_OK;
}

/* A string of decimal digits with its sign; what is no number becomes the default. */
static pgr_status integer_of(jrun *r, jstring s, const jvalue *other, jvalue *out) {
    int64_t i = 0;
    s = js_strip(s, NULL, true, true);
    bool minus = s.n && s.s[0] == '-', sign = s.n && (minus || s.s[0] == '+'), digits = s.n > sign;
    for (size_t k = sign; k < s.n; k++) {
        if (s.s[k] >= '0' && s.s[k] <= '9' && k < 18) {
            i = 10 * i + s.s[k] - '0';
            continue;
        }
        if (memchr("0123456789.eE_", s.s[k], 14) || (uint8_t)s.s[k] >= 0x80)
            return jinja_lacks(&r->at, "int of a string that is more than a few digits");
        digits = false;
    }
    *out = digits ? jv_int(minus ? -i : i) : *other;
    return PGR_OK;
}

static pgr_status f_int(jrun *r, const jvalue *v, const jslot *slot, jvalue *out) {
    const jvalue zero = jv_int(0), *other = slot[0].given ? &slot[0].v : &zero;
    if (v->kind == JV_UNDEFINED) return jinja_want(r, "int", JV_INT, v);
    if (v->kind == JV_STRING) return integer_of(r, v->s, other, out);
    if (v->kind == JV_REAL && !(v->f > -9e15 && v->f < 9e15)) return jinja_lacks(&r->at, "integers beyond 53 bits");
    *out = v->kind == JV_BOOL   ? jv_int(v->b)
           : v->kind == JV_INT  ? *v
           : v->kind == JV_REAL ? jv_int((int64_t)v->f)
                                : *other;
    return PGR_OK;
}

static pgr_status f_tojson(jrun *r, const jvalue *v, const jslot *slot, jvalue *out) {
    bool ascii = false;
    int64_t indent = -1;
    if (slot[1].given) PGR_TRY(jv_true(r, &slot[1].v, &ascii));
    if (ascii) return jinja_lacks(&r->at, "tojson with ensure_ascii");
    if (slot[0].given && slot[0].v.kind != JV_NONE) {
        PGR_TRY(jinja_want(r, "tojson", JV_INT, &slot[0].v));
        indent = slot[0].v.i;
        if (indent < 0 || indent > 16) return jinja_lacks(&r->at, "tojson with an indent beyond 0 to 16");
    }
    return jinja_tojson(r, v, indent, out);
}

static pgr_status f_safe(jrun *r, const jvalue *v, const jslot *slot, jvalue *out) {
    PGR_TRY(f_string(r, v, slot, out));
    out->form = JF_MARKUP;
    return PGR_OK;
}

/* & < > " ' as entities */
static pgr_status f_escape(jrun *r, const jvalue *v, const jslot *slot, jvalue *out) {
    static const char *const entities[][2] = {
        {"&", "&amp;"}, {"<", "&lt;"}, {">", "&gt;"}, {"\"", "&#34;"}, {"'", "&#39;"}};
    PGR_TRY(f_string(r, v, slot, out));
    if (jv_is_markup(v)) return PGR_OK;
    for (size_t i = 0; i < sizeof entities / sizeof *entities; i++) {
        jstring old = {entities[i][0], (const uint8_t *)"\1", 1}, by;
        PGR_TRY(jv_text(r, entities[i][1], strlen(entities[i][1]), true, &by));
        PGR_TRY(jinja_replace(r, out->s, old, by, -1, out));
    }
    out->form = JF_MARKUP;
    return PGR_OK;
}

/* Every line but the first (unless `first`) behind so many spaces or that text; empty lines stay empty unless
 * `blank`. */
static pgr_status f_indent(jrun *r, const jvalue *v, const jslot *slot, jvalue *out) {
    jstring s, by;
    bool first = false, blank = false;
    buf text = {0}, made = {0};
    PGR_TRY(jv_str(r, v, &s));
    if (slot[1].given) PGR_TRY(jv_true(r, &slot[1].v, &first));
    if (slot[2].given) PGR_TRY(jv_true(r, &slot[2].v, &blank));
    if (slot[0].given && slot[0].v.kind == JV_STRING) {
        by = slot[0].v.s;
    } else {
        if (slot[0].given) PGR_TRY(jinja_want(r, "indent", JV_INT, &slot[0].v));
        int64_t width = slot[0].given ? slot[0].v.i : 4;
        jvalue one = jv_string((jstring){" ", (const uint8_t *)"\1", 1}), times = jv_int(width), spaces;
        PGR_TRY(jv_binary(r, "*", &one, &times, &spaces));
        by = spaces.s;
    }
    if (s.n == 0) s.s = "";
    for (size_t i = 0; i < s.n; i++)
        if ((uint8_t)s.s[i] >= 0x80 || (s.s[i] >= 0x0b && s.s[i] <= 0x1e))
            return jinja_lacks(&r->at, "indent of a text with other line ends or letters beyond ASCII");
    for (size_t at = 0, line = 0;; line++) {
        const char *end = memchr(s.s + at, '\n', s.n - at);
        size_t next = end ? (size_t)(end - s.s) + 1 : s.n, n = next - at - (end != NULL);
        if (line == 0 ? first : n > 0 || blank) js_put(&text, &made, by);
        js_put(&text, &made, js_part(s, at, next));
        if (!end || text.n > r->left) break; /* jv_taken says so */
        at = next;
    }
    out->kind = JV_STRING;
    pgr_status status = jv_taken(r, &text, &made, &out->s);
    buf_free(&text);
    buf_free(&made);
    return status;
}

static pgr_status f_float(jrun *r, const jvalue *v, const jslot *slot, jvalue *out) {
    (void)slot;
    if (v->kind == JV_STRING) return jinja_lacks(&r->at, "float of a string");
    if (v->kind == JV_UNDEFINED) return jinja_want(r, "float", JV_REAL, v);
    bool number = v->kind == JV_BOOL || v->kind == JV_INT || v->kind == JV_REAL;
    double f = v->kind == JV_REAL ? v->f : v->kind == JV_BOOL ? (double)v->b : number ? (double)v->i : 0;
    *out = number || !slot[0].given ? (jvalue){.kind = JV_REAL, .f = f} : slot[0].v;
    return PGR_OK;
}

static pgr_status f_abs(jrun *r, const jvalue *v, const jslot *slot, jvalue *out) {
    const jvalue zero = jv_int(0);
    bool below;
    (void)slot;
    PGR_TRY(jv_compare(r, "<", v, &zero, &below));
    if (v->kind == JV_REAL) *out = (jvalue){.kind = JV_REAL, .f = below ? -v->f : v->f};
    if (v->kind != JV_REAL) return jv_binary(r, below ? "-" : "+", &zero, v, out);
    return PGR_OK;
}

/* Runs of letters, digits and underscores. */
static pgr_status f_wordcount(jrun *r, const jvalue *v, const jslot *slot, jvalue *out) {
    jstring s;
    int64_t n = 0;
    bool inside = false;
    (void)slot;
    PGR_TRY(jv_str(r, v, &s));
    PGR_TRY(jv_spend(r, s.n));
    for (size_t i = 0; i < s.n; i++) {
        if ((uint8_t)s.s[i] >= 0x80) return jinja_lacks(&r->at, "wordcount of letters beyond ASCII");
        char c = s.s[i];
        bool word = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
        n += word && !inside;
        inside = word;
    }
    *out = jv_int(n);
    return PGR_OK;
}

static const struct {
    const char *name, *params;
    size_t required;
    jinja_filter_fn *run; /* NULL: map, which takes any arguments */
} FILTERS[] = {
    {"trim", "chars", 0, f_trim},
    {"length", "", 0, f_length},
    {"count", "", 0, f_length},
    {"upper", "", 0, f_upper},
    {"lower", "", 0, f_lower},
    {"title", "", 0, f_title},
    {"capitalize", "", 0, f_capitalize},
    {"default", "default_value,boolean", 0, f_default},
    {"d", "default_value,boolean", 0, f_default},
    {"join", "d", 0, jinja_f_join},
    {"replace", "old,new,count", 2, f_replace},
    {"first", "", 0, jinja_f_first},
    {"last", "", 0, jinja_f_last},
    {"list", "", 0, jinja_f_list},
    {"reverse", "", 0, jinja_f_reverse},
    {"string", "", 0, f_string},
    {"int", "default", 0, f_int},
    {"tojson", "indent,ensure_ascii", 0, f_tojson},
    {"items", "", 0, jinja_f_items},
    {"map", "", 0, NULL},
    {"select", "test,argument", 0, jinja_f_select},
    {"reject", "test,argument", 0, jinja_f_reject},
    {"sort", "reverse,case_sensitive,attribute", 0, jinja_f_sort},
    {"unique", "case_sensitive,attribute", 0, jinja_f_unique},
    {"dictsort", "case_sensitive,by,reverse", 0, jinja_f_dictsort},
    {"min", "case_sensitive,attribute", 0, jinja_f_min},
    {"max", "case_sensitive,attribute", 0, jinja_f_max},
    {"sum", "attribute,start", 0, jinja_f_sum},
    {"safe", "", 0, f_safe},
    {"escape", "", 0, f_escape},
    {"e", "", 0, f_escape},
    {"indent", "width,first,blank", 0, f_indent},
    {"float", "default", 0, f_float},
    {"abs", "", 0, f_abs},
    {"wordcount", "", 0, f_wordcount},
    {"selectattr", "attribute,test,argument", 1, jinja_f_selectattr},
    {"rejectattr", "attribute,test,argument", 1, jinja_f_rejectattr},
};

int jinja_filter_find(const char *name, size_t n) {
    for (size_t i = 0; i < sizeof FILTERS / sizeof *FILTERS; i++)
        if (js_is((jstring){name, NULL, n}, FILTERS[i].name)) return (int)i;
    return -1;
}

pgr_status jinja_filter(jrun *r, int number, const jvalue *v, jarguments args, jvalue *out) {
    jslot slot[JINJA_MAX_SLOT];
    const char *name = FILTERS[number].name;
    if (!FILTERS[number].run) return jinja_map(r, v, args, out);
    if (strcmp(name, "tojson") == 0 && args.n && args.v[0].n_name == 0)
        return jinja_lacks(&r->at, "tojson with an argument without a name");
    PGR_TRY(jinja_bind(r, name, FILTERS[number].params, FILTERS[number].required, args, slot));
    PGR_TRY(FILTERS[number].run(r, v, slot, out));
    bool plain = strcmp(name, "join") == 0 || strcmp(name, "replace") == 0 || strcmp(name, "tojson") == 0;
    if (jv_is_markup(v) && out->kind == JV_STRING && !plain) out->form = JF_MARKUP;
    return PGR_OK;
}
