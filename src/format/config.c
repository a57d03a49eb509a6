/* config.c - owns the table of architectures and the reading of the numbers that drive the forward pass. What a file
 * says is either understood and in range or refused by the key's name; nothing is passed over silently. */
#include "format/config.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* Far above any model that exists; with them no product of sizes below comes near 2^63. */
enum { MAX_LAYER = 1024, MAX_EMBD = 1 << 17, MAX_HEAD = 1 << 12, MAX_HEAD_DIM = 1 << 11, MAX_FF = 1 << 20 };
enum { MAX_VOCAB = 1 << 22, MAX_CTX = 1 << 24, MAX_ROPE_TABLE = 1 << 28 /* values: positions x rotated values */ };

/* clang-format off */
static const arch_row arch_rows[] = {
    /* name     rope_interleaved  attn_bias  qk_norm */
    {"llama",   true,             false,     false}, /* Mistral's files too */
    {"qwen2",   false,            true,      false},
    {"qwen3",   false,            false,     true},
};
/* clang-format on */

const arch_row *arch_find(const char *name) {
    for (size_t i = 0; i < sizeof arch_rows / sizeof *arch_rows; i++)
        if (strcmp(arch_rows[i].name, name) == 0) return &arch_rows[i];
    return NULL;
}

const char *arch_list(void) {
    return "llama, qwen2, qwen3";
}

static pgr_status check_sizes(const config *c, const char *path, pgr_error *err) {
    const struct {
        const char *what;
        size_t v, max;
    } sizes[] = {
        {"number of layers", c->n_layer, MAX_LAYER},
        {"width", c->n_embd, MAX_EMBD},
        {"number of heads", c->n_head, MAX_HEAD},
        {"number of KV heads", c->n_head_kv, MAX_HEAD},
        {"number of values per head", c->head_dim, MAX_HEAD_DIM},
        {"number of rotated values", c->rope_dim, c->head_dim},
        {"width of the feed-forward part", c->n_ff, MAX_FF},
        {"number of rows of the vocabulary", c->n_vocab, MAX_VOCAB},
        {"number of positions", c->n_ctx, MAX_CTX},
    };
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        if (sizes[i].v == 0 || sizes[i].v > sizes[i].max)
            return fail(err, PGR_E_FORMAT, "%s: the %s is %zu, want 1 to %zu", path, sizes[i].what, sizes[i].v,
                        sizes[i].max);
    if (c->n_head % c->n_head_kv != 0)
        return fail(err, PGR_E_FORMAT, "%s: the %zu heads are not a multiple of the %zu KV heads", path, c->n_head,
                    c->n_head_kv);
    if (c->n_head / c->n_head_kv > MAX_HEAD_GROUP)
        return fail(err, PGR_E_UNSUPPORTED, "%s: %zu heads per KV head, at most %d are supported", path,
                    c->n_head / c->n_head_kv, MAX_HEAD_GROUP);
    if (c->head_dim % 2 != 0 || c->rope_dim % 2 != 0)
        return fail(err, PGR_E_FORMAT, "%s: heads of %zu values, %zu of them rotated: both must be even", path,
                    c->head_dim, c->rope_dim);
    if (c->n_ctx * c->rope_dim > MAX_ROPE_TABLE)
        return fail(err, PGR_E_LIMIT, "%s: %zu positions with %zu rotated values are above the limit of %d", path,
                    c->n_ctx, c->rope_dim, MAX_ROPE_TABLE);
    return PGR_OK;
}

static pgr_status check_yarn(const config *c, const char *path, pgr_error *err) {
    if (!(c->rope_ramp[0] < c->rope_ramp[1]) || !isfinite(c->rope_ramp[0]) || !isfinite(c->rope_ramp[1]))
        return fail(err, PGR_E_FORMAT,
                    "%s: the ramp of the rope scaling goes from pair %g to %g, want the lower one first", path,
                    c->rope_ramp[0], c->rope_ramp[1]);
    if (!(c->rope_scale > 0.0 && isfinite(c->rope_scale)))
        return fail(err, PGR_E_FORMAT, "%s: the attention factor of the rope scaling is %g, want a number above 0",
                    path, c->rope_scale);
    return PGR_OK;
}

