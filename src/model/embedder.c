/* embedder.c - opens embedding models: which kind of model, which pooling, how long a text may be. */
#include "model/embedder.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/legible.h"
#include "base/mem.h"

#define DEFAULT_EMBEDDER "all-MiniLM-L6-v2"

enum { PASS_ROWS = 512 };                /* tokens of one pass, unless one text of an encoder is longer */
static const size_t KV_TOKENS = 1 << 30; /* no limit of its own: pages come as they are needed */

pgr_status pgr_embedder_find(const char *name, char **out, pgr_error *err) {
    if (!name || !*name) name = getenv("PGENRM_EMBEDDER");
    if (!name || !*name) name = DEFAULT_EMBEDDER;
    if (embed_is_remote(name)) return (*out = mem_strdup(name)) ? PGR_OK : fail_mem(err);
    bool is_default = strcmp(name, DEFAULT_EMBEDDER) == 0;
    return model_find_path(name, is_default ? " (tools/fetch_embedder.sh fetches the default embedder)" : "", out, err);
}

/* ---- encoders ---- */

static gemm_form encoder_form(pgr_dtype dtype) {
    return dtype == PGR_DTYPE_BF16 ? GEMM_BF16 : dtype == PGR_DTYPE_INT8 ? GEMM_INT8 : GEMM_F32;
}

static void limit_tokens(sentence_config *say, size_t positions) {
    if (say->max_tokens == 0 || say->max_tokens > positions) say->max_tokens = positions;
}

void embedder_encoder_rule(const encoder_config *c, sentence_config *say) {
    limit_tokens(say, c->n_pos);
    say->pool_from = "modules.json";
    if (say->pool != PGR_POOL_AUTO) return;
    say->pool_from = "the default";
    say->pool = PGR_POOL_MEAN;
}

static pgr_status open_encoder(pgr_embedder *e, const char *folder, const encoder_config *c, const pgr_model_options *o,
                               pgr_error *err) {
    if (!(e->name = legible_name(folder))) return fail_mem(err);
    PGR_TRY(tok_open_folder(folder, &e->own_tok, err));
    e->tok = e->own_tok;
    if (tok_count(e->tok) > c->n_vocab)
        return fail(err, PGR_E_FORMAT, "%s: the tokenizer has %zu tokens, the embedding only %zu rows", folder,
                    tok_count(e->tok), c->n_vocab);
    PGR_TRY(safetensors_open(folder, &e->files, err));
    PGR_TRY(pool_create(o->n_thread, &e->threads, err));
    PGR_TRY(ops_create_cpu(e->threads, &e->ops, err));
    pgr_dtype dtype = model_dtype(o->dtype == PGR_DTYPE_AUTO ? PGR_DTYPE_F32 : o->dtype);
    PGR_TRY(encoder_open(&e->files.source, c, encoder_form(dtype), e->ops, &o->watch, &e->encoder, err));
    e->dims = c->n_embd;
    embedder_encoder_rule(c, &e->say);
    e->max_tokens = e->say.max_tokens;
    e->n_row = e->max_tokens > PASS_ROWS ? e->max_tokens : PASS_ROWS;
    return encoder_state_create(&e->encoder, e->n_row, &e->encoding, err);
}

/* ---- decoders ---- */

static bool says_embed(const char *s) {
    for (; *s; s++)
        if (strncasecmp(s, "embed", 5) == 0) return true;
    return false;
}

/* <arch>.pooling_type of a GGUF file: llama.cpp's numbers */
static pgr_status gguf_pool(const checkpoint *from, pgr_pool *out, pgr_error *err) {
    static const pgr_pool pools[] = {PGR_POOL_AUTO, PGR_POOL_MEAN, PGR_POOL_CLS, PGR_POOL_LAST};
    char key[64];
    uint32_t type;
    snprintf(key, sizeof key, "%s.pooling_type", from->config.arch);
    PGR_TRY(gguf_get_u32_or(&from->gguf, key, 0, &type, err));
    if (type >= sizeof pools / sizeof *pools)
        return fail(err, PGR_E_UNSUPPORTED, "%s: %s is %u; none (0), mean (1) and last (3) are supported", from->path,
                    key, type);
    *out = pools[type];
    return PGR_OK;
}

/* Embedding models end a text with the token that they were trained to pool; not every file's tokenizer adds it. */
static void choose_end(const tokenizer *t, pgr_pool pool, int32_t *end, int32_t *lone) {
    int32_t text_end = tok_find(t, "<|endoftext|>");
    *lone = text_end >= 0 ? text_end : tok_eos(t);
    *end = pool == PGR_POOL_LAST && !tok_adds_eos(t) ? *lone : -1;
}

