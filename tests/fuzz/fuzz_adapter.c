/* fuzz_adapter.c - any bytes as an adapter, the first byte says what: a GGUF file, a PEFT adapter (two bytes of length,
 * adapter_config.json, safetensors), or adapter_config.json alone; and the order of the model's rows. An error, or
 * factors and tensors of the model's shapes. */
#include <stdint.h>
#include <string.h>

#include "base/status.h"
#include "model/lora.h"
#include "model/lora_config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static float sum(const float *v, size_t n) {
    float s = 0;
    for (size_t i = 0; i < n; i++) s += v[i];
    return s;
}

static void check_factors(const lora *l, const lora_factors *f, size_t N, size_t K) {
    if (f->r == 0) return;
    PGR_ASSERT(f->N == N && f->K == K && f->r >= l->min_r && f->r <= l->max_r);
    volatile float all = sum(f->a, f->r * K) + sum(f->b, N * f->r) + f->scale;
    (void)all;
}

static void check_lora(const lora *l, const config *c) {
    PGR_ASSERT(l->n_tensor > 0 && l->n_value > 0 && l->n_layer == c->n_layer);
    check_factors(l, &l->token_embd, c->n_vocab, c->n_embd);
    check_factors(l, &l->output, c->n_vocab, c->n_embd);
    for (size_t i = 0; i < l->n_layer; i++) {
        const lora_layer *layer = &l->layers[i];
#define X(field, gguf, hf, rows, cols) check_factors(l, &layer->field, rows, cols);
        LAYER_MATRICES(X)
#undef X
#define X(field, gguf, hf, n, where)                                                                                   \
    if (layer->field) {                                                                                                \
        volatile float all = sum(layer->field, n);                                                                     \
        (void)all;                                                                                                     \
    }
        LAYER_VECTORS(X)
#undef X
    }
    const source_tensor *whole[] = {l->new_token_embd, l->new_output};
    for (size_t i = 0; i < 2; i++) PGR_ASSERT(!whole[i] || (whole[i]->dim[1] == c->n_vocab && whole[i]->data));
}

static void check_config(const char *text, size_t n) {
    static const char *const modules[] = {"model.layers.0.self_attn.q_proj", "model.layers.0.mlp.up_proj", "lm_head"};
    lora_config c;
    pgr_error err = {0};
    if (lora_config_parse(text, n, "fuzz", &c, &err) != PGR_OK) {
        PGR_ASSERT(err.status < 0 && err.message[0]);
        return;
    }
    for (size_t i = 0; i < 3; i++) {
        size_t r;
        float scale;
        if (lora_config_module(&c, modules[i], &r, &scale, NULL) == PGR_OK) PGR_ASSERT(r >= 1 && scale == scale);
    }
    lora_config_free(&c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    config c = {.arch = "llama",
                .n_layer = 1,
                .n_embd = 4,
                .n_head = 2,
                .n_head_kv = 1,
                .head_dim = 4,
                .n_ff = 3,
                .n_vocab = 5};
    if (size < 3) return 0;
    c.rope_interleaved = data[0] & 4;
    c.qk_norm = data[0] & 8;
    size_t n = data[1] | (size_t)data[2] << 8, kind = data[0] & 3;
    if (n > size - 3) n = size - 3;
    const char *text = (const char *)data + 3;
    if (kind == 3) {
        check_config(text, size - 3);
        return 0;
    }
    lora l;
    pgr_error err = {0};
    pgr_status s = kind == 0 ? lora_open_gguf_memory(data + 1, size - 1, "fuzz", &c, &l, &err)
                             : lora_open_peft_memory(text, n, data + 3 + n, size - 3 - n, "fuzz", &c, &l, &err);
    if (s == PGR_OK)
        check_lora(&l, &c);
    else
        PGR_ASSERT(err.status < 0 && err.message[0] && !l.layers);
    lora_close(&l);
    return 0;
}
