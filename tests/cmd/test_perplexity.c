/* test_perplexity.c - `pgenrm perplexity` as a user meets it, with adapters and without. */
#include "json_out.h"

/* The text's perplexity under the tiny model with these options. */
static double perplexity_with(const char *loras) {
    char command[400];
    snprintf(command, sizeof command,
             "pgenrm perplexity --json --context 32 -m tests/golden/tiny-llama.gguf %s LICENSE", loras);
    json_t *v = json_from(run_well(command));
    double p = json_real_value(at(v, "perplexity"));
    json_decref(v);
    return p;
}

static void test_loras(void **state) {
    (void)state;
    double bare = perplexity_with(""), qv = perplexity_with("--lora tests/golden/lora/llama-qv");
    double both = perplexity_with("--lora tests/golden/lora/llama-qv.gguf --lora tests/golden/lora/llama-more:0.5");
    assert_true(bare > 1 && qv > 1 && both > 1 && qv != bare && both != qv);
    assert_true(perplexity_with("--lora tests/golden/lora/llama-qv:0") == bare);
    assert_true(perplexity_with("--lora tests/golden/lora/llama-qv:1e0") == qv);
    assert_refused("pgenrm perplexity --lora tests/golden/lora/qwen3-all -m tests/golden/tiny-llama.gguf LICENSE", 1,
                   "tests/golden/lora/qwen3-all: tensor ");
}

static void test_perplexity(void **state) {
    (void)state;
    json_t *v = json_from(run_well("printf 'one two three four' | pgenrm perplexity --json --per-token -"));
    assert_true(json_array_size(at(v, "tokens")) > 2);
    assert_int_equal(json_array_size(at(v, "tokens")), json_array_size(at(v, "logprobs")));
    assert_true(json_is_null(json_array_get(at(v, "logprobs"), 0)));
    assert_true(json_real_value(json_array_get(at(v, "logprobs"), 1)) < 0);
    assert_true(json_real_value(at(v, "perplexity")) > 1);
    json_decref(v);
    v = json_from(run_well("pgenrm perplexity --json --context 32 examples/new_user.json"));
    assert_int_equal(json_object_size(v), 2);
    json_decref(v);
    assert_refused("pgenrm perplexity -m tests/golden/tiny-llama.gguf /dev/null", 1,
                   "pgenrm: /dev/null: the text has 0 tokens");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_perplexity),
        cmocka_unit_test(test_loras),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
