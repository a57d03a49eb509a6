/* test_families.c - every family's forward pass against Hugging Face transformers (tools/tiny_families.py), and against
 * itself: chunks, neighbours and threads change no bit. */
#include "forward_golden.h"

#define GOLDEN(name, ending) PGR_SOURCE_DIR "/tests/golden/tiny-" name ending

/* fp32: as in test_forward.c. bf16: weights and activations rounded to 8 bits (4e-3 each) per product, 7 products deep:
 * 3e-2. int8: steps of 1/127 of a row's largest value, twice per product, 7 deep, with rows as short as 32 where little
 * averages out: 1.5e-1. */
static const struct {
    const char *name, *model, *json;
} families[] = {
#define X(name)                                                                                                        \
    { name, GOLDEN(name, ".gguf"), GOLDEN(name, ".json") }
    X("qwen2"), X("qwen3"), X("llama31"), X("mistral"), X("yarn"),
#undef X
};
enum { N_FAMILY = sizeof families / sizeof *families };

static bool open_family(fixture *x, size_t i, pgr_dtype dtype, int threads) {
    return open_fixture(x, families[i].model, families[i].json, dtype, threads);
}

static void logits_of_transformers(void **state) {
    (void)state;
    static const struct {
        pgr_dtype dtype;
        double bound;
        size_t greedy;
    } forms[] = {
        {PGR_DTYPE_EXACT, 2e-5, 40}, {PGR_DTYPE_F32, 2e-5, 40}, {PGR_DTYPE_BF16, 3e-2, 0}, {PGR_DTYPE_INT8, 1.5e-1, 0}};
    for (size_t i = 0; i < N_FAMILY; i++)
        for (size_t k = 0; k < 4; k++) {
            fixture x;
            if (!open_family(&x, i, forms[k].dtype, 2)) {
                print_message("skipped: this CPU has no kernels for dtype %d\n", forms[k].dtype);
                continue;
            }
            double error = golden_error(&x);
            print_message("%s, dtype %d: largest difference %.2g of the largest logit\n", families[i].name,
                          forms[k].dtype, error);
            if (!(error <= forms[k].bound))
                fail_msg("%s, dtype %d: %g > %g", families[i].name, forms[k].dtype, error, forms[k].bound);
            if (!(greedy_equal(&x) >= forms[k].greedy)) fail_msg("%s: other greedy tokens", families[i].name);
            close_fixture(&x);
        }
}

/* The prompt again, after the model was changed. */
static double error_after_change(fixture *x) {
    kv_seq s = {0};
    forward_free(x->f);
    assert_int_equal(forward_create(x->m, 64, &x->f, NULL), PGR_OK);
    run(x->f, &x->kv, &s, x->prompt, 64, x->logits);
    kv_release(&x->kv, &s);
    return golden_error(x);
}

/* Rows of the prompt at which a row of the vocabulary without a token has the largest logit. */
static size_t rows_won_by_no_token(const fixture *x) {
    size_t won = 0;
    for (size_t row = 0; row < 64; row++) {
        size_t best = 0;
        for (size_t v = 1; v < x->V; v++)
            if (x->logits[row * x->V + v] > x->logits[row * x->V + best]) best = v;
        won += best >= tok_count(x->m->tok);
    }
    return won;
}

/* What sets a family apart changes its logits: the comparison above would see it missing. */
static void features_matter(void **state) {
    (void)state;
    for (size_t i = 0; i < N_FAMILY; i++) {
        fixture x;
        assert_true(open_family(&x, i, PGR_DTYPE_EXACT, 2));
        config *c = &x.m->config, was = *c;
        assert_int_equal(c->attn_bias, i == 0 || i == 4);
        assert_int_equal(c->qk_norm, i == 1);
        assert_int_equal(x.m->weights.rope_freqs != NULL, i == 2);
        assert_int_equal(x.m->weights.tied, i == 1 || i == 2);
        assert_int_equal(c->n_head * c->head_dim != c->n_embd, i == 1 || i == 3);
        assert_true((rows_won_by_no_token(&x) > 5) == (i == 0));

        bool *features[] = {&c->attn_bias, &c->qk_norm};
        for (size_t k = 0; k < 2; k++)
            if (*features[k]) {
                *features[k] = false;
                assert_true(error_after_change(&x) > 1e-2);
                *c = was;
            }
        c->rope_interleaved = !c->rope_interleaved;
        assert_true(error_after_change(&x) > 1e-2);
        *c = was;
        assert_int_equal(c->rope_kind == ROPE_YARN, i == 4);
        if (i == 4) {
            c->rope_kind = ROPE_PLAIN; /* frequencies; the attention factor stays */
            assert_true(error_after_change(&x) > 1e-2);
            *c = was;
            c->rope_scale = 1.0;
            assert_true(error_after_change(&x) > 1e-2);
        }
        close_fixture(&x);
    }
}

