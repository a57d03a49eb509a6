/* gen_put.c - answers in OpenAI's forms: chat.completion, text_completion and the chunks of their streams, with every
 * field that OpenAI's types require. */
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "base/text.h"
#include "serve/gen.h"

static const double FLOOR = -9999; /* JSON has no -inf, and nothing is known of tokens that the program has written */

/* Digits enough for the float that it was. */
static void put_number(buf *out, double logprob) {
    buf_printf(out, "%.9g", logprob >= FLOOR ? logprob + 0.0 : FLOOR); /* NaN, too */
}

/* ---- tokens ---- */

/* The token's bytes; the caller's (pgr_free). NULL: there are none to be had, or (out has failed then) no memory. */
static char *token_bytes(const gen *g, int32_t token, size_t *n, buf *out) {
    char *text = NULL;
    *n = 0;
    const pgr_model *model = call_server(g->task.call)->what.model;
    pgr_status s = model ? pgr_detokenize(model, &token, 1, &text, n, NULL) : PGR_E_UNSUPPORTED;
    out->failed |= s == PGR_E_MEM;
    return s == PGR_OK ? text : NULL;
}

static void put_bytes(buf *out, const char *text, size_t n) {
    buf_puts(out, ",\"bytes\":[");
    for (size_t i = 0; i < n; i++) buf_printf(out, i ? ",%u" : "%u", (unsigned)(unsigned char)text[i]);
    buf_puts(out, "]");
}

static void put_id(int32_t token, buf *out) {
    buf_printf(out, "\"token_id:%d\"", (int)token);
}

static void put_token(const gen *g, int32_t token, double logprob, buf *out) {
    size_t n;
    char *text = token_bytes(g, token, &n, out);
    buf_puts(out, "{\"token\":");
    if (g->by_id)
        put_id(token, out);
    else
        json_put_string(out, text ? text : "", n);
    buf_puts(out, ",\"logprob\":");
    put_number(out, logprob);
    put_bytes(out, text ? text : "", n);
    pgr_free(text);
}

/* Of tokens from one on: as lists beside each other, which both of the following forms are made of. */
typedef struct written {
    const int32_t *tokens;
    const float *logprobs;
    const infer_top *tops; /* (n, n_top) NULL: none */
    size_t n, n_top;
    bool given; /* they are the prompt's: nothing is known of the first one */
} written;

static void put_chat_logprobs(const gen *g, const written *w, buf *out) {
    buf_puts(out, "{\"content\":[");
    for (size_t i = 0; i < w->n; i++) {
        if (i) buf_putc(out, ',');
        put_token(g, w->tokens[i], (double)w->logprobs[i], out);
        buf_puts(out, ",\"top_logprobs\":[");
        for (size_t k = 0; k < w->n_top && w->tops[i * w->n_top + k].token >= 0; k++) {
            const infer_top *top = &w->tops[i * w->n_top + k];
            if (k) buf_putc(out, ',');
            put_token(g, top->token, (double)top->logprob, out);
            buf_putc(out, '}');
        }
        buf_puts(out, "]}");
    }
    buf_puts(out, "],\"refusal\":null}");
}

/* A token that is no whole character, or has a NUL, which some readers take in no key, is named by its bytes, as the
 * names are keys: "bytes:\\xE2\\x82". */
static void put_name(const gen *g, int32_t token, buf *out) {
    size_t n;
    if (g->by_id) {
        put_id(token, out);
        return;
    }
    char *text = token_bytes(g, token, &n, out);
    if (!text || (utf8_valid(text, n) && !memchr(text, '\0', n))) {
        json_put_string(out, text ? text : "", n);
    } else {
        buf_puts(out, "\"bytes:");
        for (size_t i = 0; i < n; i++) buf_printf(out, "\\\\x%02X", (unsigned)(unsigned char)text[i]);
        buf_putc(out, '"');
    }
    pgr_free(text);
}

/* One list of the text form: what `put` says of each of the tokens of both parts. */
static void put_list(const gen *g, const written *parts, size_t n_part, buf *out,
                     void (*put)(const gen *g, const written *w, size_t i, buf *out)) {
    bool any = false;
    buf_putc(out, '[');
    for (size_t k = 0; k < n_part; k++)
        for (size_t i = 0; i < parts[k].n; i++) {
            if (any) buf_putc(out, ',');
            put(g, &parts[k], i, out);
            any = true;
        }
    buf_putc(out, ']');
}

