/* test_config.c - a file's numbers become a config, or an error that names the key. */
#include "gguf_make.h"

#include <math.h>

#include "format/config.h"
#include "math/quant.h"

/* a sound file; change: what a case puts in place of, or beside, a key */
typedef struct change {
    const char *key; /* without "llama." */
    gguf_kind kind;
    uint64_t v;
    const char *text; /* of a string */
    pgr_status status;
    const char *message;
} change;

static const struct {
    const char *key;
    uint32_t v;
} sound[] = {
    {"block_count", 2},          {"embedding_length", 64},       {"attention.head_count", 4},
    {"feed_forward_length", 96}, {"attention.head_count_kv", 2}, {"context_length", 2048},
};

static const char *arch = "llama";

static void put(gmake *m, const change *c) {
    char key[80];
    snprintf(key, sizeof key, "%s.%s", arch, c->key);
    if (c->kind == GGUF_STRING)
        make_string(m, key, c->text);
    else
        make_int(m, key, c->kind, c->v);
}

static pgr_status read_changed(const change *c, config *out, pgr_error *err) {
    gmake m = {0};
    gguf g;
    uint8_t *bytes;
    make_string(&m, "general.architecture", arch);
    for (size_t i = 0; i < sizeof sound / sizeof *sound; i++)
        if (!c || strcmp(c->key, sound[i].key) != 0)
            put(&m, &(change){.key = sound[i].key, .kind = GGUF_U32, .v = sound[i].v});
    if (!c || strcmp(c->key, "attention.layer_norm_rms_epsilon") != 0)
        put(&m, &(change){.key = "attention.layer_norm_rms_epsilon", .kind = GGUF_F32, .v = 0x3727c5ac /* 1e-5f */});
    if (c && c->kind != GGUF_ARRAY) put(&m, c); /* array: leave the key out */
    make_tensor(&m, "token_embd.weight", 2, (uint64_t[]){64, 10}, QUANT_F32, 0);
    for (size_t i = 0; i < 2560; i++) buf_putc(&m.data, 0);
    assert_int_equal(make_open(&m, &g, err, &bytes), PGR_OK);
    pgr_status status = config_from_gguf(&g, out, err);
    gguf_close(&g);
    free(bytes);
    return status;
}

static void reads_and_defaults(void **state) {
    (void)state;
    config c;
    pgr_error err;
    assert_int_equal(read_changed(NULL, &c, &err), PGR_OK);
    assert_string_equal(c.arch, "llama");
    assert_true(c.n_layer == 2 && c.n_embd == 64 && c.n_head == 4 && c.n_head_kv == 2 && c.n_ff == 96);
    assert_true(c.head_dim == 16 && c.rope_dim == 16 && c.n_ctx == 2048 && c.n_vocab == 10 && c.rope_interleaved);
    assert_true(c.rope_base == 10000.0 && c.norm_eps == 1e-5f);
    assert_int_equal(read_changed(&(change){.key = "attention.head_count_kv", .kind = GGUF_ARRAY}, &c, &err), PGR_OK);
    assert_int_equal(c.n_head_kv, 4);
    assert_int_equal(read_changed(&(change){.key = "attention.key_length", .kind = GGUF_U32, .v = 24}, &c, &err),
                     PGR_OK);
    assert_true(c.head_dim == 24 && c.rope_dim == 24);
    assert_int_equal(read_changed(&(change){.key = "rope.dimension_count", .kind = GGUF_U32, .v = 8}, &c, &err),
                     PGR_OK);
    assert_true(c.head_dim == 16 && c.rope_dim == 8);
    assert_int_equal(read_changed(&(change){.key = "rope.scaling.type", .kind = GGUF_STRING, .text = "none"}, &c, &err),
                     PGR_OK);
    assert_int_equal(read_changed(&(change){.key = "expert_count", .kind = GGUF_U32, .v = 0}, &c, &err), PGR_OK);
}

