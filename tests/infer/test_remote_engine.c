/* test_remote_engine.c - the engine behind an address against a server of the test's own, which answers as OpenAI's API
 * says, or refuses, cuts, lies and hangs: the chains are what was answered, or an error says what came. */
#include "../base/faults.h"
#include "../net/chat_server.h"

#include <math.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/json.h"
#include "infer/counts.h"
#include "infer/engine.h"
#include "infer/remote.h"

#define MODELS "/v1/models"

static pgr_engine *connect_to(const char *urls, const pgr_remote_options *like) {
    pgr_remote_options o = like ? *like : pgr_remote_options_default();
    pgr_engine *e = NULL;
    pgr_error err = {0};
    o.urls = urls;
    o.model = "m";
    if (pgr_engine_connect(&o, &e, &err) != PGR_OK) fail_msg("%s", err.message);
    return e;
}

static const infer_message QUESTION = {"user", "How \"many\"?\n", 12};

static infer_request request(size_t n) {
    return (infer_request){.messages = &QUESTION,
                           .n_message = 1,
                           .n_sample = n,
                           .seed = 5,
                           .id = 3,
                           .sampling = {1, 0, 1, 0},
                           .max_tokens = 40};
}

static infer_output run(pgr_engine *e, const infer_request *r) {
    infer_output out;
    pgr_error err = {0};
    if (infer_run(e, r, 1, NULL, &out, &err) != PGR_OK) fail_msg("%s", err.message);
    return out;
}

static void assert_text(const infer_chain *c, const char *text) {
    assert_int_equal(c->text.n, strlen(text));
    assert_memory_equal(c->text.n ? c->text.data : "", text, strlen(text));
}

/* ---- tests ---- */

/* Several choices of one request, or, where the server gives one whatever it is asked, each by itself: the first seed
 * is the same, every later one another. */
static void test_chains(void **state) {
    (void)state;
    static const char *const TEXT[] = {"one", "two", "three"};
    for (int one = 0; one < 2; one++) {
        chat_server f = {.one_choice = one, .texts = {"one", "two", "three"}, .n = 3};
        chat_begin(&f, "someone");
        pgr_engine *e = connect_to(f.url, NULL);
        const engine_info *about = engine_about(e);
        assert_int_equal(about->n_ctx, 2048);
        assert_int_equal(about->n_parameter, 0);
        assert_int_equal(about->can, ENGINE_CHAT);
        infer_request r = request(3);
        infer_output out = run(e, &r);
        assert_int_equal(out.n_chain, 3);
        size_t found = 0;
        for (size_t i = 0; i < 3; i++)
            for (size_t k = 0; k < 3; k++)
                found += out.chains[i].text.n == strlen(TEXT[k])
                         && memcmp(out.chains[i].text.data, TEXT[k], strlen(TEXT[k])) == 0;
        assert_int_equal(found, 3);
        assert_int_equal(out.prompt_tokens, 11);
        assert_int_equal(out.completion_tokens, 9); /* of three texts in one answer dealt out by their bytes */
        assert_int_equal(out.chains[0].tokens.v[0], -1);
        assert_int_equal(f.n_asked, one ? 3 : 1);
        assert_true(f.seeds[0] > 0 && f.seeds[0] < 1u << 31);
        if (one) assert_true(f.seeds[0] != f.seeds[1] && f.seeds[1] != f.seeds[2]);
        infer_output_free(&out);
        pgr_engine_free(e);
        server_stop(f.s);
    }
}

/* A server that ignores n only later, and one that refuses a member: the rest is asked for, without the member. */
static void test_less(void **state) {
    (void)state;
    chat_server f = {.texts = {"a", "b"}, .n = 2};
    chat_begin(&f, "someone");
    pgr_engine *e = connect_to(f.url, NULL);
    f.one_choice = true;
    infer_request r = request(4);
    infer_output out = run(e, &r);
    assert_int_equal(out.n_chain, 4);
    assert_int_equal(f.n_asked, 4);
    for (size_t i = 0; i < 4; i++) assert_int_equal(out.chains[i].text.n, 1);
    infer_output_free(&out);
    f.refuses = "seed";
    out = run(e, &r);
    assert_null(strstr(f.last, "\"seed\""));
    infer_output_free(&out);
    pgr_engine_free(e);
    server_stop(f.s);
}

