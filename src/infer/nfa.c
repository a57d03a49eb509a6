/* nfa.c - compiles a grammar's tree to an automaton over bytes (Thompson's construction), rules copied in where they
 * are used. Two passes: the first measures every rule (and finds recursion), so that the second has its memory and
 * cannot fail.
 *
 * The second builds from the end: a node is compiled when the state that follows it is known. So the fewest bytes to
 * the end are known for every state when it is made, and what cannot reach the end is never made. */
#include "infer/nfa.h"

#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/text.h"
#include "infer/grammar.h"

enum { HEIGHT_LIMIT = 1000 };  /* nested nodes, rules followed: bounds the recursion of both passes */
enum { STEP_LIMIT = 2000000 }; /* nodes measured: rules inside of a recursion are measured again at each use */
enum { NEVER = UINT32_MAX };   /* the distance of a state that does not reach the end, as far as is known */

typedef struct builder {
    gbnf *g;
    nfa *m;
    size_t cap;
    buf sequences;   /* scratch of one class */
    uint32_t n_open; /* rules being measured */
    uint32_t tail;   /* the lowest of them whose end is the end of all that are open above it */
    uint32_t escape; /* the lowest open rule that was gone round to since */
    uint32_t steps;
    bool recursive; /* some rule goes round */
    uint32_t place; /* second pass: the place that is being built, 0: none */
    pgr_error *err;
} builder;

typedef struct measure {
    uint32_t size; /* states that building needs at most, at least 1 */
    uint32_t height;
} measure;

/* ---- classes: ranges of characters as sequences of byte ranges ---- */

typedef struct byte_sequence {
    uint8_t n, lo[4], hi[4];
} byte_sequence;

typedef struct byte_class {
    byte_sequence *seq;
    size_t n;
} byte_class;

static void add_sequence(buf *out, uint32_t lo, uint32_t hi) {
    char a[4], b[4];
    byte_sequence s = {.n = (uint8_t)utf8_put(a, lo)};
    utf8_put(b, hi);
    memcpy(s.lo, a, s.n);
    memcpy(s.hi, b, s.n);
    buf_add(out, &s, sizeof s);
}

/* lo..hi without surrogates as byte sequences: cut so that both ends have the same length, and that all bytes after the
 * first one in which they differ run over their whole range 80..BF. */
static void split_range(buf *out, uint32_t lo, uint32_t hi) {
    static const uint32_t last_of_length[] = {0x7F, 0x7FF, 0xFFFF};
    for (size_t i = 0; i < 3; i++)
        if (lo <= last_of_length[i] && hi > last_of_length[i]) {
            split_range(out, lo, last_of_length[i]);
            split_range(out, last_of_length[i] + 1, hi);
            return;
        }
    for (uint32_t bits = 6; hi > 0x7F && bits <= 18; bits += 6) {
        uint32_t tail = (1u << bits) - 1; /* the bits that the last bytes hold */
        if ((lo & ~tail) == (hi & ~tail)) break;
        uint32_t cut = (lo & tail) ? lo | tail : (hi & tail) != tail ? (hi & ~tail) - 1 : hi;
        if (cut == hi) continue;
        split_range(out, lo, cut);
        split_range(out, cut + 1, hi);
        return;
    }
    add_sequence(out, lo, hi);
}

/* How many of the last bytes are any continuation byte; their states are shared by the sequences of a class. */
static size_t free_tail(const byte_sequence *s) {
    size_t n = 0;
    while (n + 1 < s->n && s->lo[s->n - 1 - n] == 0x80 && s->hi[s->n - 1 - n] == 0xBF) n++;
    return n;
}

