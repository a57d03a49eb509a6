/* test_inspect.c - `pgenrm inspect` as a user meets it: a model, an adapter, an encoder. */
#include "json_out.h"

static void test_inspect_parts(void **state) {
    (void)state;
    ran r = run_well("pgenrm inspect tests/golden/lora/llama-qv.gguf");
    assert_non_null(strstr(r.out, "attn_q: 2 matrices, rank 4, scale 2\n"));
    run_free(&r);
    json_t *v = json_from(run_well("pgenrm inspect --json tests/golden/hf-tiny-bert"));
    assert_string_equal(json_string_value(at(v, "kind")), "encoder");
    json_decref(v);
}

static void test_inspect(void **state) {
    (void)state;
    json_t *v = json_from(run_well("pgenrm inspect --json " TINY));
    assert_true(json_is_string(at(v, "architecture")));
    assert_true(json_array_size(at(v, "tensors")) > 0);
    json_decref(v);
    ran r = run_well("pgenrm inspect -m " TINY);
    assert_true(count_lines(r.out) > 5);
    run_free(&r);
    r = run_well("pgenrm inspect --chat-template tests/golden/chat/inst.jinja -m " TINY);
    assert_non_null(strstr(r.out, "interpreted (tests/golden/chat/inst.jinja)"));
    run_free(&r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_inspect),
        cmocka_unit_test(test_inspect_parts),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
