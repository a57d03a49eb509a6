/* remote.c - libcurl's multi interface: as many questions in flight as the options say, the others wait for a place or
 * for their next try. */
#include "train/remote.h"

#include <curl/curl.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/file_out.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/watch.h"

enum { TRIES = 8, ANSWER_MAX = 8 << 20, POLL_MS = 50, TIMEOUT_S = 600 };
static const double BACKOFF = 0.25, WAIT_MOST = 300; /* seconds: before the second try, doubled each time; at most */

struct remote {
    pgr_server o;
    CURLM *multi;
    char *url, *model, *cache, *bearer; /* bearer: a whole header, NULL: none */
    remote_usage used;
};

typedef enum question_state { WAITS, RUNS, ANSWERED, REFUSED } question_state;

typedef struct question {
    remote *r;
    remote_ask *ask;
    question_state state;
    buf body, reply; /* what is posted; what comes */
    char key[40];    /* of the cache */
    CURL *easy;
    struct curl_slist *headers;
    int tries;
    double not_before;
} question;

/* ---- opening ---- */

static void setup_once(void) {
    curl_global_init(CURL_GLOBAL_DEFAULT);
}

static size_t on_body(char *bytes, size_t size, size_t count, void *ctx) {
    buf *reply = ctx;
    size_t n = size * count;
    if (n > ANSWER_MAX - reply->n) return CURL_WRITEFUNC_ERROR;
    buf_add(reply, bytes, n);
    return reply->failed ? CURL_WRITEFUNC_ERROR : n;
}

static bool set_up(CURL *e, const char *url, struct curl_slist *headers, buf *reply) {
    CURLcode bad = CURLE_OK;
#define SET(option, value) bad = bad ? bad : curl_easy_setopt(e, option, value)
    SET(CURLOPT_URL, url);
    SET(CURLOPT_USERAGENT, "pgenrm/" PGR_VERSION);
    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_PROTOCOLS_STR, "http,https");
    SET(CURLOPT_CONNECTTIMEOUT, 30L);
    SET(CURLOPT_TIMEOUT, (long)TIMEOUT_S);
    SET(CURLOPT_HTTPHEADER, headers);
    SET(CURLOPT_WRITEFUNCTION, on_body);
    SET(CURLOPT_WRITEDATA, reply);
#undef SET
    return bad == CURLE_OK;
}

static struct curl_slist *headers_of(const remote *r) {
    struct curl_slist *list = curl_slist_append(NULL, "Content-Type: application/json");
    struct curl_slist *more = list && r->bearer ? curl_slist_append(list, r->bearer) : list;
    if (!more) curl_slist_free_all(list);
    return more;
}

/* The first of the server's models. */
static pgr_status find_model(remote *r, pgr_error *err) {
    buf url = {0}, reply = {0};
    long status = 0;
    json_t *v = NULL;
    buf_printf(&url, "%.*s/models", (int)(strlen(r->url) - strlen("/chat/completions")), r->url);
    CURL *e = curl_easy_init();
    struct curl_slist *headers = headers_of(r);
    pgr_status s = e && headers && !url.failed && set_up(e, url.data, headers, &reply) ? PGR_OK : fail_mem(err);
    CURLcode bad = s == PGR_OK ? curl_easy_perform(e) : CURLE_OK;
    if (s == PGR_OK) curl_easy_getinfo(e, CURLINFO_RESPONSE_CODE, &status);
    if (s == PGR_OK && bad) s = fail(err, PGR_E_IO, "%s: %s", url.data, curl_easy_strerror(bad));
    if (s == PGR_OK && status != 200)
        s = fail(err, PGR_E_IO, "%s: HTTP status %ld, expected 200, or the model's name", url.data, status);
    if (s == PGR_OK) s = json_parse(reply.data ? reply.data : "", reply.n, url.data, 1, &v, err);
    const char *id = json_string_value(json_object_get(json_array_get(json_object_get(v, "data"), 0), "id"));
    if (s == PGR_OK && !id) s = fail(err, PGR_E_FORMAT, "%s: found no data[0].id, expected a model's name", url.data);
    if (s == PGR_OK && !(r->model = mem_strdup(id))) s = fail_mem(err);
    json_decref(v);
    curl_slist_free_all(headers);
    curl_easy_cleanup(e);
    buf_free(&url);
    buf_free(&reply);
    return s;
}