static pgr_status measure_class(builder *b, gbnf_node *node, uint64_t *size) {
    byte_class *c = node->compiled;
    if (!c) {
        buf_clear(&b->sequences);
        for (size_t i = 0; i < node->n; i++) split_range(&b->sequences, node->ranges[i].lo, node->ranges[i].hi);
        c = arena_alloc(&b->g->arena, sizeof *c);
        if (!c || b->sequences.failed) return fail_mem(b->err);
        c->seq = arena_alloc(&b->g->arena, b->sequences.n);
        if (!c->seq) return fail_mem(b->err);
        if (b->sequences.n) memcpy(c->seq, b->sequences.data, b->sequences.n);
        c->n = b->sequences.n / sizeof *c->seq;
        node->compiled = c;
    }
    size_t shared = 0;
    *size = c->n; /* a split for each but the first, and one spare */
    for (size_t i = 0; i < c->n; i++) {
        size_t tail = free_tail(&c->seq[i]);
        if (tail > shared) shared = tail;
        *size += c->seq[i].n - tail;
    }
    *size += shared;
    return PGR_OK;
}

/* ---- first pass: sizes, recursion ---- */

static pgr_status measure_rule(builder *b, gbnf_rule *rule, uint32_t depth);
static pgr_status measure_node(builder *b, gbnf_node *node, bool last, uint32_t depth, measure *out);

/* Does the child end where the node ends, each time it is there? */
static bool ends_with(const gbnf_node *node, const gbnf_node *child) {
    if (node->kind == GBNF_REPEAT) return node->min == 0 && node->max == 1;
    return node->kind == GBNF_ALT || child == node->last;
}

static pgr_status measure_children(builder *b, gbnf_node *node, bool last, uint32_t depth, uint64_t *size,
                                   uint32_t *height) {
    for (gbnf_node *child = node->last; child; child = child->prev) {
        measure m;
        PGR_TRY(measure_node(b, child, last && ends_with(node, child), depth + 1, &m));
        *size += m.size + (node->kind == GBNF_ALT ? 1u : 0u);
        if (*size > NFA_LIMIT) break; /* the caller refuses it */
        if (m.height > *height) *height = m.height;
    }
    if (node->kind == GBNF_REPEAT) {
        uint64_t copies = node->max == GBNF_FOREVER ? (uint64_t)node->min + 1 : (uint64_t)node->max;
        uint64_t splits = node->max == GBNF_FOREVER ? 1 : (uint64_t)(node->max - node->min);
        *size = copies * *size + splits;
    }
    return PGR_OK;
}

/* A rule that is open already: fine where all that is open from it on ends here, so that it begins anew in place of
 * its end. */
static pgr_status measure_round(builder *b, gbnf_rule *rule, bool last, int line) {
    if (!last || rule->place < b->tail)
        return fail(b->err, PGR_E_FORMAT,
                    "%s:%d: rule %s refers to itself (line %d), expected that at its end only, or a repeat",
                    b->g->origin, rule->line, rule->name, line);
    rule->recursive = b->recursive = true;
    if (rule->place < b->escape) b->escape = rule->place;
    return PGR_OK;
}

static pgr_status measure_reference(builder *b, const gbnf_node *node, bool last, uint32_t depth, uint64_t *size,
                                    uint32_t *height) {
    gbnf_rule *rule = node->rule;
    if (node->place) last = false; /* what follows it is no part of it */
    if (rule->visit == GBNF_OPEN) return measure_round(b, rule, last, node->line);
    uint32_t tail = b->tail;
    if (!last) b->tail = b->n_open;
    PGR_TRY(measure_rule(b, rule, depth + 1));
    b->tail = tail;
    *size = rule->size + (node->place ? 1u : 0u);
    *height = rule->height;
    return PGR_OK;
}

/* last: the node's end is the rule's. */
static pgr_status measure_node(builder *b, gbnf_node *node, bool last, uint32_t depth, measure *out) {
    uint64_t size = 0;
    uint32_t height = 0;
    if (++b->steps > STEP_LIMIT)
        return fail(b->err, PGR_E_LIMIT, "%s:%d: found rules that use each other too often, expected fewer",
                    b->g->origin, node->line);
    switch (node->kind) {
    case GBNF_TEXT:
        size = node->n;
        break;
    case GBNF_HOLE:
        size = 1;
        break;
    case GBNF_CLASS:
        PGR_TRY(measure_class(b, node, &size));
        break;
    case GBNF_RULE:
        PGR_TRY(measure_reference(b, node, last, depth, &size, &height));
        break;
    case GBNF_SEQ:
    case GBNF_ALT:
    case GBNF_REPEAT:
        PGR_TRY(measure_children(b, node, last, depth, &size, &height));
    }
    if (size > NFA_LIMIT)
        return fail(b->err, PGR_E_LIMIT, "%s:%d: found an item of more than %d states, expected smaller repeats",
                    b->g->origin, node->line, NFA_LIMIT);
    if (depth > HEIGHT_LIMIT || height >= HEIGHT_LIMIT)
        return fail(b->err, PGR_E_LIMIT, "%s:%d: found rules nested more than %d deep", b->g->origin, node->line,
                    HEIGHT_LIMIT);
    *out = (measure){size ? (uint32_t)size : 1, height + 1};
    return PGR_OK;
}

