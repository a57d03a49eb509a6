/* log.h - lines on standard error by level (pgr_log_level). */
#ifndef PGR_BASE_LOG_H
#define PGR_BASE_LOG_H

enum { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

void log_at(int level, const char *format, ...) __attribute__((format(printf, 2, 3)));
#define log_warn(...) log_at(LOG_WARN, __VA_ARGS__)
#define log_info(...) log_at(LOG_INFO, __VA_ARGS__)
#define log_debug(...) log_at(LOG_DEBUG, __VA_ARGS__)

#endif
