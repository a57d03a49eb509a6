/* tok_parts.h - private to the tokenizer: the small components of a tokenizer.json. Each reader takes the component's
 * JSON, and fails by the name of the type where it is none that we have, or by the key that it does not know. */
#ifndef PGR_TEXT_TOK_PARTS_H
#define PGR_TEXT_TOK_PARTS_H

#include "base/json.h"
#include "text/vocab.h"

typedef struct tok_cutting { /* what the pre-tokeniser says */
    pretok_step steps[PRETOK_MAX_STEP]; /* strings: memory of the tokenizer's arena, or static */
    size_t n;
    bool bytes; /* it ends in ByteLevel: merging is over bytes */
    buf names;  /* "Split, ByteLevel"; the caller's to free */
} tok_cutting;

typedef struct tok_decoder {
    bool bytes;        /* ByteLevel */
    const char *space; /* what stands for a space in tokens; "" */
    bool strip;        /* one space at the very beginning goes */
    tok_joining join;  /* WordPiece; prefix: memory of the tokenizer's arena */
} tok_decoder;

pgr_status tok_read_normaliser(tokenizer *t, const json_t *v, pgr_error *err);
pgr_status tok_read_cutting(tokenizer *t, const json_t *v, tok_cutting *out, pgr_error *err);
pgr_status tok_read_decoder(tokenizer *t, const json_t *v, tok_decoder *out, pgr_error *err);
/* After the vocabulary: ids must be in range. */
pgr_status tok_read_around(tokenizer *t, const json_t *v, pgr_error *err);

/* Typed fields of an object. path: of the object. Absent or null: the fallback;
 * a NULL fallback means the field must be there. */
pgr_status tok_field_string(const tokenizer *t, const json_t *v, const char *path, const char *key,
                            const char *fallback, const char **out, pgr_error *err);
pgr_status tok_field_bool(const tokenizer *t, const json_t *v, const char *path, const char *key, bool fallback,
                          bool *out, pgr_error *err);

#endif
