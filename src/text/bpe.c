/* bpe.c - owns the merge loop. Symbols form a linked list; the pair of lowest rank, leftmost first, is merged until
 * none is left. Short pieces look through all pairs each time, long ones keep the candidates in a heap. */
#include "text/bpe.h"

#include <stdint.h>

#include "base/mem.h"
#include "base/text.h"

enum { NONE = -1, SHORT_PIECE = 24 /* symbols; below it the scan is faster than the heap (most words) */ };

typedef struct bpe_symbol {
    int32_t id;         /* NONE: swallowed by its left neighbour */
    int32_t prev, next; /* NONE: no neighbour */
    uint32_t rank;      /* short pieces: of the pair with next; UINT32_MAX: no rule */
    int32_t merged;     /* short pieces: its result */
} bpe_symbol;

typedef struct bpe_candidate { /* a pair that had a rule when it was pushed */
    uint32_t rank;
    int32_t at;       /* the left symbol */
    int32_t right_id; /* what the pair was: a candidate whose pair has changed since is dropped */
    int32_t left_id;
    int32_t result;
} bpe_candidate;

/* ---- rules ---- */

static size_t slot_of(const bpe *b, int32_t left, int32_t right) {
    uint64_t h = ((uint64_t)(uint32_t)left << 32 | (uint32_t)right) * 0x9e3779b97f4a7c15u;
    return (size_t)(h >> 20 ^ h >> 41) & b->mask;
}

pgr_status bpe_init(bpe *b, size_t n_rule, arena *a, pgr_error *err) {
    size_t size = 16;
    while (size / 3 * 2 < n_rule) size *= 2; /* at most two thirds full */
    b->rules = arena_array(a, size, sizeof *b->rules);
    if (!b->rules) return fail_mem(err);
    b->mask = size - 1;
    for (size_t i = 0; i < size; i++) b->rules[i].result = NONE;
    for (size_t i = 0; i < 256; i++) b->byte_id[i] = NONE;
    b->unknown = NONE;
    return PGR_OK;
}

pgr_status bpe_by_char(bpe *b, size_t n, arena *a, pgr_error *err) {
    size_t size = 16;
    while (size / 2 < n) size *= 2;
    b->chars = arena_array(a, size, sizeof *b->chars);
    if (!b->chars) return fail_mem(err);
    for (size_t i = 0; i < size; i++) b->chars[i].id = NONE;
    b->char_mask = size - 1;
    b->by_char = true;
    return PGR_OK;
}

static bpe_char *char_slot(const bpe *b, uint32_t code) {
    size_t at = code * 0x9e3779b1u >> 7 & b->char_mask;
    while (b->chars[at].id != NONE && b->chars[at].code != code) at = (at + 1) & b->char_mask;
    return &b->chars[at];
}

void bpe_add_char(bpe *b, uint32_t code, int32_t id) {
    *char_slot(b, code) = (bpe_char){code, id};
}

bool bpe_add(bpe *b, int32_t left, int32_t right, int32_t result, uint32_t rank) {
    size_t at = slot_of(b, left, right);
    for (; b->rules[at].result != NONE; at = (at + 1) & b->mask)
        if (b->rules[at].left == left && b->rules[at].right == right) return false;
    b->rules[at] = (bpe_rule){left, right, result, rank};
    return true;
}

static const bpe_rule *find_rule(const bpe *b, int32_t left, int32_t right) {
    for (size_t at = slot_of(b, left, right); b->rules[at].result != NONE; at = (at + 1) & b->mask)
        if (b->rules[at].left == left && b->rules[at].right == right) return &b->rules[at];
    return NULL;
}

/* ---- symbols ---- */

static pgr_status work_grow(bpe_work *w, size_t n, pgr_error *err) {
    if (n <= w->cap) return PGR_OK;
    size_t cap = n < 128 ? 128 : n + n / 2;
    bpe_symbol *symbols = mem_resize(w->symbols, cap * sizeof *symbols);
    if (!symbols) return fail_mem(err);
    w->symbols = symbols;
    bpe_candidate *heap = mem_resize(w->heap, 2 * cap * sizeof *heap);
    if (!heap) return fail_mem(err);
    w->heap = heap;
    w->cap = cap;
    return PGR_OK;
}

void bpe_work_free(bpe_work *w) {
    mem_free(w->symbols);
    mem_free(w->heap);
    *w = (bpe_work){0};
}

static size_t add_symbol(bpe_symbol *s, size_t count, int32_t id) {
    s[count] = (bpe_symbol){id, (int32_t)count - 1, (int32_t)count + 1, UINT32_MAX, NONE};
    return count + 1;
}

/* One symbol per byte that has a token; returns how many. */
static size_t fill_bytes(const bpe *b, bpe_symbol *s, const char *piece, size_t n) {
    size_t count = 0;
    for (size_t i = 0; i < n; i++) {
        int32_t id = b->byte_id[(uint8_t)piece[i]];
        if (id != NONE) count = add_symbol(s, count, id);
    }
    return count;
}

static bool have_bytes(const bpe *b, const char *s, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (b->byte_id[(uint8_t)s[i]] == NONE) return false;
    return true;
}

/* One symbol per character, or per byte of one without a token; returns how many. An unknown one is entered when the
 * next known character comes, as PyPI `tokenizers` does (bytes between do not count). */
