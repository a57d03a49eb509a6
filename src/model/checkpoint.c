/* checkpoint.c - opens GGUF files and Hugging Face folders into the same parts. */
#include "model/checkpoint.h"

#include <string.h>
#include <sys/stat.h>

#include "base/mem.h"
#include "model/hf_config.h"

static bool is_folder(const char *path) {
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* The last part of a path; trailing slashes do not count. */
static pgr_status name_of_path(checkpoint *c, pgr_error *err) {
    size_t end = strlen(c->path);
    while (end > 1 && c->path[end - 1] == '/') end--;
    size_t begin = end;
    while (begin > 0 && c->path[begin - 1] != '/') begin--;
    c->name = mem_alloc(end - begin + 1);
    if (!c->name) return fail_mem(err);
    memcpy(c->name, c->path + begin, end - begin);
    c->name[end - begin] = '\0';
    return PGR_OK;
}

/* ---- GGUF ---- */

static pgr_status gguf_name(checkpoint *c, pgr_error *err) {
    gguf_string name = {0};
    if (gguf_find(&c->gguf, "general.name")) PGR_TRY(gguf_get_string(&c->gguf, "general.name", &name, err));
    if (name.n == 0 || memchr(name.s, '\0', name.n)) return name_of_path(c, err);
    c->name = mem_alloc(name.n + 1);
    if (!c->name) return fail_mem(err);
    memcpy(c->name, name.s, name.n);
    c->name[name.n] = '\0';
    return PGR_OK;
}

static pgr_status open_gguf(checkpoint *c, pgr_error *err) {
    c->format = "gguf";
    PGR_TRY(gguf_open(c->path, &c->gguf, err));
    PGR_TRY(config_from_gguf(&c->gguf, &c->config, err));
    PGR_TRY(source_from_gguf(&c->gguf, &c->arena, &c->source, err));
    PGR_TRY(tok_open(&c->gguf, &c->tok, err));
    PGR_TRY(gguf_name(c, err));

    gguf_string text = {0};
    if (gguf_find(&c->gguf, "tokenizer.chat_template")) {
        PGR_TRY(gguf_get_string(&c->gguf, "tokenizer.chat_template", &text, err));
        c->chat_from = "tokenizer.chat_template";
    }
    return chat_recognise(text.s, text.n, c->tok, &c->chat, err);
}

/* ---- Hugging Face ---- */

static pgr_status folder_tokenizer(checkpoint *c, const hf_config *hf, pgr_error *err) {
    buf path = {0}, text = {0};
    buf_printf(&path, "%s/tokenizer.json", c->path);
    pgr_status s = path.failed ? fail_mem(err) : file_read(path.data, &text, err);
    if (s == PGR_OK) s = tok_open_json(text.data, text.n, path.data, &c->tok, err);
    if (s == PGR_OK && hf->bos >= 0) s = tok_set_bos(c->tok, hf->bos, err);
    for (size_t i = 0; s == PGR_OK && i < hf->n_eos; i++)
        s = i == 0 ? tok_set_eos(c->tok, hf->eos[i], err) : tok_add_end(c->tok, hf->eos[i], err);
    buf_free(&path);
    buf_free(&text);
    return s;
}

static pgr_status folder_chat(checkpoint *c, pgr_error *err) {
    buf text = {0};
    pgr_status s = hf_chat_template(c->path, &text, &c->chat_from, err);
    if (s == PGR_OK) s = chat_recognise(c->chat_from ? text.data : NULL, text.n, c->tok, &c->chat, err);
    buf_free(&text);
    return s;
}

static pgr_status open_folder(checkpoint *c, pgr_error *err) {
    hf_config hf;
    c->format = "huggingface";
    PGR_TRY(hf_config_read(c->path, &hf, err));
    c->config = hf.c;
    PGR_TRY(config_check(&c->config, c->path, err));
    PGR_TRY(safetensors_open(c->path, &c->safetensors, err));
    c->source = c->safetensors.source;
    PGR_TRY(folder_tokenizer(c, &hf, err));
    PGR_TRY(folder_chat(c, err));
    return name_of_path(c, err);
}

/* ---- both ---- */

static pgr_status check_tokens(const checkpoint *c, pgr_error *err) {
    if (tok_count(c->tok) <= c->config.n_vocab) return PGR_OK;
    return fail(err, PGR_E_FORMAT, "%s: the tokenizer has %zu tokens, the embedding only %zu rows", c->path,
                tok_count(c->tok), c->config.n_vocab);
}

pgr_status checkpoint_open(const char *path, checkpoint *c, pgr_error *err) {
    *c = (checkpoint){.path = mem_strdup(path)};
    pgr_status s = c->path ? PGR_OK : fail_mem(err);
    if (s == PGR_OK) s = is_folder(path) ? open_folder(c, err) : open_gguf(c, err);
    if (s == PGR_OK) s = check_tokens(c, err);
    if (s != PGR_OK) checkpoint_close(c);
    return s;
}

void checkpoint_close(checkpoint *c) {
    chat_free(&c->chat);
    tok_close(c->tok);
    arena_free(&c->arena);
    safetensors_close(&c->safetensors);
    gguf_close(&c->gguf);
    mem_free(c->name);
    mem_free(c->path);
    *c = (checkpoint){0};
}
