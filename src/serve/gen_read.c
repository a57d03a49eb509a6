/* gen_read.c - the fields of a request for chains. What is unknown is passed over, as OpenAI's clients expect; what is
 * known and would change the answer, but is not to be had here, is refused by its name. */
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "base/text.h"
#include "serve/body.h"
#include "serve/gen.h"

static bool out_of_memory(call *c) {
    call_fail_error(c, &(pgr_error){.status = PGR_E_MEM});
    return false;
}

/* ---- sampling ---- */

static bool read_sampling(gen *g, call *c, const json_t *o) {
    double temperature = 1, top_p = 1, min_p = 0;
    int64_t top_k = 0, seed = -1;
    if (!body_number(c, o, "temperature", 0, 100, &temperature) || !body_number(c, o, "top_p", 0, 1, &top_p)
        || !body_number(c, o, "min_p", 0, 1, &min_p) || !body_integer(c, o, "top_k", -1, 1 << 24, &top_k)
        || !body_integer(c, o, "seed", INT64_MIN, INT64_MAX, &seed))
        return false;
    if (top_p == 0) {
        call_refuse(c, "top_p", "top_p: found 0, expected more");
        return false;
    }
    g->r.sampling = (pgr_sampling){.temperature = (float)temperature,
                                   .top_k = top_k > 0 ? (int)top_k : 0,
                                   .top_p = (float)top_p,
                                   .min_p = (float)min_p};
    if (body_get(o, "seed")) g->r.seed = (uint64_t)seed;
    return true;
}

static bool read_limits(gen *g, call *c, const json_t *o) {
    int64_t n = 1, most = 0;
    const char *limit = g->chat && body_get(o, "max_completion_tokens") ? "max_completion_tokens" : "max_tokens";
    if (!body_integer(c, o, "n", 1, GEN_SAMPLES, &n) || !body_integer(c, o, limit, g->chat ? 1 : 0, 1 << 24, &most)
        || !body_flag(c, o, "ignore_eos", &g->r.ignore_eos))
        return false;
    g->r.n_sample = (size_t)n;
    g->alone = most == 0 && body_get(o, limit);
    g->r.shorten = most == 0;
    g->r.max_tokens = most ? (size_t)most : g->chat ? GEN_TOKENS : 16; /* 16: OpenAI's for completions */
    const char **stops = NULL;
    if (!body_texts(c, o, "stop", GEN_STOPS, &stops, &g->r.n_stop)) return false;
    const char **kept = arena_array(&g->arena, g->r.n_stop + 1, sizeof *kept);
    bool empty = false;
    for (size_t i = 0; kept && i < g->r.n_stop; i++) {
        kept[i] = stops[i];
        empty = empty || !*stops[i];
    }
    mem_free(stops);
    g->r.stop = kept;
    if (empty) call_refuse(c, "stop", "stop: found an empty text, expected one to stop at");
    return kept ? !empty : out_of_memory(c);
}

/* logprob_token_ids: these are told in the place of the likeliest ones, as vLLM does. */
static bool read_tell(gen *g, call *c, const json_t *o) {
    static const char KEY[] = "logprob_token_ids";
    const json_t *list = body_get(o, KEY);
    size_t n = json_array_size(list), n_vocab = engine_about(call_server(c)->what.engine)->n_vocab;
    if (!list || (json_is_array(list) && n == 0)) return true;
    if (!json_is_array(list) || n > INFER_TELL || !g->logprobs) {
        call_refuse(c, KEY, "%s: expected a list of at most %d tokens, and logprobs beside it", KEY, INFER_TELL);
        return false;
    }
    int32_t *tell = arena_array(&g->arena, n, sizeof *tell);
    if (!tell) return out_of_memory(c);
    for (size_t i = 0; i < n; i++) {
        const json_t *v = json_array_get(list, i);
        json_int_t id = json_is_integer(v) ? json_integer_value(v) : -1;
        if (id < 0 || id > INT32_MAX || (n_vocab && (uint64_t)id >= n_vocab)) {
            call_refuse(c, KEY, "%s[%zu]: expected a token, a whole number below %zu", KEY, i, n_vocab);
            return false;
        }
        tell[i] = (int32_t)id;
    }
    g->r.tell = tell;
    g->r.n_top = n;
    return true;
}

static bool read_logprobs(gen *g, call *c, const json_t *o) {
    int64_t top = 0;
    if (g->chat) {
        if (!body_flag(c, o, "logprobs", &g->logprobs) || !body_integer(c, o, "top_logprobs", 0, INFER_TOP, &top))
            return false;
        if (top > 0 && !g->logprobs) {
            call_refuse(c, "top_logprobs", "top_logprobs: needs logprobs");
            return false;
        }
    } else {
        if (!body_integer(c, o, "logprobs", 0, INFER_TOP, &top)) return false;
        g->logprobs = body_get(o, "logprobs") != NULL;
    }
    g->r.n_top = (size_t)top;
    g->r.want_forced = g->logprobs;
    return read_tell(g, c, o) && body_flag(c, o, "return_tokens_as_token_ids", &g->by_id)
           && body_flag(c, o, "return_token_ids", &g->ids);
}

