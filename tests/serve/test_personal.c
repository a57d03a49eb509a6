/* /v1/personal/ against a real server on a tiny random model: scores are the library's to the bit, feedback is there at
 * the next request, and who is similar is looked for among the token's own users. Access: test_access.c. */
#include <math.h>

#include "people_fixture.h"

#include "base/file.h"
#include "serve/clerk.h"
#include "serve/judges.h"

static double score_of(const json_t *v, size_t i) {
    return json_number_value(json_object_get(json_array_get(json_object_get(v, "responses"), i), "score"));
}

/* The answer to a request of acme's; the verdict in it. */
static reply ask_score(const char *body) {
    return ask_with(&L, "POST", "/v1/personal/score", ACME, body);
}

static json_t *score(const char *body) {
    return answer(ask_score(body), 200);
}

/* An error of the request. */
static void expect_400(const char *token, const char *path, const char *body) {
    expect_error(ask_with(&L, "POST", path, token, body), 400, NULL);
}

#define TEA_OR_COFFEE "\"query\": \"Occasion 9?\", \"responses\": [\"Tea at 9\", \"Coffee at 9\"]"

static void as_the_library(void **state) {
    (void)state;
    static const char request[] =
        "{\"id\": \"x\", \"user\": {\"id\": \"acme:inline\", \"history\": [{\"query\": \"q?\", "
        "\"chosen\": \"a\", \"rejected\": \"b\"}]}, " TEA_OR_COFFEE ", \"ind\": 5, \"seed\": 3}";
    json_t *v = score(request);
    pgr_engine *e = NULL;
    assert_int_equal(pgr_engine_create(MODEL, NULL, &e, NULL), PGR_OK);
    json_t *own = library_says(e, &JUDGE, request);
    static const char *const same[] = {"id", "best", "responses", "chains", "persona", "criteria", "neighbours"};
    assert_same_values(v, own, same, sizeof same / sizeof *same);
    assert_null(json_object_get(v, "samples"));
    json_decref(v);
    json_decref(own);
    pgr_engine_free(e);

    v = score("{\"user\": \"acme:u1\", " TEA_OR_COFFEE ", \"ind\": 2, \"chains\": true}");
    assert_int_equal(json_array_size(json_object_get(v, "samples")), 2);
    json_decref(v);
}

static void wrong_requests(void **state) {
    (void)state;
    static const char *const bodies[] = {
        "",
        "[]",
        "{\"query\": \"q\"}",
        "{\"querry\": \"q\", \"responses\": [\"a\", \"b\"]}",
        "{\"query\": \"q\", \"responses\": [\"a\"]}",
        "{\"query\": \"q\", \"responses\": [\"a\", \"b\"], \"chains\": 1}",
        "{\"query\": \"q\", \"responses\": [\"a\", \"b\"], \"deadline_s\": -1}",
        "{\"user\": 7, \"query\": \"q\", \"responses\": [\"a\", \"b\"]}",
        "{\"query\": \"q\", \"responses\": [\"a\", \"b\"], \"ind\": 100000}",
    };
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) expect_400(ROOT, "/v1/personal/score", bodies[i]);
}

/* No chain by the deadline: null with a reason, and no number. */
static void a_deadline(void **state) {
    (void)state;
    json_t *v = score("{\"user\": \"acme:u1\", " TEA_OR_COFFEE ", \"deadline_s\": 1e-5}");
    json_t *first = json_array_get(json_object_get(v, "responses"), 0);
    assert_true(json_is_null(json_object_get(first, "score")) && json_is_null(json_object_get(v, "best")));
    assert_non_null(strstr(json_string_value(json_object_get(first, "reason")), "deadline"));
    json_decref(v);
}

/* Nothing is left of clients that have gone, and the others do not notice. */
static void expect_nothing_left(void) {
    until_open(0);
    json_t *v = score("{\"user\": \"acme:u1\", " TEA_OR_COFFEE ", \"ind\": 1}");
    json_decref(v);
    until_open(0);
    assert_int_equal(worker_state(L.server->worker).engine.n_request, 0);
}

