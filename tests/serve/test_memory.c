/* Memory runs out in the middle of every route: one good request of each with its k-th allocation failed, in whichever
 * thread that is. The answer is the one of better times, or 5xx with an error in JSON; the next request is answered as
 * ever; nothing is left over when the server has ended; what was to be stored is stored whole, or not at all.
 *
 * Of requests with many allocations the first EACH are failed one by one, and then every so many-th;
 * PGR_EACH_ALLOCATION=1 in the environment fails all of them. */
#include <sys/time.h>

#include "good_requests.h"

enum { EACH = 10, SOME = 6, HEARD_MOST = 1 << 20 };

static long LIVE; /* allocations before the server was there */

static int setup(void **state) {
    LIVE = mem_live();
    pgr_log_level(0); /* lines of the audit log that had no memory */
    return rows_setup(state);
}

static int teardown(void **state) {
    int failed = rows_teardown(state);
    assert_int_equal(mem_live(), LIVE);
    return failed;
}

/* ---- a client that takes no memory, which could be what fails ---- */

typedef struct wanted {
    const char *method, *path, *body; /* body may be NULL */
} wanted;

typedef struct heard {
    int status; /* 0: the connection was closed without an answer */
    const char *body;
    size_t n;
    char type[40];
} heard;

static char HEARD[HEARD_MOST + 1];

static void hear_to_the_end(int fd, size_t *n) {
    struct timeval minute = {.tv_sec = 60};
    ssize_t k;
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &minute, sizeof minute), 0);
    *n = 0;
    while ((k = recv(fd, HEARD + *n, HEARD_MOST - *n, 0)) > 0) *n += (size_t)k;
    if (k < 0) fail_msg("no answer for a minute");
    HEARD[*n] = '\0';
}

static void read_type(char *out, size_t size) {
    const char *at = strcasestr(HEARD, "\r\nContent-Type: ");
    snprintf(out, size, "%.*s", at ? (int)strcspn(at + 16, ";\r") : 0, at ? at + 16 : "");
}

/* nth: the allocation that fails; 0: none. */
static heard hear_with(const wanted *w, long nth) {
    char text[1600];
    heard h = {0};
    size_t n = w->body ? strlen(w->body) : 0;
    int k = snprintf(text, sizeof text,
                     "%s %s HTTP/1.1\r\nHost: test\r\n" ROOT "Connection: close\r\nContent-Length: %zu\r\n\r\n%s",
                     w->method, w->path, n, w->body ? w->body : "");
    assert_in_range(k, 1, sizeof text - 1);
    mem_fail_nth(nth);
    int fd = dial(&L);
    say(fd, text, (size_t)k);
    hear_to_the_end(fd, &n);
    mem_fail_nth(0);
    close(fd);
    until_open(0);
    const char *body = strstr(HEARD, "\r\n\r\n");
    if (!body || sscanf(HEARD, "HTTP/1.%*d %d", &h.status) != 1) return (heard){0};
    h.body = body + 4;
    h.n = n - (size_t)(h.body - HEARD);
    read_type(h.type, sizeof h.type);
    return h;
}

/* ---- what is heard ---- */

/* What differs from answer to answer. */
static void drop_passing(json_t *v) {
    static const char *const keys[] = {"id", "created", "prompt_tokens_details", "seconds", "first_token_s"};
    json_t *of;
    const char *key;
    size_t i;
    for (size_t k = 0; json_is_object(v) && k < sizeof keys / sizeof *keys; k++) json_object_del(v, keys[k]);
    json_object_foreach(v, key, of) {
        drop_passing(of);
    }
    json_array_foreach(v, i, of) {
        drop_passing(of);
    }
}

/* NULL: it is none that can be compared. */
static json_t *lasting(const heard *h) {
    json_t *v = strcmp(h->type, "application/json") == 0
                    ? json_loadb(h->body, h->n, JSON_ALLOW_NUL | JSON_DECODE_ANY, NULL)
                    : NULL;
    drop_passing(v);
    return v;
}

static void expect_json_error(const wanted *w, const heard *h, long nth) {
    json_t *v = json_loadb(h->body ? h->body : "", h->n, 0, NULL);
    const json_t *message = json_object_get(json_object_get(v, "error"), "message");
    if (h->status < 500 || !json_is_string(message))
        fail_msg("%s %s without allocation %ld: %d: %s", w->method, w->path, nth, h->status, h->body ? h->body : "");
    openapi_check(w->method, w->path, w->body, h->status, h->type, h->body, h->n);
    json_decref(v);
}

