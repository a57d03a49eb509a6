/* trie.c - the vocabulary as a tree of bytes, and which of its tokens a grammar's state allows.
 *
 * The tree lies in memory in the order of a depth-first walk (preorder), so that a walk reads it from front to back and
 * leaves out a subtree with one jump; the tokens lie in a list in the same order. */
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/mem.h"
#include "infer/dfa.h"

typedef struct trie_node {
    uint32_t skip;  /* the next node that is not below this one */
    uint32_t token; /* first token that ends here or later: this node's are tokens[token .. next node's token) */
    uint32_t depth; /* bytes from the root, at least 1: the root is not stored */
    uint8_t byte;
} trie_node;

struct token_trie {
    trie_node *nodes; /* (n_node + 1), the last one closes the token lists */
    size_t n_node;
    int32_t *tokens; /* (n_token) ids in the order of their bytes */
    size_t n_token;
    size_t n_word; /* of a mask */
    size_t max_depth;
    uint64_t id; /* hash of the contents */
};

/* ---- the tree ---- */

typedef struct token_text {
    const char *s;
    size_t n;
    int32_t id;
} token_text;

static int by_bytes(const void *a, const void *b) {
    const token_text *x = a, *y = b;
    size_t n = x->n < y->n ? x->n : y->n;
    int order = memcmp(x->s, y->s, n);
    if (order) return order;
    if (x->n != y->n) return x->n < y->n ? -1 : 1;
    return x->id < y->id ? -1 : x->id > y->id;
}

/* Can a grammar name the token itself? */
static bool has_name(const tokenizer *t, const token_text *x) {
    tok_type type = tok_type_of(t, x->id);
    return (type == TOK_CONTROL || type == TOK_USER) && x->n > 2 && x->s[0] == '<' && x->s[x->n - 1] == '>';
}

/* The tokens that a text is made of, and those that a grammar can name, in the order of their bytes. No text of a
 * grammar has the mark's byte, so that tokens with it are of no use. names: memory of the marked names. */
static pgr_status list_tokens(const tokenizer *t, arena *names, token_text *out, size_t *n_out, pgr_error *err) {
    size_t n = 0;
    for (size_t i = 0; i < tok_count(t); i++) {
        token_text x = {.id = (int32_t)i};
        tok_type type = tok_type_of(t, x.id);
        x.s = tok_bytes(t, x.id, &x.n);
        bool text = type == TOK_NORMAL || type == TOK_USER || type == TOK_BYTE;
        if (x.n && text && !memchr(x.s, GBNF_TOKEN_MARK, x.n)) out[n++] = x;
        if (!has_name(t, &x)) continue;
        char *marked = arena_alloc(names, x.n + 2);
        if (!marked) return fail_mem(err);
        marked[0] = marked[x.n + 1] = (char)GBNF_TOKEN_MARK;
        memcpy(marked + 1, x.s, x.n);
        out[n++] = (token_text){marked, x.n + 2, x.id};
    }
    if (n) qsort(out, n, sizeof *out, by_bytes);
    *n_out = n;
    return PGR_OK;
}

static size_t common_prefix(const token_text *a, const token_text *b) {
    size_t n = a->n < b->n ? a->n : b->n, i = 0;
    while (i < n && a->s[i] == b->s[i]) i++;
    return i;
}

static size_t count_nodes(const token_text *v, size_t n) {
    size_t nodes = 0;
    for (size_t i = 0; i < n; i++) nodes += v[i].n - (i ? common_prefix(&v[i - 1], &v[i]) : 0);
    return nodes;
}

