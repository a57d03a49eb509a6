/* test_trainable.c - adapters in training: their first values, the way to disk and back in both orders of rows, what
 * replaces what, and what is refused. */
#include "../format/folder_make.h"
#include "forward_golden.h"

#include <sys/stat.h>

#include "base/rng.h"
#include "model/lora_set.h"
#include "model/trainable.h"

#define GOLDEN(name) PGR_SOURCE_DIR "/tests/golden/" name
#define LORA(name)   GOLDEN("lora/" name)

static trainable *make(const pgr_model *m, trainable_options o) {
    trainable *t = NULL;
    pgr_error err = {0};
    if (trainable_create(m, &o, &t, &err) != PGR_OK) fail_msg("%s", err.message);
    return t;
}

static trainable *open_at(const pgr_model *m, const char *path) {
    trainable *t = NULL;
    pgr_error err = {0};
    if (trainable_open(m, path, &t, &err) != PGR_OK) fail_msg("%s", err.message);
    return t;
}

static void write_to(const trainable *t, const char *folder, trainable_form form) {
    pgr_error err = {0};
    if (trainable_write(t, folder, form, "some/base", &err) != PGR_OK) fail_msg("%s", err.message);
}

/* A folder in f. */
static void drop(const folder *f, const char *name) {
    folder inner;
    snprintf(inner.path, sizeof inner.path, "%.40s/%.20s", f->path, name);
    folder_remove(&inner);
}

/* ---- first values ---- */

/* a is uniform within 1 / sqrt(K), as PEFT draws it; b is zero; the order is the header's. */
static void first_values(void **state) {
    (void)state;
    pgr_model *m = model_of(GOLDEN("tiny-llama.gguf"), PGR_DTYPE_EXACT, 1);
    trainable_options o = trainable_options_default();
    o.rank = 5;
    o.seed = 9;
    trainable *t = make(m, o);
    const lora *l = &trainable_adapter(t)->file;
    const float *v = trainable_values(t);
    size_t at = 0;
    for (size_t i = 0; i < m->config.n_layer; i++) {
        const lora_layer *y = &l->layers[i];
        const lora_factors *list[] = {&y->attn_q,   &y->attn_k, &y->attn_v,  &y->attn_output,
                                      &y->ffn_gate, &y->ffn_up, &y->ffn_down};
        for (size_t k = 0; k < 7; k++) {
            const lora_factors *f = list[k];
            double bound = 1 / sqrt((double)f->K), mean = 0, square = 0;
            size_t n = f->r * f->K;
            assert_int_equal(f->r, 5);
            assert_true(f->scale == 32.0f / 5);
            assert_ptr_equal(f->a, v + at);
            assert_ptr_equal(f->b, v + at + n);
            for (size_t j = 0; j < n; j++) {
                assert_true(fabs((double)f->a[j]) <= bound);
                mean += (double)f->a[j] / (double)n, square += (double)f->a[j] * (double)f->a[j] / (double)n;
            }
            /* of n uniform values: the mean's deviation is bound / sqrt(3 n), the square's 0.3 bound^2 / sqrt(n) */
            assert_true(fabs(mean) < 5 * bound / sqrt(3.0 * (double)n));
            assert_true(fabs(square - bound * bound / 3) < 5 * 0.3 * bound * bound / sqrt((double)n));
            for (size_t j = 0; j < f->N * f->r; j++) assert_true(f->b[j] == 0.0f);
            at += n + f->N * f->r;
        }
    }
    assert_int_equal(at, trainable_count(t));
    for (size_t i = 0; i < at; i++) assert_true(trainable_grads(t)[i] == 0.0f);

    /* A matrix's values do not depend on which others there are. */
    o.first_layer = 1;
    o.matrices = 1u << LAYER_attn_v | 1u << LAYER_ffn_down;
    trainable *few = make(m, o);
    const lora_layer *x = &trainable_adapter(few)->file.layers[1], *y = &l->layers[1];
    assert_int_equal(trainable_first_layer(few), 1);
    assert_int_equal(trainable_adapter(few)->file.layers[0].attn_v.r, 0);
    assert_int_equal(x->attn_q.r, 0);
    assert_memory_equal(x->attn_v.a, y->attn_v.a, 5 * x->attn_v.K * sizeof(float));
    assert_memory_equal(x->ffn_down.a, y->ffn_down.a, 5 * x->ffn_down.K * sizeof(float));
    o.seed = 10;
    trainable *other = make(m, o);
    assert_memory_not_equal(x->attn_v.a, trainable_adapter(other)->file.layers[1].attn_v.a, 5 * sizeof(float));
    trainable_free(few);
    trainable_free(other);
    trainable_free(t);
    pgr_model_close(m);
}

/* ---- to disk and back ---- */

static void fill(trainable *t, uint32_t stream) {
    rng r = {.seed = 3, .stream = stream};
    for (size_t i = 0; i < trainable_count(t); i++) trainable_values(t)[i] = (float)(0.1 * rng_normal(&r));
}

