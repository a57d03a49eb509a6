/* The server's core over real connections: routes, tokens, limits, slow and vanishing clients, a full queue, the end.
 * The routes of this test stand beside the server's own: one that writes chains, one that waits until it is told. */
#include "live_server.h"

/* ---- routes of the test ---- */

/* /write {"n", "tokens"}: chains, and how many tokens they have */
typedef struct writing {
    task task;
    size_t n, n_token;
} writing;

static atomic_int N_CANCELLED, N_FREED, N_BEGUN;

static pgr_status begin_writing(task *t, pgr_error *err) {
    writing *w = (writing *)t;
    atomic_fetch_add(&N_BEGUN, 1);
    return task_ask(t,
                    &(infer_request){.text = "Once",
                                     .n_text = 4,
                                     .n_sample = w->n,
                                     .sampling = {.temperature = 1, .top_p = 1},
                                     .max_tokens = w->n_token,
                                     .ignore_eos = true},
                    NULL, err);
}

static void take_writing(task *t, infer_event *e) {
    assert_int_equal(e->kind, INFER_ENDED);
    size_t n = 0;
    for (size_t i = 0; i < e->result->n_chain; i++) n += e->result->chains[i].tokens.n;
    call_note_tokens(t->call, e->result->prompt.n, n);
    call_reply_json(t->call, 200, json_pack("{s:I}", "tokens", (json_int_t)n));
    infer_result_free(e->result);
    task_end(t);
}

static void cancel_it(task *t) {
    (void)t;
    atomic_fetch_add(&N_CANCELLED, 1);
}

static void free_it(task *t) {
    atomic_fetch_add(&N_FREED, 1);
    mem_free(t);
}

static const task_kind WRITING = {
    .name = "writing", .begin = begin_writing, .event = take_writing, .cancel = cancel_it, .free = free_it};

static void write_chains(call *c) {
    const json_t *body = call_json(c);
    if (!body) return;
    writing *w = mem_zero(1, sizeof *w);
    w->task.kind = &WRITING;
    w->n = (size_t)json_integer_value(json_object_get(body, "n"));
    w->n_token = (size_t)json_integer_value(json_object_get(body, "tokens"));
    call_submit(c, &w->task);
}

/* /wait: until RELEASED, or its deadline; then 200 or 504 */
static atomic_bool RELEASED;

static pgr_status begin_waiting(task *t, pgr_error *err) {
    (void)t;
    (void)err;
    atomic_fetch_add(&N_BEGUN, 1);
    return PGR_OK;
}

static void look_at_waiting(task *t, double now) {
    if (now > call_deadline(t->call))
        call_fail_error(t->call, &(pgr_error){.status = PGR_E_DEADLINE});
    else if (atomic_load(&RELEASED))
        call_reply_json(t->call, 200, json_pack("{s:s}", "user", call_rest(t->call)));
    else
        return;
    task_end(t);
}

static const task_kind WAITING = {
    .name = "waiting", .begin = begin_waiting, .tick = look_at_waiting, .cancel = cancel_it, .free = free_it};

static void wait_for_it(call *c) {
    task *t = mem_zero(1, sizeof *t);
    t->kind = &WAITING;
    call_submit(c, t);
}

/* /stream: three pieces from a pump, by one step each */
static atomic_int N_LEFT;
static call *STREAMED;

static void stream_it(call *c) {
    task *t = mem_zero(1, sizeof *t);
    t->kind = &WAITING;
    call_keep(c);
    STREAMED = c;
    call_stream(c);
    atomic_store(&N_LEFT, 3);
    call_submit(c, t);
}

static bool pump_stream(void *ctx) {
    (void)ctx;
    int left = atomic_load(&N_LEFT);
    if (left == 0) return false;
    char piece[40];
    snprintf(piece, sizeof piece, "data: %d\n\n", left);
    assert_true(call_send(STREAMED, piece, strlen(piece)));
    atomic_store(&N_LEFT, left - 1);
    if (left > 1) return true;
    call_end(STREAMED);
    call_release(STREAMED);
    return false;
}

/* /flood: a stream of more than sockets hold, written at once */
static void flood(call *c) {
    enum { MANY = 7 << 20 };
    char *some = mem_alloc(MANY);
    memset(some, '\n', MANY);
    call_stream(c);
    assert_true(call_send(c, some, MANY));
    call_end(c);
    mem_free(some);
}

static void say_form(call *c) {
    call_reply_json(c, 200, json_pack("{s:s}", "form", (const char *)call_ctx(c)));
}

