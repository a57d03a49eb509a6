/* checkpoint.c - opens GGUF files and Hugging Face folders into the same parts. */
#include "model/checkpoint.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/legible.h"
#include "base/log.h"
#include "base/mem.h"
#include "format/hf_config.h"
#include "format/hf_template.h"

static pgr_status name_of_path(checkpoint *c, pgr_error *err) {
    c->name = legible_name(c->path);
    return c->name ? PGR_OK : fail_mem(err);
}

static pgr_status copy_text(checkpoint *c, const char *s, size_t n, const char **out, pgr_error *err) {
    if (n == 0) return PGR_OK;
    *out = arena_strndup(&c->arena, s, n);
    return *out ? PGR_OK : fail_mem(err);
}

/* The texts of BOS and EOS by their ids. */
static pgr_status token_texts(checkpoint *c, pgr_error *err) {
    int32_t id[2] = {tok_bos(c->tok), tok_eos(c->tok)};
    const char **out[2] = {&c->bos_text, &c->eos_text};
    for (int i = 0; i < 2; i++) {
        size_t n = 0;
        const char *s = id[i] < 0 ? "" : tok_bytes(c->tok, id[i], &n);
        PGR_TRY(copy_text(c, s, n, out[i], err));
    }
    return PGR_OK;
}

static pgr_status recognise(checkpoint *c, const char *text, size_t n, const char *origin, chat_template *out,
                            pgr_error *err) {
    return chat_recognise(text, n, origin, c->tok, c->bos_text, c->eos_text, out, err);
}

/* A template that cannot be read is missed where a conversation is rendered, not before. */
static pgr_status without_chat(checkpoint *c, const pgr_error *why, pgr_error *err) {
    buf b = {0};
    buf_printf(&b, "%s; give one with --chat-template FILE, or use raw text", why->message);
    c->chat = (chat_template){.kind = CHAT_NONE, .why = b.failed ? NULL : buf_take(&b)};
    buf_free(&b);
    return c->chat.why ? PGR_OK : fail_mem(err);
}

/* ---- GGUF ---- */

static pgr_status gguf_name(checkpoint *c, pgr_error *err) {
    gguf_string name = {0};
    if (gguf_find(&c->gguf, "general.name")) PGR_TRY(gguf_get_string(&c->gguf, "general.name", &name, err));
    if (name.n == 0 || memchr(name.s, '\0', name.n)) return name_of_path(c, err);
    buf text = {0};
    legible_add(&text, name.s, name.n);
    c->name = buf_take(&text);
    return c->name ? PGR_OK : fail_mem(err);
}

static pgr_status refuse_adapter(const checkpoint *c, pgr_error *err) {
    gguf_string type = {0};
    if (gguf_find(&c->gguf, "general.type")) PGR_TRY(gguf_get_string(&c->gguf, "general.type", &type, err));
    if (!gguf_string_is(type, "adapter")) return PGR_OK;
    return fail(err, PGR_E_ARG, "%s: is an adapter, not a model; adapters go on one with --lora", c->path);
}

