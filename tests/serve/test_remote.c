/* test_remote.c - a server whose model is behind the address of another one: of our own (which judges and writes as it
 * does itself), and of one that hangs, cuts, lies, refuses and is down: then what is there by the deadline is the
 * answer, or an error says what was found, but never a score that no chain gave. */
#include <math.h>

#include "../net/chat_server.h"
#include "people_fixture.h"

static json_t *post(const live *l, const char *path, const char *body, int status) {
    return answer(ask(l, "POST", path, body), status);
}

/* An engine at the address, and a server in front of it. */
static void start_in_front(live *l, const char *url, const char *tokenizer, const char *frame, pgr_people *people) {
    pgr_serve_options o = live_options();
    pgr_remote_options how = pgr_remote_options_default();
    pgr_error err = {0};
    how.urls = url;
    how.tokenizer = tokenizer;
    how.count_s = 0.3;
    o.deadline_s = 300; /* of those that name none: nothing fails for a slow machine */
    JUDGE.frame = frame;
    live_listen(l, &o);
    l->what = (pgr_serving){.store = STORE, .people = people, .protos = PROTOS, .judge = &JUDGE};
    l->what.embedder_away = true;
    if (pgr_engine_connect(&how, &l->what.engine, &err) != PGR_OK
        || pgr_embedder_open(url, NULL, &l->what.embedder, &err) != PGR_OK)
        fail_msg("%s", err.message);
    live_start(l);
}

static void stop_in_front(live *l) {
    live_stop(l);
    pgr_engine_free(l->what.engine);
    pgr_embedder_close(l->what.embedder);
}

/* ---- two servers of ours in a row ---- */

#define BERT PGR_SOURCE_DIR "/tests/golden/hf-tiny-bert"

static live INNER, OUTER;
static char URL[60];
static pgr_embedder *EMBEDDER;

static int begin_two(void **state) {
    if (people_begin(state) != 0) return -1;
    pgr_serve_options o = live_options();
    pgr_error err = {0};
    o.deadline_s = 300;
    live_listen(&INNER, &o);
    if (pgr_embedder_open(BERT, NULL, &EMBEDDER, &err) != PGR_OK) fail_msg("%s", err.message);
    INNER.what.embedder = EMBEDDER;
    live_start(&INNER);
    snprintf(URL, sizeof URL, "http://127.0.0.1:%d/v1", INNER.port);
    start_in_front(&OUTER, URL, TINY, MINI, PEOPLE);
    return 0;
}

static int end_two(void **state) {
    stop_in_front(&OUTER);
    live_stop(&INNER);
    pgr_embedder_close(EMBEDDER);
    return people_end(state);
}

static double score_of(const json_t *v, size_t i) {
    return json_number_value(json_object_get(json_array_get(json_object_get(v, "responses"), i), "score"));
}

static json_int_t parsed_of(const json_t *v) {
    json_t *own = json_object_get(json_object_get(v, "chains"), "ind");
    return json_integer_value(json_object_get(own, "parsed"));
}

#define PROMPT "<|im_start|>user\\nQ<|im_end|>\\n<|im_start|>assistant\\n"
#define OSLO   "\"query\": \"Where is Oslo?\", \"responses\": [\"In Norway.\", \"North\"]"

/* An engine as a library has one. */
static pgr_engine *connect_to_inner(void) {
    pgr_remote_options how = pgr_remote_options_default();
    pgr_engine *e = NULL;
    pgr_error err = {0};
    how.urls = URL;
    how.tokenizer = TINY;
    if (pgr_engine_connect(&how, &e, &err) != PGR_OK) fail_msg("%s", err.message);
    if (engine_about(e)->no_slots) fail_msg("%s", engine_about(e)->no_slots);
    return e;
}