static void say_user(call *c) {
    const char *user = call_rest(c);
    if (call_may(c, user)) call_reply_json(c, 200, json_pack("{s:s}", "user", user));
}

static char FORM_A[] = "a", FORM_B[] = "b", FORM_PLAIN[] = "plain";
static const route ROUTES[] = {
    {"POST", "/write", write_chains, .flags = 0},
    {"GET", "/wait", wait_for_it, .flags = 0},
    {"GET", "/stream", stream_it, .flags = 0},
    {"GET", "/flood", flood, .flags = 0},
    {"POST", "/form", say_form, .key = "alpha", .ctx = FORM_A},
    {"POST", "/form", say_form, .ctx = FORM_PLAIN},
    {"POST", "/form", say_form, .key = "beta", .ctx = FORM_B},
    {"POST", "/keyed", say_form, .key = "alpha", .ctx = FORM_A},
    {"GET", "/users/", say_user, .flags = 0},
    {"PUT", "/users/", say_user, .flags = 0},
};

static live L; /* the server of the test that runs */

/* Listens; live_start gives it the model. */
static void listen_with(live *l, const pgr_serve_options *o) {
    atomic_store(&RELEASED, false);
    atomic_store(&N_CANCELLED, 0);
    atomic_store(&N_FREED, 0);
    atomic_store(&N_BEGUN, 0);
    live_listen(l, o);
    assert_int_equal(server_add_routes(l->server, ROUTES, sizeof ROUTES / sizeof *ROUTES, NULL), PGR_OK);
    worker_add_pump(l->server->worker, pump_stream, NULL);
}

static void start_with(const pgr_serve_options *o) {
    listen_with(&L, o);
    live_start(&L);
}

static int serve(void **state) {
    (void)state;
    pgr_serve_options o = live_options();
    start_with(&o);
    return 0;
}

static int stop(void **state) {
    (void)state;
    live_stop(&L);
    return 0;
}

static void until(atomic_int *count, int n) {
    while (atomic_load(count) < n) poll(NULL, 0, 2);
}

/* ---- routes ---- */

static void finds_routes(void **state) {
    (void)state;
    expect(ask(&L, "GET", "/health", NULL), 200);
    expect(ask(&L, "GET", "/health/", NULL), 200);
    expect_error(ask(&L, "GET", "/healthy", NULL), 404, "not_found");
    expect_error(ask(&L, "GET", "/users/", NULL), 404, "not_found");
    expect_error(ask(&L, "POST", "/v1/models", "{}"), 405, "method_not_allowed");

    reply r = ask(&L, "DELETE", "/users/a", NULL);
    assert_int_equal(r.status, 405);
    assert_string_equal(header_of(&r, "Allow"), "GET, HEAD, PUT");
    reply_free(&r);

    r = ask(&L, "HEAD", "/v1/models", NULL);
    assert_int_equal(r.status, 200);
    assert_int_equal(r.body.n, 0);
    assert_true(atol(header_of(&r, "Content-Length")) > 20);
    reply_free(&r);

    r = ask(&L, "GET", "/users/a%20b%2Fc%C3%A9", NULL);
    json_t *v = json_of(&r);
    assert_string_equal(json_string_value(json_object_get(v, "user")), "a b/c\xC3\xA9");
    json_decref(v);
    reply_free(&r);
    expect_error(ask(&L, "GET", "/users/a%00b", NULL), 400, NULL);
    expect_error(ask(&L, "GET", "/users/a%zz", NULL), 400, NULL);
    expect_error(ask(&L, "GET", "/users/%ff", NULL), 400, NULL);
}

static void expect_form(const live *l, const char *body, const char *form) {
    reply r = ask(l, "POST", "/form", body);
    json_t *v = json_of(&r);
    assert_string_equal(json_string_value(json_object_get(v, "form")), form);
    json_decref(v);
    reply_free(&r);
}

static void tells_forms_by_their_keys(void **state) {
    (void)state;
    expect_form(&L, "{\"beta\":1}", "b");
    expect_form(&L, "{\"alpha\":1,\"beta\":1}", "a");
    expect_form(&L, "{\"gamma\":1}", "plain");
    expect_error(ask(&L, "POST", "/form", "{\"gamma\":"), 400, NULL);
    expect_error(ask(&L, "POST", "/form", "[1]"), 400, NULL);
    expect_error(ask(&L, "POST", "/keyed", "{\"beta\":1}"), 400, NULL);
    expect_error(ask(&L, "POST", "/form", "{\"beta\":1,\"deadline_s\":0}"), 400, NULL);
}

