/* test_families.c - what the engine writes with models whose vocabulary has more rows than the tokenizer has ids: those
 * rows win often (tools/tiny_families.py) and are never chosen. */
#include "../base/faults.h"
#include "base/file.h"
#include "base/json.h"
#include "infer/engine.h"
#include "model/model.h"

#define GOLDEN(name) PGR_SOURCE_DIR "/tests/golden/" name

static void rows_beyond_the_tokenizer_are_never_chosen(void **state) {
    (void)state;
    buf b = {0};
    json_t *golden = NULL;
    pgr_model *m = NULL;
    pgr_engine *e = NULL;
    int32_t prompt[64];
    assert_int_equal(file_read(GOLDEN("tiny-qwen2.json"), &b, NULL), PGR_OK);
    assert_int_equal(json_parse(b.data, b.n, "golden", 1, &golden, NULL), PGR_OK);
    for (size_t i = 0; i < 64; i++)
        prompt[i] = (int32_t)json_integer_value(json_array_get(json_object_get(golden, "prompt"), i));
    assert_int_equal(
        pgr_model_open(GOLDEN("tiny-qwen2.gguf"), &(pgr_model_options){.dtype = PGR_DTYPE_EXACT}, &m, NULL), PGR_OK);
    assert_int_equal(pgr_engine_create(m, NULL, &e, NULL), PGR_OK);
    assert_true(m->config.n_vocab > tok_count(m->tok));

    /* greedy: the tokens of transformers, with the choice bounded in the same way */
    infer_output out;
    infer_request r = {.prompt = prompt, .n_prompt = 64, .n_sample = 1, .max_tokens = 40, .ignore_eos = true};
    json_t *want = json_object_get(golden, "greedy");
    assert_int_equal(infer_run(e, &r, 1, NULL, &out, NULL), PGR_OK);
    assert_int_equal(out.chains[0].tokens.n, 40);
    for (size_t i = 0; i < 40; i++)
        assert_int_equal(out.chains[0].tokens.v[i], json_integer_value(json_array_get(want, i)));
    infer_output_free(&out);

    /* drawn, hot enough for every row to have its chance */
    r.n_sample = 16;
    r.sampling = (pgr_sampling){.temperature = 2.0f, .top_p = 1.0f};
    assert_int_equal(infer_run(e, &r, 1, NULL, &out, NULL), PGR_OK);
    for (size_t c = 0; c < 16; c++)
        for (size_t i = 0; i < out.chains[c].tokens.n; i++)
            assert_true((size_t)out.chains[c].tokens.v[i] < tok_count(m->tok));
    infer_output_free(&out);

    pgr_engine_free(e);
    pgr_model_close(m);
    json_decref(golden);
    buf_free(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(rows_beyond_the_tokenizer_are_never_chosen)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