/* A server that would cut or punish as the model's files say is told not to, and what is asked for counts. */
static void test_undone_defaults(void **state) {
    (void)state;
    static const struct {
        const char *owner, *members;
    } TOLD[] = {
        {"vllm", "\"top_k\":-1,\"min_p\":0,\"repetition_penalty\":1,\"presence_penalty\":0,\"frequency_penalty\":0"},
        {"sglang", "\"top_k\":-1,\"min_p\":0,\"repetition_penalty\":1,\"presence_penalty\":0"},
        {"llamacpp", "\"top_k\":0,\"min_p\":0,\"repeat_penalty\":1"},
        {"someone", NULL}};
    for (size_t i = 0; i < sizeof TOLD / sizeof *TOLD; i++) {
        chat_server f = {.texts = {"a"}, .n = 1};
        chat_begin(&f, TOLD[i].owner);
        pgr_engine *e = connect_to(f.url, NULL);
        infer_request r = request(1);
        infer_output out = run(e, &r);
        if (TOLD[i].members) assert_non_null(strstr(f.last, TOLD[i].members));
        if (!TOLD[i].members) assert_null(strstr(f.last, "top_k"));
        if (!TOLD[i].members) assert_null(strstr(f.last, "penalty"));
        infer_output_free(&out);
        r.sampling.top_k = 5;
        r.sampling.min_p = 0.25f;
        out = run(e, &r);
        assert_non_null(strstr(f.last, "\"top_k\":5,\"min_p\":0.25"));
        infer_output_free(&out);
        pgr_engine_free(e);
        server_stop(f.s);
    }
}

/* vLLM's list says the context of a model, and of an adapter of it only whose it is. */
static void test_adapter_context(void **state) {
    (void)state;
    static const char LIST[] = "{\"data\":[{\"id\":\"other\",\"max_model_len\":64,\"parent\":null},"
                               "{\"id\":\"base\",\"max_model_len\":1536,\"parent\":null},"
                               "{\"id\":\"m\",\"owned_by\":\"vllm\",\"parent\":\"base\",\"max_model_len\":null}]}";
    chat_server f = {.texts = {"a"}, .n = 1};
    chat_begin(&f, "vllm");
    server_route(f.s, MODELS, LIST, sizeof LIST - 1);
    pgr_engine *e = connect_to(f.url, NULL);
    assert_int_equal(engine_about(e)->n_ctx, 1536);
    pgr_engine_free(e);
    server_stop(f.s);
}

static const char SCORES[] = "root ::= \"Total: A \" $score \", B \" $score\nscore ::= [1-9] | \"10\"\n";

/* A server that keeps to grammars is held to them; of one that does not every text is left to who reads it. */
static void test_grammar(void **state) {
    (void)state;
    static const char *const OWNERS[] = {"llamacpp", "vllm", "sglang", "someone", "someone"};
    static const char *const MEMBERS[] = {"grammar", "structured_outputs", "ebnf", "ebnf", NULL};
    for (size_t i = 0; i < sizeof OWNERS / sizeof *OWNERS; i++) {
        chat_server f = {.grammar = MEMBERS[i], .texts = {"Total: A 7, B 10", "Total: A 7, C 1", "Total: A 7"}, .n = 3};
        chat_begin(&f, OWNERS[i]);
        pgr_engine *e = connect_to(f.url, NULL);
        assert_int_equal(engine_about(e)->can & ENGINE_GRAMMAR, MEMBERS[i] ? ENGINE_GRAMMAR : 0);
        infer_request r = request(3);
        r.grammar = SCORES;
        r.n_grammar = strlen(SCORES);
        infer_output out = run(e, &r);
        assert_int_equal(out.chains[0].finish, PGR_FINISH_STOP);
        assert_text(&out.chains[0], "Total: A 7, B 10");
        for (size_t k = 1; k < 3; k++)
            assert_int_equal(out.chains[k].finish, MEMBERS[i] ? PGR_FINISH_FAILED : PGR_FINISH_STOP);
        if (MEMBERS[i]) {
            assert_non_null(strstr(f.last, MEMBERS[i]));
            assert_non_null(strstr(out.chains[1].why, "byte 13 of the text is 0x43"));
            assert_non_null(strstr(out.chains[2].why, "ends where the grammar goes on"));
            assert_null(strchr(strstr(f.last, MEMBERS[i]), '$'));
        }
        infer_output_free(&out);
        pgr_engine_free(e);
        server_stop(f.s);
    }
}

