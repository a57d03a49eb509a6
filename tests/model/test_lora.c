/* test_lora.c - adapters at run time against what PEFT computes (tools/tiny_lora.py), from both formats on both kinds
 * of base; swapping; and what is refused, by name. */
#include "../format/folder_make.h"
#include "../format/gguf_make.h"
#include "forward_golden.h"

#include "model/lora_config.h"
#include "model/lora_set.h"

#define LORA(name) GOLDEN("lora/" name)

/* ---- against PEFT ---- */

/* The prompt again, into x->logits. */
static void run_again(fixture *x) {
    kv_seq s = {0};
    run(x->f, &x->kv, &s, x->prompt, 64, x->logits);
    kv_release(&x->kv, &s);
}

static pgr_lora *adapter(const fixture *x, const char *path) {
    pgr_lora *l = NULL;
    pgr_error err = {0};
    if (pgr_lora_open(x->m, path, &l, &err) != PGR_OK) fail_msg("%s", err.message);
    return l;
}

static void set(fixture *x, pgr_lora *const *loras, const float *scales, size_t n) {
    pgr_error err = {0};
    if (forward_set_loras(x->f, loras, scales, n, &err) != PGR_OK) fail_msg("%s", err.message);
    run_again(x);
}

static const struct {
    const char *base, *json, *adapters[2];
    float scales[2];
    size_t n;
} cases[] = {
#define QV   LORA("llama-qv")
#define MORE LORA("llama-more")
#define GG   ".gguf"
    {GOLDEN("hf-tiny-llama/f32"), QV ".json", {QV}, {1}, 1},
    {GOLDEN("hf-tiny-llama/f32"), QV ".json", {QV GG}, {1}, 1},
    {GOLDEN("tiny-llama.gguf"), QV ".json", {QV}, {1}, 1},
    {GOLDEN("tiny-llama.gguf"), QV ".json", {QV GG}, {1}, 1},
    {GOLDEN("hf-tiny-llama/f32"), MORE ".json", {MORE}, {1}, 1},
    {GOLDEN("hf-tiny-llama/f32"), MORE ".json", {MORE GG}, {1}, 1},
    {GOLDEN("tiny-llama.gguf"), MORE ".json", {MORE}, {1}, 1},
    {GOLDEN("tiny-llama.gguf"), MORE ".json", {MORE GG}, {1}, 1},
    {GOLDEN("hf-tiny-llama/f32"), LORA("llama-both.json"), {QV, MORE GG}, {0.5f, 2}, 2},
    {GOLDEN("tiny-llama.gguf"), LORA("llama-both.json"), {MORE, QV}, {2, 0.5f}, 2},
    {GOLDEN("hf-tiny-qwen3"), LORA("qwen3-all.json"), {LORA("qwen3-all")}, {1}, 1},
};
enum { N_CASE = sizeof cases / sizeof *cases };

static bool open_case(fixture *x, size_t i, pgr_dtype dtype, int threads, pgr_lora **loras) {
    if (!open_fixture(x, cases[i].base, cases[i].json, dtype, threads)) return false;
    for (size_t k = 0; k < cases[i].n; k++) loras[k] = adapter(x, cases[i].adapters[k]);
    return true;
}

static void close_case(fixture *x, size_t i, pgr_lora **loras) {
    forward_free(x->f);
    x->f = NULL;
    for (size_t k = 0; k < cases[i].n; k++) pgr_lora_close(loras[k]);
    close_fixture(x);
}

/* Bounds: as in test_families.c; bf16 twice that, since what an adapter adds at scale 2 is as large as the model's own
 * products and its input is rounded as theirs is. Without the adapter the logits are far from these, and with none
 * again they have their bits back. bf16 keeps K, V and the weights of attention in bf16, too: a score of 10 is off by
 * 10 * 2^-8, which an adapter of this size on q and k makes of scores that the bare model has below 1;
 * that is as much again. */
