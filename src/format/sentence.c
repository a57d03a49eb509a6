/* sentence.c - owns the reading of sentence-transformers' files. */
#include "format/sentence.h"

#include <string.h>

#include "base/file.h"
#include "base/json.h"

enum { MAX_SIZE = 1 << 24 };

/* ---- modules.json: Transformer, Pooling, Normalize, in this order ---- */

/* What follows the last dot of "sentence_transformers.models.Pooling". */
static const char *class_of(const char *type) {
    const char *dot = strrchr(type, '.');
    return dot ? dot + 1 : type;
}

static pgr_status member(const json_t *module, const char *key, const char *origin, const char **out, pgr_error *err) {
    return json_want_string(json_object_get(module, key), (json_at){origin, key}, out, err);
}

static bool is_plain_folder(const char *s) {
    return s[0] && s[0] != '/' && !strstr(s, "..");
}

/* The folder of the pooling module. */
static pgr_status take_pooling(const char *path, const char *origin, char *pooling, size_t size, pgr_error *err) {
    if (!is_plain_folder(path) || strlen(path) >= size)
        return fail(err, PGR_E_FORMAT, "%s: the Pooling module's path is \"%.80s\", want a folder beside this file",
                    origin, path);
    strcpy(pooling, path);
    return PGR_OK;
}

static pgr_status take_module(const json_t *module, size_t i, const char *origin, sentence_config *c, char *pooling,
                              size_t size, pgr_error *err) {
    const char *type, *path = "";
    PGR_TRY(json_want_object(module, (json_at){origin, "module"}, err));
    PGR_TRY(member(module, "type", origin, &type, err));
    PGR_TRY(member(module, "path", origin, &path, err));
    type = class_of(type);
    if (i == 0 && strcmp(type, "Transformer") == 0) {
        if (!path[0]) return PGR_OK;
        return fail(err, PGR_E_UNSUPPORTED, "%s: the Transformer module is in folder \"%.80s\"; only \"\" is supported",
                    origin, path);
    }
    if (i == 1 && strcmp(type, "Pooling") == 0) return take_pooling(path, origin, pooling, size, err);
    if (i == 2 && strcmp(type, "Normalize") == 0) {
        c->normalise = true;
        return PGR_OK;
    }
    return fail(err, PGR_E_UNSUPPORTED,
                "%s: module %zu is %.60s; Transformer, Pooling and perhaps Normalize, in this order, are supported",
                origin, i, type);
}

static pgr_status read_modules(const json_t *root, const char *origin, sentence_config *c, char *pooling, size_t size,
                               pgr_error *err) {
    PGR_TRY(json_want_array(root, (json_at){origin, ""}, err));
    if (json_array_size(root) < 2)
        return fail(err, PGR_E_UNSUPPORTED, "%s: has %zu modules; Transformer and Pooling are needed", origin,
                    json_array_size(root));
    c->found = true;
    c->normalise = false;
    for (size_t i = 0; i < json_array_size(root); i++)
        PGR_TRY(take_module(json_array_get(root, i), i, origin, c, pooling, size, err));
    return PGR_OK;
}

/* ---- the pooling module ---- */

/* clang-format off */
static const struct {
    const char *key, *name;
    pgr_pool pool; /* PGR_POOL_AUTO: not supported */
} modes[] = {
    {"pooling_mode_cls_token",           "cls",          PGR_POOL_CLS},
    {"pooling_mode_mean_tokens",         "mean",         PGR_POOL_MEAN},
    {"pooling_mode_lasttoken",           "lasttoken",    PGR_POOL_LAST},
    {"pooling_mode_max_tokens",          "max",          PGR_POOL_AUTO},
    {"pooling_mode_mean_sqrt_len_tokens","mean_sqrt_len_tokens", PGR_POOL_AUTO},
    {"pooling_mode_weightedmean_tokens", "weightedmean", PGR_POOL_AUTO},
};
/* clang-format on */
enum { N_MODE = sizeof modes / sizeof *modes };