static size_t fill_chars(const bpe *b, bpe_symbol *s, const char *piece, size_t n) {
    size_t count = 0;
    bool unknown = false;
    for (size_t i = 0, len; i < n; i += len) {
        uint32_t code = 0;
        len = utf8_next(piece + i, n - i, &code);
        int32_t id = len ? char_slot(b, code)->id : NONE;
        if (len == 0) len = 1; /* not UTF-8 */
        if (id != NONE) {
            if (unknown) count = add_symbol(s, count, b->unknown);
            unknown = false;
            count = add_symbol(s, count, id);
        } else if (have_bytes(b, piece + i, len)) {
            for (size_t k = 0; k < len; k++) count = add_symbol(s, count, b->byte_id[(uint8_t)piece[i + k]]);
        } else if (b->unknown != NONE) {
            if (unknown && !b->fuse_unknown) count = add_symbol(s, count, b->unknown);
            unknown = true;
        }
    }
    return unknown ? add_symbol(s, count, b->unknown) : count;
}

static size_t fill_symbols(const bpe *b, bpe_symbol *s, const char *piece, size_t n) {
    size_t count = b->by_char ? fill_chars(b, s, piece, n) : fill_bytes(b, s, piece, n);
    if (count) s[count - 1].next = NONE;
    return count;
}

/* The pair at `at` becomes one symbol. */
static void join(bpe_symbol *s, int32_t at, int32_t result) {
    int32_t right = s[at].next;
    s[at].id = result;
    s[at].next = s[right].next;
    if (s[at].next != NONE) s[s[at].next].prev = at;
    s[right].id = NONE;
}

/* ---- short pieces: look through all pairs ---- */

static void rank_pair(const bpe *b, bpe_symbol *s, int32_t at) {
    const bpe_rule *r = s[at].next == NONE ? NULL : find_rule(b, s[at].id, s[s[at].next].id);
    s[at].rank = r ? r->rank : UINT32_MAX;
    s[at].merged = r ? r->result : NONE;
}

static void merge_short(const bpe *b, bpe_symbol *s, size_t n) {
    for (size_t i = 0; i < n; i++) rank_pair(b, s, (int32_t)i);
    for (;;) {
        int32_t best = NONE;
        uint32_t lowest = UINT32_MAX;
        for (int32_t i = 0; i != NONE; i = s[i].next) {
            if (s[i].rank < lowest) {
                lowest = s[i].rank;
                best = i;
            }
        }
        if (best == NONE) return;
        join(s, best, s[best].merged);
        rank_pair(b, s, best);
        if (s[best].prev != NONE) rank_pair(b, s, s[best].prev);
    }
}

/* ---- long pieces: a heap of candidates, lowest (rank, place) on top ---- */

static bool before(const bpe_candidate *a, const bpe_candidate *b) {
    return a->rank != b->rank ? a->rank < b->rank : a->at < b->at;
}

static void push_pair(const bpe *b, const bpe_symbol *s, int32_t at, bpe_candidate *heap, size_t *n) {
    const bpe_rule *r = s[at].next == NONE ? NULL : find_rule(b, s[at].id, s[s[at].next].id);
    if (!r) return;
    bpe_candidate c = {r->rank, at, r->right, r->left, r->result};
    size_t i = (*n)++;
    for (; i > 0 && before(&c, &heap[(i - 1) / 2]); i = (i - 1) / 2) heap[i] = heap[(i - 1) / 2];
    heap[i] = c;
}

static bpe_candidate pop(bpe_candidate *heap, size_t *n) {
    bpe_candidate top = heap[0], last = heap[--*n];
    size_t i = 0;
    for (size_t child; (child = 2 * i + 1) < *n; i = child) {
        if (child + 1 < *n && before(&heap[child + 1], &heap[child])) child++;
        if (!before(&heap[child], &last)) break;
        heap[i] = heap[child];
    }
    heap[i] = last;
    return top;
}

/* Pushes: n - 1 at first, at most 2 per merge, and each merge pops one: never more than 2 n in the heap. */
static void merge_long(const bpe *b, bpe_symbol *s, size_t n, bpe_candidate *heap) {
    size_t n_heap = 0;
    for (size_t i = 0; i < n; i++) push_pair(b, s, (int32_t)i, heap, &n_heap);
    while (n_heap > 0) {
        bpe_candidate c = pop(heap, &n_heap);
        int32_t right = s[c.at].next;
        if (s[c.at].id != c.left_id || right == NONE || s[right].id != c.right_id) continue;
        join(s, c.at, c.result);
        push_pair(b, s, c.at, heap, &n_heap);
        if (s[c.at].prev != NONE) push_pair(b, s, s[c.at].prev, heap, &n_heap);
    }
}

pgr_status bpe_encode(const bpe *b, bpe_work *w, const char *piece, size_t n, ids *out, pgr_error *err) {
    if (n > INT32_MAX / 4) return fail(err, PGR_E_LIMIT, "a word of %zu bytes is too long to tokenise", n);
    PGR_TRY(work_grow(w, n, err));
    size_t count = fill_symbols(b, w->symbols, piece, n);
    if (count == 0) return PGR_OK;
    if (count <= SHORT_PIECE)
        merge_short(b, w->symbols, count);
    else
        merge_long(b, w->symbols, count, w->heap);
    for (int32_t i = 0; i != NONE; i = w->symbols[i].next) ids_push(out, w->symbols[i].id);
    return PGR_OK;
}