static void logits_of_peft(void **state) {
    (void)state;
    static const struct {
        pgr_dtype dtype;
        double bound;
        size_t greedy;
    } forms[] = {{PGR_DTYPE_EXACT, 2e-5, 40}, {PGR_DTYPE_F32, 2e-5, 40}, {PGR_DTYPE_BF16, 1.2e-1, 0}};
    double worst = 0;
    for (size_t i = 0; i < N_CASE; i++)
        for (size_t k = 0; k < 3; k++) {
            fixture x;
            pgr_lora *loras[2];
            if (!open_case(&x, i, forms[k].dtype, 2, loras)) {
                print_message("skipped: this CPU has no kernels for dtype %d\n", forms[k].dtype);
                continue;
            }
            size_t bytes = 64 * x.V * sizeof(float);
            float *bare = malloc(bytes);
            memcpy(bare, x.logits, bytes);
            assert_true(golden_error(&x) > 3e-1);

            set(&x, loras, cases[i].scales, cases[i].n);
            double error = golden_error(&x);
            if (forms[k].greedy > 0 && error > worst) worst = error;
            if (!(error <= forms[k].bound)) fail_msg("case %zu: %g > %g", i, error, forms[k].bound);
            if (!(greedy_equal(&x) >= forms[k].greedy)) fail_msg("case %zu: other greedy tokens", i);

            set(&x, NULL, NULL, 0);
            assert_memory_equal(x.logits, bare, bytes);
            free(bare);
            close_case(&x, i, loras);
        }
    print_message("fp32: largest difference %.2g of the largest logit\n", worst);
}

/* Scale 0 is as none, and the same adapter twice at half the scale nearly as once (its sums are the same, halved). */
static void scales(void **state) {
    (void)state;
    fixture x;
    pgr_lora *loras[2];
    assert_true(open_case(&x, 2, PGR_DTYPE_EXACT, 2, loras));
    size_t bytes = 64 * x.V * sizeof(float);
    float *bare = malloc(bytes);
    memcpy(bare, x.logits, bytes);
    pgr_lora *twice[] = {loras[0], loras[0]};
    set(&x, twice, (const float[]){0.5f, 0.5f}, 2);
    assert_true(golden_error(&x) <= 2e-5);
    set(&x, twice, (const float[]){1, -1}, 2);
    assert_true(golden_error(&x) > 1e-1);
    set(&x, twice, (const float[]){0, 0}, 2);
    assert_memory_equal(x.logits, bare, bytes);
    free(bare);
    close_case(&x, 2, loras);
}

static void chunks_and_threads_change_no_bit(void **state) {
    (void)state;
    for (size_t i = 8; i < N_CASE; i++) {
        fixture one, three;
        pgr_lora *a[2], *b[2];
        assert_true(open_case(&one, i, PGR_DTYPE_EXACT, 1, a));
        assert_true(open_case(&three, i, PGR_DTYPE_EXACT, 3, b));
        set(&one, a, cases[i].scales, cases[i].n);
        set(&three, b, cases[i].scales, cases[i].n);
        assert_memory_equal(one.logits, three.logits, 64 * one.V * sizeof(float));
        chunks_change_no_bit(&three);
        close_case(&one, i, a);
        close_case(&three, i, b);
    }
}

static void expect_set(const fixture *x, pgr_lora *const *loras, const float *s, size_t n, const char *message) {
    pgr_error err = {0};
    assert_int_equal(forward_set_loras(x->f, loras, s, n, &err), PGR_E_ARG);
    if (!strstr(err.message, message)) fail_msg("%s", err.message);
}

/* A set that is refused leaves the one before. */
static void sets_that_are_refused(void **state) {
    (void)state;
    fixture x, other;
    pgr_lora *loras[2], *foreign[2];
    assert_true(open_case(&x, 10, PGR_DTYPE_EXACT, 2, loras));
    assert_true(open_case(&other, 10, PGR_DTYPE_EXACT, 2, foreign));
    set(&x, loras, cases[10].scales, 1);
    pgr_lora *twice[] = {loras[0], loras[0]};
    expect_set(&x, foreign, (const float[]){1}, 1, "qwen3-all: the adapter was opened for another model");
    expect_set(&x, loras, (const float[]){NAN}, 1, "the scale is nan");
    expect_set(&x, loras, (const float[]){2}, 1, "the scale is 2, but the adapter replaces the model's head");
    expect_set(&x, twice, (const float[]){1, 1}, 2, "another adapter replaces the model's head too");
    run_again(&x);
    assert_true(golden_error(&x) <= 2e-5);
    close_case(&x, 10, loras);
    close_case(&other, 10, foreign);
}

/* ---- the reader ---- */

