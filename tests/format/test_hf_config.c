/* test_hf_config.c - config.json as transformers 4.x and 5.x write it gives the same numbers; what the forward pass
 * lacks is refused by the key's name; end tokens and chat templates from each place that has them. */
#include "folder_make.h"

#include "base/json.h"
#include "base/rng.h"
#include "format/hf_config.h"
#include "format/hf_template.h"

#define LEN(a) (sizeof(a) / sizeof *(a))

/* Llama-3.1-8B-Instruct, transformers 4.x */
static const char llama31[] =
    "{\"architectures\":[\"LlamaForCausalLM\"],\"attention_bias\":false,\"attention_dropout\":0.0,\"bos_token_id\":"
    "128000,"
    "\"eos_token_id\":[128001,128008,128009],\"hidden_act\":\"silu\",\"hidden_size\":4096,\"initializer_range\":0.02,"
    "\"intermediate_size\":14336,\"max_position_embeddings\":131072,\"mlp_bias\":false,\"model_type\":\"llama\","
    "\"num_attention_heads\":32,\"num_hidden_layers\":32,\"num_key_value_heads\":8,\"pretraining_tp\":1,"
    "\"rms_norm_eps\":1e-05,\"rope_scaling\":{\"factor\":8.0,\"low_freq_factor\":1.0,\"high_freq_factor\":4.0,"
    "\"original_max_position_embeddings\":8192,\"rope_type\":\"llama3\"},\"rope_theta\":500000.0,"
    "\"tie_word_embeddings\":false,\"torch_dtype\":\"bfloat16\",\"transformers_version\":\"4.42.3\",\"use_cache\":true,"
    "\"vocab_size\":128256}";

/* The same as 5.x writes it. */
static const char llama31_v5[] =
    "{\"architectures\":[\"LlamaForCausalLM\"],\"attention_bias\":false,\"bos_token_id\":128000,\"dtype\":\"bfloat16\","
    "\"eos_token_id\":[128001,128008,128009],\"head_dim\":128,\"hidden_act\":\"silu\",\"hidden_size\":4096,"
    "\"intermediate_size\":14336,\"max_position_embeddings\":131072,\"mlp_bias\":false,\"model_type\":\"llama\","
    "\"num_attention_heads\":32,\"num_hidden_layers\":32,\"num_key_value_heads\":8,\"pad_token_id\":null,"
    "\"rms_norm_eps\":1e-05,\"rope_parameters\":{\"factor\":8.0,\"high_freq_factor\":4.0,\"low_freq_factor\":1.0,"
    "\"original_max_position_embeddings\":8192,\"rope_theta\":500000.0,\"rope_type\":\"llama3\"},"
    "\"tie_word_embeddings\":false,\"vocab_size\":128256}";

static const char llama2[] =
    "{\"model_type\":\"llama\",\"architectures\":[\"LlamaForCausalLM\"],\"hidden_size\":4096,\"intermediate_size\":"
    "11008,"
    "\"max_position_embeddings\":4096,\"num_attention_heads\":32,\"num_hidden_layers\":32,\"rms_norm_eps\":1e-05,"
    "\"rope_scaling\":null,\"bos_token_id\":1,\"eos_token_id\":2,\"vocab_size\":32000}";

static const char mistral[] =
    "{\"model_type\":\"mistral\",\"architectures\":[\"MistralForCausalLM\"],\"hidden_size\":5120,\"head_dim\":128,"
    "\"intermediate_size\":14336,\"max_position_embeddings\":131072,\"num_attention_heads\":32,\"num_hidden_layers\":"
    "40,"
    "\"num_key_value_heads\":8,\"rms_norm_eps\":1e-05,\"rope_theta\":1000000.0,\"sliding_window\":null,"
    "\"vocab_size\":131072}";

