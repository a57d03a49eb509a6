/* test_bos.c - a model that begins texts with BOS: who leaves it out by add_special_tokens, and where there is none
 * whatever is asked. */
#include <math.h>

#include "live_server.h"

#include "../base/scratch.h"

#include "base/file.h"

enum { BOS = 1 }; /* of the tiny models, which do not add it */

static live L;

/* The tiny model with the one byte that says so turned. */
static const char *model_with_bos(void) {
    static const char key[] = "tokenizer.ggml.add_bos_token\x07\0\0"; /* a flag, gguf's type 7; the value follows */
    buf b = {0};
    pgr_error err = {0};
    if (file_read(TINY, &b, &err) != PGR_OK) fail_msg("%s", err.message);
    char *flag = memmem(b.data, b.n, key, sizeof key);
    assert_non_null(flag);
    flag[sizeof key] = 1;
    const char *path = write_bytes("bos.gguf", b.data, b.n);
    buf_free(&b);
    return path;
}

static int begin(void **state) {
    if (make_folder(state) || live_begin_on(model_with_bos())) return 1;
    pgr_serve_options o = live_options();
    live_listen(&L, &o);
    live_start(&L);
    return 0;
}

static int end(void **state) {
    live_stop(&L);
    return live_end(state) || remove_folder(state);
}

/* Of what is answered, the list that stands at "prompt_token_ids" of the i-th choice, or at "tokens". */
static json_t *ids_of(const char *path, const char *body, size_t choice) {
    json_t *v = answer(ask(&L, "POST", path, body), 200);
    json_t *one = json_array_get(json_object_get(v, "choices"), choice);
    json_t *ids = one ? json_object_get(one, "prompt_token_ids") : json_object_get(v, "tokens");
    if (!json_is_array(ids)) fail_msg("%s: no tokens for %s", path, body);
    json_incref(ids);
    json_decref(v);
    return ids;
}

static json_int_t nth(const json_t *ids, size_t i) {
    return json_integer_value(json_array_get(ids, i));
}

/* with is BOS and then plain. Both are given up. */
static void differ_by_bos(json_t *with, json_t *plain) {
    assert_true(json_array_size(plain) > 0 && nth(plain, 0) != BOS);
    json_array_insert_new(plain, 0, json_integer(BOS));
    assert_true(json_equal(with, plain));
    json_decref(with);
    json_decref(plain);
}

static void tokenizes(void **state) {
    (void)state;
    differ_by_bos(ids_of("/tokenize", "{\"prompt\":\"Is it\"}", 0),
                  ids_of("/tokenize", "{\"prompt\":\"Is it\",\"add_special_tokens\":false}", 0));
    differ_by_bos(ids_of("/tokenize", "{\"prompt\":\"Is it\",\"add_special_tokens\":true}", 0),
                  ids_of("/tokenize", "{\"prompt\":\"Is it\",\"add_special_tokens\":false}", 0));
}

/* One text, a list of them, and tokens, which stand as they are. */
static void completes(void **state) {
    (void)state;
#define ASK   "\"max_tokens\":1,\"return_token_ids\":true}"
#define PLAIN "\"add_special_tokens\":false," ASK
    static const char two[] = "/v1/completions";
    differ_by_bos(ids_of(two, "{\"prompt\":\"Once\"," ASK, 0), ids_of(two, "{\"prompt\":\"Once\"," PLAIN, 0));
    differ_by_bos(ids_of(two, "{\"prompt\":[\"Once\",\"Is it\"]," ASK, 1),
                  ids_of(two, "{\"prompt\":[\"Once\",\"Is it\"]," PLAIN, 1));
    json_t *given = ids_of(two, "{\"prompt\":[40,41]," ASK, 0);
    assert_true(json_array_size(given) == 2 && nth(given, 0) == 40);
    json_decref(given);
    expect_error(ask(&L, "POST", two, "{\"prompt\":\"Once\",\"add_special_tokens\":1," ASK), 400, NULL);
}

/* The answer depends on what was read: draws and log-probabilities are those behind the tokens by themselves. */
static void goes_on_behind_what_it_read(void **state) {
    (void)state;
    static const char *const SAY[] = {"true", "false"};
    for (int i = 0; i < 2; i++) {
        char body[400];
        snprintf(body, sizeof body, "{\"prompt\":\"Is it\",\"add_special_tokens\":%s}", SAY[i]);
        json_t *ids = ids_of("/tokenize", body, 0);
        char *list = json_dumps(ids, JSON_COMPACT);
        json_t *logprobs[2];
        for (int k = 0; k < 2; k++) {
            snprintf(body, sizeof body,
                     "{\"prompt\":%s,\"add_special_tokens\":%s,\"max_tokens\":4,\"seed\":5,\"logprobs\":2}",
                     k ? list : "\"Is it\"", SAY[i]);
            json_t *v = answer(ask(&L, "POST", "/v1/completions", body), 200);
            logprobs[k] = json_incref(json_object_get(json_array_get(json_object_get(v, "choices"), 0), "logprobs"));
            json_decref(v);
        }
        assert_true(json_is_object(logprobs[0]) && json_equal(logprobs[0], logprobs[1]));
        json_decref(logprobs[0]);
        json_decref(logprobs[1]);
        json_decref(ids);
        pgr_free(list);
    }
}

/* A chat's template says how it begins. */
static void chats_get_none(void **state) {
    (void)state;
    json_t *ids = ids_of("/tokenize", "{\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}]}", 0);
    assert_true(nth(ids, 0) == BOS && nth(ids, 1) != BOS); /* the template's own <|im_start|> */
    json_decref(ids);
}

/* /generative_scoring: BOS before the query, none before an item. */
static void scores_begin_with_one(void **state) {
    (void)state;
    json_t *query = ids_of("/tokenize", "{\"prompt\":\"Is it\"}", 0);
    json_t *item = ids_of("/tokenize", "{\"prompt\":\" so\",\"add_special_tokens\":false}", 0);
    json_array_extend(query, item);
    json_t *asked = json_pack("{s:O,s:i,s:i,s:[ii],s:b}", "prompt", query, "max_tokens", 1, "logprobs", 1,
                              "logprob_token_ids", 40, 41, "return_tokens_as_token_ids", 1);
    char *body = json_dumps(asked, 0);
    json_t *v = answer(ask(&L, "POST", "/v1/completions", body), 200);
    json_t *lists =
        json_object_get(json_object_get(json_array_get(json_object_get(v, "choices"), 0), "logprobs"), "top_logprobs");
    double want = exp(json_number_value(json_object_get(json_array_get(lists, 0), "token_id:40")));
    json_t *scored = answer(ask(&L, "POST", "/generative_scoring",
                                "{\"query\":\"Is it\",\"items\":[\" so\"],\"label_token_ids\":[40,41],"
                                "\"apply_softmax\":false}"),
                            200);
    double found = json_number_value(json_object_get(json_array_get(json_object_get(scored, "data"), 0), "score"));
    assert_true(want > 0);
    assert_true(fabs(found - want) <= 1e-5 * want); /* the log-probability has six digits */
    json_decref(scored);
    json_decref(v);
    json_decref(asked);
    json_decref(item);
    json_decref(query);
    pgr_free(body);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tokenizes),
        cmocka_unit_test(completes),
        cmocka_unit_test(goes_on_behind_what_it_read),
        cmocka_unit_test(chats_get_none),
        cmocka_unit_test(scores_begin_with_one),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