static pgr_status fill_sum(void *ctx, const char *hole, const char *chain, size_t n, buf *out, pgr_error *err) {
    (void)hole, (void)chain, (void)err;
    buf_printf(out, "%zu", n);
    *(int *)ctx += 1;
    return PGR_OK;
}

/* Holes are filled here, and what is the only continuation is added; a last hole that the model filled itself does not
 * count. */
static void test_holes(void **state) {
    (void)state;
    static const char HOLE[] = "root ::= \"A \" [0-9] \"\\nTotal: \" @sum\n";
    for (int held = 0; held < 2; held++) {
        int filled = 0;
        chat_server f = {.grammar = held ? "grammar" : NULL,
                         .texts = {"A 1\nTotal: ", "A 2", held ? "A 3\nTotal: " : "A 3\nTotal: 99, they say"},
                         .n = 3};
        chat_begin(&f, "someone");
        pgr_engine *e = connect_to(f.url, NULL);
        infer_request r = request(3);
        r.grammar = HOLE;
        r.n_grammar = strlen(HOLE);
        r.fill = fill_sum;
        r.fill_ctx = &filled;
        infer_output out = run(e, &r);
        assert_text(&out.chains[0], "A 1\nTotal: 11");
        assert_text(&out.chains[1], "A 2\nTotal: 11");
        assert_text(&out.chains[2], "A 3\nTotal: 11");
        assert_int_equal(filled, 3);
        infer_output_free(&out);
        pgr_engine_free(e);
        server_stop(f.s);
    }
}

/* The grammar as it is asked for allows what may come before the trigger, the trigger, and then what it allowed. */
static void test_trigger(void **state) {
    (void)state;
    static const char INNER[] = "root ::= \"{\" digit_s \"}\" # an object\ndigit_s ::= [0-9\\]]{1,3000}\n";
    static const char *const GOOD[] = {"<GO>{1}", "so <GO <<GO>{12]}", "<G<GO>{7}", "\xC3\xA9<GO>{0}"};
    static const char *const BAD[] = {"{1}", "<GO>", "<GO>{}", "<GO>x", "<GO>{1}<GO>{2}"};
    buf spoken = {0};
    grammar *g = NULL;
    pgr_error err = {0};
    int to;
    assert_int_equal(remote_grammar_speak(INNER, strlen(INNER), "<GO>", &spoken, &err), PGR_OK);
    assert_null(strchr(spoken.data, '_'));
    assert_non_null(strstr(spoken.data, "{1,}")); /* a repeat that is too much for servers */
    if (grammar_compile(spoken.data, spoken.n, "spoken", &g, &err) != PGR_OK) fail_msg("%s", err.message);
    for (size_t i = 0; i < sizeof GOOD / sizeof *GOOD; i++) {
        assert_int_equal(grammar_walk(g, grammar_start(g), GOOD[i], strlen(GOOD[i]), &to, &err), PGR_OK);
        if (to == GRAMMAR_DEAD || !grammar_accepts(g, to)) fail_msg("%s", GOOD[i]);
    }
    for (size_t i = 0; i < sizeof BAD / sizeof *BAD; i++) {
        assert_int_equal(grammar_walk(g, grammar_start(g), BAD[i], strlen(BAD[i]), &to, &err), PGR_OK);
        if (to != GRAMMAR_DEAD && grammar_accepts(g, to)) fail_msg("%s", BAD[i]);
    }
    grammar_unref(g);
    buf_clear(&spoken);
    assert_int_equal(remote_grammar_speak("root ::= <|end|>", 16, NULL, &spoken, &err), PGR_OK);
    assert_int_equal(spoken.n, 0); /* tokens by name cannot be said */
    buf_free(&spoken);
}

#define TOKEN(text, p, top) "{\"token\":\"" text "\",\"logprob\":" p ",\"bytes\":null,\"top_logprobs\":[" top "]}"
#define TOP(text, p)        "{\"token\":\"" text "\",\"logprob\":" p "}"

