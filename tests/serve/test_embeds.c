/* What the embedder answers, over real connections: vectors as pgr_embed gives them, in both formats; scores as their
 * cosines; rankings by them. And what a score head answers. */
#include <math.h>

#include "live_server.h"

#include "base/base64.h"
#include "serve/embeds.h"

#define HEAD PGR_SOURCE_DIR "/tests/golden/hf-tiny-scalar-llama"
#define BERT PGR_SOURCE_DIR "/tests/golden/hf-tiny-bert"

static live L;
static pgr_embedder *EMBEDDER;
static pgr_scalar *SCALAR;
static pgr_judge_options JUDGE;

static int begin_all(void **state) {
    pgr_error err = {0};
    pgr_model_options mo = pgr_model_options_default();
    if (live_begin(state)) return 1;
    if (pgr_embedder_open(BERT, &mo, &EMBEDDER, &err) != PGR_OK) fail_msg("%s", err.message);
    pgr_serve_options o = live_options();
    live_listen(&L, &o);
    if (pgr_scalar_open(HEAD, &mo, &SCALAR, &err) != PGR_OK) fail_msg("%s", err.message);
    JUDGE = pgr_judge_options_default();
    JUDGE.scalar = SCALAR;
    L.what.judge = &JUDGE;
    L.what.embedder = EMBEDDER;
    live_start(&L);
    return 0;
}

static int end_all(void **state) {
    live_stop(&L);
    pgr_embedder_close(EMBEDDER);
    pgr_scalar_close(SCALAR);
    return live_end(state);
}

static json_t *post(const char *path, const char *body) {
    reply r = ask(&L, "POST", path, body);
    if (r.status != 200) fail_msg("%s: %d %s", body, r.status, r.body.data);
    json_t *v = json_of(&r);
    reply_free(&r);
    return v;
}

static json_t *item(json_t *v, const char *list, size_t i, const char *key) {
    json_t *x = json_object_get(json_array_get(json_object_get(v, list), i), key);
    assert_non_null(x);
    return x;
}

static void gives_vectors(void **state) {
    (void)state;
    static const char *const texts[] = {"a cat", "two dogs"};
    static const size_t lens[] = {5, 8};
    size_t dim = pgr_embedder_dims(EMBEDDER), n;
    float *want = mem_array(2 * dim, sizeof *want), *bytes = mem_array(dim, sizeof *bytes);
    pgr_embedded counts[2];
    assert_int_equal(pgr_embed(EMBEDDER, texts, lens, 2, NULL, want, counts, NULL), PGR_OK);
    json_t *v = post("/v1/embeddings", "{\"model\":\"any\",\"input\":[\"a cat\",\"two dogs\"]}");
    assert_int_equal(json_integer_value(json_object_get(json_object_get(v, "usage"), "prompt_tokens")),
                     counts[0].tokens + counts[1].tokens);
    for (size_t i = 0; i < 2; i++) {
        json_t *list = item(v, "data", i, "embedding");
        assert_int_equal(json_array_size(list), dim);
        for (size_t k = 0; k < dim; k++)
            assert_true((float)json_number_value(json_array_get(list, k))
                        == want[i * dim + k]); /* 9 digits: the same */
    }
    json_decref(v);
    v = post("/v1/embeddings", "{\"input\":\"two dogs\",\"encoding_format\":\"base64\"}");
    const char *text = json_string_value(item(v, "data", 0, "embedding"));
    assert_true(base64_read(text, strlen(text), (char *)bytes, dim * sizeof *bytes, &n));
    assert_int_equal(n, dim * sizeof *bytes);
    assert_memory_equal(bytes, want + dim, n);
    json_decref(v);
    v = post("/v1/embeddings", "{\"input\":\"two dogs\",\"dimensions\":4}");
    assert_int_equal(json_array_size(item(v, "data", 0, "embedding")), 4);
    json_decref(v);
    v = post("/pooling", "{\"input\":[\"a cat\"]}");
    assert_int_equal(json_array_size(item(v, "data", 0, "data")), dim);
    json_decref(v);
    mem_free(want);
    mem_free(bytes);
}

static double score_at(json_t *v, size_t i) {
    return json_number_value(item(v, "data", i, "score"));
}

