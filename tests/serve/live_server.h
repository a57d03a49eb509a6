/* live_server.h - for tests: a server on the golden tiny model, with a free port and its worker in a thread of its own,
 * and a client that speaks HTTP by hand, as badly as a test wants. What is asked and answered is held to the server's
 * own description (openapi_check.h). */
#ifndef PGR_TESTS_LIVE_SERVER_H
#define PGR_TESTS_LIVE_SERVER_H

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "../base/faults.h"
#include "openapi_check.h"

#include "base/clock.h"
#include "base/json.h"
#include "pgenrm_serve.h"
#include "serve/server.h"

#define TINY PGR_SOURCE_DIR "/tests/golden/tiny-llama.gguf"

static pgr_model *MODEL;
static pgr_engine *ENGINE;

typedef struct live {
    pgr_server *server;
    pthread_t thread;
    pgr_cancel stop;
    int port;
    pgr_serving what;
    bool runs;
} live;

static inline int live_begin_on(const char *model) {
    pgr_error err = {0};
    json_setup();
    openapi_open();
    if (pgr_model_open(model, &(pgr_model_options){.dtype = PGR_DTYPE_EXACT, .n_thread = 1}, &MODEL, &err) != PGR_OK)
        fail_msg("%s", err.message);
    if (pgr_engine_create(MODEL, NULL, &ENGINE, &err) != PGR_OK) fail_msg("%s", err.message);
    return 0;
}

static inline int live_begin(void **state) {
    (void)state;
    return live_begin_on(TINY);
}

static inline int live_end(void **state) {
    (void)state;
    pgr_engine_free(ENGINE);
    pgr_model_close(MODEL);
    openapi_close();
    return 0;
}

static inline void *live_work(void *ctx) {
    live *l = ctx;
    pgr_error err = {0};
    if (pgr_server_run(l->server, &l->what, &l->stop, &err) != PGR_OK) abort();
    return NULL;
}

static inline pgr_serve_options live_options(void) {
    pgr_serve_options o = pgr_serve_options_default();
    o.listen = "127.0.0.1:0";
    return o;
}

/* Listens; live_start then gives it the model. */
static inline void live_listen(live *l, const pgr_serve_options *o) {
    pgr_error err = {0};
    *l = (live){.what = {.model = MODEL, .engine = ENGINE, .name = "tiny"}};
    if (pgr_server_open(o, &l->server, &err) != PGR_OK) fail_msg("%s", err.message);
    l->port = pgr_server_port(l->server);
    assert_true(l->port > 0);
}

static inline void live_start(live *l) {
    assert_int_equal(pthread_create(&l->thread, NULL, live_work, l), 0);
    l->runs = true;
    while (atomic_load(&l->server->phase) == SERVER_LOADING) poll(NULL, 0, 1);
}

/* Nothing where it has been stopped. */
static inline void live_stop(live *l) {
    __atomic_store_n(&l->stop, 1, __ATOMIC_RELAXED); /* as a signal handler would */
    if (l->runs) pthread_join(l->thread, NULL);
    l->runs = false;
    pgr_server_close(l->server);
    l->server = NULL;
}

/* ---- a client ---- */

static inline int dial(const live *l) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)l->port)};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
    return fd;
}

static inline void say(int fd, const char *text, size_t n) {
    while (n > 0) {
        ssize_t k = send(fd, text, n, MSG_NOSIGNAL);
        if (k <= 0) return; /* the other end has closed: what it said before is still to be read */
        text += k;
        n -= (size_t)k;
    }
}

typedef struct reply {
    int status; /* 0: the connection was closed without an answer */
    buf head, body;
    bool closed; /* the server closes the connection after it */
} reply;

static inline void reply_free(reply *r) {
    buf_free(&r->head);
    buf_free(&r->body);
}

/* A header's value, in one of two buffers in turn; "" if it is not there. */
static inline const char *header_of(const reply *r, const char *name) {
    static _Thread_local char values[2][200];
    static _Thread_local int turn;
    char *value = values[turn ^= 1];
    value[0] = '\0';
    for (const char *line = r->head.data; line && (line = strstr(line, "\r\n"));) {
        line += 2;
        size_t n = strlen(name);
        if (strncasecmp(line, name, n) != 0 || line[n] != ':') continue;
        line += n + 1 + (line[n + 1] == ' ');
        snprintf(value, sizeof values[0], "%.*s", (int)strcspn(line, "\r"), line);
        break;
    }
    return value;
}

static inline bool hear(int fd, char *c) {
    struct pollfd p = {.fd = fd, .events = POLLIN};
    if (poll(&p, 1, 60000) != 1) fail_msg("no answer for a minute");
    return recv(fd, c, 1, 0) == 1;
}

