/* chat_server.h - for tests: a server (hub_server.h) with a model "m", which answers chats as OpenAI's API says: with
 * the texts that a test gives it, or as badly as the test wants. It knows the probe of remote engines by its 8 tokens,
 * and keeps to the probe's grammar where it takes one. */
#ifndef PGR_TESTS_NET_CHAT_SERVER_H
#define PGR_TESTS_NET_CHAT_SERVER_H

#include "../hub/hub_server.h"

#include "base/buf.h"
#include "base/json.h"

enum { CHAT_TEXTS = 16, CHAT_PROBE_TOKENS = 8 };

typedef struct chat_server {
    server *s;
    char url[60], models[300];
    bool one_choice;               /* whatever n is asked for */
    const char *grammar;           /* the member that it takes a grammar by; NULL: it takes none */
    const char *refuses;           /* a member that it answers 400 to; NULL: none */
    const char *raw;               /* every answer to a request that is no probe; NULL: made of texts */
    const char *texts[CHAT_TEXTS]; /* (n) in turn */
    size_t n, next;
    /* in the place of them: of choice k, memory of malloc. NULL: texts */
    char *(*write)(void *ctx, const char *posted, size_t k);
    void *ctx;
    const char *finish;
    const char *logprobs; /* of every choice; NULL: none */
    int n_asked, n_probe; /* requests that are no probe; that are */
    uint64_t seeds[64];
    char last[4000]; /* what was posted last */
} chat_server;

static inline char *chat_hand_out(buf *b) {
    char *out = strdup(b->data);
    buf_free(b);
    return out;
}

static inline void chat_put_choice(buf *b, chat_server *f, size_t i, const char *posted, bool probe, bool held) {
    char *made = !probe && f->write ? f->write(f->ctx, posted, i) : NULL;
    const char *text = probe ? (held ? "zq7" : "Hello.") : made ? made : f->texts[f->next++ % (f->n ? f->n : 1)];
    buf_printf(b, "%s{\"index\":%zu,\"message\":{\"role\":\"assistant\",\"content\":", i ? "," : "", i);
    json_put_string(b, text, strlen(text));
    buf_printf(b, "},\"finish_reason\":\"%s\"", f->finish ? f->finish : "stop");
    if (f->logprobs) buf_printf(b, ",\"logprobs\":%s", f->logprobs);
    buf_putc(b, '}');
    free(made);
}

static inline char *chat_refuse(const char *name, int *status) {
    buf b = {0};
    *status = 400;
    buf_printf(&b, "{\"error\":{\"message\":\"unknown member %s\"}}", name);
    return chat_hand_out(&b);
}

static inline char *chat_answer(void *ctx, const char *posted, size_t n, int *status) {
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    chat_server *f = ctx;
    json_t *v = json_loadb(posted, n, 0, NULL);
    pthread_mutex_lock(&lock);
    size_t count = (size_t)json_integer_value(json_object_get(v, "n"));
    if (count == 0 || f->one_choice) count = 1;
    bool probe = json_integer_value(json_object_get(v, "max_tokens")) == CHAT_PROBE_TOKENS;
    bool held = f->grammar && json_object_get(v, f->grammar);
    char *out = NULL;
    buf b = {0};
    snprintf(f->last, sizeof f->last, "%s", posted);
    if (probe)
        f->n_probe++;
    else if (f->n_asked++ < 64)
        f->seeds[f->n_asked - 1] = (uint64_t)json_integer_value(json_object_get(v, "seed"));
    if (f->refuses && json_object_get(v, f->refuses)) {
        out = chat_refuse(f->refuses, status);
    } else if (!probe && f->raw) {
        out = strdup(f->raw);
    } else {
        buf_puts(&b, "{\"choices\":[");
        for (size_t i = 0; i < count; i++) chat_put_choice(&b, f, i, posted, probe, held);
        buf_printf(&b, "],\"usage\":{\"prompt_tokens\":11,\"completion_tokens\":%zu}}", 3 * count);
        out = chat_hand_out(&b);
    }
    pthread_mutex_unlock(&lock);
    json_decref(v);
    return out;
}

/* It listens, as a server of that owner; what it answers is asked for again and again. The route is that of chats. */
static inline hub_route *chat_begin(chat_server *f, const char *owner) {
    f->s = server_start();
    hub_route *r = server_route(f->s, "/v1/chat/completions", "", 0);
    r->make = chat_answer;
    r->ctx = f;
    snprintf(f->models, sizeof f->models,
             "{\"data\":[{\"id\":\"m\",\"owned_by\":\"%s\",\"max_model_len\":2048},{\"id\":\"second\"}]}", owner);
    server_route(f->s, "/v1/models", f->models, strlen(f->models));
    snprintf(f->url, sizeof f->url, "http://127.0.0.1:%d/v1", f->s->port);
    return r;
}

#endif
