/* jinja_method.c - owns the methods of strings and dictionaries. */
#include <stdlib.h>
#include <string.h>

#include "text/jinja_text.h"

typedef pgr_status method(jrun *r, jstring s, const jslot *slot, jvalue *out);

static pgr_status strip_side(jrun *r, jstring s, const jslot *slot, bool left, bool right, jvalue *out) {
    bool white = !slot[0].given || slot[0].v.kind == JV_NONE;
    if (!white) PGR_TRY(jinja_want(r, "strip", JV_STRING, &slot[0].v));
    PGR_TRY(jv_spend(r, s.n * (white ? 1 : 1 + slot[0].v.s.n)));
    *out = jv_string(js_strip(s, white ? NULL : &slot[0].v.s, left, right));
    return PGR_OK;
}
static pgr_status m_strip(jrun *r, jstring s, const jslot *slot, jvalue *out) {
    return strip_side(r, s, slot, true, true, out);
}
static pgr_status m_lstrip(jrun *r, jstring s, const jslot *slot, jvalue *out) {
    return strip_side(r, s, slot, true, false, out);
}
static pgr_status m_rstrip(jrun *r, jstring s, const jslot *slot, jvalue *out) {
    return strip_side(r, s, slot, false, true, out);
}

/* what: a string, or a tuple of which one is enough */
static pgr_status stands_at_end(jrun *r, jstring s, const jvalue *what, bool begin, jvalue *out) {
    size_t n = what->kind == JV_LIST ? what->list.n : 1;
    *out = jv_bool(false);
    for (size_t i = 0; i < n; i++) {
        const jvalue *v = what->kind == JV_LIST ? &what->list.v[i] : what;
        PGR_TRY(jinja_want(r, begin ? "startswith" : "endswith", JV_STRING, v));
        PGR_TRY(jv_spend(r, v->s.n));
        if (v->s.n > s.n) continue;
        out->b |= memcmp(begin ? s.s : s.s + s.n - v->s.n, v->s.s, v->s.n) == 0;
    }
    return PGR_OK;
}
static pgr_status m_startswith(jrun *r, jstring s, const jslot *slot, jvalue *out) {
    return stands_at_end(r, s, &slot[0].v, true, out);
}
static pgr_status m_endswith(jrun *r, jstring s, const jslot *slot, jvalue *out) {
    return stands_at_end(r, s, &slot[0].v, false, out);
}

static pgr_status remove_end(jrun *r, jstring s, const jslot *slot, bool begin, jvalue *out) {
    PGR_TRY(jinja_want(r, "removeprefix or removesuffix", JV_STRING, &slot[0].v));
    PGR_TRY(stands_at_end(r, s, &slot[0].v, begin, out));
    size_t n = out->b ? slot[0].v.s.n : 0;
    *out = jv_string(js_part(s, begin ? n : 0, begin ? s.n : s.n - n));
    return PGR_OK;
}
static pgr_status m_removeprefix(jrun *r, jstring s, const jslot *slot, jvalue *out) {
    return remove_end(r, s, slot, true, out);
}
static pgr_status m_removesuffix(jrun *r, jstring s, const jslot *slot, jvalue *out) {
    return remove_end(r, s, slot, false, out);
}

/* By runs of white space; what stands at both ends gives no part. most -1: no limit */
static size_t split_white(jstring s, int64_t most, jvalue *v) {
    size_t n = 0;
    for (s = js_strip(s, NULL, true, false); s.n; s = js_strip(s, NULL, true, false)) {
        size_t end = 0;
        while (end < s.n && (most == 0 || !jinja_space_at(s.s + end, s.n - end))) end += js_char(s, end);
        if (v) v[n] = jv_string(js_part(s, 0, end));
        n++;
        s = js_part(s, end, s.n);
        if (most > 0) most--;
    }
    return n;
}