static const char qwen2[] =
    "{\"model_type\":\"qwen2\",\"architectures\":[\"Qwen2ForCausalLM\"],\"hidden_size\":896,\"intermediate_size\":4864,"
    "\"max_position_embeddings\":32768,\"max_window_layers\":21,\"num_attention_heads\":14,\"num_hidden_layers\":24,"
    "\"num_key_value_heads\":2,\"rms_norm_eps\":1e-06,\"rope_theta\":1000000.0,\"sliding_window\":32768,"
    "\"use_sliding_window\":false,\"tie_word_embeddings\":true,\"eos_token_id\":151645,\"vocab_size\":151936}";

static const char qwen3[] =
    "{\"model_type\":\"qwen3\",\"architectures\":[\"Qwen3ForCausalLM\"],\"attention_bias\":false,\"hidden_size\":1024,"
    "\"intermediate_size\":3072,\"layer_types\":[\"full_attention\",\"full_attention\"],\"max_position_embeddings\":"
    "40960,"
    "\"num_attention_heads\":16,\"num_hidden_layers\":28,\"num_key_value_heads\":8,\"rms_norm_eps\":1e-06,"
    "\"rope_theta\":1000000,\"sliding_window\":null,\"use_sliding_window\":false,\"tie_word_embeddings\":true,"
    "\"vocab_size\":151936}";

static hf_config parsed(const char *text) {
    hf_config h;
    pgr_error err;
    if (hf_config_parse(text, strlen(text), "config.json", &h, &err) != PGR_OK) fail_msg("%s", err.message);
    return h;
}

static void llama31_in_both_forms(void **state) {
    (void)state;
    static const char *const forms[] = {llama31, llama31_v5};
    for (size_t i = 0; i < LEN(forms); i++) {
        hf_config h = parsed(forms[i]);
        const config *c = &h.c;
        assert_string_equal(c->arch, "llama");
        assert_true(c->n_layer == 32 && c->n_embd == 4096 && c->n_head == 32 && c->n_head_kv == 8
                    && c->head_dim == 128);
        assert_true(c->n_ff == 14336 && c->n_vocab == 128256 && c->n_ctx == 131072 && c->norm_eps == 1e-5f);
        assert_true(c->rope_base == 500000 && c->rope_dim == 128 && !c->rope_interleaved);
        assert_true(c->rope_kind == ROPE_LLAMA3 && c->rope_factor == 8 && c->rope_low == 1 && c->rope_high == 4);
        assert_true(c->rope_original_ctx == 8192 && !c->attn_bias && !c->qk_norm && !h.tied && !c->tied);
        assert_true(h.bos == 128000 && h.n_eos == 3);
        assert_true(h.eos[0] == 128001 && h.eos[1] == 128008 && h.eos[2] == 128009);
    }
}

static void other_families(void **state) {
    (void)state;
    hf_config h = parsed(llama2); /* as many KV heads as heads, base 10000 where nothing is said */
    assert_string_equal(h.c.arch, "llama");
    assert_true(h.c.n_head_kv == 32 && h.c.head_dim == 128 && h.c.rope_base == 10000 && h.c.rope_kind == ROPE_PLAIN);
    assert_true(h.bos == 1 && h.n_eos == 1 && h.eos[0] == 2);
    h = parsed(mistral); /* head_dim is not hidden_size / heads */
    assert_string_equal(h.c.arch, "llama");
    assert_true(h.c.n_embd == 5120 && h.c.head_dim == 128 && h.c.rope_base == 1e6 && h.bos == -1 && h.n_eos == 0);
    h = parsed(qwen2); /* a window that is not in use */
    assert_string_equal(h.c.arch, "qwen2");
    assert_true(h.c.attn_bias && !h.c.qk_norm && h.c.head_dim == 64 && h.tied && h.c.tied && h.c.norm_eps == 1e-6f);
    h = parsed(qwen3); /* head_dim absent: 128, not 1024 / 16 */
    assert_string_equal(h.c.arch, "qwen3");
    assert_true(!h.c.attn_bias && h.c.qk_norm && h.c.head_dim == 128 && h.c.rope_dim == 128 && h.tied);
}

