/* What trainers ask, replayed as they send it, against a real server on a tiny random model: a reward is that of the
 * same comparison at /v1/personal/score; K rollouts of a prompt meet; what could not be judged is never a number. */
#include <math.h>

#include "people_fixture.h"

static json_t *post(const char *path, const char *body) {
    return answer(ask(&L, "POST", path, body), 200);
}

static double number_at(const json_t *v, const char *key, size_t i) {
    const json_t *x = json_array_get(json_object_get(v, key), i);
    assert_true(json_is_number(x));
    return json_number_value(x);
}

static void near(double a, double b) {
    if (!(fabs(a - b) < 1e-5)) fail_msg("%.9g, expected %.9g", a, b); /* JSON's scores have 6 digits */
}

/* Scores of the same comparison; returns the tokens that it reads. */
static double scores_of(const char *body, double *out, size_t n) {
    json_t *v = post("/v1/personal/score", body);
    for (size_t i = 0; i < n; i++)
        out[i] = json_number_value(json_object_get(json_array_get(json_object_get(v, "responses"), i), "score"));
    double tokens = json_number_value(json_object_get(json_object_get(v, "usage"), "prompt_tokens"));
    json_decref(v);
    return tokens;
}

/* Tokens of all prompts so far, as the server counts them. */
static double tokens_read(void) {
    static const char NAME[] = "\npgenrm_prompt_tokens_total ";
    reply r = ask(&L, "GET", "/metrics", NULL);
    const char *at = strstr(r.body.data, NAME);
    assert_non_null(at);
    double n = strtod(at + strlen(NAME), NULL);
    reply_free(&r);
    return n;
}

/* A call is counted after its answer has been sent. */
static void until_tokens_read(double n) {
    while (tokens_read() < n) poll(NULL, 0, 5);
    near(tokens_read(), n);
}

#define CHATML(user, text) "<|im_start|>user\\n" user "<|im_end|>\\n<|im_start|>assistant\\n" text

/* ---- OpenRLHF ---- */

static void openrlhf_with_an_anchor(void **state) {
    (void)state;
    double want[2];
    double tokens = scores_of(
        "{\"user\": {\"id\": \"acme:u1\"}, \"query\": \"Where is Oslo?\", \"responses\": [\"In Norway.\", \"North\"], "
        "\"ind\": 3, \"seed\": 2}",
        want, 2);
    until_tokens_read(tokens);
    static const char *const labels[] = {
        "{\"user\": \"acme:u1\", \"anchor\": \"North\", \"ind\": 3, \"seed\": 2}",
        "\"{\\\"user\\\": {\\\"id\\\": \\\"acme:u1\\\"}, \\\"anchor\\\": \\\"North\\\", \\\"ind\\\": 3, \\\"seed\\\": "
        "2}\"",
    };
    for (size_t i = 0; i < 2; i++) { /* an object, and the same as text */
        char body[900];
        snprintf(body, sizeof body, "{\"query\": [\"%s\"], \"prompts\": [\"%s\"], \"labels\": [%s]}",
                 CHATML("Where is Oslo?", "In Norway.<|im_end|>"), CHATML("Where is Oslo?", ""), labels[i]);
        json_t *v = post("/get_reward", body);
        near(number_at(v, "rewards", 0), 0.5 + (want[0] - want[1]) / 18);
        near(number_at(v, "scores", 0), number_at(v, "rewards", 0));
        near(number_at(json_object_get(v, "extra_logs"), "judge_score", 0), want[0]);
        near(number_at(json_object_get(v, "extra_logs"), "chains", 0), 3);
        json_decref(v);
    }
    until_tokens_read(3 * tokens);
}

static void openrlhf_of_any_length(void **state) {
    (void)state;
    json_t *v = post("/get_reward", "{\"query\": [], \"prompts\": [], \"labels\": []}");
    assert_true(json_array_size(json_object_get(v, "rewards")) == 0 && json_is_array(json_object_get(v, "rewards")));
    assert_true(json_is_array(json_object_get(v, "scores")));
    json_decref(v);
    buf body = {0}, prompts = {0}, labels = {0};
    enum { N = 60 };
    for (int i = 0; i < N; i++) {
        buf_printf(&body, "%s\"Count to %d: answer %d\"", i ? "," : "", i % 7, i % 5);
        buf_printf(&prompts, "%s\"Count to %d:\"", i ? "," : "", i % 7);
        buf_printf(&labels, "%s{\"user\": \"acme:u%d\", \"anchor\": \"No\", \"ind\": 1}", i ? "," : "", i % USERS_EACH);
    }
    buf all = {0};
    buf_printf(&all, "{\"query\": [%s], \"prompts\": [%s], \"labels\": [%s]}", body.data, prompts.data, labels.data);
    v = post("/get_reward", all.data);
    for (size_t i = 0; i < N; i++) {
        double r = number_at(v, "rewards", i);
        assert_true(r >= 0 && r <= 1);
        for (size_t k = 0; k < i; k++)
            if (i % 35 == k % 35) near(number_at(v, "rewards", k), r); /* the same sample */
    }
    json_decref(v);
    buf_free(&body);
    buf_free(&prompts);
    buf_free(&labels);
    buf_free(&all);
}

