/* Who gets what: every route of the server's own table, one by one, without a token, with a wrong one, with one of
 * another tenant's and with the right one; and that nothing which a tenant is answered holds a byte of another one's.
 */
#include "good_requests.h"

/* No route without a row, no row without a route. */
static void every_route_has_a_row(void **state) {
    (void)state;
    const pgr_server *s = L.server;
    assert_true(s->n_route > 30);
    for (size_t i = 0; i < s->n_route; i++) {
        size_t k = 0;
        while (k < N_ROW && !is_of(&ROWS[k], &s->routes[i])) k++;
        if (k == N_ROW)
            fail_msg("%s %s (%s) has no row", s->routes[i].method, s->routes[i].path,
                     s->routes[i].key ? s->routes[i].key : "no key");
        bool open = s->routes[i].flags & ROUTE_OPEN;
        assert_int_equal(open, ROWS[k].kind == OPEN);
    }
    for (size_t k = 0; k < N_ROW; k++) {
        size_t i = 0;
        while (i < s->n_route && !is_of(&ROWS[k], &s->routes[i])) i++;
        if (i == s->n_route) fail_msg("%s %s is no route", ROWS[k].method, ROWS[k].path);
    }
}

/* ---- asking ---- */

static reply ask_row(const row *r, const char *method, const char *user, const char *headers) {
    char rest[100], path[200], body[900] = "";
    name_user(rest, sizeof rest, r->rest, user);
    snprintf(path, sizeof path, "%s%s", r->path, rest);
    if (r->body) name_user(body, sizeof body, r->body, user);
    return ask_with(&L, method, path, headers, r->body ? body : NULL);
}

static reply expect_row(const row *r, const char *user, const char *headers, int status) {
    reply got = ask_row(r, r->method, user, headers);
    if (got.status != status)
        fail_msg("%s %s for %s with %s: %d, expected %d: %s", r->method, r->path, user, headers ? headers : "no token",
                 got.status, status, got.body.data ? got.body.data : "");
    return got;
}

static const char OWN[] = "acme:u0", GONE[] = "acme:gone";

/* Who is deleted is there before. */
static const char *own_user(const row *r) {
    if (strcmp(r->method, "DELETE") != 0) return OWN;
    expect(ask_with(&L, "PUT", "/v1/personal/users/acme:gone", ROOT, "{\"criteria\": \"Short\"}"), 200);
    return GONE;
}

static const char *const WRONG[] = {NULL,
                                    "Authorization: Bearer wrong\r\n",
                                    "Authorization: Bearer token-of-acm\r\n",
                                    "Authorization: Bearer token-of-acme2\r\n",
                                    "Authorization: Bearer\r\n",
                                    "Authorization: Basic dTp3cm9uZw==\r\n"}; /* u:wrong */
enum { N_WRONG = sizeof WRONG / sizeof *WRONG };

static void without_a_token_and_with_a_wrong_one(void **state) {
    (void)state;
    for (size_t i = 0; i < N_ROW; i++) {
        const row *r = &ROWS[i];
        for (size_t k = 0; k < N_WRONG; k++) {
            reply got = expect_row(r, OWN, WRONG[k], r->kind == OPEN ? 200 : 401);
            if (r->kind != OPEN) assert_null(strstr(got.body.data, "acme"));
            reply_free(&got);
            if (strcmp(r->method, "GET") != 0) continue;
            got = ask_row(r, "HEAD", OWN, WRONG[k]);
            assert_int_equal(got.status, r->kind == OPEN ? 200 : 401);
            reply_free(&got);
        }
    }
}

static void with_the_right_one(void **state) {
    (void)state;
    static const char *const rights[] = {ACME, ROOT};
    for (size_t i = 0; i < N_ROW; i++)
        for (size_t k = 0; k < 2; k++) {
            if (ROWS[i].kind == OPERATOR && k == 0) continue;
            if (strcmp(ROWS[i].path, "/v1/unload_lora_adapter") == 0)
                expect(ask_with(&L, "POST", "/v1/load_lora_adapter", ROOT,
                                "{\"lora_name\": \"mine\", \"lora_path\": \"" LORA "\", \"load_inplace\": true}"),
                       200);
            reply got = expect_row(&ROWS[i], own_user(&ROWS[i]), rights[k], 200);
            reply_free(&got);
        }
}