static void put_one_name(const gen *g, const written *w, size_t i, buf *out) {
    put_name(g, w->tokens[i], out);
}

static void put_one_logprob(const gen *g, const written *w, size_t i, buf *out) {
    (void)g;
    if (w->given && i == 0)
        buf_puts(out, "null");
    else
        put_number(out, (double)w->logprobs[i]);
}

static void put_one_of_tops(const gen *g, int32_t token, double logprob, size_t k, buf *out) {
    if (k) buf_putc(out, ',');
    put_name(g, token, out);
    buf_putc(out, ':');
    put_number(out, logprob);
}

static void put_one_top(const gen *g, const written *w, size_t i, buf *out) {
    if (w->given && i == 0) {
        buf_puts(out, "null");
        return;
    }
    bool written = !g->r.tell; /* of tokens that were named, the one that stands there is told, too */
    size_t k = 0;
    buf_putc(out, '{');
    for (; k < w->n_top && w->tops[i * w->n_top + k].token >= 0; k++) {
        const infer_top *top = &w->tops[i * w->n_top + k];
        put_one_of_tops(g, top->token, (double)top->logprob, k, out);
        written = written || top->token == w->tokens[i];
    }
    if (!written) put_one_of_tops(g, w->tokens[i], (double)w->logprobs[i], k, out);
    buf_putc(out, '}');
}

static void put_offsets(const gen *g, const written *parts, size_t n_part, buf *out) {
    size_t at = 0;
    bool any = false;
    buf_putc(out, '[');
    for (size_t k = 0; k < n_part; k++)
        for (size_t i = 0; i < parts[k].n; i++) {
            size_t n;
            buf_printf(out, any ? ",%zu" : "%zu", at);
            pgr_free(token_bytes(g, parts[k].tokens[i], &n, out));
            at += n;
            any = true;
        }
    buf_putc(out, ']');
}

static void put_text_logprobs(const gen *g, const written *parts, size_t n_part, buf *out) {
    buf_puts(out, "{\"tokens\":");
    put_list(g, parts, n_part, out, put_one_name);
    buf_puts(out, ",\"text_offset\":");
    put_offsets(g, parts, n_part, out);
    buf_puts(out, ",\"token_logprobs\":");
    put_list(g, parts, n_part, out, put_one_logprob);
    buf_puts(out, ",\"top_logprobs\":");
    if (g->r.n_top > 0)
        put_list(g, parts, n_part, out, put_one_top);
    else
        buf_puts(out, "null");
    buf_putc(out, '}');
}

/* A chat has one part, a text may have two: the prompt and the chain. */
static void put_logprobs(const gen *g, const written *parts, size_t n_part, buf *out) {
    buf_puts(out, ",\"logprobs\":");
    if (!g->logprobs)
        buf_puts(out, "null");
    else if (g->chat)
        put_chat_logprobs(g, parts, out);
    else
        put_text_logprobs(g, parts, n_part, out);
}

/* ---- the tokens' numbers ---- */

static void put_ids(const char *key, const int32_t *tokens, size_t n, buf *out) {
    buf_printf(out, ",\"%s\":[", key);
    for (size_t i = 0; i < n; i++) buf_printf(out, i ? ",%d" : "%d", (int)tokens[i]);
    buf_putc(out, ']');
}

/* A chain from its token `from` on, in memory of its own, with the token that ended its turn as the last one. */
typedef struct ended {
    written w;
    int32_t *tokens;
    float *logprobs;
    infer_top *tops;
} ended;

static void free_ended(ended *e) {
    mem_free(e->tokens);
    mem_free(e->logprobs);
    mem_free(e->tops);
}

static ended end_chain(const gen *g, const infer_chain *c, size_t from, buf *out) {
    size_t n = c->tokens.n - from, n_top = g->r.n_top;
    ended e = {.tokens = mem_array(n + 1, sizeof *e.tokens),
               .logprobs = mem_array(n + 1, sizeof *e.logprobs),
               .tops = mem_array((n + 1) * n_top + 1, sizeof *e.tops)};
    if (!e.tokens || !e.logprobs || !e.tops) {
        out->failed = true;
        return e;
    }
    bool tops = n_top > 0 && (c->tops || n == 0);
    if (n > 0) memcpy(e.tokens, c->tokens.v + from, n * sizeof *e.tokens);
    if (n > 0) memcpy(e.logprobs, c->logprobs + from, n * sizeof *e.logprobs);
    if (n > 0 && tops) memcpy(e.tops, c->tops + from * n_top, n * n_top * sizeof *e.tops);
    if (c->end >= 0) {
        e.tokens[n] = c->end;
        e.logprobs[n] = c->end_logprob;
        for (size_t k = 0; k < n_top; k++) e.tops[n * n_top + k] = (infer_top){k ? -1 : c->end, c->end_logprob};
        n++;
    }
    e.w = (written){e.tokens, e.logprobs, e.tops, n, tops ? n_top : 0, false};
    return e;
}

