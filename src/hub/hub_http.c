/* hub_http.c - libcurl's multi interface behind http_job; see hub_http.h. */
#include "hub/hub_http.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"
#include "net/curl_parts.h"

#define WAIT_MOST 300.0 /* seconds: longer than this no server is waited for */

struct http_client {
    CURLM *multi;
    char *token; /* NULL: none */
    bool secure; /* the endpoint is https: redirects must be, too */
};

/* ---- client ---- */

pgr_status http_open(const char *endpoint, const char *token, http_client **out, pgr_error *err) {
    bool secure = strncasecmp(endpoint, "https://", 8) == 0;
    if (!secure && strncasecmp(endpoint, "http://", 7) != 0)
        return fail(err, PGR_E_ARG, "endpoint \"%.200s\": expected http:// or https://", endpoint);
    if (token && !net_token_valid(token))
        return fail(err, PGR_E_ARG, "HF_TOKEN: found blanks or control characters, expected a token");
    net_setup();
    http_client *c = mem_zero(1, sizeof *c);
    if (!c) return fail_mem(err);
    c->secure = secure;
    c->token = token && *token ? mem_strdup(token) : NULL;
    c->multi = curl_multi_init();
    if (!c->multi || (token && *token && !c->token)) {
        http_close(c);
        return fail_mem(err);
    }
    *out = c;
    return PGR_OK;
}

void http_close(http_client *c) {
    if (!c) return;
    if (c->multi) curl_multi_cleanup(c->multi);
    mem_free(c->token);
    mem_free(c);
}

/* ---- headers ---- */

/* The value of "NAME: value\r\n" if the line is that header: copied without blanks around it, cut to size. */
static bool header_value(const char *line, size_t n, const char *name, char *out, size_t size) {
    size_t k = strlen(name);
    if (n <= k || line[k] != ':' || strncasecmp(line, name, k) != 0) return false;
    const char *v = line + k + 1, *end = line + n;
    while (v < end && (*v == ' ' || *v == '\t')) v++;
    while (end > v && (end[-1] == '\r' || end[-1] == '\n' || end[-1] == ' ')) end--;
    n = (size_t)(end - v) < size ? (size_t)(end - v) : size - 1;
    memcpy(out, v, n);
    out[n] = '\0';
    return true;
}

/* A count of bytes; -1 for anything else. */
static int64_t read_count(const char *text, const char **end) {
    int64_t v = 0;
    size_t n = strspn(text, "0123456789");
    if (n == 0 || n > 18) return -1;
    for (size_t i = 0; i < n; i++) v = v * 10 + (text[i] - '0');
    *end = text + n;
    return v;
}

/* "bytes 5-99/100" */
static void read_range(const char *text, http_reply *r) {
    const char *c = text;
    if (strncasecmp(c, "bytes ", 6) != 0) return;
    int64_t from = read_count(c + 6, &c);
    if (from < 0 || *c != '-' || read_count(c + 1, &c) < 0 || *c != '/') return;
    r->from = from;
    r->total = read_count(c + 1, &c);
}

/* A new hop: what only the last hop says is forgotten. */
static void begin_hop(http_reply *r) {
    r->etag[0] = r->message[0] = '\0';
    r->length = r->from = r->total = -1;
}

static size_t on_header(char *line, size_t size, size_t count, void *ctx) {
    http_reply *r = &((http_job *)ctx)->reply;
    size_t n = size * count;
    char text[200];
    const char *end = text;
    if (n > 5 && strncmp(line, "HTTP/", 5) == 0) begin_hop(r);
    header_value(line, n, "ETag", r->etag, sizeof r->etag);
    if (!r->linked_etag[0]) header_value(line, n, "X-Linked-Etag", r->linked_etag, sizeof r->linked_etag);
    if (r->linked_size < 0 && header_value(line, n, "X-Linked-Size", text, sizeof text))
        r->linked_size = read_count(text, &end);
    if (header_value(line, n, "Content-Length", text, sizeof text)) r->length = read_count(text, &end);
    if (header_value(line, n, "Content-Range", text, sizeof text)) read_range(text, r);
    header_value(line, n, "X-Error-Message", r->message, sizeof r->message);
    return n;
}

static size_t on_body(char *bytes, size_t size, size_t count, void *ctx) {
    http_job *job = ctx;
    size_t n = size * count;
    curl_easy_getinfo(job->easy, CURLINFO_RESPONSE_CODE, &job->reply.status);
    if (job->reply.status != 200 && job->reply.status != 206) return n; /* an error page: of no use */
    return job->take(job->ctx, &job->reply, bytes, n) ? n : CURL_WRITEFUNC_ERROR;
}