/* What a library says that asks the inner server itself, to the last digit: the same seeds, the same chains. */
static void judges_as_the_library(void **state) {
    (void)state;
    static const char request[] = "{\"id\": \"x\", \"user\": {\"id\": \"acme:u9\", \"history\": [{\"query\": \"q?\", "
                                  "\"chosen\": \"a\", \"rejected\": \"b\"}]}, " OSLO ", \"ind\": 6, \"seed\": 3}";
    json_t *v = post(&OUTER, "/v1/personal/score", request, 200);
    pgr_engine *e = connect_to_inner();
    json_t *own = library_says(e, &JUDGE, request);
    static const char *const same[] = {"id", "best", "responses", "chains", "persona", "criteria"};
    assert_same_values(v, own, same, sizeof same / sizeof *same);
    assert_int_equal(parsed_of(v), 6); /* the inner one keeps to the grammar */
    json_decref(v);
    json_decref(own);
    pgr_engine_free(e);
}

/* ---- slots ---- */

static pgr_engine *engine_here(void) {
    pgr_engine *e = NULL;
    pgr_error err = {0};
    if (pgr_engine_create(MODEL, NULL, &e, &err) != PGR_OK) fail_msg("%s", err.message);
    return e;
}

static infer_output run_on(pgr_engine *e, const infer_request *q) {
    infer_output out;
    pgr_error err = {0};
    if (infer_run(e, q, 1, NULL, &out, &err) != PGR_OK) fail_msg("%s", err.message);
    return out;
}

/* Readings through a server are those of an engine here, to the bit, for choices of one token and of several. */
static void reads_slots_as_an_engine_here(void **state) {
    (void)state;
    static const char TEXT[] = "A: Ten minutes.\nScore:\nB: Rice is a grain.\nScore:\nThis user likes";
    static const char *const DIGITS[] = {"1", "2", "3", "4", "5", "6", "7", "8", "9"};
    static const char *const WORDS[] = {" long", " short", " lists", " prose", " formal"};
    const infer_message m[] = {{"system", "You judge answers.", 18}, {"user", TEXT, sizeof TEXT - 1}};
    const infer_slot slots[] = {{1, 22, DIGITS, 9}, {1, 49, DIGITS, 9}, {1, sizeof TEXT - 1, WORDS, 5}};
    const infer_request q = {.messages = m, .n_message = 2, .slots = slots, .n_slot = 3};
    pgr_engine *here = engine_here(), *there = connect_to_inner();
    infer_output a = run_on(here, &q), b = run_on(there, &q);
    assert_int_equal(a.results[0]->n_reading, 3);
    assert_int_equal(b.results[0]->n_reading, 3);
    for (size_t i = 0; i < 3; i++) {
        const infer_reading *x = &a.results[0]->readings[i], *y = &b.results[0]->readings[i];
        assert_int_equal(x->n_choice, y->n_choice);
        assert_memory_equal(x->logprobs, y->logprobs, x->n_choice * sizeof *x->logprobs);
        assert_memory_equal(&x->mass, &y->mass, sizeof x->mass);
    }
    infer_output_free(&a);
    infer_output_free(&b);
    pgr_engine_free(here);
    pgr_engine_free(there);
}

/* A request that is judged with the frame of slots. */
static json_t *judge_slots(pgr_engine *e, const char *request) {
    pgr_judge_options o = pgr_judge_options_default();
    o.frame = "compact";
    return library_says(e, &o, request);
}

static void assert_same_verdict(const json_t *a, const json_t *b) {
    static const char *const same[] = {"id",       "frame",      "best", "responses", "chains", "persona",
                                       "criteria", "confidence", "lead", "lead_se",   "agree",  "history_shown"};
    assert_same_values(a, b, same, sizeof same / sizeof *same);
}

/* Verdicts of the frame that reads slots: by an engine here, by one behind an address, and by a server in front of it
 * are the same to the last digit. */
static void judges_slots_as_an_engine_here(void **state) {
    (void)state;
    static const char request[] =
        "{\"id\": \"x\", \"user\": {\"id\": \"acme:u9\", \"history\": [{\"query\": \"q?\", "
        "\"chosen\": \"a short one\", \"rejected\": \"one that is much longer, as one says\"}]}, " OSLO
        ", \"ind\": 4, \"seed\": 3}";
    pgr_engine *here = engine_here(), *there = connect_to_inner();
    json_t *a = judge_slots(here, request), *b = judge_slots(there, request);
    assert_same_verdict(a, b);
    assert_true(score_of(a, 0) >= 1 && score_of(a, 0) <= 10);
    static live front;
    start_in_front(&front, URL, TINY, "compact", PEOPLE);
    json_t *c = post(&front, "/v1/personal/score", request, 200);
    assert_same_verdict(a, c);
    stop_in_front(&front);
    JUDGE.frame = MINI;
    json_decref(a);
    json_decref(b);
    json_decref(c);
    pgr_engine_free(here);
    pgr_engine_free(there);
}