static config config_of(const char *gguf_path) {
    gguf g;
    config c;
    assert_int_equal(gguf_open(gguf_path, &g, NULL), PGR_OK);
    assert_int_equal(config_from_gguf(&g, &c, NULL), PGR_OK);
    gguf_close(&g);
    return c;
}

static void same_factors(const lora_factors *a, const lora_factors *b) {
    assert_int_equal(a->r, b->r);
    if (a->r == 0) return;
    assert_true(a->N == b->N && a->K == b->K && fabsf(a->scale - b->scale) <= 1e-6f * fabsf(b->scale));
    assert_memory_equal(a->a, b->a, a->r * a->K * sizeof(float));
    assert_memory_equal(a->b, b->b, a->r * a->N * sizeof(float));
}

/* Both formats give the same factors, for a model with rows of either order. */
static void formats_agree(void **state) {
    (void)state;
    static const char *const names[][2] = {{QV, QV GG}, {MORE, MORE GG}};
    config c = config_of(GOLDEN("tiny-llama.gguf"));
    for (size_t i = 0; i < 4; i++) {
        lora a, b;
        c.rope_interleaved = i % 2;
        assert_int_equal(lora_open(names[i / 2][0], &c, &a, NULL), PGR_OK);
        assert_int_equal(lora_open(names[i / 2][1], &c, &b, NULL), PGR_OK);
        assert_string_equal(a.base, "hf-tiny-llama");
        assert_string_equal(b.base, "tiny llama of random weights");
        assert_true(a.n_tensor == b.n_tensor && a.n_value == b.n_value && a.max_r == (i / 2 ? 3 : 4));
        for (size_t l = 0; l < c.n_layer; l++) {
#define X(field, gguf, hf, rows, cols) same_factors(&a.layers[l].field, &b.layers[l].field);
            LAYER_MATRICES(X)
#undef X
        }
        same_factors(&a.token_embd, &b.token_embd);
        same_factors(&a.output, &b.output);
        lora_close(&a);
        lora_close(&b);
    }
}

static void ranks_and_scales(void **state) {
    (void)state;
    static const char text[] =
        "{\"peft_type\": \"LORA\", \"r\": 8, \"lora_alpha\": 16, \"rank_pattern\": {\"q_proj\": 2, "
        "\"layers.[0-3].self_attn.q_proj\": 9, \"a|mlp.up_proj\": 4}, "
        "\"alpha_pattern\": {\"layers\\\\.1\\\\..*\": 32, \"v_proj\": 1}%s}";
    static const struct {
        const char *module;
        size_t r;
        float alpha;
    } want[] = {{"model.layers.0.self_attn.q_proj", 2, 16},
                {"model.layers.1.self_attn.q_proj", 2, 32},
                {"model.layers.0.self_attn.xq_proj", 8, 16},
                {"model.layers.0.mlp.up_proj", 4, 16},
                {"model.layers.1.self_attn.v_proj", 8, 32},
                {"model.layers.11.self_attn.v_proj", 8, 1},
                {"lm_head", 8, 16}};
    for (int rslora = 0; rslora < 2; rslora++) {
        char full[512];
        lora_config c;
        pgr_error err = {0};
        int n = snprintf(full, sizeof full, text, rslora ? ", \"use_rslora\": true" : "");
        if (lora_config_parse(full, (size_t)n, "mem", &c, &err) != PGR_OK) fail_msg("%s", err.message);
        for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
            size_t r;
            float scale, by = (float)want[i].r;
            assert_int_equal(lora_config_module(&c, want[i].module, &r, &scale, NULL), PGR_OK);
            assert_int_equal(r, want[i].r);
            if (rslora) by = sqrtf(by);
            assert_true(fabsf(scale - want[i].alpha / by) < 1e-6f);
        }
        lora_config_free(&c);
    }
}

#define CONFIG(more) "{\"peft_type\": \"LORA\", \"r\": 2, \"lora_alpha\": 4" more "}"

