/* test_family_folders.c - the forward pass over Hugging Face folders as transformers writes them
 * (tools/tiny_families.py, tools/tiny_hf.py): config.json and safetensors in F32, F16 and BF16, whole and in shards,
 * against what transformers computes from the same files in fp32. */
#include "forward_golden.h"

#include "format/hf_config.h"
#include "format/safetensors.h"

#define GOLDEN(name) PGR_SOURCE_DIR "/tests/golden/" name

static const struct {
    const char *folder, *gguf, *json; /* gguf: of the same sizes, its tokenizer is used */
} folders[] = {
    {GOLDEN("hf-tiny-llama/f32"), GOLDEN("tiny-llama.gguf"), GOLDEN("tiny-llama.json")},
    {GOLDEN("hf-tiny-qwen2"), GOLDEN("tiny-qwen2.gguf"), GOLDEN("hf-tiny-qwen2/logits.json")},
    {GOLDEN("hf-tiny-qwen3"), GOLDEN("tiny-qwen3.gguf"), GOLDEN("hf-tiny-qwen3/logits.json")},
    {GOLDEN("hf-tiny-llama31"), GOLDEN("tiny-llama31.gguf"), GOLDEN("hf-tiny-llama31/logits.json")},
    {GOLDEN("hf-tiny-mistral"), GOLDEN("tiny-mistral.gguf"), GOLDEN("hf-tiny-mistral/logits.json")},
    {GOLDEN("hf-tiny-yarn"), GOLDEN("tiny-yarn.gguf"), GOLDEN("hf-tiny-yarn/logits.json")},
};

typedef struct swap {
    safetensors files;
    config config;
    weights weights;
} swap;

/* Exchanges config and weights of x with those of y. */
static void exchange(fixture *x, swap *y) {
    config c = x->m->config;
    weights w = x->m->weights;
    x->m->config = y->config;
    x->m->weights = y->weights;
    y->config = c;
    y->weights = w;
}

/* Opens the folder's weights in the place of the GGUF file's and runs the prompt again. */
static void put_folder(fixture *x, swap *y, const char *folder, gemm_form form) {
    hf_config hf;
    pgr_error err;
    if (hf_config_read(folder, &hf, &err) != PGR_OK || safetensors_open(folder, &y->files, &err) != PGR_OK)
        fail_msg("%s", err.message);
    y->config = hf.c;
    y->config.tied = hf.tied;
    if (config_check(&y->config, folder, &err) != PGR_OK
        || weights_open(&y->files.source, &y->config, form, x->m->ops, NULL, &y->weights, &err) != PGR_OK)
        fail_msg("%s", err.message);

    exchange(x, y);
    kv_seq s = {0};
    forward_free(x->f);
    assert_int_equal(forward_create(x->m, 64, &x->f, NULL), PGR_OK);
    run(x->f, &x->kv, &s, x->prompt, 64, x->logits);
    kv_release(&x->kv, &s);
}

static void take_folder(fixture *x, swap *y) {
    exchange(x, y);
    weights_close(&y->weights);
    safetensors_close(&y->files);
}

static void logits_of_transformers(void **state) {
    (void)state;
    static const struct {
        pgr_dtype dtype; /* bounds: see test_families.c */
        gemm_form form;
        double bound;
        size_t greedy;
    } forms[] = {{PGR_DTYPE_EXACT, GEMM_FILE, 2e-5, 40},
                 {PGR_DTYPE_F32, GEMM_F32, 2e-5, 40},
                 {PGR_DTYPE_BF16, GEMM_BF16, 3e-2, 0},
                 {PGR_DTYPE_INT8, GEMM_INT8, 1.5e-1, 0}};
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++)
        for (size_t k = 0; k < 4; k++) {
            fixture x;
            swap y;
            if (!open_fixture(&x, folders[i].gguf, folders[i].json, forms[k].dtype, 2)) {
                print_message("skipped: this CPU has no kernels for dtype %d\n", forms[k].dtype);
                continue;
            }
            put_folder(&x, &y, folders[i].folder, forms[k].form);
            double error = golden_error(&x);
            const char *name = strrchr(folders[i].folder, 'h');
            print_message("%s, dtype %d: largest difference %.2g of the largest logit\n", name, forms[k].dtype, error);
            if (!(error <= forms[k].bound))
                fail_msg("%s, dtype %d: %g > %g", name, forms[k].dtype, error, forms[k].bound);
            if (!(greedy_equal(&x) >= forms[k].greedy)) fail_msg("%s: other greedy tokens", name);
            take_folder(&x, &y);
            close_fixture(&x);
        }
}

/* config.json and GGUF say the same of the same model, but for the order of rotated values, and for rope scaling and
 * tied heads, which GGUF files show by their tensors. */
static void configs_agree(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        gguf g;
        config a;
        hf_config b;
        assert_int_equal(gguf_open(folders[i].gguf, &g, NULL), PGR_OK);
        assert_int_equal(config_from_gguf(&g, &a, NULL), PGR_OK);
        assert_int_equal(hf_config_read(folders[i].folder, &b, NULL), PGR_OK);
        assert_true(a.n_layer == b.c.n_layer && a.n_embd == b.c.n_embd && a.n_head == b.c.n_head);
        assert_true(a.n_head_kv == b.c.n_head_kv && a.head_dim == b.c.head_dim && a.n_ff == b.c.n_ff);
        assert_true(a.n_vocab == b.c.n_vocab && a.n_ctx == b.c.n_ctx && a.norm_eps == b.c.norm_eps);
        assert_true(a.rope_base == b.c.rope_base && a.rope_dim == b.c.rope_dim && !b.c.rope_interleaved);
        assert_true(a.attn_bias == b.c.attn_bias && a.qk_norm == b.c.qk_norm);
        assert_int_equal(b.c.rope_kind == ROPE_LLAMA3, gguf_find_tensor(&g, "rope_freqs.weight") != NULL);
        assert_int_equal(b.tied, gguf_find_tensor(&g, "output.weight") == NULL);
        gguf_close(&g);
    }
}

/* A tied config wins over a head that the file holds;
 * checkpoint.c unties one whose head differs (test_checkpoint.c). */
static void a_tied_head_is_the_embedding(void **state) {
    (void)state;
    fixture x;
    assert_true(open_fixture(&x, GOLDEN("tiny-mistral.gguf"), GOLDEN("tiny-mistral.json"), PGR_DTYPE_EXACT, 2));
    config c = x.m->config;
    weights w;
    c.tied = true;
    assert_int_equal(weights_open(&x.m->from.source, &c, GEMM_FILE, x.m->ops, NULL, &w, NULL), PGR_OK);
    assert_true(w.tied && !x.m->weights.tied);

    float h[48], row[512], want[48];
    for (size_t i = 0; i < 48; i++) h[i] = i == 7;
    project_call head = {.w = w.output, .out = row, .x = h, .n = 1};
    assert_int_equal(op_project(x.m->ops, &head, NULL), PGR_OK);
    for (size_t v = 0; v < c.n_vocab; v++) {
        size_t bytes = quant_row_bytes((quant_type)w.token_embd->type, 48);
        quant_dequant((quant_type)w.token_embd->type, want, (const uint8_t *)w.token_embd->data + v * bytes, 48);
        assert_true(row[v] == want[7]);
    }
    weights_close(&w);
    close_fixture(&x);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(logits_of_transformers),
        cmocka_unit_test(configs_agree),
        cmocka_unit_test(a_tied_head_is_the_embedding),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