/* Users of the store, similar ones, and what trainers ask. */
static void answers_trainers(void **state) {
    (void)state;
    static const char *const asked[][2] = {
        {"/v1/personal/score", "{\"user\": \"acme:u1\", " OSLO ", \"ind\": 2, \"pro\": 2}"},
        {"/get_reward", "{\"query\": [\"" PROMPT "A<|im_end|>\"], \"prompts\": [\"" PROMPT "\"], \"labels\": "
                        "[{\"user\": \"acme:u1\", \"anchor\": \"North\", \"ind\": 2}]}"},
    };
    for (size_t i = 0; i < sizeof asked / sizeof *asked; i++) json_decref(post(&OUTER, asked[i][0], asked[i][1], 200));
    json_t *v = post(&OUTER, "/v1/personal/score", asked[0][1], 200);
    assert_true(json_array_size(json_object_get(v, "neighbours")) > 0);
    assert_true(score_of(v, 0) >= 1 && score_of(v, 0) <= 10);
    json_decref(v);
}

#define GREEDY "\"temperature\": 0, \"max_tokens\": 6"
#define HELLO  "\"messages\": [{\"role\": \"user\", \"content\": \"Hello\"}]"

static json_t *choices_at(const live *l, const char *path, const char *body) {
    json_t *v = post(l, path, body, 200), *out = json_incref(json_object_get(v, "choices"));
    json_decref(v);
    return out;
}

/* Where nothing is drawn the text is that of the inner server; of a schema it is what the schema allows. */
static void writes_as_the_inner_one(void **state) {
    (void)state;
    static const char *const asked[][2] = {
        {"/v1/chat/completions", "{" HELLO ", " GREEDY ", \"n\": 2}"},
        {"/v1/chat/completions", "{" HELLO ", " GREEDY ", \"stop\": [\"e\"]}"},
        {"/v1/completions", "{\"prompt\": \"Once upon\", " GREEDY "}"},
        {"/v1/completions", "{\"prompt\": [\"Once\", \"Twice\"], " GREEDY ", \"echo\": true}"},
    };
    for (size_t i = 0; i < sizeof asked / sizeof *asked; i++) {
        json_t *own = choices_at(&OUTER, asked[i][0], asked[i][1]), *its = choices_at(&INNER, asked[i][0], asked[i][1]);
        if (!json_equal(own, its)) fail_msg("%s %s", asked[i][0], asked[i][1]);
        json_decref(own);
        json_decref(its);
    }
    json_t *v =
        choices_at(&OUTER, "/v1/chat/completions",
                   "{" HELLO ", \"seed\": 4, \"max_tokens\": 60, \"response_format\": {\"type\": \"json_schema\", "
                   "\"json_schema\": {\"name\": \"s\", \"schema\": {\"type\": \"object\", \"required\": [\"n\"], "
                   "\"properties\": {\"n\": {\"type\": \"integer\", \"minimum\": 1, \"maximum\": 9}}}}}}");
    json_t *message = json_object_get(json_array_get(v, 0), "message");
    json_t *object = json_loads(json_string_value(json_object_get(message, "content")), 0, NULL);
    json_int_t n = json_integer_value(json_object_get(object, "n"));
    assert_true(n >= 1 && n <= 9);
    json_decref(object);
    json_decref(v);
}

