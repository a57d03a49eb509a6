/* jinja_eval.c - owns scopes and the value of expressions. */
#include <string.h>

#include "text/jinja_run.h"

/* ---- scopes ---- */

pgr_status jinja_new_scope(jrun *r, jscope *outer, jscope **out) {
    PGR_TRY(jv_alloc(r, 1, sizeof **out, out));
    **out = (jscope){.outer = outer};
    return PGR_OK;
}

static pgr_status look_up(jrun *r, const jnode *n, jvalue *out) {
    static const char *const lacking[] = {"cycler", "joiner", "lipsum", "self", "super", "varargs", "kwargs", NULL};
    for (const jscope *s = r->scope; s; s = s->outer) {
        const jvariable *v = jv_variable(s, n->text, n->n);
        PGR_TRY(jv_spend(r, 1 + s->n));
        if (!v) continue;
        *out = v->value;
        return PGR_OK;
    }
    int function = jinja_function_find(n->text, n->n);
    *out = function < 0 ? jv_undefined(n->text, n->n) : (jvalue){.kind = JV_FUNCTION, .i = function};
    for (size_t i = 0; lacking[i]; i++)
        if (js_is((jstring){n->text, NULL, n->n}, lacking[i])) return jinja_lacks(&r->at, "%s", lacking[i]);
    return PGR_OK;
}

/* One name takes the value, several take its elements. */
pgr_status jinja_assign_names(jrun *r, jscope *scope, const jnode *names, const jvalue *v) {
    const jvalue *list;
    size_t n, want = 0;
    if (!names->next) return jinja_assign(r, scope, names->text, names->n, v);
    for (const jnode *name = names; name; name = name->next) want++;
    PGR_TRY(jv_elements(r, v, &list, &n));
    if (n != want) return jinja_wrong(&r->at, "%zu values for %zu names", n, want);
    for (size_t i = 0; i < n; i++, names = names->next)
        PGR_TRY(jinja_assign(r, scope, names->text, names->n, &list[i]));
    return PGR_OK;
}

/* ---- expressions ---- */

static pgr_status eval_elements(jrun *r, const jnode *n, jvalue *out) {
    jvalue *v;
    size_t count = 0, i = 0;
    for (const jnode *e = n->a; e; e = e->next) count++;
    PGR_TRY(jv_alloc(r, count, sizeof *v, &v));
    for (const jnode *e = n->a; e; e = e->next) PGR_TRY(jinja_eval(r, e, &v[i++]));
    for (i = 0; i < count; i++)
        if (v[i].kind == JV_LIST && v[i].form == JF_ONCE) return jinja_lacks(&r->at, "a generator inside a list");
    *out = jv_list(v, count, n->kind == JN_TUPLE ? JF_TUPLE : JF_LIST);
    return PGR_OK;
}

static pgr_status eval_dict(jrun *r, const jnode *n, jvalue *out) {
    jpair *v;
    size_t count = 0, kept = 0;
    for (const jnode *e = n->a; e; e = e->next->next) count++;
    PGR_TRY(jv_alloc(r, count, sizeof *v, &v));
    for (const jnode *e = n->a; e; e = e->next->next) {
        jvalue key, value;
        size_t at = 0;
        PGR_TRY(jinja_eval(r, e, &key));
        PGR_TRY(jinja_eval(r, e->next, &value));
        if (key.kind != JV_STRING) return jinja_lacks(&r->at, "a dictionary whose keys are not strings");
        PGR_TRY(jv_spend(r, kept));
        while (at < kept && !(v[at].key.n == key.s.n && memcmp(v[at].key.s, key.s.s, key.s.n) == 0)) at++;
        v[at] = (jpair){key.s, value};
        kept += at == kept;
    }
    *out = (jvalue){.kind = JV_DICT, .dict = {v, kept}};
    return PGR_OK;
}

static pgr_status eval_condition(jrun *r, const jnode *n, jvalue *out) {
    jvalue v;
    bool is;
    PGR_TRY(jinja_eval(r, n->b, &v));
    PGR_TRY(jv_true(r, &v, &is));
    if (is) return jinja_eval(r, n->a, out);
    if (n->c) return jinja_eval(r, n->c, out);
    *out = jv_undefined("a condition without else", 24);
    return PGR_OK;
}

