/* OpenAI's routes over real connections: every required field, what a seed gives is what the engine gives, streams that
 * say what whole answers say, formats, adapters, what is refused. */
#include <math.h>

#include "live_server.h"

#include "base/base64.h"

#define LORA PGR_SOURCE_DIR "/tests/golden/lora/llama-qv"

static live L;

static int begin_all(void **state) {
    if (live_begin(state)) return 1;
    pgr_serve_options o = live_options();
    o.deadline_s = 120;
    live_listen(&L, &o);
    live_start(&L);
    return 0;
}

static int end_all(void **state) {
    live_stop(&L);
    return live_end(state);
}

static json_t *post(const char *path, const char *body) {
    reply r = ask(&L, "POST", path, body);
    if (r.status != 200) fail_msg("%s %s: %d %s", path, body, r.status, r.body.data ? r.body.data : "");
    json_t *v = json_of(&r);
    reply_free(&r);
    return v;
}

/* Walks objects by keys and lists by numbers: "choices.0.message.content". */
static json_t *at(json_t *v, const char *path) {
    char part[40];
    for (int n; *path; path += n + (path[n] == '.')) {
        n = (int)strcspn(path, ".");
        snprintf(part, sizeof part, "%.*s", n, path);
        v = json_is_array(v) ? json_array_get(v, (size_t)atoi(part)) : json_object_get(v, part);
        if (!v) fail_msg("there is no %s", path);
    }
    return v;
}

static const char *text_at(json_t *v, const char *path) {
    json_t *s = at(v, path);
    assert_true(json_is_string(s));
    return json_string_value(s);
}

#define HELLO "\"messages\":[{\"role\":\"user\",\"content\":\"Hello\"}]"

static void answers_chats(void **state) {
    (void)state;
    json_t *v = post("/v1/chat/completions",
                     "{" HELLO ",\"model\":\"tiny\",\"n\":3,\"max_tokens\":6,\"seed\":7,\"user\":\"x\"}");
    assert_string_equal(text_at(v, "object"), "chat.completion");
    assert_string_equal(text_at(v, "model"), "tiny");
    assert_true(strncmp(text_at(v, "id"), "chatcmpl-", 9) == 0);
    assert_true(json_integer_value(at(v, "created")) > 1700000000);
    assert_int_equal(json_array_size(at(v, "choices")), 3);
    for (size_t i = 0; i < 3; i++) {
        json_t *choice = json_array_get(at(v, "choices"), i);
        assert_int_equal(json_integer_value(at(choice, "index")), i);
        assert_string_equal(text_at(choice, "message.role"), "assistant");
        text_at(choice, "message.content");
        assert_true(json_is_null(at(choice, "logprobs")) && json_is_null(at(choice, "message.refusal")));
        const char *why = text_at(choice, "finish_reason");
        assert_true(strcmp(why, "length") == 0 || strcmp(why, "stop") == 0);
    }
    json_int_t prompt = json_integer_value(at(v, "usage.prompt_tokens")),
               written = json_integer_value(at(v, "usage.completion_tokens"));
    assert_true(prompt > 0 && written > 0 && json_integer_value(at(v, "usage.total_tokens")) == prompt + written);
    assert_true(json_is_integer(at(v, "usage.prompt_tokens_details.cached_tokens")));

    json_t *again =
        post("/v1/chat/completions", "{" HELLO ",\"n\":3,\"max_completion_tokens\":6,\"seed\":7,\"max_tokens\":null}");
    assert_true(json_equal(at(v, "choices"), at(again, "choices")));
    json_decref(again);
    json_t *parts = post("/v1/chat/completions",
                         "{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"He\"},"
                         "{\"type\":\"text\",\"text\":\"llo\"}]}],\"n\":3,\"max_tokens\":6,\"seed\":7}");
    assert_true(json_equal(at(v, "choices"), at(parts, "choices")));
    json_decref(parts);
    json_t *one = post("/v1/chat/completions", "{" HELLO ",\"max_tokens\":6}"),
           *other = post("/v1/chat/completions", "{" HELLO ",\"max_tokens\":6}");
    assert_string_not_equal(text_at(one, "choices.0.message.content"), text_at(other, "choices.0.message.content"));
    json_decref(one);
    json_decref(other);
    json_decref(v);
}

static void tells_logprobs(void **state) {
    (void)state;
    json_t *v =
        post("/v1/chat/completions",
             "{" HELLO ",\"max_tokens\":5,\"temperature\":0,\"logprobs\":true,\"top_logprobs\":3,\"ignore_eos\":true}");
    json_t *content = at(v, "choices.0.logprobs.content");
    assert_int_equal(json_array_size(content), 5);
    for (size_t i = 0; i < 5; i++) {
        json_t *one = json_array_get(content, i);
        double logprob = json_real_value(at(one, "logprob"));
        assert_true(logprob < 0 && json_is_array(at(one, "bytes")));
        assert_int_equal(json_array_size(at(one, "top_logprobs")), 3);
        assert_string_equal(text_at(one, "top_logprobs.0.token"), text_at(one, "token")); /* greedy */
        assert_true(json_real_value(at(one, "top_logprobs.0.logprob")) == logprob);
        assert_true(json_real_value(at(one, "top_logprobs.2.logprob")) <= logprob);
    }
    json_decref(v);
    v = post("/v1/completions",
             "{\"prompt\":\"Once\",\"max_tokens\":4,\"temperature\":0,\"logprobs\":2,\"ignore_eos\":true}");
    assert_string_equal(text_at(v, "object"), "text_completion");
    json_t *l = at(v, "choices.0.logprobs");
    assert_int_equal(json_array_size(at(l, "tokens")), 4);
    assert_int_equal(json_array_size(at(l, "token_logprobs")), 4);
    assert_int_equal(json_array_size(at(l, "text_offset")), 4);
    assert_int_equal(json_array_size(at(l, "top_logprobs")), 4);
    assert_true(json_object_size(json_array_get(at(l, "top_logprobs"), 0)) >= 1);
    json_decref(v);
}

/* The log-probabilities of tokens that are named: those of the likeliest where they are among these, to the last digit,
 * whatever else is asked for. */
