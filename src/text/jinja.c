/* jinja.c - owns the running of a template: scopes, statements, expressions. */
#include "text/jinja.h"

#include <string.h>

#include "base/mem.h"
#include "base/text.h"
#include "text/jinja_call.h"

enum {
    MAX_DEPTH = 300, /* of the tree and the macros called in it */
    WORK_NODE = 32,  /* what a node costs, in bytes of work */
    WORK_LEAST = 64 << 20,
    WORK_PER_BYTE = 64, /* of the conversation */
    MAX_TEMPLATE = 1 << 20,
};

struct jinja {
    arena a;
    char *origin;
    jnode *body;
};

typedef enum flow { GO_ON, BREAK, CONTINUE } flow;

static pgr_status eval(jrun *r, const jnode *n, jvalue *out);
static pgr_status run(jrun *r, const jnode *list, flow *how);

/* ---- scopes ---- */

static pgr_status new_scope(jrun *r, jscope *outer, jscope **out) {
    PGR_TRY(jv_alloc(r, 1, sizeof **out, out));
    **out = (jscope){.outer = outer};
    return PGR_OK;
}

static pgr_status look_up(jrun *r, const jnode *n, jvalue *out) {
    static const char *const lacking[] = {"cycler", "joiner",  "lipsum", "self", "super",
                                          "caller", "varargs", "kwargs", NULL};
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
static pgr_status assign_names(jrun *r, jscope *scope, const jnode *names, const jvalue *v) {
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
    for (const jnode *e = n->a; e; e = e->next) PGR_TRY(eval(r, e, &v[i++]));
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
        PGR_TRY(eval(r, e, &key));
        PGR_TRY(eval(r, e->next, &value));
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
    PGR_TRY(eval(r, n->b, &v));
    PGR_TRY(jv_true(r, &v, &is));
    if (is) return eval(r, n->a, out);
    if (n->c) return eval(r, n->c, out);
    *out = jv_undefined("a condition without else", 24);
    return PGR_OK;
}

static pgr_status eval_logic(jrun *r, const jnode *n, jvalue *out) {
    bool is;
    PGR_TRY(eval(r, n->a, out));
    PGR_TRY(jv_true(r, out, &is));
    if (n->kind != JN_NOT) return is == (n->kind == JN_OR) ? PGR_OK : eval(r, n->b, out);
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
    PGR_TRY(eval(r, n->a, &left));
    for (const jnode *c = n->b; is && c; c = c->next) {
        PGR_TRY(eval(r, c->a, &right));
        r->at.line = c->line;
        PGR_TRY(compare(r, (jstring){c->text, NULL, c->n}, &left, &right, &is));
        left = right;
    }
    *out = jv_bool(is);
    return PGR_OK;
}

static pgr_status eval_binary(jrun *r, const jnode *n, jvalue *out) {
    static const char *const ops[] = {"+", "-", "~", "*", "//", "/", "%"};
    jvalue a, b;
    PGR_TRY(eval(r, n->a, &a));
    PGR_TRY(eval(r, n->b, &b));
    r->at.line = n->line;
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++)
        if (js_is((jstring){n->text, NULL, n->n}, ops[i])) return jv_binary(r, ops[i], &a, &b, out);
    return jinja_lacks(&r->at, "the operator %.*s", (int)n->n, n->text);
}

static pgr_status eval_sign(jrun *r, const jnode *n, jvalue *out) {
    const jvalue zero = jv_int(0);
    jvalue v;
    PGR_TRY(eval(r, n->a, &v));
    if (v.kind == JV_REAL && v.f == 0) return jinja_lacks(&r->at, "the sign of 0.0");
    return jv_binary(r, n->kind == JN_MINUS ? "-" : "+", &zero, &v, out);
}

static pgr_status eval_item(jrun *r, const jnode *n, jvalue *out) {
    jvalue object, index;
    PGR_TRY(eval(r, n->a, &object));
    PGR_TRY(eval(r, n->b, &index));
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
    PGR_TRY(eval(r, n->a, &object));
    for (size_t i = 0; i < 3; i++) {
        v[i] = jv_none();
        if (part[i]) PGR_TRY(eval(r, part[i], &v[i]));
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
        PGR_TRY(eval(r, a->a, &v[i].value));
    }
    *out = (jarguments){v, n};
    return PGR_OK;
}

