/* test_score_head.c - pgr_scalar against what transformers computes (tools/tiny_scalar.py): scores and tokens; that a
 * score depends on its own input alone, to the bit; what is refused and how. */
#include "embed_golden.h"

#include "model/score_head.h"
#include "pgenrm.h"

#define LEN(a)         (sizeof(a) / sizeof *(a))
#define SCALAR(family) GOLDEN("hf-tiny-scalar-" family)

enum { MAX = 16, TURNS = 4 };

static const char *const folders[] = {SCALAR("llama"), SCALAR("qwen2"), SCALAR("qwen3")};

typedef struct fixture {
    json_t *golden;
    pgr_scalar *s; /* NULL: this CPU has no kernels for the type */
    pgr_message turns[MAX][TURNS];
    pgr_scalar_input inputs[MAX];
    double want[MAX];
    const json_t *ids[MAX];
    size_t n;
} fixture;

static pgr_scalar *open_scalar(const char *path, pgr_dtype dtype, int threads) {
    pgr_model_options o = pgr_model_options_default();
    pgr_scalar *s = NULL;
    pgr_error err;
    o.dtype = dtype;
    o.n_thread = threads;
    pgr_status status = pgr_scalar_open(path, &o, &s, &err);
    bool may_lack = dtype == PGR_DTYPE_BF16 || dtype == PGR_DTYPE_INT8;
    if (status != PGR_OK && !(may_lack && status == PGR_E_UNSUPPORTED)) fail_msg("%s", err.message);
    return s;
}

static void add_conversation(fixture *x, size_t c, const json_t *talk) {
    const json_t *messages = json_object_get(talk, "messages"), *responses = json_object_get(talk, "responses");
    size_t n = json_array_size(messages);
    assert_true(n <= TURNS && c < MAX);
    for (size_t i = 0; i < n; i++) {
        const json_t *m = json_array_get(messages, i);
        x->turns[c][i] = (pgr_message){json_string_value(json_object_get(m, "role")),
                                       json_string_value(json_object_get(m, "content"))};
    }
    for (size_t i = 0; i < json_array_size(responses); i++, x->n++) {
        assert_true(x->n < MAX);
        x->inputs[x->n] = (pgr_scalar_input){x->turns[c], n, json_string_value(json_array_get(responses, i))};
        x->want[x->n] = json_number_value(json_array_get(json_object_get(talk, "scores"), i));
        x->ids[x->n] = json_array_get(json_object_get(talk, "ids"), i);
    }
}

static void open_fixture(fixture *x, const char *folder, pgr_dtype dtype, int threads) {
    char path[256];
    snprintf(path, sizeof path, "%s/scores.json", folder);
    *x = (fixture){.golden = read_json(path), .s = open_scalar(folder, dtype, threads)};
    if (!x->s) print_message("skipped: this CPU has no kernels for dtype %d\n", dtype);
    const json_t *talks = json_object_get(x->golden, "conversations");
    for (size_t c = 0; c < json_array_size(talks); c++) add_conversation(x, c, json_array_get(talks, c));
}

static void close_fixture(fixture *x) {
    pgr_scalar_close(x->s);
    json_decref(x->golden);
}

static void score(const fixture *x, float *out, size_t *tokens) {
    pgr_error err;
    if (pgr_scalar_score(x->s, x->inputs, x->n, NULL, out, tokens, &err) != PGR_OK) fail_msg("%s", err.message);
}

/* A score sums 32 products of a state near 1 and a weight near 1/2: what embeddings of 32 values near 1/5 may differ by
 * (test_embedder.c) times 5 for the states and times 3 for the sum. */
static const struct {
    pgr_dtype dtype;
    double bound;
} dtypes[] = {{PGR_DTYPE_EXACT, 1.5e-4}, {PGR_DTYPE_F32, 1.5e-4}, {PGR_DTYPE_BF16, 0.45}, {PGR_DTYPE_INT8, 1.5}};