/* A stream has every choice as one piece at least, its end, and its own. */
static void streams(void **state) {
    (void)state;
    json_t *own = choices_at(&OUTER, "/v1/chat/completions", "{" HELLO ", " GREEDY "}");
    const char *whole =
        json_string_value(json_object_get(json_object_get(json_array_get(own, 0), "message"), "content"));
    reply r = ask(&OUTER, "POST", "/v1/chat/completions", "{" HELLO ", " GREEDY ", \"stream\": true}");
    buf text = {0};
    assert_int_equal(r.status, 200);
    buf_putc(&r.body, '\0');
    for (char *line = r.body.data; (line = strstr(line, "data: {")); line++) {
        json_t *v = json_loads(line + 6, JSON_DISABLE_EOF_CHECK | JSON_ALLOW_NUL, NULL);
        json_t *delta = json_object_get(json_array_get(json_object_get(v, "choices"), 0), "delta");
        const json_t *piece = json_object_get(delta, "content");
        if (piece) buf_add(&text, json_string_value(piece), json_string_length(piece));
        json_decref(v);
    }
    buf_putc(&text, '\0');
    assert_string_equal(text.data, whole);
    assert_non_null(strstr(r.body.data, "data: [DONE]"));
    buf_free(&text);
    reply_free(&r);
    json_decref(own);
}

static void says_what_it_is(void **state) {
    (void)state;
    json_t *v = answer(ask(&OUTER, "GET", "/v1/models", NULL), 200);
    json_t *first = json_array_get(json_object_get(v, "data"), 0);
    assert_string_equal(json_string_value(json_object_get(first, "id")), "tiny");
    json_decref(v);
    expect(ask(&OUTER, "GET", "/health", NULL), 200);
    reply r = ask(&OUTER, "GET", "/metrics", NULL);
    assert_non_null(strstr(r.body.data, "\npgenrm_prompt_tokens_total "));
    expect(r, 200);
}

/* What needs the model itself is said to be elsewhere; nothing of it is asked of the inner server. */
static void what_is_not_to_be_had(void **state) {
    (void)state;
    static const char *const asked[][2] = {
        {"/v1/chat/completions", "{" HELLO ", \"logprobs\": true}"},
        {"/v1/completions", "{\"prompt\": \"a\", \"logprobs\": 2}"},
        {"/v1/completions", "{\"prompt\": [1, 2]}"},
        {"/v1/load_lora_adapter", "{\"lora_name\": \"a\", \"lora_path\": \"b\"}"},
        {"/v1/unload_lora_adapter", "{\"lora_name\": \"a\"}"},
    };
    for (size_t i = 0; i < sizeof asked / sizeof *asked; i++)
        expect_error(ask(&OUTER, "POST", asked[i][0], asked[i][1]), 501, "remote_cannot");
}

/* ---- tokens and labels ---- */

static void tokens_are_the_inner_ones(void **state) {
    (void)state;
    static const char *const asked[][2] = {
        {"/tokenize", "{\"prompt\": \"Is it so, or not?\"}"},
        {"/tokenize", "{\"prompt\": \"Is it\", \"add_special_tokens\": false}"},
        {"/detokenize", "{\"tokens\": [40, 41, 300]}"},
        {"/detokenize", "{\"tokens\": []}"},
    };
    for (size_t i = 0; i < sizeof asked / sizeof *asked; i++) {
        json_t *own = post(&OUTER, asked[i][0], asked[i][1], 200), *its = post(&INNER, asked[i][0], asked[i][1], 200);
        assert_true(json_equal(own, its));
        json_decref(own);
        json_decref(its);
    }
    expect_error(ask(&OUTER, "POST", "/detokenize", "{\"tokens\": [99999999]}"), 400, NULL);
}

/* Labels are scored through the inner server as it does itself, to the last digit. */
static void labels_are_scored_as_by_the_inner_one(void **state) {
    (void)state;
    static const char labels[] = "\"query\": \"Is it\", \"items\": [\" so\", \" not\", \"\"], "
                                 "\"label_token_ids\": [40, 41, 42]";
    static const char *const asked[][3] = {{"/generative_scoring", "", "data"},
                                           {"/generative_scoring", ", \"apply_softmax\": false", "data"},
                                           {"/generative_scoring", ", \"item_first\": true", "data"},
                                           {"/v1/score", "", "scores"},
                                           {"/v1/score", ", \"apply_softmax\": true", "scores"}};
    for (size_t i = 0; i < sizeof asked / sizeof *asked; i++) {
        char body[200];
        const char *const same[] = {asked[i][2], "usage", "object"};
        snprintf(body, sizeof body, "{%s%s}", labels, asked[i][1]);
        json_t *own = post(&OUTER, asked[i][0], body, 200), *its = post(&INNER, asked[i][0], body, 200);
        assert_int_equal(json_array_size(json_object_get(own, asked[i][2])), 3);
        assert_same_values(own, its, same, 3);
        json_decref(own);
        json_decref(its);
    }
    static const char *const wrong[] = {"[]", "[40, 40]", "[40, 99999999]", "[40, \"a\"]"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        char body[120];
        snprintf(body, sizeof body, "{\"query\": \"a\", \"items\": [\"b\"], \"label_token_ids\": %s}", wrong[i]);
        expect_error(ask(&OUTER, "POST", "/generative_scoring", body), 400, NULL);
    }
}

