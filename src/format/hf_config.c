/* hf_config.c - owns the table of model_types and the reading of config.json and generation_config.json. A key is
 * either understood and in range, known to change nothing here, or refused by its name. */
#include "format/hf_config.h"

#include <math.h>
#include <string.h>

#include "base/json.h"

enum { MAX_SIZE = 1 << 30 }; /* as a key's value; config_check has each size's own limit */

/* A family: what transformers assumes where config.json is silent. */
typedef struct family {
    const char *model_type, *class_prefix, *arch;
    size_t head_dim;       /* 0: hidden_size / num_attention_heads */
    bool kv_optional;      /* num_key_value_heads may be absent and is then num_attention_heads */
    bool window_by_switch; /* sliding_window counts only where use_sliding_window is true */
    bool window_default;   /* sliding_window is 4096 where the key is absent */
    bool attn_bias, qk_norm;
} family;

/* clang-format off */
static const family families[] = {
    /* model_type  class      arch     head_dim  kv_opt  switch  default  bias   qk_norm */
    {"llama",      "Llama",   "llama",    0,     true,   false,  false,   false, false},
    {"mistral",    "Mistral", "llama",    0,     false,  false,  true,    false, false},
    {"qwen2",      "Qwen2",   "qwen2",    0,     false,  true,   false,   true,  false},
    {"qwen3",      "Qwen3",   "qwen3",  128,     false,  true,   false,   false, true},
};
/* clang-format on */

typedef struct reader {
    const json_t *root;
    const char *origin;
    const family *family;
    pgr_error *err;
} reader;

/* ---- single values; null is the same as absent ---- */

const json_t *hf_given(const json_t *object, const char *key) {
    const json_t *v = json_object_get(object, key);
    return json_is_null(v) ? NULL : v;
}

/* A size from 1 to MAX_SIZE; absent: fallback, or an error where fallback is 0. */
static pgr_status size_or(const reader *r, const json_t *object, const char *key, size_t fallback, size_t *out) {
    const json_t *v = hf_given(object, key);
    int64_t n = (int64_t)fallback;
    if (!v && fallback == 0) return fail(r->err, PGR_E_FORMAT, "%s: key %s is missing", r->origin, key);
    if (v && !json_is_integer(v))
        return fail(r->err, PGR_E_FORMAT, "%s: %s is %s, want an integer", r->origin, key, json_kind(v));
    if (v) n = json_integer_value(v);
    if (n < 1 || n > MAX_SIZE)
        return fail(r->err, PGR_E_FORMAT, "%s: %s is %lld, want 1 to %d", r->origin, key, (long long)n, MAX_SIZE);
    *out = (size_t)n;
    return PGR_OK;
}

/* A finite number above 0; absent: fallback, or an error where fallback is 0. */
static pgr_status real_or(const reader *r, const json_t *object, const char *key, double fallback, double *out) {
    const json_t *v = hf_given(object, key);
    if (!v && fallback == 0) return fail(r->err, PGR_E_FORMAT, "%s: key %s is missing", r->origin, key);
    if (v && !json_is_number(v))
        return fail(r->err, PGR_E_FORMAT, "%s: %s is %s, want a number", r->origin, key, json_kind(v));
    double x = v ? json_number_value(v) : fallback;
    if (!(x > 0 && isfinite(x)))
        return fail(r->err, PGR_E_FORMAT, "%s: %s is %g, want a number above 0", r->origin, key, x);
    *out = x;
    return PGR_OK;
}

static pgr_status bool_or(const reader *r, const char *key, bool fallback, bool *out) {
    const json_t *v = hf_given(r->root, key);
    if (v && !json_is_boolean(v))
        return fail(r->err, PGR_E_FORMAT, "%s: %s is %s, want true or false", r->origin, key, json_kind(v));
    *out = v ? json_is_true(v) : fallback;
    return PGR_OK;
}

/* *out: NULL where the key is absent */
static pgr_status string_or_null(const reader *r, const json_t *object, const char *key, const char **out) {
    const json_t *v = hf_given(object, key);
    *out = NULL;
    return v ? json_want_string(v, (json_at){r->origin, key}, out, r->err) : PGR_OK;
}

/* ---- the family ---- */

