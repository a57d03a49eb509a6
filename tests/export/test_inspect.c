/* test_inspect.c - pgr_inspect tells models, adapters and encoders apart and says of each what will be used. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "../base/faults.h"
#include "../format/folder_make.h"
#include "math/cpu/level.h"
#include "pgenrm.h"

static char *inspect(const char *path, bool json) {
    char *text = NULL;
    pgr_error err = {0};
    if (pgr_inspect(path, NULL, json, &text, &err) != PGR_OK) fail_msg("%s: %s", path, err.message);
    return text;
}

/* Every one of the texts (NULL-terminated) is in the report. */
static void expect(const char *path, bool json, const char *const *parts) {
    char *text = inspect(path, json);
    for (; *parts; parts++)
        if (!strstr(text, *parts)) fail_msg("%s: no \"%s\" in\n%s", path, *parts, text);
    pgr_free(text);
}
#define EXPECT(path, json, ...) expect(path, json, (const char *const[]){__VA_ARGS__, NULL})

static void refused(const char *path, const char *part) {
    char *text = NULL;
    pgr_error err = {0};
    assert_int_not_equal(pgr_inspect(path, NULL, false, &text, &err), PGR_OK);
    assert_null(text);
    if (!strstr(err.message, part)) fail_msg("no \"%s\" in: %s", part, err.message);
}

/* ---- adapters ---- */

static void adapters(void **state) {
    (void)state;
    EXPECT(GOLDEN("lora/llama-qv"), false, "(PEFT), a LoRA adapter", "made for        hf-tiny-llama\n",
           "alpha / rank, alpha 8\n", "q_proj: 2 matrices, rank 4, scale 2\n", "v_proj: 2 matrices, rank 4, scale 2\n",
           "parameters      1792 in");
    EXPECT(GOLDEN("lora/llama-qv"), true, "\"kind\":\"lora\"", "\"format\":\"peft\"", "\"alpha\":8,",
           "{\"name\":\"q_proj\",\"matrices\":2,\"rank\":[4,4],\"scale\":[2,2]}", "\"replaced\":[]",
           "\"parameters\":1792");
    EXPECT(GOLDEN("lora/llama-qv.gguf"), false, "(gguf), a LoRA adapter", "architecture llama",
           "attn_q: 2 matrices, rank 4, scale 2\n");
    EXPECT(GOLDEN("lora/qwen3-all"), false, "alpha / sqrt(rank), alpha 6 (patterns change some)",
           "down_proj: 2 matrices, rank 4 to 7, scale 2.26779 to 3\n", "q_proj: 2 matrices, rank 2, scale 4.24264\n",
           "base_model.model.lm_head.weight, whole");
    EXPECT(GOLDEN("lora/llama-more.gguf"), true, "{\"name\":\"token_embd\",\"matrices\":1,\"rank\":[3,3]");
}

static const char config[] = "{\"peft_type\":\"LORA\",\"r\":2,\"lora_alpha\":4%s}";

static void put_config(const folder *f, const char *more) {
    char text[256];
    snprintf(text, sizeof text, config, more);
    folder_puts(f, "adapter_config.json", text);
}

#define A                                                                                                              \
    "\"base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight\":{\"dtype\":\"F32\",\"shape\":[2,4],\"data_"    \
    "offsets\":[0,32]}"
#define B                                                                                                              \
    "\"base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight\":{\"dtype\":\"F32\",\"shape\":[4,2],\"data_"    \
    "offsets\":[32,64]}"
#define M                                                                                                              \
    "\"base_model.model.model.layers.0.self_attn.q_proj.lora_magnitude_vector\":{\"dtype\":\"F32\",\"shape\":[8],"     \
    "\"data_offsets\":[32,64]}"

static void broken_adapters(void **state) {
    (void)state;
    folder f = folder_make();
    put_config(&f, "");
    refused(f.path, "adapter_model.safetensors");
    folder_put_safetensors(&f, "adapter_model.safetensors", "{" A "," B "}", 64);
    EXPECT(f.path, false, "q_proj: 1 matrix, rank 2, scale 2\n");
    put_config(&f, ",\"rank_pattern\":{\"q_proj\":3}");
    refused(f.path, "q_proj.lora_A.weight has rank 2, adapter_config.json says 3");
    put_config(&f, ",\"use_dora\":true");
    refused(f.path, "use_dora");
    put_config(&f, ",\"bias\":\"all\"");
    refused(f.path, "bias is \"all\"");
    put_config(&f, "");
    folder_put_safetensors(&f, "adapter_model.safetensors", "{" A "}", 32);
    refused(f.path, "lora_B.weight is missing");
    folder_put_safetensors(&f, "adapter_model.safetensors", "{" A "," M "}", 64);
    refused(f.path, "lora_B.weight is missing");
    folder_remove(&f);
}

/* ---- encoders, and decoders that embed ---- */