static void keeps_connections(void **state) {
    (void)state;
    int fd = dial(&L);
    static const struct {
        const char *method, *path, *body;
        int status;
    } asked[] = {{"GET", "/health", NULL, 200},
                 {"POST", "/nowhere", "{\"a\":1}", 404}, /* its body is read over */
                 {"POST", "/write", "{\"n\":2,\"tokens\":3}", 200},
                 {"HEAD", "/health", NULL, 200},
                 {"POST", "/v1/models", "{}", 405},
                 {"GET", "/v1/models", NULL, 200}};
    for (size_t i = 0; i < sizeof asked / sizeof *asked; i++) {
        ask_on(fd, asked[i].method, asked[i].path, NULL, asked[i].body);
        reply r = hear_reply(fd, strcmp(asked[i].method, "HEAD") == 0);
        assert_int_equal(r.status, asked[i].status);
        assert_false(r.closed);
        reply_free(&r);
    }
    close(fd);
}

/* Longer than a request may take to come; whoever comes with a request and leaves at once is seen, too. */
static void keeps_who_is_there(void **state) {
    (void)state;
    pgr_serve_options o = live_options();
    o.read_s = 0.3;
    start_with(&o);
    int fd = dial(&L);
    ask_on(fd, "GET", "/health", NULL, NULL);
    expect(hear_reply(fd, false), 200);
    poll(NULL, 0, 1300);
    ask_on(fd, "GET", "/health", NULL, NULL);
    expect(hear_reply(fd, false), 200);
    close(fd);
    static const char ASK[] = "GET /health HTTP/1.1\r\nHost: t\r\n\r\n";
    int fds[20];
    for (size_t i = 0; i < 20; i++) {
        fds[i] = dial(&L);
        say(fds[i], ASK, sizeof ASK - 1);
        shutdown(fds[i], SHUT_WR);
    }
    for (size_t i = 0; i < 20; i++) {
        char c;
        expect(hear_reply(fds[i], false), 200);
        assert_false(hear(fds[i], &c)); /* closed, within its minute */
        close(fds[i]);
    }
}

static void says_that_it_is_loading(void **state) {
    (void)state;
    pgr_serve_options o = live_options();
    listen_with(&L, &o);
    expect_error(ask(&L, "GET", "/health", NULL), 503, "loading");
    expect_error(ask(&L, "POST", "/write", "{}"), 503, "loading");
    expect(ask(&L, "GET", "/metrics", NULL), 200);
    live_start(&L);
    expect(ask(&L, "GET", "/health", NULL), 200);
}

/* ---- tokens ---- */

static char *token_file(const char *text) {
    static char path[] = "/tmp/pgenrm-tokens-XXXXXX";
    strcpy(path + sizeof path - 7, "XXXXXX");
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
    return path;
}

static void asks_for_tokens(void **state) {
    (void)state;
    pgr_serve_options o = live_options();
    char *path = token_file("# tenants\nalpha-key a/\nbeta-key\tb/  \n\nroot *\nbare\n");
    o.token_file = path;
    start_with(&o);
    unlink(path);
    static const struct {
        const char *header, *user;
        int status;
    } table[] = {
        {NULL, "a/1", 401},
        {"Authorization: Bearer wrong\r\n", "a/1", 401},
        {"Authorization: Bearer alpha-ke\r\n", "a/1", 401},
        {"Authorization: Bearer alpha-keyy\r\n", "a/1", 401},
        {"Authorization: Bearer \r\n", "a/1", 401},
        {"Authorization: alpha-key\r\n", "a/1", 401},
        {"Authorization: Bearer alpha-key\r\n", "a/1", 200},
        {"authorization: bearer alpha-key\r\n", "a/1", 200},
        {"Authorization: Bearer alpha-key\r\n", "b/1", 403},
        {"Authorization: Bearer alpha-key\r\n", "a", 403},
        {"Authorization: Bearer beta-key\r\n", "b/1", 200},
        {"Authorization: Bearer root\r\n", "b/1", 200},
        {"Authorization: Bearer bare\r\n", "zebra", 200},
        {"Authorization: Basic dTphbHBoYS1rZXk=\r\n", "a/1", 200}, /* u:alpha-key */
        {"Authorization: Basic dTphbHBoYS1rZXk\r\n", "a/1", 200},  /* without padding */
        {"Authorization: Basic OmFscGhhLWtleQ==\r\n", "a/1", 200}, /* :alpha-key */
        {"Authorization: Basic YWxwaGEta2V5\r\n", "a/1", 401},     /* alpha-key */
        {"Authorization: Basic dTphbHBoYS1rZXk=\r\n", "b/1", 403},
        {"Authorization: Basic ****\r\n", "a/1", 401},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        char where[40];
        snprintf(where, sizeof where, "/users/%s", table[i].user);
        reply r = ask_with(&L, "GET", where, table[i].header, NULL);
        if (r.status != table[i].status) fail_msg("row %zu: %d, expected %d", i, r.status, table[i].status);
        if (r.status == 401) assert_true(strncmp(header_of(&r, "WWW-Authenticate"), "Bearer", 6) == 0);
        reply_free(&r);
    }
    expect(ask(&L, "GET", "/health", NULL), 200);
    expect_error(ask(&L, "GET", "/metrics", NULL), 401, NULL);
    expect_error(ask(&L, "GET", "/v1/models", NULL), 401, NULL);
}

