/* routes_openapi.c - /openapi.json: the table of routes as an OpenAPI 3.1 document. Which bodies a route takes is said
 * here; a route that is not listed takes an object. */
#include <string.h>

#include "serve/server.h"

#define TEXT  "{\"type\":\"string\"}"
#define TEXTS "{\"anyOf\":[" TEXT ",{\"type\":\"array\",\"items\":" TEXT ",\"minItems\":1}]}"
#define SAMPLING                                                                                                       \
    "\"n\":{\"type\":\"integer\",\"minimum\":1,\"maximum\":128},\"temperature\":{\"type\":\"number\",\"minimum\":0},"  \
    "\"top_p\":{\"type\":\"number\",\"exclusiveMinimum\":0,\"maximum\":1},\"top_k\":{\"type\":\"integer\"},"           \
    "\"min_p\":{\"type\":\"number\",\"minimum\":0,\"maximum\":1},\"max_tokens\":{\"type\":\"integer\",\"minimum\":1}," \
    "\"seed\":{\"type\":\"integer\"},\"stop\":" TEXTS ",\"stream\":{\"type\":\"boolean\"},"                            \
    "\"deadline_s\":{\"type\":\"number\",\"exclusiveMinimum\":0}"

static const struct {
    const char *path, *required, *properties; /* of the body */
} BODIES[] = {
    {"/v1/chat/completions", "\"messages\"",
     "\"model\":" TEXT ",\"messages\":{\"type\":\"array\",\"minItems\":1,\"items\":{\"type\":\"object\",\"properties\":"
     "{\"role\":{\"enum\":[\"system\",\"developer\",\"user\",\"assistant\"]},\"content\":" TEXT
     "},\"required\":[\"role\",\"content\"]}},\"logprobs\":{\"type\":\"boolean\"},\"top_logprobs\":{\"type\":"
     "\"integer\",\"minimum\":0,\"maximum\":20}," SAMPLING},
    {"/v1/completions", "\"prompt\"", "\"model\":" TEXT ",\"prompt\":" TEXTS "," SAMPLING},
    {"/v1/embeddings", "\"input\"",
     "\"model\":" TEXT ",\"input\":" TEXTS ",\"encoding_format\":{\"enum\":[\"float\",\"base64\"]},\"dimensions\":"
     "{\"type\":\"integer\",\"minimum\":1}"},
    {"/pooling", "\"input\"", "\"model\":" TEXT ",\"input\":" TEXTS},
    {"/v1/score", "\"text_1\",\"text_2\"", "\"model\":" TEXT ",\"text_1\":" TEXTS ",\"text_2\":" TEXTS},
    {"/rerank", "\"query\",\"documents\"",
     "\"query\":" TEXT ",\"documents\":" TEXTS ",\"top_n\":{\"type\":\"integer\",\"minimum\":0}"},
    {"/v1/load_lora_adapter", "\"lora_name\",\"lora_path\"",
     "\"lora_name\":" TEXT ",\"lora_path\":" TEXT ",\"load_inplace\":{\"type\":\"boolean\"}"},
    {"/v1/unload_lora_adapter", "\"lora_name\"", "\"lora_name\":" TEXT},
    {"/generative_scoring", "\"query\",\"items\",\"label_token_ids\"",
     "\"query\":" TEXT ",\"items\":" TEXTS
     ",\"label_token_ids\":{\"type\":\"array\",\"minItems\":2,\"items\":{\"type\":"
     "\"integer\",\"minimum\":0}},\"apply_softmax\":{\"type\":\"boolean\"},\"item_first\":{\"type\":\"boolean\"}"},
    {"/tokenize", "\"prompt\"", "\"prompt\":" TEXT ",\"add_special_tokens\":{\"type\":\"boolean\"}"},
    {"/detokenize", "\"tokens\"", "\"tokens\":{\"type\":\"array\",\"items\":{\"type\":\"integer\",\"minimum\":0}}"},
};

