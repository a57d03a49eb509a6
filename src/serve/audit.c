/* audit.c - see audit.h. */
#include "serve/audit.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/json.h"
#include "base/log.h"

pgr_status audit_open(const char *path, int *fd, pgr_error *err) {
    *fd = -1;
    if (!path) return PGR_OK;
    *fd = strcmp(path, "-") == 0 ? fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3)
                                 : open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    return *fd >= 0 ? PGR_OK : fail(err, PGR_E_IO, "%s: %s", path, strerror(errno));
}

void audit_put(int fd, const audit_line *line) {
    if (fd < 0) return;
    char when[32];
    time_t now = time(NULL);
    struct tm tm;
    strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &tm));
    buf text = {0};
    buf_printf(&text, "{\"time\":\"%s\",\"method\":", when);
    json_put_string(&text, line->method, strlen(line->method));
    buf_printf(&text, ",\"route\":\"%s\",\"status\":%d,\"token\":%d,\"user\":", line->route, line->status, line->token);
    json_put_string(&text, line->user, strlen(line->user));
    buf_printf(&text, ",\"seconds\":%.4f,\"read\":%zu,\"written\":%zu}\n", line->seconds, line->n_read,
               line->n_written);
    if (text.failed || write(fd, text.data, text.n) != (ssize_t)text.n) log_warn("a line of the audit log is missing");
    buf_free(&text);
}

void audit_close(int fd) {
    if (fd >= 0) close(fd);
}
