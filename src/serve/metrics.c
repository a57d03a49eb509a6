/* metrics.c - see metrics.h. */
#include "serve/metrics.h"

#include <math.h>
#include <pthread.h>
#include <string.h>

#include "base/mem.h"

static const double BOUNDS[] = {0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 180};
enum { N_BOUND = sizeof BOUNDS / sizeof *BOUNDS, STATUSES_MOST = 24, ROUTES_COUNTED = 96 };

typedef struct row { /* of a route */
    const char *route;
    struct {
        int status; /* 0: free */
        uint64_t n;
    } by[STATUSES_MOST];
    uint64_t within[N_BOUND + 1]; /* the last one: more */
    uint64_t n;
    double seconds;
} row;

struct metrics {
    pthread_mutex_t lock; /* of all below */
    row rows[ROUTES_COUNTED];
    size_t n_row; /* row 0 is "other" */
    uint64_t n_read, n_written, n_gone, n_user;
};

pgr_status metrics_create(metrics **out, pgr_error *err) {
    metrics *m = mem_zero(1, sizeof *m);
    if (!m) return fail_mem(err);
    pthread_mutex_init(&m->lock, NULL);
    m->rows[0].route = "other";
    m->n_row = 1;
    *out = m;
    return PGR_OK;
}

void metrics_free(metrics *m) {
    if (!m) return;
    pthread_mutex_destroy(&m->lock);
    mem_free(m);
}

static row *find_row(metrics *m, const char *route) {
    for (size_t i = 0; i < m->n_row; i++)
        if (strcmp(m->rows[i].route, route) == 0) return &m->rows[i];
    if (m->n_row == ROUTES_COUNTED) return &m->rows[0];
    m->rows[m->n_row].route = route;
    return &m->rows[m->n_row++];
}

static void count_status(row *r, int status) {
    size_t i = 0;
    while (i + 1 < STATUSES_MOST && r->by[i].status && r->by[i].status != status) i++;
    r->by[i].status = status;
    r->by[i].n++;
}

void metrics_add(metrics *m, const char *route, int status, double seconds, size_t n_read, size_t n_written) {
    size_t bound = 0;
    while (bound < N_BOUND && seconds > BOUNDS[bound]) bound++;
    pthread_mutex_lock(&m->lock);
    row *r = find_row(m, route);
    count_status(r, status);
    r->within[bound]++;
    r->n++;
    r->seconds += seconds;
    m->n_read += n_read;
    m->n_written += n_written;
    pthread_mutex_unlock(&m->lock);
}

void metrics_count_gone(metrics *m) {
    pthread_mutex_lock(&m->lock);
    m->n_gone++;
    pthread_mutex_unlock(&m->lock);
}

void metrics_count_read(metrics *m) {
    pthread_mutex_lock(&m->lock);
    m->n_user++;
    pthread_mutex_unlock(&m->lock);
}

/* ---- the text ---- */

static void put_head(buf *out, const char *name, const char *type, const char *help) {
    buf_printf(out, "# HELP pgenrm_%s %s\n# TYPE pgenrm_%s %s\n", name, help, name, type);
}

static void put_one(buf *out, const char *name, const char *type, const char *help, double value) {
    put_head(out, name, type, help);
    buf_printf(out, "pgenrm_%s %.17g\n", name, value);
}

static void put_statuses(const metrics *m, buf *out) {
    put_head(out, "requests_total", "counter", "Answers by route and status.");
    for (size_t i = 0; i < m->n_row; i++)
        for (size_t k = 0; k < STATUSES_MOST && m->rows[i].by[k].status; k++)
            buf_printf(out, "pgenrm_requests_total{route=\"%s\",status=\"%d\"} %llu\n", m->rows[i].route,
                       m->rows[i].by[k].status, (unsigned long long)m->rows[i].by[k].n);
}

static void put_seconds(const metrics *m, buf *out) {
    put_head(out, "request_seconds", "histogram", "Seconds from a request's beginning to the end of its answer.");
    for (size_t i = 0; i < m->n_row; i++) {
        const row *r = &m->rows[i];
        uint64_t sum = 0;
        if (r->n == 0) continue;
        for (size_t k = 0; k < N_BOUND; k++) {
            sum += r->within[k];
            buf_printf(out, "pgenrm_request_seconds_bucket{route=\"%s\",le=\"%g\"} %llu\n", r->route, BOUNDS[k],
                       (unsigned long long)sum);
        }
        buf_printf(out, "pgenrm_request_seconds_bucket{route=\"%s\",le=\"+Inf\"} %llu\n", r->route,
                   (unsigned long long)r->n);
        buf_printf(out, "pgenrm_request_seconds_sum{route=\"%s\"} %.9g\n", r->route, r->seconds);
        buf_printf(out, "pgenrm_request_seconds_count{route=\"%s\"} %llu\n", r->route, (unsigned long long)r->n);
    }
}

void metrics_text(metrics *m, const worker_load *load, buf *out) {
    pthread_mutex_lock(&m->lock);
    put_statuses(m, out);
    put_seconds(m, out);
    put_one(out, "prompt_tokens_total", "counter", "Tokens of the prompts of answered requests.", (double)m->n_read);
    put_one(out, "completion_tokens_total", "counter", "Tokens written for answered requests.", (double)m->n_written);
    put_one(out, "users_read_total", "counter", "Users read from the store to be judged for.", (double)m->n_user);
    put_one(out, "clients_gone_total", "counter", "Requests whose client went before the answer.", (double)m->n_gone);
    pthread_mutex_unlock(&m->lock);
    const engine_load *e = &load->engine;
    put_one(out, "queue_length", "gauge", "Requests that wait or run.", (double)load->n_open);
    put_one(out, "queue_limit", "gauge", "Requests that may wait or run at a time.", (double)load->max_open);
    put_one(out, "queue_oldest_seconds", "gauge", "What the oldest of them has waited.", load->since_s);
    put_one(out, "held", "gauge", "Trainers' requests beside the queue, held until there is room.",
            (double)load->n_held);
    put_one(out, "held_limit", "gauge", "Requests that may be held at a time.", (double)load->max_held);
    put_one(out, "held_bytes", "gauge", "Bytes of their bodies.", (double)load->n_held_bytes);
    put_one(out, "held_oldest_seconds", "gauge", "What the first of them has been held.", load->held_since_s);
    put_head(out, "held_seconds", "summary", "Seconds for which requests were held that are no more.");
    buf_printf(out, "pgenrm_held_seconds_sum %.9g\npgenrm_held_seconds_count %llu\n", load->was_held_s,
               (unsigned long long)load->n_was_held);
    put_one(out, "chains_running", "gauge", "Chains that are being written.", (double)e->n_running);
    put_one(out, "chains_waiting", "gauge", "Chains that wait for a place.", (double)e->n_waiting);
    put_one(out, "engine_read_tokens_total", "counter", "Prompt tokens that the engine has read, known ones too.",
            (double)e->n_read);
    put_one(out, "engine_written_tokens_total", "counter", "Tokens that the engine has written.", (double)e->n_written);
}