static pgr_status read_family(reader *r) {
    const char *type;
    PGR_TRY(string_or_null(r, r->root, "model_type", &type));
    if (!type) return fail(r->err, PGR_E_FORMAT, "%s: key model_type is missing", r->origin);
    for (size_t i = 0; i < sizeof families / sizeof *families; i++)
        if (strcmp(families[i].model_type, type) == 0) r->family = &families[i];
    if (!r->family)
        return fail(r->err, PGR_E_UNSUPPORTED,
                    "%s: model_type \"%.60s\" is not supported (supported: llama, mistral, qwen2, qwen3; for "
                    "embeddings bert too)",
                    r->origin, type);
    return PGR_OK;
}

/* transformers writes the labels' names, and nothing where there are two. */
static pgr_status check_labels(const reader *r) {
    const json_t *names = hf_given(r->root, "id2label");
    size_t n;
    if (names) PGR_TRY(json_want_object(names, (json_at){r->origin, "id2label"}, r->err));
    if (names)
        n = json_object_size(names);
    else
        PGR_TRY(size_or(r, r->root, "num_labels", 2, &n));
    if (n == 1) return PGR_OK;
    if (names || hf_given(r->root, "num_labels"))
        return fail(r->err, PGR_E_UNSUPPORTED, "%s: %s is %zu; only score heads with 1 are supported", r->origin,
                    names ? "the number of labels in id2label" : "num_labels", n);
    return fail(r->err, PGR_E_UNSUPPORTED,
                "%s: key id2label is missing, which means 2 labels; only score heads with 1 are supported", r->origin);
}

/* A language model, the decoder alone, or with a score head on top; no other classifier and the like. */
static pgr_status check_class(const reader *r, config *c) {
    const json_t *list = hf_given(r->root, "architectures");
    if (!list) return PGR_OK;
    PGR_TRY(json_want_array(list, (json_at){r->origin, "architectures"}, r->err));
    const char *name = json_string_value(json_array_get(list, 0));
    size_t n = strlen(r->family->class_prefix);
    bool ours = json_array_size(list) == 1 && name && strncmp(name, r->family->class_prefix, n) == 0;
    if (ours && (strcmp(name + n, "ForCausalLM") == 0 || strcmp(name + n, "Model") == 0)) return PGR_OK;
    c->score_head = ours && strcmp(name + n, "ForSequenceClassification") == 0;
    if (c->score_head) return check_labels(r);
    return fail(r->err, PGR_E_UNSUPPORTED,
                "%s: architectures is \"%.60s\"; only %sForCausalLM and, for rewards, %sForSequenceClassification are "
                "supported here",
                r->origin, name ? name : "?", r->family->class_prefix, r->family->class_prefix);
}

/* ---- sizes ---- */

static pgr_status read_sizes(const reader *r, config *c) {
    const json_t *root = r->root;
    PGR_TRY(size_or(r, root, "num_hidden_layers", 0, &c->n_layer));
    PGR_TRY(size_or(r, root, "hidden_size", 0, &c->n_embd));
    PGR_TRY(size_or(r, root, "num_attention_heads", 0, &c->n_head));
    PGR_TRY(size_or(r, root, "num_key_value_heads", r->family->kv_optional ? c->n_head : 0, &c->n_head_kv));
    PGR_TRY(size_or(r, root, "intermediate_size", 0, &c->n_ff));
    PGR_TRY(size_or(r, root, "max_position_embeddings", 0, &c->n_ctx));
    PGR_TRY(size_or(r, root, "vocab_size", 0, &c->n_vocab));
    size_t head_dim = r->family->head_dim;
    if (head_dim == 0 && !hf_given(root, "head_dim")) {
        head_dim = c->n_embd / c->n_head;
        if (c->n_embd % c->n_head != 0)
            return fail(r->err, PGR_E_FORMAT, "%s: hidden_size %zu is not a multiple of num_attention_heads %zu",
                        r->origin, c->n_embd, c->n_head);
    }
    PGR_TRY(size_or(r, root, "head_dim", head_dim, &c->head_dim));
    c->rope_dim = c->head_dim;
    return PGR_OK;
}

static pgr_status read_eps(const reader *r, config *c) {
    double eps;
    PGR_TRY(real_or(r, r->root, "rms_norm_eps", 0, &eps));
    c->norm_eps = eps < 1 ? (float)eps : 1.0f; /* beyond float's range the conversion is undefined */
    return PGR_OK;
}

/* ---- rotation ---- */