/* A stream has [DONE] at the end, or an error, or none: the last chunk, which is empty, is not there. */
static void expect_end_of_stream(const wanted *w, const heard *h, long nth) {
    bool whole = strstr(h->body, "[DONE]") != NULL, told = strstr(h->body, "{\"error\"") != NULL;
    if (nth ? !whole && !told && strstr(h->body, "\r\n0\r\n") : !whole)
        fail_msg("%s %s without allocation %ld: %s", w->method, w->path, nth, h->body);
}

static void expect_as_before(const wanted *w, const heard *h, const json_t *before, long nth) {
    if (h->status != 200) fail_msg("%s %s, allocation %ld: %d: %s", w->method, w->path, nth, h->status, h->body);
    if (strcmp(h->type, "text/event-stream") == 0) expect_end_of_stream(w, h, nth);
    json_t *v = before ? lasting(h) : NULL;
    if (before && !json_equal(v, before))
        fail_msg("%s %s, allocation %ld: another answer: %s", w->method, w->path, nth, h->body);
    json_decref(v);
}

/* ---- every route ---- */

static long next_nth(long nth, long n) {
    if (nth < EACH || getenv("PGR_EACH_ALLOCATION")) return nth + 1;
    return nth + 1 + (n - EACH) / SOME;
}

/* before: called in peace, before every request; may be NULL. same: the answer does not change. */
static void fail_each(const wanted *w, void (*before)(void), bool same) {
    if (before) before();
    heard h = hear_with(w, 0); /* what is read but once is read */
    if (before) before();
    long count = mem_count();
    h = hear_with(w, 0);
    long n = mem_count() - count;
    json_t *first = same && h.status == 200 ? lasting(&h) : NULL;
    expect_as_before(w, &h, first, 0);
    for (long nth = 1; nth <= n; nth = next_nth(nth, n)) {
        if (before) before();
        h = hear_with(w, nth);
        if (h.status == 200)
            expect_as_before(w, &h, first, nth);
        else
            expect_json_error(w, &h, nth);
        if (before) before();
        h = hear_with(w, 0);
        expect_as_before(w, &h, first, 0);
    }
    json_decref(first);
}

static void there_is_one_to_delete(void) {
    heard h = hear_with(&(wanted){"PUT", "/v1/personal/users/acme:gone", "{\"criteria\": \"Short\"}"}, 0);
    assert_int_equal(h.status, 200);
}

static void there_is_an_adapter(void) {
    heard h = hear_with(&(wanted){"POST", "/v1/load_lora_adapter",
                                  "{\"lora_name\": \"mine\", \"lora_path\": \"" LORA "\", \"load_inplace\": true}"},
                        0);
    assert_int_equal(h.status, 200);
}

static void fail_row(const row *r) {
    static const char *const changing[] = {"/health", "/metrics", "/v1/personal/feedback", "/v1/personal/forget_pair"};
    char rest[100], path[200], body[900] = "";
    bool deletes = strcmp(r->method, "DELETE") == 0, same = !deletes && strcmp(r->method, "PUT") != 0;
    const char *user = deletes ? "acme:gone" : "acme:u0";
    for (size_t i = 0; i < sizeof changing / sizeof *changing; i++) same = same && strcmp(r->path, changing[i]) != 0;
    name_user(rest, sizeof rest, r->rest, user);
    snprintf(path, sizeof path, "%s%s", r->path, rest);
    if (r->body) name_user(body, sizeof body, r->body, user);
    bool unloads = strcmp(r->path, "/v1/unload_lora_adapter") == 0;
    fail_each(&(wanted){r->method, path, r->body ? body : NULL},
              deletes   ? there_is_one_to_delete
              : unloads ? there_is_an_adapter
                        : NULL,
              same);
}

static void every_route(void **state) {
    (void)state;
    for (size_t i = 0; i < N_ROW; i++) fail_row(&ROWS[i]);
}

#define CHAT "{\"messages\": [{\"role\": \"user\", \"content\": \"Hello\"}], \"seed\": 1, \"max_tokens\": "