/* What might have come at a place is shared out anew over what the grammar allows. "1" is open: 1 or 10; where it is
 * the token that came, the next one tells. */
static void test_places(void **state) {
    (void)state;
    static const char LOGPROBS[] = "{\"content\":[" TOKEN("Total: A ", "-0.1", TOP("Total: A ", "-0.1")) "," TOKEN(
        "7", "-0.69314718056",
        TOP("7", "-0.69314718056") "," TOP("8", "-1.38629436112") "," TOP(
            "x",
            "-1.7")) "," TOKEN(", B ", "0",
                               TOP(", B ",
                                   "0")) "," TOKEN("1", "-0.5",
                                                   TOP("1", "-0.28768207245") "," TOP(
                                                       "9",
                                                       "-1.38629436112")) "," TOKEN("0", "-0.5",
                                                                                    TOP("0", "-0.69314718056") "," TOP(
                                                                                        "\\n", "-0.69314718056")) "]}";
    chat_server f = {.grammar = "grammar", .texts = {"Total: A 7, B 10"}, .n = 1, .logprobs = LOGPROBS};
    chat_begin(&f, "someone");
    f.logprobs = NULL;
    pgr_engine *e = connect_to(f.url, NULL);
    ((remote *)e)->offers.top = 20; /* the probe's texts have no log-probabilities of their own */
    f.logprobs = LOGPROBS;
    infer_request r = request(1);
    r.grammar = SCORES;
    r.n_grammar = strlen(SCORES);
    r.want_places = true;
    infer_output out = run(e, &r);
    const infer_chain *c = &out.chains[0];
    assert_non_null(strstr(f.last, "\"top_logprobs\":20"));
    assert_text(c, "Total: A 7, B 10");
    assert_int_equal(c->tokens.n, 5);
    assert_int_equal(c->n_place, 2);
    assert_int_equal(c->places[0].from, 9);
    assert_int_equal(c->places[0].n, 2); /* 2 : 1 */
    assert_true(fabs(infer_place_mean(&c->places[0]) - (7 * 2 + 8) / 3.0) < 1e-9);
    assert_true(fabs(exp(c->places[0].choices[0].logprob) - 2 / 3.0) < 1e-9);
    assert_int_equal(c->places[1].n, 2); /* 9, 10: behind "1" only "0" is allowed of what is listed */
    assert_true(fabs(infer_place_mean(&c->places[1]) - (10 * .75 + 9 * .25)) < 1e-6);
    /* of the first place .182 of all went elsewhere and .067 are not known: 7 digits and more behind "1" may have it */
    assert_true(c->places[0].rest > 0.05 && c->places[0].rest < 0.1);
    infer_output_free(&out);

    /* NaN, or tokens that are not the text: no distribution, the text stays */
    static const char *const LIES[] = {
        "{\"content\":[" TOKEN("Total: A 7, B 10", "NaN", TOP("x", "-1")) "]}",
        "{\"content\":[" TOKEN("Total: A 7, B 9", "-1", TOP("x", "-1")) "]}",
        "{\"content\":[" TOKEN("Total: A 7, B 10", "-1", TOP("x", "3")) "]}",
        "{\"content\":[" TOKEN("Total: A 7, B 10", "-1", TOP("x", "-0.1") "," TOP("y", "-0.1")) "]}",
        "{\"content\":7}",
        "[]",
        "\"x\""};
    for (size_t i = 0; i < sizeof LIES / sizeof *LIES; i++) {
        f.logprobs = LIES[i];
        out = run(e, &r);
        assert_text(&out.chains[0], "Total: A 7, B 10");
        assert_int_equal(out.chains[0].n_place, 0);
        assert_true(isnan(out.chains[0].logprobs[0]));
        infer_output_free(&out);
    }
    pgr_engine_free(e);
    server_stop(f.s);
}

/* Answers that are none: an error that names the address and the member, after all tries (which another address might
 * have served). */
