/* embedder.h - an opened embedding model: an encoder with its own files, or a decoder (pgr_model), and what its files
 * say about pooling; or servers that embed. embed.c computes with it. */
#ifndef PGR_MODEL_EMBEDDER_H
#define PGR_MODEL_EMBEDDER_H

#include "model/embed_remote.h"
#include "model/encoder.h"
#include "model/forward.h"
#include "format/safetensors.h"
#include "format/sentence.h"

struct pgr_embedder {
    char *name;
    remote_embedder *remote; /* servers; NULL: it is here. Of the rest name, dims and max_tokens count then */
    pgr_model *model; /* the decoder; NULL: an encoder, whose parts are the next five */
    safetensors files;
    tokenizer *own_tok;
    pool *threads;
    ops *ops;
    encoder encoder;

    const tokenizer *tok; /* of either */
    sentence_config say;  /* what the folder's files say; pool is what PGR_POOL_AUTO means, never AUTO itself */
    size_t dims, max_tokens;
    int32_t end;  /* appended to every text, beyond the tokenizer's own rule; -1: none */
    int32_t lone; /* stands for a text that has no token at all; -1: none */

    size_t n_row;           /* tokens of one pass */
    encoder_state *encoding;
    forward_state *decoding; /* of the decoder: these three */
    kv_cache kv;
    float *hidden; /* (n_row, dims) */
};

/* What is done with a text where nobody asks for another pooling: completes what sentence_read gave. Afterwards pool
 * is not AUTO, pool_from says why it is that one, and max_tokens is the limit. end, lone: as above. */
void embedder_encoder_rule(const encoder_config *c, sentence_config *say);
pgr_status embedder_decoder_rule(const checkpoint *from, sentence_config *say, int32_t *end, int32_t *lone,
                                 pgr_error *err);

#endif
