/* encoder_config.c - reads config.json of model_type bert: sizes in range, features that we lack refused by name. */
#include "format/encoder_config.h"

#include <string.h>

#include "base/file.h"
#include "base/json.h"

/* Far above any encoder that exists; no product of sizes below comes near 2^63. */
enum { MAX_LAYER = 1024, MAX_EMBD = 1 << 17, MAX_HEAD = 1 << 12, MAX_FF = 1 << 20, MAX_VOCAB = 1 << 22 };
enum { MAX_POS = 1 << 20, MAX_TYPE = 1 << 16 };

typedef struct reader {
    const json_t *root;
    const char *origin;
    pgr_error *err;
} reader;

/* null is the same as absent */
static const json_t *given(const reader *r, const char *key) {
    const json_t *v = json_object_get(r->root, key);
    return json_is_null(v) ? NULL : v;
}

/* *out is left alone where the key is absent. */
static pgr_status string_or(const reader *r, const char *key, const char **out) {
    const json_t *v = given(r, key);
    return v ? json_want_string(v, (json_at){r->origin, key}, out, r->err) : PGR_OK;
}

/* A size from 1 to max; absent: fallback, or an error where fallback is 0. */
static pgr_status size_or(const reader *r, const char *key, size_t fallback, size_t max, size_t *out) {
    const json_t *v = given(r, key);
    int64_t n = (int64_t)fallback;
    if (!v && fallback == 0) return fail(r->err, PGR_E_FORMAT, "%s: key %s is missing", r->origin, key);
    if (v) PGR_TRY(json_want_integer(v, (json_at){r->origin, key}, 1, (int64_t)max, &n, r->err));
    *out = (size_t)n;
    return PGR_OK;
}

static pgr_status read_sizes(const reader *r, encoder_config *c) {
    PGR_TRY(size_or(r, "num_hidden_layers", 0, MAX_LAYER, &c->n_layer));
    PGR_TRY(size_or(r, "hidden_size", 0, MAX_EMBD, &c->n_embd));
    PGR_TRY(size_or(r, "num_attention_heads", 0, MAX_HEAD, &c->n_head));
    PGR_TRY(size_or(r, "intermediate_size", 0, MAX_FF, &c->n_ff));
    PGR_TRY(size_or(r, "vocab_size", 0, MAX_VOCAB, &c->n_vocab));
    PGR_TRY(size_or(r, "max_position_embeddings", 0, MAX_POS, &c->n_pos));
    PGR_TRY(size_or(r, "type_vocab_size", 2, MAX_TYPE, &c->n_type));
    if (c->n_embd % c->n_head != 0)
        return fail(r->err, PGR_E_FORMAT, "%s: hidden_size %zu is not a multiple of num_attention_heads %zu", r->origin,
                    c->n_embd, c->n_head);
    return PGR_OK;
}

static pgr_status read_eps(const reader *r, encoder_config *c) {
    const json_t *v = given(r, "layer_norm_eps");
    if (v && !json_is_number(v))
        return fail(r->err, PGR_E_FORMAT, "%s: layer_norm_eps is %s, want a number", r->origin, json_kind(v));
    double eps = v ? json_number_value(v) : 1e-12;
    if (!(eps >= 1e-30 && eps < 1))
        return fail(r->err, PGR_E_FORMAT, "%s: layer_norm_eps is %g, want 1e-30 or more and below 1", r->origin, eps);
    c->norm_eps = (float)eps;
    return PGR_OK;
}

static pgr_status read_act(const reader *r, encoder_config *c) {
    static const struct {
        const char *name;
        encoder_act act;
    } acts[] = {{"gelu", ENCODER_GELU},
                {"gelu_python", ENCODER_GELU},
                {"gelu_new", ENCODER_GELU_TANH},
                {"gelu_pytorch_tanh", ENCODER_GELU_TANH},
                {"relu", ENCODER_RELU}};
    const char *name = "gelu";
    PGR_TRY(string_or(r, "hidden_act", &name));
    for (size_t i = 0; i < sizeof acts / sizeof *acts; i++)
        if (strcmp(acts[i].name, name) == 0) {
            c->act = acts[i].act;
            return PGR_OK;
        }
    return fail(r->err, PGR_E_UNSUPPORTED,
                "%s: hidden_act is \"%.40s\"; gelu, gelu_new, gelu_pytorch_tanh and relu are supported", r->origin,
                name);
}

static pgr_status refuse_features(const reader *r) {
    static const char *const switches[] = {"is_decoder", "add_cross_attention"};
    for (size_t i = 0; i < sizeof switches / sizeof *switches; i++) {
        const json_t *v = given(r, switches[i]);
        if (v && !json_is_boolean(v))
            return fail(r->err, PGR_E_FORMAT, "%s: %s is %s, want true or false", r->origin, switches[i], json_kind(v));
        if (json_is_true(v))
            return fail(r->err, PGR_E_UNSUPPORTED, "%s: %s is true; this is not supported", r->origin, switches[i]);
    }
    const char *positions = "absolute";
    PGR_TRY(string_or(r, "position_embedding_type", &positions));
    if (strcmp(positions, "absolute") != 0)
        return fail(r->err, PGR_E_UNSUPPORTED, "%s: position_embedding_type is \"%.40s\"; only absolute is supported",
                    r->origin, positions);
    if (json_object_size(given(r, "pruned_heads")) > 0)
        return fail(r->err, PGR_E_UNSUPPORTED, "%s: pruned_heads is not empty; this is not supported", r->origin);
    if (given(r, "quantization_config"))
        return fail(r->err, PGR_E_UNSUPPORTED, "%s: quantization_config: weights are read as F32, F16 and BF16",
                    r->origin);
    return PGR_OK;
}

static pgr_status read_config(const reader *r, bool *is_encoder, encoder_config *out) {
    encoder_config c = {0};
    const char *type = "";
    PGR_TRY(json_want_object(r->root, (json_at){r->origin, ""}, r->err));
    PGR_TRY(string_or(r, "model_type", &type));
    *is_encoder = strcmp(type, "bert") == 0;
    if (!*is_encoder) return PGR_OK;
    PGR_TRY(refuse_features(r));
    PGR_TRY(read_sizes(r, &c));
    PGR_TRY(read_eps(r, &c));
    PGR_TRY(read_act(r, &c));
    *out = c;
    return PGR_OK;
}

pgr_status encoder_config_parse(const char *text, size_t n, const char *origin, bool *is_encoder, encoder_config *out,
                                pgr_error *err) {
    json_t *root = NULL;
    PGR_TRY(json_parse(text, n, origin, 1, &root, err));
    pgr_status s = read_config(&(reader){.root = root, .origin = origin, .err = err}, is_encoder, out);
    json_decref(root);
    return s;
}

pgr_status encoder_config_read(const char *folder, bool *is_encoder, encoder_config *out, pgr_error *err) {
    buf path = {0}, text = {0};
    buf_printf(&path, "%s/config.json", folder);
    pgr_status s = path.failed ? fail_mem(err) : file_read(path.data, &text, err);
    if (s == PGR_OK) s = encoder_config_parse(text.data, text.n, path.data, is_encoder, out, err);
    buf_free(&path);
    buf_free(&text);
    return s;
}
