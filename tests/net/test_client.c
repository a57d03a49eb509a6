/* test_client.c - requests of JSON to servers that refuse, cut, hang and are down: other tries, other addresses, waits,
 * deadlines, limits, errors that say what came. */
#include "../base/faults.h"
#include "../hub/hub_server.h"

#include "base/clock.h"
#include "net/client.h"

static const char OK[] = "{\"ok\":true}";

static net_client *open_client(const char *urls, size_t jobs, double timeout) {
    net_client *c = NULL;
    pgr_error err = {0};
    net_options o = {.urls = urls, .key = "secret", .jobs = jobs, .timeout_s = timeout};
    if (net_open(&o, &c, &err) != PGR_OK) fail_msg("%s", err.message);
    return c;
}

static void url_of(const server *s, char out[60]) {
    snprintf(out, 60, "http://127.0.0.1:%d/v1", s->port);
}

/* An address where nobody listens: the port is taken and given back. */
static void nowhere(char out[60]) {
    server *s = server_start();
    url_of(s, out);
    server_stop(s);
}

static pgr_status run(net_client *c, net_job *j, pgr_error *err) {
    j->path = "/ask";
    if (!j->body) j->body = "{}", j->n_body = 2;
    return net_run(c, j, NULL, err);
}

static void test_tries(void **state) {
    (void)state;
    char url[60];
    server *s = server_start();
    hub_route *r = server_route(s, "/v1/ask", OK, strlen(OK));
    r->faults = 3;
    r->fault_status = 503;
    r->retry_after = "0";
    url_of(s, url);
    net_client *c = open_client(url, 4, 10);
    net_job j = {0};
    pgr_error err = {0};
    if (run(c, &j, &err) != PGR_OK) fail_msg("%s", err.message);
    assert_string_equal(j.reply.data, OK);
    assert_int_equal(j.n_try, 4);
    assert_string_equal(s->log[0].authorization, "Bearer secret");
    net_drop(c, &j);

    r->faults = 1; /* a failure that no try helps */
    r->fault_status = 404;
    assert_int_equal(run(c, &j, &err), PGR_E_IO);
    assert_non_null(strstr(err.message, "/v1/ask: HTTP status 404: oops"));
    assert_int_equal(j.n_try, 1);

    r->faults = 1; /* one whose text says so */
    r->fault_status = 500;
    j.final_words = (const char *const[]){"oops", NULL};
    assert_int_equal(run(c, &j, &err), PGR_E_IO);
    assert_int_equal(j.n_try, 1);
    net_drop(c, &j);
    net_close(c);
    server_stop(s);
}

/* The body is cut, or longer than it may be, or never comes. */
static void test_bodies(void **state) {
    (void)state;
    char url[60];
    server *s = server_start();
    hub_route *r = server_route(s, "/v1/ask", OK, strlen(OK));
    r->faults = 1;
    r->cut = 5;
    url_of(s, url);
    net_client *c = open_client(url, 1, 0.3);
    net_job j = {0};
    pgr_error err = {0};
    if (run(c, &j, &err) != PGR_OK) fail_msg("%s", err.message);
    assert_string_equal(j.reply.data, OK);
    j.most = 4;
    assert_int_equal(run(c, &j, &err), PGR_E_LIMIT);
    assert_non_null(strstr(err.message, "longer than 4 bytes"));

    j.most = 0;
    j.once = true;
    r->delay_ms = 700;
    assert_int_equal(run(c, &j, &err), PGR_E_IO); /* the time of a try */
    j.deadline = clock_now() + 0.1;
    assert_int_equal(run(c, &j, &err), PGR_E_DEADLINE);
    net_drop(c, &j);
    net_close(c);
    server_stop(s);
}

/* One address is down, one is well: all is answered by this one, and the other is tried again later. */
static void test_addresses(void **state) {
    (void)state;
    enum { N = 12 };
    char down[60], up[60], both[130];
    server *s = server_start();
    server_route(s, "/v1/ask", OK, strlen(OK))->delay_ms = 5;
    url_of(s, up);
    nowhere(down);
    snprintf(both, sizeof both, "%s , %s/", down, up);
    net_client *c = open_client(both, 4, 10);
    assert_int_equal(net_count(c), 2);
    assert_string_equal(net_address(c, 1), up);
    net_job jobs[N];
    memset(jobs, 0, sizeof jobs);
    for (int i = 0; i < N; i++) {
        jobs[i].path = "/ask";
        jobs[i].body = "{}", jobs[i].n_body = 2;
        net_submit(c, &jobs[i]);
    }
    pgr_error err = {0};
    size_t most_tries = 0;
    for (int left = N; left > 0;) {
        assert_int_equal(net_step(c, 50, &err), PGR_OK);
        for (net_job *j; (j = net_ended(c)); left--) {
            assert_int_equal(j->error.status, PGR_OK);
            assert_int_equal(j->at, 1);
            if (j->n_try > most_tries) most_tries = j->n_try;
        }
    }
    assert_true(most_tries > 1);
    assert_true(s->most_waiting <= 4);
    for (int i = 0; i < N; i++) net_drop(c, &jobs[i]);
    net_close(c);
    server_stop(s);
}