static void families(void **state) {
    (void)state;
    static const struct {
        const char *name;
        bool interleaved, bias, qk_norm;
    } want[] = {{"llama", true, false, false}, {"qwen2", false, true, false}, {"qwen3", false, false, true}};
    for (size_t i = 0; i < 3; i++) {
        config c;
        pgr_error err;
        arch = want[i].name;
        if (read_changed(NULL, &c, &err) != PGR_OK) fail_msg("%s", err.message);
        assert_string_equal(c.arch, want[i].name);
        assert_true(c.rope_interleaved == want[i].interleaved && c.attn_bias == want[i].bias);
        assert_true(c.qk_norm == want[i].qk_norm && c.rope_kind == ROPE_PLAIN && c.head_dim == 16);
    }
    config c;
    pgr_error err;
    assert_int_equal(
        read_changed(&(change){.key = "rope.scaling.type", .kind = GGUF_STRING, .text = "longrope"}, &c, &err),
        PGR_E_UNSUPPORTED);
    assert_string_equal(
        err.message,
        "mem.gguf: qwen3.rope.scaling.type is \"longrope\"; only \"none\", \"linear\" and \"yarn\" are supported");
    arch = "llama";
}

static void refuses(void **state) {
    (void)state;
    /* clang-format off */
    static const change cases[] = {
        {"block_count", GGUF_ARRAY, 0, 0, PGR_E_FORMAT, "key llama.block_count is missing"},
        {"block_count", GGUF_U32, 0, 0, PGR_E_FORMAT, "llama.block_count is 0, want 1 to 1024"},
        {"block_count", GGUF_U32, 5000, 0, PGR_E_FORMAT, "llama.block_count is 5000, want 1 to 1024"},
        {"block_count", GGUF_F32, 0, 0, PGR_E_FORMAT, "key llama.block_count is of kind f32, want u32"},
        {"embedding_length", GGUF_U32, 66, 0, PGR_E_FORMAT,
         "embedding_length 66 is not a multiple of attention.head_count 4"},
        {"embedding_length", GGUF_U32, 128, 0, PGR_E_FORMAT,
         "tensor token_embd.weight has 2 dimensions and rows of 64, want 2 and 128"},
        {"attention.head_count_kv", GGUF_U32, 3, 0, PGR_E_FORMAT, "the 4 heads are not a multiple of the 3 KV heads"},
        {"attention.head_count_kv", GGUF_U32, 0, 0, PGR_E_FORMAT, "llama.attention.head_count_kv is 0, want 1 to 4096"},
        {"attention.key_length", GGUF_U32, 15, 0, PGR_E_FORMAT,
         "heads of 15 values, 15 of them rotated: both must be even"},
        {"rope.dimension_count", GGUF_U32, 18, 0, PGR_E_FORMAT, "llama.rope.dimension_count is 18, want 1 to 16"},
        {"rope.dimension_count", GGUF_U32, 7, 0, PGR_E_FORMAT,
         "heads of 16 values, 7 of them rotated: both must be even"},
        {"context_length", GGUF_U32, 1 << 25, 0, PGR_E_FORMAT, "llama.context_length is 33554432, want 1 to 16777216"},
        {"attention.layer_norm_rms_epsilon", GGUF_ARRAY, 0, 0, PGR_E_FORMAT,
         "key llama.attention.layer_norm_rms_epsilon is missing"},
        {"attention.layer_norm_rms_epsilon", GGUF_F32, 0x7fc00000, 0, PGR_E_FORMAT,
         "the norm's epsilon is nan, want above 0 and below 1"},
        {"rope.freq_base", GGUF_F32, 0x7f800000, 0, PGR_E_FORMAT, "the rope base is inf, want a number above 0"},
        {"rope.scaling.type", GGUF_STRING, 0, "longrope", PGR_E_UNSUPPORTED,
         "llama.rope.scaling.type is \"longrope\"; only \"none\", \"linear\" and \"yarn\" are supported"},
        {"rope.scale_linear", GGUF_F32, 0x40000000, 0, PGR_E_UNSUPPORTED,
         "llama.rope.scale_linear is 2; only 1 is supported"},
        {"expert_count", GGUF_U32, 8, 0, PGR_E_UNSUPPORTED, "llama.expert_count is 8; this is not supported"},
        {"attention.sliding_window", GGUF_U32, 512, 0, PGR_E_UNSUPPORTED,
         "llama.attention.sliding_window is 512; this is not supported"},
        {"attention.value_length", GGUF_U32, 32, 0, PGR_E_UNSUPPORTED,
         "llama.attention.value_length is 32, the keys have 16; only equal ones are supported"},
    };
    /* clang-format on */
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        config c = {.n_layer = 77};
        pgr_error err;
        assert_int_equal(read_changed(&cases[i], &c, &err), cases[i].status);
        assert_memory_equal(err.message, "mem.gguf: ", 10);
        assert_string_equal(err.message + 10, cases[i].message);
        assert_int_equal(c.n_layer, 77);
    }
    assert_int_equal(
        read_changed(&(change){.key = "context_length", .kind = GGUF_U32, .v = 1 << 24}, &(config){0}, NULL), PGR_OK);
}

