/* jinja_value.c - owns what values are, how they compare and print, after Python. */
#include "text/jinja_value.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- work and memory ---- */

pgr_status jv_spend(jrun *r, size_t work) {
    if (work <= r->left) {
        r->left -= work;
        return PGR_OK;
    }
    return fail(r->at.err, PGR_E_LIMIT, "%.120s: the chat template takes too much work for one conversation (line %zu)",
                r->at.origin, r->at.line);
}

pgr_status jv_alloc(jrun *r, size_t count, size_t size, void *out) {
    if (count > SIZE_MAX / 2 / size) return fail_mem(r->at.err);
    PGR_TRY(jv_spend(r, count * size));
    void *p = arena_array(&r->a, count, size);
    if (!p) return fail_mem(r->at.err);
    memcpy(out, &p, sizeof p);
    return PGR_OK;
}

jvalue jv_undefined(const char *name, size_t n) {
    return (jvalue){.kind = JV_UNDEFINED, .s = {.s = name, .n = n}};
}

/* ---- questions ---- */

const char *jv_name(const jvalue *v) {
    static const char *const names[] = {"an undefined value", "none",     "a truth value", "an integer",
                                        "a number",           "a string", "a list",        "a dictionary",
                                        "a namespace",        "a loop",   "a function",    "a macro"};
    return names[v->kind];
}

pgr_status jv_true(jrun *r, const jvalue *v, bool *out) {
    switch (v->kind) {
    case JV_UNDEFINED:
    case JV_NONE:
        *out = false;
        break;
    case JV_BOOL:
        *out = v->b;
        break;
    case JV_INT:
        *out = v->i != 0;
        break;
    case JV_REAL:
        *out = v->f != 0;
        break;
    case JV_STRING:
        *out = v->s.n > 0;
        break;
    case JV_LIST:
        if (v->form == JF_ONCE) return jinja_lacks(&r->at, "a generator as a condition (| list makes a list of it)");
        *out = v->list.n > 0;
        break;
    case JV_DICT:
        *out = v->dict.n > 0;
        break;
    default:
        *out = true;
    }
    return PGR_OK;
}

bool jv_is(const jvalue *v, const char *text) {
    return v->kind == JV_STRING && js_is(v->s, text);
}

const jvalue *jv_find(const jvalue *dict, const char *key, size_t n) {
    for (size_t i = 0; i < dict->dict.n; i++)
        if (dict->dict.v[i].key.n == n && memcmp(dict->dict.v[i].key.s, key, n) == 0) return &dict->dict.v[i].value;
    return NULL;
}

jvariable *jv_variable(const jscope *s, const char *name, size_t n) {
    for (jvariable *v = s->first; v; v = v->next)
        if (v->n == n && memcmp(v->name, name, n) == 0) return v;
    return NULL;
}

static pgr_status equal_lists(jrun *r, const jvalue *a, const jvalue *b, bool *out) {
    *out = a->list.n == b->list.n && a->form == b->form;
    for (size_t i = 0; *out && i < a->list.n; i++) PGR_TRY(jv_equal(r, &a->list.v[i], &b->list.v[i], out));
    return PGR_OK;
}

static pgr_status equal_dicts(jrun *r, const jvalue *a, const jvalue *b, bool *out) {
    *out = a->dict.n == b->dict.n;
    for (size_t i = 0; *out && i < a->dict.n; i++) {
        const jvalue *other = jv_find(b, a->dict.v[i].key.s, a->dict.v[i].key.n);
        PGR_TRY(jv_spend(r, b->dict.n));
        *out = other != NULL;
        if (other) PGR_TRY(jv_equal(r, &a->dict.v[i].value, other, out));
    }
    return PGR_OK;
}

pgr_status jv_equal(jrun *r, const jvalue *a, const jvalue *b, bool *out) {
    PGR_TRY(jv_spend(r, 8));
    *out = false;
    if (jv_is_number(a) && jv_is_number(b)) {
        bool real = a->kind == JV_REAL || b->kind == JV_REAL;
        *out = real ? jv_real(a) == jv_real(b) : jv_integer(a) == jv_integer(b);
        return PGR_OK;
    }
    if (a->kind != b->kind) return PGR_OK;
    if (a->kind == JV_STRING) {
        *out = a->s.n == b->s.n && memcmp(a->s.s, b->s.s, a->s.n) == 0;
        return *out ? jv_spend(r, a->s.n) : PGR_OK;
    }
    if (a->kind == JV_UNDEFINED || a->kind == JV_NONE) *out = true;
    if (a->kind == JV_FUNCTION) *out = a->i == b->i;
    if (a->kind == JV_NAMESPACE) *out = a->names == b->names;
    if (a->kind != JV_LIST && a->kind != JV_DICT) return PGR_OK;
    if (++r->level > JINJA_MAX_NEST) return jinja_lacks(&r->at, "lists of more than %d levels", JINJA_MAX_NEST);
    pgr_status s = a->kind == JV_LIST ? equal_lists(r, a, b, out) : equal_dicts(r, a, b, out);
    r->level--;
    return s;
}

