/* audit.c - see audit.h. */
#include "serve/audit.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"

struct audit {
    pthread_mutex_t lock; /* of what follows */
    int fd;
    bool torn;   /* the file ends within a line */
    size_t lost; /* lines since the last one that says so */
};

pgr_status audit_open(const char *path, audit **out, pgr_error *err) {
    *out = NULL;
    if (!path) return PGR_OK;
    int fd = strcmp(path, "-") == 0 ? fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3)
                                    : open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fd < 0) return fail(err, PGR_E_IO, "%s: %s", path, strerror(errno));
    audit *a = mem_zero(1, sizeof *a);
    if (!a) {
        close(fd);
        return fail_mem(err);
    }
    pthread_mutex_init(&a->lock, NULL);
    a->fd = fd;
    *out = a;
    return PGR_OK;
}

static void put_time(buf *text) {
    char when[32];
    time_t now = time(NULL);
    struct tm tm;
    strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &tm));
    buf_printf(text, "{\"time\":\"%s\"", when);
}

static void put_line(buf *text, const audit_line *line) {
    put_time(text);
    buf_puts(text, ",\"method\":");
    json_put_string(text, line->method, strlen(line->method));
    buf_printf(text, ",\"route\":\"%s\",\"status\":%d,\"token\":%d,\"user\":", line->route, line->status, line->token);
    json_put_string(text, line->user, strlen(line->user));
    buf_printf(text, ",\"seconds\":%.4f,\"read\":%zu,\"written\":%zu}\n", line->seconds, line->n_read, line->n_written);
}

/* n bytes of text are to be written, the first n_before of which tell of what is lost. */
static void put(audit *a, const char *text, size_t n, size_t n_before) {
    ssize_t got = n > 0 ? write(a->fd, text, n) : -1;
    size_t k = got > 0 ? (size_t)got : 0;
    const char *why = n > 0 && got < 0 ? strerror(errno) : n == 0 ? "no memory" : "it was cut";
    if (n_before > 0 && k >= n_before) {
        log_warn("%zu lines of the audit log are missing", a->lost);
        a->lost = 0;
    }
    if (k > 0) a->torn = text[k - 1] != '\n';
    if (n > 0 && k == n) return;
    if (a->lost++ == 0) log_warn("a line of the audit log could not be written: %s", why);
}

void audit_put(audit *a, const audit_line *line) {
    if (!a) return;
    buf text = {0};
    pthread_mutex_lock(&a->lock);
    if (a->torn) buf_putc(&text, '\n');
    if (a->lost > 0) {
        put_time(&text);
        buf_printf(&text, ",\"lost\":%zu}\n", a->lost);
    }
    size_t n_before = a->lost > 0 ? text.n : 0;
    put_line(&text, line);
    put(a, text.data, text.failed ? 0 : text.n, n_before);
    pthread_mutex_unlock(&a->lock);
    buf_free(&text);
}

void audit_close(audit *a) {
    if (!a) return;
    close(a->fd);
    pthread_mutex_destroy(&a->lock);
    mem_free(a);
}