static bool read_stream(gen *g, call *c, const json_t *o) {
    const json_t *options = body_get(o, "stream_options");
    if (!body_flag(c, o, "stream", &g->stream)) return false;
    if (options && !json_is_object(options)) {
        call_refuse(c, "stream_options", "stream_options: expected an object");
        return false;
    }
    g->r.stream = g->stream;
    return !options || body_flag(c, options, "include_usage", &g->usage);
}

/* What would change the text, and is not to be had. */
static bool refuse_others(call *c, const json_t *o) {
    static const char *const KEYS[] = {"logit_bias",
                                       "tools",
                                       "functions",
                                       "suffix",
                                       "audio",
                                       "use_beam_search",
                                       "continue_final_message",
                                       "chat_template",
                                       "stop_token_ids",
                                       "allowed_token_ids",
                                       "bad_words",
                                       "truncate_prompt_tokens",
                                       "include_stop_str_in_output"};
    bool begun = true;
    for (size_t i = 0; i < sizeof KEYS / sizeof *KEYS; i++)
        if (!body_idle(c, o, KEYS[i], NAN)) return false;
    if (!body_idle(c, o, "frequency_penalty", 0) || !body_idle(c, o, "presence_penalty", 0)
        || !body_idle(c, o, "repetition_penalty", 1) || !body_idle(c, o, "min_tokens", 0)
        || !body_idle(c, o, "prompt_logprobs", 0) || !body_idle(c, o, "best_of", 1)
        || !body_flag(c, o, "add_generation_prompt", &begun))
        return false;
    if (!begun) call_refuse(c, "add_generation_prompt", "add_generation_prompt: expected true");
    return begun;
}

/* ---- a chat's messages ---- */

static bool refuse_message(call *c, size_t i, const char *what) {
    char param[48];
    snprintf(param, sizeof param, "messages[%zu]", i);
    call_refuse(c, param, "%s: %s", param, what);
    return false;
}

/* The texts of a list of parts, one after the other. */
static bool read_parts(gen *g, call *c, size_t i, const json_t *parts, infer_message *out) {
    size_t n = 0;
    for (size_t k = 0; k < json_array_size(parts); k++) {
        const json_t *part = json_array_get(parts, k);
        const char *type = json_string_value(json_object_get(part, "type"));
        const json_t *text = json_object_get(part, "text");
        if (!type || strcmp(type, "text") != 0 || !json_is_string(text))
            return refuse_message(c, i, "expected parts of the type text");
        n += json_string_length(text);
    }
    char *all = arena_alloc(&g->arena, n + 1), *at = all;
    if (!all) return out_of_memory(c);
    for (size_t k = 0; k < json_array_size(parts); k++) {
        const json_t *text = json_object_get(json_array_get(parts, k), "text");
        memcpy(at, json_string_value(text), json_string_length(text));
        at += json_string_length(text);
    }
    out->text = all;
    out->n = n;
    return true;
}

static bool read_message(gen *g, call *c, size_t i, const json_t *v, infer_message *out) {
    static const char *const roles[][2] = {
        {"system", "system"}, {"developer", "system"}, {"user", "user"}, {"assistant", "assistant"}};
    const char *role = json_string_value(json_object_get(v, "role"));
    const json_t *content = body_get(v, "content");
    for (size_t k = 0; role && k < 4; k++)
        if (strcmp(roles[k][0], role) == 0) out->role = roles[k][1];
    if (!out->role) return refuse_message(c, i, "expected the role system, developer, user or assistant");
    if (!body_idle(c, v, "tool_calls", NAN)) return false;
    if (json_is_array(content)) return read_parts(g, c, i, content, out);
    if (content && !json_is_string(content))
        return refuse_message(c, i, "content: expected a text, or a list of parts");
    out->text = content ? json_string_value(content) : "";
    out->n = content ? json_string_length(content) : 0;
    return true;
}

bool gen_read_messages(gen *g, call *c, const json_t *o) {
    const json_t *list = body_get(o, "messages");
    size_t n = json_array_size(list);
    if (!json_is_array(list) || n == 0) {
        call_refuse(c, "messages", "messages: expected a list of at least one message");
        return false;
    }
    g->n_prompt = 1;
    g->prompts = arena_array(&g->arena, 1, sizeof *g->prompts);
    infer_message *messages = arena_array(&g->arena, n, sizeof *messages);
    if (!g->prompts || !messages) {
        g->n_prompt = 0;
        return out_of_memory(c);
    }
    g->prompts->messages = messages;
    g->prompts->n_message = n;
    size_t n_byte = 0;
    for (size_t i = 0; i < n; i++) {
        if (!read_message(g, c, i, json_array_get(list, i), &messages[i])) return false;
        n_byte += messages[i].n;
    }
    return body_fits(c, "messages", n_byte, server_text_most(call_server(c)), "bytes of text");
}