/* base with `key` set to the JSON value, absent where that is NULL */
static char *with(const char *base, const char *key, const char *value) {
    json_t *root = json_loads(base, 0, NULL);
    assert_non_null(root);
    if (value)
        assert_int_equal(json_object_set_new(root, key, json_loads(value, JSON_DECODE_ANY, NULL)), 0);
    else
        json_object_del(root, key);
    char *text = json_dumps(root, 0);
    json_decref(root);
    assert_non_null(text);
    return text;
}

static pgr_status parse_with(const char *base, const char *key, const char *value, hf_config *h, pgr_error *err) {
    char *text = with(base, key, value);
    pgr_status status = hf_config_parse(text, strlen(text), "c", h, err);
    mem_free(text);
    return status;
}

static void features_that_we_lack_are_refused_by_name(void **state) {
    (void)state;
    static const struct {
        const char *base, *key, *value, *message;
    } cases[] = {
        {llama2, "model_type", "\"gemma3\"",
         "model_type \"gemma3\" is not supported (supported: llama, mistral, qwen2, qwen3; for embeddings bert too)"},
        {llama2, "model_type", "\"qwen3_moe\"",
         "model_type \"qwen3_moe\" is not supported (supported: llama, mistral, qwen2, qwen3; for embeddings bert "
         "too)"},
        {llama2, "architectures", "[\"LlamaForSequenceClassification\"]",
         "key id2label is missing, which means 2 labels; only score heads with 1 are supported"},
        {llama2, "architectures", "[\"LlamaForTokenClassification\"]",
         "architectures is \"LlamaForTokenClassification\"; only LlamaForCausalLM and, for rewards, "
         "LlamaForSequenceClassification are supported here"},
        {llama2, "architectures", "[\"Qwen2ForCausalLM\"]",
         "architectures is \"Qwen2ForCausalLM\"; only LlamaForCausalLM and, for rewards, "
         "LlamaForSequenceClassification "
         "are supported here"},
        {llama2, "architectures", "[]",
         "architectures is \"?\"; only LlamaForCausalLM and, for rewards, LlamaForSequenceClassification are supported "
         "here"},
        {mistral, "sliding_window", "4096", "sliding_window is not null; this is not supported"},
        {mistral, "sliding_window", NULL, "key sliding_window is missing, which means 4096; only null is supported"},
        {llama2, "sliding_window", "4096", "sliding_window is not null; this is not supported"},
        {qwen2, "use_sliding_window", "true", "use_sliding_window is true; this is not supported"},
        {qwen3, "use_sliding_window", "true", "use_sliding_window is true; this is not supported"},
        {qwen3, "layer_types", "[\"full_attention\",\"sliding_attention\"]",
         "layer_types has \"sliding_attention\"; only full_attention is supported"},
        {llama2, "num_local_experts", "8", "num_local_experts: mixtures of experts are not supported"},
        {qwen3, "num_experts", "64", "num_experts: mixtures of experts are not supported"},
        {llama2, "quantization_config", "{\"quant_method\":\"gptq\"}",
         "quantization_config with quant_method \"gptq\": weights are read as F32, F16 and BF16"},
        {llama2, "hidden_act", "\"gelu\"", "hidden_act is \"gelu\"; only silu is supported"},
        {llama2, "mlp_bias", "true", "mlp_bias is true; this is not supported"},
        {llama2, "attention_bias", "true", "attention_bias is true; this is not supported"},
        {qwen3, "attention_bias", "true", "attention_bias is true; this is not supported"},
        {llama2, "partial_rotary_factor", "0.5", "partial_rotary_factor is 0.5; only 1 is supported"},
        {llama2, "rope_parameters", "{\"rope_type\":\"default\",\"rope_theta\":1,\"partial_rotary_factor\":0.25}",
         "partial_rotary_factor is 0.25; only 1 is supported"},
        {qwen2, "rope_scaling", "{\"factor\":4.0,\"original_max_position_embeddings\":32768,\"type\":\"longrope\"}",
         "rope_scaling has rope_type \"longrope\"; only default, linear, yarn and llama3 are supported"},
        {llama2, "rope_scaling", "{\"factor\":2.0,\"rope_type\":\"dynamic\"}",
         "rope_scaling has rope_type \"dynamic\"; only default, linear, yarn and llama3 are supported"},
        {llama2, "rope_parameters", "{\"rope_type\":\"longrope\",\"rope_theta\":1e4}",
         "rope_parameters has rope_type \"longrope\"; only default, linear, yarn and llama3 are supported"},
    };
    for (size_t i = 0; i < LEN(cases); i++) {
        hf_config h;
        pgr_error err;
        char want[200];
        long live = mem_live();
        snprintf(want, sizeof want, "c: %s", cases[i].message);
        assert_int_equal(parse_with(cases[i].base, cases[i].key, cases[i].value, &h, &err), PGR_E_UNSUPPORTED);
        assert_string_equal(err.message, want);
        assert_int_equal(mem_live(), live);
    }
}