static char *joined(const char *a, const char *b) {
    size_t n = strlen(a) + strlen(b) + 1;
    char *out = mem_array(n, 1);
    if (out) snprintf(out, n, "%s%s", a, b);
    return out;
}

static pgr_status open_texts(remote *r, const char *folder, pgr_error *err) {
    const char *key = r->o.key ? r->o.key : getenv("OPENAI_API_KEY");
    char *base = mem_strdup(r->o.url);
    for (size_t n = base ? strlen(base) : 0; n > 0 && base[n - 1] == '/'; n--) base[n - 1] = '\0';
    r->url = base ? joined(base, "/chat/completions") : NULL;
    mem_free(base);
    r->cache = mem_strdup(r->o.cache ? r->o.cache : folder);
    r->bearer = key && *key ? joined("Authorization: Bearer ", key) : NULL;
    r->model = r->o.model ? mem_strdup(r->o.model) : NULL;
    if (!r->url || !r->cache || (key && *key && !r->bearer) || (r->o.model && !r->model)) return fail_mem(err);
    char why[128];
    if (mkdir(r->cache, 0777) == 0 || (errno == EEXIST && file_is_folder(r->cache))) return PGR_OK;
    return fail(err, PGR_E_IO, "%s: cannot be made: %s", r->cache, strerror_r(errno, why, sizeof why));
}

pgr_status remote_open(const pgr_server *o, const char *folder, remote **out, pgr_error *err) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    if (strncmp(o->url, "http://", 7) != 0 && strncmp(o->url, "https://", 8) != 0)
        return fail(err, PGR_E_ARG, "server \"%.200s\": expected http:// or https://", o->url);
    pthread_once(&once, setup_once);
    remote *r = mem_zero(1, sizeof *r);
    if (!r) return fail_mem(err);
    r->o = *o;
    r->multi = curl_multi_init();
    pgr_status s = r->multi ? open_texts(r, folder, err) : fail_mem(err);
    if (s == PGR_OK && !r->model) s = find_model(r, err);
    if (s == PGR_OK)
        *out = r;
    else
        remote_close(r);
    return s;
}

void remote_close(remote *r) {
    if (!r) return;
    if (r->multi) curl_multi_cleanup(r->multi);
    mem_free(r->url);
    mem_free(r->model);
    mem_free(r->cache);
    mem_free(r->bearer);
    mem_free(r);
}

remote_usage remote_used(const remote *r) {
    return r->used;
}

/* ---- the cache ---- */

