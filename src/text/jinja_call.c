/* jinja_call.c - owns the functions, tests and methods of templates, and how attributes are found. */
#include "text/jinja_call.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "text/jinja_text.h"

/* ---- arguments ---- */

pgr_status jinja_bind(jrun *r, const char *what, const char *names, size_t required, jarguments args, jslot *slots) {
    const char *name[JINJA_MAX_SLOT];
    size_t n = 0, len[JINJA_MAX_SLOT];
    for (const char *s = names; *s; n++) {
        name[n] = s;
        len[n] = strcspn(s, ",");
        s += len[n] + (s[len[n]] == ',');
        slots[n] = (jslot){.v = jv_undefined("an argument", 11)};
    }
    for (size_t i = 0; i < args.n; i++) {
        const jargument *a = &args.v[i];
        size_t at = i;
        if (a->n_name)
            for (at = 0; at < n && !(len[at] == a->n_name && memcmp(name[at], a->name, len[at]) == 0);) at++;
        if (at >= n && a->n_name)
            return jinja_lacks(&r->at, "the argument %.*s of %s", (int)(a->n_name < 60 ? a->n_name : 60), a->name,
                               what);
        if (at >= n) return jinja_lacks(&r->at, "%zu arguments of %s", args.n, what);
        if (slots[at].given) return jinja_wrong(&r->at, "two values for one argument of %s", what);
        slots[at] = (jslot){.given = true, .v = a->value};
    }
    for (size_t i = 0; i < required; i++)
        if (!slots[i].given) return jinja_wrong(&r->at, "%s without its argument %.*s", what, (int)len[i], name[i]);
    return PGR_OK;
}

pgr_status jinja_want(jrun *r, const char *what, jkind kind, const jvalue *v) {
    static const char *const kinds[] = {"", "",         "a truth value", "an integer",
                                        "", "a string", "a list",        "a dictionary"};
    if (v->kind == kind) return PGR_OK;
    if (v->kind == JV_UNDEFINED)
        return jinja_wrong(&r->at, "%s: \"%.*s\" is undefined", what, (int)(v->s.n < 60 ? v->s.n : 60), v->s.s);
    return jinja_wrong(&r->at, "%s: found %s, expected %s", what, jv_name(v), kinds[kind]);
}

/* ---- attributes ---- */

static bool in_list(const char *list, const char *name, size_t n) {
    for (const char *s = list; *s;) {
        size_t len = strcspn(s, " ");
        if (len == n && memcmp(s, name, n) == 0) return true;
        s += len + (s[len] == ' ');
    }
    return false;
}

bool jinja_has_method(const jvalue *object, const char *name, size_t n) {
    static const char strings[] =
        "capitalize casefold center count encode endswith expandtabs find format format_map index isalnum isalpha "
        "isascii isdecimal isdigit isidentifier islower isnumeric isprintable isspace istitle isupper join ljust lower "
        "lstrip maketrans partition removeprefix removesuffix replace rfind rindex rjust rpartition rsplit rstrip "
        "split "
        "splitlines startswith strip swapcase title translate upper zfill";
    static const char dicts[] = "clear copy fromkeys get items keys pop popitem setdefault update values";
    static const char lists[] = "append clear copy count extend index insert pop remove reverse sort";
    if (n >= 2 && memcmp(name, "__", 2) == 0) return true;
    return (object->kind == JV_STRING && in_list(strings, name, n))
           || (object->kind == JV_DICT && in_list(dicts, name, n))
           || (object->kind == JV_LIST && in_list(lists, name, n));
}

/* clang-format off */
static pgr_status loop_attribute(jrun *r, const jloop *l, const char *name, size_t n, jvalue *out) {
    const jstring s = {name, NULL, n};
    if (js_is(s, "index")) *out = jv_int((int64_t)l->at + 1);
    else if (js_is(s, "index0")) *out = jv_int((int64_t)l->at);
    else if (js_is(s, "revindex")) *out = jv_int((int64_t)(l->n - l->at));
    else if (js_is(s, "revindex0")) *out = jv_int((int64_t)(l->n - l->at) - 1);
    else if (js_is(s, "first")) *out = jv_bool(l->at == 0);
    else if (js_is(s, "last")) *out = jv_bool(l->at + 1 == l->n);
    else if (js_is(s, "length")) *out = jv_int((int64_t)l->n);
    else if (js_is(s, "depth")) *out = jv_int((int64_t)l->depth);
    else if (js_is(s, "depth0")) *out = jv_int((int64_t)l->depth - 1);
    else if (js_is(s, "previtem")) *out = l->at > 0 ? l->v[l->at - 1] : jv_undefined("loop.previtem", 13);
    else if (js_is(s, "nextitem")) *out = l->at + 1 < l->n ? l->v[l->at + 1] : jv_undefined("loop.nextitem", 13);
    else return jinja_lacks(&r->at, "loop.%.*s", (int)(n < 60 ? n : 60), name);
    return PGR_OK;
}
/* clang-format on */