/* ---- what all forms have ---- */

static void put_head(const gen *g, const char *object, buf *out) {
    buf_printf(out, "{\"id\":\"%s\",\"object\":\"%s\",\"created\":%lld,\"model\":", g->id, object,
               (long long)g->created);
    json_put_string(out, served_name(g->model), strlen(served_name(g->model)));
    buf_puts(out, ",\"system_fingerprint\":\"pgenrm-" PGR_VERSION "\",\"choices\":[");
}

static void put_finish(const gen *g, const infer_chain *c, buf *out) {
    const char *by = c->finish == PGR_FINISH_DEADLINE ? "deadline"
                     : c->stopped_by > 0              ? g->r.stop[c->stopped_by - 1]
                                                      : NULL;
    buf_puts(out, c->finish == PGR_FINISH_STOP ? ",\"finish_reason\":\"stop\"" : ",\"finish_reason\":\"length\"");
    buf_puts(out, ",\"stop_reason\":");
    if (by)
        json_put_string(out, by, strlen(by));
    else
        buf_puts(out, "null");
    buf_putc(out, '}');
}

static void put_usage(const gen *g, buf *out) {
    size_t prompt = 0, cached = 0, written = 0;
    for (size_t i = 0; i < g->n_prompt; i++) {
        const infer_result *r = g->prompts[i].result;
        prompt += r->prompt.n;
        cached += r->usage.cached_tokens;
        for (size_t k = 0; k < r->n_chain; k++) written += r->chains[k].tokens.n;
    }
    buf_printf(out, "\"usage\":{\"prompt_tokens\":%zu,\"completion_tokens\":%zu,\"total_tokens\":%zu", prompt, written,
               prompt + written);
    if (!access_has_several(call_server(g->task.call)->access)) /* a prefix may be known from another's prompt */
        buf_printf(out, ",\"prompt_tokens_details\":{\"cached_tokens\":%zu}", cached);
    buf_putc(out, '}');
}

/* ---- whole answers ---- */

/* Tokens as the text that they are. */
static void add_prompt(const gen *g, const gen_prompt *p, buf *out) {
    char *text = NULL;
    size_t n = 0;
    if (!p->tokens) {
        buf_add(out, p->text, p->n_text);
        return;
    }
    const pgr_model *model = call_server(g->task.call)->what.model;
    if (!model || pgr_detokenize(model, p->tokens, p->n_token, &text, &n, NULL) != PGR_OK)
        out->failed = true;
    else
        buf_add(out, text, n);
    pgr_free(text);
}

static void put_choice(const gen *g, size_t choice, const gen_prompt *p, const infer_chain *c, buf *out) {
    const char *text = c->text.data ? c->text.data : "";
    if (choice) buf_putc(out, ',');
    buf_printf(out, "{\"index\":%zu,", choice);
    if (g->chat) {
        buf_puts(out, "\"message\":{\"role\":\"assistant\",\"content\":");
        json_put_string(out, text, c->text.n);
        buf_puts(out, ",\"refusal\":null}");
    } else {
        buf all = {0};
        if (g->echo) add_prompt(g, p, &all);
        buf_add(&all, text, c->text.n);
        buf_puts(out, "\"text\":");
        json_put_string(out, all.data ? all.data : "", all.n);
        out->failed |= all.failed;
        buf_free(&all);
    }
    const ids *read = &p->result->prompt;
    ended all = {.w = {c->tokens.v, c->logprobs, c->tops, c->tokens.n, g->r.n_top, false}};
    if (g->ids) all = end_chain(g, c, 0, out);
    written parts[] = {{read->v, p->logprobs, p->tops, read->n, g->r.n_top, true}, all.w};
    if (g->echo)
        put_logprobs(g, parts, 2, out);
    else
        put_logprobs(g, parts + 1, 1, out);
    if (g->ids) put_ids("token_ids", all.w.tokens, all.w.n, out);
    if (g->ids && !g->chat) put_ids("prompt_token_ids", read->v, read->n, out);
    put_finish(g, c, out);
    free_ended(&all);
}