/* A client that goes takes its chains with it, waiting ones and running ones. */
static void gone_clients(void **state) {
    (void)state;
    int fd[6];
    for (size_t i = 0; i < 6; i++) {
        fd[i] = dial(&L);
        ask_on(fd[i], "POST", "/v1/personal/score", ACME, "{\"user\": \"acme:u1\", " TEA_OR_COFFEE ", \"ind\": 1000}");
    }
    until_open(6);
    for (size_t i = 0; i < 6; i++) close(fd[i]);
    expect_nothing_left();
}

/* ---- streams ---- */

enum { CHAINS_MOST = 8 };

typedef struct told {
    buf text[2][CHAINS_MOST]; /* of own chains, of similar users' by number */
    size_t n_asked, n_chain;
    json_t *result;
    bool done;
} told;

static void take_told(told *t, const json_t *v) {
    const char *object = json_string_value(json_object_get(v, "object"));
    assert_non_null(object);
    assert_false(t->result); /* it is the last */
    bool result = strcmp(object, "personal.result") == 0;
    const json_t *user = json_object_get(v, "user"), *text = json_object_get(v, "text");
    assert_true(result ? json_is_false(json_object_get(v, "provisional"))
                       : json_is_true(json_object_get(v, "provisional")));
    if (json_is_string(user)) assert_int_equal(strncmp(json_string_value(user), "acme:", 5), 0);
    size_t seed = (size_t)json_integer_value(json_object_get(v, "seed"));
    assert_true(seed < CHAINS_MOST);
    if (result) t->result = json_deep_copy(json_object_get(v, "result"));
    if (strcmp(object, "personal.asked") == 0) t->n_asked += (size_t)json_integer_value(json_object_get(v, "asked"));
    if (strcmp(object, "personal.chain") == 0) t->n_chain++;
    if (strcmp(object, "personal.piece") == 0)
        buf_add(&t->text[json_is_string(user)][seed], json_string_value(text), json_string_length(text));
}

/* Events of a stream: each one line and an empty one. */
static told told_of(const reply *r) {
    told t = {.result = NULL};
    assert_int_equal(r->status, 200);
    assert_string_equal(header_of(r, "Content-Type"), "text/event-stream");
    for (const char *at = r->body.data, *end; *at; at = end + 2) {
        end = strstr(at, "\n\n");
        assert_non_null(end);
        if (*at == ':') continue;
        assert_int_equal(strncmp(at, "data: ", 6), 0);
        t.done = strncmp(at, "data: [DONE]", 12) == 0;
        if (t.done) continue;
        json_t *v = json_loadb(at + 6, (size_t)(end - at - 6), JSON_ALLOW_NUL, NULL);
        assert_non_null(v);
        take_told(&t, v);
        json_decref(v);
    }
    assert_true(t.done && t.result);
    return t;
}

#define STREAMED "{\"user\": \"acme:u1\", " TEA_OR_COFFEE ", \"ind\": 4, \"pro\": 2, \"chains\": true, \"seed\": 5"

/* The pieces of every chain are its text, and the result is the one without a stream; a similar user is never another
 * tenant's. */
