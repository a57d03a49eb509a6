/* jinja_value.c - owns what values are, how they compare, print and combine, after Python. */
#include "text/jinja_value.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

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

/* ---- strings ---- */

static pgr_status string_room(jrun *r, size_t n, bool has_made, char **s, uint8_t **made) {
    *s = NULL;
    *made = NULL;
    PGR_TRY(jv_alloc(r, n, 1, s));
    return has_made ? jv_alloc(r, n, 1, made) : PGR_OK;
}

pgr_status jv_text(jrun *r, const char *text, size_t n, bool made, jstring *out) {
    char *s = NULL;
    uint8_t *m = NULL;
    PGR_TRY(string_room(r, n, made, &s, &m));
    if (n) memcpy(s, text, n);
    if (made) memset(m, 1, n);
    *out = (jstring){s, m, n};
    return PGR_OK;
}

pgr_status jv_taken(jrun *r, const buf *text, const buf *made, jstring *out) {
    if (text->failed || made->failed) return fail_mem(r->at.err);
    char *s = NULL;
    uint8_t *m = NULL;
    PGR_TRY(string_room(r, text->n, true, &s, &m));
    if (text->n) memcpy(s, text->data, text->n), memcpy(m, made->data, text->n);
    *out = (jstring){s, m, text->n};
    return PGR_OK;
}

static pgr_status joined(jrun *r, jstring a, jstring b, jstring *out) {
    char *s = NULL;
    uint8_t *m = NULL;
    PGR_TRY(string_room(r, a.n + b.n, a.made || b.made, &s, &m));
    if (a.n) memcpy(s, a.s, a.n);
    if (b.n) memcpy(s + a.n, b.s, b.n);
    if (m && a.made) memcpy(m, a.made, a.n); /* the arena's memory is zero */
    if (m && b.made) memcpy(m + a.n, b.made, b.n);
    *out = (jstring){s, m, a.n + b.n};
    return PGR_OK;
}

jstring js_part(jstring s, size_t begin, size_t end) {
    return (jstring){s.s + begin, s.made ? s.made + begin : NULL, end - begin};
}

size_t js_find(jstring s, size_t from, jstring what) {
    const char *p = what.n == 0 ? s.s + from : memmem(s.s + from, s.n - from, what.s, what.n);
    return p ? (size_t)(p - s.s) : SIZE_MAX;
}

size_t js_char(jstring s, size_t at) {
    size_t len = utf8_next(s.s + at, s.n - at, NULL);
    return len ? len : 1;
}

size_t js_length(jstring s) {
    size_t n = 0;
    for (size_t i = 0; i < s.n; i += js_char(s, i)) n++;
    return n;
}

static size_t char_before(jstring s, size_t end) {
    size_t len = 1;
    while (len < 4 && len < end && ((uint8_t)s.s[end - len] & 0xc0) == 0x80) len++;
    return utf8_next(s.s + end - len, len, NULL) == len ? len : 1;
}

static bool stripped(jstring s, size_t at, size_t len, const jstring *chars) {
    if (!chars) return jinja_space_at(s.s + at, len) == len;
    for (size_t i = 0, n; i < chars->n; i += n)
        if ((n = js_char(*chars, i)) == len && memcmp(chars->s + i, s.s + at, len) == 0) return true;
    return false;
}

jstring js_strip(jstring s, const jstring *chars, bool left, bool right) {
    for (size_t len; left && s.n && stripped(s, 0, len = js_char(s, 0), chars);) s = js_part(s, len, s.n);
    while (right && s.n) {
        size_t len = char_before(s, s.n);
        if (!stripped(s, s.n - len, len, chars)) break;
        s.n -= len;
    }
    return s;
}