void gen_put(const gen *g, buf *out) {
    put_head(g, g->chat ? "chat.completion" : "text_completion", out);
    for (size_t i = 0; i < g->n_prompt; i++) {
        const infer_result *r = g->prompts[i].result;
        for (size_t k = 0; k < r->n_chain; k++)
            put_choice(g, i * g->r.n_sample + k, &g->prompts[i], &r->chains[k], out);
    }
    buf_puts(out, "],");
    put_usage(g, out);
    if (g->ids && g->chat) put_ids("prompt_token_ids", g->prompts->result->prompt.v, g->prompts->result->prompt.n, out);
    buf_puts(out, "}");
}

/* ---- streams ---- */

static void begin_event(const gen *g, buf *out) {
    buf_puts(out, "data: ");
    put_head(g, g->chat ? "chat.completion.chunk" : "text_completion", out);
}

/* Where usage is asked for, all chunks but the last have it as null. prompt: its tokens are told here; NULL: not. */
static void end_event_of(const gen *g, const ids *prompt, buf *out) {
    buf_putc(out, ']');
    if (g->usage) buf_puts(out, ",\"usage\":null");
    if (prompt) put_ids("prompt_token_ids", prompt->v, prompt->n, out);
    buf_puts(out, "}\n\n");
}

static void end_event(const gen *g, buf *out) {
    end_event_of(g, NULL, out);
}

/* A choice's first chunk: of a chat, and of a text whose prompt's tokens are told. */
static void put_first(const gen *g, size_t choice, buf *out) {
    const ids *prompt = g->ids ? &g->prompts[choice / g->r.n_sample].read : NULL;
    begin_event(g, out);
    buf_printf(out,
               g->chat ? "{\"index\":%zu,\"delta\":{\"role\":\"assistant\",\"content\":\"\"}"
                       : "{\"index\":%zu,\"text\":\"\"",
               choice);
    if (prompt && !g->chat) put_ids("prompt_token_ids", prompt->v, prompt->n, out);
    buf_puts(out, ",\"logprobs\":null,\"finish_reason\":null}");
    end_event_of(g, g->chat ? prompt : NULL, out);
}

void gen_put_begin(const gen *g, buf *out) {
    for (size_t i = 0; (g->chat || g->ids) && i < g->n_prompt * g->r.n_sample; i++) put_first(g, i, out);
}

void gen_put_piece(const gen *g, size_t choice, const infer_event *e, buf *out) {
    if (e->n_text == 0 && !g->logprobs && !(g->ids && e->n_token > 0)) return;
    begin_event(g, out);
    buf_printf(out, g->chat ? "{\"index\":%zu,\"delta\":{\"content\":" : "{\"index\":%zu,\"text\":", choice);
    json_put_string(out, e->text, e->n_text);
    if (g->chat) buf_puts(out, "}");
    put_logprobs(g, &(written){e->tokens, e->logprobs, e->tops, e->n_token, g->r.n_top, false}, 1, out);
    if (g->ids) put_ids("token_ids", e->tokens, e->n_token, out);
    buf_puts(out, ",\"finish_reason\":null}");
    end_event(g, out);
}

void gen_put_end(const gen *g, size_t choice, const infer_chain *c, buf *out) {
    begin_event(g, out);
    buf_printf(out, g->chat ? "{\"index\":%zu,\"delta\":{}" : "{\"index\":%zu,\"text\":\"\"", choice);
    if (g->ids && c->end >= 0) {
        ended last = end_chain(g, c, c->tokens.n, out);
        put_logprobs(g, &last.w, 1, out);
        put_ids("token_ids", last.w.tokens, last.w.n, out);
        free_ended(&last);
    } else {
        buf_puts(out, ",\"logprobs\":null");
    }
    put_finish(g, c, out);
    end_event(g, out);
}

void gen_put_last(const gen *g, buf *out) {
    if (g->usage) {
        begin_event(g, out);
        buf_puts(out, "],");
        put_usage(g, out);
        buf_puts(out, "}\n\n");
    }
    buf_puts(out, "data: [DONE]\n\n");
}