static void checks_every_config(void **state) {
    (void)state;
    static const config sane = {.n_layer = 2,
                                .n_embd = 64,
                                .n_head = 4,
                                .n_head_kv = 2,
                                .head_dim = 16,
                                .n_ff = 96,
                                .n_vocab = 10,
                                .n_ctx = 100,
                                .norm_eps = 1e-5f,
                                .rope_base = 1e4,
                                .rope_dim = 16,
                                .rope_kind = ROPE_LLAMA3,
                                .rope_factor = 8,
                                .rope_low = 1,
                                .rope_high = 4,
                                .rope_original_ctx = 64};
    pgr_error err;
    assert_int_equal(config_check(&sane, "x", NULL), PGR_OK);
#define REFUSED(change, want)                                                                                          \
    do {                                                                                                               \
        config c = sane;                                                                                               \
        c.change;                                                                                                      \
        assert_int_not_equal(config_check(&c, "x", &err), PGR_OK);                                                     \
        assert_string_equal(err.message, "x: " want);                                                                  \
    } while (0)
    REFUSED(n_layer = 0, "the number of layers is 0, want 1 to 1024");
    REFUSED(n_embd = 1 << 18, "the width is 262144, want 1 to 131072");
    REFUSED(n_head_kv = 0, "the number of KV heads is 0, want 1 to 4096");
    REFUSED(head_dim = 0, "the number of values per head is 0, want 1 to 2048");
    REFUSED(rope_dim = 18, "the number of rotated values is 18, want 1 to 16");
    REFUSED(n_vocab = (size_t)-1, "the number of rows of the vocabulary is 18446744073709551615, want 1 to 4194304");
    REFUSED(n_ctx = 0, "the number of positions is 0, want 1 to 16777216");
    REFUSED(norm_eps = NAN, "the norm's epsilon is nan, want above 0 and below 1");
    REFUSED(rope_base = 0, "the rope base is 0, want a number above 0");
    REFUSED(rope_factor = 0.5, "the factor of the rope scaling is 0.5, want 1 or more");
    REFUSED(rope_factor = INFINITY, "the factor of the rope scaling is inf, want 1 or more");
    REFUSED(rope_high = 1, "the low and high frequency factors of the rope scaling are 1 and 1, want 0 < low < high");
    REFUSED(rope_low = 0, "the low and high frequency factors of the rope scaling are 0 and 4, want 0 < low < high");
    REFUSED(rope_original_ctx = 0, "the original positions of the rope scaling are 0, want 1 to 16777216");
#undef REFUSED
    config large = sane;
    large.n_ctx = 1 << 24;
    large.head_dim = large.rope_dim = 18;
    assert_int_equal(config_check(&large, "x", &err), PGR_E_LIMIT);
    assert_string_equal(err.message, "x: 16777216 positions with 18 rotated values are above the limit of 268435456");
}

