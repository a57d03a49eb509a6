/* bpe.h - byte-pair merging of one piece of text: the table of merges by rank, and the working memory of a call. The
 * table is read-only once filled; each thread brings its own bpe_work. */
#ifndef PGR_TEXT_BPE_H
#define PGR_TEXT_BPE_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/status.h"

typedef struct bpe_rule {        /* left right -> result; the lowest rank goes first */
    int32_t left, right, result; /* result -1: empty slot */
    uint32_t rank;
} bpe_rule;

typedef struct bpe_char { /* the token of a character */
    uint32_t code;
    int32_t id; /* -1: empty slot */
} bpe_char;

/* A piece begins as bytes (by_char false), or as characters, where one without a token becomes its bytes' tokens if all
 * have one, else the unknown token. A byte or character that has none of these gives no token. */
typedef struct bpe {
    int32_t byte_id[256]; /* -1: the vocabulary has none */
    bpe_rule *rules;      /* (mask + 1) open addressing */
    size_t mask;
    bool by_char;
    bpe_char *chars; /* (char_mask + 1) open addressing */
    size_t char_mask;
    int32_t unknown;   /* -1: none */
    bool fuse_unknown; /* neighbouring unknown ones are one token */
} bpe;

struct bpe_symbol;
struct bpe_candidate;
typedef struct bpe_work {
    struct bpe_symbol *symbols; /* (cap) */
    struct bpe_candidate *heap; /* (2 * cap) */
    size_t cap;
} bpe_work; /* all zero at first, given back by bpe_work_free */

pgr_status bpe_init(bpe *b, size_t n_rule, arena *a, pgr_error *err);
/* false: the pair has a rule already, which stays */
bool bpe_add(bpe *b, int32_t left, int32_t right, int32_t result, uint32_t rank);

/* From now on pieces begin as characters, of which at most n will be added. */
pgr_status bpe_by_char(bpe *b, size_t n, arena *a, pgr_error *err);
void bpe_add_char(bpe *b, uint32_t code, int32_t id);

/* Appends the tokens of one piece. O(n log n). */
pgr_status bpe_encode(const bpe *b, bpe_work *w, const char *piece, size_t n, ids *out, pgr_error *err);
void bpe_work_free(bpe_work *w);

#endif
