/* hf_template.h - the chat template of a Hugging Face folder, and the texts of the tokens that it sees. */
#ifndef PGR_FORMAT_HF_TEMPLATE_H
#define PGR_FORMAT_HF_TEMPLATE_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/status.h"

/* The chat template from the first that has one of chat_template.jinja, tokenizer_config.json and chat_template.json;
 * of several named ones "default". Replaces what out held ("" and *from NULL: the folder has none); *from: the file's
 * name, static. */
pgr_status hf_chat_template(const char *folder, buf *out, const char **from, pgr_error *err);
/* bos_token and eos_token of tokenizer_config.json, which templates see: strings or added tokens; empty where there is
 * none. *found: there is such a file. */
pgr_status hf_token_texts(const char *folder, buf *bos, buf *eos, bool *found, pgr_error *err);
pgr_status hf_token_texts_parse(const char *text, size_t n, const char *origin, buf *bos, buf *eos, pgr_error *err);
/* The key chat_template of tokenizer_config.json or chat_template.json. *found: there is one. */
pgr_status hf_template_parse(const char *text, size_t n, const char *origin, buf *out, bool *found, pgr_error *err);

#endif
