/* model.c - opens and closes models, finds them by name, and the public calls on tokens. */
#include "model/model.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"

#define DEFAULT_MODEL "SmolLM2-135M-Instruct.Q4_1.gguf"

pgr_model_options pgr_model_options_default(void) {
    return (pgr_model_options){.dtype = PGR_DTYPE_AUTO};
}

/* ---- finding a file ---- */

static pgr_status find_in_cache(const char *name, const char *hint, char **out, pgr_error *err) {
    char *folder = file_cache_folder();
    if (!folder) return fail_mem(err);
    const char *endings[] = {"", ".gguf"};
    buf b = {0};
    for (size_t i = 0; i < 2; i++) {
        buf_clear(&b);
        buf_printf(&b, "%s/%s%s", folder, name, endings[i]);
        if (b.failed || file_exists(b.data)) break;
    }
    pgr_status s = PGR_OK;
    if (b.failed)
        s = fail_mem(err);
    else if (!file_exists(b.data))
        s = fail(err, PGR_E_IO, "%s: no such model, neither as a path nor in %s%s", name, folder, hint);
    if (s == PGR_OK) *out = buf_take(&b);
    buf_free(&b);
    mem_free(folder);
    return s;
}

pgr_status model_find_path(const char *name, const char *hint, char **out, pgr_error *err) {
    if (strncasecmp(name, "http://", 7) == 0 || strncasecmp(name, "https://", 8) == 0)
        return fail(err, PGR_E_UNSUPPORTED, "%s: found an address, expected a model's files", name);
    if (!file_exists(name)) return find_in_cache(name, hint, out, err);
    *out = mem_strdup(name);
    return *out ? PGR_OK : fail_mem(err);
}

/* "ORG/NAME" */
static bool is_hub_name(const char *name) {
    const char *slash = strchr(name, '/'), *last = strrchr(name, '/');
    return slash && slash == last && slash > name && slash[1] && name[0] != '.' && name[0] != '~'
           && !strstr(slash, ".gguf");
}

pgr_status pgr_model_find(const char *name, char **out, pgr_error *err) {
    if (!name || !*name) name = getenv("PGENRM_MODEL");
    if (!name || !*name) name = DEFAULT_MODEL;
    if (strcmp(name, DEFAULT_MODEL) == 0)
        return model_find_path(name, " (tools/fetch_model.sh fetches the default model)", out, err);
    char hint[256] = "";
    if (is_hub_name(name))
        snprintf(hint, sizeof hint, " (`pgenrm pull %.150s` fetches it from a Hugging Face hub)", name);
    return model_find_path(name, hint, out, err);
}

/* The name of a model at a path: its last part, up to the first dot. */
static int name_of(const char *path, const char **name) {
    size_t n = strlen(path);
    while (n > 0 && path[n - 1] == '/') n--;
    size_t from = n;
    while (from > 0 && path[from - 1] != '/') from--;
    const char *dot = memchr(path + from, '.', n - from);
    *name = path + from;
    return (int)(dot ? (size_t)(dot - path) - from : n - from);
}

pgr_status pgr_adapter_find(const char *model_path, char **out, pgr_error *err) {
    const char *folders[] = {PGR_ADAPTERS, PGR_SOURCE_ADAPTERS}, *name;
    int n = name_of(model_path, &name);
    buf b = {0};
    *out = NULL;
    for (size_t i = 0; i < 2 && n > 0 && !b.n; i++) {
        buf_printf(&b, "%s/%.*s/adapter_config.json", folders[i], n, name);
        if (!b.failed && !file_exists(b.data)) buf_clear(&b);
    }
    pgr_status s = b.failed ? fail_mem(err) : PGR_OK;
    if (s == PGR_OK && b.n) {
        b.data[b.n - strlen("/adapter_config.json")] = '\0';
        *out = buf_take(&b);
    }
    buf_free(&b);
    return s;
}

/* ---- opening ---- */

gemm_form model_form(pgr_dtype dtype) {
    switch (dtype) {
    case PGR_DTYPE_F32:
        return GEMM_F32;
    case PGR_DTYPE_BF16:
        return GEMM_BF16;
    case PGR_DTYPE_INT8:
        return GEMM_INT8;
    case PGR_DTYPE_AUTO:
    case PGR_DTYPE_EXACT:
        break;
    }
    return GEMM_FILE;
}

kv_type model_dtype_kv(pgr_dtype dtype, size_t head_dim) {
    if (dtype == PGR_DTYPE_INT8 && ops_cpu_attends(KV_INT8, head_dim)) return KV_INT8;
    bool rounded = dtype == PGR_DTYPE_BF16 || dtype == PGR_DTYPE_INT8;
    return rounded && ops_cpu_attends(KV_BF16, head_dim) ? KV_BF16 : KV_F32;
}