/* What was written comes back bit for bit, through lora_open and into a trainable; rounded where it was written so. */
static void there_and_back(void **state) {
    (void)state;
    static const char *const bases[] = {GOLDEN("tiny-llama.gguf"), GOLDEN("hf-tiny-llama/f32"), GOLDEN("hf-tiny-qwen3"),
                                        GOLDEN("hf-tiny-qwen2")};
    folder f = folder_make();
    char path[256];
    snprintf(path, sizeof path, "%s/adapter", f.path);
    for (size_t i = 0; i < 8; i++) {
        pgr_model *m = model_of(bases[i / 2], PGR_DTYPE_EXACT, 1);
        trainable_form form = i % 2 ? TRAINABLE_BF16 : TRAINABLE_F32;
        trainable_options o = trainable_options_default();
        o.rank = 3;
        o.alpha = 7;
        if (i >= 4) o.first_layer = 1; /* then modules are named one by one */
        trainable *t = make(m, o);
        fill(t, (uint32_t)i);
        write_to(t, path, form); /* over the one before */
        trainable *back = open_at(m, path);
        assert_int_equal(trainable_count(back), trainable_count(t));
        assert_int_equal(trainable_first_layer(back), o.first_layer);
        for (size_t k = 0; k < trainable_count(t); k++) {
            float want = trainable_values(t)[k];
            if (form == TRAINABLE_BF16) want = bf16_to_f32(f32_to_bf16(want));
            if (trainable_values(back)[k] != want)
                fail_msg("case %zu: value %zu is %g, want %g", i, k, (double)trainable_values(back)[k], (double)want);
        }
        assert_true(trainable_adapter(back)->file.layers[1].attn_q.scale == 7.0f / 3);
        assert_string_equal(trainable_adapter(back)->file.path, path);
        lora file;
        assert_int_equal(lora_open(path, &m->config, &file, NULL), PGR_OK);
        assert_string_equal(file.base, "some/base");
        lora_close(&file);
        trainable_free(back);
        trainable_free(t);
        pgr_model_close(m);
    }
    drop(&f, "adapter");
    folder_remove(&f);
}

/* An adapter that PEFT wrote, of ranks that differ, is written as it was read, whatever the base's order of rows. */
static void of_peft(void **state) {
    (void)state;
    static const char *const bases[] = {GOLDEN("tiny-llama.gguf"), GOLDEN("hf-tiny-llama/f32")};
    folder f = folder_make();
    for (size_t i = 0; i < 2; i++) {
        char path[256];
        snprintf(path, sizeof path, "%s/adapter%zu", f.path, i);
        pgr_model *m = model_of(bases[i], PGR_DTYPE_EXACT, 1);
        trainable *t = open_at(m, LORA("llama-qv"));
        write_to(t, path, TRAINABLE_F32);
        trainable *gguf = open_at(m, LORA("llama-qv.gguf")), *back = open_at(m, path);
        assert_int_equal(trainable_count(back), trainable_count(t));
        assert_memory_equal(trainable_values(back), trainable_values(t), trainable_count(t) * sizeof(float));
        assert_memory_equal(trainable_values(gguf), trainable_values(t), trainable_count(t) * sizeof(float));
        trainable_free(gguf);
        trainable_free(back);
        trainable_free(t);
        pgr_model_close(m);
    }
    drop(&f, "adapter0");
    drop(&f, "adapter1");
    folder_remove(&f);
}

/* Ranks and scales of single matrices are kept. */
static void patterns(void **state) {
    (void)state;
    folder f = folder_make();
    char path[256];
    pgr_model *m = model_of(GOLDEN("hf-tiny-qwen3"), PGR_DTYPE_EXACT, 1);
    trainable *t = make(m, trainable_options_default());
    trainable_adapter(t)->file.layers[1].ffn_up.scale = 0.3f;
    lora_factors *k = &trainable_adapter(t)->file.layers[0].attn_k;
    k->r = 7; /* of the same room: the values that stand there first */
    k->scale = 1.7f;
    k->b = k->a + 7 * k->K;
    snprintf(path, sizeof path, "%s/adapter", f.path);
    write_to(t, path, TRAINABLE_F32);
    trainable *back = open_at(m, path);
    const lora_layer *l = trainable_adapter(back)->file.layers;
    assert_true(l[1].ffn_up.scale == 0.3f && l[0].ffn_up.scale == 2.0f && l[0].attn_k.scale == 1.7f);
    assert_int_equal(l[0].attn_k.r, 7);
    assert_int_equal(l[1].attn_k.r, 16);
    assert_memory_equal(l[0].attn_k.a, k->a, 7 * k->K * sizeof(float));
    trainable_free(back);
    trainable_free(t);
    pgr_model_close(m);
    drop(&f, "adapter");
    folder_remove(&f);
}

/* ---- refused ---- */

static void want_refusal(pgr_status s, pgr_status want, const pgr_error *err, const char *part) {
    if (s != want || !strstr(err->message, part)) fail_msg("status %d, \"%s\"; want \"%s\"", s, err->message, part);
}