/* Both texts of the last pair are its rivals, which is not shown then. */
static void against_the_own_history(void **state) {
    (void)state;
    double want[3];
    scores_of(
        "{\"user\": {\"id\": \"u\", \"history\": [{\"query\": \"A?\", \"chosen\": \"a1\", \"rejected\": \"a2\"}]}, "
        "\"query\": \"Where is Oslo?\", \"responses\": [\"In Norway.\", \"b1\", \"b2\"], \"ind\": 2}",
        want, 3);
    json_t *v = post("/get_reward",
                     "{\"query\": [\"Where is Oslo? In Norway.\"], \"prompts\": [\"Where is Oslo?\"], \"labels\": "
                     "[{\"user\": {\"id\": \"u\", \"history\": [{\"query\": \"A?\", \"chosen\": \"a1\", \"rejected\": "
                     "\"a2\"}, {\"query\": \"B?\", \"chosen\": \"b1\", \"rejected\": \"b2\"}]}, \"ind\": 2}]}");
    near(number_at(v, "rewards", 0), 0.5 + (want[0] - (want[1] + want[2]) / 2) / 18);
    json_decref(v);
    v = post("/get_reward", "{\"query\": [\"Where? Here.\"], \"prompts\": [\"Where?\"], \"labels\": [\"{\\\"user\\\": "
                            "\\\"acme:u2\\\", \\\"ind\\\": 1}\"]}"); /* of the store */
    assert_true(number_at(v, "rewards", 0) >= 0);
    json_decref(v);
}

static void never_a_made_up_number(void **state) {
    (void)state;
    static const struct {
        int status;
        const char *body;
    } cases[] = {
        {400, "{\"query\": [\"q a\"], \"prompts\": [\"q\"], \"labels\": [null]}"}, /* nothing to compare with */
        {400, "{\"query\": [\"q a\"], \"prompts\": [\"q\"]}"},
        {400, "{\"query\": [\"q a\"], \"prompts\": [\"q\"], \"labels\": [{\"user\": \"nobody\"}]}"}, /* no history */
        {400, "{\"query\": [\"q a\"], \"prompts\": [\"q\"], \"labels\": [{\"usr\": \"acme:u1\"}]}"},
        {400, "{\"query\": [\"q a\"], \"prompts\": [\"q\"], \"labels\": [7]}"},
        {400, "{\"query\": [\"q a\"], \"prompts\": [\"q\"], \"labels\": [{\"user\": true, \"anchor\": \"b\"}]}"},
        {400, "{\"query\": [\"q a\"], \"prompts\": [\"q\"], \"labels\": [\"{broken\"]}"},
        {400, "{\"query\": [\"q a\"], \"prompts\": [\"q\"], \"labels\": [{\"user\": \"acme:u1\", \"anchor\": 7}]}"},
        {400, "{\"prompt\": \"\", \"response\": \"a\", \"label\": {\"user\": \"acme:u1\"}}"},
        {400, "{\"query\": [\"q a\"], \"prompts\": [\"q\", \"r\"]}"},
        {400, "{\"query\": [7]}"},
        {400, "{\"query\": \"q\"}"},
        {400, "{\"query\": [\"q a\"], \"prompts\": [\"q\"], \"labels\": [{\"group\": \"g\"}]}"}, /* of how many? */
        {400, "{\"query\": [\"q a\"], \"prompts\": [\"q\"], \"labels\": [{\"group\": \"g\", \"group_size\": 99}]}"},
        {504, "{\"query\": [\"q a\"], \"prompts\": [\"q\"], \"labels\": [{\"anchor\": \"b\", \"deadline_s\": 1e-5}]}"},
        {504,
         "{\"query\": [\"q a\", \"q b\"], \"prompts\": [\"q\", \"q\"], \"labels\": [{\"anchor\": \"b\", \"ind\": 1}, "
         "{\"anchor\": \"b\", \"deadline_s\": 1e-5}]}"},
        {504, "{\"query\": [\"q a\"], \"prompts\": [\"q\"], \"labels\": [{\"group\": \"g\", \"group_size\": 2, "
              "\"collect_s\": "
              "0.01}]}"}, /* alone, and with nothing else to compare with */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        expect_error(ask(&L, "POST", "/get_reward", cases[i].body), cases[i].status, NULL);
}

/* What is empty is nobody's to judge: as a text it might please who likes short ones. Its worth the label says. */
static void an_empty_response(void **state) {
    (void)state;
    static const char *const refused[][3] = {
        {"/get_reward", "{\"query\": [\"q<|im_end|>\"], \"prompts\": [\"q\"], \"labels\": [{\"anchor\": \"b\"}]}",
         "query"},
        {"/get_reward", "{\"prompt\": \"q\", \"response\": \" \\n\", \"label\": \"b\"}", "response"},
        {"/get_reward?user=acme%3Au1", "{\"messages\": [\"" CHATML("q", "<|im_end|>") "\"]}", "messages"},
        {"/score", "{\"response_text\": \"\", \"query\": \"q\", \"profile\": [\"a\"]}", "response_text"},
        {"/verify",
         "{\"responses_create_params\": {\"input\": \"q\"}, \"response\": {\"output\": []}, \"anchor\": \"b\"}",
         "response"},
        {"/verify",
         "{\"responses_create_params\": {\"input\": \"q\"}, \"response\": {\"output\": []}, \"anchor\": \"b\", "
         "\"empty\": 1.5}",
         NULL},
    };
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        json_t *v = answer(ask(&L, "POST", refused[i][0], refused[i][1]), 400), *e = json_object_get(v, "error");
        const char *param = json_string_value(json_object_get(e, "param"));
        if (refused[i][2]) assert_string_equal(json_string_value(json_object_get(e, "code")), "empty_response");
        if (refused[i][2]) assert_string_equal(param, refused[i][2]);
        json_decref(v);
    }
    double before = tokens_read();
    json_t *v =
        post("/get_reward", "{\"query\": [\"q\", \"q\"], \"prompts\": [\"q\", \"q\"], \"labels\": [{\"anchor\": \"b\", "
                            "\"empty\": 0.25}, {\"anchor\": \"b\", \"empty\": 0}]}");
    assert_true(number_at(v, "rewards", 0) == 0.25 && number_at(v, "rewards", 1) == 0);
    assert_true(number_at(json_object_get(v, "extra_logs"), "chains", 0) == 0);
    json_decref(v);
    v = post("/get_reward?user=acme%3Au1&empty=0.5", "{\"messages\": [\"" CHATML("q", "<|im_end|>") "\"]}");
    assert_true(number_at(v, "scores", 0) == 0.5);
    json_decref(v);
    v = post("/verify",
             "{\"responses_create_params\": {\"input\": \"q\"}, \"response\": {\"output\": []}, \"anchor\": \"b\", "
             "\"empty\": 0}");
    assert_true(json_number_value(json_object_get(v, "reward")) == 0 && json_object_get(v, "reward"));
    json_decref(v);
    assert_true(tokens_read() == before);
}