pgr_status jv_compare(jrun *r, const char *op, const jvalue *a, const jvalue *b, bool *out) {
    double order;
    if (jv_is_number(a) && jv_is_number(b)) {
        bool real = a->kind == JV_REAL || b->kind == JV_REAL;
        int64_t x = real ? 0 : jv_integer(a), y = real ? 0 : jv_integer(b);
        order = real ? jv_real(a) - jv_real(b) : (double)((x > y) - (x < y));
    } else if (a->kind == JV_STRING && b->kind == JV_STRING) {
        size_t n = a->s.n < b->s.n ? a->s.n : b->s.n;
        PGR_TRY(jv_spend(r, n));
        order = n ? memcmp(a->s.s, b->s.s, n) : 0; /* UTF-8 sorts as its characters do */
        if (order == 0) order = a->s.n < b->s.n ? -1 : a->s.n > b->s.n;
    } else {
        return jinja_wrong(&r->at, "%s %s %s cannot be compared", jv_name(a), op, jv_name(b));
    }
    *out = op[0] == '<' ? order < 0 || (op[1] && order == 0) : order > 0 || (op[1] && order == 0);
    return PGR_OK;
}

pgr_status jv_in(jrun *r, const jvalue *what, const jvalue *in, bool *out) {
    *out = false;
    switch (in->kind) {
    case JV_UNDEFINED:
        return PGR_OK;
    case JV_STRING:
        if (what->kind != JV_STRING) return jinja_wrong(&r->at, "%s in a string", jv_name(what));
        *out = js_find(in->s, 0, what->s) != SIZE_MAX;
        return jv_spend(r, in->s.n + what->s.n);
    case JV_LIST:
        for (size_t i = 0; !*out && i < in->list.n; i++) PGR_TRY(jv_equal(r, what, &in->list.v[i], out));
        return PGR_OK;
    case JV_DICT:
        *out = what->kind == JV_STRING && jv_find(in, what->s.s, what->s.n);
        return jv_spend(r, in->dict.n);
    default:
        return jinja_wrong(&r->at, "\"in\" asks %s", jv_name(in));
    }
}

/* The shortest decimal that reads back as f, as Python prints it. */
static pgr_status print_real(jrun *r, double f, char text[40]) {
    if (!isfinite(f) || (f != 0 && (fabs(f) >= 1e16 || fabs(f) < 1e-4)))
        return jinja_lacks(&r->at, "a number that is printed with an exponent");
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(text, 32, "%.*e", digits - 1, f);
        if (strtod(text, NULL) != f) continue;
        int exponent = atoi(strchr(text, 'e') + 1), after = digits - 1 - exponent;
        snprintf(text, 40, "%.*f", after > 1 ? after : 1, f);
        return PGR_OK;
    }
    return PGR_OK;
}

pgr_status jv_str(jrun *r, const jvalue *v, jstring *out) {
    char text[40] = "";
    switch (v->kind) {
    case JV_STRING:
        *out = v->s;
        return PGR_OK;
    case JV_UNDEFINED:
        break;
    case JV_NONE:
        strcpy(text, "None");
        break;
    case JV_BOOL:
        strcpy(text, v->b ? "True" : "False");
        break;
    case JV_INT:
        snprintf(text, sizeof text, "%lld", (long long)v->i);
        break;
    case JV_REAL:
        PGR_TRY(print_real(r, v->f, text));
        break;
    case JV_LIST:
    case JV_DICT:
        if (v->kind == JV_DICT || v->form != JF_ONCE) return jv_repr(r, v, out);
        return jinja_lacks(&r->at, "a generator as text");
    default:
        return jinja_lacks(&r->at, "%s as text", jv_name(v));
    }
    return jv_text(r, text, strlen(text), true, out);
}

static pgr_status characters(jrun *r, jstring s, const jvalue **list, size_t *n) {
    jvalue *v;
    size_t at = 0;
    PGR_TRY(jv_spend(r, s.n));
    *n = js_length(s);
    PGR_TRY(jv_alloc(r, *n, sizeof *v, &v));
    for (size_t i = 0, len; i < *n; i++, at += len) v[i] = jv_string(js_part(s, at, at + (len = js_char(s, at))));
    *list = v;
    return PGR_OK;
}

pgr_status jv_elements(jrun *r, const jvalue *v, const jvalue **list, size_t *n) {
    jvalue *keys;
    *n = 0;
    switch (v->kind) {
    case JV_UNDEFINED:
        return PGR_OK;
    case JV_LIST:
        *list = v->list.v;
        *n = v->list.n;
        return PGR_OK;
    case JV_STRING:
        return characters(r, v->s, list, n);
    case JV_DICT:
        PGR_TRY(jv_alloc(r, v->dict.n, sizeof *keys, &keys));
        for (size_t i = 0; i < v->dict.n; i++) keys[i] = jv_string(v->dict.v[i].key);
        *list = keys;
        *n = v->dict.n;
        return PGR_OK;
    default:
        return jinja_wrong(&r->at, "found %s, expected something to go through", jv_name(v));
    }
}
