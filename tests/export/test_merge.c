/* test_merge.c - merged models give what PEFT computes unmerged (tools/tiny_lora.py), as folders and as GGUF files,
 * whole and in shards; what cannot be merged is refused and leaves nothing behind. */
#include "export_fixture.h"

#include "export/export_folder.h"

#define LORA(name) GOLDEN("lora/" name)
#define LLAMA      GOLDEN("hf-tiny-llama/f32")
#define QWEN3      GOLDEN("hf-tiny-qwen3")

static const struct {
    const char *base, *json;
    pgr_adapter adapters[2];
    size_t n;
} cases[] = {
    {LLAMA, LORA("llama-qv.json"), {{LORA("llama-qv"), 1}}, 1},
    {GOLDEN("tiny-llama.gguf"), LORA("llama-qv.json"), {{LORA("llama-qv"), 1}}, 1},
    {GOLDEN("tiny-llama.gguf"), LORA("llama-qv.json"), {{LORA("llama-qv.gguf"), 1}}, 1},
    {LLAMA,
     LORA("llama-more.json"),
     {{LORA("llama-more.gguf"), 1}},
     1}, /* embedding and head apart, where they were one */
    {GOLDEN("tiny-llama.gguf"), LORA("llama-more.json"), {{LORA("llama-more"), 1}}, 1},
    {LLAMA, LORA("llama-both.json"), {{LORA("llama-qv"), 0.5f}, {LORA("llama-more.gguf"), 2}}, 2},
    {GOLDEN("tiny-llama.gguf"), LORA("llama-both.json"), {{LORA("llama-more"), 2}, {LORA("llama-qv"), 0.5f}}, 2},
    {QWEN3, LORA("qwen3-all.json"), {{LORA("qwen3-all"), 1}}, 1}, /* norms and head replaced, the head was tied */
};
enum { N_CASE = sizeof cases / sizeof *cases };

static pgr_status merge(const char *base, const pgr_adapter *a, size_t n, const char *out, pgr_file_type type,
                        bool force, pgr_error *err) {
    pgr_write_options o = pgr_write_options_default();
    o.type = type;
    o.force = force;
    o.n_thread = 2;
    return pgr_merge(base, a, n, out, &o, NULL, err);
}

static void merged(size_t i, const char *out, pgr_file_type type) {
    pgr_error err = {0};
    if (merge(cases[i].base, cases[i].adapters, cases[i].n, out, type, true, &err) != PGR_OK)
        fail_msg("case %zu: %s", i, err.message);
}

/* ---- the numbers of PEFT ---- */

static void check_numbers(const char *model, size_t i) {
    fixture x;
    assert_true(open_fixture(&x, model, cases[i].json, PGR_DTYPE_EXACT, 1));
    double error = golden_error(&x);
    print_message("case %zu, %s: largest difference %.2g of the largest logit\n", i, strrchr(model, '/') + 1, error);
    if (!(error <= 2e-5)) fail_msg("case %zu, %s: %g", i, model, error); /* as unmerged: test_lora.c */
    assert_int_equal(greedy_equal(&x), 40);
    close_fixture(&x);
}

static void f32_gives_the_numbers_of_peft(void **state) {
    (void)state;
    for (size_t i = 0; i < N_CASE; i++) {
        char path[160];
        strcpy(path, path_of("merged.gguf"));
        merged(i, path, PGR_FILE_F32);
        check_numbers(path, i);
        if (strstr(cases[i].base, ".gguf")) continue;
        strcpy(path, path_of("merged"));
        merged(i, path, PGR_FILE_F32);
        check_numbers(path, i);
    }
}