static void wrong_values_are_refused_by_key(void **state) {
    (void)state;
    static const struct {
        const char *base, *key, *value, *message;
    } cases[] = {
        {llama2, "model_type", NULL, "key model_type is missing"},
        {llama2, "model_type", "3", "model_type: found an integer, expected a string"},
        {llama2, "architectures", "\"LlamaForCausalLM\"", "architectures: found a string, expected an array"},
        {llama2, "hidden_size", NULL, "key hidden_size is missing"},
        {llama2, "hidden_size", "null", "key hidden_size is missing"},
        {llama2, "hidden_size", "4096.0", "hidden_size is a number, want an integer"},
        {llama2, "hidden_size", "0", "hidden_size is 0, want 1 to 1073741824"},
        {llama2, "hidden_size", "-9223372036854775808", "hidden_size is -9223372036854775808, want 1 to 1073741824"},
        {llama2, "hidden_size", "4100", "hidden_size 4100 is not a multiple of num_attention_heads 32"},
        {llama2, "num_hidden_layers", "1025", "the number of layers is 1025, want 1 to 1024"},
        {llama2, "num_key_value_heads", "5", "the 32 heads are not a multiple of the 5 KV heads"},
        {qwen2, "num_key_value_heads", NULL, "key num_key_value_heads is missing"},
        {llama2, "head_dim", "65", "heads of 65 values, 65 of them rotated: both must be even"},
        {llama2, "head_dim", "4096", "the number of values per head is 4096, want 1 to 2048"},
        {llama2, "vocab_size", "4194305", "the number of rows of the vocabulary is 4194305, want 1 to 4194304"},
        {llama2, "rms_norm_eps", NULL, "key rms_norm_eps is missing"},
        {llama2, "rms_norm_eps", "\"1e-5\"", "rms_norm_eps is a string, want a number"},
        {llama2, "rms_norm_eps", "0", "rms_norm_eps is 0, want a number above 0"},
        {llama2, "rms_norm_eps", "1e-60", "the norm's epsilon is 0, want above 0 and below 1"},
        {llama2, "rms_norm_eps", "2", "the norm's epsilon is 1, want above 0 and below 1"},
        {llama2, "rope_theta", "-1", "rope_theta is -1, want a number above 0"},
        {llama2, "rope_scaling", "[]", "rope_scaling: found an array, expected an object"},
        {llama2, "rope_scaling", "{\"factor\":2.0}", "rope_scaling has no rope_type"},
        {llama2, "rope_scaling", "{\"rope_type\":\"llama3\"}", "key factor is missing"},
        {llama2, "rope_scaling",
         "{\"rope_type\":\"llama3\",\"factor\":8,\"low_freq_factor\":4,\"high_freq_factor\":4,"
         "\"original_max_position_embeddings\":8192}",
         "the low and high frequency factors of the rope scaling are 4 and 4, want 0 < low < high"},
        {llama2, "rope_scaling",
         "{\"rope_type\":\"llama3\",\"factor\":0.5,\"low_freq_factor\":1,\"high_freq_factor\":4,"
         "\"original_max_position_embeddings\":8192}",
         "the factor of the rope scaling is 0.5, want 1 or more"},
        {llama2, "mlp_bias", "0", "mlp_bias is an integer, want true or false"},
        {llama2, "eos_token_id", "-1", "eos_token_id: found -1, expected 0 to 2147483647"},
        {llama2, "eos_token_id", "[1,\"2\"]", "eos_token_id: found a string, expected an integer"},
        {llama2, "bos_token_id", "[1]", "bos_token_id: found an array, expected an integer"},
    };
    hf_config h;
    pgr_error err;
    for (size_t i = 0; i < LEN(cases); i++) {
        char want[200];
        snprintf(want, sizeof want, "c: %s", cases[i].message);
        if (parse_with(cases[i].base, cases[i].key, cases[i].value, &h, &err) != PGR_E_FORMAT)
            fail_msg("case %zu: want %s", i, want);
        assert_string_equal(err.message, want);
    }
    assert_int_equal(parse_with(llama2, "max_position_embeddings", "16777216", &h, &err), PGR_E_LIMIT);
    assert_string_equal(err.message, "c: 16777216 positions with 128 rotated values are above the limit of 268435456");
    assert_int_equal(parse_with(llama2, "num_attention_heads", "4096", &h, &err), PGR_E_FORMAT);
    assert_int_equal(hf_config_parse("[]", 2, "c", &h, &err), PGR_E_FORMAT);
    assert_string_equal(err.message, "c: found an array, expected an object");
    char *many = with(llama2, "num_key_value_heads", "1");
    assert_int_equal(parse_with(many, "num_attention_heads", "512", &h, &err), PGR_E_UNSUPPORTED);
    assert_string_equal(err.message, "c: 512 heads per KV head, at most 256 are supported");
    mem_free(many);
}

