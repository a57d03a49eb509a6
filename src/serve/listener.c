/* listener.c - libmicrohttpd's callbacks: connections, heads, bodies, answers. See listener.h.
 *
 * A call is refused as soon as its head says why; a body that is not too long is then read over, so that the connection
 * can be used again. When the body is there, the handler answers, or it submits a task and the connection sleeps until
 * the task has answered. */
#include "serve/listener.h"

#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"
#include "serve/audit.h"
#include "serve/call_parts.h"
#include "serve/conns.h"

enum {
    HEAD_MOST = 32 << 10,    /* bytes of a request's head; it is also what an answer is sent through */
    DISCARD_MOST = 32 << 20, /* bytes of a refused request's body that are read over */
    PATH_MOST = 2048,
};

struct listener {
    pgr_server *s;
    struct MHD_Daemon *daemon;
    conns *conns;
};

/* ---- the way to a route ---- */

/* The path of a route that is nearest to this one; NULL: none is near. */
static const char *nearest_path(const pgr_server *s, const char *path) {
    const char *paths[ROUTES_MOST + 1] = {NULL};
    for (size_t i = 0; i < s->n_route; i++) paths[i] = s->routes[i].path;
    return text_nearest(path, paths);
}

static void refuse_path(call *c, const char *allow) {
    if (!*allow) {
        const char *near = nearest_path(c->server, c->path);
        call_fail(c, 404, "invalid_request_error", NULL, "not_found", "there is no such path%s%s (docs/serve.md)",
                  near ? ", perhaps " : "", near ? near : "");
        return;
    }
    snprintf(c->allowed, sizeof c->allowed, "%s", allow);
    c->allow = c->allowed;
    call_fail(c, 405, "invalid_request_error", NULL, "method_not_allowed", "%s: expected %s", c->method, allow);
}

static void find_routes(call *c, const char *url) {
    char allow[64] = "";
    size_t n = strlen(url);
    if (n > PATH_MOST || !(c->path = mem_strdup(url))) {
        call_fail(c, n > PATH_MOST ? 414 : 503, "invalid_request_error", NULL, NULL, "the path has %zu bytes", n);
        return;
    }
    const char *rest = NULL;
    c->routes = server_find(c->server, c->method, c->path, &c->n_route, allow, &rest);
    if (!c->routes) {
        refuse_path(c, allow);
        return;
    }
    c->route = c->routes; /* until the body tells */
    if (!rest) return;
    c->rest = c->path + (rest - c->path);
    if (!call_decode(c->rest) || !utf8_valid(c->rest, strlen(c->rest)))
        call_refuse(c, NULL, "path: expected UTF-8, percent-encoded, without NUL");
}

static void check_token(call *c) {
    if (c->route->flags & ROUTE_OPEN) return;
    if (!access_check(c->server->access, call_header(c, MHD_HTTP_HEADER_AUTHORIZATION), &c->grant))
        call_fail(c, 401, "authentication_error", NULL, "invalid_api_key",
                  "expected a token of this server: Authorization: Bearer TOKEN, or Basic with it as password");
}

static void check_browser(call *c) {
    const char *host = call_header(c, MHD_HTTP_HEADER_HOST);
    bool reads = strcmp(c->method, "GET") == 0 || strcmp(c->method, "HEAD") == 0;
    if (c->route->flags & ROUTE_OPEN) return;
    if (!access_wants_tokens(c->server->access) && access_is_public(host))
        call_fail(
            c, 403, "permission_error", NULL, "host",
            "Host: found a public name, expected localhost or an address; with a file of tokens any name will do");
    else if (!reads
             && access_is_foreign(call_header(c, MHD_HTTP_HEADER_ORIGIN), call_header(c, "Sec-Fetch-Site"), host))
        call_fail(c, 403, "permission_error", NULL, "cross_origin", "a page of another origin may not ask this server");
}

static void check_phase(call *c) {
    server_phase phase = atomic_load(&c->server->phase);
    if (phase == SERVER_READY || (c->route->flags & ROUTE_ALWAYS)) return;
    bool loading = phase == SERVER_LOADING;
    call_fail(c, 503, "server_error", NULL, loading ? "loading" : "stopping",
              loading ? "the model is loading" : "the server stops");
}

