/* jinja_list.c - owns the filters of lists and dictionaries: choosing, mapping, ordering. */
#include <string.h>

#include "text/jinja_text.h"

pgr_status jinja_f_join(jrun *r, const jvalue *v, const jslot *slot, jvalue *out) {
    const jvalue *list;
    size_t n;
    jstring between = {"", NULL, 0};
    if (slot[0].given) PGR_TRY(jv_str(r, &slot[0].v, &between));
    PGR_TRY(jv_elements(r, v, &list, &n));
    return jinja_join(r, list, n, between, out);
}

pgr_status jinja_f_first(jrun *r, const jvalue *v, const jslot *slot, jvalue *out) {
    const jvalue *list;
    size_t n;
    (void)slot;
    PGR_TRY(jv_elements(r, v, &list, &n));
    *out = n ? list[0] : jv_undefined("the first of nothing", 20);
    return PGR_OK;
}

pgr_status jinja_f_last(jrun *r, const jvalue *v, const jslot *slot, jvalue *out) {
    const jvalue *list;
    size_t n;
    (void)slot;
    if (v->kind == JV_LIST && v->form == JF_ONCE) return jinja_wrong(&r->at, "last: a generator cannot be reversed");
    PGR_TRY(jv_elements(r, v, &list, &n));
    *out = n ? list[n - 1] : jv_undefined("the last of nothing", 19);
    return PGR_OK;
}

pgr_status jinja_f_list(jrun *r, const jvalue *v, const jslot *slot, jvalue *out) {
    const jvalue *list;
    size_t n;
    (void)slot;
    PGR_TRY(jv_elements(r, v, &list, &n));
    *out = jv_list(list, n, JF_LIST);
    return PGR_OK;
}