static void as_it_is_written(void **state) {
    (void)state;
    reply r = ask_score(STREAMED ", \"stream\": true}");
    assert_null(strstr(r.body.data, "bolt"));
    told t = told_of(&r);
    json_t *plain = score(STREAMED ", \"stream\": false}");
    static const char *const same[] = {"best", "responses", "chains", "persona", "criteria", "neighbours", "samples"};
    assert_same_values(t.result, plain, same, sizeof same / sizeof *same);
    const json_t *samples = json_object_get(plain, "samples");
    assert_int_equal(json_array_size(samples), 6);
    assert_int_equal(t.n_asked, 6);
    assert_int_equal(t.n_chain, 6);
    for (size_t i = 0; i < 6; i++) {
        const json_t *s = json_array_get(samples, i), *text = json_object_get(s, "text");
        size_t seed = (size_t)json_integer_value(json_object_get(s, "seed"));
        buf *pieces = &t.text[json_is_string(json_object_get(s, "user"))][seed];
        assert_string_equal(pieces->data ? pieces->data : "", json_string_value(text));
    }
    for (size_t k = 0; k < 2; k++)
        for (size_t i = 0; i < CHAINS_MOST; i++) buf_free(&t.text[k][i]);
    json_decref(t.result);
    json_decref(plain);
    reply_free(&r);
}

/* What is wrong is told with its status; a deadline that came first is a result. */
static void streams_that_do_not_begin(void **state) {
    (void)state;
    expect_400(ROOT, "/v1/personal/score", "{\"query\": \"q\", \"responses\": [\"a\", \"b\"], \"stream\": 1}");
    expect_400(ROOT, "/v1/personal/score",
               "{\"query\": \"q\", \"responses\": [\"a\", \"b\"], \"ind\": 100000, \"stream\": true}");
    expect_error(ask_score("{\"user\": \"bolt:u1\", " TEA_OR_COFFEE ", \"stream\": true}"), 403, "user_not_allowed");
    reply r = ask_score("{\"user\": \"acme:u1\", " TEA_OR_COFFEE ", \"stream\": true, \"deadline_s\": 1e-5}");
    told t = told_of(&r);
    assert_true(json_is_null(json_object_get(t.result, "best")));
    json_decref(t.result);
    reply_free(&r);
}

/* A reader who goes in the middle: his chains stop. */
static void a_reader_who_goes(void **state) {
    (void)state;
    char some;
    int fd = dial(&L);
    ask_on(fd, "POST", "/v1/personal/score", ACME,
           "{\"user\": \"acme:u1\", " TEA_OR_COFFEE ", \"ind\": 1000, \"stream\": true}");
    assert_true(hear(fd, &some)); /* it has begun */
    close(fd);
    expect_nothing_left();
}

static void feedback_is_there_at_once(void **state) {
    (void)state;
    static const char *const asked = "{\"user\": \"acme:new\", " TEA_OR_COFFEE ", \"ind\": 2}";
    json_t *before = score(asked);
    expect_error(ask_with(&L, "GET", "/v1/personal/users/acme:new", ACME, NULL), 404, "no_such_user");
    json_t *v = answer(ask_with(&L, "POST", "/v1/personal/feedback", ACME,
                                "{\"user\": \"acme:new\", \"query\": \"Occasion 4?\", \"chosen\": \"Milk\", "
                                "\"rejected\": \"Water, cold\", \"deadline_s\": 60}"),
                       200);
    assert_int_equal(json_integer_value(json_object_get(v, "added")), 1);
    json_decref(v);
    v = score(asked);
    assert_true(fabs(score_of(v, 0) - score_of(before, 0)) > 0); /* another prompt: another chain */
    json_decref(v);
    v = answer(ask_with(&L, "POST", "/v1/personal/feedback", ACME,
                        "{\"user\": \"acme:new\", \"query\": \"Occasion 4?\", \"chosen\": \"Milk\", \"rejected\": "
                        "\"Water, cold\"}"),
               200);
    assert_int_equal(json_integer_value(json_object_get(v, "known")), 1); /* twice is once */
    json_decref(v);
    v = answer(ask_with(&L, "GET", "/v1/personal/users/acme:new", ACME, NULL), 200);
    json_t *pair = json_array_get(json_object_get(v, "history"), 0);
    assert_string_equal(json_string_value(json_object_get(pair, "chosen")), "Milk");
    json_decref(v);
    json_decref(before);

    static const char parts[] = "{\"user\": {\"id\": \"acme:new\"}, \"messages\": [{\"role\": \"user\", \"content\": "
                                "[{\"type\": \"text\", \"text\": \"Te\"}, {\"type\": \"text\", \"text\": \"a?\"}]}], "
                                "\"chosen\": \"Yes\", \"rejected\": \"No\"}";
    json_decref(answer(ask_with(&L, "POST", "/v1/personal/feedback", ACME, parts), 200));
    v = answer(ask_with(&L, "POST", "/v1/personal/forget_pair", ACME, parts), 200); /* the same body takes it back */
    assert_int_equal(json_integer_value(json_object_get(v, "removed")), 1);
    json_decref(v);

    expect_400(ACME, "/v1/personal/feedback",
               "{\"user\": \"acme:new\", \"query\": \"q\", \"chosen\": \"same\", \"rejected\": \"same\"}");
    expect_400(ACME, "/v1/personal/feedback", /* a response is one text, as the document says */
               "{\"user\": \"acme:new\", \"query\": \"q\", \"chosen\": [{\"type\": \"text\", \"text\": \"a\"}], "
               "\"rejected\": \"b\"}");
    expect_400(ACME, "/v1/personal/feedback", "{\"query\": \"q\", \"chosen\": \"a\", \"rejected\": \"b\"}");
    expect_400(ACME, "/v1/personal/feedback",
               "{\"user\": \"acme:new\", \"query\": \"q\", \"chosn\": \"a\", \"rejected\": \"b\"}");
}

