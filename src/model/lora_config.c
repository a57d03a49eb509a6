/* lora_config.c - owns the keys of adapter_config.json. A key either is read, or changes nothing once the adapter is
 * trained, or must stand at the value that switches it off (null, false, empty): so the switches of later versions
 * are refused by name. */
#include "model/lora_config.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <math.h>
#include <pcre2.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"

enum { MAX_RANK = 1 << 16, MAX_PATTERNS = 4096, MATCH_LIMIT = 100000 };

struct lora_pattern {
    pcre2_code *code;
    double value;
};

static void *context_alloc(size_t n, void *ctx) {
    (void)ctx;
    return mem_alloc(n);
}

static void context_free(void *p, void *ctx) {
    (void)ctx;
    mem_free(p);
}

typedef struct reader {
    const json_t *root;
    const char *origin;
    lora_config *out;
    pgr_error *err;
} reader;

/* Read below. */
static const char *const read_keys[] = {"peft_type",
                                        "r",
                                        "lora_alpha",
                                        "use_rslora",
                                        "rank_pattern",
                                        "alpha_pattern",
                                        "bias",
                                        "init_lora_weights",
                                        "task_type",
                                        "fan_in_fan_out",
                                        "base_model_name_or_path",
                                        NULL};
/* For training and for the choice of modules, which the tensors that are there show; or names and versions. */
static const char *const idle_keys[] = {"target_modules",
                                        "exclude_modules",
                                        "layers_to_transform",
                                        "layers_pattern",
                                        "modules_to_save",
                                        "lora_dropout",
                                        "inference_mode",
                                        "auto_mapping",
                                        "revision",
                                        "peft_version",
                                        "runtime_config",
                                        "megatron_core",
                                        "qalora_group_size",
                                        NULL};

static bool is_one_of(const char *key, const char *const *list) {
    for (; *list; list++)
        if (strcmp(key, *list) == 0) return true;
    return false;
}

static bool is_off(const json_t *v) {
    return json_is_null(v) || json_is_false(v) || (json_is_object(v) && json_object_size(v) == 0)
           || (json_is_array(v) && json_array_size(v) == 0);
}

/* null is the same as absent */
static const json_t *given(const reader *r, const char *key) {
    const json_t *v = json_object_get(r->root, key);
    return json_is_null(v) ? NULL : v;
}

static pgr_status refuse_unknown(const reader *r) {
    const char *key;
    json_t *v, *root = (json_t *)(uintptr_t)r->root; /* jansson's iterators want no const; nothing is written */
    json_object_foreach(root, key, v) {
        if (is_one_of(key, read_keys) || is_one_of(key, idle_keys) || is_off(v)) continue;
        return fail(r->err, PGR_E_UNSUPPORTED, "%s: %.60s is %s; only null, false or empty is supported here",
                    r->origin, key, json_kind(v));
    }
    return PGR_OK;
}

static pgr_status want_string(const reader *r, const char *key, const char **out) {
    const json_t *v = given(r, key);
    *out = NULL;
    return v ? json_want_string(v, (json_at){r->origin, key}, out, r->err) : PGR_OK;
}

static pgr_status want_flag(const reader *r, const char *key, bool *out) {
    const json_t *v = given(r, key);
    if (v && !json_is_boolean(v))
        return fail(r->err, PGR_E_FORMAT, "%s: %s is %s, want true or false", r->origin, key, json_kind(v));
    *out = json_is_true(v);
    return PGR_OK;
}

/* ---- what is refused ---- */

/* The type chooses PEFT's class around the model, not the arithmetic; a head that it brings is in modules_to_save. */
static bool known_task(const char *task) {
    static const char *const known[] = {"CAUSAL_LM",          "SEQ_CLS", "SEQ_2_SEQ_LM", "TOKEN_CLS", "QUESTION_ANS",
                                        "FEATURE_EXTRACTION", NULL};
    for (size_t i = 0; known[i]; i++)
        if (strcmp(task, known[i]) == 0) return true;
    return false;
}