static void scores_and_ranks(void **state) {
    (void)state;
    json_t *v = post("/score", "{\"text_1\":\"a cat\",\"text_2\":[\"a dog\",\"a cat\",\"why not two\"]}");
    assert_true(fabs(score_at(v, 1) - 1) < 1e-6); /* of a text with itself: sums in double of floats */
    assert_true(score_at(v, 0) < 1 && score_at(v, 2) < 1);
    json_t *r =
        post("/v1/rerank", "{\"query\":\"a cat\",\"documents\":[\"a dog\",{\"text\":\"a cat\"},\"why not two\"]}");
    assert_int_equal(json_integer_value(item(r, "results", 0, "index")), 1);
    assert_string_equal(json_string_value(json_object_get(item(r, "results", 0, "document"), "text")), "a cat");
    for (size_t i = 0; i < 3; i++) {
        size_t index = (size_t)json_integer_value(item(r, "results", i, "index"));
        assert_true(json_number_value(item(r, "results", i, "relevance_score")) == score_at(v, index));
    }
    json_decref(r);
    json_decref(v);
    r = post("/rerank",
             "{\"query\":\"a cat\",\"documents\":[\"a dog\",\"a cat\"],\"top_n\":1,\"return_documents\":false}");
    assert_int_equal(json_array_size(json_object_get(r, "results")), 1);
    assert_null(json_object_get(json_array_get(json_object_get(r, "results"), 0), "document"));
    json_decref(r);
    r = post("/v1/reranking", "{\"query\":\"a cat\",\"texts\":[\"a dog\",\"a cat\"],\"return_text\":true}");
    assert_int_equal(json_array_size(r), 2); /* as TEI: a list */
    assert_int_equal(json_integer_value(json_object_get(json_array_get(r, 0), "index")), 1);
    assert_true(fabs(json_number_value(json_object_get(json_array_get(r, 0), "score")) - 1) < 1e-6);
    assert_string_equal(json_string_value(json_object_get(json_array_get(r, 1), "text")), "a dog");
    json_decref(r);
    v = post("/v1/score", "{\"queries\":[\"a cat\",\"a dog\"],\"documents\":[\"a cat\",\"a dog\"]}");
    assert_true(fabs(score_at(v, 0) - 1) < 1e-6 && fabs(score_at(v, 1) - 1) < 1e-6);
    json_decref(v);
}