static void users_come_and_go(void **state) {
    (void)state;
    json_t *v = answer(
        ask_with(
            &L, "PUT", "/v1/personal/users/acme:put%20me", ACME,
            "{\"criteria\": [\"Short\"], \"deadline_s\": 60, \"history\": [{\"query\": \"q?\", \"chosen\": \"yes\", "
            "\"rejected\": \"no\"}]}"),
        200);
    assert_true(json_is_true(json_object_get(v, "created")));
    json_decref(v);
    v = answer(ask_with(&L, "GET", "/v1/personal/users/acme:put%20me", ACME, NULL), 200);
    assert_string_equal(json_string_value(json_array_get(json_object_get(v, "criteria"), 0)), "Short");
    json_decref(v);
    expect_error(ask_with(&L, "PUT", "/v1/personal/users/acme:a", ACME, "{\"id\": \"acme:b\"}"), 400, NULL);
    v = answer(ask_with(&L, "DELETE", "/v1/personal/users/acme:put%20me", ACME, NULL), 200);
    assert_true(json_is_true(json_object_get(v, "forgotten")));
    json_decref(v);
    expect_error(ask_with(&L, "GET", "/v1/personal/users/acme:put%20me", ACME, NULL), 404, "no_such_user");
    expect_error(ask_with(&L, "DELETE", "/v1/personal/users/acme:put%20me", ACME, NULL), 404, "no_such_user");
}

static void the_map(void **state) {
    (void)state;
    reply r = ask_with(&L, "GET", "/v1/personal/map", ROOT, NULL);
    assert_int_equal(r.status, 200);
    assert_string_equal(header_of(&r, "Content-Type"), "image/svg+xml");
    assert_int_equal(strncmp(r.body.data, "<svg", 4), 0);
    reply_free(&r);
    expect_error(ask_with(&L, "GET", "/v1/personal/map", ACME, NULL), 403, NULL);
}

static size_t count(const char *text, const char *what) {
    size_t n = 0;
    for (; (text = strstr(text, what)); text += strlen(what)) n++;
    return n;
}

static void expect_marked(const char *token, const char *body, size_t n_circle, const char *said, const char *never) {
    reply r = ask_with(&L, "POST", "/v1/personal/map", token, body);
    assert_int_equal(r.status, 200);
    assert_string_equal(header_of(&r, "Content-Type"), "image/svg+xml");
    if (count(r.body.data, "<circle") != n_circle) fail_msg("%s", r.body.data);
    if (*said) assert_non_null(strstr(r.body.data, said));
    if (*never) assert_null(strstr(r.body.data, never));
    reply_free(&r);
}