static size_t split_by(jstring s, jstring by, int64_t most, jvalue *v) {
    size_t n = 0, at = 0;
    for (size_t p; most != 0 && (p = js_find(s, at, by)) != SIZE_MAX; at = p + by.n) {
        if (v) v[n] = jv_string(js_part(s, at, p));
        n++;
        if (most > 0) most--;
    }
    if (v) v[n] = jv_string(js_part(s, at, s.n));
    return n + 1;
}

static pgr_status m_split(jrun *r, jstring s, const jslot *slot, jvalue *out) {
    bool white = !slot[0].given || slot[0].v.kind == JV_NONE;
    int64_t most = -1;
    jvalue *v;
    if (slot[1].given) {
        PGR_TRY(jinja_want(r, "split", JV_INT, &slot[1].v));
        most = slot[1].v.i < 0 ? -1 : slot[1].v.i;
    }
    if (!white) PGR_TRY(jinja_want(r, "split", JV_STRING, &slot[0].v));
    if (!white && slot[0].v.s.n == 0) return jinja_wrong(&r->at, "split by an empty string");
    PGR_TRY(jv_spend(r, 2 * s.n));
    size_t n = white ? split_white(s, most, NULL) : split_by(s, slot[0].v.s, most, NULL);
    PGR_TRY(jv_alloc(r, n, sizeof *v, &v));
    if (white)
        split_white(s, most, v);
    else
        split_by(s, slot[0].v.s, most, v);
    *out = jv_list(v, n, JF_LIST);
    return PGR_OK;
}

static pgr_status m_replace(jrun *r, jstring s, const jslot *slot, jvalue *out) {
    PGR_TRY(jinja_want(r, "replace", JV_STRING, &slot[0].v));
    PGR_TRY(jinja_want(r, "replace", JV_STRING, &slot[1].v));
    if (slot[2].given) PGR_TRY(jinja_want(r, "replace", JV_INT, &slot[2].v));
    return jinja_replace(r, s, slot[0].v.s, slot[1].v.s, slot[2].given ? slot[2].v.i : -1, out);
}

static pgr_status find_side(jrun *r, jstring s, const jslot *slot, bool last, jvalue *out) {
    PGR_TRY(jinja_want(r, "find", JV_STRING, &slot[0].v));
    PGR_TRY(jv_spend(r, 2 * s.n));
    size_t found = SIZE_MAX;
    for (size_t from = 0, p; from <= s.n && (p = js_find(s, from, slot[0].v.s)) != SIZE_MAX; from = p + 1) {
        found = p;
        if (!last) break;
    }
    *out = jv_int(found == SIZE_MAX ? -1 : (int64_t)js_length(js_part(s, 0, found)));
    return PGR_OK;
}
static pgr_status m_find(jrun *r, jstring s, const jslot *slot, jvalue *out) {
    return find_side(r, s, slot, false, out);
}
static pgr_status m_rfind(jrun *r, jstring s, const jslot *slot, jvalue *out) {
    return find_side(r, s, slot, true, out);
}

static pgr_status m_upper(jrun *r, jstring s, const jslot *slot, jvalue *out) {
    (void)slot;
    return jinja_case(r, JC_UPPER, s, out);
}
static pgr_status m_lower(jrun *r, jstring s, const jslot *slot, jvalue *out) {
    (void)slot;
    return jinja_case(r, JC_LOWER, s, out);
}
static pgr_status m_title(jrun *r, jstring s, const jslot *slot, jvalue *out) {
    (void)slot;
    return jinja_case(r, JC_TITLE_METHOD, s, out);
}
static pgr_status m_capitalize(jrun *r, jstring s, const jslot *slot, jvalue *out) {
    (void)slot;
    return jinja_case(r, JC_CAPITALIZE, s, out);
}

static pgr_status m_join(jrun *r, jstring s, const jslot *slot, jvalue *out) {
    const jvalue *list;
    size_t n;
    PGR_TRY(jv_elements(r, &slot[0].v, &list, &n));
    for (size_t i = 0; i < n; i++) PGR_TRY(jinja_want(r, "join", JV_STRING, &list[i]));
    return jinja_join(r, list, n, s, out);
}