/* Hugging Face folders have no rope_freqs: the scaling is computed from the config's factors. */
static void rope_scaling_from_the_config(void **state) {
    (void)state;
    fixture x;
    assert_true(open_family(&x, 2, PGR_DTYPE_EXACT, 2));
    float *divisors = x.m->weights.rope_freqs;
    x.m->weights.rope_freqs = NULL;
    assert_true(error_after_change(&x) > 1e-2);

    x.m->config.rope_kind = ROPE_LLAMA3;
    x.m->config.rope_factor = 8;
    x.m->config.rope_low = 1;
    x.m->config.rope_high = 4;
    x.m->config.rope_original_ctx = 128;
    double error = error_after_change(&x);
    if (!(error <= 2e-5)) fail_msg("%g > 2e-5", error);
    assert_int_equal(greedy_equal(&x), 40);
    x.m->weights.rope_freqs = divisors;
    close_fixture(&x);
}

/* ---- tensors under the names of Hugging Face files ---- */

static const char *hugging_face_name(arena *a, const char *prefix, const char *name) {
    static const struct {
        const char *gguf, *hf;
    } names[] = {{"attn_norm.weight", "input_layernorm.weight"},
                 {"attn_q.weight", "self_attn.q_proj.weight"},
                 {"attn_k.weight", "self_attn.k_proj.weight"},
                 {"attn_v.weight", "self_attn.v_proj.weight"},
                 {"attn_q.bias", "self_attn.q_proj.bias"},
                 {"attn_k.bias", "self_attn.k_proj.bias"},
                 {"attn_v.bias", "self_attn.v_proj.bias"},
                 {"attn_q_norm.weight", "self_attn.q_norm.weight"},
                 {"attn_k_norm.weight", "self_attn.k_norm.weight"},
                 {"attn_output.weight", "self_attn.o_proj.weight"},
                 {"ffn_norm.weight", "post_attention_layernorm.weight"},
                 {"ffn_gate.weight", "mlp.gate_proj.weight"},
                 {"ffn_up.weight", "mlp.up_proj.weight"},
                 {"ffn_down.weight", "mlp.down_proj.weight"}};
    if (strcmp(name, "token_embd.weight") == 0) return arena_printf(a, "%sembed_tokens.weight", prefix);
    if (strcmp(name, "output_norm.weight") == 0) return arena_printf(a, "%snorm.weight", prefix);
    if (strcmp(name, "output.weight") == 0) return "lm_head.weight";
    assert_memory_equal(name, "blk.", 4);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(name + 6, names[i].gguf) == 0)
            return arena_printf(a, "%slayers.%c.%s", prefix, name[4], names[i].hf);
    fail_msg("%s", name);
    return NULL;
}

/* The model's tensors renamed, one more at the end. */
static tensor_source renamed(const pgr_model *m, arena *a, const char *prefix, const char *more) {
    tensor_source s = m->from.source;
    s.names = SOURCE_HF;
    s.n_tensor++;
    s.tensors = arena_array(a, s.n_tensor, sizeof *s.tensors);
    memcpy(s.tensors, m->from.source.tensors, m->from.source.n_tensor * sizeof *s.tensors);
    for (size_t i = 0; i < m->from.source.n_tensor; i++)
        s.tensors[i].name = hugging_face_name(a, prefix, s.tensors[i].name);
    s.tensors[s.n_tensor - 1] = s.tensors[0];
    s.tensors[s.n_tensor - 1].name = more;
    assert_int_equal(source_index(&s, a, NULL), PGR_OK);
    return s;
}