pgr_status jinja_attribute(jrun *r, const jvalue *object, const char *name, size_t n, bool item, jvalue *out) {
    const jvalue *found = NULL;
    const jvariable *v = NULL;
    int shown = (int)(n < 60 ? n : 60);
    PGR_TRY(jv_spend(r, object->kind == JV_DICT        ? object->dict.n
                        : object->kind == JV_NAMESPACE ? object->names->n
                                                       : 1));
    switch (object->kind) {
    case JV_UNDEFINED:
        return jinja_wrong(&r->at, "\"%.*s\" is undefined and has no %.*s", (int)(object->s.n < 60 ? object->s.n : 60),
                           object->s.s, shown, name);
    case JV_DICT:
        found = item || !jinja_has_method(object, name, n) ? jv_find(object, name, n) : NULL;
        break;
    case JV_NAMESPACE:
        v = jv_variable(object->names, name, n);
        found = v ? &v->value : NULL;
        break;
    case JV_LOOP:
        return loop_attribute(r, object->loop, name, n, out);
    case JV_NONE:
    case JV_STRING:
    case JV_LIST:
        break;
    default:
        return jinja_lacks(&r->at, "the attribute %.*s of %s", shown, name, jv_name(object));
    }
    if (!found && jinja_has_method(object, name, n))
        return jinja_lacks(&r->at, "the method %.*s of %s without a call", shown, name, jv_name(object));
    *out = found ? *found : jv_undefined(name, n);
    return PGR_OK;
}

pgr_status jinja_assign(jrun *r, jscope *scope, const char *name, size_t n, const jvalue *v) {
    if (v->kind == JV_LIST && v->form == JF_ONCE)
        return jinja_lacks(&r->at, "a generator that is kept in a variable (| list makes a list of it)");
    jvariable *found = jv_variable(scope, name, n);
    PGR_TRY(jv_spend(r, scope->n));
    if (!found) {
        PGR_TRY(jv_alloc(r, 1, sizeof *found, &found));
        *found = (jvariable){.name = name, .n = n, .next = scope->first};
        scope->first = found;
        scope->n++;
    }
    found->value = *v;
    return PGR_OK;
}

/* ---- functions ---- */

enum { F_RAISE, F_STRFTIME, F_NAMESPACE, F_RANGE, F_DICT };

int jinja_function_find(const char *name, size_t n) {
    static const char *const names[] = {"raise_exception", "strftime_now", "namespace", "range", "dict", NULL};
    for (int i = 0; names[i]; i++)
        if (js_is((jstring){name, NULL, n}, names[i])) return i;
    return -1;
}

static pgr_status raise(jrun *r, jarguments args) {
    jslot slot[1];
    jstring text;
    PGR_TRY(jinja_bind(r, "raise_exception", "message", 1, args, slot));
    PGR_TRY(jv_str(r, &slot[0].v, &text));
    return fail(r->at.err, PGR_E_ARG, "%.120s: the chat template refuses this conversation: %.*s (line %zu)",
                r->at.origin, (int)(text.n < 200 ? text.n : 200), text.s, r->at.line);
}

static pgr_status strftime_now(jrun *r, jarguments args, jvalue *out) {
    jslot slot[1];
    char format[128] = "", text[256];
    struct tm local;
    time_t now = (time_t)r->in->now;
    PGR_TRY(jinja_bind(r, "strftime_now", "format", 1, args, slot));
    PGR_TRY(jinja_want(r, "strftime_now", JV_STRING, &slot[0].v));
    if (slot[0].v.s.n >= sizeof format)
        return jinja_lacks(&r->at, "a date format of more than %zu bytes", sizeof format - 1);
    memcpy(format, slot[0].v.s.s, slot[0].v.s.n);
    if (!localtime_r(&now, &local)) return jinja_wrong(&r->at, "the time is out of range");
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral" /* the format is the template's: strftime writes text from any */
    size_t n = strftime(text, sizeof text, format, &local);
#pragma GCC diagnostic pop
    if (n == 0 && *format) return jinja_lacks(&r->at, "the date format %.60s", format);
    out->kind = JV_STRING;
    return jv_text(r, text, n, true, &out->s);
}

