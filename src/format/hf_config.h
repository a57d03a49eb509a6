/* hf_config.h - what config.json of a Hugging Face folder says, of transformers 4.x and 5.x, and the end tokens. What
 * is not understood is refused by the key's name. */
#ifndef PGR_FORMAT_HF_CONFIG_H
#define PGR_FORMAT_HF_CONFIG_H

#include "base/json.h"
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

/* For the readers of the folder's other files. */
const json_t *hf_given(const json_t *object, const char *key); /* NULL: absent, or null */
/* folder/name, whole; *found false where there is no such file. path: for messages */
pgr_status hf_file_read(const char *folder, const char *name, buf *path, buf *text, bool *found, pgr_error *err);

#endif