/* What goes round to a rule further out has another size elsewhere, and is measured anew there. */
static pgr_status measure_rule(builder *b, gbnf_rule *rule, uint32_t depth) {
    if (rule->visit == GBNF_DONE) return PGR_OK;
    measure m;
    uint32_t escape = b->escape;
    rule->visit = GBNF_OPEN;
    rule->used = true;
    rule->place = b->n_open++;
    b->escape = NEVER;
    PGR_TRY(measure_node(b, rule->body, true, depth, &m));
    b->n_open--;
    rule->visit = b->escape < rule->place ? GBNF_NEW : GBNF_DONE;
    if (escape < b->escape) b->escape = escape;
    rule->size = m.size + 1; /* where it begins, if it goes round */
    rule->height = m.height;
    return PGR_OK;
}

/* What is new after root, root does not use; it may be anything but a hole. */
static pgr_status measure_all(builder *b) {
    gbnf *g = b->g;
    PGR_TRY(measure_rule(b, g->root, 0));
    for (size_t i = 0; i < g->n_rule; i++)
        if (g->rules[i].has_hole && !g->rules[i].used)
            return fail(b->err, PGR_E_FORMAT, "%s:%d: rule %s has a hole, expected root to use it", g->origin,
                        g->rules[i].line, g->rules[i].name);
    return PGR_OK;
}

/* ---- second pass: states ---- */

static uint32_t add_state(builder *b, nfa_state s) {
    PGR_ASSERT(b->m->n < b->cap);
    b->m->states[b->m->n] = s;
    return (uint32_t)b->m->n++;
}

static uint32_t distance_of(const builder *b, uint32_t state) {
    return b->m->states[state].distance;
}

/* The distance of what is n bytes before. */
static uint32_t before(uint32_t distance, uint32_t n) {
    return distance < NEVER - n ? distance + n : NEVER;
}

static uint32_t byte_state(builder *b, uint8_t lo, uint8_t hi, uint32_t to) {
    return add_state(b, (nfa_state){.kind = NFA_BYTE,
                                    .lo = lo,
                                    .hi = hi,
                                    .to = to,
                                    .distance = before(distance_of(b, to), 1),
                                    .place = b->place});
}

/* x or y, where either may be none. */
static uint32_t split_state(builder *b, uint32_t x, uint32_t y) {
    if (x == NFA_NONE || x == y) return y;
    if (y == NFA_NONE) return x;
    uint32_t dx = distance_of(b, x), dy = distance_of(b, y);
    return add_state(b, (nfa_state){.kind = NFA_SPLIT, .to = x, .other = y, .distance = dx < dy ? dx : dy});
}

static uint32_t build_node(builder *b, const gbnf_node *node, uint32_t next);

static uint32_t build_text(builder *b, const gbnf_node *node, uint32_t next) {
    for (size_t i = node->n; i-- > 0;) next = byte_state(b, (uint8_t)node->text[i], (uint8_t)node->text[i], next);
    return next;
}