static pgr_status eval_logic(jrun *r, const jnode *n, jvalue *out) {
    bool is;
    PGR_TRY(jinja_eval(r, n->a, out));
    PGR_TRY(jv_true(r, out, &is));
    if (n->kind != JN_NOT) return is == (n->kind == JN_OR) ? PGR_OK : jinja_eval(r, n->b, out);
    *out = jv_bool(!is);
    return PGR_OK;
}

static pgr_status compare(jrun *r, jstring op, const jvalue *a, const jvalue *b, bool *out) {
    bool in = js_is(op, "in"), not_in = js_is(op, "not in"), equal = js_is(op, "=="), unequal = js_is(op, "!=");
    if (!in && !not_in && !equal && !unequal) return jv_compare(r, op.s, a, b, out);
    PGR_TRY(in || not_in ? jv_in(r, a, b, out) : jv_equal(r, a, b, out));
    *out ^= not_in || unequal;
    return PGR_OK;
}

/* a < b < c is a < b and b < c. */
static pgr_status eval_comparison(jrun *r, const jnode *n, jvalue *out) {
    jvalue left, right;
    bool is = true;
    PGR_TRY(jinja_eval(r, n->a, &left));
    for (const jnode *c = n->b; is && c; c = c->next) {
        PGR_TRY(jinja_eval(r, c->a, &right));
        r->at.line = c->line;
        PGR_TRY(compare(r, (jstring){c->text, NULL, c->n}, &left, &right, &is));
        left = right;
    }
    *out = jv_bool(is);
    return PGR_OK;
}

static pgr_status eval_binary(jrun *r, const jnode *n, jvalue *out) {
    static const char *const ops[] = {"+", "-", "~", "**", "*", "//", "/", "%"};
    jvalue a, b;
    PGR_TRY(jinja_eval(r, n->a, &a));
    PGR_TRY(jinja_eval(r, n->b, &b));
    r->at.line = n->line;
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++)
        if (js_is((jstring){n->text, NULL, n->n}, ops[i])) return jv_binary(r, ops[i], &a, &b, out);
    return jinja_lacks(&r->at, "the operator %.*s", (int)n->n, n->text);
}

static pgr_status eval_sign(jrun *r, const jnode *n, jvalue *out) {
    const jvalue zero = jv_int(0);
    jvalue v;
    PGR_TRY(jinja_eval(r, n->a, &v));
    if (v.kind == JV_REAL && v.f == 0) return jinja_lacks(&r->at, "the sign of 0.0");
    return jv_binary(r, n->kind == JN_MINUS ? "-" : "+", &zero, &v, out);
}

static pgr_status eval_item(jrun *r, const jnode *n, jvalue *out) {
    jvalue object, index;
    PGR_TRY(jinja_eval(r, n->a, &object));
    PGR_TRY(jinja_eval(r, n->b, &index));
    r->at.line = n->line;
    bool named =
        index.kind == JV_STRING || object.kind == JV_DICT || object.kind == JV_UNDEFINED || object.kind == JV_NONE;
    if (!named) return jv_item(r, &object, &index, out);
    if (index.kind != JV_STRING) index = jv_string((jstring){"an index", NULL, 8});
    return jinja_attribute(r, &object, index.s.s, index.s.n, true, out);
}

static pgr_status eval_slice(jrun *r, const jnode *n, jvalue *out) {
    const jnode *part[3] = {n->b, n->c, n->d};
    jvalue object, v[3];
    PGR_TRY(jinja_eval(r, n->a, &object));
    for (size_t i = 0; i < 3; i++) {
        v[i] = jv_none();
        if (part[i]) PGR_TRY(jinja_eval(r, part[i], &v[i]));
    }
    r->at.line = n->line;
    return jv_slice(r, &object, v, out);
}

/* ---- calls ---- */