pgr_status config_check(const config *c, const char *path, pgr_error *err) {
    PGR_TRY(check_sizes(c, path, err));
    if (!(c->norm_eps > 0.0f && c->norm_eps < 1.0f))
        return fail(err, PGR_E_FORMAT, "%s: the norm's epsilon is %g, want above 0 and below 1", path,
                    (double)c->norm_eps);
    if (!(c->rope_base > 0.0 && isfinite(c->rope_base)))
        return fail(err, PGR_E_FORMAT, "%s: the rope base is %g, want a number above 0", path, c->rope_base);
    if (c->rope_kind == ROPE_PLAIN) return PGR_OK;

    if (!(c->rope_factor >= 1.0 && isfinite(c->rope_factor)))
        return fail(err, PGR_E_FORMAT, "%s: the factor of the rope scaling is %g, want 1 or more", path,
                    c->rope_factor);
    if (c->rope_kind == ROPE_LINEAR) return PGR_OK;
    if (c->rope_original_ctx == 0 || c->rope_original_ctx > MAX_CTX)
        return fail(err, PGR_E_FORMAT, "%s: the original positions of the rope scaling are %zu, want 1 to %d", path,
                    c->rope_original_ctx, MAX_CTX);
    if (c->rope_kind == ROPE_YARN) return check_yarn(c, path, err);
    if (!(c->rope_low > 0.0 && c->rope_low < c->rope_high && isfinite(c->rope_high)))
        return fail(err, PGR_E_FORMAT,
                    "%s: the low and high frequency factors of the rope scaling are %g and %g, want 0 < low < high",
                    path, c->rope_low, c->rope_high);
    return PGR_OK;
}

/* Llama 3.1: a pair that makes fewer than `low` turns in the original context is slowed by factor, one that makes more
 * than `high` is left, and between them the share of either changes linearly with the turns. */
static double llama3_freq(const config *c, double freq) {
    double turns = (double)c->rope_original_ctx * freq / (2.0 * 3.14159265358979323846);
    if (turns < c->rope_low) return freq / c->rope_factor;
    if (turns > c->rope_high) return freq;
    double fast = (turns - c->rope_low) / (c->rope_high - c->rope_low);
    return (1.0 - fast) * freq / c->rope_factor + fast * freq;
}

/* YaRN: the share of the division grows along the ramp. */
static double yarn_freq(const config *c, double freq, size_t i) {
    double slow = ((double)i - c->rope_ramp[0]) / (c->rope_ramp[1] - c->rope_ramp[0]);
    slow = slow < 0.0 ? 0.0 : slow > 1.0 ? 1.0 : slow;
    return slow * freq / c->rope_factor + (1.0 - slow) * freq;
}

double config_rope_freq(const config *c, size_t i) {
    double freq = 1.0 / pow(c->rope_base, 2.0 * (double)i / (double)c->rope_dim);
    switch (c->rope_kind) {
    case ROPE_LINEAR:
        return freq / c->rope_factor;
    case ROPE_YARN:
        return yarn_freq(c, freq, i);
    case ROPE_LLAMA3:
        return llama3_freq(c, freq);
    case ROPE_PLAIN:
        break;
    }
    return freq;
}

double config_rope_scale(const config *c) {
    return c->rope_scale > 0.0 ? c->rope_scale : 1.0;
}

/* The pair that makes `turns` turns in the original context, as a real number. */
static double pair_of(const config *c, double turns) {
    double two_pi = 2.0 * 3.14159265358979323846;
    return (double)c->rope_dim * log((double)c->rope_original_ctx / (turns * two_pi)) / (2.0 * log(c->rope_base));
}

void config_set_yarn(config *c, double fast, double slow, bool truncate, double attention) {
    double low = pair_of(c, fast), high = pair_of(c, slow), last = (double)c->rope_dim - 1.0;
    if (truncate) low = floor(low), high = ceil(high);
    if (low < 0.0) low = 0.0;
    if (high > last) high = last;
    if (low == high) high += 0.001; /* a step, as the reference implementations make it */
    c->rope_kind = ROPE_YARN;
    c->rope_high = fast;
    c->rope_low = slow;
    c->rope_ramp[0] = low;
    c->rope_ramp[1] = high;
    c->rope_scale = attention > 0.0 ? attention : c->rope_factor > 1.0 ? 1.0 + 0.1 * log(c->rope_factor) : 1.0;
}

/* The keys of one architecture: "<arch>.<suffix>" */
typedef struct reader {
    const gguf *g;
    const char *arch;
    pgr_error *err;
    char key[128];
} reader;

static const char *key_of(reader *r, const char *suffix) {
    snprintf(r->key, sizeof r->key, "%s.%s", r->arch, suffix);
    return r->key;
}

