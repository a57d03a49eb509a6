/* conns.c - see conns.h. */
#include "serve/conns.h"

#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "base/clock.h"
#include "base/mem.h"
#include "serve/call_parts.h"

/* The HTTP library does not see that a client has closed its half if that came together with its last request. It has
 * this long to read what came before. */
enum { LEFT_MOST_S = 1 };

struct conn {
    conn *before, *after;
    int fd;
    conn_phase phase;
    double since;
    call *call;
    bool shut; /* it was closed for being late, or its client reported */
};

struct conns {
    pthread_mutex_t lock; /* of all below */
    pthread_cond_t stop;
    conn *first;
    double read_s;
    bool stopping;
    pthread_t thread;
};

/* ---- the watch ---- */

static void answer_late(int fd) {
    static const char text[] = "HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    (void)!send(fd, text, sizeof text - 1, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static bool is_late(const conns *l, const conn *c, double now) {
    switch (c->phase) {
    case CONN_IDLE:
        return now - c->since > IDLE_MOST_S;
    case CONN_READING:
    case CONN_WRITING:
        return now - c->since > l->read_s;
    case CONN_WAITING:
    case CONN_STREAM:
        return false;
    }
    return false;
}

/* The other end is closed, or was reset. */
static bool client_left(int fd) {
    struct pollfd p = {.fd = fd, .events = POLLRDHUP};
    return poll(&p, 1, 0) == 1 && (p.revents & (POLLRDHUP | POLLHUP | POLLERR));
}

/* A sleeping connection is not looked at by the HTTP library: it is woken, and finds out. */
static void report_gone(call *c) {
    atomic_store(&c->gone, true);
    pthread_mutex_lock(&c->lock);
    call_rouse(c);
    pthread_mutex_unlock(&c->lock);
    worker_wake(c->server->worker);
}

/* A stream to which nothing is added is an answer like others. */
static bool is_written(call *c) {
    pthread_mutex_lock(&c->lock);
    bool written = c->state == CALL_ENDED;
    pthread_mutex_unlock(&c->lock);
    return written;
}

static void look_at(conns *l, conn *c, double now) {
    if (c->shut) return;
    if (c->phase == CONN_STREAM && c->call && is_written(c->call)) {
        c->phase = CONN_WRITING;
        c->since = now;
    }
    if (is_late(l, c, now)) {
        c->shut = true;
        if (c->phase == CONN_READING) answer_late(c->fd);
        shutdown(c->fd, SHUT_RDWR);
    } else if (c->call && client_left(c->fd)) {
        c->shut = true;
        report_gone(c->call);
    } else if (c->phase == CONN_IDLE && now - c->since > LEFT_MOST_S && client_left(c->fd)) {
        c->shut = true;
        shutdown(c->fd, SHUT_RDWR);
    }
}

static void *watch_conns(void *ctx) {
    conns *l = ctx;
    pthread_mutex_lock(&l->lock);
    while (!l->stopping) {
        double now = clock_now();
        for (conn *c = l->first; c; c = c->after) look_at(l, c, now);
        struct timespec until;
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_nsec += 100000000;
        until.tv_sec += until.tv_nsec / 1000000000;
        until.tv_nsec %= 1000000000;
        pthread_cond_timedwait(&l->stop, &l->lock, &until);
    }
    pthread_mutex_unlock(&l->lock);
    return NULL;
}

/* ---- the list ---- */

pgr_status conns_create(double read_s, conns **out, pgr_error *err) {
    conns *l = mem_zero(1, sizeof *l);
    if (!l) return fail_mem(err);
    pthread_condattr_t by;
    pthread_condattr_init(&by);
    pthread_condattr_setclock(&by, CLOCK_MONOTONIC);
    pthread_mutex_init(&l->lock, NULL);
    pthread_cond_init(&l->stop, &by);
    pthread_condattr_destroy(&by);
    l->read_s = read_s;
    int failed = pthread_create(&l->thread, NULL, watch_conns, l);
    if (failed) {
        pthread_cond_destroy(&l->stop);
        pthread_mutex_destroy(&l->lock);
        mem_free(l);
        return fail(err, PGR_E_IO, "no thread for connections: %s", strerror(failed));
    }
    *out = l;
    return PGR_OK;
}

void conns_free(conns *l) {
    if (!l) return;
    pthread_mutex_lock(&l->lock);
    PGR_ASSERT(!l->first);
    l->stopping = true;
    pthread_cond_signal(&l->stop);
    pthread_mutex_unlock(&l->lock);
    pthread_join(l->thread, NULL);
    pthread_cond_destroy(&l->stop);
    pthread_mutex_destroy(&l->lock);
    mem_free(l);
}

size_t conns_answering(conns *l) {
    size_t n = 0;
    pthread_mutex_lock(&l->lock);
    for (conn *c = l->first; c; c = c->after) n += c->phase >= CONN_WAITING && !c->shut;
    pthread_mutex_unlock(&l->lock);
    return n;
}

conn *conn_add(conns *l, int fd) {
    conn *c = mem_zero(1, sizeof *c);
    if (!c) return NULL;
    c->fd = fd;
    c->phase = CONN_READING; /* who connects has something to say */
    c->since = clock_now();
    pthread_mutex_lock(&l->lock);
    c->after = l->first;
    if (l->first) l->first->before = c;
    l->first = c;
    pthread_mutex_unlock(&l->lock);
    return c;
}

void conn_drop(conns *l, conn *c) {
    if (!c) return;
    pthread_mutex_lock(&l->lock);
    *(c->before ? &c->before->after : &l->first) = c->after;
    if (c->after) c->after->before = c->before;
    pthread_mutex_unlock(&l->lock);
    mem_free(c);
}

void conn_enter(conns *l, conn *c, conn_phase phase, call *call) {
    if (!c) return;
    pthread_mutex_lock(&l->lock);
    c->phase = phase;
    c->since = clock_now();
    c->call = call;
    pthread_mutex_unlock(&l->lock);
}
