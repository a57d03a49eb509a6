/* The page over HTTP: its files with their types, policy and ETag, asked without a token; the routes that its scripts
 * ask are there; runs stay within their folder and are not for tokens with a scope; a pair is taken back. */
#include <sys/stat.h>

#include "people_fixture.h"

#include "page/files.h"

static char RUNS[200];

static void put_file(const char *path, const char *text) {
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    assert_int_equal(fclose(f), 0);
}

static int begin(void **state) {
    char path[300];
    if (people_begin(state) != 0) return -1;
    snprintf(RUNS, sizeof RUNS, "%s/runs", scratch);
    assert_int_equal(mkdir(RUNS, 0777), 0);
    snprintf(path, sizeof path, "%s/one", RUNS);
    assert_int_equal(mkdir(path, 0777), 0);
    snprintf(path, sizeof path, "%s/one/metrics.jsonl", RUNS);
    put_file(path, "{\"step\":1}\n{\"step\":2}\n");
    snprintf(path, sizeof path, "%s/metrics.jsonl", scratch);
    put_file(path, "secret\n");
    pgr_serve_options o = people_options(true);
    o.runs = RUNS;
    people_listen(&o);
    live_start(&L);
    return 0;
}

static void expect_page_headers(const reply *r, const page_file *f) {
    assert_string_equal(header_of(r, "Content-Type"), f->type);
    assert_string_equal(header_of(r, "ETag"), f->etag);
    assert_string_equal(header_of(r, "Content-Security-Policy"), PAGE_POLICY);
    assert_string_equal(header_of(r, "X-Content-Type-Options"), "nosniff");
    assert_string_equal(header_of(r, "Cache-Control"), "no-cache");
    assert_string_equal(header_of(r, "Referrer-Policy"), "no-referrer");
}

static void expect_file(const char *path, const page_file *f) {
    char known[200];
    buf text = {0};
    assert_int_equal(page_file_unpack(f, &text, NULL), PGR_OK);
    reply r = ask(&L, "GET", path, NULL); /* without a token */
    assert_int_equal(r.status, 200);
    expect_page_headers(&r, f);
    assert_int_equal(r.body.n, f->n);
    if (f->n) assert_memory_equal(r.body.data, text.data, f->n);
    reply_free(&r);
    buf_free(&text);
    r = ask_with(&L, "GET", path, "Accept-Encoding: br, gzip\r\n", NULL);
    assert_string_equal(header_of(&r, "Content-Encoding"), "gzip");
    assert_int_equal(r.body.n, f->n_gzip);
    reply_free(&r);
    r = ask_with(&L, "GET", path, "Accept-Encoding: gzip;q=0\r\n", NULL);
    assert_string_equal(header_of(&r, "Content-Encoding"), "");
    reply_free(&r);
    snprintf(known, sizeof known, "If-None-Match: %s\r\n", f->etag);
    r = ask_with(&L, "GET", path, known, NULL);
    assert_int_equal(r.status, 304);
    assert_int_equal(r.body.n, 0);
    reply_free(&r);
}

static void the_files(void **state) {
    (void)state;
    expect_file("/", page_file_find("index.html"));
    for (const page_file *f = PAGE_FILES; f->name; f++) {
        char path[200];
        snprintf(path, sizeof path, "/page/%s", f->name);
        expect_file(path, f);
    }
    expect_error(ask(&L, "GET", "/page/../files.c", NULL), 404, NULL);
    expect_error(ask(&L, "GET", "/page/%2e%2e/files.c", NULL), 404, NULL);
    expect_error(ask(&L, "GET", "/nothing", NULL), 404, NULL); /* the root is one path */
    expect_error(ask(&L, "POST", "/", "{}"), 405, NULL);
}

/* "v1/personal/users/" and the like in the scripts. */
static void the_routes_that_it_asks(void **state) {
    (void)state;
    size_t n = 0;
    for (const page_file *f = PAGE_FILES; f->name; f++) {
        if (strcmp(f->name, "chart.min.js") == 0 || !strstr(f->name, ".js")) continue;
        buf text = {0};
        assert_int_equal(page_file_unpack(f, &text, NULL), PGR_OK);
        for (const char *at = text.data; (at = strstr(at, "\"v1/")); at++) {
            char path[100] = "/", allow[64] = "";
            size_t found, k = strcspn(at + 1, "\"");
            const char *rest;
            snprintf(path + 1, sizeof path - 1, "%.*s%s", (int)k, at + 1, at[k] == '/' ? "x" : "");
            server_find(L.server, "GET", path, &found, allow, &rest);
            if (!*allow) fail_msg("%s asks %s, which is no route", f->name, path);
            n++;
        }
        buf_free(&text);
    }
    assert_true(n >= 8);
}