/* What is kept in BF16 is the F32 result rounded once. */
static void rounded_once(void **state) {
    (void)state;
    size_t i = N_CASE - 1, n = 0;
    char exact[160], half[160];
    safetensors a, b;
    strcpy(exact, path_of("exact"));
    strcpy(half, path_of("half"));
    merged(i, exact, PGR_FILE_F32);
    merged(i, half, PGR_FILE_KEEP);
    assert_int_equal(safetensors_open(exact, &a, NULL), PGR_OK);
    assert_int_equal(safetensors_open(half, &b, NULL), PGR_OK);
    assert_int_equal(a.source.n_tensor, b.source.n_tensor);
    for (size_t k = 0; k < a.source.n_tensor; k++) {
        const source_tensor *x = &a.source.tensors[k], *y = source_find(&b.source, x->name);
        assert_true(y && x->type == QUANT_F32 && y->type == QUANT_BF16 && x->bytes == 2 * y->bytes);
        for (size_t v = 0; v < x->bytes / 4; v++, n++) {
            float f;
            uint16_t h;
            memcpy(&f, (const uint8_t *)x->data + 4 * v, 4);
            memcpy(&h, (const uint8_t *)y->data + 2 * v, 2);
            if (f32_to_bf16(f) != h) fail_msg("%s, value %zu", x->name, v);
        }
    }
    assert_true(n > 40000);
    safetensors_close(&a);
    safetensors_close(&b);
    pgr_model *m = model_of(half, PGR_DTYPE_EXACT, 1);
    assert_false(m->weights.tied);
    pgr_model_close(m);
}

/* config.json: two values change, or come new, and the rest stays byte for byte. */
static void config_follows(void **state) {
    (void)state;
    static const struct {
        const char *before, *after;
    } edits[] = {
        {"s/\"dtype\": \"float32\"/\"dtype\" : \"bfloat16\" /",
         "s/\"dtype\" : \"bfloat16\" /\"dtype\" : \"float16\" /"},
        {"s/\"dtype\": \"float32\"/\"x\\\\\"y:\": [{\"dtype\": \",\"}]/",
         "0,/{/s//{\\n  \"torch_dtype\": \"float16\",/"},
    };
    for (size_t i = 0; i < 2; i++) {
        char command[1000];
        snprintf(command, sizeof command, "rm -rf %s/* && cp -r %s %s/base && sed -i '%s' %s/base/config.json", scratch,
                 LLAMA, scratch, edits[i].before, scratch);
        assert_int_equal(system(command), 0);
        pgr_error err = {0};
        char base[160], out[160];
        strcpy(base, path_of("base"));
        strcpy(out, path_of("out"));
        if (merge(base, &(pgr_adapter){LORA("llama-more"), 1}, 1, out, PGR_FILE_F16, false, &err) != PGR_OK)
            fail_msg("%s", err.message);
        snprintf(command, sizeof command,
                 "sed -e '%s' -e 's/\"tie_word_embeddings\": true/\"tie_word_embeddings\": false/' %s/config.json | "
                 "diff - %s/config.json >&2",
                 edits[i].after, base, out);
        assert_int_equal(system(command), 0);
    }
}

/* ---- shards ---- */

static void shards_hold_the_same(void **state) {
    (void)state;
    checkpoint c;
    lora l;
    safetensors a, b;
    pgr_written w;
    pgr_error err = {0};
    char whole[160], parts[160];
    strcpy(whole, path_of("whole"));
    strcpy(parts, path_of("parts//"));
    assert_int_equal(checkpoint_open(LLAMA, &c, NULL), PGR_OK);
    assert_int_equal(lora_open(LORA("llama-qv"), &c.config, &l, NULL), PGR_OK);
    export_adapter adapter = {&l, 1};
    for (int k = 0; k < 2; k++)
        if (export_folder(&c, &adapter, 1, PGR_FILE_KEEP, k ? parts : whole, false, k ? 100000 : 1u << 30,
                          (export_run){0}, &w, &err)
            != PGR_OK)
            fail_msg("%s", err.message);
    lora_close(&l);
    checkpoint_close(&c);
    assert_int_equal(safetensors_open(whole, &a, NULL), PGR_OK);
    assert_int_equal(safetensors_open(parts, &b, NULL), PGR_OK);
    assert_int_equal(a.n_map, 1);
    assert_true(b.n_map > 3 && a.source.n_tensor == b.source.n_tensor);
    size_t bytes = 0;
    for (size_t k = 0; k < a.source.n_tensor; k++) {
        const source_tensor *x = &a.source.tensors[k], *y = source_find(&b.source, x->name);
        assert_true(y && x->bytes == y->bytes && memcmp(x->data, y->data, x->bytes) == 0);
        assert_true((uintptr_t)x->offset % 8 == 0 || x->bytes % 8); /* the header is padded */
    }
    for (size_t k = 0; k < b.n_map; k++) bytes += b.maps[k].size;
    assert_true(w.bytes > bytes); /* config, tokenizer and index too */
    safetensors_close(&a);
    safetensors_close(&b);

    /* one file in the place of several: none of those may stay */
    assert_int_equal(merge(LLAMA, &(pgr_adapter){LORA("llama-qv"), 1}, 1, path_of("parts"), PGR_FILE_KEEP, false, &err),
                     PGR_E_ARG);
    assert_non_null(strstr(err.message, "--force replaces a model in it"));
    assert_int_equal(merge(LLAMA, &(pgr_adapter){LORA("llama-qv"), 1}, 1, path_of("parts"), PGR_FILE_F16, true, &err),
                     PGR_OK);
    assert_true(file_exists(path_of("parts/model.safetensors"))
                && !file_exists(path_of("parts/model.safetensors.index.json")));
    assert_false(file_exists(path_of("parts/model-00001-of-00005.safetensors")));
    assert_int_equal(safetensors_open(path_of("parts"), &b, NULL), PGR_OK);
    assert_int_equal(b.source.tensors[0].type, QUANT_F16);
    safetensors_close(&b);
    assert_int_equal(count_entries(), 2);
}