static pgr_status new_namespace(jrun *r, jarguments args, jvalue *out) {
    *out = (jvalue){.kind = JV_NAMESPACE};
    PGR_TRY(jv_alloc(r, 1, sizeof *out->names, &out->names));
    for (size_t i = 0; i < args.n; i++) {
        const jargument *a = &args.v[i];
        if (a->n_name == 0) return jinja_lacks(&r->at, "namespace() of something without a name");
        if (a->name[0] == '_') return jinja_lacks(&r->at, "a namespace's attribute that begins with _");
        PGR_TRY(jinja_assign(r, out->names, a->name, a->n_name, &a->value));
    }
    return PGR_OK;
}

static pgr_status new_dict(jrun *r, jarguments args, jvalue *out) {
    jpair *v;
    PGR_TRY(jv_alloc(r, args.n, sizeof *v, &v));
    for (size_t i = 0; i < args.n; i++) {
        if (args.v[i].n_name == 0) return jinja_lacks(&r->at, "dict() of something without a name");
        PGR_TRY(jv_text(r, args.v[i].name, args.v[i].n_name, true, &v[i].key));
        v[i].value = args.v[i].value;
    }
    *out = (jvalue){.kind = JV_DICT, .dict = {v, args.n}};
    return PGR_OK;
}

static pgr_status range(jrun *r, jarguments args, jvalue *out) {
    jslot slot[3];
    int64_t at[3] = {0, 0, 1};
    jvalue *v;
    size_t n = 0;
    PGR_TRY(jinja_bind(r, "range", "start,stop,step", 1, args, slot));
    for (size_t i = 0; i < 3; i++) {
        if (!slot[i].given) continue;
        PGR_TRY(jinja_want(r, "range", JV_INT, &slot[i].v));
        at[i] = slot[i].v.i;
        if (at[i] > INT32_MAX || at[i] < -INT32_MAX) return jinja_lacks(&r->at, "a range beyond 32 bits");
    }
    if (!slot[1].given) at[1] = at[0], at[0] = 0;
    if (at[2] == 0) return jinja_wrong(&r->at, "a range in steps of 0");
    if (at[2] > 0 ? at[0] < at[1] : at[0] > at[1]) n = (size_t)((llabs(at[1] - at[0]) - 1) / llabs(at[2]) + 1);
    PGR_TRY(jv_alloc(r, n, sizeof *v, &v));
    for (size_t i = 0; i < n; i++) v[i] = jv_int(at[0] + (int64_t)i * at[2]);
    *out = jv_list(v, n, JF_LIST);
    return PGR_OK;
}

pgr_status jinja_function(jrun *r, int number, jarguments args, jvalue *out) {
    switch (number) {
    case F_RAISE:
        return raise(r, args);
    case F_STRFTIME:
        return strftime_now(r, args, out);
    case F_NAMESPACE:
        return new_namespace(r, args, out);
    case F_RANGE:
        return range(r, args, out);
    default:
        return new_dict(r, args, out);
    }
}

/* ---- tests ---- */

enum {
    T_DEFINED,
    T_UNDEFINED,
    T_NONE,
    T_STRING,
    T_MAPPING,
    T_ITERABLE,
    T_SEQUENCE,
    T_NUMBER,
    T_INTEGER,
    T_FLOAT,
    T_BOOLEAN,
    T_TRUE,
    T_FALSE,
    T_ODD,
    T_EVEN,
    T_CALLABLE,
    T_UPPER,
    T_LOWER,
    T_FILTER,
    T_TEST,
    T_ESCAPED, /* from here on with one argument: */
    T_EQ,
    T_NE,
    T_LT,
    T_LE,
    T_GT,
    T_GE,
    T_IN,
    T_DIVISIBLE,
    T_SAME,
};

