/* log.c - the log level, and one write per line so that lines of several threads do not mix. */
#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"
#include "pgenrm.h"

static atomic_int log_level = LOG_WARN;

void pgr_log_level(int level) {
    atomic_store(&log_level, level);
}

void log_at(int level, const char *format, ...) {
    static const char *const names[] = {"error", "warning", "info", "debug"};
    if (level > atomic_load_explicit(&log_level, memory_order_relaxed)) return;
    int saved = errno;
    if (level < LOG_ERROR) level = LOG_ERROR;
    if (level > LOG_DEBUG) level = LOG_DEBUG;

    char line[1024];
    int head = snprintf(line, sizeof line, "pgenrm: %s: ", names[level]);
    size_t room = sizeof line - (size_t)head - 1; /* one byte is the newline's */
    errno = saved;                                /* for %m */
    va_list ap;
    va_start(ap, format);
    int n = vsnprintf(line + head, room, format, ap);
    va_end(ap);

    size_t len = n < 0 ? 0 : (size_t)n;
    if (len >= room) len = utf8_complete(line + head, room - 1);
    len += (size_t)head;
    line[len++] = '\n';
    if (write(STDERR_FILENO, line, len) < 0) { /* nowhere left to say so */
    }
    errno = saved;
}
