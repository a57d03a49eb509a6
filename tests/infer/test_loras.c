/* test_loras.c - adapters of an engine: swapped between calls without a trace of those before,
 * in the prefix cache too. */
#include "../base/faults.h"
#include "infer/engine.h"
#include "model/model.h"

#define TINY PGR_SOURCE_DIR "/tests/golden/tiny-llama.gguf"
#define LORA PGR_SOURCE_DIR "/tests/golden/lora/"

static pgr_model *MODEL;
static pgr_lora *LORAS[2];

static int setup(void **state) {
    (void)state;
    pgr_error err = {0};
    if (pgr_model_open(TINY, &(pgr_model_options){.dtype = PGR_DTYPE_EXACT}, &MODEL, &err) != PGR_OK
        || pgr_lora_open(MODEL, LORA "llama-qv", &LORAS[0], &err) != PGR_OK
        || pgr_lora_open(MODEL, LORA "llama-more.gguf", &LORAS[1], &err) != PGR_OK)
        fail_msg("%s", err.message);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    pgr_lora_close(LORAS[0]);
    pgr_lora_close(LORAS[1]);
    pgr_model_close(MODEL);
    return 0;
}

/* Adapters by bits: 1 the first, 2 the second. */
static void set(pgr_engine *e, int which) {
    pgr_lora *loras[2];
    float scales[2] = {1, 1};
    size_t n = 0;
    for (int i = 0; i < 2; i++)
        if (which >> i & 1) loras[n++] = LORAS[i];
    pgr_error err = {0};
    if (pgr_engine_set_loras(e, loras, scales, n, &err) != PGR_OK) fail_msg("%s", err.message);
}

static pgr_generation *generate(pgr_engine *e) {
    pgr_generate_options o = pgr_generate_options_default();
    pgr_generation *g = NULL;
    pgr_error err = {0};
    static const char prompt[] = "One two three four five six seven eight nine ten eleven twelve thirteen and so";
    o.raw = true;
    o.ignore_eos = true;
    o.max_tokens = 12;
    o.n_sample = 2;
    if (pgr_generate(e, prompt, sizeof prompt - 1, &o, &g, &err) != PGR_OK) fail_msg("%s", err.message);
    return g;
}

static bool same(const pgr_generation *a, const pgr_generation *b) {
    for (size_t i = 0; i < 2; i++) {
        const pgr_sample *x = &a->samples[i], *y = &b->samples[i];
        if (x->n_token != y->n_token || memcmp(x->logprobs, y->logprobs, x->n_token * sizeof *x->logprobs) != 0)
            return false;
    }
    return true;
}

/* One engine goes through all sets, each twice (the second time from its prefix cache), and writes what a new engine
 * with that set writes, bit for bit. */
static void swapping_leaves_no_trace(void **state) {
    (void)state;
    static const int order[] = {0, 1, 1, 2, 0, 0, 3, 1, 3, 0};
    pgr_generation *fresh[4];
    for (int which = 0; which < 4; which++) {
        pgr_engine *e = NULL;
        assert_int_equal(pgr_engine_create(MODEL, NULL, &e, NULL), PGR_OK);
        set(e, which);
        fresh[which] = generate(e);
        pgr_engine_free(e);
        for (int i = 0; i < which; i++) assert_false(same(fresh[which], fresh[i]));
    }
    pgr_engine *e = NULL;
    assert_int_equal(pgr_engine_create(MODEL, NULL, &e, NULL), PGR_OK);
    for (size_t i = 0; i < sizeof order / sizeof *order; i++) {
        set(e, order[i]);
        for (int k = 0; k < 2; k++) {
            pgr_generation *g = generate(e);
            if (!same(g, fresh[order[i]])) fail_msg("step %zu, adapters %d, call %d", i, order[i], k);
            pgr_generation_free(g);
        }
    }
    pgr_engine_free(e);
    for (int which = 0; which < 4; which++) pgr_generation_free(fresh[which]);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(swapping_leaves_no_trace)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