int jinja_test_find(const char *name, size_t n) {
    static const struct {
        const char *name;
        int test;
    } names[] = {
        {"defined", T_DEFINED},
        {"undefined", T_UNDEFINED},
        {"none", T_NONE},
        {"string", T_STRING},
        {"mapping", T_MAPPING},
        {"iterable", T_ITERABLE},
        {"sequence", T_SEQUENCE},
        {"number", T_NUMBER},
        {"integer", T_INTEGER},
        {"float", T_FLOAT},
        {"boolean", T_BOOLEAN},
        {"true", T_TRUE},
        {"false", T_FALSE},
        {"odd", T_ODD},
        {"even", T_EVEN},
        {"callable", T_CALLABLE},
        {"upper", T_UPPER},
        {"lower", T_LOWER},
        {"filter", T_FILTER},
        {"test", T_TEST},
        {"escaped", T_ESCAPED},
        {"eq", T_EQ},
        {"equalto", T_EQ},
        {"ne", T_NE},
        {"lt", T_LT},
        {"lessthan", T_LT},
        {"le", T_LE},
        {"gt", T_GT},
        {"greaterthan", T_GT},
        {"ge", T_GE},
        {"in", T_IN},
        {"divisibleby", T_DIVISIBLE},
        {"sameas", T_SAME},
        {"==", T_EQ},
        {"!=", T_NE},
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (js_is((jstring){name, NULL, n}, names[i].name)) return names[i].test;
    return -1;
}

static pgr_status same(jrun *r, const jvalue *a, const jvalue *b, bool *out) {
    if (b->kind > JV_BOOL) return jinja_lacks(&r->at, "the test sameas on anything but true, false and none");
    *out = a->kind == b->kind && (a->kind != JV_BOOL || a->b == b->b);
    return PGR_OK;
}

static pgr_status test_with(jrun *r, int number, const jvalue *v, const jvalue *other, bool *out) {
    static const char *const order[] = {"<", "<=", ">", ">="};
    switch (number) {
    case T_EQ:
    case T_NE:
        PGR_TRY(jv_equal(r, v, other, out));
        *out ^= number == T_NE;
        return PGR_OK;
    case T_IN:
        return jv_in(r, v, other, out);
    case T_SAME:
        return same(r, v, other, out);
    case T_DIVISIBLE: {
        jvalue rest;
        PGR_TRY(jinja_want(r, "divisibleby", JV_INT, v));
        PGR_TRY(jinja_want(r, "divisibleby", JV_INT, other));
        PGR_TRY(jv_binary(r, "%", v, other, &rest));
        *out = rest.i == 0;
        return PGR_OK;
    }
    default:
        return jv_compare(r, order[number - T_LT], v, other, out);
    }
}

/* Letters, all of them in that case. */
static pgr_status all_cased(jrun *r, const jvalue *v, bool upper, bool *out) {
    jstring s;
    bool letters = false, other = false;
    PGR_TRY(jv_str(r, v, &s));
    PGR_TRY(jv_spend(r, s.n));
    for (size_t i = 0; i < s.n; i++) {
        if ((uint8_t)s.s[i] >= 0x80) return jinja_lacks(&r->at, "upper or lower case of letters beyond ASCII");
        bool up = s.s[i] >= 'A' && s.s[i] <= 'Z', low = s.s[i] >= 'a' && s.s[i] <= 'z';
        letters |= up || low;
        other |= upper ? low : up;
    }
    *out = letters && !other;
    return PGR_OK;
}

pgr_status jinja_test(jrun *r, int number, const jvalue *v, jarguments args, bool *out) {
    jslot slot[1];
    jkind k = v->kind;
    if (number >= T_EQ) {
        PGR_TRY(jinja_bind(r, "a test", "other", 1, args, slot));
        return test_with(r, number, v, &slot[0].v, out);
    }
    PGR_TRY(jinja_bind(r, "a test", "", 0, args, slot));
    bool goes_through = k == JV_UNDEFINED || k == JV_STRING || k == JV_LIST || k == JV_DICT;
    /* clang-format off */
    switch (number) {
    case T_DEFINED: *out = k != JV_UNDEFINED; break;
    case T_UNDEFINED: *out = k == JV_UNDEFINED; break;
    case T_NONE: *out = k == JV_NONE; break;
    case T_STRING: *out = k == JV_STRING; break;
    case T_MAPPING: *out = k == JV_DICT; break;
    case T_ITERABLE: *out = goes_through || k == JV_LOOP; break;
    case T_SEQUENCE: *out = goes_through && !(k == JV_LIST && v->form == JF_ONCE); break;
    case T_NUMBER: *out = k == JV_BOOL || k == JV_INT || k == JV_REAL; break;
    case T_INTEGER: *out = k == JV_INT; break;
    case T_FLOAT: *out = k == JV_REAL; break;
    case T_BOOLEAN: *out = k == JV_BOOL; break;
    case T_TRUE: *out = k == JV_BOOL && v->b; break;
    case T_FALSE: *out = k == JV_BOOL && !v->b; break;
    case T_CALLABLE: *out = k == JV_FUNCTION || k == JV_MACRO; break;
    case T_ESCAPED: *out = jv_is_markup(v); break;
    case T_UPPER:
    case T_LOWER: return all_cased(r, v, number == T_UPPER, out);
    case T_FILTER:
    case T_TEST: return jinja_lacks(&r->at, "the test %s", number == T_FILTER ? "filter" : "test");
    default: /* odd, even */
        PGR_TRY(jinja_want(r, "odd or even", JV_INT, v));
        *out = (v->i % 2 != 0) == (number == T_ODD);
    }
    /* clang-format on */
    return PGR_OK;
}