/* Of a scope its own users alone, and nothing of the others: neither points nor numbers nor words. */
static void who_is_marked(void **state) {
    (void)state;
    enum { PROTOTYPES = 2 };
    expect_marked(ACME, "{}", USERS_EACH + PROTOTYPES, "5 users", "variance");
    expect_marked(ACME, "{\"user\": \"acme:u1\", \"prototype\": 1, \"neighbours\": [\"acme:u3\", \"acme:u0\"]}",
                  USERS_EACH + PROTOTYPES + 1 + 2, "2 of 2 similar users", "offee");
    reply named = ask_with(&L, "POST", "/v1/personal/map", ACME, "{\"user\": \"acme:u1\"}");
    expect_marked(ACME, "{\"user\": {\"id\": \"acme:u1\"}}", count(named.body.data, "<circle"), named.body.data, "");
    reply_free(&named);
    expect_marked(ACME, "{\"user\": \"acme:nobody\", \"neighbours\": [\"acme:u3\", \"acme:gone\"]}",
                  USERS_EACH + PROTOTYPES + 1, "has no place here yet", "members");
    expect_marked(ROOT, "{\"neighbours\": [\"bolt:u1\", \"acme:u1\"]}", 2 * USERS_EACH + 2 * PROTOTYPES + 2,
                  "2 of 2 similar users", "has no place");
    expect_error(ask_with(&L, "POST", "/v1/personal/map", ACME, "{\"user\": \"bolt:u1\"}"), 403, "user_not_allowed");
    expect_error(ask_with(&L, "POST", "/v1/personal/map", ACME, "{\"neighbours\": [\"acme:u1\", \"bolt:u1\"]}"), 403,
                 "user_not_allowed");
    static const char *const wrong[] = {"{\"prototype\": 2}",    "{\"prototype\": -1}", "{\"neighbours\": \"acme:u1\"}",
                                        "{\"neighbours\": [1]}", "{\"users\": []}",     "[]"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) expect_400(ACME, "/v1/personal/map", wrong[i]);
    expect_error(ask(&L, "POST", "/v1/personal/map", "{}"), 401, NULL);
}

/* Who is similar: of the token's own users, whoever else is nearer. */
static void neighbours_are_ones_own(void **state) {
    (void)state;
    static const char *const headers[] = {ACME, BOLT}, *const own[] = {"acme:", "bolt:"};
    for (size_t t = 0; t < 2; t++)
        for (size_t likes = 0; likes < 2; likes++) {
            char body[700];
            snprintf(
                body, sizeof body,
                "{\"user\": {\"history\": [{\"query\": \"Occasion 1?\", \"chosen\": \"%s at 1\", \"rejected\": \"%s at "
                "1\"}]}, " TEA_OR_COFFEE ", \"ind\": 1, \"pro\": 8}",
                likes ? "Coffee" : "Tea", likes ? "Tea" : "Coffee");
            json_t *v = answer(ask_with(&L, "POST", "/v1/personal/score", headers[t], body), 200), *n;
            n = json_object_get(v, "neighbours");
            assert_true(json_array_size(n) >= USERS_EACH);
            for (size_t i = 0; i < json_array_size(n); i++) {
                const char *user = json_string_value(json_object_get(json_array_get(n, i), "user"));
                assert_int_equal(strncmp(user, own[t], 5), 0);
            }
            json_decref(v);
        }
}

static bool forget_beside(void *ctx, const pgr_user_row *row) {
    (void)ctx, (void)row;
    json_t *v = answer(ask_with(&L, "DELETE", "/v1/personal/users/acme:busy", ACME, NULL), 202);
    assert_true(json_is_true(json_object_get(v, "forgotten")) && json_is_false(json_object_get(v, "erased")));
    assert_non_null(strstr(json_string_value(json_object_get(v, "note")), "next"));
    json_decref(v);
    expect_error(ask_with(&L, "GET", "/v1/personal/users/acme:busy", ACME, NULL), 404, "no_such_user");
    return false; /* one look is enough */
}

