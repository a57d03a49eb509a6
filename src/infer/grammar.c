/* grammar.c - a grammar's states: sets of NFA states, made when they are first reached, found again by hash. Compiling
 * the text is gbnf.c's and nfa.c's work, token masks are trie.c's. */
#include "infer/grammar.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "infer/dfa.h"

/* ---- sets ---- */

static void begin_set(grammar *g) {
    g->n_work = 0;
    if (++g->generation) return;
    memset(g->mark, 0, g->nfa.n * sizeof *g->mark); /* after 2^32 sets */
    g->generation = 1;
}

static void push(grammar *g, uint32_t state, size_t *n) {
    if (state == NFA_NONE || g->mark[state] == g->generation) return;
    g->mark[state] = g->generation;
    g->stack[(*n)++] = state;
}

/* Adds what can be reached from the state without a byte; splits themselves are left out, beginnings of places stay. */
static void add_closure(grammar *g, uint32_t state) {
    size_t n = 0;
    push(g, state, &n);
    while (n) {
        uint32_t top = g->stack[--n];
        const nfa_state *s = &g->nfa.states[top];
        if (s->kind == NFA_SPLIT) {
            push(g, s->to, &n);
            push(g, s->other, &n);
            continue;
        }
        if (s->kind == NFA_PLACE) push(g, s->to, &n);
        g->work[g->n_work++] = top;
    }
}

