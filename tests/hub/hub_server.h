/* hub_server.h - for tests: an HTTP server on 127.0.0.1 with a port of its own, that serves what a table says,
 * misbehaves as a table says, and remembers who asked for what. A thread per connection, one request per connection;
 * what is posted is read and answered as if it were asked for. */
#ifndef PGR_TESTS_HUB_HUB_SERVER_H
#define PGR_TESTS_HUB_HUB_SERVER_H

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { ROUTES_MAX = 64, LOG_MAX = 512, CONNECTIONS_MAX = 512 };

typedef struct hub_route {
    char path[200];
    /* makes the body from what was posted (n bytes, NUL behind), in the connection's thread: memory of malloc; *status
     * is the answer's, 200 at first. NULL: `body` as it is */
    char *(*make)(void *ctx, const char *posted, size_t n, int *status);
    void *ctx;
    const char *body; /* the caller's, until server_settle or server_stop */
    size_t n;
    char etag[100], linked_etag[100]; /* with their quotes; "": not sent */
    long linked_size;                 /* 0: not sent */
    char location[300];               /* "": no redirect (302) */
    bool ignore_range;
    bool no_length;         /* neither Content-Length nor chunks: the end of the connection is the end of the body */
    long lie;               /* Content-Length, where it is not the true one; 0: the true one */
    int delay_ms;
    /* the first `faults` requests */
    int faults;
    int fault_status;       /* answered with this status; 0: the body is cut after `cut` bytes */
    size_t cut;
    int stall_ms;            /* ... and this long after them */
    const char *retry_after; /* with fault_status; NULL: not sent */
    bool silent;            /* cut without any answer */
    int status;             /* of `make`'s answer */
} hub_route;

typedef struct asked {
    char path[200], authorization[100], range[60], if_range[100];
} asked;

typedef struct server {
    int port, fd;
    pthread_t thread, workers[CONNECTIONS_MAX];
    size_t n_worker;
    pthread_mutex_t lock; /* of all below */
    hub_route routes[ROUTES_MAX];
    size_t n_route;
    asked log[LOG_MAX];
    size_t n_asked;
    int active;                /* connections that are not closed yet */
    int waiting, most_waiting; /* requests whose answer has not begun to leave; the most of them at once */
} server;

typedef struct connection {
    server *s;
    int fd;
} connection;

static inline void send_all(int fd, const void *p, size_t n) {
    const char *c = p;
    while (n > 0) {
        ssize_t k = send(fd, c, n, MSG_NOSIGNAL);
        if (k <= 0) return;
        c += k;
        n -= (size_t)k;
    }
}

static inline void sleep_ms(int ms) {
    if (ms) nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000L}, NULL);
}

/* The request's head, up to its empty line. */
static inline bool read_head(int fd, char *head, size_t size) {
    size_t n = 0;
    while (n + 1 < size) {
        ssize_t k = recv(fd, head + n, size - 1 - n, 0);
        if (k <= 0) return false;
        n += (size_t)k;
        head[n] = '\0';
        if (strstr(head, "\r\n\r\n")) return true;
    }
    return false;
}

static inline void copy_header(const char *head, const char *name, char *out, size_t size) {
    out[0] = '\0';
    for (const char *line = head; (line = strstr(line, "\r\n")); ) {
        line += 2;
        if (strncasecmp(line, name, strlen(name)) != 0 || line[strlen(name)] != ':') continue;
        line += strlen(name) + 2;
        snprintf(out, size, "%.*s", (int)strcspn(line, "\r"), line);
        return;
    }
}

/* The body of a POST, of which a part may have come with the head: memory of malloc, NUL behind. */
static inline char *take_body(int fd, const char *head, size_t *n) {
    char length[60];
    copy_header(head, "Content-Length", length, sizeof length);
    const char *begun = strstr(head, "\r\n\r\n") + 4;
    size_t size = (size_t)atol(length);
    char *body = malloc(size + 1);
    if (!body) abort();
    *n = strlen(begun) < size ? strlen(begun) : size;
    memcpy(body, begun, *n);
    while (*n < size) {
        ssize_t k = recv(fd, body + *n, size - *n, 0);
        if (k <= 0) break;
        *n += (size_t)k;
    }
    body[*n] = '\0';
    return body;
}