static uint32_t build_class(builder *b, const gbnf_node *node, uint32_t next) {
    const byte_class *c = node->compiled;
    uint32_t tail[4] = {next, NFA_NONE, NFA_NONE, NFA_NONE}; /* tail[k]: k continuation bytes, then next */
    uint32_t entry = NFA_NONE;
    for (size_t i = 0; i < c->n; i++) {
        const byte_sequence *s = &c->seq[i];
        size_t shared = free_tail(s);
        for (size_t k = 1; k <= shared; k++)
            if (tail[k] == NFA_NONE) tail[k] = byte_state(b, 0x80, 0xBF, tail[k - 1]);
        uint32_t state = tail[shared];
        for (size_t k = s->n - shared; k-- > 0;) state = byte_state(b, s->lo[k], s->hi[k], state);
        entry = split_state(b, state, entry);
    }
    return entry;
}

static uint32_t build_hole(builder *b, const gbnf_node *node, uint32_t next) {
    const nfa_hole *hole = node->compiled;
    return add_state(b, (nfa_state){.kind = NFA_HOLE,
                                    .to = next,
                                    .other = (uint32_t)(hole - b->m->holes),
                                    .distance = before(distance_of(b, next), GRAMMAR_HOLE_BYTES)});
}

static uint32_t build_repeat(builder *b, const gbnf_node *node, uint32_t next) {
    uint32_t state = next;
    if (node->max == GBNF_FOREVER) { /* going round never makes the way shorter: the distance is that of next */
        state = add_state(
            b, (nfa_state){.kind = NFA_SPLIT, .to = NFA_NONE, .other = next, .distance = distance_of(b, next)});
        uint32_t body = build_node(b, node->last, state);
        b->m->states[state].to = body;
    }
    for (int i = node->min; i < node->max; i++) state = split_state(b, build_node(b, node->last, state), next);
    for (int i = 0; i < node->min && state != NFA_NONE; i++) state = build_node(b, node->last, state);
    return state;
}

/* A rule that goes round begins with a state of its own, which is there before what follows it. */
static uint32_t build_rule(builder *b, gbnf_rule *rule, uint32_t next) {
    if (!rule->recursive) return build_node(b, rule->body, next);
    if (rule->entry != NFA_NONE && rule->after == next) return rule->entry;
    uint32_t outer_entry = rule->entry, outer_after = rule->after;
    uint32_t entry = add_state(b, (nfa_state){.kind = NFA_SPLIT, .to = NFA_NONE, .other = NFA_NONE, .distance = NEVER});
    rule->entry = rule->built = entry;
    rule->after = next;
    uint32_t body = build_node(b, rule->body, next);
    b->m->states[entry].to = body;
    if (body != NFA_NONE) b->m->states[entry].distance = distance_of(b, body);
    rule->entry = outer_entry;
    rule->after = outer_after;
    return entry;
}

/* A place inside of a place is a part of the outer one. */
static uint32_t build_reference(builder *b, const gbnf_node *node, uint32_t next) {
    if (!node->place || b->place) return build_rule(b, node->rule, next);
    b->place = ++b->m->n_place;
    nfa_state begin = {.kind = NFA_PLACE, .other = b->place, .to = build_rule(b, node->rule, next)};
    b->place = 0;
    if (begin.to == NFA_NONE) return NFA_NONE;
    begin.distance = distance_of(b, begin.to);
    return add_state(b, begin);
}

/* The state where the node begins if `next` comes after it; NFA_NONE if it matches no text at all. */
static uint32_t build_node(builder *b, const gbnf_node *node, uint32_t next) {
    uint32_t entry = NFA_NONE;
    if (next == NFA_NONE) return NFA_NONE;
    switch (node->kind) {
    case GBNF_TEXT:
        return build_text(b, node, next);
    case GBNF_CLASS:
        return build_class(b, node, next);
    case GBNF_RULE:
        return build_reference(b, node, next);
    case GBNF_HOLE:
        return build_hole(b, node, next);
    case GBNF_REPEAT:
        return build_repeat(b, node, next);
    case GBNF_ALT:
        for (const gbnf_node *c = node->last; c; c = c->prev) entry = split_state(b, build_node(b, c, next), entry);
        return entry;
    case GBNF_SEQ:
        for (const gbnf_node *c = node->last; c; c = c->prev) next = build_node(b, c, next);
    }
    return next;
}

/* ---- both ---- */

static void count_holes(const gbnf_node *node, size_t *n) {
    if (node->kind == GBNF_HOLE) ++*n;
    for (const gbnf_node *c = node->last; c; c = c->prev) count_holes(c, n);
}