static void what_changes_nothing_is_let_pass(void **state) {
    (void)state;
    hf_config h;
    pgr_error err;
    static const char *const keys[][2] = {{"attention_dropout", "0.1"},
                                          {"hidden_act", "\"swish\""},
                                          {"pretraining_tp", "2"},
                                          {"quantization_config", "null"},
                                          {"head_dim", "null"},
                                          {"architectures", "null"},
                                          {"partial_rotary_factor", "1.0"},
                                          {"rope_parameters", "{\"rope_theta\":10000.0}"},
                                          {"architectures", "[\"LlamaModel\"]"}};
    for (size_t i = 0; i < LEN(keys); i++)
        if (parse_with(llama2, keys[i][0], keys[i][1], &h, &err) != PGR_OK) fail_msg("%s", err.message);
    assert_int_equal(parse_with(qwen2, "attention_bias", "false", &h, &err),
                     PGR_OK); /* Qwen2 has biases all the same */
    assert_true(h.c.attn_bias);
}

static void score_heads(void **state) {
    (void)state;
    static const char *const classes[] = {"[\"LlamaForSequenceClassification\"]",
                                          "[\"Qwen2ForSequenceClassification\"]",
                                          "[\"Qwen3ForSequenceClassification\"]"};
    const char *const bases[] = {llama2, qwen2, qwen3};
    hf_config h;
    pgr_error err;
    for (size_t i = 0; i < LEN(bases); i++) {
        char *text = with(bases[i], "architectures", classes[i]);
        if (parse_with(text, "id2label", "{\"0\":\"LABEL_0\"}", &h, &err) != PGR_OK) fail_msg("%s", err.message);
        assert_true(h.c.score_head && h.pad == -1);
        if (parse_with(text, "num_labels", "1", &h, &err) != PGR_OK) fail_msg("%s", err.message);
        assert_int_equal(parse_with(text, "num_labels", "3", &h, &err), PGR_E_UNSUPPORTED);
        assert_string_equal(err.message, "c: num_labels is 3; only score heads with 1 are supported");
        assert_int_equal(parse_with(text, "id2label", "{\"0\":\"a\",\"1\":\"b\"}", &h, &err), PGR_E_UNSUPPORTED);
        assert_string_equal(err.message,
                            "c: the number of labels in id2label is 2; only score heads with 1 are supported");
        assert_int_equal(parse_with(text, "id2label", "[]", &h, &err), PGR_E_FORMAT);
        mem_free(text);
    }
    /* the token of padding: an id of the vocabulary, -1 or more than there are for none */
    static const struct {
        const char *value;
        int32_t pad;
    } pads[] = {{"0", 0}, {"2", 2}, {"null", -1}, {"-1", -1}, {"32000", -1}};
    char *labels = with(llama2, "num_labels", "1"), *text = with(labels, "architectures", classes[0]);
    for (size_t i = 0; i < LEN(pads); i++) {
        if (parse_with(text, "pad_token_id", pads[i].value, &h, &err) != PGR_OK) fail_msg("%s", err.message);
        assert_int_equal(h.pad, pads[i].pad);
    }
    assert_int_equal(parse_with(text, "pad_token_id", "\"x\"", &h, &err), PGR_E_FORMAT);
    mem_free(labels);
    mem_free(text);
    assert_false(parsed(llama2).c.score_head);
}