static void hugging_face_names(void **state) {
    (void)state;
    static const char *const prefixes[] = {"model.", ""};
    for (size_t i = 0; i < 4; i++) {
        fixture x;
        arena a = {0};
        pgr_error err;
        assert_true(open_family(&x, i % 2, PGR_DTYPE_EXACT, 2)); /* qwen2, qwen3 */
        tensor_source s = renamed(x.m, &a, prefixes[i / 2], "model.layers.0.self_attn.rotary_emb.inv_freq");
        weights w;
        if (weights_open(&s, &x.m->config, GEMM_FILE, x.m->ops, NULL, &w, &err) != PGR_OK) fail_msg("%s", err.message);
        assert_int_equal(w.tied, x.m->weights.tied);

        weights own = x.m->weights;
        float *logits = x.logits;
        kv_seq seq = {0};
        x.m->weights = w;
        x.logits = malloc(64 * x.V * sizeof *logits);
        run(x.f, &x.kv, &seq, x.prompt, 64, x.logits);
        assert_memory_equal(x.logits, logits, 64 * x.V * sizeof *logits);
        kv_release(&x.kv, &seq);
        free(logits);
        x.m->weights = own;
        weights_close(&w);
        close_fixture(&x);
        arena_free(&a);
    }
}

static void expect_refusal(const pgr_model *m, const tensor_source *s, const config *c, pgr_status status,
                           const char *message) {
    weights w;
    pgr_error err;
    assert_int_equal(weights_open(s, c, GEMM_FILE, m->ops, NULL, &w, &err), status);
    if (!strstr(err.message, message)) fail_msg("%s", err.message);
}

/* A tensor too many, too few or of another shape is named, never passed over. */
static void tensors_are_refused_by_name(void **state) {
    (void)state;
    fixture x;
    arena a = {0};
    assert_true(open_family(&x, 0, PGR_DTYPE_EXACT, 2));
    config c = x.m->config;
    tensor_source s = renamed(x.m, &a, "model.", "model.layers.1.self_attn.o_proj.bias");
    expect_refusal(x.m, &s, &c, PGR_E_UNSUPPORTED,
                   "tensor model.layers.1.self_attn.o_proj.bias is not part of the architecture that we compute");
    s = renamed(x.m, &a, "model.", "inv_freq");
    expect_refusal(x.m, &s, &c, PGR_E_UNSUPPORTED, "tensor inv_freq is not part");

    c.attn_bias = false;
    expect_refusal(x.m, &x.m->from.source, &c, PGR_E_UNSUPPORTED, "tensor blk.0.attn_q.bias is not part");
    c.attn_bias = c.qk_norm = true;
    expect_refusal(x.m, &x.m->from.source, &c, PGR_E_FORMAT, "tensor blk.0.attn_q_norm.weight is missing");
    c = x.m->config;
    c.n_layer = 3;
    expect_refusal(x.m, &x.m->from.source, &c, PGR_E_FORMAT, "tensor blk.2.attn_norm.weight is missing");
    c.n_layer = 1;
    expect_refusal(x.m, &x.m->from.source, &c, PGR_E_UNSUPPORTED, "tensor blk.1.attn_");
    c = x.m->config;
    c.n_ff = 32;
    expect_refusal(x.m, &x.m->from.source, &c, PGR_E_FORMAT,
                   "tensor blk.0.ffn_gate.weight has shape 64 x 32, expected 32 rows of 32");

    tensor_source other = x.m->from.source;
    other.tensors = arena_array(&a, other.n_tensor, sizeof *other.tensors);
    memcpy(other.tensors, x.m->from.source.tensors, other.n_tensor * sizeof *other.tensors);
    source_tensor *t = &other.tensors[source_find(&other, "blk.0.attn_v.bias") - other.tensors];
    t->type = 24;
    expect_refusal(x.m, &other, &x.m->config, PGR_E_UNSUPPORTED, "tensor blk.0.attn_v.bias has type");
    t->type = QUANT_F32;
    t->dim[0] = 15;
    expect_refusal(x.m, &other, &x.m->config, PGR_E_FORMAT,
                   "tensor blk.0.attn_v.bias has shape 1 x 15, expected 1 rows of 16");
    arena_free(&a);
    close_fixture(&x);
}

