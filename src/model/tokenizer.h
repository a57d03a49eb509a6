/* tokenizer.h - text to token ids and back: byte-level BPE from GGUF metadata, pre-tokeniser patterns through PCRE2.
 *
 * Order of work (formats.md 5.2): split out added tokens in the raw text, split the rest by the pre-tokeniser's pattern, map
 * bytes, merge by rank. Control tokens in user text stay text unless TOK_PARSE_SPECIAL is given; added tokens that are
 * not special (token type user-defined) are always kept whole. */
#ifndef PGR_MODEL_TOKENIZER_H
#define PGR_MODEL_TOKENIZER_H

#include "base/buf.h"
#include "model/gguf.h"

typedef enum tok_type { TOK_NORMAL = 1, TOK_UNKNOWN, TOK_CONTROL, TOK_USER, TOK_UNUSED, TOK_BYTE } tok_type;

enum { TOK_PARSE_SPECIAL = 1, TOK_BOS = 2 }; /* equal to PGR_TOKENS_* */

typedef struct tokenizer tokenizer;

/* Copies what it needs: g may be closed afterwards. Unknown tokenizer models and pre-tokenisers are refused by name. */
pgr_status tok_open(const gguf *g, tokenizer **out, pgr_error *err);
void tok_close(tokenizer *t);

/* Appends the ids of text to out. Bytes need not be valid UTF-8 (invalid ones are tokenised as bytes). threads: many. */
pgr_status tok_encode(const tokenizer *t, const char *text, size_t n, int flags, ids *out, pgr_error *err);
/* Appends the bytes of the ids; control tokens appear as their text. */
pgr_status tok_decode(const tokenizer *t, const int32_t *v, size_t n, buf *out, pgr_error *err);

size_t tok_count(const tokenizer *t);                         /* ids are 0 .. count-1 */
const char *tok_bytes(const tokenizer *t, int32_t id, size_t *n); /* the bytes a token stands for (control: its name) */
tok_type tok_type_of(const tokenizer *t, int32_t id);
int32_t tok_find(const tokenizer *t, const char *text);       /* control or added token by its exact text; -1 */
bool tok_ends(const tokenizer *t, int32_t id);                /* EOS, EOT or another end-of-turn token of the file */
int32_t tok_bos(const tokenizer *t);                          /* -1: none */
int32_t tok_eos(const tokenizer *t);                          /* -1: none */
bool tok_adds_bos(const tokenizer *t);
bool tok_adds_eos(const tokenizer *t);
const char *tok_model_name(const tokenizer *t);               /* "gpt2" */
const char *tok_pre_name(const tokenizer *t);                 /* "smollm" */
size_t tok_merge_count(const tokenizer *t);

#endif
