/* jinja_operator.c - owns what values combine to, after Python: operators, indices, slices. */
#include <string.h>

#include "text/jinja_value.h"

/* ---- operators ---- */

static pgr_status repeat(jrun *r, jstring s, int64_t times, jvalue *out) {
    char *to = NULL;
    uint8_t *made = NULL;
    size_t n = times > 0 ? (size_t)times : 0;
    if (n && s.n > SIZE_MAX / 4 / n) return jv_spend(r, SIZE_MAX);
    PGR_TRY(js_room(r, s.n * n, s.made != NULL, &to, &made));
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
        PGR_TRY(js_join(r, x, y, &both));
        *out = jv_string(both);
        return PGR_OK;
    }
    if (strcmp(op, "**") == 0 && jv_is_number(a) && jv_is_number(b)) {
        bool whole = a->kind != JV_REAL && b->kind != JV_REAL && jv_integer(b) >= 0;
        return whole ? power(r, jv_integer(a), jv_integer(b), out) : jinja_lacks(&r->at, "a power that is no integer");
    }
    if (jv_is_number(a) && jv_is_number(b))
        return a->kind == JV_REAL || b->kind == JV_REAL ? reals(r, op, jv_real(a), jv_real(b), out)
                                                        : integers(r, op, jv_integer(a), jv_integer(b), out);
    if (*op == '+' && a->kind == JV_STRING && b->kind == JV_STRING) {
        jstring both;
        PGR_TRY(js_join(r, a->s, b->s, &both));
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
    int64_t i = jv_integer(index);
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
    int64_t i = jv_integer(v);
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