static void check_deadline(call *c) {
    const char *given = call_header(c, "X-Deadline-S");
    char *end;
    if (!given) return;
    double s = strtod(given, &end);
    if (end != given && !*end && s > 0 && s <= 86400)
        c->deadline = c->start + s;
    else
        call_refuse(c, "X-Deadline-S", "X-Deadline-S: expected seconds above 0, at most 86400");
}

/* Content-Length; 0: there is none. */
static unsigned long long said_length(call *c) {
    const char *given = call_header(c, MHD_HTTP_HEADER_CONTENT_LENGTH);
    return given ? strtoull(given, NULL, 10) : 0;
}

static bool is_open(call *c) { /* nobody has answered */
    pthread_mutex_lock(&c->lock);
    bool open = c->state == CALL_OPEN;
    pthread_mutex_unlock(&c->lock);
    return open;
}

static void refuse_body(call *c) {
    call_fail(c, 413, "invalid_request_error", NULL, "body_too_large", "the body has more than %zu bytes",
              c->server->o.max_body);
}

static void check_head(call *c, const char *url) {
    find_routes(c, url);
    if (is_open(c)) check_browser(c);
    if (is_open(c)) check_token(c);
    if (is_open(c)) check_phase(c);
    if (is_open(c)) check_deadline(c);
    if (is_open(c) && said_length(c) > c->server->o.max_body) refuse_body(c);
}

/* ---- the body ---- */

/* False: more than we read over. */
static bool take_body(call *c, const char *bytes, size_t n) {
    if (!c->discards && c->body.n + n > c->server->o.max_body) {
        refuse_body(c);
        c->discards = true;
    }
    if (c->discards) {
        c->n_discarded += n;
        return c->n_discarded <= DISCARD_MOST;
    }
    buf_add(&c->body, bytes, n);
    return true;
}

/* Of the forms of one path the one that the body's keys tell. */
static void choose_form(call *c) {
    const route *plain = NULL, *chosen = NULL;
    const json_t *body = NULL;
    for (size_t i = 0; i < c->n_route && !chosen; i++) {
        const route *r = &c->routes[i];
        if (!r->key) {
            plain = r;
            continue;
        }
        if (!body && !(body = call_json(c))) return;
        if (json_object_get(body, r->key)) chosen = r;
    }
    c->route = chosen ? chosen : plain;
    if (!c->route) call_refuse(c, c->routes[0].key, "body: expected the key %s", c->routes[0].key);
}

static void run_handler(call *c) {
    pgr_server *s = c->server;
    pthread_mutex_lock(&s->handling);
    if (s->over && !(c->route->flags & ROUTE_ALWAYS))
        call_fail(c, 503, "server_error", NULL, "stopping", "the server stops");
    else
        c->route->handle(c);
    pthread_mutex_unlock(&s->handling);
}

static void handle(call *c) {
    c->handled = true;
    if (c->body.failed) {
        call_fail(c, 503, "server_error", NULL, "out_of_memory", "%s", pgr_status_text(PGR_E_MEM));
        return;
    }
    if (c->n_route > 1 || c->routes->key) choose_form(c);
    if (c->route && is_open(c)) run_handler(c);
}

/* ---- the answer ---- */

/* What of the answer has not been sent; sleeps where there is nothing yet. */
static ssize_t read_stream(void *ctx, uint64_t pos, char *out, size_t room) {
    call *c = ctx;
    (void)pos;
    pthread_mutex_lock(&c->lock);
    size_t left = c->out.n - c->n_sent, n = left < room ? left : room;
    ssize_t got = (ssize_t)n;
    if (n > 0) {
        memcpy(out, c->out.data + c->n_sent, n);
        c->n_sent += n;
    } else if (c->state == CALL_ENDED) {
        got = c->cut ? MHD_CONTENT_READER_END_WITH_ERROR : MHD_CONTENT_READER_END_OF_STREAM;
    } else if (call_gone(c)) {
        got = MHD_CONTENT_READER_END_WITH_ERROR;
    } else {
        call_sleep(c);
    }
    pthread_mutex_unlock(&c->lock);
    return got;
}

static void release_response(void *ctx) {
    call_release(ctx);
}