static void end_tokens(void **state) {
    (void)state;
    hf_config h = parsed(llama31), before;
    pgr_error err;
    static const char two[] = "{\"eos_token_id\":[128009,128001,128009],\"temperature\":0.6,\"top_p\":0.9}";
    assert_int_equal(hf_generation_parse(two, sizeof two - 1, "g", &h, &err), PGR_OK);
    assert_true(h.bos == 128000 && h.n_eos == 2 && h.eos[0] == 128009 && h.eos[1] == 128001);
    assert_int_equal(hf_generation_parse("{}", 2, "g", &h, &err), PGR_OK); /* nothing said: as before */
    assert_true(h.bos == 128000 && h.n_eos == 2);
    static const char far_away[] = "{\"bos_token_id\":128256,\"eos_token_id\":[128256,7]}"; /* no such rows */
    assert_int_equal(hf_generation_parse(far_away, sizeof far_away - 1, "g", &h, &err), PGR_OK);
    assert_true(h.bos == -1 && h.n_eos == 1 && h.eos[0] == 7);
    before = h;
    static const char many[] = "{\"bos_token_id\":3,\"eos_token_id\":[0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16]}";
    assert_int_equal(hf_generation_parse(many, sizeof many - 1, "g", &h, &err), PGR_E_LIMIT);
    assert_string_equal(err.message, "g: eos_token_id: more than 16 tokens");
    assert_memory_equal(&h, &before, sizeof h);
}

/* ---- chat templates ---- */

static void templates_from_json(void **state) {
    (void)state;
    static const struct {
        const char *text, *want; /* NULL: none */
    } good[] = {
        {"{}", NULL},
        {"{\"chat_template\":null}", NULL},
        {"{\"chat_template\":\"{{ x }}\\n\",\"model_max_length\":1000000000000000019884624838656}", "{{ x }}\n"},
        {"{\"chat_template\":[{\"name\":\"tool_use\",\"template\":\"t\"},{\"name\":\"default\",\"template\":\"d\"}]}",
         "d"},
    };
    static const char *const bad[][2] = {
        {"[]", "t: found an array, expected an object"},
        {"{\"chat_template\":3}", "t: chat_template: found a number, expected a string"},
        {"{\"chat_template\":[]}", "t: chat_template: none of 0 is named \"default\""},
        {"{\"chat_template\":[{\"name\":\"rag\",\"template\":\"d\"}]}",
         "t: chat_template: none of 1 is named \"default\""},
        {"{\"chat_template\":[{\"name\":\"default\"}]}",
         "t: chat_template[].template: found nothing, expected a string"},
        {"{\"chat_template\":[\"x\"]}", "t: chat_template[]: found a string, expected an object"},
    };
    buf out = {0};
    bool found;
    pgr_error err;
    for (size_t i = 0; i < LEN(good); i++) {
        assert_int_equal(hf_template_parse(good[i].text, strlen(good[i].text), "t", &out, &found, &err), PGR_OK);
        assert_int_equal(found, good[i].want != NULL);
        if (found) assert_string_equal(out.data, good[i].want);
    }
    for (size_t i = 0; i < LEN(bad); i++) {
        assert_int_equal(hf_template_parse(bad[i][0], strlen(bad[i][0]), "t", &out, &found, &err), PGR_E_FORMAT);
        assert_string_equal(err.message, bad[i][1]);
    }
    buf_free(&out);
}