/* Nodes of the sorted tokens. open: (max_depth + 1) the node at each depth on the way to the last token. */
static void fill(token_trie *t, const token_text *v, uint32_t *open) {
    size_t n = 0, depth = 0;
    t->id = hash_value(HASH_BEGIN, t->n_word);
    for (size_t i = 0; i < t->n_token; i++) {
        size_t same = i ? common_prefix(&v[i - 1], &v[i]) : 0;
        for (; depth > same; depth--) t->nodes[open[depth]].skip = (uint32_t)n;
        for (; depth < v[i].n; depth++) {
            t->nodes[n] =
                (trie_node){.token = (uint32_t)i, .depth = (uint32_t)depth + 1, .byte = (uint8_t)v[i].s[depth]};
            t->id = hash_value(hash_value(t->id, t->nodes[n].byte), depth);
            open[depth + 1] = (uint32_t)n++;
        }
        t->tokens[i] = v[i].id;
        t->id = hash_value(t->id, (uint64_t)(uint32_t)v[i].id << 32);
    }
    for (; depth > 0; depth--) t->nodes[open[depth]].skip = (uint32_t)n;
    t->nodes[n] = (trie_node){.token = (uint32_t)t->n_token};
}

static pgr_status build(token_trie *t, const token_text *v, pgr_error *err) {
    for (size_t i = 0; i < t->n_token; i++)
        if (v[i].n > t->max_depth) t->max_depth = v[i].n;
    t->n_node = count_nodes(v, t->n_token);
    if (t->n_node >= UINT32_MAX)
        return fail(err, PGR_E_LIMIT, "the vocabulary has %zu bytes, expected fewer", t->n_node);
    t->nodes = mem_array(t->n_node + 1, sizeof *t->nodes);
    t->tokens = mem_array(t->n_token, sizeof *t->tokens);
    uint32_t *open = mem_array(t->max_depth + 1, sizeof *open);
    bool room = t->nodes && t->tokens && open;
    if (room) fill(t, v, open);
    mem_free(open);
    return room ? PGR_OK : fail_mem(err);
}

pgr_status trie_create(const tokenizer *tok, token_trie **out, pgr_error *err) {
    token_trie *t = mem_zero(1, sizeof *t);
    token_text *v = mem_array(2 * tok_count(tok), sizeof *v);
    arena names = {0};
    pgr_status s = t && v ? PGR_OK : fail_mem(err);
    if (s == PGR_OK) {
        t->n_word = (tok_count(tok) + 63) / 64;
        s = list_tokens(tok, &names, v, &t->n_token, err);
    }
    if (s == PGR_OK) s = build(t, v, err);
    mem_free(v);
    arena_free(&names);
    if (s == PGR_OK)
        *out = t;
    else
        trie_free(t);
    return s;
}

void trie_free(token_trie *t) {
    if (!t) return;
    mem_free(t->nodes);
    mem_free(t->tokens);
    mem_free(t);
}

/* ---- tokens by name ---- */

pgr_status grammar_check_tokens(const grammar *g, const tokenizer *t, pgr_error *err) {
    for (size_t i = 0; i < g->nfa.n_token; i++) {
        token_text x = {.id = tok_find(t, g->nfa.tokens[i].name)};
        if (x.id >= 0) x.s = tok_bytes(t, x.id, &x.n);
        if (x.id < 0 || !has_name(t, &x))
            return fail(err, PGR_E_FORMAT,
                        "%s:%d: found the token %s, expected a control or added token of the vocabulary", g->nfa.origin,
                        g->nfa.tokens[i].line, g->nfa.tokens[i].name);
    }
    return PGR_OK;
}

bool grammar_names_tokens(const grammar *g) {
    return g->nfa.n_token > 0;
}

pgr_status grammar_walk_token(grammar *g, const tokenizer *t, int state, int32_t id, int *out, pgr_error *err) {
    token_text x = {.id = id};
    x.s = tok_bytes(t, id, &x.n);
    *out = GRAMMAR_DEAD;
    if (tok_type_of(t, id) != TOK_CONTROL) PGR_TRY(grammar_walk(g, state, x.s, x.n, out, err));
    if (*out != GRAMMAR_DEAD || !grammar_names_tokens(g) || !has_name(t, &x)) return PGR_OK;
    PGR_TRY(grammar_step(g, state, GBNF_TOKEN_MARK, out, err));
    PGR_TRY(grammar_walk(g, *out, x.s, x.n, out, err));
    return *out == GRAMMAR_DEAD ? PGR_OK : grammar_step(g, *out, GBNF_TOKEN_MARK, out, err);
}