void js_put(buf *text, buf *made, jstring s) {
    static const char zero[64];
    buf_add(text, s.s, s.n);
    if (s.made) {
        buf_add(made, s.made, s.n);
        return;
    }
    for (size_t n; s.n > 0; s.n -= n) buf_add(made, zero, n = s.n < sizeof zero ? s.n : sizeof zero);
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

bool js_is(jstring s, const char *text) {
    return s.n == strlen(text) && memcmp(s.s, text, s.n) == 0;
}
bool jv_is(const jvalue *v, const char *text) {
    return v->kind == JV_STRING && js_is(v->s, text);
}

static bool is_number(const jvalue *v) {
    return v->kind == JV_BOOL || v->kind == JV_INT || v->kind == JV_REAL;
}
static int64_t integer_of(const jvalue *v) {
    return v->kind == JV_BOOL ? v->b : v->i;
}
static double real_of(const jvalue *v) {
    return v->kind == JV_REAL ? v->f : (double)integer_of(v);
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
    if (is_number(a) && is_number(b)) {
        bool real = a->kind == JV_REAL || b->kind == JV_REAL;
        *out = real ? real_of(a) == real_of(b) : integer_of(a) == integer_of(b);
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
    if (is_number(a) && is_number(b)) {
        bool real = a->kind == JV_REAL || b->kind == JV_REAL;
        int64_t x = real ? 0 : integer_of(a), y = real ? 0 : integer_of(b);
        order = real ? real_of(a) - real_of(b) : (double)((x > y) - (x < y));
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

/* ---- operators ---- */

static pgr_status repeat(jrun *r, jstring s, int64_t times, jvalue *out) {
    char *to = NULL;
    uint8_t *made = NULL;
    size_t n = times > 0 ? (size_t)times : 0;
    if (n && s.n > SIZE_MAX / 4 / n) return jv_spend(r, SIZE_MAX);
    PGR_TRY(string_room(r, s.n * n, s.made != NULL, &to, &made));
    for (size_t i = 0; i < n && s.n; i++) {
        memcpy(to + i * s.n, s.s, s.n);
        if (made) memcpy(made + i * s.n, s.made, s.n);
    }
    *out = jv_string((jstring){to, made, s.n * n});
    return PGR_OK;
}

static pgr_status join_lists(jrun *r, const jvalue *a, const jvalue *b, jvalue *out) {
    jvalue *v;
    PGR_TRY(jv_alloc(r, a->list.n + b->list.n, sizeof *v, &v));
    if (a->list.n) memcpy(v, a->list.v, a->list.n * sizeof *v);
    if (b->list.n) memcpy(v + a->list.n, b->list.v, b->list.n * sizeof *v);
    *out = jv_list(v, a->list.n + b->list.n, a->form);
    return PGR_OK;
}

/* Division and remainder round down, as Python's do. */
static pgr_status integers(jrun *r, const char *op, int64_t a, int64_t b, jvalue *out) {
    int64_t i = 0;
    bool over = false;
    if ((*op == '/' || *op == '%') && b == 0) return jinja_wrong(&r->at, "a division by zero");
    if (*op == '+') over = __builtin_add_overflow(a, b, &i);
    if (*op == '-') over = __builtin_sub_overflow(a, b, &i);
    if (*op == '*') over = __builtin_mul_overflow(a, b, &i);
    if (strcmp(op, "/") == 0) {
        *out = (jvalue){.kind = JV_REAL, .f = (double)a / (double)b};
        return PGR_OK;
    }
    if ((*op == '/' || *op == '%') && b == -1) {
        over = *op == '/' && a == INT64_MIN;
        i = *op == '/' && !over ? -a : 0;
    } else if (*op == '/') {
        i = a / b - (a % b != 0 && (a % b < 0) != (b < 0));
    } else if (*op == '%') {
        i = a % b + (a % b != 0 && (a % b < 0) != (b < 0) ? b : 0);
    }
    if (over) return jinja_lacks(&r->at, "integers beyond 64 bits");
    *out = jv_int(i);
    return PGR_OK;
}

/* a ** b with b >= 0 */
static pgr_status power(jrun *r, int64_t a, int64_t b, jvalue *out) {
    int64_t product = 1;
    bool over = false;
    if (a >= -1 && a <= 1) { /* any b is fine */
        *out = jv_int(b == 0 || a == 1 ? 1 : a == 0 ? 0 : b % 2 ? -1 : 1);
        return PGR_OK;
    }
    for (; b > 0 && !over; b--) over = __builtin_mul_overflow(product, a, &product);
    if (over) return jinja_lacks(&r->at, "integers beyond 64 bits");
    *out = jv_int(product);
    return PGR_OK;
}

static pgr_status reals(jrun *r, const char *op, double a, double b, jvalue *out) {
    double f = 0;
    if ((*op == '/' || *op == '%') && b == 0) return jinja_wrong(&r->at, "a division by zero");
    if (*op == '+') f = a + b;
    if (*op == '-') f = a - b;
    if (*op == '*') f = a * b;
    if (*op == '%' || strcmp(op, "//") == 0) return jinja_lacks(&r->at, "the operator %s on numbers with a point", op);
    if (*op == '/') f = a / b;
    *out = (jvalue){.kind = JV_REAL, .f = f};
    return PGR_OK;
}

pgr_status jv_binary(jrun *r, const char *op, const jvalue *a, const jvalue *b, jvalue *out) {
    if (jv_is_markup(a) || jv_is_markup(b))
        return jinja_lacks(&r->at, "the operator %s on a safe or escaped string", op);
    if (*op == '~') {
        jstring x, y, both;
        PGR_TRY(jv_str(r, a, &x));
        PGR_TRY(jv_str(r, b, &y));
        PGR_TRY(joined(r, x, y, &both));
        *out = jv_string(both);
        return PGR_OK;
    }
    if (strcmp(op, "**") == 0 && is_number(a) && is_number(b)) {
        bool whole = a->kind != JV_REAL && b->kind != JV_REAL && integer_of(b) >= 0;
        return whole ? power(r, integer_of(a), integer_of(b), out) : jinja_lacks(&r->at, "a power that is no integer");
    }
    if (is_number(a) && is_number(b))
        return a->kind == JV_REAL || b->kind == JV_REAL ? reals(r, op, real_of(a), real_of(b), out)
                                                        : integers(r, op, integer_of(a), integer_of(b), out);
    if (*op == '+' && a->kind == JV_STRING && b->kind == JV_STRING) {
        jstring both;
        PGR_TRY(joined(r, a->s, b->s, &both));
        *out = jv_string(both);
        return PGR_OK;
    }
    if (*op == '+' && a->kind == JV_LIST && b->kind == JV_LIST && a->form == b->form && a->form != JF_ONCE)
        return join_lists(r, a, b, out);
    if (*op == '*' && a->kind == JV_STRING && b->kind == JV_INT) return repeat(r, a->s, b->i, out);
    if (*op == '%' && a->kind == JV_STRING) return jinja_lacks(&r->at, "the operator %% on a string");
    const jvalue *undefined = a->kind == JV_UNDEFINED ? a : b->kind == JV_UNDEFINED ? b : NULL;
    if (undefined)
        return jinja_wrong(&r->at, "\"%.*s\" is undefined", (int)(undefined->s.n < 60 ? undefined->s.n : 60),
                           undefined->s.s);
    return jinja_wrong(&r->at, "%s %s %s", jv_name(a), op, jv_name(b));
}

/* ---- indices and slices ---- */

static size_t length_of(const jvalue *v) {
    return v->kind == JV_STRING ? js_length(v->s) : v->list.n;
}

/* Where character number i begins. */
static size_t byte_of(jstring s, size_t i) {
    size_t at = 0;
    for (; i > 0 && at < s.n; i--) at += js_char(s, at);
    return at;
}

pgr_status jv_item(jrun *r, const jvalue *object, const jvalue *index, jvalue *out) {
    PGR_TRY(jv_spend(r, object->kind == JV_STRING ? object->s.n : object->kind == JV_DICT ? object->dict.n : 1));
    *out = jv_undefined("an index out of range", 21);
    if (object->kind != JV_STRING && (object->kind != JV_LIST || object->form == JF_ONCE))
        return jinja_wrong(&r->at, "%s has no index %s", jv_name(object), jv_name(index));
    if (index->kind != JV_INT && index->kind != JV_BOOL) return PGR_OK;
    size_t n = length_of(object);
    int64_t i = integer_of(index);
    if (i < 0 ? -(i + 1) >= (int64_t)n : i >= (int64_t)n) return PGR_OK;
    size_t at = i < 0 ? n - 1 - (size_t)(-(i + 1)) : (size_t)i;
    if (object->kind == JV_LIST) {
        *out = object->list.v[at];
        return PGR_OK;
    }
    size_t begin = byte_of(object->s, at);
    *out = jv_string(js_part(object->s, begin, begin + js_char(object->s, begin)));
    return PGR_OK;
}

static int64_t clamp(int64_t i, int64_t lo, int64_t hi) {
    return i < lo ? lo : i > hi ? hi : i;
}

/* Python's rule for start and stop. */
static int64_t bound(const jvalue *v, int64_t n, bool back, bool stop) {
    if (v->kind == JV_UNDEFINED || v->kind == JV_NONE) return stop ? (back ? -1 : n) : (back ? n - 1 : 0);
    int64_t i = integer_of(v);
    if (i < 0) i = i < -n ? (back ? -1 : 0) : i + n;
    return clamp(i, back ? -1 : 0, back ? n - 1 : n);
}

static pgr_status slice_list(jrun *r, const jvalue *object, int64_t at, int64_t stop, int64_t step, jvalue *out) {
    jvalue *v;
    size_t n = 0, cap = object->list.n;
    PGR_TRY(jv_alloc(r, cap, sizeof *v, &v));
    for (; step > 0 ? at < stop : at > stop; at += step) v[n++] = object->list.v[at];
    *out = jv_list(v, n, object->form);
    return PGR_OK;
}

pgr_status jv_slice(jrun *r, const jvalue *object, const jvalue parts[3], jvalue *out) {
    for (size_t i = 0; i < 3; i++)
        if (parts[i].kind > JV_INT) return jinja_wrong(&r->at, "a slice from %s", jv_name(&parts[i]));
    if (object->kind != JV_STRING && (object->kind != JV_LIST || object->form == JF_ONCE))
        return jinja_wrong(&r->at, "a slice of %s", jv_name(object));
    if (object->kind == JV_STRING) PGR_TRY(jv_spend(r, 3 * object->s.n));
    int64_t n = (int64_t)length_of(object), step = 1;
    if (parts[2].kind == JV_INT) step = clamp(parts[2].i, -n - 1, n + 1);
    if (step == 0) return jinja_wrong(&r->at, "a slice in steps of 0");
    int64_t start = bound(&parts[0], n, step < 0, false), stop = bound(&parts[1], n, step < 0, true);
    if (object->kind == JV_LIST) return slice_list(r, object, start, stop, step, out);
    if (step != 1) return jinja_lacks(&r->at, "a slice of a string in steps");
    if (stop < start) stop = start;
    size_t begin = byte_of(object->s, (size_t)start);
    jstring rest = js_part(object->s, begin, object->s.n);
    *out = jv_string(js_part(rest, 0, byte_of(rest, (size_t)(stop - start))));
    return PGR_OK;
}
