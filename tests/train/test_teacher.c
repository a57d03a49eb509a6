/* test_teacher.c - questions to a server that refuses, cuts and answers: tries with waits, a key, answers from the
 * disk, a budget, errors that say what came. */
#include "../base/faults.h"
#include "../base/scratch.h"
#include "../net/chat_server.h"

#include "train/teacher.h"

static const char ANSWER[] = "{\"choices\":[{\"message\":{\"role\":\"assistant\",\"content\":\"seven\"}}],\"usage\":"
                             "{\"total_tokens\":40}}";

enum { MOST = 6 };

/* A server, a teacher who asks it, and what was asked. */
typedef struct lesson {
    pgr_teacher_server o;
    chat_server f;
    server *s;
    teacher *r;
    teacher_ask asks[MOST];
    arena a;
    pgr_error err;
} lesson;

/* An answer, after `faults` refusals. */
static void begin(lesson *l, const char *answer, int faults, int status) {
    *l = (lesson){.f.raw = answer};
    hub_route *r = chat_begin(&l->f, "someone");
    r->faults = faults;
    r->fault_status = status;
    r->retry_after = "0";
    l->s = l->f.s;
    l->o = (pgr_teacher_server){.url = l->f.url, .model = "m", .key = "secret", .jobs = 3, .temperature = 1};
}

static void open_teacher(lesson *l, const char *folder) {
    teacher_close(l->r);
    l->r = NULL;
    if (teacher_open(&l->o, path_of(folder), &l->r, &l->err) != PGR_OK) fail_msg("%s", l->err.message);
}

static void end(lesson *l) {
    teacher_close(l->r);
    arena_free(&l->a);
    server_stop(l->s);
}

static pgr_status ask(lesson *l, size_t n) {
    static const infer_message question = {"user", "How \"many\"?\n", 12};
    for (size_t i = 0; i < n; i++)
        l->asks[i] = (teacher_ask){.messages = &question, .n_message = 1, .number = i, .max_tokens = 30};
    return teacher_run(l->r, l->asks, n, NULL, &l->a, &l->err);
}

/* Two refusals are tried again; every question is answered; later ones come from the disk. */
static void test_tries_and_cache(void **state) {
    (void)state;
    enum { N = MOST - 1 };
    lesson l;
    begin(&l, ANSWER, 2, 429);
    open_teacher(&l, "answers");
    if (ask(&l, N) != PGR_OK) fail_msg("%s", l.err.message);
    for (size_t i = 0; i < N; i++) assert_string_equal(l.asks[i].answer, "seven");
    teacher_usage used = teacher_used(l.r);
    assert_int_equal(used.asked, N + 2);
    assert_int_equal(used.retries, 2);
    assert_int_equal(used.tokens, N * 40);
    assert_string_equal(l.s->log[0].authorization, "Bearer secret");
    assert_true(l.s->most_waiting <= 3);
    size_t asked = l.s->n_asked;

    open_teacher(&l, "answers");
    assert_int_equal(ask(&l, N + 1), PGR_OK);
    assert_int_equal(l.s->n_asked, asked + 1); /* the one that is new */
    assert_int_equal(teacher_used(l.r).cached, N);
    end(&l);
}

/* 40 tokens an answer: with room for 100 two are asked for, since the second may still write 30. */
static void test_budget(void **state) {
    (void)state;
    lesson l;
    begin(&l, ANSWER, 0, 0);
    l.o.jobs = 1;
    l.o.max_tokens = 100;
    open_teacher(&l, "budget");
    assert_int_equal(ask(&l, 4), PGR_OK);
    assert_true(l.asks[0].answer && l.asks[1].answer && !l.asks[2].answer && !l.asks[3].answer);
    assert_int_equal(teacher_used(l.r).refused, 2);
    end(&l);
}

static void test_errors(void **state) {
    (void)state;
    lesson l;
    begin(&l, ANSWER, 9, 401);
    l.o.model = NULL;
    open_teacher(&l, "errors");
    assert_string_equal(l.s->log[0].path, "/v1/models");
    assert_int_equal(ask(&l, 1), PGR_E_IO);
    assert_non_null(strstr(l.err.message, "HTTP status 401: oops"));
    end(&l);

    begin(&l, "{\"choices\":[]}", 0, 0);
    open_teacher(&l, "errors2");
    assert_int_equal(ask(&l, 1), PGR_E_FORMAT);
    assert_non_null(strstr(l.err.message, "choices[0].message.content"));
    l.o.url = "ftp://host";
    teacher *other = NULL;
    assert_int_equal(teacher_open(&l.o, path_of("errors"), &other, &l.err), PGR_E_ARG);
    end(&l);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_tries_and_cache), cmocka_unit_test(test_budget),
                                       cmocka_unit_test(test_errors)};
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
