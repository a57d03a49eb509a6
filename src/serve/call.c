/* call.c - a call's life between two threads: the HTTP thread that reads it and sends its answer, and the worker's,
 * which writes the answer. See call.h and call_parts.h. */
#include <math.h>
#include <stdarg.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/text.h"
#include "serve/blame.h"
#include "serve/call_parts.h"

const char CALL_NO_MEMORY[] = "{\"error\":{\"message\":\"out of memory\",\"type\":\"server_error\",\"param\":null,"
                              "\"code\":\"out_of_memory\"}}";

call *call_create(pgr_server *s, struct MHD_Connection *mhd) {
    call *c = mem_zero(1, sizeof *c);
    if (!c) return NULL;
    pthread_mutex_init(&c->lock, NULL);
    atomic_init(&c->keepers, 1);
    atomic_init(&c->gone, false);
    c->server = s;
    c->mhd = mhd;
    c->rest = NULL;
    c->grant.scope = "";
    c->start = clock_now();
    c->deadline = c->start + s->o.deadline_s;
    return c;
}

void call_keep(call *c) {
    atomic_fetch_add(&c->keepers, 1);
}

void call_release(call *c) {
    if (atomic_fetch_sub(&c->keepers, 1) != 1) return;
    json_decref(c->json);
    buf_free(&c->body);
    buf_free(&c->out);
    mem_free(c->path);
    pthread_mutex_destroy(&c->lock);
    mem_free(c);
}

void call_leave(call *c) {
    pthread_mutex_lock(&c->lock);
    c->mhd = NULL;
    c->sleeping = false;
    pthread_mutex_unlock(&c->lock);
    atomic_store(&c->gone, true);
}

bool call_gone(const call *c) {
    return atomic_load(&c->gone);
}

void call_sleep(call *c) {
    c->sleeping = true;
    MHD_suspend_connection(c->mhd);
}

void call_rouse(call *c) {
    if (!c->sleeping) return;
    c->sleeping = false;
    MHD_resume_connection(c->mhd);
}

/* ---- what was asked ---- */

pgr_server *call_server(const call *c) {
    return c->server;
}

