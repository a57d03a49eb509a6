/* teacher.c - questions as jobs of a net_client, begun as the budget allows. */
#include "train/teacher.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/file_out.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/watch.h"
#include "net/client.h"

enum { POLL_MS = 50 };

struct teacher {
    pgr_teacher_server o;
    net_client *net;
    char *url, *model, *cache; /* url: of the questions */
    teacher_usage used;
};

typedef enum question_state { WAITS, RUNS, ANSWERED, REFUSED } question_state;

typedef struct question {
    teacher *r;
    teacher_ask *ask;
    question_state state;
    buf body; /* what is posted */
    net_job job;
    char key[40]; /* of the cache */
} question;

/* ---- opening ---- */

/* The first of the server's models. */
static pgr_status find_model(teacher *r, pgr_error *err) {
    net_job job = {.path = "/models"};
    const char *at = net_address(r->net, 0);
    json_t *v = NULL;
    pgr_status s = net_run(r->net, &job, NULL, err);
    if (s == PGR_OK) s = json_parse(job.reply.data ? job.reply.data : "", job.reply.n, at, 1, &v, err);
    const char *id = json_string_value(json_object_get(json_array_get(json_object_get(v, "data"), 0), "id"));
    if (s == PGR_OK && !id) s = fail(err, PGR_E_FORMAT, "%s/models: found no data[0].id, expected a model's name", at);
    if (s == PGR_OK && !(r->model = mem_strdup(id))) s = fail_mem(err);
    json_decref(v);
    net_drop(r->net, &job);
    return s;
}

static char *joined(const char *a, size_t n, const char *b) {
    size_t size = n + strlen(b) + 1;
    char *out = mem_array(size, 1);
    if (out) snprintf(out, size, "%.*s%s", (int)n, a, b);
    return out;
}

static pgr_status open_texts(teacher *r, const char *folder, pgr_error *err) {
    size_t n = strlen(r->o.url);
    while (n > 0 && r->o.url[n - 1] == '/') n--;
    r->url = joined(r->o.url, n, "/chat/completions");
    r->cache = mem_strdup(r->o.cache ? r->o.cache : folder);
    r->model = r->o.model ? mem_strdup(r->o.model) : NULL;
    if (!r->url || !r->cache || (r->o.model && !r->model)) return fail_mem(err);
    char why[128];
    if (mkdir(r->cache, 0777) == 0 || (errno == EEXIST && file_is_folder(r->cache))) return PGR_OK;
    return fail(err, PGR_E_IO, "%s: cannot be made: %s", r->cache, strerror_r(errno, why, sizeof why));
}

pgr_status teacher_open(const pgr_teacher_server *o, const char *folder, teacher **out, pgr_error *err) {
    net_options how = {.urls = o->url, .key = o->key ? o->key : net_usual_key(), .jobs = o->jobs};
    teacher *r = mem_zero(1, sizeof *r);
    if (!r) return fail_mem(err);
    r->o = *o;
    pgr_status s = net_open(&how, &r->net, err);
    if (s == PGR_OK) s = open_texts(r, folder, err);
    if (s == PGR_OK && !r->model) s = find_model(r, err);
    if (s == PGR_OK)
        *out = r;
    else
        teacher_close(r);
    return s;
}

void teacher_close(teacher *r) {
    if (!r) return;
    net_close(r->net);
    mem_free(r->url);
    mem_free(r->model);
    mem_free(r->cache);
    mem_free(r);
}

teacher_usage teacher_used(const teacher *r) {
    return r->used;
}

/* ---- the cache ---- */

static pgr_status make_body(question *q, pgr_error *err) {
    const teacher_ask *a = q->ask;
    buf_puts(&q->body, "{\"model\":");
    json_put_string(&q->body, q->r->model, strlen(q->r->model));
    buf_puts(&q->body, ",\"messages\":[");
    for (size_t i = 0; i < a->n_message; i++) {
        buf_printf(&q->body, "%s{\"role\":\"%s\",\"content\":", i ? "," : "", a->messages[i].role);
        json_put_string(&q->body, a->messages[i].text, a->messages[i].n);
        buf_putc(&q->body, '}');
    }
    buf_printf(&q->body, "],\"max_tokens\":%zu,\"temperature\":%.9g,\"seed\":%zu}", a->max_tokens, q->r->o.temperature,
               a->number);
    if (q->body.failed) return fail_mem(err);
    uint64_t one = hash_bytes(hash_whole_text(HASH_BEGIN, q->r->url), q->body.data, q->body.n);
    uint64_t two = hash_bytes(hash_value(one, q->body.n), q->body.data, q->body.n);
    snprintf(q->key, sizeof q->key, "%016llx%016llx", (unsigned long long)one, (unsigned long long)two);
    return PGR_OK;
}

static pgr_status cache_path(const question *q, buf *out, pgr_error *err) {
    buf_printf(out, "%s/%s.json", q->r->cache, q->key);
    return out->failed ? fail_mem(err) : PGR_OK;
}

/* {"text": ..., "tokens": n} */
static pgr_status keep_answer(question *q, const char *text, json_int_t tokens, arena *a, pgr_error *err) {
    q->ask->answer = arena_strdup(a, text);
    q->r->used.tokens += tokens > 0 ? (uint64_t)tokens : 0;
    q->state = ANSWERED;
    return q->ask->answer ? PGR_OK : fail_mem(err);
}

