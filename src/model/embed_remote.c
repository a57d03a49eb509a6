/* embed_remote.c - see embed_remote.h. Texts go in batches, several in flight. */
#include "model/embed_remote.h"

#include <math.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "base/watch.h"

enum { JOBS = 16, BATCH = 64, BATCH_BYTES = 1 << 18, STEP_MS = 50, DIMS_MOST = 1 << 20 };

struct remote_embedder {
    net_client *net;
    char *urls, *model;
    size_t dims;
};

bool embed_is_remote(const char *path) {
    return strncasecmp(path, "http://", 7) == 0 || strncasecmp(path, "https://", 8) == 0;
}

/* ---- an answer ---- */

static int base64_value(char c) {
    static const char LETTERS[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *at = c ? strchr(LETTERS, c) : NULL;
    return at ? (int)(at - LETTERS) : -1;
}

/* Floats of base64 text, as many as there is room for in out (most); false: it is none, or no whole number of them. */
static bool read_base64(const char *s, size_t n, float *out, size_t most, size_t *found) {
    uint32_t bits = 0, word = 0;
    size_t n_bit = 0, n_byte = 0;
    while (n > 0 && s[n - 1] == '=') n--;
    for (size_t i = 0; i < n; i++) {
        int v = base64_value(s[i]);
        if (v < 0) return false;
        bits = bits << 6 | (uint32_t)v;
        n_bit += 6;
        if (n_bit < 8) continue;
        n_bit -= 8;
        word |= (bits >> n_bit & 255) << 8 * (n_byte % 4);
        if (++n_byte % 4) continue;
        if (out && n_byte / 4 <= most) memcpy(&out[n_byte / 4 - 1], &word, 4);
        word = 0;
    }
    *found = n_byte / 4;
    return n_byte % 4 == 0;
}

static bool read_numbers(const json_t *list, float *out, size_t most, size_t *found) {
    *found = json_array_size(list);
    for (size_t i = 0; i < *found; i++) {
        const json_t *v = json_array_get(list, i);
        if (!json_is_number(v)) return false;
        if (out && i < most) out[i] = (float)json_number_value(v);
    }
    return true;
}

typedef struct reading {
    const char *origin;
    size_t n, dims;
    float *out; /* (n, dims) */
    bool *has;  /* (n) */
    pgr_error *err;
} reading;

static pgr_status read_one(reading *r, const json_t *v, size_t i) {
    const json_t *index = json_object_get(v, "index"), *e = json_object_get(v, "embedding");
    json_int_t at = index ? json_integer_value(index) : (json_int_t)i;
    size_t found = 0;
    if ((index && !json_is_integer(index)) || at < 0 || (size_t)at >= r->n || r->has[at])
        return fail(r->err, PGR_E_FORMAT, "%s: data[%zu].index is %lld, expected each of 0 to %zu once", r->origin, i,
                    (long long)at, r->n - 1);
    float *out = r->out ? r->out + (size_t)at * r->dims : NULL;
    bool good = json_is_string(e) ? read_base64(json_string_value(e), json_string_length(e), out, r->dims, &found)
                                  : json_is_array(e) && read_numbers(e, out, r->dims, &found);
    if (!good)
        return fail(r->err, PGR_E_FORMAT, "%s: data[%zu].embedding is no list of numbers, nor base64 of one", r->origin,
                    i);
    if (r->dims == 0) r->dims = found;
    if (found != r->dims || found == 0 || found > DIMS_MOST)
        return fail(r->err, PGR_E_FORMAT, "%s: data[%zu].embedding has %zu values, expected %zu", r->origin, i, found,
                    r->dims);
    for (size_t k = 0; out && k < found; k++)
        if (!isfinite(out[k]))
            return fail(r->err, PGR_E_FORMAT, "%s: data[%zu].embedding[%zu] is %g, expected a number", r->origin, i, k,
                        (double)out[k]);
    r->has[at] = true;
    return PGR_OK;
}

static pgr_status read_all(reading *r, const json_t *root, size_t *tokens) {
    const json_t *list = json_object_get(root, "data");
    const json_t *count = json_object_get(json_object_get(root, "usage"), "prompt_tokens");
    if (!json_is_array(list) || json_array_size(list) != r->n)
        return fail(r->err, PGR_E_FORMAT, "%s: data is %s of %zu, expected an array of %zu embeddings", r->origin,
                    json_kind(list), json_array_size(list), r->n);
    for (size_t i = 0; i < r->n; i++) PGR_TRY(read_one(r, json_array_get(list, i), i));
    *tokens = json_is_integer(count) && json_integer_value(count) > 0 ? (size_t)json_integer_value(count) : 0;
    return PGR_OK;
}

pgr_status embeddings_read(const char *text, size_t size, const char *origin, size_t n, size_t dims, float *out,
                           size_t *found, size_t *tokens, pgr_error *err) {
    json_t *root = NULL;
    reading r = {.origin = origin, .n = n, .dims = dims, .out = out, .err = err};
    r.has = mem_zero(n + 1, sizeof *r.has);
    if (!r.has) return fail_mem(err);
    pgr_status s = json_parse_nan(text ? text : "", size, origin, 1, &root, err);
    if (s == PGR_OK) s = read_all(&r, root, tokens);
    if (s == PGR_OK) *found = r.dims;
    json_decref(root);
    mem_free(r.has);
    return s;
}

/* ---- batches ---- */

typedef struct batch { /* texts first .. first + n - 1 in one request */
    net_job job;
    buf body;
    size_t first, n, bytes;
} batch;

typedef struct embedding {
    remote_embedder *e;
    const char *const *texts;
    const size_t *lens;
    float *out;
    size_t *tokens;
    pgr_error *err;
} embedding;

static void deal_tokens(const embedding *x, const batch *b, size_t all) {
    size_t before = 0;
    for (size_t i = 0; i < b->n; i++) {
        size_t n = x->lens[b->first + i];
        x->tokens[b->first + i] = b->bytes ? all * (before + n) / b->bytes - all * before / b->bytes : 0;
        before += n;
    }
}

static pgr_status submit(embedding *x, batch *b) {
    buf_puts(&b->body, "{\"model\":");
    json_put_string(&b->body, x->e->model, strlen(x->e->model));
    buf_puts(&b->body, ",\"encoding_format\":\"float\",\"input\":[");
    for (size_t i = 0; i < b->n; i++) {
        if (i) buf_putc(&b->body, ',');
        json_put_string(&b->body, x->texts[b->first + i], x->lens[b->first + i]);
    }
    buf_puts(&b->body, "]}");
    if (b->body.failed) return fail_mem(x->err);
    b->job = (net_job){.path = "/embeddings",
                       .body = b->body.data,
                       .n_body = b->body.n,
                       .most = ((size_t)1 << 20) + b->n * DIMS_MOST,
                       .tag = b};
    net_submit(x->e->net, &b->job);
    return PGR_OK;
}

/* *done: it is not asked for again. */
static pgr_status take(embedding *x, batch *b, bool *done) {
    remote_embedder *e = x->e;
    size_t found, tokens = 0;
    pgr_error why = b->job.error;
    *done = true;
    if (why.status == PGR_OK)
        why.status = embeddings_read(b->job.reply.data, b->job.reply.n, net_address(e->net, b->job.at), b->n, e->dims,
                                     x->out + b->first * e->dims, &found, &tokens, &why);
    if (why.status == PGR_OK) {
        deal_tokens(x, b, tokens);
        return PGR_OK;
    }
    if (why.status == PGR_E_FORMAT && net_refuse(e->net, &b->job, why.message)) {
        *done = false;
        return PGR_OK;
    }
    if (x->err) *x->err = why;
    return why.status;
}

/* The texts of the next batch; some at least. */
static void fill_batch(const embedding *x, batch *b, size_t first, size_t n) {
    *b = (batch){.first = first};
    while (first + b->n < n && b->n < BATCH && (b->n == 0 || b->bytes + x->lens[first + b->n] <= BATCH_BYTES))
        b->bytes += x->lens[first + b->n++];
}

static pgr_status run(embedding *x, size_t n, const pgr_watch *watch, batch *batches) {
    size_t next = 0, done = 0, open = 0, n_batch = 0;
    while (done < n) {
        PGR_TRY(watch_check(watch, x->err));
        for (; next < n && open < JOBS; open++, next += batches[n_batch++].n) {
            fill_batch(x, &batches[n_batch], next, n);
            PGR_TRY(submit(x, &batches[n_batch]));
        }
        PGR_TRY(net_step(x->e->net, STEP_MS, x->err));
        for (net_job *j; (j = net_ended(x->e->net));) {
            batch *b = j->tag;
            bool over;
            PGR_TRY(take(x, b, &over));
            if (!over) continue;
            net_drop(x->e->net, j);
            buf_free(&b->body);
            open--;
            done += b->n;
        }
        watch_report(watch, "embedding", done, n, "texts");
    }
    return PGR_OK;
}

pgr_status remote_embed(remote_embedder *e, const char *const *texts, const size_t *lens, size_t n,
                        const pgr_watch *watch, float *out, size_t *tokens, pgr_error *err) {
    embedding x = {.e = e, .texts = texts, .lens = lens, .out = out, .tokens = tokens, .err = err};
    batch *batches = mem_zero(n + 1, sizeof *batches); /* one for each text at most */
    if (!batches) return fail_mem(err);
    pgr_status s = run(&x, n, watch, batches);
    for (size_t i = 0; i < n; i++) {
        net_drop(e->net, &batches[i].job);
        buf_free(&batches[i].body);
    }
    mem_free(batches);
    return s;
}

/* ---- opening ---- */

static pgr_status find_model(remote_embedder *e, pgr_error *err) {
    net_job job = {.path = "/models", .once = true};
    json_t *root = NULL;
    const char *at = net_address(e->net, 0);
    pgr_status s = net_run(e->net, &job, NULL, err);
    if (s == PGR_OK) s = json_parse(job.reply.data ? job.reply.data : "", job.reply.n, at, 1, &root, err);
    const char *id = json_string_value(json_object_get(json_array_get(json_object_get(root, "data"), 0), "id"));
    if (s == PGR_OK && !id) s = fail(err, PGR_E_FORMAT, "%s/models: found no data[0].id, expected a model's name", at);
    if (s == PGR_OK && !(e->model = mem_strdup(id))) s = fail_mem(err);
    json_decref(root);
    net_drop(e->net, &job);
    return s;
}

static pgr_status find_dims(remote_embedder *e, pgr_error *err) {
    static const char *const TEXT = "a";
    static const size_t LENGTH = 1;
    embedding x = {.e = e, .texts = &TEXT, .lens = &LENGTH, .err = err};
    batch b;
    size_t tokens;
    fill_batch(&x, &b, 0, 1);
    PGR_TRY(submit(&x, &b));
    net_stop(e->net, &b.job);
    b.job.once = true;
    pgr_status s = net_run(e->net, &b.job, NULL, err);
    if (s == PGR_OK)
        s = embeddings_read(b.job.reply.data, b.job.reply.n, net_address(e->net, b.job.at), 1, 0, NULL, &e->dims,
                            &tokens, err);
    net_drop(e->net, &b.job);
    buf_free(&b.body);
    return s;
}

static pgr_status open(remote_embedder *e, const char *urls, pgr_error *err) {
    e->urls = mem_strdup(urls);
    if (!e->urls) return fail_mem(err);
    char *name = strchr(e->urls, '#');
    if (name) {
        *name++ = '\0';
        if (!(e->model = mem_strdup(name))) return fail_mem(err);
    }
    PGR_TRY(net_open(&(net_options){.urls = e->urls, .key = net_usual_key(), .jobs = JOBS}, &e->net, err));
    if (!e->model) PGR_TRY(find_model(e, err));
    return find_dims(e, err);
}

pgr_status remote_embedder_open(const char *urls, remote_embedder **out, pgr_error *err) {
    remote_embedder *e = mem_zero(1, sizeof *e);
    if (!e) return fail_mem(err);
    pgr_status s = open(e, urls, err);
    if (s == PGR_OK)
        *out = e;
    else
        remote_embedder_close(e);
    return s;
}

void remote_embedder_close(remote_embedder *e) {
    if (!e) return;
    net_close(e->net);
    mem_free(e->urls);
    mem_free(e->model);
    mem_free(e);
}

const char *remote_embedder_model(const remote_embedder *e) {
    return e->model;
}
size_t remote_embedder_dims(const remote_embedder *e) {
    return e->dims;
}