static pgr_status m_count(jrun *r, jstring s, const jslot *slot, jvalue *out) {
    int64_t n = 0;
    PGR_TRY(jinja_want(r, "count", JV_STRING, &slot[0].v));
    PGR_TRY(jv_spend(r, 2 * s.n));
    if (slot[0].v.s.n == 0) return jinja_lacks(&r->at, "count of an empty string");
    for (size_t at = 0, p; (p = js_find(s, at, slot[0].v.s)) != SIZE_MAX; at = p + slot[0].v.s.n) n++;
    *out = jv_int(n);
    return PGR_OK;
}

static pgr_status index_side(jrun *r, jstring s, const jslot *slot, bool last, jvalue *out) {
    PGR_TRY(find_side(r, s, slot, last, out));
    return out->i >= 0 ? PGR_OK : jinja_wrong(&r->at, "index: the text is not there");
}
static pgr_status m_index(jrun *r, jstring s, const jslot *slot, jvalue *out) {
    return index_side(r, s, slot, false, out);
}
static pgr_status m_rindex(jrun *r, jstring s, const jslot *slot, jvalue *out) {
    return index_side(r, s, slot, true, out);
}

/* ---- kinds of characters: ASCII alone ---- */

typedef bool kind_fn(char c);
static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}
static bool is_letter(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}
static bool is_either(char c) {
    return is_digit(c) || is_letter(c);
}
static bool is_white(char c) {
    return jinja_is_space((uint8_t)c);
}

static pgr_status all_of(jrun *r, jstring s, kind_fn *is, jvalue *out) {
    *out = jv_bool(s.n > 0);
    PGR_TRY(jv_spend(r, s.n));
    for (size_t i = 0; i < s.n; i++) {
        if ((uint8_t)s.s[i] >= 0x80) return jinja_lacks(&r->at, "the kind of characters beyond ASCII");
        out->b &= is(s.s[i]);
    }
    return PGR_OK;
}
static pgr_status m_isdigit(jrun *r, jstring s, const jslot *slot, jvalue *out) {
    (void)slot;
    return all_of(r, s, is_digit, out);
}
static pgr_status m_isalpha(jrun *r, jstring s, const jslot *slot, jvalue *out) {
    (void)slot;
    return all_of(r, s, is_letter, out);
}
static pgr_status m_isalnum(jrun *r, jstring s, const jslot *slot, jvalue *out) {
    (void)slot;
    return all_of(r, s, is_either, out);
}
static pgr_status m_isspace(jrun *r, jstring s, const jslot *slot, jvalue *out) {
    (void)slot;
    return all_of(r, s, is_white, out);
}
static pgr_status cased(jrun *r, jstring s, const char *test, jvalue *out) {
    const jvalue v = jv_string(s);
    out->kind = JV_BOOL;
    return jinja_test(r, jinja_test_find(test, 5), &v, (jarguments){NULL, 0}, &out->b);
}
static pgr_status m_isupper(jrun *r, jstring s, const jslot *slot, jvalue *out) {
    (void)slot;
    return cased(r, s, "upper", out);
}
static pgr_status m_islower(jrun *r, jstring s, const jslot *slot, jvalue *out) {
    (void)slot;
    return cased(r, s, "lower", out);
}

/* ---- lines, parts, widths ---- */

/* By \n, \r and \r\n; other line ends of Python's are refused. */
static pgr_status m_splitlines(jrun *r, jstring s, const jslot *slot, jvalue *out) {
    jvalue *v;
    size_t n = 0, at = 0;
    bool keep = false;
    if (slot[0].given) PGR_TRY(jv_true(r, &slot[0].v, &keep));
    PGR_TRY(jv_alloc(r, s.n, sizeof *v, &v));
    for (size_t i = 0; i < s.n; i++) {
        uint8_t c = (uint8_t)s.s[i];
        if ((c >= 0x0b && c <= 0x0c) || (c >= 0x1c && c <= 0x1e) || c == 0xc2 || c == 0xe2)
            return jinja_lacks(&r->at, "splitlines of a text that may have other line ends");
        if (c != '\n' && c != '\r') continue;
        size_t end = i + 1 + (c == '\r' && i + 1 < s.n && s.s[i + 1] == '\n');
        v[n++] = jv_string(js_part(s, at, keep ? end : i));
        at = end;
        i = end - 1;
    }
    if (at < s.n) v[n++] = jv_string(js_part(s, at, s.n));
    *out = jv_list(v, n, JF_LIST);
    return PGR_OK;
}

