/* tok_export.h - the tokenizer of a Hugging Face folder as keys of a GGUF file.
 * What those keys cannot say is refused by name. */
#ifndef PGR_EXPORT_TOK_EXPORT_H
#define PGR_EXPORT_TOK_EXPORT_H

#include "base/json.h"
#include "format/gguf_write.h"
#include "text/tokenizer.h"

/* text: the tokenizer.json that t was opened from, with t's begin and end tokens set; n_row: rows of the embedding,
 * those beyond the tokenizer's ids become unused tokens "[PAD<id>]",
 * as every reader of GGUF wants as many tokens as rows. */
pgr_status tok_export(const tokenizer *t, const char *text, size_t n, const char *origin, size_t n_row, gguf_writer *w,
                      pgr_error *err);

/* tokenizer.ggml.pre for a tokenizer.json's normalizer and pre_tokenizer. */
pgr_status tok_export_pre(const json_t *root, bool ignore_merges, const char *origin, const char **out, pgr_error *err);

#endif
