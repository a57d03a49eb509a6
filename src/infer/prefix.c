/* prefix.c - the radix tree of cached beginnings. Nodes are found by (parent, first token) in one hash table and
 * stand in one list by time of use. A use touches a node and then those above it, so that the list's end is always a
 * leaf. */
#include "infer/prefix.h"

#include <string.h>

#include "base/mem.h"

typedef struct node node;
struct node {
    node *parent;  /* NULL: a root */
    int32_t *edge; /* (n_edge) tokens from the parent to here */
    size_t n_edge;
    kv_seq seq; /* all tokens from the root to here */
    size_t n_child;
    node *chain;         /* next in the hash bucket */
    node *newer, *older; /* list by use */
};

typedef struct root { /* of one key; has children, else it goes */
    node node;        /* in no list and no bucket */
    uint64_t key;
} root;

struct prefix_tree {
    kv_cache *kv;
    root **roots; /* (n_root) */
    size_t n_root, cap_root;
    node *newest, *oldest;
    node **bucket; /* (n_bucket) a power of two */
    size_t n_bucket, n_node, n_token, n_page;
};

enum { FIRST_BUCKETS = 64 };

/* ---- hash table ---- */

static size_t bucket_of(const prefix_tree *t, const node *parent, int32_t token) {
    uint64_t h =
        ((uint64_t)(uintptr_t)parent >> 4) * 0x9e3779b97f4a7c15u ^ (uint64_t)(uint32_t)token * 0xc2b2ae3d27d4eb4fu;
    return (h ^ h >> 29) & (t->n_bucket - 1);
}

static node *child_of(const prefix_tree *t, const node *parent, int32_t token) {
    for (node *n = t->bucket[bucket_of(t, parent, token)]; n; n = n->chain)
        if (n->parent == parent && n->edge[0] == token) return n;
    return NULL;
}

static void table_add(prefix_tree *t, node *n) {
    size_t b = bucket_of(t, n->parent, n->edge[0]);
    n->chain = t->bucket[b];
    t->bucket[b] = n;
}

static void table_remove(prefix_tree *t, node *n) {
    node **at = &t->bucket[bucket_of(t, n->parent, n->edge[0])];
    while (*at != n) at = &(*at)->chain;
    *at = n->chain;
}

static pgr_status grow_table(prefix_tree *t, pgr_error *err) {
    if (t->n_node < t->n_bucket) return PGR_OK;
    node **bucket = mem_zero(2 * t->n_bucket, sizeof *bucket);
    if (!bucket) return fail_mem(err);
    mem_free(t->bucket);
    t->bucket = bucket;
    t->n_bucket *= 2;
    for (node *n = t->newest; n; n = n->older) table_add(t, n);
    return PGR_OK;
}

/* ---- list by use ---- */

static void unlink_node(prefix_tree *t, node *n) {
    *(n->newer ? &n->newer->older : &t->newest) = n->older;
    *(n->older ? &n->older->newer : &t->oldest) = n->newer;
    n->newer = n->older = NULL;
}

static void link_newest(prefix_tree *t, node *n) {
    n->older = t->newest;
    *(t->newest ? &t->newest->newer : &t->oldest) = n;
    t->newest = n;
}

/* From the bottom up: nodes above are always newer than those below. */
static void touch(prefix_tree *t, node *n) {
    for (; n->parent; n = n->parent) {
        unlink_node(t, n);
        link_newest(t, n);
    }
}

/* ---- nodes ---- */

static void node_free(prefix_tree *t, node *n) {
    kv_release(t->kv, &n->seq);
    mem_free(n->edge);
    mem_free(n);
}

/* A node outside the tree: the first n_token tokens of seq, the last n_edge of them on its edge. */
static node *node_create(prefix_tree *t, const int32_t *edge, size_t n_edge, const kv_seq *seq, size_t n_token,
                         pgr_error *err) {
    node *n = mem_zero(1, sizeof *n);
    if (n) n->edge = mem_array(n_edge, sizeof *n->edge);
    if (!n || !n->edge || kv_fork(t->kv, &n->seq, seq, n_token, err) != PGR_OK) {
        if (n) node_free(t, n);
        fail_mem(err);
        return NULL;
    }
    memcpy(n->edge, edge, n_edge * sizeof *edge);
    n->n_edge = n_edge;
    return n;
}

/* Pages from the one on that its first own token lies in: where that begins within a page of the parent's, this one is
 * a copy. */
static size_t own_pages(const node *n) {
    return (n->seq.n_token + KV_PAGE - 1) / KV_PAGE - n->parent->seq.n_token / KV_PAGE;
}

static void attach(prefix_tree *t, node *n, node *parent) {
    n->parent = parent;
    t->n_page += own_pages(n);
    parent->n_child++;
    t->n_node++;
    t->n_token += n->n_edge;
    table_add(t, n);
    link_newest(t, n);
}

/* Cuts n's edge after k of its tokens: a new node takes the first part and becomes n's parent. */
static pgr_status split(prefix_tree *t, node *n, size_t k, node **upper, pgr_error *err) {
    node *u = node_create(t, n->edge, k, &n->seq, n->seq.n_token - n->n_edge + k, err);
    if (!u) return PGR_E_MEM;
    table_remove(t, n);
    n->parent->n_child--;
    t->n_page -= own_pages(n);
    attach(t, u, n->parent);

    n->n_edge -= k;
    memmove(n->edge, n->edge + k, n->n_edge * sizeof *n->edge);
    t->n_token -= k;
    n->parent = u;
    t->n_page += own_pages(n);
    u->n_child = 1;
    table_add(t, n);
    touch(t, n); /* those above u must be newer than u */
    *upper = u;
    return PGR_OK;
}