static void tells_named_tokens(void **state) {
    (void)state;
#define ONCE                                                                                                           \
    "\"prompt\":\"Once\",\"max_tokens\":2,\"temperature\":0,\"ignore_eos\":true,\"return_tokens_as_token_ids\":true"
    json_t *likely = post("/v1/completions", "{" ONCE ",\"logprobs\":20}");
    json_t *list = json_array_get(at(likely, "choices.0.logprobs.top_logprobs"), 0);
    json_t *ids = json_array(), *v;
    const char *name;
    assert_int_equal(json_object_size(list), 20);
    json_object_foreach(list, name, v) {
        assert_int_equal(strncmp(name, "token_id:", 9), 0);
        json_array_append_new(ids, json_integer(atol(name + 9)));
    }
    char *text = json_dumps(ids, 0), body[900];
    snprintf(body, sizeof body, "{" ONCE ",\"logprobs\":1,\"logprob_token_ids\":%s}", text);
    json_t *named = post("/v1/completions", body);
    assert_true(json_equal(list, json_array_get(at(named, "choices.0.logprobs.top_logprobs"), 0)));
    json_decref(named);
    named = post("/v1/completions", "{" ONCE ",\"logprobs\":0,\"logprob_token_ids\":[7,300]}");
    json_t *tops = json_array_get(at(named, "choices.0.logprobs.top_logprobs"), 0);
    const char *drawn = text_at(named, "choices.0.logprobs.tokens.0");
    assert_int_equal(json_object_size(tops), 3); /* the one that was drawn is told, too */
    assert_true(json_equal(json_object_get(tops, drawn), json_object_get(list, drawn)));
    assert_true(json_number_value(json_object_get(tops, "token_id:7")) < 0);
    json_decref(named);
    named = post("/v1/chat/completions",
                 "{" HELLO ",\"max_tokens\":2,\"temperature\":0,\"logprobs\":true,\"ignore_eos\":true,"
                 "\"logprob_token_ids\":[300,7],\"return_tokens_as_token_ids\":true}");
    json_t *content = at(named, "choices.0.logprobs.content");
    assert_int_equal(json_array_size(at(json_array_get(content, 1), "top_logprobs")), 2);
    assert_string_equal(text_at(json_array_get(content, 1), "top_logprobs.0.token"), "token_id:300");
    json_decref(named);
    pgr_free(text);
    json_decref(ids);
    json_decref(likely);
}

static void completes_texts_and_tokens(void **state) {
    (void)state;
    json_t *v =
        post("/v1/completions", "{\"prompt\":[\"Once\",\"Twice\"],\"n\":2,\"seed\":3,\"max_tokens\":5,\"echo\":true}");
    assert_int_equal(json_array_size(at(v, "choices")), 4);
    assert_true(strncmp(text_at(v, "choices.1.text"), "Once", 4) == 0);
    assert_true(strncmp(text_at(v, "choices.2.text"), "Twice", 5) == 0);
    json_t *tokens = post("/tokenize", "{\"prompt\":\"Once\"}"), *ids = at(tokens, "tokens");
    json_t *body = json_pack("{s:[O], s:i, s:i, s:i}", "prompt", ids, "n", 2, "seed", 3, "max_tokens", 5);
    char *text = json_dumps(body, 0);
    json_t *same = post("/v1/completions", text);
    assert_string_equal(text_at(same, "choices.0.text"), text_at(v, "choices.0.text") + 4);
    pgr_free(text);
    json_decref(body);
    body = json_pack("{s:O}", "tokens", ids);
    text = json_dumps(body, 0);
    json_t *back = post("/detokenize", text);
    assert_non_null(strstr(text_at(back, "prompt"), "Once"));
    pgr_free(text);
    json_decref(body);
    json_decref(back);
    json_decref(same);
    json_decref(tokens);
    json_decref(v);
}

/* return_token_ids: the prompt's tokens and each chain's, with the one that ended its turn, and a log-probability of
 * each of them; what a stream says, too. */
static void tells_token_ids(void **state) {
    (void)state;
#define IDS "\"n\":48,\"max_tokens\":40,\"seed\":11,\"return_token_ids\":true"
    json_t *v = post("/v1/chat/completions", "{" HELLO "," IDS ",\"logprobs\":true,\"top_logprobs\":2,"
                                             "\"return_tokens_as_token_ids\":true}");
    json_t *read = post("/tokenize", "{" HELLO "}"), *choice;
    assert_true(json_equal(at(v, "prompt_token_ids"), at(read, "tokens")));
    size_t i, n_ended = 0, n_token = 0;
    json_array_foreach(at(v, "choices"), i, choice) {
        json_t *ids = at(choice, "token_ids");
        size_t n = json_array_size(ids);
        bool ended = strcmp(text_at(choice, "finish_reason"), "stop") == 0;
        assert_int_equal(json_array_size(at(choice, "logprobs.content")), n);
        if (!ended) assert_int_equal(n, 40);
        if (ended) {
            json_t *last = json_array_get(at(choice, "logprobs.content"), n - 1);
            assert_true(json_number_value(at(last, "logprob")) < 0);
            assert_int_equal(json_array_size(at(last, "top_logprobs")), 1);
            n_ended++;
        }
        for (size_t k = 0; k < n; k++) {
            char name[30];
            snprintf(name, sizeof name, "token_id:%d", (int)json_integer_value(json_array_get(ids, k)));
            assert_string_equal(text_at(json_array_get(at(choice, "logprobs.content"), k), "token"), name);
        }
        n_token += n - ended;
    }
    assert_true(n_ended > 0 && n_ended < 48);
    assert_int_equal(json_integer_value(at(v, "usage.completion_tokens")), n_token);
    json_decref(read);
    json_decref(v);
    v = post("/v1/completions", "{\"prompt\":[\"Once\",\"Twice upon\"],\"max_tokens\":3,\"return_token_ids\":true}");
    read = post("/tokenize", "{\"prompt\":\"Twice upon\"}");
    assert_true(json_equal(at(v, "choices.1.prompt_token_ids"), at(read, "tokens")));
    assert_true(json_array_size(at(v, "choices.1.token_ids")) > 0);
    json_decref(read);
    json_decref(v);
    v = post("/v1/completions", "{\"prompt\":\"Once\",\"max_tokens\":3}");
    assert_null(json_object_get(at(v, "choices.0"), "token_ids"));
    json_decref(v);
}

/* Adds the numbers of a stream's chunks to those that are there of each choice. */
static void add_ids(json_t *sum, json_t *choice, const char *key) {
    json_t *list = json_array_get(sum, (size_t)json_integer_value(at(choice, "index")));
    json_array_extend(list, json_object_get(choice, key));
}

