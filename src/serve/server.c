/* server.c - a server's life: its parts are opened, it listens, gets a model, works, stops. The table of routes. */
#include "serve/server.h"

#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "serve/audit.h"
#include "serve/embed_thread.h"
#include "serve/judges.h"
#include "serve/listener.h"

pgr_serve_options pgr_serve_options_default(void) {
    return (pgr_serve_options){.listen = "127.0.0.1:8300",
                               .max_queue = 1024,
                               .max_held = 2048,
                               .max_held_bytes = 64 << 20,
                               .max_connections = 4096,
                               .max_body = 16 << 20,
                               .read_s = 30,
                               .deadline_s = 10,
                               .drain_s = 30};
}

/* ---- the table of routes ---- */

static bool same_path(const route *a, const route *b) {
    return strcmp(a->path, b->path) == 0 && strcmp(a->method, b->method) == 0;
}

static bool same_key(const char *a, const char *b) {
    return a && b ? strcmp(a, b) == 0 : a == b;
}

pgr_status server_add_routes(pgr_server *s, const route *routes, size_t n, pgr_error *err) {
    if (s->n_route + n > ROUTES_MOST) return fail(err, PGR_E_LIMIT, "more than %d routes", ROUTES_MOST);
    for (size_t i = 0; i < n; i++) {
        size_t at = s->n_route; /* behind the last one of its path and method */
        for (size_t k = 0; k < s->n_route; k++) {
            if (!same_path(&s->routes[k], &routes[i])) continue;
            PGR_ASSERT(!same_key(s->routes[k].key, routes[i].key));
            at = k + 1;
        }
        memmove(s->routes + at + 1, s->routes + at, (s->n_route - at) * sizeof *s->routes);
        s->routes[at] = routes[i];
        s->n_route++;
    }
    return PGR_OK;
}

/* Where the path goes on behind the route's; its end where it is the same one; NULL: it is another one. */
static const char *path_behind(const route *r, const char *path) {
    size_t n = strlen(r->path);
    if (strncmp(path, r->path, n) != 0) return NULL;
    path += n;
    if (n == 1) return *path ? NULL : path; /* the root is one path, not all */
    if (r->path[n - 1] == '/') return *path ? path : NULL;
    return !*path || strcmp(path, "/") == 0 ? path : NULL;
}

static bool serves(const route *r, const char *method) {
    return strcmp(r->method, method) == 0 || (strcmp(method, "HEAD") == 0 && strcmp(r->method, "GET") == 0);
}

static void add_allowed(char *allow, const char *method) {
    const char *also = strcmp(method, "GET") == 0 ? ", HEAD" : "";
    if (strstr(allow, method)) return;
    size_t n = strlen(allow);
    snprintf(allow + n, 64 - n, "%s%s%s", n ? ", " : "", method, also);
}

const route *server_find(const pgr_server *s, const char *method, const char *path, size_t *n, char *allow,
                         const char **rest) {
    const route *found = NULL;
    *n = 0;
    for (size_t i = 0; i < s->n_route; i++) {
        const route *r = &s->routes[i];
        const char *behind = path_behind(r, path);
        if (!behind) continue;
        add_allowed(allow, r->method);
        if (!serves(r, method) || (found && !same_path(found, r))) continue;
        if (!found) {
            found = r;
            *rest = r->path[strlen(r->path) - 1] == '/' ? behind : NULL;
        }
        ++*n;
    }
    return found;
}

/* ---- life ---- */

static pgr_status take_runs(pgr_server *s, pgr_error *err) {
    if (!s->o.runs) return PGR_OK;
    if (!file_is_folder(s->o.runs)) return fail(err, PGR_E_IO, "runs: %s: expected a folder", s->o.runs);
    s->runs = mem_strdup(s->o.runs);
    return s->runs ? PGR_OK : fail_mem(err);
}