static int ascending(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

static void sort_set(uint32_t *v, size_t n) {
    if (n > 24) {
        qsort(v, n, sizeof *v, ascending);
        return;
    }
    for (size_t i = 1; i < n; i++) {
        uint32_t x = v[i];
        size_t j = i;
        for (; j > 0 && v[j - 1] > x; j--) v[j] = v[j - 1];
        v[j] = x;
    }
}

static size_t hash_set(const uint32_t *v, size_t n) {
    uint64_t h = 0x9E3779B97F4A7C15u;
    for (size_t i = 0; i < n; i++) {
        h = (h ^ v[i]) * 0xFF51AFD7ED558CCDu;
        h ^= h >> 32;
    }
    return (size_t)h;
}

/* ---- states ---- */

/* Room for one more of `size` bytes each; *v may move. */
static bool grow(void **v, size_t *cap, size_t need, size_t size) {
    if (need <= *cap) return true;
    size_t want = *cap ? *cap : 64;
    while (want < need) want *= 2;
    void *p = mem_resize(*v, want * size);
    if (!p) return false;
    *v = p;
    *cap = want;
    return true;
}

static bool grow_table(grammar *g) {
    if (g->n_table && g->n_state * 2 < g->n_table) return true;
    size_t n = g->n_table ? g->n_table * 2 : 128;
    int32_t *table = mem_array(n, sizeof *table);
    if (!table) return false;
    memset(table, 0xFF, n * sizeof *table);
    for (size_t i = 0; i < g->n_state; i++) {
        const dfa_state *s = &g->states[i];
        size_t at = hash_set(g->sets + s->set, s->n_set) & (n - 1);
        while (table[at] >= 0) at = (at + 1) & (n - 1);
        table[at] = (int32_t)i;
    }
    mem_free(g->table);
    g->table = table;
    g->n_table = n;
    return true;
}

/* The slot of the set in work: a state's, or a free one. */
static int32_t *find_slot(grammar *g) {
    size_t at = hash_set(g->work, g->n_work) & (g->n_table - 1);
    for (; g->table[at] >= 0; at = (at + 1) & (g->n_table - 1)) {
        const dfa_state *s = &g->states[g->table[at]];
        if (s->n_set == g->n_work && memcmp(g->sets + s->set, g->work, g->n_work * sizeof *g->work) == 0) break;
    }
    return &g->table[at];
}

static pgr_status check_hole(const grammar *g, uint32_t hole, pgr_error *err) {
    const nfa_hole *h = &g->nfa.holes[hole];
    if (g->n_work == 1) return PGR_OK;
    return fail(err, PGR_E_FORMAT,
                "%s:%d: hole @%s comes where other text may come too, expected it to be the only one", g->nfa.origin,
                h->line, h->name);
}

/* What callers ask of the state whose set is in work. */
static pgr_status describe(const grammar *g, dfa_state *s, pgr_error *err) {
    bool one_byte = true, first = true;
    *s = (dfa_state){.set = g->n_set,
                     .n_set = g->n_work,
                     .distance = UINT32_MAX,
                     .hole = DFA_NO_HOLE,
                     .after_hole = DFA_UNKNOWN,
                     .forced = DFA_NOT_FORCED};
    for (size_t i = 0; i < g->n_work; i++) {
        const nfa_state *n = &g->nfa.states[g->work[i]];
        if (n->distance < s->distance) s->distance = n->distance;
        if (n->kind == NFA_HOLE) {
            PGR_TRY(check_hole(g, n->other, err));
            s->hole = (int32_t)n->other;
        }
        s->accepts |= n->kind == NFA_ACCEPT;
        if (n->kind == NFA_PLACE) {
            s->place = n->other;
            continue;
        }
        one_byte &= n->kind == NFA_BYTE && n->lo == n->hi && (first || n->lo == s->forced);
        s->forced = n->lo;
        first = false;
    }
    if (!one_byte) s->forced = DFA_NOT_FORCED;
    return PGR_OK;
}

static pgr_status add_state(grammar *g, int32_t *slot, int32_t *out, pgr_error *err) {
    dfa_state s;
    if (g->n_state == DFA_LIMIT || g->n_work > DFA_SET_LIMIT - g->n_set)
        return fail(err, PGR_E_LIMIT,
                    "%s: the grammar has too many states (%zu so far), expected one with fewer overlapping "
                    "repeats",
                    g->nfa.origin, g->n_state);
    PGR_TRY(describe(g, &s, err));
    void *states = g->states, *sets = g->sets;
    bool room = grow(&states, &g->cap_state, g->n_state + 1, sizeof *g->states);
    g->states = states;
    room = room && grow(&sets, &g->cap_set, g->n_set + g->n_work, sizeof *g->sets);
    g->sets = sets;
    s.next = room ? mem_array(256, sizeof *s.next) : NULL;
    if (!s.next) return fail_mem(err);
    for (int i = 0; i < 256; i++) s.next[i] = DFA_UNKNOWN;
    memcpy(g->sets + g->n_set, g->work, g->n_work * sizeof *g->work);
    g->n_set += g->n_work;
    g->states[g->n_state] = s;
    *out = *slot = (int32_t)g->n_state++;
    return PGR_OK;
}

/* The state of the set in work. */
static pgr_status intern(grammar *g, int32_t *out, pgr_error *err) {
    if (g->n_work == 0) {
        *out = GRAMMAR_DEAD;
        return PGR_OK;
    }
    if (!grow_table(g)) return fail_mem(err);
    sort_set(g->work, g->n_work);
    int32_t *slot = find_slot(g);
    if (*slot < 0) return add_state(g, slot, out, err);
    *out = *slot;
    return PGR_OK;
}

static pgr_status mixed_place(const grammar *g, uint8_t byte, pgr_error *err) {
    return fail(
        err, PGR_E_FORMAT,
        "%s: byte 0x%02X may belong to a place ($name) and to what stands beside it, expected a place that ends "
        "and begins with bytes of its own",
        g->nfa.origin, byte);
}

pgr_status dfa_compute(grammar *g, int32_t state, uint8_t byte, int32_t *out, pgr_error *err) {
    const dfa_state *s = &g->states[state];
    size_t set = s->set, n_set = s->n_set;
    int lo = 0, hi = 255; /* all bytes that lie in the same ranges as this one */
    uint32_t place = NFA_NONE;
    begin_set(g);
    for (size_t i = 0; i < n_set; i++) {
        const nfa_state *n = &g->nfa.states[g->sets[set + i]];
        if (n->kind != NFA_BYTE) continue;
        if (byte < n->lo)
            hi = n->lo - 1 < hi ? n->lo - 1 : hi;
        else if (byte > n->hi)
            lo = n->hi + 1 > lo ? n->hi + 1 : lo;
        else {
            lo = n->lo > lo ? n->lo : lo;
            hi = n->hi < hi ? n->hi : hi;
            if (place != NFA_NONE && place != n->place) return mixed_place(g, byte, err);
            place = n->place;
            add_closure(g, n->to);
        }
    }
    PGR_TRY(intern(g, out, err));
    for (int i = lo; i <= hi; i++) g->states[state].next[i] = *out;
    return PGR_OK;
}

/* ---- the interface ---- */

static pgr_status create(grammar *g, const char *text, size_t n, const char *origin, pgr_error *err) {
    gbnf tree;
    pgr_status s = gbnf_parse(text, n, origin, &tree, err);
    if (s == PGR_OK) s = nfa_build(&tree, &g->nfa, err);
    gbnf_free(&tree);
    if (s != PGR_OK) return s;
    if (g->nfa.start == NFA_NONE)
        return fail(err, PGR_E_FORMAT, "%s: the grammar allows no text at all, expected root to match something",
                    origin);
    g->mark = mem_zero(g->nfa.n, sizeof *g->mark);
    g->stack = mem_array(g->nfa.n, sizeof *g->stack);
    g->work = mem_array(g->nfa.n, sizeof *g->work);
    if (!g->mark || !g->stack || !g->work) return fail_mem(err);
    begin_set(g);
    add_closure(g, g->nfa.start);
    return intern(g, &g->start, err);
}

pgr_status grammar_compile(const char *text, size_t n, const char *origin, grammar **out, pgr_error *err) {
    grammar *g = mem_zero(1, sizeof *g);
    if (!g) return fail_mem(err);
    g->refs = 1;
    pgr_status s = create(g, text, n, origin, err);
    if (s == PGR_OK)
        *out = g;
    else
        grammar_unref(g);
    return s;
}

grammar *grammar_ref(grammar *g) {
    g->refs++;
    return g;
}

void grammar_unref(grammar *g) {
    if (!g || --g->refs > 0) return;
    masks_free(g);
    for (size_t i = 0; i < g->n_state; i++) mem_free(g->states[i].next);
    mem_free(g->states);
    mem_free(g->sets);
    mem_free(g->table);
    mem_free(g->mark);
    mem_free(g->stack);
    mem_free(g->work);
    nfa_free(&g->nfa);
    mem_free(g);
}

static const dfa_state *state_of(const grammar *g, int state) {
    if (state == GRAMMAR_DEAD) return NULL;
    PGR_ASSERT(state >= 0 && (size_t)state < g->n_state);
    return &g->states[state];
}

int grammar_start(const grammar *g) {
    return g->start;
}
size_t grammar_state_count(const grammar *g) {
    return g->n_state;
}

pgr_status grammar_step(grammar *g, int state, uint8_t byte, int *out, pgr_error *err) {
    int32_t to = GRAMMAR_DEAD;
    if (state_of(g, state)) PGR_TRY(dfa_next(g, state, byte, &to, err));
    *out = to;
    return PGR_OK;
}

pgr_status grammar_walk(grammar *g, int state, const char *text, size_t n, int *out, pgr_error *err) {
    for (size_t i = 0; i < n && state != GRAMMAR_DEAD; i++)
        PGR_TRY(grammar_step(g, state, (uint8_t)text[i], &state, err));
    *out = state;
    return PGR_OK;
}

bool grammar_has_holes(const grammar *g) {
    return g->nfa.n_hole > 0;
}

bool grammar_accepts(const grammar *g, int state) {
    const dfa_state *s = state_of(g, state);
    return s && s->accepts;
}

bool grammar_only_end(grammar *g, int state) {
    const dfa_state *s = state_of(g, state);
    return s && s->accepts && s->n_set == 1;
}

const char *grammar_hole(const grammar *g, int state) {
    const dfa_state *s = state_of(g, state);
    return s && s->hole != DFA_NO_HOLE ? g->nfa.holes[s->hole].name : NULL;
}

pgr_status grammar_after_hole(grammar *g, int state, int *out, pgr_error *err) {
    const dfa_state *s = state_of(g, state);
    PGR_ASSERT(s && s->hole != DFA_NO_HOLE);
    int32_t to = s->after_hole;
    if (to == DFA_UNKNOWN) {
        begin_set(g);
        add_closure(g, g->nfa.states[g->sets[s->set]].to);
        PGR_TRY(intern(g, &to, err));
        g->states[state].after_hole = to;
    }
    *out = to;
    return PGR_OK;
}

size_t grammar_distance(const grammar *g, int state) {
    const dfa_state *s = state_of(g, state);
    return s ? s->distance : SIZE_MAX;
}

/* Ends: each forced byte brings some NFA state of the set one nearer to the end. The beginning of a named token that
 * goes on with a choice is not forced: tokens are written whole. */
pgr_status grammar_forced(grammar *g, int *state, buf *out, pgr_error *err) {
    const dfa_state *s;
    int outside = *state; /* before the last mark that opened */
    size_t n = out->n;
    bool inside = false;
    while ((s = state_of(g, *state)) && s->forced != DFA_NOT_FORCED) {
        uint8_t byte = (uint8_t)s->forced;
        if (byte == GBNF_TOKEN_MARK) {
            if (!inside) outside = *state, n = out->n;
            inside = !inside;
        }
        PGR_TRY(grammar_step(g, *state, byte, state, err));
        buf_putc(out, (char)byte);
    }
    if (out->failed) return fail_mem(err);
    if (!inside) return PGR_OK;
    *state = outside;
    out->n = n;
    if (out->data) out->data[n] = '\0';
    return PGR_OK;
}

pgr_status grammar_leave_space(grammar *g, int from_state, buf *text, size_t from, int *state, pgr_error *err) {
    if (text->n == from || text->data[text->n - 1] != ' ' || grammar_only_end(g, *state)) return PGR_OK;
    text->data[--text->n] = '\0';
    return grammar_walk(g, from_state, text->data + from, text->n - from, state, err);
}

/* ---- places ---- */

bool grammar_has_places(const grammar *g) {
    return g->nfa.n_place > 0;
}

uint32_t grammar_place(const grammar *g, int state) {
    const dfa_state *s = state_of(g, state);
    return s ? s->place : 0;
}

uint32_t grammar_place_of(const grammar *g, int state, uint8_t byte) {
    const dfa_state *s = state_of(g, state);
    for (size_t i = 0; s && i < s->n_set; i++) {
        const nfa_state *n = &g->nfa.states[g->sets[s->set + i]];
        if (n->kind == NFA_BYTE && byte >= n->lo && byte <= n->hi) return n->place;
    }
    return 0;
}

bool grammar_inside(const grammar *g, int state, uint32_t place) {
    const dfa_state *s = state_of(g, state);
    for (size_t i = 0; s && i < s->n_set; i++)
        if (g->nfa.states[g->sets[s->set + i]].kind == NFA_BYTE && g->nfa.states[g->sets[s->set + i]].place == place)
            return true;
    return false;
}