#define MESSAGE(text)                                                                                                  \
    "{\"output\": [{\"type\": \"message\", \"content\": [{\"type\": \"output_text\", \"text\": \"" text "\"}]}]}"
#define COMPARE(objects, more)                                                                                         \
    post("/compare", "{\"conversation_history\": [{\"role\": \"user\", \"content\": \"q\"}], \"ind\": 2, "             \
                     "\"response_objs\": [" objects "]" more "}")

/* An empty response of a comparison is the last of them, and the others are compared as if it were not there. */
static void an_empty_one_of_a_comparison(void **state) {
    (void)state;
    double want[2], alone[2];
    scores_of("{\"query\": \"q\", \"responses\": [\"a\", \"bc\"], \"ind\": 2}", want, 2);
    scores_of("{\"query\": \"q\", \"responses\": [\"a\", \"(no answer)\"], \"ind\": 2}", alone, 2);
    json_t *v = COMPARE("{\"output\": []}, " MESSAGE("a") ", " MESSAGE(" \\n") ", " MESSAGE("bc"), "");
    for (size_t i = 0; i < 4; i++) near(number_at(v, "rewards", i), i % 2 ? (want[i / 2] - 1) / 9 : 0);
    const json_t *pairs = json_object_get(v, "comparison_results"), *pair = json_array_get(pairs, 0);
    assert_int_equal(json_array_size(pairs), 1);
    assert_int_equal(json_integer_value(json_object_get(pair, "response_i")), 1);
    assert_int_equal(json_integer_value(json_object_get(pair, "response_j")), 3);
    near(json_number_value(json_object_get(pair, "score_2")), want[1]);
    json_decref(v);
    v = COMPARE(MESSAGE("a") ", {\"output\": []}", ", \"empty\": 0.125"); /* somebody must be its rival */
    near(number_at(v, "rewards", 0), (alone[0] - 1) / 9);
    near(number_at(v, "rewards", 1), 0.125);
    assert_int_equal(json_array_size(json_object_get(v, "comparison_results")), 0);
    json_decref(v);
    double before = tokens_read();
    v = COMPARE("{\"output\": []}, {\"output\": []}", "");
    assert_int_equal(json_array_size(json_object_get(v, "rewards")), 2);
    assert_true(number_at(v, "rewards", 0) == 0 && number_at(v, "rewards", 1) == 0 && tokens_read() == before);
    json_decref(v);
    expect_error(ask(&L, "POST", "/compare", "{\"conversation_history\": [], \"response_objs\": [], \"empty\": 2}"),
                 400, NULL);
}

