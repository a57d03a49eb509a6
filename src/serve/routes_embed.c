/* routes_embed.c - what the server's embedder answers: /v1/embeddings (OpenAI), /pooling, /score and /rerank (vLLM). A
 * score is the cosine of two texts' vectors. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "serve/body.h"
#include "serve/embeds.h"

/* ---- vectors ---- */

static void put_vectors(const embeds *e, const char *kind, const char *object, const char *key, const float *v,
                        size_t dim, buf *out) {
    buf_putc(out, '{');
    embeds_put_head(e, kind, out);
    buf_puts(out, ",\"data\":[");
    for (size_t i = 0; i < e->n; i++) {
        buf_printf(out, "%s{\"object\":\"%s\",\"index\":%zu,\"%s\":", i ? "," : "", object, i, key);
        embeds_put_vector(e, v + i * dim, dim, out);
        buf_putc(out, '}');
    }
    buf_puts(out, "],");
    embeds_put_usage(e, out);
    buf_putc(out, '}');
}

static void put_embeddings(const embeds *e, const float *v, size_t dim, buf *out) {
    put_vectors(e, "embd", "embedding", "embedding", v, dim, out);
}

static void put_pooling(const embeds *e, const float *v, size_t dim, buf *out) {
    put_vectors(e, "pool", "pooling", "data", v, dim, out);
}

static void answer_vectors(call *c, void (*put)(const embeds *, const float *, size_t, buf *)) {
    const json_t *body = call_json(c);
    embeds *e = body ? embeds_create(c, put) : NULL;
    if (!e) return;
    if (embeds_read_others(c, body) && embeds_read_form(e, c, body) && embeds_add(e, c, body, "input"))
        call_submit(c, &e->task);
    else
        embeds_drop(e);
}

static void embed(call *c) {
    answer_vectors(c, put_embeddings);
}

static void pool(call *c) {
    answer_vectors(c, put_pooling);
}

/* ---- scores ---- */

static double cosine(const float *a, const float *b, size_t n) {
    double ab = 0, aa = 0, bb = 0;
    for (size_t i = 0; i < n; i++) {
        ab += (double)a[i] * (double)b[i];
        aa += (double)a[i] * (double)a[i];
        bb += (double)b[i] * (double)b[i];
    }
    return aa > 0 && bb > 0 ? ab / sqrt(aa * bb) : 0; /* a vector of zeros is like nothing */
}

/* Of the i-th text on the right with its one on the left, or with the only one there. */
static double score_of(const embeds *e, const float *v, size_t dim, size_t i) {
    size_t left = e->n_left == 1 ? 0 : i;
    return cosine(v + left * dim, v + (e->n_left + i) * dim, dim);
}

static void put_scores(const embeds *e, const float *v, size_t dim, buf *out) {
    buf_putc(out, '{');
    embeds_put_head(e, "score", out);
    buf_puts(out, ",\"data\":[");
    for (size_t i = 0; i < e->n - e->n_left; i++)
        buf_printf(out, "%s{\"index\":%zu,\"object\":\"score\",\"score\":%.9g}", i ? "," : "", i,
                   score_of(e, v, dim, i));
    buf_puts(out, "],");
    embeds_put_usage(e, out);
    buf_putc(out, '}');
}

/* The names that vLLM's clients give the two sides. */
static void score(call *c) {
    static const char *const sides[][2] = {
        {"text_1", "text_2"}, {"queries", "documents"}, {"queries", "items"}, {"data_1", "data_2"}};
    const json_t *body = call_json(c);
    embeds *e = body ? embeds_create(c, put_scores) : NULL;
    size_t k = 0;
    if (!e) return;
    while (k < 3 && !(body_get(body, sides[k][0]) && body_get(body, sides[k][1]))) k++;
    if (!body_get(body, sides[k][0])) k = 0;
    bool read = embeds_read_others(c, body) && embeds_add(e, c, body, sides[k][0]);
    e->n_left = e->n;
    read = read && embeds_add(e, c, body, sides[k][1]);
    size_t n_right = e->n - e->n_left;
    if (read && e->n_left != 1 && e->n_left != n_right) {
        call_refuse(c, sides[k][1], "%s: found %zu texts beside %zu, expected 1:N or N:N", sides[k][1], n_right,
                    e->n_left);
        read = false;
    }
    if (read)
        call_submit(c, &e->task);
    else
        embeds_drop(e);
}