static pgr_status eval_args(jrun *r, const jnode *list, jarguments *out) {
    jargument *v;
    size_t n = 0, i = 0;
    for (const jnode *a = list; a; a = a->next) n++;
    PGR_TRY(jv_alloc(r, n, sizeof *v, &v));
    for (const jnode *a = list; a; a = a->next, i++) {
        v[i] = (jargument){.name = a->text, .n_name = a->n};
        PGR_TRY(jinja_eval(r, a->a, &v[i].value));
    }
    *out = (jarguments){v, n};
    return PGR_OK;
}

/* What the statements print, as a string. They run in `scope`. */
pgr_status jinja_capture(jrun *r, jscope *scope, const jnode *body, jstring *out) {
    buf text = {0}, made = {0}, *outer_text = r->text, *outer_made = r->made;
    jscope *outer = r->scope;
    flow how = GO_ON;
    r->text = &text;
    r->made = &made;
    r->scope = scope;
    pgr_status s = jinja_run_list(r, body, &how);
    r->text = outer_text;
    r->made = outer_made;
    r->scope = outer;
    if (s == PGR_OK) s = jv_taken(r, &text, &made, out);
    buf_free(&text);
    buf_free(&made);
    return s;
}

/* The argument for the parameter `at`; NULL: none was given. */
static const jvalue *argument_for(const jnode *param, size_t at, jarguments args) {
    if (at < args.n && args.v[at].n_name == 0) return &args.v[at].value;
    for (size_t i = 0; i < args.n; i++)
        if (args.v[i].n_name == param->n && memcmp(args.v[i].name, param->text, param->n) == 0) return &args.v[i].value;
    return NULL;
}

static pgr_status bind_macro(jrun *r, const jnode *macro, jarguments args, jscope *scope) {
    size_t at = 0, used = 0;
    jscope *outer = r->scope;
    for (const jnode *p = macro->a; p; p = p->next, at++) {
        const jvalue *given = argument_for(p, at, args);
        jvalue v = given ? *given : jv_undefined(p->text, p->n);
        used += given != NULL;
        PGR_TRY(jv_spend(r, args.n));
        if (!given && p->a) {
            r->scope = scope; /* a default may name the parameters before it */
            pgr_status s = jinja_eval(r, p->a, &v);
            r->scope = outer;
            PGR_TRY(s);
        }
        PGR_TRY(jinja_assign(r, scope, p->text, p->n, &v));
    }
    if (used == args.n) return PGR_OK;
    return jinja_wrong(&r->at, "arguments that the macro %.*s does not take", (int)(macro->n < 60 ? macro->n : 60),
                       macro->text);
}

static pgr_status call_macro(jrun *r, const jvalue *macro, jarguments args, jvalue *out) {
    jscope *scope;
    const jvalue *caller = r->caller;
    r->caller = NULL;
    PGR_TRY(jinja_new_scope(r, macro->macro.scope, &scope));
    PGR_TRY(bind_macro(r, macro->macro.node, args, scope));
    if (caller && !macro->macro.node->i) return jinja_wrong(&r->at, "a call block of a macro that has no caller()");
    if (caller) PGR_TRY(jinja_assign(r, scope, "caller", 6, caller));
    out->kind = JV_STRING;
    return jinja_capture(r, scope, macro->macro.node->b, &out->s);
}

/* caller: of a call block; NULL: none */
pgr_status jinja_eval_call(jrun *r, const jnode *n, const jvalue *caller, jvalue *out) {
    jvalue object, callee;
    jarguments args;
    bool attribute = n->a->kind == JN_ATTRIBUTE;
    PGR_TRY(jinja_eval(r, attribute ? n->a->a : n->a, &object));
    bool method = attribute && jinja_has_method(&object, n->a->text, n->a->n);
    callee = object;
    if (attribute && !method) PGR_TRY(jinja_attribute(r, &object, n->a->text, n->a->n, false, &callee));
    PGR_TRY(eval_args(r, n->b, &args));
    r->at.line = n->line;
    if (caller && callee.kind != JV_MACRO) return jinja_lacks(&r->at, "a call block of anything but a macro");
    r->caller = caller;
    if (method) return jinja_method(r, &object, n->a->text, n->a->n, args, out);
    if (callee.kind == JV_FUNCTION) return jinja_function(r, (int)callee.i, args, out);
    if (callee.kind == JV_MACRO) return call_macro(r, &callee, args, out);
    int shown = (int)(n->a->n < 60 ? n->a->n : 60);
    if (callee.kind == JV_UNDEFINED) return jinja_lacks(&r->at, "the function %.*s", shown, n->a->text);
    return jinja_wrong(&r->at, "%s \"%.*s\" is called", jv_name(&callee), shown, n->a->text);
}