static void configs_that_are_refused(void **state) {
    (void)state;
    static const struct {
        const char *text, *message;
        pgr_status status;
    } list[] = {
        {"[]", "mem: found an array, expected an object", PGR_E_FORMAT},
        {"{\"r\": 2}", "mem: key peft_type is missing", PGR_E_FORMAT},
        {"{\"peft_type\": \"LORA\", \"r\": 2}", "mem: key lora_alpha is missing", PGR_E_FORMAT},
        {"{\"peft_type\": \"IA3\"}", "mem: peft_type is \"IA3\"; only LORA", PGR_E_UNSUPPORTED},
        {CONFIG(", \"task_type\": \"SEQ_CLASS\""), "task_type is \"SEQ_CLASS\"", PGR_E_UNSUPPORTED},
        {CONFIG(", \"use_dora\": true"), "use_dora is true", PGR_E_UNSUPPORTED},
        {CONFIG(", \"bias\": \"lora_only\""), "bias is \"lora_only\"", PGR_E_UNSUPPORTED},
        {CONFIG(", \"fan_in_fan_out\": true"), "fan_in_fan_out is true", PGR_E_UNSUPPORTED},
        {CONFIG(", \"init_lora_weights\": \"pissa_niter_16\""), "init_lora_weights is \"pissa_niter_16\"",
         PGR_E_UNSUPPORTED},
        {CONFIG(", \"init_lora_weights\": \"olora\""), "init_lora_weights is \"olora\"", PGR_E_UNSUPPORTED},
        {CONFIG(", \"layer_replication\": [[0, 2]]"), "layer_replication is an array", PGR_E_UNSUPPORTED},
        {CONFIG(", \"megatron_config\": {\"a\": 1}"), "megatron_config is an object", PGR_E_UNSUPPORTED},
        {CONFIG(", \"trainable_token_indices\": [3]"), "trainable_token_indices", PGR_E_UNSUPPORTED},
        {CONFIG(", \"alora_invocation_tokens\": [3]"), "alora_invocation_tokens", PGR_E_UNSUPPORTED},
        {CONFIG(", \"lora_bias\": true"), "lora_bias is true", PGR_E_UNSUPPORTED},
        {CONFIG(", \"a_later_switch\": 0.5"), "a_later_switch is a number", PGR_E_UNSUPPORTED},
        {CONFIG(", \"rank_pattern\": {\"q_proj\": 0}"), "rank_pattern: found 0, expected 1 to", PGR_E_FORMAT},
        {CONFIG(", \"rank_pattern\": {\"q_(proj\": 1}"), "\"q_(proj\" is not a regular expression", PGR_E_FORMAT},
        {CONFIG(", \"alpha_pattern\": {\"q\": \"x\"}"), "alpha_pattern is a string", PGR_E_FORMAT},
        {CONFIG(", \"alpha_pattern\": 3"), "alpha_pattern: found an integer", PGR_E_FORMAT},
    };
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
        lora_config c;
        pgr_error err = {0};
        assert_int_equal(lora_config_parse(list[i].text, strlen(list[i].text), "mem", &c, &err), list[i].status);
        if (!strstr(err.message, list[i].message)) fail_msg("%s", err.message);
    }
}

/* A file of tensors of F32, each given as name and shape; "" ends the list. */
typedef struct shape {
    const char *name;
    size_t rows, cols;
} shape;

static uint8_t *make_adapter(const shape *list, size_t *size) {
    buf h = {0};
    size_t at = 0;
    for (; list->name; list++) {
        size_t bytes = list->rows * list->cols * sizeof(float);
        buf_printf(&h, "%s\"%s\":{\"dtype\":\"F32\",\"shape\":[%zu,%zu],\"data_offsets\":[%zu,%zu]}", at ? "," : "{",
                   list->name, list->rows, list->cols, at, at + bytes);
        at += bytes;
    }
    buf_puts(&h, at ? "}" : "{}");
    uint8_t *bytes = make_safetensors(h.data, at, size);
    buf_free(&h);
    return bytes;
}

#define M "base_model.model.model."
#define Q M "layers.1.self_attn.q_proj"