/* What the statements print, as a string. They run in `scope`. */
static pgr_status capture(jrun *r, jscope *scope, const jnode *body, jstring *out) {
    buf text = {0}, made = {0}, *outer_text = r->text, *outer_made = r->made;
    jscope *outer = r->scope;
    flow how = GO_ON;
    r->text = &text;
    r->made = &made;
    r->scope = scope;
    pgr_status s = run(r, body, &how);
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
            pgr_status s = eval(r, p->a, &v);
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
    PGR_TRY(new_scope(r, macro->macro.scope, &scope));
    PGR_TRY(bind_macro(r, macro->macro.node, args, scope));
    out->kind = JV_STRING;
    return capture(r, scope, macro->macro.node->b, &out->s);
}

static pgr_status eval_call(jrun *r, const jnode *n, jvalue *out) {
    jvalue object, callee;
    jarguments args;
    bool attribute = n->a->kind == JN_ATTRIBUTE;
    PGR_TRY(eval(r, attribute ? n->a->a : n->a, &object));
    bool method = attribute && jinja_has_method(&object, n->a->text, n->a->n);
    callee = object;
    if (attribute && !method) PGR_TRY(jinja_attribute(r, &object, n->a->text, n->a->n, false, &callee));
    PGR_TRY(eval_args(r, n->b, &args));
    r->at.line = n->line;
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
    PGR_TRY(eval(r, n->a, &v));
    PGR_TRY(eval_args(r, n->b, &args));
    r->at.line = n->line;
    if (n->kind == JN_FILTER) return jinja_filter(r, (int)n->i, &v, args, out);
    PGR_TRY(jinja_test(r, (int)n->i, &v, args, &is));
    *out = jv_bool(is);
    return PGR_OK;
}

static pgr_status eval_node(jrun *r, const jnode *n, jvalue *out) {
    switch (n->kind) {
    case JN_NAME:
        return look_up(r, n, out);
    case JN_STRING:
        *out = jv_string((jstring){n->text, n->made, n->n});
        return PGR_OK;
    case JN_INTEGER:
        *out = jv_int(n->i);
        return PGR_OK;
    case JN_REAL:
        *out = (jvalue){.kind = JV_REAL, .f = n->f};
        return PGR_OK;
    case JN_TRUE:
    case JN_FALSE:
        *out = jv_bool(n->kind == JN_TRUE);
        return PGR_OK;
    case JN_NONE:
        *out = jv_none();
        return PGR_OK;
    case JN_CAPTURED:
        *out = r->captured;
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
    case JN_ATTRIBUTE: {
        jvalue object;
        PGR_TRY(eval(r, n->a, &object));
        r->at.line = n->line;
        return jinja_attribute(r, &object, n->text, n->n, false, out);
    }
    case JN_ITEM:
        return eval_item(r, n, out);
    case JN_SLICE:
        return eval_slice(r, n, out);
    case JN_CALL:
        return eval_call(r, n, out);
    case JN_FILTER:
    case JN_TEST:
        return eval_filter(r, n, out);
    default:
        PGR_ASSERT(!"an expression");
        return PGR_OK;
    }
}

/* out is set to something harmless even on error */
static pgr_status eval(jrun *r, const jnode *n, jvalue *out) {
    *out = jv_none();
    r->at.line = n->line;
    if (++r->depth > MAX_DEPTH) return jinja_lacks(&r->at, "more than %d levels of evaluation", MAX_DEPTH);
    PGR_TRY(jv_spend(r, WORK_NODE));
    PGR_TRY(eval_node(r, n, out));
    r->depth--;
    return PGR_OK;
}

/* ---- statements ---- */

static pgr_status print(jrun *r, jstring s) {
    PGR_TRY(jv_spend(r, s.n));
    js_put(r->text, r->made, s);
    return r->text->failed || r->made->failed ? fail_mem(r->at.err) : PGR_OK;
}

static pgr_status print_value(jrun *r, const jnode *n) {
    jvalue v;
    jstring s;
    PGR_TRY(eval(r, n->a, &v));
    PGR_TRY(jv_str(r, &v, &s));
    return print(r, s);
}

static pgr_status run_if(jrun *r, const jnode *n, flow *how) {
    jvalue v;
    bool is;
    PGR_TRY(eval(r, n->a, &v));
    PGR_TRY(jv_true(r, &v, &is));
    return run(r, is ? n->b : n->c, how);
}

static pgr_status run_set(jrun *r, const jnode *n) {
    jvalue v, space;
    PGR_TRY(eval(r, n->b, &v));
    r->at.line = n->line;
    if (n->a->kind == JN_NAME) return assign_names(r, r->scope, n->a, &v);
    PGR_TRY(eval(r, n->a->a, &space));
    if (space.kind != JV_NAMESPACE)
        return jinja_wrong(&r->at, "an attribute is set of %s, expected a namespace", jv_name(&space));
    if (n->a->text[0] == '_') return jinja_lacks(&r->at, "a namespace's attribute that begins with _");
    return jinja_assign(r, space.names, n->a->text, n->a->n, &v);
}