static int status_with(const live *l, const char *method, const char *path, const char *headers, const char *body) {
    buf out = {0};
    int fd = dial(l);
    buf_printf(&out, "%s %s HTTP/1.1\r\n%s", method, path, headers);
    if (body) buf_printf(&out, "Content-Type: text/plain\r\nContent-Length: %zu\r\n", strlen(body));
    buf_printf(&out, "\r\n%s", body ? body : "");
    say(fd, out.data, out.n);
    reply r = hear_reply(fd, false);
    int status = r.status;
    reply_free(&r);
    buf_free(&out);
    close(fd);
    return status;
}

/* A browser asks for any page that it shows: what another origin's asks for is refused, and so is, without tokens, a
 * public name that was made to lead here. */
static void keeps_pages_of_others_out(void **state) {
    (void)state;
    static const struct {
        const char *headers;
        int post, get, with_tokens; /* statuses; with_tokens: of POST */
    } ROWS[] = {
        {"Host: 127.0.0.1:8300\r\n", 200, 200, 200},
        {"Host: [::1]:8300\r\n", 200, 200, 200},
        {"Host: LOCALHOST\r\n", 200, 200, 200},
        {"Host: judge.localhost:8300\r\n", 200, 200, 200},
        {"Host: judge:8300\r\n", 200, 200, 200},
        {"Host: host.docker.internal:8300\r\n", 200, 200, 200},
        {"Host: evil.example:8300\r\n", 403, 403, 200},
        {"Host: evil.example.\r\n", 403, 403, 200},
        {"Host: 127.0.0.1.evil.example\r\n", 403, 403, 200},
        {"Host: localhost.evil.example\r\n", 403, 403, 200},
        {"Host: 127.0.0.1:8300\r\nOrigin: http://127.0.0.1:8300\r\n", 200, 200, 200},
        {"Host: 127.0.0.1:8300\r\nOrigin: http://127.0.0.1:8301\r\n", 403, 200, 403},
        {"Host: 127.0.0.1:8300\r\nOrigin: https://evil.example\r\n", 403, 200, 403},
        {"Host: 127.0.0.1:8300\r\nOrigin: null\r\n", 403, 200, 403},
        {"Host: 127.0.0.1:8300\r\nOrigin: https://judge.example\r\nSec-Fetch-Site: same-origin\r\n", 200, 200, 200},
        {"Host: 127.0.0.1:8300\r\nSec-Fetch-Site: none\r\n", 200, 200, 200},
        {"Host: 127.0.0.1:8300\r\nSec-Fetch-Site: same-site\r\n", 403, 200, 403},
        {"Host: 127.0.0.1:8300\r\nOrigin: http://127.0.0.1:8300\r\nSec-Fetch-Site: cross-site\r\n", 403, 200, 403},
    };
    live closed; /* to whom has no token; L is open */
    pgr_serve_options o = live_options();
    pgr_engine *own = NULL; /* both servers run at once, and an engine is one thread's */
    assert_int_equal(pgr_engine_create(MODEL, NULL, &own, NULL), PGR_OK);
    o.token_file = token_file("secret\n");
    listen_with(&closed, &o);
    closed.what.engine = own;
    live_start(&closed);
    for (size_t i = 0; i < sizeof ROWS / sizeof *ROWS; i++) {
        char with[400];
        snprintf(with, sizeof with, "%sAuthorization: Bearer secret\r\n", ROWS[i].headers);
        int post = status_with(&L, "POST", "/form", ROWS[i].headers, "{}");
        int get = status_with(&L, "GET", "/users/u", ROWS[i].headers, NULL);
        int with_tokens = status_with(&closed, "POST", "/form", with, "{}");
        if (post != ROWS[i].post || get != ROWS[i].get || with_tokens != ROWS[i].with_tokens)
            fail_msg("%s: %d %d %d", ROWS[i].headers, post, get, with_tokens);
        assert_int_equal(status_with(&L, "GET", "/health", ROWS[i].headers, NULL), 200);
    }
    live_stop(&closed);
    pgr_engine_free(own);
}