/* tiny-llama: width 64, 659 tokens, 2 layers */
static void tensors_that_are_refused(void **state) {
    (void)state;
    static const struct {
        shape tensors[4];
        pgr_status status;
        const char *message;
    } list[] = {
        {{{0}}, PGR_E_FORMAT, "mem: the adapter has no tensors"},
        {{{Q ".lora_A.weight", 2, 64}},
         PGR_E_FORMAT,
         "tensor " Q ".lora_B.weight is missing, which " Q ".lora_A.weight needs"},
        {{{Q ".lora_B.weight", 64, 2}}, PGR_E_FORMAT, "tensor " Q ".lora_A.weight is missing"},
        {{{Q ".lora_A.weight", 3, 64}, {Q ".lora_B.weight", 64, 3}},
         PGR_E_FORMAT,
         "tensor " Q ".lora_A.weight has shape 3 x 64, expected 2 rows of 64"},
        {{{Q ".lora_A.weight", 2, 60}, {Q ".lora_B.weight", 64, 2}},
         PGR_E_FORMAT,
         "has shape 2 x 60, expected 2 rows of 64"},
        {{{Q ".lora_A.weight", 2, 64}, {Q ".lora_B.weight", 32, 2}},
         PGR_E_FORMAT,
         "tensor " Q ".lora_B.weight has shape 32 x 2, expected 64 rows of 2"},
        {{{Q ".lora_A.weight", 2, 64}, {Q ".lora_B.weight", 64, 2}, {Q ".lora_magnitude_vector", 1, 64}},
         PGR_E_UNSUPPORTED,
         "tensor " Q ".lora_magnitude_vector: DoRA is not supported"},
        {{{Q ".lora_B.bias", 1, 64}}, PGR_E_UNSUPPORTED, "biases are not supported"},
        {{{Q ".bias", 1, 64}}, PGR_E_UNSUPPORTED, "biases are not supported"},
        {{{Q ".weight", 64, 64}},
         PGR_E_UNSUPPORTED,
         "modules_to_save is supported for embed_tokens, lm_head and norms"},
        {{{M "layers.2.self_attn.q_proj.lora_A.weight", 2, 64}},
         PGR_E_UNSUPPORTED,
         "it belongs to no tensor of this model"},
        {{{M "layers.01x.self_attn.q_proj.lora_A.weight", 2, 64}}, PGR_E_UNSUPPORTED, "it belongs to no tensor"},
        {{{"model.layers.1.self_attn.q_proj.lora_A.weight", 2, 64}}, PGR_E_UNSUPPORTED, "it belongs to no tensor"},
        {{{M "layers.1.self_attn.q_norm.weight", 1, 16}}, PGR_E_UNSUPPORTED, "it belongs to no tensor"},
        {{{M "layers.1.input_layernorm.lora_A.weight", 2, 64}}, PGR_E_UNSUPPORTED, "it belongs to no tensor"},
        {{{M "embed_tokens.lora_A.weight", 2, 64}}, PGR_E_UNSUPPORTED, "it belongs to no tensor"},
        {{{Q ".lora_embedding_A", 2, 64}}, PGR_E_UNSUPPORTED, "it belongs to no tensor"},
        {{{M "embed_tokens.lora_embedding_A", 3, 659}, {M "embed_tokens.lora_embedding_B", 64, 3}},
         PGR_E_FORMAT,
         "tensor " M "embed_tokens.lora_embedding_A has shape 3 x 659, expected 2 rows of 659"},
        {{{"base_model.model.score.weight", 2, 64}}, PGR_E_UNSUPPORTED, "it belongs to no tensor"},
        {{{M "norm.weight", 1, 63}}, PGR_E_FORMAT, "has shape 1 x 63, expected 1 rows of 64"},
        {{{M "embed_tokens.weight", 659, 64}, {M "embed_tokens.base_layer.weight", 659, 64}},
         PGR_E_FORMAT,
         "a second one in place of the same tensor"},
        {{{M "embed_tokens.weight", 660, 64}}, PGR_E_FORMAT, "has shape 660 x 64, expected 659 rows of 64"},
        {{{"base_model.model.layers.1.self_attn.q_proj.lora_A.weight", 2, 64},
          {"base_model.model.layers.1.self_attn.q_proj.lora_B.weight", 64, 2},
          {Q ".lora_A.weight", 2, 64},
          {Q ".lora_B.weight", 64, 2}},
         PGR_E_FORMAT,
         "a second pair of factors"},
    };
    config c = config_of(GOLDEN("tiny-llama.gguf"));
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
        lora l;
        pgr_error err = {0};
        shape tensors[5] = {{0}};
        memcpy(tensors, list[i].tensors, sizeof list[i].tensors);
        size_t size;
        uint8_t *bytes = make_adapter(tensors, &size);
        static const char text[] = CONFIG("");
        pgr_status s = lora_open_peft_memory(text, sizeof text - 1, bytes, size, "mem", &c, &l, &err);
        if (s != list[i].status || !strstr(err.message, list[i].message)) fail_msg("%zu: %d %s", i, s, err.message);
        assert_true(l.layers == NULL);
        free(bytes);
    }
}

