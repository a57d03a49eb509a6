/* fuzz_http.c - any bytes at all as what a client says on a connection: request lines, heads, bodies by length and in
 * chunks, several requests, none that is whole. 0xFF, which stands nowhere in HTTP, is where the client takes a breath.
 *
 * What it hears is a row of whole answers, of which the last one may be cut, as the client hangs up when it hears no
 * more; the server then closes the connection; it shows nobody the secret of tenant b, whose token no input knows; and
 * it answers others as before. */
#include "served.h"

#define TOKENS "t a:\n9c1f3e0a5d7b48e2a6c09d134f5b7e86 b:\n"

enum {
    QUIET_MS = 10,      /* without a word: the client has heard all that it will */
    LONGEST_MS = 60000, /* and the server has closed the connection by then, also on a busy machine */
};

/* Sends pieces, then reads until nothing comes, hangs up on its side, and reads to the end. */
static void talk(int fd, const char *s, size_t n, buf *out) {
    for (const char *end = s + n; s < end;) {
        const char *stop = memchr(s, 0xFF, (size_t)(end - s));
        size_t piece = (size_t)((stop ? stop : end) - s);
        say(fd, s, piece);
        s += piece + (stop != NULL);
        if (stop) poll(NULL, 0, 1);
    }
    char bytes[4096];
    bool hung_up = false;
    for (;;) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        int n = poll(&p, 1, hung_up ? LONGEST_MS : QUIET_MS);
        if (n < 0) continue; /* libFuzzer's clock */
        if (n == 0) {
            PGR_ASSERT(!hung_up);
            hung_up = true;
            shutdown(fd, SHUT_WR);
            continue;
        }
        ssize_t k = hear(fd, bytes, sizeof bytes);
        if (k <= 0) return;
        buf_add(out, bytes, (size_t)k);
    }
}

/* ---- a row of answers ---- */

/* Content-Length of a head; -1: none */
static long length_of(const char *p, size_t head) {
    char *text = strndup(p, head);
    PGR_ASSERT(text);
    const char *at = strcasestr(text, "\r\nContent-Length: ");
    long n = at ? strtol(at + 18, NULL, 10) : -1;
    free(text);
    return n;
}

static bool is_chunked(const char *p, size_t head) {
    char *text = strndup(p, head);
    PGR_ASSERT(text);
    bool chunked = strcasestr(text, "\r\nTransfer-Encoding: chunked") != NULL;
    free(text);
    return chunked;
}

/* Bytes of a body in chunks; 0: it is cut. */
static size_t chunks(const char *p, size_t n) {
    size_t at = 0;
    for (;;) {
        const char *line = memmem(p + at, n - at, "\r\n", 2);
        if (!line) return 0;
        char *end;
        size_t size = strtoul(p + at, &end, 16);
        PGR_ASSERT(end == line || *end == ';');
        at = (size_t)(line + 2 - p);
        if (n - at < size + 2) return 0;
        PGR_ASSERT(memcmp(p + at + size, "\r\n", 2) == 0);
        at += size + 2;
        if (size == 0) return at;
    }
}

/* Bytes of the body behind a head; SIZE_MAX: it is cut, or goes on to the end. An answer to HEAD has none: there, and
 * only there, the next answer or the end comes at once. */
static size_t body_of(const char *p, size_t head, size_t n, int status) {
    size_t left = n - head;
    if (status < 200 || status == 204 || status == 304 || left == 0) return 0;
    if (left >= 7 && memcmp(p + head, "HTTP/1.", 7) == 0) return 0;
    if (is_chunked(p, head)) {
        size_t k = chunks(p + head, left);
        return k ? k : SIZE_MAX;
    }
    long said = length_of(p, head);
    return said < 0 || (size_t)said > left ? SIZE_MAX : (size_t)said;
}

static void check_answers(const char *p, size_t n) {
    while (n > 0) {
        int status = 0;
        bool json = false;
        size_t head = read_head(p, n, &status, &json);
        if (!head) return;
        size_t body = body_of(p, head, n, status);
        if (body == SIZE_MAX) return;
        if (json && body > 0 && !is_chunked(p, head)) check_json(status, p + head, body);
        p += head + body;
        n -= head + body;
    }
}

/* ---- others ---- */

static void is_well(void) {
    static const char ASK[] = "GET /health HTTP/1.1\r\nHost: other\r\n\r\n";
    static int fd = -1;
    static unsigned n_asked;
    if (n_asked++ % 100 == 0) { /* a connection lasts for many questions, but not for ever */
        if (fd >= 0) close(fd);
        fd = dial();
    }
    char answer[1024];
    size_t n = 0;
    say(fd, ASK, sizeof ASK - 1);
    do {
        ssize_t k = hear(fd, answer + n, sizeof answer - 1 - n);
        PGR_ASSERT(k > 0);
        n += (size_t)k;
        answer[n] = '\0';
    } while (!strchr(answer, '}') && n < sizeof answer - 1);
    PGR_ASSERT(strncmp(answer, "HTTP/1.1 200 ", 13) == 0 || strstr(answer, "\"loading\"")); /* at the beginning */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static bool started;
    if (!started) live_start(TOKENS);
    started = true;
    if (memmem(data, size, SECRET, sizeof SECRET - 1)) return 0; /* who says it may hear it again */
    buf got = {0};
    int fd = dial();
    talk(fd, (const char *)data, size, &got);
    close(fd);
    PGR_ASSERT(got.n == 0 || !memmem(got.data, got.n, SECRET, sizeof SECRET - 1));
    if (got.n) check_answers(got.data, got.n);
    is_well();
    buf_free(&got);
    return 0;
}