static void test_lies(void **state) {
    (void)state;
    static const struct {
        const char *raw, *said;
    } LIES[] = {
        {"", "127.0.0.1"},
        {"{\"choices\":[", "127.0.0.1"},
        {"[1]", "expected an object"},
        {"{}", "choices is nothing, expected an array"},
        {"{\"choices\":[]}", "found 0 choices, expected 1 to 2"},
        {"{\"choices\":[{},{},{}]}", "found 3 choices, expected 1 to 2"},
        {"{\"choices\":[7]}", "choices[0] is an integer, expected an object"},
        {"{\"choices\":[{\"index\":2}]}", "choices[0].index is 2, expected 0 to 1"},
        {"{\"choices\":[{\"index\":\"a\"}]}", "choices[0].index is a string"},
        {"{\"choices\":[{\"message\":{\"content\":5}}]}",
         "choices[0].message.content is an integer, expected a string"},
        {"{\"choices\":[{\"message\":{\"content\":\"a\"}}]}", "choices[0].finish_reason is nothing"},
        {"{\"choices\":[{\"index\":0,\"text\":\"a\",\"finish_reason\":\"stop\"},{\"index\":0,\"text\":\"a\","
         "\"finish_reason\":\"stop\"}]}",
         "as of another choice"},
    };
    chat_server f = {.texts = {"a"}, .n = 1};
    chat_begin(&f, "someone");
    pgr_engine *e = connect_to(f.url, NULL);
    for (size_t i = 0; i < sizeof LIES / sizeof *LIES; i++) {
        arena a = {0};
        json_t *root = NULL;
        answer got;
        pgr_error err = {0};
        assert_int_equal(
            answer_read(LIES[i].raw, strlen(LIES[i].raw), "http://127.0.0.1/v1", 2, 40, &a, &root, &got, &err),
            PGR_E_FORMAT);
        if (!strstr(err.message, LIES[i].said)) fail_msg("%s", err.message);
        json_decref(root);
        arena_free(&a);
    }
    /* a refusal to write: that chain has failed, and where all have, so has the request */
    f.raw =
        "{\"choices\":[{\"message\":{\"content\":null},\"finish_reason\":\"content_filter\"},{\"index\":1,\"message\":"
        "{\"content\":\"fine\"},\"finish_reason\":\"stop\"}]}";
    infer_request r = request(2);
    infer_output out = run(e, &r);
    assert_int_equal(out.chains[0].finish, PGR_FINISH_FAILED);
    assert_string_equal(out.chains[0].why, "content_filter");
    assert_text(&out.chains[1], "fine");
    infer_output_free(&out);
    /* more tokens read than the request has bytes: its counts are not believed, and nobody makes room for them */
    f.raw =
        "{\"choices\":[{\"message\":{\"content\":\"fine\"},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":"
        "60000000,\"completion_tokens\":41,\"prompt_tokens_details\":{\"cached_tokens\":60000000}}}";
    r = request(1);
    out = run(e, &r);
    assert_text(&out.chains[0], "fine");
    if (out.prompt_tokens > 2048) fail_msg("%zu tokens read", out.prompt_tokens);
    assert_int_equal(out.cached_tokens, 0);
    infer_output_free(&out);
    pgr_engine_free(e);
    server_stop(f.s);
}

/* A budget: what would go beyond it fails with a word of it, what came before stays. */
static void test_budget(void **state) {
    (void)state;
    chat_server f = {.one_choice = true, .texts = {"a"}, .n = 1};
    chat_begin(&f, "someone");
    pgr_remote_options o = pgr_remote_options_default();
    o.max_tokens = 260; /* the probe's 14, then requests of 11 + 3, each of which may need 40 and its prompt */
    o.jobs = 1;
    pgr_engine *e = connect_to(f.url, &o);
    infer_request r = request(40);
    infer_output out = run(e, &r);
    size_t good = 0;
    for (size_t i = 0; i < out.n_chain; i++)
        if (out.chains[i].finish == PGR_FINISH_STOP)
            good++;
        else
            assert_non_null(strstr(out.chains[i].why, "a budget of 260 tokens"));
    assert_true(good > 5 && good < 19);
    assert_int_equal(out.chains[0].finish, PGR_FINISH_STOP); /* the first ones first */
    infer_output_free(&out);
    pgr_error err = {0};
    assert_int_equal(infer_run(e, &r, 1, NULL, &out, &err), PGR_E_REMOTE);
    assert_non_null(strstr(err.message, "a budget of 260 tokens"));
    pgr_engine_free(e);
    server_stop(f.s);
}

