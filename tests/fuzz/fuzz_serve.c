/* fuzz_serve.c - any bytes as a request to a server on the tiny models: the first line is "METHOD PATH", the rest the
 * body. Every request gets an answer: a status that the server has, and with it a JSON value, in OpenAI's form where it
 * is an error. The server has a store, prototypes and an embedder, so that every route is there, and asks for no token;
 * what is written stays, so that one input's user is the next one's. The stream of bytes itself: fuzz_http.c. */
#include "served.h"

static void hear_all(int fd, buf *out) {
    char bytes[4096];
    ssize_t k;
    while ((k = hear(fd, bytes, sizeof bytes)) > 0) buf_add(out, bytes, (size_t)k);
    if (k < 0) perror("a connection that was cut");
}

static void check_answer(const buf *got) {
    int status = 0;
    bool json = false;
    size_t head = got->n ? read_head(got->data, got->n, &status, &json) : 0;
    if (head == 0)
        fprintf(stderr, "heard %zu bytes: %.*s\n", got->n, got->n ? (int)got->n : 0, got->n ? got->data : "");
    PGR_ASSERT(head > 0 && status >= 200);
    if (json && got->n > head) check_json(status, got->data + head, got->n - head);
}

/* A word of the first line: what would be another header, or another request, is not the path's business here. */
static size_t word(const char *s, size_t n) {
    size_t k = 0;
    while (k < n && s[k] > ' ' && s[k] != 0x7F) k++;
    return k;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static bool started;
    if (!started) live_start(NULL);
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