static void streams_token_ids(void **state) {
    (void)state;
    static const char *const PATHS[] = {"/v1/chat/completions", "/v1/completions"};
    static const char *const BODIES[] = {"{" HELLO "," IDS, "{\"prompt\":\"Hello\"," IDS};
    for (int k = 0; k < 2; k++) {
        char body[300];
        snprintf(body, sizeof body, "%s}", BODIES[k]);
        json_t *whole = post(PATHS[k], body), *ids = json_array(), *prompts = json_array();
        json_t *prompt = k ? at(whole, "choices.0.prompt_token_ids") : at(whole, "prompt_token_ids");
        for (int i = 0; i < 48; i++) json_array_append_new(ids, json_array());
        for (int i = 0; i < 48; i++) json_array_append_new(prompts, json_array());
        snprintf(body, sizeof body, "%s,\"stream\":true}", BODIES[k]);
        reply r = ask(&L, "POST", PATHS[k], body);
        assert_int_equal(r.status, 200);
        for (const char *p = r.body.data; (p = strstr(p, "data: {")); p++) {
            json_t *v = json_loads(p + 6, JSON_DISABLE_EOF_CHECK | JSON_ALLOW_NUL, NULL),
                   *choice = json_array_get(json_object_get(v, "choices"), 0);
            if (!choice) fail_msg("%.300s", p);
            if (!k && json_object_get(v, "prompt_token_ids"))
                json_object_set(choice, "prompt_token_ids", json_object_get(v, "prompt_token_ids"));
            add_ids(ids, choice, "token_ids");
            add_ids(prompts, choice, "prompt_token_ids");
            json_decref(v);
        }
        for (size_t i = 0; i < 48; i++) {
            json_t *choice = json_array_get(at(whole, "choices"), i);
            assert_true(json_equal(json_array_get(ids, i), at(choice, "token_ids")));
            assert_true(json_equal(json_array_get(prompts, i), prompt));
        }
        reply_free(&r);
        json_decref(prompts);
        json_decref(ids);
        json_decref(whole);
    }
}

/* A chat as tokens is what its chains are written behind; its tokens' texts are its text. */
static void tokenizes_chats(void **state) {
    (void)state;
    json_t *whole = post("/tokenize", "{" HELLO ",\"return_token_strs\":true,\"model\":\"tiny\"}"), *s;
    json_t *open = post("/tokenize", "{" HELLO ",\"add_generation_prompt\":false}");
    json_t *ids = at(whole, "tokens"), *begun = at(open, "tokens");
    size_t n = json_array_size(ids), i;
    assert_int_equal(json_integer_value(at(whole, "count")), n);
    assert_int_equal(json_array_size(at(whole, "token_strs")), n);
    assert_true(json_array_size(begun) < n);
    assert_null(json_object_get(open, "token_strs"));
    json_array_foreach(begun, i, s) assert_true(json_equal(s, json_array_get(ids, i)));
    char text[400] = "", *body;
    json_array_foreach(at(whole, "token_strs"), i, s)
        strncat(text, json_string_value(s), sizeof text - strlen(text) - 1);
    assert_non_null(strstr(text, "Hello"));
    json_t *chat = post("/v1/chat/completions", "{" HELLO ",\"max_tokens\":5,\"seed\":3}");
    json_t *asked = json_pack("{s:O, s:i, s:i}", "prompt", ids, "max_tokens", 5, "seed", 3);
    json_t *same = post("/v1/completions", body = json_dumps(asked, 0));
    assert_string_equal(text_at(same, "choices.0.text"), text_at(chat, "choices.0.message.content"));
    pgr_free(body);
    json_decref(asked);
    json_decref(same);
    json_decref(chat);
    json_decref(open);
    json_decref(whole);
}

/* What evaluation harnesses ask: the prompt's own log-probabilities, with a token written behind it or none. They are
 * those that the engine gives, and greedy tokens are the likeliest in their places. */
static void echoes_with_logprobs(void **state) {
    (void)state;
    json_t *tokens = post("/tokenize", "{\"prompt\":\"Once upon a time there\"}"), *ids = at(tokens, "tokens");
    size_t n = json_array_size(ids);
    int32_t *own = mem_array(n, sizeof *own);
    float *want = mem_array(n, sizeof *want);
    for (size_t i = 0; i < n; i++) own[i] = (int32_t)json_integer_value(json_array_get(ids, i));
    pgr_engine *e = NULL;
    assert_int_equal(pgr_engine_create(MODEL, NULL, &e, NULL), PGR_OK);
    assert_int_equal(infer_logprobs(e, own, n, NULL, want, NULL), PGR_OK);
    pgr_engine_free(e);
    for (int most = 0; most < 2; most++)
        for (int as_tokens = 0; as_tokens < 2; as_tokens++) {
            json_t *body =
                json_pack("{s:i,s:b,s:i,s:i}", "max_tokens", most, "echo", 1, "logprobs", 2, "temperature", 0);
            json_object_set_new(body, "ignore_eos", json_true());
            json_object_set_new(body, "n", json_integer(2));
            if (as_tokens)
                json_object_set(body, "prompt", ids);
            else
                json_object_set_new(body, "prompt", json_string("Once upon a time there"));
            char *text = json_dumps(body, 0);
            json_t *v = post("/v1/completions", text), *l = at(v, "choices.1.logprobs");
            json_t *told = at(l, "token_logprobs"), *tops = at(l, "top_logprobs");
            assert_int_equal(json_array_size(told), n + (size_t)most);
            assert_int_equal(json_array_size(tops), n + (size_t)most);
            assert_int_equal(json_array_size(at(l, "tokens")), n + (size_t)most);
            assert_int_equal(json_array_size(at(l, "text_offset")), n + (size_t)most);
            assert_true(json_is_null(json_array_get(told, 0)) && json_is_null(json_array_get(tops, 0)));
            for (size_t i = 1; i < n; i++) {
                double p = json_number_value(json_array_get(told, i));
                assert_true(fabs(p - (double)want[i]) <= 1e-5 * fabs((double)want[i])); /* written with 6 digits */
                const char *name;
                json_t *q;
                json_object_foreach(json_array_get(tops, i), name, q) {
                    assert_true(json_number_value(q) >= p || json_object_size(json_array_get(tops, i)) == 2);
                }
            }
            double best = -INFINITY, last = json_number_value(json_array_get(told, n + (size_t)most - 1));
            const char *name;
            json_t *q;
            json_object_foreach(json_array_get(tops, n + (size_t)most - 1), name, q) {
                if (json_number_value(q) > best) best = json_number_value(q);
            }
            if (most == 1) assert_true(best == last); /* written greedily */
            assert_true(strncmp(text_at(v, "choices.0.text"), "Once upon a time there", 22) == 0);
            if (most == 0) assert_string_equal(text_at(v, "choices.0.text"), "Once upon a time there");
            assert_int_equal(json_integer_value(at(v, "usage.completion_tokens")), 2 * most);
            json_decref(v);
            json_decref(body);
            pgr_free(text);
        }
    mem_free(own);
    mem_free(want);
    json_decref(tokens);
}