/* The text that the template makes, by itself: the same tokens, the same score to the bit; its BOS is not doubled. */
static void a_text_as_it_stands(void **state) {
    (void)state;
    size_t n_same = 0;
    for (size_t f = 0; f < LEN(folders); f++) {
        fixture x;
        open_fixture(&x, folders[f], PGR_DTYPE_EXACT, 1);
        float want[MAX], got;
        size_t tokens[MAX], n;
        score(&x, want, tokens);
        for (size_t i = 0; i < x.n; i++) {
            int32_t list[2048];
            size_t n_id = json_array_size(x.ids[i]);
            assert_true(n_id <= LEN(list));
            for (size_t k = 0; k < n_id; k++) list[k] = (int32_t)json_integer_value(json_array_get(x.ids[i], k));
            char *text = NULL;
            size_t len;
            pgr_error err;
            assert_int_equal(pgr_detokenize(x.s->model, list, n_id, &text, &len, NULL), PGR_OK);
            pgr_scalar_input alone = {NULL, 0, text};
            if (pgr_scalar_score(x.s, &alone, 1, NULL, &got, &n, &err) != PGR_OK) fail_msg("%s", err.message);
            if (n == tokens[i]) { /* a text that spells out control tokens is read as them: another one then */
                assert_memory_equal(&got, &want[i], sizeof got);
                n_same++;
            }
            pgr_free(text);
        }
        float none;
        assert_int_equal(pgr_scalar_score(x.s, &(pgr_scalar_input){NULL, 0, ""}, 1, NULL, &none, NULL, NULL) == PGR_OK,
                         tok_before(x.s->model->tok) > 0);
        close_fixture(&x);
    }
    assert_true(n_same >= 6);
}

static void scores_equal_those_of_transformers(void **state) {
    (void)state;
    for (size_t f = 0; f < LEN(folders); f++)
        for (size_t i = 0; i < LEN(dtypes); i++) {
            fixture x;
            float out[MAX];
            size_t tokens[MAX];
            double worst = 0;
            open_fixture(&x, folders[f], dtypes[i].dtype, 2);
            if (x.s) score(&x, out, tokens);
            for (size_t k = 0; x.s && k < x.n; k++) {
                double error = fabs((double)out[k] - x.want[k]);
                if (!(error <= worst)) worst = error;
                assert_int_equal(tokens[k], json_array_size(x.ids[k]));
            }
            if (x.s) print_message("%s, dtype %d: largest difference %.2g\n", pgr_scalar_name(x.s), (int)i, worst);
            if (!(worst <= dtypes[i].bound)) fail_msg("above %g", dtypes[i].bound);
            close_fixture(&x);
        }
}

/* Alone, with other responses to the same conversation, in a call of many passes, in another order, with 1 and 2
 * threads: the same bits. */
static void check_company(const char *folder, pgr_dtype dtype) {
    enum { MANY = 10 * MAX };
    fixture x, y;
    float all[MAX], one, many[MANY];
    pgr_scalar_input inputs[MANY];
    open_fixture(&x, folder, dtype, 2);
    open_fixture(&y, folder, dtype, 1);
    if (x.s && y.s) {
        score(&x, all, NULL);
        for (size_t i = 0; i < x.n; i++) {
            assert_int_equal(pgr_scalar_score(y.s, &x.inputs[i], 1, NULL, &one, NULL, NULL), PGR_OK);
            assert_memory_equal(&one, &all[i], sizeof one);
        }
        for (size_t i = 0; i < MANY; i++) inputs[i] = x.inputs[i * 7 % x.n];
        assert_int_equal(pgr_scalar_score(x.s, inputs, MANY, NULL, many, NULL, NULL), PGR_OK);
        for (size_t i = 0; i < MANY; i++) assert_memory_equal(&many[i], &all[i * 7 % x.n], sizeof *many);
        for (size_t i = 0; i < MANY; i++) inputs[i] = x.inputs[i * x.n / MANY]; /* 14 of each, side by side */
        assert_int_equal(pgr_scalar_score(x.s, inputs, MANY, NULL, many, NULL, NULL), PGR_OK);
        for (size_t i = 0; i < MANY; i++) assert_memory_equal(&many[i], &all[i * x.n / MANY], sizeof *many);
    }
    close_fixture(&x);
    close_fixture(&y);
}

static void a_score_does_not_see_the_others(void **state) {
    (void)state;
    for (size_t f = 0; f < LEN(folders); f++) {
        check_company(folders[f], PGR_DTYPE_EXACT);
        check_company(folders[f], PGR_DTYPE_INT8);
    }
}

static void padding_at_the_end_is_not_read(void **state) {
    (void)state;
    const int32_t v[] = {5, 2, 7, 2, 2};
    assert_int_equal(score_end(v, 5, 2), 3);
    assert_int_equal(score_end(v, 3, 2), 3);
    assert_int_equal(score_end(v, 5, -1), 5);
    assert_int_equal(score_end(v + 3, 2, 2), 1); /* nothing else is there: the first token */
}