static double embedding_at(const live *l, size_t k) {
    json_t *v = post(l, "/v1/embeddings", "{\"input\": \"two dogs\"}", 200);
    json_t *list = json_object_get(json_array_get(json_object_get(v, "data"), 0), "embedding");
    double x = json_number_value(json_array_get(list, k));
    json_decref(v);
    return x;
}

/* Vectors of another server: the same, but for being scaled to length 1 once more in floats (each product and the sum
 * round by 2^-24 of values that are at most 1). */
static void embeds_as_the_inner_one(void **state) {
    (void)state;
    for (size_t k = 0; k < 4; k++) {
        double own = embedding_at(&OUTER, k), its = embedding_at(&INNER, k);
        if (!(fabs(own - its) <= 0x1p-22)) fail_msg("%.9g, expected %.9g", own, its);
    }
}

/* ---- a server that is not what it should be ---- */

static const char VECTOR[] = "{\"data\":[{\"index\":0,\"embedding\":[0.6,0.8]}]}";

#define EMBED "{\"input\": \"a\", \"deadline_s\": 0.3}"
#define SCORE "{" OSLO ", \"ind\": 4, \"seed\": 1, \"deadline_s\": 1.5}"
#define CHAT  "{" HELLO ", \"deadline_s\": 1.5}"

typedef struct front {
    chat_server chat;
    hub_route *route, *vectors;
    live l;
} front;

/* The model is called m, and writes chains that the frame reads. */
static void begin_front(front *f) {
    f->chat = (chat_server){.texts = {"Total: A 7, B 4"}, .n = 1};
    f->route = chat_begin(&f->chat, "someone");
    f->vectors = server_route(f->chat.s, "/v1/embeddings", VECTOR, strlen(VECTOR));
    start_in_front(&f->l, f->chat.url, NULL, "judge", NULL);
}

static void end_front(front *f, bool stopped) {
    stop_in_front(&f->l);
    if (!stopped) server_stop(f->chat.s);
}

static void a_server_that_is_well(void **state) {
    (void)state;
    front f;
    begin_front(&f);
    json_t *v = post(&f.l, "/v1/personal/score", SCORE, 200);
    assert_true(score_of(v, 0) == 7
                || score_of(v, 0) == 5.5); /* 5.5: half of the chains saw them the other way round */
    json_decref(v);
    v = post(&f.l, "/v1/chat/completions", "{" HELLO ", \"n\": 3}", 200);
    assert_int_equal(json_array_size(json_object_get(v, "choices")), 3);
    json_decref(v);
    /* one that keeps to no grammar */
    expect_error(
        ask(&f.l, "POST", "/v1/chat/completions", "{" HELLO ", \"response_format\": {\"type\": \"json_object\"}}"), 501,
        "remote_cannot");
    end_front(&f, false);
}

static void expect_501(const live *l, const char *path, const char *body, const char *why) {
    reply r = ask(l, "POST", path, body);
    if (!r.body.data || !strstr(r.body.data, why)) fail_msg("%s, expected %s", r.body.data ? r.body.data : "", why);
    expect_error(r, 501, "remote_cannot");
}