/* A rank that the tensors do not have is told from their shapes: no memory is asked for, here 2^48 bytes. */
static void a_rank_alone_asks_for_no_memory(void **state) {
    (void)state;
    static const shape tensors[] = {
        {M "embed_tokens.lora_embedding_A", 2, 659}, {M "embed_tokens.lora_embedding_B", 64, 2}, {0}};
    static const char text[] = "{\"peft_type\": \"LORA\", \"r\": 65536, \"lora_alpha\": 1}";
    config c = config_of(GOLDEN("tiny-llama.gguf"));
    c.n_vocab = (size_t)1 << 30;
    lora l;
    pgr_error err = {0};
    size_t size;
    uint8_t *bytes = make_adapter(tensors, &size);
    assert_int_equal(lora_open_peft_memory(text, sizeof text - 1, bytes, size, "mem", &c, &l, &err), PGR_E_FORMAT);
    assert_non_null(strstr(err.message, "has shape 2 x 659, expected 65536 rows of 1073741824"));
    free(bytes);
}

/* Whole tensors in place of the model's: the embedding's look-up changes, a tied head does not. */
static void tensors_in_place_of_the_models(void **state) {
    (void)state;
    static const shape list[] = {{M "embed_tokens.weight", 659, 64}, {M "norm.weight", 1, 64}, {NULL, 0, 0}};
    static const char text[] = CONFIG("");
    config c = config_of(GOLDEN("tiny-llama.gguf"));
    size_t size;
    uint8_t *bytes = make_adapter(list, &size);
    lora l;
    assert_int_equal(lora_open_peft_memory(text, sizeof text - 1, bytes, size, "mem", &c, &l, NULL), PGR_OK);
    assert_non_null(l.new_token_embd);
    assert_non_null(l.new_output_norm);
    assert_true(!l.new_output && l.max_r == 0 && l.n_value == 660 * 64);
    lora_close(&l);
    free(bytes);
}

/* ---- GGUF files ---- */

static void gguf_adapter(gmake *m, const char *type, const char *arch, float alpha) {
    make_string(m, "general.type", type);
    make_string(m, "general.architecture", arch);
    make_string(m, "adapter.type", "lora");
    make_f32(m, "adapter.lora.alpha", alpha);
}

static void gguf_pair(gmake *m, const char *a, uint64_t K, const char *b, uint64_t N, uint64_t r) {
    uint64_t first = (r * K * 4 + 31) / 32 * 32;
    make_tensor(m, a, 2, (const uint64_t[]){K, r}, 0, 0);
    make_tensor(m, b, 2, (const uint64_t[]){r, N}, 0, first);
    for (uint64_t i = 0; i < first + (r * N * 4 + 31) / 32 * 32; i++) buf_putc(&m->data, 0);
}

static void expect_gguf(gmake *m, pgr_status status, const char *message) {
    config c = config_of(GOLDEN("tiny-llama.gguf"));
    size_t n;
    lora l;
    pgr_error err = {0};
    uint8_t *bytes = make_file(m, &n);
    pgr_status s = lora_open_gguf_memory(bytes, n, "mem.gguf", &c, &l, &err);
    if (s != status || (message && !strstr(err.message, message))) fail_msg("%d %s", s, err.message);
    if (s == PGR_OK) assert_true(l.layers[0].ffn_up.r == 5 && l.layers[0].ffn_up.scale == 1.0f);
    lora_close(&l);
    free(bytes);
}