/* A server that hangs: the deadline hands over what is there, a cancel ends at once. */
static void test_deadline(void **state) {
    (void)state;
    chat_server f = {.texts = {"a", "b"}, .n = 2};
    hub_route *slow = chat_begin(&f, "someone");
    pgr_remote_options o = pgr_remote_options_default();
    pgr_engine *e = connect_to(f.url, &o);
    infer_request r = request(3);
    r.deadline_s = 0.4;
    slow->faults = 1; /* one of three */
    slow->silent = false;
    slow->cut = 0;
    slow->stall_ms = 900;
    double start = clock_now();
    infer_output out = run(e, &r);
    assert_true(clock_now() - start >= 0.4);
    size_t late = 0;
    for (size_t i = 0; i < 3; i++) late += out.chains[i].finish == PGR_FINISH_DEADLINE;
    assert_int_equal(late, 1);
    infer_output_free(&out);

    pgr_cancel cancel = 1;
    pgr_error err = {0};
    r.deadline_s = 0;
    r.cancel = &cancel;
    assert_int_equal(infer_run(e, &r, 1, NULL, &out, &err), PGR_E_CANCELLED);
    pgr_engine_free(e);
    server_stop(f.s);
}

/* A server of our own is told the deadline and gives what it has: all chains in one request, and those that it had to
 * cut are late, not short. A chain that ended at a stop text "deadline" is whole. */
static void test_told_deadline(void **state) {
    (void)state;
    static const char RAW[] = "{\"choices\":[{\"index\":0,\"message\":{\"content\":\"a\"},\"finish_reason\":\"stop\","
                              "\"stop_reason\":\"deadline\"},{\"index\":1,\"message\":{\"content\":\"b\"},"
                              "\"finish_reason\":\"length\",\"stop_reason\":\"deadline\"}]}";
    chat_server f = {.texts = {"a"}, .n = 1};
    chat_begin(&f, "pgenrm");
    pgr_engine *e = connect_to(f.url, NULL);
    infer_request r = request(2);
    r.deadline_s = 30;
    f.raw = RAW;
    infer_output out = run(e, &r);
    assert_int_equal(f.n_asked, 1);
    assert_int_equal(out.chains[0].finish, PGR_FINISH_STOP);
    assert_int_equal(out.chains[1].finish, PGR_FINISH_DEADLINE);
    json_t *last = json_loads(f.last, 0, NULL);
    double told = json_number_value(json_object_get(last, "deadline_s"));
    assert_true(told > 0 && told < 30);
    assert_int_equal(json_integer_value(json_object_get(last, "n")), 2);
    json_decref(last);
    infer_output_free(&out);
    pgr_engine_free(e);
    server_stop(f.s);
}

/* Two addresses, one of which dies: all chains come from the other one. A third with another model is an error. */
static void test_addresses(void **state) {
    (void)state;
    chat_server f[2] = {{.texts = {"left"}, .n = 1}, {.texts = {"right"}, .n = 1}}, other = {.texts = {""}, .n = 1};
    char both[200];
    for (int i = 0; i < 2; i++) chat_begin(&f[i], "someone");
    snprintf(both, sizeof both, "%s,%s", f[0].url, f[1].url);
    pgr_engine *e = connect_to(both, NULL);
    infer_request r = request(1);
    infer_ticket ticket;
    enum { N = 12 };
    for (uint32_t i = 0; i < N; i++) {
        r.id = i;
        assert_int_equal(engine_submit(e, &r, &ticket, NULL), PGR_OK);
        if (i == 5) engine_step(e);
        if (i == 5) server_stop(f[0].s);
    }
    while (engine_step(e)) {}
    size_t n = 0, right = 0;
    for (infer_event event; engine_take(e, NULL, &event); n++) {
        assert_int_equal(event.result->error.status, PGR_OK);
        right += event.result->chains[0].text.n == 5;
        infer_result_free(event.result);
    }
    assert_int_equal(n, N);
    assert_true(right >= N - 6);
    pgr_engine_free(e);

    chat_begin(&other, "someone");
    strcpy(other.models, "{\"data\":[{\"id\":\"quite another\"}]}");
    server_route(other.s, MODELS, other.models, strlen(other.models));
    snprintf(both, sizeof both, "%s,%s", f[1].url, other.url);
    pgr_error err = {0};
    assert_int_equal(pgr_engine_connect(&(pgr_remote_options){.urls = both, .model = "m", .jobs = 1}, &e, &err),
                     PGR_E_ARG);
    assert_non_null(strstr(err.message, "found model quite another, expected m"));
    server_stop(other.s);
    server_stop(f[1].s);
}