static struct MHD_Response *make_response(call *c) {
    struct MHD_Response *r;
    pthread_mutex_lock(&c->lock);
    bool whole = c->state == CALL_ANSWERED;
    static const char nothing[1];
    const char *text = c->status == 503 ? CALL_NO_MEMORY : nothing;
    void *body = c->out.data ? c->out.data : (void *)(uintptr_t)text;
    size_t n = c->out.data ? c->out.n : strlen(text);
    pthread_mutex_unlock(&c->lock);
    call_keep(c); /* the response's: what it sends lies in the call */
    if (whole)
        r = MHD_create_response_from_buffer_with_free_callback_cls(n, body, release_response, c);
    else
        r = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, 16 << 10, read_stream, c, release_response);
    if (!r) call_release(c);
    return r;
}

static void add_headers(call *c, struct MHD_Response *r) {
    MHD_add_response_header(r, MHD_HTTP_HEADER_CONTENT_TYPE, c->type);
    bool caching = false;
    for (size_t i = 0; i < c->n_told; i++) {
        MHD_add_response_header(r, c->told[i].name, c->told[i].value);
        caching = caching || strcmp(c->told[i].name, MHD_HTTP_HEADER_CACHE_CONTROL) == 0;
    }
    if (!caching) MHD_add_response_header(r, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
    if (c->allow) MHD_add_response_header(r, MHD_HTTP_HEADER_ALLOW, c->allow);
    if (c->status == 429 || c->status == 503) {
        char seconds[16];
        worker_load load = worker_state(c->server->worker);
        snprintf(seconds, sizeof seconds, "%u", c->status == 429 ? worker_wait_s(&load) : 1u);
        MHD_add_response_header(r, MHD_HTTP_HEADER_RETRY_AFTER, seconds);
    }
    if (c->status == 401) {
        MHD_add_response_header(r, MHD_HTTP_HEADER_WWW_AUTHENTICATE, "Bearer realm=\"pgenrm\"");
        MHD_add_response_header(r, MHD_HTTP_HEADER_WWW_AUTHENTICATE, "Basic realm=\"pgenrm\", charset=\"UTF-8\"");
    }
    if (atomic_load(&c->server->phase) == SERVER_STOPPING)
        MHD_add_response_header(r, MHD_HTTP_HEADER_CONNECTION, "close");
}

static conn *conn_of(struct MHD_Connection *mhd) {
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return info ? info->socket_context : NULL;
}

/* The answer is there: sends it. */
static enum MHD_Result send_answer(listener *h, call *c) {
    struct MHD_Response *r = make_response(c);
    if (!r) return MHD_NO;
    add_headers(c, r);
    bool stream = c->type && strcmp(c->type, "text/event-stream") == 0;
    conn_enter(h->conns, conn_of(c->mhd), stream ? CONN_STREAM : CONN_WRITING, stream ? c : NULL);
    enum MHD_Result queued = MHD_queue_response(c->mhd, (unsigned)c->status, r);
    MHD_destroy_response(r);
    return queued;
}

/* ---- libmicrohttpd's callbacks ---- */

/* There is no memory for a call: its body is read over. */
static char NO_CALL;

static enum MHD_Result refuse_call(struct MHD_Connection *mhd) {
    struct MHD_Response *r = MHD_create_response_from_buffer(strlen(CALL_NO_MEMORY), (void *)(uintptr_t)CALL_NO_MEMORY,
                                                             MHD_RESPMEM_PERSISTENT);
    if (!r) return MHD_NO;
    MHD_add_response_header(r, MHD_HTTP_HEADER_CONTENT_TYPE, "application/json");
    MHD_add_response_header(r, MHD_HTTP_HEADER_RETRY_AFTER, "1");
    enum MHD_Result queued = MHD_queue_response(mhd, MHD_HTTP_SERVICE_UNAVAILABLE, r);
    MHD_destroy_response(r);
    return queued;
}

static enum MHD_Result begin_call(listener *h, struct MHD_Connection *mhd, const char *url, const char *method,
                                  void **context) {
    call *c = call_create(h->s, mhd);
    *context = c ? (void *)c : &NO_CALL;
    if (!c) return MHD_YES;
    c->method = method;
    check_head(c, url);
    if (is_open(c)) return MHD_YES;
    c->discards = c->handled = true;
    bool expects = call_header(c, MHD_HTTP_HEADER_EXPECT) != NULL;
    return expects || said_length(c) > DISCARD_MOST ? send_answer(h, c) : MHD_YES;
}

static enum MHD_Result on_request(void *ctx, struct MHD_Connection *mhd, const char *url, const char *method,
                                  const char *version, const char *bytes, size_t *n, void **context) {
    listener *h = ctx;
    call *c = *context;
    (void)version;
    if (!c) return begin_call(h, mhd, url, method, context);
    if (*context == &NO_CALL) {
        bool read = *n == 0;
        *n = 0;
        return read ? refuse_call(mhd) : MHD_YES;
    }
    if (*n > 0) {
        bool read = take_body(c, bytes, *n);
        *n = 0;
        return read ? MHD_YES : MHD_NO;
    }
    if (c->discards) c->handled = true;
    if (!c->handled) {
        conn_enter(h->conns, conn_of(mhd), CONN_WAITING, c);
        handle(c);
        if (c->submitted) return MHD_YES; /* it sleeps, and comes back when there is an answer or the client has gone */
    }
    if (!is_open(c)) return send_answer(h, c);
    if (call_gone(c)) return MHD_NO;
    PGR_ASSERT(!"a handler neither answered nor submitted a task");
    return MHD_NO;
}

static void note_end(call *c, enum MHD_RequestTerminationCode how) {
    const char *route = c->route ? c->route->path : "other";
    double seconds = clock_now() - c->start;
    pthread_mutex_lock(&c->lock);
    int status = how == MHD_REQUEST_TERMINATED_COMPLETED_OK ? c->status : 499; /* 499: the client went */
    audit_line line = {.method = c->method,
                       .route = route,
                       .user = c->user,
                       .token = c->grant.number,
                       .status = status,
                       .seconds = seconds,
                       .n_read = c->n_read,
                       .n_written = c->n_written};
    audit_put(c->server->audit, &line);
    metrics_add(c->server->metrics, route, status, seconds, c->n_read, c->n_written);
    pthread_mutex_unlock(&c->lock);
    if (status == 499) metrics_count_gone(c->server->metrics);
}

static void on_completed(void *ctx, struct MHD_Connection *mhd, void **context, enum MHD_RequestTerminationCode how) {
    listener *h = ctx;
    call *c = *context;
    if (!c) return;
    conn_enter(h->conns, conn_of(mhd), CONN_IDLE, NULL);
    *context = NULL;
    if ((void *)c == &NO_CALL) return;
    note_end(c, how);
    call_leave(c);
    worker_wake(h->s->worker);
    call_release(c);
}

static void on_connection(void *ctx, struct MHD_Connection *mhd, void **context,
                          enum MHD_ConnectionNotificationCode what) {
    listener *h = ctx;
    if (what == MHD_CONNECTION_NOTIFY_STARTED) {
        const union MHD_ConnectionInfo *info = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD);
        *context = info ? conn_add(h->conns, info->connect_fd) : NULL;
    } else {
        conn_drop(h->conns, *context);
        *context = NULL;
    }
}