/* The others of its group are judged as if it were not there, and do not wait for it. */
static void an_empty_one_of_a_group(void **state) {
    (void)state;
    double want[2];
    scores_of("{\"user\": {\"id\": \"acme:u1\"}, \"query\": \"q\", \"responses\": [\"a\", \"bc\"], \"ind\": 2}", want,
              2);
#define OF_THREE "{\"user\": \"acme:u1\", \"group\": \"e\", \"group_size\": 3, \"ind\": 2, \"empty\": 0}"
    static const char *const queries[] = {"[\"q\", \"q a\", \"q bc\"]", "[\"q a\", \"q bc\", \"q\"]"};
    for (size_t i = 0; i < 2; i++) { /* the empty one first, and last */
        char body[600];
        snprintf(body, sizeof body, "{\"query\": %s, \"prompts\": [\"q\", \"q\", \"q\"], \"labels\": [%s, %s, %s]}",
                 queries[i], OF_THREE, OF_THREE, OF_THREE);
        json_t *v = post("/get_reward", body);
        assert_true(number_at(v, "rewards", i ? 2 : 0) == 0);
        near(number_at(v, "rewards", i ? 0 : 1), (want[0] - 1) / 9);
        near(number_at(v, "rewards", i ? 1 : 2), (want[1] - 1) / 9);
        near(number_at(json_object_get(v, "extra_logs"), "in_group", i ? 0 : 1), 1);
        json_decref(v);
    }
    json_t *v = post("/get_reward",
                     "{\"query\": [\"q\", \"q\", \"q\"], \"prompts\": [\"q\", \"q\", \"q\"], \"labels\": [" OF_THREE
                     ", " OF_THREE ", " OF_THREE "]}"); /* nothing to judge */
    for (size_t i = 0; i < 3; i++) assert_true(number_at(v, "rewards", i) == 0);
    json_decref(v);
    v = post("/get_reward",
             "{\"query\": [\"q\", \"q a\", \"q\"], \"prompts\": [\"q\", \"q\", \"q\"], \"labels\": [" OF_THREE
             ", " OF_THREE ", " OF_THREE "]}"); /* one is left: judged by the user's history */
    near(number_at(json_object_get(v, "extra_logs"), "in_group", 1), 0);
    json_decref(v);
    json_decref(
        post("/get_reward", "{\"query\": [\"q\"], \"prompts\": [\"q\"], \"labels\": [" OF_THREE "]}")); /* stays */
}

/* A policy of bytes may write NUL; what stands behind a doubled backslash is none. */
static void a_nul_is_read_over(void **state) {
    (void)state;
    static const char *const texts[][2] = {{"a\\u0000b", "a\\ufffdb"},
                                           {"\\\\u0000 \\\\\\u0000", "\\\\u0000 \\\\\\ufffd"}};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        double want[2], got[2];
        char body[200];
        for (size_t k = 0; k < 2; k++) {
            snprintf(body, sizeof body, "{\"query\": \"Where?\", \"responses\": [\"%s\", \"here\"], \"ind\": 2}",
                     texts[i][k]);
            scores_of(body, k ? want : got, 2);
        }
        near(got[0], want[0]);
        snprintf(body, sizeof body,
                 "{\"prompt\": \"Where?\", \"response\": \"%s\", \"label\": {\"anchor\": \"here\", \"ind\": 2}}",
                 texts[i][0]);
        json_t *v = post("/get_reward", body);
        near(json_number_value(v), 0.5 + (want[0] - want[1]) / 18);
        json_decref(v);
    }
    expect_error(ask(&L, "POST", "/v1/personal/feedback",
                     "{\"user\": \"acme:u1\", \"query\": \"q\", \"chosen\": "
                     "\"a\\u0000\", \"rejected\": \"b\"}"),
                 400, NULL); /* what is kept has none */
}

/* ---- the rendezvous ---- */

enum { K = 4 };

static void send_member(int *fd, const char *group, size_t i, const char *more) {
    char body[400];
    snprintf(body, sizeof body,
             "{\"query\": [\"Where is Rome? Answer %zu\"], \"prompts\": [\"Where is Rome?\"], \"labels\": [{\"user\": "
             "\"acme:u1\", \"group\": \"%s\", \"group_size\": %d, \"ind\": 2%s}]}",
             i, group, K, more);
    *fd = dial(&L);
    ask_on(*fd, "POST", "/get_reward", NULL, body);
}

static json_t *take_member(int fd, int status) {
    json_t *v = answer(hear_reply(fd, false), status);
    close(fd);
    return v;
}