/* The object that holds the scaling: 5.x calls it rope_parameters and keeps the base there too. */
static pgr_status rope_object(const reader *r, const char **key, const json_t **out) {
    *key = hf_given(r->root, "rope_parameters") ? "rope_parameters" : "rope_scaling";
    *out = hf_given(r->root, *key);
    return *out ? json_want_object(*out, (json_at){r->origin, *key}, r->err) : PGR_OK;
}

static pgr_status read_llama3(const reader *r, const json_t *rope, config *c) {
    PGR_TRY(real_or(r, rope, "factor", 0, &c->rope_factor));
    PGR_TRY(real_or(r, rope, "low_freq_factor", 0, &c->rope_low));
    PGR_TRY(real_or(r, rope, "high_freq_factor", 0, &c->rope_high));
    PGR_TRY(size_or(r, rope, "original_max_position_embeddings", 0, &c->rope_original_ctx));
    c->rope_kind = ROPE_LLAMA3;
    return PGR_OK;
}

static pgr_status read_linear(const reader *r, const json_t *rope, config *c) {
    c->rope_kind = ROPE_LINEAR;
    return real_or(r, rope, "factor", 0, &c->rope_factor);
}

/* 1 + 0.1 m ln factor */
static double magnitude(double factor, double m) {
    return factor > 1.0 ? 1.0 + 0.1 * m * log(factor) : 1.0;
}

static pgr_status read_yarn(const reader *r, const json_t *rope, config *c) {
    double fast, slow, attention = 0, m = 1, m_all = 1;
    bool scaled = hf_given(rope, "mscale") && hf_given(rope, "mscale_all_dim");
    PGR_TRY(size_or(r, rope, "original_max_position_embeddings", c->n_ctx, &c->rope_original_ctx));
    PGR_TRY(real_or(r, rope, "factor", (double)c->n_ctx / (double)c->rope_original_ctx, &c->rope_factor));
    PGR_TRY(real_or(r, rope, "beta_fast", 32, &fast));
    PGR_TRY(real_or(r, rope, "beta_slow", 1, &slow));
    if (hf_given(rope, "attention_factor")) PGR_TRY(real_or(r, rope, "attention_factor", 1, &attention));
    if (scaled) PGR_TRY(real_or(r, rope, "mscale", 1, &m));
    if (scaled) PGR_TRY(real_or(r, rope, "mscale_all_dim", 1, &m_all));
    if (attention <= 0 && scaled) attention = magnitude(c->rope_factor, m) / magnitude(c->rope_factor, m_all);
    const json_t *truncate = hf_given(rope, "truncate");
    if (truncate && !json_is_boolean(truncate))
        return fail(r->err, PGR_E_FORMAT, "%s: truncate is %s, want true or false", r->origin, json_kind(truncate));
    config_set_yarn(c, fast, slow, !json_is_false(truncate), attention);
    return PGR_OK;
}

static pgr_status check_partial(const reader *r, const json_t *object) {
    double part;
    PGR_TRY(real_or(r, object, "partial_rotary_factor", 1, &part));
    if (part != 1)
        return fail(r->err, PGR_E_UNSUPPORTED, "%s: partial_rotary_factor is %g; only 1 is supported", r->origin, part);
    return PGR_OK;
}

static pgr_status read_rope(const reader *r, config *c) {
    const char *key, *kind, *old;
    const json_t *rope;
    PGR_TRY(rope_object(r, &key, &rope));
    PGR_TRY(real_or(r, r->root, "rope_theta", 10000, &c->rope_base));
    PGR_TRY(real_or(r, rope, "rope_theta", c->rope_base, &c->rope_base));
    PGR_TRY(check_partial(r, r->root));
    PGR_TRY(check_partial(r, rope));
    PGR_TRY(string_or_null(r, rope, "rope_type", &kind));
    PGR_TRY(string_or_null(r, rope, "type", &old)); /* its name before transformers 4.45 */
    if (!kind) kind = old;
    if (rope && !kind && !hf_given(rope, "rope_theta"))
        return fail(r->err, PGR_E_FORMAT, "%s: %s has no rope_type", r->origin, key);
    if (!kind || strcmp(kind, "default") == 0) return PGR_OK;
    if (strcmp(kind, "llama3") == 0) return read_llama3(r, rope, c);
    if (strcmp(kind, "linear") == 0) return read_linear(r, rope, c);
    if (strcmp(kind, "yarn") == 0) return read_yarn(r, rope, c);
    return fail(r->err, PGR_E_UNSUPPORTED,
                "%s: %s has rope_type \"%.40s\"; only default, linear, yarn and llama3 are supported", r->origin, key,
                kind);
}