/* Identical texts get identical scores; one that is too long gets none and does not disturb its neighbours. */
static void what_is_too_long_has_no_score(void **state) {
    (void)state;
    static char text[4000];
    memset(text, '7', sizeof text - 1);
    const pgr_message question = {"user", "How long?"};
    const pgr_scalar_input in[] = {{&question, 1, "short"}, {&question, 1, text}, {&question, 1, "short"}};
    float out[3];
    size_t tokens[3];
    pgr_scalar *s = open_scalar(folders[0], PGR_DTYPE_AUTO, 1);
    assert_int_equal(pgr_scalar_max_tokens(s), 1024);
    assert_int_equal(pgr_scalar_score(s, in, 3, NULL, out, tokens, NULL), PGR_OK);
    assert_true(isfinite(out[0]) && isnan(out[1]) && out[2] == out[0]);
    assert_true(tokens[1] > 1024 && tokens[0] == tokens[2] && tokens[0] < 40);
    assert_int_equal(pgr_scalar_score(s, in + 1, 1, NULL, out, NULL, NULL), PGR_OK);
    assert_true(isnan(out[0]));
    assert_int_equal(pgr_scalar_score(s, NULL, 0, NULL, NULL, NULL, NULL), PGR_OK);
    pgr_scalar_close(s);
}

static void wrong_inputs_are_errors(void **state) {
    (void)state;
    const pgr_message question = {"user", "Why?"}, other = {"owl", "Why?"};
    const pgr_scalar_input in[] = {{&question, 1, "a"}, {&other, 1, "b"}};
    float out[2];
    pgr_error err;
    pgr_scalar *s = open_scalar(folders[0], PGR_DTYPE_AUTO, 1);
    assert_int_equal(pgr_scalar_score(s, in, 2, NULL, out, NULL, &err), PGR_E_ARG);
    assert_string_equal(err.message, "input 1: message 0 has role \"owl\", want system, user or assistant");
    pgr_cancel cancel = 1;
    pgr_watch watch = {.cancel = &cancel};
    assert_int_equal(pgr_scalar_score(s, in, 1, &watch, out, NULL, &err), PGR_E_CANCELLED);
    cancel = 0;
    assert_int_equal(pgr_scalar_score(s, in, 1, &watch, out, NULL, &err), PGR_OK); /* as if nothing had been */
    assert_true(isfinite(out[0]));
    pgr_scalar_close(s);
}

/* ---- opening ---- */

static void a_reward_model_is_no_language_model(void **state) {
    (void)state;
    pgr_error err;
    pgr_model *m;
    pgr_scalar *s;
    pgr_embedder *e;
    assert_int_equal(pgr_model_open(folders[0], NULL, &m, &err), PGR_E_ARG);
    assert_non_null(strstr(err.message, "hf-tiny-scalar-llama: has a score head: it gives a response one number and "
                                        "writes no text; open it with --scalar"));
    assert_int_equal(pgr_embedder_open(folders[0], NULL, &e, &err), PGR_E_ARG);
    assert_non_null(strstr(err.message, "open it with --scalar"));
    assert_int_equal(pgr_scalar_open(GOLDEN("hf-tiny-llama/f32"), NULL, &s, &err), PGR_E_ARG);
    assert_non_null(strstr(err.message, "is a language model, expected a score head"));
    assert_int_equal(pgr_scalar_open(GOLDEN("tiny-llama.gguf"), NULL, &s, &err), PGR_E_ARG);
}

static void copy_to(const folder *f, const char *name) {
    char from[256];
    buf b = {0};
    snprintf(from, sizeof from, "%s/%s", folders[0], name);
    assert_int_equal(file_read(from, &b, NULL), PGR_OK);
    folder_put(f, name, b.data, b.n);
    buf_free(&b);
}

/* The safetensors file of the golden folder with another header: `from` in it becomes `to`, of the same length. */
static void put_weights(const folder *f, const char *from, const char *to) {
    buf b = {0};
    char path[256];
    snprintf(path, sizeof path, "%s/model.safetensors", folders[0]);
    assert_int_equal(file_read(path, &b, NULL), PGR_OK);
    char *at = from ? memmem(b.data, b.n, from, strlen(from)) : NULL;
    assert_true(!from || (at && strlen(from) == strlen(to)));
    if (at) memcpy(at, to, strlen(to));
    folder_put(f, "model.safetensors", b.data, b.n);
    buf_free(&b);
}