static void rollouts_meet(void **state) {
    (void)state;
    double want[K];
    scores_of(
        "{\"user\": {\"id\": \"acme:u1\"}, \"query\": \"Where is Rome?\", \"responses\": [\"Answer 0\", \"Answer 1\", "
        "\"Answer 2\", \"Answer 3\"], \"ind\": 2}",
        want, K);
    for (int turn = 0; turn < 2; turn++) { /* the name is free again */
        int fd[K];
        until_open(0);
        for (size_t i = 0; i < K; i++) {
            send_member(&fd[i], "row-7", i, "");
            if (i + 1 < K) until_open(i + 1);
        }
        for (size_t i = 0; i < K; i++) {
            json_t *v = take_member(fd[i], 200);
            near(number_at(v, "rewards", 0), (want[i] - 1) / 9);
            near(number_at(json_object_get(v, "extra_logs"), "in_group", 0), 1);
            json_decref(v);
        }
    }
}

/* In one call, with two groups mixed. */
static void groups_within_a_call(void **state) {
    (void)state;
    json_t *v =
        post("/get_reward",
             "{\"query\": [\"a? 1\", \"b? 1\", \"a? 2\", \"b? 2\"], \"prompts\": [\"a?\", \"b?\", \"a?\", \"b?\"], "
             "\"labels\": [{\"group\": 1, \"group_size\": 2, \"ind\": 1}, {\"group\": 2, \"group_size\": 2, "
             "\"ind\": 1}, {\"group\": 1, \"group_size\": 2, \"ind\": 1}, {\"group\": 2, \"group_size\": 2, "
             "\"ind\": 1}]}");
    double want[2];
    scores_of("{\"query\": \"b?\", \"responses\": [\"1\", \"2\"], \"ind\": 1}", want, 2);
    near(number_at(v, "rewards", 1), (want[0] - 1) / 9);
    near(number_at(v, "rewards", 3), (want[1] - 1) / 9);
    json_decref(v);
}

/* Who does not come in time is not waited for: the others are judged together, one alone against its anchor. */
static void collecting_ends(void **state) {
    (void)state;
    int fd[2];
    double want[2];
    scores_of(
        "{\"user\": {\"id\": \"acme:u1\"}, \"query\": \"Where is Rome?\", \"responses\": [\"Answer 0\", \"Answer 1\"], "
        "\"ind\": 2}",
        want, 2);
    until_open(0);
    for (size_t i = 0; i < 2; i++) {
        send_member(&fd[i], "short", i, ", \"collect_s\": 1.5");
        until_open(i + 1);
    }
    for (size_t i = 0; i < 2; i++) {
        json_t *v = take_member(fd[i], 200);
        near(number_at(v, "rewards", 0), (want[i] - 1) / 9);
        json_decref(v);
    }
    send_member(&fd[0], "one", 0, ", \"collect_s\": 0.05, \"anchor\": \"Answer 1\"");
    json_t *v = take_member(fd[0], 200);
    near(number_at(v, "rewards", 0), 0.5 + (want[0] - want[1]) / 18);
    near(number_at(json_object_get(v, "extra_logs"), "in_group", 0), 0);
    json_decref(v);
}

/* A member whose client goes leaves its place to the next one. */
static void who_leaves_is_replaced(void **state) {
    (void)state;
    int gone, fd[K];
    double want[K];
    scores_of(
        "{\"user\": {\"id\": \"acme:u1\"}, \"query\": \"Where is Rome?\", \"responses\": [\"Answer 0\", \"Answer 1\", "
        "\"Answer 2\", \"Answer 3\"], \"ind\": 2}",
        want, K);
    until_open(0);
    send_member(&gone, "leaving", 9, "");
    until_open(1);
    close(gone);
    until_open(0);
    for (size_t i = 0; i < K; i++) {
        send_member(&fd[i], "leaving", i, "");
        if (i + 1 < K) until_open(i + 1);
    }
    for (size_t i = 0; i < K; i++) {
        json_t *v = take_member(fd[i], 200);
        near(number_at(v, "rewards", 0), (want[i] - 1) / 9);
        json_decref(v);
    }
}

static void another_prompt_is_refused(void **state) {
    (void)state;
    int fd;
    until_open(0);
    send_member(&fd, "mixed", 0, ", \"collect_s\": 0.5, \"anchor\": \"x\"");
    until_open(1);
    expect_error(ask(&L, "POST", "/get_reward",
                     "{\"query\": [\"Other? a\"], \"prompts\": [\"Other?\"], \"labels\": [{\"user\": \"acme:u1\", "
                     "\"group\": \"mixed\", \"group_size\": 4}]}"),
                 400, NULL);
    json_decref(take_member(fd, 200));
}

/* ---- the others ---- */

