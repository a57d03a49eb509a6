/* vocab.h - private to the tokenizer: its parts, and how the readers of file formats (tok_gguf.c, tok_json.c) fill in
 * vocabulary, added tokens and merges. */
#ifndef PGR_TEXT_VOCAB_H
#define PGR_TEXT_VOCAB_H

#include "base/arena.h"
#include "text/added.h"
#include "text/bpe.h"
#include "text/normal.h"
#include "text/pretok.h"
#include "text/tokenizer.h"
#include "text/wordpiece.h"

enum { TOK_MAX_AROUND = 16 };

typedef struct tok_joining { /* a space between tokens */
    bool spaces;
    const char *prefix; /* not before a token that begins with it, which goes */
    bool cleanup;       /* nor before punctuation and the endings of English contractions */
} tok_joining;

typedef struct token_texts { /* of all tokens, one after the other */
    const char *s;
    const uint32_t *start; /* (n_token + 1) */
} token_texts;

struct tokenizer {
    arena arena;
    const char *origin; /* the file, for messages; only while it is opened */
    size_t n_token, n_merge;
    bool by_char;       /* tokens are of characters (SentencePiece, WordPiece), not of bytes */
    token_texts bytes;  /* what tokens stand for */
    token_texts text;   /* what merging compares: the same, by characters the spelling of the file */
    uint8_t *type;      /* (n_token) a tok_type */
    bool *ends;         /* (n_token) */
    int32_t *index;     /* (index_mask + 1) hash of the texts that merging can give: id, -1 empty */
    size_t index_mask;
    size_t longest;     /* bytes of the longest text in the index */
    added_set raw, normalised; /* added tokens by where they are looked for */
    normaliser norm;
    bpe bpe;
    wordpiece wordpiece;
    bool ignore_merges; /* a whole piece that is in the vocabulary is one token */
    pretok *pre;
    const char *model_name, *pre_name;
    int32_t before[TOK_MAX_AROUND], after[TOK_MAX_AROUND]; /* what TOK_BOS puts around */
    size_t n_before, n_after;
    int32_t bos, eos;
    bool strip_space; /* decoding leaves out a space at the very beginning */
    tok_joining join; /* decoding of WordPiece */
};

typedef struct vocab_token {
    const char *s; /* as the file spells it */
    size_t n;
    tok_type type;
    bool merged;    /* merging can give it (its text enters the index) */
    bool added;     /* it is cut out of the input */
    unsigned flags; /* ADDED_*, where it is added */
} vocab_token;

typedef struct text_span {
    const char *s;
    size_t n;
} text_span;

text_span vocab_bytes(const tokenizer *t, int32_t id);

/* Fills in types, texts, index, added tokens and the tokens of single bytes and characters. Before it: by_char, norm
 * and bpe_init. space: by characters, what the file writes for a space ("" if it writes a space). */
pgr_status vocab_build(tokenizer *t, const vocab_token *v, size_t n, const char *space, pgr_error *err);
/* "<0x0A>" */
bool vocab_is_byte(const char *s, size_t n, uint8_t *byte);

/* Merge number `rank` of the file's list `key`; left and right as the file spells them. */
pgr_status vocab_merge(tokenizer *t, const char *key, text_span left, text_span right, uint32_t rank, buf *scratch,
                       pgr_error *err);
int32_t vocab_find(const tokenizer *t, const char *s, size_t n); /* by what merging compares; -1 */
/* The longest one of more than `least` bytes that s begins with, and its length; -1.
 * Of valid UTF-8 it is whole characters. */
int32_t vocab_longest(const tokenizer *t, const char *s, size_t n, size_t least, size_t *len);

/* Marks the control tokens with well-known names of an end of turn. */
void vocab_mark_ends(tokenizer *t);
bool vocab_ends_by_name(const tokenizer *t, int32_t id); /* it is one of those */

#endif
