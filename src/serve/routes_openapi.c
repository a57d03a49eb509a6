/* routes_openapi.c - /openapi.json: the routes as an OpenAPI 3.1 document, src/serve/openapi.json. Tests hold it to the
 * table of routes, and what they ask and are answered to it. */
#include "serve/server.h"

extern const unsigned char OPENAPI[]; /* (OPENAPI_N) made from the file by tools/embed_text.cmake */
extern const size_t OPENAPI_N;

static void show(call *c) {
    buf out = {0};
    buf_add(&out, (const char *)OPENAPI, OPENAPI_N);
    call_reply(c, 200, &out);
}

static const route ROUTES[] = {{"GET", "/openapi.json", show, .flags = ROUTE_OPEN | ROUTE_ALWAYS}};

pgr_status routes_openapi_add(pgr_server *s, pgr_error *err) {
    return server_add_routes(s, ROUTES, 1, err);
}