static void put_body(const char *path, buf *out) {
    size_t i = 0, n = sizeof BODIES / sizeof *BODIES;
    while (i < n && strcmp(BODIES[i].path, path) != 0) i++;
    buf_puts(out, "\"requestBody\":{\"required\":true,\"content\":{\"application/json\":{\"schema\":{\"type\":"
                  "\"object\"");
    if (i < n) buf_printf(out, ",\"required\":[%s],\"properties\":{%s}", BODIES[i].required, BODIES[i].properties);
    buf_puts(out, "}}}},");
}

static void put_operation(const route *r, buf *out) {
    char method[8] = "";
    for (size_t i = 0; r->method[i] && i < 7; i++) method[i] = (char)(r->method[i] | 0x20); /* in lower case */
    buf_printf(out, "\"%s\":{", method);
    if (strcmp(method, "post") == 0 || strcmp(method, "put") == 0) put_body(r->path, out);
    if (r->flags & ROUTE_OPEN) buf_puts(out, "\"security\":[],");
    if (r->path[strlen(r->path) - 1] == '/')
        buf_puts(out, "\"parameters\":[{\"name\":\"id\",\"in\":\"path\",\"required\":true,\"schema\":" TEXT "}],");
    buf_puts(out, "\"responses\":{\"200\":{\"description\":\"the answer\"},\"default\":{\"description\":\"an error\","
                  "\"content\":{\"application/json\":{\"schema\":{\"$ref\":\"#/components/schemas/Error\"}}}}}}");
}

/* The route is the first of its path; n: which one of the operations it is. */
static bool is_first(const pgr_server *s, size_t at, bool of_method) {
    for (size_t i = 0; i < at; i++)
        if (strcmp(s->routes[i].path, s->routes[at].path) == 0
            && (!of_method || strcmp(s->routes[i].method, s->routes[at].method) == 0))
            return false;
    return true;
}

static void put_path(const pgr_server *s, size_t at, buf *out) {
    const char *path = s->routes[at].path;
    bool any = false;
    buf_printf(out, "\"%s%s\":{", path, path[strlen(path) - 1] == '/' ? "{id}" : "");
    for (size_t i = at; i < s->n_route; i++) {
        if (strcmp(s->routes[i].path, path) != 0 || !is_first(s, i, true)) continue;
        if (any) buf_putc(out, ',');
        put_operation(&s->routes[i], out);
        any = true;
    }
    buf_putc(out, '}');
}

static void show(call *c) {
    const pgr_server *s = call_server(c);
    buf out = {0};
    bool any = false;
    buf_puts(&out, "{\"openapi\":\"3.1.0\",\"info\":{\"title\":\"pgenrm\",\"version\":\"" PGR_VERSION
                   "\"},\"security\":[{\"bearer\":[]},{\"basic\":[]}],\"paths\":{");
    for (size_t i = 0; i < s->n_route; i++) {
        if (!is_first(s, i, false)) continue;
        if (any) buf_putc(&out, ',');
        put_path(s, i, &out);
        any = true;
    }
    buf_puts(&out, "},\"components\":{\"securitySchemes\":{\"bearer\":{\"type\":\"http\",\"scheme\":\"bearer\"},"
                   "\"basic\":{\"type\":\"http\",\"scheme\":\"basic\"}},\"schemas\":{\"Error\":{\"type\":\"object\","
                   "\"required\":[\"error\"],\"properties\":{\"error\":{\"type\":\"object\",\"required\":[\"message\","
                   "\"type\",\"param\",\"code\"],\"properties\":{\"message\":" TEXT ",\"type\":" TEXT
                   ",\"param\":{\"type\":[\"string\",\"null\"]},\"code\":{\"type\":[\"string\",\"null\"]}}}}}}}}");
    call_reply(c, 200, &out);
}

static const route ROUTES[] = {{"GET", "/openapi.json", show, .flags = ROUTE_OPEN | ROUTE_ALWAYS}};

pgr_status routes_openapi_add(pgr_server *s, pgr_error *err) {
    return server_add_routes(s, ROUTES, 1, err);
}