static pgr_status run_set_block(jrun *r, const jnode *n) {
    jscope *scope;
    jvalue v = {.kind = JV_STRING}, outer = r->captured;
    PGR_TRY(new_scope(r, r->scope, &scope));
    PGR_TRY(capture(r, scope, n->b, &v.s));
    r->captured = v;
    PGR_TRY(eval(r, n->c, &v));
    r->captured = outer;
    return jinja_assign(r, r->scope, n->a->text, n->a->n, &v);
}

/* The elements for which the loop's condition holds. */
static pgr_status chosen(jrun *r, const jnode *n, const jvalue **list, size_t *count) {
    jscope *outer = r->scope;
    jvalue *kept;
    size_t n_kept = 0;
    PGR_TRY(jv_alloc(r, *count, sizeof *kept, &kept));
    for (size_t i = 0; i < *count; i++) {
        jvalue v;
        bool is;
        PGR_TRY(new_scope(r, outer, &r->scope));
        PGR_TRY(assign_names(r, r->scope, n->a, &(*list)[i]));
        PGR_TRY(eval(r, n->c, &v));
        PGR_TRY(jv_true(r, &v, &is));
        if (is) kept[n_kept++] = (*list)[i];
    }
    r->scope = outer;
    *list = kept;
    *count = n_kept;
    return PGR_OK;
}

static pgr_status run_loop(jrun *r, const jnode *n, jloop *l) {
    jscope *outer = r->scope;
    const jvalue loop = {.kind = JV_LOOP, .loop = l};
    flow how = GO_ON;
    for (l->at = 0; how != BREAK && l->at < l->n; l->at++) {
        PGR_TRY(jv_spend(r, WORK_NODE));
        PGR_TRY(new_scope(r, outer, &r->scope));
        PGR_TRY(jinja_assign(r, r->scope, "loop", 4, &loop));
        PGR_TRY(assign_names(r, r->scope, n->a, &l->v[l->at]));
        how = GO_ON;
        PGR_TRY(run(r, n->d, &how));
    }
    r->scope = outer;
    return PGR_OK;
}

static pgr_status run_for(jrun *r, const jnode *n) {
    jvalue v;
    const jvalue *list = NULL;
    size_t count;
    jloop *l;
    flow how = GO_ON;
    PGR_TRY(eval(r, n->b, &v));
    r->at.line = n->line;
    PGR_TRY(jv_elements(r, &v, &list, &count));
    if (n->c) PGR_TRY(chosen(r, n, &list, &count));
    if (count == 0) {
        jscope *outer = r->scope;
        PGR_TRY(new_scope(r, outer, &r->scope));
        PGR_TRY(run(r, n->e, &how));
        r->scope = outer;
        return PGR_OK;
    }
    PGR_TRY(jv_alloc(r, 1, sizeof *l, &l));
    *l = (jloop){.v = list, .n = count, .depth = ++r->loops};
    PGR_TRY(run_loop(r, n, l));
    r->loops--;
    return PGR_OK;
}

static pgr_status run_scope(jrun *r, const jnode *n) {
    jscope *scope;
    jstring s;
    PGR_TRY(new_scope(r, r->scope, &scope));
    PGR_TRY(capture(r, scope, n->a, &s));
    return print(r, s);
}

static pgr_status run_node(jrun *r, const jnode *n, flow *how) {
    switch (n->kind) {
    case JN_TEXT:
        return print(r, (jstring){n->text, n->made, n->n});
    case JN_PRINT:
        return print_value(r, n);
    case JN_IF:
        return run_if(r, n, how);
    case JN_FOR:
        return run_for(r, n);
    case JN_SET:
        return run_set(r, n);
    case JN_SET_BLOCK:
        return run_set_block(r, n);
    case JN_MACRO: {
        jvalue macro = {.kind = JV_MACRO, .macro = {n, r->scope}};
        return jinja_assign(r, r->scope, n->text, n->n, &macro);
    }
    case JN_SCOPE:
        return run_scope(r, n);
    case JN_BREAK:
    case JN_CONTINUE:
        *how = n->kind == JN_BREAK ? BREAK : CONTINUE;
        return PGR_OK;
    default:
        PGR_ASSERT(!"a statement");
        return PGR_OK;
    }
}

