/* The OpenAPI document: it is what the server gives, it has every route of the server's own table and no other one,
 * and what it refers to is there. That it is true is seen by the other tests of the server, whose every request and
 * answer is held to it (openapi_check.h); here, that this check can fail. */
#include "live_server.h"

static live L;

static int setup(void **state) {
    if (live_begin(state) != 0) return -1;
    pgr_serve_options o = live_options();
    live_listen(&L, &o);
    live_start(&L);
    return 0;
}

static int teardown(void **state) {
    live_stop(&L);
    return live_end(state);
}

static void name_operation(const route *r, char *path, size_t size, char *method) {
    size_t n = strlen(r->path);
    snprintf(path, size, "%s%s", r->path, n > 1 && r->path[n - 1] == '/' ? "{id}" : "");
    for (size_t k = 0; k < 7 && r->method[k]; k++) method[k] = (char)(r->method[k] | 0x20);
}

static void has_every_route(void **state) {
    (void)state;
    json_t *v = answer(ask(&L, "GET", "/openapi.json", NULL), 200), *paths = json_object_get(v, "paths"), *methods, *o;
    const char *path, *method;
    const pgr_server *s = L.server;
    assert_string_equal(json_string_value(json_object_get(json_object_get(v, "info"), "version")), PGR_VERSION);
    for (size_t i = 0; i < s->n_route; i++) {
        char of[100], by[8] = "";
        name_operation(&s->routes[i], of, sizeof of, by);
        o = json_object_get(json_object_get(paths, of), by);
        if (!o) fail_msg("%s %s is not described", by, of);
        bool open = json_is_array(json_object_get(o, "security"));
        assert_int_equal(open, (s->routes[i].flags & ROUTE_OPEN) != 0);
        bool takes = strcmp(by, "post") == 0 || strcmp(by, "put") == 0;
        assert_int_equal(takes, json_object_get(o, "requestBody") != NULL);
    }
    json_object_foreach(paths, path, methods) {
        json_object_foreach(methods, method, o) {
            size_t i = 0;
            for (; i < s->n_route; i++) {
                char of[100], by[8] = "";
                name_operation(&s->routes[i], of, sizeof of, by);
                if (strcmp(of, path) == 0 && strcmp(by, method) == 0) break;
            }
            if (i == s->n_route) fail_msg("%s %s is no route", method, path);
        }
    }
    json_decref(v);
}

/* Every schema is read once with every kind of value: a keyword or a reference that is not known fails. */
static void is_read_in_full(const json_t *at) {
    static const char *const kinds[] = {"null", "true", "1", "1.5", "\"x\"", "[]", "{}"};
    const char *key;
    json_t *v;
    resolved(at);
    if (json_object_get(at, "type") || json_object_get(at, "anyOf") || json_object_get(at, "$ref"))
        for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
            json_t *value = json_loads(kinds[i], JSON_DECODE_ANY, NULL);
            if (json_is_string(json_object_get(at, "type")) || json_object_get(at, "anyOf")) fits(at, value);
            json_decref(value);
        }
    json_object_foreach((json_t *)(uintptr_t)at, key, v) is_read_in_full(v);
    for (size_t i = 0; i < json_array_size(at); i++) is_read_in_full(json_array_get(at, i));
}

static void refers_to_what_is_there(void **state) {
    (void)state;
    is_read_in_full(json_object_get(DOCUMENT, "paths"));
    const char *name;
    json_t *schema;
    json_object_foreach(json_object_get(json_object_get(DOCUMENT, "components"), "schemas"), name, schema) {
        is_read_in_full(schema);
    }
}

static bool fits_schema(const char *name, const char *json) {
    json_t *v = json_loads(json, JSON_DECODE_ANY, NULL);
    assert_non_null(v);
    bool is = fits(json_object_get(json_object_get(json_object_get(DOCUMENT, "components"), "schemas"), name), v);
    json_decref(v);
    return is;
}

static void the_check_can_fail(void **state) {
    (void)state;
    static const struct {
        const char *schema, *yes, *no[4];
    } rows[] = {
        {"Error",
         "{\"error\":{\"message\":\"m\",\"type\":\"t\",\"param\":null,\"code\":\"c\"}}",
         {"{}", "{\"error\":{\"message\":\"m\",\"type\":\"t\",\"param\":null}}",
          "{\"error\":{\"message\":1,\"type\":\"t\",\"param\":null,\"code\":null}}"}},
        {"ScoreRequest",
         "{\"query\":\"q\",\"responses\":[\"a\",\"b\"],\"ind\":null,\"user\":{\"id\":\"u\"}}",
         {"{\"query\":\"q\",\"responses\":[\"a\"]}", "{\"query\":\"q\",\"responses\":[\"a\",\" \\n\"]}",
          "{\"querry\":\"q\",\"responses\":[\"a\",\"b\"]}",
          "{\"query\":\"q\",\"responses\":[\"a\",\"b\"],\"ind\":1025}"}},
        {"ChatRequest",
         "{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],\"top_p\":0.5,\"whatever\":1}",
         {"{\"messages\":[]}", "{\"messages\":[{\"role\":\"tool\",\"content\":\"x\"}]}",
          "{\"messages\":[{\"role\":\"user\"}],\"top_p\":0}", "{\"messages\":[{\"role\":\"user\"}],\"n\":1.5}"}},
        {"Feedback",
         "{\"user\":\"u\",\"query\":\"q\",\"chosen\":\"a\",\"rejected\":\"b\"}",
         {"{\"user\":\"u\",\"query\":\"q\",\"chosen\":[{\"type\":\"text\",\"text\":\"a\"}],\"rejected\":\"b\"}"}},
        {"Pair",
         "{\"query\":\"q\",\"chosen\":\"a\",\"rejected\":\"b\"}",
         {"{\"query\":\"q\",\"chosen\":\"a\",\"rejected\":[{\"type\":\"text\",\"text\":\"b\"}]}"}},
        {"LabelRequest",
         "{\"query\":\"q\",\"items\":\"i\",\"label_token_ids\":[1,2]}",
         {"{\"query\":\"q\",\"items\":\"i\",\"label_token_ids\":[1,1]}", "{\"query\":\"q\",\"items\":[]}"}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (!fits_schema(rows[i].schema, rows[i].yes)) fail_msg("%s: %s", rows[i].schema, rows[i].yes);
        for (size_t k = 0; k < 4 && rows[i].no[k]; k++)
            if (fits_schema(rows[i].schema, rows[i].no[k])) fail_msg("%s: %s", rows[i].schema, rows[i].no[k]);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(has_every_route),
        cmocka_unit_test(refers_to_what_is_there),
        cmocka_unit_test(the_check_can_fail),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