static void slime(void **state) {
    (void)state;
    double want[2];
    scores_of("{\"query\": \"Where is Oslo?\", \"responses\": [\"In Norway.\", \"North\"], \"ind\": 8}", want, 2);
    json_t *v =
        post("/get_reward", "{\"prompt\": \"Where is Oslo?\", \"response\": \"In Norway.\", \"label\": \"North\"}");
    near(json_number_value(v), 0.5 + (want[0] - want[1]) / 18); /* the whole reply is the number */
    json_decref(v);
    v = post("/get_reward", "{\"prompt\": [{\"role\": \"user\", \"content\": \"Where is Oslo?\"}], \"response\": "
                            "\"In Norway.<|im_end|>\", \"label\": {\"anchor\": \"North\"}}");
    near(json_number_value(v), 0.5 + (want[0] - want[1]) / 18);
    json_decref(v);
    expect_error(ask(&L, "POST", "/get_reward", "{\"prompt\": 1, \"response\": \"a\"}"), 400, NULL);
}

static void llama_factory(void **state) {
    (void)state;
    json_t *v = post("/get_reward?user=acme:u1",
                     "{\"model\": \"model\", \"messages\": [\"" CHATML(
                         "Where is Oslo?", "In Norway.<|im_end|>") "\", "
                                                                   "\"" CHATML("Where is Rome?", "South.") "\"]}");
    assert_int_equal(json_array_size(json_object_get(v, "scores")), 2);
    assert_true(number_at(v, "scores", 0) >= 0 && number_at(v, "scores", 1) <= 1);
    json_decref(v);
    static const char one[] = "{\"messages\": [\"" CHATML("Where is Oslo?", "North.") "\"]}";
    double want[2];
    for (int i = 0; i < 2; i++) { /* an id in the address is decoded */
        v = post(i ? "/get_reward?user=%61cme%3Au1" : "/get_reward?user=acme:u1", one);
        want[i] = number_at(v, "scores", 0);
        json_decref(v);
    }
    near(want[0], want[1]);
    expect_error(ask(&L, "POST", "/get_reward?user=%zz", one), 400, NULL);
    expect_error(ask(&L, "POST", "/get_reward?user=%ff", one), 400, NULL);
    v = post("/get_reward", "{\"model\": \"model\", \"messages\": []}");
    assert_int_equal(json_array_size(json_object_get(v, "scores")), 0);
    json_decref(v);
    expect_error(ask(&L, "POST", "/get_reward", "{\"model\": \"model\", \"messages\": [\"q\"]}"), 400, NULL);
}

static void personalized_rewardbench(void **state) {
    (void)state;
    static const char *const profiles[] = {"\"Likes short answers.\"", "[\"One.\", {\"text\": \"Two.\"}]",
                                           "[{\"query\": \"A?\", \"chosen\": \"a\", \"rejected\": \"b\"}]", "null"};
    for (size_t i = 0; i < sizeof profiles / sizeof *profiles; i++) {
        char body[300];
        snprintf(body, sizeof body,
                 "{\"response_text\": \"In Norway.\", \"query\": \"Where is Oslo?\", \"profile\": %s}", profiles[i]);
        json_t *v = post("/score", body);
        double score = json_number_value(json_object_get(v, "score"));
        assert_true(json_is_number(json_object_get(v, "score")) && score >= 0 && score <= 1);
        json_decref(v);
    }
}

#define RESPONSE(text)                                                                                                 \
    "{\"id\": \"resp_1\", \"object\": \"response\", \"output\": [{\"type\": \"reasoning\", \"summary\": []}, "         \
    "{\"type\": \"message\", \"role\": \"assistant\", \"content\": [{\"type\": \"output_text\", \"text\": \"" text     \
    "\", \"annotations\": []}]}]}"
#define LONG_NAME                                                                                                      \
    "\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9" \
    "\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9" \
    "\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9"