static void gguf_files(void **state) {
    (void)state;
    static const char a[] = "blk.0.ffn_up.weight.lora_a", b[] = "blk.0.ffn_up.weight.lora_b";
    gmake m = {0};
    gguf_adapter(&m, "adapter", "llama", 0); /* no alpha: the scale is 1 */
    gguf_pair(&m, a, 64, b, 96, 5);
    expect_gguf(&m, PGR_OK, NULL);
    gguf_adapter(&m, "model", "llama", 1);
    expect_gguf(&m, PGR_E_UNSUPPORTED, "mem.gguf: general.type is \"model\", expected \"adapter\"");
    gguf_adapter(&m, "adapter", "qwen2", 1);
    expect_gguf(&m, PGR_E_UNSUPPORTED, "general.architecture is \"qwen2\", expected \"llama\"");
    gguf_adapter(&m, "adapter", "llama", NAN);
    expect_gguf(&m, PGR_E_FORMAT, "adapter.lora.alpha is nan");
    gguf_adapter(&m, "adapter", "llama", 1);
    make_i32s(&m, "adapter.alora.invocation_tokens", (const int32_t[]){1}, 1);
    expect_gguf(&m, PGR_E_UNSUPPORTED, "key adapter.alora.invocation_tokens is not supported");
    gguf_adapter(&m, "adapter", "llama", 1);
    gguf_pair(&m, a, 60, b, 96, 5);
    expect_gguf(&m, PGR_E_FORMAT, "tensor blk.0.ffn_up.weight.lora_a has shape 5 x 60, expected 5 rows of 64");
    gguf_adapter(&m, "adapter", "llama", 1);
    gguf_pair(&m, a, 64, "blk.0.ffn_norm.weight", 96, 5);
    expect_gguf(&m, PGR_E_FORMAT, "tensor blk.0.ffn_up.weight.lora_b is missing");
    gguf_adapter(&m, "adapter", "llama", 1);
    gguf_pair(&m, a, 64, b, 90, 5);
    expect_gguf(&m, PGR_E_FORMAT, "has shape 90 x 5, expected 96 rows of 5");
}

static void files_that_are_not_there(void **state) {
    (void)state;
    config c = config_of(GOLDEN("tiny-llama.gguf"));
    lora l;
    pgr_error err = {0};
    assert_int_equal(lora_open("/nonexistent", &c, &l, &err), PGR_E_IO);
    assert_non_null(strstr(err.message, "/nonexistent"));
    folder f = folder_make();
    assert_int_equal(lora_open(f.path, &c, &l, &err), PGR_E_IO);
    assert_non_null(strstr(err.message, "adapter_config.json"));
    folder_puts(&f, "adapter_model.bin", "x");
    assert_int_equal(lora_open(f.path, &c, &l, &err), PGR_E_UNSUPPORTED);
    assert_non_null(strstr(err.message, "adapter_model.bin is not read"));
    folder_remove(&f);
}

/* ---- memory ---- */

static pgr_model *QWEN3;

static bool open_and_set(void) {
    pgr_lora *l = NULL;
    lora_set s = {0};
    bool worked = pgr_lora_open(QWEN3, LORA("qwen3-all"), &l, NULL) == PGR_OK
                  && lora_set_create(QWEN3, &l, (const float[]){1}, 1, &s, NULL) == PGR_OK;
    lora_set_free(&s);
    pgr_lora_close(l);
    return worked;
}

static bool open_gguf_adapter(void) {
    config c = {.arch = "llama",
                .n_layer = 2,
                .n_embd = 64,
                .n_head = 4,
                .n_head_kv = 2,
                .head_dim = 16,
                .n_ff = 96,
                .n_vocab = 659};
    lora l;
    if (lora_open(MORE GG, &c, &l, NULL) != PGR_OK) return false;
    lora_close(&l);
    return true;
}

static void survives_a_lack_of_memory(void **state) {
    (void)state;
    QWEN3 = model_of(GOLDEN("hf-tiny-qwen3"), PGR_DTYPE_EXACT, 1);
    assert_true(fail_each_allocation(open_and_set) > 50);
    pgr_model_close(QWEN3);
    assert_true(fail_each_allocation(open_gguf_adapter) > 5);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(logits_of_peft),
        cmocka_unit_test(scales),
        cmocka_unit_test(chunks_and_threads_change_no_bit),
        cmocka_unit_test(sets_that_are_refused),
        cmocka_unit_test(formats_agree),
        cmocka_unit_test(ranks_and_scales),
        cmocka_unit_test(configs_that_are_refused),
        cmocka_unit_test(tensors_that_are_refused),
        cmocka_unit_test(a_rank_alone_asks_for_no_memory),
        cmocka_unit_test(tensors_in_place_of_the_models),
        cmocka_unit_test(gguf_files),
        cmocka_unit_test(files_that_are_not_there),
        cmocka_unit_test(survives_a_lack_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
