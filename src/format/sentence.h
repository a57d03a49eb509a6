/* sentence.h - what the files of sentence-transformers beside a model say: modules.json, the pooling module's
 * config.json, sentence_bert_config.json. Modules and poolings that we lack are refused by name. */
#ifndef PGR_FORMAT_SENTENCE_H
#define PGR_FORMAT_SENTENCE_H

#include <stddef.h>

#include "base/status.h"

typedef struct sentence_config {
    bool found;        /* modules.json is there */
    pgr_pool pool;     /* PGR_POOL_AUTO: the files name none */
    const char *pool_from; /* what decided on pool; set by embedder_*_rule (embedder.h) */
    bool normalise;    /* there is a Normalize module, or no modules.json */
    bool include_prompt; /* tokens of a prompt take part in the mean */
    size_t dims;       /* word_embedding_dimension; 0: not given */
    size_t max_tokens; /* max_seq_length, special tokens counted; 0: not given */
    bool lower_case;   /* texts are put in lower case before anything else */
} sentence_config;

/* A folder's files; one without modules.json gives the defaults,
 * whatever else there is but sentence_bert_config.json. */
pgr_status sentence_read(const char *folder, sentence_config *out, pgr_error *err);

/* The same over texts in memory; origin begins messages, fields that a file does not name stay as they are.
 * pooling: (size) receives the pooling module's folder, "" where there is none. */
pgr_status sentence_modules_parse(const char *text, size_t n, const char *origin, sentence_config *c, char *pooling,
                                  size_t size, pgr_error *err);
pgr_status sentence_pooling_parse(const char *text, size_t n, const char *origin, sentence_config *c, pgr_error *err);
pgr_status sentence_bert_parse(const char *text, size_t n, const char *origin, sentence_config *c, pgr_error *err);
/* tokenizer_config.json: model_max_length shortens max_tokens, where it is a length. */
pgr_status sentence_tokenizer_parse(const char *text, size_t n, const char *origin, sentence_config *c, pgr_error *err);

#endif
