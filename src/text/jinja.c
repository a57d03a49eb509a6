/* jinja.c - owns the running of a template: statements, what they see. Expressions are jinja_eval.c's. */
#include "text/jinja.h"

#include <string.h>

#include "base/mem.h"
#include "base/text.h"
#include "text/jinja_run.h"

enum {
    WORK_LEAST = 64 << 20,
    WORK_PER_BYTE = 64, /* of the conversation */
    MAX_TEMPLATE = 1 << 20,
};

struct jinja {
    arena a;
    char *origin;
    jnode *body;
};

/* ---- statements ---- */

static pgr_status print(jrun *r, jstring s) {
    PGR_TRY(jv_spend(r, s.n));
    js_put(r->text, r->made, s);
    return r->text->failed || r->made->failed ? fail_mem(r->at.err) : PGR_OK;
}

static pgr_status print_value(jrun *r, const jnode *n) {
    jvalue v;
    jstring s;
    PGR_TRY(jinja_eval(r, n->a, &v));
    PGR_TRY(jv_str(r, &v, &s));
    return print(r, s);
}

static pgr_status run_if(jrun *r, const jnode *n, flow *how) {
    jvalue v;
    bool is;
    PGR_TRY(jinja_eval(r, n->a, &v));
    PGR_TRY(jv_true(r, &v, &is));
    return jinja_run_list(r, is ? n->b : n->c, how);
}

static pgr_status run_set(jrun *r, const jnode *n) {
    jvalue v, space;
    PGR_TRY(jinja_eval(r, n->b, &v));
    r->at.line = n->line;
    if (n->a->kind == JN_NAME) return jinja_assign_names(r, r->scope, n->a, &v);
    PGR_TRY(jinja_eval(r, n->a->a, &space));
    if (space.kind != JV_NAMESPACE)
        return jinja_wrong(&r->at, "an attribute is set of %s, expected a namespace", jv_name(&space));
    if (n->a->text[0] == '_') return jinja_lacks(&r->at, "a namespace's attribute that begins with _");
    return jinja_assign(r, space.names, n->a->text, n->a->n, &v);
}

static pgr_status run_set_block(jrun *r, const jnode *n) {
    jscope *scope;
    jvalue v = {.kind = JV_STRING}, outer = r->captured;
    PGR_TRY(jinja_new_scope(r, r->scope, &scope));
    PGR_TRY(jinja_capture(r, scope, n->b, &v.s));
    r->captured = v;
    PGR_TRY(jinja_eval(r, n->c, &v));
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
        PGR_TRY(jinja_new_scope(r, outer, &r->scope));
        PGR_TRY(jinja_assign_names(r, r->scope, n->a, &(*list)[i]));
        PGR_TRY(jinja_eval(r, n->c, &v));
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
        PGR_TRY(jinja_new_scope(r, outer, &r->scope));
        PGR_TRY(jinja_assign(r, r->scope, "loop", 4, &loop));
        PGR_TRY(jinja_assign_names(r, r->scope, n->a, &l->v[l->at]));
        how = GO_ON;
        PGR_TRY(jinja_run_list(r, n->d, &how));
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
    if (n->i) return jinja_lacks(&r->at, "a recursive loop");
    PGR_TRY(jinja_eval(r, n->b, &v));
    r->at.line = n->line;
    PGR_TRY(jv_elements(r, &v, &list, &count));
    if (n->c) PGR_TRY(chosen(r, n, &list, &count));
    if (count == 0) {
        jscope *outer = r->scope;
        PGR_TRY(jinja_new_scope(r, outer, &r->scope));
        PGR_TRY(jinja_run_list(r, n->e, &how));
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
    PGR_TRY(jinja_new_scope(r, r->scope, &scope));
    PGR_TRY(jinja_capture(r, scope, n->a, &s));
    return print(r, s);
}

/* {% call %}: the body is a macro of its own, which the called one sees as caller. */
static pgr_status run_call_block(jrun *r, const jnode *n) {
    jnode *body;
    jvalue caller = {.kind = JV_MACRO}, v;
    PGR_TRY(jv_alloc(r, 1, sizeof *body, &body));
    *body = (jnode){.kind = JN_MACRO, .line = n->line, .text = "caller", .n = 6, .a = n->a, .b = n->c};
    caller.macro.node = body;
    caller.macro.scope = r->scope;
    PGR_TRY(jinja_eval_call(r, n->b, &caller, &v));
    return print(r, v.s);
}

static pgr_status run_filter_block(jrun *r, const jnode *n) {
    jscope *scope;
    jvalue v = {.kind = JV_STRING}, outer = r->captured;
    jstring s;
    PGR_TRY(jinja_new_scope(r, r->scope, &scope));
    PGR_TRY(jinja_capture(r, scope, n->a, &v.s));
    r->captured = v;
    PGR_TRY(jinja_eval(r, n->b, &v));
    r->captured = outer;
    PGR_TRY(jv_str(r, &v, &s));
    return print(r, s);
}

/* The values are those of the scope outside. */
static pgr_status run_with(jrun *r, const jnode *n, flow *how) {
    jscope *outer = r->scope, *scope;
    PGR_TRY(jinja_new_scope(r, outer, &scope));
    for (const jnode *name = n->a, *value = n->b; name; name = name->next, value = value->next) {
        jvalue v;
        PGR_TRY(jinja_eval(r, value, &v));
        PGR_TRY(jinja_assign(r, scope, name->text, name->n, &v));
    }
    r->scope = scope;
    PGR_TRY(jinja_run_list(r, n->c, how));
    r->scope = outer;
    return PGR_OK;
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
    case JN_WITH:
        return run_with(r, n, how);
    case JN_CALL_BLOCK:
        return run_call_block(r, n);
    case JN_FILTER_BLOCK:
        return run_filter_block(r, n);
    case JN_LACKING:
        return jinja_lacks(&r->at, "%s", n->text);
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
pgr_status jinja_run_list(jrun *r, const jnode *list, flow *how) {
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
    PGR_TRY(jinja_new_scope(r, NULL, &r->scope));
    PGR_TRY(set_messages(r));
    PGR_TRY(set(r, "add_generation_prompt", jv_bool(r->in->generate)));
    PGR_TRY(set(r, "enable_thinking", jv_bool(false)));
    PGR_TRY(set(r, "tools", jv_none()));
    PGR_TRY(set(r, "documents", jv_none()));
    PGR_TRY(set_text(r, "bos_token", r->in->bos));
    PGR_TRY(set_text(r, "eos_token", r->in->eos));
    PGR_TRY(jinja_new_scope(r, r->scope, &r->scope));
    return jinja_run_list(r, body, &how);
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