/* It gives nobody the log-probabilities that are asked for; its tokens are not known but by files of its model. */
static void one_that_tells_no_tokens(void **state) {
    (void)state;
    static const char labels[] = "{\"query\": \"a\", \"items\": [\"b\"], \"label_token_ids\": [40, 41]}";
    front f;
    live l;
    begin_front(&f);
    expect_501(&f.l, "/generative_scoring", labels, "--remote-tokenizer");
    expect_501(&f.l, "/v1/score", labels, "--remote-tokenizer");
    expect_501(&f.l, "/tokenize", "{\"prompt\": \"a\"}", "tokenizer");
    expect_501(&f.l, "/detokenize", "{\"tokens\": [1]}", "tokenizer");
    start_in_front(&l, f.chat.url, TINY, "judge", NULL);
    expect_501(&l, "/generative_scoring", labels, "tokenize");
    json_decref(post(&l, "/tokenize", "{\"prompt\": \"a\"}", 200));
    stop_in_front(&l);
    end_front(&f, false);
}

/* Nobody else waits for vectors that do not come. */
static void one_that_does_not_embed(void **state) {
    (void)state;
    front f;
    begin_front(&f);
    f.vectors->delay_ms = 900;
    int fd = dial(&f.l);
    double start = clock_now();
    ask_on(fd, "POST", "/v1/embeddings", NULL, EMBED);
    expect_error(hear_reply(fd, false), 504, "deadline");
    expect(ask(&f.l, "POST", "/v1/personal/score", SCORE), 200);
    assert_true(clock_now() - start >= 0.3);
    close(fd);
    f.vectors->delay_ms = 0;
    f.vectors->faults = 1;
    f.vectors->fault_status = 401;
    static const char patient[] = "{\"input\": \"a\"}";
    expect_error(ask(&f.l, "POST", "/v1/embeddings", patient), 502, "remote_failed");
    expect(ask(&f.l, "POST", "/v1/embeddings", patient), 200);
    end_front(&f, false);
}

enum { N_ASKED = 3 };

/* What is asked of a server that fails: a score, a chat, a reward. */
static void ask_all(front *f, int fd[N_ASKED]) {
    static const char *const asked[N_ASKED][2] = {
        {"/v1/personal/score", SCORE},
        {"/v1/chat/completions", CHAT},
        {"/get_reward", "{\"query\": [\"" PROMPT "A<|im_end|>\"], \"prompts\": [\"" PROMPT "\"], \"labels\": "
                        "[{\"user\": {\"id\": \"u\"}, \"anchor\": \"N\", \"deadline_s\": 1.5}]}"}};
    for (size_t i = 0; i < N_ASKED; i++) {
        fd[i] = dial(&f->l);
        ask_on(fd[i], "POST", asked[i][0], NULL, asked[i][1]);
    }
}

/* No score, with the reason, or an error; to the others an error of that status. */
static void hear_all(const int fd[N_ASKED], int status, const char *code, const char *says) {
    reply r = hear_reply(fd[0], false);
    if (!strstr(r.body.data, says)) fail_msg("%d %s: expected %s", r.status, r.body.data, says);
    json_t *v = json_of(&r);
    if (r.status == 200)
        assert_true(json_is_null(json_object_get(json_array_get(json_object_get(v, "responses"), 0), "score")));
    else
        assert_int_equal(r.status, status);
    json_decref(v);
    reply_free(&r);
    for (size_t i = 1; i < N_ASKED; i++) expect_error(hear_reply(fd[i], false), status, code);
    for (size_t i = 0; i < N_ASKED; i++) close(fd[i]);
}

static void hang(front *f) {
    f->route->delay_ms = 1800;
}

static void cut(front *f) {
    f->route->faults = 1 << 20;
    f->route->cut = 5;
}

static void lie(front *f) {
    f->chat.raw = "{\"choices\":[]}";
}

static void refuse(front *f) {
    f->route->faults = 1 << 20;
    f->route->fault_status = 401;
}

static void fail_inside(front *f) {
    f->route->faults = 1 << 20;
    f->route->fault_status = 500;
}

static void die(front *f) {
    server_stop(f->chat.s);
}