static pgr_status look_up(question *q, arena *a, pgr_error *err) {
    buf path = {0}, file = {0};
    json_t *v = NULL;
    pgr_status s = cache_path(q, &path, err);
    if (s == PGR_OK && file_exists(path.data)) {
        s = file_read(path.data, &file, err);
        if (s == PGR_OK) s = json_parse(file.data ? file.data : "", file.n, path.data, 1, &v, err);
        const char *text = json_string_value(json_object_get(v, "text"));
        if (s == PGR_OK && !text) s = fail(err, PGR_E_FORMAT, "%s: found no text, expected an answer", path.data);
        if (s == PGR_OK) s = keep_answer(q, text, json_integer_value(json_object_get(v, "tokens")), a, err);
        if (s == PGR_OK) q->r->used.cached++;
    }
    json_decref(v);
    buf_free(&path);
    buf_free(&file);
    return s;
}

static pgr_status store(const question *q, const char *text, json_int_t tokens, pgr_error *err) {
    buf path = {0}, file = {0};
    buf_puts(&file, "{\"text\":");
    json_put_string(&file, text, strlen(text));
    buf_printf(&file, ",\"tokens\":%lld}\n", (long long)tokens);
    pgr_status s = cache_path(q, &path, err);
    if (s == PGR_OK && file.failed) s = fail_mem(err);
    if (s == PGR_OK) s = file_write(path.data, file.data, file.n, err);
    buf_free(&path);
    buf_free(&file);
    return s;
}

/* ---- one question ---- */

static void start(question *q) {
    q->job.path = "/chat/completions";
    q->job.body = q->body.data;
    q->job.n_body = q->body.n;
    q->job.tag = q;
    q->state = RUNS;
    net_submit(q->r->net, &q->job);
}

static pgr_status take_answer(question *q, arena *a, pgr_error *err) {
    json_t *v = NULL;
    PGR_TRY(json_parse(q->job.reply.data ? q->job.reply.data : "", q->job.reply.n, q->r->url, 1, &v, err));
    const json_t *choice = json_array_get(json_object_get(v, "choices"), 0);
    const json_t *content = json_object_get(json_object_get(choice, "message"), "content");
    json_int_t tokens = json_integer_value(json_object_get(json_object_get(v, "usage"), "total_tokens"));
    const char *text = json_is_null(content) ? "" : json_string_value(content);
    pgr_status s =
        text ? PGR_OK
             : fail(err, PGR_E_FORMAT, "%s: found no choices[0].message.content, expected an answer", q->r->url);
    if (s == PGR_OK) s = store(q, text, tokens, err);
    if (s == PGR_OK) s = keep_answer(q, text, tokens, a, err);
    json_decref(v);
    return s;
}

static pgr_status take_end(question *q, arena *a, pgr_error *err) {
    q->r->used.asked += q->job.n_try;
    q->r->used.retries += q->job.n_try > 1 ? q->job.n_try - 1 : 0;
    if (q->job.error.status == PGR_OK) return take_answer(q, a, err);
    if (err) *err = q->job.error;
    return q->job.error.status;
}

/* ---- all of them ---- */

/* Starts what may start. *open: questions that are not settled. What is in flight may spend all that it may write. */
static void start_some(teacher *r, question *list, size_t n, size_t *open) {
    size_t running = 0;
    uint64_t reserved = 0;
    *open = 0;
    for (size_t i = 0; i < n; i++)
        if (list[i].state == RUNS) {
            running++;
            reserved += list[i].ask->max_tokens;
        }
    for (size_t i = 0; i < n; i++) {
        question *q = &list[i];
        bool poor = r->o.max_tokens && r->used.tokens + reserved + q->ask->max_tokens > r->o.max_tokens;
        if (q->state == WAITS && poor && running == 0) {
            q->state = REFUSED;
            r->used.refused++;
        } else if (q->state == WAITS && !poor && running < r->o.jobs) {
            start(q);
            running++;
            reserved += q->ask->max_tokens;
        }
        *open += q->state == WAITS || q->state == RUNS;
    }
}

static pgr_status move(teacher *r, arena *a, pgr_error *err) {
    PGR_TRY(net_step(r->net, POLL_MS, err));
    for (net_job *j; (j = net_ended(r->net));) PGR_TRY(take_end(j->tag, a, err));
    return PGR_OK;
}

pgr_status teacher_run(teacher *r, teacher_ask *asks, size_t n, const pgr_watch *watch, arena *a, pgr_error *err) {
    question *list = mem_zero(n + 1, sizeof *list);
    pgr_status s = list ? PGR_OK : fail_mem(err);
    size_t open = n;
    for (size_t i = 0; s == PGR_OK && i < n; i++) {
        list[i] = (question){.r = r, .ask = &asks[i]};
        s = make_body(&list[i], err);
        if (s == PGR_OK) s = look_up(&list[i], a, err);
    }
    while (s == PGR_OK && open > 0) {
        s = watch_check(watch, err);
        if (s == PGR_OK) start_some(r, list, n, &open);
        if (s == PGR_OK && open > 0) s = move(r, a, err);
    }
    for (size_t i = 0; list && i < n; i++) {
        net_drop(r->net, &list[i].job);
        buf_free(&list[i].body);
    }
    mem_free(list);
    return s;
}