/* ---- roots ---- */

static node *root_of(const prefix_tree *t, uint64_t key) {
    for (size_t i = 0; i < t->n_root; i++)
        if (t->roots[i]->key == key) return &t->roots[i]->node;
    return NULL;
}

static pgr_status root_create(prefix_tree *t, uint64_t key, node **out, pgr_error *err) {
    if (t->n_root == t->cap_root) {
        size_t cap = t->cap_root ? 2 * t->cap_root : 4;
        root **roots = mem_resize(t->roots, cap * sizeof *roots);
        if (!roots) return fail_mem(err);
        t->roots = roots;
        t->cap_root = cap;
    }
    root *r = mem_zero(1, sizeof *r);
    if (!r) return fail_mem(err);
    r->key = key;
    t->roots[t->n_root++] = r;
    *out = &r->node;
    return PGR_OK;
}

/* The root goes where nothing is left below it. */
static void drop_root(prefix_tree *t, const node *n) {
    if (n->parent || n->n_child > 0) return;
    size_t i = 0;
    while (&t->roots[i]->node != n) i++;
    mem_free(t->roots[i]);
    t->roots[i] = t->roots[--t->n_root];
}

/* ---- the walk ---- */

/* The deepest node from `at` (a root) on that lies on tokens wholly, and how many tokens of one of its children's
 * edges follow (*next: that child, NULL: none). */
static node *walk(prefix_tree *t, node *at, const int32_t *tokens, size_t n, node **next, size_t *n_on_edge) {
    size_t done = 0;
    for (;;) {
        *next = done < n ? child_of(t, at, tokens[done]) : NULL;
        *n_on_edge = 0;
        if (!*next) return at;
        size_t k = 0, most = (*next)->n_edge < n - done ? (*next)->n_edge : n - done;
        while (k < most && (*next)->edge[k] == tokens[done + k]) k++;
        *n_on_edge = k;
        if (k < (*next)->n_edge) return at;
        at = *next;
        done += k;
    }
}

/* ---- interface ---- */

pgr_status prefix_create(kv_cache *kv, prefix_tree **out, pgr_error *err) {
    prefix_tree *t = mem_zero(1, sizeof *t);
    if (t) t->bucket = mem_zero(FIRST_BUCKETS, sizeof *t->bucket);
    if (!t || !t->bucket) {
        mem_free(t);
        return fail_mem(err);
    }
    t->kv = kv;
    t->n_bucket = FIRST_BUCKETS;
    *out = t;
    return PGR_OK;
}

void prefix_free(prefix_tree *t) {
    if (!t) return;
    prefix_clear(t);
    mem_free(t->bucket);
    mem_free(t->roots);
    mem_free(t);
}

pgr_status prefix_take(prefix_tree *t, uint64_t key, const int32_t *tokens, size_t n, kv_seq *seq, pgr_error *err) {
    node *next, *root = root_of(t, key);
    size_t k;
    if (!root) return PGR_OK;
    node *at = walk(t, root, tokens, n, &next, &k);
    const node *from = k ? next : at; /* an edge that is left half-way has the pages up to there, too */
    if (from == root) return PGR_OK;
    PGR_TRY(kv_fork(t->kv, seq, &from->seq, at->seq.n_token + k, err));
    touch(t, k ? next : at);
    return PGR_OK;
}

/* What is not known yet of the tokens becomes a leaf; root: of their key. */
static pgr_status put_below(prefix_tree *t, node *root, const int32_t *tokens, size_t n, const kv_seq *seq,
                            pgr_error *err) {
    node *next;
    size_t k;
    node *at = walk(t, root, tokens, n, &next, &k);
    size_t done = at->seq.n_token + k;
    if (done == n) { /* known, perhaps as the beginning of something longer */
        touch(t, k ? next : at);
        return PGR_OK;
    }
    PGR_TRY(grow_table(t, err));
    if (k) PGR_TRY(split(t, next, k, &at, err));
    node *leaf = node_create(t, tokens + done, n - done, seq, n, err);
    if (!leaf) return PGR_E_MEM;
    attach(t, leaf, at);
    touch(t, leaf);
    return PGR_OK;
}

pgr_status prefix_put(prefix_tree *t, uint64_t key, const int32_t *tokens, size_t n, const kv_seq *seq,
                      pgr_error *err) {
    PGR_ASSERT(seq->n_token >= n);
    node *root = root_of(t, key);
    if (!root) PGR_TRY(root_create(t, key, &root, err));
    pgr_status s = put_below(t, root, tokens, n, seq, err);
    drop_root(t, root);
    return s;
}

bool prefix_evict(prefix_tree *t) {
    node *n = t->oldest;
    if (!n) return false;
    PGR_ASSERT(n->n_child == 0);
    unlink_node(t, n);
    table_remove(t, n);
    n->parent->n_child--;
    t->n_page -= own_pages(n);
    drop_root(t, n->parent);
    t->n_node--;
    t->n_token -= n->n_edge;
    node_free(t, n);
    return true;
}

void prefix_clear(prefix_tree *t) {
    while (prefix_evict(t)) continue;
}

size_t prefix_count(const prefix_tree *t) {
    return t->n_node;
}

size_t prefix_tokens(const prefix_tree *t) {
    return t->n_token;
}

size_t prefix_pages(const prefix_tree *t) {
    return t->n_page;
}
