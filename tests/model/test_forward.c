/* The forward pass against Hugging Face transformers (tests/golden/tiny-llama.json, tools/tiny_model.py), and against
 * itself: however rows are batched, chunked or shared, a row's logits are the same bits. */
#include "forward_golden.h"

#define GOLDEN_FILE(name) PGR_SOURCE_DIR "/tests/golden/" name

static bool open_tiny(fixture *x, pgr_dtype dtype, int threads) {
    return open_fixture(x, GOLDEN_FILE("tiny-llama.gguf"), GOLDEN_FILE("tiny-llama.json"), dtype, threads);
}

static void logits_of_transformers(void **state) {
    (void)state;
    /* fp32: 2 layers of sums of 64 to 96 terms, each sum off by about sqrt(n) * 6e-8 relative: 2e-5 leaves room for ten
     * of them. bf16: weights and activations rounded to 8 bits (4e-3 each) per product, 7 products deep: 3e-2. int8:
     * steps of 1/127 of a row's largest value, twice per product: 1e-1. */
    struct {
        pgr_dtype dtype;
        double bound;
        size_t greedy;
    } forms[] = {
        {PGR_DTYPE_EXACT, 2e-5, 40}, {PGR_DTYPE_F32, 2e-5, 40}, {PGR_DTYPE_BF16, 3e-2, 0}, {PGR_DTYPE_INT8, 1e-1, 0}};
    for (size_t i = 0; i < 4; i++) {
        fixture x;
        if (!open_tiny(&x, forms[i].dtype, 2)) {
            print_message("skipped: this CPU has no kernels for dtype %d\n", forms[i].dtype);
            continue;
        }
        double error = golden_error(&x);
        print_message("dtype %d: largest difference %.2g of the largest logit\n", forms[i].dtype, error);
        if (!(error <= forms[i].bound)) fail_msg("dtype %d: %g > %g", forms[i].dtype, error, forms[i].bound);
        assert_true(greedy_equal(&x) >= forms[i].greedy);
        close_fixture(&x);
    }
}

static void chunks_do_not_matter(void **state) {
    (void)state;
    for (pgr_dtype dtype = PGR_DTYPE_EXACT; dtype <= PGR_DTYPE_INT8; dtype++) {
        fixture x;
        if (!open_tiny(&x, dtype, 2)) continue;
        chunks_change_no_bit(&x);
        close_fixture(&x);
    }
}

/* Sequences of different lengths, forked from one another, in one batch: the same bits as alone. */
static void neighbours_do_not_matter(void **state) {
    (void)state;
    fixture x;
    assert_true(open_tiny(&x, PGR_DTYPE_EXACT, 2));
    float *logits = malloc(64 * x.V * sizeof *logits);
    kv_seq base = {0}, seqs[5] = {{0}}, *list[5];
    run(x.f, &x.kv, &base, x.prompt, 50, logits);

    forward_row rows[64];
    size_t n = 0;
    for (size_t i = 0; i < 5; i++) {
        size_t start = 10 + 9 * i; /* each continues the prompt from its own place */
        assert_int_equal(kv_fork(&x.kv, &seqs[i], &base, start, NULL), PGR_OK);
        assert_int_equal(kv_reserve(&x.kv, &seqs[i], i + 1, NULL), PGR_OK);
        list[i] = &seqs[i];
        for (size_t t = 0; t <= i; t++)
            rows[n++] = (forward_row){
                .token = x.prompt[start + t], .seq = (uint32_t)i, .pos = (uint32_t)(start + t), .want = true};
    }
    assert_int_equal(forward_run(x.f, &x.kv, list, rows, n, logits, NULL), PGR_OK);
    for (size_t r = 0; r < n; r++)
        assert_memory_equal(logits + r * x.V, x.logits + rows[r].pos * x.V, x.V * sizeof *logits);

    for (size_t i = 0; i < 5; i++) kv_release(&x.kv, &seqs[i]);
    kv_release(&x.kv, &base);
    free(logits);
    close_fixture(&x);
}

static void threads_do_not_matter(void **state) {
    (void)state;
    for (pgr_dtype dtype = PGR_DTYPE_EXACT; dtype <= PGR_DTYPE_INT8; dtype++) {
        fixture one, three;
        if (!open_tiny(&one, dtype, 1)) continue;
        assert_true(open_tiny(&three, dtype, 3));
        assert_memory_equal(one.logits, three.logits, 64 * one.V * sizeof *one.logits);
        close_fixture(&one);
        close_fixture(&three);
    }
}

/* What is handed out: embeddings before the first layer, the same rows whatever the chunks before the others; no logit
 * changes. */
static void inputs_of_layers_are_kept(void **state) {
    (void)state;
    fixture x;
    assert_true(open_tiny(&x, PGR_DTYPE_AUTO, 2));
    const config *c = &x.m->config;
    const source_tensor *e = x.m->weights.token_embd;
    size_t d = c->n_embd, layer = 64 * d, bytes = quant_row_bytes((quant_type)e->type, d);
    float *whole = calloc(c->n_layer * layer, sizeof *whole), *parts = calloc(c->n_layer * layer, sizeof *parts);
    float *logits = malloc(64 * x.V * sizeof *logits), *row = malloc(d * sizeof *row);
    kv_seq s = {0}, again = {0};
    forward_keep(x.f, whole);
    run(x.f, &x.kv, &s, x.prompt, 64, logits);
    assert_memory_equal(logits, x.logits, 64 * x.V * sizeof *logits);
    for (size_t i = 0; i < 64; i++) {
        quant_dequant((quant_type)e->type, row, (const uint8_t *)e->data + (size_t)x.prompt[i] * bytes, d);
        assert_memory_equal(whole + i * d, row, d * sizeof *row);
    }
    forward_keep(x.f, parts);
    for (size_t at = 0, n = 16; at < 64; at += n) {
        run(x.f, &x.kv, &again, x.prompt + at, n, logits);
        for (size_t l = 0; l < c->n_layer; l++) {
            assert_memory_equal(parts + l * layer, whole + l * layer + at * d, n * d * sizeof *parts);
            if (l > 0) assert_memory_not_equal(parts + l * layer, parts + (l - 1) * layer, n * d * sizeof *parts);
        }
    }
    forward_keep(x.f, NULL);
    kv_release(&x.kv, &s);
    kv_release(&x.kv, &again);
    free(whole), free(parts), free(logits), free(row);
    close_fixture(&x);
}

static void bad_rows_are_refused(void **state) {
    (void)state;
    fixture x;
    assert_true(open_tiny(&x, PGR_DTYPE_EXACT, 1));
    kv_seq s = {0}, *list[] = {&s};
    pgr_error err;
    float *logits = malloc(x.V * sizeof *logits);
    forward_row row = {.token = (int32_t)x.V, .want = true};
    assert_int_equal(kv_reserve(&x.kv, &s, 1, NULL), PGR_OK);
    assert_int_equal(forward_run(x.f, &x.kv, list, &row, 1, logits, &err), PGR_E_ARG);
    assert_non_null(strstr(err.message, "vocabulary"));
    assert_int_equal(s.n_token, 0);
    kv_release(&x.kv, &s);
    free(logits);
    close_fixture(&x);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(logits_of_transformers),   cmocka_unit_test(chunks_do_not_matter),
        cmocka_unit_test(neighbours_do_not_matter), cmocka_unit_test(threads_do_not_matter),
        cmocka_unit_test(bad_rows_are_refused),     cmocka_unit_test(inputs_of_layers_are_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