static pgr_status take_mode(size_t mode, const char *origin, sentence_config *c, pgr_error *err) {
    if (modes[mode].pool == PGR_POOL_AUTO)
        return fail(err, PGR_E_UNSUPPORTED, "%s: %s; cls, mean and lasttoken are supported", origin, modes[mode].key);
    if (c->pool != PGR_POOL_AUTO)
        return fail(err, PGR_E_UNSUPPORTED, "%s: several poolings at once are not supported", origin);
    c->pool = modes[mode].pool;
    return PGR_OK;
}

static pgr_status take_named_mode(const json_t *v, const char *origin, sentence_config *c, pgr_error *err) {
    const char *name;
    if (json_is_array(v) && json_array_size(v) == 1) v = json_array_get(v, 0);
    PGR_TRY(json_want_string(v, (json_at){origin, "pooling_mode"}, &name, err));
    for (size_t i = 0; i < N_MODE; i++)
        if (strcmp(modes[i].name, name) == 0) return take_mode(i, origin, c, err);
    return fail(err, PGR_E_UNSUPPORTED, "%s: pooling_mode is \"%.40s\"; cls, mean and lasttoken are supported", origin,
                name);
}

static pgr_status read_pooling(const json_t *root, const char *origin, sentence_config *c, pgr_error *err) {
    PGR_TRY(json_want_object(root, (json_at){origin, ""}, err));
    c->pool = PGR_POOL_AUTO;
    for (size_t i = 0; i < N_MODE; i++)
        if (json_is_true(json_object_get(root, modes[i].key))) PGR_TRY(take_mode(i, origin, c, err));
    const json_t *named = json_object_get(root, "pooling_mode"), *dims;
    if (named && c->pool == PGR_POOL_AUTO) PGR_TRY(take_named_mode(named, origin, c, err));
    if (c->pool == PGR_POOL_AUTO) return fail(err, PGR_E_FORMAT, "%s: names no pooling", origin);

    dims = json_object_get(root, "word_embedding_dimension");
    if (!dims) dims = json_object_get(root, "embedding_dimension");
    int64_t n = 0;
    if (dims) PGR_TRY(json_want_integer(dims, (json_at){origin, "word_embedding_dimension"}, 1, MAX_SIZE, &n, err));
    c->dims = (size_t)n;
    c->include_prompt = !json_is_false(json_object_get(root, "include_prompt"));
    return PGR_OK;
}

/* ---- sentence_bert_config.json ---- */

static pgr_status read_bert(const json_t *root, const char *origin, sentence_config *c, pgr_error *err) {
    PGR_TRY(json_want_object(root, (json_at){origin, ""}, err));
    const json_t *max = json_object_get(root, "max_seq_length"), *lower = json_object_get(root, "do_lower_case");
    int64_t n = 0;
    if (max && !json_is_null(max))
        PGR_TRY(json_want_integer(max, (json_at){origin, "max_seq_length"}, 1, MAX_SIZE, &n, err));
    if (lower && !json_is_boolean(lower) && !json_is_null(lower))
        return fail(err, PGR_E_FORMAT, "%s: do_lower_case is %s, want true or false", origin, json_kind(lower));
    c->max_tokens = (size_t)n;
    c->lower_case = json_is_true(lower);
    return PGR_OK;
}

/* ---- tokenizer_config.json ---- */

/* model_max_length, where it is a length: transformers writes 1e30 for "none". It only shortens. */
static pgr_status read_tokenizer(const json_t *root, const char *origin, sentence_config *c, pgr_error *err) {
    PGR_TRY(json_want_object(root, (json_at){origin, ""}, err));
    const json_t *max = json_object_get(root, "model_max_length");
    if (!max || json_is_null(max)) return PGR_OK;
    if (!json_is_number(max))
        return fail(err, PGR_E_FORMAT, "%s: model_max_length is %s, want a number", origin, json_kind(max));
    double n = json_number_value(max);
    if (!(n >= 1)) return fail(err, PGR_E_FORMAT, "%s: model_max_length is %g, want 1 or more", origin, n);
    if (n <= MAX_SIZE && (c->max_tokens == 0 || n < (double)c->max_tokens)) c->max_tokens = (size_t)n;
    return PGR_OK;
}