/* ---- what the forward pass does not have ---- */

static pgr_status refuse_window(const reader *r) {
    bool in_use = true;
    if (r->family->window_by_switch) PGR_TRY(bool_or(r, "use_sliding_window", false, &in_use));
    const json_t *v = hf_given(r->root, "sliding_window");
    if (in_use && r->family->window_by_switch)
        return fail(r->err, PGR_E_UNSUPPORTED, "%s: use_sliding_window is true; this is not supported", r->origin);
    if (in_use && r->family->window_default && !json_object_get(r->root, "sliding_window"))
        return fail(r->err, PGR_E_UNSUPPORTED,
                    "%s: key sliding_window is missing, which means 4096; only null is supported", r->origin);
    if (in_use && v)
        return fail(r->err, PGR_E_UNSUPPORTED, "%s: sliding_window is not null; this is not supported", r->origin);
    const json_t *layers = hf_given(r->root, "layer_types");
    if (layers) PGR_TRY(json_want_array(layers, (json_at){r->origin, "layer_types"}, r->err));
    for (size_t i = 0; i < json_array_size(layers); i++) {
        const char *kind = json_string_value(json_array_get(layers, i));
        if (!kind || strcmp(kind, "full_attention") != 0)
            return fail(r->err, PGR_E_UNSUPPORTED, "%s: layer_types has \"%.40s\"; only full_attention is supported",
                        r->origin, kind ? kind : "?");
    }
    return PGR_OK;
}

