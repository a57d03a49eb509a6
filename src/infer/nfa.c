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

enum { HEIGHT_LIMIT = 1000 }; /* nested nodes, rules followed: bounds the recursion of both passes */

typedef struct builder {
    gbnf *g;
    nfa *m;
    size_t cap;
    buf sequences; /* scratch of one class */
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
static pgr_status measure_node(builder *b, gbnf_node *node, uint32_t depth, measure *out);

static pgr_status measure_children(builder *b, gbnf_node *node, uint32_t depth, uint64_t *size, uint32_t *height) {
    for (gbnf_node *child = node->last; child; child = child->prev) {
        measure m;
        PGR_TRY(measure_node(b, child, depth + 1, &m));
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

static pgr_status measure_reference(builder *b, const gbnf_node *node, uint32_t depth, uint64_t *size,
                                    uint32_t *height) {
    gbnf_rule *rule = node->rule;
    if (rule->visit == GBNF_OPEN)
        return fail(b->err, PGR_E_FORMAT, "%s:%d: rule %s refers to itself (line %d), expected a repeat instead",
                    b->g->origin, rule->line, rule->name, node->line);
    PGR_TRY(measure_rule(b, rule, depth + 1));
    *size = rule->size;
    *height = rule->height;
    return PGR_OK;
}

static pgr_status measure_node(builder *b, gbnf_node *node, uint32_t depth, measure *out) {
    uint64_t size = 0;
    uint32_t height = 0;
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
        PGR_TRY(measure_reference(b, node, depth, &size, &height));
        break;
    case GBNF_SEQ:
    case GBNF_ALT:
    case GBNF_REPEAT:
        PGR_TRY(measure_children(b, node, depth, &size, &height));
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

static pgr_status measure_rule(builder *b, gbnf_rule *rule, uint32_t depth) {
    if (rule->visit == GBNF_DONE) return PGR_OK;
    measure m;
    rule->visit = GBNF_OPEN;
    PGR_TRY(measure_node(b, rule->body, depth, &m));
    rule->visit = GBNF_DONE;
    rule->size = m.size;
    rule->height = m.height;
    return PGR_OK;
}

/* root first: what is new after it, root does not use. */
static pgr_status measure_all(builder *b) {
    gbnf *g = b->g;
    PGR_TRY(measure_rule(b, g->root, 0));
    for (size_t i = 0; i < g->n_rule; i++)
        if (g->rules[i].visit == GBNF_NEW && g->rules[i].has_hole)
            return fail(b->err, PGR_E_FORMAT, "%s:%d: rule %s has a hole, expected root to use it", g->origin,
                        g->rules[i].line, g->rules[i].name);
    for (size_t i = 0; i < g->n_rule; i++) PGR_TRY(measure_rule(b, &g->rules[i], 0));
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

static uint32_t byte_state(builder *b, uint8_t lo, uint8_t hi, uint32_t to) {
    return add_state(b,
                     (nfa_state){.kind = NFA_BYTE, .lo = lo, .hi = hi, .to = to, .distance = distance_of(b, to) + 1});
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
                                    .distance = distance_of(b, next) + GRAMMAR_HOLE_BYTES});
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
        return build_node(b, node->rule->body, next);
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
    return PGR_OK;
}

pgr_status nfa_build(gbnf *g, nfa *out, pgr_error *err) {
    *out = (nfa){0};
    builder b = {.g = g, .m = out, .err = err};
    pgr_status s = prepare(&b);
    if (s == PGR_OK) out->start = build_node(&b, g->root->body, add_state(&b, (nfa_state){.kind = NFA_ACCEPT}));
    buf_free(&b.sequences);
    return s;
}

void nfa_free(nfa *m) {
    mem_free(m->states);
    arena_free(&m->arena);
}