/* ---- jobs ---- */

static CURLcode set_options(const http_client *c, http_job *job) {
    CURL *e = job->easy;
    CURLcode bad = CURLE_OK;
#define SET(option, value) bad = bad ? bad : curl_easy_setopt(e, option, value)
    SET(CURLOPT_URL, job->url);
    SET(CURLOPT_PRIVATE, job);
    SET(CURLOPT_USERAGENT, NET_AGENT);
    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_PROTOCOLS_STR, "http,https");
    SET(CURLOPT_FOLLOWLOCATION, 1L);
    SET(CURLOPT_MAXREDIRS, 10L);
    SET(CURLOPT_REDIR_PROTOCOLS_STR, c->secure ? "https" : "http,https");
    SET(CURLOPT_CONNECTTIMEOUT, 30L);
    SET(CURLOPT_LOW_SPEED_LIMIT, 1L); /* a minute without a byte is a cut connection */
    SET(CURLOPT_LOW_SPEED_TIME, 60L);
    SET(CURLOPT_BUFFERSIZE, 256L * 1024);
    SET(CURLOPT_HEADERFUNCTION, on_header);
    SET(CURLOPT_HEADERDATA, job);
    SET(CURLOPT_WRITEFUNCTION, on_body);
    SET(CURLOPT_WRITEDATA, job);
    SET(CURLOPT_HTTPHEADER, job->headers);
    if (c->token) { /* libcurl leaves it out where a redirect goes to another host, port or protocol */
        SET(CURLOPT_HTTPAUTH, (long)CURLAUTH_BEARER);
        SET(CURLOPT_XOAUTH2_BEARER, c->token);
    }
#undef SET
    return bad;
}

static bool add_header(http_job *job, const char *name, const char *value) {
    char line[300];
    snprintf(line, sizeof line, "%s: %s", name, value);
    struct curl_slist *more = curl_slist_append(job->headers, line);
    if (more) job->headers = more;
    return more != NULL;
}

static bool add_range(http_job *job) {
    char range[40];
    if (job->from <= 0) return true;
    snprintf(range, sizeof range, "bytes=%lld-", (long long)job->from);
    return add_header(job, "Range", range) && (!job->if_range || add_header(job, "If-Range", job->if_range));
}

pgr_status http_start(http_client *c, http_job *job, pgr_error *err) {
    job->reply = (http_reply){.linked_size = -1};
    begin_hop(&job->reply);
    job->end = HTTP_RUNNING;
    job->retry_after = 0;
    job->what[0] = '\0';
    job->headers = NULL;
    job->easy = curl_easy_init();
    if (job->easy && add_range(job)) {
        CURLcode bad = set_options(c, job);
        if (!bad && curl_multi_add_handle(c->multi, job->easy) == CURLM_OK) return PGR_OK;
        http_stop(c, job);
        if (bad && bad != CURLE_OUT_OF_MEMORY) return fail(err, PGR_E_IO, "%s: %s", job->url, curl_easy_strerror(bad));
    }
    http_stop(c, job);
    return fail_mem(err);
}

void http_stop(http_client *c, http_job *job) {
    if (job->easy) {
        curl_multi_remove_handle(c->multi, job->easy);
        curl_easy_cleanup(job->easy);
    }
    curl_slist_free_all(job->headers);
    job->easy = job->headers = NULL;
}

pgr_status http_step(http_client *c, int ms, pgr_error *err) {
    int running = 0;
    CURLMcode bad = ms > 0 ? curl_multi_poll(c->multi, NULL, 0, ms, NULL) : CURLM_OK;
    if (!bad) bad = curl_multi_perform(c->multi, &running);
    if (bad == CURLM_OUT_OF_MEMORY) return fail_mem(err);
    return bad ? fail(err, PGR_E_IO, "network: %s", curl_multi_strerror(bad)) : PGR_OK;
}

/* ---- how a job ended ---- */

/* What a status means to whoever asked for a model's files. */
static void judge_status(const http_client *c, http_job *job) {
    long s = job->reply.status;
    const char *why = "";
    job->end = net_status_again(s) ? HTTP_AGAIN : HTTP_FAILED;
    if (s == 401 || s == 403)
        why = c->token ? ": the token in HF_TOKEN gives no access, or there is no such model"
                       : ": no access without a token, or no such model (HF_TOKEN is not set)";
    else if (s == 404)
        why = ": no such model, revision or file";
    else if (s == 429)
        why = ": too many requests";
    else if (s == 416)
        why = ": the range is beyond the end of the file";
    else if (job->end == HTTP_AGAIN)
        why = ": the server has a problem";
    const char *message = job->reply.message;
    snprintf(job->what, sizeof job->what, "HTTP status %ld%s%s%s%s", s, why, *message ? " (" : "", message,
             *message ? ")" : "");
}

