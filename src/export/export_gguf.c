/* export_gguf.c - owns what stands in a GGUF file beside the weights: of a Hugging Face folder the keys of its
 * architecture, its tokenizer and chat template; of another GGUF file its own keys. */
#include "export/export_gguf.h"

#include <math.h>
#include <string.h>

#include "base/json.h"
#include "base/text.h"
#include "export/tok_export.h"
#include "format/gguf_write.h"
#include "format/hf_template.h"

/* ---- of a folder ---- */

typedef struct keys { /* of one architecture: "<arch>.<suffix>" */
    gguf_writer *w;
    const char *arch;
    char key[96];
} keys;

static const char *key_of(keys *k, const char *suffix) {
    snprintf(k->key, sizeof k->key, "%s.%s", k->arch, suffix);
    return k->key;
}

static void put_size(keys *k, const char *suffix, size_t v) {
    gguf_put_u32(k->w, key_of(k, suffix), (uint32_t)v); /* config_check: far below 2^32 */
}

/* Llama 3's scaling is a tensor, rope_freqs.weight. */
static void put_scaling(keys *k, const config *c) {
    bool yarn = c->rope_kind == ROPE_YARN;
    if (!yarn && c->rope_kind != ROPE_LINEAR) return;
    gguf_put_string(k->w, key_of(k, "rope.scaling.type"), yarn ? "yarn" : "linear", yarn ? 4 : 6);
    gguf_put_f32(k->w, key_of(k, "rope.scaling.factor"), (float)c->rope_factor);
    if (!yarn) return;
    double usual = c->rope_factor > 1.0 ? 1.0 + 0.1 * log(c->rope_factor) : 1.0;
    put_size(k, "rope.scaling.original_context_length", c->rope_original_ctx);
    gguf_put_f32(k->w, key_of(k, "rope.scaling.attn_factor"), (float)(c->rope_scale / usual));
    gguf_put_f32(k->w, key_of(k, "rope.scaling.yarn_beta_fast"), (float)c->rope_high);
    gguf_put_f32(k->w, key_of(k, "rope.scaling.yarn_beta_slow"), (float)c->rope_low);
}

/* A ramp between whole pairs is all that GGUF's keys can say. */
static pgr_status check_scaling(const config *c, const char *path, pgr_error *err) {
    config whole = *c;
    if (c->rope_kind != ROPE_YARN) return PGR_OK;
    config_set_yarn(&whole, c->rope_high, c->rope_low, true, c->rope_scale);
    if (whole.rope_ramp[0] == c->rope_ramp[0] && whole.rope_ramp[1] == c->rope_ramp[1]) return PGR_OK;
    return fail(err, PGR_E_UNSUPPORTED, "%s: a rope scaling with truncate false cannot be written as GGUF", path);
}

static void put_config(gguf_writer *w, const config *c) {
    keys k = {.w = w, .arch = c->arch};
    put_size(&k, "block_count", c->n_layer);
    put_size(&k, "context_length", c->n_ctx);
    put_size(&k, "embedding_length", c->n_embd);
    put_size(&k, "feed_forward_length", c->n_ff);
    put_size(&k, "attention.head_count", c->n_head);
    put_size(&k, "attention.head_count_kv", c->n_head_kv);
    put_size(&k, "attention.key_length", c->head_dim);
    put_size(&k, "attention.value_length", c->head_dim);
    put_size(&k, "rope.dimension_count", c->rope_dim);
    put_size(&k, "vocab_size", c->n_vocab);
    gguf_put_f32(w, key_of(&k, "attention.layer_norm_rms_epsilon"), c->norm_eps);
    gguf_put_f32(w, key_of(&k, "rope.freq_base"), (float)c->rope_base);
    put_scaling(&k, c);
}

static pgr_status read_file(const char *folder, const char *name, buf *path, buf *text, pgr_error *err) {
    buf_clear(path);
    buf_printf(path, "%s/%s", folder, name);
    return path->failed ? fail_mem(err) : file_read(path->data, text, err);
}

/* config.json's pad_token_id, where it is one of the tokens */
static pgr_status put_pad(const checkpoint *c, buf *path, buf *text, gguf_writer *w, pgr_error *err) {
    json_t *root = NULL;
    PGR_TRY(read_file(c->path, "config.json", path, text, err));
    PGR_TRY(json_parse(text->data, text->n, path->data, 1, &root, err));
    const json_t *v = json_object_get(root, "pad_token_id");
    int64_t id = json_is_integer(v) ? json_integer_value(v) : -1;
    if (id >= 0 && (uint64_t)id < tok_count(c->tok)) gguf_put_u32(w, "tokenizer.ggml.padding_token_id", (uint32_t)id);
    json_decref(root);
    return PGR_OK;
}

