/* gbnf.c - reads the text of a grammar (docs/grammar.md) into a tree. Recursive descent; parentheses nest at most
 * MAX_NEST deep. What the tree means as an automaton is nfa.c's. */
#include "infer/gbnf.h"

#include <stdlib.h>
#include <string.h>

#include "infer/gbnf_reader.h"

enum { MAX_NEST = 200, MAX_REPEAT = 200000 };

/* ---- items, sequences, rules ---- */

/* A list of one is its only child. */
static gbnf_node *without_list_of_one(gbnf_node *list) {
    return list->last && !list->last->prev ? list->last : list;
}

static void add_child(gbnf_node *parent, gbnf_node *child) {
    child->prev = parent->last;
    parent->last = child;
}

static pgr_status parse_count(gbnf_reader *ps, int *out) {
    if (gbnf_at_end(ps) || !gbnf_is_digit(*ps->p)) return gbnf_unexpected(ps, "a number, as in {2} {2,} {2,5}");
    *out = 0;
    for (; !gbnf_at_end(ps) && gbnf_is_digit(*ps->p); ps->p++)
        if (*out <= MAX_REPEAT) *out = *out * 10 + (*ps->p - '0');
    if (*out > MAX_REPEAT)
        return fail(ps->err, PGR_E_LIMIT, "%s:%d: found a repeat of more than %d times", ps->g->origin, ps->line,
                    MAX_REPEAT);
    gbnf_skip_blank(ps, false);
    return PGR_OK;
}

/* {n} {n,} {n,m}, after the brace. */
static pgr_status parse_bounds(gbnf_reader *ps, int *min, int *max) {
    gbnf_skip_blank(ps, false);
    PGR_TRY(parse_count(ps, min));
    *max = *min;
    if (gbnf_skip(ps, ',')) {
        gbnf_skip_blank(ps, false);
        *max = GBNF_FOREVER;
        if (!gbnf_at(ps, '}')) PGR_TRY(parse_count(ps, max));
    }
    if (!gbnf_skip(ps, '}')) return gbnf_unexpected(ps, "} at the end of the repeat");
    if (*max != GBNF_FOREVER && *max < *min)
        return fail(ps->err, PGR_E_FORMAT, "%s:%d: found the repeat {%d,%d}, expected the lower number first",
                    ps->g->origin, ps->line, *min, *max);
    return PGR_OK;
}

/* Wraps *item where a repeat follows it. */
static pgr_status parse_repeat(gbnf_reader *ps, gbnf_node **item) {
    int min = 0, max = GBNF_FOREVER;
    if (gbnf_skip(ps, '?'))
        max = 1;
    else if (gbnf_skip(ps, '+'))
        min = 1;
    else if (gbnf_skip(ps, '{'))
        PGR_TRY(parse_bounds(ps, &min, &max));
    else if (!gbnf_skip(ps, '*'))
        return PGR_OK;
    if (gbnf_at(ps, '*') || gbnf_at(ps, '+') || gbnf_at(ps, '?') || gbnf_at(ps, '{'))
        return gbnf_unexpected(ps, "one repeat for an item (put parentheses around it for a second)");
    gbnf_node *repeat = NULL;
    PGR_TRY(gbnf_add_node(ps, GBNF_REPEAT, &repeat));
    repeat->min = min;
    repeat->max = max;
    add_child(repeat, *item);
    *item = repeat;
    return PGR_OK;
}

static pgr_status parse_alternatives(gbnf_reader *ps, gbnf_node **out);

static pgr_status parse_group(gbnf_reader *ps, gbnf_node **out) {
    if (++ps->nest > MAX_NEST)
        return fail(ps->err, PGR_E_LIMIT, "%s:%d: found more than %d nested parentheses", ps->g->origin, ps->line,
                    MAX_NEST);
    ps->p++; /* the parenthesis */
    PGR_TRY(parse_alternatives(ps, out));
    if (!gbnf_skip(ps, ')')) return gbnf_unexpected(ps, "an item, | or ) at the end of the group");
    ps->nest--;
    return PGR_OK;
}

static pgr_status parse_hole(gbnf_reader *ps, gbnf_node **out) {
    ps->p++; /* the at sign */
    ps->hole = true;
    PGR_TRY(gbnf_add_node(ps, GBNF_HOLE, out));
    return gbnf_parse_name(ps, "a hole's name after @", &(*out)->text);
}

static pgr_status parse_reference(gbnf_reader *ps, gbnf_node **out) {
    PGR_TRY(gbnf_add_node(ps, GBNF_RULE, out));
    (*out)->next_ref = ps->refs;
    ps->refs = *out;
    return gbnf_parse_name(ps, "a rule's name", &(*out)->text);
}

/* *out stays NULL where no item begins. */
static pgr_status parse_item(gbnf_reader *ps, gbnf_node **out) {
    *out = NULL;
    if (gbnf_at_end(ps)) return PGR_OK;
    switch (*ps->p) {
    case '"':
        PGR_TRY(gbnf_parse_text(ps, out));
        break;
    case '[':
        PGR_TRY(gbnf_parse_class(ps, out));
        break;
    case '(':
        PGR_TRY(parse_group(ps, out));
        break;
    case '@':
        PGR_TRY(parse_hole(ps, out));
        break;
    case '.':
        PGR_TRY(gbnf_parse_any(ps, out));
        break;
    case '<':
        PGR_TRY(gbnf_parse_token(ps, out));
        break;
    case '$':
        ps->p++;
        PGR_TRY(parse_reference(ps, out));
        (*out)->place = true;
        break;
    default:
        if (!gbnf_in_name(*ps->p)) return PGR_OK;
        PGR_TRY(parse_reference(ps, out));
    }
    return parse_repeat(ps, out);
}