/* 403 whether the other's user exists or not, in the same words to the byte, which do not have his name. */
static void with_another_tenants(void **state) {
    (void)state;
    static const char *const others[] = {"bolt:u0", "bolt:nobody", "zzz", "acme", "Acme:u0", "bolt:u4"};
    for (size_t i = 0; i < N_ROW; i++) {
        buf first = {0};
        if (ROWS[i].kind == OPERATOR) expect_error(expect_row(&ROWS[i], OWN, ACME, 403), 403, "scope");
        if (ROWS[i].kind == OPERATOR) expect_error(expect_row(&ROWS[i], OWN, BOLT, 403), 403, "scope");
        for (size_t k = 0; ROWS[i].kind == USER && k < sizeof others / sizeof *others; k++) {
            reply got = expect_row(&ROWS[i], others[k], ACME, 403);
            if (k == 0) buf_add(&first, got.body.data, got.body.n);
            assert_int_equal(got.body.n, first.n);
            assert_memory_equal(got.body.data, first.data, first.n);
            assert_null(strstr(got.body.data, others[k]));
            expect_error(got, 403, "user_not_allowed");
        }
        buf_free(&first);
        if (ROWS[i].kind == USER) expect_error(expect_row(&ROWS[i], OWN, BOLT, 403), 403, "user_not_allowed");
    }
    for (int u = 0; u < USERS_EACH; u++) { /* nobody was deleted or changed */
        char path[60];
        snprintf(path, sizeof path, "/v1/personal/users/bolt:u%d", u);
        json_t *v = answer(ask_with(&L, "GET", path, BOLT, NULL), 200);
        assert_int_equal(json_array_size(json_object_get(v, "history")), 3);
        json_decref(v);
    }
    expect_error(ask_with(&L, "GET", "/v1/personal/users/bolt:nobody", BOLT, NULL), 404, NULL);
}

/* ---- what is answered ---- */

static void expect_nothing_of(const char *tenant, const reply *r, const char *where) {
    const char *found = r->body.data ? memmem(r->body.data, r->body.n, tenant, strlen(tenant)) : NULL;
    if (found) fail_msg("%s: %.60s", where, found);
    assert_null(strstr(r->head.data, tenant));
}

/* Wrong bodies that a message might quote the store for. */
static const row BROKEN[] = {
    {"POST", "/v1/personal/score", NULL, USER, "", "{\"user\": \"@\", " TWO ", \"pro\": 100000}"},
    {"POST", "/v1/personal/score", NULL, USER, "", "{\"user\": \"@\", \"querry\": \"q\"}"},
    {"POST", "/v1/personal/score", NULL, USER, "", "{\"user\": \"@\", " TWO ", \"pro\": 8, \"deadline_s\": 1e-5}"},
    {"POST", "/v1/personal/feedback", NULL, USER, "", "{\"user\": \"@\", \"query\": \"q\", \"chosen\": \"a\"}"},
    {"PUT", "/v1/personal/users/", NULL, USER, "@", "{\"history\": [{}]}"},
    {"GET", "/v1/personal/users/", NULL, USER, "acme:nobody", NULL},
    {"POST", "/get_reward", "query", USER, "", "{\"query\": [\"q a\"], \"prompts\": [\"q\"], \"labels\": [7]}"},
    {"POST", "/v1/chat/completions", NULL, TOKEN, "", "{\"messages\": [], \"model\": \"other\"}"},
    {"POST", "/v1/unload_lora_adapter", NULL, OPERATOR, "", "{}"},
};

static void nothing_of_another_tenant(void **state) {
    (void)state;
    for (size_t i = 0; i < N_ROW; i++) {
        reply got = ask_row(&ROWS[i], ROWS[i].method, own_user(&ROWS[i]), ACME);
        expect_nothing_of("bolt", &got, ROWS[i].path);
        reply_free(&got);
        if (ROWS[i].kind == USER) continue;
        got = ask_row(&ROWS[i], ROWS[i].method, OWN, BOLT);
        expect_nothing_of("acme", &got, ROWS[i].path);
        reply_free(&got);
    }
    for (size_t i = 0; i < sizeof BROKEN / sizeof *BROKEN; i++) {
        reply got = ask_row(&BROKEN[i], BROKEN[i].method, OWN, ACME);
        expect_nothing_of("bolt", &got, BROKEN[i].path);
        reply_free(&got);
    }
    json_t *v = answer(ask_with(&L, "GET", "/v1/personal/users/acme:u1", ACME, NULL), 200); /* the mark is one */
    char *text = json_dumps(v, 0);
    assert_non_null(strstr(text, "Occasion 1 of acme"));
    assert_non_null(strstr(text, "Like acme's"));
    pgr_free(text);
    json_decref(v);
}