static pgr_status put_tokens(const checkpoint *c, buf *path, buf *text, gguf_writer *w, pgr_error *err) {
    const char *from;
    PGR_TRY(read_file(c->path, "tokenizer.json", path, text, err));
    PGR_TRY(tok_export(c->tok, text->data, text->n, path->data, c->config.n_vocab, w, err));
    PGR_TRY(put_pad(c, path, text, w, err));
    PGR_TRY(hf_chat_template(c->path, text, &from, err));
    if (from) gguf_put_string(w, "tokenizer.chat_template", text->data, text->n);
    return PGR_OK;
}

static pgr_status put_folder(const checkpoint *c, gguf_writer *w, pgr_error *err) {
    buf path = {0}, text = {0};
    PGR_TRY(check_scaling(&c->config, c->path, err));
    gguf_put_string(w, "general.architecture", c->config.arch, strlen(c->config.arch));
    gguf_put_string(w, "general.type", "model", 5);
    gguf_put_string(w, "general.name", c->name, strlen(c->name));
    put_config(w, &c->config);
    pgr_status status = put_tokens(c, &path, &text, w, err);
    buf_free(&path);
    buf_free(&text);
    return status;
}

/* ---- of a GGUF file ---- */

/* All but what tells of the bytes of the old file. */
static void copy_keys(const gguf *g, gguf_writer *w) {
    static const char *const own[] = {"general.file_type", "general.quantization_version", "general.alignment"};
    for (size_t i = 0; i < g->n_value; i++) {
        const gguf_value *v = &g->values[i];
        bool skip = v->key.n > 6 && memcmp(v->key.s, "split.", 6) == 0;
        for (size_t k = 0; k < sizeof own / sizeof *own; k++) skip |= gguf_string_is(v->key, own[k]);
        if (!skip) gguf_put_value(w, v);
    }
}

/* ---- both ---- */

/* llama.cpp's number for the type that most of the matrices have, -1 where it has none that we know. */
static int file_type(const export_plan *p) {
    static const struct {
        quant_type type;
        int number;
    } known[] = {{QUANT_F32, 0},   {QUANT_F16, 1},   {QUANT_Q4_0, 2}, {QUANT_Q4_1, 3},
                 {QUANT_Q8_0, 7},  {QUANT_Q5_0, 8},  {QUANT_Q5_1, 9}, {QUANT_Q4_K, 15},
                 {QUANT_Q5_K, 17}, {QUANT_Q6_K, 18}, {QUANT_BF16, 32}};
    size_t best = 0, most = 0;
    for (size_t k = 0; k < sizeof known / sizeof *known; k++) {
        size_t n = 0;
        for (size_t i = 0; i < p->n; i++) n += p->tensors[i].matrix && p->tensors[i].type == known[k].type;
        if (n > most) best = k;
        if (n > most) most = n;
    }
    return most ? known[best].number : -1;
}

static void put_types(const export_plan *p, gguf_writer *w) {
    bool packed = false;
    int number = file_type(p);
    for (size_t i = 0; i < p->n; i++) packed |= quant_block(p->tensors[i].type) > 1;
    if (number >= 0) gguf_put_u32(w, "general.file_type", (uint32_t)number);
    if (packed) gguf_put_u32(w, "general.quantization_version", 2);
}

static void put_directory(const export_plan *p, gguf_writer *w) {
    for (size_t i = 0; i < p->n; i++) {
        const export_tensor *t = &p->tensors[i];
        gguf_put_tensor(w, t->name, t->type, (size_t[]){t->cols, t->rows}, t->matrix ? 2 : 1);
    }
}

static pgr_status put(void *ctx, const void *p, size_t n, pgr_error *err) {
    return gguf_write_data(ctx, p, n, err);
}

static pgr_status write_file(const checkpoint *c, const export_plan *p, const char *path, export_run *run,
                             gguf_writer *w, pgr_written *out, pgr_error *err) {
    if (c->source.names == SOURCE_GGUF)
        copy_keys(&c->gguf, w);
    else
        PGR_TRY(put_folder(c, w, err));
    put_types(p, w);
    put_directory(p, w);
    PGR_TRY(gguf_write_begin(w, path, err));
    run->put = put;
    run->put_ctx = w;
    PGR_TRY(export_tensors(p, run, err));
    out->tensors = p->n;
    return gguf_write_end(w, &out->bytes, err);
}

pgr_status export_gguf(const checkpoint *c, const export_adapter *adapters, size_t n, export_types types,
                       const char *path, export_run run, pgr_written *out, pgr_error *err) {
    export_plan plan;
    gguf_writer w = {0};
    bool untied;
    run.path = c->path;
    PGR_TRY(export_plan_make(c, adapters, n, EXPORT_GGUF, types, &plan, &untied, err));
    pgr_status status = write_file(c, &plan, path, &run, &w, out, err);
    if (status != PGR_OK) gguf_write_abort(&w);
    export_plan_free(&plan);
    return status;
}