static void heads_that_are_not_one_row_are_refused_by_name(void **state) {
    (void)state;
    static const char *const names[] = {"config.json", "tokenizer.json", "tokenizer_config.json"};
    static const struct {
        const char *from, *to, *message;
    } cases[] = {
        {"score.weight", "scare.weight", "tensor score.weight is missing"},
        {"\"shape\":[1,32]", "\"shape\":[32,1]", "tensor score.weight has shape 32 x 1, expected 1 rows of 32"},
        {"model.norm.weight", "score.bias.......", "tensor model.norm.weight is missing"},
    };
    folder f = folder_make();
    pgr_scalar *s;
    pgr_error err;
    for (size_t i = 0; i < LEN(names); i++) copy_to(&f, names[i]);
    put_weights(&f, NULL, NULL);
    assert_int_equal(pgr_scalar_open(f.path, NULL, &s, &err), PGR_E_UNSUPPORTED);
    assert_non_null(strstr(err.message, "no chat template"));
    copy_to(&f, "chat_template.jinja");
    for (size_t i = 0; i < LEN(cases); i++) {
        put_weights(&f, cases[i].from, cases[i].to);
        assert_int_equal(pgr_scalar_open(f.path, NULL, &s, &err), PGR_E_FORMAT);
        if (!strstr(err.message, cases[i].message)) fail_msg("%s", err.message);
    }
    put_weights(&f, NULL, NULL);
    assert_int_equal(pgr_scalar_open(f.path, NULL, &s, &err), PGR_OK);
    pgr_scalar_close(s);
    folder_remove(&f);
}

static void inspect_shows_the_head(void **state) {
    (void)state;
    static const char *const wanted[] = {"\"score_head\":{\"labels\":1,\"padding\":\"<|im_end|>\"}",
                                         "\"score_head\":{\"labels\":1,\"padding\":\"<|endoftext|>\"}",
                                         "\"score_head\":{\"labels\":1,\"padding\":null}"};
    char *text = NULL;
    for (size_t i = 0; i < LEN(folders); i++) {
        assert_int_equal(pgr_inspect(folders[i], NULL, true, &text, NULL), PGR_OK);
        if (!strstr(text, wanted[i])) fail_msg("%s", text);
        pgr_free(text);
    }
    assert_int_equal(pgr_inspect(folders[0], NULL, false, &text, NULL), PGR_OK);
    assert_non_null(strstr(text, "score head      one number, read at the last token that is not <|im_end|>: a reward "
                                 "model, for --scalar\n"));
    pgr_free(text);
    assert_int_equal(pgr_inspect(GOLDEN("tiny-llama.gguf"), NULL, true, &text, NULL), PGR_OK);
    assert_non_null(strstr(text, "\"score_head\":null"));
    pgr_free(text);
}

static bool score_some(void) {
    const pgr_message question = {"user", "Why?"}, other = {"user", "How?"};
    const pgr_scalar_input in[] = {{&question, 1, "a"}, {&question, 1, "b"}, {&other, 1, "c"}};
    float out[3];
    pgr_scalar *s;
    pgr_model_options o = pgr_model_options_default();
    o.n_thread = 1;
    if (pgr_scalar_open(folders[0], &o, &s, NULL) != PGR_OK) return false;
    bool worked = pgr_scalar_score(s, in, 3, NULL, out, NULL, NULL) == PGR_OK;
    pgr_scalar_close(s);
    return worked;
}

static void every_failed_allocation_is_an_error(void **state) {
    (void)state;
    assert_true(fail_allocations(score_some, 8) > 100);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scores_equal_those_of_transformers),
        cmocka_unit_test(a_text_as_it_stands),
        cmocka_unit_test(a_score_does_not_see_the_others),
        cmocka_unit_test(padding_at_the_end_is_not_read),
        cmocka_unit_test(what_is_too_long_has_no_score),
        cmocka_unit_test(wrong_inputs_are_errors),
        cmocka_unit_test(a_reward_model_is_no_language_model),
        cmocka_unit_test(heads_that_are_not_one_row_are_refused_by_name),
        cmocka_unit_test(inspect_shows_the_head),
        cmocka_unit_test(every_failed_allocation_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