static int hex(char c) {
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

bool call_decode(char *s) {
    char *out = s;
    while (*s) {
        if (*s != '%') {
            *out++ = *s++;
            continue;
        }
        int high = hex(s[1]), low = high >= 0 ? hex(s[2]) : -1;
        if (low < 0 || (high == 0 && low == 0)) return false;
        *out++ = (char)(high << 4 | low);
        s += 3;
    }
    *out = '\0';
    return true;
}

void *call_ctx(const call *c) {
    return c->route ? c->route->ctx : NULL;
}

const char *call_method(const call *c) {
    return c->method;
}

const char *call_rest(const call *c) {
    return c->rest ? c->rest : "";
}

const char *call_header(const call *c, const char *name) {
    return MHD_lookup_connection_value(c->mhd, MHD_HEADER_KIND, name);
}

const char *call_query(const call *c, const char *name) {
    return MHD_lookup_connection_value(c->mhd, MHD_GET_ARGUMENT_KIND, name);
}

bool call_query_text(call *c, const char *name, char **out) {
    const char *given = call_query(c, name);
    *out = given ? mem_strdup(given) : NULL;
    if (!given) return true;
    if (!*out)
        call_fail_error(c, &(pgr_error){.status = PGR_E_MEM});
    else if (!call_decode(*out) || !utf8_valid(*out, strlen(*out)))
        call_refuse(c, name, "%s: expected UTF-8, percent-encoded, without NUL", name);
    else
        return true;
    mem_free(*out);
    *out = NULL;
    return false;
}

const char *call_body(const call *c, size_t *n) {
    *n = c->body.n;
    return c->body.data ? c->body.data : "";
}

const grant *call_grant(const call *c) {
    return &c->grant;
}

double call_start(const call *c) {
    return c->start;
}

double call_deadline(const call *c) {
    return c->deadline;
}

static bool take_deadline(call *c, const json_t *object) {
    const json_t *v = json_object_get(object, "deadline_s");
    double s = json_number_value(v);
    if (!v || json_is_null(v)) return true;
    if (!json_is_number(v) || !(s > 0) || s > 86400) {
        call_refuse(c, "deadline_s", "deadline_s: expected seconds above 0, at most 86400");
        return false;
    }
    c->deadline = c->start + s;
    return true;
}

static bool judges(const call *c) {
    bool any = false;
    for (size_t i = 0; i < c->n_route; i++) any |= (c->routes[i].flags & ROUTE_JUDGES) != 0;
    return any;
}

const json_t *call_json(call *c) {
    pgr_error err = {0};
    if (c->json) return c->json;
    if (judges(c) && c->body.data) json_replace_nul(c->body.data, c->body.n);
    if (json_parse(c->body.data ? c->body.data : "", c->body.n, "body", 1, &c->json, &err) != PGR_OK) {
        call_fail_error(c, &err);
        return NULL;
    }
    if (!json_is_object(c->json)) {
        call_refuse(c, NULL, "body: found %s, expected an object", json_kind(c->json));
        return NULL;
    }
    return take_deadline(c, c->json) ? c->json : NULL;
}

bool call_may(call *c, const char *user) {
    if (!grant_allows(&c->grant, user)) {
        call_fail(c, 403, "permission_error", "user", "user_not_allowed", "this token does not reach that user");
        return false;
    }
    call_note_user(c, user);
    return true;
}

/* ---- the answer ---- */

/* Takes the buffer. The first answer counts. */
static void answer(call *c, int status, const char *type, buf *body) {
    pthread_mutex_lock(&c->lock);
    if (c->state == CALL_OPEN) {
        c->state = CALL_ANSWERED;
        c->status = status;
        c->type = type;
        c->out = *body;
        *body = (buf){0};
        call_rouse(c);
    }
    pthread_mutex_unlock(&c->lock);
    buf_free(body);
}

void call_reply_as(call *c, int status, const char *type, buf *body) {
    if (body->failed) {
        buf_free(body);
        call_fail(c, 503, "server_error", NULL, "out_of_memory", "%s", pgr_status_text(PGR_E_MEM));
        return;
    }
    answer(c, status, type, body);
}

void call_reply(call *c, int status, buf *body) {
    call_reply_as(c, status, "application/json", body);
}

void call_tell(call *c, const char *name, const char *value) {
    pthread_mutex_lock(&c->lock);
    PGR_ASSERT(c->n_told < CALL_HEADERS);
    if (c->state == CALL_OPEN) {
        c->told[c->n_told].name = name;
        c->told[c->n_told++].value = value;
    }
    pthread_mutex_unlock(&c->lock);
}

void call_reply_json(call *c, int status, json_t *value) {
    buf out = {0};
    if (value)
        json_put(&out, value, JSON_COMPACT | JSON_PRESERVE_ORDER);
    else
        out.failed = true;
    json_decref(value);
    call_reply(c, status, &out);
}

static void put_field(buf *out, const char *key, const char *text) {
    buf_printf(out, ",\"%s\":", key);
    if (text)
        json_put_string(out, text, strlen(text));
    else
        buf_puts(out, "null");
}

/* An error that occurs in a stream is its last piece. */
static void put_error(call *c, int status, buf *body) {
    pthread_mutex_lock(&c->lock);
    bool streams = c->state == CALL_STREAM;
    pthread_mutex_unlock(&c->lock);
    if (!streams) {
        answer(c, status, "application/json", body);
        return;
    }
    call_send(c, "data: ", 6);
    call_send(c, body->data ? body->data : CALL_NO_MEMORY, body->data ? body->n : strlen(CALL_NO_MEMORY));
    call_send(c, "\n\n", 2);
    call_end(c);
    buf_free(body);
}

void call_fail(call *c, int status, const char *type, const char *param, const char *code, const char *format, ...) {
    char message[640];
    buf body = {0};
    va_list ap;
    va_start(ap, format);
    int n = vsnprintf(message, sizeof message, format, ap);
    va_end(ap);
    size_t len = n < 0 ? 0 : (size_t)n;
    if (len >= sizeof message) len = utf8_complete(message, sizeof message - 1);
    buf_puts(&body, "{\"error\":{\"message\":");
    json_put_string(&body, message, len);
    put_field(&body, "type", type);
    put_field(&body, "param", param);
    put_field(&body, "code", code);
    buf_puts(&body, "}}");
    if (body.failed) buf_free(&body); /* CALL_NO_MEMORY stands for it */
    put_error(c, body.data ? status : 503, &body);
}

void call_refuse(call *c, const char *param, const char *format, ...) {
    char message[512];
    va_list ap;
    va_start(ap, format);
    vsnprintf(message, sizeof message, format, ap);
    va_end(ap);
    call_fail(c, 400, "invalid_request_error", param, NULL, "%s", message);
}

/* The request is wrong, in the field that the message names. */
static void fail_wrong(call *c, const char *text) {
    char field[160];
    call_refuse(c, blame_field(c->json, text, field, sizeof field) ? field : NULL, "%s", text);
}

void call_fail_error(call *c, const pgr_error *err) {
    const char *text = err->message[0] ? err->message : pgr_status_text(err->status);
    switch (err->status) {
    case PGR_E_MEM:
        call_fail(c, 503, "server_error", NULL, "out_of_memory", "%s", text);
        return;
    case PGR_E_CANCELLED:
        call_fail(c, 503, "server_error", NULL, "cancelled", "%s", text);
        return;
    case PGR_E_DEADLINE:
        call_fail(c, 504, "server_error", NULL, "deadline", "%s", text);
        return;
    case PGR_E_IO:
        call_fail(c, 500, "server_error", NULL, NULL, "%s", text);
        return;
    case PGR_E_REMOTE:
        call_fail(c, 502, "server_error", NULL, "remote_failed", "%s", text);
        return;
    case PGR_E_UNSUPPORTED:
        if (!server_has_model(c->server)) {
            call_fail(c, 501, "server_error", NULL, "remote_cannot", "%s", text);
            return;
        }
        fail_wrong(c, text);
        return;
    default:
        fail_wrong(c, text);
    }
}

bool call_has_model(call *c, const char *what) {
    if (server_has_model(c->server)) return true;
    call_fail(
        c, 501, "server_error", NULL, "remote_cannot",
        "%s: not to be had here, where the model is behind the address of another server; expected to be asked of "
        "that one",
        what);
    return false;
}

void call_stream(call *c) {
    pthread_mutex_lock(&c->lock);
    if (c->state == CALL_OPEN) {
        c->state = CALL_STREAM;
        c->status = 200;
        c->type = "text/event-stream";
        call_rouse(c);
    }
    pthread_mutex_unlock(&c->lock);
}

bool call_send(call *c, const char *bytes, size_t n) {
    pthread_mutex_lock(&c->lock);
    bool streams = c->state == CALL_STREAM && c->mhd && !call_gone(c);
    bool reads = streams && !c->cut && c->out.n - c->n_sent + n <= STREAM_MOST;
    if (reads) {
        if (c->n_sent == c->out.n) {
            buf_clear(&c->out);
            c->n_sent = 0;
        }
        buf_add(&c->out, bytes, n);
        reads = !c->out.failed;
        call_rouse(c);
    }
    c->cut = c->cut || (streams && !reads);
    pthread_mutex_unlock(&c->lock);
    return reads;
}

void call_end(call *c) {
    pthread_mutex_lock(&c->lock);
    if (c->state == CALL_STREAM) {
        c->state = CALL_ENDED;
        call_rouse(c);
    }
    pthread_mutex_unlock(&c->lock);
}

/* ---- tasks ---- */

void call_submit(call *c, task *t) {
    worker *w = c->server->worker;
    t->may_wait = (c->route->flags & ROUTE_HELD) != 0;
    t->n_byte = c->body.n;
    if (!worker_admit(w, t)) {
        call_fail(c, 429, "rate_limit_error", NULL, "queue_full", "%zu requests wait or run, as many as may",
                  worker_state(w).max_open);
        t->kind->free(t);
        return;
    }
    c->submitted = true;
    pthread_mutex_lock(&c->lock);
    call_sleep(c);
    if (call_gone(c)) call_rouse(c); /* it was reported before it slept, and is not again */
    pthread_mutex_unlock(&c->lock);
    worker_put(w, t, c);
}

/* ---- notes ---- */

void call_note_user(call *c, const char *user) {
    pthread_mutex_lock(&c->lock);
    size_t n = utf8_clip(user, strlen(user), USER_NOTED);
    memcpy(c->user, user, n);
    c->user[n] = '\0';
    pthread_mutex_unlock(&c->lock);
}

void call_note_tokens(call *c, size_t n_read, size_t n_written) {
    pthread_mutex_lock(&c->lock);
    c->n_read += n_read;
    c->n_written += n_written;
    pthread_mutex_unlock(&c->lock);
}
