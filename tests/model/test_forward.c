/* The forward pass against Hugging Face transformers (tests/golden/tiny-llama.json, tools/tiny_model.py), and against itself:
 * however rows are batched, chunked or shared, a row's logits are the same bits. */
#include <math.h>

#include "../base/faults.h"
#include "base/file.h"
#include "base/json.h"
#include "model/forward.h"

#define TINY PGR_SOURCE_DIR "/tests/golden/tiny-llama.gguf"

static pgr_model *model_of(pgr_dtype dtype, int threads) {
    pgr_model_options o = pgr_model_options_default();
    pgr_model *m = NULL;
    pgr_error err = {0};
    o.dtype = dtype;
    o.n_thread = threads;
    pgr_status s = pgr_model_open(TINY, &o, &m, &err);
    if (s == PGR_E_UNSUPPORTED) return NULL;
    if (s != PGR_OK) fail_msg("%s", err.message);
    return m;
}

static json_t *golden(void) {
    buf b = {0};
    json_t *v = NULL;
    assert_int_equal(file_read(PGR_SOURCE_DIR "/tests/golden/tiny-llama.json", &b, NULL), PGR_OK);
    assert_int_equal(json_parse(b.data, b.n, "golden", 1, &v, NULL), PGR_OK);
    buf_free(&b);
    return v;
}

/* Runs n tokens from the sequence's end, all logits wanted. */
static void run(forward_state *f, kv_cache *kv, kv_seq *s, const int32_t *tokens, size_t n, float *logits) {
    forward_row rows[64];
    for (size_t i = 0; i < n; i++)
        rows[i] = (forward_row){.token = tokens[i], .pos = (uint32_t)(s->n_token + i), .want = true};
    pgr_error err = {0};
    if (kv_reserve(kv, s, n, &err) != PGR_OK || forward_run(f, kv, &s, rows, n, logits, &err) != PGR_OK)
        fail_msg("%s", err.message);
}

typedef struct fixture {
    pgr_model *m;
    forward_state *f;
    kv_cache kv;
    size_t V;
    int32_t prompt[64];
    float *logits; /* (64, V) of the prompt in one pass */
    json_t *golden;
} fixture;

static bool open_fixture(fixture *x, pgr_dtype dtype, int threads) {
    *x = (fixture){.m = model_of(dtype, threads)};
    if (!x->m) return false;
    x->V = x->m->config.n_vocab;
    x->golden = golden();
    for (size_t i = 0; i < 64; i++)
        x->prompt[i] = (int32_t)json_integer_value(json_array_get(json_object_get(x->golden, "prompt"), i));
    assert_int_equal(forward_create(x->m, 64, &x->f, NULL), PGR_OK);
    assert_int_equal(kv_init(&x->kv, &x->m->config, 1 << 16, NULL), PGR_OK);
    x->logits = malloc(64 * x->V * sizeof *x->logits);
    kv_seq s = {0};
    run(x->f, &x->kv, &s, x->prompt, 64, x->logits);
    kv_release(&x->kv, &s);
    return true;
}

static void close_fixture(fixture *x) {
    forward_free(x->f);
    kv_close(&x->kv);
    pgr_model_close(x->m);
    json_decref(x->golden);
    free(x->logits);
}

/* Largest difference to the golden rows, relative to the largest logit. */
static double golden_error(const fixture *x) {
    double worst = 0;
    size_t i;
    json_t *row;
    json_array_foreach(json_object_get(x->golden, "rows"), i, row) {
        size_t pos = (size_t)json_integer_value(json_object_get(row, "pos"));
        json_t *want = json_object_get(row, "logits");
        assert_int_equal(json_array_size(want), x->V);
        double top = 0, diff = 0;
        for (size_t v = 0; v < x->V; v++) {
            double w = json_number_value(json_array_get(want, v)), d = fabs(x->logits[pos * x->V + v] - w);
            top = fmax(top, fabs(w));
            if (!(d <= diff)) diff = d; /* NaN stays */
        }
        if (!(diff / top <= worst)) worst = diff / top;
    }
    return worst;
}

static size_t greedy_equal(fixture *x) {
    json_t *want = json_object_get(x->golden, "greedy");
    kv_seq s = {0};
    float *logits = malloc(64 * x->V * sizeof *logits);
    run(x->f, &x->kv, &s, x->prompt, 64, logits);
    float *row = logits + 63 * x->V;
    size_t equal = 0;
    for (; equal < json_array_size(want); equal++) {
        int32_t best = 0;
        for (size_t v = 1; v < x->V; v++)
            if (row[v] > row[best]) best = (int32_t)v;
        if (best != json_integer_value(json_array_get(want, equal))) break;
        run(x->f, &x->kv, &s, &best, 1, logits);
        row = logits;
    }
    kv_release(&x->kv, &s);
    free(logits);
    return equal;
}

static void logits_of_transformers(void **state) {
    (void)state;
    /* fp32: 2 layers of sums of 64 to 96 terms, each sum off by about sqrt(n) * 6e-8 relative: 2e-5 leaves room for ten of them.
     * bf16: weights and activations rounded to 8 bits (4e-3 each) per product, 7 products deep: 3e-2. int8: steps of 1/127 of a row's
     * largest value, twice per product: 1e-1. */
    struct {
        pgr_dtype dtype;
        double bound;
        size_t greedy;
    } forms[] = {
        {PGR_DTYPE_AUTO, 2e-5, 40}, {PGR_DTYPE_F32, 2e-5, 40}, {PGR_DTYPE_BF16, 3e-2, 0}, {PGR_DTYPE_INT8, 1e-1, 0}};
    for (size_t i = 0; i < 4; i++) {
        fixture x;
        if (!open_fixture(&x, forms[i].dtype, 2)) {
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
    for (pgr_dtype dtype = PGR_DTYPE_AUTO; dtype <= PGR_DTYPE_INT8; dtype++) {
        fixture x;
        if (!open_fixture(&x, dtype, 2)) continue;
        float *logits = malloc(64 * x.V * sizeof *logits);
        for (size_t chunk = 1; chunk < 64; chunk += 10) {
            kv_seq s = {0};
            for (size_t first = 0; first < 64; first += chunk) {
                size_t n = 64 - first < chunk ? 64 - first : chunk;
                run(x.f, &x.kv, &s, x.prompt + first, n, logits);
                assert_memory_equal(logits, x.logits + first * x.V, n * x.V * sizeof *logits);
            }
            kv_release(&x.kv, &s);
        }
        free(logits);
        close_fixture(&x);
    }
}

/* Sequences of different lengths, forked from one another, in one batch: the same bits as alone. */
static void neighbours_do_not_matter(void **state) {
    (void)state;
    fixture x;
    assert_true(open_fixture(&x, PGR_DTYPE_AUTO, 2));
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
    for (pgr_dtype dtype = PGR_DTYPE_AUTO; dtype <= PGR_DTYPE_INT8; dtype++) {
        fixture one, three;
        if (!open_fixture(&one, dtype, 1)) continue;
        assert_true(open_fixture(&three, dtype, 3));
        assert_memory_equal(one.logits, three.logits, 64 * one.V * sizeof *one.logits);
        close_fixture(&one);
        close_fixture(&three);
    }
}

static void bad_rows_are_refused(void **state) {
    (void)state;
    fixture x;
    assert_true(open_fixture(&x, PGR_DTYPE_AUTO, 1));
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
        cmocka_unit_test(bad_rows_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
