/* fuzz_serve.c - any bytes as a request to a server on the tiny models: the first line is "METHOD PATH", the rest the
 * body. Every request gets an answer: a status that the server has, and with it a JSON value, in OpenAI's form where it
 * is an error. */
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/json.h"
#include "pgenrm_serve.h"

#define GOLDEN PGR_SOURCE_DIR "/tests/golden/"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct {
    pgr_server *server;
    pgr_serving what;
    pgr_cancel stop;
    pthread_t thread;
} live;

static void *work(void *ctx) {
    (void)ctx;
    PGR_ASSERT(pgr_server_run(live.server, &live.what, &live.stop, NULL) == PGR_OK);
    return NULL;
}

static void stop(void) {
    __atomic_store_n(&live.stop, 1, __ATOMIC_RELAXED);
    pthread_join(live.thread, NULL);
    pgr_server_close(live.server);
    pgr_embedder_close(live.what.embedder);
    pgr_engine_free(live.what.engine);
    pgr_model_close(live.what.model);
}

static void start(void) {
    pgr_serve_options o = pgr_serve_options_default();
    pgr_model_options mo = pgr_model_options_default();
    mo.dtype = PGR_DTYPE_EXACT;
    mo.n_thread = 1;
    o.listen = "127.0.0.1:0";
    o.deadline_s = 0.05;
    o.drain_s = 0;
    pgr_error err = {0};
    pgr_status s = pgr_server_open(&o, &live.server, &err);
    if (s == PGR_OK) s = pgr_model_open(GOLDEN "tiny-llama.gguf", &mo, &live.what.model, &err);
    if (s == PGR_OK) s = pgr_engine_create(live.what.model, NULL, &live.what.engine, &err);
    if (s == PGR_OK) s = pgr_embedder_open(GOLDEN "hf-tiny-bert", &mo, &live.what.embedder, &err);
    if (s != PGR_OK) fprintf(stderr, "%s\n", err.message);
    PGR_ASSERT(s == PGR_OK && pthread_create(&live.thread, NULL, work, NULL) == 0);
    atexit(stop);
}

/* ---- one request ---- */

static int dial(void) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)pgr_server_port(live.server))};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    PGR_ASSERT(fd >= 0 && connect(fd, (struct sockaddr *)&a, sizeof a) == 0);
    return fd;
}

static void say(int fd, const char *p, size_t n) {
    while (n > 0) {
        ssize_t k = send(fd, p, n, MSG_NOSIGNAL);
        if (k <= 0) return;
        p += k;
        n -= (size_t)k;
    }
}

static void hear_all(int fd, buf *out) {
    char bytes[4096];
    for (ssize_t k; (k = recv(fd, bytes, sizeof bytes, 0)) > 0;) buf_add(out, bytes, (size_t)k);
}

static void check_answer(const buf *got) {
    int status = 0;
    const char *body = got->data ? strstr(got->data, "\r\n\r\n") : NULL;
    PGR_ASSERT(body && sscanf(got->data, "HTTP/1.1 %d", &status) == 1 && status >= 200 && status <= 505);
    if (!strstr(got->data, "application/json")) return; /* a stream, metrics, or what HTTP itself was refused by */
    size_t n = got->n - (size_t)(body + 4 - got->data);
    json_t *v = json_loadb(body + 4, n, JSON_ALLOW_NUL | JSON_DECODE_ANY, NULL);
    if (n > 0) PGR_ASSERT(v);
    if (n > 0 && status >= 400) PGR_ASSERT(json_is_string(json_object_get(json_object_get(v, "error"), "message")));
    json_decref(v);
}

/* A word of the first line: what would be another header, or another request, is not the path's business here. */
static size_t word(const char *s, size_t n) {
    size_t k = 0;
    while (k < n && s[k] > ' ' && s[k] != 0x7F) k++;
    return k;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static bool started;
    if (!started) start();
    started = true;
    const char *s = (const char *)data;
    size_t method = word(s, size), path = method < size ? word(s + method + 1, size - method - 1) : 0;
    const char *line = size ? memchr(s, '\n', size) : NULL;
    if (method == 0 || path == 0 || !line || strncasecmp(s, "CONNECT", 7) == 0) return 0;
    size_t n = size - (size_t)(line + 1 - s);
    buf out = {0}, got = {0};
    buf_add(&out, s, method);
    buf_putc(&out, ' ');
    buf_add(&out, s + method + 1, path);
    buf_printf(&out, " HTTP/1.1\r\nHost: fuzz\r\nConnection: close\r\nContent-Length: %zu\r\n\r\n", n);
    buf_add(&out, line + 1, n);
    int fd = dial();
    say(fd, out.data, out.n);
    hear_all(fd, &got);
    close(fd);
    bool head = method == 4 && memcmp(s, "HEAD", 4) == 0;
    if (!head) check_answer(&got);
    buf_free(&out);
    buf_free(&got);
    return 0;
}