/* What a remote engine cannot do says so; a prompt that is too long too, where tokens are counted. */
static void test_refusals(void **state) {
    (void)state;
    chat_server f = {.texts = {"a"}, .n = 1};
    chat_begin(&f, "someone");
    pgr_engine *e = connect_to(f.url, NULL);
    infer_ticket ticket;
    infer_request r = request(1);
    pgr_error err = {0};
    ids tokens = {0};
    infer_slot slot = {.choices = (const char *const[]){"a", "b"}, .n_choice = 2};
    infer_slot_tokens slots;
    float p;
    r.messages = NULL;
    r.text = "raw", r.n_text = 3;
    assert_int_equal(engine_submit(e, &r, &ticket, &err), PGR_E_UNSUPPORTED);
    r = request(0);
    r.slots = &slot, r.n_slot = 1;
    assert_int_equal(engine_submit(e, &r, &ticket, &err), PGR_E_UNSUPPORTED);
    assert_int_equal(engine_slots_tokens(e, &QUESTION, 1, &slot, 1, &slots, &err), PGR_E_UNSUPPORTED);
    assert_int_equal(engine_tokens(e, "a", 1, 0, &tokens, &err), PGR_E_UNSUPPORTED);
    assert_int_equal(infer_logprobs(e, (int32_t[]){1, 2}, 2, NULL, &p, &err), PGR_E_UNSUPPORTED);
    r = request(1);
    r.grammar = "root ::= <end>", r.n_grammar = 14;
    assert_int_equal(engine_submit(e, &r, &ticket, &err), PGR_E_UNSUPPORTED);
    assert_non_null(strstr(err.message, "names tokens of the vocabulary"));
    pgr_engine_free(e);
    server_stop(f.s);
    assert_int_equal(pgr_engine_connect(&(pgr_remote_options){.urls = f.url, .jobs = 1, .timeout_s = 0.1}, &e, &err),
                     PGR_E_IO); /* it is down */
}

/* ---- tokens ---- */

static char *answer_tokens(void *ctx, const char *posted, size_t n, int *status) {
    (void)ctx, (void)status;
    json_t *v = json_loadb(posted, n, 0, NULL);
    size_t length = json_string_length(json_object_get(v, "prompt"));
    buf b = {0};
    buf_puts(&b, "{\"tokens\":[1"); /* one that is always there */
    for (size_t i = 0; i + 1 < length + 1; i += 2) buf_printf(&b, ",%zu", 100 + i);
    buf_puts(&b, "]}");
    json_decref(v);
    return chat_hand_out(&b);
}

/* Two bytes a token, of the one text that this test asks about. */
static const char *WHOLE = "two words";

static char *answer_text(void *ctx, const char *posted, size_t n, int *status) {
    (void)ctx, (void)status;
    json_t *v = json_loadb(posted, n, 0, NULL);
    size_t k = 2 * (json_array_size(json_object_get(v, "tokens")) - 1), most = strlen(WHOLE);
    buf b = {0}, part = {0};
    buf_add(&part, WHOLE, k < most ? k : most);
    buf_puts(&b, "{\"content\":");
    json_put_string(&b, part.data, part.n);
    buf_putc(&b, '}');
    buf_free(&part);
    json_decref(v);
    return chat_hand_out(&b);
}