static void embedders(void **state) {
    (void)state;
    EXPECT(GOLDEN("hf-tiny-bert"), false, "an encoder: for `pgenrm embed`",
           "embeddings      mean pooling (modules.json), 32 values scaled to length 1, at most 40 tokens\n");
    EXPECT(GOLDEN("hf-tiny-bert"), true, "\"kind\":\"encoder\"", "\"pool\":\"mean\",\"pool_from\":\"modules.json\"",
           "\"dims\":32,\"max_tokens\":40,\"normalised\":true");
    EXPECT(GOLDEN("hf-tiny-qwen3-embedding"), false, "embeddings      last pooling (modules.json), 32 values");
    EXPECT(GOLDEN("tiny-llama.gguf"), false, "embeddings      mean pooling (the default)");
    EXPECT(GOLDEN("tiny-llama.gguf"), true, "\"kind\":\"model\"", "\"pool\":\"mean\"", "\"why_not\":null}");
}

static void no_chat_template(void **state) {
    (void)state;
    pgr_model_options o = pgr_model_options_default();
    pgr_error err = {0};
    char *text = NULL;
    o.chat_template = "chatml";
    assert_int_equal(pgr_inspect(GOLDEN("hf-tiny-bert"), &o, false, &text, &err), PGR_E_ARG);
    assert_non_null(strstr(err.message, "an encoder has no chat template"));
    assert_int_equal(pgr_inspect(GOLDEN("lora/llama-qv"), &o, false, &text, &err), PGR_E_ARG);
    assert_non_null(strstr(err.message, "an adapter has no chat template"));
}

/* ---- memory ---- */

/* 2 layers, 2 KV heads of 16: 2 * 2 * 16 * 2 values of 4 bytes, where the CPU has the kernels of 2,
 * or of 1 and three scales of 4. */
static void cache_size(void **state) {
    (void)state;
    bool bf16 = cpu_best()->fast_bf16, int8 = cpu_best()->fast_int8;
    EXPECT(GOLDEN("hf-tiny-qwen3"), true, "\"kv_bytes_per_token\":512,",
           bf16 ? "\"kv_bytes_per_token_bf16\":256," : "\"kv_bytes_per_token_bf16\":512,");
    if (int8) EXPECT(GOLDEN("hf-tiny-qwen3"), true, "\"kv_bytes_per_token_int8\":176,", "\"kv_bytes_per_token\"");
    EXPECT(GOLDEN("hf-tiny-qwen3"), false, "KV cache 0.5 kB per token, 1 MB for the whole context",
           bf16 ? "with bf16: KV cache 0.3 kB per token" : "KV cache 0.5 kB per token");
    if (int8)
        EXPECT(GOLDEN("hf-tiny-qwen3"), false, "with int8: KV cache 0.2 kB per token", "KV cache 0.5 kB per token");
}

/* What this CPU is fast at, and what auto is on it; at plain C nothing is. */
static void arithmetic(void **state) {
    (void)state;
    const char *before = getenv("PGENRM_CPU");
    char *limit = before ? strdup(before) : NULL;
    if (cpu_best()->fast_int8) EXPECT(GOLDEN("tiny-llama.gguf"), true, "\"dtype_auto\":\"int8\"", "\"int8\"],");
    setenv("PGENRM_CPU", "ref", 1);
    EXPECT(GOLDEN("tiny-llama.gguf"), false, "--dtype auto    exact on this CPU",
           "kernels         ref, fast for: nothing");
    EXPECT(GOLDEN("tiny-llama.gguf"), true, "\"kernels\":\"ref\",\"dtype_auto\":\"exact\",\"fast\":[],");
    EXPECT(GOLDEN("hf-tiny-bert"), true, "\"kernels\":\"ref\",\"dtype_auto\":\"exact\",\"fast\":[],");
    if (limit)
        setenv("PGENRM_CPU", limit, 1);
    else
        unsetenv("PGENRM_CPU");
    free(limit);
}

static const char *some_path;

static bool inspect_some(void) {
    char *text = NULL;
    bool ok = pgr_inspect(some_path, NULL, true, &text, NULL) == PGR_OK;
    pgr_free(text);
    return ok;
}

static void no_memory(void **state) {
    (void)state;
    const char *paths[] = {GOLDEN("lora/llama-qv"), GOLDEN("lora/llama-qv.gguf")};
    for (size_t i = 0; i < 2; i++) {
        some_path = paths[i];
        assert_true(fail_each_allocation(inspect_some) > 10);
    }
    /* Tokenizers make up most of these, and have tests of their own. */
    some_path = GOLDEN("hf-tiny-bert");
    assert_true(fail_allocations(inspect_some, 50) > 10);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(adapters),         cmocka_unit_test(broken_adapters), cmocka_unit_test(embedders),
        cmocka_unit_test(no_chat_template), cmocka_unit_test(arithmetic),      cmocka_unit_test(cache_size),
        cmocka_unit_test(no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