static inline void hear_bytes(int fd, buf *out, size_t n) {
    char some[4096];
    while (n > 0 && hear(fd, some)) {
        ssize_t k = n > 1 ? recv(fd, some + 1, n < sizeof some ? n - 1 : sizeof some - 1, MSG_DONTWAIT) : 0;
        size_t got = 1 + (k > 0 ? (size_t)k : 0);
        buf_add(out, some, got);
        n -= got;
    }
}

static inline bool hear_line(int fd, buf *line) {
    char c;
    buf_clear(line);
    while (hear(fd, &c)) {
        if (c == '\n') return true;
        if (c != '\r') buf_putc(line, c);
    }
    return false;
}

static inline void hear_chunks(int fd, buf *body) {
    buf line = {0};
    for (;;) {
        if (!hear_line(fd, &line) || line.n == 0) break;
        size_t n = strtoul(line.data, NULL, 16);
        hear_bytes(fd, body, n);
        hear_line(fd, &line);
        if (n == 0) break;
    }
    buf_free(&line);
}

/* The next answer. head_only: to HEAD */
static inline reply hear_reply(int fd, bool head_only) {
    reply r = {0};
    char c;
    while (hear(fd, &c)) {
        buf_putc(&r.head, c);
        if (r.head.n >= 4 && memcmp(r.head.data + r.head.n - 4, "\r\n\r\n", 4) == 0) break;
    }
    if (r.head.n == 0 || sscanf(r.head.data, "HTTP/1.%*d %d", &r.status) != 1) {
        r.closed = true;
        return r;
    }
    size_t n = strtoul(header_of(&r, "Content-Length"), NULL, 10);
    if (!head_only && strcasecmp(header_of(&r, "Transfer-Encoding"), "chunked") == 0)
        hear_chunks(fd, &r.body);
    else if (!head_only)
        hear_bytes(fd, &r.body, n);
    r.closed = strcasecmp(header_of(&r, "Connection"), "close") == 0;
    return r;
}

/* headers: whole lines, may be NULL */
static inline void ask_on(int fd, const char *method, const char *path, const char *headers, const char *body) {
    buf out = {0};
    buf_printf(&out, "%s %s HTTP/1.1\r\nHost: test\r\n%s", method, path, headers ? headers : "");
    if (body) buf_printf(&out, "Content-Type: application/json\r\nContent-Length: %zu\r\n", strlen(body));
    buf_puts(&out, "\r\n");
    if (body) buf_puts(&out, body);
    say(fd, out.data, out.n);
    buf_free(&out);
}

static inline reply ask_with(const live *l, const char *method, const char *path, const char *headers,
                             const char *body) {
    int fd = dial(l);
    ask_on(fd, method, path, headers, body);
    reply r = hear_reply(fd, strcmp(method, "HEAD") == 0);
    close(fd);
    openapi_check(method, path, body, r.status, header_of(&r, "Content-Type"), r.body.data ? r.body.data : "",
                  r.body.n);
    return r;
}

static inline reply ask(const live *l, const char *method, const char *path, const char *body) {
    return ask_with(l, method, path, NULL, body);
}

/* Nonsense of a tiny model may have NUL in it, which json_parse refuses. */
static inline json_t *json_of(const reply *r) {
    json_error_t e;
    json_t *v = json_loadb(r->body.data ? r->body.data : "", r->body.n, JSON_ALLOW_NUL | JSON_DECODE_ANY, &e);
    if (!v) fail_msg("%s: %s", e.text, r->body.data ? r->body.data : "");
    return v;
}

/* The answer's JSON; the reply is freed. */
static inline json_t *answer(reply r, int status) {
    if (r.status != status) fail_msg("status %d, expected %d: %s", r.status, status, r.body.data ? r.body.data : "");
    json_t *v = json_of(&r);
    reply_free(&r);
    return v;
}

/* An error in OpenAI's form with this status. */
static inline void expect_error(reply r, int status, const char *code) {
    if (r.status != status) fail_msg("status %d, expected %d: %s", r.status, status, r.body.data ? r.body.data : "");
    json_t *v = json_of(&r), *e = json_object_get(v, "error");
    assert_true(json_is_string(json_object_get(e, "message")) && json_is_string(json_object_get(e, "type")));
    assert_true(json_object_get(e, "param") && json_object_get(e, "code"));
    if (code) assert_string_equal(json_string_value(json_object_get(e, "code")), code);
    json_decref(v);
    reply_free(&r);
}

static inline void expect(reply r, int status) {
    if (r.status != status) fail_msg("status %d, expected %d: %s", r.status, status, r.body.data ? r.body.data : "");
    reply_free(&r);
}

#endif
