/* metrics.h - what the server has done, counted: answers by route and status, seconds, tokens. Any thread. */
#ifndef PGR_SERVE_METRICS_H
#define PGR_SERVE_METRICS_H

#include "base/buf.h"
#include "base/status.h"
#include "serve/worker.h"

typedef struct metrics metrics;

pgr_status metrics_create(metrics **out, pgr_error *err);
void metrics_free(metrics *m); /* NULL is fine */

/* An answer. route: static, of the table, "other" where there was none. Without memory it is counted under "other". */
void metrics_add(metrics *m, const char *route, int status, double seconds, size_t n_read, size_t n_written);
void metrics_count_gone(metrics *m); /* a client went before its answer */
void metrics_count_read(metrics *m); /* a user was read from the store */

/* Prometheus' text format (version 0.0.4). */
void metrics_text(metrics *m, const worker_load *load, buf *out);

#endif