static pgr_status check_kind(const reader *r) {
    const char *kind, *task, *bias;
    bool transposed;
    PGR_TRY(want_string(r, "peft_type", &kind));
    PGR_TRY(want_string(r, "task_type", &task));
    PGR_TRY(want_string(r, "bias", &bias));
    PGR_TRY(want_flag(r, "fan_in_fan_out", &transposed));
    if (!kind) return fail(r->err, PGR_E_FORMAT, "%s: key peft_type is missing", r->origin);
    if (strcmp(kind, "LORA") != 0)
        return fail(r->err, PGR_E_UNSUPPORTED, "%s: peft_type is \"%.40s\"; only LORA is supported", r->origin, kind);
    if (task && !known_task(task))
        return fail(r->err, PGR_E_UNSUPPORTED, "%s: task_type is \"%.40s\", want one that PEFT has, as CAUSAL_LM",
                    r->origin, task);
    if (bias && strcmp(bias, "none") != 0)
        return fail(r->err, PGR_E_UNSUPPORTED, "%s: bias is \"%.40s\"; only none is supported", r->origin, bias);
    if (transposed)
        return fail(r->err, PGR_E_UNSUPPORTED, "%s: fan_in_fan_out is true; this is not supported", r->origin);
    return PGR_OK;
}

/* PiSSA, OLoRA, CorDA, LoftQ and LoRA-GA change the base: the adapter is no difference to the model as published. */
static pgr_status check_init(const reader *r) {
    const json_t *v = given(r, "init_lora_weights");
    if (!v || json_is_boolean(v)) return PGR_OK;
    const char *name;
    PGR_TRY(json_want_string(v, (json_at){r->origin, "init_lora_weights"}, &name, r->err));
    if (strcmp(name, "gaussian") == 0 || strcmp(name, "orthogonal") == 0) return PGR_OK;
    return fail(
        r->err, PGR_E_UNSUPPORTED,
        "%s: init_lora_weights is \"%.40s\"; only true, false, gaussian and orthogonal are supported, which leave "
        "the base as it is",
        r->origin, name);
}

/* ---- ranks and alphas ---- */

static pgr_status check_rank(const reader *r, const json_t *v, const char *path, double *out) {
    int64_t n;
    PGR_TRY(json_want_integer(v, (json_at){r->origin, path}, 1, MAX_RANK, &n, r->err));
    *out = (double)n;
    return PGR_OK;
}

static pgr_status check_alpha(const reader *r, const json_t *v, const char *path, double *out) {
    if (!json_is_number(v))
        return fail(r->err, PGR_E_FORMAT, "%s: %s is %s, want a number", r->origin, path, json_kind(v));
    *out = json_number_value(v);
    if (!(fabs(*out) <= 1e9)) return fail(r->err, PGR_E_FORMAT, "%s: %s is %g", r->origin, path, *out);
    return PGR_OK;
}

/* PEFT's rule: re.match("(.*\.)?(PATTERN)$", module). */
static pgr_status compile(const reader *r, const char *path, const char *pattern, pcre2_code **out) {
    const char *text = arena_printf(&r->out->arena, "(?:.*\\.)?(?:%s)$", pattern);
    if (!text) return fail_mem(r->err);
    int code = 0;
    PCRE2_SIZE at = 0;
    pcre2_compile_context *compiler = pcre2_compile_context_create(r->out->memory);
    if (!compiler) return fail_mem(r->err);
    *out = pcre2_compile((PCRE2_SPTR)text, PCRE2_ZERO_TERMINATED, PCRE2_ANCHORED | PCRE2_NEVER_BACKSLASH_C, &code, &at,
                         compiler);
    pcre2_compile_context_free(compiler);
    if (*out) return PGR_OK;
    if (code == PCRE2_ERROR_HEAP_FAILED) return fail_mem(r->err);
    return fail(r->err, PGR_E_FORMAT, "%s: %s: \"%.80s\" is not a regular expression that we can read", r->origin, path,
                pattern);
}

typedef pgr_status (*check_fn)(const reader *r, const json_t *v, const char *path, double *out);

static pgr_status read_patterns(const reader *r, const char *path, check_fn check, struct lora_pattern **list,
                                size_t *n) {
    json_t *v = (json_t *)(uintptr_t)given(r, path), *item;
    const char *key;
    if (!v) return PGR_OK;
    PGR_TRY(json_want_object(v, (json_at){r->origin, path}, r->err));
    if (json_object_size(v) > MAX_PATTERNS)
        return fail(r->err, PGR_E_LIMIT, "%s: %s has more than %d entries", r->origin, path, MAX_PATTERNS);
    *list = arena_array(&r->out->arena, json_object_size(v) + 1, sizeof **list);
    if (!r->out->memory) r->out->memory = pcre2_general_context_create(context_alloc, context_free, NULL);
    if (!*list || !r->out->memory) return fail_mem(r->err);
    json_object_foreach(v, key, item) {
        struct lora_pattern *p = &(*list)[*n];
        PGR_TRY(check(r, item, path, &p->value));
        PGR_TRY(compile(r, path, key, &p->code));
        ++*n;
    }
    return PGR_OK;
}