static void runs(void **state) {
    (void)state;
    json_t *v = answer(ask_with(&L, "GET", "/v1/runs", ROOT, NULL), 200);
    const json_t *run = json_array_get(json_object_get(v, "runs"), 0);
    assert_int_equal(json_array_size(json_object_get(v, "runs")), 1);
    assert_string_equal(json_string_value(json_object_get(run, "name")), "one");
    json_decref(v);
    reply r = ask_with(&L, "GET", "/v1/runs/one/metrics.jsonl?from=11", ROOT, NULL);
    assert_int_equal(r.status, 200);
    assert_string_equal(r.body.data, "{\"step\":2}\n");
    assert_string_equal(header_of(&r, "Content-Type"), "text/plain; charset=utf-8");
    assert_string_equal(header_of(&r, "X-Content-Type-Options"), "nosniff");
    reply_free(&r);
    static const char *const out[] = {"/v1/runs/../metrics.jsonl",   "/v1/runs/%2e%2e/metrics.jsonl",
                                      "/v1/runs/..%2fmetrics.jsonl", "/v1/runs/one/..%2f..%2fmetrics.jsonl",
                                      "/v1/runs/%2fetc%2fpasswd",    "/v1/runs/one/plan.json"};
    for (size_t i = 0; i < sizeof out / sizeof *out; i++)
        expect_error(ask_with(&L, "GET", out[i], ROOT, NULL), 404, "no_such_file");
    expect_error(ask_with(&L, "GET", "/v1/runs/one/metrics.jsonl?from=-1", ROOT, NULL), 400, NULL);
    expect_error(ask_with(&L, "GET", "/v1/runs/one/metrics.jsonl?from=1x", ROOT, NULL), 400, NULL);
    expect_error(ask(&L, "GET", "/v1/runs", NULL), 401, NULL);
    expect_error(ask_with(&L, "GET", "/v1/runs", ACME, NULL), 403, "scope");
    expect_error(ask_with(&L, "GET", "/v1/runs/one/metrics.jsonl", ACME, NULL), 403, "scope");
}

static void users_of_a_scope(void **state) {
    (void)state;
    json_t *v = answer(ask_with(&L, "GET", "/v1/personal/users", ACME, NULL), 200);
    const json_t *list = json_object_get(v, "users");
    assert_int_equal(json_array_size(list), USERS_EACH);
    for (size_t i = 0; i < USERS_EACH; i++) {
        const char *id = json_string_value(json_object_get(json_array_get(list, i), "id"));
        assert_int_equal(strncmp(id, "acme:", 5), 0);
        assert_int_equal(json_integer_value(json_object_get(json_array_get(list, i), "pairs")), 3);
    }
    assert_true(json_is_false(json_object_get(v, "more")));
    json_decref(v);
    v = answer(ask_with(&L, "GET", "/v1/personal/users", ROOT, NULL), 200);
    assert_int_equal(json_array_size(json_object_get(v, "users")), 2 * USERS_EACH);
    json_decref(v);
}

static json_int_t removed(const char *body, const char *token) {
    json_t *v = answer(ask_with(&L, "POST", "/v1/personal/forget_pair", token, body), 200);
    json_int_t n = json_integer_value(json_object_get(v, "removed"));
    json_decref(v);
    return n;
}

static void a_pair_is_taken_back(void **state) {
    (void)state;
    static const char pair[] =
        "{\"user\":\"acme:u1\",\"query\":\"Occasion 1 of acme?\",\"chosen\":\"Tea at 1\",\"rejected\":"
        "\"Coffee at 1\"}";
    static const char turned[] = "{\"user\":\"acme:u1\",\"query\":\"Occasion 1 of acme?\",\"chosen\":\"Coffee at 1\","
                                 "\"rejected\":\"Tea at 1\"}";
    assert_int_equal(removed(turned, ACME), 0);
    expect_error(ask_with(&L, "POST", "/v1/personal/forget_pair", BOLT, pair), 403, NULL);
    assert_int_equal(removed(pair, ACME), 1);
    assert_int_equal(removed(pair, ACME), 0);
    json_t *v = answer(ask_with(&L, "GET", "/v1/personal/users/acme:u1", ACME, NULL), 200);
    assert_int_equal(json_array_size(json_object_get(v, "history")), 2);
    json_decref(v);
    expect_error(ask_with(&L, "POST", "/v1/personal/forget_pair", ACME,
                          "{\"user\":\"acme:none\",\"query\":\"q\",\"chosen\":\"a\",\"rejected\":\"b\"}"),
                 404, NULL);
    expect_error(ask_with(&L, "POST", "/v1/personal/forget_pair", ACME, "{\"user\":\"acme:u1\",\"query\":\"q\"}"), 400,
                 NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(the_files), cmocka_unit_test(the_routes_that_it_asks),
                                       cmocka_unit_test(runs), cmocka_unit_test(users_of_a_scope),
                                       cmocka_unit_test(a_pair_is_taken_back)};
    return cmocka_run_group_tests(tests, begin, people_teardown);
}