kv_type model_kv(const pgr_model *m) {
    return model_dtype_kv(m->dtype, m->config.head_dim);
}

typedef enum head_kind { HEAD_LANGUAGE, HEAD_SCORE, HEAD_ANY } head_kind;

static pgr_status check_head(const checkpoint *c, head_kind want, pgr_error *err) {
    if (want == HEAD_ANY || c->config.score_head == (want == HEAD_SCORE)) return PGR_OK;
    if (want == HEAD_SCORE)
        return fail(err, PGR_E_ARG,
                    "%s: is a language model, expected a score head: a folder whose config.json has architectures "
                    "LlamaForSequenceClassification, Qwen2- or Qwen3-, and one label",
                    c->path);
    return fail(err, PGR_E_ARG,
                "%s: has a score head: it gives a response one number and writes no text; open it with --scalar",
                c->path);
}

static pgr_status open_parts(pgr_model *m, const char *path, head_kind want, const pgr_model_options *o,
                             pgr_error *err) {
    PGR_TRY(checkpoint_open(path, &m->from, err));
    PGR_TRY(check_head(&m->from, want, err));
    if (o->chat_template) PGR_TRY(checkpoint_set_chat(&m->from, o->chat_template, err));
    m->config = m->from.config;
    m->tok = m->from.tok;
    m->chat = m->from.chat;
    PGR_TRY(pool_create(o->n_thread, &m->threads, err));
    PGR_TRY(ops_create_cpu(m->threads, &m->ops, err));
    return weights_open(&m->from.source, &m->config, model_form(o->dtype), m->ops, &o->watch, &m->weights, err);
}

static pgr_status open_model(const char *path, head_kind want, const pgr_model_options *options, pgr_model **out,
                             pgr_error *err) {
    pgr_model_options o = options ? *options : pgr_model_options_default();
    if (o.n_thread < 0 || o.n_thread > 1024)
        return fail(err, PGR_E_ARG, "n_thread is %d, expected 0 to 1024", o.n_thread);
    pgr_model *m = mem_zero(1, sizeof *m);
    if (!m) return fail_mem(err);

    double start = clock_now();
    m->dtype = o.dtype = model_dtype(o.dtype);
    m->k = vector_kernels();
    pgr_status s = open_parts(m, path, want, &o, err);
    m->load_s = clock_now() - start;
    if (s != PGR_OK) {
        pgr_model_close(m);
        return s;
    }
    *out = m;
    return PGR_OK;
}

pgr_status pgr_model_open(const char *path, const pgr_model_options *options, pgr_model **out, pgr_error *err) {
    return open_model(path, HEAD_LANGUAGE, options, out, err);
}

pgr_status model_open_score(const char *path, const pgr_model_options *options, pgr_model **out, pgr_error *err) {
    return open_model(path, HEAD_SCORE, options, out, err);
}

pgr_status model_open_any(const char *path, const pgr_model_options *options, pgr_model **out, pgr_error *err) {
    return open_model(path, HEAD_ANY, options, out, err);
}

void pgr_model_close(pgr_model *m) {
    if (!m) return;
    weights_close(&m->weights);
    ops_free(m->ops);
    pool_free(m->threads);
    checkpoint_close(&m->from);
    mem_free(m);
}

const char *pgr_model_name(const pgr_model *m) {
    return m->from.name;
}

size_t pgr_model_context(const pgr_model *m) {
    return m->config.n_ctx;
}

/* ---- tokens ---- */

pgr_status pgr_tokenize(const pgr_model *m, const char *text, size_t len, int flags, int32_t **out, size_t *n,
                        pgr_error *err) {
    ids list = {0};
    pgr_status s = tok_encode(m->tok, text, len, flags, &list, err);
    if (s == PGR_OK && list.failed) s = fail_mem(err);
    if (s != PGR_OK) {
        ids_free(&list);
        return s;
    }
    *out = list.v;
    *n = list.n;
    return PGR_OK;
}

pgr_status pgr_detokenize(const pgr_model *m, const int32_t *v, size_t n, char **text, size_t *len, pgr_error *err) {
    buf b = {0};
    pgr_status s = tok_decode(m->tok, v, n, &b, err);
    size_t bytes = b.n;
    char *taken = s == PGR_OK ? buf_take(&b) : NULL;
    if (s == PGR_OK && !taken) s = fail_mem(err);
    buf_free(&b);
    if (s != PGR_OK) return s;
    *text = taken;
    *len = bytes;
    return PGR_OK;
}