/* Attention keeps the state of a group's heads on the stack. */
static void refuses_large_groups(void **state) {
    (void)state;
    for (uint32_t n_head = 256; n_head <= 257; n_head++) {
        gmake m = {0};
        gguf g;
        config c;
        pgr_error err;
        uint8_t *bytes;
        change keys[] = {{.key = "block_count", .v = 1},
                         {.key = "embedding_length", .v = 8},
                         {.key = "feed_forward_length", .v = 8},
                         {.key = "context_length", .v = 8},
                         {.key = "attention.head_count", .v = n_head},
                         {.key = "attention.head_count_kv", .v = 1},
                         {.key = "attention.key_length", .v = 2}};
        make_string(&m, "general.architecture", arch);
        make_f32(&m, "llama.attention.layer_norm_rms_epsilon", 1e-5f);
        for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
            keys[i].kind = GGUF_U32;
            put(&m, &keys[i]);
        }
        make_tensor(&m, "token_embd.weight", 2, (uint64_t[]){8, 1}, QUANT_F32, 0);
        for (size_t k = 0; k < 4; k++) put_int(&m.data, 0, 8);
        assert_int_equal(make_open(&m, &g, &err, &bytes), PGR_OK);
        assert_int_equal(config_from_gguf(&g, &c, &err), n_head == 256 ? PGR_OK : PGR_E_UNSUPPORTED);
        if (n_head == 257)
            assert_string_equal(err.message, "mem.gguf: 257 heads per KV head, at most 256 are supported");
        gguf_close(&g);
        free(bytes);
    }
}

static void refuses_other_architectures(void **state) {
    (void)state;
    static const char *const names[] = {"gpt2",   "",         "an-architecture-name-of-more-than-32-bytes",
                                        "llama2", "qwen2moe", "qwen3moe"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        gmake m = {0};
        gguf g;
        config c;
        pgr_error err;
        uint8_t *bytes;
        make_string(&m, "general.architecture", names[i]);
        assert_int_equal(make_open(&m, &g, &err, &bytes), PGR_OK);
        assert_int_equal(config_from_gguf(&g, &c, &err), PGR_E_UNSUPPORTED);
        assert_non_null(strstr(err.message, "is not supported (supported: llama, qwen2, qwen3)"));
        gguf_close(&g);
        free(bytes);
    }
    assert_null(arch_find("Llama"));
    assert_non_null(arch_find("llama"));
    assert_non_null(arch_find("qwen3"));
    assert_string_equal(arch_list(), "llama, qwen2, qwen3");
}

static void reads_files(void **state) {
    (void)state;
    gguf g;
    config c;
    assert_int_equal(gguf_open(GOLDEN("tiny-llama.gguf"), &g, NULL), PGR_OK);
    assert_int_equal(config_from_gguf(&g, &c, NULL), PGR_OK);
    assert_true(c.n_layer == 2 && c.n_vocab == 659 && c.n_ff == 96 && c.head_dim == 16);
    gguf_close(&g);
    if (!default_model()) {
        print_message("reads_files: the default model is not in the cache\n");
        skip();
    }
    assert_int_equal(gguf_open(default_model(), &g, NULL), PGR_OK);
    assert_int_equal(config_from_gguf(&g, &c, NULL), PGR_OK);
    assert_true(c.n_layer == 30 && c.n_embd == 576 && c.n_head == 9 && c.n_head_kv == 3 && c.n_ff == 1536);
    assert_true(c.n_vocab == 49152 && c.n_ctx == 8192 && c.rope_base == 100000.0 && c.head_dim == 64);
    gguf_close(&g);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_and_defaults),
        cmocka_unit_test(families),
        cmocka_unit_test(refuses),
        cmocka_unit_test(checks_every_config),
        cmocka_unit_test(refuses_large_groups),
        cmocka_unit_test(refuses_other_architectures),
        cmocka_unit_test(reads_files),
    };
    return cmocka_run_group_tests_name("config", tests, NULL, NULL);
}
