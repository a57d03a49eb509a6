/* fuzz_hf_config.c - any bytes as config.json, generation_config.json and tokenizer_config.json: an error, or numbers
 * in range and text. */
#include <stdint.h>
#include <string.h>

#include "base/status.h"
#include "format/hf_config.h"
#include "format/hf_template.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_config(const hf_config *h) {
    const config *c = &h->c;
    PGR_ASSERT(c->n_head_kv > 0 && c->n_head % c->n_head_kv == 0 && c->rope_dim == c->head_dim && c->head_dim % 2 == 0);
    PGR_ASSERT(c->n_layer > 0 && c->n_embd > 0 && c->n_ff > 0 && c->n_ctx > 0 && c->n_vocab > 0);
    PGR_ASSERT(c->norm_eps > 0 && c->norm_eps < 1 && c->rope_base > 0 && c->arch[0] && !c->rope_interleaved);
    PGR_ASSERT(c->rope_kind == ROPE_PLAIN || (c->rope_factor >= 1 && c->rope_high > c->rope_low));
    PGR_ASSERT(h->bos >= -1 && h->bos < (int64_t)c->n_vocab && h->n_eos <= HF_MAX_EOS);
    for (size_t i = 0; i < h->n_eos; i++) PGR_ASSERT(h->eos[i] >= 0 && (size_t)h->eos[i] < c->n_vocab);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const char *text = (const char *)data;
    hf_config h;
    buf out = {0};
    bool found;
    pgr_error err = {0};
    if (hf_config_parse(text, size, "fuzz", &h, &err) == PGR_OK)
        check_config(&h);
    else
        PGR_ASSERT(err.status < 0 && err.message[0]);
    h = (hf_config){.c = {.n_vocab = 1000}, .bos = -1};
    if (hf_generation_parse(text, size, "fuzz", &h, &err) == PGR_OK) PGR_ASSERT(h.bos < 1000 && h.n_eos <= HF_MAX_EOS);
    if (hf_template_parse(text, size, "fuzz", &out, &found, &err) == PGR_OK && found)
        PGR_ASSERT(out.data && strlen(out.data) == out.n);
    buf eos = {0};
    if (hf_token_texts_parse(text, size, "fuzz", &out, &eos, &err) == PGR_OK) PGR_ASSERT(out.data && eos.data);
    buf_free(&out);
    buf_free(&eos);
    return 0;
}
