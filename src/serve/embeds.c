/* embeds.c - see embeds.h. */
#include "serve/embeds.h"

#include <stdatomic.h>
#include <string.h>
#include <time.h>

#include "base/base64.h"
#include "base/mem.h"
#include "serve/body.h"
#include "serve/embed_thread.h"

void embeds_release(embeds *e) {
    if (atomic_fetch_sub(&e->keepers, 1) != 1) return;
    mem_free(e->texts);
    mem_free(e->lens);
    mem_free(e->vectors);
    mem_free(e);
}

static void free_embeds(task *t) {
    embeds_release((embeds *)t);
}

void embeds_drop(embeds *e) {
    embeds_release(e);
}

/* ---- in the worker's thread, or another's ---- */

static pgr_status make_room(embeds *e, pgr_error *err) {
    if (e->vectors) return PGR_OK;
    e->dim = e->o.dim ? e->o.dim : pgr_embedder_dims(call_server(e->task.call)->what.embedder);
    e->vectors = mem_array(e->n * e->dim, sizeof *e->vectors);
    return e->vectors ? PGR_OK : fail_mem(err);
}

/* The next n texts. */
static pgr_status embed_some(embeds *e, size_t n, pgr_error *err) {
    pgr_embedder *by = call_server(e->task.call)->what.embedder;
    size_t from = e->n_done;
    PGR_TRY(make_room(e, err));
    pgr_embedded *counts = mem_zero(n, sizeof *counts);
    if (!counts) return fail_mem(err);
    pgr_status s = pgr_embed(by, e->texts + from, e->lens + from, n, &e->o, e->vectors + from * e->dim, counts, err);
    for (size_t i = 0; s == PGR_OK && i < n; i++) {
        e->n_token += counts[i].tokens;
        if (counts[i].cut > 0)
            s = fail(err, PGR_E_LIMIT, "text %zu: found %zu tokens, expected at most %zu", from + i,
                     counts[i].tokens + counts[i].cut, pgr_embedder_max_tokens(by));
    }
    mem_free(counts);
    e->n_done += n;
    return s;
}

static void answer(const embeds *e) {
    buf out = {0};
    e->put(e, e->vectors, e->dim, &out);
    call_note_tokens(e->task.call, e->n_token, 0);
    call_reply(e->task.call, 200, &out);
}

/* Of what its server did wrong nothing is the client's fault. */
void embeds_work(embeds *e) {
    pgr_error err = {0};
    call *c = e->task.call;
    worker *w = e->task.worker;
    if (embed_some(e, e->n, &err) == PGR_OK) {
        answer(e);
    } else {
        if (err.status == PGR_E_IO || err.status == PGR_E_FORMAT) err.status = PGR_E_REMOTE;
        call_fail_error(c, &err);
    }
    atomic_store(&e->done, true);
    call_release(c);
    worker_wake(w);
}

/* As many as others may wait for. */
static pgr_status go_on(embeds *e, pgr_error *err) {
    size_t n = 0;
    for (size_t bytes = 0; e->n_done + n < e->n && n < EMBEDS_AT_ONCE && bytes < TEXT_AT_ONCE; n++)
        bytes += e->lens[e->n_done + n];
    PGR_TRY(embed_some(e, n, err));
    if (e->n_done < e->n) {
        worker_wake(e->task.worker);
        return PGR_OK;
    }
    answer(e);
    task_end(&e->task);
    return PGR_OK;
}

static pgr_status begin(task *t, pgr_error *err) {
    embeds *e = (embeds *)t;
    embed_thread *away = call_server(t->call)->embed_thread;
    if (!away) return go_on(e, err);
    call_keep(t->call);
    atomic_fetch_add(&e->keepers, 1);
    embed_thread_give(away, e);
    return PGR_OK;
}

static void cancel(task *t) {
    __atomic_store_n(&((embeds *)t)->cancel, 1, __ATOMIC_RELAXED);
}

static void look(task *t, double now) {
    embeds *e = (embeds *)t;
    pgr_error err = {0};
    if (now >= call_deadline(t->call)) {
        call_fail(t->call, 504, "server_error", NULL, "deadline", "the embedder gave no answer by the deadline");
        cancel(t);
        task_end(t);
    } else if (call_server(t->call)->embed_thread) {
        if (atomic_load(&e->done)) task_end(t);
    } else if (go_on(e, &err) != PGR_OK) {
        call_fail_error(t->call, &err);
        task_end(t);
    }
}

static const task_kind EMBEDS = {
    .name = "embedding", .begin = begin, .tick = look, .cancel = cancel, .free = free_embeds};

/* ---- what is asked ---- */