static void refuses(void **state) {
    (void)state;
    static const char *const rows[][2] = {
        {"/v1/embeddings", "{}"},
        {"/v1/embeddings", "{\"input\":[]}"},
        {"/v1/embeddings", "{\"input\":[1,2]}"},
        {"/v1/embeddings", "{\"input\":[[1,2]]}"},
        {"/v1/embeddings", "{\"input\":\"x\",\"encoding_format\":\"hex\"}"},
        {"/v1/embeddings", "{\"input\":\"x\",\"dimensions\":0}"},
        {"/v1/embeddings", "{\"input\":\"x\",\"dimensions\":100000}"},
        {"/score", "{\"text_1\":[\"a\",\"b\"],\"text_2\":[\"a\",\"b\",\"c\"]}"},
        {"/v1/embeddings", "{\"input\":\"x\",\"truncate_prompt_tokens\":1}"},
        {"/pooling", "{\"input\":\"x\",\"task\":\"classify\"}"}, /* another thing than a vector of the text */
        {"/pooling", "{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]}"},
        {"/score", "{\"text_1\":\"a\",\"text_2\":\"b\",\"truncate_prompt_tokens\":1}"},
        {"/rerank", "{\"query\":\"a\",\"documents\":[\"b\"],\"truncate_prompt_tokens\":1}"},
        {"/score", "{\"text_1\":\"a\"}"},
        {"/score", "{}"},
        {"/rerank", "{\"query\":[\"a\",\"b\"],\"documents\":[\"a\"]}"},
        {"/rerank", "{\"query\":\"a\",\"documents\":[]}"},
        {"/v1/reranking", "{\"query\":\"a\",\"texts\":[]}"},
        {"/v1/reranking", "{\"query\":\"a\",\"texts\":[1]}"},
        {"/v1/reranking", "{\"query\":\"a\",\"texts\":[\"b\"],\"return_text\":1}"},
        {"/rerank", "{\"query\":\"a\",\"documents\":[\"b\"],\"top_n\":-1}"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        expect_error(ask(&L, "POST", rows[i][0], rows[i][1]), 400, NULL);
    buf body = {0};
    buf_puts(&body, "{\"input\":\"");
    for (size_t i = 0; i < 2000; i++) buf_puts(&body, "many words ");
    buf_puts(&body, "\"}");
    expect_error(ask(&L, "POST", "/v1/embeddings", body.data), 400, NULL); /* too long is not cut in silence */
    buf_free(&body);
}

/* The library's scores, and sigmoid of them. */
static void classifies(void **state) {
    (void)state;
    static const pgr_message turns[] = {{"system", "Be brief."}, {"user", "Where is Oslo?"}};
    const pgr_scalar_input inputs[] = {{turns, 2, "In Norway."}, {NULL, 0, "a cat"}, {NULL, 0, "two dogs"}};
    float want[3];
    size_t tokens[3];
    assert_int_equal(pgr_scalar_score(SCALAR, inputs, 3, NULL, want, tokens, NULL), PGR_OK);
    json_t *v = post("/classify", "{\"model\":\"m\",\"input\":[\"a cat\",\"two dogs\"],\"use_activation\":false}");
    for (size_t i = 0; i < 2; i++) {
        json_t *probs = item(v, "data", i, "probs");
        assert_int_equal(json_array_size(probs), 1);
        assert_true((float)json_number_value(json_array_get(probs, 0)) == want[1 + i]); /* 9 digits: the same */
        assert_string_equal(json_string_value(item(v, "data", i, "label")), "LABEL_0");
    }
    assert_int_equal(json_integer_value(json_object_get(json_object_get(v, "usage"), "prompt_tokens")),
                     tokens[1] + tokens[2]);
    json_decref(v);
    v = post("/v1/classify",
             "{\"messages\":[{\"role\":\"system\",\"content\":\"Be brief.\"},{\"role\":\"user\",\"content\":"
             "\"Where is Oslo?\"},{\"role\":\"assistant\",\"content\":\"In Norway.\"}]}");
    double p = json_number_value(json_array_get(item(v, "data", 0, "probs"), 0));
    assert_true(fabs(p - 1 / (1 + exp(-(double)want[0]))) < 1e-8);
    json_decref(v);
    buf body = {0};
    buf_puts(&body, "{\"input\":\"");
    for (size_t i = 0; i < 2000; i++) buf_puts(&body, "many words ");
    buf_puts(&body, "\"}");
    expect_error(ask(&L, "POST", "/classify", body.data), 400, NULL); /* too long is not cut in silence */
    buf_free(&body);
    static const char *const wrong[] = {
        "{}",
        "{\"input\":[]}",
        "{\"input\":[1,2]}",
        "{\"input\":\"\\u0000\"}",
        "{\"input\":\"a\",\"use_activation\":1}",
        "{\"messages\":[]}",
        "{\"messages\":[{\"role\":\"user\",\"content\":\"a\"}]}",
        "{\"messages\":[{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"user\",\"content\":\"b\"}]}",
        "{\"messages\":[{\"role\":\"user\",\"content\":[]},{\"role\":\"assistant\",\"content\":\"b\"}]}"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        expect_error(ask(&L, "POST", "/classify", wrong[i]), 400, NULL);
    expect_error(ask(&L, "POST", "/classify", "{\"input\":\"a\",\"deadline_s\":1e-9}"), 504, "deadline");
}

/* They are embedded some at a time, so that others need not wait for all: each text's vector is the one that it has
 * alone, and a deadline that passes between them ends it. */
static void many_texts(void **state) {
    (void)state;
    enum { N = 2 * EMBEDS_AT_ONCE + 3 };
    size_t dim = pgr_embedder_dims(EMBEDDER);
    buf body = {0}, late = {0};
    buf_puts(&body, "{\"input\":[");
    for (size_t i = 0; i < N; i++) buf_printf(&body, "%s\"cat %zu%s\"", i ? "," : "", i, i % 5 ? "" : " and two dogs");
    buf_add(&late, body.data, body.n);
    buf_puts(&body, "]}");
    buf_puts(&late, "],\"deadline_s\":1e-9}");
    json_t *v = post("/v1/embeddings", body.data);
    for (size_t i = 0; i < N; i++) {
        char one[60];
        snprintf(one, sizeof one, "{\"input\":\"cat %zu%s\"}", i, i % 5 ? "" : " and two dogs");
        json_t *alone = post("/v1/embeddings", one);
        assert_int_equal(json_array_size(item(v, "data", i, "embedding")), dim);
        assert_true(json_equal(item(v, "data", i, "embedding"), item(alone, "data", 0, "embedding")));
        json_decref(alone);
    }
    json_decref(v);
    expect_error(ask(&L, "POST", "/v1/embeddings", late.data), 504, "deadline");
    expect_error(ask(&L, "POST", "/pooling", late.data), 504, "deadline");
    buf_free(&body);
    buf_free(&late);
}

/* As long as a body may be, but not read to its end: others would wait for that. */
static void endless_texts(void **state) {
    (void)state;
    static const struct {
        const char *path, *before, *behind;
    } bodies[] = {{"/v1/embeddings", "{\"input\":[\"a\",\"", "\"]}"},
                  {"/rerank", "{\"query\":\"a\",\"documents\":[\"", "\"]}"},
                  {"/classify", "{\"input\":\"", "\"}"},
                  {"/classify", "{\"messages\":[{\"role\":\"user\",\"content\":\"",
                   "\"},{\"role\":\"assistant\","
                   "\"content\":\"b\"}]}"}};
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) {
        buf body = {0};
        buf_puts(&body, bodies[i].before);
        for (size_t k = 0; k < TEXT_LEAST / 4; k++) buf_puts(&body, "word ");
        buf_puts(&body, bodies[i].behind);
        reply r = ask(&L, "POST", bodies[i].path, body.data);
        assert_int_equal(r.status, 400);
        assert_non_null(strstr(r.body.data, "bytes of text, expected at most"));
        reply_free(&r);
        buf_free(&body);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(gives_vectors), cmocka_unit_test(scores_and_ranks),
                                       cmocka_unit_test(refuses),       cmocka_unit_test(classifies),
                                       cmocka_unit_test(many_texts),    cmocka_unit_test(endless_texts)};
    return cmocka_run_group_tests(tests, begin_all, end_all);
}
