/* routes_embed.c - /v1/embeddings: texts as vectors, by the embedder that the server was given. */
#include <string.h>

#include "base/mem.h"
#include "serve/base64.h"
#include "serve/body.h"
#include "serve/server.h"

enum { INPUTS_MOST = 2048 };

typedef struct embedding {
    task task;
    const char **texts; /* (n) the body's */
    size_t *lens, n;
    pgr_embed_options o;
    bool base64;
} embedding;

static void free_embedding(task *t) {
    embedding *e = (embedding *)t;
    mem_free(e->texts);
    mem_free(e->lens);
    mem_free(e);
}

static void put_vector(const embedding *e, const float *v, size_t dim, buf *out) {
    if (e->base64) { /* little-endian, as every processor that we are built for */
        buf_putc(out, '"');
        base64_put(out, v, dim * sizeof *v);
        buf_putc(out, '"');
        return;
    }
    buf_putc(out, '[');
    for (size_t i = 0; i < dim; i++) buf_printf(out, i ? ",%.9g" : "%.9g", (double)v[i]);
    buf_putc(out, ']');
}

static void put_answer(const embedding *e, const pgr_embedder *by, const float *v, size_t dim,
                       const pgr_embedded *counts, buf *out) {
    size_t tokens = 0;
    const char *name = pgr_embedder_name(by);
    buf_puts(out, "{\"object\":\"list\",\"data\":[");
    for (size_t i = 0; i < e->n; i++) {
        buf_puts(out, i ? ",{\"object\":\"embedding\"," : "{\"object\":\"embedding\",");
        buf_printf(out, "\"index\":%zu,\"embedding\":", i);
        put_vector(e, v + i * dim, dim, out);
        buf_putc(out, '}');
        tokens += counts[i].tokens;
    }
    buf_puts(out, "],\"model\":");
    json_put_string(out, name, strlen(name));
    buf_printf(out, ",\"usage\":{\"prompt_tokens\":%zu,\"total_tokens\":%zu}}", tokens, tokens);
}

static pgr_status begin(task *t, pgr_error *err) {
    embedding *e = (embedding *)t;
    pgr_embedder *by = call_server(t->call)->what.embedder;
    size_t dim = e->o.dim ? e->o.dim : pgr_embedder_dims(by), read = 0;
    float *v = mem_array(e->n * dim, sizeof *v);
    pgr_embedded *counts = mem_zero(e->n, sizeof *counts);
    pgr_status s = v && counts ? pgr_embed(by, e->texts, e->lens, e->n, &e->o, v, counts, err) : fail_mem(err);
    for (size_t i = 0; s == PGR_OK && i < e->n && s == PGR_OK; i++) {
        read += counts[i].tokens;
        if (counts[i].cut)
            s = fail(err, PGR_E_LIMIT, "input[%zu]: found %zu tokens, expected at most %zu", i,
                     counts[i].tokens + counts[i].cut, pgr_embedder_max_tokens(by));
    }
    if (s == PGR_OK) {
        buf out = {0};
        put_answer(e, by, v, dim, counts, &out);
        call_note_tokens(t->call, read, 0);
        call_reply(t->call, 200, &out);
        task_end(t);
    }
    mem_free(v);
    mem_free(counts);
    return s;
}

static const task_kind EMBEDDING = {"embedding", begin, NULL, NULL, NULL, free_embedding};

static bool read_input(embedding *e, call *c, const json_t *body) {
    const json_t *input = body_get(body, "input");
    if (!input || json_is_integer(json_array_get(input, 0)) || json_is_array(json_array_get(input, 0))) {
        call_refuse(c, "input", "input: expected a text or a list of texts; tokens are not taken");
        return false;
    }
    if (!body_texts(c, body, "input", INPUTS_MOST, &e->texts, &e->n)) return false;
    e->lens = mem_array(e->n + 1, sizeof *e->lens);
    for (size_t i = 0; e->lens && i < e->n; i++) e->lens[i] = strlen(e->texts[i]);
    if (!e->lens) call_fail_error(c, &(pgr_error){.status = PGR_E_MEM});
    if (e->lens && e->n == 0) call_refuse(c, "input", "input: expected at least one text");
    return e->lens && e->n > 0;
}

static bool read_form(embedding *e, call *c, const json_t *body, const pgr_embedder *by) {
    const char *format = "float", *model = NULL;
    int64_t dim = 0;
    if (!body_text(c, body, "encoding_format", &format) || !body_text(c, body, "model", &model)
        || !body_integer(c, body, "dimensions", 1, (int64_t)pgr_embedder_dims(by), &dim))
        return false;
    e->base64 = strcmp(format, "base64") == 0;
    e->o.dim = (size_t)dim;
    if (e->base64 || strcmp(format, "float") == 0) return true;
    call_refuse(c, "encoding_format", "encoding_format: expected float or base64");
    return false;
}

static void embed(call *c) {
    const json_t *body = call_json(c);
    const pgr_embedder *by = call_server(c)->what.embedder;
    if (!body) return;
    if (!by) {
        call_fail(c, 501, "invalid_request_error", NULL, "no_embedder", "the server has no embedder (--embeddings)");
        return;
    }
    embedding *e = mem_zero(1, sizeof *e);
    if (!e) {
        call_fail_error(c, &(pgr_error){.status = PGR_E_MEM});
        return;
    }
    e->task.kind = &EMBEDDING;
    e->o = pgr_embed_options_default();
    if (read_form(e, c, body, by) && read_input(e, c, body))
        call_submit(c, &e->task);
    else
        free_embedding(&e->task);
}

static const route ROUTES[] = {{"POST", "/v1/embeddings", embed, .flags = 0}};

pgr_status routes_embed_add(pgr_server *s, pgr_error *err) {
    return server_add_routes(s, ROUTES, 1, err);
}