static pgr_status parted(jrun *r, jstring s, const jslot *slot, bool last, jvalue *out) {
    jvalue *v;
    size_t found = SIZE_MAX;
    PGR_TRY(jinja_want(r, "partition", JV_STRING, &slot[0].v));
    const jstring by = slot[0].v.s;
    if (by.n == 0) return jinja_wrong(&r->at, "partition by an empty string");
    PGR_TRY(jv_spend(r, 2 * s.n));
    PGR_TRY(jv_alloc(r, 3, sizeof *v, &v));
    for (size_t from = 0, p; from <= s.n && (p = js_find(s, from, by)) != SIZE_MAX; from = p + 1) {
        found = p;
        if (!last) break;
    }
    bool none = found == SIZE_MAX;
    size_t cut = none ? (last ? 0 : s.n) : found, rest = none ? cut : found + by.n;
    v[0] = jv_string(js_part(s, 0, cut));
    v[1] = jv_string(js_part(s, cut, rest));
    v[2] = jv_string(js_part(s, rest, s.n));
    *out = jv_list(v, 3, JF_TUPLE);
    return PGR_OK;
}
static pgr_status m_partition(jrun *r, jstring s, const jslot *slot, jvalue *out) {
    return parted(r, s, slot, false, out);
}
static pgr_status m_rpartition(jrun *r, jstring s, const jslot *slot, jvalue *out) {
    return parted(r, s, slot, true, out);
}

/* Spaces, or another character, up to a width, on one side. */
static pgr_status justified(jrun *r, jstring s, const jslot *slot, bool left, jvalue *out) {
    PGR_TRY(jinja_want(r, "ljust or rjust", JV_INT, &slot[0].v));
    jvalue fill = jv_string((jstring){" ", (const uint8_t *)"\1", 1}), own = jv_string(s), pad;
    if (slot[1].given) fill = slot[1].v;
    if (fill.kind != JV_STRING || js_length(fill.s) != 1) return jinja_wrong(&r->at, "ljust or rjust by one character");
    PGR_TRY(jv_spend(r, s.n));
    const jvalue times = jv_int(slot[0].v.i - (int64_t)js_length(s));
    PGR_TRY(jv_binary(r, "*", &fill, &times, &pad));
    return left ? jv_binary(r, "+", &own, &pad, out) : jv_binary(r, "+", &pad, &own, out);
}
static pgr_status m_ljust(jrun *r, jstring s, const jslot *slot, jvalue *out) {
    return justified(r, s, slot, true, out);
}
static pgr_status m_rjust(jrun *r, jstring s, const jslot *slot, jvalue *out) {
    return justified(r, s, slot, false, out);
}

static const struct {
    const char *name, *params;
    size_t required;
    method *run;
} METHODS[] = {
    {"strip", "chars", 0, m_strip},
    {"lstrip", "chars", 0, m_lstrip},
    {"rstrip", "chars", 0, m_rstrip},
    {"startswith", "prefix", 1, m_startswith},
    {"endswith", "suffix", 1, m_endswith},
    {"removeprefix", "prefix", 1, m_removeprefix},
    {"removesuffix", "suffix", 1, m_removesuffix},
    {"split", "sep,maxsplit", 0, m_split},
    {"replace", "old,new,count", 2, m_replace},
    {"find", "sub", 1, m_find},
    {"rfind", "sub", 1, m_rfind},
    {"upper", "", 0, m_upper},
    {"lower", "", 0, m_lower},
    {"title", "", 0, m_title},
    {"capitalize", "", 0, m_capitalize},
    {"join", "iterable", 1, m_join},
    {"count", "sub", 1, m_count},
    {"index", "sub", 1, m_index},
    {"rindex", "sub", 1, m_rindex},
    {"isdigit", "", 0, m_isdigit},
    {"isdecimal", "", 0, m_isdigit},
    {"isnumeric", "", 0, m_isdigit},
    {"isalpha", "", 0, m_isalpha},
    {"isalnum", "", 0, m_isalnum},
    {"isspace", "", 0, m_isspace},
    {"isupper", "", 0, m_isupper},
    {"islower", "", 0, m_islower},
    {"splitlines", "keepends", 0, m_splitlines},
    {"partition", "sep", 1, m_partition},
    {"rpartition", "sep", 1, m_rpartition},
    {"ljust", "width,fillchar", 1, m_ljust},
    {"rjust", "width,fillchar", 1, m_rjust},
};