/* Until the end or a break or continue, which *how then says. */
static pgr_status run(jrun *r, const jnode *list, flow *how) {
    if (++r->depth > MAX_DEPTH) return jinja_lacks(&r->at, "more than %d levels of evaluation", MAX_DEPTH);
    for (; list && *how == GO_ON; list = list->next) {
        r->at.line = list->line;
        PGR_TRY(jv_spend(r, WORK_NODE));
        PGR_TRY(run_node(r, list, how));
    }
    r->depth--;
    return PGR_OK;
}

/* ---- what a template sees ---- */

static pgr_status set(jrun *r, const char *name, jvalue v) {
    return jinja_assign(r, r->scope, name, strlen(name), &v);
}

static pgr_status set_text(jrun *r, const char *name, const char *text) {
    jvalue v = {.kind = JV_STRING};
    if (!text) return PGR_OK;
    PGR_TRY(jv_text(r, text, strlen(text), true, &v.s));
    return set(r, name, v);
}

static pgr_status set_messages(jrun *r) {
    const jinja_input *in = r->in;
    jvalue *list;
    jpair *pair;
    PGR_TRY(jv_alloc(r, in->n_message, sizeof *list, &list));
    PGR_TRY(jv_alloc(r, 2 * in->n_message, sizeof *pair, &pair));
    for (size_t i = 0; i < in->n_message; i++, pair += 2) {
        const chat_message *m = &in->messages[i];
        PGR_TRY(jv_text(r, "role", 4, true, &pair[0].key));
        PGR_TRY(jv_text(r, "content", 7, true, &pair[1].key));
        pair[0].value.kind = JV_STRING;
        PGR_TRY(jv_text(r, m->role, strlen(m->role), true, &pair[0].value.s));
        pair[1].value = jv_string((jstring){m->n ? m->text : "", NULL, m->n});
        list[i] = (jvalue){.kind = JV_DICT, .dict = {pair, 2}};
    }
    return set(r, "messages", jv_list(list, in->n_message, JF_LIST));
}

static pgr_status render(jrun *r, const jnode *body) {
    flow how = GO_ON;
    PGR_TRY(new_scope(r, NULL, &r->scope));
    PGR_TRY(set_messages(r));
    PGR_TRY(set(r, "add_generation_prompt", jv_bool(r->in->generate)));
    PGR_TRY(set(r, "enable_thinking", jv_bool(false)));
    PGR_TRY(set(r, "tools", jv_none()));
    PGR_TRY(set(r, "documents", jv_none()));
    PGR_TRY(set_text(r, "bos_token", r->in->bos));
    PGR_TRY(set_text(r, "eos_token", r->in->eos));
    PGR_TRY(new_scope(r, r->scope, &r->scope));
    return run(r, body, &how);
}

pgr_status jinja_render(const jinja *j, const jinja_input *in, buf *text, buf *made, pgr_error *err) {
    jrun r = {.at = {.origin = j->origin, .err = err}, .left = WORK_LEAST, .text = text, .made = made, .in = in};
    for (size_t i = 0; i < in->n_message; i++) {
        size_t more =
            in->messages[i].n < SIZE_MAX / 4 / WORK_PER_BYTE ? in->messages[i].n * WORK_PER_BYTE : SIZE_MAX / 4;
        r.left = r.left < SIZE_MAX - more ? r.left + more : SIZE_MAX;
    }
    pgr_status s = render(&r, j->body);
    arena_free(&r.a);
    return s;
}

/* ---- parsing ---- */

static pgr_status parse(jinja *j, const char *text, size_t n, const char *origin, pgr_error *err) {
    j->origin = arena_strdup(&j->a, origin);
    if (!j->origin) return fail_mem(err);
    jinja_at at = {.origin = j->origin, .err = err};
    if (memchr(text, 0, n) || !utf8_valid(text, n))
        return fail(err, PGR_E_FORMAT, "%.120s: the chat template is not UTF-8 text", origin);
    if (n > MAX_TEMPLATE)
        return fail(err, PGR_E_LIMIT, "%.120s: the chat template has more than %d bytes", origin, MAX_TEMPLATE);
    buf tokens = {0};
    pgr_status s = jinja_lex(text, n, &at, &j->a, &tokens);
    if (s == PGR_OK) s = jinja_tree((const jtoken *)(const void *)tokens.data, &at, &j->a, &j->body);
    buf_free(&tokens);
    return s;
}

pgr_status jinja_parse(const char *text, size_t n, const char *origin, jinja **out, pgr_error *err) {
    jinja *j = mem_zero(1, sizeof *j);
    if (!j) return fail_mem(err);
    pgr_status s = parse(j, text, n, origin, err);
    if (s == PGR_OK)
        *out = j;
    else
        jinja_free(j);
    return s;
}

void jinja_free(jinja *j) {
    if (!j) return;
    arena_free(&j->a);
    mem_free(j);
}