/* ---- a packed base ---- */

static void packed_bases_change_where_merged(void **state) {
    (void)state;
    gguf a, b;
    char base[160], out[160];
    pgr_write_options o = pgr_write_options_default();
    o.type = PGR_FILE_Q4_0;
    strcpy(base, path_of("q4.gguf"));
    strcpy(out, path_of("merged.gguf"));
    assert_int_equal(pgr_convert(LLAMA, base, &o, NULL, NULL), PGR_OK);
    assert_int_equal(merge(base, &(pgr_adapter){LORA("llama-qv.gguf"), 1}, 1, out, PGR_FILE_KEEP, false, NULL), PGR_OK);
    assert_int_equal(gguf_open(base, &a, NULL), PGR_OK);
    assert_int_equal(gguf_open(out, &b, NULL), PGR_OK);
    for (size_t i = 0; i < a.n_tensor; i++) {
        char name[96];
        snprintf(name, sizeof name, "%.*s", (int)a.tensors[i].name.n, a.tensors[i].name.s);
        const gguf_tensor *x = &a.tensors[i], *y = gguf_find_tensor(&b, name);
        bool changed = strstr(name, "attn_q.") || strstr(name, "attn_v.");
        if (changed)
            assert_int_equal(y->type, QUANT_Q8_0);
        else
            assert_true(x->type == y->type && memcmp(x->data, y->data, x->bytes) == 0);
    }
    gguf_close(&a);
    gguf_close(&b);
    pgr_model_close(model_of(out, PGR_DTYPE_EXACT, 1));
}

/* ---- failures ---- */

static void refuse(const char *base, const pgr_adapter *a, size_t n, const char *out, pgr_file_type type,
                   pgr_status want, const char *says) {
    pgr_error err = {0};
    size_t before = count_entries();
    pgr_status got = merge(base, a, n, out, type, false, &err);
    if (got != want || !strstr(err.message, says)) fail_msg("status %d: %s; wanted %s", got, err.message, says);
    assert_int_equal(count_entries(), before);
}

static void what_cannot_be_merged(void **state) {
    (void)state;
    const pgr_adapter qv = {LORA("llama-qv"), 1}, all[] = {{LORA("qwen3-all"), 1}, {LORA("qwen3-all"), 1}};
    const pgr_adapter half = {LORA("qwen3-all"), 0.5f}, none = {"/no/such/adapter", 1}, nan = {LORA("llama-qv"), NAN};
    char out[160], file[160];
    strcpy(out, path_of("out"));
    strcpy(file, path_of("out.gguf"));
    refuse(LLAMA, &qv, 0, out, PGR_FILE_KEEP, PGR_E_ARG, "no adapter to merge");
    refuse(LLAMA, &nan, 1, out, PGR_FILE_KEEP, PGR_E_ARG, "its scale is not a number");
    refuse(LLAMA, &none, 1, out, PGR_FILE_KEEP, PGR_E_IO, "/no/such/adapter");
    refuse(QWEN3, all, 2, out, PGR_FILE_KEEP, PGR_E_ARG, "another adapter replaces tensor");
    refuse(QWEN3, &half, 1, file, PGR_FILE_KEEP, PGR_E_ARG, "which takes scale 1 only");
    refuse(LLAMA, &qv, 1, out, PGR_FILE_Q8_0, PGR_E_ARG, "has the types f32, f16 and bf16");
    refuse(GOLDEN("tiny-llama.gguf"), &qv, 1, out, PGR_FILE_KEEP, PGR_E_UNSUPPORTED,
           "expected a name that ends with .gguf");
    refuse(LLAMA, &qv, 1, LLAMA "/../f32", PGR_FILE_KEEP, PGR_E_ARG, "is the folder of the model itself");
    refuse(LLAMA, &qv, 1, "/no/such/folder", PGR_FILE_KEEP, PGR_E_IO, "/no/such/folder.part: No such file");
    refuse(LLAMA, &qv, 1, LLAMA "/config.json", PGR_FILE_KEEP, PGR_E_IO, "Not a directory");
    refuse(LLAMA, &(pgr_adapter){LORA("llama-qv"), 1e38f}, 1, file, PGR_FILE_F16, PGR_E_FORMAT,
           "does not fit into F16");
}