static void judge(const http_client *c, http_job *job, CURLcode code) {
    curl_off_t wait = 0;
    curl_easy_getinfo(job->easy, CURLINFO_RESPONSE_CODE, &job->reply.status);
    curl_easy_getinfo(job->easy, CURLINFO_RETRY_AFTER, &wait);
    job->retry_after = wait > 0 ? (double)wait : 0;
    if (code) {
        job->end = net_code_again(code) ? HTTP_AGAIN : HTTP_FAILED;
        snprintf(job->what, sizeof job->what, "%s",
                 code == CURLE_PARTIAL_FILE ? "the connection was cut in the middle of the file"
                                            : curl_easy_strerror(code));
    } else if (job->reply.status == 200 || job->reply.status == 206) {
        job->end = HTTP_DONE;
    } else {
        judge_status(c, job);
    }
}

http_job *http_ended(http_client *c) {
    int left = 0;
    for (CURLMsg *m; (m = curl_multi_info_read(c->multi, &left));) {
        char *job = NULL;
        CURLcode code = m->data.result;
        if (m->msg != CURLMSG_DONE) continue;
        curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &job);
        http_job *j = (void *)job;
        judge(c, j, code);
        http_stop(c, j);
        return j;
    }
    return NULL;
}

pgr_status http_fail(const http_job *job, pgr_error *err) {
    return fail(err, PGR_E_IO, "%s: %s", job->url, job->what);
}

/* ---- tries ---- */

pgr_status http_again(http_retry *r, const http_job *job, double backoff, pgr_error *err) {
    if (++r->tries >= HTTP_TRIES) return fail(err, PGR_E_IO, "%s: %s; %d tries", job->url, job->what, r->tries);
    double wait = backoff * (double)(1 << (r->tries - 1));
    if (wait < job->retry_after) wait = job->retry_after;
    if (wait > WAIT_MOST)
        return fail(err, PGR_E_IO, "%s: %s; the server asks to wait %.0f seconds", job->url, job->what, wait);
    r->not_before = clock_now() + wait;
    if (wait >= 5)
        log_warn("%s: %s; the next try is in %.0f seconds", job->url, job->what, wait);
    else
        log_info("%s: %s; the next try is in %.1f seconds", job->url, job->what, wait);
    return PGR_OK;
}

typedef struct body {
    buf *out;
    size_t most;
    bool too_long;
} body;

static bool take_body(void *ctx, const http_reply *reply, const void *bytes, size_t n) {
    body *b = ctx;
    (void)reply;
    b->too_long = n > b->most - b->out->n;
    if (!b->too_long) buf_add(b->out, bytes, n);
    return !b->too_long && !b->out->failed;
}

/* Runs the one job to its end. */
static pgr_status run_job(http_client *c, http_job *job, pgr_cancel *cancel, pgr_error *err) {
    PGR_TRY(http_start(c, job, err));
    pgr_status s = PGR_OK;
    while (s == PGR_OK && !http_ended(c)) {
        s = http_step(c, 50, err);
        if (cancel && *cancel) s = fail(err, PGR_E_CANCELLED, "cancelled");
    }
    http_stop(c, job);
    return s;
}

static pgr_status wait_until(http_client *c, double when, pgr_cancel *cancel, pgr_error *err) {
    while (clock_now() < when) {
        PGR_TRY(http_step(c, 50, err));
        if (cancel && *cancel) return fail(err, PGR_E_CANCELLED, "cancelled");
    }
    return PGR_OK;
}

pgr_status http_get(http_client *c, const char *url, size_t most, double backoff, pgr_cancel *cancel, buf *out,
                    pgr_error *err) {
    http_retry retry = {0};
    for (;;) {
        body b = {out, most, false};
        http_job job = {.url = url, .take = take_body, .ctx = &b};
        buf_clear(out);
        PGR_TRY(run_job(c, &job, cancel, err));
        if (out->failed) return fail_mem(err);
        if (b.too_long) return fail(err, PGR_E_LIMIT, "%s: the answer is longer than %zu bytes", url, most);
        if (job.end == HTTP_DONE) return PGR_OK;
        if (job.end == HTTP_FAILED) return http_fail(&job, err);
        PGR_TRY(http_again(&retry, &job, backoff, err));
        PGR_TRY(wait_until(c, retry.not_before, cancel, err));
    }
}