pgr_status jinja_f_reverse(jrun *r, const jvalue *v, const jslot *slot, jvalue *out) {
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

pgr_status jinja_f_items(jrun *r, const jvalue *v, const jslot *slot, jvalue *out) {
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

/* map(attribute='name', default=...) or map('filter', arguments...) */
pgr_status jinja_map(jrun *r, const jvalue *v, jarguments args, jvalue *out) {
    const jvalue *list;
    jvalue *to;
    jslot slot[2];
    size_t n;
    bool by_filter = args.n > 0 && args.v[0].n_name == 0;
    int filter = -1;
    if (by_filter) {
        PGR_TRY(jinja_want(r, "the name of a filter", JV_STRING, &args.v[0].value));
        const jstring name = args.v[0].value.s;
        filter = jinja_filter_find(name.s, name.n);
        if (filter < 0) return jinja_lacks(&r->at, "the filter %.*s", (int)(name.n < 60 ? name.n : 60), name.s);
    } else {
        PGR_TRY(jinja_bind(r, "map", "attribute,default", 1, args, slot));
    }
    PGR_TRY(jv_elements(r, v, &list, &n));
    PGR_TRY(jv_alloc(r, n, sizeof *to, &to));
    for (size_t i = 0; i < n; i++) {
        PGR_TRY(jv_spend(r, 16));
        if (by_filter) {
            PGR_TRY(jinja_filter(r, filter, &list[i], (jarguments){args.v + 1, args.n - 1}, &to[i]));
        } else {
            PGR_TRY(attribute_of(r, &list[i], &slot[0].v, &to[i]));
            if (slot[1].given && to[i].kind == JV_UNDEFINED) to[i] = slot[1].v;
        }
    }
    *out = jv_list(to, n, JF_ONCE);
    return PGR_OK;
}

/* by: 0 the element itself, 1 its attribute (slot 0); then the test's name and its argument. */
static pgr_status select_by(jrun *r, const jvalue *v, const jslot *slot, size_t by, bool want, jvalue *out) {
    const jvalue *list;
    const jslot *name = &slot[by], *other = &slot[by + 1];
    jvalue *to;
    size_t n, kept = 0;
    int test = -1;
    PGR_TRY(jv_elements(r, v, &list, &n));
    PGR_TRY(jv_alloc(r, n, sizeof *to, &to));
    if (name->given) {
        PGR_TRY(jinja_want(r, "the name of a test", JV_STRING, &name->v));
        test = jinja_test_find(name->v.s.s, name->v.s.n);
        if (test < 0)
            return jinja_lacks(&r->at, "the test %.*s", (int)(name->v.s.n < 60 ? name->v.s.n : 60), name->v.s.s);
    }
    for (size_t i = 0; i < n; i++) {
        jvalue got = list[i];
        bool is;
        jargument argument = {"", 0, other->v};
        if (by) PGR_TRY(attribute_of(r, &list[i], &slot[0].v, &got));
        PGR_TRY(jv_spend(r, 8));
        PGR_TRY(test < 0 ? jv_true(r, &got, &is)
                         : jinja_test(r, test, &got, (jarguments){&argument, other->given}, &is));
        if (is == want) to[kept++] = list[i];
    }
    *out = jv_list(to, kept, JF_ONCE);
    return PGR_OK;
}
pgr_status jinja_f_select(jrun *r, const jvalue *v, const jslot *slot, jvalue *out) {
    return select_by(r, v, slot, 0, true, out);
}
pgr_status jinja_f_reject(jrun *r, const jvalue *v, const jslot *slot, jvalue *out) {
    return select_by(r, v, slot, 0, false, out);
}
pgr_status jinja_f_selectattr(jrun *r, const jvalue *v, const jslot *slot, jvalue *out) {
    return select_by(r, v, slot, 1, true, out);
}
pgr_status jinja_f_rejectattr(jrun *r, const jvalue *v, const jslot *slot, jvalue *out) {
    return select_by(r, v, slot, 1, false, out);
}

/* ---- in order ---- */

typedef struct keyed {
    jvalue key, value;
} keyed;

/* The element or its attribute, in lower case unless that matters. */
static pgr_status key_of(jrun *r, const jvalue *v, const jslot *attribute, const jslot *sensitive, jvalue *out) {
    bool exact = false;
    *out = *v;
    if (attribute->given && attribute->v.kind != JV_NONE) PGR_TRY(attribute_of(r, v, &attribute->v, out));
    if (sensitive->given) PGR_TRY(jv_true(r, &sensitive->v, &exact));
    return out->kind == JV_STRING && !exact ? jinja_case(r, JC_LOWER, out->s, out) : PGR_OK;
}

static pgr_status keys_of(jrun *r, const jvalue *v, const jslot *attribute, const jslot *sensitive, keyed **out,
                          size_t *n) {
    const jvalue *list;
    PGR_TRY(jv_elements(r, v, &list, n));
    PGR_TRY(jv_alloc(r, *n, sizeof **out, out));
    for (size_t i = 0; i < *n; i++) {
        (*out)[i].value = list[i];
        PGR_TRY(key_of(r, &list[i], attribute, sensitive, &(*out)[i].key));
    }
    return PGR_OK;
}

static pgr_status key_below(jrun *r, const jvalue *a, const jvalue *b, bool *out) {
    PGR_TRY(jv_spend(r, 16));
    if (a->kind == JV_LIST && b->kind == JV_LIST) return jinja_lacks(&r->at, "an order of lists");
    return jv_compare(r, "<", a, b, out);
}

/* Stable, merging runs from the bottom up. reverse: equal ones keep their order, as in Python. */
static pgr_status sort_keyed(jrun *r, keyed *v, size_t n, bool reverse) {
    keyed *to;
    PGR_TRY(jv_alloc(r, n, sizeof *to, &to));
    for (size_t width = 1; width < n; width *= 2) {
        for (size_t lo = 0; lo < n; lo += 2 * width) {
            size_t mid = lo + width < n ? lo + width : n, hi = lo + 2 * width < n ? lo + 2 * width : n;
            for (size_t i = lo, j = mid, k = lo; k < hi; k++) {
                bool second = i >= mid;
                if (i < mid && j < hi)
                    PGR_TRY(key_below(r, reverse ? &v[i].key : &v[j].key, reverse ? &v[j].key : &v[i].key, &second));
                to[k] = second ? v[j++] : v[i++];
            }
        }
        memcpy(v, to, n * sizeof *v);
    }
    return PGR_OK;
}

static pgr_status values_of(jrun *r, const keyed *v, size_t n, jform form, jvalue *out) {
    jvalue *list;
    PGR_TRY(jv_alloc(r, n, sizeof *list, &list));
    for (size_t i = 0; i < n; i++) list[i] = v[i].value;
    *out = jv_list(list, n, form);
    return PGR_OK;
}

/* slots: reverse, case_sensitive, attribute */
pgr_status jinja_f_sort(jrun *r, const jvalue *v, const jslot *slot, jvalue *out) {
    keyed *list;
    size_t n;
    bool reverse = false;
    if (slot[0].given) PGR_TRY(jv_true(r, &slot[0].v, &reverse));
    PGR_TRY(keys_of(r, v, &slot[2], &slot[1], &list, &n));
    PGR_TRY(sort_keyed(r, list, n, reverse));
    return values_of(r, list, n, JF_LIST, out);
}

/* slots: case_sensitive, attribute. The first of those with equal keys. */
pgr_status jinja_f_unique(jrun *r, const jvalue *v, const jslot *slot, jvalue *out) {
    keyed *list;
    size_t n, kept = 0;
    PGR_TRY(keys_of(r, v, &slot[1], &slot[0], &list, &n));
    for (size_t i = 0; i < n; i++) {
        bool seen = false;
        for (size_t k = 0; k < kept && !seen; k++) PGR_TRY(jv_equal(r, &list[i].key, &list[k].key, &seen));
        if (!seen) list[kept++] = list[i];
    }
    return values_of(r, list, kept, JF_ONCE, out);
}

/* slots: case_sensitive, by, reverse */
pgr_status jinja_f_dictsort(jrun *r, const jvalue *v, const jslot *slot, jvalue *out) {
    const jslot none = {.given = false};
    keyed *list;
    jvalue items;
    bool reverse = false, by_value = slot[1].given && jv_is(&slot[1].v, "value");
    PGR_TRY(jinja_want(r, "dictsort", JV_DICT, v));
    if (slot[1].given && !by_value && !jv_is(&slot[1].v, "key"))
        return jinja_wrong(&r->at, "dictsort by anything but 'key' or 'value'");
    if (slot[2].given) PGR_TRY(jv_true(r, &slot[2].v, &reverse));
    PGR_TRY(jinja_method(r, v, "items", 5, (jarguments){NULL, 0}, &items));
    PGR_TRY(jv_alloc(r, v->dict.n, sizeof *list, &list));
    for (size_t i = 0; i < v->dict.n; i++) {
        list[i].value = items.list.v[i];
        PGR_TRY(key_of(r, &items.list.v[i].list.v[by_value], &none, &slot[0], &list[i].key));
    }
    PGR_TRY(sort_keyed(r, list, v->dict.n, reverse));
    return values_of(r, list, v->dict.n, JF_LIST, out);
}

/* slots: case_sensitive, attribute */
static pgr_status extreme(jrun *r, const jvalue *v, const jslot *slot, bool largest, jvalue *out) {
    keyed *list;
    size_t n, best = 0;
    PGR_TRY(keys_of(r, v, &slot[1], &slot[0], &list, &n));
    for (size_t i = 1; i < n; i++) {
        bool better;
        PGR_TRY(
            key_below(r, largest ? &list[best].key : &list[i].key, largest ? &list[i].key : &list[best].key, &better));
        if (better) best = i;
    }
    *out = n ? list[best].value : jv_undefined("the largest or smallest of nothing", 34);
    return PGR_OK;
}
pgr_status jinja_f_min(jrun *r, const jvalue *v, const jslot *slot, jvalue *out) {
    return extreme(r, v, slot, false, out);
}
pgr_status jinja_f_max(jrun *r, const jvalue *v, const jslot *slot, jvalue *out) {
    return extreme(r, v, slot, true, out);
}

/* slots: attribute, start */
pgr_status jinja_f_sum(jrun *r, const jvalue *v, const jslot *slot, jvalue *out) {
    const jvalue *list;
    size_t n;
    *out = slot[1].given ? slot[1].v : jv_int(0);
    PGR_TRY(jv_elements(r, v, &list, &n));
    for (size_t i = 0; i < n; i++) {
        jvalue term = list[i], sum = *out;
        if (slot[0].given && slot[0].v.kind != JV_NONE) PGR_TRY(attribute_of(r, &list[i], &slot[0].v, &term));
        PGR_TRY(jv_binary(r, "+", &sum, &term, out));
    }
    return PGR_OK;
}