static void nemo_gym(void **state) {
    (void)state;
    double want[2];
    json_decref(post("/seed_session", "{}"));
    scores_of("{\"user\": {\"criteria\": \"Be short\"}, \"query\": \"Where is Oslo?\", \"responses\": [\"In Norway.\", "
              "\"North\"], \"ind\": 2}",
              want, 2);
    json_t *v =
        post("/verify",
             "{\"responses_create_params\": {\"input\": [{\"role\": \"user\", \"content\": \"Where is Oslo?\"}]}, "
             "\"response\": " RESPONSE("In Norway.") ", \"anchor\": \"North\", \"ind\": 2, \"principle\": "
                                                     "\"Be short\", \"extra\": [1]}");
    near(json_number_value(json_object_get(v, "reward")), 0.5 + (want[0] - want[1]) / 18);
    assert_true(json_object_get(v, "response") && json_object_get(v, "responses_create_params"));
    assert_int_equal(json_array_size(json_object_get(v, "extra")), 1); /* the same object */
    json_decref(v);
    v = answer(ask(&L, "POST", "/verify",
                   "{\"responses_create_params\": {\"input\": \"q\"}, \"response\": " RESPONSE(
                       "a") ", \"anchor\": \"b\", \"deadline_s\": 1e-5}"),
               503);
    assert_string_equal(json_string_value(json_object_get(v, "_ng_failure_class")), "judge_failed");
    assert_null(json_object_get(v, "reward"));
    json_decref(v);
    v = answer(ask(&L, "POST", "/verify", /* a name that the message cuts within a character */
                   "{\"responses_create_params\": {\"input\": \"q\"}, \"response\": " RESPONSE(
                       "a") ", \"group\": \"a" LONG_NAME "\", \"group_size\": 2, \"collect_s\": 0.01}"),
               503);
    assert_string_equal(json_string_value(json_object_get(v, "_ng_failure_class")), "judge_failed");
    json_decref(v);

    v = post("/compare", "{\"conversation_history\": [{\"role\": \"user\", \"content\": \"Where is Oslo?\"}], "
                         "\"response_objs\": [" RESPONSE("In Norway.") ", " RESPONSE("North") "], \"principle\": \"Be "
                                                                                              "short\", \"ind\": 2}");
    for (size_t i = 0; i < 2; i++) near(number_at(v, "rewards", i), (want[i] - 1) / 9);
    json_t *pair = json_array_get(json_object_get(v, "comparison_results"), 0);
    near(json_number_value(json_object_get(pair, "score_1")), want[0]);
    near(json_number_value(json_object_get(pair, "ranking")), 3.5 - 2.5 * (want[0] - want[1]) / 9);
    json_decref(v);
    v = post("/compare", "{\"conversation_history\": [], \"response_objs\": []}");
    assert_int_equal(json_array_size(json_object_get(v, "rewards")), 0);
    json_decref(v);
    expect_error(ask(&L, "POST", "/compare", "{\"conversation_history\": [], \"response_objs\": [{}]}"), 400, NULL);
    expect_error(ask(&L, "POST", "/compare", /* a user who is none is not passed over */
                     "{\"conversation_history\": [{\"role\": \"user\", \"content\": \"q\"}], \"user\": [\"u\"], "
                     "\"response_objs\": [" RESPONSE("a") ", " RESPONSE("b") "]}"),
                 400, NULL);

    static const char *const wrong[][2] = {
        /* what is no object is not passed over */
        {"/compare", "{\"response_objs\": []}"},
        {"/compare", "{\"conversation_history\": [1], \"response_objs\": []}"},
        {"/compare", "{\"conversation_history\": [], \"response_objs\": [], \"user\": [1]}"},
        {"/compare", "{\"conversation_history\": [], \"response_objs\": [], \"user\": {\"history\": 1}}"},
        {"/compare", "{\"conversation_history\": [], \"response_objs\": [], \"ind\": \"many\"}"},
        {"/compare", "{\"conversation_history\": [], \"response_objs\": [{\"output\": []}, 1]}"},
        {"/compare", "{\"conversation_history\": [], \"response_objs\": [{\"output\": []}, {\"output\": []}]}"},
        {"/compare", "{\"conversation_history\": [{\"role\": \"user\", \"content\": \"q\"}], \"response_objs\": "
                     "[{\"output\": []}, {\"text\": \"a\"}]}"}, /* no Responses object, not an empty response */
        {"/verify", "{\"responses_create_params\": {\"input\": \"q\"}, \"response\": {\"text\": \"a\"}, \"anchor\": "
                    "\"b\", \"empty\": 0}"},
        {"/aggregate_metrics", "{\"verify_responses\": [[null]]}"},
        {"/aggregate_metrics", "{\"verify_responses\": {}}"},
        {"/aggregate_metrics", "{\"verify_responses\": [{\"reward\": 1.7e308}, {\"reward\": 1.7e308}]}"},
        {"/aggregate_metrics", "{\"verify_responses\": [{\"reward\": 0}, {\"reward\": -1e151}]}"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        expect_error(ask(&L, "POST", wrong[i][0], wrong[i][1]), 400, NULL);

    v = post(
        "/aggregate_metrics",
        "{\"verify_responses\": [{\"_ng_task_index\": 3, \"reward\": 0.5}, {\"_ng_task_index\": 4, \"reward\": 1.0}, "
        "{\"_ng_task_index\": 3, \"reward\": 0.7}, {\"_ng_task_index\": 3, \"reward\": 0, \"mask_sample\": true}]}");
    near(json_number_value(json_object_get(json_object_get(v, "key_metrics"), "mean/reward")), 2.2 / 3);
    json_t *tasks = json_object_get(v, "group_level_metrics");
    assert_int_equal(json_array_size(tasks), 2);
    near(json_number_value(json_object_get(json_array_get(tasks, 0), "mean/reward")), 0.6);
    near(json_number_value(json_object_get(json_array_get(tasks, 0), "median/reward")), 0.6);
    near(json_number_value(json_object_get(json_object_get(v, "agent_metrics"), "median/reward")), 0.7);
    json_decref(v);
}

/* Great numbers have a mean and a deviation, too; small differences of them are not lost. */
static void great_rewards(void **state) {
    (void)state;
    json_t *v = post("/aggregate_metrics", "{\"verify_responses\": [{\"reward\": 1e150}, {\"reward\": -1e150}, "
                                           "{\"reward\": 1e150}, {\"reward\": 1e308, \"mask_sample\": true}]}"),
           *all = json_object_get(v, "agent_metrics");
    near(json_number_value(json_object_get(all, "mean/reward")) / 1e150, 1. / 3);
    near(json_number_value(json_object_get(all, "std/reward")) / 1e150, sqrt(4. / 3));
    json_decref(v);
    v = post("/aggregate_metrics", "{\"verify_responses\": [{\"reward\": 1000000000}, {\"reward\": 1000000001}]}");
    near(json_number_value(json_object_get(json_object_get(v, "agent_metrics"), "std/reward")), sqrt(0.5));
    json_decref(v);
}

static size_t users_read(void) {
    reply r = ask(&L, "GET", "/metrics", NULL);
    const char *at = strstr(r.body.data, "\npgenrm_users_read_total ");
    assert_non_null(at);
    size_t n = strtoul(at + 25, NULL, 10);
    reply_free(&r);
    return n;
}

/* A user's samples in one call, alone and in groups, make the server read him once. */
static void a_user_is_read_once(void **state) {
    (void)state;
    enum { SAMPLES = 60 };
    buf body = {0};
    buf_puts(&body, "{\"query\": [");
    for (int i = 0; i < SAMPLES; i++) buf_printf(&body, "%s\"q a%d\"", i ? "," : "", i);
    buf_puts(&body, "], \"prompts\": [");
    for (int i = 0; i < SAMPLES; i++) buf_printf(&body, "%s\"q\"", i ? "," : "");
    buf_puts(&body, "], \"labels\": [");
    for (int i = 0; i < SAMPLES; i++) {
        buf_printf(&body, "%s{\"user\": \"%s\", \"ind\": 1", i ? "," : "", i % 3 ? "acme:u1" : "bolt:u2");
        if (i % 3 == 1) buf_printf(&body, ", \"group\": \"g%d\", \"group_size\": 2", i / 6);
        buf_puts(&body, "}");
    }
    buf_puts(&body, "]}");
    size_t before = users_read();
    json_t *v = post("/get_reward", body.data);
    assert_int_equal(json_array_size(json_object_get(v, "rewards")), SAMPLES);
    assert_int_equal(users_read() - before, 2);
    json_decref(v);
    buf_free(&body);
}

/* What a trainer sends in the place of text is passed over or refused; nobody falls over it. */
static void nemo_gym_without_texts(void **state) {
    (void)state;
    static const char *const inputs[] = {"[{\"role\": 5}]",  "[{\"role\": [\"user\"], \"content\": \"q\"}]",
                                         "[{\"role\": {}}]", "[{\"role\": \"user\", \"content\": [{\"text\": 5}, 6]}]",
                                         "[{\"type\": 5}]",  "[5, null, []]"};
    for (size_t i = 0; i < sizeof inputs / sizeof *inputs; i++) {
        char body[500];
        snprintf(body, sizeof body,
                 "{\"responses_create_params\": {\"input\": %s}, \"response\": " RESPONSE("a") ", \"anchor\": \"b\"}",
                 inputs[i]);
        expect_error(ask(&L, "POST", "/verify", body), 400, NULL);
        if (strchr(inputs[i], '5') == inputs[i] + 1) continue; /* its turns are objects */
        snprintf(body, sizeof body,
                 "{\"conversation_history\": %s, \"response_objs\": [" RESPONSE("a") ", " RESPONSE("b") "]}",
                 inputs[i]);
        expect_error(ask(&L, "POST", "/compare", body), 400, NULL);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(openrlhf_with_an_anchor),
        cmocka_unit_test(openrlhf_of_any_length),
        cmocka_unit_test(against_the_own_history),
        cmocka_unit_test(never_a_made_up_number),
        cmocka_unit_test(an_empty_response),
        cmocka_unit_test(an_empty_one_of_a_group),
        cmocka_unit_test(an_empty_one_of_a_comparison),
        cmocka_unit_test(a_nul_is_read_over),
        cmocka_unit_test(rollouts_meet),
        cmocka_unit_test(groups_within_a_call),
        cmocka_unit_test(collecting_ends),
        cmocka_unit_test(who_leaves_is_replaced),
        cmocka_unit_test(another_prompt_is_refused),
        cmocka_unit_test(slime),
        cmocka_unit_test(llama_factory),
        cmocka_unit_test(personalized_rewardbench),
        cmocka_unit_test(nemo_gym),
        cmocka_unit_test(nemo_gym_without_texts),
        cmocka_unit_test(great_rewards),
        cmocka_unit_test(a_user_is_read_once),
    };
    return cmocka_run_group_tests(tests, people_setup_open, people_teardown);
}