/* ---- streams ---- */

/* The events of a stream; the last one must be [DONE]. */
static json_t *events_of(const char *path, const char *body) {
    reply r = ask(&L, "POST", path, body);
    if (r.status != 200) fail_msg("%d %s", r.status, r.body.data);
    assert_string_equal(header_of(&r, "Content-Type"), "text/event-stream");
    json_t *list = json_array();
    bool done = false;
    for (char *event = r.body.data, *end; *event; event = end + 2) {
        end = strstr(event, "\n\n");
        assert_non_null(end);
        assert_false(done);
        if (*event == ':') continue;
        assert_true(strncmp(event, "data: ", 6) == 0);
        done = strncmp(event + 6, "[DONE]", 6) == 0;
        json_t *v = NULL;
        if (!done) {
            v = json_loadb(event + 6, (size_t)(end - event - 6), JSON_ALLOW_NUL, NULL);
            assert_non_null(v);
            json_array_append_new(list, v);
        }
    }
    assert_true(done);
    reply_free(&r);
    return list;
}

/* Of several stop texts the one that came is named. */
static void names_the_stop_text(void **state) {
    (void)state;
    json_t *v =
        post("/v1/completions", "{\"prompt\":\"Once\",\"max_tokens\":24,\"temperature\":0,\"ignore_eos\":true}");
    const char *text = text_at(v, "choices.0.text");
    while (*text && (*text <= ' ' || *text >= 0x7F || *text == '"' || *text == '\\')) text++;
    assert_true(*text);
    char body[200], stop[2] = {*text, '\0'};
    snprintf(body, sizeof body,
             "{\"prompt\":\"Once\",\"max_tokens\":24,\"temperature\":0,\"ignore_eos\":true,"
             "\"stop\":[\"never so\",\"%s\"]}",
             stop);
    json_t *cut = post("/v1/completions", body);
    assert_string_equal(text_at(cut, "choices.0.finish_reason"), "stop");
    assert_string_equal(text_at(cut, "choices.0.stop_reason"), stop);
    assert_true(json_is_null(at(v, "choices.0.stop_reason")));
    json_decref(cut);
    json_decref(v);
}

static void streams_what_whole_answers_say(void **state) {
    (void)state;
    json_t *whole = post("/v1/chat/completions", "{" HELLO ",\"n\":3,\"max_tokens\":9,\"seed\":5,\"logprobs\":true}");
    json_t *list = events_of("/v1/chat/completions",
                             "{" HELLO ",\"n\":3,\"max_tokens\":9,\"seed\":5,\"logprobs\":true,\"stream\":true,"
                             "\"stream_options\":{\"include_usage\":true}}");
    buf text[3] = {{0}};
    size_t n_token[3] = {0}, n_role[3] = {0}, n_end[3] = {0}, n = json_array_size(list);
    for (size_t i = 0; i + 1 < n; i++) {
        json_t *e = json_array_get(list, i), *choice = at(e, "choices.0");
        assert_string_equal(text_at(e, "object"), "chat.completion.chunk");
        assert_true(json_is_null(at(e, "usage")));
        size_t k = (size_t)json_integer_value(at(choice, "index"));
        json_t *delta = at(choice, "delta"), *logprobs = at(choice, "logprobs");
        n_role[k] += json_object_get(delta, "role") != NULL;
        if (json_object_get(delta, "content")) buf_puts(&text[k], text_at(delta, "content"));
        if (!json_is_null(logprobs)) n_token[k] += json_array_size(at(logprobs, "content"));
        n_end[k] += !json_is_null(at(choice, "finish_reason"));
    }
    for (size_t k = 0; k < 3; k++) {
        json_t *choice = json_array_get(at(whole, "choices"), k);
        assert_string_equal(text[k].data, text_at(choice, "message.content"));
        assert_int_equal(n_token[k], json_array_size(at(choice, "logprobs.content")));
        assert_int_equal(n_role[k], 1);
        assert_int_equal(n_end[k], 1);
        buf_free(&text[k]);
    }
    json_t *last = json_array_get(list, n - 1);
    assert_int_equal(json_array_size(at(last, "choices")), 0);
    assert_int_equal(json_integer_value(at(last, "usage.completion_tokens")),
                     json_integer_value(at(whole, "usage.completion_tokens")));
    json_decref(list);
    list = events_of("/v1/completions", "{\"prompt\":\"Once\",\"max_tokens\":4,\"stream\":true}");
    assert_true(json_array_size(list) >= 2);
    json_decref(list);
    json_decref(whole);
}

static void stops_when_a_stream_is_left(void **state) {
    (void)state;
    int fd = dial(&L);
    ask_on(fd, "POST", "/v1/chat/completions", NULL,
           "{" HELLO ",\"n\":16,\"max_tokens\":200,\"ignore_eos\":true,\"stream\":true}");
    char c;
    assert_true(hear(fd, &c));
    close(fd);
    for (bool done = false; !done; poll(NULL, 0, 5)) {
        reply r = ask(&L, "GET", "/metrics", NULL);
        done = strstr(r.body.data, "pgenrm_chains_running 0\n") && strstr(r.body.data, "pgenrm_queue_length 0\n");
        reply_free(&r);
    }
}

/* ---- formats ---- */