/* Each in its own way, all at the same time, as they take their deadline: nobody makes up a score. */
static void those_that_fail(void **state) {
    (void)state;
    static const struct {
        void (*spoil)(front *f);
        int status;
        const char *code, *says;
    } rows[] = {{hang, 504, "deadline", "deadline"},
                {cut, 502, "remote_failed", "/v1/chat/completions: "},
                {lie, 502, "remote_failed", "found 0 choices, expected 1"},
                {refuse, 502, "remote_failed", "HTTP status 401: oops"},
                {fail_inside, 502, "remote_failed", "HTTP status 500: oops"},
                {die, 502, "remote_failed", "/v1/chat/completions: "}};
    enum { N = sizeof rows / sizeof *rows };
    front *f = calloc(N, sizeof *f);
    int fd[N][N_ASKED];
    assert_non_null(f);
    for (size_t i = 0; i < N; i++) {
        begin_front(&f[i]);
        rows[i].spoil(&f[i]);
    }
    for (size_t i = 0; i < N; i++) ask_all(&f[i], fd[i]);
    for (size_t i = 0; i < N; i++) hear_all(fd[i], rows[i].status, rows[i].code, rows[i].says);
    for (size_t i = 0; i < N; i++) end_front(&f[i], rows[i].spoil == die);
    free(f);
}

/* Answers to the one order of the responses only. */
static char *write_one_order(void *ctx, const char *posted, size_t k) {
    (void)ctx, (void)k;
    bool reversed = strstr(posted, "North") < strstr(posted, "In Norway.");
    return strdup(reversed ? "no chain" : "Total: A 7, B 4");
}

/* The chains that came are the score, and are counted. */
static void some_of_the_chains(void **state) {
    (void)state;
    front f;
    begin_front(&f);
    f.chat.write = write_one_order;
    json_t *v = post(&f.l, "/v1/personal/score", SCORE, 200);
    assert_true(score_of(v, 0) == 7);
    assert_int_equal(parsed_of(v), 2);
    json_decref(v);
    end_front(&f, false);
}

static void until_open_at(live *l, size_t n) {
    while (worker_state(l->server->worker).n_open != n) poll(NULL, 0, 2);
}

/* A client that goes takes its requests with it; what runs when the server is stopped is answered. */
static void gone_and_stopped(void **state) {
    (void)state;
    front f;
    begin_front(&f);
    f.route->delay_ms = 300;
    int fd = dial(&f.l);
    ask_on(fd, "POST", "/v1/personal/score", NULL, "{" OSLO "}");
    until_open_at(&f.l, 1);
    close(fd);
    until_open_at(&f.l, 0);
    assert_int_equal(engine_state(f.l.what.engine).n_request, 0);

    fd = dial(&f.l);
    ask_on(fd, "POST", "/v1/chat/completions", NULL, "{" HELLO "}");
    until_open_at(&f.l, 1);
    __atomic_store_n(&f.l.stop, 1, __ATOMIC_RELAXED);
    expect(hear_reply(fd, false), 200);
    close(fd);
    end_front(&f, false);
}

int main(void) {
    const struct CMUnitTest two[] = {cmocka_unit_test(judges_as_the_library),
                                     cmocka_unit_test(reads_slots_as_an_engine_here),
                                     cmocka_unit_test(judges_slots_as_an_engine_here),
                                     cmocka_unit_test(answers_trainers),
                                     cmocka_unit_test(writes_as_the_inner_one),
                                     cmocka_unit_test(streams),
                                     cmocka_unit_test(says_what_it_is),
                                     cmocka_unit_test(what_is_not_to_be_had),
                                     cmocka_unit_test(tokens_are_the_inner_ones),
                                     cmocka_unit_test(labels_are_scored_as_by_the_inner_one),
                                     cmocka_unit_test(embeds_as_the_inner_one)};
    const struct CMUnitTest bad[] = {
        cmocka_unit_test(a_server_that_is_well), cmocka_unit_test(one_that_tells_no_tokens),
        cmocka_unit_test(those_that_fail),       cmocka_unit_test(one_that_does_not_embed),
        cmocka_unit_test(some_of_the_chains),    cmocka_unit_test(gone_and_stopped)};
    json_setup();
    int failed = cmocka_run_group_tests(two, begin_two, end_two);
    return failed + cmocka_run_group_tests(bad, people_begin, people_end);
}