static void refuses_files_of_tokens(void **state) {
    (void)state;
    static const char *const wrong[] = {"", "# none\n", "a b c\n", "t\xC3\xA9st\n", "key \xFF\n"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        pgr_serve_options o = live_options();
        pgr_server *s = NULL;
        char *path = token_file(wrong[i]);
        o.token_file = path;
        assert_int_equal(pgr_server_open(&o, &s, NULL), PGR_E_FORMAT);
        unlink(path);
    }
    pgr_serve_options o = live_options();
    pgr_server *s = NULL;
    pgr_error err;
    o.token_file = "/nowhere/tokens";
    assert_int_equal(pgr_server_open(&o, &s, &err), PGR_E_IO);
    o.token_file = NULL;
    static const char *const listens[] = {"0.0.0.0:0", "[::]:0", "127.0.0.1", "127.0.0.1:x", ":80", "127.0.0.1:70000"};
    for (size_t i = 0; i < sizeof listens / sizeof *listens; i++) {
        o.listen = listens[i];
        assert_int_equal(pgr_server_open(&o, &s, &err), PGR_E_ARG);
        assert_non_null(strstr(err.message, "listen"));
    }
}

/* A second server on the port would be given every other request, with another store behind it. */
static void a_port_is_one_servers(void **state) {
    (void)state;
    char listen[40];
    snprintf(listen, sizeof listen, "127.0.0.1:%d", L.port);
    pgr_serve_options o = live_options();
    pgr_server *second = NULL;
    pgr_error err = {0};
    o.listen = listen;
    assert_int_equal(pgr_server_open(&o, &second, &err), PGR_E_IO);
    assert_non_null(strstr(err.message, "Address already in use"));
    assert_non_null(strstr(err.message, "--listen"));
    expect(ask(&L, "GET", "/health", NULL), 200); /* the connection that is then in TIME_WAIT */
    live_stop(&L);
    if (pgr_server_open(&o, &second, &err) != PGR_OK) fail_msg("%s", err.message); /* a restart needs no waiting */
    pgr_server_close(second);
}

/* ---- limits ---- */

static void limits_bodies_and_heads(void **state) {
    (void)state;
    pgr_serve_options o = live_options();
    o.max_body = 1000;
    start_with(&o);
    char *big = mem_zero(1, 200001);
    memset(big, ' ', 200000);
    memcpy(big, "{}", 2);
    expect_error(ask(&L, "POST", "/form", big), 413, "body_too_large");
    expect_error(ask_with(&L, "POST", "/form", "Expect: 100-continue\r\n", big), 413, NULL);
    big[1000] = '\0';
    expect(ask(&L, "POST", "/form", big), 200);

    int fd = dial(&L); /* in chunks, without a length */
    static const char head[] = "POST /form HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n";
    say(fd, head, sizeof head - 1);
    for (int i = 0; i < 3; i++) {
        char chunk[512];
        memset(chunk, ' ', sizeof chunk);
        say(fd, "200\r\n", 5);
        say(fd, chunk, sizeof chunk);
        say(fd, "\r\n", 2);
    }
    say(fd, "0\r\n\r\n", 5);
    expect_error(hear_reply(fd, false), 413, NULL);
    close(fd);

    memset(big, 'x', 100000);
    big[100000] = '\0';
    buf headers = {0};
    buf_printf(&headers, "X-Big: %s\r\n", big);
    reply r = ask_with(&L, "GET", "/health", headers.data, NULL);
    assert_true(r.status == 431 || r.status == 0); /* refused, or cut off */
    reply_free(&r);
    buf_clear(&headers);
    big[3000] = '\0';
    buf_printf(&headers, "/%s", big);
    expect_error(ask(&L, "GET", headers.data, NULL), 414, NULL);
    buf_free(&headers);
    mem_free(big);
    expect(ask(&L, "GET", "/health", NULL), 200);
}