embeds *embeds_create(call *c, void (*put)(const embeds *e, const float *v, size_t dim, buf *out)) {
    if (!call_server(c)->what.embedder) {
        call_fail(c, 501, "invalid_request_error", NULL, "no_embedder", "the server has no embedder (--embeddings)");
        return NULL;
    }
    embeds *e = mem_zero(1, sizeof *e);
    if (e) {
        atomic_init(&e->keepers, 1);
        atomic_init(&e->done, false);
        e->texts = mem_array(EMBEDS_MOST, sizeof *e->texts);
        e->lens = mem_array(EMBEDS_MOST, sizeof *e->lens);
    }
    if (!e || !e->texts || !e->lens) {
        if (e) embeds_drop(e);
        call_fail_error(c, &(pgr_error){.status = PGR_E_MEM});
        return NULL;
    }
    e->task.kind = &EMBEDS;
    e->o = pgr_embed_options_default();
    e->o.watch.cancel = &e->cancel;
    e->put = put;
    return e;
}

static bool add_text(embeds *e, call *c, const json_t *v, const char *key) {
    const json_t *text = json_is_object(v) ? json_object_get(v, "text") : v;
    if (!json_is_string(text)) {
        call_refuse(c, key, "%s: found %s, expected a text or a list of texts; tokens are not taken", key,
                    json_kind(text));
        return false;
    }
    if (e->n == EMBEDS_MOST) {
        call_refuse(c, key, "%s: expected at most %d texts in all", key, EMBEDS_MOST);
        return false;
    }
    size_t most = text_most(pgr_embedder_max_tokens(call_server(c)->what.embedder));
    if (!body_fits(c, key, json_string_length(text), most, "bytes of text")) return false;
    e->texts[e->n] = json_string_value(text);
    e->lens[e->n++] = json_string_length(text);
    return true;
}

bool embeds_add(embeds *e, call *c, const json_t *body, const char *key) {
    const json_t *v = body_get(body, key);
    size_t n = json_is_array(v) ? json_array_size(v) : 1;
    if (!v || n == 0) {
        call_refuse(c, key, "%s: expected at least one text", key);
        return false;
    }
    for (size_t i = 0; i < n; i++)
        if (!add_text(e, c, json_is_array(v) ? json_array_get(v, i) : v, key)) return false;
    return true;
}

bool embeds_read_others(call *c, const json_t *body) {
    const char *task = "embed";
    int64_t cut = -1;
    if (body_get(body, "messages") && !body_get(body, "input")) {
        call_refuse(c, "messages", "messages: found messages, expected texts in input: an embedder has no chat");
        return false;
    }
    if (!body_text(c, body, "task", &task) || !body_integer(c, body, "truncate_prompt_tokens", -1, INT32_MAX, &cut))
        return false;
    if (strcmp(task, "embed") != 0)
        call_refuse(c, "task", "task: found \"%.40s\", expected embed", task);
    else if (cut != -1)
        call_refuse(c, "truncate_prompt_tokens", "truncate_prompt_tokens: is not supported, a text is taken whole");
    else
        return true;
    return false;
}

bool embeds_read_form(embeds *e, call *c, const json_t *body) {
    const char *format = "float";
    int64_t dim = 0, most = (int64_t)pgr_embedder_dims(call_server(c)->what.embedder);
    if (!body_text(c, body, "encoding_format", &format) || !body_integer(c, body, "dimensions", 1, most, &dim))
        return false;
    e->base64 = strcmp(format, "base64") == 0;
    e->o.dim = (size_t)dim;
    if (e->base64 || strcmp(format, "float") == 0) return true;
    call_refuse(c, "encoding_format", "encoding_format: expected float or base64");
    return false;
}

/* ---- what is answered ---- */

void embeds_put_vector(const embeds *e, const float *v, size_t dim, buf *out) {
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

void embeds_put_head(const embeds *e, const char *kind, buf *out) {
    static _Atomic uint64_t last;
    const char *name = pgr_embedder_name(call_server(e->task.call)->what.embedder);
    long long now = (long long)time(NULL);
    buf_printf(out, "\"id\":\"%s-%llx-%llx\",\"object\":\"list\",\"created\":%lld,\"model\":", kind,
               (unsigned long long)now, (unsigned long long)atomic_fetch_add(&last, 1), now);
    json_put_string(out, name, strlen(name));
}

void embeds_put_usage(const embeds *e, buf *out) {
    buf_printf(out, "\"usage\":{\"prompt_tokens\":%zu,\"total_tokens\":%zu,\"completion_tokens\":0}", e->n_token,
               e->n_token);
}