static pgr_status make_body(question *q, pgr_error *err) {
    const remote_ask *a = q->ask;
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

static void stop(question *q) {
    if (q->easy) {
        curl_multi_remove_handle(q->r->multi, q->easy);
        curl_easy_cleanup(q->easy);
    }
    curl_slist_free_all(q->headers);
    q->easy = NULL;
    q->headers = NULL;
}

static pgr_status start(question *q, pgr_error *err) {
    buf_clear(&q->reply);
    q->headers = headers_of(q->r);
    q->easy = curl_easy_init();
    bool ready = q->headers && q->easy && set_up(q->easy, q->r->url, q->headers, &q->reply)
                 && !curl_easy_setopt(q->easy, CURLOPT_POSTFIELDS, q->body.data)
                 && !curl_easy_setopt(q->easy, CURLOPT_POSTFIELDSIZE, (long)q->body.n)
                 && !curl_easy_setopt(q->easy, CURLOPT_PRIVATE, q)
                 && curl_multi_add_handle(q->r->multi, q->easy) == CURLM_OK;
    if (!ready) return fail_mem(err);
    q->state = RUNS;
    q->r->used.asked++;
    return PGR_OK;
}

static pgr_status take_answer(question *q, arena *a, pgr_error *err) {
    json_t *v = NULL;
    PGR_TRY(json_parse(q->reply.data ? q->reply.data : "", q->reply.n, q->r->url, 1, &v, err));
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

static bool worth_again(CURLcode bad, long status) {
    if (bad)
        return bad == CURLE_COULDNT_RESOLVE_HOST || bad == CURLE_COULDNT_CONNECT || bad == CURLE_GOT_NOTHING
               || bad == CURLE_OPERATION_TIMEDOUT || bad == CURLE_PARTIAL_FILE || bad == CURLE_RECV_ERROR
               || bad == CURLE_SEND_ERROR || bad == CURLE_HTTP2 || bad == CURLE_HTTP2_STREAM
               || bad == CURLE_SSL_CONNECT_ERROR;
    return status == 408 || status == 429 || (status >= 500 && status != 501 && status != 505);
}

static pgr_status take_end(question *q, CURLcode bad, arena *a, pgr_error *err) {
    long status = 0;
    curl_off_t asked = 0;
    char what[300];
    curl_easy_getinfo(q->easy, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_getinfo(q->easy, CURLINFO_RETRY_AFTER, &asked);
    stop(q);
    if (!bad && status == 200) return take_answer(q, a, err);
    if (bad)
        snprintf(what, sizeof what, "%s", curl_easy_strerror(bad));
    else
        snprintf(what, sizeof what, "HTTP status %ld: %.*s", status, (int)(q->reply.n < 200 ? q->reply.n : 200),
                 q->reply.data ? q->reply.data : "");
    if (!worth_again(bad, status) || ++q->tries >= TRIES)
        return fail(err, PGR_E_IO, "%s: %s (%d tries)", q->r->url, what, q->tries ? q->tries : 1);
    double wait = BACKOFF * (double)(1 << (q->tries - 1));
    if (wait < (double)asked) wait = (double)asked;
    if (wait > WAIT_MOST) wait = WAIT_MOST;
    log_info("%s: %s; the next try is in %.1f seconds", q->r->url, what, wait);
    q->not_before = clock_now() + wait;
    q->state = WAITS;
    q->r->used.retries++;
    return PGR_OK;
}

/* ---- all of them ---- */

/* Starts what may start. *open: questions that are not settled. What is in flight may spend all that it may write. */
static pgr_status start_some(remote *r, question *list, size_t n, size_t *open, pgr_error *err) {
    size_t running = 0;
    uint64_t reserved = 0;
    double now = clock_now();
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
        } else if (q->state == WAITS && !poor && running < r->o.jobs && now >= q->not_before) {
            PGR_TRY(start(q, err));
            running++;
            reserved += q->ask->max_tokens;
        }
        *open += q->state == WAITS || q->state == RUNS;
    }
    return PGR_OK;
}

static pgr_status move(remote *r, arena *a, pgr_error *err) {
    int running = 0, left = 0;
    CURLMcode bad = curl_multi_perform(r->multi, &running);
    if (!bad) bad = curl_multi_poll(r->multi, NULL, 0, POLL_MS, NULL);
    if (bad) return fail(err, PGR_E_IO, "network: %s", curl_multi_strerror(bad));
    for (CURLMsg *m; (m = curl_multi_info_read(r->multi, &left));) {
        char *q = NULL;
        CURLcode code = m->data.result;
        if (m->msg != CURLMSG_DONE) continue;
        curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &q);
        PGR_TRY(take_end((question *)(void *)q, code, a, err));
    }
    return PGR_OK;
}

pgr_status remote_run(remote *r, remote_ask *asks, size_t n, const pgr_watch *watch, arena *a, pgr_error *err) {
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
        if (s == PGR_OK) s = start_some(r, list, n, &open, err);
        if (s == PGR_OK && open > 0) s = move(r, a, err);
    }
    for (size_t i = 0; list && i < n; i++) {
        stop(&list[i]);
        buf_free(&list[i].body);
        buf_free(&list[i].reply);
    }
    mem_free(list);
    return s;
}
