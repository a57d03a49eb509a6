/* test_teacher.c - questions to a server that refuses, cuts and answers: tries with waits, a key, answers from the
 * disk, a budget, errors that say what came. */
#include "../base/faults.h"
#include "../base/scratch.h"
#include "../net/chat_server.h"

#include "train/teacher.h"

static const char ANSWER[] = "{\"choices\":[{\"message\":{\"role\":\"assistant\",\"content\":\"seven\"}}],\"usage\":"
                             "{\"total_tokens\":40}}";

/* An answer, after `faults` refusals. */
static server *begin(pgr_teacher_server *o, chat_server *f, const char *answer, int faults, int status) {
    *f = (chat_server){.raw = answer};
    hub_route *r = chat_begin(f, "someone");
    r->faults = faults;
    r->fault_status = status;
    r->retry_after = "0";
    *o = (pgr_teacher_server){.url = f->url, .model = "m", .key = "secret", .jobs = 3, .temperature = 1};
    return f->s;
}

static teacher *open_teacher(const pgr_teacher_server *o, const char *folder) {
    teacher *r = NULL;
    pgr_error err = {0};
    if (teacher_open(o, path_of(folder), &r, &err) != PGR_OK) fail_msg("%s", err.message);
    return r;
}

static const infer_message QUESTION = {"user", "How \"many\"?\n", 12};

static pgr_status ask(teacher *r, size_t n, size_t first, arena *a, teacher_ask *asks, pgr_error *err) {
    for (size_t i = 0; i < n; i++)
        asks[i] = (teacher_ask){.messages = &QUESTION, .n_message = 1, .number = first + i, .max_tokens = 30};
    return teacher_run(r, asks, n, NULL, a, err);
}

/* Two refusals are tried again; every question is answered; later ones come from the disk. */
static void test_tries_and_cache(void **state) {
    (void)state;
    enum { N = 5 };
    pgr_teacher_server o;
    chat_server f;
    server *s = begin(&o, &f, ANSWER, 2, 429);
    teacher_ask asks[N + 1];
    arena a = {0};
    pgr_error err = {0};
    teacher *r = open_teacher(&o, "answers");
    if (ask(r, N, 0, &a, asks, &err) != PGR_OK) fail_msg("%s", err.message);
    for (size_t i = 0; i < N; i++) assert_string_equal(asks[i].answer, "seven");
    teacher_usage used = teacher_used(r);
    assert_int_equal(used.asked, N + 2);
    assert_int_equal(used.retries, 2);
    assert_int_equal(used.tokens, N * 40);
    assert_string_equal(s->log[0].authorization, "Bearer secret");
    assert_true(s->most_waiting <= 3);
    teacher_close(r);
    size_t asked = s->n_asked;

    r = open_teacher(&o, "answers");
    assert_int_equal(ask(r, N + 1, 0, &a, asks, &err), PGR_OK);
    assert_int_equal(s->n_asked, asked + 1); /* the one that is new */
    assert_int_equal(teacher_used(r).cached, N);
    teacher_close(r);
    arena_free(&a);
    server_stop(s);
}

/* 40 tokens an answer: with room for 100 two are asked for, since the second may still write 30. */
static void test_budget(void **state) {
    (void)state;
    pgr_teacher_server o;
    chat_server f;
    server *s = begin(&o, &f, ANSWER, 0, 0);
    teacher_ask asks[4];
    arena a = {0};
    pgr_error err = {0};
    o.jobs = 1;
    o.max_tokens = 100;
    teacher *r = open_teacher(&o, "budget");
    assert_int_equal(ask(r, 4, 0, &a, asks, &err), PGR_OK);
    assert_true(asks[0].answer && asks[1].answer && !asks[2].answer && !asks[3].answer);
    assert_int_equal(teacher_used(r).refused, 2);
    teacher_close(r);
    arena_free(&a);
    server_stop(s);
}

static void test_errors(void **state) {
    (void)state;
    pgr_teacher_server o;
    chat_server f;
    server *s = begin(&o, &f, ANSWER, 9, 401);
    teacher_ask asks[1];
    arena a = {0};
    pgr_error err = {0};
    o.model = NULL;
    teacher *r = open_teacher(&o, "errors");
    assert_string_equal(s->log[0].path, "/v1/models");
    assert_int_equal(ask(r, 1, 0, &a, asks, &err), PGR_E_IO);
    assert_non_null(strstr(err.message, "HTTP status 401: oops"));
    teacher_close(r);
    server_stop(s);

    s = begin(&o, &f, "{\"choices\":[]}", 0, 0);
    r = open_teacher(&o, "errors2");
    assert_int_equal(ask(r, 1, 0, &a, asks, &err), PGR_E_FORMAT);
    assert_non_null(strstr(err.message, "choices[0].message.content"));
    teacher_close(r);
    server_stop(s);
    o.url = "ftp://host";
    assert_int_equal(teacher_open(&o, path_of("errors"), &r, &err), PGR_E_ARG);
    arena_free(&a);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_tries_and_cache), cmocka_unit_test(test_budget),
                                       cmocka_unit_test(test_errors)};
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