/* An answer that its owner refuses is asked for again at the other address. */
static void test_refused(void **state) {
    (void)state;
    char url[2][60], both[130];
    server *s[2] = {server_start(), server_start()};
    for (int i = 0; i < 2; i++) {
        server_route(s[i], "/v1/ask", i ? OK : "nonsense", i ? strlen(OK) : 8);
        url_of(s[i], url[i]);
    }
    snprintf(both, sizeof both, "%s,%s", url[0], url[1]);
    net_client *c = open_client(both, 1, 10);
    net_job j = {.path = "/ask"};
    pgr_error err = {0};
    net_submit(c, &j);
    for (bool good = false; !good;) {
        assert_int_equal(net_step(c, 50, &err), PGR_OK);
        net_job *ended = net_ended(c);
        if (!ended) continue;
        good = strcmp(ended->reply.data, OK) == 0;
        if (!good) assert_true(net_refuse(c, ended, "no JSON"));
    }
    assert_int_equal(j.at, 1);
    net_drop(c, &j);
    net_close(c);
    for (int i = 0; i < 2; i++) server_stop(s[i]);
}

static void test_options(void **state) {
    (void)state;
    static const char *const BAD[] = {"",
                                      "ftp://host/v1",
                                      "http://",
                                      "https://",
                                      "http:///v1",
                                      "http://:80/v1",
                                      "http://a/v1,,http://b",
                                      "http://a b",
                                      "http://a:x",
                                      "http://a:0/v1",
                                      "http://a:65536/v1",
                                      "http://[::1/v1",
                                      "http://[zz]/v1"};
    net_client *c = NULL;
    pgr_error err = {0};
    for (size_t i = 0; i < sizeof BAD / sizeof *BAD; i++)
        if (net_open(&(net_options){.urls = BAD[i]}, &c, &err) != PGR_E_ARG
            || pgr_addresses_check(BAD[i], &err) != PGR_E_ARG)
            fail_msg("\"%s\" is taken for an address", BAD[i]);
    assert_int_equal(pgr_addresses_check("http://a:65535/v1,https://b#model,of,an,embedder", &err), PGR_OK);
    assert_int_equal(net_open(&(net_options){.urls = "http://a", .key = "a\nb"}, &c, &err), PGR_E_ARG);
    assert_int_equal(net_open(&(net_options){.urls = "http://me:word@host:1/v1/"}, &c, &err), PGR_OK);
    assert_string_equal(net_address(c, 0), "http://host:1/v1"); /* no password in messages */
    net_close(c);
    static const char *const SECRET[] = {"http://me:se@cret@host/v1", "http://me:1/secret@host/v1",
                                         "http://me:se/cret@host/v1", "me:secret@host/v1", "http://me:cret @host"};
    for (size_t i = 0; i < sizeof SECRET / sizeof *SECRET; i++) { /* nor in those of addresses that are none */
        pgr_status s = net_open(&(net_options){.urls = SECRET[i]}, &c, &err);
        if (s != PGR_E_ARG || strstr(err.message, "cret")) fail_msg("%d: %s", s, err.message);
    }
    assert_int_equal(net_open(&(net_options){.urls = "http://me:w%40rd@[::1]:1/v1/%40a,https://[::1]"}, &c, &err),
                     PGR_OK);
    assert_string_equal(net_address(c, 0), "http://[::1]:1/v1/%40a");
    assert_string_equal(net_address(c, 1), "https://[::1]");
    net_close(c);
}

static bool ask_nobody(void) {
    net_client *c = NULL;
    net_job j = {.path = "/ask", .once = true};
    if (net_open(&(net_options){.urls = "http://127.0.0.1:1/v1,http://127.0.0.1:2", .key = "k"}, &c, NULL) != PGR_OK)
        return false;
    pgr_error err = {0};
    pgr_status s = net_run(c, &j, NULL, &err);
    net_drop(c, &j);
    net_close(c);
    return s == PGR_E_IO;
}

static void test_memory(void **state) {
    (void)state;
    fail_allocations(ask_nobody, 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_tries),     cmocka_unit_test(test_bodies),
                                       cmocka_unit_test(test_addresses), cmocka_unit_test(test_refused),
                                       cmocka_unit_test(test_options),   cmocka_unit_test(test_memory)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
