/* routes_base.c - how the server is: /health, /metrics, /v1/models. */
#include "serve/server.h"

static void health(call *c) {
    buf out = {0};
    switch (atomic_load(&call_server(c)->phase)) {
    case SERVER_LOADING:
        call_fail(c, 503, "unavailable_error", NULL, "loading", "the model is loading");
        return;
    case SERVER_STOPPING:
        call_fail(c, 503, "unavailable_error", NULL, "stopping", "the server stops");
        return;
    case SERVER_READY:
        buf_puts(&out, "{\"status\":\"ok\"}");
        call_reply(c, 200, &out);
    }
}

static void show_metrics(call *c) {
    pgr_server *s = call_server(c);
    worker_load load = worker_state(s->worker);
    buf out = {0};
    metrics_text(s->metrics, &load, &out);
    call_reply_as(c, 200, "text/plain; version=0.0.4; charset=utf-8", &out);
}

static void list_models(call *c) {
    pgr_server *s = call_server(c);
    call_reply_json(c, 200, models_json(s->models, engine_about(s->what.engine)->n_ctx));
}

static const route ROUTES[] = {
    {"GET", "/health", health, .flags = ROUTE_OPEN | ROUTE_ALWAYS},
    {"GET", "/metrics", show_metrics, .flags = ROUTE_ALWAYS},
    {"GET", "/v1/models", list_models, .flags = 0},
};

pgr_status routes_base_add(pgr_server *s, pgr_error *err) {
    return server_add_routes(s, ROUTES, sizeof ROUTES / sizeof *ROUTES, err);
}