/* A request line has come. */
static void *on_uri(void *ctx, const char *uri, struct MHD_Connection *mhd) {
    listener *h = ctx;
    (void)uri;
    conn_enter(h->conns, conn_of(mhd), CONN_READING, NULL);
    return NULL;
}

static size_t leave_escaped(void *ctx, struct MHD_Connection *mhd, char *s) {
    (void)ctx;
    (void)mhd;
    return strlen(s);
}

__attribute__((format(printf, 2, 0))) static void on_log(void *ctx, const char *format, va_list ap) {
    char line[400];
    (void)ctx;
    vsnprintf(line, sizeof line, format, ap);
    line[strcspn(line, "\n")] = '\0';
    log_debug("http: %s", line);
}

/* ---- listening ---- */

static bool is_loopback(const struct sockaddr *a) {
    if (a->sa_family == AF_INET)
        return (ntohl(((const struct sockaddr_in *)(const void *)a)->sin_addr.s_addr) >> 24) == 127;
    return a->sa_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)(const void *)a)->sin6_addr);
}

/* "ADDRESS:PORT", "[ADDRESS]:PORT". The caller's (freeaddrinfo). */
static pgr_status read_address(const char *listen, struct addrinfo **out, pgr_error *err) {
    const char *colon = strrchr(listen, ':');
    char host[256], *end = NULL;
    long port = colon && colon[1] ? strtol(colon + 1, &end, 10) : -1;
    size_t n = colon ? (size_t)(colon - listen) : 0;
    if (n == 0 || n >= sizeof host || !end || *end || port < 0 || port > 65535)
        return fail(err, PGR_E_ARG, "listen: found '%s', expected ADDRESS:PORT", listen);
    bool brackets = n > 2 && listen[0] == '[' && listen[n - 1] == ']';
    memcpy(host, listen + brackets, n - 2 * brackets);
    host[n - 2 * brackets] = '\0';
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV | AI_PASSIVE};
    int failed = getaddrinfo(host, colon + 1, &hints, out);
    return failed ? fail(err, PGR_E_ARG, "listen: %s: %s", listen, gai_strerror(failed)) : PGR_OK;
}