static void writes_what_a_schema_allows(void **state) {
    (void)state;
    static const char *const bodies[] = {
        "{" HELLO ",\"n\":4,\"max_tokens\":60,\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":"
        "\"s\",\"strict\":true,"
        "\"schema\":{\"type\":\"object\",\"properties\":{\"score\":{\"type\":\"integer\",\"minimum\":1,\"maximum\":10},"
        "\"better\":{\"enum\":[\"A\",\"B\"]}},\"required\":[\"score\",\"better\"],\"additionalProperties\":false}}}}",
        "{" HELLO ",\"n\":4,\"max_tokens\":60,\"logprobs\":true,\"structured_outputs\":{\"json\":{\"type\":\"object\","
        "\"properties\":"
        "{\"score\":{\"type\":\"integer\",\"minimum\":1,\"maximum\":10},\"better\":{\"enum\":[\"A\",\"B\"]}},"
        "\"required\":[\"score\",\"better\"]}}}"};
    for (size_t k = 0; k < 2; k++) {
        json_t *v = post("/v1/chat/completions", bodies[k]);
        for (size_t i = 0; i < 4; i++) {
            json_t *choice = json_array_get(at(v, "choices"), i), *made = NULL;
            const char *text = text_at(choice, "message.content");
            assert_int_equal(json_parse(text, strlen(text), "content", 1, &made, NULL), PGR_OK);
            assert_in_range(json_integer_value(at(made, "score")), 1, 10);
            assert_true(*text_at(made, "better") == 'A' || *text_at(made, "better") == 'B');
            assert_string_equal(text_at(choice, "finish_reason"), "stop");
            if (k == 1) /* what the program wrote has log-probabilities, too */
                assert_true(json_real_value(at(choice, "logprobs.content.0.logprob")) > -9000);
            json_decref(made);
        }
        json_decref(v);
    }
    json_t *v =
        post("/v1/chat/completions", "{" HELLO ",\"max_tokens\":40,\"response_format\":{\"type\":\"json_object\"}}");
    const char *text = text_at(v, "choices.0.message.content");
    assert_true(text[0] == '{' && text[strlen(text) - 1] == '}');
    json_decref(v);
    v = post("/v1/completions",
             "{\"prompt\":\"Once\",\"max_tokens\":9,\"structured_outputs\":{\"choice\":[\"yes\",\"no\"]}}");
    text = text_at(v, "choices.0.text");
    assert_true(strcmp(text, "yes") == 0 || strcmp(text, "no") == 0);
    json_decref(v);
    v = post("/v1/completions",
             "{\"prompt\":\"Once\",\"max_tokens\":9,\"structured_outputs\":{\"grammar\":\"root ::= [ab]{3}\"}}");
    assert_int_equal(strlen(text_at(v, "choices.0.text")), 3);
    json_decref(v);
    static const char *const dates[] = {
        "\"structured_outputs\":{\"regex\":\"^(19|20)\\\\d{2}-0[1-9]$\",\"json_object\":false}",
        "\"guided_regex\":\"(19|20)[0-9]{2}-0[1-9]\""};
    for (size_t k = 0; k < 2; k++) {
        char body[200];
        int year, month;
        snprintf(body, sizeof body, "{\"prompt\":\"Once\",\"max_tokens\":20,%s}", dates[k]);
        v = post("/v1/completions", body);
        text = text_at(v, "choices.0.text");
        assert_int_equal(strlen(text), 7);
        assert_int_equal(sscanf(text, "%4d-0%1d", &year, &month), 2);
        assert_true(year >= 1900 && year < 2100 && month > 0);
        json_decref(v);
    }
    static const char *const older[] = {"\"guided_choice\":[\"yes\"]", "\"guided_grammar\":\"root ::= \\\"yes\\\"\""};
    for (size_t k = 0; k < 2; k++) {
        char body[200];
        snprintf(body, sizeof body, "{\"prompt\":\"Once\",\"max_tokens\":20,%s}", older[k]);
        v = post("/v1/completions", body);
        assert_string_equal(text_at(v, "choices.0.text"), "yes");
        json_decref(v);
    }
    v = post("/v1/completions", "{\"prompt\":\"Once\",\"max_tokens\":20,\"guided_json\":\"{\\\"const\\\": 5}\"}");
    assert_string_equal(text_at(v, "choices.0.text"), "5");
    json_decref(v);
}

static void refuse(const char *path, const char *body, int status, const char *param) {
    reply r = ask(&L, "POST", path, body);
    if (r.status != status) fail_msg("%s: %d, expected %d: %s", body, r.status, status, r.body.data);
    json_t *v = json_of(&r), *p = at(v, "error.param");
    if (param && (!json_is_string(p) || strcmp(json_string_value(p), param) != 0))
        fail_msg("%s: %s", body, r.body.data);
    json_decref(v);
    reply_free(&r);
}