static inline void send_answer(int fd, const hub_route *r, const asked *a, bool faulty) {
    char head[1500];
    int n;
    size_t from = 0;
    if (faulty && r->silent) return;
    if (faulty && r->fault_status) {
        n = snprintf(head, sizeof head,
                     "HTTP/1.1 %d Trouble\r\n%s%s%sContent-Length: 5\r\nConnection: close\r\n\r\noops\n",
                     r->fault_status,
                     r->retry_after ? "Retry-After: " : "", r->retry_after ? r->retry_after : "",
                     r->retry_after ? "\r\n" : "");
        send_all(fd, head, (size_t)n);
        return;
    }
    bool part = a->range[0] && !r->ignore_range && !r->location[0]
                && (!a->if_range[0] || strcmp(a->if_range, r->etag) == 0) && sscanf(a->range, "bytes=%zu-", &from) == 1;
    if (part && from >= r->n) {
        n = snprintf(head, sizeof head, "HTTP/1.1 416 Range\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        send_all(fd, head, (size_t)n);
        return;
    }
    if (!part) from = 0;
    n = snprintf(head, sizeof head, "HTTP/1.1 %s\r\nConnection: close\r\n",
                 r->location[0] ? "302 Found" : part ? "206 Partial Content"
                                                        : r->status > 200 ? "400 Wrong" : "200 OK");
#define PUT(...) n += snprintf(head + n, sizeof head - (size_t)n, __VA_ARGS__)
    if (r->location[0]) PUT("Location: %s\r\n", r->location);
    if (r->etag[0]) PUT("ETag: %s\r\n", r->etag);
    if (r->linked_etag[0]) PUT("X-Linked-Etag: %s\r\n", r->linked_etag);
    if (r->linked_size) PUT("X-Linked-Size: %ld\r\n", r->linked_size);
    if (part) PUT("Content-Range: bytes %zu-%zu/%zu\r\n", from, r->n - 1, r->n);
    if (!r->no_length) PUT("Content-Length: %ld\r\n", r->lie ? r->lie : (long)(r->n - from));
    PUT("\r\n");
#undef PUT
    send_all(fd, head, (size_t)n);
    size_t left = r->n - from;
    send_all(fd, r->body + from, faulty && r->cut < left ? r->cut : left);
    if (faulty) sleep_ms(r->stall_ms);
}

static inline void *serve_one(void *ctx) {
    connection c = *(connection *)ctx;
    free(ctx);
    char head[8192];
    hub_route r;
    asked a;
    memset(&r, 0, sizeof r);
    memset(&a, 0, sizeof a);
    bool faulty = false, found = false;
    if (!read_head(c.fd, head, sizeof head)
        || (sscanf(head, "GET %199s", a.path) != 1 && sscanf(head, "POST %199s", a.path) != 1)) {
        close(c.fd);
        return NULL;
    }
    size_t n_posted = 0;
    char *posted = take_body(c.fd, head, &n_posted), *made = NULL;
    copy_header(head, "Authorization", a.authorization, sizeof a.authorization);
    copy_header(head, "Range", a.range, sizeof a.range);
    copy_header(head, "If-Range", a.if_range, sizeof a.if_range);
    pthread_mutex_lock(&c.s->lock);
    c.s->active++;
    if (++c.s->waiting > c.s->most_waiting) c.s->most_waiting = c.s->waiting;
    if (c.s->n_asked < LOG_MAX) c.s->log[c.s->n_asked++] = a;
    for (size_t i = 0; i < c.s->n_route && !found; i++) {
        if (strcmp(c.s->routes[i].path, a.path) != 0) continue;
        found = true;
        r = c.s->routes[i];
        faulty = r.faults > 0;
        if (faulty) c.s->routes[i].faults--;
    }
    pthread_mutex_unlock(&c.s->lock);
    sleep_ms(r.delay_ms);
    if (!found) {
        r.fault_status = 404;
        faulty = true;
    }
    if (r.make && !(faulty && (r.fault_status || r.silent))) {
        int status = 200;
        made = r.make(r.ctx, posted, n_posted, &status);
        r.body = made;
        r.n = strlen(made);
        r.status = status;
    }
    /* Counted out before its last byte can be read: who asks again upon that is no second one beside it. */
    pthread_mutex_lock(&c.s->lock);
    c.s->waiting--;
    pthread_mutex_unlock(&c.s->lock);
    send_answer(c.fd, &r, &a, faulty);
    free(posted);
    free(made);
    shutdown(c.fd, SHUT_RDWR);
    close(c.fd);
    pthread_mutex_lock(&c.s->lock);
    c.s->active--;
    pthread_mutex_unlock(&c.s->lock);
    return NULL;
}

static inline void *serve(void *ctx) {
    server *s = ctx;
    for (int fd; (fd = accept4(s->fd, NULL, NULL, SOCK_CLOEXEC)) >= 0;) {
        connection *c = malloc(sizeof *c);
        if (!c || s->n_worker == CONNECTIONS_MAX) abort();
        *c = (connection){s, fd};
        if (pthread_create(&s->workers[s->n_worker++], NULL, serve_one, c) != 0) abort();
    }
    return NULL;
}

static inline server *server_start(void) {
    server *s = calloc(1, sizeof *s);
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof at;
    if (!s) abort();
    pthread_mutex_init(&s->lock, NULL);
    s->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (s->fd < 0 || bind(s->fd, (struct sockaddr *)&at, n) != 0 || listen(s->fd, 64) != 0
        || getsockname(s->fd, (struct sockaddr *)&at, &n) != 0)
        abort();
    s->port = ntohs(at.sin_port);
    if (pthread_create(&s->thread, NULL, serve, s) != 0) abort();
    return s;
}

/* Waits until no request is being answered: what the routes point to may then change. */
static inline void server_settle(server *s) {
    for (int active = 1; active > 0; sleep_ms(active > 0 ? 2 : 0)) {
        pthread_mutex_lock(&s->lock);
        active = s->active;
        pthread_mutex_unlock(&s->lock);
    }
}

static inline void server_stop(server *s) {
    shutdown(s->fd, SHUT_RDWR);
    pthread_join(s->thread, NULL);
    for (size_t i = 0; i < s->n_worker; i++) pthread_join(s->workers[i], NULL);
    close(s->fd);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

/* A new route, or the one that has this path, to be filled in before the next request. */
static inline hub_route *server_route(server *s, const char *path, const char *body, size_t n) {
    hub_route *r = NULL;
    pthread_mutex_lock(&s->lock);
    for (size_t i = 0; i < s->n_route; i++)
        if (strcmp(s->routes[i].path, path) == 0) r = &s->routes[i];
    if (!r) {
        if (s->n_route == ROUTES_MAX) abort();
        r = &s->routes[s->n_route++];
    }
    memset(r, 0, sizeof *r);
    snprintf(r->path, sizeof r->path, "%s", path);
    r->body = body;
    r->n = n;
    pthread_mutex_unlock(&s->lock);
    return r;
}

/* How many requests for the path came; *last: the last of them. */
static inline size_t server_asked(server *s, const char *path, asked *last) {
    size_t n = 0;
    pthread_mutex_lock(&s->lock);
    for (size_t i = 0; i < s->n_asked; i++) {
        if (strcmp(s->log[i].path, path) != 0) continue;
        n++;
        if (last) *last = s->log[i];
    }
    pthread_mutex_unlock(&s->lock);
    return n;
}

#endif