static void closes_slow_clients(void **state) {
    (void)state;
    pgr_serve_options o = live_options();
    o.read_s = 0.3;
    start_with(&o);
    static const char *const begun[] = {"", "GET /hea", "POST /form HTTP/1.1\r\nHost: t\r\nX-A:",
                                        "POST /form HTTP/1.1\r\nHost: t\r\nContent-Length: 100\r\n\r\n{"};
    for (size_t i = 0; i < sizeof begun / sizeof *begun; i++) {
        int fd = dial(&L);
        double start = clock_now();
        say(fd, begun[i], strlen(begun[i]));
        char c;
        struct pollfd p = {.fd = fd, .events = POLLIN};
        while (poll(&p, 1, 50) == 0) /* one byte after the other: never idle */
            if (begun[i][0]) say(fd, "x", 1);
        double waited = clock_now() - start;
        if (waited < 0.3) fail_msg("row %zu: closed after %g s", i, waited);
        reply r = hear_reply(fd, false);
        if (r.status != 408 && r.status != 0) fail_msg("row %zu: %d", i, r.status);
        reply_free(&r);
        while (recv(fd, &c, 1, 0) > 0) continue;
        close(fd);
    }
    expect(ask(&L, "GET", "/health", NULL), 200);
}

static void answers_429_when_full(void **state) {
    (void)state;
    pgr_serve_options o = live_options();
    o.max_queue = 3;
    start_with(&o);
    int fds[3];
    for (int i = 0; i < 3; i++) {
        fds[i] = dial(&L);
        ask_on(fds[i], "GET", "/wait", NULL, NULL);
    }
    until(&N_BEGUN, 3);
    reply r = ask(&L, "POST", "/write", "{\"n\":1,\"tokens\":1}");
    assert_int_equal(r.status, 429);
    assert_true(atoi(header_of(&r, "Retry-After")) >= 1);
    reply_free(&r);
    expect(ask(&L, "GET", "/health", NULL), 200); /* what needs no engine is answered */
    atomic_store(&RELEASED, true);
    for (int i = 0; i < 3; i++) {
        expect(hear_reply(fds[i], false), 200);
        close(fds[i]);
    }
    until(&N_FREED, 4); /* the refused one, too */
    expect(ask(&L, "POST", "/write", "{\"n\":1,\"tokens\":1}"), 200);
}