/* Whether somebody else has asked with the same beginning is not told where there are several tokens. */
static void nothing_of_what_was_asked_before(void **state) {
    (void)state;
    static const char *const asked[][2] = {
        {"/v1/chat/completions", "{\"messages\": [{\"role\": \"user\", \"content\": \"Hello\"}], \"max_tokens\": 2}"},
        {"/v1/chat/completions", "{\"messages\": [{\"role\": \"user\", \"content\": \"Hello\"}], \"max_tokens\": 2, "
                                 "\"stream\": true, \"stream_options\": {\"include_usage\": true}}"},
        {"/v1/completions", "{\"prompt\": \"Once\", \"max_tokens\": 2}"},
        {"/v1/personal/score", "{\"user\": {" PAIR "}, " TWO "}"},
        {"/v1/personal/score", "{\"user\": {" PAIR "}, " TWO ", \"stream\": true}"},
    };
    for (size_t i = 0; i < sizeof asked / sizeof *asked; i++) {
        reply got = ask_with(&L, "POST", asked[i][0], ACME, asked[i][1]);
        assert_int_equal(got.status, 200);
        assert_non_null(strstr(got.body.data, "\"prompt_tokens\""));
        assert_null(strstr(got.body.data, "cached"));
        reply_free(&got);
    }
}

/* A group's name is its token's: another's member neither joins it nor learns that it is there. */
static void groups_are_ones_own(void **state) {
    (void)state;
    static const char one[] = "{\"query\": [\"Where? Here\"], \"prompts\": [\"Where?\"], \"labels\": [{\"group\": "
                              "\"g\", \"group_size\": 2, \"ind\": 1, \"collect_s\": 60}]}",
                      two[] = "{\"query\": [\"Where? There\"], \"prompts\": [\"Where?\"], \"labels\": [{\"group\": "
                              "\"g\", \"group_size\": 2, \"ind\": 1, \"collect_s\": 60}]}",
                      other[] = "{\"query\": [\"Who? Me\"], \"prompts\": [\"Who?\"], \"labels\": [{\"group\": \"g\", "
                                "\"group_size\": 3, \"ind\": 1, \"collect_s\": 0.05, \"anchor\": \"You\"}]}";
    int fd[2] = {dial(&L), dial(&L)};
    until_open(0);
    ask_on(fd[0], "POST", "/get_reward", ACME, one);
    until_open(1);
    json_t *v = answer(ask_with(&L, "POST", "/get_reward", BOLT, other), 200); /* another size and prompt: no error */
    json_t *in = json_array_get(json_object_get(json_object_get(v, "extra_logs"), "in_group"), 0);
    assert_int_equal(json_integer_value(in), 0);
    json_decref(v);
    ask_on(fd[1], "POST", "/get_reward", ACME, two);
    for (size_t i = 0; i < 2; i++) {
        v = answer(hear_reply(fd[i], false), 200);
        in = json_array_get(json_object_get(json_object_get(v, "extra_logs"), "in_group"), 0);
        assert_int_equal(json_integer_value(in), 1);
        json_decref(v);
        close(fd[i]);
    }
}

/* The last one: the log of all of them. No texts, and no token beside a user that it does not reach. */
static void the_audit_log(void **state) {
    (void)state;
    static const char *const scopes[] = {"", "acme:", "bolt:", ""};
    char line[2000];
    size_t n = 0, named = 0;
    FILE *f = fopen(AUDIT, "r");
    assert_non_null(f);
    while (fgets(line, sizeof line, f)) {
        json_t *v = json_loads(line, 0, NULL);
        if (!v) fail_msg("%s", line);
        json_int_t token = json_integer_value(json_object_get(v, "token"));
        const char *user = json_string_value(json_object_get(v, "user"));
        assert_in_range(token, 0, 3);
        if (*user && strncmp(user, scopes[token], strlen(scopes[token])) != 0) fail_msg("%s", line);
        if (token == 0) assert_string_equal(user, "");
        static const char *const texts[] = {"Occasion", "Tea",     "Coffee", "Like",
                                            "With",     "Access?", "Where",  "token-of"};
        for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
            if (strstr(line, texts[i])) fail_msg("%s", line);
        named += *user != '\0';
        n++;
        json_decref(v);
    }
    fclose(f);
    assert_true(n > 5 * N_ROW && named > N_ROW / 3);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_route_has_a_row),     cmocka_unit_test(without_a_token_and_with_a_wrong_one),
        cmocka_unit_test(with_the_right_one),        cmocka_unit_test(with_another_tenants),
        cmocka_unit_test(nothing_of_another_tenant), cmocka_unit_test(nothing_of_what_was_asked_before),
        cmocka_unit_test(groups_are_ones_own),       cmocka_unit_test(the_audit_log),
    };
    return cmocka_run_group_tests(tests, rows_setup, rows_teardown);
}