/* ---- a completion's prompts ---- */

static bool refuse_prompt(call *c) {
    call_refuse(c, "prompt",
                "prompt: expected a text, a list of texts, a list of tokens, or a list of lists of tokens, "
                "at most %d of them",
                GEN_PROMPTS);
    return false;
}

static bool read_tokens(gen *g, call *c, const json_t *list, gen_prompt *out) {
    size_t n = json_array_size(list);
    out->tokens = arena_array(&g->arena, n + 1, sizeof *out->tokens);
    if (!out->tokens) return out_of_memory(c);
    for (size_t i = 0; i < n; i++) {
        const json_t *v = json_array_get(list, i);
        if (!json_is_integer(v) || json_integer_value(v) < 0 || json_integer_value(v) > INT32_MAX)
            return refuse_prompt(c);
        out->tokens[i] = (int32_t)json_integer_value(v);
    }
    out->n_token = n;
    return n > 0 || refuse_prompt(c);
}

static bool read_prompt(gen *g, call *c, const json_t *v, gen_prompt *out) {
    if (json_is_array(v)) return read_tokens(g, c, v, out);
    if (!json_is_string(v)) return refuse_prompt(c);
    out->text = json_string_value(v);
    out->n_text = json_string_length(v);
    return body_fits(c, "prompt", out->n_text, server_text_most(call_server(c)), "bytes");
}

static bool read_prompts(gen *g, call *c, const json_t *o) {
    const json_t *v = body_get(o, "prompt");
    bool several = json_is_array(v) && !json_is_integer(json_array_get(v, 0));
    size_t n = several ? json_array_size(v) : 1;
    if (!v || n == 0 || n > GEN_PROMPTS) return refuse_prompt(c);
    g->prompts = arena_array(&g->arena, n, sizeof *g->prompts);
    if (!g->prompts) return out_of_memory(c);
    g->n_prompt = n;
    bool special = true;
    if (!body_flag(c, o, "add_special_tokens", &special)) return false;
    g->r.text_flags = PGR_TOKENS_SPECIAL | (special ? PGR_TOKENS_BOS : 0); /* as vLLM reads a prompt */
    for (size_t i = 0; i < n; i++)
        if (!read_prompt(g, c, several ? json_array_get(v, i) : v, &g->prompts[i])) return false;
    return true;
}

/* The prompt's log-probabilities are read by themselves, behind what is written. */
static bool read_echo(gen *g, call *c, const json_t *o) {
    if (!body_flag(c, o, "echo", &g->echo)) return false;
    if (g->alone && !g->echo) {
        call_refuse(c, "max_tokens", "max_tokens: found 0, expected at least 1 without echo");
        return false;
    }
    if (g->echo && g->stream) {
        call_refuse(c, "echo", "echo: not with stream");
        return false;
    }
    if (g->echo && g->r.tell) {
        call_refuse(c, "logprob_token_ids", "logprob_token_ids: not with echo");
        return false;
    }
    bool can = engine_about(call_server(c)->what.engine)->can & ENGINE_LOGPROBS;
    if (!g->echo || !g->logprobs || can) return true;
    call_fail(c, 501, "invalid_request_error", "echo", "no_logprobs", "echo: this engine reads no given text");
    return false;
}

/* ---- all of it ---- */

static bool read_model(gen *g, call *c, const json_t *o) {
    const char *name = NULL;
    if (!body_text(c, o, "model", &name)) return false;
    g->model = models_find(call_server(c)->models, name);
    if (!g->model) call_fail(c, 404, "invalid_request_error", "model", "model_not_found", "there is no model %s", name);
    return g->model != NULL;
}

/* What an engine behind an address does not hand over, or is not sure to keep to. */
static bool refuse_remote(const gen *g, call *c) {
    if (g->logprobs && !call_has_model(c, "logprobs")) return false;
    if (g->ids && !call_has_model(c, "return_token_ids")) return false;
    for (size_t i = 0; i < g->n_prompt; i++)
        if (g->prompts[i].tokens && !call_has_model(c, "a prompt of tokens")) return false;
    return true;
}

bool gen_read(gen *g, call *c, const json_t *o) {
    if (!read_model(g, c, o) || !read_sampling(g, c, o) || !read_limits(g, c, o) || !read_logprobs(g, c, o)
        || !read_stream(g, c, o) || !refuse_others(c, o) || !gen_format(g, c, o))
        return false;
    bool read = g->chat ? gen_read_messages(g, c, o) : read_prompts(g, c, o) && read_echo(g, c, o);
    return read && refuse_remote(g, c);
}