pgr_status embedder_decoder_rule(const checkpoint *from, sentence_config *say, int32_t *end, int32_t *lone,
                                 pgr_error *err) {
    bool is_gguf = strcmp(from->format, "gguf") == 0;
    limit_tokens(say, from->config.n_ctx);
    say->pool_from = is_gguf ? "pooling_type" : "modules.json";
    if (is_gguf) PGR_TRY(gguf_pool(from, &say->pool, err));
    if (say->pool == PGR_POOL_CLS)
        return fail(err, PGR_E_UNSUPPORTED,
                    "%s: pooling of the first token is not supported for decoders, which do not "
                    "look ahead",
                    from->path);
    const char *file = strrchr(from->path, '/');
    bool embeds = says_embed(from->name) || says_embed(file ? file + 1 : from->path);
    if (say->pool == PGR_POOL_AUTO && embeds) {
        say->pool_from = "the model's name";
        say->pool = PGR_POOL_LAST;
    }
    choose_end(from->tok, say->pool, end, lone);
    if (say->pool != PGR_POOL_AUTO) return PGR_OK;
    say->pool_from = "the default";
    say->pool = PGR_POOL_MEAN;
    return PGR_OK;
}

static pgr_status open_decoder(pgr_embedder *e, const char *path, const pgr_model_options *o, pgr_error *err) {
    pgr_model_options own = *o; /* what is within 1 % in perplexity says nothing of embeddings */
    if (own.dtype == PGR_DTYPE_AUTO) own.dtype = PGR_DTYPE_EXACT;
    PGR_TRY(pgr_model_open(path, &own, &e->model, err));
    const pgr_model *m = e->model;
    e->name = mem_strdup(m->from.name);
    if (!e->name) return fail_mem(err);
    e->tok = m->tok;
    e->dims = m->config.n_embd;
    PGR_TRY(embedder_decoder_rule(&m->from, &e->say, &e->end, &e->lone, err));
    e->max_tokens = e->say.max_tokens;
    e->n_row = PASS_ROWS;
    e->hidden = mem_array(e->n_row * e->dims, sizeof *e->hidden);
    if (!e->hidden) return fail_mem(err);
    PGR_TRY(kv_init(&e->kv, &m->config, model_kv(m), KV_TOKENS, err));
    return forward_create(m, e->n_row, &e->decoding, err);
}

/* ---- both ---- */

static pgr_status check_sizes(const pgr_embedder *e, const char *path, pgr_error *err) {
    size_t around = tok_before(e->tok) + tok_after(e->tok) + (e->end >= 0);
    if (e->say.dims > 0 && e->say.dims != e->dims)
        return fail(err, PGR_E_FORMAT, "%s: the Pooling module has %zu values, the model %zu", path, e->say.dims,
                    e->dims);
    if (e->max_tokens <= around)
        return fail(err, PGR_E_FORMAT, "%s: a text may have %zu tokens, of which %zu are special: none are left", path,
                    e->max_tokens, around);
    return PGR_OK;
}

static pgr_status open_parts(pgr_embedder *e, const char *path, const pgr_model_options *o, pgr_error *err) {
    bool is_encoder = false;
    encoder_config c;
    e->say = (sentence_config){.normalise = true, .include_prompt = true};
    if (file_is_folder(path)) {
        PGR_TRY(encoder_config_read(path, &is_encoder, &c, err));
        PGR_TRY(sentence_read(path, &e->say, err));
    }
    PGR_TRY(is_encoder ? open_encoder(e, path, &c, o, err) : open_decoder(e, path, o, err));
    return check_sizes(e, path, err);
}

static pgr_status open_remote(pgr_embedder *e, const char *urls, pgr_error *err) {
    PGR_TRY(remote_embedder_open(urls, &e->remote, err));
    e->dims = remote_embedder_dims(e->remote);
    e->max_tokens = SIZE_MAX; /* what is too long for them, servers refuse or cut */
    e->name = mem_strdup(remote_embedder_model(e->remote));
    return e->name ? PGR_OK : fail_mem(err);
}

pgr_status pgr_embedder_open(const char *path, const pgr_model_options *options, pgr_embedder **out, pgr_error *err) {
    pgr_model_options o = options ? *options : pgr_model_options_default();
    if (o.n_thread < 0 || o.n_thread > 1024)
        return fail(err, PGR_E_ARG, "n_thread is %d, expected 0 to 1024", o.n_thread);
    pgr_embedder *e = mem_zero(1, sizeof *e);
    if (!e) return fail_mem(err);
    e->end = e->lone = -1;
    pgr_status s = embed_is_remote(path) ? open_remote(e, path, err) : open_parts(e, path, &o, err);
    if (s == PGR_OK)
        *out = e;
    else
        pgr_embedder_close(e);
    return s;
}

void pgr_embedder_close(pgr_embedder *e) {
    if (!e) return;
    remote_embedder_close(e->remote);
    forward_free(e->decoding);
    kv_close(&e->kv);
    mem_free(e->hidden);
    encoder_state_free(e->encoding);
    encoder_close(&e->encoder);
    ops_free(e->ops);
    pool_free(e->threads);
    tok_close(e->own_tok);
    safetensors_close(&e->files);
    pgr_model_close(e->model);
    mem_free(e->name);
    mem_free(e);
}

const char *pgr_embedder_name(const pgr_embedder *e) {
    return e->name;
}
size_t pgr_embedder_dims(const pgr_embedder *e) {
    return e->dims;
}
size_t pgr_embedder_max_tokens(const pgr_embedder *e) {
    return e->max_tokens;
}