static bool has(reader *r, const char *suffix) {
    return gguf_find(r->g, key_of(r, suffix)) != NULL;
}

/* A size from 1 to max; absent: fallback, or an error where fallback is 0. */
static pgr_status size_or(reader *r, const char *suffix, size_t fallback, size_t max, size_t *out) {
    const char *key = key_of(r, suffix);
    uint32_t v;
    if (fallback == 0 || gguf_find(r->g, key))
        PGR_TRY(gguf_get_u32(r->g, key, &v, r->err));
    else
        v = fallback <= max ? (uint32_t)fallback : UINT32_MAX;
    if (v == 0 || v > max)
        return fail(r->err, PGR_E_FORMAT, "%s: %s is %" PRIu32 ", want 1 to %zu", r->g->path, key, v, max);
    *out = v;
    return PGR_OK;
}

static pgr_status read_arch(const gguf *g, config *c, const arch_row **row, pgr_error *err) {
    gguf_string arch;
    PGR_TRY(gguf_get_string(g, "general.architecture", &arch, err));
    if (arch.n < sizeof c->arch && !memchr(arch.s, 0, arch.n)) memcpy(c->arch, arch.s, arch.n); /* else it stays "" */
    *row = arch_find(c->arch);
    if (!*row)
        return fail(err, PGR_E_UNSUPPORTED, "%s: architecture \"%s\" is not supported (supported: %s)", g->path,
                    c->arch[0] ? c->arch : "?", arch_list());
    return PGR_OK;
}

static pgr_status read_sizes(reader *r, config *c) {
    PGR_TRY(size_or(r, "block_count", 0, MAX_LAYER, &c->n_layer));
    PGR_TRY(size_or(r, "embedding_length", 0, MAX_EMBD, &c->n_embd));
    PGR_TRY(size_or(r, "attention.head_count", 0, MAX_HEAD, &c->n_head));
    PGR_TRY(size_or(r, "attention.head_count_kv", c->n_head, MAX_HEAD, &c->n_head_kv));
    PGR_TRY(size_or(r, "feed_forward_length", 0, MAX_FF, &c->n_ff));
    PGR_TRY(size_or(r, "context_length", 0, MAX_CTX, &c->n_ctx));
    if (!has(r, "attention.key_length") && c->n_embd % c->n_head != 0)
        return fail(r->err, PGR_E_FORMAT, "%s: embedding_length %zu is not a multiple of attention.head_count %zu",
                    r->g->path, c->n_embd, c->n_head);
    PGR_TRY(size_or(r, "attention.key_length", c->n_embd / c->n_head, MAX_HEAD_DIM, &c->head_dim));
    return size_or(r, "rope.dimension_count", c->head_dim, c->head_dim, &c->rope_dim);
}

static pgr_status read_reals(reader *r, config *c) {
    float eps, base;
    const char *key = key_of(r, "attention.layer_norm_rms_epsilon");
    if (!gguf_find(r->g, key)) return fail(r->err, PGR_E_FORMAT, "%s: key %s is missing", r->g->path, key);
    PGR_TRY(gguf_get_f32_or(r->g, key, 0.0f, &eps, r->err));
    PGR_TRY(gguf_get_f32_or(r->g, key_of(r, "rope.freq_base"), 10000.0f, &base, r->err));
    c->norm_eps = eps;
    c->rope_base = (double)base;
    return PGR_OK;
}

/* Features of a family that the forward pass does not have: refused where a file asks for them. */
static pgr_status refuse_features(reader *r, const config *c) {
    static const char *const counts[] = {"expert_count", "attention.sliding_window"};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        uint32_t v;
        PGR_TRY(gguf_get_u32_or(r->g, key_of(r, counts[i]), 0, &v, r->err));
        if (v > 0)
            return fail(r->err, PGR_E_UNSUPPORTED, "%s: %s is %" PRIu32 "; this is not supported", r->g->path, r->key,
                        v);
    }
    uint32_t value_length;
    PGR_TRY(gguf_get_u32_or(r->g, key_of(r, "attention.value_length"), (uint32_t)c->head_dim, &value_length, r->err));
    if (value_length != c->head_dim)
        return fail(r->err, PGR_E_UNSUPPORTED,
                    "%s: %s is %" PRIu32 ", the keys have %zu; only equal ones are supported", r->g->path, r->key,
                    value_length, c->head_dim);
    float scale;
    PGR_TRY(gguf_get_f32_or(r->g, key_of(r, "rope.scale_linear"), 1.0f, &scale, r->err));
    if (!(scale == 1.0f))
        return fail(r->err, PGR_E_UNSUPPORTED, "%s: %s is %g; only 1 is supported", r->g->path, r->key, (double)scale);
    return PGR_OK;
}