static pgr_status open_gguf(checkpoint *c, pgr_error *err) {
    c->format = "gguf";
    PGR_TRY(gguf_open(c->path, &c->gguf, err));
    PGR_TRY(refuse_adapter(c, err));
    PGR_TRY(config_from_gguf(&c->gguf, &c->config, err));
    PGR_TRY(source_from_gguf(&c->gguf, &c->arena, &c->source, err));
    PGR_TRY(tok_open(&c->gguf, &c->tok, err));
    PGR_TRY(gguf_name(c, err));

    gguf_string text = {0};
    if (gguf_find(&c->gguf, "tokenizer.chat_template")) {
        PGR_TRY(gguf_get_string(&c->gguf, "tokenizer.chat_template", &text, err));
        c->chat_from = "tokenizer.chat_template";
    }
    PGR_TRY(token_texts(c, err));
    return recognise(c, text.s, text.n, c->path, &c->chat, err);
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

static pgr_status folder_token_texts(checkpoint *c, pgr_error *err) {
    buf bos = {0}, eos = {0};
    bool found = false;
    pgr_status s = hf_token_texts(c->path, &bos, &eos, &found, err);
    if (s == PGR_OK && !found) s = token_texts(c, err);
    if (s == PGR_OK) s = copy_text(c, bos.data, bos.n, &c->bos_text, err);
    if (s == PGR_OK) s = copy_text(c, eos.data, eos.n, &c->eos_text, err);
    buf_free(&bos);
    buf_free(&eos);
    return s;
}

static pgr_status folder_chat(checkpoint *c, pgr_error *err) {
    buf text = {0}, path = {0};
    pgr_error why;
    PGR_TRY(folder_token_texts(c, err));
    pgr_status s = hf_chat_template(c->path, &text, &c->chat_from, &why);
    if (s != PGR_OK) {
        buf_free(&text);
        return s == PGR_E_MEM ? fail_mem(err) : without_chat(c, &why, err);
    }
    if (c->chat_from) buf_printf(&path, "%s/%s", c->path, c->chat_from);
    if (s == PGR_OK && path.failed) s = fail_mem(err);
    if (s == PGR_OK) s = recognise(c, c->chat_from ? text.data : NULL, text.n, path.data, &c->chat, err);
    buf_free(&path);
    buf_free(&text);
    return s;
}

static pgr_status refuse_adapter_folder(const checkpoint *c, pgr_error *err) {
    buf config = {0}, adapter = {0};
    buf_printf(&config, "%s/config.json", c->path);
    buf_printf(&adapter, "%s/adapter_config.json", c->path);
    pgr_status s = config.failed || adapter.failed ? fail_mem(err) : PGR_OK;
    if (s == PGR_OK && !file_exists(config.data) && file_exists(adapter.data))
        s = fail(err, PGR_E_ARG, "%s: is an adapter, not a model (has no config.json); adapters go on one with --lora",
                 c->path);
    buf_free(&config);
    buf_free(&adapter);
    return s;
}

/* As transformers 5 does: a head that the files hold and that differs from the embedding counts, whatever
 * tie_word_embeddings says. */
static void untie_what_differs(checkpoint *c) {
    const source_tensor *head = source_find(&c->source, "lm_head.weight");
    const source_tensor *embd = source_find(&c->source, "model.embed_tokens.weight");
    if (c->config.score_head || !c->config.tied || !head || !embd || !head->data || !embd->data) return;
    bool same = head->type == embd->type && head->bytes == embd->bytes;
    if (same && memcmp(head->data, embd->data, head->bytes) == 0) return;
    c->config.tied = false;
    log_warn("%s: tie_word_embeddings is true, but lm_head.weight differs from the embedding: it is used", c->path);
}

static pgr_status open_folder(checkpoint *c, pgr_error *err) {
    hf_config hf;
    c->format = "huggingface";
    PGR_TRY(refuse_adapter_folder(c, err));
    PGR_TRY(hf_config_read(c->path, &hf, err));
    c->config = hf.c;
    c->pad = hf.pad;
    PGR_TRY(config_check(&c->config, c->path, err));
    PGR_TRY(safetensors_open(c->path, &c->safetensors, err));
    c->source = c->safetensors.source;
    untie_what_differs(c);
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

/* ---- folders of GGUF files, as hubs have them ---- */

static bool ends_in(const char *s, const char *end) {
    size_t n = strlen(s), k = strlen(end);
    return n >= k && strcmp(s + n - k, end) == 0;
}

/* "-0000I-of-0000N.gguf" with I above 1: not a file to be opened by itself. */
static bool is_later_part(const char *name) {
    size_t n = strlen(name);
    const char *end = n > 20 ? name + n - 20 : "";
    unsigned no, count;
    int used = 0;
    return sscanf(end, "-%5u-of-%5u.gguf%n", &no, &count, &used) == 2 && used == 20 && no > 1;
}

/* The names of the .gguf files that can be opened, "a.gguf, b.gguf", and how many. */
static pgr_status list_gguf(const char *folder, buf *names, size_t *n, pgr_error *err) {
    DIR *d = opendir(folder);
    if (!d) return fail(err, PGR_E_IO, "%s: the folder cannot be read", folder);
    for (struct dirent *e; (e = readdir(d));) {
        if (!ends_in(e->d_name, ".gguf") || is_later_part(e->d_name)) continue;
        buf_printf(names, "%s%s", *n ? ", " : "", e->d_name);
        ++*n;
    }
    closedir(d);
    return names->failed ? fail_mem(err) : PGR_OK;
}

/* A folder without config.json stands for the only model file in it: c->path becomes that file's. */
static pgr_status find_gguf(checkpoint *c, bool *found, pgr_error *err) {
    buf names = {0}, path = {0};
    size_t n = 0;
    *found = false;
    buf_printf(&path, "%s/config.json", c->path);
    pgr_status s = path.failed ? fail_mem(err) : PGR_OK;
    if (s == PGR_OK && !file_exists(path.data)) s = list_gguf(c->path, &names, &n, err);
    if (s == PGR_OK && n > 1)
        s = fail(err, PGR_E_ARG, "%s: has %zu models, expected the path of one: %.300s", c->path, n, names.data);
    if (s == PGR_OK && n == 1) {
        buf_clear(&path);
        buf_printf(&path, "%s/%s", c->path, names.data);
        char *file = buf_take(&path);
        if (file) mem_free(c->path), c->path = file;
        s = file ? PGR_OK : fail_mem(err);
        *found = true;
    }
    buf_free(&names);
    buf_free(&path);
    return s;
}

static pgr_status open_any(checkpoint *c, pgr_error *err) {
    bool folder = file_is_folder(c->path), gguf = !folder;
    if (folder) PGR_TRY(find_gguf(c, &gguf, err));
    return gguf ? open_gguf(c, err) : open_folder(c, err);
}

pgr_status checkpoint_open(const char *path, checkpoint *c, pgr_error *err) {
    *c = (checkpoint){.path = mem_strdup(path), .pad = -1};
    pgr_status s = c->path ? PGR_OK : fail_mem(err);
    if (s == PGR_OK) s = open_any(c, err);
    if (s == PGR_OK) s = check_tokens(c, err);
    if (s != PGR_OK) checkpoint_close(c);
    return s;
}

static pgr_status read_given(const char *given, buf *out, const char **origin, pgr_error *err) {
    const char *known = chat_builtin(given);
    bool text = strstr(given, "{%") || strstr(given, "{{");
    *origin = known || !text ? given : "the given chat template";
    if (!known && !text && !file_exists(given))
        return fail(err, PGR_E_IO, "%s: no such file, expected a chat template's file or text, chatml or llama3",
                    given);
    if (!known && !text) return file_read_text(given, out, err);
    buf_puts(out, known ? known : given);
    return out->failed ? fail_mem(err) : PGR_OK;
}

pgr_status checkpoint_set_chat(checkpoint *c, const char *given, pgr_error *err) {
    buf text = {0};
    const char *origin = NULL;
    chat_template chat = {0};
    pgr_status s = read_given(given, &text, &origin, err);
    char *from = s == PGR_OK ? arena_strdup(&c->arena, origin) : NULL;
    if (s == PGR_OK && !from) s = fail_mem(err);
    if (s == PGR_OK) s = chat_check_builtin(given, c->tok, err);
    if (s == PGR_OK) s = recognise(c, text.data ? text.data : "", text.n, origin, &chat, err);
    if (s == PGR_OK && chat.kind == CHAT_NONE) s = fail(err, PGR_E_UNSUPPORTED, "%s", chat.why);
    if (s == PGR_OK) {
        chat_free(&c->chat);
        c->chat = chat;
        c->chat_from = from;
    } else {
        chat_free(&chat);
    }
    buf_free(&text);
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