static pgr_status refuse_experts(const reader *r) {
    static const char *const keys[] = {"num_experts", "num_local_experts", "n_routed_experts", "num_experts_per_tok",
                                       "moe_intermediate_size"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (hf_given(r->root, keys[i]))
            return fail(r->err, PGR_E_UNSUPPORTED, "%s: %s: mixtures of experts are not supported", r->origin, keys[i]);
    return PGR_OK;
}

static pgr_status refuse_quantization(const reader *r) {
    const json_t *v = hf_given(r->root, "quantization_config");
    if (!v) return PGR_OK;
    const char *method = json_string_value(json_object_get(v, "quant_method"));
    return fail(r->err, PGR_E_UNSUPPORTED,
                "%s: quantization_config with quant_method \"%.40s\": weights are read as F32, F16 and BF16", r->origin,
                method ? method : "?");
}

static pgr_status refuse_features(const reader *r) {
    const char *act;
    bool mlp, attention = false;
    PGR_TRY(refuse_experts(r));
    PGR_TRY(refuse_window(r));
    PGR_TRY(refuse_quantization(r));
    PGR_TRY(string_or_null(r, r->root, "hidden_act", &act));
    if (act && strcmp(act, "silu") != 0 && strcmp(act, "swish") != 0)
        return fail(r->err, PGR_E_UNSUPPORTED, "%s: hidden_act is \"%.40s\"; only silu is supported", r->origin, act);
    PGR_TRY(bool_or(r, "mlp_bias", false, &mlp));
    /* Qwen2 has its biases whatever this key says. */
    if (!r->family->attn_bias) PGR_TRY(bool_or(r, "attention_bias", false, &attention));
    if (mlp || attention)
        return fail(r->err, PGR_E_UNSUPPORTED, "%s: %s is true; this is not supported", r->origin,
                    mlp ? "mlp_bias" : "attention_bias");
    return PGR_OK;
}

/* ---- begin and end tokens ---- */

/* An end token outside the vocabulary never comes: left out. */
static pgr_status add_eos(const reader *r, const json_t *v, hf_config *out) {
    int64_t id;
    PGR_TRY(json_want_integer(v, (json_at){r->origin, "eos_token_id"}, 0, INT32_MAX, &id, r->err));
    if ((uint64_t)id >= out->c.n_vocab) return PGR_OK;
    for (size_t i = 0; i < out->n_eos; i++)
        if (out->eos[i] == id) return PGR_OK;
    if (out->n_eos == HF_MAX_EOS)
        return fail(r->err, PGR_E_LIMIT, "%s: eos_token_id: more than %d tokens", r->origin, HF_MAX_EOS);
    out->eos[out->n_eos++] = (int32_t)id;
    return PGR_OK;
}

/* As an end token, one outside the vocabulary never comes; old files say -1 for none. */
static pgr_status read_pad(const reader *r, hf_config *out) {
    const json_t *pad = hf_given(r->root, "pad_token_id");
    int64_t id = -1;
    if (pad) PGR_TRY(json_want_integer(pad, (json_at){r->origin, "pad_token_id"}, -1, INT32_MAX, &id, r->err));
    out->pad = id >= 0 && (uint64_t)id < out->c.n_vocab ? (int32_t)id : -1;
    return PGR_OK;
}

static pgr_status read_tokens(const reader *r, hf_config *out) {
    const json_t *bos = hf_given(r->root, "bos_token_id"), *eos = hf_given(r->root, "eos_token_id");
    int64_t id = -1;
    if (bos) {
        PGR_TRY(json_want_integer(bos, (json_at){r->origin, "bos_token_id"}, 0, INT32_MAX, &id, r->err));
        out->bos = (uint64_t)id < out->c.n_vocab ? (int32_t)id : -1;
    }
    if (!eos) return PGR_OK;
    out->n_eos = 0;
    if (!json_is_array(eos)) return add_eos(r, eos, out);
    for (size_t i = 0; i < json_array_size(eos); i++) PGR_TRY(add_eos(r, json_array_get(eos, i), out));
    return PGR_OK;
}

/* ---- files ---- */

static pgr_status read_config(reader *r, hf_config *out) {
    config *c = &out->c;
    PGR_TRY(json_want_object(r->root, (json_at){r->origin, ""}, r->err));
    PGR_TRY(read_family(r));
    PGR_TRY(check_class(r, c));
    PGR_TRY(refuse_features(r));
    strcpy(c->arch, r->family->arch);
    c->attn_bias = r->family->attn_bias;
    c->qk_norm = r->family->qk_norm;
    PGR_TRY(read_sizes(r, c));
    PGR_TRY(read_eps(r, c));
    PGR_TRY(read_rope(r, c));
    PGR_TRY(config_check(c, r->origin, r->err));
    PGR_TRY(bool_or(r, "tie_word_embeddings", false, &out->tied));
    c->tied = out->tied;
    PGR_TRY(read_pad(r, out));
    return read_tokens(r, out);
}

pgr_status hf_config_parse(const char *text, size_t n, const char *origin, hf_config *out, pgr_error *err) {
    json_t *root = NULL;
    hf_config h = {.bos = -1, .pad = -1};
    PGR_TRY(json_parse(text, n, origin, 1, &root, err));
    pgr_status status = read_config(&(reader){.root = root, .origin = origin, .err = err}, &h);
    json_decref(root);
    if (status == PGR_OK) *out = h;
    return status;
}

pgr_status hf_generation_parse(const char *text, size_t n, const char *origin, hf_config *out, pgr_error *err) {
    json_t *root = NULL;
    hf_config h = *out;
    PGR_TRY(json_parse(text, n, origin, 1, &root, err));
    pgr_status status = json_want_object(root, (json_at){origin, ""}, err);
    if (status == PGR_OK) status = read_tokens(&(reader){.root = root, .origin = origin, .err = err}, &h);
    json_decref(root);
    if (status == PGR_OK) *out = h;
    return status;
}

/* ---- folders ---- */

pgr_status hf_file_read(const char *folder, const char *name, buf *path, buf *text, bool *found, pgr_error *err) {
    buf_clear(path);
    buf_printf(path, "%s/%s", folder, name);
    if (path->failed) return fail_mem(err);
    *found = file_exists(path->data);
    return *found ? file_read(path->data, text, err) : PGR_OK;
}

static pgr_status read_both(const char *folder, buf *path, buf *text, hf_config *h, pgr_error *err) {
    bool found;
    PGR_TRY(hf_file_read(folder, "config.json", path, text, &found, err));
    if (!found) return fail(err, PGR_E_IO, "%s: has no config.json", folder);
    PGR_TRY(hf_config_parse(text->data, text->n, path->data, h, err));
    PGR_TRY(hf_file_read(folder, "generation_config.json", path, text, &found, err));
    return found ? hf_generation_parse(text->data, text->n, path->data, h, err) : PGR_OK;
}

pgr_status hf_config_read(const char *folder, hf_config *out, pgr_error *err) {
    buf path = {0}, text = {0};
    hf_config h;
    pgr_status status = read_both(folder, &path, &text, &h, err);
    buf_free(&path);
    buf_free(&text);
    if (status == PGR_OK) *out = h;
    return status;
}