/* rope.scaling.*: none, linear or yarn. */
static pgr_status read_scaling(reader *r, config *c) {
    gguf_string type;
    float factor, attention, fast, slow;
    if (!has(r, "rope.scaling.type")) return PGR_OK;
    PGR_TRY(gguf_get_string(r->g, r->key, &type, r->err));
    bool linear = gguf_string_is(type, "linear");
    if (gguf_string_is(type, "none")) return PGR_OK;
    if (!linear && !gguf_string_is(type, "yarn"))
        return fail(r->err, PGR_E_UNSUPPORTED,
                    "%s: %s is \"%.*s\"; only \"none\", \"linear\" and \"yarn\" are supported", r->g->path, r->key,
                    (int)(type.n < 40 ? type.n : 40), type.s);
    PGR_TRY(gguf_get_f32_or(r->g, key_of(r, "rope.scaling.factor"), 1.0f, &factor, r->err));
    c->rope_kind = linear ? ROPE_LINEAR : ROPE_YARN;
    c->rope_factor = (double)factor;
    if (linear) return PGR_OK;
    PGR_TRY(size_or(r, "rope.scaling.original_context_length", c->n_ctx, MAX_CTX, &c->rope_original_ctx));
    PGR_TRY(gguf_get_f32_or(r->g, key_of(r, "rope.scaling.attn_factor"), 1.0f, &attention, r->err));
    PGR_TRY(gguf_get_f32_or(r->g, key_of(r, "rope.scaling.yarn_beta_fast"), 32.0f, &fast, r->err));
    PGR_TRY(gguf_get_f32_or(r->g, key_of(r, "rope.scaling.yarn_beta_slow"), 1.0f, &slow, r->err));
    config_set_yarn(c, (double)fast, (double)slow, true, 0);
    c->rope_scale *= (double)attention;
    return PGR_OK;
}

static pgr_status read_vocab(const gguf *g, config *c, pgr_error *err) {
    const gguf_tensor *t = gguf_find_tensor(g, "token_embd.weight");
    if (!t) return fail(err, PGR_E_FORMAT, "%s: tensor token_embd.weight is missing", g->path);
    if (t->n_dim != 2 || t->dim[0] != c->n_embd)
        return fail(err, PGR_E_FORMAT,
                    "%s: tensor token_embd.weight has %zu dimensions and rows of %zu, want 2 and %zu", g->path,
                    t->n_dim, t->dim[0], c->n_embd);
    if (t->dim[1] > MAX_VOCAB)
        return fail(err, PGR_E_LIMIT, "%s: tensor token_embd.weight has %zu rows, at most %d are supported", g->path,
                    t->dim[1], MAX_VOCAB);
    const gguf_value *tokens = gguf_find(g, "tokenizer.ggml.tokens");
    if (tokens && tokens->kind == GGUF_ARRAY && tokens->n > t->dim[1])
        return fail(err, PGR_E_FORMAT, "%s: tokenizer.ggml.tokens has %zu items, tensor token_embd.weight %zu rows",
                    g->path, tokens->n, t->dim[1]);
    c->n_vocab = t->dim[1];
    return PGR_OK;
}

size_t config_parameters(const config *c) {
    size_t attn = c->n_embd * c->head_dim * 2 * (c->n_head + c->n_head_kv);
    return c->n_layer * (attn + 3 * c->n_embd * c->n_ff) + c->n_vocab * c->n_embd;
}

pgr_status config_from_gguf(const gguf *g, config *out, pgr_error *err) {
    config c = {0};
    const arch_row *row;
    PGR_TRY(read_arch(g, &c, &row, err));
    reader r = {.g = g, .arch = row->name, .err = err};
    c.rope_interleaved = row->rope_interleaved;
    c.attn_bias = row->attn_bias;
    c.qk_norm = row->qk_norm;
    PGR_TRY(read_sizes(&r, &c));
    PGR_TRY(read_reals(&r, &c));
    PGR_TRY(refuse_features(&r, &c));
    PGR_TRY(read_scaling(&r, &c));
    PGR_TRY(read_vocab(g, &c, err));
    PGR_TRY(config_check(&c, g->path, err));
    *out = c;
    return PGR_OK;
}