/* Retry-After: what half of the queue takes at the rate so far; never 0, never for ever. */
static void tells_when_to_come_again(void **state) {
    (void)state;
    static const struct {
        worker_load load;
        unsigned want;
    } rows[] = {{{.n_open = 100, .rate = 5}, 10},
                {{.n_open = 101, .rate = 5}, 11},
                {{.n_open = 1, .rate = 1000}, 1},
                {{.n_open = 100000, .rate = 0.1}, 60},
                {{.n_open = 3}, 1},
                {{.n_open = 3, .since_s = 7}, 7}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_int_equal(worker_wait_s(&rows[i].load), rows[i].want);
    for (int i = 0; i < 3; i++) expect(ask(&L, "POST", "/write", "{\"n\":1,\"tokens\":2}"), 200);
    while (!(worker_state(L.server->worker).rate > 0)) poll(NULL, 0, 2); /* it is measured */
}

/* ---- tasks ---- */

static void *ask_often(void *ctx) {
    const live *l = ctx;
    for (int i = 0; i < 10; i++) {
        char body[60];
        snprintf(body, sizeof body, "{\"n\":%d,\"tokens\":%d}", 1 + i % 3, 1 + i);
        reply r = ask(l, "POST", "/write", body);
        json_t *v = json_of(&r);
        if (r.status != 200 || json_integer_value(json_object_get(v, "tokens")) != (1 + i % 3) * (1 + i)) abort();
        json_decref(v);
        reply_free(&r);
    }
    return NULL;
}

static void many_at_once(void **state) {
    (void)state;
    pthread_t threads[8];
    for (int i = 0; i < 8; i++) assert_int_equal(pthread_create(&threads[i], NULL, ask_often, &L), 0);
    for (int i = 0; i < 8; i++) pthread_join(threads[i], NULL);
    static const char *const counts[] = {"pgenrm_requests_total{route=\"/write\",status=\"200\"} 80\n",
                                         "pgenrm_request_seconds_count{route=\"/write\"} 80\n",
                                         "pgenrm_queue_length 0\n"};
    for (size_t i = 0; i < 3;
         poll(NULL, 0, 2)) { /* a call is counted, and its task dropped, after its answer is sent */
        reply r = ask(&L, "GET", "/metrics", NULL);
        while (i < 3 && strstr(r.body.data, counts[i])) i++;
        reply_free(&r);
    }
}

static void says_what_is_wrong(void **state) {
    (void)state;
    expect_error(ask(&L, "POST", "/write", "{\"n\":1,\"tokens\":100000}"), 400, NULL); /* begin fails */
    expect_error(ask(&L, "POST", "/write", "{\"n\":0,\"tokens\":1}"), 400, NULL);
    expect_error(ask_with(&L, "GET", "/wait", "X-Deadline-S: 0.05\r\n", NULL), 504, "deadline");
    expect_error(ask_with(&L, "GET", "/wait", "X-Deadline-S: soon\r\n", NULL), 400, NULL);
}

static void clients_that_vanish_stop_their_chains(void **state) {
    (void)state;
    int fds[2] = {dial(&L), dial(&L)};
    ask_on(fds[0], "GET", "/wait", NULL, NULL);
    ask_on(fds[1], "POST", "/write", NULL, "{\"n\":64,\"tokens\":200}");
    until(&N_BEGUN, 2);
    close(fds[0]);
    close(fds[1]);
    until(&N_FREED, 2);
    if (atomic_load(&N_CANCELLED) == 0) fail_msg("nothing was cancelled");
    reply r;
    do { /* nothing is left in the engine */
        r = ask(&L, "GET", "/metrics", NULL);
        bool done = strstr(r.body.data, "pgenrm_chains_running 0\n") && strstr(r.body.data, "pgenrm_queue_length 0\n");
        reply_free(&r);
        if (done) break;
        poll(NULL, 0, 5);
    } while (true);
    expect(ask(&L, "POST", "/write", "{\"n\":1,\"tokens\":2}"), 200);
}

static void streams(void **state) {
    (void)state;
    reply r = ask(&L, "GET", "/stream", NULL);
    assert_int_equal(r.status, 200);
    assert_string_equal(header_of(&r, "Content-Type"), "text/event-stream");
    assert_string_equal(r.body.data, "data: 3\n\ndata: 2\n\ndata: 1\n\n");
    reply_free(&r);
    atomic_store(&RELEASED, true);
    until(&N_FREED, 1);
}

/* A stream that has been written to its end is an answer like others: who does not read it in time is cut off. */
static void cuts_off_who_does_not_read_a_stream(void **state) {
    (void)state;
    pgr_serve_options o = live_options();
    o.read_s = 0.2;
    start_with(&o);
    int fd = dial(&L);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &(int){4096}, sizeof(int)), 0);
    ask_on(fd, "GET", "/flood", NULL, NULL);
    double until_s = clock_now() + 30;
    for (bool gone = false; !gone;) {
        poll(NULL, 0, 5);
        if (clock_now() > until_s) fail_msg("the connection is still there");
        reply r = ask(&L, "GET", "/metrics", NULL);
        /* no body: on a busy machine this call, too, was cut off after those 0.2 s */
        gone = r.body.data && strstr(r.body.data, "pgenrm_clients_gone_total 1\n") != NULL;
        reply_free(&r);
    }
    close(fd);
}

/* ---- the end ---- */

static void drains(void **state) {
    (void)state;
    int runs = dial(&L), kept = dial(&L);
    ask_on(kept, "GET", "/health", NULL, NULL);
    expect(hear_reply(kept, false), 200);
    ask_on(runs, "GET", "/wait", NULL, NULL);
    until(&N_BEGUN, 1);
    __atomic_store_n(&L.stop, 1, __ATOMIC_RELAXED);
    while (atomic_load(&L.server->phase) != SERVER_STOPPING) poll(NULL, 0, 1);
    ask_on(kept, "POST", "/write", NULL, "{\"n\":1,\"tokens\":1}");
    expect_error(hear_reply(kept, false), 503, "stopping");
    atomic_store(&RELEASED, true);
    expect(hear_reply(runs, false), 200); /* what ran is answered */
    live_stop(&L);
    close(runs);
    close(kept);
}

static void ends_what_does_not_end(void **state) {
    (void)state;
    pgr_serve_options o = live_options();
    o.drain_s = 0.1;
    start_with(&o);
    int fd = dial(&L);
    ask_on(fd, "GET", "/wait", NULL, NULL);
    until(&N_BEGUN, 1);
    __atomic_store_n(&L.stop, 1, __ATOMIC_RELAXED);
    expect_error(hear_reply(fd, false), 503, "stopping");
    live_stop(&L);
    assert_int_equal(atomic_load(&N_CANCELLED), 1);
    assert_int_equal(atomic_load(&N_FREED), 1);
    close(fd);
}