/* ---- interface ---- */

pgr_status sentence_modules_parse(const char *text, size_t n, const char *origin, sentence_config *c, char *pooling,
                                  size_t size, pgr_error *err) {
    json_t *root = NULL;
    PGR_TRY(json_parse(text, n, origin, 1, &root, err));
    pooling[0] = '\0';
    pgr_status s = read_modules(root, origin, c, pooling, size, err);
    json_decref(root);
    return s;
}

pgr_status sentence_pooling_parse(const char *text, size_t n, const char *origin, sentence_config *c, pgr_error *err) {
    json_t *root = NULL;
    PGR_TRY(json_parse(text, n, origin, 1, &root, err));
    pgr_status s = read_pooling(root, origin, c, err);
    json_decref(root);
    return s;
}

pgr_status sentence_bert_parse(const char *text, size_t n, const char *origin, sentence_config *c, pgr_error *err) {
    json_t *root = NULL;
    PGR_TRY(json_parse(text, n, origin, 1, &root, err));
    pgr_status s = read_bert(root, origin, c, err);
    json_decref(root);
    return s;
}

pgr_status sentence_tokenizer_parse(const char *text, size_t n, const char *origin, sentence_config *c,
                                    pgr_error *err) {
    json_t *root = NULL;
    PGR_TRY(json_parse_reals(text, n, origin, 1, &root, err));
    pgr_status s = read_tokenizer(root, origin, c, err);
    json_decref(root);
    return s;
}

typedef struct reader {
    sentence_config *c;
    char pooling[128];
    buf path, text;
    pgr_error *err;
} reader;

/* folder/name into r->text. *found false: it is not there, which is fine. */
static pgr_status load(reader *r, const char *folder, const char *name, bool *found) {
    buf_clear(&r->path);
    buf_printf(&r->path, "%s/%s", folder, name);
    if (r->path.failed) return fail_mem(r->err);
    *found = file_exists(r->path.data);
    return *found ? file_read(r->path.data, &r->text, r->err) : PGR_OK;
}

static pgr_status read_files(reader *r, const char *folder) {
    bool found;
    PGR_TRY(load(r, folder, "sentence_bert_config.json", &found));
    if (found) PGR_TRY(sentence_bert_parse(r->text.data, r->text.n, r->path.data, r->c, r->err));
    PGR_TRY(load(r, folder, "tokenizer_config.json", &found));
    if (found) PGR_TRY(sentence_tokenizer_parse(r->text.data, r->text.n, r->path.data, r->c, r->err));
    PGR_TRY(load(r, folder, "modules.json", &found));
    if (!found) return PGR_OK;
    PGR_TRY(sentence_modules_parse(r->text.data, r->text.n, r->path.data, r->c, r->pooling, sizeof r->pooling, r->err));
    size_t n = strlen(r->pooling);
    if (r->pooling[n - 1] == '/') r->pooling[n - 1] = '\0';
    if (strlen(r->pooling) + sizeof "/config.json" > sizeof r->pooling)
        return fail(r->err, PGR_E_LIMIT, "%s: the Pooling module's path is too long", r->path.data);
    strcat(r->pooling, "/config.json");
    PGR_TRY(load(r, folder, r->pooling, &found));
    if (!found) return fail(r->err, PGR_E_IO, "%s: the file of the Pooling module is missing", r->path.data);
    return sentence_pooling_parse(r->text.data, r->text.n, r->path.data, r->c, r->err);
}

pgr_status sentence_read(const char *folder, sentence_config *out, pgr_error *err) {
    sentence_config c = {.normalise = true, .include_prompt = true};
    reader r = {.c = &c, .err = err};
    pgr_status s = read_files(&r, folder);
    buf_free(&r.path);
    buf_free(&r.text);
    if (s == PGR_OK) *out = c;
    return s;
}