static bool open_qwen(void) {
    gguf g;
    arena a = {0};
    config c;
    tensor_source s;
    ops *o = NULL;
    weights w;
    if (gguf_open(families[0].model, &g, NULL) != PGR_OK) return false;
    bool worked = config_from_gguf(&g, &c, NULL) == PGR_OK && source_from_gguf(&g, &a, &s, NULL) == PGR_OK
                  && ops_create_cpu(NULL, &o, NULL) == PGR_OK
                  && weights_open(&s, &c, GEMM_FILE, o, NULL, &w, NULL) == PGR_OK;
    if (worked) weights_close(&w);
    ops_free(o);
    arena_free(&a);
    gguf_close(&g);
    return worked;
}

static void survives_a_lack_of_memory(void **state) {
    (void)state;
    assert_true(fail_each_allocation(open_qwen) > 20);
}

/* ---- bits ---- */

static void chunks_do_not_matter(void **state) {
    (void)state;
    for (size_t i = 0; i < N_FAMILY; i++)
        for (pgr_dtype dtype = PGR_DTYPE_EXACT; dtype <= PGR_DTYPE_INT8; dtype++) {
            fixture x;
            if (!open_family(&x, i, dtype, 2)) continue;
            chunks_change_no_bit(&x);
            close_fixture(&x);
        }
}

/* Two sequences in one batch, the second forked from the first at an odd place: the same bits as alone. */
static void neighbours_do_not_matter(void **state) {
    (void)state;
    for (size_t i = 0; i < N_FAMILY; i++) {
        fixture x;
        assert_true(open_family(&x, i, PGR_DTYPE_EXACT, 2));
        float *logits = malloc(64 * x.V * sizeof *logits);
        kv_seq a = {0}, b = {0}, *list[] = {&a, &b};
        run(x.f, &x.kv, &a, x.prompt, 45, logits);
        assert_int_equal(kv_fork(&x.kv, &b, &a, 37, NULL), PGR_OK);
        assert_int_equal(kv_reserve(&x.kv, &a, 19, NULL), PGR_OK);
        assert_int_equal(kv_reserve(&x.kv, &b, 27, NULL), PGR_OK);
        forward_row rows[46];
        for (size_t r = 0; r < 46; r++) {
            size_t pos = r < 19 ? 45 + r : 37 + r - 19;
            rows[r] = (forward_row){.token = x.prompt[pos], .seq = r >= 19, .pos = (uint32_t)pos, .want = true};
        }
        assert_int_equal(forward_run(x.f, &x.kv, list, rows, 46, logits, NULL), PGR_OK);
        for (size_t r = 0; r < 46; r++)
            assert_memory_equal(logits + r * x.V, x.logits + rows[r].pos * x.V, x.V * sizeof *logits);
        kv_release(&x.kv, &a);
        kv_release(&x.kv, &b);
        free(logits);
        close_fixture(&x);
    }
}

static void threads_do_not_matter(void **state) {
    (void)state;
    for (size_t i = 0; i < N_FAMILY; i++) {
        fixture one, three;
        assert_true(open_family(&one, i, PGR_DTYPE_EXACT, 1));
        assert_true(open_family(&three, i, PGR_DTYPE_EXACT, 3));
        assert_memory_equal(one.logits, three.logits, 64 * one.V * sizeof *one.logits);
        close_fixture(&one);
        close_fixture(&three);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(logits_of_transformers),       cmocka_unit_test(features_matter),
        cmocka_unit_test(rope_scaling_from_the_config), cmocka_unit_test(hugging_face_names),
        cmocka_unit_test(tensors_are_refused_by_name),  cmocka_unit_test(survives_a_lack_of_memory),
        cmocka_unit_test(chunks_do_not_matter),         cmocka_unit_test(neighbours_do_not_matter),
        cmocka_unit_test(threads_do_not_matter),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
