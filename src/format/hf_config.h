/* hf_config.h - what the JSON files of a Hugging Face folder say besides weights and tokens: config.json of
 * transformers 4.x and 5.x, the end tokens, the chat template. What is not understood is refused by the key's name. */
#ifndef PGR_FORMAT_HF_CONFIG_H
#define PGR_FORMAT_HF_CONFIG_H

#include "base/buf.h"
#include "format/config.h"

enum { HF_MAX_EOS = 16 };

typedef struct hf_config {
    config c;
    bool tied;               /* the head is the embedding, whatever lm_head.weight holds */
    int32_t bos;             /* -1: none given */
    int32_t eos[HF_MAX_EOS]; /* (n_eos) each ends a reply; ids that the vocabulary does not have are left out */
    size_t n_eos;
    int32_t pad;             /* -1: none given or none of the vocabulary */
} hf_config;

/* folder/config.json, and folder/generation_config.json where there is one: its tokens come before those of
 * config.json. */
pgr_status hf_config_read(const char *folder, hf_config *out, pgr_error *err);

/* The same over text in memory; origin begins messages. */
pgr_status hf_config_parse(const char *text, size_t n, const char *origin, hf_config *out, pgr_error *err);
/* generation_config.json: replaces bos and eos of out where it names them. On error out is as before. */
pgr_status hf_generation_parse(const char *text, size_t n, const char *origin, hf_config *out, pgr_error *err);

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