static void refuses_by_name(void **state) {
    (void)state;
    static const struct {
        const char *body;
        int status;
        const char *param;
    } rows[] = {
        {"{}", 400, "messages"},
        {"{\"messages\":[]}", 400, "messages"},
        {"{\"messages\":[{\"role\":\"tool\",\"content\":\"x\"}]}", 400, "messages[0]"},
        {"{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"image_url\"}]}]}", 400, "messages[0]"},
        {"{\"messages\":[{\"role\":\"user\",\"content\":3}]}", 400, "messages[0]"},
        {"{" HELLO ",\"model\":\"other\"}", 404, "model"},
        {"{" HELLO ",\"n\":0}", 400, "n"},
        {"{" HELLO ",\"n\":1000}", 400, "n"},
        {"{" HELLO ",\"temperature\":-1}", 400, "temperature"},
        {"{" HELLO ",\"temperature\":\"hot\"}", 400, "temperature"},
        {"{" HELLO ",\"top_p\":0}", 400, "top_p"},
        {"{" HELLO ",\"max_tokens\":1000000}", 400, NULL},
        {"{" HELLO ",\"top_logprobs\":3}", 400, "top_logprobs"},
        {"{" HELLO ",\"logprobs\":true,\"top_logprobs\":21}", 400, "top_logprobs"},
        {"{" HELLO ",\"logprob_token_ids\":[1]}", 400, "logprob_token_ids"},
        {"{" HELLO ",\"logprobs\":true,\"logprob_token_ids\":1}", 400, "logprob_token_ids"},
        {"{" HELLO ",\"logprobs\":true,\"logprob_token_ids\":[1,-1]}", 400, "logprob_token_ids"},
        {"{" HELLO ",\"logprobs\":true,\"logprob_token_ids\":[99999999]}", 400, "logprob_token_ids"},
        {"{" HELLO ",\"logprobs\":true,\"logprob_token_ids\":[0.5]}", 400, "logprob_token_ids"},
        {"{" HELLO ",\"stop\":[1]}", 400, "stop"},
        {"{" HELLO ",\"stop\":\"\"}", 400, "stop"},
        {"{" HELLO ",\"best_of\":2}", 400, "best_of"},
        {"{" HELLO ",\"frequency_penalty\":0.5}", 400, "frequency_penalty"},
        {"{" HELLO ",\"tools\":[{}]}", 400, "tools"},
        {"{" HELLO ",\"stop_token_ids\":[2]}", 400, "stop_token_ids"},
        {"{" HELLO ",\"allowed_token_ids\":[2]}", 400, "allowed_token_ids"},
        {"{" HELLO ",\"bad_words\":[\"a\"]}", 400, "bad_words"},
        {"{" HELLO ",\"truncate_prompt_tokens\":8}", 400, "truncate_prompt_tokens"},
        {"{" HELLO ",\"include_stop_str_in_output\":true}", 400, "include_stop_str_in_output"},
        {"{" HELLO ",\"add_generation_prompt\":false}", 400, "add_generation_prompt"},
        {"{" HELLO ",\"chat_template\":\"{{ 1 }}\"}", 400, "chat_template"},
        {"{" HELLO ",\"response_format\":{\"type\":\"yaml\"}}", 400, "response_format"},
        {"{" HELLO ",\"response_format\":{\"type\":\"json_schema\"}}", 400, "response_format.json_schema"},
        {"{" HELLO ",\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"schema\":{\"not\":1}}}}", 400,
         "response_format.json_schema.schema"},
        {"{" HELLO ",\"structured_outputs\":{\"regex\":\"a(?=b)\"}}", 400, "structured_outputs.regex"},
        {"{" HELLO ",\"structured_outputs\":{\"regex\":7}}", 400, "structured_outputs.regex"},
        {"{" HELLO ",\"structured_outputs\":{\"backend\":\"x\"}}", 400, "structured_outputs"},
        {"{" HELLO ",\"structured_outputs\":{\"regex\":\"a\",\"choice\":[\"a\"]}}", 400, "structured_outputs.regex"},
        {"{" HELLO ",\"structured_outputs\":{\"regex\":\"a\"},\"response_format\":{\"type\":\"json_object\"}}", 400,
         "structured_outputs.regex"},
        {"{" HELLO ",\"guided_regex\":\"(a)\\\\1\"}", 400, "guided_regex"},
        {"{" HELLO ",\"guided_json\":\"{broken\"}", 400, "guided_json"},
        {"{" HELLO ",\"structured_outputs\":{\"grammar\":\"root ::= \"}}", 400, "structured_outputs.grammar"},
        {"{" HELLO ",\"structured_outputs\":{\"grammar\":\"root ::= @x\"}}", 400, NULL},
        {"{" HELLO ",\"deadline_s\":-1}", 400, "deadline_s"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        refuse("/v1/chat/completions", rows[i].body, rows[i].status, rows[i].param);
    refuse("/v1/completions", "{\"prompt\":[]}", 400, "prompt");
    refuse("/v1/completions", "{\"prompt\":[[1],\"x\",3]}", 400, "prompt");
    refuse("/v1/completions", "{\"prompt\":[99999999]}", 400, NULL);
    refuse("/v1/completions", "{\"prompt\":[-1]}", 400, "prompt");
    refuse("/v1/completions", "{\"prompt\":\"x\",\"echo\":true,\"stream\":true}", 400, "echo");
    refuse("/v1/completions", "{\"prompt\":\"x\",\"max_tokens\":0}", 400, "max_tokens");
    refuse("/v1/completions", "{\"prompt\":\"x\",\"logprobs\":1,\"echo\":true,\"logprob_token_ids\":[1]}", 400,
           "logprob_token_ids");
    refuse("/v1/completions", "{\"prompt\":[99999999],\"max_tokens\":0,\"echo\":true}", 400, NULL);
    refuse("/v1/embeddings", "{\"input\":\"x\"}", 501, NULL);
    refuse("/classify", "{\"input\":\"x\"}", 501, NULL);
    json_t *v =
        post("/v1/chat/completions", /* what changes nothing is passed over */
             "{" HELLO ",\"max_tokens\":2,\"frequency_penalty\":0,\"tools\":[],\"logit_bias\":null,\"whatever\":[1],"
             "\"repetition_penalty\":1.0,\"stream\":false,\"top_k\":-1}");
    json_decref(v);
}

/* As long as a body may be, but no prompt: whoever else is connected would wait for it. */
static void refuses_texts_that_are_no_prompts(void **state) {
    (void)state;
    enum { LONG = 2 << 20 };
    buf text = {0}, tokens = {0};
    buf_puts(&text, "{\"prompt\":\"");
    buf_puts(&tokens, "{\"tokens\":[3");
    for (size_t i = 0; i < LONG; i++) buf_putc(&text, 'a');
    for (size_t i = 0; i < LONG / 16; i++) buf_puts(&tokens, ",3");
    buf_puts(&text, "\"}");
    buf_puts(&tokens, "]}");
    refuse("/tokenize", text.data, 400, "prompt");
    refuse("/detokenize", tokens.data, 400, "tokens");
    static const struct {
        const char *path, *before, *behind;
    } bodies[] = {{"/v1/completions", "{\"prompt\":\"", "\"}"},
                  {"/v1/completions", "{\"prompt\":[\"Once\",\"", "\"]}"},
                  {"/v1/chat/completions",
                   "{\"messages\":[{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"user\","
                   "\"content\":\"",
                   "\"}]}"},
                  {"/v1/chat/completions",
                   "{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\","
                   "\"text\":\"",
                   "\"}]}]}"},
                  {"/generative_scoring", "{\"items\":[\" so\"],\"label_token_ids\":[40,41],\"query\":\"", "\"}"},
                  {"/v1/score", "{\"query\":\"Is\",\"label_token_ids\":[40,41],\"items\":[\" it\",\"", "\"]}"}};
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) {
        buf_clear(&text);
        buf_puts(&text, bodies[i].before);
        for (size_t k = 0; k < TEXT_LEAST / 4; k++) buf_puts(&text, "word ");
        buf_puts(&text, bodies[i].behind);
        reply r = ask(&L, "POST", bodies[i].path, text.data);
        assert_int_equal(r.status, 400);
        assert_non_null(strstr(r.body.data, " bytes")); /* its tokens were not counted */
        reply_free(&r);
    }
    buf_free(&text);
    buf_free(&tokens);
}

/* Prompts are asked for some at a time, so that others need not wait for all. */
static void many_prompts(void **state) {
    (void)state;
    enum { N = 200 };
    buf body = {0}, scoring = {0}, half = {0};
    for (size_t i = 0; i < 150; i++) buf_puts(&half, "many words ");
    buf_puts(&body, "{\"max_tokens\":1,\"seed\":3,\"prompt\":[");
    buf_printf(&scoring, "{\"label_token_ids\":[40,41],\"query\":\"%s\",\"items\":[", half.data);
    for (size_t i = 0; i < N; i++) {
        buf_printf(&body, "%s\"%s%zu\"", i ? "," : "", i % 4 ? "" : half.data, i);
        buf_printf(&scoring, "%s\"%zu\"", i ? "," : "", i % 3);
    }
    buf_puts(&body, "]}");
    buf_puts(&scoring, "]}");
    assert_true(body.n > TEXT_AT_ONCE && N * half.n > TEXT_AT_ONCE);
    json_t *v = post("/v1/completions", body.data);
    assert_int_equal(json_array_size(json_object_get(v, "choices")), N);
    json_decref(v);
    v = post("/generative_scoring", scoring.data);
    json_t *list = json_object_get(v, "data");
    assert_int_equal(json_array_size(list), N);
    for (size_t i = 3; i < N; i++)
        assert_true(json_equal(at(json_array_get(list, i), "score"), at(json_array_get(list, i - 3), "score")));
    json_decref(v);
    buf_free(&body);
    buf_free(&scoring);
    buf_free(&half);
}

static void answers_with_what_is_there_at_the_deadline(void **state) {
    (void)state;
    json_t *v = post("/v1/completions",
                     "{\"prompt\":\"Once\",\"n\":64,\"max_tokens\":450,\"ignore_eos\":true,\"deadline_s\":0.25}");
    size_t late = 0;
    for (size_t i = 0; i < 64; i++) {
        json_t *why = at(json_array_get(at(v, "choices"), i), "stop_reason");
        late += json_is_string(why) && strcmp(json_string_value(why), "deadline") == 0;
        assert_string_equal(text_at(json_array_get(at(v, "choices"), i), "finish_reason"), "length");
    }
    assert_true(late > 0 || json_integer_value(at(v, "usage.completion_tokens")) == 64 * 450);
    json_decref(v);
    refuse("/v1/completions", "{\"prompt\":\"Once\",\"deadline_s\":1e-9}", 504, NULL);
}

/* Names are keys, and many readers of JSON, jansson among them, take no key with a NUL. */
static void a_nul_is_named_by_its_byte(void **state) {
    (void)state;
    int32_t token = -1;
    for (int32_t id = 0; token < 0; id++) {
        char *text = NULL;
        size_t n = 0;
        if (pgr_detokenize(MODEL, &id, 1, &text, &n, NULL) != PGR_OK) fail_msg("no token is NUL");
        if (n == 1 && text[0] == '\0') token = id;
        pgr_free(text);
    }
    char body[160];
    snprintf(body, sizeof body, "{\"prompt\":\"Once\",\"max_tokens\":1,\"logprobs\":1,\"logprob_token_ids\":[%d]}",
             token);
    json_t *v = post("/v1/completions", body);
    json_t *top = json_array_get(at(v, "choices.0.logprobs.top_logprobs"), 0);
    assert_true(json_is_number(json_object_get(top, "bytes:\\x00")));
    json_decref(v);
}

/* ---- labels ---- */

/* The probabilities are those of the engine for given text. */
static void scores_labels(void **state) {
    (void)state;
    json_t *tokens = post("/tokenize", "{\"prompt\":\"Is it so\"}"), *ids = at(tokens, "tokens");
    size_t n = json_array_size(ids);
    json_t *v = post("/v1/completions", "{\"prompt\":\"Is it so\",\"max_tokens\":1,\"temperature\":0,\"logprobs\":20}");
    json_t *top = json_array_get(at(v, "choices.0.logprobs.top_logprobs"), 0);
    assert_true(n > 0 && json_object_size(top) > 2);
    int32_t label[2];
    double want[2];
    size_t found = 0;
    const char *text;
    json_t *logprob;
    json_object_foreach(top, text, logprob) { /* two likely tokens whose texts are read as themselves */
        int32_t *list = NULL;
        size_t n_list = 0;
        if (found == 2 || strncmp(text, "bytes:", 6) == 0 || strlen(text) == 0) continue;
        assert_int_equal(pgr_tokenize(MODEL, text, strlen(text), PGR_TOKENS_SPECIAL, &list, &n_list, NULL), PGR_OK);
        if (n_list == 1) {
            want[found] = exp(json_number_value(logprob));
            label[found++] = list[0];
        }
        pgr_free(list);
    }
    assert_int_equal(found, 2);
    char body[200];
    snprintf(body, sizeof body,
             "{\"query\":\"Is it\",\"items\":[\" so\"],\"label_token_ids\":[%d,%d],\"apply_softmax\":false}",
             (int)label[0], (int)label[1]);
    json_t *scored = post("/generative_scoring", body), *both = post("/v1/score", body);
    /* 1e-5 of it: logarithms as floats (1e-6 at 10), written with 6 digits, and their exp */
    assert_true(fabs(json_number_value(at(scored, "data.0.score")) - want[0]) <= 1e-5 * want[0]);
    assert_true(fabs(json_number_value(at(both, "scores.0.1")) - want[1]) <= 1e-5 * want[1]);
    json_decref(scored);
    json_decref(both);
    snprintf(body, sizeof body, "{\"query\":\"Is it\",\"items\":[\" so\",\" no\"],\"label_token_ids\":[%d,%d]}",
             (int)label[0], (int)label[1]);
    scored = post("/generative_scoring", body);
    double share = want[0] / (want[0] + want[1]);
    assert_true(fabs(json_number_value(at(scored, "data.0.score")) - share) <= 1e-5);
    assert_int_equal(json_array_size(at(scored, "data")), 2);
    json_decref(scored);
    snprintf(body, sizeof body,
             "{\"query\":\"Is it\",\"items\":[\" so\"],\"label_token_ids\":[%d],\"apply_softmax\":false}",
             (int)label[0]);
    scored = post("/generative_scoring", body); /* one label among all tokens, and by itself */
    assert_true(fabs(json_number_value(at(scored, "data.0.score")) - want[0]) <= 1e-5 * want[0]);
    json_decref(scored);
    snprintf(body, sizeof body, "{\"query\":\"Is it\",\"items\":[\" so\"],\"label_token_ids\":[%d]}", (int)label[0]);
    scored = post("/generative_scoring", body);
    assert_true(json_number_value(at(scored, "data.0.score")) == 1);
    json_decref(scored);
    json_decref(v);
    json_decref(tokens);
    refuse("/generative_scoring", "{\"query\":\"a\",\"items\":[\"b\"],\"label_token_ids\":[]}", 400, "label_token_ids");
    refuse("/generative_scoring", "{\"query\":\"a\",\"items\":[\"b\"],\"label_token_ids\":[40,40]}", 400,
           "label_token_ids");
    refuse("/generative_scoring", "{\"query\":\"a\",\"items\":[],\"label_token_ids\":[40,41]}", 400, "items");
    refuse("/generative_scoring", "{\"items\":[\"b\"],\"label_token_ids\":[40,41]}", 400, "query");
    refuse("/generative_scoring", "{\"query\":\"a\",\"items\":[\"b\"],\"label_token_ids\":[40,99999999]}", 400, NULL);
}

/* As in vLLM query and item are tokens apart, whatever they would be together. */
static void labels_stand_behind_tokens_apart(void **state) {
    (void)state;
    static const char *const PARTS[] = {"{\"prompt\":\"t\"}", "{\"prompt\":\"he\",\"add_special_tokens\":false}"};
    json_t *query = post("/tokenize", PARTS[0]), *item = post("/tokenize", PARTS[1]);
    json_t *together = post("/tokenize", "{\"prompt\":\"the\"}"), *ids = at(query, "tokens");
    json_array_extend(ids, at(item, "tokens"));
    assert_false(json_equal(ids, at(together, "tokens")));
    json_t *asked = json_pack("{s:O, s:i, s:i, s:[ii], s:b}", "prompt", ids, "max_tokens", 1, "logprobs", 1,
                              "logprob_token_ids", 40, 41, "return_tokens_as_token_ids", 1);
    char *body = json_dumps(asked, 0);
    json_t *v = post("/v1/completions", body), *top = json_array_get(at(v, "choices.0.logprobs.top_logprobs"), 0);
    double want = exp(json_number_value(json_object_get(top, "token_id:40")));
    json_t *scored = post("/generative_scoring", "{\"query\":\"t\",\"items\":[\"he\"],\"label_token_ids\":[40,41],"
                                                 "\"apply_softmax\":false}");
    double found = json_number_value(at(scored, "data.0.score"));
    assert_true(fabs(found - want) <= 1e-5 * want); /* as above */
    json_t *turned = post("/generative_scoring", "{\"query\":\"he\",\"items\":[\"t\"],\"label_token_ids\":[40,41],"
                                                 "\"apply_softmax\":false,\"item_first\":true}");
    assert_true(json_number_value(at(turned, "data.0.score")) == found);
    pgr_free(body);
    json_decref(turned);
    json_decref(scored);
    json_decref(v);
    json_decref(asked);
    json_decref(together);
    json_decref(item);
    json_decref(query);
}

/* ---- adapters ---- */

static void loads_and_unloads_adapters(void **state) {
    (void)state;
    static const char with[] = "{" HELLO ",\"model\":\"mine\",\"max_tokens\":8,\"temperature\":0,\"ignore_eos\":true}",
                      without[] = "{" HELLO ",\"max_tokens\":8,\"temperature\":0,\"ignore_eos\":true}";
    refuse("/v1/chat/completions", with, 404, "model");
    refuse("/v1/load_lora_adapter", "{\"lora_name\":\"mine\"}", 400, "lora_path");
    refuse("/v1/load_lora_adapter", "{\"lora_name\":\"mine\",\"lora_path\":\"/nowhere\"}", 400, NULL);
    reply r = ask(&L, "POST", "/v1/load_lora_adapter", "{\"lora_name\":\"mine\",\"lora_path\":\"" LORA "\"}");
    if (r.status != 200) fail_msg("%s", r.body.data);
    reply_free(&r);
    refuse("/v1/load_lora_adapter", "{\"lora_name\":\"mine\",\"lora_path\":\"" LORA "\"}", 400, NULL);
    refuse("/v1/load_lora_adapter", "{\"lora_name\":\"tiny\",\"lora_path\":\"" LORA "\",\"load_inplace\":true}", 400,
           NULL);
    json_t *adapted = post("/v1/chat/completions", with), *plain = post("/v1/chat/completions", without);
    assert_string_equal(text_at(adapted, "model"), "mine");
    assert_string_not_equal(text_at(adapted, "choices.0.message.content"), text_at(plain, "choices.0.message.content"));

    r = ask(&L, "GET", "/v1/models", NULL);
    json_t *list = json_of(&r);
    reply_free(&r);
    assert_string_equal(text_at(list, "data.0.id"), "tiny");
    assert_string_equal(text_at(list, "data.1.id"), "mine");
    assert_string_equal(text_at(list, "data.1.parent"), "tiny");
    json_decref(list);

    int fd = dial(&L); /* what runs keeps its adapter */
    ask_on(fd, "POST", "/v1/chat/completions", NULL, with);
    expect(ask(&L, "POST", "/v1/unload_lora_adapter", "{\"lora_name\":\"mine\"}"), 200);
    r = hear_reply(fd, false);
    if (r.status == 200) { /* 404: the request came after the unloading */
        json_t *v = json_of(&r);
        assert_string_equal(text_at(v, "choices.0.message.content"), text_at(adapted, "choices.0.message.content"));
        json_decref(v);
    }
    reply_free(&r);
    close(fd);
    refuse("/v1/unload_lora_adapter", "{\"lora_name\":\"mine\"}", 404, "lora_name");
    refuse("/v1/unload_lora_adapter", "{\"lora_name\":\"tiny\"}", 404, "lora_name");
    refuse("/v1/chat/completions", with, 404, "model");
    json_decref(adapted);
    json_decref(plain);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_chats),
        cmocka_unit_test(tells_logprobs),
        cmocka_unit_test(tells_named_tokens),
        cmocka_unit_test(completes_texts_and_tokens),
        cmocka_unit_test(tells_token_ids),
        cmocka_unit_test(streams_token_ids),
        cmocka_unit_test(tokenizes_chats),
        cmocka_unit_test(names_the_stop_text),
        cmocka_unit_test(echoes_with_logprobs),
        cmocka_unit_test(streams_what_whole_answers_say),
        cmocka_unit_test(stops_when_a_stream_is_left),
        cmocka_unit_test(writes_what_a_schema_allows),
        cmocka_unit_test(refuses_by_name),
        cmocka_unit_test(refuses_texts_that_are_no_prompts),
        cmocka_unit_test(many_prompts),
        cmocka_unit_test(answers_with_what_is_there_at_the_deadline),
        cmocka_unit_test(a_nul_is_named_by_its_byte),
        cmocka_unit_test(scores_labels),
        cmocka_unit_test(labels_stand_behind_tokens_apart),
        cmocka_unit_test(loads_and_unloads_adapters),
    };
    return cmocka_run_group_tests(tests, begin_all, end_all);
}