static pgr_status eval_filter(jrun *r, const jnode *n, jvalue *out) {
    jvalue v;
    jarguments args;
    bool is = false;
    PGR_TRY(jinja_eval(r, n->a, &v));
    if (n->i < 0)
        return jinja_lacks(&r->at, "the %s %.*s", n->kind == JN_FILTER ? "filter" : "test",
                           (int)(n->n < 60 ? n->n : 60), n->text);
    PGR_TRY(eval_args(r, n->b, &args));
    r->at.line = n->line;
    if (n->kind == JN_FILTER) return jinja_filter(r, (int)n->i, &v, args, out);
    PGR_TRY(jinja_test(r, (int)n->i, &v, args, &is));
    *out = jv_bool(is);
    return PGR_OK;
}

static jvalue constant(const jrun *r, const jnode *n) {
    switch (n->kind) {
    case JN_STRING:
        return jv_string((jstring){n->text, n->made, n->n});
    case JN_INTEGER:
        return jv_int(n->i);
    case JN_REAL:
        return (jvalue){.kind = JV_REAL, .f = n->f};
    case JN_CAPTURED:
        return r->captured;
    case JN_NONE:
        return jv_none();
    default:
        return jv_bool(n->kind == JN_TRUE);
    }
}

static pgr_status eval_attribute(jrun *r, const jnode *n, jvalue *out) {
    jvalue object;
    PGR_TRY(jinja_eval(r, n->a, &object));
    r->at.line = n->line;
    return jinja_attribute(r, &object, n->text, n->n, false, out);
}

static pgr_status eval_node(jrun *r, const jnode *n, jvalue *out) {
    switch (n->kind) {
    case JN_NAME:
        return look_up(r, n, out);
    case JN_STRING:
    case JN_INTEGER:
    case JN_REAL:
    case JN_TRUE:
    case JN_FALSE:
    case JN_NONE:
    case JN_CAPTURED:
        *out = constant(r, n);
        return PGR_OK;
    case JN_LIST:
    case JN_TUPLE:
        return eval_elements(r, n, out);
    case JN_DICT:
        return eval_dict(r, n, out);
    case JN_COND:
        return eval_condition(r, n, out);
    case JN_OR:
    case JN_AND:
    case JN_NOT:
        return eval_logic(r, n, out);
    case JN_MINUS:
    case JN_PLUS:
        return eval_sign(r, n, out);
    case JN_COMPARE:
        return eval_comparison(r, n, out);
    case JN_BINARY:
        return eval_binary(r, n, out);
    case JN_ATTRIBUTE:
        return eval_attribute(r, n, out);
    case JN_ITEM:
        return eval_item(r, n, out);
    case JN_SLICE:
        return eval_slice(r, n, out);
    case JN_CALL:
        return jinja_eval_call(r, n, NULL, out);
    case JN_FILTER:
    case JN_TEST:
        return eval_filter(r, n, out);
    case JN_LACKING:
        return jinja_lacks(&r->at, "%s", n->text);
    default:
        PGR_ASSERT(!"an expression");
        return PGR_OK;
    }
}

/* out is set to something harmless even on error */
pgr_status jinja_eval(jrun *r, const jnode *n, jvalue *out) {
    *out = jv_none();
    r->at.line = n->line;
    if (++r->depth > MAX_DEPTH) return jinja_lacks(&r->at, "more than %d levels of evaluation", MAX_DEPTH);
    PGR_TRY(jv_spend(r, WORK_NODE));
    PGR_TRY(eval_node(r, n, out));
    r->depth--;
    return PGR_OK;
}