/* When the server has run, what it was given is the caller's again: a request whose body comes only then is refused. */
static void refuses_bodies_that_come_too_late(void **state) {
    (void)state;
    static const char head[] = "POST /tokenize HTTP/1.1\r\nHost: test\r\nContent-Length: 14\r\n"
                               "Expect: 100-continue\r\n\r\n";
    int fd = dial(&L);
    say(fd, head, sizeof head - 1);
    expect(hear_reply(fd, true), 100); /* its head has been looked at */
    __atomic_store_n(&L.stop, 1, __ATOMIC_RELAXED);
    pthread_join(L.thread, NULL);
    L.runs = false;
    say(fd, "{\"prompt\":\"a\"}", 14);
    expect_error(hear_reply(fd, false), 503, "stopping");
    live_stop(&L);
    close(fd);
}

static void logs_without_texts(void **state) {
    (void)state;
    pgr_serve_options o = live_options();
    char *path = token_file("");
    o.audit_file = path;
    start_with(&o);
    expect(ask(&L, "GET", "/users/u%221", NULL), 200);
    expect(ask(&L, "POST", "/write", "{\"n\":2,\"tokens\":3,\"secret\":\"hush\"}"), 200);
    expect(ask(&L, "GET", "/no/such/hush", NULL), 404);
    live_stop(&L);
    char text[4000] = "";
    FILE *f = fopen(path, "r");
    size_t n = fread(text, 1, sizeof text - 1, f);
    fclose(f);
    unlink(path);
    text[n] = '\0';
    assert_non_null(strstr(text, "\"route\":\"/users/\",\"status\":200,\"token\":0,\"user\":\"u\\\"1\""));
    assert_non_null(strstr(text, "\"route\":\"/write\",\"status\":200"));
    assert_non_null(strstr(text, "\"written\":6}"));
    assert_non_null(strstr(text, "\"route\":\"other\",\"status\":404"));
    assert_null(strstr(text, "hush"));
}

/* A model may be called after a file whose name is any bytes: as it is listed it can be asked for, and answers. */
static void names_in_latin_1(void **state) {
    (void)state;
    pgr_serve_options o = live_options();
    live_listen(&L, &o);
    L.what.name = "caf\xE9";
    live_start(&L);
    reply r = ask(&L, "GET", "/v1/models", NULL);
    json_t *list = json_of(&r);
    reply_free(&r);
    const json_t *id = json_object_get(json_array_get(json_object_get(list, "data"), 0), "id");
    assert_string_equal(json_string_value(id), "caf\xEF\xBF\xBD");
    char body[200];
    snprintf(body, sizeof body, "{\"model\":\"%s\",\"prompt\":\"Once\",\"max_tokens\":1}", json_string_value(id));
    r = ask(&L, "POST", "/v1/completions", body);
    if (r.status != 200) fail_msg("%s", r.body.data);
    json_t *answer = json_of(&r);
    reply_free(&r);
    assert_true(json_equal(json_object_get(answer, "model"), id));
    expect(ask(&L, "POST", "/v1/completions", "{\"model\":\"caf\",\"prompt\":\"Once\",\"max_tokens\":1}"), 404);
    json_decref(answer);
    json_decref(list);
}

static void nothing_is_left(void **state) {
    long live_before = mem_live();
    serve(state);
    expect(ask(&L, "POST", "/form", "{\"beta\":1}"), 200);
    live_stop(&L);
    assert_int_equal(mem_live(), live_before);
}

/* Served by default options, or by what the test asks for; stopped when it has ended, however it did. */
#define SERVED(test)  cmocka_unit_test_setup_teardown(test, serve, stop)
#define STOPPED(test) cmocka_unit_test_teardown(test, stop)

int main(void) {
    const struct CMUnitTest tests[] = {
        SERVED(finds_routes),
        SERVED(tells_forms_by_their_keys),
        SERVED(keeps_connections),
        STOPPED(keeps_who_is_there),
        STOPPED(says_that_it_is_loading),
        STOPPED(asks_for_tokens),
        SERVED(keeps_pages_of_others_out),
        cmocka_unit_test(refuses_files_of_tokens),
        SERVED(a_port_is_one_servers),
        STOPPED(limits_bodies_and_heads),
        STOPPED(closes_slow_clients),
        STOPPED(answers_429_when_full),
        SERVED(tells_when_to_come_again),
        SERVED(many_at_once),
        SERVED(says_what_is_wrong),
        SERVED(clients_that_vanish_stop_their_chains),
        SERVED(streams),
        STOPPED(cuts_off_who_does_not_read_a_stream),
        SERVED(drains),
        STOPPED(ends_what_does_not_end),
        SERVED(refuses_bodies_that_come_too_late),
        STOPPED(logs_without_texts),
        STOPPED(names_in_latin_1),
        STOPPED(nothing_is_left),
    };
    return cmocka_run_group_tests(tests, live_begin, live_end);
}