static void token_texts_from_json(void **state) {
    (void)state;
    static const char *const good[][3] = {
        {"{}", "", ""},
        {"{\"bos_token\":null,\"eos_token\":\"</s>\"}", "", "</s>"},
        {"{\"bos_token\":{\"content\":\"<s>\",\"lstrip\":false},\"model_max_length\":1000000000000000019884624838656."
         "5e-1}",
         "<s>", ""},
        {"{\"a\":-12345678901234567890,\"b\":\"123456789012345678901234567890\\\"5\",\"eos_token\":\"</s>\"}", "",
         "</s>"},
    };
    static const char *const bad[][2] = {
        {"[]", "t: found an array, expected an object"},
        {"{\"eos_token\":3}", "t: eos_token: found a number, expected a string"},
        {"{\"bos_token\":{\"content\":[]}}", "t: bos_token: found an array, expected a string"},
    };
    buf bos = {0}, eos = {0};
    pgr_error err;
    for (size_t i = 0; i < LEN(good); i++) {
        if (hf_token_texts_parse(good[i][0], strlen(good[i][0]), "t", &bos, &eos, &err) != PGR_OK)
            fail_msg("%s", err.message);
        assert_string_equal(bos.data, good[i][1]);
        assert_string_equal(eos.data, good[i][2]);
    }
    for (size_t i = 0; i < LEN(bad); i++) {
        assert_int_equal(hf_token_texts_parse(bad[i][0], strlen(bad[i][0]), "t", &bos, &eos, &err), PGR_E_FORMAT);
        assert_string_equal(err.message, bad[i][1]);
    }
    assert_int_equal(hf_token_texts_parse("{\"a\":\"x", 8, "t", &bos, &eos, &err), PGR_E_FORMAT);
    buf_free(&bos);
    buf_free(&eos);
}

static void templates_of_folders(void **state) {
    (void)state;
    folder f = folder_make();
    buf out = {0};
    const char *from;
    pgr_error err;
#define FOUND(file, text)                                                                                              \
    if (hf_chat_template(f.path, &out, &from, &err) != PGR_OK) fail_msg("%s", err.message);                            \
    assert_string_equal(from, file);                                                                                   \
    assert_string_equal(out.data, text)
    assert_int_equal(hf_chat_template(f.path, &out, &from, &err), PGR_OK);
    assert_true(!from && out.n == 0);
    folder_puts(&f, "chat_template.json", "{\"chat_template\": \"third\"}");
    FOUND("chat_template.json", "third");
    folder_puts(&f, "tokenizer_config.json", "{\"add_bos_token\": true}"); /* has none: the next place counts */
    FOUND("chat_template.json", "third");
    folder_puts(&f, "tokenizer_config.json", "{\"chat_template\": \"second\"}");
    FOUND("tokenizer_config.json", "second");
    folder_puts(&f, "chat_template.jinja", "{{ first }}\n");
    FOUND("chat_template.jinja", "{{ first }}\n");
    folder_puts(&f, "chat_template.jinja", "{{ \xff }}");
    assert_int_equal(hf_chat_template(f.path, &out, &from, &err), PGR_E_FORMAT);
    assert_non_null(strstr(err.message, "/chat_template.jinja: not UTF-8 text"));
    buf_free(&out);
    folder_remove(&f);
}

/* ---- folders ---- */

