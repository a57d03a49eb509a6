/* tokenizer.h - text to token ids and back: byte-pair encoding from GGUF metadata or a Hugging Face tokenizer.json,
 * over bytes (GPT-2, Llama 3, Qwen, SmolLM) or over characters with bytes to fall back on (SentencePiece: Llama 2,
 * Mistral); WordPiece (BERT and the embedders made of it) from a tokenizer.json or a vocab.txt.
 *
 * Order of work (docs/formats.md, "Tokenizers"): split out added tokens in the raw text, normalise the rest, split out
 * those added tokens that are looked for in normalised text, cut by the pre-tokeniser, merge by rank (WordPiece: take
 * the longest piece, then the next), put the post-processor's tokens around. Control tokens in user text stay text
 * unless TOK_PARSE_SPECIAL is given; added tokens that are not special (token type user-defined) are always kept
 * whole. */
#ifndef PGR_TEXT_TOKENIZER_H
#define PGR_TEXT_TOKENIZER_H

#include "base/buf.h"
#include "format/gguf.h"

typedef enum tok_type { TOK_NORMAL = 1, TOK_UNKNOWN, TOK_CONTROL, TOK_USER, TOK_UNUSED, TOK_BYTE } tok_type;

enum { TOK_PARSE_SPECIAL = 1, TOK_BOS = 2 }; /* equal to PGR_TOKENS_*; TOK_BOS: all that the file's rule puts around */

typedef struct tokenizer tokenizer;

/* Copies what it needs: g may be closed afterwards. Unknown tokenizer models and pre-tokenisers are refused by name. */
pgr_status tok_open(const gguf *g, tokenizer **out, pgr_error *err);
/* From the text of a tokenizer.json (model BPE or WordPiece); origin: its name, for messages. Components that we lack
 * are refused by the name of their type. End-of-turn tokens are those of well-known names; tok_add_end, tok_set_bos and
 * tok_set_eos add what generation_config.json and tokenizer_config.json say. truncation and padding are not
 * followed. */
pgr_status tok_open_json(const char *text, size_t n, const char *origin, tokenizer **out, pgr_error *err);
/* From the text of a vocab.txt and of a tokenizer_config.json, of BERT folders that have no tokenizer.json: WordPiece,
 * text lowered unless do_lower_case is false, [CLS] before and [SEP] behind. */
pgr_status tok_open_vocab(const char *text, size_t n, const char *origin, const char *config, size_t n_config,
                          const char *config_origin, tokenizer **out, pgr_error *err);
/* The folder's tokenizer.json, or without one its vocab.txt.
 * What other files say of BOS and EOS is left to the caller. */
pgr_status tok_open_folder(const char *folder, tokenizer **out, pgr_error *err);
void tok_close(tokenizer *t);

/* Before the first use by threads. Ids out of range are errors, -1 for none where the name says set. */
pgr_status tok_add_end(tokenizer *t, int32_t id, pgr_error *err);
pgr_status tok_set_bos(tokenizer *t, int32_t id, pgr_error *err); /* what tok_bos says; what is added stays */
pgr_status tok_set_eos(tokenizer *t, int32_t id, pgr_error *err); /* the same; an end token, too */

/* Appends the ids of text to out. Bytes need not be valid UTF-8 (invalid ones are tokenised as bytes; WordPiece has no
 * bytes, and BERT's normaliser takes them for U+FFFD, which it drops where it cleans text). threads: many. */
pgr_status tok_encode(const tokenizer *t, const char *text, size_t n, int flags, ids *out, pgr_error *err);
/* The same, where control tokens count only in the bytes whose `made` (n) is not 0; all others are text, and one text
 * with what stands beside them. A control token in such bytes that the tokenizer looks for in normalised text is
 * refused: there is no telling where it came from. */
pgr_status tok_encode_made(const tokenizer *t, const char *text, const uint8_t *made, size_t n, ids *out,
                           pgr_error *err);
/* Appends the bytes of the ids; control tokens appear as their text. Where the file's decoder says so (SentencePiece),
 * a space at the very beginning, which encoding had put there, is left out. WordPiece: words with spaces between,
 * without what the normaliser took away. */
pgr_status tok_decode(const tokenizer *t, const int32_t *v, size_t n, buf *out, pgr_error *err);

/* Decoding token by token: what is appended ends at a character as long as the bytes are UTF-8. All pieces together,
 * the end's included, are what tok_decode gives for all ids. */
typedef struct tok_stream {
    const tokenizer *t;
    char held[4]; /* the beginning of a character */
    size_t n_held;
    bool begun;
} tok_stream;
void tok_stream_begin(tok_stream *s, const tokenizer *t);
pgr_status tok_stream_put(tok_stream *s, int32_t id, buf *out, pgr_error *err);
/* appends what is held back; ready for another text */
pgr_status tok_stream_end(tok_stream *s, buf *out, pgr_error *err);

size_t tok_count(const tokenizer *t);                         /* ids are 0 .. count-1 */
const char *tok_bytes(const tokenizer *t, int32_t id, size_t *n); /* the bytes a token stands for (control: its name) */
tok_type tok_type_of(const tokenizer *t, int32_t id);
int32_t tok_find(const tokenizer *t, const char *text);       /* control or added token by its exact text; -1 */
bool tok_ends(const tokenizer *t, int32_t id);                /* EOS, EOT or another end-of-turn token of the file */
int32_t tok_bos(const tokenizer *t);                          /* -1: none */
int32_t tok_eos(const tokenizer *t);                          /* -1: none */
bool tok_adds_bos(const tokenizer *t);                        /* TOK_BOS puts something before the text */
bool tok_adds_eos(const tokenizer *t);                        /* and behind it */
size_t tok_before(const tokenizer *t);                        /* how many tokens TOK_BOS puts before the text */
size_t tok_after(const tokenizer *t);                         /* and behind it */
/* "gpt2", "llama"; of a tokenizer.json: "BPE", "WordPiece" */
const char *tok_model_name(const tokenizer *t);
/* "smollm"; of a tokenizer.json: "Split, ByteLevel"; "none" */
const char *tok_pre_name(const tokenizer *t);
bool tok_nfc(const tokenizer *t);                             /* text is composed (Unicode NFC) first */
size_t tok_merge_count(const tokenizer *t);

#endif