/* Items up to | ) or, outside of parentheses, the line's end. An empty one must be followed by | or ). */
static pgr_status parse_sequence(gbnf_reader *ps, gbnf_node **out) {
    PGR_TRY(gbnf_add_node(ps, GBNF_SEQ, out));
    for (;;) {
        gbnf_node *item = NULL;
        gbnf_skip_blank(ps, ps->nest > 0);
        PGR_TRY(parse_item(ps, &item));
        if (!item) break;
        add_child(*out, item);
    }
    if (!(*out)->last && !gbnf_at(ps, '|') && !gbnf_at(ps, ')'))
        return gbnf_unexpected(ps, "\"text\", [class], ., (group), a rule's name, <token> or @hole");
    *out = without_list_of_one(*out);
    return PGR_OK;
}

static pgr_status parse_alternatives(gbnf_reader *ps, gbnf_node **out) {
    PGR_TRY(gbnf_add_node(ps, GBNF_ALT, out));
    do {
        gbnf_node *sequence = NULL;
        gbnf_skip_blank(ps, true); /* a rule goes on after ::= ( and | */
        PGR_TRY(parse_sequence(ps, &sequence));
        add_child(*out, sequence);
    } while (gbnf_skip(ps, '|'));
    *out = without_list_of_one(*out);
    return PGR_OK;
}

static pgr_status parse_rule(gbnf_reader *ps) {
    gbnf_rule *rule = arena_alloc(&ps->g->arena, sizeof *rule);
    if (!rule) return fail_mem(ps->err);
    rule->line = ps->line;
    PGR_TRY(gbnf_parse_name(ps, "a rule's name (a rule goes on after | or in parentheses)", &rule->name));
    gbnf_skip_blank(ps, false);
    if (!(gbnf_skip(ps, ':') && gbnf_skip(ps, ':') && gbnf_skip(ps, '=')))
        return gbnf_unexpected(ps, "::= after the rule's name");
    ps->hole = false;
    PGR_TRY(parse_alternatives(ps, &rule->body));
    if (!gbnf_at_end(ps) && *ps->p != '\n')
        return gbnf_unexpected(ps, "\"text\", [class], ., (group), a rule's name, <token>, @hole, | or the line's end");
    rule->has_hole = ps->hole;
    rule->next = ps->rules;
    ps->rules = rule;
    ps->g->n_rule++;
    return PGR_OK;
}

/* ---- names ---- */

static int by_name(const void *a, const void *b) {
    const gbnf_rule *x = a, *y = b;
    int order = strcmp(x->name, y->name);
    return order ? order : x->line - y->line;
}

static gbnf_rule *find_rule(const gbnf *g, const char *name) {
    size_t lo = 0, hi = g->n_rule;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        int order = strcmp(name, g->rules[mid].name);
        if (order == 0) return &g->rules[mid];
        if (order < 0)
            hi = mid;
        else
            lo = mid + 1;
    }
    return NULL;
}

/* Puts the rules into an array by name. */
static pgr_status index_rules(gbnf_reader *ps) {
    gbnf *g = ps->g;
    size_t i = 0;
    g->rules = arena_array(&g->arena, g->n_rule + 1, sizeof *g->rules);
    if (!g->rules) return fail_mem(ps->err);
    for (const gbnf_rule *rule = ps->rules; rule; rule = rule->next) g->rules[i++] = *rule;
    qsort(g->rules, g->n_rule, sizeof *g->rules, by_name);
    for (i = 1; i < g->n_rule; i++)
        if (strcmp(g->rules[i].name, g->rules[i - 1].name) == 0)
            return fail(ps->err, PGR_E_FORMAT, "%s:%d: found rule %s a second time, the first is in line %d", g->origin,
                        g->rules[i].line, g->rules[i].name, g->rules[i - 1].line);
    return PGR_OK;
}

static pgr_status resolve(gbnf_reader *ps) {
    gbnf *g = ps->g;
    for (gbnf_node *ref = ps->refs; ref; ref = ref->next_ref) {
        ref->rule = find_rule(g, ref->text);
        if (!ref->rule)
            return fail(ps->err, PGR_E_FORMAT, "%s:%d: found %s, expected the name of a rule of this grammar",
                        g->origin, ref->line, ref->text);
    }
    g->root = find_rule(g, "root");
    if (!g->root) return fail(ps->err, PGR_E_FORMAT, "%s:%d: found no rule root, expected one", g->origin, ps->line);
    return PGR_OK;
}

pgr_status gbnf_parse(const char *text, size_t n, const char *origin, gbnf *out, pgr_error *err) {
    *out = (gbnf){.origin = origin};
    gbnf_reader ps = {.g = out, .p = text, .end = text + n, .line = 1, .err = err};
    if (n >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0) ps.p += 3; /* a byte order mark */
    for (gbnf_skip_blank(&ps, true); !gbnf_at_end(&ps); gbnf_skip_blank(&ps, true)) PGR_TRY(parse_rule(&ps));
    PGR_TRY(index_rules(&ps));
    return resolve(&ps);
}

void gbnf_free(gbnf *g) {
    arena_free(&g->arena);
}