static void reads_what_transformers_wrote(void **state) {
    (void)state;
    hf_config h;
    pgr_error err;
    buf text = {0};
    const char *from;
    if (hf_config_read(GOLDEN("hf-tiny-llama/f32"), &h, &err) != PGR_OK) fail_msg("%s", err.message);
    assert_string_equal(h.c.arch, "llama");
    assert_true(h.c.n_layer == 2 && h.c.n_embd == 64 && h.c.n_head == 4 && h.c.n_head_kv == 2 && h.c.head_dim == 16);
    assert_true(h.c.n_ff == 96 && h.c.n_ctx == 2048 && h.c.n_vocab == 659 && h.c.rope_base == 10000 && h.tied);
    assert_true(h.bos == 1 && h.n_eos == 2 && h.eos[0] == 2 && h.eos[1] == 0); /* generation_config.json */
    if (hf_config_read(GOLDEN("hf-tiny-llama/bf16"), &h, &err) != PGR_OK) fail_msg("%s", err.message);
    assert_true(h.n_eos == 1 && h.eos[0] == 2); /* config.json alone */
    assert_int_equal(hf_chat_template(GOLDEN("hf-tiny-llama/f32"), &text, &from, &err), PGR_OK);
    assert_string_equal(from, "chat_template.jinja");
    assert_int_equal(strncmp(text.data, "{% for message in messages %}", 29), 0);
    buf_free(&text);
    assert_int_equal(hf_config_read("/nonexistent", &h, &err), PGR_E_IO);
    assert_string_equal(err.message, "/nonexistent: has no config.json");
}

static void cut_and_changed_files_are_safe(void **state) {
    (void)state;
    size_t n = sizeof llama31 - 1, opened = 0;
    long live = mem_live();
    char *text = malloc(n);
    hf_config h;
    for (size_t i = 0; i < 200; i++) {
        size_t cut = n * i / 200;
        char *copy = malloc(cut ? cut : 1);
        memcpy(copy, llama31, cut);
        assert_int_equal(hf_config_parse(copy, cut, "cut", &h, NULL), PGR_E_FORMAT);
        free(copy);
    }
    memcpy(text, llama31, n);
    rng r = {.seed = 12};
    for (size_t i = 0; i < 2000; i++) {
        size_t at = rng_below(&r, n);
        text[at] = (char)rng_below(&r, 256);
        if (hf_config_parse(text, n, "changed", &h, NULL) == PGR_OK) {
            assert_true(h.c.n_head % h.c.n_head_kv == 0 && h.c.head_dim % 2 == 0 && h.c.n_vocab > 0
                        && h.c.norm_eps > 0);
            opened++;
        }
        text[at] = llama31[at];
    }
    assert_true(opened > 20 && opened < 1500);
    assert_int_equal(mem_live(), live);
    free(text);
}

static bool read_config(void) {
    hf_config h;
    return hf_config_read(GOLDEN("hf-tiny-llama/f32"), &h, NULL) == PGR_OK;
}

static bool read_template(void) {
    static const char list[] = "{\"chat_template\":[{\"name\":\"default\",\"template\":\"{{ messages }}\"}]}";
    buf out = {0};
    bool found;
    const char *from;
    pgr_status status = hf_chat_template(GOLDEN("hf-tiny-llama/f32"), &out, &from, NULL);
    if (status == PGR_OK) status = hf_template_parse(list, sizeof list - 1, "t", &out, &found, NULL);
    buf_free(&out);
    return status == PGR_OK;
}

static void failing_allocations(void **state) {
    (void)state;
    assert_true(fail_each_allocation(read_config) > 20);
    assert_true(fail_each_allocation(read_template) > 5);
}

int main(void) {
    json_setup(); /* with() uses jansson */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(llama31_in_both_forms),
        cmocka_unit_test(other_families),
        cmocka_unit_test(features_that_we_lack_are_refused_by_name),
        cmocka_unit_test(wrong_values_are_refused_by_key),
        cmocka_unit_test(what_changes_nothing_is_let_pass),
        cmocka_unit_test(score_heads),
        cmocka_unit_test(end_tokens),
        cmocka_unit_test(templates_from_json),
        cmocka_unit_test(token_texts_from_json),
        cmocka_unit_test(templates_of_folders),
        cmocka_unit_test(reads_what_transformers_wrote),
        cmocka_unit_test(cut_and_changed_files_are_safe),
        cmocka_unit_test(failing_allocations),
    };
    return cmocka_run_group_tests_name("hf_config", tests, NULL, NULL);
}