/* As many files as connections, and some for the rest. */
static void raise_limit(size_t n) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
    rlim_t want = (rlim_t)n + 256;
    if (limit.rlim_cur >= want) return;
    limit.rlim_cur = want < limit.rlim_max ? want : limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur < want)
        log_warn("only %llu files may be open, expected %llu for %zu connections", (unsigned long long)limit.rlim_cur,
                 (unsigned long long)want, n);
}

/* The port is ours alone (libmicrohttpd would share it with another server if MHD_OPTION_LISTENING_ADDRESS_REUSE were
 * given, and requests would go to either); one that a server has just left can be had at once. */
static pgr_status listen_at(listener *h, const struct addrinfo *a, pgr_error *err) {
    const pgr_serve_options *o = &h->s->o;
    if (!is_loopback(a->ai_addr) && !access_wants_tokens(h->s->access))
        return fail(err, PGR_E_ARG, "listen: %s is not loopback, expected a file of tokens with it", o->listen);
    unsigned flags = MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG;
    if (a->ai_family == AF_INET6) flags |= MHD_USE_IPv6;
    unsigned last_resort =
        5 + (unsigned)(o->read_s > IDLE_MOST_S ? o->read_s : IDLE_MOST_S); /* conns.c has the times */
    h->daemon = MHD_start_daemon(flags, 0, NULL, NULL, on_request, h, MHD_OPTION_EXTERNAL_LOGGER, on_log, NULL,
                                 MHD_OPTION_SOCK_ADDR, a->ai_addr, MHD_OPTION_NOTIFY_COMPLETED, on_completed, h,
                                 MHD_OPTION_NOTIFY_CONNECTION, on_connection, h, MHD_OPTION_URI_LOG_CALLBACK, on_uri, h,
                                 MHD_OPTION_UNESCAPE_CALLBACK, leave_escaped, NULL, MHD_OPTION_CONNECTION_LIMIT,
                                 (unsigned)o->max_connections, MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)HEAD_MOST,
                                 MHD_OPTION_LISTEN_BACKLOG_SIZE, 1024u, MHD_OPTION_CONNECTION_TIMEOUT, last_resort,
                                 MHD_OPTION_END);
    if (h->daemon) return PGR_OK;
    const char *hint =
        errno == EADDRINUSE ? " (something listens there; expected another port, --listen ADDRESS:PORT)" : "";
    return fail(err, PGR_E_IO, "listen: %s: %s%s", o->listen, strerror(errno), hint);
}

pgr_status listener_open(pgr_server *s, listener **out, pgr_error *err) {
    listener *h = mem_zero(1, sizeof *h);
    if (!h) return fail_mem(err);
    h->s = s;
    struct addrinfo *address = NULL;
    raise_limit(s->o.max_connections);
    pgr_status st = read_address(s->o.listen, &address, err);
    if (st == PGR_OK) st = conns_create(s->o.read_s, &h->conns, err);
    if (st == PGR_OK) st = listen_at(h, address, err);
    if (address) freeaddrinfo(address);
    if (st != PGR_OK) {
        listener_close(h);
        return st;
    }
    *out = h;
    return PGR_OK;
}

int listener_port(const listener *h) {
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(h->daemon, MHD_DAEMON_INFO_BIND_PORT);
    return info ? info->port : 0;
}

void listener_flush(listener *h, double seconds) {
    double until = clock_now() + seconds;
    while (conns_answering(h->conns) > 0 && clock_now() < until) nanosleep(&(struct timespec){0, 10000000}, NULL);
}

void listener_close(listener *h) {
    if (!h) return;
    if (h->daemon) MHD_stop_daemon(h->daemon);
    conns_free(h->conns);
    mem_free(h);
}