/* What a dictionary's items are: (key, value). */
static pgr_status items(jrun *r, const jvalue *d, jvalue *out) {
    jvalue *list, *both;
    PGR_TRY(jv_alloc(r, d->dict.n, sizeof *list, &list));
    PGR_TRY(jv_alloc(r, 2 * d->dict.n, sizeof *both, &both));
    for (size_t i = 0; i < d->dict.n; i++) {
        both[2 * i] = jv_string(d->dict.v[i].key);
        both[2 * i + 1] = d->dict.v[i].value;
        list[i] = jv_list(both + 2 * i, 2, JF_TUPLE);
    }
    *out = jv_list(list, d->dict.n, JF_TUPLE);
    return PGR_OK;
}

static pgr_status dict_method(jrun *r, const jvalue *d, jstring name, jarguments args, jvalue *out) {
    jslot slot[2];
    const jvalue *list;
    size_t n;
    if (js_is(name, "get")) {
        PGR_TRY(jinja_bind(r, "get", "key,default", 1, args, slot));
        const jvalue *found = slot[0].v.kind == JV_STRING ? jv_find(d, slot[0].v.s.s, slot[0].v.s.n) : NULL;
        *out = found ? *found : slot[1].given ? slot[1].v : jv_none();
        return jv_spend(r, d->dict.n);
    }
    if (!js_is(name, "items") && !js_is(name, "keys") && !js_is(name, "values"))
        return jinja_lacks(&r->at, "the method %.*s of a dictionary", (int)(name.n < 60 ? name.n : 60), name.s);
    PGR_TRY(jinja_bind(r, "items, keys and values", "", 0, args, slot));
    if (js_is(name, "items")) return items(r, d, out);
    if (js_is(name, "keys")) {
        PGR_TRY(jv_elements(r, d, &list, &n));
        *out = jv_list(list, n, JF_TUPLE);
        return PGR_OK;
    }
    jvalue *v;
    PGR_TRY(jv_alloc(r, d->dict.n, sizeof *v, &v));
    for (size_t i = 0; i < d->dict.n; i++) v[i] = d->dict.v[i].value;
    *out = jv_list(v, d->dict.n, JF_TUPLE);
    return PGR_OK;
}

pgr_status jinja_method(jrun *r, const jvalue *object, const char *name, size_t n, jarguments args, jvalue *out) {
    const jstring s = {name, NULL, n};
    jslot slot[JINJA_MAX_SLOT];
    if (object->kind == JV_DICT) return dict_method(r, object, s, args, out);
    if (jv_is_markup(object)) return jinja_lacks(&r->at, "a method of a safe or escaped string");
    for (size_t i = 0; object->kind == JV_STRING && i < sizeof METHODS / sizeof *METHODS; i++) {
        if (!js_is(s, METHODS[i].name)) continue;
        PGR_TRY(jinja_bind(r, METHODS[i].name, METHODS[i].params, METHODS[i].required, args, slot));
        return METHODS[i].run(r, object->s, slot, out);
    }
    return jinja_lacks(&r->at, "the method %.*s of %s", (int)(n < 60 ? n : 60), name, jv_name(object));
}