static size_t count_bytes(const char *path, const char *secret) {
    size_t n = strlen(secret), found = 0;
    buf bytes = {0};
    if (file_read(path, &bytes, NULL) == PGR_OK)
        for (size_t i = 0; i + n <= bytes.n; i++) found += memcmp(bytes.data + i, secret, n) == 0;
    buf_free(&bytes);
    return found;
}

/* While another program reads the store a user is gone but his bytes are not: that is said, and the next change erases
 * them. */
static void forgotten_and_not_erased(void **state) {
    (void)state;
    static const char SECRET[] = "MyOwnSecretChoice";
    pgr_store *reader = NULL;
    char wal[120];
    snprintf(wal, sizeof wal, "%s-wal", STORE);
    clerk_set_patience(judges_clerk(L.server->judges), 50);
    json_decref(answer(ask_with(&L, "POST", "/v1/personal/feedback", ACME,
                                "{\"user\": \"acme:busy\", \"query\": \"q\", \"chosen\": \"MyOwnSecretChoice\", "
                                "\"rejected\": \"other\"}"),
                       200));
    assert_true(count_bytes(STORE, SECRET) + count_bytes(wal, SECRET) > 0);
    assert_int_equal(pgr_store_open(STORE, PGR_STORE_READ, &reader, NULL), PGR_OK);
    assert_int_equal(pgr_user_list(reader, forget_beside, NULL, NULL), PGR_OK);
    pgr_store_close(reader);
    json_decref(
        answer(ask_with(&L, "POST", "/v1/personal/feedback", ACME,
                        "{\"user\": \"acme:u1\", \"query\": \"after\", \"chosen\": \"a\", \"rejected\": \"b\"}"),
               200));
    assert_int_equal(count_bytes(STORE, SECRET) + count_bytes(wal, SECRET), 0);
}

/* A judge shortens what is too long, but does not read without end. */
static void endless_texts(void **state) {
    (void)state;
    static const char *const bodies[][3] = {
        {"/v1/personal/score", "{\"query\": \"q\", \"responses\": [\"a\", \"", "\"], \"ind\": 1}"},
        {"/v1/personal/score", "{\"responses\": [\"a\", \"b\"], \"ind\": 1, \"query\": \"", "\"}"},
        {"/get_reward", "{\"query\": [\"a\"], \"labels\": [{\"anchor\": \"b\"}], \"prompts\": [\"", "\"]}"},
    };
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) {
        buf body = {0};
        buf_puts(&body, bodies[i][1]);
        for (size_t k = 0; k < TEXT_LEAST / 2; k++) buf_puts(&body, "word ");
        buf_puts(&body, bodies[i][2]);
        reply r = ask_with(&L, "POST", bodies[i][0], ROOT, body.data);
        if (r.status != 400 || !strstr(r.body.data, "bytes of messages and responses")) fail_msg("%s", r.body.data);
        reply_free(&r);
        buf_free(&body);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_the_library),    cmocka_unit_test(wrong_requests),
        cmocka_unit_test(a_deadline),        cmocka_unit_test(gone_clients),
        cmocka_unit_test(as_it_is_written),  cmocka_unit_test(streams_that_do_not_begin),
        cmocka_unit_test(a_reader_who_goes), cmocka_unit_test(feedback_is_there_at_once),
        cmocka_unit_test(users_come_and_go), cmocka_unit_test(the_map),
        cmocka_unit_test(who_is_marked),     cmocka_unit_test(neighbours_are_ones_own),
        cmocka_unit_test(endless_texts),     cmocka_unit_test(forgotten_and_not_erased),
    };
    return cmocka_run_group_tests(tests, people_setup, people_teardown);
}