static void the_model_itself_is_safe(void **state) {
    (void)state;
    pgr_error err = {0};
    char out[160];
    const pgr_adapter qv = {LORA("llama-qv"), 1};
    strcpy(out, path_of("out"));
    assert_int_equal(merge(LLAMA, &qv, 1, out, PGR_FILE_F32, false, &err), PGR_OK);
    assert_int_equal(merge(out, &qv, 1, out, PGR_FILE_F32, true, &err), PGR_E_ARG);
    assert_non_null(strstr(err.message, "is the folder of the model itself"));

    limit_files(100000);
    assert_int_equal(merge(LLAMA, &qv, 1, out, PGR_FILE_F32, true, &err), PGR_E_IO);
    limit_files(0);
    assert_non_null(strstr(err.message, "model.safetensors: cannot be written: File too large"));
    assert_int_equal(count_entries(), 1);
    check_numbers(out, 0); /* as it was */
}

static void cancelled_leaves_nothing(void **state) {
    (void)state;
    pgr_error err = {0};
    pgr_cancel cancel = 0;
    pgr_write_options o = pgr_write_options_default();
    o.watch.cancel = &cancel;
    o.watch.progress = cancel_now;
    o.watch.progress_ctx = (void *)(uintptr_t)&cancel;
    assert_int_equal(pgr_merge(LLAMA, &(pgr_adapter){LORA("llama-qv"), 1}, 1, path_of("x"), &o, NULL, &err),
                     PGR_E_CANCELLED);
    assert_int_equal(count_entries(), 0);
}

static bool merge_gguf(void) {
    return merge(GOLDEN("tiny-llama31.gguf"), &(pgr_adapter){path_of("../none"), 1}, 1, path_of("x.gguf"),
                 PGR_FILE_KEEP, true, NULL)
           == PGR_OK;
}

/* Every 97th allocation of a merge into a folder: most are those of reading the two; and the last 120. */
static void out_of_memory(void **state) {
    (void)state;
    assert_false(merge_gguf());
    char out[160];
    strcpy(out, path_of("out"));
    long before = mem_count(), live = mem_live();
    merged(N_CASE - 1, out, PGR_FILE_F32);
    long n = mem_count() - before;
    for (long i = 1; i <= n; i += i < n - 120 ? 97 : 1) { /* the writing is at the end */
        mem_fail_nth(i);
        pgr_status s = merge(QWEN3, cases[N_CASE - 1].adapters, 1, out, PGR_FILE_F32, true, NULL);
        mem_fail_nth(0);
        if (s != PGR_E_MEM || mem_live() != live)
            fail_msg("allocation %ld of %ld: status %d, live %ld", i, n, s, mem_live() - live);
    }
    assert_int_equal(count_entries(), 1);
    check_numbers(out, N_CASE - 1);
}

int main(void) {
#define T(f) cmocka_unit_test_setup_teardown(f, make_folder, remove_folder)
    const struct CMUnitTest tests[] = {
        T(f32_gives_the_numbers_of_peft),
        T(rounded_once),
        T(config_follows),
        T(shards_hold_the_same),
        T(packed_bases_change_where_merged),
        T(what_cannot_be_merged),
        T(the_model_itself_is_safe),
        T(cancelled_leaves_nothing),
        T(out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
