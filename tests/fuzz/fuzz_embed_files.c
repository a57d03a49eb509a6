/* fuzz_embed_files.c - any bytes as the files of an embedding model (an encoder's config.json, modules.json, the
 * pooling module's config.json, sentence_bert_config.json): an error, or values in range. */
#include <stdint.h>
#include <string.h>

#include "base/status.h"
#include "format/encoder_config.h"
#include "format/sentence.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(pgr_status s, const pgr_error *err) {
    PGR_ASSERT(s == PGR_OK || (s < 0 && err->message[0]));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const char *text = (const char *)data;
    bool is_encoder = false;
    encoder_config c;
    pgr_error err = {0};
    pgr_status s = encoder_config_parse(text, size, "fuzz", &is_encoder, &c, &err);
    check(s, &err);
    if (s == PGR_OK && is_encoder) {
        PGR_ASSERT(c.n_layer > 0 && c.n_embd > 0 && c.n_head > 0 && c.n_embd % c.n_head == 0 && c.n_ff > 0);
        PGR_ASSERT(c.n_vocab > 0 && c.n_pos > 0 && c.n_type > 0 && c.norm_eps > 0 && c.norm_eps < 1);
    }

    sentence_config say = {0};
    char pooling[64];
    s = sentence_modules_parse(text, size, "fuzz", &say, pooling, sizeof pooling, &err);
    check(s, &err);
    if (s == PGR_OK) PGR_ASSERT(say.found && pooling[0] && memchr(pooling, 0, sizeof pooling));
    s = sentence_pooling_parse(text, size, "fuzz", &say, &err);
    check(s, &err);
    if (s == PGR_OK) PGR_ASSERT(say.pool != PGR_POOL_AUTO);
    s = sentence_bert_parse(text, size, "fuzz", &say, &err);
    check(s, &err);
    return 0;
}
