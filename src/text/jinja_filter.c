/* jinja_filter.c - owns the filters. */
#include <stdlib.h>
#include <string.h>

#include "text/jinja_text.h"

typedef pgr_status filter(jrun *r, const jvalue *v, const jslot *slot, jvalue *out);

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

static pgr_status f_join(jrun *r, const jvalue *v, const jslot *slot, jvalue *out) {
    const jvalue *list;
    size_t n;
    jstring between = {"", NULL, 0};
    if (slot[0].given) PGR_TRY(jv_str(r, &slot[0].v, &between));
    PGR_TRY(jv_elements(r, v, &list, &n));
    return jinja_join(r, list, n, between, out);
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

static pgr_status f_first(jrun *r, const jvalue *v, const jslot *slot, jvalue *out) {
    const jvalue *list;
    size_t n;
    (void)slot;
    PGR_TRY(jv_elements(r, v, &list, &n));
    *out = n ? list[0] : jv_undefined("the first of nothing", 20);
    return PGR_OK;
}

static pgr_status f_last(jrun *r, const jvalue *v, const jslot *slot, jvalue *out) {
    const jvalue *list;
    size_t n;
    (void)slot;
    if (v->kind == JV_LIST && v->form == JF_ONCE) return jinja_wrong(&r->at, "last: a generator cannot be reversed");
    PGR_TRY(jv_elements(r, v, &list, &n));
    *out = n ? list[n - 1] : jv_undefined("the last of nothing", 19);
    return PGR_OK;
}

static pgr_status f_list(jrun *r, const jvalue *v, const jslot *slot, jvalue *out) {
    const jvalue *list;
    size_t n;
    (void)slot;
    PGR_TRY(jv_elements(r, v, &list, &n));
    *out = jv_list(list, n, JF_LIST);
    return PGR_OK;
}

static pgr_status f_reverse(jrun *r, const jvalue *v, const jslot *slot, jvalue *out) {
    const jvalue *list;
    jvalue *back;
    size_t n;
    (void)slot;
    if (v->kind == JV_LIST && v->form == JF_ONCE) return jinja_lacks(&r->at, "reverse of a generator");
    PGR_TRY(jv_elements(r, v, &list, &n));
    PGR_TRY(jv_alloc(r, n, sizeof *back, &back));
    for (size_t i = 0; i < n; i++) back[i] = list[n - 1 - i];
    if (v->kind == JV_STRING) return jinja_join(r, back, n, (jstring){"", NULL, 0}, out);
    *out = jv_list(back, n, JF_ONCE);
    return PGR_OK;
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

static pgr_status f_items(jrun *r, const jvalue *v, const jslot *slot, jvalue *out) {
    (void)slot;
    if (v->kind == JV_UNDEFINED) {
        *out = jv_list(NULL, 0, JF_ONCE);
        return PGR_OK;
    }
    PGR_TRY(jinja_want(r, "items", JV_DICT, v));
    PGR_TRY(jinja_method(r, v, "items", 5, (jarguments){NULL, 0}, out));
    out->form = JF_ONCE;
    return PGR_OK;
}

/* The attribute of every element; one name, no path with points. */
static pgr_status attribute_of(jrun *r, const jvalue *v, const jvalue *name, jvalue *out) {
    PGR_TRY(jinja_want(r, "the name of an attribute", JV_STRING, name));
    if (memchr(name->s.s, '.', name->s.n)) return jinja_lacks(&r->at, "an attribute with points in its name");
    return jinja_attribute(r, v, name->s.s, name->s.n, true, out);
}

static pgr_status f_map(jrun *r, const jvalue *v, const jslot *slot, jvalue *out) {
    const jvalue *list;
    jvalue *to;
    size_t n;
    PGR_TRY(jv_elements(r, v, &list, &n));
    PGR_TRY(jv_alloc(r, n, sizeof *to, &to));
    for (size_t i = 0; i < n; i++) PGR_TRY(attribute_of(r, &list[i], &slot[0].v, &to[i]));
    *out = jv_list(to, n, JF_ONCE);
    return PGR_OK;
}

/* slots: attribute, test, its argument */
static pgr_status select_by(jrun *r, const jvalue *v, const jslot *slot, bool want, jvalue *out) {
    const jvalue *list;
    jvalue *to;
    size_t n, kept = 0;
    int test = -1;
    PGR_TRY(jv_elements(r, v, &list, &n));
    PGR_TRY(jv_alloc(r, n, sizeof *to, &to));
    if (slot[1].given) {
        PGR_TRY(jinja_want(r, "the name of a test", JV_STRING, &slot[1].v));
        test = jinja_test_find(slot[1].v.s.s, slot[1].v.s.n);
        if (test < 0)
            return jinja_lacks(&r->at, "the test %.*s", (int)(slot[1].v.s.n < 60 ? slot[1].v.s.n : 60), slot[1].v.s.s);
    }
    for (size_t i = 0; i < n; i++) {
        jvalue got;
        bool is;
        jargument other = {"", 0, slot[2].v};
        PGR_TRY(attribute_of(r, &list[i], &slot[0].v, &got));
        PGR_TRY(test < 0 ? jv_true(r, &got, &is) : jinja_test(r, test, &got, (jarguments){&other, slot[2].given}, &is));
        if (is == want) to[kept++] = list[i];
    }
    *out = jv_list(to, kept, JF_ONCE);
    return PGR_OK;
}
static pgr_status f_selectattr(jrun *r, const jvalue *v, const jslot *slot, jvalue *out) {
    return select_by(r, v, slot, true, out);
}
static pgr_status f_rejectattr(jrun *r, const jvalue *v, const jslot *slot, jvalue *out) {
    return select_by(r, v, slot, false, out);
}

static const struct {
    const char *name, *params;
    size_t required;
    filter *run;
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
    {"join", "d", 0, f_join},
    {"replace", "old,new,count", 2, f_replace},
    {"first", "", 0, f_first},
    {"last", "", 0, f_last},
    {"list", "", 0, f_list},
    {"reverse", "", 0, f_reverse},
    {"string", "", 0, f_string},
    {"int", "default", 0, f_int},
    {"tojson", "indent,ensure_ascii", 0, f_tojson},
    {"items", "", 0, f_items},
    {"map", "attribute", 1, f_map},
    {"selectattr", "attribute,test,argument", 1, f_selectattr},
    {"rejectattr", "attribute,test,argument", 1, f_rejectattr},
};

int jinja_filter_find(const char *name, size_t n) {
    for (size_t i = 0; i < sizeof FILTERS / sizeof *FILTERS; i++)
        if (js_is((jstring){name, NULL, n}, FILTERS[i].name)) return (int)i;
    return -1;
}

pgr_status jinja_filter(jrun *r, int number, const jvalue *v, jarguments args, jvalue *out) {
    jslot slot[JINJA_MAX_SLOT];
    const char *name = FILTERS[number].name;
    if (strcmp(name, "map") == 0 && args.n && args.v[0].n_name == 0)
        return jinja_lacks(&r->at, "map with a filter (map(attribute='name') is)");
    if (strcmp(name, "tojson") == 0 && args.n && args.v[0].n_name == 0)
        return jinja_lacks(&r->at, "tojson with an argument without a name");
    PGR_TRY(jinja_bind(r, name, FILTERS[number].params, FILTERS[number].required, args, slot));
    return FILTERS[number].run(r, v, slot, out);
}
