/* routes_model.c - the model's parts: adapters loaded and unloaded, texts as tokens and back. */
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "serve/body.h"
#include "serve/gen.h"
#include "serve/server.h"

/* ---- adapters ---- */

typedef struct loading {
    task task;
    const char *name, *path; /* the body's */
    bool in_place;
} loading;

static void free_loading(task *t) {
    mem_free(t);
}

static void say_done(call *c, const char *name, const char *what) {
    buf out = {0};
    buf_printf(&out, "Success: LoRA adapter '%s' %s.", name, what);
    call_reply_as(c, 200, "text/plain; charset=utf-8", &out);
}

/* In the worker's thread: reading takes its time. */
static pgr_status load(task *t, pgr_error *err) {
    loading *l = (loading *)t;
    if (models_load(call_server(t->call)->models, l->name, l->path, l->in_place, err) != PGR_OK) {
        if (err->status == PGR_E_IO) err->status = PGR_E_ARG; /* the path is the client's mistake */
        return err->status;
    }
    say_done(t->call, l->name, "added");
    task_end(t);
    return PGR_OK;
}

static const task_kind LOADING = {.name = "loading", .begin = load, .free = free_loading};

/* Names and paths are the operator's business: a token for some users only does not reach them. */
static bool may_manage(call *c) {
    if (!*call_grant(c)->scope) return true;
    call_fail(c, 403, "permission_error", NULL, "scope", "expected a token without a scope");
    return false;
}

static bool read_names(call *c, const json_t *body, const char **name, const char **path) {
    if (!body_text(c, body, "lora_name", name) || (path && !body_text(c, body, "lora_path", path))) return false;
    bool whole = *name && **name && (!path || (*path && **path));
    if (!whole)
        call_refuse(c, *name ? "lora_path" : "lora_name", "expected a lora_name%s", path ? " and a lora_path" : "");
    return whole;
}

static void load_adapter(call *c) {
    if (!call_has_model(c, "adapters")) return;
    const json_t *body = call_json(c);
    loading l = {.task.kind = &LOADING};
    if (!body || !may_manage(c) || !read_names(c, body, &l.name, &l.path)
        || !body_flag(c, body, "load_inplace", &l.in_place))
        return;
    loading *kept = mem_alloc(sizeof *kept);
    if (!kept) {
        call_fail_error(c, &(pgr_error){.status = PGR_E_MEM});
        return;
    }
    *kept = l;
    call_submit(c, &kept->task);
}

static void unload_adapter(call *c) {
    if (!call_has_model(c, "adapters")) return;
    const json_t *body = call_json(c);
    const char *name = NULL;
    if (!body || !may_manage(c) || !read_names(c, body, &name, NULL)) return;
    if (models_unload(call_server(c)->models, name))
        say_done(c, name, "removed");
    else
        call_fail(c, 404, "invalid_request_error", "lora_name", "model_not_found", "no adapter is called %s", name);
}

/* ---- tokens ---- */

typedef struct tokenizing {
    const char *text; /* NULL: messages */
    bool special, begun, strings;
    gen chat; /* the messages */
} tokenizing;

/* The engine's: behind an address it has them where the model's tokenizer is here. */
static pgr_status find_tokens(call *c, const tokenizing *t, ids *out, pgr_error *err) {
    pgr_engine *e = call_server(c)->what.engine;
    const gen_prompt *p = t->chat.prompts;
    if (!t->text) return engine_render(e, p->messages, p->n_message, t->begun, out, err);
    return engine_tokens(e, t->text, strlen(t->text), PGR_TOKENS_SPECIAL | (t->special ? PGR_TOKENS_BOS : 0), out, err);
}

/* Each token's text, a token that is no whole character with what stands for one. */
static pgr_status put_strings(call *c, const ids *tokens, buf *out, pgr_error *err) {
    buf one = {0};
    pgr_status s = PGR_OK;
    buf_puts(out, ",\"token_strs\":[");
    for (size_t i = 0; s == PGR_OK && i < tokens->n; i++) {
        buf_clear(&one);
        s = engine_text(call_server(c)->what.engine, &tokens->v[i], 1, &one, err);
        if (i) buf_putc(out, ',');
        json_put_string(out, one.data ? one.data : "", one.n);
    }
    buf_putc(out, ']');
    buf_free(&one);
    return s;
}