static void refusals(void **state) {
    (void)state;
    pgr_model *m = model_of(GOLDEN("hf-tiny-qwen3"), PGR_DTYPE_EXACT, 1);
    pgr_model *llama = model_of(GOLDEN("tiny-llama.gguf"), PGR_DTYPE_EXACT, 1);
    trainable *t = NULL;
    pgr_error err = {0};
    trainable_options o = trainable_options_default();
    o.rank = 0;
    want_refusal(trainable_create(m, &o, &t, &err), PGR_E_ARG, &err, "rank is 0");
    o = trainable_options_default(), o.first_layer = 2;
    want_refusal(trainable_create(m, &o, &t, &err), PGR_E_ARG, &err, "first_layer is 2, the model has layers 0 to 1");
    o = trainable_options_default(), o.alpha = NAN;
    want_refusal(trainable_create(m, &o, &t, &err), PGR_E_ARG, &err, "alpha is nan");
    o = trainable_options_default(), o.matrices = 0;
    want_refusal(trainable_create(m, &o, &t, &err), PGR_E_ARG, &err, "matrices is 0x0");
    want_refusal(trainable_open(m, LORA("qwen3-all"), &t, &err), PGR_E_UNSUPPORTED, &err, "changes the head");
    want_refusal(trainable_open(llama, LORA("llama-more"), &t, &err), PGR_E_UNSUPPORTED, &err, "changes the embedding");

    folder f = folder_make();
    folder_puts(&f, "notes.txt", "mine");
    o = trainable_options_default();
    t = make(m, o);
    want_refusal(trainable_write(t, f.path, TRAINABLE_F32, NULL, &err), PGR_E_ARG, &err,
                 "holds notes.txt, which is no part of an adapter");
    folder_empty(&f);
    assert_int_equal(trainable_write(t, f.path, TRAINABLE_F32, NULL, &err), PGR_OK); /* an empty one may be filled */
    want_refusal(trainable_write(t, "/no/such/folder/x", TRAINABLE_F32, NULL, &err), PGR_E_IO, &err, "/no/such");
    folder_remove(&f);
    trainable_free(t);
    pgr_model_close(m);
    pgr_model_close(llama);
}

/* ---- live ---- */

/* Passes read the values as they are, and caches learn of the change. */
static void live(void **state) {
    (void)state;
    pgr_model *m = model_of(GOLDEN("tiny-llama.gguf"), PGR_DTYPE_EXACT, 1);
    trainable_options o = trainable_options_default();
    o.rank = 2;
    trainable *t = make(m, o);
    pgr_lora *adapter = trainable_adapter(t);
    forward_state *f;
    kv_cache kv;
    const int32_t tokens[] = {5, 6, 7};
    size_t n = 3 * m->config.n_vocab;
    float *bare = malloc(n * sizeof *bare), *with = malloc(n * sizeof *with);
    assert_int_equal(forward_create(m, 64, &f, NULL), PGR_OK);
    assert_int_equal(kv_init(&kv, &m->config, model_kv(m), 4096, NULL), PGR_OK);
    kv_seq s = {0};
    run(f, &kv, &s, tokens, 3, bare);
    kv_release(&kv, &s);
    assert_int_equal(forward_set_loras(f, &adapter, &(float){1}, 1, NULL), PGR_OK);
    run(f, &kv, &s, tokens, 3, with);
    kv_release(&kv, &s);
    for (size_t i = 0; i < n; i++) assert_true(bare[i] == with[i]); /* b is 0 */

    uint64_t version = adapter->version;
    fill(t, 1);
    trainable_changed(t);
    assert_true(adapter->version != version);
    run(f, &kv, &s, tokens, 3, with);
    kv_release(&kv, &s);
    assert_memory_not_equal(bare, with, n * sizeof *bare);
    free(bare), free(with);
    forward_free(f);
    kv_close(&kv);
    trainable_free(t);
    pgr_model_close(m);
}

/* ---- memory ---- */

static pgr_model *memory_model;
static char memory_path[256];

static bool make_and_write(void) {
    trainable *t = NULL, *back = NULL;
    trainable_options o = trainable_options_default();
    bool worked = trainable_create(memory_model, &o, &t, NULL) == PGR_OK
                  && trainable_write(t, memory_path, TRAINABLE_BF16, NULL, NULL) == PGR_OK
                  && trainable_open(memory_model, memory_path, &back, NULL) == PGR_OK;
    trainable_free(t);
    trainable_free(back);
    return worked;
}

static void without_memory(void **state) {
    (void)state;
    folder f = folder_make();
    snprintf(memory_path, sizeof memory_path, "%s/adapter", f.path);
    memory_model = model_of(GOLDEN("hf-tiny-qwen3"), PGR_DTYPE_EXACT, 1);
    long n = fail_allocations(make_and_write, 16);
    print_message("%ld allocations\n", n);
    pgr_model_close(memory_model);
    drop(&f, "adapter");
    folder_remove(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(first_values),   cmocka_unit_test(there_and_back), cmocka_unit_test(of_peft),
        cmocka_unit_test(patterns),       cmocka_unit_test(refusals),       cmocka_unit_test(live),
        cmocka_unit_test(without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