static pgr_status read_numbers(const reader *r) {
    lora_config *c = r->out;
    double rank;
    const char *base;
    if (!given(r, "r") || !given(r, "lora_alpha"))
        return fail(r->err, PGR_E_FORMAT, "%s: key %s is missing", r->origin, given(r, "r") ? "lora_alpha" : "r");
    PGR_TRY(check_rank(r, given(r, "r"), "r", &rank));
    c->r = (size_t)rank;
    PGR_TRY(check_alpha(r, given(r, "lora_alpha"), "lora_alpha", &c->alpha));
    PGR_TRY(want_flag(r, "use_rslora", &c->rslora));
    PGR_TRY(read_patterns(r, "rank_pattern", check_rank, &c->ranks, &c->n_rank));
    PGR_TRY(read_patterns(r, "alpha_pattern", check_alpha, &c->alphas, &c->n_alpha));
    PGR_TRY(want_string(r, "base_model_name_or_path", &base));
    c->base = base ? arena_strdup(&c->arena, base) : NULL;
    return base && !c->base ? fail_mem(r->err) : PGR_OK;
}

/* ---- interface ---- */

static pgr_status read_config(const reader *r) {
    PGR_TRY(json_want_object(r->root, (json_at){r->origin, ""}, r->err));
    PGR_TRY(check_kind(r));
    PGR_TRY(check_init(r));
    PGR_TRY(refuse_unknown(r));
    return read_numbers(r);
}

pgr_status lora_config_parse(const char *text, size_t n, const char *origin, lora_config *out, pgr_error *err) {
    json_t *root = NULL;
    *out = (lora_config){0};
    PGR_TRY(json_parse(text, n, origin, 1, &root, err));
    pgr_status s = read_config(&(reader){.root = root, .origin = origin, .out = out, .err = err});
    json_decref(root);
    if (s != PGR_OK) lora_config_free(out);
    return s;
}

void lora_config_free(lora_config *c) {
    for (size_t i = 0; i < c->n_rank; i++) pcre2_code_free(c->ranks[i].code);
    for (size_t i = 0; i < c->n_alpha; i++) pcre2_code_free(c->alphas[i].code);
    pcre2_general_context_free(c->memory);
    arena_free(&c->arena);
    *c = (lora_config){0};
}

/* The value of the first pattern that matches, else what *value is. */
static pgr_status match(const lora_config *c, const struct lora_pattern *list, size_t n, const char *module,
                        double *value, pgr_error *err) {
    if (n == 0) return PGR_OK;
    pcre2_match_data *data = pcre2_match_data_create(1, c->memory);
    pcre2_match_context *limits = pcre2_match_context_create(c->memory);
    int found = data && limits ? PCRE2_ERROR_NOMATCH : PCRE2_ERROR_NOMEMORY;
    if (limits) pcre2_set_match_limit(limits, MATCH_LIMIT);
    for (size_t i = 0; i < n && found == PCRE2_ERROR_NOMATCH; i++) {
        found = pcre2_match(list[i].code, (PCRE2_SPTR)module, PCRE2_ZERO_TERMINATED, 0, 0, data, limits);
        if (found >= 0) *value = list[i].value;
    }
    pcre2_match_data_free(data);
    pcre2_match_context_free(limits);
    if (found == PCRE2_ERROR_NOMEMORY) return fail_mem(err);
    if (found >= 0 || found == PCRE2_ERROR_NOMATCH) return PGR_OK;
    return fail(err, PGR_E_LIMIT, "a pattern of rank_pattern or alpha_pattern takes too long to match %.128s", module);
}

pgr_status lora_config_module(const lora_config *c, const char *module, size_t *r, float *scale, pgr_error *err) {
    double rank = (double)c->r, alpha = c->alpha;
    PGR_TRY(match(c, c->ranks, c->n_rank, module, &rank, err));
    PGR_TRY(match(c, c->alphas, c->n_alpha, module, &alpha, err));
    *r = (size_t)rank;
    *scale = (float)(alpha / (c->rslora ? sqrt(rank) : rank));
    return PGR_OK;
}