/* Ways of a route that its row does not go. */
static void other_ways(void **state) {
    (void)state;
    static const wanted ways[] = {
        {"POST", "/v1/chat/completions", CHAT "2, \"stream\": true, \"stream_options\": {\"include_usage\": true}}"},
        {"POST", "/v1/chat/completions", CHAT "2, \"n\": 2, \"logprobs\": true, \"top_logprobs\": 2, \"stop\": \"x\"}"},
        {"POST", "/v1/chat/completions",
         CHAT "9, \"response_format\": {\"type\": \"json_schema\", \"json_schema\": {\"name\": \"n\", \"schema\": "
              "{\"type\": \"object\", \"properties\": {\"a\": {\"enum\": [1, 2]}}, \"required\": [\"a\"]}}}}"},
        {"POST", "/v1/chat/completions", CHAT "4, \"structured_outputs\": {\"regex\": \"[ab]{3}\"}}"},
        {"POST", "/v1/completions",
         "{\"prompt\": [\"Once\", [40, 41]], \"max_tokens\": 2, \"seed\": 1, \"logprobs\": 1, \"echo\": true}"},
        {"POST", "/v1/completions", "{\"prompt\": \"Once\", \"max_tokens\": 0, \"logprobs\": 1, \"echo\": true}"},
        {"POST", "/v1/personal/score", "{\"user\": \"acme:u1\", " TWO ", \"stream\": true}"},
        {"POST", "/v1/embeddings", "{\"input\": [\"a\", \"b\"], \"encoding_format\": \"base64\"}"},
        {"POST", "/get_reward",
         "{\"query\": [\"q a\", \"q b\"], \"prompts\": [\"q\", \"q\"], \"labels\": [{\"group\": \"g\", \"group_size\": "
         "2, \"ind\": 1}, {\"group\": \"g\", \"group_size\": 2, \"ind\": 1}]}"},
        {"POST", "/get_reward",
         "{\"query\": [\"q a\"], \"prompts\": [\"q\"], \"labels\": [{\"user\": \"acme:u1\", \"ind\": 1}]}"},
    };
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) fail_each(&ways[i], NULL, true);
}

/* ---- what is stored ---- */

typedef struct change {
    wanted does, undoes;
} change;

static json_t *stored(void) {
    heard h = hear_with(&(wanted){"GET", "/v1/personal/users/acme:half", NULL}, 0);
    json_t *v = h.status == 404 ? json_null() : lasting(&h);
    assert_non_null(v);
    return v;
}

/* Undone, or there is nothing to undo. */
static void undo(const change *c) {
    heard h = hear_with(&c->undoes, 0);
    if (h.status != 200 && h.status != 404) fail_msg("%s %s: %d", c->undoes.method, c->undoes.path, h.status);
}

static void fail_change(const change *c) {
    hear_with(&c->does, 0);
    undo(c); /* which may leave another nothing than there was */
    json_t *without = stored();
    long count = mem_count();
    assert_int_equal(hear_with(&c->does, 0).status, 200);
    long n = mem_count() - count;
    json_t *with = stored();
    assert_false(json_equal(with, without));
    for (long nth = 1; nth <= n; nth = next_nth(nth, n)) {
        undo(c);
        heard h = hear_with(&c->does, nth);
        bool done = h.status == 200;
        if (!done) expect_json_error(&c->does, &h, nth);
        json_t *is = stored();
        if (!json_equal(is, with) && (done || !json_equal(is, without)))
            fail_msg("%s %s without allocation %ld: %d, and stored is %s", c->does.method, c->does.path, nth, h.status,
                     json_dumps(is, 0));
        json_decref(is);
    }
    json_decref(with);
    json_decref(without);
}

/* Answered with 200: all of it is there. Else all of it, or nothing. */
static void nothing_is_half_stored(void **state) {
    (void)state;
#define WHO   "/v1/personal/users/acme:half"
#define THREE "\"query\": \"Half?\", \"chosen\": \"a\", \"rejected\": \"b\"}"
    static const wanted told = {"PUT", WHO,
                                "{\"criteria\": \"Short\", \"demographics\": \"Tall\", \"history\": [{" THREE
                                ", {\"query\": \"And?\", \"chosen\": \"c\", \"rejected\": \"d\"}]}"},
                        gone = {"DELETE", WHO, NULL},
                        pair = {"POST", "/v1/personal/feedback", "{\"user\": \"acme:half\", " THREE},
                        no_pair = {"POST", "/v1/personal/forget_pair", "{\"user\": \"acme:half\", " THREE};
    fail_change(&(change){told, gone});
    fail_change(&(change){gone, told});
    fail_change(&(change){pair, no_pair});
    fail_change(&(change){no_pair, pair});
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_route),
        cmocka_unit_test(other_ways),
        cmocka_unit_test(nothing_is_half_stored),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