static pgr_status copy_holes(builder *b, gbnf_node *node) {
    nfa *m = b->m;
    if (node->kind == GBNF_HOLE) {
        const char *name = arena_strdup(&m->arena, node->text);
        if (!name) return fail_mem(b->err);
        m->holes[m->n_hole] = (nfa_hole){name, node->line};
        node->compiled = &m->holes[m->n_hole++];
    }
    for (gbnf_node *c = node->last; c; c = c->prev) PGR_TRY(copy_holes(b, c));
    return PGR_OK;
}

static pgr_status copy_tokens(builder *b) {
    nfa *m = b->m;
    m->n_token = b->g->n_token;
    m->tokens = arena_array(&m->arena, m->n_token, sizeof *m->tokens);
    if (!m->tokens) return fail_mem(b->err);
    for (size_t i = 0; i < m->n_token; i++) {
        m->tokens[i] = (nfa_token){arena_strdup(&m->arena, b->g->tokens[i].name), b->g->tokens[i].line};
        if (!m->tokens[i].name) return fail_mem(b->err);
    }
    return PGR_OK;
}

/* A state that was made before what it leads to was known has its distance too large, and so have those before it. */
static void settle_distances(nfa *m) {
    for (bool changed = true; changed;) {
        changed = false;
        for (size_t i = 0; i < m->n; i++) {
            nfa_state *s = &m->states[i];
            uint32_t to = s->to == NFA_NONE ? NEVER : m->states[s->to].distance, d = to;
            if (s->kind == NFA_ACCEPT) continue;
            if (s->kind == NFA_BYTE) d = before(to, 1);
            if (s->kind == NFA_HOLE) d = before(to, GRAMMAR_HOLE_BYTES);
            if (s->kind == NFA_SPLIT && s->other != NFA_NONE && m->states[s->other].distance < d)
                d = m->states[s->other].distance;
            if (d < s->distance) {
                s->distance = d;
                changed = true;
            }
        }
    }
}

static pgr_status check_ends(const builder *b) {
    for (size_t i = 0; i < b->g->n_rule; i++) {
        const gbnf_rule *rule = &b->g->rules[i];
        if (rule->built != NFA_NONE && b->m->states[rule->built].distance == NEVER)
            return fail(b->err, PGR_E_FORMAT,
                        "%s:%d: rule %s refers to itself and never ends, expected another way out", b->g->origin,
                        rule->line, rule->name);
    }
    return PGR_OK;
}

static pgr_status prepare(builder *b) {
    nfa *m = b->m;
    size_t n_hole = 0;
    PGR_TRY(measure_all(b));
    for (size_t i = 0; i < b->g->n_rule; i++) count_holes(b->g->rules[i].body, &n_hole);
    b->cap = (size_t)b->g->root->size + 1;
    m->origin = arena_strdup(&m->arena, b->g->origin);
    m->holes = arena_array(&m->arena, n_hole, sizeof *m->holes);
    m->states = mem_array(b->cap, sizeof *m->states);
    if (!m->origin || !m->holes || !m->states) return fail_mem(b->err);
    for (size_t i = 0; i < b->g->n_rule; i++) PGR_TRY(copy_holes(b, b->g->rules[i].body));
    for (size_t i = 0; i < b->g->n_rule; i++) b->g->rules[i].entry = b->g->rules[i].built = NFA_NONE;
    return copy_tokens(b);
}

pgr_status nfa_build(gbnf *g, nfa *out, pgr_error *err) {
    *out = (nfa){0};
    builder b = {.g = g, .m = out, .escape = NEVER, .err = err};
    pgr_status s = prepare(&b);
    if (s == PGR_OK) out->start = build_rule(&b, g->root, add_state(&b, (nfa_state){.kind = NFA_ACCEPT}));
    if (s == PGR_OK && b.recursive) {
        settle_distances(out);
        s = check_ends(&b);
    }
    buf_free(&b.sequences);
    return s;
}

void nfa_free(nfa *m) {
    mem_free(m->states);
    arena_free(&m->arena);
}