static void put_tokens(call *c, const tokenizing *t) {
    ids tokens = {0};
    buf out = {0};
    pgr_error err = {0};
    pgr_status s = find_tokens(c, t, &tokens, &err);
    if (s == PGR_OK) {
        size_t n_ctx = engine_about(call_server(c)->what.engine)->n_ctx;
        buf_printf(&out, "{\"count\":%zu,\"max_model_len\":%zu,\"tokens\":[", tokens.n, n_ctx);
        for (size_t i = 0; i < tokens.n; i++) buf_printf(&out, i ? ",%d" : "%d", (int)tokens.v[i]);
        buf_putc(&out, ']');
        if (t->strings) s = put_strings(c, &tokens, &out, &err);
        buf_putc(&out, '}');
    }
    if (s == PGR_OK) {
        call_reply(c, 200, &out);
    } else {
        call_fail_error(c, &err);
        buf_free(&out);
    }
    ids_free(&tokens);
}

/* A text, or the messages of a chat. */
static bool read_tokenizing(tokenizing *t, call *c, const json_t *body) {
    if (!body_flag(c, body, "return_token_strs", &t->strings)) return false;
    if (body_get(body, "messages"))
        return body_flag(c, body, "add_generation_prompt", &t->begun)
               && body_idle(c, body, "continue_final_message", NAN) && body_idle(c, body, "add_special_tokens", NAN)
               && body_idle(c, body, "chat_template", NAN) && body_idle(c, body, "tools", NAN)
               && gen_read_messages(&t->chat, c, body);
    if (!body_text(c, body, "prompt", &t->text) || !body_flag(c, body, "add_special_tokens", &t->special)) return false;
    if (t->text) return body_fits(c, "prompt", strlen(t->text), server_text_most(call_server(c)), "bytes");
    call_refuse(c, "prompt", "expected a prompt, a text, or messages");
    return false;
}

static void tokenize(call *c) {
    const json_t *body = call_json(c);
    tokenizing t = {.special = true, .begun = true};
    if (body && read_tokenizing(&t, c, body)) put_tokens(c, &t);
    arena_free(&t.chat.arena);
}

static void put_text(call *c, const int32_t *tokens, size_t n) {
    buf text = {0}, out = {0};
    pgr_error err = {0};
    if (engine_text(call_server(c)->what.engine, tokens, n, &text, &err) != PGR_OK) {
        call_fail_error(c, &err);
    } else {
        buf_puts(&out, "{\"prompt\":");
        json_put_string(&out, text.data ? text.data : "", text.n);
        buf_putc(&out, '}');
        call_reply(c, 200, &out);
    }
    buf_free(&text);
}

static void detokenize(call *c) {
    const json_t *body = call_json(c), *list = body ? body_get(body, "tokens") : NULL;
    size_t n = json_array_size(list);
    if (!body || !body_fits(c, "tokens", n, server_text_most(call_server(c)) / TEXT_OF_TOKEN, "tokens")) return;
    int32_t *tokens = mem_array(n + 1, sizeof *tokens);
    bool all = json_is_array(list);
    for (size_t i = 0; tokens && all && i < n; i++) {
        json_int_t id = json_integer_value(json_array_get(list, i));
        all = json_is_integer(json_array_get(list, i)) && id >= 0 && id <= INT32_MAX;
        tokens[i] = (int32_t)id;
    }
    if (!tokens)
        call_fail_error(c, &(pgr_error){.status = PGR_E_MEM});
    else if (!all)
        call_refuse(c, "tokens", "tokens: expected a list of token ids");
    else
        put_text(c, tokens, n);
    mem_free(tokens);
}

static const route ROUTES[] = {{"POST", "/v1/load_lora_adapter", load_adapter, .flags = 0},
                               {"POST", "/v1/unload_lora_adapter", unload_adapter, .flags = 0},
                               {"POST", "/tokenize", tokenize, .flags = 0},
                               {"POST", "/detokenize", detokenize, .flags = 0}};

pgr_status routes_model_add(pgr_server *s, pgr_error *err) {
    return server_add_routes(s, ROUTES, sizeof ROUTES / sizeof *ROUTES, err);
}