static void test_tokens(void **state) {
    (void)state;
    chat_server f = {.texts = {"a"}, .n = 1};
    size_t n = 0;
    buf out = {0};
    pgr_error err = {0};
    chat_begin(&f, "someone");
    server_route(f.s, "/tokenize", "", 0)->make = answer_tokens;
    server_route(f.s, "/detokenize", "", 0)->make = answer_text;
    pgr_engine *e = connect_to(f.url, NULL);
    assert_int_equal(engine_count(e, "12345678", 8, &n, &err), PGR_OK);
    assert_int_equal(n, 4);
    size_t asked = server_asked(f.s, "/tokenize", NULL);
    assert_int_equal(engine_count(e, "12345678", 8, &n, &err), PGR_OK);
    assert_int_equal(server_asked(f.s, "/tokenize", NULL), asked); /* it is remembered */
    WHOLE = "a\xC3\xA9z\xC3\xA9";
    assert_int_equal(engine_clip(e, WHOLE, strlen(WHOLE), 1, &out, &err), PGR_OK);
    assert_string_equal(out.data, "a"); /* half of a character is none */
    buf_clear(&out);
    assert_int_equal(engine_clip(e, WHOLE, strlen(WHOLE), 3, &out, &err), PGR_OK);
    assert_string_equal(out.data, WHOLE);
    WHOLE = "two words";
    buf_free(&out);
    pgr_engine_free(e);
    server_stop(f.s);
}

/* Estimates are no less than what the default model's tokenizer gives for 600 lines, and not so much more that a prompt
 * would be cut for nothing. */
static void test_estimate(void **state) {
    (void)state;
    buf lines = {0}, golden = {0};
    json_t *root = NULL, *ids;
    pgr_error err = {0};
    size_t all = 0, estimated = 0, i = 0;
    if (file_read(PGR_SOURCE_DIR "/tests/golden/tokenizer/lines.jsonl", &lines, &err) != PGR_OK
        || file_read(PGR_SOURCE_DIR "/tests/golden/tokenizer/default.json", &golden, &err) != PGR_OK
        || json_parse(golden.data, golden.n, "default.json", 1, &root, &err) != PGR_OK)
        fail_msg("%s", err.message);
    ids = json_object_get(root, "ids");
    for (char *line = lines.data, *end; i < json_array_size(ids); line = end + 1, i++) {
        end = strchr(line, '\n');
        json_t *text = json_loadb(line, (size_t)(end - line), JSON_DECODE_ANY, NULL);
        size_t n = json_array_size(json_array_get(ids, i));
        size_t guess = remote_estimate(json_string_value(text), json_string_length(text));
        if (guess < n) fail_msg("line %zu: %zu tokens, estimated %zu", i + 1, n, guess);
        all += n;
        estimated += guess;
        json_decref(text);
    }
    assert_int_equal(i, 600);
    assert_true(estimated < 1.6 * (double)all);
    json_decref(root);
    buf_free(&lines);
    buf_free(&golden);
}

/* ---- memory ---- */

static pgr_engine *ENGINE;

/* Without a word to the server. */
static bool submit_and_cancel(void) {
    infer_ticket ticket;
    infer_request r = request(3);
    r.grammar = SCORES;
    r.n_grammar = strlen(SCORES);
    r.trigger = "<GO>";
    r.stop = (const char *const[]){"end"};
    r.n_stop = 1;
    r.stream = true;
    if (engine_submit(ENGINE, &r, &ticket, NULL) != PGR_OK) return false;
    engine_cancel(ENGINE, ticket);
    return true;
}

static void test_memory(void **state) {
    (void)state;
    chat_server f = {.texts = {"a"}, .n = 1};
    chat_begin(&f, "someone");
    ENGINE = connect_to(f.url, NULL);
    assert_true(submit_and_cancel()); /* the grammar is compiled and kept */
    fail_allocations(submit_and_cancel, 1);
    pgr_engine_free(ENGINE);
    server_stop(f.s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_chains),
        cmocka_unit_test(test_less),
        cmocka_unit_test(test_grammar),
        cmocka_unit_test(test_undone_defaults),
        cmocka_unit_test(test_adapter_context),
        cmocka_unit_test(test_holes),
        cmocka_unit_test(test_trigger),
        cmocka_unit_test(test_places),
        cmocka_unit_test(test_lies),
        cmocka_unit_test(test_budget),
        cmocka_unit_test(test_deadline),
        cmocka_unit_test(test_told_deadline),
        cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_tokens),
        cmocka_unit_test(test_estimate),
        cmocka_unit_test(test_memory),
    };
    json_setup();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