/* ---- a ranking ---- */

typedef struct ranked {
    size_t index;
    double score;
} ranked;

static int by_score(const void *a, const void *b) {
    const ranked *x = a, *y = b;
    if (x->score != y->score) return x->score > y->score ? -1 : 1;
    return x->index < y->index ? -1 : 1;
}

/* (n) the best first, the caller's; NULL: no memory, which out says. */
static ranked *rank(const embeds *e, const float *v, size_t dim, size_t n, buf *out) {
    ranked *list = mem_array(n, sizeof *list);
    out->failed = out->failed || !list;
    for (size_t i = 0; list && i < n; i++) list[i] = (ranked){i, score_of(e, v, dim, i)};
    if (list) qsort(list, n, sizeof *list, by_score);
    return list;
}

/* The form of Text Embeddings Inference, which llama.cpp answers in, too, where `texts` are asked of. */
static void put_list(const embeds *e, const float *v, size_t dim, buf *out) {
    size_t n = e->n - 1, top = e->top && e->top < n ? e->top : n;
    ranked *list = rank(e, v, dim, n, out);
    buf_putc(out, '[');
    for (size_t i = 0; list && i < top; i++) {
        buf_printf(out, "%s{\"index\":%zu,\"score\":%.9g", i ? "," : "", list[i].index, list[i].score);
        if (e->shows) {
            buf_puts(out, ",\"text\":");
            json_put_string(out, e->texts[1 + list[i].index], e->lens[1 + list[i].index]);
        }
        buf_putc(out, '}');
    }
    buf_putc(out, ']');
    mem_free(list);
}

static void put_ranking(const embeds *e, const float *v, size_t dim, buf *out) {
    size_t n = e->n - 1, top = e->top && e->top < n ? e->top : n;
    ranked *list = rank(e, v, dim, n, out);
    if (!list) return;
    buf_putc(out, '{');
    embeds_put_head(e, "rerank", out);
    buf_puts(out, ",\"results\":[");
    for (size_t i = 0; i < top; i++) {
        buf_printf(out, "%s{\"index\":%zu,", i ? "," : "", list[i].index);
        if (e->shows) {
            buf_puts(out, "\"document\":{\"text\":");
            json_put_string(out, e->texts[1 + list[i].index], e->lens[1 + list[i].index]);
            buf_puts(out, "},");
        }
        buf_printf(out, "\"relevance_score\":%.9g}", list[i].score);
    }
    buf_puts(out, "],");
    embeds_put_usage(e, out);
    buf_putc(out, '}');
    mem_free(list);
}

static void rerank(call *c) {
    const json_t *body = call_json(c);
    bool texts = body_get(body, "texts") && !body_get(body, "documents");
    embeds *e = body ? embeds_create(c, texts ? put_list : put_ranking) : NULL;
    int64_t top = 0;
    if (!e) return;
    e->shows = !texts;
    bool read = embeds_read_others(c, body) && body_integer(c, body, "top_n", 0, INT32_MAX, &top)
                && body_flag(c, body, texts ? "return_text" : "return_documents", &e->shows)
                && embeds_add(e, c, body, "query");
    e->n_left = e->n;
    e->top = (size_t)top;
    if (read && e->n_left != 1) {
        call_refuse(c, "query", "query: expected one text");
        read = false;
    }
    if (read && embeds_add(e, c, body, texts ? "texts" : "documents"))
        call_submit(c, &e->task);
    else
        embeds_drop(e);
}

static const route ROUTES[] = {
    {"POST", "/v1/embeddings", embed, .flags = 0}, {"POST", "/pooling", pool, .flags = 0},
    {"POST", "/score", score, .flags = 0},         {"POST", "/v1/score", score, .flags = 0},
    {"POST", "/rerank", rerank, .flags = 0},       {"POST", "/v1/rerank", rerank, .flags = 0},
    {"POST", "/v2/rerank", rerank, .flags = 0},    {"POST", "/v1/reranking", rerank, .flags = 0},
};

pgr_status routes_embed_add(pgr_server *s, pgr_error *err) {
    return server_add_routes(s, ROUTES, sizeof ROUTES / sizeof *ROUTES, err);
}