static pgr_status open_parts(pgr_server *s, pgr_error *err) {
    PGR_TRY(access_read(s->o.token_file, &s->access, err));
    PGR_TRY(audit_open(s->o.audit_file, &s->audit, err));
    PGR_TRY(take_runs(s, err));
    PGR_TRY(metrics_create(&s->metrics, err));
    PGR_TRY(worker_create(s->o.max_queue, s->o.max_held, s->o.max_held_bytes, &s->worker, err));
    PGR_TRY(routes_base_add(s, err));
    PGR_TRY(routes_personal_add(s, err));
    PGR_TRY(routes_trainers_add(s, err));
    PGR_TRY(routes_gym_add(s, err));
    PGR_TRY(routes_gen_add(s, err));
    PGR_TRY(routes_embed_add(s, err));
    PGR_TRY(routes_model_add(s, err));
    PGR_TRY(routes_labels_add(s, err));
    PGR_TRY(routes_classify_add(s, err));
    PGR_TRY(routes_openapi_add(s, err));
    PGR_TRY(routes_page_add(s, err));
    PGR_TRY(routes_runs_add(s, err));
    return listener_open(s, &s->listener, err);
}

static pgr_status check_options(const pgr_serve_options *o, pgr_error *err) {
    if (o->max_queue == 0 || o->max_connections == 0 || o->max_body == 0)
        return fail(err, PGR_E_ARG, "max_queue, max_connections and max_body: expected at least 1");
    if (!(o->read_s > 0) || !(o->deadline_s > 0) || !(o->drain_s >= 0))
        return fail(err, PGR_E_ARG, "read_s and deadline_s: expected more than 0, drain_s: at least 0");
    return PGR_OK;
}

pgr_status pgr_server_open(const pgr_serve_options *options, pgr_server **out, pgr_error *err) {
    PGR_TRY(check_options(options, err));
    json_setup();
    pgr_server *s = mem_zero(1, sizeof *s);
    if (!s) return fail_mem(err);
    s->o = *options;
    pthread_mutex_init(&s->handling, NULL);
    atomic_init(&s->phase, SERVER_LOADING);
    pgr_status st = open_parts(s, err);
    if (st != PGR_OK) {
        pgr_server_close(s);
        return st;
    }
    *out = s;
    return PGR_OK;
}

int pgr_server_port(const pgr_server *server) {
    return listener_port(server->listener);
}

bool server_has_model(const pgr_server *s) {
    return s->what.model != NULL;
}

size_t text_most(size_t n_ctx) {
    size_t most = n_ctx < SIZE_MAX / TEXT_OF_TOKEN ? n_ctx * TEXT_OF_TOKEN : SIZE_MAX;
    return most > TEXT_LEAST ? most : TEXT_LEAST;
}

size_t server_text_most(const pgr_server *s) {
    return text_most(engine_about(s->what.engine)->n_ctx);
}

static void begin_to_stop(void *ctx) {
    pgr_server *s = ctx;
    atomic_store(&s->phase, SERVER_STOPPING);
}

/* Handlers that run end; those of requests whose bodies come only now do not begin. */
static void end_handling(pgr_server *s) {
    pthread_mutex_lock(&s->handling);
    s->over = true;
    pthread_mutex_unlock(&s->handling);
}

pgr_status pgr_server_run(pgr_server *s, const pgr_serving *what, const pgr_cancel *cancel, pgr_error *err) {
    if (atomic_load(&s->phase) != SERVER_LOADING) return fail(err, PGR_E_ARG, "the server has run before");
    const char *name = what->name ? what->name : engine_about(what->engine)->id;
    PGR_TRY(models_create(what->model, name, what->judges_only, &s->models, err));
    s->what = *what;
    if (what->embedder && what->embedder_away) PGR_TRY(embed_thread_open(&s->embed_thread, err));
    PGR_TRY(judges_open(s, &s->judges, err));
    atomic_store(&s->phase, SERVER_READY);
    worker_run(s->worker, what->engine, cancel, s->o.drain_s, begin_to_stop, s);
    end_handling(s);
    judges_stop(s->judges);
    embed_thread_close(s->embed_thread);
    s->embed_thread = NULL;
    listener_flush(s->listener, 1);
    return PGR_OK;
}

void pgr_server_close(pgr_server *s) {
    if (!s) return;
    atomic_store(&s->phase, SERVER_STOPPING);
    listener_close(s->listener);
    embed_thread_close(s->embed_thread); /* it did not come to run */
    worker_free(s->worker);
    models_free(s->models);
    metrics_free(s->metrics);
    audit_close(s->audit);
    access_free(s->access);
    judges_free(s->judges);
    pthread_mutex_destroy(&s->handling);
    mem_free(s->runs);
    mem_free(s);
}