/* ---- masks ---- */

void masks_free(grammar *g) {
    for (size_t i = 0; i < g->n_state; i++) {
        mem_free(g->states[i].mask);
        g->states[i].mask = NULL;
    }
    for (int i = 0; i < 2; i++) {
        mem_free(g->scratch[i]);
        g->scratch[i] = NULL;
    }
    mem_free(g->path);
    g->path = NULL;
    g->mask_bytes = 0;
}

/* Scratch for this trie; masks of another one are dropped. */
static pgr_status prepare(grammar *g, const token_trie *t, pgr_error *err) {
    if (g->path && g->trie_id == t->id) return PGR_OK;
    masks_free(g);
    g->trie_id = t->id;
    g->n_word = t->n_word;
    g->scratch[0] = mem_array(t->n_word, sizeof **g->scratch);
    g->scratch[1] = mem_array(t->n_word, sizeof **g->scratch);
    g->path = mem_array(t->max_depth + 1, sizeof *g->path);
    if (g->scratch[0] && g->scratch[1] && g->path) return PGR_OK;
    masks_free(g);
    return fail_mem(err);
}

/* Tree and automaton together. *far: the largest distance after a token in the mask. */
static pgr_status fill_mask(grammar *g, const token_trie *t, int state, size_t limit, uint64_t *mask, uint32_t *far,
                            pgr_error *err) {
    memset(mask, 0, t->n_word * sizeof *mask);
    *far = 0;
    g->path[0] = state;
    for (size_t i = 0; i < t->n_node;) {
        const trie_node *node = &t->nodes[i];
        int32_t to;
        PGR_TRY(dfa_next(g, g->path[node->depth - 1], node->byte, &to, err));
        if (to == GRAMMAR_DEAD) {
            i = node->skip;
            continue;
        }
        g->path[node->depth] = to;
        uint32_t token = node->token, end = node[1].token;
        if (token < end && g->states[to].distance <= limit) {
            if (g->states[to].distance > *far) *far = g->states[to].distance;
            for (; token < end; token++) mask[(uint32_t)t->tokens[token] / 64] |= 1ull << (t->tokens[token] % 64);
        }
        i++;
    }
    return PGR_OK;
}

/* The mask without a limit: the kept one, or a new one that is kept while there is room. */
static pgr_status full_mask(grammar *g, const token_trie *t, int state, const uint64_t **mask, uint32_t *far,
                            pgr_error *err) {
    if (!g->states[state].mask) {
        size_t bytes = t->n_word * sizeof(uint64_t);
        PGR_TRY(fill_mask(g, t, state, SIZE_MAX, g->scratch[0], far, err));
        *mask = g->scratch[0];
        if (bytes > DFA_MASK_BYTES - g->mask_bytes) return PGR_OK;
        uint64_t *kept = mem_alloc(bytes);
        if (!kept) return fail_mem(err);
        memcpy(kept, g->scratch[0], bytes);
        g->mask_bytes += bytes;
        g->states[state].mask = kept;
        g->states[state].mask_far = *far;
    }
    *mask = g->states[state].mask;
    *far = g->states[state].mask_far;
    return PGR_OK;
}

pgr_status grammar_mask(grammar *g, const token_trie *trie, int state, size_t limit, const uint64_t **mask,
                        bool *restricted, pgr_error *err) {
    PGR_ASSERT(state >= 0 && (size_t)state < g->n_state);
    const uint64_t *found;
    uint32_t far;
    PGR_TRY(prepare(g, trie, err));
    PGR_TRY(full_mask(g, trie, state, &found, &far, err));
    bool cut = far > limit;
    if (cut) {
        PGR_TRY(fill_mask(g, trie, state, limit, g->scratch[1], &far, err));
        found = g->scratch[1];
    }
    *mask = found;
    if (restricted) *restricted = cut;
    return PGR_OK;
}
